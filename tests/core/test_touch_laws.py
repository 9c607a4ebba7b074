"""The laws of touching: caution only grows with every word against it, and no eviction goes below the floor."""

from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import event, given
from hypothesis import strategies as st

from tests.builders import NOW, make_move, make_workload
from tests.core.move_builders import (
    MOVING,
    make_autoscaler,
    make_bounds,
    make_budget,
    make_pod_fact,
    make_subject,
    needing,
)
from webhook.core import touch
from webhook.core.constraints import Claim, Quota
from webhook.core.model import Namespace
from webhook.core.policy import Mode, Move, Policy
from webhook.core.refusals import Refusal
from webhook.core.touch import Subject

VETOES = (
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
    ("karpenter.sh/do-not-disrupt", "true"),
    ("karpenter.sh/do-not-disrupt", "2h"),
    ("descheduler.alpha.kubernetes.io/prefer-no-eviction", ""),
    ("spot-balancer.io/mode", "observe"),
)
KIND_ASKED = {"spot-balancer.io/spot": "always"}
AMOUNTS = st.sampled_from(["0", "1", "2", "25%", "50%", "100%", "0%", "nonsense"])

NEEDS = st.fixed_dictionaries(
    {},
    optional={
        "annotations": st.sampled_from([*[()] * 6, (VETOES[1],), (("spot-balancer.io/move", "evict"),)]),
        "local_volumes": st.sampled_from([*[()] * 6, ("cache",)]),
        "claims": st.sampled_from([*[()] * 6, ("data",), ("shared",)]),
        "critical": st.sampled_from([False] * 5 + [True]),
    },
)
FLAWS = st.sampled_from([{}] * 40 + [{"deleting": True}, {"ready": False}, {"phase": "Failed"}])


@st.composite
def subjects(draw: st.DrawFn) -> Subject:
    """A workload of a kind that can be moved, mostly healthy, with pods of any kind."""
    kind = draw(st.sampled_from(["Deployment"] * 4 + ["StatefulSet", "ReplicaSet"]))
    replicas = draw(st.sampled_from([0, 1, 2, 3, 4, 4, 5, 8]))
    shared = draw(NEEDS)
    pods = [make_pod_fact(number, **draw(FLAWS), **shared) for number in range(replicas)]
    if pods and draw(st.integers(0, 3)) == 0:
        pods[0] = needing(pods[0], **draw(NEEDS))
    rollout = {"max_unavailable": draw(AMOUNTS), "max_surge": draw(AMOUNTS)}
    if draw(st.integers(0, 7)) == 0:
        rollout[draw(st.sampled_from(["updated", "available", "replicas"]))] = draw(st.integers(0, 9))
    move = make_move(make_workload().key, replicas=max(replicas - 1, 0)) if draw(st.integers(0, 5)) == 0 else None
    asked = KIND_ASKED if kind != "Deployment" else draw(st.sampled_from([{}, KIND_ASKED]))
    workload = make_workload(kind=kind, replicas=replicas, annotations=asked)
    return make_subject(kind, replicas, pods=tuple(pods), workload=workload, move=move, rollout=rollout)


@st.composite
def budgets(draw: st.DrawFn) -> Any:
    """A disruption budget of nginx-demo, its status as the API server may tell it."""
    written = draw(st.sampled_from(["max_unavailable", "min_available"]))
    return make_budget(
        name=draw(st.sampled_from("abc")),
        disruptions_allowed=draw(st.sampled_from([0, 1, 1, 2])),
        desired_healthy=draw(st.integers(0, 8)),
        expected_pods=draw(st.integers(4, 8)),
        is_current=draw(st.integers(0, 9)) > 0,
        **{written: draw(AMOUNTS)},
    )


AUTOSCALERS = st.builds(make_autoscaler, desired_replicas=st.sampled_from([4, 4, 5]))
QUOTAS = st.builds(lambda used: Quota("shop", "q", {"pods": 8.0}, {"pods": float(used)}), st.integers(0, 8))
CLAIMS = st.sampled_from(
    [
        Claim("shop", "data", access_modes=("ReadWriteOnce",)),
        Claim("shop", "shared", access_modes=("ReadWriteMany",)),
    ]
)
BOUNDS = st.lists(st.one_of(budgets(), AUTOSCALERS, QUOTAS, CLAIMS), max_size=3)
POLICIES = st.builds(
    Policy,
    mode=st.sampled_from([Mode.MOVE] * 9 + [Mode.INJECT]),
    allowed_moves=st.sampled_from([*[(Move.SURGE, Move.EVICT)] * 3, tuple(Move), (Move.EVICT,), (Move.RESTART,), ()]),
)


def handled(subject, bounds, policy=MOVING):
    return touch.handle(subject, make_bounds(*bounds), policy=policy, now=NOW)


@given(subjects(), BOUNDS, POLICIES)
def test_there_is_a_way_or_a_refusal_and_never_both(subject, bounds, policy):
    found = handled(subject, bounds, policy)
    event(f"{found.way or found.refusal}")
    assert (found.way is None) != (found.refusal is None)
    assert found.way is None or found.way in policy.allowed_moves
    assert bool(found.pods) == (found.way is not None), "no pod of a refused workload"
    assert found.refusal is None or found.detail


@given(subjects(), BOUNDS, POLICIES)
def test_only_live_pods_go_and_none_that_is_held(subject, bounds, policy):
    found = handled(subject, bounds, policy)
    live = {pod.uid for pod in subject.pods if not pod.deleting and pod.phase == "Running"}
    assert set(found.pods) <= live - set(found.held)
    assert found.way in (None, Move.EVICT) or not found.held


@given(subjects(), BOUNDS, POLICIES)
def test_no_eviction_goes_below_the_floor(subject, bounds, policy):
    found = handled(subject, bounds, policy)
    ready = sum(pod.ready and not pod.deleting and pod.phase == "Running" for pod in subject.pods)
    assert 0 <= found.floor <= (subject.fact.replicas or 0)
    if found.way is Move.EVICT:
        assert ready - 1 >= found.floor
        assert all(budget.disruptions_allowed for budget in bounds if hasattr(budget, "disruptions_allowed"))


@given(subjects(), BOUNDS, st.sampled_from(VETOES), st.integers(0, 7))
def test_a_word_against_it_never_lets_more_go(subject, bounds, veto, number):
    before = handled(subject, bounds)
    pods = [*subject.pods]
    if number < len(pods):
        said = dict(pods[number].needs.annotations) | dict([veto])
        pods[number] = needing(pods[number], annotations=tuple(said.items()))
    after = handled(msgspec.structs.replace(subject, pods=tuple(pods)), bounds)
    assert set(after.pods) <= set(before.pods)
    assert before.way is not None or after.way is None


@given(subjects(), BOUNDS, POLICIES, st.data())
def test_one_bound_more_never_lets_more_go(subject, bounds, policy, data):
    before = handled(subject, bounds, policy)
    after = handled(subject, [*bounds, data.draw(st.one_of(budgets(), AUTOSCALERS, QUOTAS))], policy)
    assert before.way is not None or after.way is None
    assert after.floor >= before.floor or after.refusal is not None


@given(subjects(), BOUNDS, POLICIES, st.sampled_from(["PodDisruptionBudget", "HorizontalPodAutoscaler"]))
def test_nothing_moves_where_budgets_or_autoscalers_are_not_known(subject, bounds, policy, kind):
    known = make_bounds(*bounds, missing=(kind,))
    assert touch.handle(subject, known, policy=policy, now=NOW).way is None


@given(subjects(), BOUNDS, POLICIES, st.randoms(use_true_random=False))
def test_the_order_of_what_is_read_changes_nothing(subject, bounds, policy, random):
    pods, shuffled = [*subject.pods], [*bounds]
    random.shuffle(pods)
    random.shuffle(shuffled)
    one, other = (
        handled(subject, bounds, policy),
        handled(msgspec.structs.replace(subject, pods=tuple(pods)), shuffled, policy),
    )
    assert (one.way, one.refusal, one.floor, one.pods, one.held) == (
        other.way,
        other.refusal,
        other.floor,
        other.pods,
        other.held,
    )


@given(subjects(), BOUNDS, st.integers(0, 300))
def test_what_may_be_disturbed_once_its_time_is_over_may_be_later_too(subject, bounds, minutes):
    pods = tuple(needing(pod, annotations=(("karpenter.sh/do-not-disrupt", "2h"),)) for pod in subject.pods)
    timed, known = msgspec.structs.replace(subject, pods=pods), make_bounds(*bounds)
    now = touch.handle(timed, known, policy=MOVING, now=NOW + timedelta(minutes=minutes))
    later = touch.handle(timed, known, policy=MOVING, now=NOW + timedelta(minutes=minutes + 1))
    assert now.way is None or later == now


@given(subjects(), BOUNDS, POLICIES)
def test_a_namespace_that_says_never_stops_whatever_pods_and_workload_do_not_say(subject, bounds, policy):
    quiet = msgspec.structs.replace(
        subject,
        namespace=Namespace("shop", {"spot-balancer.io/move": "never"}),
        pods=tuple(needing(pod, annotations=()) for pod in subject.pods),
    )
    found = handled(quiet, bounds, policy)
    assert found.refusal in {
        Refusal.NOT_ALLOWED,
        Refusal.MODE,
        Refusal.KIND_NOT_HANDLED,
    }
