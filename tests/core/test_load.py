"""Measured use joined with the cluster: who counts where, and what no window holds yet."""

from datetime import timedelta
from math import isfinite

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW
from tests.core.test_owners import key, pod, ref
from webhook.core import load
from webhook.core.census import Census, NodeFact
from webhook.core.ledger import KEEP
from webhook.core.load import Measured, measure, recent
from webhook.core.model import Estimate, PodUse, Resources, UseRatio, WorkloadKey
from webhook.core.nodetable import missing_parts
from webhook.core.poduse import Told, learn
from webhook.core.policy import BalancePolicy
from webhook.core.quantity import is_amount, rounded
from webhook.core.usage import NodeSample, PodHabits, PodsUse

POLICY = BalancePolicy()
OLD, YOUNG = NOW - timedelta(hours=1), NOW - timedelta(minutes=2)
WEB, DB = key("Deployment", "web"), key("StatefulSet", "db")
OWNERS = {("shop", "ReplicaSet", "web-1"): WEB, ("shop", "StatefulSet", "db"): DB}
ASKED = Resources(cpu_cores=0.1, memory_bytes=1e8)


def running(name, owner="web-1", **fields):
    facts = {
        "phase": "Running",
        "ready": True,
        "node_name": "n1",
        "started_at": OLD,
        "ready_at": OLD,
        "requests": ASKED,
    }
    controller = ref("ReplicaSet", owner) if owner else None
    return msgspec.structs.replace(pod(name, controller), **(facts | fields))


def world(*pods, at=NOW):
    return Census(taken_at=at, nodes=(NodeFact(name="n1"), NodeFact(name="n2")), pods=pods)


def use(**pods):
    return PodsUse(NOW, {("shop", name.replace("_", "-")): used for name, used in pods.items()})


def sample(node="n1", age=timedelta(0)):
    return {node: NodeSample(node=node, cpu_cores=1, memory_bytes=1, sampled_at=NOW - age, source="test")}


def test_siblings_tell_what_one_of_them_uses_and_a_namespace_what_it_uses_of_its_requests():
    found = measure(world(running("a"), running("b"), running("c")), use(a=(0.1, 1e8), b=(0.3, 3e8)), OWNERS, POLICY)
    told = found.workloads[WEB]
    assert (told.cpu_cores, told.memory_bytes, told.pods) == (0.2, 2e8, 2)
    assert told.cpu_deviation_cores == pytest.approx(0.14)
    assert found.ratios == {"shop": UseRatio(cpu=2.0, memory=2.0)}
    assert found.on_nodes == {"n1": {"shop": Resources(cpu_cores=0.4, memory_bytes=4e8)}}


def usual(at=NOW, **pods):
    return PodHabits(at, {("shop", name): used for name, used in pods.items()})


def test_what_a_pod_uses_over_an_hour_is_what_it_is_like_and_on_its_node_the_window_counts():
    pods = world(running("a"), running("b"))
    found = measure(pods, use(a=(0.1, 1e8), b=(0.3, 1e8)), OWNERS, POLICY, usual(a=(0.5, 2e8), b=(0.7, 2e8)))
    told = found.workloads[WEB]
    assert (told.cpu_cores, told.memory_bytes, told.pods) == (0.6, 2e8, 2)
    assert found.ratios == {"shop": UseRatio(cpu=6.0, memory=2.0)}
    assert found.on_nodes["n1"]["shop"].cpu_cores == pytest.approx(0.4)
    assert found.habits["n1"] == Resources(cpu_cores=0.8, memory_bytes=2e8)


def test_of_whom_no_whole_window_was_seen_within_the_hour_tells_what_it_used_over_the_last():
    found = measure(
        world(running("a"), running("b")), use(a=(0.1, 1e8), b=(0.3, 1e8)), OWNERS, POLICY, usual(a=(0.5, 1e8))
    )
    assert found.workloads[WEB].cpu_cores == 0.4


@pytest.mark.parametrize(("age", "cores"), [(30, 0.5), (31, 0.1)])
def test_habits_stay_for_some_polls_that_fail_and_no_longer(age, cores):
    habits = usual(at=NOW - timedelta(minutes=age), a=(0.5, 1e8))
    assert measure(world(running("a")), use(a=(0.1, 1e8)), OWNERS, POLICY, habits).workloads[WEB].cpu_cores == cores


UNREAL = [float("nan"), float("inf"), -1.0, 1e200, 1e18, 2e6]


@pytest.mark.parametrize("cores", UNREAL)
def test_what_no_pod_can_have_used_is_no_measurement(cores):
    """A single such series, of anybody's, neither ends what learns of all others nor becomes what its like use."""
    found = measure(world(running("a"), running("b")), use(a=(cores, 1e8), b=(0.3, 3e8)), OWNERS, POLICY)
    assert (found.workloads[WEB].cpu_cores, found.workloads[WEB].pods) == (0.3, 1)
    assert found.on_nodes == {"n1": {"shop": Resources(cpu_cores=0.3, memory_bytes=3e8)}}
    assert usual(a=(cores, 1e8)).of("shop", "a") is None


@given(st.floats(0, 1e6), st.floats(0, 1e15), st.floats(0, 1e6), st.floats(0, 1e15))
def test_no_pod_is_taken_to_use_more_than_its_node_has(cores, size, usual_cores, usual_size):
    """Young pods of an owner whose exporter says anything would else count as more than all nodes together."""
    pods = world(running("a"), running("b", node_name="unknown"))
    pods = msgspec.structs.replace(pods, nodes=(NodeFact(name="n1", allocatable=Resources(4.0, 4e9)),))
    found = measure(pods, use(a=(cores, size)), OWNERS, POLICY, usual(a=(usual_cores, usual_size)))
    told, there = found.workloads[WEB], found.on_nodes["n1"]["shop"]
    assert max(told.cpu_cores, there.cpu_cores) <= 4
    assert max(told.memory_bytes, there.memory_bytes) <= 4e9
    assert measure(pods, use(b=(8.0, 8e9)), OWNERS, POLICY).workloads[WEB].cpu_cores == 8


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=6))
def test_whatever_is_told_of_pods_what_is_learnt_is_an_amount(told):
    pods = [running(f"p{number}", node_name=f"n{number % 2}") for number in range(len(told))]
    used = {("shop", f"p{number}"): one for number, one in enumerate(told)}
    found = measure(world(*pods), PodsUse(NOW, used), OWNERS, POLICY, PodHabits(NOW, used))
    for one in found.workloads.values():
        assert is_amount(one.cpu_cores, one.cpu_deviation_cores, one.memory_bytes, one.memory_deviation_bytes)
    assert all(isfinite(one.cpu_cores + one.memory_bytes) for one in found.habits.values())


def test_a_young_pod_tells_nothing_of_its_like_whatever_is_usual_for_that_name():
    habits = usual(a=(0.5, 1e8))
    assert measure(world(running("a", ready_at=YOUNG)), use(a=(0.1, 1e8)), OWNERS, POLICY, habits).workloads == {}


def test_where_requests_prove_right_a_single_pod_is_taken_to_use_what_it_requests():
    owners = {("shop", "ReplicaSet", f"w{number}"): key("Deployment", f"w{number}") for number in range(10)}
    cores = [0.08, 0.12, 0.09, 0.11, 0.13, 0.07, 0.12, 0.085, 0.1, 0.1]
    pods = world(*(running(f"p{number}", owner=f"w{number}") for number in range(10)))
    hour = usual(**{f"p{number}": (cpu, 1e8) for number, cpu in enumerate(cores)})
    minutes = use(**{f"p{number}": (cpu * 1.4, 1e8) for number, cpu in enumerate(cores)})
    found = measure(pods, minutes, owners, POLICY, hour).workloads
    for told in found.values():
        assert told.cpu_cores == pytest.approx(0.1, rel=0.05)
        assert told.cpu_deviation_cores == pytest.approx(0.05, rel=0.05)
        assert told.cpu_by_request == 1
        assert told.memory_bytes == 1e8


def test_a_namespace_with_many_workloads_is_judged_by_its_own():
    def some(namespace, factors):
        return {
            WorkloadKey(namespace, "Deployment", f"w{number}"): [told(0.1 * factor) for _ in range(2)]
            for number, factor in enumerate(factors)
        }

    def told(cores):
        return Told(Resources(cpu_cores=cores), Resources(cpu_cores=cores * 1.5), Resources(cpu_cores=0.1))

    off = some("off", [0.1, 10, 0.2, 5, 3, 0.3, 7, 0.15])
    found = learn(some("right", [0.9, 1.1] * 4) | off | some("few", [0.9]))
    assert found[WorkloadKey("right", "Deployment", "w0")].cpu_by_request == 1
    assert found[WorkloadKey("off", "Deployment", "w1")].cpu_by_request < 0.2
    assert 0 < found[WorkloadKey("few", "Deployment", "w0")].cpu_by_request < 1


NAMED = st.tuples(st.text(max_size=8), st.text(max_size=8))


@given(st.dictionaries(NAMED, st.tuples(st.floats(), st.floats()), max_size=30), NAMED)
def test_habits_are_those_given_and_none_of_others(given_pods, other):
    found = PodHabits(NOW, given_pods)
    for name in {*given_pods, other}:
        cores, size = given_pods.get(name, (float("nan"), 0.0))
        usable = 0 <= cores <= 1e6 and 0 <= size <= 1e15
        assert found.of(*name) == (Resources(cpu_cores=cores, memory_bytes=size) if usable else None)


@pytest.mark.parametrize(
    "fields",
    [
        {"started_at": YOUNG},
        {"ready_at": YOUNG},
        {"started_at": None},
        {"ready": False},
        {"deleting": True},
        {"phase": "Succeeded"},
        {"node_name": ""},
    ],
    ids=["began within the window", "became ready within it", "no start", "not ready", "going", "ended", "no node"],
)
def test_who_was_not_up_for_the_whole_window_tells_nothing_of_its_like(fields):
    found = measure(world(running("a", **fields)), use(a=(0.5, 1e8)), OWNERS, POLICY)
    assert (found.workloads, found.ratios) == ({}, {})


@pytest.mark.parametrize("kind", ["StatefulSet", ""])
def test_what_its_predecessor_of_that_name_used_elsewhere_is_not_taken_for_a_young_pod_s(kind):
    fields = {"controller": ref(kind, "db") if kind else None, "node_name": "n2"}
    old, young = running("db-0", **fields), running("db-1", started_at=YOUNG, ready_at=YOUNG, **fields)
    found = measure(world(old, young), use(db_0=(1.0, 1e8), db_1=(4.0, 4e8)), OWNERS, POLICY)
    assert found.on_nodes == {"n2": {"shop": Resources(cpu_cores=1.0, memory_bytes=1e8)}}
    assert all(more == Resources() for more in found.habits.values())


def test_on_its_node_a_young_pod_counts_by_the_part_of_the_window_that_it_ran_for():
    found = measure(world(running("a", started_at=YOUNG)), use(a=(0.1, 1e8)), OWNERS, POLICY)
    assert found.on_nodes["n1"]["shop"] == Resources(cpu_cores=0.1, memory_bytes=4e7)


def test_what_was_not_measured_is_not_zero():
    found = measure(world(running("a"), running("b")), use(a=(0.2, 1e8)), OWNERS, POLICY)
    assert found.workloads[WEB].cpu_cores == 0.2
    assert measure(world(running("a")), use(), OWNERS, POLICY) == load.NOTHING._replace(evaluated_at=NOW)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_what_cannot_be_a_measurement_is_none(value):
    assert measure(world(running("a")), use(a=(value, 1.0)), OWNERS, POLICY) == load.NOTHING._replace(evaluated_at=NOW)
    assert measure(world(running("a")), use(a=(1.0, value)), OWNERS, POLICY) == load.NOTHING._replace(evaluated_at=NOW)


def test_the_ratio_is_of_those_that_request_each_resource_by_itself():
    none, half = Resources(), Resources(cpu_cores=0.2)
    pods = (running("a", requests=none), running("b", requests=half))
    found = measure(world(*pods), use(a=(9.0, 9e9), b=(0.1, 1e8)), OWNERS, POLICY)
    assert found.ratios == {"shop": UseRatio(cpu=0.5)}
    assert measure(world(running("a", requests=none)), use(a=(9.0, 9e9)), OWNERS, POLICY).ratios == {}


def test_a_pod_of_nobody_counts_on_its_node_and_in_its_namespace():
    found = measure(world(running("a", owner=None)), use(a=(0.1, 1e8)), OWNERS, POLICY)
    assert found.workloads == {}
    assert found.ratios
    assert found.on_nodes


numbers = st.floats(0, 100, allow_nan=False)
amounts = st.tuples(numbers, numbers)


@given(st.lists(st.tuples(amounts, amounts, st.sampled_from(["n1", "n2"])), max_size=8), st.randoms())
def test_the_order_of_pods_does_not_show_in_a_single_bit(given_pods, random):
    pods = [
        running(f"p{number}", requests=Resources(cpu_cores=asked[0], memory_bytes=asked[1]), node_name=node)
        for number, (_, asked, node) in enumerate(given_pods)
    ]
    used = PodsUse(NOW, {("shop", f"p{number}"): told for number, (told, _, _) in enumerate(given_pods)})
    one = measure(world(*pods), used, OWNERS, POLICY)
    random.shuffle(pods)
    other = measure(world(*pods), used, OWNERS, POLICY)
    assert one == other
    assert recent(world(*pods), {}, one, OWNERS, POLICY) == recent(world(*reversed(pods)), {}, one, OWNERS, POLICY)


@given(st.lists(amounts, min_size=1, max_size=8))
def test_the_parts_of_namespaces_make_up_what_was_measured(told):
    pods = [msgspec.structs.replace(running(f"p{n}"), namespace=f"ns-{n % 3}") for n in range(len(told))]
    used = PodsUse(NOW, {(p.namespace, p.name): one for p, one in zip(pods, told, strict=True)})
    parts = measure(world(*pods), used, {}, POLICY).on_nodes["n1"]
    assert sum(part.cpu_cores for part in parts.values()) == pytest.approx(sum(cpu for cpu, _ in told), rel=0.01)
    assert list(parts) == sorted(parts)


@given(st.floats(0, 1e15, allow_nan=False), st.integers(1, 4))
def test_rounding_keeps_the_value_to_its_digits_and_happens_once(value, digits):
    once = rounded(value, digits)
    assert once == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))
    assert rounded(once, digits) == once


# --- not measured yet


def uids(found):
    return [pod.uid for pod in found.pods]


def test_pods_count_until_the_window_of_their_node_holds_them_whole():
    pods = (
        running("held", started_at=NOW - timedelta(minutes=5)),
        running("nearly", started_at=NOW - timedelta(minutes=5) + timedelta(seconds=1)),
        running("bound", started_at=None, phase="Pending"),
        running("nowhere", node_name="", started_at=None),
        running("going", started_at=YOUNG, deleting=True),
        running("ended", started_at=YOUNG, phase="Failed"),
    )
    assert uids(recent(world(*pods), sample(), load.NOTHING, OWNERS, POLICY)) == ["uid-bound", "uid-nearly"]
    assert "uid-held" in uids(recent(world(*pods), sample(age=timedelta(minutes=1)), load.NOTHING, OWNERS, POLICY))


@given(st.floats(-60, 900), st.floats(0, 290))
def test_who_is_kept_is_who_a_part_is_missing_of(age, sampled):
    began = NOW - timedelta(seconds=age)
    measured_at = sample(age=timedelta(seconds=sampled))
    found = recent(world(running("a", started_at=began)), measured_at, load.NOTHING, OWNERS, POLICY)
    sampled_at = np.array([measured_at["n1"].sampled_at.timestamp()])
    (part,) = missing_parts([began], sampled_at, np.array([POLICY.window.total_seconds()]))
    assert bool(found.pods) == (part > 1e-9)


def test_a_pod_whose_image_is_still_fetched_counts_whole_and_is_not_waited_for_for_ever():
    pods = [
        running(f"p{m}", started_at=NOW - timedelta(minutes=m), phase="Pending", ready=False, ready_at=None)
        for m in (1, 8, 11)
    ]
    found = recent(world(*pods), sample(), load.NOTHING, OWNERS, POLICY)
    assert [(pod.uid, pod.started_at) for pod in found.pods] == [("uid-p1", None), ("uid-p8", None)]


def test_who_ended_so_soon_that_it_may_still_be_held_for_its_score_is_told_of_and_uses_nothing():
    just, before = NOW - timedelta(seconds=20), NOW - timedelta(seconds=70)
    pods = (
        running("done", started_at=just, phase="Succeeded"),
        running("going", started_at=just, deleting=True),
        running("never", started_at=None, created_at=just, phase="Failed"),
        running("long-ago", started_at=before, phase="Succeeded"),
        running("nowhere", started_at=None, created_at=just, node_name="", deleting=True),
        running("there", started_at=just),
    )
    found = recent(world(*pods), sample(), load.NOTHING, OWNERS, POLICY)
    ended = [pod for pod in found.pods if pod.ended]
    assert [pod.uid for pod in ended] == ["uid-done", "uid-going", "uid-never"]
    assert all(pod.expected == Estimate() for pod in ended)
    assert uids(found) == ["uid-done", "uid-going", "uid-never", "uid-there"]
    few = recent(world(*pods), sample(), load.NOTHING, OWNERS, POLICY, most=2)
    assert (len(few.pods), few.left_out) == (2, 0)
    assert "uid-there" in uids(few)


def test_who_ended_is_told_of_for_as_long_as_a_score_is_held():
    assert load.ENDED_STAY >= KEEP


def test_a_pod_whose_image_came_slowly_counts_from_when_it_began_to_use_anything():
    slow = running("slow", started_at=NOW - timedelta(minutes=6), running_since=YOUNG, ready_at=YOUNG)
    found = recent(world(slow, running("old")), sample(), load.NOTHING, OWNERS, POLICY)
    assert [(pod.uid, pod.started_at) for pod in found.pods] == [("uid-slow", YOUNG)]
    told = measure(world(slow), use(slow=(0.1, 1e8)), OWNERS, POLICY)
    assert told.on_nodes["n1"]["shop"] == Resources(cpu_cores=0.1, memory_bytes=4e7)
    assert (
        measure(world(msgspec.structs.replace(slow, ready_at=OLD)), use(slow=(0.1, 1e8)), OWNERS, POLICY).workloads
        == {}
    )


def test_a_load_that_is_stale_or_missing_keeps_nobody_for_ever():
    pods = tuple(running(f"p{m}", started_at=NOW - timedelta(minutes=m)) for m in (1, 9, 11, 60))
    for samples in ({}, sample(age=timedelta(hours=2))):
        assert uids(recent(world(*pods), samples, load.NOTHING, OWNERS, POLICY)) == ["uid-p1", "uid-p9"]


def test_who_begins_is_expected_by_its_siblings_else_by_its_namespace_else_by_its_requests():
    own = PodUse(cpu_cores=0.7, memory_bytes=7e8, pods=2)
    web, other = running("a", started_at=YOUNG), running("b", owner="new-1", started_at=YOUNG)
    known = Measured({WEB: own}, {"shop": UseRatio(cpu=0.5)}, {})
    by = {pod.uid: pod.expected for pod in recent(world(web, other), sample(), known, OWNERS, POLICY).pods}
    assert by["uid-a"] == Estimate(cpu_cores=0.7, memory_bytes=7e8)
    assert (by["uid-b"].cpu_cores, by["uid-b"].memory_bytes) == (0.05, 1e8)


def test_only_so_many_are_kept_the_newest_and_the_others_are_counted():
    pods = [running(f"p{n}", started_at=NOW - timedelta(seconds=n)) for n in range(1, 6)]
    pods.append(running("bound", started_at=None))
    found = recent(world(*pods), sample(), load.NOTHING, OWNERS, POLICY, most=3)
    assert (uids(found), found.left_out) == (["uid-bound", "uid-p1", "uid-p2"], 3)
