"""What Prometheus told of pods and nodes in one sweep, typed, with absence kept apart from zero."""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from webhook.core.census import Census, PodFact
from webhook.core.model import ControllerRef, Resources, Value, WorkloadKey
from webhook.core.quantity import is_use


class SignalSample(Value, frozen=True):
    """A user's own signal of one pod or workload over the look-back; None means that no value was there."""

    peak: float | None = None
    recent: float | None = None
    points: int = 0


class WorkloadSignals(Value, frozen=True):
    """The users' own signals that speak of a workload as a whole, by the signal's name.

    ``kind`` is empty where the signal does not tell it, which suffices while one kind alone has a workload of that name.
    """

    namespace: str
    workload: str
    kind: str = ""
    signals: dict[str, SignalSample] = {}


class PodLife(Value, frozen=True):
    """Steps of the window at which kube-state-metrics told of one UID: past its start-up, and running at all."""

    expected_points: int = 0
    running_points: int = 0


class PodUsage(Value, frozen=True):
    """One pod's use over the look-back; None means that no value was there, which is never zero.

    ``*_peak`` is the largest rate of the window, ``*_recent`` that of the leave window. Steps are the multiples of
    ``step`` in the window. Those before ``startup_grace`` + ``rate_window`` of a pod's life count neither way: peaks leave
    them out, and so do ``*_points`` (steps with a value of every container, or of every interface) and
    ``expected_points`` (steps at which kube-state-metrics knew the pod). ``running_points`` counts all steps of its life.
    ``controller`` is its owner as kube-state-metrics names it, also for a pod that is gone by now; where one name had
    several in the window, what it did may have been for each of them. Pods that followed
    each other under one name, as those of a StatefulSet do, are one PodUsage: ``lives`` are those of all that
    kube-state-metrics told of in the window, by UID, ``started_at`` is the last one's. ``cpu_seconds`` is what all its
    containers have used in all, as of their last sample, and None where one of them was not seen; of Jobs' pods alone,
    ``cpu_seen_points`` are the steps at which it was scraped. ``restarts`` is how often a counter of its
    began anew within the reach of the evidence, in a new pod of its name too: what it had counted since the last scrape
    is lost. ``is_ahead`` where samples are dated in the future: what is told for now
    was so a while ago.
    """

    namespace: str
    name: str
    lives: dict[str, PodLife] = {}
    controller: ControllerRef | None = None
    other_controllers: tuple[ControllerRef, ...] = ()
    cpu_peak_cores: float | None = None
    cpu_recent_cores: float | None = None
    cpu_points: int = 0
    received_peak_bytes_per_second: float | None = None
    received_recent_bytes_per_second: float | None = None
    received_points: int = 0
    cpu_seconds: float | None = None
    cpu_seen_points: int = 0
    restarts: int = 0
    expected_points: int = 0
    running_points: int = 0
    started_at: datetime | None = None
    last_sample_at: datetime | None = None
    is_ahead: bool = False
    signals: dict[str, SignalSample] = {}

    @property
    def controllers(self) -> tuple[ControllerRef, ...]:
        """Every owner that the name had in the window."""
        return (self.controller, *self.other_controllers) if self.controller else ()

    @property
    def is_measured(self) -> bool:
        """Whether anything was told of its use."""
        rates = (
            self.cpu_peak_cores,
            self.cpu_recent_cores,
            self.received_peak_bytes_per_second,
            self.received_recent_bytes_per_second,
        )
        return any(rate is not None for rate in rates) or self.cpu_points > 0 or self.received_points > 0

    def before(self, uid: str) -> PodLife:
        """What the pods owed together that had this one's name before it."""
        others = [life for other, life in self.lives.items() if other != uid]
        return PodLife(
            expected_points=sum(life.expected_points for life in others),
            running_points=sum(life.running_points for life in others),
        )


class UsageSweep(Value, frozen=True):
    """``evaluated_at`` is the time that all queries of the sweep were evaluated for, by Prometheus' clock.

    ``answered_at`` is the Date header of its first answer. ``dropped`` counts values that were NaN, infinite, negative
    or no numbers; the pods they belonged to have None there. ``untold_steps`` are those of the window at which
    kube-state-metrics told of no pod at all: whoever came and went then has left no trace.
    """

    evaluated_at: datetime
    answered_at: datetime | None = None
    pods: tuple[PodUsage, ...] = ()
    workloads: tuple[WorkloadSignals, ...] = ()
    queries: int = 0
    dropped: int = 0
    untold_steps: int = 0
    prometheus_version: str = ""


class RunningPod(Value, frozen=True):
    """A pod that the API server says is running, with what Prometheus knows of it, if anything."""

    pod: PodFact
    usage: PodUsage | None = None
    on_still_node: bool = False

    @property
    def is_told_of(self) -> bool:
        """Whether the usage is of this very pod, and not of another's of that name: a predecessor, or another cluster's."""
        return self.usage is None or not self.usage.lives or self.pod.uid in self.usage.lives


class WorkloadUsage(Value, frozen=True):
    """All that one verdict rests on: the running pods, and the predecessors of the window that are gone."""

    key: WorkloadKey
    evaluated_at: datetime
    answered_at: datetime | None = None
    created_at: datetime | None = None
    running: tuple[RunningPod, ...] = ()
    gone: tuple[PodUsage, ...] = ()
    signals: dict[str, SignalSample] = {}
    untold_steps: int = 0


class NodeSample(Value, frozen=True):
    """One node's means over the balance window before ``sampled_at``, and the deviations around them.

    ``memory_span_seconds``: of that window, the end that its memory was sampled in, as of a node that has just come; None
    where that is not known, and taken for the whole. CPU is over the whole window, whatever of it was sampled.
    """

    node: str
    cpu_cores: float
    memory_bytes: float
    sampled_at: datetime
    source: str
    cpu_deviation_cores: float = 0.0
    memory_deviation_bytes: float = 0.0
    memory_span_seconds: float | None = None


def memory_span(told: float | None, window: timedelta) -> float:
    """The seconds that a node's mean of memory is over: as told, where that can be; else the whole window."""
    whole = window.total_seconds()
    return told if told is not None and 0 <= told < whole else whole


class NodeUsage(Value, frozen=True):
    """``match_rate`` is the share of series that lead to a node, 0..1, of the sources that loads come from.

    None where no series was there at all.
    """

    nodes: tuple[NodeSample, ...] = ()
    match_rate: float | None = None

    def dated(self, *, possible: datetime, latest: datetime) -> "NodeUsage":
        """Without samples from beyond ``possible``, which a wrong clock told, and none dated later than ``latest``.

        Who reads a snapshot holds its loads against the age of its cluster, which grows while a single watch is down.
        """
        if all(sample.sampled_at <= latest for sample in self.nodes):
            return self
        believed = (sample for sample in self.nodes if sample.sampled_at <= possible)
        nodes = tuple(msgspec.structs.replace(sample, sampled_at=min(sample.sampled_at, latest)) for sample in believed)
        return NodeUsage(nodes=nodes, match_rate=self.match_rate)


@dataclass(frozen=True, slots=True, eq=False)
class PodsUse:
    """(cores, bytes) by (namespace, pod): means over the balance window before ``evaluated_at``.

    A pod that ran for a part of the window has that part of its CPU, and the whole of its memory. One that has no value
    of either is not among them. Plain tuples, because there are tens of thousands, each poll anew.
    """

    evaluated_at: datetime
    pods: Mapping[tuple[str, str], tuple[float, float]]


class PodHabits:
    """(cores, bytes) by (namespace, pod): means over ``balance.habit`` before ``evaluated_at``, of what each ran of it.

    It is kept from poll to poll, so names are held by their hashes: 24 bytes a pod instead of hundreds. That two of a
    hundred thousand pods have the same is as likely as one in billions.
    """

    __slots__ = ("_bytes", "_cores", "_names", "evaluated_at")

    def __init__(self, evaluated_at: datetime, pods: Mapping[tuple[str, str], tuple[float, float]]) -> None:
        self.evaluated_at = evaluated_at
        found = sorted((hash(name), cores, size) for name, (cores, size) in pods.items() if is_use(cores, size))
        self._names = array("q", (name for name, _, _ in found))
        self._cores = array("d", (cores for _, cores, _ in found))
        self._bytes = array("d", (size for _, _, size in found))

    def __len__(self) -> int:
        return len(self._names)

    def of(self, namespace: str, name: str) -> Resources | None:
        """None of a pod that was not told of, or for no whole window."""
        wanted = hash((namespace, name))
        place = bisect_left(self._names, wanted)
        if place == len(self._names) or self._names[place] != wanted:
            return None
        return Resources(cpu_cores=self._cores[place], memory_bytes=self._bytes[place])


_SEVERAL = 3
"""Pods that must all stand still before their node's exporter is doubted."""

Owners = Mapping[tuple[str, str, str], WorkloadKey]
"""From (namespace, kind, name) of a pod's controller to its workload."""


def by_workload(
    census: Census, sweep: UsageSweep, *, owners: Owners, everyone: Collection[WorkloadKey] = ()
) -> dict[WorkloadKey, WorkloadUsage]:
    """Join the sweep's pods with the census', for every workload that ``owners`` knows.

    ``everyone`` are all workloads, where ``owners`` are only some: a name may be taken by another kind among them.
    A series is held for a running pod's under the namespace and name that the API server gives; whether its UID is the
    pod's as well is told by ``RunningPod.is_told_of``. A pod that is gone belongs to the workload that
    kube-state-metrics named.
    """
    known = {(usage.namespace, usage.name): usage for usage in sweep.pods}
    running: defaultdict[WorkloadKey, list[RunningPod]] = defaultdict(list)
    alive = {(pod.namespace, pod.name) for pod in census.pods if pod.phase == "Running"}
    still = still_nodes(census, known)
    for pod in census.pods:
        workload = workload_of(pod.namespace, pod.controller, owners)
        if workload and pod.phase == "Running":
            usage = known.get((pod.namespace, pod.name))
            running[workload].append(RunningPod(pod=pod, usage=usage, on_still_node=pod.node_name in still))
    gone: defaultdict[WorkloadKey, list[PodUsage]] = defaultdict(list)
    for told in sweep.pods:
        # A pod that ended before the window, and only its object is left, tells nothing of the window.
        if (told.namespace, told.name) in alive or not (told.running_points or told.is_measured):
            continue
        for owner in dict.fromkeys(workload_of(told.namespace, one, owners) for one in told.controllers):
            if owner:
                gone[owner].append(told)
    keys = _ordered(owners.values())
    own = _lent(sweep.workloads, everyone or keys)
    ages = {WorkloadKey(namespace=c.namespace, kind=c.kind, name=c.name): c.created_at for c in census.controllers}
    return {
        key: WorkloadUsage(
            key=key,
            evaluated_at=sweep.evaluated_at,
            answered_at=sweep.answered_at,
            created_at=ages.get(key) or _eldest(running[key]),
            running=tuple(running[key]),
            gone=tuple(gone[key]),
            signals=own.get(key, {}),
            untold_steps=sweep.untold_steps,
        )
        for key in keys
    }


def still_nodes(census: Census, known: Mapping[tuple[str, str], PodUsage]) -> frozenset[str]:
    """Nodes of which several pods have a rate of CPU, and every one of those is exactly zero.

    One pod may well do nothing; a node's network and log agents never all do. A frozen exporter whose samples get fresh
    time stamps looks like that, and like nothing else.
    """
    rates: defaultdict[str, list[float]] = defaultdict(list)
    for pod in census.pods:
        usage = known.get((pod.namespace, pod.name))
        if pod.phase == "Running" and pod.node_name and usage and usage.cpu_recent_cores is not None:
            rates[pod.node_name].append(usage.cpu_recent_cores)
    return frozenset(node for node, told in rates.items() if len(told) >= _SEVERAL and not any(told))


def _lent(
    everything: Iterable[WorkloadSignals], keys: Iterable[WorkloadKey]
) -> dict[WorkloadKey, dict[str, SignalSample]]:
    """Signals by workload. Where two kinds share a name, one that tells no kind could be either's, and is nobody's."""
    named: defaultdict[tuple[str, str], list[WorkloadKey]] = defaultdict(list)
    for key in keys:
        named[key.namespace, key.name].append(key)
    found: defaultdict[WorkloadKey, dict[str, SignalSample]] = defaultdict(dict)
    for signals in everything:
        candidates = named[signals.namespace, signals.workload]
        meant = [key for key in candidates if key.kind.lower() == signals.kind.lower()] if signals.kind else candidates
        if len(meant) == 1:
            mine = found[meant[0]]
            mine |= {
                name: _stricter(mine[name], told) if name in mine else told for name, told in signals.signals.items()
            }
    return found


def _stricter(one: SignalSample, other: SignalSample) -> SignalSample:
    """Of two answers for one workload: the larger values, and the fewer steps."""
    return SignalSample(
        peak=max((v for v in (one.peak, other.peak) if v is not None), default=None),
        recent=max((v for v in (one.recent, other.recent) if v is not None), default=None),
        points=min(one.points, other.points),
    )


def workload_of(namespace: str, controller: ControllerRef | None, owners: Owners) -> WorkloadKey | None:
    """The workload of a pod's controller, or None.

    A ReplicaSet or Job that is gone is led back by its name, ``<workload>-<suffix>``, where such a workload exists.
    A wrong guess adds a predecessor to it: what that used speaks against rest, and its time counts as time with a pod.
    """
    if controller is None:
        return None
    if found := owners.get((namespace, controller.kind, controller.name)):
        return found
    parent = {"ReplicaSet": "Deployment", "Job": "CronJob"}.get(controller.kind)
    stem = controller.name.rpartition("-")[0]
    return owners.get((namespace, parent, stem)) if parent and stem else None


def _eldest(pods: Iterable[RunningPod]) -> datetime | None:
    """The age of a workload whose own object is not read: at least that of its eldest pod."""
    return min((pod.pod.created_at for pod in pods if pod.pod.created_at), default=None)


def _ordered(keys: Iterable[WorkloadKey]) -> list[WorkloadKey]:
    return sorted(set(keys))
