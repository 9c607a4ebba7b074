"""Who moves next and why everybody else stays: each code, order, budgets, and what a plan never does.

It is long because each code that anybody may be told has a test of its own.
"""

import ast
import inspect
import random
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import KARPENTER_SPOT, NOW, make_move
from tests.fakes import MOVING, TinyCluster, make_node_fact, minutes
from webhook.core import belonging, learning, planning, scene
from webhook.core.budget import Limit
from webhook.core.census import Census
from webhook.core.fitting import Obstacle
from webhook.core.learning import LONGEST
from webhook.core.model import Evidence, Memory, Side
from webhook.core.moves import Disruption, Finished, Outcome, Pause, Peak, SpotHealth, Step
from webhook.core.plancodes import BUDGETS, MEANING, OWN
from webhook.core.planning import Scene, World, plan
from webhook.core.policy import Limits, Match, Mode, Move, MovePolicy, Policy, Rule, SpotPool, SpotWish
from webhook.core.refusals import Refusal
from webhook.core.sanity import Alarm, Sanity
from webhook.core.standing import stand

HOUR = timedelta(hours=1)
ROOMY = Limits(per_run="100", per_cluster="100", per_namespace="100", per_workload="100", per_node="100")


def policy_of(**fields):
    moves = {name: fields.pop(name) for name in list(fields) if name in MovePolicy.__struct_fields__}
    return Policy(**({"mode": Mode.MOVE, "moves": MovePolicy(**moves)} | fields))


def town(policy=MOVING, **fields):
    return TinyCluster(policy=policy, **fields)


def told(cluster, name="web", at=None):
    """The consideration of that workload."""
    world = cluster.world()
    return found(plan(world.at(world.control, at or cluster.now)), name)


def found(made, name="web"):
    assert {one.code for one in made.considered} <= set(MEANING), "the glossary lacks one"
    return next(one for one in made.considered if one.workload.name == name)


def remember(made, **fields):
    made.verdict = msgspec.structs.replace(made.verdict, memory=Memory(**fields))


# --- each code


def test_an_idle_workload_starts_a_surge_with_a_proven_place():
    cluster = town()
    web = cluster.deploy()
    made = plan(cluster.world())
    (move,) = made.starts
    (pod,) = web.active
    assert (move.way, move.to, move.step, move.number) == (Move.SURGE, Side.SPOT, Step.ANNOUNCED, 1)
    assert (move.pod, move.pod_uid, move.node, move.destination) == (pod.name, pod.uid, "regular-0", "spot-0")
    assert (move.replicas, move.generation, move.before, move.wrong, move.transition) == (
        1,
        1,
        (pod.uid,),
        (pod.uid,),
        1,
    )
    assert made.disruptions == (Disruption(NOW, Side.SPOT, "shop/Deployment/web", "regular-0"),)
    one = found(made)
    assert (one.code, one.side, one.misplaced, one.way, one.destination) == (
        "starts",
        Side.SPOT,
        1,
        Move.SURGE,
        "spot-0",
    )


def test_a_workload_that_woke_starts_its_way_back():
    cluster = town()
    cluster.deploy(side=Side.REGULAR, on=Side.SPOT)
    (move,) = plan(cluster.world()).starts
    assert (move.to, move.destination, move.transition) == (Side.REGULAR, "regular-0", 2)


def test_a_declared_pool_is_a_destination_that_can_grow():
    cluster = town(policy_of(spot_pools=(SpotPool("burst", KARPENTER_SPOT),)), spot=0)
    cluster.deploy()
    one = told(cluster)
    assert (one.code, one.destination) == ("starts", "")
    assert "pool burst" in one.reason


def test_below_mode_move_nothing_moves():
    cluster = town(Policy(mode=Mode.INJECT))
    cluster.deploy()
    assert told(cluster).code == "mode"


def test_a_workload_under_way_is_not_begun_again():
    cluster = town()
    web = cluster.deploy()
    cluster.write_book(moves=(make_move(web.key),))
    assert told(cluster).code == "in-flight"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"good_at": NOW - 2 * HOUR, "judged_at": NOW - 2 * HOUR}, "expired-evidence"),
        ({"good_at": NOW - minutes(5)}, "unknown"),
        ({"evidence": Evidence.UNKNOWN}, "not-idle"),
        ({"side": Side.REGULAR, "transitions": 0}, "never-moved"),
        (None, "no-verdict"),
    ],
)
def test_nothing_moves_on_doubtful_data(changes, code):
    cluster = town()
    web = cluster.deploy()
    web.verdict = changes and msgspec.structs.replace(web.verdict, **changes)
    assert told(cluster).code == code


def test_who_is_on_its_side_is_settled():
    cluster = town()
    cluster.deploy(on=Side.SPOT)
    assert told(cluster).code == "settled"


def test_who_has_no_pods_is_not_considered():
    cluster = town()
    cluster.deploy(replicas=0)
    assert plan(cluster.world()).considered == ()


@pytest.mark.parametrize("side", Side)
def test_moves_are_paused_in_both_directions_by_a_person_and_by_the_configuration(side):
    for policy, paused in ((MOVING, Pause(at=NOW, by="ada", reason="sale")), (policy_of(pause=("moves",)), None)):
        cluster = town(policy)
        cluster.deploy(side=side, on=Side.REGULAR if side is Side.SPOT else Side.SPOT)
        cluster.write_book(paused=paused)
        assert told(cluster).code == "paused"


def test_a_pause_tells_whose_it_is_and_why():
    cluster = town()
    cluster.deploy()
    cluster.write_book(paused=Pause(at=NOW, by="ada", reason="sale"))
    assert "by ada" in told(cluster).reason
    assert "(sale)" in told(cluster).reason


@pytest.mark.parametrize("heartbeat", [None, NOW - minutes(11), NOW + minutes(11)])
def test_nothing_begins_on_a_book_that_nobody_keeps(heartbeat):
    cluster = town()
    cluster.deploy()
    cluster.write_book(heartbeat=heartbeat)
    assert told(cluster).code == "old-book"


def test_an_alarm_freezes_moves_to_spot_and_returns_go_on():
    cluster = town()
    cluster.deploy()
    cluster.deploy("home", side=Side.REGULAR, on=Side.SPOT)
    cluster.write_book(sanity=Sanity(alarm=Alarm.IDLE_JUMP, reason="40 of 50 workloads are idle"))
    made = plan(cluster.world())
    assert (found(made).code, found(made, "home").code) == ("frozen", "starts")
    assert made.freezes == ("idle-jump: 40 of 50 workloads are idle",)


@pytest.mark.fault(57)
def test_a_mass_interruption_freezes_moves_to_spot_and_returns_go_on():
    cluster = town(spot=1)
    cluster.deploy()
    cluster.deploy("home", side=Side.REGULAR, on=Side.SPOT)
    cluster.write_book(
        spot=SpotHealth(ready=9, total=9, looked_at=NOW - minutes(1), peaks=(Peak(NOW - minutes(1), 9),))
    )
    made = plan(cluster.world())
    assert (found(made).code, found(made, "home").code) == ("frozen", "starts")
    assert made.freezes == ("spot-bad-day: Ready spot nodes fell from 9 to 1",)


def test_after_a_bad_day_workloads_follow_one_after_the_other():
    cluster = town()
    for number in range(20):
        cluster.deploy(f"w{number}", on=Side.REGULAR) if number < 10 else cluster.deploy(f"w{number}", on=Side.SPOT)
    unwell = NOW - minutes(15)
    cluster.write_book(spot=SpotHealth(looked_at=NOW - minutes(1), unwell_at=unwell, unwell_why="no spot node"))
    waiting = [one for one in plan(cluster.world()).considered if one.code == "frozen"]
    assert 0 < len(waiting) < 10
    assert all(NOW < one.until <= unwell + minutes(20) for one in waiting)


@pytest.mark.fault(56)
def test_without_a_spot_node_nothing_moves_there():
    cluster = town(spot=0)
    cluster.deploy()
    made = plan(cluster.world())
    assert (found(made).code, made.starts) == ("frozen", ())


@pytest.mark.fault(56)
def test_a_label_with_a_typo_is_no_spot_node():
    cluster = town(spot=0)
    cluster.nodes["typo"] = msgspec.structs.replace(
        make_node_fact("typo"), labels={"kubernetes.io/hostname": "typo", "karpenter.sh/capacity-typ": "spot"}
    )
    cluster.deploy()
    assert plan(cluster.world()).starts == ()


def test_a_share_that_is_used_up_lets_nobody_follow():
    cluster = town(policy_of(max_spot="0"))
    cluster.deploy()
    assert told(cluster).code == "max-spot"


def test_what_is_beyond_the_share_is_trimmed_one_by_one():
    cluster = town(policy_of(max_spot="50%"))
    web = cluster.deploy(replicas=4, on=Side.SPOT)
    (move,) = plan(cluster.world()).starts
    assert (move.to, move.trim, set(move.wrong)) == (Side.REGULAR, True, {pod.uid for pod in web.active})


def test_the_first_pod_on_spot_is_watched_before_the_others_follow():
    cluster = town()
    web = cluster.deploy(replicas=3)
    remember(web, canary=1, canary_at=NOW - minutes(4), learnt=1)
    assert told(cluster).code == "starts", "where it is gone there is nothing to watch"
    (pod, *_) = web.active
    web.pods[pod.uid] = msgspec.structs.replace(pod, node_name="spot-0")
    one = told(cluster)
    assert (one.code, one.until) == ("canary", NOW + minutes(6))
    remember(web, canary=1, canary_at=NOW + 9 * HOUR, learnt=1)
    assert told(cluster).code == "starts", "a clock that was ahead holds nobody"


def test_who_came_back_dwells():
    cluster = town()
    remember(cluster.deploy(), returned_at=NOW - minutes(20), dwell_factor=2)
    one = told(cluster)
    assert (one.code, one.until) == ("dwell", NOW + minutes(100))


def test_who_woke_does_not_wait_for_any_dwell():
    cluster = town()
    remember(cluster.deploy(side=Side.REGULAR, on=Side.SPOT), returned_at=NOW - minutes(20))
    assert told(cluster).code == "starts"


@pytest.mark.parametrize(("misses", "code"), [(1, "backoff"), (3, "gave-up")])
def test_moves_that_came_to_nothing_wait(misses, code):
    cluster = town()
    remember(cluster.deploy(), misses=misses, not_before=NOW + minutes(10))
    assert told(cluster).code == code


def test_what_the_book_says_of_a_move_that_has_just_ended_counts_at_once():
    cluster = town()
    web = cluster.deploy()
    failed = Finished(
        1, web.key, web.uid, Move.SURGE, Side.SPOT, NOW - minutes(20), NOW - minutes(1), Outcome.NO_CAPACITY
    )
    cluster.write_book(finished=(failed,), numbered=1)
    assert told(cluster).code == "backoff"
    web.uid = "uid-anew"
    web.verdict = msgspec.structs.replace(web.verdict, uid="uid-anew")
    assert told(cluster).code == "starts", "it was another object of that name"


def test_also_of_a_workload_that_nobody_has_judged():
    cluster = town(policy_of(rules=(Rule("batch", match=Match(names=("web",)), spot=SpotWish.ALWAYS),)))
    web = cluster.deploy(verdict=None)
    failed = Finished(1, web.key, web.uid, Move.SURGE, Side.SPOT, NOW, NOW, Outcome.NO_CAPACITY)
    assert told(cluster).code == "starts"
    cluster.write_book(finished=(failed,))
    assert told(cluster).code == "backoff"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"paused": True}, "paused"),
        ({"replicas": 2}, "progressing"),
    ],
)
@pytest.mark.fault(65)
def test_what_must_not_be_touched_is_told_by_its_own_code(changes, code):
    cluster = town()
    cluster.deploy().write(**changes)
    one = told(cluster)
    assert one.code in (code, "unready")
    assert one.reason


@pytest.mark.fault(54)
def test_a_budget_that_allows_no_disruption_at_all_is_hands_off():
    cluster = town()
    web = cluster.deploy(replicas=2)
    cluster.protect(web, "100%")
    cluster._status = lambda budget: msgspec.structs.replace(
        TinyCluster._status(cluster, (web.key, 2)), min_available="100%"
    )
    assert told(cluster).code == "budget-forbids"


def test_where_every_misplaced_pod_asks_to_be_left_alone_it_is_held():
    cluster = town()
    web = cluster.deploy(replicas=2, max_unavailable="1")
    first, second = web.active
    needs = msgspec.structs.replace(first.needs, annotations=(("spot-balancer.io/move", "never"),))
    web.pods[first.uid] = msgspec.structs.replace(first, needs=needs)
    web.pods[second.uid] = msgspec.structs.replace(second, node_name="spot-0")
    assert told(cluster).code == "held"


def test_without_a_reading_of_what_bounds_moves_nothing_moves():
    cluster = town()
    cluster.deploy()
    cluster.constraints = False
    assert told(cluster).code == "budgets-unknown"


def test_where_nothing_has_room_the_obstacle_is_told():
    cluster = town(spot=1)
    cluster.nodes["spot-0"] = make_node_fact("spot-0", Side.SPOT, allocatable_pods=0)
    cluster.deploy()
    one = told(cluster)
    assert one.code == "no-room"
    assert "fit nowhere" in one.reason


LIMITED = [
    ("run", Limits(per_run="1", per_cluster="9", per_namespace="9", per_workload="9", per_node="9")),
    ("cluster", Limits(per_cluster="1", per_namespace="9", per_workload="9", per_node="9")),
    ("namespace", Limits(per_cluster="9", per_namespace="1", per_workload="9", per_node="9")),
    ("node", Limits(per_cluster="9", per_namespace="9", per_workload="9", per_node="1")),
]


@pytest.mark.parametrize(("limit", "limits"), LIMITED)
def test_each_budget_refuses_under_its_name(limit, limits):
    cluster = town(policy_of(to_spot=limits))
    for name in ("a", "b"):
        cluster.deploy(name)
    made = plan(cluster.world())
    assert [one.code for one in made.considered] == ["starts", f"budget-{limit}"]
    assert {f"budget-{one}" for one in Limit} >= {f"budget-{limit}"}


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"excluded_namespaces": ("shop",)}, "excluded-namespace"), ({"kinds": ("StatefulSet",)}, "kind-not-handled")],
)
@pytest.mark.parametrize("thorough", [False, True])
def test_whom_no_budget_counts_is_told_the_true_reason_and_not_a_budget_of_nothing(fields, code, thorough):
    cluster = town(policy_of(to_spot=Limits(per_cluster="5%"), **fields))
    cluster.deploy()
    assert found(plan(cluster.world(), thorough=thorough)).code == code


def test_the_budget_of_a_workload_counts_what_was_done_before():
    cluster = town(policy_of(to_spot=msgspec.structs.replace(ROOMY, per_workload="25%")))
    web = cluster.deploy(replicas=4)
    cluster.write_book(disruptions=(Disruption(NOW - minutes(3), Side.SPOT, str(web.key), "regular-0"),))
    one = told(cluster)
    assert (one.code, one.until) == ("budget-workload", NOW + minutes(7))


def test_a_nodes_budget_lets_pods_of_other_nodes_go():
    cluster = town(policy_of(to_spot=msgspec.structs.replace(ROOMY, per_node="1")))
    web = cluster.deploy(replicas=2)
    _, second = web.active
    web.pods[second.uid] = msgspec.structs.replace(second, node_name="regular-1")
    cluster.write_book(disruptions=(Disruption(NOW, Side.SPOT, "other/Deployment/x", "regular-0"),))
    (move,) = plan(cluster.world()).starts
    assert move.pod_uid == second.uid


RESTARTS = {"allowed_moves": (Move.RESTART,)}


def test_a_restart_is_charged_for_every_pod_that_it_takes():
    cluster = town(policy_of(to_spot=msgspec.structs.replace(ROOMY, per_workload="25%"), **RESTARTS))
    cluster.deploy(replicas=3)
    made = plan(cluster.world())
    assert [move.way for move in made.starts] == [Move.RESTART]
    assert len(made.disruptions) == 3
    small = town(policy_of(to_spot=msgspec.structs.replace(ROOMY, per_cluster="2"), **RESTARTS))
    small.deploy(replicas=3)
    assert told(small).code == "budget-cluster"


def test_no_more_is_begun_than_a_run_can_follow(monkeypatch):
    monkeypatch.setattr(planning, "_MOST_MOVES", 2)
    cluster = town(policy_of(to_spot=ROOMY))
    for name in ("a", "b", "c"):
        cluster.deploy(name)
    assert [one.code for one in plan(cluster.world()).considered] == ["starts", "starts", "in-turn"]


def test_no_more_pods_are_named_than_the_book_can_hold(monkeypatch):
    monkeypatch.setattr(planning, "_MOST_UIDS", 6)
    cluster = town(policy_of(to_spot=ROOMY))
    cluster.deploy("a", replicas=3)
    cluster.deploy("b")
    assert [one.code for one in plan(cluster.world()).considered] == ["starts", "in-turn"]


def written_codes():
    """The codes that the modules of a plan have in so many words: first of a tuple with a sentence, or of `told`."""
    for module in (planning, belonging, scene, learning):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            told = isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "told"
            words = node.elts if isinstance(node, ast.Tuple) else node.args if told else []
            first = words[0] if len(words) > 1 else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value
    yield from planning._HELD


def test_the_glossary_has_every_code_that_is_told_and_no_other():
    assert {*OWN} == {code for code in written_codes() if "_" not in code}
    assert {*BUDGETS} == {f"budget-{limit}" for limit in Limit}
    assert {*MEANING} == {*OWN, *BUDGETS, *Refusal, *Obstacle}


# --- order, determinism, and what was missed


def test_the_way_back_comes_first_then_who_never_moved_then_whose_last_move_is_the_longest_ago():
    cluster = town(policy_of(to_spot=msgspec.structs.replace(ROOMY, per_run="9")), spot=5)
    remember(cluster.deploy("lately"), learnt=9, moved_at=NOW - 9 * HOUR)
    remember(cluster.deploy("long-ago"), learnt=3, moved_at=NOW - minutes(30))
    never = cluster.deploy("never")
    never.verdict = msgspec.structs.replace(never.verdict, since=NOW - minutes(5))
    cluster.deploy("never-for-longer")
    cluster.deploy("woke", side=Side.REGULAR, on=Side.SPOT)
    names = [move.workload.name for move in plan(cluster.world()).starts]
    assert names == ["woke", "never-for-longer", "never", "long-ago", "lately"]


def test_whoever_fits_nowhere_uses_up_nobodys_budget():
    cluster = town(policy_of(to_spot=msgspec.structs.replace(ROOMY, per_run="1")))
    for number in range(3):
        big = cluster.deploy(f"big-{number}")
        (pod,) = big.active
        needs = msgspec.structs.replace(pod.needs, node_selector=(("disk", "ssd"),))
        big.pods[pod.uid] = msgspec.structs.replace(pod, needs=needs)
    remember(cluster.deploy("small"), learnt=7)
    assert [move.workload.name for move in plan(cluster.world()).starts] == ["small"]


@pytest.mark.fault(64)
def test_where_all_go_idle_at_once_every_one_starts_within_as_many_windows_as_the_budget_asks_for():
    limits = msgspec.structs.replace(ROOMY, per_run="2", per_cluster="2")
    cluster = town(policy_of(to_spot=limits), spot=3)
    names = {cluster.deploy(f"w{number}", namespace=f"team-{number % 3}").key.name for number in range(7)}
    begun, now = [], NOW
    while len(begun) < 7:
        assert now - NOW <= minutes(40)
        cluster.now = now
        cluster.keep_the_book()
        world = cluster.world()
        made = plan(world)
        assert len(made.starts) <= 2
        begun += [move.workload.name for move in made.starts]
        ended = [
            Finished(m.number, m.workload, m.uid, m.way, m.to, now, now, Outcome.MOVED, transition=1)
            for m in made.starts
        ]
        cluster.write_book(
            disruptions=(*world.control.disruptions, *made.disruptions),
            finished=(*world.control.finished, *ended),
            numbered=world.control.numbered + len(made.starts),
        )
        now += minutes(1)
    assert set(begun) == names


def crowd(cluster, rng):
    """Workloads of all kinds of states, in an order of no meaning."""
    for number in range(8):
        side = rng.choice(list(Side))
        other = Side.SPOT if side is Side.REGULAR else Side.REGULAR
        made = cluster.deploy(f"w{number}", rng.randint(1, 2), side=side, on=rng.choice([side, other, other]))
        remember(made, learnt=rng.randint(0, 3), misses=rng.choice([0, 0, 1]))
    return cluster


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_a_plan_is_a_function_of_what_was_read_and_not_of_its_order(seed):
    cluster = crowd(town(policy_of(to_spot=ROOMY, to_regular=ROOMY), regular=3, spot=3), random.Random(seed))
    cluster.write_book(numbered=9)
    world = cluster.world()
    first = plan(world)
    census = world.scene.census
    rng = random.Random(seed)
    shuffled = {
        name: tuple(rng.sample(values, len(values)))
        for name in ("nodes", "pods", "controllers", "namespaces")
        for values in [getattr(census, name)]
    }
    other = World(Scene(Census(**{**as_fields(census), **shuffled}), world.scene.snapshot), world.control, world.now)
    assert plan(other) == first == plan(world)
    assert len({one.workload for one in first.considered}) == len(first.considered) == 8
    numbers = [move.number for move in first.starts]
    assert numbers == list(range(10, len(numbers) + 10))
    assert len({move.workload for move in first.starts}) == len(numbers)


def as_fields(value):
    return {name: getattr(value, name) for name in value.__struct_fields__}


def test_pods_that_were_created_while_nobody_stamped_them_are_counted():
    cluster = town()
    web = cluster.deploy(replicas=3)
    first, second, _ = web.active
    web.pods[first.uid] = msgspec.structs.replace(first, created_at=NOW - minutes(5))
    web.pods[second.uid] = msgspec.structs.replace(second, created_at=NOW - minutes(5), decision="v1/spot/preferred/1")
    assert plan(cluster.world()).missed_admissions == 1
    web.verdict = msgspec.structs.replace(web.verdict, transitions=0, side=Side.REGULAR)
    assert plan(cluster.world()).missed_admissions == 0


def test_what_moves_under_way_were_promised_is_not_promised_again():
    cluster = town(policy_of(to_spot=ROOMY), spot=1)
    cluster.nodes["spot-0"] = make_node_fact("spot-0", Side.SPOT, allocatable_pods=1)
    web = cluster.deploy("web")
    cluster.deploy("other")
    first = found(plan(cluster.world()), "other").code, found(plan(cluster.world()), "web").code
    assert sorted(first) == ["no-room", "starts"]
    move = make_move(web.key, destination="spot-0", pod_uid=web.active[0].uid, before=(web.active[0].uid,))
    cluster.write_book(moves=(move,))
    assert told(cluster, "other").code == "no-room"
    world = cluster.world()
    assert world.ground_without(move).find(web.active[0], Side.SPOT).node == "spot-0"


def test_the_book_is_refreshed_by_time_alone():
    cluster = town()
    web = cluster.deploy()
    old = Disruption(NOW - minutes(11), Side.SPOT, str(web.key))
    young = Disruption(NOW - minutes(9), Side.SPOT, str(web.key))
    ended = [Finished(n, web.key, web.uid, Move.SURGE, Side.SPOT, NOW, NOW, Outcome.MOVED) for n in range(300)]
    cluster.write_book(disruptions=(old, young), finished=tuple(ended))
    control = planning.refreshed(cluster.world())
    assert control.disruptions == (young,)
    assert control.spot.ready == 2
    assert [move.number for move in control.finished] == list(range(100, 300))
    assert control.moves == cluster.book.moves


def test_the_longest_wait_is_told_and_no_longer_one():
    cluster = town()
    remember(cluster.deploy(), misses=9, not_before=NOW + LONGEST)
    assert told(cluster).until == NOW + LONGEST
    cluster = town()
    remember(cluster.deploy(), misses=9, not_before=NOW + LONGEST + minutes(1))
    assert told(cluster).code == "starts"


def test_a_percent_is_of_what_may_be_moved_and_status_counts_the_same():
    few = Limits(per_run="100", per_cluster="10%", per_namespace="100%", per_workload="100", per_node="100")
    cluster = town(policy_of(to_spot=few, to_regular=few), regular=5, spot=5)
    for number in range(10):
        cluster.deploy(f"web-{number}")
        cluster.deploy(f"system-{number}", namespace="kube-system", on=Side.SPOT)
    cluster.deploy("looked-at", on=Side.SPOT, annotations={"spot-balancer.io/mode": "observe"})
    world = cluster.world()
    assert len(plan(world).starts) == 1
    budgets = stand(world.control, world.scene.snapshot, now=world.now).budgets
    assert [(one.to, one.whole, one.limit) for one in budgets] == [(Side.SPOT, 10, 1), (Side.REGULAR, 0, 0)]
