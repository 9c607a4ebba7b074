"""A story in figures: what it cost, what it saved, and whether every promise was kept."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import accumulate, pairwise

from webhook.core.model import Side, Value
from webhook.core.moves import Outcome
from webhook.core.policy import Policy
from webhook.simulation.baselines import RULES, Score, score
from webhook.simulation.engine import Progress, Scenario, Story, tell
from webhook.simulation.evidence import MINUTE, Track
from webhook.simulation.record import Availability, overspent

OURS = "spot-balancer"
_DAY_MINUTES = 1_440


class Promises(Value, frozen=True, omit_defaults=False):
    """How often each was broken; all are nought, and ``ended_at_rest`` holds.

    ``pods_beyond_budget`` were booked though a budget was spent, be it by a move that began or by one under way.
    """

    pods_beyond_budget: int
    moves_to_spot_on_unknown: int
    moments_below_floor: int
    ended_at_rest: bool

    @property
    def are_kept(self) -> bool:
        """Whether nothing was broken."""
        broken = self.pods_beyond_budget + self.moves_to_spot_on_unknown + self.moments_below_floor
        return self.ended_at_rest and not broken


class Result(Value, frozen=True, omit_defaults=False):
    """One seed.

    ``pods_moved_*`` count moves of one pod that came to their end, ``failed_moves`` the others by outcome.
    ``held_workload_hours`` tell for how long workloads were held by what, ``unknown_workload_hours`` for how long nothing could
    be said of them, and why; ``workload_hours`` is all of the time that there was, all workloads together. ``rest_minutes`` is how long after the load's end
    it went on, None where it never came to rest. ``scores`` begin with ours, which had budgets and weather to bear.
    """

    seed: int
    workloads: int
    pods: int
    days: float
    pods_moved_to_spot: int
    pods_moved_to_regular: int
    failed_moves: dict[str, int]
    turns_to_spot: int
    held_workload_hours: dict[str, float]
    unknown_workload_hours: dict[str, float]
    workload_hours: float
    weather: dict[str, int]
    pods_lost: int
    rest_minutes: int | None
    promises: Promises
    scores: tuple[Score, ...]


def simulate(scenario: Scenario, policy: Policy, seed: int, *, progress: Progress | None = None) -> Result:
    """Play the scenario and sum it up."""
    return summed_up(tell(scenario, policy, seed, progress=progress), policy, seed)


def summed_up(story: Story, policy: Policy, seed: int) -> Result:
    """The figures of a story. Beside the truth of the load, other rules are scored on the same."""
    moved = Counter(move.to for move in story.finished if move.outcome is Outcome.MOVED)
    failed = Counter(move.outcome.value for move in story.finished if move.outcome is not Outcome.MOVED)
    record = story.cluster.record
    return Result(
        seed=seed,
        workloads=len(story.tracks),
        pods=sum(track.replicas for track in story.tracks),
        days=story.minutes / _DAY_MINUTES,
        pods_moved_to_spot=moved[Side.SPOT],
        pods_moved_to_regular=moved[Side.REGULAR],
        failed_moves=dict(sorted(failed.items())),
        turns_to_spot=story.turns_to_spot,
        held_workload_hours=_hours(story.held),
        unknown_workload_hours=_hours(story.unknown),
        workload_hours=round(sum(track.minutes for track in story.tracks) / 60, 2),
        weather={what: n for what, n in sorted(story.weather.items()) if n},
        pods_lost=len(record.lost),
        rest_minutes=story.at_rest_after,
        promises=_promises(story, policy),
        scores=(ours(story), *(score(name, story.tracks) for name in RULES)),
    )


def _hours(minutes: Counter[str]) -> dict[str, float]:
    return {code: round(n / 60, 2) for code, n in sorted(minutes.items())}


def _promises(story: Story, policy: Policy) -> Promises:
    return Promises(
        pods_beyond_budget=sum(1 for _ in overspent(story.cluster.record.booked, policy.moves)),
        moves_to_spot_on_unknown=len(story.on_unknown),
        moments_below_floor=len(story.cluster.record.below_floor),
        ended_at_rest=story.at_rest_after is not None,
    )


def ours(story: Story) -> Score:
    """What was really on spot, minute by minute, while the load lasted; a move of one pod of N counts as an Nth."""
    replicas = {track.key: track.replicas for track in story.tracks}
    minutes = busy = 0.0
    for track in story.tracks:
        sums = [0, *accumulate(track.busy)]
        for first, last, share in _stays(story, track):
            minutes += share * (last - first)
            busy += share * _busy(sums, track, first, last)
    ended = (move for move in story.finished if _minute(story, move.ended_at) <= story.minutes)
    moves = sum(1.0 / replicas[move.workload] for move in ended if move.outcome is Outcome.MOVED)
    days = sum(track.minutes for track in story.tracks) / _DAY_MINUTES
    return Score(
        rule=OURS,
        moves_per_workload_day=moves / days if days else 0.0,
        hours_on_spot=minutes / 60,
        busy_minutes_on_spot=busy,
    )


def _stays(story: Story, track: Track) -> Iterator[tuple[float, float, float]]:
    """From which to which minute what share of the pods that are wanted served on spot."""
    told = story.cluster.record.availability[track.key]
    last = Availability(told[-1].at, 0, 1) if told else None
    for now, then in pairwise([*told, last] if last else ()):
        until = _minute(story, then.at) if then is not last else float(track.minutes)
        first, end = max(0.0, _minute(story, now.at)), min(until, float(track.minutes))
        if now.on_spot and first < end:
            yield first, end, now.on_spot / max(now.replicas, now.available)


def _busy(sums: list[int], track: Track, first: float, last: float) -> float:
    """Busy minutes between the two, parts of minutes too."""
    return _until(sums, track, last) - _until(sums, track, first)


def _until(sums: list[int], track: Track, at: float) -> float:
    whole = int(at)
    part = track.busy[whole] * (at - whole) if whole < track.minutes else 0.0
    return sums[whole] + part


def _minute(story: Story, at: datetime) -> float:
    return (at - story.start).total_seconds() / MINUTE
