"""Other rules on the same load: what thresholds without memory, and a clairvoyant, would have made of it.

None of these has pods to move, budgets to keep or weather to bear: they change sides at once and at no risk, which is more
than anybody can. A busy workload that is on spot is counted for each minute of it.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from webhook.core.model import Value
from webhook.simulation.evidence import Track

MOVE_COST_MINUTES = 60
"""What a move costs the clairvoyant, in minutes on spot: a return trip pays off for a rest of more than two hours."""
_IDLE = re.compile(rb"\x00+")
HOUR = 60


class Score(Value, frozen=True, omit_defaults=False):
    """What a rule made of a load. Hours and minutes are a workload's, weighted by the share of its pods."""

    rule: str
    moves_per_workload_day: float
    hours_on_spot: float
    busy_minutes_on_spot: float


Stays = Iterator[tuple[int, int]]
"""Minutes from which and before which a workload is on spot."""


def instant(track: Track) -> Stays:
    """On spot in every minute after one below the thresholds."""
    return _shifted(_quiet(track.high, 1), track.minutes)


def largest_of(minutes: int) -> Callable[[Track], Stays]:
    """On spot while no minute of so many was above the thresholds."""

    def rule(track: Track) -> Stays:
        return _shifted(_quiet(track.high, minutes), track.minutes)

    return rule


def clairvoyant(track: Track) -> Stays:
    """The most minutes on spot, none of them busy, less what moves cost: rests do not touch, so each is its own choice.

    A rest that lasts to the end needs no way back.
    """
    for rest in _IDLE.finditer(track.busy):
        first, last = rest.span()
        cost = MOVE_COST_MINUTES * (1 if last == track.minutes else 2)
        if last - first > cost:
            yield first, last


RULES: dict[str, Callable[[Track], Stays]] = {
    "instant thresholds": instant,
    "1 h maximum": largest_of(HOUR),
    "24 h maximum": largest_of(24 * HOUR),
    "clairvoyant": clairvoyant,
}


def score(name: str, tracks: Iterable[Track]) -> Score:
    """One of RULES on all of these."""
    moves = minutes = busy = days = 0.0
    for track in tracks:
        days += track.minutes / (24 * HOUR)
        for first, last in RULES[name](track):
            moves += 1 + (last < track.minutes)
            minutes += last - first
            busy += track.busy.count(1, first, last)
    return Score(
        rule=name,
        moves_per_workload_day=moves / days if days else 0.0,
        hours_on_spot=minutes / HOUR,
        busy_minutes_on_spot=busy,
    )


def _quiet(high: bytes, minutes: int) -> Stays:
    """From so many quiet minutes in a row on, to the next that is not quiet."""
    for rest in _IDLE.finditer(high):
        first, last = rest.span()
        if last - first >= minutes:
            yield first + minutes, last


def _shifted(stays: Stays, end: int) -> Stays:
    """A minute is known once it is over, so the way back comes a minute late."""
    for first, last in stays:
        if first < end:
            yield first, min(end, last + 1)
