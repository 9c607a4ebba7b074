"""A sweep's answers, joined to pods by namespace and name. No row gives None or no points, never zero use."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from webhook.core.model import ControllerRef
from webhook.core.policy import IdlePolicy
from webhook.core.readings import running_steps
from webhook.core.usage import PodLife, PodUsage
from webhook.wire.prometheus import Vector
from webhook.wire.promql import AHEAD

Pod = tuple[str, str]
"""(namespace, name)."""
_LARGEST = ("cpuPeak", "cpuRecent", "receivedPeak", "receivedRecent")


def pods_of(answers: Mapping[str, Vector]) -> tuple[PodUsage, ...]:
    """Every pod that any answer tells of, by namespace and name."""
    names = _Names()
    known = {name: _by_pod(answers[name], max, names) for name in _LARGEST}
    containers = {pod: frozenset(own) for pod, own in _by_container(answers["containers"], max, names).items()}
    used = _by_container(answers["cpuSeconds"], max, names)
    cpu_points = _fewest(_by_container(answers["cpuPoints"], min, names), containers)
    cpu_seen = _by_pod(answers["cpuSeen"], max, names)
    cpu_seconds = {pod: sum(mine.values()) for pod, mine in used.items() if _is_whole(pod, mine, containers)}
    restarts = _by_pod(answers["restarts"], max, names)
    received_points = _by_pod(answers["receivedPoints"], min, names)
    ahead = _by_pod(answers[AHEAD], max, names) if AHEAD in answers else {}
    life, sampled = _by_pod(answers["startTime"], max, names), _by_pod(answers["sampleTime"], min, names)
    lives, owners = _lives(answers, names), _owners(answers["owner"], names)
    named: set[Pod] = set().union(*known.values(), life, lives, cpu_seconds, ahead)
    return tuple(
        PodUsage(
            namespace=pod[0],
            name=pod[1],
            lives={uid: found for uid, found in lives.get(pod, {}).items() if uid},
            controller=next(iter(owners.get(pod, ())), None),
            other_controllers=owners.get(pod, ())[1:],
            cpu_peak_cores=known["cpuPeak"].get(pod),
            cpu_recent_cores=known["cpuRecent"].get(pod),
            cpu_points=int(cpu_points.get(pod, 0)),
            cpu_seconds=cpu_seconds.get(pod),
            cpu_seen_points=int(cpu_seen.get(pod, 0)),
            restarts=int(restarts.get(pod, 0)),
            received_peak_bytes_per_second=known["receivedPeak"].get(pod),
            received_recent_bytes_per_second=known["receivedRecent"].get(pod),
            received_points=int(received_points.get(pod, 0)),
            expected_points=sum(found.expected_points for found in lives.get(pod, {}).values()),
            running_points=sum(found.running_points for found in lives.get(pod, {}).values()),
            started_at=instant(life[pod]) if pod in life else None,
            last_sample_at=instant(sampled[pod]) if pod in sampled else None,
            is_ahead=pod in ahead,
        )
        for pod in sorted(named)
    )


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


class _Names(dict[Pod, Pod]):
    """Each pod's name once, however many answers tell of it."""

    def of(self, labels: Mapping[str, str]) -> Pod | None:
        namespace, name = labels.get("namespace", ""), labels.get("pod", "")
        return self.setdefault((namespace, name), (namespace, name)) if namespace and name else None


def _by_pod(answer: Vector, choose: Callable[[float, float], float], names: _Names) -> dict[Pod, float]:
    """By pod; of two values for one, the one that argues for less change is chosen by the caller."""
    found: dict[Pod, float] = {}
    for labels, value in answer.rows:
        if pod := names.of(labels):
            found[pod] = choose(found[pod], value) if pod in found else value
    return found


def _by_container(
    answer: Vector, choose: Callable[[float, float], float], names: _Names
) -> dict[Pod, dict[str, float]]:
    """By pod and its container's name, which is of one pod alone."""
    found: dict[Pod, dict[str, float]] = {}
    for labels, value in answer.rows:
        if (pod := names.of(labels)) and (container := labels.get("container")):
            mine = found.setdefault(pod, {})
            mine[container] = choose(mine[container], value) if container in mine else value
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


def _lives(answers: Mapping[str, Vector], names: _Names) -> dict[Pod, dict[str, PodLife]]:
    """Of each UID that a name had; under "" where an old kube-state-metrics tells of none."""
    expected, running = _by_uid(answers["expectedPoints"], names), _by_uid(answers["runningPoints"], names)
    born = _by_uid(answers["startTime"], names)
    found: dict[Pod, dict[str, PodLife]] = {}
    for pod, uid in expected.keys() | running.keys() | born.keys():
        life = PodLife(expected_points=int(expected.get((pod, uid), 0)), running_points=int(running.get((pod, uid), 0)))
        found.setdefault(pod, {})[uid] = life
    return found


def _by_uid(answer: Vector, names: _Names) -> dict[tuple[Pod, str], float]:
    found: dict[tuple[Pod, str], float] = {}
    for labels, value in answer.rows:
        if pod := names.of(labels):
            named = (pod, labels.get("uid", ""))
            found[named] = max(found.get(named, value), value)
    return found


def _owners(answer: Vector, names: _Names) -> dict[Pod, tuple[ControllerRef, ...]]:
    """Every owner of each name in a fixed order: the order of rows is the store's."""
    found: dict[Pod, set[tuple[str, str]]] = {}
    for labels, _ in answer.rows:
        kind, name = labels.get("owner_kind", ""), labels.get("owner_name", "")
        if (pod := names.of(labels)) and kind and name:
            found.setdefault(pod, set()).add((kind, name))
    return {pod: tuple(ControllerRef(kind=k, name=n) for k, n in sorted(owners)) for pod, owners in found.items()}
