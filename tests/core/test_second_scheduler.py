"""Which pods are sent to a rule's scheduler, and which are not: those that are not ours to steer, and nobody unasked."""

import msgspec
import pytest

from tests import builders
from tests.builders import NOW, make_pod, make_snapshot, make_workload
from tests.core.move_builders import MOVING, handled, make_subject
from webhook.core import placement, rehearsal
from webhook.core.model import ControllerRef, Namespace, Side
from webhook.core.placement import Changes, Reason
from webhook.core.policy import Match, Mode, Policy, Rule

WEB = Rule(name="web", scheduler_name="spot-balancer")
SENDING = Policy(mode=Mode.INJECT, rules=(WEB,))
SENT = Changes(scheduler_name="spot-balancer")


def decide(pod=None, *, policy=SENDING, namespace=None, workload=None, mode=None):
    workload = workload or make_workload(side=Side.REGULAR, rule="web")
    namespaces = [namespace or Namespace("shop")]
    snapshot = make_snapshot(workload, policy=policy, namespaces=namespaces)
    return placement.decide(builders.make_request(pod or make_pod()), snapshot, now=NOW, mode=mode)


def test_a_pod_that_is_otherwise_left_alone_is_sent_and_given_nothing_else():
    found = decide()
    assert (found.reason, found.side, found.changes) == (Reason.NEVER_MOVED, None, SENT)


@pytest.mark.parametrize("verdict", [None, Side.SPOT])
def test_it_is_sent_whatever_is_known_of_its_side(verdict):
    found = decide(workload=make_workload(side=verdict, rule="web"))
    assert found.changes is not None
    assert found.changes.scheduler_name == "spot-balancer"


def test_a_kind_that_is_not_handled_is_sent_too_for_the_rule_names_it():
    pod = make_pod(owner="db", kind="StatefulSet")
    set_ = make_workload("db", None, kind="StatefulSet", controllers=(ControllerRef("StatefulSet", "db"),), rule="web")
    found = decide(pod, workload=set_)
    assert (found.reason, found.changes) == (Reason.KIND_NOT_HANDLED, SENT)
    assert decide(pod, workload=set_, mode=Mode.OBSERVE).changes is None


@pytest.mark.parametrize(
    "world",
    [
        {"policy": msgspec.structs.replace(SENDING, mode=Mode.OBSERVE)},
        {"policy": msgspec.structs.replace(SENDING, pause=("injection",))},
        {"policy": msgspec.structs.replace(SENDING, excluded_namespaces=("shop",))},
        {"policy": Policy(mode=Mode.INJECT, rules=(msgspec.structs.replace(WEB, mode=Mode.OBSERVE),))},
        {"policy": Policy(mode=Mode.INJECT, rules=(Rule(name="web"), msgspec.structs.replace(WEB, name="other")))},
        {"namespace": Namespace("shop", {"spot-balancer.io/mode": "observe"})},
        {"workload": make_workload(side=Side.REGULAR)},
    ],
    ids=["observe", "paused", "excluded", "observed by rule", "another rule", "observed namespace", "no rule"],
)
def test_nobody_is_sent_where_nothing_may_be_touched_or_nobody_asked(world):
    assert decide(**world).changes is None


@pytest.mark.parametrize(
    "pod",
    [
        make_pod(nodeName="regular-1"),
        make_pod(owner="agent", kind="DaemonSet"),
        make_pod(owner="node-1", kind="Node"),
        make_pod(annotations={"kubernetes.io/config.mirror": "abc"}),
        make_pod(priorityClassName="system-cluster-critical"),
        make_pod(labels={"spot-balancer.io/skip": "true"}),
        make_pod(schedulingGates=[{"name": "example.com/gate"}]),
        make_pod(schedulerName="volcano"),
    ],
    ids=["bound", "daemonset", "node's", "static", "critical", "opted out", "gated", "sent elsewhere"],
)
def test_a_pod_that_is_not_ours_to_steer_is_not_sent(pod):
    assert decide(pod).changes is None


def test_the_rehearsal_of_the_next_pod_shows_it_also_while_only_observing():
    snapshot = make_snapshot(
        make_workload(side=Side.REGULAR, rule="web"), policy=msgspec.structs.replace(SENDING, mode=Mode.OBSERVE)
    )
    (workload,) = snapshot.workloads.values()
    found = rehearsal.rehearse(workload, snapshot)
    assert found.decision.changes is None
    assert found.after["spec"]["schedulerName"] == "spot-balancer"


def test_a_pod_of_the_second_scheduler_is_moved_like_any_other():
    rule = Rule(name="web", match=Match(names=("nginx-demo",)), scheduler_name="spot-balancer")
    policy = msgspec.structs.replace(MOVING, rules=(rule,))
    workload = make_workload(rule="web")
    sent = handled(make_subject(workload=workload, pod={"scheduler_name": "spot-balancer"}), policy=policy)
    assert sent == handled(make_subject(workload=workload), policy=policy)
    assert sent.refusal is None
