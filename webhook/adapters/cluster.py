"""The cluster as a census: read once, or kept by watches.

Nodes and pods must be readable, or there is nothing to decide on. A missing right on another
kind switches off what needs it, and is named in the census. What bounds a move is read only for
a mover: its kinds need rights of their own, and one that cannot be read costs moves, not verdicts.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from webhook.adapters.kubeapi import KubeApi
from webhook.adapters.reflector import PAGE, Pace, Reflector, read_all
from webhook.core.census import Census, ControllerFact, Departed, NodeFact, PodFact
from webhook.core.constraints import Autoscaler, Claim, Constraints, DisruptionBudget, Quota, StorageClass, Volume
from webhook.core.departed import departed
from webhook.core.model import Namespace
from webhook.errors import ClusterError, ClusterForbidden, ClusterNotFound, ClusterUnavailable
from webhook.ports import Clock
from webhook.wire.constraints import CONSTRAINTS
from webhook.wire.kubernetes import RESOURCES, Entry, Resource, decode_version

log = logging.getLogger(__name__)

_NEEDED = ("Node", "Pod")
_READERS = 4
_PAGE = 1500
"""30,000 pods and 5,000 of each other kind in 73 calls; a page of such pods is about 10 MB, which only a mover pays."""


class Cluster:
    """Implements ``ports.ClusterReader``: eight lists by pages, four at a time.

    ``Cluster(connect(kubeconfig, context), clock, constraints=True)`` reads six more: what bounds a move.
    """

    def __init__(self, api: KubeApi, clock: Clock, *, constraints: bool = False) -> None:
        self._api = api
        self._clock = clock
        self._bounds = CONSTRAINTS if constraints else ()

    def census(self) -> Census:
        """Read the cluster once. Raises ClusterError when any kind fails for another reason than a missing right."""
        resources = (*RESOURCES, *self._bounds)
        is_away = threading.Event()
        with ThreadPoolExecutor(_READERS) as threads:
            found = threads.map(lambda resource: self._read(resource, is_away), resources)
            answers = dict(zip(resources, found, strict=True))
        missing = [resource.kind for resource in RESOURCES if answers[resource] is None]
        entries = [entry for resource in RESOURCES for entry in answers[resource] or ()]
        census = assemble(entries, missing, taken_at=self._clock(), server_version=server_version(self._api))
        if not self._bounds:
            return census
        return msgspec.structs.replace(census, constraints=bounds({r.kind: answers[r] for r in self._bounds}))

    def _read(self, resource: Resource, is_away: threading.Event) -> list[Entry] | None:
        if is_away.is_set():
            # Whoever asks would wait as long as those before, whose error is told.
            raise ClusterUnavailable(f"{resource.kind}s were not asked for: the API server is away")
        try:
            return read_all(self._api, resource, page_size=_PAGE if self._bounds else PAGE)
        except ClusterError as exc:
            # 401 is no missing right but a missing name: nobody may take it for an empty cluster.
            is_right = isinstance(exc, ClusterForbidden | ClusterNotFound) and exc.status in (403, 404)
            if resource in RESOURCES and (resource.kind in _NEEDED or not is_right):
                is_away.set()
                raise
            log.warning("kind cannot be read: %s", resource.kind, extra={"kind": resource.kind, "why": str(exc)})
            return None


class WatchedCluster:
    """Implements ``ports.ClusterReader`` and ``jobs.sync.Watched`` from memory, kept by one reflector per kind.

    ``WatchedCluster(connect(kubeconfig, context), clock, pace=Pace(jitter=random.random))``, then ``start`` and ``stop``.
    """

    def __init__(self, api: KubeApi, clock: Clock, *, pace: Pace) -> None:
        self._api = api
        self._clock = clock
        self._version = ""
        self._fresh_at: datetime | None = None
        self._departures = Departures(clock)
        gone = {"Pod": self._departures.note}
        self._reflectors = [Reflector(api, found, pace=pace, gone=gone.get(found.kind)) for found in RESOURCES]
        self._kinds = [resource.kind for resource in RESOURCES]

    def start(self) -> None:
        """Begin to watch; returns at once."""
        for reflector in self._reflectors:
            reflector.start()

    def stop(self) -> None:
        """End all watches."""
        stop_all(self._reflectors)

    @property
    def synced(self) -> bool:
        """Whether every kind was listed once, or is known to be forbidden."""
        return all(r.store.listed or r.store.denied for r in self._reflectors)

    @property
    def generation(self) -> int:
        """Rises whenever a census would tell anything new."""
        return sum(r.store.generation for r in self._reflectors)

    def census(self) -> Census:
        """What is known; ``taken_at`` is the last moment at which every watch stood. Raises ClusterError before the first.

        Where the API server is away, it is what was known before, and grows old in the open.
        """
        for kind, reflector in zip(self._kinds, self._reflectors, strict=True):
            if kind in _NEEDED and reflector.store.denied:
                raise ClusterForbidden(f"the right to list {kind}s is missing", status=403)
        if not self.synced:
            raise ClusterUnavailable("the cluster has not been read whole yet")
        missing = [k for k, r in zip(self._kinds, self._reflectors, strict=True) if r.store.denied]
        entries = [entry for reflector in self._reflectors for entry in reflector.store.entries()]
        if not self._version:
            self._version = server_version(self._api)
        if self._fresh_at is None or all(r.connected or r.store.denied for r in self._reflectors):
            self._fresh_at = self._clock()
        census = assemble(entries, missing, taken_at=self._fresh_at, server_version=self._version)
        return msgspec.structs.replace(census, departed=self._departures.known())


_DEPARTED_STAY = timedelta(minutes=30)
"""Prometheus tells what a pod used for one window after it went, and a stale Prometheus later."""
_MOST_DEPARTED = 10_000


class Departures:
    """Pods that were deleted while somebody watched; the newest, and only such as ran on a node under a name of their own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: deque[Departed] = deque(maxlen=_MOST_DEPARTED)

    def note(self, fact: object) -> None:
        """Take down a pod that is no more; anything else is none of ours."""
        if isinstance(fact, PodFact) and (found := departed(fact, self._clock())):
            with self._lock:
                self._known.append(found)

    def known(self) -> tuple[Departed, ...]:
        """Who went within the last half hour."""
        oldest = self._clock() - _DEPARTED_STAY
        with self._lock:
            while self._known and self._known[0].ended_at < oldest:
                self._known.popleft()
            return tuple(self._known)


def stop_all(reflectors: Iterable[Reflector]) -> None:
    """Stop several at once, so that their last waits overlap."""
    running = list(reflectors)
    with ThreadPoolExecutor(max(1, len(running))) as threads:
        list(threads.map(_stop, running))


def _stop(reflector: Reflector) -> None:
    reflector.stop()


def server_version(api: KubeApi) -> str:
    """The API server's version, as ``v1.37.2``; empty where it does not say. Nothing is decided on it."""
    with suppress(ClusterError, ValueError):
        return decode_version(api.request("GET", "/version", timeout=5.0))
    return ""


def assemble(entries: Iterable[Entry], missing: Iterable[str], *, taken_at: datetime, server_version: str) -> Census:
    """One census out of all kinds' objects."""
    facts = [entry.fact for entry in entries]
    return Census(
        taken_at=taken_at,
        nodes=tuple(fact for fact in facts if isinstance(fact, NodeFact)),
        namespaces=tuple(fact for fact in facts if isinstance(fact, Namespace)),
        pods=tuple(fact for fact in facts if isinstance(fact, PodFact)),
        controllers=tuple(fact for fact in facts if isinstance(fact, ControllerFact)),
        missing=tuple(missing),
        server_version=server_version,
    )


def bounds(answers: Mapping[str, Iterable[Entry] | None]) -> Constraints:
    """What bounds a move, out of the objects of its kinds; None for one that could not be read."""
    facts = [entry.fact for found in answers.values() for entry in found or ()]
    return Constraints(
        budgets=tuple(fact for fact in facts if isinstance(fact, DisruptionBudget)),
        autoscalers=tuple(fact for fact in facts if isinstance(fact, Autoscaler)),
        quotas=tuple(fact for fact in facts if isinstance(fact, Quota)),
        claims=tuple(fact for fact in facts if isinstance(fact, Claim)),
        volumes=tuple(fact for fact in facts if isinstance(fact, Volume)),
        storage_classes=tuple(fact for fact in facts if isinstance(fact, StorageClass)),
        missing=tuple(kind for kind, found in answers.items() if found is None),
    )
