"""What measured use says of workloads, namespaces and nodes, and which pods no measured window holds whole yet.

A pod tells what its workload's pods use only when it was Ready for the whole window: before, its start-up is in the
mean. It then tells what it used over ``habit``, where that is known: minutes are chance. On its node it counts from its
first sample on, by the part of the window that it ran for::

    held = min(1, (evaluated_at - started_at) / window)

CPU is measured as such a part already, because a counter's growth is spread over the whole window; memory is not. And a
node's mean of memory is over the samples that there are: on one that has just come it holds more of its pods, so that of
memory the time its samples span stands in the window's place.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from webhook.core import habits
from webhook.core.census import Census, PodFact
from webhook.core.departed import has_its_own_name, left_behind
from webhook.core.expectation import expect
from webhook.core.model import Bound, Estimate, Namespace, PodUse, Resources, UseRatio, Workload, WorkloadKey
from webhook.core.poduse import Told, learn
from webhook.core.policy import BalancePolicy
from webhook.core.quantity import is_use, rounded
from webhook.core.snapshot import Snapshot
from webhook.core.usage import NodeSample, NodeUsage, Owners, PodHabits, PodsUse, memory_span

MOST_BOUND = 20_000
"""So many pods that no window holds yet are kept, the newest: more start within minutes only where all starts anew."""
ENDED_STAY = timedelta(seconds=60)
"""For as long as the ledger may hold a pod for its score: a pod that ended sooner would count on a node for the rest of it."""
_RATIO_DIGITS = 2
_MEASURED_DIGITS = 3
_PODS_STAY = timedelta(minutes=5)
"""Of several polls of what pods use, one may fail, and a short ``max_age`` of nodes' load is shorter than one."""
_HABITS_STAY = timedelta(minutes=30)
"""Half of the hour that they are of by default: several polls of them may fail."""


class Measured(NamedTuple):
    """What pods' use says, by workload, by namespace, and by node and namespace; the first also of DaemonSets.

    ``habits`` is by node how much more its pods would use if each used what its owner's pods do; it may be negative.
    ``evaluated_at`` is by Prometheus' clock; None where nobody told. ``left`` is by node what pods that are no more add to
    its means yet.
    """

    workloads: Mapping[WorkloadKey, PodUse]
    ratios: Mapping[str, UseRatio]
    on_nodes: Mapping[str, dict[str, Resources]]
    habits: Mapping[str, Resources] = {}
    evaluated_at: datetime | None = None
    left: Mapping[str, Resources] = {}

    def speaks_of(self, sample: NodeSample, policy: BalancePolicy) -> bool:
        """Whether the pods on a node can still be those that it bore when it was sampled; what their like use lasts longer."""
        at = self.evaluated_at
        return at is None or sample.sampled_at - at <= max(policy.max_age, _PODS_STAY)


NOTHING = Measured({}, {}, {})


class Recent(NamedTuple):
    """``left_out`` counts those beyond ``MOST_BOUND``, which are the eldest."""

    pods: tuple[Bound, ...]
    left_out: int = 0


NOBODY = Recent(())


class Held(NamedTuple):
    """The parts of a pod that its node's means hold, 0..1."""

    cpu: float
    memory: float


def recall(snapshot: Snapshot) -> tuple[NodeUsage | None, Measured]:
    """What a snapshot remembers, for a `sync` that starts again: no load at all would send a burst to one node."""
    told = [(node.name, node.load) for node in snapshot.nodes.values() if node.load is not None]
    samples = tuple(
        NodeSample(
            node=name,
            cpu_cores=found.cpu_cores,
            memory_bytes=found.memory_bytes,
            sampled_at=found.sampled_at,
            source=found.source,
            cpu_deviation_cores=found.cpu_deviation_cores,
            memory_deviation_bytes=found.memory_deviation_bytes,
            memory_span_seconds=found.memory_span_seconds,
        )
        for name, found in told
    )
    rate = snapshot.meta.load_match_rate
    return (
        None if rate is None and not samples else NodeUsage(nodes=samples, match_rate=rate),
        Measured(
            {workload.key: workload.use for workload in snapshot.workloads.values() if workload.use},
            {space.name: space.use_ratio for space in snapshot.namespaces.values() if space.use_ratio},
            {name: found.namespaces for name, found in told if found.namespaces},
            {name: more for name, found in told if (more := habits.beyond(found)) is not None},
            max((found.sampled_at for _, found in told), default=None),
        ),
    )


def measure(  # noqa: PLR0913 - all that it hangs on, by name
    census: Census,
    use: PodsUse,
    owners: Owners,
    policy: BalancePolicy,
    pod_habits: PodHabits | None = None,
    *,
    samples: Mapping[str, NodeSample] = {},
) -> Measured:
    """Join each pod's use with what the API server knows of it. A pod without a value counts nowhere.

    ``samples`` by node: what stands beside a node's memory is held as that is. A pod of which ``pod_habits`` knows
    nothing, or nothing new, tells what it used over the window.
    """
    if pod_habits is not None and use.evaluated_at - pod_habits.evaluated_at > _HABITS_STAY:
        pod_habits = None
    by_workload: defaultdict[WorkloadKey, list[Told]] = defaultdict(list)
    by_namespace: defaultdict[str, list[tuple[PodFact, Resources]]] = defaultdict(list)
    on_nodes: defaultdict[str, dict[str, list[Resources]]] = defaultdict(dict)
    owned: list[tuple[str, WorkloadKey, Held, Resources]] = []
    spans = {node: memory_span(sample.memory_span_seconds, policy.window) for node, sample in samples.items()}
    sizes = {node.name: node.allocatable for node in census.nodes}
    for pod, told in _joined(census, use):
        size = sizes.get(pod.node_name)
        used = _within(told, size)
        held = _held(pod, use.evaluated_at, policy.window, spans.get(pod.node_name))
        if held.cpu < 1 and not has_its_own_name(pod):
            continue
        on_node = Resources(cpu_cores=used.cpu_cores, memory_bytes=used.memory_bytes * held.memory)
        on_nodes[pod.node_name].setdefault(pod.namespace, []).append(on_node)
        key = _workload_of(pod, owners)
        if key:
            owned.append((pod.node_name, key, held, on_node))
        if not _is_grown(pod, use.evaluated_at, policy.window):
            continue
        usual = pod_habits and pod_habits.of(pod.namespace, pod.name)
        known = _within(usual, size) if usual else used
        by_namespace[pod.namespace].append((pod, known))
        if key:
            by_workload[key].append(Told(known, used, pod.requests))
    workloads = learn(by_workload)
    return Measured(
        workloads,
        {name: ratio for name, mine in by_namespace.items() if (ratio := _ratio(mine))},
        {
            node: {name: _sum(parts) for name, parts in sorted(namespaces.items())}
            for node, namespaces in on_nodes.items()
        },
        _habits(owned, workloads),
        use.evaluated_at,
        {node: _sum(parts) for node, parts in left_behind(census, use, policy.window, spans).items()},
    )


def _habits(
    owned: Iterable[tuple[str, WorkloadKey, Held, Resources]], workloads: Mapping[WorkloadKey, PodUse]
) -> dict[str, Resources]:
    """A pod whose owner's use nobody knows is taken to do as it always does, which adds nothing."""
    beyond: defaultdict[str, list[Resources]] = defaultdict(list)
    for node, key, held, used in owned:
        if habit := workloads.get(key):
            more = Resources(
                cpu_cores=habit.cpu_cores * held.cpu - used.cpu_cores,
                memory_bytes=habit.memory_bytes * held.memory - used.memory_bytes,
            )
            beyond[node].append(more)
    return {node: _sum(parts) for node, parts in beyond.items()}


def _joined(census: Census, use: PodsUse) -> Iterator[tuple[PodFact, Resources]]:
    """Running pods on a node, with their use. What cannot be a measurement is none."""
    for pod in census.pods:
        if pod.phase != "Running" or not pod.node_name:
            continue
        found = use.pods.get((pod.namespace, pod.name))
        if found is not None and is_use(*found):
            yield pod, Resources(cpu_cores=found[0], memory_bytes=found[1])


def _within(used: Resources, size: Resources | None) -> Resources:
    """Nobody uses more than its node has, whatever is told of it; a node without a size is one that is not known."""
    if size is None or (used.cpu_cores <= size.cpu_cores and used.memory_bytes <= size.memory_bytes):
        return used
    return Resources(
        cpu_cores=min(used.cpu_cores, size.cpu_cores or used.cpu_cores),
        memory_bytes=min(used.memory_bytes, size.memory_bytes or used.memory_bytes),
    )


def _held(pod: PodFact, at: datetime, window: timedelta, memory_span_seconds: float | None) -> Held:
    if pod.began_at is None or pod.began_at >= at:
        return Held(0.0, 0.0)
    age, whole = (at - pod.began_at).total_seconds(), window.total_seconds()
    span = whole if memory_span_seconds is None else memory_span_seconds
    return Held(min(1.0, age / whole), 1.0 if age >= span else age / span)


def _is_grown(pod: PodFact, at: datetime, window: timedelta) -> bool:
    if not pod.ready or pod.deleting or pod.began_at is None:
        return False
    return max(pod.began_at, pod.ready_at or pod.began_at) <= at - window


def _workload_of(pod: PodFact, owners: Owners) -> WorkloadKey | None:
    owner = pod.controller
    return owners.get((pod.namespace, owner.kind, owner.name)) if owner else None


def _ratio(measured: Iterable[tuple[PodFact, Resources]]) -> UseRatio | None:
    pods = list(measured)
    cpu = _quotient([(used.cpu_cores, pod.requests.cpu_cores) for pod, used in pods])
    memory = _quotient([(used.memory_bytes, pod.requests.memory_bytes) for pod, used in pods])
    return None if cpu is None and memory is None else UseRatio(cpu=cpu, memory=memory)


def _quotient(pairs: list[tuple[float, float]]) -> float | None:
    """Sum of use over sum of requests, of those that request; None where nobody does."""
    asking = sorted(pair for pair in pairs if pair[1] > 0)
    requested = sum(request for _, request in asking)
    return rounded(sum(used for used, _ in asking) / requested, _RATIO_DIGITS) if requested > 0 else None


def _sum(parts: list[Resources]) -> Resources:
    return Resources(
        cpu_cores=rounded(sum(sorted(part.cpu_cores for part in parts)), _MEASURED_DIGITS),
        memory_bytes=rounded(sum(sorted(part.memory_bytes for part in parts)), _MEASURED_DIGITS),
    )


# --- not measured yet


def recent(  # noqa: PLR0913 - all that it hangs on, by name
    census: Census,
    samples: Mapping[str, NodeSample],
    measured: Measured,
    owners: Owners,
    policy: BalancePolicy,
    *,
    most: int = MOST_BOUND,
) -> Recent:
    """Pods on a node that do not run yet, or began within the window that its load was measured over; and who just ended.

    A node whose load is stale, or not known, is taken as measured as long ago as a load may be: what began before then
    changes no score any more. Nor is a pod waited for longer that has a start and still does not run: its image may never come.
    """
    oldest = census.taken_at - policy.max_age - policy.window
    since = {node: max(oldest, sample.sampled_at - policy.window) for node, sample in samples.items()}
    young = [
        pod
        for pod in census.pods
        if pod.node_name
        and pod.is_active
        and (pod.began_at is None or pod.began_at > (since.get(pod.node_name, oldest) if _runs(pod) else oldest))
    ]
    left_out = max(0, len(young) - most)
    if left_out:
        young.sort(key=_age, reverse=True)
        del young[most:]
    expected = _Expected(measured, owners)
    told = [
        Bound(
            uid=pod.uid,
            node=pod.node_name,
            namespace=pod.namespace,
            expected=expected.of(pod),
            started_at=pod.began_at if _runs(pod) else None,
        )
        for pod in young
    ]
    told += islice(_ended(census), most - len(young))
    return Recent(tuple(sorted(told, key=lambda pod: pod.uid)), left_out)


def _ended(census: Census) -> Iterator[Bound]:
    since = census.taken_at - ENDED_STAY
    for pod in census.pods:
        began = pod.started_at or pod.created_at
        if pod.node_name and not pod.is_active and began is not None and began > since:
            yield Bound(uid=pod.uid, node=pod.node_name, namespace=pod.namespace, ended=True)


def _runs(pod: PodFact) -> bool:
    """A kubelet notes the start as soon as it has seen the pod, before it fetches images and volumes."""
    return pod.phase != "Pending"


def _age(pod: PodFact) -> tuple[bool, float, str]:
    return pod.began_at is None, pod.began_at.timestamp() if pod.began_at else 0.0, pod.uid


class _Expected:
    """What a workload's next pod is expected to use, worked out once for all of its pods that request the same."""

    def __init__(self, measured: Measured, owners: Owners) -> None:
        self._measured, self._owners = measured, owners
        self._known: dict[tuple[WorkloadKey | str, float, float], Estimate] = {}

    def of(self, pod: PodFact) -> Estimate:
        key = _workload_of(pod, self._owners)
        at = (key or pod.namespace, pod.requests.cpu_cores, pod.requests.memory_bytes)
        if (found := self._known.get(at)) is None:
            workload = Workload(key=key, use=self._measured.workloads.get(key)) if key else None
            namespace = Namespace(name=pod.namespace, use_ratio=self._measured.ratios.get(pod.namespace))
            found = self._known[at] = expect(workload, namespace, pod.requests).estimate
        return found
