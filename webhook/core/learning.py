"""What a workload's moves teach about the next one: dwell, canary, back-off, and when to stop trying.

=====================  ====================================================================
a move                 is remembered as
=====================  ====================================================================
to spot, stuck         no misses; the first of a change of side is its canary
to regular, stuck      no misses; the dwell runs from when the last of them began, and is
                       twice as long where the workload had been on spot for less than it
came to nothing        one miss more; the next waits for the back-off, doubled by each miss;
                       after ``attempts`` of them, for a day
replicas set back      as above, but one such move is all that is tried again: two writers
                       fight, and ours is the guest
anything else          nothing: somebody else's hand, a pause, a side that turned
=====================  ====================================================================
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from webhook.core.model import Memory, Side
from webhook.core.moves import MISSES, Finished, Outcome
from webhook.core.policy import MovePolicy

LONGEST = timedelta(days=1)
"""No back-off and no dwell is longer: a cluster of tomorrow may have what that of today lacks."""


def learn(memory: Memory, moves: Iterable[Finished], policy: MovePolicy) -> Memory:
    """The memory after these moves of one workload, in the order of their numbers; each is learnt from once."""
    for move in sorted(moves, key=lambda one: one.number):
        if move.number > memory.learnt:
            memory = msgspec.structs.replace(_after(memory, move, policy), learnt=move.number)
    return memory


def _after(memory: Memory, move: Finished, policy: MovePolicy) -> Memory:
    if move.outcome in MISSES:
        return _missed(memory, move, policy)
    if move.outcome is not Outcome.MOVED:
        return msgspec.structs.replace(memory, last_outcome=move.outcome.value)
    stuck = msgspec.structs.replace(memory, misses=0, not_before=None, last_outcome=move.outcome.value)
    if move.trim:
        return stuck
    return _arrived(stuck, move) if move.to is Side.SPOT else _returned(stuck, move, policy)


def _missed(memory: Memory, move: Finished, policy: MovePolicy) -> Memory:
    misses = memory.misses + 1
    if move.outcome is Outcome.REVERTED:
        misses = max(misses, policy.attempts if memory.last_outcome == Outcome.REVERTED else policy.attempts - 1)
    return msgspec.structs.replace(
        memory,
        misses=misses,
        not_before=move.ended_at + backoff(misses, policy),
        last_outcome=move.outcome.value,
    )


def _arrived(memory: Memory, move: Finished) -> Memory:
    if memory.canary_at is not None and memory.canary == move.transition:
        return msgspec.structs.replace(memory, moved_at=memory.moved_at or move.ended_at)
    return msgspec.structs.replace(memory, canary=move.transition, canary_at=move.ended_at, moved_at=move.ended_at)


def _returned(memory: Memory, move: Finished, policy: MovePolicy) -> Memory:
    if memory.moved_at is None:
        # One more of a return that was counted already, or a pod that came to spot without a move of ours.
        return msgspec.structs.replace(memory, returned_at=move.began_at)
    early = move.began_at - memory.moved_at < dwell(memory, policy)
    factor = _doubled(memory.dwell_factor, policy) if early else 1
    return msgspec.structs.replace(memory, returned_at=move.began_at, moved_at=None, dwell_factor=factor)


def _doubled(factor: int, policy: MovePolicy) -> int:
    return factor * 2 if policy.dwell * factor < LONGEST else factor


def dwell(memory: Memory, policy: MovePolicy) -> timedelta:
    """How long a workload stays on regular nodes after a return, at the least."""
    return min(policy.dwell * memory.dwell_factor, max(LONGEST, policy.dwell))


def backoff(misses: int, policy: MovePolicy) -> timedelta:
    """How long to wait after so many moves in a row that came to nothing."""
    if misses >= policy.attempts:
        return LONGEST
    return min(policy.backoff * (1 << min(misses - 1, 16)), LONGEST)


def has_given_up(memory: Memory, policy: MovePolicy) -> bool:
    """Whether so many moves came to nothing that only a day, or a person, brings the next."""
    return memory.misses >= policy.attempts


def held_until(memory: Memory, to: Side, policy: MovePolicy, now: datetime) -> tuple[datetime, str] | None:
    """Until when no move to that side may begin, and why; None where nothing holds it back.

    The way back knows no dwell. No wait is longer than it could be as of now: what says so was stamped before a clock
    was set back, and would hold for as long as that clock was ahead.
    """
    if memory.not_before is not None and now < memory.not_before <= now + LONGEST:
        return memory.not_before, "gave-up" if has_given_up(memory, policy) else "backoff"
    if to is Side.SPOT and memory.returned_at is not None:
        until, longest = memory.returned_at + dwell(memory, policy), now + dwell(memory, policy)
        if now < until <= longest:
            return until, "dwell"
    return None
