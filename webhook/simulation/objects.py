"""What a simulated cluster is made of: how it is asked for, and the mutable state that is kept of it."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from webhook.core.affinity import Alternative
from webhook.core.bounds import part_of
from webhook.core.census import ControllerFact, NodeFact, PodFact, PodNeeds, Rollout
from webhook.core.constraints import DisruptionBudget
from webhook.core.model import ControllerRef, Requirement, Resources, Taint, Toleration, Value, WorkloadKey
from webhook.core.moves import MANAGER

MEBIBYTE = 1024.0 * 1024.0
APPS = "apps/v1"
HASH = "5d9c7b"
"""Of every template: a simulated Deployment has one ReplicaSet and is never rolled out."""
LABEL = "app"
REGULAR_LABELS = {"karpenter.sh/capacity-type": "on-demand"}
SPOT_LABELS = {"karpenter.sh/capacity-type": "spot"}
TAINTED_SPOT_LABELS = {"kubernetes.azure.com/scalesetpriority": "spot"}
Life = tuple[float, float | None]
_KEPT_LIVES = 64
"""Of pods that are gone; more than a look-back holds unless pods die by the minute."""
SPOT_TAINT = Taint("kubernetes.azure.com/scalesetpriority", "spot", "NoSchedule")


class NodeSpec(Value, frozen=True):
    """A node to add. ``tainted`` spot nodes carry their provider's own taint, as AKS's do."""

    name: str
    spot: bool = False
    tainted: bool = False
    cpu_cores: float = 8.0
    memory_bytes: float = 32_768 * MEBIBYTE
    pods: int = 110

    @property
    def fact(self) -> NodeFact:
        """As the API server tells it, Ready."""
        marker = TAINTED_SPOT_LABELS if self.tainted else SPOT_LABELS
        told = marker if self.spot else REGULAR_LABELS
        return NodeFact(
            name=self.name,
            labels={"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
            | told,
            taints=(SPOT_TAINT,) if self.spot and self.tainted else (),
            ready=True,
            allocatable=Resources(cpu_cores=self.cpu_cores, memory_bytes=self.memory_bytes),
            allocatable_pods=self.pods,
        )


class DeploymentSpec(Value, frozen=True):
    """A Deployment to add. ``start_seconds`` bounds how long a bound pod takes until it is Ready.

    ``min_available`` or ``max_unavailable_pods`` ask for a disruption budget of its own; both empty, there is none.
    """

    namespace: str
    name: str
    replicas: int = 1
    requests: Resources = Resources(cpu_cores=0.1, memory_bytes=128 * MEBIBYTE)
    strategy: str = "RollingUpdate"
    max_surge: str = "25%"
    max_unavailable: str = "25%"
    annotations: dict[str, str] = {}
    start_seconds: tuple[float, float] = (4.0, 40.0)
    min_available: str = ""
    max_unavailable_pods: str = ""

    @property
    def key(self) -> WorkloadKey:
        """Its name among workloads."""
        return WorkloadKey(self.namespace, "Deployment", self.name)


@dataclass(slots=True, eq=False)
class NodeState:
    """A node and what is bound to it; pods on their way out still hold their room."""

    fact: NodeFact
    pods: "dict[str, PodState]" = field(default_factory=dict)
    cpu_cores: float = 0.0
    memory_bytes: float = 0.0
    spot: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return self.fact.name

    def has_room(self, requests: Resources) -> bool:
        """Whether a pod with these requests fits."""
        free = self.fact.allocatable
        return (
            len(self.pods) < self.fact.allocatable_pods
            and self.cpu_cores + requests.cpu_cores <= free.cpu_cores + 1e-9
            and self.memory_bytes + requests.memory_bytes <= free.memory_bytes + 1.0
        )

    def take(self, pod: "PodState") -> None:
        """Hold the pod's room."""
        self.pods[pod.uid] = pod
        self._recount()

    def free(self, pod: "PodState") -> None:
        """Give it back."""
        self.pods.pop(pod.uid, None)
        self._recount()

    def _recount(self) -> None:
        # Summed anew, for sums of differences drift over days.
        self.cpu_cores = sum(pod.fact.requests.cpu_cores for pod in self.pods.values())
        self.memory_bytes = sum(pod.fact.requests.memory_bytes for pod in self.pods.values())


@dataclass(slots=True, eq=False)
class PodState:
    """A pod: what the API server tells of it, and what only its scheduler reads.

    ``terms`` None: no demand. ``wishes`` are alternatives of ``weight`` each. ``bound_at`` is in seconds of the cluster's life.
    """

    fact: PodFact
    owner: "DeploymentState"
    terms: tuple[Alternative, ...] | None = None
    wishes: tuple[Alternative, ...] = ()
    weight: int = 0
    tolerations: tuple[Toleration, ...] = ()
    bound_at: float | None = None

    @property
    def uid(self) -> str:
        """Its UID."""
        return self.fact.uid

    def change(self, **fields: object) -> None:
        """Give it another fact."""
        self.fact = msgspec.structs.replace(self.fact, **fields)

    @property
    def is_available(self) -> bool:
        """Whether it serves: Ready, and not on its way out."""
        return self.fact.ready and self.fact.is_active


@dataclass(slots=True, eq=False)
class DeploymentState:
    """A Deployment, its ReplicaSet and its pods.

    ``asked`` is what its ReplicaSet was last told, ``observed`` the generation that its controller has seen. The counts
    are its status, which lags behind its pods. ``is_ours``: the last word on its replicas was the mover's. ``ended`` are
    the lives of pods that are gone, the last ones only; ``stirred_at`` is when the last pod came or went, both in seconds
    of the cluster's life; ``stirs`` counts all that changes of it and its pods.
    """

    spec: DeploymentSpec
    uid: str
    replicas: int
    generation: int = 1
    observed: int = 0
    asked: int = 0
    version: int = 1
    paused: bool = False
    is_ours: bool = False
    created_at: datetime | None = None
    counts: tuple[int, int] = (0, 0)
    pods: dict[str, PodState] = field(default_factory=dict)
    ended: "deque[Life]" = field(default_factory=lambda: deque(maxlen=_KEPT_LIVES))
    stirred_at: float = 0.0
    stirs: int = 0
    scheduled: set[str] = field(default_factory=set)
    kept: tuple[ControllerFact, ...] = ()
    key: WorkloadKey = field(init=False)
    """Its name among workloads."""
    name: str = field(init=False)
    """The same, as the book writes it."""

    def __post_init__(self) -> None:
        self.key = self.spec.key
        self.name = str(self.key)

    @property
    def active(self) -> list[PodState]:
        """The pods that its controller counts."""
        return [pod for pod in self.pods.values() if pod.fact.is_active]

    @property
    def available(self) -> int:
        """How many serve at this moment."""
        return sum(pod.is_available for pod in self.pods.values())

    @property
    def lives(self) -> list[Life]:
        """Of the pods that ran of late, from being bound to their end; those that run now have none."""
        running = [pod for pod in self.pods.values() if pod.fact.phase == "Running" and pod.bound_at is not None]
        return [*self.ended, *((pod.bound_at or 0.0, None) for pod in running)]

    @property
    def set_name(self) -> str:
        """Of its ReplicaSet."""
        return f"{self.spec.name}-{HASH}"

    def touch(self) -> None:
        """Its object changed: another resource version, and what was kept of it is old."""
        self.version += 1
        self.kept = ()

    @property
    def facts(self) -> tuple[ControllerFact, ...]:
        """The Deployment and its ReplicaSet, as the API server tells them."""
        if not self.kept:
            self.kept = tuple(self._facts())
        return self.kept

    def _facts(self) -> Iterator[ControllerFact]:
        spec = self.spec
        pods, available = self.counts
        yield ControllerFact(
            api_version=APPS,
            kind="Deployment",
            namespace=spec.namespace,
            name=spec.name,
            uid=self.uid,
            annotations=spec.annotations,
            replicas=self.replicas,
            created_at=self.created_at,
            rollout=Rollout(
                strategy=spec.strategy,
                max_surge=spec.max_surge,
                max_unavailable=spec.max_unavailable,
                paused=self.paused,
                generation=self.generation,
                observed_generation=self.observed,
                replicas=pods,
                updated=pods,
                ready=available,
                available=available,
                written_by=MANAGER if self.is_ours else "kubectl",
                selector=f"{LABEL}={spec.name}",
            ),
        )
        yield ControllerFact(
            api_version=APPS,
            kind="ReplicaSet",
            namespace=spec.namespace,
            name=self.set_name,
            uid=f"{self.uid}-set",
            controller=ControllerRef(kind="Deployment", name=spec.name, uid=self.uid, api_version=APPS),
            replicas=self.asked,
        )

    @property
    def reference(self) -> ControllerRef:
        """What its pods name as their controller."""
        return ControllerRef(kind="ReplicaSet", name=self.set_name, uid=f"{self.uid}-set", api_version=APPS)

    def needs(self, terms: tuple[Alternative, ...] | None, tolerations: tuple[Toleration, ...]) -> PodNeeds:
        """Of a pod of it that was admitted with these."""
        return PodNeeds(labels=((LABEL, self.spec.name),), terms=terms, tolerations=tolerations)

    @property
    def has_budget(self) -> bool:
        """Whether a disruption budget selects its pods."""
        return bool(self.spec.min_available or self.spec.max_unavailable_pods)

    @property
    def budget(self) -> DisruptionBudget:
        """Its disruption budget and what that allows at this moment."""
        healthy = self.available
        wanted = self.budget_minimum
        return DisruptionBudget(
            namespace=self.spec.namespace,
            name=self.spec.name,
            selector=(Requirement(LABEL, "In", (self.spec.name,)),),
            min_available=self.spec.min_available,
            max_unavailable=self.spec.max_unavailable_pods,
            disruptions_allowed=max(0, healthy - wanted),
            current_healthy=healthy,
            desired_healthy=wanted,
            expected_pods=self.replicas,
        )

    @property
    def budget_minimum(self) -> int:
        """How many pods its disruption budget wants healthy; percents are rounded up, as Kubernetes does."""
        if self.spec.max_unavailable_pods:
            return max(0, self.replicas - _rounded_up(self.spec.max_unavailable_pods, self.replicas))
        return _rounded_up(self.spec.min_available, self.replicas) if self.spec.min_available else 0

    def floor(self, replicas: int) -> int:
        """How many must stay available while one of ``replicas`` is evicted, by budget and strategy."""
        return max(self.budget_minimum, replicas - part_of(self.spec.max_unavailable, replicas))


def _rounded_up(text: str, whole: int) -> int:
    return -(-whole * int(text[:-1]) // 100) if text.endswith("%") else int(text)
