"""Whole stories: the same twice, the same with nothing left out, and with every promise kept."""

import msgspec
import pytest

from webhook.core.moves import Outcome
from webhook.core.policy import Policy
from webhook.simulation.baselines import RULES, score
from webhook.simulation.engine import Scenario, tell
from webhook.simulation.load import SHAPES, tracks
from webhook.simulation.result import OURS, simulate, summed_up
from webhook.simulation.weather import CALM, ROUGH, Weather

POLICY = Policy()
STORMY = Weather(storms=3, reclaims=8, flaps=2, outages=3, pod_failures=10, crash_chance=0.1, fault_chance=0.01)


def make_scenario(seed, *, workloads=20, days=1, weather=ROUGH, shapes=None):
    load = tracks(seed, workloads=workloads, days=days, policy=POLICY, **({"shapes": shapes} if shapes else {}))
    return Scenario(tracks=tuple(load), weather=weather)


def decisions(story):
    """All that was decided, and when, and what came of it."""
    return (
        [(move.number, move.workload, move.to, move.began_at) for move in story.started],
        [(move.number, move.outcome, move.ended_at, move.landed_on) for move in story.finished],
        [(one.at, one.pod, one.node, one.how) for one in story.cluster.record.taken],
        {key: list(told) for key, told in story.cluster.record.availability.items()},
        {name: (v.side, v.since, v.transitions, v.memory) for name, v in story.cluster.book.verdicts.items()},
    )


def test_the_same_seed_tells_the_same_story_to_the_last_byte():
    one, other = (msgspec.json.encode(simulate(make_scenario(5, workloads=6), POLICY, 5)) for _ in range(2))
    assert one == other
    assert one != msgspec.json.encode(simulate(make_scenario(6, workloads=6), POLICY, 6))


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_left_out_changes_no_decision(seed):
    scenario = make_scenario(seed, workloads=5, weather=STORMY)
    quick, whole = tell(scenario, POLICY, seed), tell(scenario, POLICY, seed, every=True)
    assert decisions(quick) == decisions(whole)
    assert sum(quick.runs.values()) < sum(whole.runs.values()) / 2


@pytest.mark.fault(51)
@pytest.mark.fault(57)
@pytest.mark.fault(58)
@pytest.mark.parametrize("seed", [11, 12, 13, 14, 15])
def test_every_promise_is_kept_in_rough_weather(seed):
    result = simulate(make_scenario(seed, workloads=20, days=1, weather=STORMY), POLICY, seed)
    assert result.weather["crash"]
    assert result.pods_moved_to_spot
    assert result.promises.pods_beyond_budget == 0
    assert result.promises.moves_to_spot_on_unknown == 0
    assert result.promises.moments_below_floor == 0
    assert result.promises.ended_at_rest


def test_what_rests_goes_to_spot_and_what_works_stays():
    story = tell(make_scenario(3, workloads=6, weather=CALM, shapes=("resting", "steady")), POLICY, 3)
    sides = {
        track.shape: {
            story.cluster.side(pod.fact.node_name).value for pod in story.cluster.deployments[track.key].active
        }
        for track in story.tracks
    }
    assert sides == {"resting": {"spot"}, "steady": {"regular"}}
    assert {move.outcome for move in story.finished} == {Outcome.MOVED}


def test_a_prometheus_that_is_always_away_moves_nobody():
    story = tell(make_scenario(4, weather=Weather(outages=500)), POLICY, 4)
    assert not story.started
    assert story.at_rest_after == 0


def test_a_load_that_lasts_an_hour_only_ends_before_anything_is_known():
    short = [
        msgspec.structs.replace(
            t, **{m: getattr(t, m)[:50] for m in ("breach", "recent", "active", "high", "busy", "gap")}
        )
        for t in make_scenario(4).tracks
    ]
    assert not tell(Scenario(tracks=tuple(short)), POLICY, 4).started


def test_an_empty_cluster_is_at_rest():
    result = simulate(Scenario(tracks=()), POLICY, 1)
    assert (result.workloads, result.promises.ended_at_rest) == (0, True)


@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_load_is_the_same_twice_and_busy_where_it_works(shape):
    one, other = (tracks(7, workloads=2, days=3, policy=POLICY, shapes=(shape,)) for _ in range(2))
    assert one == other
    for track in one:
        assert track.minutes == 3 * 1440
        assert (sum(track.busy) == 0) == (shape in {"resting", "weekly"})


def test_the_clairvoyant_is_never_on_spot_while_busy_and_pays_for_each_move():
    load = tracks(7, workloads=27, days=7, policy=POLICY)
    best = score("clairvoyant", load)
    assert best.busy_minutes_on_spot == 0
    for name in RULES:
        other = score(name, load)
        assert other.hours_on_spot >= 0
        if other.busy_minutes_on_spot == 0:
            paid = other.hours_on_spot - other.moves_per_workload_day * 7 * 27
            assert best.hours_on_spot - best.moves_per_workload_day * 7 * 27 >= paid


def test_hours_on_spot_never_pass_the_time_there_was():
    scenario = make_scenario(8, weather=CALM)
    result = summed_up(tell(scenario, POLICY, 8), POLICY, 8)
    ours = next(one for one in result.scores if one.rule == OURS)
    rest = sum(track.minutes - sum(track.busy) for track in scenario.tracks) / 60
    assert 0 < ours.hours_on_spot - ours.busy_minutes_on_spot / 60 <= rest


def test_progress_is_told_to_its_end():
    told = []
    tell(make_scenario(4, workloads=2, weather=CALM), POLICY, 4, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert told.count(1.0) == 1
