"""The verdict book in ConfigMaps: ``<name>-book-00`` to ``-15``, and ``<name>-book-control``.

Every write names the version it read, so that two monitors, or a monitor and a person's `pause`,
cannot undo each other; shards are written only where their text differs, and control last, because
its heartbeat says that the rest is whole. Between two readings of the whole, the control object alone
is read and swapped, once for each step of a move.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from webhook.adapters.kubeapi import KubeApi
from webhook.adapters.reflector import Pace, Reflector, read_all
from webhook.core.book import Book, Control
from webhook.core.model import Verdict
from webhook.core.moves import Pause
from webhook.errors import ClusterConflict, ClusterError, ClusterNotFound, ClusterUnavailable
from webhook.wire.book import SHARDS, Reading, decode_control, decode_shard, encode_control, encode_shards
from webhook.wire.config_map import ConfigMap, config_maps, decode_config_map, encode_config_map
from webhook.wire.kubernetes import Entry

log = logging.getLogger(__name__)

VERDICTS = "verdicts.json"
CONTROL = "control.json"
UNREADABLE = ".unreadable"
"""What cannot be read is kept under its key with this at the end, before it is written over."""
LARGEST_BYTES = 1_000_000
"""A ConfigMap holds 1 MiB; the rest is for its metadata."""

_UNREAD = Pause(
    at=datetime.fromtimestamp(0, tz=UTC),
    reason=f"the book's control object could not be read; what it said of moves is kept as {CONTROL}{UNREADABLE}",
)
"""Nobody knows what is under way and what was spent, so nothing begins before a person has looked."""

Maps = Mapping[str, ConfigMap]


class ConfigMapBook:
    """Implements ``ports.VerdictBook`` and ``ports.ControlBook``.

    ``ConfigMapBook(connect(kubeconfig, context), namespace, "spot-balancer")``; ``name`` is the release's. One object is
    for one thread. ``write`` holds to what ``read`` saw and ``swap`` to what ``control`` saw, so that a book which was
    read before a swap, be it our own, cannot be written over it. ``seconds`` are what each call for one object may take.
    """

    def __init__(self, api: KubeApi, namespace: str, name: str, *, seconds: Callable[[], float] = lambda: 30.0) -> None:
        self._api = api
        self._seconds = seconds
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._resource = config_maps(namespace)
        self._names = _Names(name)
        self._known: dict[str, ConfigMap] | None = None
        self._held: _Held | None = None

    def read(self) -> Book:
        """The whole book; an empty one where none was ever written. Raises ClusterError."""
        self._known = self._names.pick(read_all(self._api, self._resource))
        return decode(self._known, self._names)

    def write(self, old: Book, new: Book) -> int:
        """Write what differs from ``old``, control last; return how many objects.

        Raises ClusterConflict where somebody else wrote since ``read``, ClusterError where a shard has grown too large
        (then nothing was written), or the API server refuses.
        """
        if self._known is None and self.read() != old:
            self._known = None
            raise ClusterConflict(f"{self._names.control}: the book is not the one that was read", status=409)
        known = self._known or {}
        before, after = encode_shards(old), encode_shards(new)
        changed = {self._names.shard(n): {VERDICTS: after[n]} for n in range(SHARDS) if before[n] != after[n]}
        if old.control != new.control:
            changed[self._names.control] = {CONTROL: encode_control(new.control)}
        data = {name: _kept(name, known.get(name)) | texts for name, texts in changed.items()}
        for name, texts in data.items():
            _check_size(name, texts)
        # Whatever fails, the next write begins with reading.
        self._known = None
        for name, texts in data.items():
            known[name] = self._put(name, texts, known.get(name))
        self._known = known
        return len(data)

    def control(self) -> Control:
        """The control object as it is now; ``swap`` then holds to this very version. Raises ClusterError."""
        self._held = None
        found = self._get(self._names.control)
        self._held = _Held(found)
        return _control(found)

    def swap(self, new: Control) -> None:
        """Write it over the version that ``control``, or the last ``swap``, left; after any error, read it anew.

        Raises ClusterConflict where somebody wrote since, or nothing was read; ClusterError.
        """
        name, held = self._names.control, self._held
        if held is None:
            raise ClusterConflict(f"{name}: to be read before it is written")
        data = _kept(name, held.found) | {CONTROL: encode_control(new)}
        _check_size(name, data)
        self._held = None
        self._held = _Held(self._put(name, data, held.found))

    def _get(self, name: str) -> ConfigMap | None:
        try:
            return _decoded(self._api.request("GET", f"{self._path}/{name}", timeout=self._seconds()), name)
        except ClusterNotFound:
            return None

    def _put(self, name: str, data: dict[str, str], before: ConfigMap | None) -> ConfigMap:
        try:
            return self._send(name, data, before)
        except ClusterUnavailable as exc:
            # It may have been written all the same: look before anybody tries again.
            return self._look_again(name, data, before, exc)

    def _send(self, name: str, data: dict[str, str], before: ConfigMap | None) -> ConfigMap:
        metadata = {"name": name, "labels": self._names.labels}
        if before is None:
            body = self._api.request("POST", self._path, encode_config_map(metadata, data), timeout=self._seconds())
        else:
            metadata["resourceVersion"] = before.metadata.resource_version
            text = encode_config_map(metadata, data)
            body = self._api.request("PUT", f"{self._path}/{name}", text, timeout=self._seconds())
        return _decoded(body, name)

    def _look_again(
        self, name: str, data: dict[str, str], before: ConfigMap | None, cause: ClusterUnavailable
    ) -> ConfigMap:
        found = self._get(name)
        if found is None:
            raise cause
        if found.data == data:
            return found
        if before is not None and found.metadata.resource_version == before.metadata.resource_version:
            raise cause
        raise ClusterConflict(f"{name}: written by somebody else while the API server was away", status=409)


class _Held(NamedTuple):
    """The control object that was read, None for one that is not there."""

    found: ConfigMap | None


def _kept(name: str, found: ConfigMap | None) -> dict[str, str]:
    """What stays beside the new text: whatever of the old one could not be read."""
    data = (found.data or {}) if found else {}
    kept = {key: text for key, text in data.items() if key.endswith(UNREADABLE)}
    for key in (VERDICTS, CONTROL):
        if key in data and not _is_readable(key, data[key]):
            log.error("unreadable text of the book set aside", extra={"object": name, "data_key": key + UNREADABLE})
            kept[key + UNREADABLE] = data[key]
    return kept


class WatchedBook:
    """The book as ``sync`` reads it, kept by a watch; never writes.

    ``WatchedBook(connect(kubeconfig, context), namespace, "spot-balancer", pace=Pace(jitter=random.random))``.
    """

    def __init__(self, api: KubeApi, namespace: str, name: str, *, pace: Pace) -> None:
        self._names = _Names(name)
        selector = ",".join(f"{key}={value}" for key, value in self._names.labels.items())
        self._reflector = Reflector(api, config_maps(namespace), pace=pace, selector=selector)
        self._read_at = -1
        self._book = Book()

    def start(self) -> None:
        """Begin to watch; returns at once."""
        self._reflector.start()

    def stop(self) -> None:
        """End the watch."""
        self._reflector.stop()

    @property
    def synced(self) -> bool:
        """Whether it was read once, or is known to be forbidden (then it is empty)."""
        return self._reflector.store.listed or self._reflector.store.denied

    @property
    def generation(self) -> int:
        """Rises with each write of the monitor."""
        return self._reflector.store.generation

    def read(self) -> Book:
        """What is known now. Raises ClusterUnavailable before the first."""
        if not self.synced:
            raise ClusterUnavailable("the verdict book has not been read yet")
        generation = self.generation
        if generation != self._read_at:
            self._book = decode(self._names.pick(self._reflector.store.entries()), self._names)
            self._read_at = generation
        return self._book


class _Names:
    """What the objects of one release's book are called."""

    def __init__(self, release: str) -> None:
        self.control = f"{release}-book-control"
        self.labels = {
            "app.kubernetes.io/name": "spot-balancer",
            "app.kubernetes.io/instance": release,
            "app.kubernetes.io/component": "verdict-book",
        }
        self._release = release

    def shard(self, number: int) -> str:
        return f"{self._release}-book-{number:02}"

    def pick(self, entries: Iterable[Entry]) -> dict[str, ConfigMap]:
        ours = {self.control, *(self.shard(number) for number in range(SHARDS))}
        found = {entry.key[1]: entry.fact for entry in entries}
        return {name: fact for name, fact in found.items() if name in ours and isinstance(fact, ConfigMap)}


def decode(maps: Maps, names: _Names) -> Book:
    """The book that these objects hold; what cannot be read is told and left out."""
    verdicts: dict[str, Verdict] = {}
    for number in range(SHARDS):
        name = names.shard(number)
        reading = _reading(maps.get(name))
        verdicts |= reading.verdicts
        for lost in reading.lost[:10]:
            log.error("part of the verdict book is unreadable", extra={"object": name, "why": lost})
    return Book(control=_control(maps.get(names.control)), verdicts=verdicts)


def _reading(found: ConfigMap | None) -> Reading:
    text = (found.data or {}).get(VERDICTS) if found else None
    return decode_shard(text) if text is not None else Reading()


def _control(found: ConfigMap | None) -> Control:
    text = (found.data or {}).get(CONTROL) if found else None
    if text is None:
        return Control()
    try:
        return decode_control(text)
    except (ValueError, RecursionError) as exc:
        log.error("the book's control object is unreadable", extra={"why": str(exc)})  # noqa: TRY400 - no trace needed
        return Control(paused=_UNREAD)


def _is_readable(key: str, text: str) -> bool:
    if key == VERDICTS:
        return not decode_shard(text).lost
    try:
        decode_control(text)
    except (ValueError, RecursionError):
        return False
    return True


def _check_size(name: str, data: Mapping[str, str]) -> None:
    size = sum(len(key) + len(text.encode()) for key, text in data.items())
    if size > LARGEST_BYTES:
        aside = [key for key in data if key.endswith(UNREADABLE)]
        hint = f"; remove {', '.join(aside)} from it once you have looked at it" if aside else ""
        raise ClusterError(f"{name} would hold {size} bytes, more than the {LARGEST_BYTES} of a ConfigMap{hint}")


def _decoded(body: bytes, name: str) -> ConfigMap:
    try:
        return decode_config_map(body)
    except ValueError as exc:
        raise ClusterUnavailable(f"{name}: the API server answered with no ConfigMap") from exc
