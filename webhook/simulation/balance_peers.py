"""Other policies on the same ground, each from its published formula.

A policy gives each candidate a score, in any unit, and the highest is taken, equals by chance. Plugins that bring a
configuration which leaves the default scores out stand alone; the others are added to them as their documents say.

Sources: kube-scheduler's documentation of NodeResourcesFit and NodeResourcesBalancedAllocation; scheduler-plugins,
kep/61-Trimaran-real-load-aware-scheduling and the README of each plugin; crane-scheduler, doc/dynamic-scheduler.md and
deploy/manifests/dynamic/policy.yaml; Mitzenmacher, How useful is old information (2000).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from webhook.simulation.balance_cluster import Ground
from webhook.simulation.balance_world import CPU, Floats, Whole


class Question(NamedTuple):
    """The pod to be placed at second ``at``, on one of ``rows``."""

    ground: Ground
    pod: int
    at: float
    rows: Whole
    rng: np.random.Generator


Rule = Callable[[Question], Floats]
"""The score of each row; the highest is taken."""


def defaults(question: Question) -> Floats:
    """LeastAllocated and BalancedAllocation, 0..100 each, whole numbers as the scheduler's are."""
    shares = question.ground.request_shares(question.rows, question.pod)
    least = np.floor(50.0 * np.maximum(0.0, 1.0 - shares).sum(axis=0))
    # Of two values the deviation is half their distance.
    even = np.floor(100.0 * (1.0 - np.abs(shares[0] - shares[1]) / 2))
    return np.asarray(least + even, dtype=np.float64)


def at_random(question: Question) -> Floats:
    """Any."""
    return np.zeros(len(question.rows))


def least_loaded(question: Question) -> Floats:
    """The lowest measured CPU, as if it were the present one."""
    return -_measured_cpu(question)


def two_choices(question: Question) -> Floats:
    """The lower of two drawn at random, by measured CPU."""
    count = len(question.rows)
    scores = np.full(count, -np.inf)
    drawn = question.rng.choice(count, size=min(2, count), replace=False)
    scores[drawn] = -_measured_cpu(question)[drawn]
    return scores


def target_load_packing(question: Question) -> Floats:
    """Trimaran: rises from the target x to 100 while use is below x, then falls from x to 0 at 100 %."""
    target = 0.4
    predicted = _predicted(question)[CPU]
    below = (1 - target) * predicted / target + target
    above = target * (1 - predicted) / (1 - target)
    scores = np.where(predicted <= target, below, np.where(predicted <= 1, above, 0.0))
    return np.floor(100.0 * scores)


def load_variation_risk(question: Question) -> Floats:
    """Trimaran: 1 - (mean + margin * deviation^(1/sensitivity)) / 2, the worse of CPU and memory; 1 and 2, as advised.

    The pod's request is its mean; what was bound since is corrected for as in its sister, which only helps it.
    """
    measured = question.ground.measured(question.at)
    if measured is None:
        return np.zeros(len(question.rows))
    deviation = measured.deviation[:, question.rows] / question.ground.world.capacity[:, question.rows]
    mean = np.clip(_predicted(question), 0, 1)
    risk = (mean + np.clip(np.sqrt(deviation), 0, 1)) / 2
    return np.asarray(np.round(100.0 * (1 - risk.max(axis=0))), dtype=np.float64)


_MULTIPLIER = 1.5
"""Trimaran's defaultRequestsMultiplier, for pods without limits."""
_REPORTED_LATE = 60
"""Seconds before the end of the window in which a pod bound then is taken to be in it hardly."""


def _predicted(question: Question) -> Floats:
    """(2, rows): measured, plus requests of those bound since the window's end, plus the pod's own."""
    ground, rows = question.ground, question.rows
    world, measured = ground.world, ground.measured(question.at)
    own = world.requests[:, world.workload[question.pod]][:, None] * _MULTIPLIER
    if measured is None:
        return np.asarray(own / world.capacity[:, rows])
    since = measured.minute * 60 - _REPORTED_LATE
    pods = ground.running(int(question.at // 60))
    pods = pods[np.searchsorted(pods, np.searchsorted(world.at, since)) :]
    missing = np.zeros_like(measured.mean)
    wanted = world.requests[:, world.workload[pods]] * _MULTIPLIER
    for resource in range(2):
        missing[resource] = np.bincount(ground.node[pods], weights=wanted[resource], minlength=missing.shape[1])
    return np.asarray((measured.mean[:, rows] + missing[:, rows] + own) / world.capacity[:, rows])


class Crane:
    """crane-scheduler's Dynamic plugin: thresholds, weighted use of three spans, and the hot value; weight 3, beside the defaults.

    Use is the mean over 5 minutes, and the largest of these in an hour and in a day. Where every node is above a
    threshold the pod would wait; here the thresholds are then passed over.
    """

    weights = (0.2, 0.3, 0.5)
    limits = (0.65, 0.75)
    hot = ((300.0, 5), (60.0, 2))
    """(seconds, pods): so many pods bound in that time take 10 of 100 points."""

    def __init__(self) -> None:
        self._minute = -1
        self._day = np.zeros((2, 0))
        self._use = np.zeros((3, 2, 0))

    def __call__(self, question: Question) -> Floats:
        ground, rows = question.ground, question.rows
        if ground.measured(question.at) is None:
            return defaults(question)
        self._look(ground, int(question.at // 60) - ground.staleness)
        use = self._use[:, :, rows]
        free = np.tensordot(np.array(self.weights), 1 - use, axes=1).sum(axis=0) / (2 * sum(self.weights))
        hot = sum(
            np.floor(self._bound_since(question, question.at - seconds)[rows] / count) for seconds, count in self.hot
        )
        scores = defaults(question) + 3 * np.floor(np.clip(100 * free - 10 * hot, 0, 100))
        hot_nodes = (use[0] > self.limits[0]).any(axis=0) | (use[1] > self.limits[1]).any(axis=0)
        return np.asarray(scores if hot_nodes.all() else np.where(hot_nodes, -np.inf, scores))

    def _look(self, ground: Ground, minute: int) -> None:
        if minute == self._minute:
            return
        if self._minute < 0:
            self._day = np.zeros_like(ground.requested)
        now, hour = self._means(ground, minute, minute)[..., -1], self._means(ground, minute - 59, minute).max(axis=2)
        self._day = np.maximum(self._day, self._means(ground, self._minute + 1, minute).max(axis=2))
        self._use = np.array([now, hour, self._day]) / ground.world.capacity
        self._minute = minute

    @staticmethod
    def _means(ground: Ground, first: int, last: int) -> Floats:
        """(2, nodes, minutes): the mean over five minutes before each of these."""
        first = max(1, first)
        begin = max(0, first - 5)
        sums = np.cumsum(ground.use[:, :, begin:last], axis=2)
        sums = np.concatenate([np.zeros((*sums.shape[:2], 1)), sums], axis=2)
        ends = np.arange(first, last + 1) - begin
        begins = np.maximum(0, ends - 5)
        return np.asarray((sums[..., ends] - sums[..., begins]) / (ends - begins))

    @staticmethod
    def _bound_since(question: Question, since: float) -> Floats:
        first = int(np.searchsorted(question.ground.world.at, since))
        nodes = question.ground.node[first : question.pod]
        counts = np.bincount(nodes[nodes >= 0], minlength=question.ground.requested.shape[1])
        return counts.astype(np.float64)


def oracle(question: Question) -> Floats:
    """Greedy on the truth: the lowest mean CPU of the pod's whole life to come, of all that is placed and of itself."""
    ground, world = question.ground, question.ground.world
    begin, end = int(world.begins[question.pod]), int(world.ends[question.pod])
    if begin >= end:
        return np.zeros(len(question.rows))
    future = ground.use[CPU, :, begin:end].mean(axis=1)[question.rows]
    own = float(world.use[CPU, question.pod, begin:end].mean())
    return np.asarray(-(future + own) / world.capacity[CPU, question.rows])


class Siblings:
    """As the oracle, but of the pod to be placed it knows only the mean of its owner's pods: what the past could teach at best."""

    def __init__(self) -> None:
        self._means: Floats | None = None

    def __call__(self, question: Question) -> Floats:
        ground, world = question.ground, question.ground.world
        if self._means is None:
            counts = np.maximum(1, np.bincount(world.workload, minlength=world.requests.shape[1]))
            self._means = (
                np.bincount(world.workload, weights=world.use[CPU].mean(axis=1), minlength=len(counts)) / counts
            )
        begin, end = int(world.begins[question.pod]), int(world.ends[question.pod])
        if begin >= end:
            return np.zeros(len(question.rows))
        future = ground.use[CPU, :, begin:end].mean(axis=1)[question.rows]
        own = self._means[world.workload[question.pod]]
        return np.asarray(-(future + own) / world.capacity[CPU, question.rows])


def _measured_cpu(question: Question) -> Floats:
    measured = question.ground.measured(question.at)
    if measured is None:
        return np.zeros(len(question.rows))
    shares: Floats = measured.mean[CPU, question.rows] / question.ground.world.capacity[CPU, question.rows]
    return shares


ORACLE, SIBLINGS = "oracle", "oracle of siblings"
CLAIRVOYANT = (ORACLE, SIBLINGS)
STOCK = "least-allocated"
STALE_FREE = ("random", STOCK, *CLAIRVOYANT)
"""Those that read nothing measured, so that staleness does not touch them."""
PEERS: dict[str, Callable[[], Rule]] = {
    "random": lambda: at_random,
    STOCK: lambda: defaults,
    "least-loaded": lambda: least_loaded,
    "two choices": lambda: two_choices,
    "target load packing": lambda: target_load_packing,
    "load variation risk": lambda: load_variation_risk,
    "crane": Crane,
    SIBLINGS: Siblings,
    ORACLE: lambda: oracle,
}
