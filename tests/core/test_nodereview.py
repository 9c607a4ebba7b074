"""What is said about nodes: each finding where it belongs, and nowhere else."""

import pytest

from tests.builders import AKS_SPOT, AKS_TAINT, KARPENTER_SPOT, make_node, make_snapshot
from webhook.core.model import CapacityType, Node, Requirement, Taint
from webhook.core.nodereview import Code, Weight, review
from webhook.core.policy import Policy, SpotPool

OWN = (Requirement("acme.example/cheap", "In", ("yes",)),)
GUARDED = make_node("spot-1", AKS_SPOT, taints=(AKS_TAINT,))


def findings(*nodes: Node, policy: Policy | None = None) -> dict[str, set[Code]]:
    """Codes by node; those of the whole under the empty name."""
    told: dict[str, set[Code]] = {}
    for finding in review(make_snapshot(nodes=list(nodes), policy=policy)).findings:
        told.setdefault(finding.node, set()).add(finding.code)
    return told


def test_a_guarded_spot_node_beside_a_regular_one_gives_nothing_to_say():
    assert findings(make_node("regular-1"), GUARDED) == {}


def test_a_cluster_without_spot_says_so():
    assert findings(make_node("regular-1")) == {"": {Code.NO_SPOT_NODE}}


def test_a_declared_pool_at_zero_is_a_note_and_no_missing_spot():
    found = review(make_snapshot(nodes=[make_node("r")], policy=Policy(spot_pools=(SpotPool("batch", OWN),))))
    assert [(f.code, f.weight) for f in found.findings] == [(Code.UNMATCHED_POOL, Weight.NOTE)]


CASES = {
    "label without taint": (make_node("n", KARPENTER_SPOT), {Code.LABEL_WITHOUT_TAINT}),
    "taint without label": (make_node("n", taints=(AKS_TAINT,)), {Code.TAINT_WITHOUT_LABEL}),
    "two classes": (
        make_node(
            "n", labels={"karpenter.sh/capacity-type": "spot", "kubernetes.azure.com/scalesetpriority": "regular"}
        ),
        {Code.TWO_CLASSES},
    ),
    "foreign taint": (make_node("n", KARPENTER_SPOT, taints=(Taint("dedicated", "ml"),)), {Code.FOREIGN_TAINT}),
    "foreign taint beside the marker": (
        make_node("n", AKS_SPOT, taints=(AKS_TAINT, Taint("dedicated", "ml"))),
        {Code.FOREIGN_TAINT},
    ),
    "soft taint keeps nobody off": (
        make_node("n", KARPENTER_SPOT, taints=(Taint("dedicated", "ml", "PreferNoSchedule"),)),
        {Code.LABEL_WITHOUT_TAINT},
    ),
    "not ready, with the taint of it": (
        make_node("n", AKS_SPOT, taints=(AKS_TAINT, Taint("node.kubernetes.io/not-ready")), ready=False),
        {Code.NOT_READY},
    ),
    "cordoned, with the taint of it": (
        make_node("n", AKS_SPOT, taints=(AKS_TAINT, Taint("node.kubernetes.io/unschedulable")), schedulable=False),
        {Code.CORDONED},
    ),
    "fallback node keeps its taint by design": (
        make_node(
            "n",
            taints=(Taint("scheduling.cast.ai/spot"),),
            labels={"scheduling.cast.ai/spot": "true", "scheduling.cast.ai/spot-fallback": "true"},
        ),
        set(),
    ),
    "kept class of another release": (
        make_node("n", labels={"lifecycle": "Ec2Spot"}),
        {Code.OTHER_CLASS_NOW},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_oddity_has_its_code_and_no_other(name):
    node, expected = CASES[name]
    assert findings(node, GUARDED).get("n", set()) == expected


def test_a_node_without_platform_labels_is_told_what_it_is_taken_for():
    found = review(make_snapshot(nodes=[Node(name="n", capacity_type=CapacityType.REGULAR), GUARDED])).findings
    assert [f.code for f in found] == [Code.UNKNOWN_PLATFORM]
    assert "linux/amd64" in found[0].advice


def test_what_is_configured_and_matches_nothing_is_named():
    policy = Policy(spot_labels=(OWN,), spot_taints=(Taint("acme.example/cheap"),))
    assert findings(GUARDED, policy=policy)[""] == {Code.UNMATCHED_LABELS, Code.UNMATCHED_TAINTS}


def test_what_is_configured_and_matches_is_not():
    mine = make_node("mine", OWN, taints=(Taint("acme.example/cheap"),))
    policy = Policy(spot_labels=(OWN,), spot_taints=(Taint("acme.example/cheap"),))
    assert findings(mine, policy=policy) == {}


def test_spot_nodes_that_none_can_go_to_are_told_for_the_whole():
    down = make_node("spot-1", AKS_SPOT, taints=(AKS_TAINT,), ready=False)
    assert findings(down)[""] == {Code.NO_DESTINATION}
