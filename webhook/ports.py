"""What jobs need from the world: small protocols, owned here, implemented in adapters and in tests/fakes.py."""

from datetime import datetime
from typing import Protocol

from webhook.core.book import Book, Control
from webhook.core.census import Census
from webhook.core.model import WorkloadKey
from webhook.core.moves import Happening, Live, Result
from webhook.core.policy import IdlePolicy, Policy
from webhook.core.selftest import SelfTest
from webhook.core.snapshot import Snapshot
from webhook.core.usage import NodeUsage, PodHabits, PodsUse, UsageSweep


class Clock(Protocol):
    """Wall-clock time; only a front door makes a real one."""

    def __call__(self) -> datetime:
        """Return now, aware, in UTC."""


class ClusterReader(Protocol):
    def census(self) -> Census:
        """Read the cluster once. Raises ClusterError when nodes or pods cannot be read at all."""


class UsageSource(Protocol):
    def sweep(self, policy: IdlePolicy) -> UsageSweep:
        """Ask for every pod's use, with a number of queries that does not grow. Raises UsageUnavailable."""

    def node_usage(self, policy: Policy) -> NodeUsage:
        """Ask what each node uses. Raises UsageUnavailable."""

    def pod_use(self, policy: Policy) -> PodsUse:
        """Ask what each pod uses, with a number of queries that does not grow. Raises UsageUnavailable."""

    def pod_habits(self, policy: Policy) -> PodHabits:
        """Ask likewise what each uses over ``balance.habit``. Raises UsageUnavailable."""


class UsageProbe(Protocol):
    def self_test(self, policy: Policy, *, now: datetime) -> SelfTest:
        """Find out what the source can tell, with a few cheap queries; whatever goes wrong is a finding."""


class VerdictBook(Protocol):
    def read(self) -> Book:
        """The whole book; an empty one where none was ever written. Raises ClusterError."""

    def write(self, old: Book, new: Book) -> int:
        """Write what differs from ``old``, control last; return how many objects. Raises ClusterError."""


class ControlBook(Protocol):
    def control(self) -> Control:
        """The control object as it is now; ``swap`` then holds to this very version. Raises ClusterError."""

    def swap(self, new: Control) -> None:
        """Write it over the version read last. Raises ClusterConflict where somebody wrote since, ClusterError."""


class MonitorBook(VerdictBook, ControlBook, Protocol):
    """The whole book and, between two readings of it, the control object alone."""


class Workloads(Protocol):
    """What a move reads and writes. No write raises: what the API server said to it is the result."""

    def live(self, key: WorkloadKey, selector: str) -> Live:
        """Read a workload and its pods now. Raises ClusterError."""

    def scale(self, key: WorkloadKey, replicas: int, *, resource_version: str, dry_run: bool = False) -> Result:
        """Ask for so many replicas, through the scale subresource, if it is still of that version."""

    def evict(self, namespace: str, name: str, *, uid: str, dry_run: bool = False) -> Result:
        """Evict the pod of that UID, within its disruption budget."""

    def restart(self, key: WorkloadKey, *, at: datetime, resource_version: str, dry_run: bool = False) -> Result:
        """Stamp the template as `kubectl rollout restart` does."""


class Recorder(Protocol):
    def record(self, happening: Happening) -> None:
        """Tell it as an Event; never raises, for nothing depends on it."""


class SnapshotView(Protocol):
    def current(self) -> Snapshot | None:
        """The newest whole snapshot, None before the first. Never blocks."""

    def now(self) -> datetime:
        """The moment to decide for: the real one, or a captured file's ``captured_at``."""


class SnapshotWriter(Protocol):
    def write(self, snapshot: Snapshot) -> None:
        """Make ``snapshot`` the one that readers see, atomically. Raises SnapshotError."""
