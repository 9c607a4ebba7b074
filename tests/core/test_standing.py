"""Where moving stands is counted from book and snapshot, and each thing that holds moves up is told."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import KARPENTER_SPOT, NOW, make_move, make_node, make_snapshot, make_verdict, make_workload
from webhook.core.book import Control
from webhook.core.model import Memory, Namespace, Side, WorkloadKey
from webhook.core.moves import MISSES, Disruption, Finished, Outcome, Pause, SpotHealth
from webhook.core.policy import Limits, Mode, Move, MovePolicy, Policy, Rule
from webhook.core.sanity import Alarm, Sanity
from webhook.core.standing import budget_left, history, stand

MINUTE = timedelta(minutes=1)
MOVING = Policy(mode=Mode.MOVE)
WEB = WorkloadKey("shop", "Deployment", "web")
WELL = {"heartbeat": NOW - MINUTE}


def finished(number=1, outcome=Outcome.MOVED, name="web", *, ended_at=NOW, **fields):
    key = WorkloadKey("shop", "Deployment", name)
    facts = {"uid": "u", "way": Move.SURGE, "to": Side.SPOT, "began_at": ended_at - MINUTE}
    return Finished(number=number, workload=key, outcome=outcome, ended_at=ended_at, **(facts | fields))


def stood(*workloads, policy=MOVING, control=None, **snapshot):
    workloads = workloads or (make_workload("web"),)
    found = make_snapshot(*workloads, policy=policy, **snapshot)
    return stand(control or Control(**WELL), found, now=NOW)


def test_workloads_are_counted_by_mode_and_side_and_those_nobody_handles_apart():
    found = stood(
        make_workload("a"),
        make_workload("b", Side.REGULAR),
        make_workload("never-judged", None),
        make_workload("db", kind="StatefulSet"),
        make_workload("shy", annotations={"spot-balancer.io/mode": "observe"}),
    )
    counted = {one.mode: (one.regular, one.spot, one.left_alone) for one in found.sides}
    assert counted == {Mode.MOVE: (2, 1, 1), Mode.OBSERVE: (0, 1, 0)}


def test_shares_are_of_pods_by_namespace_without_those_that_belong_to_their_node():
    there = make_workload("web", pods=3, pods_on_spot=1)
    agent = make_workload("agent", kind="DaemonSet", pods=9, pods_on_spot=5)
    empty = make_workload("off", pods=0)
    (share,) = stood(there, agent, empty).namespaces
    assert (share.namespace, share.workloads, share.pods, share.pods_on_spot) == ("shop", 2, 3, 1)
    assert share.share == pytest.approx(1 / 3)


def test_a_namespace_without_pods_has_a_share_of_nought():
    assert stood(make_workload("off", pods=0)).namespaces[0].share == 0.0


def test_spot_nodes_are_counted_as_ready_and_all():
    nodes = [make_node("a", KARPENTER_SPOT), make_node("b", KARPENTER_SPOT, ready=False), make_node("c")]
    found = stood(nodes=nodes)
    assert (found.spot_nodes_ready, found.spot_nodes) == (1, 2)


@pytest.mark.parametrize(
    ("workloads", "policy", "reason"),
    [
        ((), MOVING, "no workload is there"),
        ((), Policy(), "no workload is there"),
        ((make_workload("web"),), Policy(), "no workload may be moved; the mode of the configuration is observe"),
        (
            (make_workload("web"),),
            Policy(mode=Mode.MOVE, allowed_moves=()),
            "the mode is move, and yet no workload may",
        ),
    ],
)
def test_that_nothing_may_be_moved_does_not_contradict_the_mode(workloads, policy, reason):
    (freeze,) = stand(Control(**WELL), make_snapshot(*workloads, policy=policy), now=NOW).freezes
    assert (freeze.code, freeze.reason[: len(reason)]) == ("mode", reason)


PAUSED = Pause(at=NOW - MINUTE, by="ann", reason="sale")
ALARMED = Sanity(alarm=Alarm.IDLE_JUMP, since=NOW - MINUTE, reason="80 of 100")
UNWELL = SpotHealth(looked_at=NOW, unwell_at=NOW - MINUTE, unwell_why="2 of 3 gone")


@pytest.mark.parametrize(
    ("control", "policy", "told"),
    [
        ({}, MOVING, []),
        ({}, Policy(mode=Mode.INJECT), [("mode", None)]),
        ({}, Policy(mode=Mode.MOVE, allowed_moves=()), [("mode", None)]),
        ({}, Policy(mode=Mode.MOVE, excluded_namespaces=("shop",)), [("mode", None)]),
        ({}, Policy(rules=(Rule("all", mode=Mode.MOVE),)), []),
        ({}, Policy(mode=Mode.MOVE, pause=("injection", "moves")), [("configuration", None)]),
        ({}, Policy(mode=Mode.MOVE, pause=("injection",)), []),
        ({"paused": PAUSED}, MOVING, [("paused", None)]),
        ({"heartbeat": None}, MOVING, [("heartbeat", None)]),
        ({"heartbeat": NOW - 11 * MINUTE}, MOVING, [("heartbeat", None)]),
        ({"heartbeat": NOW + 11 * MINUTE}, MOVING, [("heartbeat", None)]),
        ({"sanity": ALARMED}, MOVING, [("alarm", Side.SPOT)]),
        ({"spot": UNWELL}, MOVING, [("spot-bad-day", Side.SPOT)]),
        ({"spot": SpotHealth(looked_at=NOW, unwell_at=NOW - 10 * MINUTE)}, MOVING, []),
        (
            {"spot": UNWELL, "sanity": ALARMED, "paused": PAUSED},
            MOVING,
            [("paused", None), ("alarm", Side.SPOT), ("spot-bad-day", Side.SPOT)],
        ),
    ],
)
def test_whatever_holds_moves_up_is_told_with_the_way_that_it_holds(control, policy, told):
    rule = policy.rules[0].name if policy.rules else ""
    found = stood(make_workload("web", rule=rule), policy=policy, control=Control(**(WELL | control)))
    assert [(freeze.code, freeze.to) for freeze in found.freezes] == told
    assert all(freeze.reason for freeze in found.freezes)


def test_a_miss_that_only_the_control_object_knows_of_counts_before_the_next_run_writes_it_down():
    key = WorkloadKey("shop", "Deployment", "a")
    left = make_workload("a", verdict=make_verdict(key, memory=Memory(misses=2, learnt=1)))
    missed = finished(2, Outcome.NO_CAPACITY, "a", uid=left.uid)
    assert stood(left, control=Control(**WELL, finished=(missed,))).given_up == ("shop/Deployment/a",)
    of_another = finished(2, Outcome.NO_CAPACITY, "a", uid="its predecessor's")
    assert stood(left, control=Control(**WELL, finished=(of_another,))).given_up == ()


def test_who_is_given_up_is_named_and_who_has_a_try_left_is_not():
    key = WorkloadKey("shop", "Deployment", "a")
    out = make_workload("a", verdict=make_verdict(key, memory=Memory(misses=3)))
    left = make_workload("b", verdict=make_verdict(key, memory=Memory(misses=2)))
    assert stood(out, left).given_up == ("shop/Deployment/a",)


def test_moves_in_flight_are_told_as_the_book_has_them():
    move = make_move(WEB, number=4, pod="web-1", node="regular-1", destination="spot-1", note="why")
    (found,) = stood(control=Control(**WELL, moves=(move,), finished=(finished(3),))).moves
    assert (found.number, found.workload, found.step, found.note) == (4, "shop/Deployment/web", move.step, "why")


# --- the budget


def spent(to, *minutes_ago):
    return tuple(Disruption(at=NOW - n * MINUTE, to=to, workload=str(WEB)) for n in minutes_ago)


@pytest.mark.parametrize(
    ("limit", "whole", "expected"),
    [("5%", 0, 0), ("5%", 1, 1), ("5%", 20, 1), ("5%", 21, 2), ("100%", 7, 7), ("0%", 9, 0), ("3", 1, 3), ("0", 9, 0)],
)
def test_a_percent_is_rounded_up_and_a_count_is_itself(limit, whole, expected):
    moves = MovePolicy(to_spot=Limits(per_cluster=limit))
    to_spot, _ = budget_left(Control(), moves, {Side.SPOT: whole, Side.REGULAR: 0}, now=NOW)
    assert (to_spot.limit, to_spot.left) == (expected, expected)


def test_each_way_counts_its_own_disruptions_within_its_own_window():
    control = Control(disruptions=(*spent(Side.SPOT, 1, 9, 10), *spent(Side.REGULAR, 0, 2)))
    found = budget_left(control, MovePolicy(), {Side.SPOT: 60, Side.REGULAR: 20}, now=NOW)
    assert [(one.to, one.limit, one.used, one.left) for one in found] == [
        (Side.SPOT, 3, 2, 1),
        (Side.REGULAR, 2, 1, 1),
    ]


@given(
    st.lists(st.tuples(st.sampled_from(Side), st.integers(0, 20)), max_size=30),
    st.integers(0, 1000),
    st.sampled_from(["0", "3", "5%", "100%"]),
)
def test_what_is_left_is_never_below_nought_and_with_what_is_used_never_above_the_limit(when, whole, limit):
    control = Control(disruptions=tuple(one for to, ago in when for one in spent(to, ago)))
    moves = MovePolicy(to_spot=Limits(per_cluster=limit))
    for one in budget_left(control, moves, {Side.SPOT: whole, Side.REGULAR: whole}, now=NOW):
        assert one.left >= 0
        assert one.left == max(0, one.limit - one.used)
        assert one.used <= sum(to is one.to for to, _ in when)


def test_the_budgets_wholes_are_workloads_that_may_be_moved_and_pods_on_spot():
    workloads = (make_workload("a", pods_on_spot=2), make_workload("b"), make_workload("db", kind="StatefulSet"))
    to_spot, to_regular = stood(*workloads).budgets
    assert (to_spot.whole, to_regular.whole) == (2, 2)


# --- history

PAST = (
    finished(1, Outcome.MOVED, ended_at=NOW - 3 * MINUTE),
    finished(2, Outcome.NO_CAPACITY, "api", ended_at=NOW - 2 * MINUTE),
    finished(3, Outcome.FLIPPED, ended_at=NOW - 2 * MINUTE),
    finished(4, Outcome.BLOCKED, ended_at=NOW - MINUTE),
)


def numbers(**asked):
    return [one.number for one in history(Control(finished=PAST), **asked)]


def test_history_is_told_newest_first_and_filtered():
    assert numbers() == [4, 3, 2, 1]
    assert numbers(workload=WEB) == [4, 3, 1]
    assert numbers(misses=True) == [4, 2]
    assert numbers(workload=WEB, misses=True) == [4]
    assert numbers(workload=WorkloadKey("shop", "Deployment", "gone")) == []


@given(st.permutations(PAST))
def test_the_order_in_the_book_does_not_matter(past):
    found = history(Control(finished=tuple(past)))
    assert [one.number for one in found] == [4, 3, 2, 1]
    assert all(one.missed is (one.outcome in MISSES) for one in found)
    assert {one.took_seconds for one in found} == {60.0}


def test_a_namespace_nobody_knows_moves_nothing():
    found = stood(namespaces=[Namespace("other")])
    assert [freeze.code for freeze in found.freezes] == ["mode"]
