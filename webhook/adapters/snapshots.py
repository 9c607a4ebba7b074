"""Snapshots in files: load one, write a directory, follow what sync writes.

A directory holds ``meta.json`` and the parts that it names. Parts are named by their digest and written first, by
rename; meta is written last. Whoever reads meta and finds every part with its digest has a whole, and nothing else is
one: a file cut off, deleted, or of another schema leaves the last good snapshot in place.
"""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import msgspec

from webhook.core.model import Node
from webhook.core.snapshot import Snapshot
from webhook.errors import SnapshotError
from webhook.ports import Clock
from webhook.wire import snapshot as wire

META = "meta.json"
_LARGEST_BYTES = 256 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_SLICE_SECONDS = 0.0007
_RETRY_SECONDS = 5.0

_log = logging.getLogger(__name__)


def load(path: Path) -> Snapshot:
    """Read a captured file, or a directory that sync keeps. Raises SnapshotError with the path in it."""
    try:
        if not path.is_dir():
            return wire.decode_document(_read(path))
        return _finish(_directory_steps(path, wire.decode_manifest(_read(path / META))))
    except SnapshotError as error:
        raise SnapshotError(f"{path}: {error}") from error
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror}") from error


class DirectoryWriter:
    """Keeps a directory. It numbers the generations itself, and goes on where an earlier writer stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._previous: tuple[str, ...] = ()
        self._generation: int | None = None

    def write(self, snapshot: Snapshot) -> None:
        """Make ``snapshot`` the one that readers see. Parts that did not change are not written. Raises SnapshotError."""
        try:
            self._write(snapshot)
        except OSError as error:
            raise SnapshotError(f"{self._path}: {error.strerror}") from error

    def _write(self, snapshot: Snapshot) -> None:
        if self._generation is None:
            self._path.mkdir(parents=True, exist_ok=True)
            self._generation, self._previous = _last_written(self._path)
        contents = wire.encode_parts(snapshot)
        parts = {name: wire.describe_part(name, content) for name, content in contents.items()}
        for name, part in parts.items():
            if not _is_there(self._path / part.file, part):
                _replace(self._path / part.file, contents[name])
        self._generation = max(self._generation + 1, snapshot.meta.generation)
        meta = msgspec.structs.replace(snapshot.meta, generation=self._generation)
        _replace(self._path / META, wire.encode_manifest(meta, parts))
        names = tuple(part.file for part in parts.values())
        self._clean(keep={*names, *self._previous})
        self._previous = names

    def _clean(self, *, keep: set[str]) -> None:
        """Remove what neither this manifest nor the one before names: a reader may be in the middle of that one."""
        for file in self._path.iterdir():
            if file.name.endswith((".ndjson", ".tmp")) and file.name not in keep:
                file.unlink(missing_ok=True)


class Follower:
    """The newest whole snapshot of a path, decoded beside the requests in slices of under a millisecond.

    ``prepare`` is given each new snapshot and the one before it, and run in slices too before the new one is shown: it
    warms what decisions compute once per snapshot. Nodes whose part did not change are the same object in both.
    A captured file is decoded at once, and its now is its own ``captured_at``.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        poll_seconds: float = 0.5,
        prepare: Callable[[Snapshot, Snapshot | None], Iterable[None]] = lambda _new, _old: (),
    ) -> None:
        self.faults: Counter[str] = Counter()
        """Refused states by code: missing, unreadable, older. A state counts once, however long it lasts."""
        self.swaps = 0
        self._path = path
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._prepare = prepare
        self._current: Snapshot | None = None
        self._is_file = False
        self._nodes: dict[str, Mapping[str, Node]] = {}
        """The last ones decoded, by the digest of their part."""
        self._seen: tuple[int, ...] = ()
        self._told = ""
        self._retry_at = 0.0

    def current(self) -> Snapshot | None:
        """The newest whole snapshot, None before the first."""
        return self._current

    def now(self) -> datetime:
        """The clock's time; a captured file's is the moment of its capture."""
        if self._is_file and self._current is not None:
            return self._current.meta.captured_at
        return self._clock()

    async def run(self) -> None:
        """Follow until cancelled. No state of the files ends it."""
        while True:
            for _ in _sliced(self._steps()):
                await asyncio.sleep(0)
            await asyncio.sleep(self._poll_seconds)

    def refresh_now(self) -> None:
        """Look once, and decode without pauses."""
        for _ in self._steps():
            pass

    def _steps(self) -> Iterator[None]:
        meta = self._path / META
        is_file = self._path.is_file()
        try:
            seen = _signature(self._path if is_file else meta)
            if seen == self._seen and (not self._told or time.monotonic() < self._retry_at):
                return
            if seen != self._seen:
                self._told = ""
            self._seen = seen
            found = yield from self._read_steps(is_file=is_file)
            yield from self._show(found, is_file=is_file)
        except FileNotFoundError as error:
            self._refuse("missing", f"{error.filename} is not there")
        except (SnapshotError, OSError) as error:
            self._refuse("unreadable", str(error))

    def _read_steps(self, *, is_file: bool) -> Generator[None, None, Snapshot]:
        if is_file:
            return wire.decode_document(_read(self._path))
        manifest = wire.decode_manifest(_read(self._path / META))
        digest = manifest.parts["nodes"].digest
        found = yield from _directory_steps(self._path, manifest, nodes=self._nodes.get(digest))
        self._nodes = {digest: found.nodes}
        return found

    def _show(self, found: Snapshot, *, is_file: bool) -> Iterator[None]:
        if not is_file and self._current is not None and _is_older(found, self._current):
            self._refuse("older", f"generation {found.meta.generation} after {self._current.meta.generation}")
            return
        yield from self._prepare(found, self._current)
        self._current, self._is_file, self._told = found, is_file, ""
        self.swaps += 1

    def _refuse(self, code: str, message: str) -> None:
        self._retry_at = time.monotonic() + _RETRY_SECONDS
        if self._told == message:
            return
        self._told = message
        self.faults[code] += 1
        _log.warning("snapshot refused", extra={"code": code, "reason": message, "kept": self._current is not None})


def _sliced(steps: Iterator[None]) -> Iterator[None]:
    """Run ``steps`` and stop for breath whenever a slice of time is spent."""
    end = time.perf_counter() + _SLICE_SECONDS
    for _ in steps:
        if time.perf_counter() >= end:
            yield
            end = time.perf_counter() + _SLICE_SECONDS


def _directory_steps(
    path: Path, manifest: wire.Manifest, nodes: Mapping[str, Node] | None = None
) -> Generator[None, None, Snapshot]:
    """``nodes`` are those of the same part, decoded before; its bytes are read and verified all the same."""
    assembly = wire.Assembly(nodes)
    for name in wire.PARTS:
        is_known = name == "nodes" and nodes is not None
        for line in _verified_lines(path / manifest.parts[name].file, manifest.parts[name]):
            if line and not is_known:
                assembly.add(name, line)
            yield
    return assembly.snapshot(manifest)


def _verified_lines(path: Path, part: wire.Part) -> Iterator[bytes]:
    """The lines of a part, and an empty one for each chunk read. Raises SnapshotError at its end if it is not whole."""
    digest, rest, size = sha256(), b"", 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > part.size_bytes:
                break
            digest.update(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            yield b""
            yield from lines
    if size != part.size_bytes or digest.hexdigest() != part.digest or rest:
        raise SnapshotError(f"{path.name} is not the part that {META} names")


def _finish(steps: Generator[None, None, Snapshot]) -> Snapshot:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Snapshot = end.value
            return found


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_LARGEST_BYTES + 1)
    if len(content) > _LARGEST_BYTES:
        raise SnapshotError(f"larger than {_LARGEST_BYTES} bytes")
    return content


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def _is_there(path: Path, part: wire.Part) -> bool:
    try:
        return path.stat().st_size == part.size_bytes and sha256(path.read_bytes()).hexdigest() == part.digest
    except FileNotFoundError:
        return False


def _last_written(path: Path) -> tuple[int, tuple[str, ...]]:
    try:
        manifest = wire.decode_manifest(_read(path / META))
    except (SnapshotError, FileNotFoundError):
        return 0, ()
    return manifest.generation, tuple(part.file for part in manifest.parts.values())


def _signature(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _is_older(found: Snapshot, current: Snapshot) -> bool:
    """Lower and not younger: a directory that was emptied starts its count anew."""
    return found.meta.generation < current.meta.generation and found.meta.captured_at <= current.meta.captured_at
