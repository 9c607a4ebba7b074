"""Spot's bad days: what makes one, that nothing moves to spot on it, and that nobody begins again with everybody else."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from tests import strategies
from tests.builders import (
    KARPENTER_SPOT,
    NOW,
    make_node,
    make_pod,
    make_request,
    make_snapshot,
    make_verdict,
    make_workload,
)
from webhook.core import placement, spotpool
from webhook.core.badday import SpotNodes, freeze, is_open, now_unwell, observe, opens_at
from webhook.core.budget import Ledger, Wholes
from webhook.core.model import Node, Side, WorkloadKey
from webhook.core.moves import Disruption, Finished, Outcome, SpotHealth
from webhook.core.placement import DECISION, DELETION_COST, Reason
from webhook.core.policy import Limits, Mode, Move, MovePolicy, PlacementMode, Policy, SpotPool

MINUTE = timedelta(minutes=1)
POLICY = Policy()
KEYS = [WorkloadKey(f"team-{n % 7}", "Deployment", f"web-{n}") for n in range(200)]
POOL = SpotPool("cheap", KARPENTER_SPOT)


def spot(ready: int, unready: int = 0, cordoned: int = 0) -> list[Node]:
    """So many spot nodes in each state, beside a regular one."""
    states = [{}] * ready + [{"ready": False}] * unready + [{"schedulable": False}] * cordoned
    return [make_node("regular-1"), *(make_node(f"s-{n}", KARPENTER_SPOT, **state) for n, state in enumerate(states))]


def look(before: SpotHealth, nodes: list[Node], *, now=NOW, policy=POLICY, wanted=True, finished=()) -> SpotHealth:
    return observe(before, SpotNodes.of(nodes), policy=policy, now=now, wanted=wanted, finished=finished)


def watched(*fleets: tuple[int, list[Node]], policy=POLICY) -> list[tuple[timedelta, SpotHealth]]:
    """One look a minute, for as many minutes as each fleet is there for; the health after each, with its time."""
    health, seen = SpotHealth(), []
    for minutes, nodes in fleets:
        for _ in range(minutes):
            at = len(seen) * MINUTE
            health = look(health, nodes, now=NOW + at, policy=policy)
            seen.append((at, health))
    return seen


def finished(minutes_ago: float, **facts) -> Finished:
    at = NOW - minutes_ago * MINUTE
    known = {
        "workload": KEYS[0],
        "to": Side.SPOT,
        "outcome": Outcome.NO_CAPACITY,
        "began_at": at - 10 * MINUTE,
        "ended_at": at,
    }
    return Finished(number=1, uid="u", way=Move.SURGE, **(known | facts))


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ([], "there is no spot node"),
        (spot(0, unready=1), "none of 1 spot nodes is Ready"),
        (spot(0, unready=4, cordoned=2), "none of 4 spot nodes is Ready"),
        (spot(3, unready=2), "2 of 5 spot nodes are not Ready"),
        (spot(4, unready=2, cordoned=9), "2 of 6 spot nodes are not Ready"),
        (spot(5, unready=2), ""),
        (spot(1, unready=1), ""),
        (spot(2, unready=1), ""),
        (spot(1, cordoned=9), ""),
        (spot(0, cordoned=3), ""),
        (spot(1), ""),
    ],
)
def test_what_ails_the_nodes_is_told_and_one_node_alone_or_a_cordon_is_no_bad_day(nodes, why):
    assert freeze(look(SpotHealth(), nodes), POLICY.moves, NOW) == why


@pytest.mark.parametrize("facts", [{"wanted": False}, {"policy": Policy(spot_pools=(POOL,))}], ids=str)
def test_no_node_at_all_is_no_bad_day_where_nobody_wants_one_or_a_pool_can_grow(facts):
    assert freeze(look(SpotHealth(), [], **facts), POLICY.moves, NOW) == ""


@pytest.mark.parametrize(
    ("ended", "why"),
    [
        ([finished(1), finished(9)], "2 moves to spot found no room"),
        ([finished(1), finished(-9)], "2 moves to spot found no room"),
        ([finished(1)], ""),
        ([finished(1), finished(10)], ""),
        ([finished(1), finished(-10)], ""),
        ([finished(1), finished(1, to=Side.REGULAR)], ""),
        ([finished(1), finished(1, outcome=Outcome.BLOCKED)], ""),
    ],
)
def test_two_moves_that_found_no_room_are_a_bad_day(ended, why):
    assert freeze(look(SpotHealth(), spot(9), finished=ended), POLICY.moves, NOW) == why


@pytest.mark.parametrize(
    ("fleets", "why"),
    [
        ([(1, spot(10)), (1, spot(6))], "Ready spot nodes fell from 10 to 6"),
        ([(1, spot(10)), (1, spot(8)), (1, spot(6))], "Ready spot nodes fell from 10 to 6"),
        ([(1, spot(10)), (10, spot(7)), (1, spot(6))], ""),
        ([(1, spot(10)), (2, spot(9)), (7, spot(8)), (1, spot(6))], "Ready spot nodes fell from 9 to 6"),
        ([(1, spot(10)), (1, spot(7))], ""),
        ([(1, spot(2)), (1, spot(1))], ""),
        ([(1, spot(10)), (1, spot(3, cordoned=7))], ""),
    ],
)
def test_a_fall_from_the_most_of_the_last_minutes_is_a_bad_day_and_a_cordon_is_no_fall(fleets, why):
    """After the first of these falls 6 are left of what was 7 for as long as counts; after the fourth, 9 count still."""
    *_, (at, health) = watched(*fleets)
    assert freeze(health, POLICY.moves, NOW + at) == why


@given(st.lists(st.tuples(st.sampled_from([1, 1, 2, 3]), st.integers(0, 12)), min_size=1, max_size=20))
def test_a_fall_is_held_against_the_most_within_the_time_that_counts_exactly(steps):
    health, now, history = SpotHealth(), NOW, []
    for minutes, ready in steps:
        now += minutes * MINUTE
        health = look(health, spot(ready), now=now, wanted=False)
        history.append((now, ready))
        most = max(n for at, n in history if now - at < POLICY.moves.healthy_for)
        assert health.peaks[0].ready == most
        assert (health.unwell_at == now) == (most - ready >= 2 and most - ready > 0.33 * most)


# --- B12, row 57: all gone at once


@pytest.mark.fault(57)
@pytest.mark.parametrize(
    "lost", [[], spot(0, unready=10), spot(5), spot(6, unready=4)], ids=["all", "unready", "half", "some"]
)
def test_after_an_interruption_nothing_moves_to_spot_until_it_was_well_for_long_enough(lost):
    """A fall that lasts counts for as long as it is remembered, and then it takes as much of health."""
    seen = watched((20, spot(10)), (30, lost), (60, spot(10)))
    opened = [at for at, health in seen if freeze(health, POLICY.moves, NOW + at) == ""]
    back = next(at for at in opened if at >= 20 * MINUTE)
    last_unwell = max(health.unwell_at for _, health in seen if health.unwell_at)
    assert opened[:20] == [n * MINUTE for n in range(20)]
    assert NOW + back == last_unwell + POLICY.moves.healthy_for
    assert back >= 30 * MINUTE


@pytest.mark.fault(57)
def test_workloads_come_back_one_after_the_other_and_each_time_in_another_order():
    seen = watched((1, spot(10)), (1, []), (30, spot(10)))
    opened = {at: sum(is_open(health, key, POLICY.moves, NOW + at) for key in KEYS) for at, health in seen}
    assert opened[10 * MINUTE] == 0
    assert opened[30 * MINUTE] == len(KEYS)
    each_minute = [opened[n * MINUTE] - opened[(n - 1) * MINUTE] for n in range(11, 32)]
    assert max(each_minute) < len(KEYS) / 5
    health = seen[-1][1]
    later = msgspec.structs.replace(health, unwell_at=health.unwell_at + MINUTE)
    first = [min(KEYS, key=lambda key: opens_at(one, key, POLICY.moves)) for one in (health, later)]
    assert first[0] != first[1]


@given(st.sampled_from(KEYS), st.integers(0, 10**6))
def test_everybody_may_begin_within_twice_the_time_and_none_before_once(key, seconds):
    health = SpotHealth(unwell_at=NOW + timedelta(seconds=seconds), unwell_why="gone")
    opens = opens_at(health, key, POLICY.moves)
    assert POLICY.moves.healthy_for <= opens - health.unwell_at < 2 * POLICY.moves.healthy_for
    assert is_open(health, key, POLICY.moves, opens)
    assert not is_open(health, key, POLICY.moves, opens - timedelta(microseconds=1))


def test_where_nothing_was_ever_unwell_everybody_may_begin():
    health = look(SpotHealth(), spot(3))
    assert (opens_at(health, KEYS[0], POLICY.moves), freeze(health, POLICY.moves, NOW)) == (None, "")
    assert is_open(health, KEYS[0], POLICY.moves, NOW)


# --- row 58: it comes and goes


@pytest.mark.fault(58)
@pytest.mark.parametrize(
    "down", [[], spot(3), spot(0, unready=10), spot(5, unready=5)], ids=["all", "most", "unready", "half"]
)
def test_a_pool_that_flaps_every_five_minutes_for_six_hours_opens_for_nobody_and_then_for_all(down):
    flapping = [(5, spot(10)), (5, down)] * 36
    seen = watched(*flapping, (60, spot(10)))
    first_fall = 5 * MINUTE
    assert not any(
        is_open(health, key, POLICY.moves, NOW + at)
        for at, health in seen
        if first_fall <= at < 360 * MINUTE
        for key in KEYS[:20]
    )
    at, health = seen[-1]
    assert all(is_open(health, key, POLICY.moves, NOW + at) for key in KEYS)


@pytest.mark.fault(58)
def test_the_end_of_a_freeze_brings_no_more_than_any_other_time_would():
    """B13. Two hundred that waited for an hour: what begins in a window is the budget's, and not theirs."""
    limits = Limits(**dict.fromkeys(("per_run", "per_cluster", "per_namespace", "per_workload", "per_node"), "4"))
    policy, ledger, begun = Policy(moves=MovePolicy(to_spot=limits)), Ledger.of([]), []
    for at, health in watched((1, spot(10)), (60, []), (60, spot(10))):
        for key in KEYS:
            move = Disruption(at=NOW + at, to=Side.SPOT, workload=str(key))
            waits = not is_open(health, key, policy.moves, NOW + at)
            if not waits and at > MINUTE and ledger.refuses(move, policy.moves, Wholes()) is None:
                ledger, begun = ledger.spend(move), [*begun, at]
        ledger = Ledger.of(ledger.disruptions)
    assert begun
    assert min(begun) >= 70 * MINUTE
    assert all(sum(at - limits.window < other <= at for other in begun) <= 4 for at in begun)


# --- clocks and pauses

LOOKS = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 1, 1, 2, 4, 30]),
        st.sampled_from([0, 0, 0, 0, 0, -5, -90]),
        st.sampled_from([10, 10, 10, 10, 10, 6, 0]),
    ),
    max_size=40,
)


@given(LOOKS)
def test_it_opens_only_after_it_was_looked_at_and_well_for_long_enough_by_the_time_that_really_passed(looks):
    """However the clock is set back; of a pause in which nobody looked nothing counts."""
    health, clock, well_for = look(SpotHealth(), []), NOW, timedelta(0)
    for minutes, jump, ready in looks:
        clock += minutes * MINUTE + jump * MINUTE
        health = look(health, spot(ready), now=clock)
        if health.unwell_at == clock and health.unwell_why and ready == 0:
            well_for = timedelta(0)
        elif minutes <= 3:
            well_for += minutes * MINUTE
        is_free = is_open(health, KEYS[0], POLICY.moves, clock)
        event(f"open {is_free}")
        assert not is_free or well_for >= POLICY.moves.healthy_for


def test_a_clock_set_back_makes_it_wait_anew_and_not_until_it_has_caught_up():
    unwell = look(look(SpotHealth(), spot(10)), [])
    day_before = NOW - timedelta(days=1)
    well = look(unwell, spot(10), now=day_before)
    assert freeze(well, POLICY.moves, day_before) == "there is no spot node"
    for minute in range(1, 11):
        well = look(well, spot(10), now=day_before + minute * MINUTE)
    assert freeze(well, POLICY.moves, day_before + 10 * MINUTE) == ""
    assert [peak.at for peak in well.peaks] == [day_before + 10 * MINUTE]


def test_a_monitor_that_comes_back_after_hours_has_seen_no_health():
    unwell = look(look(SpotHealth(), spot(10)), [])
    later = NOW + timedelta(hours=5)
    assert freeze(look(unwell, spot(10), now=later), POLICY.moves, later) == "there is no spot node"
    well = look(unwell, spot(10), now=NOW + 3 * MINUTE)
    assert well.unwell_at == NOW, "three minutes are a run or two that were late"


@pytest.mark.fault(55)
def test_a_node_that_goes_during_a_move_is_paid_for_and_two_that_find_no_room_stop_the_rest():
    """The budget counts what was begun, whatever came of it; nothing is begun at once in its place."""
    policy = MovePolicy(to_spot=Limits(per_run="9", per_cluster="2", per_namespace="9", per_workload="9", per_node="9"))
    moves = [Disruption(at=NOW - n * MINUTE, to=Side.SPOT, workload=str(KEYS[n]), node="reg-1") for n in range(2)]
    again = Disruption(at=NOW, to=Side.SPOT, workload=str(KEYS[0]), node="reg-1")
    assert Ledger.of(moves).refuses(again, policy, Wholes()) is not None
    health = look(SpotHealth(), spot(5), finished=[finished(n, workload=KEYS[n]) for n in range(2)])
    assert not any(is_open(health, key, POLICY.moves, NOW + n * MINUTE) for key in KEYS for n in range(10))


# --- the webhook, which has no memory


def decided(nodes: list[Node], *, policy: Policy | None = None, **facts):
    snapshot = make_snapshot(make_workload(**facts), nodes=nodes, policy=policy)
    return placement.decide(make_request(), snapshot, now=NOW)


BAD = spot(3, unready=2)


@pytest.mark.fault(57)
@pytest.mark.parametrize("placement_mode", PlacementMode)
@pytest.mark.parametrize("nodes", [BAD, spot(0, unready=3)], ids=["many", "all"])
def test_on_a_bad_day_the_next_pod_wishes_for_regular_nodes_and_is_told_from_those_on_spot(nodes, placement_mode):
    """Its cost is below theirs: the controller takes it first, when a move replaces it by one on spot."""
    policy = Policy(mode=Mode.INJECT, placement=placement_mode)
    verdict = make_verdict(make_workload().key, transitions=3)
    decision = decided(nodes, policy=policy, verdict=verdict)
    assert (decision.reason, decision.side) == (Reason.SPOT_TROUBLE, Side.REGULAR)
    assert decision.changes.annotations == {DECISION: "v1/regular/spot-trouble/3", DELETION_COST: "2"}
    assert decision.changes.required == ()
    assert [r.operator for alternative in decision.changes.preferred for r in alternative] == ["NotIn"]
    assert decision.detail == now_unwell(SpotNodes.of(nodes), 0.33)


@pytest.mark.fault(57)
def test_where_no_spot_node_is_left_nothing_leads_there():
    assert decided(spot(0)).reason is Reason.NO_SPOT_NODES


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"annotations": {"spot-balancer.io/spot": "always"}}, Reason.SPOT_PREFERRED),
        ({"surge_to": Side.SPOT}, Reason.SPOT_REQUIRED),
        ({"surge_to": Side.REGULAR}, Reason.REGULAR_REQUIRED),
        ({"side": Side.REGULAR}, Reason.NEVER_MOVED),
        ({"policy": Policy(mode=Mode.INJECT, spot_pools=(POOL,))}, Reason.SPOT_PREFERRED),
        ({"policy": Policy(mode=Mode.INJECT, moves=MovePolicy(max_unready=0.5))}, Reason.SPOT_PREFERRED),
    ],
    ids=str,
)
def test_who_always_goes_who_is_being_moved_and_where_a_pool_can_grow_the_day_changes_nothing(facts, reason):
    assert decided(BAD, **facts).reason is reason


def test_a_pod_that_must_run_on_spot_itself_is_left_as_it_is():
    only_spot = make_pod(nodeSelector={"karpenter.sh/capacity-type": "spot"})
    decision = placement.decide(make_request(only_spot), make_snapshot(make_workload(), nodes=BAD), now=NOW)
    assert (decision.reason, decision.changes) == (Reason.CONTRADICTION, None)


@given(strategies.fleets(), st.booleans())
def test_the_fleet_tells_of_the_day_as_one_look_at_its_nodes_does(nodes, declared):
    policy = Policy(mode=Mode.INJECT, spot_pools=(POOL,) if declared else ())
    fleet = spotpool.fleet(make_snapshot(nodes=nodes, policy=policy))
    assert fleet.trouble == ("" if declared else now_unwell(SpotNodes.of(nodes), policy.moves.max_unready))
