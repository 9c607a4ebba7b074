"""A user's own usage as a load: CSV, one line for each pod and moment, read as a stream and refused at the first doubt.

The header names the columns, in any order: ``time, pod, owner, cpuCores, memoryBytes, receivedBytesPerSecond,
cpuRequestCores``. Times are RFC 3339 with a zone, the same everywhere, or Unix seconds, and never go back. ``pod`` is a
name within its owner's namespace, ``owner`` is ``namespace/Deployment/name``. What is used is the mean since the pod's
last sample, or of the minute.

A sample holds until the pod's next one, for ``STEP_MINUTES`` at most: beyond it nobody knows, and the minutes are a gap,
as is any minute in which an owner has no pod. Where two samples of a pod lie in one minute the larger counts. Pods of the
file's first minute are taken for old, later ones for starting up. A name that comes back after a day is another pod's.
"""

import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import BinaryIO, NamedTuple

from webhook.core import rules
from webhook.core.model import Resources, Value, WorkloadKey
from webhook.core.policy import IdlePolicy, Policy
from webhook.core.readings import cpu_threshold
from webhook.errors import ConfigurationError, InputError
from webhook.simulation.evidence import Ranges, Track, joined

STEP_MINUTES = 5
"""The longest that a sample holds; common exporters keep one a minute, cheap ones one in five."""
COLUMNS = ("time", "pod", "owner", "cpuCores", "memoryBytes", "receivedBytesPerSecond", "cpuRequestCores")
MOST_CORES, MOST_BYTES = 10_000.0, 1e15
"""More than any pod has; beyond it a unit was mistaken."""
MOST_LINE_BYTES = 16_384
MOST_DAYS = 400
_DAY = 1_440
_UNIX = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,251}[a-zA-Z0-9])?", re.ASCII)


class Traced(Value, frozen=True):
    """What was read. ``gap_minutes`` counts minutes of a pod's life without a value, of ``pod_minutes``, all owners together.

    ``usual_step`` is the median of the minutes between two samples of a pod; 0 where no pod has two.
    """

    tracks: tuple[Track, ...]
    lines: int
    gap_minutes: int
    pod_minutes: int
    usual_step: int


class _Row(NamedTuple):
    seconds: float
    pod: str
    owner: str
    cpu_cores: float
    memory_bytes: float
    received: float
    request_cores: float


@dataclass(slots=True)
class _Pod:
    """A pod's last sample, not counted yet, and its usage over the last minutes: (minute, CPU, network) in thresholds.

    ``born`` is the minute of its start, None where that lies before the file.
    """

    owner: str
    minute: int
    row: _Row
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
    lines = _lines(stream, source)
    reader, times = _Reader(policy), _Times()
    columns = _header(next(lines, (1, "")), source)
    for number, text in lines:
        try:
            reader.take(_row(_fields(text, len(columns)), columns, times))
        except _Doubt as exc:
            raise InputError(f"{source}:{number}: {exc}") from exc.__cause__
    if not reader.lines:
        raise InputError(f"{source}: there is a header and no line below it")
    return reader.finish()


class _Doubt(Exception):  # noqa: N818 - told with the line that it is about
    """What is wrong with a line."""


class _Times:
    """Reads times, and holds the file to one kind of them that never goes back."""

    def __init__(self) -> None:
        self._kind = ""
        self._last = 0.0

    def seconds(self, said: str) -> float:
        """Since 1970."""
        kind, seconds = self._read(said)
        if self._kind and kind != self._kind:
            raise _Doubt(
                f"time: {said!r} is of {kind}, the lines before are of {self._kind}; use one of them throughout"
            )
        if seconds < self._last:
            raise _Doubt(f"time: {said} is before the line above; sort the lines by time")
        self._kind, self._last = kind, seconds
        return seconds

    @staticmethod
    def _read(said: str) -> tuple[str, float]:
        if _UNIX.fullmatch(said):
            return "Unix seconds", float(said)
        try:
            moment = datetime.fromisoformat(said)
        except ValueError:
            raise _Doubt(f"time: {said!r} is neither RFC 3339 nor Unix seconds") from None
        if moment.tzinfo is None:
            raise _Doubt(f"time: {said!r} has no time zone; write it as in 2026-03-02T08:00:00Z")
        return f"time zone {moment:%z}", moment.timestamp()


def _lines(stream: BinaryIO, source: str) -> Iterator[tuple[int, str]]:
    """Numbered from 1; blank ones are passed over."""
    number = 0
    while raw := stream.readline(MOST_LINE_BYTES + 1):
        number += 1
        if len(raw) > MOST_LINE_BYTES:
            raise InputError(f"{source}:{number}: the line is longer than {MOST_LINE_BYTES} bytes")
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as exc:
            raise InputError(f"{source}:{number}: not UTF-8") from exc
        if text:
            yield number, text


def _fields(text: str, expected: int | None = None) -> list[str]:
    try:
        found = [field.strip() for field in next(csv.reader([text], strict=True))]
    except csv.Error as exc:
        raise _Doubt(f"no CSV: {exc}") from exc
    if expected is not None and len(found) != expected:
        raise _Doubt(f"{len(found)} fields; the header has {expected}")
    return found


def _header(first: tuple[int, str], source: str) -> dict[str, int]:
    """The place of each column. Raises ConfigurationError, InputError for a file without any line."""
    number, text = first
    if not text:
        raise InputError(f"{source}: the file is empty; its first line names the columns: {', '.join(COLUMNS)}")
    try:
        found = _fields(text)
    except _Doubt as exc:
        raise InputError(f"{source}:{number}: {exc}") from exc.__cause__
    counted = Counter(found)
    faults = [f"column {name!r} is missing" for name in COLUMNS if name not in counted]
    faults += [f"column {name!r} is there {n} times" for name, n in counted.items() if n > 1]
    faults += [f"column {name!r} is not known" for name in counted if name not in COLUMNS]
    if faults:
        raise ConfigurationError(faults, source=f"{source}:{number}")
    return {name: place for place, name in enumerate(found)}


def _row(fields: list[str], columns: Mapping[str, int], times: _Times) -> _Row:
    said = {name: fields[place] for name, place in columns.items()}
    if not _NAME.fullmatch(said["pod"]):
        raise _Doubt(f"pod: {said['pod']!r} is no name of a pod")
    return _Row(
        seconds=times.seconds(said["time"]),
        pod=said["pod"],
        owner=said["owner"],
        cpu_cores=_amount("cpuCores", said, MOST_CORES),
        memory_bytes=_amount("memoryBytes", said, MOST_BYTES),
        received=_amount("receivedBytesPerSecond", said, MOST_BYTES),
        request_cores=_amount("cpuRequestCores", said, MOST_CORES),
    )


def _amount(column: str, said: Mapping[str, str], most: float) -> float:
    text = said[column]
    try:
        value = float(text)
    except ValueError:
        raise _Doubt(f"{column}: {text!r} is no number") from None
    if not isfinite(value) or value < 0:
        raise _Doubt(f"{column}: {text} is no amount; it must be finite and not negative")
    if value > most:
        raise _Doubt(f"{column}: {text} is more than {most:g}; perhaps it is in another unit")
    return value


def _key(said: str) -> WorkloadKey:
    try:
        key = WorkloadKey.parse(said)
    except ValueError as exc:
        raise _Doubt(f"owner: {exc}") from None
    if key.kind != "Deployment":
        raise _Doubt(f"owner: {said!r} is a {key.kind}; only Deployments are simulated, leave out the others")
    if not (_NAME.fullmatch(key.namespace) and _NAME.fullmatch(key.name)):
        raise _Doubt(f"owner: {said!r} is not <namespace>/Deployment/<name>")
    return key


class _Reader:
    """Takes rows in the order of time, and counts a pod's sample once it is known how long it held."""

    def __init__(self, policy: Policy) -> None:
        self.lines = self._gaps = self._known = 0
        self._steps: Counter[int] = Counter()
        self._policy, self._start = policy, 0
        self._last = 0
        self._owners: dict[str, _Owner] = {}
        self._pods: dict[tuple[str, str], _Pod] = {}

    def take(self, row: _Row) -> None:
        """One more row. Raises _Doubt where it does not go with those before."""
        minute = int(row.seconds // 60)
        self._start = self._start if self.lines else minute
        at = minute - self._start
        if at >= MOST_DAYS * _DAY:
            raise _Doubt(f"time: more than {MOST_DAYS} days after the first line")
        self.lines, self._last = self.lines + 1, at
        owner = self._owner(row.owner)
        name = owner.key.namespace, row.pod
        pod = self._pods.get(name)
        if pod is not None and at - pod.minute > _DAY:
            self._close(self._pods.pop(name))
            pod = None
        if pod is None:
            self._pods[name] = _Pod(row.owner, at, row, born=at or None)
        elif pod.owner != row.owner:
            raise _Doubt(f"owner: pod {row.pod} is of {row.owner}, and was of {pod.owner} before")
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
        if said not in self._owners:
            key = _key(said)
            idle = rules.idle_policy(self._policy, rules.first(self._policy, key, labels={}, namespace_labels={}))
            self._owners[said] = _Owner(key, idle, Ranges.of(idle))
        return self._owners[said]

    def _hold(self, pod: _Pod, at: int, row: _Row) -> None:
        """The pod's last sample held until this one."""
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
