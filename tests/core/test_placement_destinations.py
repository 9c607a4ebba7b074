"""A demand needs somewhere to go: an awake spot node that the pod's own words leave it, as far as labels tell."""

import pytest

from tests.builders import AKS_SPOT, AKS_TAINT, KARPENTER_SPOT, make_node, make_pod, make_snapshot, make_workload
from tests.core.test_placement import REQUIRED, decide, expression, required
from webhook.core import patch, spotpool
from webhook.core.model import Namespace, Node, Platform, Requirement
from webhook.core.placement import Reason
from webhook.core.policy import Mode, PlacementMode, Policy, SpotPool

ZONE, TYPE = "topology.kubernetes.io/zone", "node.kubernetes.io/instance-type"
SPOT_A = make_node("spot-a", KARPENTER_SPOT, labels={ZONE: "a", TYPE: "m5.large"})
TAINTED_B = make_node("aks-b", AKS_SPOT, labels={ZONE: "b"}, taints=(AKS_TAINT,))
SLEEPING_C = make_node("spot-c", KARPENTER_SPOT, labels={ZONE: "c"}, ready=False)


def terms(*alternatives: dict) -> dict:
    return {"affinity": required(*({"matchExpressions": [one]} for one in alternatives))}


@pytest.mark.parametrize(
    ("asks", "reason"),
    [
        ({}, Reason.SPOT_REQUIRED),
        ({"nodeSelector": {ZONE: "a"}}, Reason.SPOT_REQUIRED),
        ({"nodeSelector": {ZONE: "b"}}, Reason.SPOT_REQUIRED),
        ({"nodeSelector": {ZONE: "c"}}, Reason.SPOT_PREFERRED),
        ({"nodeSelector": {ZONE: "z"}}, Reason.SPOT_PREFERRED),
        ({"nodeSelector": {ZONE: "b", TYPE: "m5.large"}}, Reason.SPOT_PREFERRED),
        ({"nodeSelector": {"kubernetes.io/arch": "arm64"}}, Reason.SPOT_PREFERRED),
        ({"nodeSelector": {"disk": "ssd"}}, Reason.SPOT_PREFERRED),
        (terms(expression(ZONE, "In", "z")), Reason.SPOT_PREFERRED),
        (terms(expression(ZONE, "In", "z"), expression(ZONE, "NotIn", "b", "c")), Reason.SPOT_REQUIRED),
        (terms(expression(ZONE, "NotIn", "a", "b")), Reason.SPOT_PREFERRED),
        (terms(expression(TYPE, "DoesNotExist")), Reason.SPOT_REQUIRED),
        (terms(expression("topology.kubernetes.io/region", "Exists")), Reason.SPOT_PREFERRED),
        (terms(expression("disk", "DoesNotExist")), Reason.SPOT_PREFERRED),
        (terms(expression("kubernetes.io/hostname", "NotIn", "regular-1")), Reason.SPOT_PREFERRED),
        (terms(expression(ZONE, "Near", "a")), Reason.SPOT_PREFERRED),
        (terms(expression(ZONE, "Gt", "1_0")), Reason.SPOT_PREFERRED),
        ({**terms(expression(ZONE, "In", "a", "b")), "nodeSelector": {TYPE: "m5.large"}}, Reason.SPOT_REQUIRED),
        ({"affinity": required()}, Reason.SPOT_PREFERRED),
        ({"affinity": required({})}, Reason.SPOT_PREFERRED),
    ],
    ids=str,
)
def test_a_demand_is_made_only_where_the_pods_own_words_leave_a_destination_that_is_awake(asks, reason):
    """Also where nobody can know: of most labels a snapshot says nothing, and a wish costs nobody a pod."""
    snapshot = make_snapshot(make_workload(), policy=REQUIRED, nodes=[SPOT_A, TAINTED_B, SLEEPING_C])
    assert decide(make_pod(**asks), snapshot).reason is reason


def test_where_the_toleration_may_not_be_given_the_tainted_destination_does_not_count():
    whitelist = Namespace("shop", {"scheduler.alpha.kubernetes.io/tolerationsWhitelist": "[]"})
    snapshot = make_snapshot(make_workload(), policy=REQUIRED, nodes=[SPOT_A, TAINTED_B], namespaces=[whitelist])
    assert decide(make_pod(nodeSelector={ZONE: "a"}), snapshot).reason is Reason.SPOT_REQUIRED
    assert decide(make_pod(nodeSelector={ZONE: "b"}), snapshot).reason is Reason.SPOT_PREFERRED


@pytest.mark.parametrize(
    ("asks", "reason"),
    [
        ({"nodeSelector": {"kubernetes.io/os": "linux"}}, Reason.SPOT_REQUIRED),
        ({"nodeSelector": {"kubernetes.io/arch": "amd64", "pool": "cheap"}}, Reason.SPOT_REQUIRED),
        ({"nodeSelector": {"kubernetes.io/arch": "arm64"}}, Reason.SPOT_PREFERRED),
        ({"nodeSelector": {ZONE: "a"}}, Reason.SPOT_PREFERRED),
        (terms(expression("burst", "Exists")), Reason.SPOT_REQUIRED),
        (terms(expression("burst", "In", "yes")), Reason.SPOT_PREFERRED),
        (terms(expression(ZONE, "DoesNotExist")), Reason.SPOT_PREFERRED),
    ],
    ids=str,
)
def test_of_a_declared_pool_only_its_labels_are_known(asks, reason):
    pool = SpotPool("cheap", (Requirement("pool", "In", ("cheap",)), Requirement("burst", "Exists")))
    policy = Policy(mode=Mode.INJECT, placement=PlacementMode.REQUIRED, spot_pools=(pool,))
    snapshot = make_snapshot(make_workload(), nodes=[make_node("regular-1")], policy=policy)
    assert decide(make_pod(**asks), snapshot).reason is reason


def test_a_declared_pool_of_an_architecture_that_is_not_the_workloads_is_no_destination():
    arm = SpotPool("arm", (Requirement("pool", "Exists"), Requirement("kubernetes.io/arch", "In", ("arm64",))))
    policy = Policy(mode=Mode.INJECT, placement=PlacementMode.REQUIRED, spot_pools=(arm,))
    snapshot = make_snapshot(make_workload(), nodes=[make_node("regular-1")], policy=policy)
    assert decide(make_pod(), snapshot).reason is Reason.SPOT_PREFERRED


@pytest.mark.parametrize(("words", "reason"), [(126, Reason.SPOT_REQUIRED), (127, Reason.SPOT_PREFERRED)])
def test_who_asks_more_than_can_be_looked_at_gets_a_wish(words, reason):
    """With the key and the zone that is there: one more than 128 in all."""
    pod = make_pod(**terms(expression(ZONE, "In", "a", *(f"z{n}" for n in range(words)))))
    assert decide(pod, make_snapshot(make_workload(), policy=REQUIRED, nodes=[SPOT_A])).reason is reason


def test_the_cost_of_a_pod_does_not_grow_with_the_kinds_of_nodes():
    nodes = [make_node(f"spot-{n}", KARPENTER_SPOT, labels={ZONE: f"z{n}"}) for n in range(300)]
    fleet = spotpool.fleet(make_snapshot(make_workload(), nodes=[*nodes, SPOT_A, *[_twin(n) for n in range(3)]]))
    assert len(fleet.landings) == spotpool.MAX_LANDINGS
    assert fleet.landings[0].labels[ZONE] == "a", "the most common are kept"


def _twin(number: int) -> Node:
    return make_node(f"twin-{number}", KARPENTER_SPOT, labels={ZONE: "a", TYPE: "m5.large"})


def test_a_demand_of_many_alternatives_is_still_said_only_once_where_our_stamp_got_lost():
    """Six terms times six would pass the limit; what is demanded already needs neither more terms nor a wish beside."""
    both = (Platform("linux", "amd64"), Platform("windows", "amd64"))
    others = [(Requirement(f"pool-{n}", "In", ("cheap",)),) for n in range(2)]
    nodes = [make_node(f"n{n}", marker) for n, marker in enumerate([KARPENTER_SPOT, *others])]
    nodes.append(make_node("arm", KARPENTER_SPOT, platform=Platform("linux", "arm64")))
    snapshot = make_snapshot(make_workload(ready_platforms=both), policy=REQUIRED, nodes=nodes)
    raw = make_pod()
    first = decide(raw, snapshot)
    once = patch.check(raw, patch.build(raw, first.changes))
    must = once["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert len(must["nodeSelectorTerms"]) == 6
    del once["metadata"]["annotations"]
    second = decide(once, snapshot)
    assert (first.reason, second.reason) == (Reason.SPOT_REQUIRED, Reason.SPOT_REQUIRED)
    assert [operation["path"] for operation in patch.build(once, second.changes)] == ["/metadata/annotations"]
