"""Who is never touched, which way the others are moved, and how many of their pods stay available meanwhile."""

from datetime import timedelta

import msgspec
import pytest

from tests.builders import NOW, make_move, make_workload
from tests.core.move_builders import (
    ALL_WAYS,
    MOVING,
    asked,
    handled,
    make_autoscaler,
    make_budget,
    make_pod_fact,
    make_subject,
    needing,
    only,
)
from webhook.core import touch
from webhook.core.bounds import Bounds
from webhook.core.constraints import Claim
from webhook.core.model import ControllerRef, Namespace, Requirement
from webhook.core.policy import Match, Mode, Move, Rule
from webhook.core.refusals import REMEDY, Refusal

SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict"
KARPENTER = "karpenter.sh/do-not-disrupt"
DESCHEDULER = "descheduler.alpha.kubernetes.io/prefer-no-eviction"


def test_a_healthy_deployment_is_surged_and_each_of_its_pods_may_go():
    found = handled()
    assert (found.way, found.refusal) == (Move.SURGE, None)
    assert found.pods == ("pod-0", "pod-1", "pod-2", "pod-3")
    assert found.floor == 3


def test_every_refusal_has_a_sentence_that_says_what_to_do():
    assert set(REMEDY) == set(Refusal)
    assert all(len(sentence) > 20 and not sentence.endswith(".") for sentence in REMEDY.values())


# --- what was asked for ------------------------------------------------------------------------------------------

UNASKED = {
    "observe by default": ({"policy": msgspec.structs.replace(MOVING, mode=Mode.OBSERVE)}, {}, Refusal.MODE),
    "inject by default": ({"policy": msgspec.structs.replace(MOVING, mode=Mode.INJECT)}, {}, Refusal.MODE),
    "a pod lowers the mode": ({}, {"pod": {"annotations": (("spot-balancer.io/mode", "inject"),)}}, Refusal.MODE),
    "an unknown namespace": ({}, {"namespace": None}, Refusal.MODE),
    "an excluded namespace": (
        {"policy": msgspec.structs.replace(MOVING, excluded_namespaces=("shop",))},
        {},
        Refusal.EXCLUDED_NAMESPACE,
    ),
    "no way allowed": ({"policy": only()}, {}, Refusal.NOT_ALLOWED),
    "the workload says never": (
        {},
        {"workload": make_workload(annotations={"spot-balancer.io/move": "never"})},
        Refusal.NOT_ALLOWED,
    ),
    "the namespace says never": (
        {},
        {"namespace": Namespace("shop", {"spot-balancer.io/move": "never"})},
        Refusal.NOT_ALLOWED,
    ),
    "a pod opted out": ({}, {"pod": {"labels": (("spot-balancer.io/skip", "true"),)}}, Refusal.OPTED_OUT),
    "a StatefulSet nobody asked for": ({}, {"kind": "StatefulSet"}, Refusal.KIND_NOT_HANDLED),
    "a ReplicaSet nobody asked for": ({}, {"kind": "ReplicaSet"}, Refusal.KIND_NOT_HANDLED),
    "safe-to-evict false": ({}, {"pod": {"annotations": ((SAFE, "false"),)}}, Refusal.SAFE_TO_EVICT),
    "safe-to-evict false on the workload": (
        {},
        {"workload": make_workload(annotations={SAFE: "false"})},
        Refusal.SAFE_TO_EVICT,
    ),
    "do-not-disrupt": ({}, {"pod": {"annotations": ((KARPENTER, "true"),)}}, Refusal.DO_NOT_DISRUPT),
    "prefer-no-eviction": ({}, {"pod": {"annotations": ((DESCHEDULER, ""),)}}, Refusal.PREFER_NO_EVICTION),
}


@pytest.mark.parametrize(("call", "subject", "refusal"), UNASKED.values(), ids=UNASKED)
def test_what_was_not_asked_for_is_not_done(call, subject, refusal):
    found = handled(make_subject(**subject), **call)
    assert (found.way, found.refusal, found.pods) == (None, refusal, ())


def test_our_own_word_beside_another_tools_says_more_exactly_what_may_be_done():
    annotations = ((SAFE, "false"), ("spot-balancer.io/move", "evict"))
    assert handled(make_subject(pod={"annotations": annotations})).way is Move.EVICT
    namespace = Namespace("shop", {"spot-balancer.io/move": "evict"})
    assert handled(make_subject(pod={"annotations": annotations[:1]}, namespace=namespace)).refusal is (
        Refusal.SAFE_TO_EVICT
    ), "further away it is not heard"


@pytest.mark.parametrize(
    ("duration", "age", "holds"),
    [
        ("1h", timedelta(minutes=59), True),
        ("1h", timedelta(minutes=60), False),
        ("1h30m", timedelta(minutes=89, seconds=59), True),
        ("1h30m", timedelta(minutes=90), False),
        (".5h", timedelta(minutes=31), False),
        ("9" * 400 + "h", timedelta(days=3000), True),
        ("true", timedelta(days=3000), True),
        ("1h", timedelta(minutes=-5), True),
        ("1h", None, True),
    ],
)
def test_do_not_disrupt_for_a_time_counts_from_the_pods_creation(duration, age, holds):
    created = NOW - age if age is not None else None
    found = handled(make_subject(pod={"annotations": ((KARPENTER, duration),), "created_at": created}))
    assert found.refusal is (Refusal.DO_NOT_DISRUPT if holds else None)


def test_one_pod_that_must_stay_leaves_the_others_to_eviction_only():
    pods = [make_pod_fact(number) for number in range(4)]
    pods[2] = needing(pods[2], annotations=((KARPENTER, "true"),))
    found = handled(make_subject(pods=tuple(pods)))
    assert found.way is Move.EVICT
    assert found.pods == ("pod-0", "pod-1", "pod-3")
    assert found.held == {"pod-2": Refusal.DO_NOT_DISRUPT}
    assert "might take a pod that must stay" in found.detail
    assert handled(make_subject(pods=tuple(pods)), policy=only(Move.SURGE)).refusal is Refusal.SURGE_UNSAFE
    assert handled(make_subject(pods=tuple(pods)), policy=only(Move.RESTART)).refusal is Refusal.RESTART_UNSAFE


@pytest.mark.parametrize("way", Move)
def test_only_the_way_that_a_workload_asks_for_is_taken(way):
    workload = make_workload(annotations={"spot-balancer.io/move": way.value})
    assert handled(make_subject(workload=workload), policy=ALL_WAYS).way is way


def test_pods_that_ask_for_different_ways_are_left_alone():
    pods = [make_pod_fact(n, annotations=(("spot-balancer.io/move", way),)) for n, way in enumerate(["surge", "evict"])]
    assert handled(make_subject(replicas=2, pods=tuple(pods))).refusal is Refusal.NOT_ALLOWED


# --- whose pods they are -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "refusal"),
    [
        ("Pod", Refusal.BARE),
        ("DaemonSet", Refusal.DAEMONSET),
        ("Node", Refusal.STATIC),
        ("Job", Refusal.NEXT_PODS_ONLY),
        ("CronJob", Refusal.NEXT_PODS_ONLY),
        ("Rollout", Refusal.KIND_NOT_MOVABLE),
        ("ReplicationController", Refusal.KIND_NOT_MOVABLE),
    ],
)
def test_only_deployments_stateful_sets_and_replica_sets_are_moved(kind, refusal):
    assert handled(asked(kind)).refusal is refusal


@pytest.mark.parametrize("kind", ["StatefulSet", "ReplicaSet"])
def test_other_kinds_are_evicted_where_somebody_asked_for_them(kind):
    assert handled(asked(kind)).way is Move.EVICT
    rule = Rule("all", match=Match(kinds=(kind,)))
    subject = make_subject(kind, workload=make_workload(kind=kind, replicas=4, rule="all"))
    assert handled(subject, policy=msgspec.structs.replace(MOVING, rules=(rule,))).way is Move.EVICT


def test_the_replicas_of_a_replica_set_that_somebody_owns_are_its_owners():
    owner = ControllerRef("Rollout", "nginx-demo", "uid-rollout")
    assert handled(asked("ReplicaSet", controller=owner)).refusal is Refusal.KIND_NOT_MOVABLE


# --- what would be lost ------------------------------------------------------------------------------------------

LOST = {
    "a static pod": ({"static": True}, Refusal.STATIC),
    "a bare pod": ({"controller": None}, Refusal.BARE),
    "a critical pod": ({"critical": True}, Refusal.CRITICAL),
    "an emptyDir": ({"local_volumes": ("cache",)}, Refusal.LOCAL_STORAGE),
    "files of the node": ({"local_volumes": ("logs",), "host_path": True}, Refusal.LOCAL_STORAGE),
    "files of the node, said to be safe": (
        {"local_volumes": ("logs",), "host_path": True, "annotations": ((SAFE, "true"),)},
        Refusal.LOCAL_STORAGE,
    ),
    "an emptyDir, said to be safe": ({"local_volumes": ("cache",), "annotations": ((SAFE, "true"),)}, None),
    "each volume named as safe": (
        {"local_volumes": ("a", "b"), "annotations": ((f"{SAFE}-local-volumes", "b, a"),)},
        None,
    ),
    "one volume not named": (
        {"local_volumes": ("a", "b"), "annotations": ((f"{SAFE}-local-volumes", "b"),)},
        Refusal.LOCAL_STORAGE,
    ),
    "a claim": ({"claims": ("data",)}, Refusal.CLAIMS),
}


@pytest.mark.parametrize(("pod", "refusal"), LOST.values(), ids=LOST)
def test_what_would_be_lost_stays(pod, refusal):
    assert handled(make_subject(pod=pod), Claim("shop", "data")).refusal is refusal


SHARED = Claim("shop", "data", access_modes=("ReadWriteMany",))


@pytest.mark.parametrize(
    ("modes", "way"),
    [
        (("ReadWriteMany",), Move.SURGE),
        (("ReadOnlyMany",), Move.SURGE),
        (("ReadWriteOnce",), Move.EVICT),
        (("ReadWriteOncePod",), Move.EVICT),
        (("ReadWriteMany", "ReadWriteOnce"), Move.EVICT),
    ],
)
def test_a_claim_that_is_held_by_one_node_keeps_from_a_surge(modes, way):
    claim = Claim("shop", "data", access_modes=modes)
    assert handled(asked("Deployment", pod={"claims": ("data",)}), claim).way is way


@pytest.mark.parametrize("kind", ["PersistentVolumeClaim", "PersistentVolume", "StorageClass"])
def test_pods_with_claims_stay_where_nobody_knows_of_volumes(kind):
    with_claims = asked("Deployment", pod={"claims": ("data",)})
    assert handled(with_claims, SHARED, missing=(kind,)).refusal is Refusal.CLAIMS_UNKNOWN
    assert handled(missing=(kind,)).way is Move.SURGE
    assert handled(with_claims).refusal is Refusal.CLAIMS_UNKNOWN, "a claim that is not there"


# --- its state ---------------------------------------------------------------------------------------------------

STATES = {
    "scaled to nought": ({"replicas": 0}, Refusal.SCALED_TO_ZERO),
    "no word of replicas": ({"replicas": None}, Refusal.UNREAD),
    "scaled to nought under our surge": (
        {"replicas": 0, "move": make_move(make_workload().key, replicas=4)},
        Refusal.SCALED_TO_ZERO,
    ),
    "Recreate": ({"rollout": {"strategy": "Recreate"}}, Refusal.RECREATE),
    "paused": ({"rollout": {"paused": True}}, Refusal.PAUSED),
    "a change not seen yet": ({"rollout": {"generation": 4}}, Refusal.PROGRESSING),
    "an old template": ({"rollout": {"updated": 3}}, Refusal.PROGRESSING),
    "one pod too many": ({"rollout": {"replicas": 5}}, Refusal.PROGRESSING),
    "one replica not available": ({"rollout": {"available": 3}}, Refusal.UNREADY),
}


@pytest.mark.fault(65)
@pytest.mark.parametrize(("fact", "refusal"), STATES.values(), ids=STATES)
def test_an_unhealthy_or_changing_workload_is_left_alone(fact, refusal):
    assert handled(make_subject(**fact)).refusal is refusal


def test_a_workload_whose_object_is_gone_is_left_alone():
    assert handled(msgspec.structs.replace(make_subject(), fact=None)).refusal is Refusal.UNREAD


@pytest.mark.parametrize("change", [{"deleting": True}, {"ready": False}, {"phase": "Failed"}])
def test_a_pod_that_is_gone_or_not_ready_counts_as_missing_though_the_status_is_older(change):
    pods = (*(make_pod_fact(number) for number in range(3)), make_pod_fact(3, **change))
    assert handled(make_subject(pods=pods)).refusal is Refusal.UNREADY


def test_a_pod_more_is_no_rollout_while_it_is_our_own_surge():
    surged = make_subject(replicas=5, move=make_move(make_workload().key, replicas=4))
    assert handled(surged).way is Move.SURGE
    lowered = make_subject(replicas=4, rollout={"replicas": 5}, move=make_move(make_workload().key, replicas=4))
    assert handled(lowered).way is Move.SURGE
    evicted = make_move(make_workload().key, way=Move.EVICT, replicas=4)
    assert handled(make_subject(replicas=4, rollout={"replicas": 5}, move=evicted)).refusal is Refusal.PROGRESSING


def test_our_own_surge_neither_raises_the_floor_nor_lowers_it():
    surged = make_subject(replicas=5, move=make_move(make_workload().key, replicas=4))
    assert handled(surged).floor == 3
    spare = make_budget(min_available="4", expected_pods=5, desired_healthy=4)
    assert handled(surged, spare).floor == 4


# --- what bounds it ----------------------------------------------------------------------------------------------

BOUNDED = {
    "maxUnavailable 0": (make_budget(max_unavailable="0", disruptions_allowed=0), Refusal.BUDGET_FORBIDS),
    "maxUnavailable 0 %": (make_budget(max_unavailable="0%", disruptions_allowed=0), Refusal.BUDGET_FORBIDS),
    "minAvailable 100 %": (make_budget(min_available="100%", disruptions_allowed=0), Refusal.BUDGET_FORBIDS),
    "a budget that just changed": (make_budget(is_current=False), Refusal.BUDGET_STALE),
    "an autoscaler at work": (make_autoscaler(desired_replicas=6), Refusal.AUTOSCALING),
}


@pytest.mark.fault(54)
@pytest.mark.parametrize(("bound", "refusal"), BOUNDED.values(), ids=BOUNDED)
def test_what_others_forbid_is_not_done_by_any_way(bound, refusal):
    for way in Move:
        assert handled(make_subject(), bound, policy=only(way)).refusal is refusal


@pytest.mark.parametrize(
    ("kind", "refusal"),
    [
        ("PodDisruptionBudget", Refusal.BUDGETS_UNKNOWN),
        ("HorizontalPodAutoscaler", Refusal.AUTOSCALERS_UNKNOWN),
        ("ResourceQuota", None),
    ],
)
def test_unknown_is_not_nothing(kind, refusal):
    assert handled(missing=(kind,)).refusal is refusal


def test_where_nothing_is_known_nothing_moves():
    found = touch.handle(make_subject(), Bounds.of(None), policy=MOVING, now=NOW)
    assert found.refusal is Refusal.BUDGETS_UNKNOWN


SELECTORS = {
    "its label": (Requirement("app", "In", ("nginx-demo",)),),
    "everything": (),
    "one of several": (Requirement("app", "In", ("other", "nginx-demo")),),
    "a key": (Requirement("app", "Exists"),),
    "not another": (Requirement("app", "NotIn", ("other",)),),
}


@pytest.mark.parametrize("selector", SELECTORS.values(), ids=SELECTORS)
def test_a_budget_is_found_however_it_selects(selector):
    budget = make_budget(selector=selector, max_unavailable="0")
    assert handled(make_subject(), budget).refusal is Refusal.BUDGET_FORBIDS


@pytest.mark.parametrize(
    "change",
    [
        {"namespace": "other"},
        {"selector": (Requirement("app", "In", ("other",)),)},
        {"selector": (Requirement("app", "In", ("nginx-demo",)), Requirement("tier", "Exists"))},
        {"selects_nothing": True, "selector": ()},
        {"max_unavailable": "", "min_available": "50%"},
        {"max_unavailable": "", "min_available": "100"},
        {"max_unavailable": "1%"},
    ],
)
def test_a_budget_of_others_or_one_that_lets_go_of_some_does_not_forbid_it(change):
    budget = msgspec.structs.replace(make_budget(max_unavailable="0"), **change)
    assert handled(make_subject(), budget).way is Move.SURGE
