"""A surge, step by step: what each looks at, what it then asks for, and how it ends whoever else has a hand in it.

It is long because every row of each table is a case of its own.
"""

from datetime import timedelta

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.builders import NOW
from tests.core.steps_builders import LANDED, MINUTE, OLD, PENDING, SECOND, changed, pod, view, without
from tests.fakes import TinyCluster
from webhook.core import surge
from webhook.core.model import CapacityType, Side
from webhook.core.moves import HOLDS_SURGE, MANAGER, Answer, InFlight, Outcome, Result, Step
from webhook.core.policy import Move, MovePolicy
from webhook.core.steps import Evict, Scale, Situation, View, anchored, answered

UP, DOWN = Scale(replicas=3, resource_version="7"), Scale(replicas=2, resource_version="7")
THREE = (*OLD, LANDED)


def taken(found):
    """(step, action) where it goes on, (outcome,) where it ended."""
    return (found.move.step, found.action) if found.move else (found.outcome,)


GOES_ON = {
    "it is announced until the book was read": (view(Step.ANNOUNCED, waited=4 * SECOND), (Step.ANNOUNCED, None)),
    "then one more is asked for": (view(Step.ANNOUNCED, waited=5 * SECOND), (Step.RAISING, UP)),
    "what was not raised before a crash is raised": (view(Step.RAISING), (Step.RAISING, UP)),
    "what was raised before a crash is seen": (
        view(Step.RAISING, replicas=3, now_generation=2, written_by=MANAGER),
        (Step.RAISED, None),
    ),
    "and where nobody is known to have written it, it may be ours": (
        view(Step.RAISING, replicas=3, now_generation=2),
        (Step.RAISED, None),
    ),
    "ours is lowered, whatever else was changed meanwhile": (
        view(Step.RETRACTED, (*OLD, PENDING), replicas=3, now_generation=5, written_by=MANAGER),
        (Step.UNDOING, DOWN),
    ),
    "the new pod is waited for while there is none": (view(Step.RAISED, replicas=3), (Step.RAISED, None)),
    "and while it is Pending": (view(Step.RAISED, (*OLD, PENDING), replicas=3), (Step.RAISED, None)),
    "and while it is not Ready": (
        view(Step.RAISED, (*OLD, changed(LANDED, ready=False)), replicas=3),
        (Step.RAISED, None),
    ),
    "and while the controller has not seen the scale": (
        view(Step.RAISED, THREE, replicas=3, observed_generation=1),
        (Step.RAISED, None),
    ),
    "and while an old one is not Ready, whatever the status says": (
        view(Step.RAISED, (OLD[0], changed(OLD[1], ready=False), LANDED), replicas=3, available=3),
        (Step.RAISED, None),
    ),
    "once it landed, one of the elders is sure to go": (view(Step.RAISED, THREE, replicas=3), (Step.LOWERING, DOWN)),
    "where costs are not read, one is evicted": (
        view(Step.RAISED, THREE, replicas=3, by_cost=False),
        (Step.EVICTING, Evict(pods=(("old-1", "old-1"),))),
    ),
    "where the new one would go first, one is evicted": (
        view(Step.RAISED, (*OLD, changed(LANDED, deletion_cost=0)), replicas=3),
        (Step.EVICTING, Evict(pods=(("old-1", "old-1"),))),
    ),
    "where none is on the wrong side any more, any may go": (
        view(Step.RAISED, (pod("old-1", "s"), pod("old-2", "s"), LANDED), replicas=3),
        (Step.LOWERING, DOWN),
    ),
    "an eviction that was not done before a crash is done": (
        view(Step.EVICTING, THREE, replicas=3),
        (Step.EVICTING, Evict(pods=(("old-1", "old-1"),))),
    ),
    "but not while a pod less is available": (
        view(Step.EVICTING, (OLD[0], changed(OLD[1], ready=False), LANDED), replicas=3),
        (Step.EVICTING, None),
    ),
    "one that was done is seen": (view(Step.EVICTING, without(THREE, "old-1"), replicas=3), (Step.REPLACING, None)),
    "one on its way out is gone": (
        view(Step.EVICTING, (changed(OLD[0], deleting=True), OLD[1], LANDED), replicas=3),
        (Step.REPLACING, None),
    ),
    "a budget that refused lets an elder go instead": (
        view(Step.EVICTING, THREE, replicas=3, outcome=Outcome.BLOCKED),
        (Step.LOWERING, DOWN),
    ),
    "and so does an eviction of which nobody ever hears": (
        view(Step.EVICTING, THREE, replicas=3, waited=11 * MINUTE),
        (Step.LOWERING, DOWN),
    ),
    "the replacement is waited for": (
        view(Step.REPLACING, without(THREE, "old-1"), replicas=3),
        (Step.REPLACING, None),
    ),
    "but nobody waits for our demand while fewer serve than before": (
        view(Step.REPLACING, (OLD[1], PENDING, changed(PENDING, name="newer", uid="newer")), replicas=3),
        (Step.RETRACTED, None),
    ),
    "and then one less is asked for": (
        view(Step.REPLACING, (OLD[1], LANDED, pod("newer", "s")), replicas=3),
        (Step.LOWERING, DOWN),
    ),
    "what was not lowered before a crash is lowered": (view(Step.LOWERING, THREE, replicas=3), (Step.LOWERING, DOWN)),
    "the controller is given the time to take one": (view(Step.LOWERING, THREE), (Step.LOWERING, None)),
    "given up, it waits until wishes are given again": (
        view(Step.RETRACTED, (*OLD, PENDING), replicas=3, waited=4 * SECOND),
        (Step.RETRACTED, None),
    ),
    "and then one less is asked for, given up": (
        view(Step.RETRACTED, (*OLD, PENDING), replicas=3),
        (Step.UNDOING, DOWN),
    ),
    "what was not undone before a crash is undone": (
        view(Step.UNDOING, (*OLD, PENDING), replicas=3),
        (Step.UNDOING, DOWN),
    ),
    "undoing waits for the controller too": (view(Step.UNDOING, (*OLD, PENDING)), (Step.UNDOING, None)),
    "what is Pending with our demand then is evicted": (
        view(Step.UNDOING, (OLD[0], PENDING)),
        (Step.CLEARING, Evict(pods=(("new", "new"),))),
    ),
    "and again, however long it takes": (
        view(Step.CLEARING, (OLD[0], PENDING), wrong=("new",), waited=99 * MINUTE),
        (Step.CLEARING, Evict(pods=(("new", "new"),))),
    ),
}


@pytest.mark.parametrize(("seen", "expected"), GOES_ON.values(), ids=GOES_ON)
def test_a_surge_goes_on(seen, expected):
    found = surge.step(seen)
    assert taken(found) == expected
    if expected[0] is not seen.move.step:
        assert found.move.step_at == NOW


ENDS = {
    "an elder went": (view(Step.LOWERING, (OLD[1], LANDED)), Outcome.MOVED, "s"),
    "an elder went, and the new one is not Ready just now": (
        view(Step.LOWERING, (OLD[1], changed(LANDED, ready=False))),
        Outcome.MOVED,
        "s",
    ),
    "the new one went": (view(Step.LOWERING, OLD), Outcome.WRONG_VICTIM, ""),
    "one that was right went": (
        view(Step.LOWERING, (OLD[0], LANDED), before=("old-1", "right"), wrong=("old-1",)),
        Outcome.WRONG_VICTIM,
        "s",
    ),
    "a budget refused, and the new one went": (
        view(Step.LOWERING, OLD, outcome=Outcome.BLOCKED),
        Outcome.BLOCKED,
        "",
    ),
    "a budget refused, and an elder went all the same": (
        view(Step.LOWERING, (OLD[1], LANDED), outcome=Outcome.BLOCKED),
        Outcome.MOVED,
        "s",
    ),
    "the controller never took one": (
        view(Step.LOWERING, THREE, waited=11 * MINUTE),
        Outcome.WRONG_VICTIM,
        "s",
    ),
    "undone, with nothing left Pending": (
        view(Step.UNDOING, OLD, outcome=Outcome.NO_CAPACITY),
        Outcome.NO_CAPACITY,
        "",
    ),
    "retracted where one more is somebody else's": (
        view(Step.RETRACTED, THREE, replicas=3, outcome=Outcome.CHANGED, written_by="kubectl"),
        Outcome.CHANGED,
        "s",
    ),
    "undone, and one more was asked for by somebody else": (
        view(Step.UNDOING, THREE, replicas=3, outcome=Outcome.NO_CAPACITY, written_by="kubectl"),
        Outcome.NO_CAPACITY,
        "s",
    ),
    "retracted where nothing was raised": (
        view(Step.RETRACTED, OLD, outcome=Outcome.FLIPPED),
        Outcome.FLIPPED,
        "",
    ),
    "cleared": (view(Step.CLEARING, OLD, outcome=Outcome.LOST_POD, wrong=("new",)), Outcome.LOST_POD, ""),
    "what came in its place has its owner's own demand": (
        view(
            Step.CLEARING,
            (OLD[0], pod("newer", "", decision="v1/spot/required/1")),
            wrong=("new",),
            outcome=Outcome.LOST_POD,
        ),
        Outcome.LOST_POD,
        "",
    ),
    "the workload was deleted": (view(Step.RAISED, fact=None), Outcome.GONE, ""),
    "another one has its name": (view(Step.RAISED, uid="uid-other"), Outcome.GONE, ""),
    "moves were paused before it began": (view(Step.ANNOUNCED, stopped=True), Outcome.STOPPED, ""),
    "its side turned before it began": (view(Step.ANNOUNCED, wanted=Side.REGULAR), Outcome.FLIPPED, ""),
    "nobody says where it belongs any more": (view(Step.ANNOUNCED, wanted=None), Outcome.FLIPPED, ""),
    "it was scaled before it began": (view(Step.ANNOUNCED, replicas=5), Outcome.CHANGED, ""),
    "it was changed before it began": (view(Step.ANNOUNCED, now_generation=2), Outcome.CHANGED, ""),
    "a second look speaks against it": (view(Step.ANNOUNCED, refusal="no room"), Outcome.CHANGED, ""),
    "the right to scale is missing": (view(Step.RAISING, outcome=Outcome.REFUSED), Outcome.REFUSED, ""),
}


@pytest.mark.parametrize(("seen", "outcome", "landed_on"), ENDS.values(), ids=ENDS)
def test_a_surge_ends(seen, outcome, landed_on):
    found = surge.step(seen)
    assert (found.move, found.outcome, found.landed_on, found.action) == (None, outcome, landed_on, None)


STRANGERS = (*OLD, changed(PENDING, node_name="r", ready=True))

GIVEN_UP = {
    "the replicas were set back at once": (view(Step.RAISING, now_generation=3), Outcome.REVERTED),
    "somebody else scaled at the same moment": (view(Step.RAISING, replicas=5, now_generation=2), Outcome.CHANGED),
    "its template changed at the same moment": (view(Step.RAISING, now_generation=2), Outcome.CHANGED),
    "its side turned before it was raised for sure": (view(Step.RAISING, wanted=Side.REGULAR), Outcome.FLIPPED),
    "moves were paused before it was raised for sure": (view(Step.RAISING, stopped=True), Outcome.STOPPED),
    "the API server never takes the scale": (view(Step.RAISING, waited=11 * MINUTE), Outcome.REFUSED),
    "the replicas were set back": (view(Step.RAISED, OLD, replicas=2), Outcome.REVERTED),
    "somebody else scaled up": (view(Step.RAISED, THREE, replicas=6), Outcome.CHANGED),
    "somebody scaled it to nought": (view(Step.RAISED, (), replicas=0), Outcome.CHANGED),
    "its rollouts were paused": (view(Step.RAISED, THREE, replicas=3, paused=True), Outcome.CHANGED),
    "a rollout began": (view(Step.RAISED, THREE, replicas=3, updated=1), Outcome.CHANGED),
    "its side turned while the new pod was waited for": (
        view(Step.RAISED, OLD, replicas=3, wanted=Side.REGULAR),
        Outcome.FLIPPED,
    ),
    "its side turned, though the new pod is there": (
        view(Step.RAISED, THREE, replicas=3, wanted=Side.REGULAR),
        Outcome.FLIPPED,
    ),
    "moves were paused meanwhile": (view(Step.RAISED, OLD, replicas=3, stopped=True), Outcome.STOPPED),
    "moves were paused, and somebody would have to be evicted": (
        view(Step.RAISED, THREE, replicas=3, stopped=True, by_cost=False),
        Outcome.STOPPED,
    ),
    "moves were paused before the eviction was done for sure": (
        view(Step.EVICTING, THREE, replicas=3, stopped=True),
        Outcome.STOPPED,
    ),
    "its side turned before the eviction was done for sure": (
        view(Step.EVICTING, THREE, replicas=3, wanted=None),
        Outcome.FLIPPED,
    ),
    "the new pod is on the other side": (
        view(Step.RAISED, (*OLD, pod("new", "r", ready=False)), replicas=3),
        Outcome.STRAYED,
    ),
    "an old pod was lost while the new one is Pending": (
        view(Step.RAISED, (OLD[0], PENDING, pod("newer", "")), replicas=3),
        Outcome.LOST_POD,
    ),
    "patience is over": (view(Step.RAISED, (*OLD, PENDING), replicas=3, waited=11 * MINUTE), Outcome.NO_CAPACITY),
    "patience with the replacement is over": (
        view(Step.REPLACING, without(THREE, "old-1"), replicas=3, waited=11 * MINUTE),
        Outcome.NO_CAPACITY,
    ),
    "somebody scaled while it was lowered": (view(Step.LOWERING, THREE, replicas=5), Outcome.CHANGED),
    "somebody else's one more came where ours was refused": (
        view(Step.RAISING, (*OLD, PENDING), replicas=3, now_generation=2, written_by="kubectl"),
        Outcome.CHANGED,
    ),
    "somebody else's one more came in place of ours": (
        view(Step.RAISED, THREE, replicas=3, written_by="kubectl"),
        Outcome.CHANGED,
    ),
    "somebody applies the very number of ours": (
        view(Step.RAISED, THREE, replicas=3, written_by=MANAGER, applied_by="argocd"),
        Outcome.CHANGED,
    ),
    "somebody else's one more came before the eviction": (
        view(Step.EVICTING, THREE, replicas=3, written_by="kubectl"),
        Outcome.CHANGED,
    ),
    "somebody else's one more came before the replacement": (
        view(Step.REPLACING, without(THREE, "old-1"), replicas=3, written_by="kubectl"),
        Outcome.CHANGED,
    ),
    "somebody else's one more came after it was lowered": (
        view(Step.LOWERING, THREE, replicas=3, written_by="kubectl"),
        Outcome.CHANGED,
    ),
}


@pytest.mark.parametrize(("seen", "outcome"), GIVEN_UP.values(), ids=GIVEN_UP)
@pytest.mark.fault(65)
def test_a_surge_is_given_up_without_a_write(seen, outcome):
    found = surge.step(seen)
    assert (found.move.step, found.move.outcome, found.action) == (Step.RETRACTED, outcome, None)
    assert found.move.note


def test_moves_that_were_paused_let_a_surge_finish_where_an_elder_is_sure_to_go():
    assert taken(surge.step(view(Step.RAISED, THREE, replicas=3, stopped=True))) == (Step.LOWERING, DOWN)


LEFT_WAITING = {
    "called off": view(Step.ANNOUNCED, (OLD[0], PENDING), stopped=True),
    "changed by others before it began": view(Step.ANNOUNCED, (OLD[0], PENDING), replicas=3),
    "moved": view(Step.LOWERING, (LANDED, changed(PENDING, uid="p", name="p"))),
}


@pytest.mark.parametrize("seen", LEFT_WAITING.values(), ids=LEFT_WAITING)
def test_no_surge_ends_while_a_pod_waits_for_its_demand(seen):
    found = surge.step(seen)
    assert found.move.step is Step.RETRACTED
    assert found.move.step not in HOLDS_SURGE
    assert found.move.replicas + 1 != seen.live.fact.replicas, "what somebody else asked for is taken for ours"


def test_the_eviction_that_is_written_down_is_of_the_pod_that_is_there():
    gone = view(Step.RAISED, without(THREE, "old-1"), replicas=3, by_cost=False, available=3)
    there = (*gone.live.pods, pod("other", "s"))
    found = surge.step(view(Step.RAISED, there, replicas=3, by_cost=False))
    assert (found.move.pod, found.move.pod_uid, found.move.node) == ("old-2", "old-2", "r2")
    assert found.action == Evict(pods=(("old-2", "old-2"),))


# --- the whole of it, against a controller that does as it should


class Drive:
    """A surge taken step by step in a small world, with other hands, answers that get lost, and a look now and then."""

    def __init__(self, replicas, to, room):
        other = Side.REGULAR if to is Side.SPOT else Side.SPOT
        self.cluster = TinyCluster(spot=1, regular=1)
        self.web = self.cluster.deploy("web", replicas, side=to, on=other)
        node = "spot-0" if to is Side.SPOT else "regular-0"
        if not room:
            self.cluster.nodes[node] = changed(self.cluster.nodes[node], unschedulable=True)
        self.to, self.wanted, self.stopped = to, to, False
        self.answer = None
        self.outcome = None
        self.replicas = replicas
        self.after_ours = []
        pods = self.web.active
        move = InFlight(
            1, self.web.key, self.web.uid, Move.SURGE, to, Step.ANNOUNCED, NOW, NOW, replicas=replicas, generation=1,
            pod=pods[0].name, pod_uid=pods[0].uid, before=tuple(p.uid for p in pods), wrong=tuple(p.uid for p in pods),
            transition=self.web.verdict.transitions,
        )  # fmt: skip
        self.cluster.write_book(moves=(move,))

    def look(self, *, lost="", by_cost=True):
        """One step. ``lost``: its write is answered by an error, and was or was not done."""
        (move,) = self.cluster.book.moves
        known = anchored(move, self.cluster.now)
        if self.answer:
            known = answered(known, *self.answer)
        live = self.cluster.live(move.workload, "app=web")
        classes = {
            n: CapacityType.SPOT if self.cluster.side_of(n) is Side.SPOT else CapacityType.REGULAR
            for n in self.cluster.nodes
        }
        about = Situation(wanted=self.wanted, stopped=self.stopped, by_cost=by_cost)
        found = surge.step(View(known, live, classes, about, MovePolicy(), self.cluster.now))
        self.answer, self.after_ours = None, []
        self.cluster.write_book(moves=(found.move,) if found.move else ())
        self.outcome = found.outcome
        if found.action and lost != "crash":
            self.write(found.action, lost)
        self.cluster.advance(3)

    def write(self, action, lost):
        if lost:
            self.cluster.answers = {n: [(Result(answer=Answer.FAILED), lost == "done")] for n in ("scale", "evict")}
        if isinstance(action, Scale):
            result = self.cluster.scale(self.web.key, action.replicas, resource_version=action.resource_version)
        else:
            results = [self.cluster.evict("shop", name, uid=uid) for name, uid in action.pods]
            result = next((one for one in results if one.answer is not Answer.DONE), results[0])
        self.cluster.answers = {}
        self.answer = (action, result)
        self.cluster.settle()
        self.after_ours.append(self.web.available)

    def kill(self):
        if self.web.active:
            self.cluster.lose(self.web, min(self.web.pods))

    def scale_up(self):
        self.replicas = self.web.replicas + 2
        self.web.write(replicas=self.replicas)

    def ask_for_one_more(self):
        """Unless just that stands: then nobody could tell."""
        if self.web.replicas != self.replicas + 1:
            self.replicas += 1
            self.web.write(replicas=self.replicas)

    def set_back(self):
        self.web.write(replicas=self.replicas)

    def pause_rollout(self):
        self.web.write(paused=True)

    def flip(self):
        self.wanted = None

    def stop(self):
        self.stopped = True

    def wait(self):
        self.cluster.advance(660)

    def set_clock_back(self):
        self.cluster.now -= timedelta(hours=2)

    def make_room(self):
        nodes = self.cluster.nodes
        self.cluster.nodes = {name: changed(fact, unschedulable=False) for name, fact in nodes.items()}


DEEDS = [
    Drive.kill, Drive.scale_up, Drive.ask_for_one_more, Drive.set_back, Drive.pause_rollout, Drive.flip, Drive.stop,
    Drive.wait, Drive.set_clock_back, Drive.make_room,
]  # fmt: skip
TURNS = st.tuples(st.sampled_from([None] * 9 + DEEDS), st.sampled_from([""] * 9 + ["lost", "done", "crash"]))


@settings(max_examples=150, deadline=None)
@given(
    replicas=st.integers(1, 4),
    to=st.sampled_from(Side),
    room=st.booleans(),
    least=st.integers(0, 4),
    by_cost=st.booleans(),
    turns=st.lists(TURNS, max_size=30),
)
def test_every_surge_ends_and_leaves_neither_a_replica_nor_a_pod_that_waits_for_it(
    *, replicas, to, room, least, by_cost, turns
):
    drive = Drive(replicas, to, room)
    drive.cluster.protect(drive.web, least)
    for deed, lost in [*turns, *[(None, "")] * 600]:
        if not drive.cluster.book.moves:
            break
        if deed:
            deed(drive)
            drive.cluster.settle()
        floor = min(drive.replicas, drive.web.available)
        drive.look(lost=lost, by_cost=by_cost)
        assert all(available >= floor for available in drive.after_ours), "fewer than N by our own hand"
    event(str(drive.outcome))
    assert not drive.cluster.book.moves, "it never ends"
    drive.cluster.advance(60)
    assert drive.web.replicas == drive.replicas
    assert not [pod for pod in drive.web.active if not pod.node_name and "/required/" in pod.decision]
    if drive.outcome is Outcome.MOVED:
        assert drive.cluster.sides(drive.web).get(to)
