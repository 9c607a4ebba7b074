"""What pods that are no more add to their node's means, against a node of whole seconds that is looked at."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW
from tests.core.test_owners import pod, ref
from webhook.core import inventory, load
from webhook.core.census import Census
from webhook.core.departed import departed, left_behind, without
from webhook.core.model import Resources
from webhook.core.policy import BalancePolicy
from webhook.core.usage import NodeSample, PodsUse

POLICY = BalancePolicy()
WINDOW = int(POLICY.window.total_seconds())


def ran(name, began, ended, *, node="a", **facts):
    """A pod of a ReplicaSet; seconds from the window's begin."""
    start = NOW - POLICY.window
    made = pod(
        name, owner=ref("ReplicaSet", "web"), node_name=node, started_at=start + timedelta(seconds=began), **facts
    )
    return departed(made, start + timedelta(seconds=ended))


def sample(cpu, memory, at=NOW, span=None):
    return NodeSample(node="a", cpu_cores=cpu, memory_bytes=memory, sampled_at=at, source="x", memory_span_seconds=span)


lives = st.tuples(st.integers(-600, WINDOW - 1), st.integers(1, 900), st.floats(0, 4), st.floats(0, 1e9))


@given(
    gone=st.lists(lives, max_size=6),
    staying=st.tuples(st.floats(0, 4), st.floats(0, 1e9)),
    came=st.integers(-600, WINDOW - 30),
    later=st.integers(0, 60),
)
def test_a_node_is_taken_for_what_those_use_that_are_left(gone, staying, came, later):
    """Each second of the window is added up, of those that ended and of one that stays, since the node came.

    One that came within the window has a mean of memory over the time since, also some seconds later.
    """
    span = WINDOW - max(came, 0)
    later = min(later, (WINDOW - span) // 2)
    cpu, memory = staying[0] * WINDOW, staying[1] * (span + later)
    told, left = {}, []
    for number, (began, lasted, cores, size) in enumerate(gone):
        ended = min(began + lasted, WINDOW)
        seconds = max(0, ended - max(began, came, 0))
        cpu, memory = cpu + cores * seconds, memory + size * seconds
        left.append(ran(str(number), began, ended))
        if seconds:
            told["shop", str(number)] = (cores * seconds / WINDOW, size)
    census = Census(taken_at=NOW, departed=tuple(left))
    parts = left_behind(census, PodsUse(NOW, told), POLICY.window, {"a": span})
    whole = {
        node: Resources(sum(p.cpu_cores for p in of), sum(p.memory_bytes for p in of)) for node, of in parts.items()
    }
    seen = sample(cpu / WINDOW, memory / (span + later), NOW + timedelta(seconds=later), span=span + later)
    found = without(seen, whole, told_at=NOW, window=POLICY.window)
    assert found.cpu_cores == pytest.approx(staying[0], abs=1e-6)
    assert found.memory_bytes == pytest.approx(staying[1], abs=1)


def test_what_was_left_behind_fades_as_the_window_moves_on_and_is_never_more_than_was_measured():
    left = {"a": Resources(1.0, 1e9)}
    cpus = [
        without(sample(1.5, 0.5e9, NOW + later), left, told_at=NOW, window=POLICY.window).cpu_cores
        for later in (timedelta(minutes=-9), timedelta(0), POLICY.window / 2, POLICY.window, 2 * POLICY.window)
    ]
    assert cpus == [0.5, 0.5, 1.0, 1.5, 1.5]
    assert without(sample(1.5, 0.5e9), left, told_at=NOW, window=POLICY.window).memory_bytes == 0.0
    assert without(sample(1.5, 0.5e9), {"b": left["a"]}, told_at=NOW, window=POLICY.window) == sample(1.5, 0.5e9)


@pytest.mark.parametrize(
    "changed",
    [
        {"node_name": ""},
        {"started_at": None},
        {"controller": None},
        {"controller": ref("StatefulSet", "db")},
    ],
)
def test_who_never_ran_or_may_share_its_name_with_another_leaves_nothing(changed):
    made = pod("x", owner=ref("ReplicaSet", "web"), node_name="a", started_at=NOW)
    assert departed(made, NOW) is not None
    assert departed(msgspec.structs.replace(made, **changed), NOW) is None


def test_a_pod_that_ended_and_is_still_listed_left_when_its_readiness_turned():
    half = NOW - POLICY.window / 2
    ended = pod(
        "x", owner=ref("Job", "load"), node_name="a", phase="Succeeded", started_at=NOW - POLICY.window, ready_at=half
    )
    use = PodsUse(NOW, {("shop", "x"): (0.5, 1e9)})
    census = Census(taken_at=NOW, pods=(ended,))
    assert left_behind(census, use, POLICY.window) == {"a": [Resources(0.5, 0.5e9)]}
    both = msgspec.structs.replace(census, departed=(departed(ended, NOW),))
    assert left_behind(both, use, POLICY.window) == {"a": [Resources(0.5, 0.5e9)]}, "counted once"


def test_a_pod_that_drained_for_longer_than_the_window_leaves_the_cpu_that_it_used_meanwhile():
    """It was no longer Ready all the while, which is all that is known of when it ended; what is told of its CPU is."""
    drained = ran("x", -1200, WINDOW, phase="Succeeded", ready_at=NOW - 2 * POLICY.window)
    found = left_behind(
        Census(taken_at=NOW, departed=(drained,)), PodsUse(NOW, {("shop", "x"): (0.8, 1e9)}), POLICY.window
    )
    assert found == {"a": [Resources(0.8, 0.0)]}


def test_who_runs_is_no_more_only_where_nobody_lists_it():
    """A deletion may be told between two looks at one store, and a list after a silence may be older than a watch."""
    gone = ran("x", -600, WINDOW)
    use = PodsUse(NOW, {("shop", "x"): (0.5, 1e9)})
    runs = pod("x", owner=ref("ReplicaSet", "web"), node_name="a", phase="Running", started_at=NOW - 2 * POLICY.window)
    assert left_behind(Census(taken_at=NOW, pods=(runs,), departed=(gone,)), use, POLICY.window) == {}
    other = msgspec.structs.replace(runs, namespace="bank")
    assert left_behind(Census(taken_at=NOW, pods=(other,), departed=(gone,)), use, POLICY.window) != {}


@pytest.mark.parametrize(("group", "is_ours"), [("batch/v1", True), ("", True), ("batch.volcano.sh/v1alpha1", False)])
def test_a_job_of_another_maker_may_name_its_pods_as_it_likes(group, is_ours):
    owner = msgspec.structs.replace(ref("Job", "train"), api_version=group)
    made = pod("train-worker-0", owner=owner, node_name="a", started_at=NOW)
    assert (departed(made, NOW) is not None) == is_ours


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1e200])
def test_what_is_no_measurement_takes_nothing_off(value):
    census = Census(taken_at=NOW, departed=(ran("x", 0, WINDOW),))
    assert left_behind(census, PodsUse(NOW, {("shop", "x"): (value, 1.0)}), POLICY.window) == {}
    assert left_behind(census, PodsUse(NOW, {}), POLICY.window) == {}


@pytest.mark.parametrize("span", [0.0, 20.0])
def test_a_node_that_came_anew_holds_no_memory_of_who_ran_before(span):
    found = without(
        sample(1.0, 1e9, NOW + timedelta(seconds=30), span=span),
        {"a": Resources(0.0, 0.5e9)},
        told_at=NOW,
        window=POLICY.window,
    )
    assert found.memory_bytes == 1e9


def test_of_a_node_that_just_came_sync_takes_off_what_its_short_mean_holds():
    """Half of two minutes' samples are a gigabyte of one that left: half a gigabyte, and not a fifth of one."""
    seen = {"a": sample(1.0, 0.5e9, span=120)}
    census = Census(taken_at=NOW, departed=(ran("x", WINDOW - 120, WINDOW - 60),))
    use = PodsUse(NOW, {("shop", "x"): (0.2, 1e9)})
    measured = load.measure(census, use, {}, POLICY, samples=seen)
    assert inventory.node_load(seen["a"], measured, POLICY).memory_bytes == pytest.approx(0.0, abs=1)


@given(st.floats(0, 4), st.floats(0, 4), st.floats(0, 1e6))
def test_whatever_is_told_of_those_that_are_gone_who_runs_there_still_counts(staying, others, gone):
    """A pod that is no more may have told anything of itself: it makes no node look as if nobody ran there."""
    stays = pod(
        "y", owner=ref("ReplicaSet", "web"), node_name="a", phase="Running", started_at=NOW - timedelta(hours=1)
    )
    census = Census(taken_at=NOW, pods=(stays,), departed=(ran("x", -600, WINDOW),))
    use = PodsUse(NOW, {("shop", "x"): (gone, 2e9), ("shop", "y"): (staying, 1e9)})
    found = inventory.node_load(sample(staying + others, 4e9), load.measure(census, use, {}, POLICY), POLICY)
    assert staying * 0.99 - 1e-9 <= found.cpu_cores <= staying + others


def test_a_nodes_load_is_told_without_them_and_the_habits_of_the_others_stand_on_that():
    stays = pod(
        "y",
        owner=ref("ReplicaSet", "web"),
        node_name="a",
        phase="Running",
        ready=True,
        started_at=NOW - timedelta(hours=1),
    )
    census = Census(taken_at=NOW, pods=(stays,), departed=(ran("x", -600, WINDOW),))
    use = PodsUse(NOW, {("shop", "x"): (2.0, 2e9), ("shop", "y"): (1.0, 1e9)})
    measured = load.measure(census, use, {}, POLICY)
    found = inventory.node_load(sample(3.5, 4e9), measured, POLICY)
    assert (found.cpu_cores, found.memory_bytes) == (1.5, 2e9)
    late = inventory.node_load(sample(3.5, 4e9, NOW + timedelta(hours=1)), measured, POLICY)
    assert late.cpu_cores == 3.5
