"""The snapshot on disk: one readable document, or a directory of parts.

A document is what people capture, read and keep: indented JSON, ``kind: Snapshot``. A directory is what sync keeps
for the server: NDJSON parts that are named by their digest, and a manifest, written last, that says which of them
belong together. Bytes in, values out; adapters/snapshots.py holds the files.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar

import msgspec

from webhook.core.book import Control
from webhook.core.census import Census
from webhook.core.model import Bound, Namespace, Node, Value, Workload, WorkloadKey
from webhook.core.snapshot import SCHEMA_VERSION, Meta, Snapshot
from webhook.errors import SnapshotError

DOCUMENT = "Snapshot"
MANIFEST = "SnapshotDirectory"
PARTS = ("bound", "namespaces", "nodes", "workloads")


class Document(Meta, frozen=True, kw_only=True, tag_field="kind", tag=DOCUMENT):
    nodes: tuple[Node, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    workloads: tuple[Workload, ...] = ()
    bound: tuple[Bound, ...] = ()
    census: Census | msgspec.UnsetType = msgspec.UNSET
    control: Control | msgspec.UnsetType = msgspec.UNSET


class Part(Value, frozen=True):
    """One NDJSON file; ``digest`` is the SHA-256 of its bytes, in hex, ``size_bytes`` their number."""

    file: str
    digest: str
    size_bytes: int


class Manifest(Meta, frozen=True, kw_only=True, tag_field="kind", tag=MANIFEST):
    parts: dict[str, Part]


_T = TypeVar("_T")
_Object = TypeVar("_Object", Bound, Node, Namespace, Workload)


class _Head(msgspec.Struct, rename="camel"):
    kind: str
    schema_version: int


_ENCODER = msgspec.json.Encoder(order=None)
_DOCUMENTS = msgspec.json.Decoder(Document)
_MANIFESTS = msgspec.json.Decoder(Manifest)
_HEADS = msgspec.json.Decoder(_Head)
_NODES = msgspec.json.Decoder(Node)
_NAMESPACES = msgspec.json.Decoder(Namespace)
_WORKLOADS = msgspec.json.Decoder(Workload)
_BOUND = msgspec.json.Decoder(Bound)


def encode_document(snapshot: Snapshot) -> bytes:
    """One file, for people too. Objects are in the order of their names, so that two captures can be compared."""
    document = Document(
        **_meta_fields(snapshot.meta),
        nodes=tuple(sorted(snapshot.nodes.values(), key=_name)),
        namespaces=tuple(sorted(snapshot.namespaces.values(), key=_name)),
        workloads=tuple(sorted(snapshot.workloads.values(), key=_key)),
        bound=tuple(sorted(snapshot.bound.values(), key=_uid)),
        census=msgspec.UNSET if snapshot.census is None else snapshot.census,
        control=msgspec.UNSET if snapshot.control is None else snapshot.control,
    )
    return msgspec.json.format(_ENCODER.encode(document), indent=2) + b"\n"


def decode_document(text: bytes) -> Snapshot:
    """Raises SnapshotError that says what is wrong and where."""
    _check_head(text, kind=DOCUMENT)
    document = _decoded(_DOCUMENTS, text)
    return Snapshot(
        _meta(document),
        nodes=document.nodes,
        namespaces=document.namespaces,
        workloads=document.workloads,
        bound=document.bound,
        census=None if isinstance(document.census, msgspec.UnsetType) else _census(document.census),
        control=None if isinstance(document.control, msgspec.UnsetType) else _control(document.control),
    )


def encode_parts(snapshot: Snapshot) -> dict[str, bytes]:
    """The NDJSON bytes of each of ``PARTS``, equal for equal contents; the census is not for who reads them."""
    return {
        "bound": _lines(snapshot.bound.values(), _uid),
        "namespaces": _lines(snapshot.namespaces.values(), _name),
        "nodes": _lines(snapshot.nodes.values(), _name),
        "workloads": _lines(snapshot.workloads.values(), _key),
    }


def describe_part(name: str, content: bytes) -> Part:
    """Where a part of these bytes lies: its name carries its digest, so no file is ever written twice differently."""
    digest = sha256(content).hexdigest()
    return Part(file=f"{name}-{digest[:16]}.ndjson", digest=digest, size_bytes=len(content))


def encode_manifest(meta: Meta, parts: dict[str, Part]) -> bytes:
    return msgspec.json.format(_ENCODER.encode(Manifest(**_meta_fields(meta), parts=parts)), indent=2) + b"\n"


def decode_manifest(text: bytes) -> Manifest:
    """Raises SnapshotError; a part's name can lead nowhere but into the directory."""
    _check_head(text, kind=MANIFEST)
    manifest = _decoded(_MANIFESTS, text)
    for name in PARTS:
        part = manifest.parts.get(name)
        if part is None:
            raise SnapshotError(f"$.parts: {name} is missing")
        if "/" in part.file or not part.file.endswith(".ndjson") or part.file.startswith("."):
            raise SnapshotError(f"$.parts.{name}.file: {part.file[:80]!r} is no name of a part")
    return manifest


class Assembly:
    """A snapshot in the making, one line at a time, so that the caller may pause wherever it likes.

    ``nodes`` are another snapshot's, whose part had the same digest; then no line of that part is to be added.
    """

    def __init__(self, nodes: Mapping[str, Node] | None = None) -> None:
        self._nodes: dict[str, Node] = {}
        self._known_nodes = nodes
        self._namespaces: dict[str, Namespace] = {}
        self._bound: dict[str, Bound] = {}
        self._workloads: dict[WorkloadKey, Workload] = {}
        self._controllers: dict[tuple[str, str, str], WorkloadKey] = {}

    def add(self, part: str, line: bytes) -> None:
        """Take one line of one of ``PARTS``. Raises SnapshotError."""
        match part:
            case "nodes":
                node = _decoded(_NODES, line)
                self._nodes[node.name] = node
            case "namespaces":
                namespace = _decoded(_NAMESPACES, line)
                self._namespaces[namespace.name] = namespace
            case "bound":
                pod = _decoded(_BOUND, line)
                self._bound[pod.uid] = pod
            case _:
                self._add_workload(_decoded(_WORKLOADS, line))

    def snapshot(self, manifest: Manifest) -> Snapshot:
        """The whole; the assembly is used up."""
        return Snapshot.from_indexes(
            _meta(manifest),
            nodes=self._nodes if self._known_nodes is None else self._known_nodes,
            namespaces=self._namespaces,
            workloads=self._workloads,
            controllers=self._controllers,
            bound=self._bound,
        )

    def _add_workload(self, workload: Workload) -> None:
        key = workload.key
        self._workloads[key] = workload
        for controller in workload.controllers:
            self._controllers[key.namespace, controller.kind, controller.name] = key


def _check_head(text: bytes, *, kind: str) -> None:
    try:
        head = _HEADS.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"no {kind}: {_why(error, text)}") from error
    if head.kind != kind:
        raise SnapshotError(f"$.kind: {head.kind[:80]!r}; expected {kind}")
    if head.schema_version != SCHEMA_VERSION:
        raise SnapshotError(f"$.schemaVersion: {head.schema_version}; this release reads {SCHEMA_VERSION}")


def _decoded(decoder: msgspec.json.Decoder[_T], text: bytes) -> _T:
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(_why(error, text)) from error


def _why(error: Exception, text: bytes) -> str:
    """In words for people where the decoder's are about itself."""
    if not text.strip():
        return "it is empty"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "it was cut off" if "truncated" in str(error) else str(error)


def _lines(values: Iterable[_Object], key: Callable[[_Object], Any]) -> bytes:
    return b"".join(line for value in sorted(values, key=key) for line in (_ENCODER.encode(value), b"\n"))


def _meta(holder: Meta) -> Meta:
    for name, moment in (("capturedAt", holder.captured_at), ("bookHeartbeat", holder.book_heartbeat)):
        if moment is not None and moment.tzinfo is None:
            raise SnapshotError(f"$.{name}: expected a time with its zone, as in 2026-01-31T12:00:00Z")
    return Meta(**_meta_fields(holder))


def _census(found: Census) -> Census:
    for name, moment in _moments(found):
        if moment is not None and moment.tzinfo is None:
            raise SnapshotError(f"$.census.{name}: expected a time with its zone, as in 2026-01-31T12:00:00Z")
    return found


def _control(found: Control) -> Control:
    plain = msgspec.to_builtins(found, builtin_types=(datetime,))
    if any(moment.tzinfo is None for moment in _times(plain)):
        raise SnapshotError("$.control: expected times with their zone, as in 2026-01-31T12:00:00Z")
    return found


def _times(plain: Any) -> Iterator[datetime]:
    if isinstance(plain, datetime):
        yield plain
    elif isinstance(plain, dict | list | tuple):
        for one in plain.values() if isinstance(plain, dict) else plain:
            yield from _times(one)


def _moments(found: Census) -> Iterator[tuple[str, datetime | None]]:
    yield "takenAt", found.taken_at
    for number, pod in enumerate(found.pods):
        yield f"pods[{number}].createdAt", pod.created_at
        yield f"pods[{number}].startedAt", pod.started_at
        yield f"pods[{number}].readyAt", pod.ready_at
        yield f"pods[{number}].runningSince", pod.running_since
    for number, controller in enumerate(found.controllers):
        yield f"controllers[{number}].createdAt", controller.created_at


def _meta_fields(meta: Meta) -> dict[str, Any]:
    return {field: getattr(meta, field) for field in Meta.__struct_fields__}


def _name(value: Node | Namespace) -> str:
    return value.name


def _uid(pod: Bound) -> str:
    return pod.uid


def _key(workload: Workload) -> WorkloadKey:
    return workload.key
