"""The API server's JSON, decoded only where we look, straight into the values of the core.

Lists and watch events come as bytes; of a pod's 20 KiB some hundred bytes survive. One object
that cannot be read is left out and counted: it must not hide the others.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from webhook.core.census import ControllerFact, NodeFact, PodFact
from webhook.core.model import Namespace, Taint, Value
from webhook.wire import pod_needs
from webhook.wire.controllers import Controller, CronJob, Deployment, Job, StatefulSet
from webhook.wire.objects import Condition, Key, Object, amount, condition, resources
from webhook.wire.pod_needs import PodSpec

Fact = NodeFact | PodFact | ControllerFact | Namespace
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_BASIC = ("cpu", "memory", "pods")
_LONG_AFTER = timedelta(seconds=10)


class _NodeSpec(Value, frozen=True):
    taints: tuple[Taint, ...] | None = None
    unschedulable: bool | None = None


class _NodeStatus(Value, frozen=True):
    conditions: tuple[Condition, ...] | None = None
    allocatable: dict[str, str] | None = None


class _Node(Object, frozen=True):
    spec: _NodeSpec = _NodeSpec()
    status: _NodeStatus = _NodeStatus()

    def fact(self) -> NodeFact:
        allocatable = self.status.allocatable or {}
        return NodeFact(
            name=self.metadata.name,
            labels=self.metadata.labels or {},
            taints=self.spec.taints or (),
            ready=condition(self.status.conditions, "Ready").status == "True",
            unschedulable=bool(self.spec.unschedulable),
            allocatable=resources(allocatable),
            allocatable_pods=int(amount(allocatable.get("pods", "0"))),
            extended={name: amount(text) for name, text in allocatable.items() if name not in _BASIC},
        )


class _Namespace(Object, frozen=True):
    def fact(self) -> Namespace:
        meta = self.metadata
        return Namespace(name=meta.name, annotations=meta.annotations or {}, labels=meta.labels or {})


class _Running(Value, frozen=True):
    started_at: datetime | None = None


class _Terminated(Value, frozen=True):
    pass


class _State(Value, frozen=True):
    running: _Running | None = None
    terminated: _Terminated | None = None


class _ContainerStatus(Value, frozen=True):
    name: str = ""
    restart_count: int = 0
    state: _State | None = None


class _PodStatus(Value, frozen=True):
    phase: str | None = None
    conditions: tuple[Condition, ...] | None = None
    start_time: datetime | None = None
    container_statuses: tuple[_ContainerStatus, ...] | None = None
    init_container_statuses: tuple[_ContainerStatus, ...] | None = None


class _Pod(Object, frozen=True):
    spec: PodSpec = PodSpec()
    status: _PodStatus = _PodStatus()

    def fact(self) -> PodFact:
        meta, spec, status = self.metadata, self.spec, self.status
        annotations, controller = meta.annotations or {}, meta.controller
        ready = condition(status.conditions, "Ready")
        owner_kind = controller.kind if controller else ""
        return PodFact(
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            controller=controller,
            node_name=spec.node_name or "",
            phase=status.phase or "Pending",
            ready=ready.status == "True",
            deleting=meta.deletion_timestamp is not None,
            host_network=bool(spec.host_network),
            created_at=meta.creation_timestamp,
            started_at=status.start_time,
            requests=pod_needs.requests(spec),
            decision=annotations.get(pod_needs.DECISION, ""),
            deletion_cost=deletion_cost(annotations),
            ready_at=ready.last_transition_time,
            restarts=_most_restarts(status.container_statuses),
            sidecar_restarts=self._sidecar_restarts(),
            needs=pod_needs.needs(spec, labels=meta.labels or {}, annotations=annotations, owner_kind=owner_kind),
            running_since=_running_since(status),
        )

    def _sidecar_restarts(self) -> int:
        statuses = self.status.init_container_statuses
        if not statuses:
            return 0
        names = {container.name for container in self.spec.sidecars}
        return _most_restarts(status for status in statuses if status.name in names)


def _most_restarts(statuses: Iterable[_ContainerStatus] | None) -> int:
    return max((status.restart_count for status in statuses or ()), default=0)


def _running_since(status: _PodStatus) -> datetime | None:
    """When its first container began, if that was long after the start; of tens of thousands of pods, few keep a time more."""
    statuses = status.container_statuses or ()
    if not status.start_time or any(one.restart_count or (one.state and one.state.terminated) for one in statuses):
        return None
    running = [one.state.running.started_at for one in statuses if one.state and one.state.running]
    known = [moment for moment in (status.start_time, *running) if moment is not None and moment.tzinfo is not None]
    if len(known) < 1 + len(running) or not running:
        return None
    first = min(known[1:])
    return first if first - status.start_time >= _LONG_AFTER else None


def deletion_cost(annotations: Mapping[str, str]) -> int:
    """What the ReplicaSet controller reads of it: a whole number of 32 bits without plus and leading zeros, or zero."""
    text = annotations.get(_DELETION_COST)
    if text is None or not _COST.fullmatch(text):
        return 0
    cost = int(text)
    return cost if -(2**31) <= cost < 2**31 else 0


_COST = re.compile(r"0|[1-9]\d{0,9}|-\d{1,64}", re.ASCII)
"""After a minus, and only there, leading zeros are let through."""


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


def _controllers(kind: str, plural: str, api_version: str, shape: type[Controller] = Controller) -> Resource:
    decoder: msgspec.json.Decoder[Controller] = msgspec.json.Decoder(shape)

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
    _controllers("Deployment", "deployments", "apps/v1", Deployment),
    _controllers("StatefulSet", "statefulsets", "apps/v1", StatefulSet),
    _controllers("Job", "jobs", "batch/v1", Job),
    _controllers("CronJob", "cronjobs", "batch/v1", CronJob),
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


def resource_in(resource: Resource, namespace: str) -> Resource:
    """The same kind, of one namespace only."""
    return msgspec.structs.replace(resource, namespace=namespace)


def decode_object(body: bytes, resource: Resource) -> Entry | None:
    """Read one object; None where it is none of that kind."""
    return _read(msgspec.Raw(body), resource)


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
_object_decoder = msgspec.json.Decoder(Object)
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
