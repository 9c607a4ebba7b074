"""Which way a workload is moved by, where it may be moved at all, and what is told where none is left."""

import pytest

from tests.core.move_builders import (
    ALL_WAYS,
    GIB,
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
from webhook.core.constraints import Quota
from webhook.core.model import ControllerRef, Requirement, Resources
from webhook.core.policy import Move
from webhook.core.refusals import REMEDY, Refusal

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
    "a budget that leaves one": (make_subject(), (make_budget(),), None),
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


def test_two_budgets_on_one_pod_are_enough_to_keep_all_from_eviction():
    one = make_budget("a", selector=(Requirement("canary", "Exists"),))
    pods = [make_pod_fact(number) for number in range(4)]
    pods[1] = needing(pods[1], labels=(*pods[1].needs.labels, ("canary", "")))
    found = handled(make_subject(pods=tuple(pods)), one, make_budget("b"), policy=only(Move.EVICT))
    assert found.refusal is Refusal.TWO_BUDGETS
    assert "a and b" in found.detail


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
