"""Who is never touched, which way the others are moved, and how many of their pods stay available meanwhile."""

from datetime import timedelta

import msgspec
import pytest

from tests.builders import NOW, make_move, make_workload
from tests.core.move_builders import (
    GIB,
    MOVING,
    make_autoscaler,
    make_bounds,
    make_budget,
    make_pod_fact,
    make_subject,
    needing,
)
from webhook.core import touch
from webhook.core.bounds import Bounds
from webhook.core.constraints import Claim, Quota
from webhook.core.model import ControllerRef, Namespace, Requirement, Resources
from webhook.core.policy import Match, Mode, Move, Rule
from webhook.core.refusals import REMEDY, Refusal

ALL_WAYS = msgspec.structs.replace(MOVING, allowed_moves=(Move.SURGE, Move.EVICT, Move.RESTART))
BY_KIND = {"annotations": {"spot-balancer.io/spot": "always"}}
SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict"
KARPENTER = "karpenter.sh/do-not-disrupt"
DESCHEDULER = "descheduler.alpha.kubernetes.io/prefer-no-eviction"


def handled(subject=None, *bounds, policy=MOVING, missing=(), now=NOW):
    return touch.handle(subject or make_subject(), make_bounds(*bounds, missing=missing), policy=policy, now=now)


def asked(kind="StatefulSet", replicas=4, **fields):
    """Of a kind that is handled because somebody asked for it."""
    return make_subject(kind, replicas, workload=make_workload(kind=kind, replicas=replicas, **BY_KIND), **fields)


def only(*ways):
    return msgspec.structs.replace(MOVING, allowed_moves=ways)


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
    "one of several": (Requirement("app", "In", ("nginx-demo", "other")),),
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
    ],
)
def test_a_budget_of_others_does_not_bound_it(change):
    budget = msgspec.structs.replace(make_budget(max_unavailable="0"), **change)
    assert handled(make_subject(), budget).way is Move.SURGE


# --- surge -------------------------------------------------------------------------------------------------------

POD_LIKE_IT = {"requests": Resources(0.5, GIB), "extended": (("nvidia.com/gpu", 1.0),)}
NO_SURGE = {
    "a StatefulSet": (asked(), ()),
    "a Deployment that is owned": (make_subject(controller=ControllerRef("App", "shop")), ()),
    "an autoscaler": (make_subject(), (make_autoscaler(),)),
    "an Apply manager": (make_subject(rollout={"applied_by": "kubectl"}), ()),
    "maxSurge 0": (make_subject(rollout={"max_surge": "0"}), ()),
    "maxSurge 0 %": (make_subject(rollout={"max_surge": "0%"}), ()),
    "a full quota": (make_subject(), (Quota("shop", "q", {"pods": 4.0}, {"pods": 4.0}),)),
    "a scoped quota": (make_subject(), (Quota("shop", "q", {"pods": 9.0}, {"pods": 4.0}, scoped=True),)),
}


@pytest.mark.parametrize(("subject", "bounds"), NO_SURGE.values(), ids=NO_SURGE)
def test_what_cannot_have_one_more_is_evicted(subject, bounds):
    found = handled(subject, *bounds)
    assert found.way is Move.EVICT
    assert found.detail.startswith("no surge: ")
    assert handled(subject, *bounds, policy=only(Move.SURGE)).refusal is Refusal.SURGE_UNSAFE


@pytest.mark.parametrize(
    ("key", "hard", "used", "room"),
    [
        ("pods", 5, 4, True),
        ("pods", 4, 4, False),
        ("count/pods", 4, 4, False),
        ("requests.cpu", 2.5, 2.0, True),
        ("requests.cpu", 2.4, 2.0, False),
        ("cpu", 2.4, 2.0, False),
        ("requests.memory", 5 * GIB, 4 * GIB, True),
        ("memory", 5 * GIB - 1, 4 * GIB, False),
        ("limits.cpu", 2.4, 2.0, False),
        ("limits.memory", 5 * GIB, 4 * GIB, True),
        ("requests.nvidia.com/gpu", 1, 1, False),
        ("count/secrets", 4, 4, True),
        ("services", 0, 0, True),
        ("requests.cpu", 0.8, 0.1 + 0.2, True),
    ],
)
def test_a_quota_must_leave_room_for_one_more_pod_like_it(key, hard, used, room):
    found = handled(make_subject(pod=POD_LIKE_IT), Quota("shop", "q", {key: float(hard)}, {key: float(used)}))
    assert found.way is (Move.SURGE if room else Move.EVICT)


def test_quotas_that_nobody_knows_keep_from_a_surge():
    assert handled(missing=("ResourceQuota",)).way is Move.EVICT
    assert handled(policy=only(Move.SURGE), missing=("ResourceQuota",)).refusal is Refusal.SURGE_UNSAFE


def test_a_quota_of_another_namespace_is_not_asked():
    assert handled(make_subject(), Quota("other", "q", {"pods": 0.0}, {})).way is Move.SURGE


# --- evict -------------------------------------------------------------------------------------------------------

FLOORS = {
    "25 % of four": (make_subject(), (), 3),
    "25 % of three": (make_subject(replicas=3), (), 3),
    "25 % of nine": (make_subject(replicas=9), (), 7),
    "one of two": (make_subject(replicas=2, rollout={"max_unavailable": "1"}), (), 1),
    "more than all": (make_subject(replicas=2, rollout={"max_unavailable": "7"}), (), 0),
    "what cannot be read": (make_subject(rollout={"max_unavailable": "some"}), (), 4),
    "a StatefulSet": (asked(replicas=3), (), 2),
    "a StatefulSet of one": (asked(replicas=1), (), 0),
    "a ReplicaSet": (asked("ReplicaSet", replicas=3), (), 2),
    "a budget above the strategy": (
        make_subject(rollout={"max_unavailable": "50%"}),
        (make_budget(min_available="3"),),
        3,
    ),
    "a budget below the strategy": (make_subject(), (make_budget(desired_healthy=1),), 3),
    "a budget above all": (make_subject(), (make_budget(min_available="9", desired_healthy=9),), 4),
    "a budget of several workloads": (
        make_subject(rollout={"max_unavailable": "100%"}),
        (make_budget(min_available="8", desired_healthy=8, expected_pods=10),),
        2,
    ),
    "the larger of two budgets": (
        make_subject(rollout={"max_unavailable": "100%"}),
        (make_budget("a", desired_healthy=2), make_budget("b", desired_healthy=3)),
        3,
    ),
}


@pytest.mark.parametrize(("subject", "bounds", "floor"), FLOORS.values(), ids=FLOORS)
def test_the_floor_is_the_larger_of_strategy_and_budget(subject, bounds, floor):
    assert handled(subject, *bounds, policy=ALL_WAYS).floor == floor


EVICTIONS = {
    "headroom": (make_subject(), (), None),
    "none of three": (make_subject(replicas=3), (), Refusal.NO_HEADROOM),
    "none of one": (make_subject(replicas=1), (), Refusal.NO_HEADROOM),
    "a budget that leaves none": (make_subject(), (make_budget(desired_healthy=4),), Refusal.NO_HEADROOM),
    "a budget that is spent": (make_subject(), (make_budget(disruptions_allowed=0),), Refusal.BUDGET_SPENT),
    "two budgets": (make_subject(), (make_budget("a"), make_budget("b")), Refusal.TWO_BUDGETS),
    "an autoscaler at its default": (make_subject(replicas=4), (make_autoscaler(),), None),
    "an autoscaler below four": (
        make_subject(replicas=3),
        (make_autoscaler(current_replicas=3, desired_replicas=3),),
        Refusal.HPA_NO_HEADROOM,
    ),
}


@pytest.mark.parametrize(("subject", "bounds", "refusal"), EVICTIONS.values(), ids=EVICTIONS)
def test_a_pod_is_evicted_only_above_the_floor_and_within_its_budget(subject, bounds, refusal):
    found = handled(subject, *bounds, policy=only(Move.EVICT))
    assert (found.way, found.refusal) == ((None, refusal) if refusal else (Move.EVICT, None))


@pytest.mark.fault(53)
def test_two_budgets_keep_from_eviction_and_not_from_a_surge():
    assert handled(make_subject(), make_budget("a"), make_budget("b")).way is Move.SURGE


def test_what_bars_an_eviction_is_told_before_what_bars_a_surge():
    autoscaler = make_autoscaler(current_replicas=2, desired_replicas=2)
    found = handled(make_subject(replicas=2), autoscaler)
    assert found.refusal is Refusal.HPA_NO_HEADROOM
    assert found.detail == (
        "no surge: autoscaler hpa keeps its replicas; no evict: 2 replicas are available, and 2 must be"
    )
    assert "minReplicas" in REMEDY[found.refusal]


# --- restart -----------------------------------------------------------------------------------------------------

UNSAFE = {
    "a StatefulSet": (asked(), ()),
    "a Deployment that is owned": (make_subject(controller=ControllerRef("App", "shop")), ()),
    "Argo CD by its annotation": (make_subject(annotations={"argocd.argoproj.io/tracking-id": "shop:apps/x"}), ()),
    "Argo CD by its label": (make_subject(labels={"argocd.argoproj.io/instance": "shop"}), ()),
    "perhaps Argo CD": (make_subject(labels={"app.kubernetes.io/instance": "shop"}), ()),
    "Argo CD by its manager": (make_subject(rollout={"applied_by": "argocd-controller"}), ()),
    "Flux by its label": (make_subject(labels={"kustomize.toolkit.fluxcd.io/name": "shop"}), ()),
    "Flux by Helm": (make_subject(labels={"helm.toolkit.fluxcd.io/name": "shop"}), ()),
    "Flux by its manager": (make_subject(rollout={"applied_by": "kustomize-controller"}), ()),
    "a budget that a rollout would pass": (
        make_subject(rollout={"max_unavailable": "2"}),
        (make_budget(desired_healthy=3),),
    ),
    "a rollout that takes one first": (make_subject(replicas=2, rollout={"max_surge": "0"}), ()),
}


@pytest.mark.parametrize(("subject", "bounds"), UNSAFE.values(), ids=UNSAFE)
def test_a_template_that_others_keep_is_not_written(subject, bounds):
    assert handled(subject, *bounds, policy=only(Move.RESTART)).refusal is Refusal.RESTART_UNSAFE


def test_a_restart_is_the_last_way_and_only_where_allowed():
    autoscaler = make_autoscaler(current_replicas=2, desired_replicas=2)
    helm = {"labels": {"app.kubernetes.io/instance": "x"}, "annotations": {"meta.helm.sh/release-name": "x"}}
    subject = make_subject(replicas=2, **helm)
    assert handled(subject, autoscaler, policy=ALL_WAYS).way is Move.RESTART
    assert handled(subject, autoscaler, policy=MOVING).refusal is Refusal.HPA_NO_HEADROOM
