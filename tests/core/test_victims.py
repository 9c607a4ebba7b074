"""Who goes first when a ReplicaSet is lowered, held against the controller's own comparison, written out slowly.

The comparison below and the sorts are a reference: they say in another form what `core/victims.py` concludes from.
"""

import functools
import itertools
import math
import random
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import NOW
from webhook.core.census import PodFact
from webhook.core.victims import possible_victims

NO_SLACK, SLACK = timedelta(0), timedelta(seconds=5)
PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
ENDED = ("Succeeded", "Failed")


def make_pod(uid: str, **facts) -> PodFact:
    """Running and Ready on a node of its own, for an hour."""
    hour_ago = NOW - timedelta(hours=1)
    known = {"node_name": f"n-{uid}", "phase": "Running", "ready": True, "created_at": hour_ago, "ready_at": hour_ago}
    return PodFact(namespace="shop", name=f"web-{uid}", uid=uid, **(known | facts))


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def victims(*pods: PodFact, now=NOW, slack=NO_SLACK, **facts) -> str:
    return "".join(sorted(possible_victims(pods, now=now, slack=slack, **facts)))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"node_name": ""}, {"phase": "Pending"}),
        ({"phase": "Pending", "restarts": 0}, {"phase": "Unknown", "ready": False}),
        ({"phase": "Unknown", "deletion_cost": 9}, {"ready": False}),
        ({"ready": False, "deletion_cost": 9}, {}),
        ({"deletion_cost": -1, "ready_at": ago(9999)}, {"ready_at": ago(1)}),
        ({"deletion_cost": 1, "ready_at": ago(9999)}, {"deletion_cost": 2}),
        ({"ready_at": None}, {"ready_at": ago(0)}),
        ({"ready_at": ago(10)}, {"ready_at": ago(100)}),
        ({"restarts": 2, "sidecar_restarts": 0}, {"restarts": 1, "sidecar_restarts": 7}),
        ({"sidecar_restarts": 1, "created_at": ago(9999)}, {"created_at": ago(7200)}),
        ({"created_at": None}, {"created_at": ago(0)}),
        ({"created_at": ago(3600)}, {"created_at": ago(99999)}),
        ({"ready": False, "ready_at": ago(9999), "restarts": 1}, {"ready": False, "ready_at": ago(1)}),
    ],
    ids=str,
)
def test_of_two_pods_the_first_row_in_which_they_differ_decides(first, second):
    """Whichever has the lower UID, and whichever is named first."""
    for one, other in (
        (make_pod("a", **first), make_pod("b", **second)),
        (make_pod("b", **first), make_pod("a", **second)),
    ):
        assert victims(one, other) == victims(other, one) == one.uid


def test_who_shares_a_node_goes_before_who_is_alone():
    assert victims(make_pod("a", node_name="n1"), make_pod("b", node_name="n1"), make_pod("c")) == "ab"


def test_pods_of_the_deployments_other_replicasets_are_company_too_while_they_are_active():
    ours = (make_pod("a", node_name="n1"), make_pod("b", node_name="n2"))
    other = make_pod("x", node_name="n1")
    assert victims(*ours) == "ab"
    assert victims(*ours, related=[other]) == "a"
    assert victims(*ours, related=[*ours, other]) == "a", "a pod that is named twice is one pod"
    for gone in ({"deleting": True}, {"phase": "Failed"}):
        assert victims(*ours, related=[msgspec.structs.replace(other, **gone)]) == "ab"


def test_of_a_replicaset_that_nothing_owns_company_does_not_matter():
    assert victims(make_pod("a", node_name="n1"), make_pod("b", node_name="n1"), make_pod("c"), owned=False) == "abc"


def test_pods_that_ended_or_are_on_their_way_out_are_never_chosen():
    gone = [make_pod("a", deleting=True, ready=False), make_pod("b", phase="Succeeded"), make_pod("c", phase="Failed")]
    assert victims(*gone) == ""
    assert victims(*gone, make_pod("d")) == "d"


def test_without_the_feature_gate_costs_are_not_read_and_where_nobody_knows_both_may_go():
    cheap, young = make_pod("a", deletion_cost=-5), make_pod("b", ready_at=ago(1))
    assert victims(cheap, young) == "a"
    assert victims(cheap, young, deletion_cost=False) == "b"
    assert victims(cheap, young, deletion_cost=None) == "ab"


def test_pods_that_became_ready_in_the_same_second_may_all_go():
    assert victims(*(make_pod(uid) for uid in "abcd")) == "abcd"


def test_between_the_same_powers_of_two_the_lower_uid_goes_whoever_is_younger():
    """2^41 ns are 2199 s: 2300 s and 4000 s lie between it and the next."""
    assert victims(make_pod("a", ready_at=ago(4000)), make_pod("b", ready_at=ago(2300))) == "a"
    assert victims(make_pod("b", ready_at=ago(4000)), make_pod("a", ready_at=ago(2300))) == "a"
    assert victims(make_pod("a", ready_at=ago(4000)), make_pod("b", ready_at=ago(2000))) == "b"


def test_where_a_border_is_passed_before_the_controller_acts_both_may_go():
    older, younger = make_pod("a", ready_at=ago(2300)), make_pod("b", ready_at=ago(2198))
    assert victims(older, younger) == "b"
    assert victims(older, younger, now=NOW + timedelta(seconds=5)) == "a"
    assert victims(older, younger, slack=SLACK) == "ab"


def test_times_that_are_yet_to_come_are_the_youngest_and_decided_by_uid():
    ahead = [make_pod("b", ready_at=ago(-10)), make_pod("a", ready_at=ago(-20)), make_pod("c", ready_at=ago(1))]
    assert victims(*ahead) == "a"


def test_a_circle_goes_as_a_whole():
    """3 before 1 by restarts, 1 before 2 and 2 before 3 by UID: whichever the sort begins with may stay in front."""
    circle = [
        make_pod("3", ready_at=ago(3000), restarts=1),
        make_pod("1", ready_at=ago(3000)),
        make_pod("2", ready_at=ago(2500)),
    ]
    assert victims(*circle) == "123"
    assert victims(*circle, make_pod("4", ready_at=ago(2600))) == "123"


def test_of_more_than_can_be_compared_all_that_are_alike_may_go():
    many = [make_pod(f"{n:03}", ready_at=ago(n)) for n in range(501)]
    told = possible_victims([*many, make_pod("dear", deletion_cost=1)], now=NOW, slack=NO_SLACK)
    assert told == {pod.uid for pod in many}


# --- the controller's comparison and sorts, slowly


def rank_of(at: datetime, now: datetime) -> int:
    nanoseconds = (now - at) // timedelta(microseconds=1) * 1000
    return int(math.log2(nanoseconds)) if nanoseconds > 0 else -1


def younger(one: PodFact, other: PodFact, times: tuple, now: datetime) -> bool:
    if None in times:
        return times[0] is None
    mine, theirs = (rank_of(at, now) for at in times)
    return one.uid < other.uid if mine == theirs else mine < theirs


def less(one: PodFact, other: PodFact, world: "World") -> bool:  # noqa: PLR0911 - a return for each row
    """Whether the controller would rather delete ``one``."""
    if one.node_name != other.node_name and not (one.node_name and other.node_name):
        return not one.node_name
    if one.phase != other.phase:
        return PHASES[one.phase] < PHASES[other.phase]
    if one.ready != other.ready:
        return other.ready
    if world.by_cost and one.deletion_cost != other.deletion_cost:
        return one.deletion_cost < other.deletion_cost
    if (mine := world.company(one)) != (theirs := world.company(other)):
        return mine > theirs
    if one.ready and other.ready and one.ready_at != other.ready_at:
        return younger(one, other, (one.ready_at, other.ready_at), world.now)
    if one.restarts != other.restarts:
        return one.restarts > other.restarts
    if one.sidecar_restarts != other.sidecar_restarts:
        return one.sidecar_restarts > other.sidecar_restarts
    if one.created_at != other.created_at:
        return younger(one, other, (one.created_at, other.created_at), world.now)
    return False


class World:
    """What the comparison reads beside the two pods."""

    def __init__(self, pods, related=(), *, now=NOW, by_cost=True, owned=True):
        self.now, self.by_cost = now, by_cost
        around = {pod.uid: pod for pod in (*pods, *related) if is_active(pod) and owned}
        self.nodes = [pod.node_name for pod in around.values()]
        self.active = [pod for pod in pods if is_active(pod)]

    def company(self, pod):
        return self.nodes.count(pod.node_name)


def is_active(pod: PodFact) -> bool:
    return pod.phase not in ENDED and not pod.deleting


def by_insertion(items, before):
    done = []
    for item in items:
        place = len(done)
        while place and before(item, done[place - 1]):
            place -= 1
        done.insert(place, item)
    return done


def by_partition(items, before):
    if len(items) < 2:
        return list(items)
    pivot, *others = items
    front = [item for item in others if before(item, pivot)]
    back = [item for item in others if not before(item, pivot)]
    return [*by_partition(front, before), pivot, *by_partition(back, before)]


def by_heap(items, before):
    heap = list(items)

    def sift(root, end):
        while (child := 2 * root + 1) < end:
            if child + 1 < end and before(heap[child], heap[child + 1]):
                child += 1
            if not before(heap[root], heap[child]):
                return
            heap[root], heap[child], root = heap[child], heap[root], child

    for root in reversed(range(len(heap) // 2)):
        sift(root, len(heap))
    for end in reversed(range(len(heap))):
        heap[0], heap[end] = heap[end], heap[0]
        sift(0, end)
    return heap


def by_merge(items, before):
    """Python's own, which is stable."""
    return sorted(items, key=functools.cmp_to_key(lambda a, b: before(b, a) - before(a, b)))


SORTS = (by_insertion, by_partition, by_heap, by_merge)


def first_of(order, world, sort) -> str:
    return sort(order, lambda a, b: less(a, b, world))[0].uid


# Few values, so that pods meet; 2^40, 2^41 and 2^42 ns are 1100, 2199 and 4398 s.
AGES = st.sampled_from([0, 1, 1098, 1101, 2197, 2197, 2201, 2300, 2300, 3000, 4000, 4500, -3])
TIMES = st.one_of(AGES, AGES, AGES, AGES, st.none()).map(lambda age: None if age is None else ago(age))
ALIKE = {"ready_at": TIMES, "created_at": TIMES, "restarts": st.sampled_from([0, 0, 0, 1, 2])}
ANY = {
    **ALIKE,
    "node_name": st.sampled_from(["", "n1", "n1", "n2", "n3"]),
    "phase": st.sampled_from(["Running"] * 6 + ["Pending", "Unknown", "Failed", "Succeeded"]),
    "ready": st.sampled_from([True, True, True, False]),
    "deleting": st.sampled_from([False] * 7 + [True]),
    "deletion_cost": st.sampled_from([0, 0, 1, 1, 2, -1]),
    "sidecar_restarts": st.sampled_from([0, 0, 1]),
}


@st.composite
def replica_sets(draw: st.DrawFn, most: int = 9) -> list[PodFact]:
    """Pods that differ in anything, or only in times and restarts, where order is no order."""
    facts = draw(st.sampled_from([ANY, ALIKE]))
    count = draw(st.integers(1, most))
    uids = draw(st.permutations([f"{n:02}" for n in range(count)]))
    return [make_pod(uid, **{k: draw(v) for k, v in facts.items()}) for uid in uids]


SEEDS = st.integers(0, 2**32)
GATES = st.sampled_from([(True, True), (True, True), (False, True), (True, False)])


@given(replica_sets(most=16), st.lists(st.sampled_from(["n1", "n2"]), max_size=3), SEEDS, GATES)
def test_whatever_sort_and_order_and_moment_the_first_is_among_the_possible(pods, others, seed, gates):
    by_cost, owned = gates
    related = [make_pod(f"other-{n}", node_name=node) for n, node in enumerate(others)]
    told = possible_victims(pods, related=related, now=NOW, slack=SLACK, deletion_cost=by_cost, owned=owned)
    chance = random.Random(seed)
    for seconds in (0, 0.5, *(chance.uniform(0, SLACK.total_seconds()) for _ in range(3)), SLACK.total_seconds()):
        world = World(pods, related, now=NOW + timedelta(seconds=seconds), by_cost=by_cost, owned=owned)
        order = chance.sample(world.active, len(world.active))
        assert not order or {first_of(order, world, sort) for sort in SORTS} <= told


@given(replica_sets(most=5))
@settings(max_examples=60)
def test_at_a_given_moment_each_of_the_possible_is_first_in_some_order(pods):
    """The set is as small as can be: the controller sorts so few by insertion. Half a second keeps off the borders."""
    world = World(pods, now=NOW + timedelta(seconds=0.5))
    firsts = {first_of(order, world, by_insertion) for order in itertools.permutations(world.active) if order}
    assert possible_victims(pods, now=world.now, slack=NO_SLACK) == firsts


@given(replica_sets(), SEEDS)
def test_the_order_in_which_pods_are_told_does_not_matter(pods, seed):
    shuffled = random.Random(seed).sample(pods, len(pods))
    assert possible_victims(shuffled, now=NOW, slack=SLACK) == possible_victims(pods, now=NOW, slack=SLACK)


@given(replica_sets())
def test_somebody_may_go_wherever_somebody_is_active(pods):
    told = possible_victims(pods, now=NOW, slack=SLACK)
    assert told <= {pod.uid for pod in pods if is_active(pod)}
    assert bool(told) == any(map(is_active, pods))


@given(replica_sets(), st.integers(1, 3), st.data())
def test_raising_the_cost_of_a_pod_never_makes_it_a_victim(pods, more, data):
    before = possible_victims(pods, now=NOW, slack=SLACK)
    number = data.draw(st.sampled_from(range(len(pods))))
    dearer = msgspec.structs.replace(pods[number], deletion_cost=pods[number].deletion_cost + more)
    after = possible_victims([*pods[:number], dearer, *pods[number + 1 :]], now=NOW, slack=SLACK)
    assert dearer.uid not in after - before


@given(replica_sets(), st.integers(0, 10), st.integers(0, 10))
def test_more_time_to_act_in_never_rules_anybody_out(pods, seconds, more):
    shorter, longer = timedelta(seconds=seconds), timedelta(seconds=seconds + more)
    assert possible_victims(pods, now=NOW, slack=shorter) <= possible_victims(pods, now=NOW, slack=longer)


@given(replica_sets())
def test_where_nobody_knows_of_the_feature_gate_both_answers_are_joined(pods):
    on, off, either = (possible_victims(pods, now=NOW, slack=SLACK, deletion_cost=gate) for gate in (True, False, None))
    assert either == on | off
