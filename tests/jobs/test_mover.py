"""The mover against a small cluster: what is written before what, who may write, and what is left when it is killed.

It is long because each way in which the world around a move goes wrong has a test of its own.
"""

from contextlib import suppress
from datetime import timedelta

import msgspec
import pytest

from tests.builders import NOW
from tests.fakes import HOLDER, MOVING, CallCounter, Crash, TinyCluster, minutes, refuse, unavailable
from webhook.core.model import Memory, Side
from webhook.core.moves import MANAGER, Answer, Finished, Hold, Outcome, Pause, Step
from webhook.core.planning import plan
from webhook.core.policy import Limits, Mode, Move, MovePolicy, Policy
from webhook.errors import ClusterConflict, ClusterUnavailable
from webhook.jobs import mover
from webhook.jobs.mover import MoverDeps

ROOMY = Limits(per_run="100", per_cluster="100", per_namespace="100", per_workload="100", per_node="100")
_MANY = {"per_run": "9", "per_cluster": "9", "per_namespace": "9", "per_workload": "9", "per_node": "9"}
AMPLE = Policy(mode=Mode.MOVE, moves=MovePolicy(to_spot=Limits(**_MANY)))
EVICTING = Policy(mode=Mode.MOVE, allowed_moves=(Move.EVICT,), moves=MovePolicy(to_spot=ROOMY, canary=timedelta()))


def deps_of(cluster, *, holder=HOLDER, may_write=lambda: True):
    return MoverDeps(
        workloads=cluster, book=cluster.connect(), recorder=cluster, clock=cluster.clock, sleep=cluster.sleep, holder=holder,
        may_write=may_write,
    )  # fmt: skip


def run(cluster, *, dry_run=False, **fields):
    return mover.run(deps_of(cluster, **fields), cluster.world(), dry_run=dry_run)


def minute(cluster, **fields):
    """What the monitor does each minute, and then the rest of the minute."""
    cluster.keep_the_book()
    ends = cluster.now + minutes(1)
    try:
        return run(cluster, **fields)
    finally:
        cluster.advance(max(0.0, (ends - cluster.now).total_seconds()))


def writes(cluster):
    return [call[0] for call in cluster.calls if call[0] != "swap"]


def all_on(cluster, made, side):
    return cluster.sides(made) == {side: made.replicas}


def test_an_idle_workload_is_on_spot_after_one_run_and_nothing_is_left_of_the_move():
    cluster = TinyCluster()
    web = cluster.deploy()
    report = run(cluster)
    assert all_on(cluster, web, Side.SPOT)
    assert (web.replicas, cluster.book.moves, cluster.book.hold) == (1, (), None)
    assert [(one.outcome, one.landed_on) for one in report.finished] == [(Outcome.MOVED, "spot-0")]
    assert (report.considered, report.refused, report.problem, report.held_by) == ({"starts": 1}, (), "", "")
    assert [one.number for one in report.started] == [1]
    assert [one.reason for one in cluster.happenings] == ["MovedToSpot"]


def test_a_workload_that_wakes_is_home_after_one_run():
    cluster = TinyCluster()
    web = cluster.deploy(side=Side.REGULAR, on=Side.SPOT)
    run(cluster)
    assert all_on(cluster, web, Side.REGULAR)
    assert [one.reason for one in cluster.happenings] == ["MovedToRegular"]


def test_each_write_of_a_move_is_in_the_book_before_it_is_made():
    cluster = TinyCluster()
    cluster.deploy(replicas=2)
    run(cluster)
    steps = [(name, *(move.step for move in book.moves)) for name, *_, book in cluster.calls]
    assert steps == [
        ("swap", Step.ANNOUNCED),
        ("swap", Step.RAISING),
        ("scale", Step.RAISING),
        ("swap", Step.RAISED),
        ("swap", Step.LOWERING),
        ("scale", Step.LOWERING),
        ("swap",),
        ("swap",),
    ]


def test_each_write_that_is_made_again_follows_a_swap_too():
    cluster = TinyCluster()
    cluster.deploy()
    refuse(cluster, "scale", Answer.CONFLICT, times=2)
    run(cluster)
    names = [call[0] for call in cluster.calls]
    assert names.count("scale") == 4
    assert all(names[index - 1] == "swap" for index, name in enumerate(names) if name == "scale")


def test_the_scale_is_not_written_before_whoever_admits_pods_has_read_the_book():
    cluster = TinyCluster()
    cluster.deploy()
    at = []
    cluster.before_call = lambda name: at.append(cluster.now) if name == "scale" else None
    begun = cluster.now
    run(cluster)
    assert at[0] - begun >= cluster.policy.moves.settle


def test_where_nothing_begins_and_nothing_is_under_way_nothing_is_written():
    cluster = TinyCluster()
    cluster.deploy(on=Side.SPOT)
    assert run(cluster).considered == {"settled": 1}
    assert cluster.calls == []


def test_a_run_ends_within_its_seconds_and_the_next_goes_on():
    cluster = TinyCluster(start_seconds=90.0)
    web = cluster.deploy()
    begun = cluster.now
    report = run(cluster)
    assert cluster.now - begun <= timedelta(seconds=20)
    assert [move.step for move in report.in_flight] == [Step.RAISED]
    assert cluster.book.hold is None
    for _ in range(2):
        cluster.advance(40)
        report = run(cluster)
    assert [one.outcome for one in report.finished] == [Outcome.MOVED]
    assert all_on(cluster, web, Side.SPOT)


def test_time_is_over_also_while_many_are_being_looked_at():
    cluster = TinyCluster(regular=3, spot=3, policy=Policy(mode=Mode.MOVE, moves=MovePolicy(to_spot=ROOMY)))
    for number in range(9):
        cluster.deploy(f"w{number}")
    begun = cluster.now

    def slow(name):
        if name == "live":
            cluster.now += timedelta(seconds=4)

    cluster.before_call = slow
    run(cluster)
    assert cluster.now - begun <= timedelta(seconds=25)


# --- dry run


def test_a_dry_run_considers_the_same_and_writes_nothing():
    cluster = TinyCluster()
    for name in ("web", "api"):
        cluster.deploy(name, 2)
    cluster.deploy("busy", side=Side.REGULAR, on=Side.SPOT)
    dry = run(cluster, dry_run=True)
    assert cluster.calls == []
    assert cluster.happenings == []
    real = run(cluster)
    assert (dry.considered, dry.frozen) == (real.considered, real.frozen)
    assert [msgspec.structs.replace(one, began_at=cluster.now, step_at=cluster.now) for one in dry.started] == [
        msgspec.structs.replace(one, began_at=cluster.now, step_at=cluster.now) for one in real.started
    ]


def test_a_dry_run_on_a_book_that_was_never_written_considers_what_the_first_real_run_would():
    cluster = TinyCluster()
    cluster.deploy()
    cluster.write_book(heartbeat=None)
    assert run(cluster, dry_run=True).considered == {"starts": 1}


def test_a_dry_run_tells_what_the_api_server_would_refuse():
    cluster = TinyCluster(policy=EVICTING)
    web = cluster.deploy(replicas=4)
    # Its status is of a moment ago; the API server knows better.
    cluster.protect(web, 4)
    stale, cluster._status = (
        cluster._status,
        lambda budget: msgspec.structs.replace(
            TinyCluster._status(cluster, budget), disruptions_allowed=1, desired_healthy=3
        ),
    )
    world = cluster.world()
    cluster._status = stale
    report = mover.run(deps_of(cluster), world, dry_run=True)
    assert report.refused == (
        "shop/Deployment/web: evict would be refused: Cannot evict pod as it would violate the budget",
    )


def test_a_dry_run_beside_a_run_that_moves_considers_all_the_same():
    cluster = TinyCluster()
    cluster.deploy()
    cluster.write_book(hold=Hold("monitor-2", cluster.now + timedelta(seconds=20)))
    assert run(cluster, dry_run=True).considered == {"starts": 1}


def test_a_workload_that_cannot_be_read_breaks_no_dry_run():
    cluster = TinyCluster()
    cluster.deploy()
    cluster.before_call = CallCounter(1, ClusterUnavailable, names={"live"})
    assert "could not be read" in run(cluster, dry_run=True).refused[0]


# --- two movers, persons, and leaders that are none any more


@pytest.mark.fault(50)
def test_while_another_run_moves_nothing_is_done():
    cluster = TinyCluster()
    cluster.deploy()
    cluster.write_book(hold=Hold("monitor-2", cluster.now + timedelta(seconds=20)))
    report = run(cluster)
    assert (report.held_by, cluster.calls) == ("monitor-2", [])


@pytest.mark.fault(50)
def test_a_hold_that_ran_out_or_is_of_another_time_holds_nobody():
    for until in (-timedelta(seconds=1), timedelta(hours=5)):
        cluster = TinyCluster()
        cluster.deploy()
        cluster.write_book(hold=Hold("monitor-2", cluster.now + until))
        assert [one.outcome for one in run(cluster).finished] == [Outcome.MOVED]


@pytest.mark.fault(50)
@pytest.mark.parametrize("at", range(1, 9))
def test_two_runs_at_once_move_no_pod_twice_and_spend_one_budget(at):
    cluster = TinyCluster(start_seconds=6.0)
    web = cluster.deploy(replicas=2)
    others, calls = [], []

    def second(name):
        calls.append(name)
        if len(calls) == at:
            others.append(run(cluster, holder="monitor-2"))

    cluster.before_call = second
    first = run(cluster)
    cluster.before_call = lambda name: None
    for _ in range(3):
        cluster.advance(40)
        run(cluster)
    assert len(cluster.book.disruptions) == 1
    assert cluster.book.numbered == 1
    assert (web.replicas, cluster.book.moves) == (2, ())
    assert cluster.sides(web) == {Side.SPOT: 1, Side.REGULAR: 1}
    assert first.started == () or not [one for one in others if one.started]


def test_what_somebody_else_writes_meanwhile_is_taken_over_and_the_run_goes_on():
    cluster = TinyCluster()
    cluster.deploy()
    touched = []

    def touch(_):
        if not touched:
            touched.append(True)
            cluster.write_book(heartbeat=cluster.now)

    cluster.on_sleep = touch
    report = run(cluster)
    assert [one.outcome for one in report.finished] == [Outcome.MOVED]
    assert report.problem == ""


def test_a_pause_that_comes_while_the_plan_is_written_is_heard():
    cluster = TinyCluster()
    cluster.deploy()

    def pause(name):
        if name == "swap" and cluster.book.paused is None:
            cluster.write_book(paused=Pause(at=cluster.now))

    cluster.before_call = pause
    report = run(cluster)
    assert (report.started, report.considered, cluster.book.moves) == ((), {"paused": 1}, ())


def test_a_pause_in_the_middle_of_a_surge_undoes_it():
    cluster = TinyCluster(start_seconds=90.0)
    web = cluster.deploy()
    run(cluster)
    assert web.replicas == 2
    cluster.write_book(paused=Pause(at=cluster.now))
    outcomes = [one.outcome for _ in range(3) for one in minute(cluster).finished]
    assert outcomes == [Outcome.STOPPED]
    assert (web.replicas, cluster.sides(web)) == (1, {Side.REGULAR: 1})


def test_who_writes_the_book_all_the_time_is_told_and_not_fought():
    cluster = TinyCluster()
    cluster.deploy()
    cluster.before_call = lambda name: cluster.write_book() if name == "swap" else None
    with pytest.raises(ClusterConflict):
        run(cluster)
    assert cluster.calls == []


@pytest.mark.fault(49)
@pytest.mark.parametrize("last", range(12))
def test_whoever_lost_the_lead_makes_no_further_write(last):
    cluster = TinyCluster()
    web = cluster.deploy()
    lead = []
    cluster.after_call = lead.append

    def may_write():
        return len(lead) < last

    run(cluster, may_write=may_write)
    assert len(cluster.calls) <= last
    # Another leader finds all that may have been done.
    for _ in range(3):
        minute(cluster, holder="monitor-2")
    assert (web.replicas, cluster.book.moves) == (1, ())
    assert all_on(cluster, web, Side.SPOT)


@pytest.mark.fault(49)
def test_the_lead_is_asked_for_before_every_write():
    cluster = TinyCluster()
    cluster.deploy()
    asked = []
    cluster.before_call = asked.append
    run(cluster, may_write=lambda: asked.append("may?") or True)
    told = [name for name in asked if name in ("may?", "swap", "scale", "evict")]
    assert all(told[index - 1] == "may?" for index, name in enumerate(told) if name != "may?")


def test_a_run_that_was_held_up_until_another_took_over_stops():
    cluster = TinyCluster(start_seconds=90.0)
    cluster.deploy()

    def oversleep(_):
        cluster.on_sleep = lambda name: None
        cluster.write_book(hold=Hold("monitor-2", cluster.now + timedelta(seconds=20)))

    cluster.on_sleep = oversleep
    run(cluster)
    assert writes(cluster) == []
    assert cluster.book.hold.holder == "monitor-2"


# --- crashes


CALLS = range(1, 40)


@pytest.mark.fault(51)
@pytest.mark.parametrize("when", ["before_call", "after_call"])
@pytest.mark.parametrize("policy", [MOVING, EVICTING], ids=["surge", "evict"])
def test_killed_at_any_call_the_next_runs_end_where_an_undisturbed_one_does(when, policy):
    ends = set()
    for at in CALLS:
        cluster = TinyCluster(policy=policy, start_seconds=6.0)
        web = cluster.deploy(replicas=4)
        setattr(cluster, when, CallCounter(at))
        with suppress(Crash):
            minute(cluster)
        setattr(cluster, when, lambda name: None)
        for _ in range(3):
            minute(cluster, holder="monitor-2")
        spot = cluster.sides(web)[Side.SPOT]
        ends.add((web.replicas, len(web.active), cluster.book.moves))
        assert spot == sum(one.outcome is Outcome.MOVED for one in cluster.book.finished) >= 1
        assert len(cluster.book.disruptions) >= spot, "a pod was taken that no budget knows of"
        assert len(cluster.book.finished) == cluster.book.numbered
    assert ends == {(4, 4, ())}


@pytest.mark.fault(51)
def test_an_event_is_told_once_for_each_outcome_however_often_it_is_killed():
    cluster = TinyCluster(start_seconds=6.0)
    cluster.deploy()
    for at in range(1, 14):
        cluster.after_call = CallCounter(at)
        with suppress(Crash):
            minute(cluster)
    told = [one.reason for one in cluster.happenings]
    assert told.count("MovedToSpot") <= 1
    assert len(cluster.book.finished) == 1


# --- an API server in trouble


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("name", ["scale", "evict"])
def test_a_write_of_which_nobody_knows_whether_it_was_taken_is_looked_for(name, done):
    cluster = TinyCluster(policy=MOVING if name == "scale" else EVICTING)
    web = cluster.deploy(replicas=4)
    refuse(cluster, name, Answer.FAILED, times=2, done=done)
    for _ in range(2):
        minute(cluster)
    assert web.replicas == 4
    assert cluster.sides(web)[Side.SPOT] >= 1
    assert {one.outcome for one in cluster.book.finished} == {Outcome.MOVED}


def test_a_workload_that_cannot_be_read_holds_up_nobody_else():
    cluster = TinyCluster(policy=Policy(mode=Mode.MOVE, moves=MovePolicy(to_spot=ROOMY)))
    sick, well = cluster.deploy("sick"), cluster.deploy("well")
    read = cluster.live

    def live(key, selector):
        if key == sick.key:
            raise unavailable()
        return read(key, selector)

    cluster.live = live
    report = run(cluster)
    assert [one.workload for one in report.finished] == [well.key]
    assert "sick" in report.problem
    assert [move.workload for move in cluster.book.moves] == [sick.key]


def test_a_book_that_cannot_be_written_any_more_ends_the_run_with_what_was_begun_in_it():
    cluster = TinyCluster()
    web = cluster.deploy()
    swaps = CallCounter(3, ClusterUnavailable, names={"swap"})
    cluster.before_call = swaps
    report = run(cluster)
    assert "no answer" in report.problem
    assert [move.step for move in cluster.book.moves] == [Step.RAISING]
    cluster.before_call = lambda name: None
    for _ in range(2):
        minute(cluster)
    assert all_on(cluster, web, Side.SPOT)


@pytest.mark.fault(52)
def test_an_eviction_that_is_always_refused_is_tried_less_and_less_and_others_progress():
    cluster = TinyCluster(policy=EVICTING)
    web, other = cluster.deploy(replicas=4), cluster.deploy("other", replicas=4)
    real = cluster.evict

    def evict(namespace, name, *, uid, dry_run=False):
        if name.startswith("web"):
            refuse(cluster, "evict", Answer.BLOCKED)
        return real(namespace, name, uid=uid, dry_run=dry_run)

    cluster.evict = evict
    for _ in range(120):
        minute(cluster)
    tries = [call for call in cluster.calls if call[0] == "evict" and call[1] == web.key]
    assert len(tries) == 3, "ten and twenty minutes apart, and then not for a day"
    assert all_on(cluster, other, Side.SPOT)
    assert [one.reason for one in cluster.happenings if one.workload == web.key] == [*["MoveEnded"] * 3, "MovesStopped"]
    assert cluster.sides(web) == {Side.REGULAR: 4}


@pytest.mark.fault(53)
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer.TWO_BUDGETS, Outcome.BLOCKED),
        (Answer.FORBIDDEN, Outcome.REFUSED),
    ],
)
def test_a_refusal_ends_a_move_as_what_it_is(answer, outcome):
    cluster = TinyCluster(policy=EVICTING)
    web = cluster.deploy(replicas=4)
    refuse(cluster, "evict", answer, times=9)
    report = minute(cluster)
    assert [one.outcome for one in report.finished] == [outcome]
    assert len(report.refused) == 1
    assert cluster.sides(web) == {Side.REGULAR: 4}
    assert len(cluster.book.disruptions) == 1, "what failed counts too"


@pytest.mark.fault(53)
@pytest.mark.parametrize("answer", [Answer.GONE, Answer.CONFLICT, Answer.FAILED])
def test_no_answer_but_a_pod_that_is_gone_counts_as_an_eviction(answer):
    cluster = TinyCluster(policy=EVICTING)
    web = cluster.deploy(replicas=4)
    refuse(cluster, "evict", answer, times=99)
    minute(cluster)
    assert [move.step for move in cluster.book.moves] == [Step.EVICTING]
    assert cluster.book.finished == ()
    assert cluster.sides(web) == {Side.REGULAR: 4}


@pytest.mark.fault(53)
def test_a_pod_that_stays_terminating_is_no_success_and_its_disruption_stays_spent():
    cluster = TinyCluster(policy=EVICTING, spot=1)
    web = cluster.deploy(replicas=4)
    cluster.lose = lambda made, uid: made.pods.update({uid: msgspec.structs.replace(made.pods[uid], deleting=True)})
    cluster._admit = lambda made: cluster._pod(made, demand=Side.SPOT, decision="", cost=0)
    report = minute(cluster)
    for name in [name for name in cluster.nodes if cluster.side_of(name) is Side.SPOT]:
        cluster.nodes[name] = msgspec.structs.replace(cluster.nodes[name], unschedulable=True)
    assert [one.outcome for one in report.finished] == [Outcome.MOVED], "the replacement is Ready, whatever lingers"
    assert minute(cluster).started == (), "four are wanted, and a Terminating one is not there"
    assert web.replicas == 4


@pytest.mark.fault(54)
def test_a_budget_of_all_pods_is_never_passed_by():
    cluster = TinyCluster()
    web = cluster.deploy(replicas=2)
    cluster.protect(web, 2)
    for _ in range(30):
        minute(cluster)
    assert "evict" not in writes(cluster)
    assert (web.available, web.replicas) == (2, 2)


@pytest.mark.fault(54)
def test_where_an_eviction_in_a_surge_is_refused_an_elder_goes_and_nobody_is_deleted():
    cluster = TinyCluster(policy=AMPLE)
    web = cluster.deploy(replicas=2, spread=True)
    cluster.protect(web, 2)
    trust_no_costs(cluster)
    cluster.before_call = lambda name: refuse(cluster, "evict", Answer.BLOCKED) if name == "evict" else None
    for _ in range(30):
        minute(cluster)
    assert writes(cluster)[:3] == ["scale", "evict", "scale"]
    assert (web.available, web.replicas, cluster.book.moves) == (2, 2, ())
    assert all_on(cluster, web, Side.SPOT), "the costs were read after all"


def test_where_costs_are_not_read_the_pod_that_is_to_go_is_evicted_and_both_that_go_are_charged():
    cluster = TinyCluster(policy=AMPLE)
    web = cluster.deploy(replicas=2, spread=True)
    trust_no_costs(cluster)
    minute(cluster)
    minute(cluster)
    assert writes(cluster) == ["scale", "evict", "scale"]
    assert (web.replicas, web.available, cluster.book.moves) == (2, 2, ())
    assert all_on(cluster, web, Side.SPOT)
    assert len(cluster.book.disruptions) == 2


def test_a_surge_that_must_evict_waits_for_the_budget_with_one_replica_more():
    """That is nobody's loss; a budget that is passed by is."""
    cluster = TinyCluster()
    web = cluster.deploy(replicas=2, spread=True)
    trust_no_costs(cluster)
    for _ in range(9):
        minute(cluster)
        assert len(cluster.book.disruptions) == 1
        assert [move.step for move in cluster.book.moves] == [Step.RAISED]
        assert (web.replicas, web.available) == (3, 3)
    while cluster.book.moves and cluster.now < NOW + minutes(15):
        minute(cluster)
    assert writes(cluster)[:3] == ["scale", "evict", "scale"]
    assert (web.replicas, web.available) == (2, 2)


@pytest.mark.parametrize("tight", [{"per_workload": "1"}, {"per_node": "1"}], ids=["workload", "node"])
def test_the_budgets_of_its_own_workload_and_node_hold_for_the_second_pod_of_a_surge_too(tight):
    policy = msgspec.structs.replace(AMPLE, moves=MovePolicy(to_spot=Limits(**(_MANY | tight))))
    cluster = TinyCluster(policy=policy)
    web = cluster.deploy(replicas=2, spread=True)
    trust_no_costs(cluster)
    began = cluster.now
    for _ in range(9):
        minute(cluster)
        assert len(cluster.book.disruptions) == 1
        assert (web.replicas, web.available) == (3, 3)
    while cluster.book.moves and cluster.now < began + minutes(15):
        minute(cluster)
    assert writes(cluster)[:3] == ["scale", "evict", "scale"]
    assert (web.replicas, web.available) == (2, 2)


def test_a_window_longer_than_the_patience_is_waited_for():
    """Else no surge that must evict could ever come to anything under it."""
    limits = Limits(window=minutes(20), **(_MANY | {"per_workload": "1"}))
    cluster = TinyCluster(policy=msgspec.structs.replace(AMPLE, moves=MovePolicy(to_spot=limits)))
    web = cluster.deploy(replicas=2, spread=True)
    trust_no_costs(cluster)
    began = cluster.now
    while "evict" not in writes(cluster) and cluster.now < began + minutes(25):
        minute(cluster)
        assert web.available >= 2
    assert cluster.now >= began + minutes(20)
    assert "evict" in writes(cluster)


def trust_no_costs(cluster):
    """As where PodDeletionCost is off: a wrong victim of each workload was seen, and what that taught is over."""
    for made in cluster.deployed.values():
        made.verdict = msgspec.structs.replace(made.verdict, memory=Memory(learnt=1))
    seen = tuple(
        Finished(1, made.key, made.uid, Move.SURGE, Side.SPOT, cluster.now, cluster.now, Outcome.WRONG_VICTIM)
        for made in cluster.deployed.values()
    )
    cluster.write_book(finished=seen, numbered=1)


# --- the workload's own life


def mid_surge(**fields):
    cluster = TinyCluster(start_seconds=90.0)
    web = cluster.deploy(**fields)
    run(cluster)
    assert [move.step for move in cluster.book.moves] == [Step.RAISED]
    return cluster, web


@pytest.mark.fault(65)
def test_a_workload_that_wakes_in_the_middle_stays_where_it_is():
    cluster, web = mid_surge()
    cluster.judge(web, Side.REGULAR)
    outcomes = [one.outcome for _ in range(3) for one in minute(cluster).finished]
    assert outcomes == [Outcome.FLIPPED]
    assert (web.replicas, cluster.sides(web)) == (1, {Side.REGULAR: 1})


@pytest.mark.fault(65)
@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"replicas": 0}, Outcome.CHANGED),
        ({"replicas": 5}, Outcome.CHANGED),
        ({"replicas": 1}, Outcome.REVERTED),
        ({"paused": True}, Outcome.CHANGED),
    ],
)
def test_somebody_elses_hand_in_the_middle_has_the_last_word(changes, outcome):
    cluster, web = mid_surge()
    web.write(**changes)
    outcomes = [one.outcome for _ in range(4) for one in minute(cluster).finished]
    assert outcomes[:1] == [outcome]
    assert web.replicas == changes.get("replicas", 1)
    assert not [pod for pod in web.active if "/required/" in pod.decision and not pod.node_name]


@pytest.mark.fault(65)
@pytest.mark.fault(65)
@pytest.mark.parametrize("answer", [Answer.CONFLICT, Answer.FORBIDDEN, Answer.FAILED])
def test_somebody_elses_one_more_is_not_taken_for_the_one_that_was_refused(answer):
    cluster = TinyCluster()
    web = cluster.deploy(replicas=2)
    refuse(cluster, "scale", answer)
    cluster.after_call = lambda name: web.write(replicas=3) if name == "scale" else None
    report = run(cluster)
    assert [one.outcome for one in report.finished] == [Outcome.CHANGED]
    assert (web.replicas, writes(cluster)) == (3, ["scale"])


@pytest.mark.fault(65)
@pytest.mark.parametrize("after", [Step.RAISED, Step.LOWERING])
def test_one_more_that_somebody_set_after_taking_ours_back_stays(after):
    cluster = TinyCluster()
    web = cluster.deploy(replicas=2)

    def take_over(name):
        if web.written_by == MANAGER and any(move.step is after for move in cluster.book.moves):
            web.write(replicas=2)
            web.write(replicas=3)

    cluster.before_call = take_over
    report = run(cluster)
    assert [one.outcome for one in report.finished] == [Outcome.CHANGED]
    assert web.replicas == 3


@pytest.mark.fault(66)
def test_ours_is_taken_back_though_its_template_was_changed_meanwhile():
    cluster = TinyCluster()
    web = cluster.deploy(replicas=2)
    cluster.before_call = lambda name: web.write(paused=True) if web.replicas == 3 else None
    report = run(cluster)
    assert [one.outcome for one in report.finished] == [Outcome.CHANGED]
    assert web.replicas == 2


def test_a_workload_that_is_deleted_in_the_middle_is_gone():
    cluster, web = mid_surge()
    del cluster.deployed[web.key]
    assert [one.outcome for one in minute(cluster).finished] == [Outcome.GONE]
    assert cluster.book.moves == ()


@pytest.mark.fault(66)
def test_whoever_sets_the_replicas_back_is_tried_once_more_and_then_left_alone_for_a_day():
    cluster = TinyCluster()
    web = cluster.deploy()

    def gitops(name):
        if web.replicas == 2 and cluster.book.surging:
            web.write(replicas=1)

    cluster.on_sleep = gitops
    for _ in range(180):
        minute(cluster)
    raised = [call for call in cluster.calls if call[0] == "scale" and call[2] == 2]
    assert len(raised) == 2
    assert {one.outcome for one in cluster.book.finished} == {Outcome.REVERTED}
    assert [one.reason for one in cluster.happenings].count("MovesStopped") == 1
    assert cluster.sides(web) == {Side.REGULAR: 1}


@pytest.mark.fault(55)
def test_a_destination_that_vanishes_in_the_middle_costs_its_budget_and_is_not_tried_at_once():
    cluster, web = mid_surge()
    cluster.lose_nodes(Side.SPOT)
    reports = [minute(cluster) for _ in range(16)]
    assert [one.outcome for report in reports for one in report.finished] == [Outcome.NO_CAPACITY]
    assert (web.replicas, cluster.sides(web)) == (1, {Side.REGULAR: 1})
    assert plan(cluster.world()).starts == ()


def test_a_budget_lets_no_more_begin_whatever_came_of_the_moves():
    limits = Limits(per_run="2", per_cluster="2", per_namespace="9", per_workload="9", per_node="9")
    cluster = TinyCluster(policy=Policy(mode=Mode.MOVE, moves=MovePolicy(to_spot=limits)), regular=3, spot=3)
    for number in range(8):
        cluster.deploy(f"w{number}")
    stamps = []
    for _ in range(25):
        stamps += [one.began_at for one in minute(cluster).started]
    assert len(stamps) == 6
    window = limits.window
    assert all(sum(at <= other < at + window for other in stamps) <= 2 for at in stamps)


def test_a_run_that_has_no_time_left_begins_nothing_and_says_so():
    """What is announced holds new pods to a demand: not without the time to go on with it."""
    shop = TinyCluster()
    shop.deploy("web")
    report = mover.run(deps_of(shop), shop.world(), ends_by=shop.now - timedelta(seconds=1))
    assert report.problem == "judging took so long that no time was left for moves"
    assert report.started == ()
    assert shop.book.moves == ()


def test_a_run_ends_when_the_next_may_begin():
    shop = TinyCluster(start_seconds=60.0)
    shop.deploy("web")
    ends_by = shop.now + timedelta(seconds=7)
    mover.run(deps_of(shop), shop.world(), ends_by=ends_by)
    assert shop.now <= ends_by + timedelta(seconds=1)
    assert len(shop.book.moves) == 1


def slow_book(cluster, *, swaps):
    """The first writes of the book take four seconds each; whoever admits pods can follow only after it."""
    written = []

    def wait(name):
        if name == "swap" and sum(one == "swap" for one, *_ in written) < swaps:
            cluster.advance(4)

    cluster.before_call = wait
    cluster.after_call = lambda name: written.append((name, cluster.now, [move.step for move in cluster.book.moves]))
    return written


def test_a_replica_is_asked_for_only_after_the_announcement_was_written_for_as_long_as_it_takes_to_follow():
    cluster = TinyCluster()
    cluster.deploy()
    written = slow_book(cluster, swaps=1)
    run(cluster)
    announced = next(at for name, at, steps in written if name == "swap" and steps == [Step.ANNOUNCED])
    raising = next(at for name, at, steps in written if name == "swap" and steps == [Step.RAISING])
    assert raising - announced >= cluster.policy.moves.settle


def test_a_replica_is_taken_back_only_after_the_demand_was_for_as_long_as_it_takes_to_follow():
    cluster = TinyCluster(start_seconds=600.0)
    web = cluster.deploy()
    run(cluster)
    cluster.judge(web, Side.REGULAR)
    written = slow_book(cluster, swaps=2)
    run(cluster)
    retracted = next(at for name, at, steps in written if name == "swap" and steps == [Step.RETRACTED])
    undoing = next(at for name, at, steps in written if name == "swap" and steps == [Step.UNDOING])
    assert undoing - retracted >= cluster.policy.moves.settle


def late_pod(cluster, web, side):
    """Lost and replaced by one that is admitted with the demand of a move that the server believes under way; no room."""
    for name, fact in cluster.nodes.items():
        if cluster.side_of(name) is side:
            cluster.nodes[name] = msgspec.structs.replace(fact, unschedulable=True)
    cluster.lose(web, next(iter(web.pods)))
    made = cluster._pod(web, demand=side, decision=f"v1/{side}/required/1", cost=1)
    cluster.advance(61)
    return made


@pytest.mark.parametrize("side", Side)
def test_a_pod_that_got_the_demand_of_a_move_that_was_over_is_freed(side):
    cluster = TinyCluster()
    web = cluster.deploy(replicas=2, on=side, side=side)
    late = late_pod(cluster, web, side)
    assert web.pods[late.uid].node_name == ""
    minute(cluster)
    minute(cluster)
    assert late.uid not in web.pods
    assert all(pod.node_name for pod in web.active)
    assert (web.replicas, cluster.book.moves, cluster.book.disruptions) == (2, (), ())
    assert [one.outcome for one in cluster.book.finished] == [Outcome.STOPPED]
    assert writes(cluster) == ["evict"]


def test_but_not_while_moves_are_paused_nor_where_its_owner_demands_spot():
    cluster = TinyCluster()
    web = cluster.deploy(replicas=2, on=Side.SPOT, annotations={"spot-balancer.io/placement": "required"})
    late_pod(cluster, web, Side.SPOT)
    minute(cluster)
    web.annotations = {}
    cluster.write_book(paused=Pause(at=cluster.now))
    minute(cluster)
    assert writes(cluster) == []


def test_a_dry_run_asks_whether_it_could_be_freed():
    cluster = TinyCluster()
    web = cluster.deploy(replicas=2, on=Side.SPOT)
    late_pod(cluster, web, Side.SPOT)
    report = run(cluster, dry_run=True)
    assert ([move.step for move in report.started], report.refused) == ([Step.CLEARING], ())
    assert writes(cluster) == []


def test_after_the_control_object_was_lost_moves_are_still_learnt_from():
    cluster = TinyCluster()
    web = cluster.deploy(side=Side.SPOT)
    web.verdict = msgspec.structs.replace(web.verdict, memory=Memory(learnt=57))
    run(cluster)
    assert [one.number for one in cluster.book.finished] == [58]
    assert cluster.book.numbered == 58
    assert cluster.world().memory(web.key).canary_at is not None
