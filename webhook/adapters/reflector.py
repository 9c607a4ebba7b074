"""Keeps a copy of one kind's objects: list by pages, watch, and list again where the watch cannot go on.

The copy converges to what the API server has, whatever the watch does: duplicate, late and
unknown events change nothing that is newer; a watch that drops is resumed where it ended; one
that is silent for too long is opened anew; 410 means that the server forgot, so all is listed
anew. Waits grow with each failure and are jittered, so that a fleet does not return in step.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

from webhook.adapters.kubeapi import KubeApi, LineStream
from webhook.errors import ClusterError, ClusterForbidden, ClusterNotFound, ClusterSilent, ClusterUnavailable
from webhook.wire.kubernetes import Entry, Event, Page, Resource, decode_event, decode_page
from webhook.wire.objects import Key

log = logging.getLogger(__name__)

PAGE = 500
_MOST_TOMBSTONES = 20_000
_GONE = 410
_LIST_AFTER = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Waits of a reflector, in seconds. ``jitter`` gives 0..1; it is chance, so it is an argument."""

    jitter: Callable[[], float]
    first_wait: float = 0.5
    longest_wait: float = 15.0
    """Below the half minute within which everything is back after the API server is."""
    denied_wait: float = 60.0
    list_timeout: float = 30.0
    watch_seconds: float = 240.0
    """The API server ends a watch after this long, up to twice that where it likes; we go on where it ended."""
    silence: float = 120.0
    """Bookmarks come each minute; a watch without even these may be a connection whose other end is gone."""
    longest_retry_after: float = 300.0

    def wait(self, failures: int, asked: float | None) -> float:
        """How long to wait after so many failures in a row; never less than the server ``asked`` for."""
        grown = min(self.longest_wait, self.first_wait * 2 ** min(failures - 1, 16)) if failures else 0.0
        return max(grown * (0.5 + self.jitter() / 2), min(asked or 0.0, self.longest_retry_after))


class Store:
    """The objects of one kind. ``generation`` rises with each change of what decisions may see.

    Per object only a higher resourceVersion replaces a lower one, deletions included: these leave a tombstone until
    the next list. ``gone`` is told, once and quickly, of each object that is no more.
    """

    def __init__(self, *, gone: Callable[[object], None] | None = None) -> None:
        self.generation = 0
        self.listed = False
        self.denied = False
        self._lock = threading.Lock()
        self._entries: dict[Key, Entry] = {}
        self._tombstones: dict[Key, int] = {}
        self._gone = gone

    def entries(self) -> list[Entry]:
        """All of them, as of one moment."""
        with self._lock:
            return list(self._entries.values())

    def replace(self, entries: Iterable[Entry]) -> None:
        """Take over what a whole list said."""
        found = {entry.key: entry for entry in entries}
        with self._lock:
            if not self.listed or {k: e.fact for k, e in found.items()} != self._facts():
                self.generation += 1
            for key in self._entries.keys() - found.keys():
                self._bid_farewell(self._entries[key])
            self._entries, self._tombstones = found, {}
            self.listed, self.denied = True, False

    def deny(self) -> None:
        """The right to read this kind is missing: what is held would only grow stale."""
        with self._lock:
            if not self.denied:
                self.generation += 1
            self._entries, self._tombstones = {}, {}
            self.listed, self.denied = False, True

    def apply(self, event: Event) -> None:
        """Take over one event, unless something newer is known of that object."""
        entry = event.entry
        if entry is None:
            return
        version = _number(entry.resource_version)
        with self._lock:
            before = self._entries.get(entry.key)
            newest = max(_number(before.resource_version) if before else -1, self._tombstones.get(entry.key, -1))
            if version <= newest:
                return
            if event.kind == "DELETED":
                self._bury(entry.key, version)
                changed = before is not None
                self._bid_farewell(entry)
            else:
                self._tombstones.pop(entry.key, None)
                self._entries[entry.key] = entry
                changed = before is None or before.fact != entry.fact
            self.generation += changed

    def _bury(self, key: Key, version: int) -> None:
        self._entries.pop(key, None)
        self._tombstones[key] = version
        while len(self._tombstones) > _MOST_TOMBSTONES:
            del self._tombstones[next(iter(self._tombstones))]

    def _bid_farewell(self, entry: Entry) -> None:
        if self._gone is not None:
            self._gone(entry.fact)

    def _facts(self) -> dict[Key, object]:
        return {key: entry.fact for key, entry in self._entries.items()}


def _number(resource_version: str) -> int:
    """Versions of one kind are numbers of etcd that rise; one that is none is newer than nothing."""
    return int(resource_version) if resource_version.isascii() and resource_version.isdigit() else 0


class _Sleep(Protocol):
    def __call__(self, timeout: float) -> bool: ...


class Reflector:
    """Fills ``store`` with the objects of ``resource``, on a thread of its own between ``start`` and ``stop``.

    ``selector`` is a label selector. ``sleep`` waits so many seconds and tells whether to stop; by default it is the
    reflector's own event, so that ``stop`` ends a wait.
    """

    def __init__(  # noqa: PLR0913 - all that a watch can be told, by name
        self,
        api: KubeApi,
        resource: Resource,
        *,
        pace: Pace,
        selector: str = "",
        sleep: _Sleep | None = None,
        gone: Callable[[object], None] | None = None,
    ) -> None:
        self.store = Store(gone=gone)
        self.lists = 0
        self.connected = False
        """Whether a watch is open now: what ``store`` holds is then as fresh as it gets."""
        self._api, self._resource, self._pace, self._selector = api, resource, pace, selector
        self._stop = threading.Event()
        self._sleep = sleep or self._stop.wait
        self._thread = threading.Thread(target=self.run, name=f"watch-{resource.plural}", daemon=True)
        self._stream: LineStream | None = None
        self._position = ""
        self._told = ""

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread, also out of a watch that is silent."""
        self._stop.set()
        if (stream := self._stream) is not None:
            stream.abort()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def run(self) -> None:
        """List and watch until stopped. No answer of the server ends it."""
        failures = silences = 0
        while not self._stop.is_set():
            asked: float | None = None
            try:
                progress = self._turn()
                failures, silences = (0, 0) if progress else (failures + 1, silences)
                self._told = "" if progress else self._told
            except ClusterSilent:
                # Bookmarks are sent of no kind that the API server has seen no event of: no trouble, and no wait.
                failures, silences = 0, silences + 1
            except ClusterForbidden as exc:
                asked, failures = self._denied(exc), failures + 1
            except ClusterError as exc:
                asked, failures = self._failed(exc), failures + 1
            except Exception:
                # A thread that dies in silence would leave an ever older copy that looks alive.
                log.exception("reflector failed", extra={"kind": self._resource.kind})
                self._position, failures = "", failures + 1
            if (failures + silences) and (failures + silences) % _LIST_AFTER == 0:
                # A server restored from a backup counts from lower versions, and never answers for ours again.
                self._position = ""
            if self._sleep(self._pace.wait(failures, asked)):
                return

    def _turn(self) -> bool:
        """One list, if there is no place to go on from, and one watch; whether anything came of it."""
        listed = not self._position
        if listed:
            self._position = self._list()
        return self._watch() or listed

    def _list(self) -> str:
        found: dict[Key, Entry] = {}
        page = self._page("")
        version, unreadable = page.resource_version, page.unreadable
        while True:
            found |= {entry.key: entry for entry in page.entries}
            if not page.next_page:
                break
            page = self._page(page.next_page)
            unreadable += page.unreadable
        self.store.replace(found.values())
        self.lists += 1
        fields = {"kind": self._resource.kind, "objects": len(found), "unreadable": unreadable}
        log.log(logging.WARNING if unreadable else logging.DEBUG, "listed", extra=fields)
        return version

    def _page(self, token: str) -> Page:
        query = {"limit": str(PAGE)} | ({"continue": token} if token else {})
        return read_page(self._api, self._resource, self._with(query), timeout=self._pace.list_timeout)

    def _watch(self) -> bool:
        """Follow until the stream ends; whether a single event came. Raises ClusterError."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._position,
            "timeoutSeconds": str(round(self._pace.watch_seconds * (1 + self._pace.jitter()))),
        }
        came = False
        with self._api.stream(f"{self._resource.path}?{urlencode(self._with(query))}", self._pace.silence) as stream:
            self._stream, self.connected = stream, True
            try:
                for line in () if self._stop.is_set() else stream:
                    self._take(self._event(line))
                    came = True
            finally:
                self._stream, self.connected = None, False
        return came

    def _event(self, line: bytes) -> Event:
        try:
            return decode_event(line, self._resource)
        except ValueError as exc:
            raise ClusterUnavailable(f"watch {self._resource.plural}: a line that is no event") from exc

    def _take(self, event: Event) -> None:
        if event.kind == "ERROR":
            kind = ClusterNotFound if event.code == _GONE else ClusterUnavailable
            raise kind(f"watch {self._resource.plural}: {event.code} {event.message}", status=event.code)
        if event.kind != "BOOKMARK" and event.entry is None:
            log.warning("unreadable object", extra={"kind": self._resource.kind, "event": event.kind})
        self.store.apply(event)
        # Never back: a late event must not make the next watch repeat what is known.
        if _number(event.resource_version) > _number(self._position):
            self._position = event.resource_version

    def _with(self, query: dict[str, str]) -> dict[str, str]:
        return query | ({"labelSelector": self._selector} if self._selector else {})

    def _denied(self, exc: ClusterForbidden) -> float | None:
        if exc.status != 403:
            return self._failed(exc)
        if not self.store.denied:
            log.warning("kind cannot be read: off until granted", extra={"kind": self._resource.kind, "why": str(exc)})
        self._position = ""
        self.store.deny()
        return self._pace.denied_wait

    def _failed(self, exc: ClusterError) -> float | None:
        if isinstance(exc, ClusterNotFound):
            self._position = ""  # 410, or the kind is gone: list again
        if self._told != type(exc).__name__ and not self._stop.is_set():
            self._told = type(exc).__name__
            log.warning("watch interrupted", extra={"kind": self._resource.kind, "why": str(exc)})
        return exc.retry_after_seconds


def read_page(api: KubeApi, resource: Resource, query: dict[str, str], *, timeout: float = 30.0) -> Page:
    """One page of a list. Raises ClusterError."""
    body = api.request("GET", f"{resource.path}?{urlencode(query)}", timeout=timeout)
    try:
        return decode_page(body, resource)
    except (ValueError, RecursionError) as exc:
        raise ClusterUnavailable(f"list {resource.plural}: no list came back") from exc


def read_all(
    api: KubeApi, resource: Resource, *, selector: str = "", page_size: int = PAGE, attempts: int = 3
) -> list[Entry]:
    """A whole list by pages, begun anew where the server forgets between two. Raises ClusterError.

    ``selector`` is of labels; empty selects everything.
    """
    query = {"limit": str(page_size)} | ({"labelSelector": selector} if selector else {})
    for _ in range(attempts - 1):
        with suppress(ClusterNotFound):
            return _pages(api, resource, query)
    return _pages(api, resource, query)


def _pages(api: KubeApi, resource: Resource, query: Mapping[str, str]) -> list[Entry]:
    found: dict[Key, Entry] = {}
    next_page: dict[str, str] = {}
    while True:
        page = read_page(api, resource, {**query, **next_page})
        found |= {entry.key: entry for entry in page.entries}
        if page.unreadable:
            log.warning("unreadable objects", extra={"kind": resource.kind, "count": page.unreadable})
        if not page.next_page:
            return list(found.values())
        next_page = {"continue": page.next_page}
