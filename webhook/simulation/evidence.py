"""What Prometheus would have told of a workload, minute by minute, and the judgement it comes to.

A track says of each minute whether the workload's usage passed the thresholds, over the same ranges that the real queries
look at. The judgement then follows the order of ``core.idleness``: active, what is missing, between, idle. Whole
sweeps for each of ten thousand minutes would cost hours; a test holds this against the real judgement.

What depends on the pods is seen as well: a pod's start-up counts neither way, a young pod cannot show that the workload
woke, and where too much of the pods' time is start-up the run is unknown.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from math import ceil, floor

import msgspec

from webhook.core.idleness import Code, Judgement
from webhook.core.model import Evidence, Resources, Value, WorkloadKey
from webhook.core.policy import IdlePolicy
from webhook.core.readings import leave_range, startup
from webhook.simulation.objects import Life

_RUN = re.compile(rb"\x01+")
MINUTE = 60.0
_TINY = 1e-9


class Track(Value, frozen=True):
    """One workload over time; each of the masks has one byte a minute, 1 where it holds.

    ``breach``: the rate over ``rateWindow`` that ends with this minute is not below idle's threshold, of any signal or
    pod. ``recent`` and ``active`` say the same of the rate over the leave window, against idle's and against active's
    threshold. ``high``: this very minute's usage is not below idle's threshold. ``gap``: the minute has no value.
    ``busy`` is the truth that nobody measures: it worked for somebody.
    """

    key: WorkloadKey
    replicas: int
    requests: Resources
    breach: bytes
    recent: bytes
    active: bytes
    high: bytes
    busy: bytes
    gap: bytes
    shape: str = ""

    @property
    def minutes(self) -> int:
        """How long it is."""
        return len(self.busy)


class Ranges(Value, frozen=True):
    """The policy's lengths in minutes, which is a simulation's step: its window, how long a pod's start hides what it does
    from peaks and from recent rates, and what rates are taken over.
    """

    window: int
    starting: float
    settling: float
    rate: int
    leave: int
    min_coverage: float

    @classmethod
    def of(cls, policy: IdlePolicy) -> "Ranges":
        """Of one policy."""
        minute = timedelta(minutes=1)
        return cls(
            window=policy.window // minute,
            starting=startup(policy) / minute,
            settling=(policy.startup_grace + leave_range(policy)) / minute,
            rate=max(1, policy.rate_window // minute),
            leave=max(1, leave_range(policy) // minute),
            min_coverage=policy.min_coverage,
        )

    @property
    def reach(self) -> float:
        """Minutes after which the coming or going of a pod is seen in nothing any more."""
        return self.window + self.starting + 1


def masks(levels: Sequence[float], policy: IdlePolicy) -> dict[str, bytes]:
    """``breach``, ``recent``, ``active`` and ``high`` of usage told in multiples of idle's threshold, one a minute.

    Before the first minute nothing was used.
    """
    ranges = Ranges.of(policy)
    sums = [0.0]
    for level in levels:
        sums.append(sums[-1] + level)
    recent = _means(sums, ranges.leave)
    return {
        "breach": bytes([mean >= 1.0 for mean in _means(sums, ranges.rate)]),
        "recent": bytes([mean >= 1.0 for mean in recent]),
        "active": bytes([mean >= policy.leave_factor for mean in recent]),
        "high": bytes([level >= 1.0 for level in levels]),
    }


def _means(sums: list[float], width: int) -> list[float]:
    young = [total / width for total in sums[1:width]]
    return young + [(after - before) / width for before, after in zip(sums, sums[width:], strict=False)]


def changes(track: Track, ranges: Ranges) -> list[int]:
    """Every run, by its minute, at which the judgement of a workload whose pods are old may differ from the one before.

    The run of minute ``at`` has seen all minutes before it.
    """
    return sorted({at for at in _changes(track, ranges) if at <= track.minutes})


def _changes(track: Track, ranges: Ranges) -> Iterator[int]:
    yield from (1, ranges.window)
    for mask in (track.active, track.recent):
        yield from (at + 1 for run in _RUN.finditer(mask) for at in run.span())
    for mask in (track.breach, track.gap):
        for run in _RUN.finditer(mask):
            yield run.start() + 1
            yield run.end() + ranges.window


class View(Value, frozen=True):
    """How much of a workload can be seen at a run: None of lives where all its pods are old.

    ``is_blind``: Prometheus does not answer.
    """

    lives: tuple[Life, ...] | None = None
    is_blind: bool = False


def code_at(track: Track, at: int, ranges: Ranges, view: View) -> Code:
    """What the run of minute ``at`` says, in one word."""
    lives = view.lives
    if view.is_blind or at < 1:
        return Code.NO_USAGE if view.is_blind else Code.YOUNG
    if track.active[at - 1] and (lives is None or _is_settled(lives, at, ranges)):
        return Code.ACTIVE
    return _missing(track, at, ranges, lives) or (Code.BETWEEN if _is_between(track, at, ranges, lives) else Code.IDLE)


def _missing(track: Track, at: int, ranges: Ranges, lives: tuple[Life, ...] | None) -> Code | None:
    if at < ranges.window:
        return Code.YOUNG
    if lives is not None and (doubt := _doubt(lives, at, ranges)):
        return doubt
    return Code.GAP if track.gap.find(1, at - ranges.window, at) >= 0 else None


def _is_between(track: Track, at: int, ranges: Ranges, lives: tuple[Life, ...] | None) -> bool:
    since = at - ranges.window
    if lives is None:
        return bool(track.recent[at - 1]) or track.breach.find(1, since, at) >= 0
    if track.recent[at - 1] and _is_settled(lives, at, ranges):
        return True
    spans = (_steps(life, at, ranges, late=ranges.starting) for life in lives)
    return any(first <= last and track.breach.find(1, first - 1, last) >= 0 for first, last in spans)


def _is_settled(lives: tuple[Life, ...], at: int, ranges: Ranges) -> bool:
    """Whether any pod that runs is past the start-up that hides what it does."""
    return any(end is None and at - begin / MINUTE >= ranges.settling for begin, end in lives)


def _doubt(lives: tuple[Life, ...], at: int, ranges: Ranges) -> Code | None:
    """No pod, for too long no pod, or too much of the pods' time not seen."""
    if all(end is not None for _, end in lives) or _up(lives, at, ranges) < ranges.min_coverage * ranges.window:
        return Code.NO_PODS
    existed, seen = _existed_and_seen(lives, at, ranges)
    return Code.COVERAGE if seen < ranges.min_coverage * existed else None


def _existed_and_seen(lives: tuple[Life, ...], at: int, ranges: Ranges) -> tuple[int, int]:
    """Minutes of all its pods: in which they were there, and in which what they did was seen."""
    existed = seen = 0
    since, late = at - ranges.window + 1, ranges.starting
    for begin, end in lives:
        last = at if end is None else min(at, floor(end / MINUTE))
        # As `_steps` has them; this is asked for thousands of times a day.
        existed += max(0, last - max(ceil(begin / MINUTE), since) + 1)
        seen += max(0, last - max(ceil(begin / MINUTE + late), since) + 1)
    return existed, seen


def _up(lives: tuple[Life, ...], at: int, ranges: Ranges) -> int:
    covered, until = 0.0, float(at - ranges.window)
    for begin, end in sorted((begin / MINUTE, at if end is None else min(at, end / MINUTE)) for begin, end in lives):
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    return floor(covered + 1e-6)


def _steps(life: Life, at: int, ranges: Ranges, *, late: float = 0.0) -> tuple[int, int]:
    """The first and the last minute of the window at which the pod has a value, the first ``late`` minutes left out."""
    begin, end = life
    first = max(ceil(begin / MINUTE + late), at - ranges.window + 1)
    return first, at if end is None else min(at, floor(end / MINUTE))


def next_change(lives: Sequence[Life], at: int, ranges: Ranges) -> int | None:
    """The first run after ``at`` that may say something else because of these lives; None where none may.

    It may be too early, and never too late. What the track itself changes is put aside, see ``changes``.
    """
    steady = _steady(tuple(lives), at, ranges)
    if steady == 0:
        return at + 1
    # Rounding may shift an event by one run.
    events = [max(at + 1, floor(moment) - 1) for life in lives for moment in _moments(life, ranges) if moment > at - 1]
    return min(events if steady is None else [*events, at + 1 + steady], default=None)


def _moments(life: Life, ranges: Ranges) -> tuple[float, ...]:
    """In minutes: when its start no longer hides what it does, from peaks and from recent rates, and when it leaves the window."""
    begin, end = life[0] / MINUTE, life[1]
    if end is None:
        return begin + ranges.starting, begin + ranges.settling
    return begin + ranges.starting, end / MINUTE + ranges.window


def _steady(lives: tuple[Life, ...], at: int, ranges: Ranges) -> int | None:
    """For how many more runs the doubt surely is the same, no event put between; None: for all.

    A run later at most a minute more of the window is without a pod, or with one. Of the minutes in which pods existed and
    was seen what they did, each pod gains or loses one at the most.
    """
    running = [begin / MINUTE for begin, end in lives if end is None]
    if not running:
        return None
    share, since = ranges.min_coverage, at - ranges.window
    spare = _up(lives, at, ranges) - share * ranges.window
    steady = max(0, floor(abs(spare)) - 1)
    if spare < 0:
        return steady
    ended = len(lives) - len(running)
    existed, seen = _existed_and_seen(lives, at, ranges)
    margin = seen - share * existed
    if margin < 0:
        gain = share * ended + sum(begin + ranges.starting + 1 >= since for begin in running)
        return min(steady, max(0, ceil(-margin / gain - _TINY) - 1)) if gain else steady
    loss = (1.0 - share) * ended + share * sum(begin + ranges.starting + 1 >= at for begin in running)
    return min(steady, max(0, floor(margin / loss - _TINY))) if loss > _TINY else steady


_EVIDENCE = {Code.IDLE: Evidence.IDLE, Code.ACTIVE: Evidence.ACTIVE}
_MEASURED = frozenset({Code.IDLE, Code.ACTIVE, Code.BETWEEN})
_SAID = {
    Code.IDLE: "every signal is below its threshold",
    Code.ACTIVE: "a signal is above its threshold",
    Code.BETWEEN: "neither idle nor active",
    Code.NO_USAGE: "Prometheus does not answer",
    Code.YOUNG: "too little is known of it yet",
    Code.NO_PODS: "no pod of it ran for long enough",
    Code.GAP: "some minutes have no value",
    Code.COVERAGE: "too much of its pods' time was start-up",
}
JUDGEMENTS = {
    code: Judgement(
        evidence=_EVIDENCE.get(code, Evidence.UNKNOWN), reason=reason, code=code, measured=code in _MEASURED
    )
    for code, reason in _SAID.items()
}
"""The judgement that each code comes to."""


def joined(one: bytes, other: bytes) -> bytes:
    """Where either holds; both are as long."""
    return (int.from_bytes(one) | int.from_bytes(other)).to_bytes(len(one))


def blinded(track: Track, outages: bytes) -> Track:
    """The track as a Prometheus that was away at some minutes knows it: what happened then is lost."""
    return msgspec.structs.replace(track, gap=joined(track.gap, outages))
