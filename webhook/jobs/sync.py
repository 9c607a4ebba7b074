"""Keeps the snapshot: what the watches know, the book and the node load, rebuilt when any of it changes.

Trouble never empties it. With the API server away, the snapshot stays as it was and its
``capturedAt`` grows old; without Prometheus the last node load stays, with its own time; a
configuration file with faults leaves the last good policy in force. Each is told once.

It is long because the looks, the polls and their failures, and a single capture, share what they keep.

A front door builds the adapters and hands them over::

    pace = Pace(jitter=random.random)
    api = kubeapi.connect(kubeconfig, context)
    deps = SyncDeps(
        cluster=WatchedCluster(api, clock, pace=pace),
        book=WatchedBook(api, namespace, "spot-balancer", pace=pace),
        usage=prometheus,                                 # Prometheus(settings), or None: no node load
        probe=prometheus,                                 # or None: no self-test
        snapshots=DirectoryWriter(directory),
        load_policy=lambda: load_configuration(file.read_text(), str(file)).policy,
        clock=lambda: datetime.now(UTC),
        previous=None,                                    # or adapters.snapshots.load(directory)
    )
    status = SyncStatus()
    with OpsServer(ops.Ops(status, clock, server_metrics), host, port):
        run(deps, SyncSettings(), stop, status)           # stop: threading.Event, set by SIGTERM
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from webhook import __version__
from webhook.core import inventory, load, owners
from webhook.core.book import Book
from webhook.core.census import Census
from webhook.core.policy import Policy
from webhook.core.selftest import SelfTest
from webhook.core.snapshot import Snapshot
from webhook.core.usage import NodeUsage, PodHabits, PodsUse
from webhook.errors import ClusterError, ConfigurationError, InputError, SnapshotError, UsageUnavailable
from webhook.jobs.selftest import probe_and_tell
from webhook.ports import Clock, ClusterReader, SnapshotWriter, UsageProbe, UsageSource, VerdictBook

log = logging.getLogger(__name__)


class Watched(Protocol):
    """A source that is kept by watches; ``generation`` rises with each change."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    @property
    def synced(self) -> bool: ...
    @property
    def generation(self) -> int: ...


class WatchedClusterReader(ClusterReader, Watched, Protocol):
    """``adapters.cluster.WatchedCluster``."""


class BookReader(Watched, Protocol):
    """``adapters.verdict_book.WatchedBook``."""

    def read(self) -> Book: ...


class Stop(Protocol):
    """A threading.Event, or a test's own."""

    def is_set(self) -> bool: ...
    def wait(self, timeout: float) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings:
    """How often things are looked at, in seconds."""

    refresh_seconds: float = 1.0
    """Between two looks; nothing is built or written where nothing changed."""
    meta_seconds: float = 15.0
    """The snapshot's meta is written at least this often, so that its age tells a dead sync from a quiet cluster."""
    load_seconds: float = 15.0
    """Node load changes no faster than Prometheus scrapes it."""
    pods_seconds: float = 60.0
    """What pods use tells of their like, which changes with roll-outs and hardly by the minute."""
    habits_seconds: float = 300.0
    """Habits are means over an hour, and by far the dearest to ask for."""
    policy_seconds: float = 5.0
    """A mounted ConfigMap takes up to a minute to change; five seconds more cost nothing."""
    self_test_seconds: float = 600.0
    """Between two self-tests of Prometheus: what they look at changes by hand."""
    self_test_again_seconds: float = 60.0
    """After one that did not reach it."""
    source: str = "sync"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncDeps:
    """What sync works on. ``load_policy`` raises ConfigurationError or InputError where the file cannot be used.

    ``versions`` are added to the snapshot's. ``previous`` is what an earlier run left, for whose replicas rose when and
    for the last load.
    """

    cluster: WatchedClusterReader
    book: BookReader
    snapshots: SnapshotWriter
    load_policy: Callable[[], Policy]
    clock: Clock
    usage: UsageSource | None = None
    probe: UsageProbe | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    previous: Snapshot | None = None


class SyncStatus:
    """What the ops port shows. Written by the loop, read by its threads; each field is replaced whole."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.book = Book()
        self.missing: tuple[str, ...] = ()
        self.looked_at: datetime | None = None
        self.written_at: datetime | None = None
        self.writes = 0
        self.self_test: SelfTest | None = None
        """The last one; None before the first, and for ever where there is no Prometheus to test."""
        self.problems: dict[str, str] = {}
        """By part: cluster, usage, podUse, podHabits, policy, snapshot. Empty when all is well."""
        self._lock = threading.Lock()

    def trouble(self, part: str, message: str) -> None:
        """Note a problem, and log it unless it is the one already known."""
        with self._lock:
            known = self.problems.get(part) == message
            self.problems = self.problems | {part: message}
        if not known:
            log.warning("trouble", extra={"part": part, "why": message})

    def well(self, part: str) -> None:
        """Note that a part works."""
        with self._lock:
            mended = part in self.problems
            self.problems = {key: why for key, why in self.problems.items() if key != part}
        if mended:
            log.info("well again", extra={"part": part})


def run(deps: SyncDeps, settings: SyncSettings, stop: Stop, status: SyncStatus | None = None) -> None:
    """Keep the snapshot until stopped. Raises ConfigurationError or InputError only where the first policy is bad."""
    sync = Sync(deps, settings, status or SyncStatus())
    deps.cluster.start()
    deps.book.start()
    try:
        with _polling(sync, settings, stop):
            while not stop.is_set():
                sync.look()
                stop.wait(settings.refresh_seconds)
    finally:
        deps.book.stop()
        deps.cluster.stop()


class Sync:
    """One look after another; ``run`` paces them. Raises ConfigurationError or InputError where the first policy is bad."""

    def __init__(self, deps: SyncDeps, settings: SyncSettings, status: SyncStatus) -> None:
        self._deps, self._settings, self._status = deps, settings, status
        self._policy = deps.load_policy()
        self._policy_at = deps.clock()
        self._load, self._measured = load.recall(deps.previous) if deps.previous else (None, load.NOTHING)
        self._pods: PodsUse | None = None
        self._habits: PodHabits | None = None
        self._habits_asked_at: datetime | None = None
        self._measured_load: NodeUsage | None = None
        self._history = inventory.recall(deps.previous) if deps.previous else inventory.History()
        self._seen: tuple[object, ...] = ()
        self._left_out = False

    def look(self) -> bool:
        """Look once; whether a snapshot was written."""
        now = self._deps.clock()
        self._status.looked_at = now
        self._reload_policy(now)
        try:
            return self._refresh(now)
        except ClusterError as exc:
            self._status.trouble("cluster", str(exc))
        except SnapshotError as exc:
            self._status.trouble("snapshot", str(exc))
        return False

    def poll_load(self) -> None:
        """Ask once what the nodes use; without an answer the last one stays, with its own time."""
        if self._deps.usage is None:
            return
        try:
            self._load = self._deps.usage.node_usage(self._policy)
        except UsageUnavailable as exc:
            self._status.trouble("usage", str(exc))
        else:
            self._status.well("usage")

    def poll_pods(self) -> float:
        """Ask once what pods use; without an answer the last one stays. Return how many seconds to wait.

        Then what they use over an hour, where that is due: not beside it, as each answer is megabytes, nor of a
        Prometheus that gave none.
        """
        usage, settings = self._deps.usage, self._settings
        if usage is None:
            return settings.pods_seconds
        try:
            self._pods = usage.pod_use(self._policy)
        except UsageUnavailable as exc:
            self._status.trouble("podUse", str(exc))
            return settings.load_seconds
        self._status.well("podUse")
        before = self._habits
        self._poll_habits(usage)
        # The first habits are joined soon, with an answer that they are not too late for.
        return settings.load_seconds if before is None and self._habits is not None else settings.pods_seconds

    def _poll_habits(self, usage: UsageSource) -> None:
        now = self._deps.clock()
        if not _is_habit_asked(self._policy):
            self._habits, self._habits_asked_at = None, None
            self._status.well("podHabits")
            return
        if not _is_due(self._habits_asked_at, now, self._settings.habits_seconds):
            return
        # After a failure too: what is too much for a Prometheus is not asked again at once.
        self._habits_asked_at = now
        try:
            self._habits = usage.pod_habits(self._policy)
        except UsageUnavailable as exc:
            self._status.trouble("podHabits", str(exc))
        else:
            self._status.well("podHabits")

    def test_usage(self) -> float:
        """Test Prometheus once and keep what was found; return how many seconds to wait before the next one."""
        if self._deps.probe is None:
            return self._settings.self_test_seconds
        found = probe_and_tell(self._deps.probe, self._policy, self._deps.clock, last=self._status.self_test)
        self._status.self_test = found
        return self._settings.self_test_seconds if found.reached else self._settings.self_test_again_seconds

    def _refresh(self, now: datetime) -> bool:
        deps = self._deps
        if not (deps.cluster.synced and deps.book.synced):
            return False
        node_usage = self._load
        seen = (deps.cluster.generation, deps.book.generation, node_usage, self._policy)
        due = _is_due(self._status.written_at, now, self._settings.meta_seconds)
        if seen == self._seen and not due:
            return False
        census, book = deps.cluster.census(), deps.book.read()
        self._history = inventory.observe(self._history, census, book)
        snapshot = inventory.build(
            census,
            book,
            self._policy,
            history=self._history,
            node_usage=node_usage and _dated(node_usage, self._policy, now=now, taken_at=census.taken_at),
            measured=self._measure(census, node_usage),
            source=self._settings.source,
            versions=_versions(census.server_version, deps.versions),
        )
        deps.snapshots.write(snapshot)
        self._note_left_out(snapshot.meta.bound_left_out)
        self._seen = seen
        self._show(snapshot, book, missing=census.missing, now=now)
        return True

    def _measure(self, census: Census, node_usage: NodeUsage | None) -> load.Measured:
        """Join pods' use when it is new, and then with the next node load, not at once.

        What namespaces use stands beside the node's load, and both parts together are megabytes: they change in step.
        """
        pods = self._pods
        if pods is not None and (node_usage is None or node_usage is not self._measured_load):
            self._measured = _join(census, pods, self._habits, self._policy, node_usage)
            self._measured_load = node_usage
            if self._pods is pods:
                # Used up: tens of thousands of names are not kept for nothing.
                self._pods = None
        return self._measured

    def _note_left_out(self, count: int) -> None:
        if count and not self._left_out:
            log.warning("more pods began than are counted one by one; the eldest are left out", extra={"pods": count})
        self._left_out = count > 0

    def _show(self, snapshot: Snapshot, book: Book, *, missing: tuple[str, ...], now: datetime) -> None:
        status = self._status
        status.snapshot, status.book, status.missing = snapshot, book, missing
        status.written_at, status.writes = now, status.writes + 1
        status.well("cluster")
        status.well("snapshot")

    def _reload_policy(self, now: datetime) -> None:
        if not _is_due(self._policy_at, now, self._settings.policy_seconds):
            return
        self._policy_at = now
        try:
            found = self._deps.load_policy()
        except (ConfigurationError, InputError) as exc:
            self._status.trouble("policy", f"the last good one stays in force: {exc}")
            return
        self._status.well("policy")
        if found != self._policy:
            log.info("policy changed", extra={"mode": found.mode.value, "pause": ",".join(found.pause)})
            self._policy = found


def _dated(node_usage: NodeUsage, policy: Policy, *, now: datetime, taken_at: datetime) -> NodeUsage:
    skew = policy.idle.max_clock_skew
    return node_usage.dated(possible=now + skew, latest=taken_at + skew)


def capture(  # noqa: PLR0913 - all that a capture is made of, by name
    cluster: ClusterReader,
    book: VerdictBook,
    policy: Policy,
    *,
    now: datetime,
    versions: Mapping[str, str] | None = None,
    usage: UsageSource | None = None,
    keeps_census: bool = False,
) -> Snapshot:
    """Read everything once, for `snapshot` and for `explain` from a cluster. Raises ClusterError.

    ``capture(Cluster(api, clock), ConfigMapBook(api, namespace, name), policy, now=now, usage=Prometheus(settings))``.
    ``now`` becomes the snapshot's own now. Without Prometheus' answer it has no load. ``keeps_census``: moves are to
    be planned from it.
    """
    census = msgspec.structs.replace(cluster.census(), taken_at=now)
    node_usage = _node_usage(usage, policy)
    return inventory.build(
        census,
        book.read(),
        policy,
        node_usage=node_usage,
        measured=_measured(usage, policy, census, node_usage),
        source="capture",
        versions=_versions(census.server_version, versions or {}),
        keeps_census=keeps_census,
    )


def _node_usage(usage: UsageSource | None, policy: Policy) -> NodeUsage | None:
    if usage is None:
        return None
    try:
        return usage.node_usage(policy)
    except UsageUnavailable as exc:
        log.warning("captured without node load", extra={"code": exc.code, "why": str(exc)})
        return None


def _measured(usage: UsageSource | None, policy: Policy, census: Census, node_usage: NodeUsage | None) -> load.Measured:
    if usage is None:
        return load.NOTHING
    try:
        return _join(census, usage.pod_use(policy), _pod_habits(usage, policy), policy, node_usage)
    except UsageUnavailable as exc:
        log.warning("captured without what pods use", extra={"code": exc.code, "why": str(exc)})
        return load.NOTHING


def _join(
    census: Census, pods: PodsUse, pod_habits: PodHabits | None, policy: Policy, node_usage: NodeUsage | None
) -> load.Measured:
    samples = {sample.node: sample for sample in (node_usage.nodes if node_usage else ())}
    return load.measure(census, pods, owners.resolve(census), policy.balance, pod_habits, samples=samples)


def _pod_habits(usage: UsageSource, policy: Policy) -> PodHabits | None:
    if not _is_habit_asked(policy):
        return None
    try:
        return usage.pod_habits(policy)
    except UsageUnavailable as exc:
        log.warning("captured without what is usual for pods", extra={"code": exc.code, "why": str(exc)})
        return None


def _is_habit_asked(policy: Policy) -> bool:
    """Whether it is longer than what is asked for anyway."""
    return policy.balance.habit > policy.balance.window


def _versions(server_version: str, more: Mapping[str, str]) -> dict[str, str]:
    known = {"kubernetes": server_version, "spot-balancer": __version__, **more}
    return {part: version for part, version in sorted(known.items()) if version}


def _is_due(last: datetime | None, now: datetime, seconds: float) -> bool:
    """A clock that was set back makes everything due: waiting for it could take hours."""
    return last is None or not timedelta(0) <= now - last < timedelta(seconds=seconds)


@contextmanager
def _polling(sync: Sync, settings: SyncSettings, stop: Stop) -> Iterator[None]:
    """Ask for node load, and test Prometheus, on threads of their own: a slow one must not hold up the snapshot."""
    ended = threading.Event()

    def poll() -> float:
        sync.poll_load()
        return settings.load_seconds

    def repeat(what: str, once: Callable[[], float], pause: float) -> None:
        while not (ended.is_set() or stop.is_set()):
            wait = pause
            try:
                wait = once()
            except Exception:
                # A thread that dies in silence would leave an ever older load behind.
                log.exception(what)
            ended.wait(wait)

    for name, once, pause in (
        ("node-load", poll, settings.load_seconds),
        ("pod-use", sync.poll_pods, settings.load_seconds),
        ("self-test", sync.test_usage, settings.self_test_again_seconds),
    ):
        threading.Thread(target=repeat, args=(name, once, pause), name=name, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
