"""A node's load as it is foretold, and the answer that sends a pod where it is counted."""

from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.core import habits, nodetable, scoring
from webhook.core.expectation import Expectation
from webhook.core.ledger import Ledger
from webhook.core.model import Bound, CapacityType, Estimate, Namespace, Node, NodeLoad, Resources
from webhook.core.policy import BalancePolicy, Policy
from webhook.core.quantity import MOST_BYTES, MOST_CORES
from webhook.core.snapshot import Meta, Snapshot
from webhook.core.usage import NodeSample

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
AT = NOW.timestamp()


def node(name, cpu, habit=None, capacity_type=CapacityType.REGULAR):
    load = NodeLoad(cpu_cores=cpu, memory_bytes=1e9, sampled_at=NOW, source="test", expected=habit)
    return Node(name=name, capacity_type=capacity_type, allocatable=Resources(10.0, 1e10), load=load)


def snapshot(*nodes, bound=(), balance=None):
    meta = Meta(captured_at=NOW, load_match_rate=1.0, policy=Policy(balance=balance or BalancePolicy()))
    return Snapshot(meta, nodes=nodes, namespaces=[Namespace(name="shop")], bound=bound)


def pod(uid="1", cpu=0.5):
    return scoring.Candidate(uid, "shop", CapacityType.REGULAR, Expectation(estimate=Estimate(cpu_cores=cpu)))


def every(table):
    return np.arange(len(table.names), dtype=np.intp)


def test_a_load_is_half_measured_and_half_habit_where_that_is_known():
    table = nodetable.table(snapshot(node("a", 2.0, Resources(4.0, 3e9)), node("b", 2.0)))
    assert table.mean.T.tolist() == [pytest.approx([0.3, 0.2]), pytest.approx([0.2, 0.1])]


@given(*[st.floats(0, 1e12)] * 4)
def test_what_was_kept_of_habits_is_taken_up_again_as_it_was(cpu, memory, more_cpu, more_memory):
    sample = NodeSample(node="a", cpu_cores=cpu, memory_bytes=memory, sampled_at=NOW, source="test")
    found = habits.expected(sample, Resources(more_cpu, more_memory))
    kept = NodeLoad(cpu_cores=cpu, memory_bytes=memory, sampled_at=NOW, source="test", expected=found)
    again = habits.expected(sample, habits.beyond(kept))
    assert (again.cpu_cores, again.memory_bytes) == pytest.approx((found.cpu_cores, found.memory_bytes))
    low, high = (cpu, memory), (found.cpu_cores, found.memory_bytes)
    assert all(
        one <= told <= other
        for one, told, other in zip(low, habits.foretold(kept, Resources(1e12, 1e12)), high, strict=True)
    )


def test_habits_below_what_was_measured_never_go_below_nothing():
    sample = NodeSample(node="a", cpu_cores=1.0, memory_bytes=1e9, sampled_at=NOW, source="test")
    assert habits.expected(sample, Resources(-2.0, -2e9)) == Resources(0.0, 0.0)
    assert habits.beyond(NodeLoad(cpu_cores=1.0, memory_bytes=1e9, sampled_at=NOW, source="test")) is None


def test_no_pod_that_sync_can_learn_of_makes_a_node_lose_its_load_when_it_is_counted_no_more():
    """What one pod adds and takes off again leaves the other's load to more digits than it is known by."""
    table = nodetable.table(snapshot(node("a", 5.0)))
    held = Ledger()
    held.follow(table, now=AT)
    most = Estimate(cpu_cores=MOST_CORES, memory_bytes=MOST_BYTES)
    largest = scoring.Candidate("1", "shop", CapacityType.REGULAR, Expectation(estimate=most))
    held.place(largest, scoring.score(held.table, largest, every(table), now=AT), now=AT)
    held.forget("1")
    assert held.table.mean[:, 0].tolist() == pytest.approx([0.5, 0.1], abs=1e-9)


@given(*[st.floats(0, 1e12)] * 4)
def test_no_node_is_foretold_to_bear_more_than_it_has_or_was_measured_to(cpu, memory, habit_cpu, habit_memory):
    """Whatever one namespace's pods tell of themselves, a node of theirs looks half fuller than it is at most."""
    has = Resources(10.0, 1e10)
    load = NodeLoad(
        cpu_cores=cpu, memory_bytes=memory, sampled_at=NOW, source="x", expected=Resources(habit_cpu, habit_memory)
    )
    told = habits.foretold(load, has)
    assert told[0] <= max(cpu, (cpu + has.cpu_cores) / 2) * (1 + 1e-9)
    assert told[1] <= max(memory, (memory + has.memory_bytes) / 2) * (1 + 1e-9)
    table = nodetable.table(snapshot(node("a", 2.0, Resources(1e9, 1e9))))
    assert table.mean[0, 0] == pytest.approx(0.6)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -1.0])
def test_a_habit_that_is_no_amount_is_passed_over(odd):
    table = nodetable.table(snapshot(node("a", 2.0, Resources(odd, 1e9))))
    assert table.mean[:, 0].tolist() == pytest.approx([0.2, 0.1])


def test_the_node_a_pod_is_counted_on_is_answered_before_all_others():
    table = nodetable.table(snapshot(*(node(f"n{i}", 1.0) for i in range(5)), node("full", 9.0)))
    ledger = Ledger()
    ledger.follow(table, now=AT)
    scores = scoring.score(ledger.table, pod(), every(table), now=AT)
    answer = ledger.answer(pod(), scores, now=AT)
    assert scores.scores.tolist() == [10, 10, 10, 10, 10, 1]
    assert sorted(answer.scores.tolist()) == [1, 7, 7, 7, 7, 10]
    counted = np.flatnonzero(ledger.table.mean[0] > table.mean[0])
    assert counted.tolist() == np.flatnonzero(answer.scores == 10).tolist()


def test_behind_the_one_that_leads_the_others_keep_their_order():
    loads = {"a": 1.0, "b": 3.0, "c": 5.0, "d": 9.0}
    table = nodetable.table(snapshot(*(node(name, cpu) for name, cpu in loads.items())))
    scores = scoring.score(table, pod(), every(table), now=AT)
    assert scores.scores.tolist() == [10, 8, 6, 1]
    assert scoring.led(scores, 0).scores.tolist() == [10, 5, 3, 1]


def test_where_only_the_class_counts_no_node_leads():
    table = nodetable.table(snapshot(node("a", 1.0), node("b", 1.0), node("s", 1.0, capacity_type=CapacityType.SPOT)))
    ledger = Ledger()
    ledger.follow(table, now=AT)
    late = AT + timedelta(hours=1).total_seconds()
    scores = scoring.score(ledger.table, pod(), every(table), now=late)
    assert ledger.answer(pod(), scores, now=late).scores.tolist() == [10, 10, 0]


def test_another_class_stays_at_nothing_beside_one_that_leads():
    table = nodetable.table(snapshot(node("a", 1.0), node("s", 0.0, capacity_type=CapacityType.SPOT)))
    scores = scoring.score(table, pod(), every(table), now=AT)
    assert scoring.led(scores, 0).scores.tolist() == [10, 0]


def test_of_equal_scores_only_those_within_noise_are_candidates_for_the_lead():
    table = nodetable.table(snapshot(node("a", 1.0), node("near", 1.05), node("far", 1.5), node("full", 9.0)))
    scores = scoring.score(table, pod(), every(table), now=AT)
    assert scores.scores.tolist() == [10, 10, 10, 1]
    assert [table.names[row] for row in scores.best] == ["a", "near"]


def test_loads_are_taken_over_while_only_pods_come_and_go():
    first = snapshot(node("a", 1.0), node("b", 2.0))
    nodetable.table(first)
    bound = Bound(uid="1", node="b", namespace="shop", expected=Estimate(cpu_cores=1.0))
    second = Snapshot.from_indexes(
        first.meta,
        nodes=first.nodes,
        namespaces={"shop": Namespace(name="shop")},
        workloads={},
        controllers={},
        bound={"1": bound},
    )
    fresh = Snapshot(first.meta, nodes=first.nodes.values(), namespaces=[Namespace(name="shop")], bound=[bound])
    for _ in nodetable.table_steps(second, first):
        pass
    assert isinstance(second.nodes, MappingProxyType)
    made, alone = nodetable.table(second), nodetable.table(fresh)
    assert made.mean.tolist() == alone.mean.tolist() == [[pytest.approx(0.1), pytest.approx(0.3)], [0.1, 0.1]]
    assert made.weights.tolist() == alone.weights.tolist() == [0.0, 1.0]
    assert nodetable.table(first).mean[0].tolist() == pytest.approx([0.1, 0.2])


def test_a_pod_bound_several_times_over_on_a_node_counts_each_time():
    bound = [Bound(uid=str(i), node="a", namespace="shop", expected=Estimate(cpu_cores=1.0)) for i in range(300)]
    half = Bound(
        uid="half",
        node="a",
        namespace="shop",
        expected=Estimate(cpu_cores=1.0),
        started_at=NOW - BalancePolicy().window / 2,
    )
    unknown = Bound(uid="x", node="gone", namespace="shop", expected=Estimate(cpu_cores=1.0))
    table = nodetable.table(snapshot(node("a", 1.0), bound=[*bound, half, unknown]))
    assert table.mean[0].tolist() == pytest.approx([0.1 + 30.05])
    assert nodetable.table(snapshot(bound=[unknown])).names == []


def test_a_load_from_the_future_is_none():
    ahead = msgspec.structs.replace(node("a", 1.0).load, sampled_at=NOW + timedelta(hours=1))
    table = nodetable.table(snapshot(msgspec.structs.replace(node("a", 1.0), load=ahead), node("b", 1.0)))
    assert (table.until > 0).tolist() == [False, True]


def test_a_namespace_that_is_not_ours_to_steer_takes_no_part_of_a_node():
    busy = {"shop": Resources(6.0, 1e9), "kube-system": Resources(0.1, 1e8)}
    load = msgspec.structs.replace(node("a", 6.1).load, namespaces=busy)
    alone = msgspec.structs.replace(load, namespaces={"shop": busy["shop"]})
    risks = [
        scoring.risks(
            nodetable.table(snapshot(msgspec.structs.replace(node("a", 6.1), load=one), node("b", 1.0))), pod(), rows
        )[0]
        for one in (load, alone)
        for rows in (np.array([0], dtype=np.intp),)
    ]
    assert risks[0] == risks[1]
