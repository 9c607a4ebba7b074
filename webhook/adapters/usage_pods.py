"""A sweep's answers, joined to pods by namespace and name. No row gives None or no points, never zero use."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from sys import intern
from typing import NamedTuple

from webhook.core.model import ControllerRef
from webhook.core.policy import IdlePolicy
from webhook.core.readings import running_steps
from webhook.core.usage import PodLife, PodUsage
from webhook.wire.prometheus import PodLabels, PodVector, Vector
from webhook.wire.promql import AHEAD

Pod = tuple[str, str]
"""(namespace, name)."""
Choose = Callable[[float, float], float]
"""Of two values for one, that which argues for less change."""
_OF_PODS: Mapping[str, Choose] = {
    "cpuPeak": max,
    "cpuRecent": max,
    "receivedPeak": max,
    "receivedRecent": max,
    "cpuSeen": max,
    "restarts": max,
    "receivedPoints": min,
    "sampleTime": min,
    AHEAD: max,
}
_OF_CONTAINERS: Mapping[str, Choose] = {"containers": max, "cpuSeconds": max, "cpuPoints": min}
_OF_LIVES: Mapping[str, Choose] = {"expectedPoints": max, "runningPoints": max, "startTime": max}
_OWNER = "owner"
ABOUT_PODS = frozenset({*_OF_PODS, *_OF_CONTAINERS, *_OF_LIVES, _OWNER})
"""The queries of a sweep whose answers `Answered` takes."""


class Told(NamedTuple):
    """What is left of an answer once it was taken."""

    rows: int
    dropped: int


class Answered:
    """What a sweep's answers tell of pods, each taken as it comes: of its rows nothing is kept but what is looked up.

    Rows of all answers at once would be most of what a run of the monitor holds. Answers may be taken by several threads,
    each another one.
    """

    def __init__(self) -> None:
        self._names = _Names()
        self._pods: dict[str, dict[Pod, float]] = {}
        self._containers: dict[str, dict[Pod, dict[str, float]]] = {}
        self._lives: dict[str, dict[tuple[Pod, str], float]] = {}
        self._owners: dict[Pod, tuple[tuple[str, str], ...]] = {}

    def take(self, name: str, answer: PodVector) -> Told:
        """Read the answer to the query of that name, one of ``ABOUT_PODS``."""
        if name in _OF_PODS:
            self._pods[name] = _by_pod(answer, _OF_PODS[name], self._names)
        elif name in _OF_CONTAINERS:
            self._containers[name] = _by_container(answer, _OF_CONTAINERS[name], self._names)
        elif name in _OF_LIVES:
            self._lives[name] = _by_uid(answer, _OF_LIVES[name], self._names)
        else:
            self._owners = _owners(answer, self._names)
        return Told(len(answer.rows), answer.dropped)

    def pods(self) -> tuple[PodUsage, ...]:
        """Every pod that any answer tells of, by namespace and name. All queries but ``AHEAD`` must have been asked."""
        peaks, recents = self._pods["cpuPeak"], self._pods["cpuRecent"]
        received_peaks, received_recents = self._pods["receivedPeak"], self._pods["receivedRecent"]
        containers = {pod: frozenset(own) for pod, own in self._containers["containers"].items()}
        cpu_points = _fewest(self._containers["cpuPoints"], containers)
        used = self._containers["cpuSeconds"].items()
        cpu_seconds = {pod: sum(mine.values()) for pod, mine in used if _is_whole(pod, mine, containers)}
        seen, restarts, ahead = self._pods["cpuSeen"], self._pods["restarts"], self._pods.get(AHEAD, {})
        received_points, sampled = self._pods["receivedPoints"], self._pods["sampleTime"]
        lives, born = self._all_lives(), _latest(self._lives["startTime"])
        named: set[Pod] = set().union(peaks, recents, received_peaks, received_recents, born, lives, cpu_seconds, ahead)
        return tuple(
            PodUsage(
                namespace=pod[0],
                name=pod[1],
                lives={uid: found for uid, found in lives.get(pod, {}).items() if uid},
                controller=next(iter(owners), None),
                other_controllers=owners[1:],
                cpu_peak_cores=peaks.get(pod),
                cpu_recent_cores=recents.get(pod),
                cpu_points=int(cpu_points.get(pod, 0)),
                cpu_seconds=cpu_seconds.get(pod),
                cpu_seen_points=int(seen.get(pod, 0)),
                restarts=int(restarts.get(pod, 0)),
                received_peak_bytes_per_second=received_peaks.get(pod),
                received_recent_bytes_per_second=received_recents.get(pod),
                received_points=int(received_points.get(pod, 0)),
                expected_points=sum(found.expected_points for found in lives.get(pod, {}).values()),
                running_points=sum(found.running_points for found in lives.get(pod, {}).values()),
                started_at=instant(born[pod]) if pod in born else None,
                last_sample_at=instant(sampled[pod]) if pod in sampled else None,
                is_ahead=pod in ahead,
            )
            for pod in sorted(named)
            for owners in [tuple(ControllerRef(kind=k, name=n) for k, n in self._owners.get(pod, ()))]
        )

    def _all_lives(self) -> dict[Pod, dict[str, PodLife]]:
        """Of each UID that a name had; under "" where an old kube-state-metrics tells of none."""
        expected, running = self._lives["expectedPoints"], self._lives["runningPoints"]
        found: dict[Pod, dict[str, PodLife]] = {}
        for pod, uid in expected.keys() | running.keys() | self._lives["startTime"].keys():
            life = PodLife(
                expected_points=int(expected.get((pod, uid), 0)), running_points=int(running.get((pod, uid), 0))
            )
            found.setdefault(pod, {})[uid] = life
        return found


def untold_steps(answer: Vector, evaluated_at: datetime, policy: IdlePolicy) -> int:
    """Steps of the window at which kube-state-metrics told of no pod at all."""
    told = max((value for _, value in answer.rows), default=0.0)
    return max(0, running_steps(evaluated_at - policy.window, evaluated_at, policy) - int(told))


def instant(seconds: float) -> datetime | None:
    """Unix seconds as a time; None where no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (OverflowError, OSError, ValueError):
        return None


class _Names:
    """Each pod's name and each life once, however many answers tell of them."""

    def __init__(self) -> None:
        self._pods: dict[Pod, Pod] = {}
        self._lives: dict[tuple[Pod, str], tuple[Pod, str]] = {}

    def pod(self, labels: PodLabels) -> Pod | None:
        if not labels.namespace or not labels.pod:
            return None
        found = (intern(labels.namespace), labels.pod)
        return self._pods.setdefault(found, found)

    def life(self, labels: PodLabels) -> tuple[Pod, str] | None:
        pod = self.pod(labels)
        if pod is None:
            return None
        found = (pod, labels.uid)
        return self._lives.setdefault(found, found)


def _by_pod(answer: PodVector, choose: Choose, names: _Names) -> dict[Pod, float]:
    found: dict[Pod, float] = {}
    for labels, value in answer.rows:
        if pod := names.pod(labels):
            found[pod] = choose(found[pod], value) if pod in found else value
    return found


def _by_container(answer: PodVector, choose: Choose, names: _Names) -> dict[Pod, dict[str, float]]:
    """By pod and its container's name, which is of one pod alone."""
    found: dict[Pod, dict[str, float]] = {}
    for labels, value in answer.rows:
        if labels.container and (pod := names.pod(labels)):
            mine, container = found.setdefault(pod, {}), intern(labels.container)
            mine[container] = choose(mine[container], value) if container in mine else value
    return found


def _by_uid(answer: PodVector, choose: Choose, names: _Names) -> dict[tuple[Pod, str], float]:
    found: dict[tuple[Pod, str], float] = {}
    for labels, value in answer.rows:
        if life := names.life(labels):
            found[life] = choose(found[life], value) if life in found else value
    return found


def _owners(answer: PodVector, names: _Names) -> dict[Pod, tuple[tuple[str, str], ...]]:
    """(kind, name) of every owner of each name in a fixed order: the order of rows is the store's."""
    found: dict[Pod, tuple[tuple[str, str], ...]] = {}
    for labels, _ in answer.rows:
        if labels.owner_kind and labels.owner_name and (pod := names.pod(labels)):
            owner = intern(labels.owner_kind), intern(labels.owner_name)
            found[pod] = tuple(sorted({*found.get(pod, ()), owner}))
    return found


def _latest(born: Mapping[tuple[Pod, str], float]) -> dict[Pod, float]:
    """The start of the last of each name."""
    found: dict[Pod, float] = {}
    for (pod, _), moment in born.items():
        found[pod] = max(found.get(pod, moment), moment)
    return found


def _fewest(points: Mapping[Pod, Mapping[str, float]], containers: Mapping[Pod, frozenset[str]]) -> dict[Pod, float]:
    """Steps by pod at which each of its containers was seen; nothing of a pod that is not whole."""
    whole = {pod: mine for pod, mine in points.items() if _is_whole(pod, mine, containers)}
    return {pod: min(mine[name] for name in containers[pod]) for pod, mine in whole.items()}


def _is_whole(pod: Pod, mine: Mapping[str, float], containers: Mapping[Pod, frozenset[str]]) -> bool:
    """Whether every container has a value that kube-state-metrics knows, which must know one.

    By name, not by number: cAdvisor tells of init and ephemeral containers too, and one of those must not stand in.
    """
    needed = containers.get(pod, frozenset())
    return bool(needed) and needed <= mine.keys()
