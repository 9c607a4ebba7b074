"""A whole run held against the one before it: many workloads do not go to rest in one minute, exporters do.

Each workload's evidence may look whole while the fault is everybody's: a dropped job, a changed
relabelling, a store that lost half of its series. So two things about a run as a whole keep every
workload from turning to spot, whatever its own evidence says:

==================  ======================================================================
``idle-jump``       the idle share of what was measured rose by more than 20 points
``evidence-drop``   of the workloads that evidence is due for, a fifth less was measured
==================  ======================================================================

The way back to regular nodes stays open, because waking is never wrong for lack of data. A run
is held against the last one that was accepted, so a slow evening is no jump; what stays as it is
for a whole window of evidence was no passing fault, and is accepted as the new state of things.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from webhook.core.idleness import Code, Judgement
from webhook.core.model import Evidence, Value

MAX_JUMP = 0.20
"""Points of idle share."""
MAX_DROP = 0.20
"""Of the share that was measured."""
MIN_WORKLOADS = 10
"""Fewer may turn together by chance: in a cluster of five, one is a fifth."""
_NOT_DUE = frozenset({Code.YOUNG, Code.NO_PODS})
"""Nothing was to be seen of these: a rollout of everything is no loss of evidence."""


class Alarm(StrEnum):
    """What is wrong with a run as a whole. Bounded, fit for a metric label."""

    IDLE_JUMP = "idle-jump"
    EVIDENCE_DROP = "evidence-drop"


class Tally(Value, frozen=True):
    """Counts of workloads in one run: evidence is ``due``, it was ``measured``, and it was ``idle``."""

    due: int = 0
    measured: int = 0
    idle: int = 0


class Sanity(Value, frozen=True):
    """What the book keeps: the last run that was accepted, and since when runs have not been.

    ``seen`` is the last run under an alarm, which a person may accept; None where there is no alarm.
    """

    accepted: Tally | None = None
    alarm: Alarm | None = None
    since: datetime | None = None
    reason: str = ""
    seen: Tally | None = None


def tally(judgements: Iterable[Judgement]) -> Tally:
    """Count one run."""
    due = measured = idle = 0
    for judgement in judgements:
        due += judgement.code not in _NOT_DUE
        measured += judgement.measured
        idle += judgement.evidence is Evidence.IDLE
    return Tally(due=due, measured=measured, idle=idle)


def examine(before: Sanity, seen: Tally, *, now: datetime, patience: timedelta) -> Sanity:
    """The state after a run. An alarm that stood for ``patience`` is accepted, unless nothing at all is measured."""
    alarm, reason = _compare(before.accepted, seen)
    if alarm is None:
        # A run without evidence is no measure for the next one.
        return Sanity(accepted=seen if seen.measured else before.accepted)
    # A clock that was set back starts the wait over; it must not end it.
    since = min(before.since, now) if before.alarm is alarm and before.since else now
    if seen.measured and now - since > patience:
        return Sanity(accepted=seen)
    return Sanity(accepted=before.accepted, alarm=alarm, since=since, reason=reason, seen=seen)


def acknowledge(before: Sanity) -> Sanity:
    """A person has looked: the run that they saw is accepted, and the next one is held against it.

    It is not enough to forget what was accepted, because the next run would then be accepted whatever it shows, and
    that may be far worse than what was looked at. Where nothing was measured there is nothing to accept: the alarm
    stays, for without a measure nobody would notice how evidence comes back.
    """
    if before.alarm is None or before.seen is None or not before.seen.measured:
        return before
    return Sanity(accepted=before.seen)


def _compare(accepted: Tally | None, seen: Tally) -> tuple[Alarm | None, str]:
    if accepted is None or not accepted.measured:
        return None, ""
    lost = _share(accepted.measured, accepted.due) * seen.due - seen.measured
    if lost >= MIN_WORKLOADS and lost > MAX_DROP * _share(accepted.measured, accepted.due) * seen.due:
        reason = (
            f"{_of(seen.measured, seen.due)} workloads were measured, {_of(accepted.measured, accepted.due)} before"
        )
        return Alarm.EVIDENCE_DROP, reason
    risen = _share(seen.idle, seen.measured) - _share(accepted.idle, accepted.measured)
    if risen > MAX_JUMP and risen * seen.measured >= MIN_WORKLOADS and not _is_filling(accepted, seen):
        reason = f"{_of(seen.idle, seen.measured)} workloads are idle, {_of(accepted.idle, accepted.measured)} before"
        return Alarm.IDLE_JUMP, reason
    return None, ""


def _is_filling(accepted: Tally, seen: Tally) -> bool:
    """Whether so many more are measured that shares cannot be compared, as in the first hour of an installation."""
    return accepted.measured < (1 - MAX_DROP) * seen.measured


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole} ({_share(part, whole):.0%})"
