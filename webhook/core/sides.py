"""From evidence to a side: slow to spot, at once back, and nothing on doubt.

==========  ====================  ==========================================  =======================
evidence    side                  idle runs in a row                          ``good_at``
==========  ====================  ==========================================  =======================
idle        spot after N of them  one more, counted up to N                   now
active      regular at once       none                                        now
unknown,    stays                 none: it was seen above idle                now: the data was whole
measured
unknown     stays                 kept, because a pause must not starve the   stays, and so runs out
                                  way to spot; lost when ``good_at`` is older
                                  than the evidence's time to live
==========  ====================  ==========================================  =======================

A workload that was deleted and made anew under its name (another UID) starts over. While
``core.sanity`` distrusts a run as a whole, nobody turns to spot.
"""

import zlib
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache

import msgspec

from webhook.core.idleness import Judgement
from webhook.core.model import Evidence, Side, Verdict, WorkloadKey
from webhook.core.policy import SidePolicy

_REFRESHES_PER_TTL = 6
_BUCKETS = 16


def advance(  # noqa: PLR0913 - the whole of what a side may depend on, by name
    previous: Verdict | None,
    judgement: Judgement,
    *,
    key: WorkloadKey,
    uid: str,
    policy: SidePolicy,
    now: datetime,
    frozen: bool = False,
) -> Verdict:
    """The verdict after this run; the very ``previous`` object where nothing is worth a write.

    ``frozen`` holds whoever would turn to spot where it is, its idle runs counted on; the way back stays open.
    ``good_at`` and ``judged_at`` lag by up to a sixth of ``evidence_ttl``: a verdict that says the same again is
    written when its key's turn comes, and not every minute.
    """
    before = _same_object(previous, key=key, uid=uid)
    runs = _idle_runs(before, judgement, policy=policy, now=now)
    side = _side(before.side, judgement, idle_runs=runs, policy=policy)
    if frozen and side is Side.SPOT:
        side = before.side
    moved = side is not before.side
    after = msgspec.structs.replace(
        before,
        side=side,
        since=now if moved or before.since is None else before.since,
        transitions=before.transitions + moved,
        idle_runs=runs,
        evidence=judgement.evidence,
        reason=judgement.reason,
        signals=judgement.signals,
        good_at=now if judgement.measured else before.good_at,
        judged_at=now,
        runs=judgement.runs or before.runs,
    )
    return after if previous is None or _worth_writing(before, after, policy=policy, now=now) else previous


def has_expired(verdict: Verdict, *, policy: SidePolicy, now: datetime) -> bool:
    """Whether the last good evidence is too old to act on. A stamp as far ahead is as bad: it would never grow old."""
    return verdict.good_at is None or abs(now - verdict.good_at) > policy.evidence_ttl


def _same_object(previous: Verdict | None, *, key: WorkloadKey, uid: str) -> Verdict:
    if previous is None or previous.key != key or previous.uid != uid:
        return Verdict(key=key, uid=uid)
    return previous


def _idle_runs(before: Verdict, judgement: Judgement, *, policy: SidePolicy, now: datetime) -> int:
    kept = 0 if has_expired(before, policy=policy, now=now) else before.idle_runs
    if judgement.evidence is Evidence.IDLE:
        # Counted up to N only, or a resting workload's shard would be rewritten every minute.
        return min(kept + 1, policy.idle_runs_to_spot)
    return 0 if judgement.measured else kept


def _side(side: Side, judgement: Judgement, *, idle_runs: int, policy: SidePolicy) -> Side:
    if judgement.evidence is Evidence.ACTIVE:
        return Side.REGULAR
    if judgement.evidence is Evidence.IDLE and idle_runs >= policy.idle_runs_to_spot:
        return Side.SPOT
    return side


def _worth_writing(before: Verdict, after: Verdict, *, policy: SidePolicy, now: datetime) -> bool:
    return _turn_has_come(before, policy, now) or _telling(before) != _telling(after)


def _telling(verdict: Verdict) -> tuple[object, ...]:
    return (verdict.uid, verdict.side, verdict.idle_runs, verdict.evidence, verdict.runs, is_measured(verdict))


def is_measured(verdict: Verdict) -> bool:
    """Whether the last run that was written down had whole data, whatever it said: nothing moves on less."""
    return verdict.good_at is not None and verdict.good_at == verdict.judged_at


def next_turn(verdict: Verdict, policy: SidePolicy) -> datetime | None:
    """When a verdict that says the same again is written all the same; None where it was never written.

    The rhythm is shifted by the key's hash, in few steps: neither all shards at once, nor every shard every minute.
    """
    if verdict.judged_at is None:
        return None
    period, epoch = _rhythm(verdict, policy, verdict.judged_at)
    return epoch + period * ((verdict.judged_at - epoch) // period + 1)


def _turn_has_come(before: Verdict, policy: SidePolicy, now: datetime) -> bool:
    """Whether a border of this key's own rhythm lies between the last write and now, whichever was earlier."""
    if before.judged_at is None:
        return True
    period, epoch = _rhythm(before, policy, now)
    return (now - epoch) // period != (before.judged_at - epoch) // period


def _rhythm(verdict: Verdict, policy: SidePolicy, moment: datetime) -> tuple[timedelta, datetime]:
    """How long its rounds are, and when one of them began."""
    return _rhythm_of(verdict.key, policy.evidence_ttl, moment.tzinfo)


@lru_cache(maxsize=16_384)
def _rhythm_of(key: WorkloadKey, evidence_ttl: timedelta, zone: tzinfo | None) -> tuple[timedelta, datetime]:
    period = evidence_ttl / _REFRESHES_PER_TTL
    shift = period * (zlib.crc32(str(key).encode()) % _BUCKETS / _BUCKETS)
    return period, datetime.fromtimestamp(0, tz=zone) + shift
