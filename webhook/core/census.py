"""What was read from the API server, one value per object, before anything is concluded.

``core/inventory.py`` turns a census, the verdict book and the policy into a snapshot.
"""

from datetime import datetime

from webhook.core.model import ControllerRef, Namespace, Resources, Taint, Value


class NodeFact(Value, frozen=True):
    name: str
    labels: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()
    ready: bool = False
    unschedulable: bool = False
    allocatable: Resources = Resources()


class PodFact(Value, frozen=True):
    """``started_at`` is status.startTime; ``requests`` sums its containers', overhead included.

    ``decision`` is what the webhook stamped on it, see ``placement``; kept only until it has a node.
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


class ControllerFact(Value, frozen=True):
    """A ReplicaSet, Deployment, StatefulSet, Job or CronJob; ``run`` is of a Job alone, ``schedule`` of a CronJob."""

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


class Census(Value, frozen=True):
    """One consistent reading. ``missing`` names the kinds that could not be read, e.g. for want of a right."""

    taken_at: datetime
    nodes: tuple[NodeFact, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    pods: tuple[PodFact, ...] = ()
    controllers: tuple[ControllerFact, ...] = ()
    missing: tuple[str, ...] = ()
    server_version: str = ""
