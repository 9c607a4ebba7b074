"""What was read from the API server, one value per object, before anything is concluded.

``core/inventory.py`` turns a census, the verdict book and the policy into a snapshot.
"""

from datetime import datetime

from webhook.core.constraints import Constraints
from webhook.core.model import ControllerRef, Namespace, Requirement, Resources, Taint, Toleration, Value


class NodeFact(Value, frozen=True):
    """``extended`` are allocatable amounts of all else than CPU, memory and pods, such as ``nvidia.com/gpu``."""

    name: str
    labels: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()
    ready: bool = False
    unschedulable: bool = False
    allocatable: Resources = Resources()
    allocatable_pods: int = 110
    extended: dict[str, float] = {}


FINISHED = ("Succeeded", "Failed")
"""Phases of pods that hold nothing any more."""


class PodNeeds(Value, frozen=True):
    """What a pod asks of the node it runs on, and what speaks against moving it; pods of one template share one.

    ``terms`` are the required node affinity's, each a conjunction; None where there is no such demand. ``by_name``:
    selector or terms ask for a node by its name. ``claims`` are PersistentVolumeClaims by name; ``local_volumes`` the
    names of its volumes whose data is lost by a move: hostPath, emptyDir unless it is in memory, and ephemeral ones, whose
    claims die with the pod. ``apart_by`` and ``spread_by`` are topology keys: of a required anti-affinity, and of a spread
    that must hold. ``annotations`` are only those that decisions read, ours and other tools'; ``labels`` are all, for
    budgets select by them.
    """

    node_selector: tuple[tuple[str, str], ...] = ()
    terms: tuple[tuple[Requirement, ...], ...] | None = None
    by_name: bool = False
    tolerations: tuple[Toleration, ...] = ()
    host_ports: tuple[int, ...] = ()
    host_path: bool = False
    local_volumes: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    apart_by: tuple[str, ...] = ()
    spread_by: tuple[str, ...] = ()
    extended: tuple[tuple[str, float], ...] = ()
    critical: bool = False
    static: bool = False
    scheduler_name: str = ""
    annotations: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


class PodFact(Value, frozen=True):
    """``started_at`` is status.startTime; ``requests`` sums its containers', overhead included.

    ``running_since`` is when the first of its containers began, where that was a good while after the kubelet had seen
    the pod; None elsewhere, and where an earlier container of its may have run. ``ready_at`` is when its Ready condition
    last changed; ``restarts`` the most of any of its containers proper, ``sidecar_restarts`` of any of its init containers
    that restart always.
    ``decision`` is what the webhook stamped on it, see ``placement``. ``deletion_cost`` is the annotation that the
    ReplicaSet controller reads, 0 where it is absent or no number.
    """

    namespace: str
    name: str
    uid: str
    controller: ControllerRef | None = None
    node_name: str = ""
    phase: str = "Pending"
    ready: bool = False
    deleting: bool = False
    host_network: bool = False
    created_at: datetime | None = None
    started_at: datetime | None = None
    requests: Resources = Resources()
    decision: str = ""
    deletion_cost: int = 0
    ready_at: datetime | None = None
    restarts: int = 0
    sidecar_restarts: int = 0
    needs: PodNeeds = PodNeeds()
    running_since: datetime | None = None

    @property
    def began_at(self) -> datetime | None:
        """When it began to use anything: a kubelet notes the start before it fetches images and volumes."""
        return self.running_since or self.started_at

    @property
    def is_active(self) -> bool:
        """Whether its controller counts it: neither finished nor on its way out."""
        return not self.deleting and self.phase not in FINISHED


class JobRun(Value, frozen=True):
    """A Job that ended, by its Complete or Failed condition; ``pods`` are those it counts as succeeded or failed."""

    started_at: datetime
    ended_at: datetime
    succeeded: bool
    pods: int = 0


class CronStatus(Value, frozen=True):
    """What a CronJob says of its runs, which outlives their Jobs; ``active`` names Jobs that have not ended.

    ``last_schedule_at`` is the time its newest Job was due, None for one that was never scheduled, or tells nothing.
    """

    last_schedule_at: datetime | None = None
    last_success_at: datetime | None = None
    active: tuple[str, ...] = ()


class Rollout(Value, frozen=True):
    """How a Deployment or StatefulSet is brought from one template to the next, and how far it is.

    ``max_surge`` and ``max_unavailable`` as they are written, a number or percent. ``generation`` is the object's,
    ``observed_generation`` the last that its controller has seen. ``replicas``, ``updated``, ``ready`` and
    ``available`` count pods, by the controller's own word. ``applied_by`` is the manager that applies spec.replicas
    (server-side apply), empty where none does; ``written_by`` the one that last wrote them otherwise, empty where that is
    not known, or they were applied since. ``selector`` selects its pods.
    """

    strategy: str = "RollingUpdate"
    max_surge: str = "25%"
    max_unavailable: str = "25%"
    paused: bool = False
    min_ready_seconds: int = 0
    generation: int = 0
    observed_generation: int = 0
    replicas: int = 0
    updated: int = 0
    ready: int = 0
    available: int = 0
    applied_by: str = ""
    written_by: str = ""
    selector: str = ""


class ControllerFact(Value, frozen=True):
    """A ReplicaSet, Deployment, StatefulSet, Job or CronJob.

    ``run`` is of a Job alone, ``schedule`` of a CronJob, ``rollout`` of a Deployment or StatefulSet.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    controller: ControllerRef | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    replicas: int | None = None
    created_at: datetime | None = None
    run: JobRun | None = None
    schedule: CronStatus | None = None
    rollout: Rollout | None = None


class Departed(Value, frozen=True):
    """A pod that ran on a node and is no more; no other pod has its name soon. ``ended_at`` is when that was seen, or known."""

    namespace: str
    name: str
    node_name: str
    began_at: datetime
    ended_at: datetime


class Census(Value, frozen=True):
    """One consistent reading. ``missing`` names the kinds that could not be read, e.g. for want of a right.

    ``constraints`` are read only where something may be moved; None elsewhere. ``departed`` are pods that were deleted
    within the last minutes, where somebody watched; ``pods`` has those that ended and are still there.
    """

    taken_at: datetime
    nodes: tuple[NodeFact, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    pods: tuple[PodFact, ...] = ()
    controllers: tuple[ControllerFact, ...] = ()
    missing: tuple[str, ...] = ()
    server_version: str = ""
    constraints: Constraints | None = None
    departed: tuple[Departed, ...] = ()
