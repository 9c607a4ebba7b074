"""A user's own usage as a load: CSV, one line for each pod and moment, read as a stream and refused at the first doubt.

The header names the columns, in any order: ``time, pod, owner, cpuCores, memoryBytes, receivedBytesPerSecond,
cpuRequestCores``. Times are RFC 3339 with a zone, the same everywhere, or Unix seconds, and never go back. ``pod`` is a
name within its owner's namespace, ``owner`` is ``namespace/Deployment/name``, the kind as kubectl takes it. What is used is the mean since the pod's
last sample, or of the minute.

A sample holds until the pod's next one, for ``STEP_MINUTES`` at most: beyond it nobody knows, and the minutes are a gap,
as is any minute in which an owner has no pod. Where two samples of a pod lie in one minute the larger counts; two of the
very same time are a doubt, unless they say the same. Pods of the file's first minute are taken for old, later ones for
starting up. A name that comes back after a day is another pod's.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

from webhook.core import rules
from webhook.core.model import Resources, Value, WorkloadKey
from webhook.core.policy import IdlePolicy, Policy
from webhook.core.readings import cpu_threshold
from webhook.errors import InputError
from webhook.simulation import trace_rows
from webhook.simulation.evidence import Ranges, Track, joined
from webhook.simulation.trace_rows import COLUMNS, Doubt, Row

__all__ = ["COLUMNS", "STEP_MINUTES", "Traced", "read"]

STEP_MINUTES = 5
"""The longest that a sample holds; common exporters keep one a minute, cheap ones one in five."""
MOST_DAYS = 400
_DAY = 1_440


class Traced(Value, frozen=True):
    """What was read. ``gap_minutes`` counts minutes of a pod's life without a value, of ``pod_minutes``, all owners together.

    ``usual_step`` is the median of the minutes between two samples of a pod; 0 where no pod has two.
    """

    tracks: tuple[Track, ...]
    lines: int
    gap_minutes: int
    pod_minutes: int
    usual_step: int


@dataclass(slots=True)
class _Pod:
    """A pod's last sample, not counted yet, and its usage over the last minutes: (minute, CPU, network) in thresholds.

    ``row`` is the largest of the sample's minute, ``said`` the last line of it. ``born`` is the minute of its start, None where that lies before the file.
    """

    owner: str
    minute: int
    row: Row
    said: Row
    born: int | None
    recent: deque[tuple[int, float, float]] = field(default_factory=deque)


@dataclass(slots=True)
class _Owner:
    """An owner's masks as they grow; ``pods`` counts its pods in each minute."""

    key: WorkloadKey
    policy: IdlePolicy
    ranges: Ranges
    breach: bytearray = field(default_factory=bytearray)
    recent: bytearray = field(default_factory=bytearray)
    active: bytearray = field(default_factory=bytearray)
    high: bytearray = field(default_factory=bytearray)
    gap: bytearray = field(default_factory=bytearray)
    pods: bytearray = field(default_factory=bytearray)
    cpu_cores: float = 0.0
    memory_bytes: float = 0.0

    @property
    def masks(self) -> tuple[bytearray, ...]:
        """All of them."""
        return self.breach, self.recent, self.active, self.high, self.gap, self.pods

    @property
    def reach(self) -> int:
        """The longest of the ranges that a rate is taken over, in minutes."""
        return max(self.ranges.rate, self.ranges.leave)

    def grow(self, minutes: int) -> None:
        """Make room for so many."""
        for mask in self.masks:
            mask.extend(bytes(max(0, minutes - len(mask))))

    def note(self, at: int, pod: _Pod) -> None:
        """Count one minute of a pod, the last one that it has."""
        age = at - pod.born if pod.born is not None else self.ranges.starting
        rate, leave = (_busiest(pod.recent, at, width) for width in (self.ranges.rate, self.ranges.leave))
        self.pods[at] = min(self.pods[at] + 1, 255)
        self.high[at] |= max(pod.recent[-1][1:]) >= 1.0
        self.breach[at] |= age >= self.ranges.starting and rate >= 1.0
        self.recent[at] |= age >= self.ranges.settling and leave >= 1.0
        self.active[at] |= age >= self.ranges.settling and leave >= self.policy.leave_factor


def _busiest(recent: Iterable[tuple[int, float, float]], at: int, width: int) -> float:
    """The larger mean of CPU and network over the last minutes that have a value."""
    seen = [one for one in recent if one[0] > at - width]
    return max(sum(one[signal] for one in seen) for signal in (1, 2)) / len(seen)


def read(stream: BinaryIO, policy: Policy, *, source: str) -> Traced:
    """Read it to its end, in memory that grows with owners and minutes alone.

    Raises ConfigurationError that tells all faults of the header, and InputError for the first line that is wrong.
    """
    lines = trace_rows.lines(stream, source)
    reader, times = _Reader(policy), trace_rows.Times()
    columns = trace_rows.header(next(lines, (1, "")), source)
    for number, text in lines:
        try:
            reader.take(trace_rows.row(text, columns, times))
        except Doubt as exc:
            raise InputError(f"{source}:{number}: {exc}") from exc.__cause__
    if not reader.lines:
        raise InputError(f"{source}: there is a header and no line below it")
    return reader.finish()


class _Reader:
    """Takes rows in the order of time, and counts a pod's sample once it is known how long it held."""

    def __init__(self, policy: Policy) -> None:
        self.lines = self._gaps = self._known = 0
        self._steps: Counter[int] = Counter()
        self._policy, self._start = policy, 0
        self._last = 0
        self._owners: dict[str, _Owner] = {}
        self._spellings: dict[str, _Owner] = {}
        self._pods: dict[tuple[str, str], _Pod] = {}

    def take(self, row: Row) -> None:
        """One more row. Raises Doubt where it does not go with those before."""
        minute = int(row.seconds // 60)
        self._start = self._start if self.lines else minute
        at = minute - self._start
        if at >= MOST_DAYS * _DAY:
            raise Doubt(f"time: more than {MOST_DAYS} days after the first line")
        self.lines, self._last = self.lines + 1, at
        owner = self._owner(row.owner)
        row = row._replace(owner=str(owner.key))
        name = owner.key.namespace, row.pod
        pod = self._pods.get(name)
        if pod is not None and at - pod.minute > _DAY:
            self._close(self._pods.pop(name))
            pod = None
        if pod is None:
            self._pods[name] = _Pod(row.owner, at, row, said=row, born=at or None)
        elif pod.owner != row.owner:
            raise Doubt(f"owner: pod {row.pod} is of {row.owner}, and was of {pod.owner} before")
        else:
            self._hold(pod, at, row)

    def finish(self) -> Traced:
        """All tracks, as long as the file is."""
        for pod in self._pods.values():
            self._close(pod)
        minutes = self._last + 1
        tracks = tuple(_track(owner, minutes) for _, owner in sorted(self._owners.items()))
        return Traced(
            tracks,
            lines=self.lines,
            gap_minutes=self._gaps,
            pod_minutes=self._known + self._gaps,
            usual_step=_median(self._steps),
        )

    def _owner(self, said: str) -> _Owner:
        if said not in self._spellings:
            key = trace_rows.key(said)
            if str(key) not in self._owners:
                idle = rules.idle_policy(self._policy, rules.first(self._policy, key, labels={}, namespace_labels={}))
                self._owners[str(key)] = _Owner(key, idle, Ranges.of(idle))
            self._spellings[said] = self._owners[str(key)]
        return self._spellings[said]

    def _hold(self, pod: _Pod, at: int, row: Row) -> None:
        """The pod's last sample held until this one."""
        if row.seconds == pod.said.seconds and row != pod.said:
            raise Doubt(
                f"time: pod {row.pod} has another line of the same time that says something else; leave one of them"
            )
        pod.said = row
        if at == pod.minute:
            pod.row = row._replace(
                cpu_cores=max(row.cpu_cores, pod.row.cpu_cores), received=max(row.received, pod.row.received)
            )
            return
        self._steps[at - pod.minute] += 1
        until = min(at, pod.minute + STEP_MINUTES)
        self._count(pod, until)
        if until < at:
            self._gaps += at - until
            owner = self._owners[pod.owner]
            owner.grow(at)
            owner.gap[until:at] = b"\x01" * (at - until)
        pod.minute, pod.row = at, row

    def _close(self, pod: _Pod) -> None:
        """It was not seen again: its last sample counts for its own minute."""
        self._count(pod, pod.minute + 1)

    def _count(self, pod: _Pod, until: int) -> None:
        owner, row = self._owners[pod.owner], pod.row
        self._known += until - pod.minute
        owner.grow(until)
        below = cpu_threshold(row.request_cores, owner.policy)
        use = row.cpu_cores / below, row.received / owner.policy.received_bytes_per_second
        owner.cpu_cores = max(owner.cpu_cores, row.request_cores)
        owner.memory_bytes = max(owner.memory_bytes, row.memory_bytes)
        for at in range(pod.minute, until):
            pod.recent.append((at, *use))
            while pod.recent[0][0] <= at - owner.reach:
                pod.recent.popleft()
            owner.note(at, pod)


def _median(steps: Counter[int]) -> int:
    """The lower one, of an even number."""
    left = (steps.total() + 1) // 2
    for step, n in sorted(steps.items()):
        left -= n
        if left <= 0:
            return step
    return 0


def _track(owner: _Owner, minutes: int) -> Track:
    owner.grow(minutes)
    nobody = bytes(not n for n in owner.pods)
    counted = Counter(n for n in owner.pods if n)
    replicas = max(counted, key=lambda n: (counted[n], -n), default=1)
    high = bytes(owner.high)
    return Track(
        key=owner.key,
        replicas=replicas,
        requests=Resources(cpu_cores=owner.cpu_cores, memory_bytes=owner.memory_bytes),
        breach=bytes(owner.breach),
        recent=bytes(owner.recent),
        active=bytes(owner.active),
        high=high,
        # Of a trace nobody knows the truth: what was used is the nearest to it.
        busy=high,
        gap=joined(bytes(owner.gap), nobody),
        shape="trace",
    )
