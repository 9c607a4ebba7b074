"""The ground that placements are played on: who runs where, what the nodes really use, and what was measured of it.

Minutes are whole; a pod that was bound within one runs from the next on. What is measured at a moment ended ``staleness``
minutes before it and reaches back over ``window`` minutes. Nothing measured looks at a later minute, although
``use`` holds the future of all that is placed: only an oracle may read that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from webhook.core.policy import IdlePolicy
from webhook.simulation.balance_world import CPU, MEMORY, Floats, Whole, World

_MOST_PODS = 110
"""On a node, the kubelet's default."""
_GROWN = IdlePolicy().startup_grace // timedelta(minutes=1)
"""Minutes of a pod's life that no habit is taken from, as in a cluster it would be its start."""
_LEAST_SAMPLED = 100
"""A scheduler looks for so many nodes at least."""


@dataclass(frozen=True, slots=True)
class Measured:
    """``mean`` and ``deviation`` are (2, nodes) in cores and bytes over minutes before ``minute``.

    ``gone`` are pods that ended since the window began, with ``gone_mean`` like ``pod_mean``.
    ``pods`` are running ones that were seen, ``pod_mean`` is (2, pods) of them over the window, of CPU by the part of it that
    they ran, and ``pod_habit`` over whole windows of an hour or what they ran of it; NaN of who ran for none since its start-up.
    """

    minute: int
    mean: Floats
    deviation: Floats
    pods: Whole
    pod_mean: Floats
    pod_habit: Floats
    gone: Whole
    gone_mean: Floats


class Ground:
    """``place`` in order of arrival. ``node`` is each pod's, -1 while it has none."""

    def __init__(self, world: World, *, staleness: int, window: int, habit: int = 60) -> None:
        self.world, self.staleness, self.window, self._habit = world, staleness, window, habit
        nodes, pods = world.capacity.shape[1], len(world.at)
        self.requested = np.zeros((2, nodes))
        self.use = np.zeros((2, nodes, world.minutes))
        self.node = np.full(pods, -1, dtype=np.int64)
        self.left_out = 0
        self._count = np.zeros(nodes, dtype=np.int64)
        self._start, self._known = 0, 0
        self._ending: list[list[int]] = [[] for _ in range(world.minutes + 1)]
        self._released = 0
        self._measured: Measured | None = None

    def arrivals(self) -> Iterator[tuple[int, float, Whole]]:
        """Each pod, the second it comes, and the nodes that the scheduler shows; who finds none is left out."""
        world = self.world
        for pod, at in enumerate(world.at.tolist()):
            self._known = pod
            self._release(int(at // 60))
            rows = self._candidates(world.requests[:, world.workload[pod]])
            if len(rows):
                yield pod, at, rows
            else:
                self.left_out += 1

    def place(self, pod: int, node: int) -> None:
        """Bind it; from its first minute on it uses what it uses."""
        world = self.world
        begin, end, workload = int(world.begins[pod]), int(world.ends[pod]), int(world.workload[pod])
        self.node[pod] = node
        self.requested[:, node] += world.requests[:, workload]
        self._count[node] += 1
        self._ending[end].append(pod)
        self.use[:, node, begin:end] += world.use[:, pod, begin:end]

    def request_shares(self, rows: Whole, pod: int) -> Floats:
        """(2, rows): requested over allocatable, the pod included."""
        wanted = self.world.requests[:, self.world.workload[pod]]
        shares: Floats = (self.requested[:, rows] + wanted[:, None]) / self.world.capacity[:, rows]
        return shares

    def running(self, minute: int) -> Whole:
        """Pods that are bound and have not ended by this minute."""
        known = slice(0, self._known)
        found: Whole = np.flatnonzero((self.node[known] >= 0) & (self.world.ends[known] > minute))
        return found

    def measured(self, at: float) -> Measured | None:
        """The newest there is at this second; None while nothing is old enough."""
        minute = int(at // 60) - self.staleness
        if minute <= 0:
            return None
        if self._measured is None or self._measured.minute != minute:
            self._measured = self._measure(minute, int(at // 60))
        return self._measured

    def _measure(self, minute: int, now: int) -> Measured:
        first = max(0, minute - self.window)
        seen = self.use[:, :, first:minute]
        pods = self.running(now)
        pods = pods[self.world.begins[pods] < minute]
        gone = np.flatnonzero((self.node[: self._known] >= 0) & (self.world.ends[: self._known] <= now))
        gone = gone[(self.world.ends[gone] > first) & (self.world.begins[gone] < minute)]
        return Measured(
            minute=minute,
            mean=seen.mean(axis=2),
            deviation=seen.std(axis=2),
            pods=pods,
            pod_mean=self._pod_means(pods, first, minute),
            pod_habit=self._habits(pods, minute),
            gone=gone,
            gone_mean=self._pod_means(gone, first, minute),
        )

    def _pod_means(self, pods: Whole, first: int, minute: int) -> Floats:
        minutes = np.arange(first, minute)
        ran = (minutes >= self.world.begins[pods][:, None]) & (minutes < self.world.ends[pods][:, None])
        means: Floats = (self.world.use[:, pods, first:minute] * ran).sum(axis=2, dtype=np.float64)
        means[CPU] /= minute - first
        means[MEMORY] /= ran.sum(axis=1)
        return means

    def _habits(self, pods: Whole, minute: int) -> Floats:
        """As Prometheus is asked for them: the mean of what was measured at each step of a window, once a pod is grown."""
        last = minute // self.window
        count = min(self._habit // self.window, last)
        begin, end = (last - count) * self.window, last * self.window
        parts = (
            self.world.use[:, pods, begin:end].reshape(2, len(pods), count, self.window).mean(axis=3, dtype=np.float64)
        )
        ends = begin + self.window * np.arange(1, count + 1)
        told = ends - self.world.begins[pods][:, None] >= _GROWN + self.window
        many = told.sum(axis=1)
        found = (parts * told).sum(axis=2) / np.maximum(1, many)
        return np.where(many > 0, found, np.nan)

    def _release(self, minute: int) -> None:
        while self._released < minute:
            self._released += 1
            for pod in self._ending[self._released]:
                node = self.node[pod]
                self.requested[:, node] -= self.world.requests[:, self.world.workload[pod]]
                self._count[node] -= 1

    def _candidates(self, wanted: Floats) -> Whole:
        """As kube-scheduler looks: round from where it stopped, until it found enough (numFeasibleNodesToFind)."""
        capacity, count = self.world.capacity, len(self._count)
        room = (self._count < _MOST_PODS) & (self.requested[CPU] + wanted[CPU] <= capacity[CPU])
        room &= self.requested[MEMORY] + wanted[MEMORY] <= capacity[MEMORY]
        order = (self._start + np.arange(count)) % count
        found = np.flatnonzero(room[order])
        wished = nodes_to_find(count)
        if len(found) > wished:
            found = found[:wished]
            self._start = (self._start + int(found[-1]) + 1) % count
        return order[found]


def nodes_to_find(nodes: int) -> int:
    """How many feasible nodes kube-scheduler stops at: 50 % less one for each 125 nodes, 5 % and 100 nodes at least."""
    if nodes < _LEAST_SAMPLED:
        return nodes
    percent = max(5, 50 - nodes // 125)
    return max(_LEAST_SAMPLED, nodes * percent // 100)
