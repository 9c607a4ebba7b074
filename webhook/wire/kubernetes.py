"""The API server's JSON, decoded only where we look, straight into the values of the core.

Lists and watch events come as bytes; of a pod's 20 KiB some hundred bytes survive. One object
that cannot be read is left out and counted: it must not hide the others. The module is long
because it has the shape of every kind that is read.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from webhook.core.census import ControllerFact, CronStatus, JobRun, NodeFact, PodFact
from webhook.core.model import ControllerRef, Namespace, Resources, Taint, Value
from webhook.core.pod import OwnerReference
from webhook.core.quantity import to_float
from webhook.errors import QuantityError

Fact = NodeFact | PodFact | ControllerFact | Namespace
Key = tuple[str, str]
"""Namespace ("" for kinds without) and name."""


class ObjectMeta(Value, frozen=True):
    """Of any object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None

    @property
    def controller(self) -> ControllerRef | None:
        """The owner with ``controller: true``."""
        found = next((owner for owner in self.owner_references or () if owner.controller), None)
        if found is None:
            return None
        return ControllerRef(kind=found.kind, name=found.name, uid=found.uid, api_version=found.api_version)

    @property
    def key(self) -> Key:
        """Unique within its kind."""
        return (self.namespace, self.name)


class _Condition(Value, frozen=True):
    type: str = ""
    status: str = ""
    last_transition_time: datetime | None = None


def _is_ready(conditions: tuple[_Condition, ...] | None) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in conditions or ())


class _NodeSpec(Value, frozen=True):
    taints: tuple[Taint, ...] | None = None
    unschedulable: bool | None = None


class _NodeStatus(Value, frozen=True):
    conditions: tuple[_Condition, ...] | None = None
    allocatable: dict[str, str] | None = None


class _Object(Value, frozen=True):
    metadata: ObjectMeta = ObjectMeta()


class _Node(_Object, frozen=True):
    spec: _NodeSpec = _NodeSpec()
    status: _NodeStatus = _NodeStatus()

    def fact(self) -> NodeFact:
        return NodeFact(
            name=self.metadata.name,
            labels=self.metadata.labels or {},
            taints=self.spec.taints or (),
            ready=_is_ready(self.status.conditions),
            unschedulable=bool(self.spec.unschedulable),
            allocatable=_resources(self.status.allocatable),
        )


class _Namespace(_Object, frozen=True):
    def fact(self) -> Namespace:
        meta = self.metadata
        return Namespace(name=meta.name, annotations=meta.annotations or {}, labels=meta.labels or {})


class _Requirements(Value, frozen=True):
    requests: dict[str, str] | None = None


class _Container(Value, frozen=True):
    resources: _Requirements = _Requirements()
    restart_policy: str | None = None


class _PodSpec(Value, frozen=True):
    node_name: str | None = None
    host_network: bool | None = None
    containers: tuple[_Container, ...] | None = None
    init_containers: tuple[_Container, ...] | None = None
    overhead: dict[str, str] | None = None
    resources: _Requirements | None = None


class _PodStatus(Value, frozen=True):
    phase: str | None = None
    conditions: tuple[_Condition, ...] | None = None
    start_time: datetime | None = None


class _Pod(_Object, frozen=True):
    spec: _PodSpec = _PodSpec()
    status: _PodStatus = _PodStatus()

    def fact(self) -> PodFact:
        meta = self.metadata
        return PodFact(
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            controller=meta.controller,
            node_name=self.spec.node_name or "",
            phase=self.status.phase or "Pending",
            ready=_is_ready(self.status.conditions),
            deleting=meta.deletion_timestamp is not None,
            host_network=bool(self.spec.host_network),
            created_at=meta.creation_timestamp,
            started_at=self.status.start_time,
            requests=_pod_requests(self.spec),
            decision="" if self.spec.node_name else (meta.annotations or {}).get(_DECISION, ""),
        )


_DECISION = "spot-balancer.io/decision"


class _ControllerSpec(Value, frozen=True):
    replicas: int | None = None


class _ControllerStatus(Value, frozen=True):
    pass


class _JobStatus(_ControllerStatus, frozen=True):
    start_time: datetime | None = None
    conditions: tuple[_Condition, ...] | None = None
    succeeded: int | None = None
    failed: int | None = None


class _Reference(Value, frozen=True):
    name: str = ""


class _CronStatus(_ControllerStatus, frozen=True):
    last_schedule_time: datetime | None = None
    last_successful_time: datetime | None = None
    active: tuple[_Reference, ...] | None = None


class _Controller(_Object, frozen=True):
    spec: _ControllerSpec = _ControllerSpec()
    status: _ControllerStatus = _ControllerStatus()

    def fact_of(self, api_version: str, kind: str) -> ControllerFact:
        meta = self.metadata
        return ControllerFact(
            api_version=api_version,
            kind=kind,
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            controller=meta.controller,
            labels=meta.labels or {},
            annotations=meta.annotations or {},
            replicas=self.spec.replicas,
            created_at=meta.creation_timestamp,
            run=_run(self.status) if isinstance(self.status, _JobStatus) else None,
            schedule=_schedule(self.status) if isinstance(self.status, _CronStatus) else None,
        )


class _Job(_Controller, frozen=True):
    status: _JobStatus = _JobStatus()


class _CronJob(_Controller, frozen=True):
    status: _CronStatus = _CronStatus()


def _schedule(status: _CronStatus) -> CronStatus:
    return CronStatus(
        last_schedule_at=status.last_schedule_time,
        last_success_at=status.last_successful_time,
        active=tuple(reference.name for reference in status.active or () if reference.name),
    )


def _run(status: _JobStatus) -> JobRun | None:
    """How a Job ended; None while it runs."""
    ended = next((c for c in status.conditions or () if c.type in _ENDED and c.status == "True"), None)
    if ended is None or ended.last_transition_time is None or status.start_time is None:
        return None
    return JobRun(
        started_at=status.start_time,
        ended_at=ended.last_transition_time,
        succeeded=ended.type == "Complete",
        pods=(status.succeeded or 0) + (status.failed or 0),
    )


_ENDED = frozenset({"Complete", "Failed"})


def _resources(amounts: Mapping[str, str] | None) -> Resources:
    found = amounts or {}
    return Resources(cpu_cores=_amount(found.get("cpu", "0")), memory_bytes=_amount(found.get("memory", "0")))


def _amount(text: str) -> float:
    """Zero where it cannot be read: the API server validates quantities, so this is no number anybody set."""
    try:
        return to_float(text)
    except QuantityError:
        return 0.0


def _pod_requests(spec: _PodSpec) -> Resources:
    """What a running pod holds: its containers and sidecars, or its own budget, and the overhead.

    Init containers that end are left out: they say nothing of what the pod needs while it runs.
    """
    sidecars = [c for c in spec.init_containers or () if c.restart_policy == "Always"]
    parts = [_resources(c.resources.requests) for c in (*(spec.containers or ()), *sidecars)]
    cpu, memory = sum(p.cpu_cores for p in parts), sum(p.memory_bytes for p in parts)
    whole = (spec.resources.requests if spec.resources else None) or {}
    overhead = _resources(spec.overhead)
    return Resources(
        cpu_cores=(_amount(whole["cpu"]) if "cpu" in whole else cpu) + overhead.cpu_cores,
        memory_bytes=(_amount(whole["memory"]) if "memory" in whole else memory) + overhead.memory_bytes,
    )


class Entry(Value, frozen=True):
    """One object: its place, its version and what is known of it."""

    key: Key
    resource_version: str
    fact: Fact | Value


class Resource(Value, frozen=True):
    """A kind that is read: where it lives and how its objects are decoded."""

    kind: str
    plural: str
    api_version: str
    read: Callable[[bytes], Entry]
    namespace: str = ""
    """Only that namespace's objects; empty means all."""

    @property
    def path(self) -> str:
        """The path of its collection."""
        prefix = "/apis/" if "/" in self.api_version else "/api/"
        scope = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{prefix}{self.api_version}{scope}/{self.plural}"


def _reader(shape: type[_Node] | type[_Pod] | type[_Namespace]) -> Callable[[bytes], Entry]:
    decoder: msgspec.json.Decoder[_Node | _Pod | _Namespace] = msgspec.json.Decoder(shape)

    def read(raw: bytes) -> Entry:
        found = decoder.decode(raw)
        return Entry(key=found.metadata.key, resource_version=found.metadata.resource_version, fact=found.fact())

    return read


def _controllers(kind: str, plural: str, api_version: str, shape: type[_Controller] = _Controller) -> Resource:
    decoder: msgspec.json.Decoder[_Controller] = msgspec.json.Decoder(shape)

    def read(raw: bytes) -> Entry:
        found = decoder.decode(raw)
        fact = found.fact_of(api_version, kind)
        return Entry(key=found.metadata.key, resource_version=found.metadata.resource_version, fact=fact)

    return Resource(kind=kind, plural=plural, api_version=api_version, read=read)


RESOURCES: tuple[Resource, ...] = (
    Resource(kind="Node", plural="nodes", api_version="v1", read=_reader(_Node)),
    Resource(kind="Pod", plural="pods", api_version="v1", read=_reader(_Pod)),
    Resource(kind="Namespace", plural="namespaces", api_version="v1", read=_reader(_Namespace)),
    _controllers("ReplicaSet", "replicasets", "apps/v1"),
    _controllers("Deployment", "deployments", "apps/v1"),
    _controllers("StatefulSet", "statefulsets", "apps/v1"),
    _controllers("Job", "jobs", "batch/v1", _Job),
    _controllers("CronJob", "cronjobs", "batch/v1", _CronJob),
)
"""All that is read of a cluster; the rights of the chart's ClusterRole are these."""


class _ListMeta(Value, frozen=True):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(Value, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: tuple[msgspec.Raw, ...] | None = None


class Page(Value, frozen=True):
    """One page of a list; ``next_page`` is empty on the last. ``unreadable`` counts objects left out."""

    entries: tuple[Entry, ...]
    resource_version: str
    next_page: str = ""
    unreadable: int = 0


_list_decoder = msgspec.json.Decoder(_List)


def decode_page(body: bytes, resource: Resource) -> Page:
    """Read one page. Raises ValueError where the body is no list at all."""
    found = _list_decoder.decode(body)
    if found.items is None or not found.metadata.resource_version:
        raise ValueError(f"no list of {resource.plural}")
    entries = [entry for raw in found.items if (entry := _read(raw, resource)) is not None]
    return Page(
        entries=tuple(entries),
        resource_version=found.metadata.resource_version,
        next_page=found.metadata.continue_,
        unreadable=len(found.items) - len(entries),
    )


def _read(raw: msgspec.Raw, resource: Resource) -> Entry | None:
    try:
        entry = resource.read(bytes(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return entry if entry.key[1] else None


class _Status(Value, frozen=True):
    code: int = 0
    message: str = ""


class _Event(Value, frozen=True):
    type: str
    object: msgspec.Raw = msgspec.Raw(b"{}")


class Event(Value, frozen=True):
    """One line of a watch.

    ``kind`` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR; ``entry`` is None for the last two, and for an object that
    cannot be read. ``code`` and ``message`` are an ERROR's.
    """

    kind: str
    entry: Entry | None = None
    resource_version: str = ""
    code: int = 0
    message: str = ""


_event_decoder = msgspec.json.Decoder(_Event)
_object_decoder = msgspec.json.Decoder(_Object)
_status_decoder = msgspec.json.Decoder(_Status)


def decode_event(line: bytes, resource: Resource) -> Event:
    """Read one line of a watch. Raises ValueError where it is no event."""
    found = _event_decoder.decode(line)
    raw = bytes(found.object)
    match found.type:
        case "ERROR":
            status = _status_decoder.decode(raw)
            return Event(kind="ERROR", code=status.code, message=status.message)
        case "BOOKMARK":
            return Event(kind="BOOKMARK", resource_version=_object_decoder.decode(raw).metadata.resource_version)
        case "ADDED" | "MODIFIED" | "DELETED":
            entry = _read(found.object, resource)
            return Event(kind=found.type, entry=entry, resource_version=entry.resource_version if entry else "")
    raise ValueError(f"no watch event: {found.type[:40]!r}")


class _Version(Value, frozen=True):
    git_version: str = ""


def decode_version(body: bytes) -> str:
    """``gitVersion`` of /version; empty where it does not say. Raises ValueError."""
    return msgspec.json.decode(body, type=_Version).git_version


def decode_message(body: bytes) -> str:
    """A Status' message, for people; whatever else came in place of it, cut short."""
    try:
        return msgspec.json.decode(body, type=_Status).message[:300]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[:200].decode("utf-8", "replace")
