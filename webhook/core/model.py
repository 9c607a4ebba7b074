"""The values that decisions are made of.

All are frozen. They are msgspec structs, so that the wire floor decodes straight into
them and one type serves the file, the memory and the decision. In JSON their keys are
camelCase and carry units (``cpuCores``, ``memoryBytes``); times are RFC 3339 in UTC.
"""

from datetime import datetime
from enum import StrEnum
from typing import Self

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of all values: immutable, comparable, camelCase on the wire, unknown keys ignored."""


class CapacityType(StrEnum):
    """What a node costs and risks. A node that only looks like spot (a fallback node) is regular."""

    SPOT = "spot"
    REGULAR = "regular"


class Side(StrEnum):
    """Where a workload belongs, as kept in the verdict book."""

    REGULAR = "regular"
    SPOT = "spot"


class Evidence(StrEnum):
    """What one run of the monitor saw. Unknown is an answer of its own and changes nothing."""

    IDLE = "idle"
    ACTIVE = "active"
    UNKNOWN = "unknown"


class WorkloadKey(Value, frozen=True, order=True):
    """Names the top controller of a pod, as in ``shop/Deployment/nginx-demo``."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``namespace/Kind/name``. Raises ValueError that says what is missing."""
        parts = text.split("/")
        if len(parts) != 3 or not all(parts):
            raise ValueError(f"{text!r} is not <namespace>/<kind>/<name>, as in shop/Deployment/nginx-demo")
        return cls(namespace=parts[0], kind=parts[1], name=parts[2])


class ControllerRef(Value, frozen=True):
    """An ownerReferences entry with ``controller: true``."""

    kind: str
    name: str
    uid: str = ""
    api_version: str = ""


class Platform(Value, frozen=True, order=True):
    """Operating system and architecture, as in ``kubernetes.io/os`` and ``kubernetes.io/arch``."""

    os: str = "linux"
    architecture: str = "amd64"


class Requirement(Value, frozen=True):
    """A node selector requirement: operator is In, NotIn, Exists, DoesNotExist, Gt or Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class Taint(Value, frozen=True):
    """A node's taint; effect is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


class Toleration(Value, frozen=True):
    """A pod's toleration. An empty key with Exists tolerates everything, an empty effect every effect."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None
    toleration_seconds: int | None = None


class Resources(Value, frozen=True):
    """An amount of CPU and memory."""

    cpu_cores: float = 0.0
    memory_bytes: float = 0.0


class Estimate(Value, frozen=True):
    """What is expected of one or several pods: means and standard deviations, of what they really use."""

    cpu_cores: float = 0.0
    cpu_deviation_cores: float = 0.0
    memory_bytes: float = 0.0
    memory_deviation_bytes: float = 0.0


class PodUse(Estimate, frozen=True):
    """What one pod of a workload uses: mean and deviation over ``pods`` running ones that were measured.

    ``cpu_by_request`` and ``memory_by_request`` say how much of the mean their requests told, 0..1, see ``core/trust.py``.
    """

    pods: int = 0
    cpu_by_request: float = 0.0
    memory_by_request: float = 0.0


class UseRatio(Value, frozen=True):
    """Use over requests of a namespace's running pods, of those that request; None where nothing tells."""

    cpu: float | None = None
    memory: float | None = None


class NodeLoad(Value, frozen=True):
    """What a node really uses: mean over the balance window before ``sampled_at``, and the standard deviation around it.

    ``source`` says which metric told, e.g. ``node-exporter`` or ``cadvisor``. ``namespaces`` is the part of each
    namespace's pods, where it is known. ``expected`` is what the same window
    would have shown had each pod used what its owner's pods do, by the part of the window that it ran; None where that is
    not known. ``memory_span_seconds`` is as of ``NodeSample``.
    """

    cpu_cores: float
    memory_bytes: float
    sampled_at: datetime
    source: str
    cpu_deviation_cores: float = 0.0
    memory_deviation_bytes: float = 0.0
    namespaces: dict[str, Resources] = {}
    expected: Resources | None = None
    memory_span_seconds: float | None = None


class Bound(Value, frozen=True):
    """A pod whose node's measured window does not hold all of it yet: it started within, or not at all so far.

    ``expected`` is what it is taken to use. ``started_at`` None: bound, and not yet running. ``ended``: it came and went so
    quickly that it may still be held for its score; it uses nothing.
    """

    uid: str
    node: str
    namespace: str
    expected: Estimate = Estimate()
    started_at: datetime | None = None
    ended: bool = False


class Node(Value, frozen=True):
    """A node as decisions see it.

    ``labels`` holds only the keys that decisions read (capacity markers, platform, topology).
    ``marker`` is the alternative that made it spot; ``recognised_by`` says in words how the
    class was found, for people. ``ready`` is the Ready condition, ``schedulable`` is not cordoned.
    """

    name: str
    capacity_type: CapacityType
    recognised_by: str = ""
    marker: tuple[Requirement, ...] = ()
    labels: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()
    platform: Platform = Platform()
    ready: bool = True
    schedulable: bool = True
    allocatable: Resources = Resources()
    load: NodeLoad | None = None


class Namespace(Value, frozen=True):
    """A namespace's own settings: only annotations and labels that decisions read.

    ``weight`` is its part in what a node can give, beside other namespaces' weights; ``weight_rule`` the rule that gives
    it one, by name, which an annotation may outdo. ``use_ratio`` is what its pods use of what they request.
    """

    name: str
    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}
    weight: float = 1.0
    weight_rule: str = ""
    use_ratio: UseRatio | None = None


class Signal(Value, frozen=True):
    """One signal of one run: value and thresholds share ``unit``; None means there was no value.

    ``coverage`` is pod-time seen over pod-time existed, 0..1; ``window_seconds`` how far it looked back. ``samples`` of
    ``samples_expected`` steps had a value, over all pods; ``sampled_at`` is the oldest of their last samples.
    """

    name: str
    unit: str
    value: float | None = None
    recent: float | None = None
    idle_below: float = 0.0
    active_above: float = 0.0
    window_seconds: float = 0.0
    coverage: float | None = None
    samples: int = 0
    samples_expected: int = 0
    sampled_at: datetime | None = None


class BatchRun(Value, frozen=True):
    """One run of a CronJob. None means that nobody saw it, which is never nothing.

    While ``ended`` is False, nobody saw its end: ``seconds`` and ``cpu_seconds`` are then what was seen of it at least,
    in coarse steps, and zero seconds may mean that only its start is known. It never counts as succeeded.
    """

    job: str
    started_at: datetime
    seconds: float
    succeeded: bool
    cpu_seconds: float | None = None
    on_spot: bool | None = None
    ended: bool = True


class Memory(Value, frozen=True):
    """What is remembered of a workload's moves, beside its verdict.

    ``learnt`` is the number of the last move taken into account. ``misses`` count since the last move that stuck.
    ``not_before`` is when the next may begin, ``returned_at`` when the last return to regular began, ``dwell_factor``
    how often the dwell was doubled. The canary is the first pod of this transition on spot: ``canary`` is its
    transition, ``canary_at`` when it landed.
    """

    learnt: int = 0
    misses: int = 0
    not_before: datetime | None = None
    last_outcome: str = ""
    moved_at: datetime | None = None
    returned_at: datetime | None = None
    dwell_factor: int = 1
    canary: int = 0
    canary_at: datetime | None = None


class Verdict(Value, frozen=True):
    """What the book keeps of a workload.

    ``side`` changes by core/sides alone. ``transitions`` counts its changes of side; it orders
    the pods of a workload for the ReplicaSet controller. ``idle_runs`` is the current run of
    idle evidence. ``good_at`` is when evidence was last idle or active, ``judged_at`` the last run that was
    written down; both are coarse, because a shard is written on change, not every minute. ``runs`` are a CronJob's
    last ones, the one that ended last first. ``memory`` is of its moves, which only the mover makes.
    """

    key: WorkloadKey
    uid: str
    side: Side = Side.REGULAR
    since: datetime | None = None
    transitions: int = 0
    idle_runs: int = 0
    evidence: Evidence = Evidence.UNKNOWN
    reason: str = ""
    signals: tuple[Signal, ...] = ()
    good_at: datetime | None = None
    judged_at: datetime | None = None
    runs: tuple[BatchRun, ...] = ()
    memory: Memory = Memory()


class Workload(Value, frozen=True):
    """The top controller of pods, with its verdict and what its pods are doing now.

    ``controllers`` are the objects between it and its pods (ReplicaSets, Jobs), or itself.
    ``replicas`` is the wish, None for kinds without one. ``ready_platforms`` are those of the
    nodes its Ready pods run on: where it is known to run. ``risen_at`` is when the replicas
    last rose by someone else's hand. While a move of ours holds one replica more, ``surge_to`` is the side that its new
    pods must go to.
    ``pods_bound_for_spot`` were admitted with a wish for spot and have no node yet.
    ``rule`` names the operator's rule that matches it, by what the snapshot no longer holds: its labels.
    ``use`` is what one of its running pods uses, None where none was measured.
    """

    key: WorkloadKey
    uid: str = ""
    api_version: str = ""
    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}
    replicas: int | None = None
    pods: int = 0
    pods_on_spot: int = 0
    pods_bound_for_spot: int = 0
    ready_platforms: tuple[Platform, ...] = ()
    controllers: tuple[ControllerRef, ...] = ()
    created_at: datetime | None = None
    risen_at: datetime | None = None
    surge_to: Side | None = None
    rule: str = ""
    use: PodUse | None = None
    verdict: Verdict | None = None

    @property
    def surging(self) -> bool:
        """Whether a move of ours holds one replica more, or may."""
        return self.surge_to is not None
