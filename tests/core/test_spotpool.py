"""Each provider's spot nodes are known by their labels; taints are believed only where the table or the operator says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders, strategies
from tests.builders import AKS_SPOT, AKS_TAINT, KARPENTER_SPOT, make_node, make_snapshot
from tests.core import affinity_oracle as oracle
from webhook.core import affinity, spotpool
from webhook.core.model import CapacityType, Requirement, Taint
from webhook.core.policy import Policy, SpotPool

SPOT, REGULAR = CapacityType.SPOT, CapacityType.REGULAR
PLAIN = Policy()

TABLE = [
    ("karpenter.sh/capacity-type", "spot", SPOT),
    ("karpenter.sh/capacity-type", "on-demand", REGULAR),
    ("karpenter.sh/capacity-type", "reserved", REGULAR),
    ("eks.amazonaws.com/capacityType", "SPOT", SPOT),
    ("eks.amazonaws.com/capacityType", "ON_DEMAND", REGULAR),
    ("eks.amazonaws.com/capacityType", "CAPACITY_BLOCK", REGULAR),
    ("cloud.google.com/gke-spot", "true", SPOT),
    ("cloud.google.com/gke-spot", "false", REGULAR),
    ("cloud.google.com/gke-provisioning", "spot", SPOT),
    ("cloud.google.com/gke-provisioning", "preemptible", SPOT),
    ("cloud.google.com/gke-provisioning", "standard", REGULAR),
    ("cloud.google.com/gke-preemptible", "true", SPOT),
    ("cloud.google.com/gke-preemptible", "false", REGULAR),
    ("kubernetes.azure.com/scalesetpriority", "spot", SPOT),
    ("kubernetes.azure.com/scalesetpriority", "regular", REGULAR),
    ("kubernetes.azure.com/priority", "spot", SPOT),
    ("kubernetes.azure.com/priority", "regular", REGULAR),
    ("machine.openshift.io/interruptible-instance", "", SPOT),
    ("node.alibabacloud.com/spot-strategy", "SpotWithPriceLimit", SPOT),
    ("node.alibabacloud.com/spot-strategy", "SpotAsPriceGo", SPOT),
    ("node.alibabacloud.com/spot-strategy", "NoSpot", REGULAR),
    ("oci.oraclecloud.com/oke-is-preemptible", "true", SPOT),
    ("oci.oraclecloud.com/oke-is-preemptible", "false", REGULAR),
    ("yandex.cloud/preemptible", "true", SPOT),
    ("yandex.cloud/preemptible", "false", REGULAR),
    ("spotinst.io/node-lifecycle", "spot", SPOT),
    ("spotinst.io/node-lifecycle", "od", REGULAR),
    ("scheduling.cast.ai/spot", "true", SPOT),
    ("scheduling.cast.ai/spot", "false", REGULAR),
    ("aws.amazon.com/spot", "true", SPOT),
    ("aws.amazon.com/spot", "false", REGULAR),
    ("node-role.kubernetes.io/spot-worker", "", SPOT),
    ("kubernetes.io/role", "spot-worker", SPOT),
    ("kubernetes.io/role", "worker", REGULAR),
    ("node.kubernetes.io/lifecycle", "spot", SPOT),
    ("node.kubernetes.io/lifecycle", "normal", REGULAR),
    ("node.kubernetes.io/lifecycle", "OnDemand", REGULAR),
    ("node.kubernetes.io/lifecycle", "on-demand", REGULAR),
    ("lifecycle", "spot", SPOT),
    ("lifecycle", "Ec2Spot", SPOT),
    ("lifecycle", "EC2Spot", SPOT),
    ("lifecycle", "OnDemand", REGULAR),
    ("lifecycle", "on-demand", REGULAR),
    ("lifecycle", "normal", REGULAR),
    ("node-lifecycle", "spot", SPOT),
    ("node-lifecycle", "OnDemand", REGULAR),
    ("node-lifecycle", "on-demand", REGULAR),
    ("node-lifecycle", "normal", REGULAR),
    ("some.cloud/spot", "true", REGULAR),
]


@pytest.mark.parametrize(("label", "value", "expected"), TABLE)
def test_each_row_of_the_provider_table(label, value, expected):
    found = spotpool.classify({label: value}, policy=PLAIN)
    assert found.capacity_type is expected
    assert bool(found.marker) == (expected is SPOT)
    assert not found.problem
    if label != "some.cloud/spot":
        assert label in found.recognised_by, "also the regular word is known, or a second label could outdo it"


@pytest.mark.parametrize(("label", "value", "expected"), TABLE)
def test_the_marker_matches_the_very_node_it_was_read_from(label, value, expected):
    """Affinity compares letter by letter, so the marker must use the live node's spelling."""
    labels = {label: value}
    marker = spotpool.classify(labels, policy=PLAIN).marker
    if expected is SPOT:
        term = {"matchExpressions": [affinity.as_json(r) for r in marker]}
        assert oracle.matches_term(term, labels)


def test_every_word_of_the_product_is_in_this_table():
    known = {(row.label, word.lower()) for row in spotpool.PROVIDERS for word in (*row.values, *row.regular)}
    assert known <= {(label, value.lower()) for label, value, _ in TABLE}
    assert {row.label for row in spotpool.PROVIDERS} <= {label for label, _, _ in TABLE}


def test_a_fallback_node_that_only_looks_like_spot_is_regular():
    labels = {"scheduling.cast.ai/spot": "true", "scheduling.cast.ai/spot-fallback": "true"}
    found = spotpool.classify(labels, policy=PLAIN)
    assert found.capacity_type is REGULAR
    assert "fallback" in found.recognised_by
    real = spotpool.classify({"scheduling.cast.ai/spot": "true"}, policy=PLAIN)
    term = {"matchExpressions": [affinity.as_json(r) for r in real.marker]}
    assert not oracle.matches_term(term, labels), "nor does the wish for spot lead there"


def test_two_classes_at_once_make_a_regular_node_with_a_problem_to_look_at():
    labels = {"karpenter.sh/capacity-type": "spot", "eks.amazonaws.com/capacityType": "ON_DEMAND"}
    found = spotpool.classify(labels, policy=PLAIN)
    assert found.capacity_type is REGULAR
    assert "two classes" in found.problem


def test_the_operators_own_labels_and_pools_count_too():
    marker = (Requirement("pool", "In", ("cheap",)), Requirement("team", "Exists"))
    policy = Policy(spot_labels=(marker,), spot_pools=(SpotPool("burst", (Requirement("burst", "Exists"),)),))
    assert spotpool.classify({"pool": "cheap"}, policy=policy).capacity_type is REGULAR
    assert spotpool.classify({"pool": "cheap", "team": "x"}, policy=policy).marker == marker
    assert spotpool.classify({"burst": ""}, policy=policy).capacity_type is SPOT
    assert spotpool.kept_labels({"pool": "a", "team": "b", "burst": "", "noise": "c"}, policy=policy).keys() == {
        "pool",
        "team",
        "burst",
    }


TAINTS = [
    (AKS_TAINT, True),
    (Taint("cloud.google.com/gke-spot", "true"), True),
    (Taint("cloud.google.com/gke-preemptible", "true"), True),
    (Taint("oci.oraclecloud.com/oke-is-preemptible", "whatever"), True),
    (Taint("scheduling.cast.ai/spot", ""), True),
    (Taint("kubernetes.azure.com/scalesetpriority", "regular"), False),
    (Taint("type", "gpu-spot"), False),
    (Taint("ToBeDeletedByClusterAutoscaler", "1"), False),
    (Taint("own", "spot"), False),
]


@pytest.mark.parametrize(("taint", "tolerable"), TAINTS)
def test_only_known_markers_are_tolerable(taint, tolerable):
    assert spotpool.tolerable(taint, policy=PLAIN) == tolerable
    assert spotpool.tolerable(taint, policy=Policy(spot_taints=(Taint(taint.key),)))


def test_every_marker_taint_of_the_product_is_in_that_table():
    tried = {taint.key for taint, tolerable in TAINTS if tolerable}
    assert {row.taint.key for row in spotpool.PROVIDERS if row.taint} == tried


def test_a_taint_is_never_learnt_from_a_node():
    learnt = make_node("aks-gpu", AKS_SPOT, taints=(AKS_TAINT, Taint("type", "gpu-spot")))
    fleet = spotpool.fleet(make_snapshot(nodes=[learnt]))
    assert fleet.guarded == ()
    assert fleet.destinations == 0


@pytest.mark.parametrize("state", [{"ready": False}, {"schedulable": False}])
def test_a_node_that_takes_no_pods_is_no_destination_but_still_marks_spot(state):
    fleet = spotpool.fleet(make_snapshot(nodes=[make_node("spot-1", KARPENTER_SPOT, **state)]))
    assert fleet.destinations == 0
    assert not fleet.landings, "a demand would find nothing"
    assert fleet.open_markers == (KARPENTER_SPOT,), "a wish may find it when it is back"
    assert fleet.markers == (KARPENTER_SPOT,)


def test_while_one_destination_is_awake_the_sleeping_ones_do_not_count():
    asleep, awake = make_node("spot-1", strategies.CAST_SPOT, ready=False), make_node("spot-2", KARPENTER_SPOT)
    fleet = spotpool.fleet(make_snapshot(nodes=[asleep, awake]))
    assert (len(fleet.landings), fleet.destinations, fleet.open_markers) == (1, 1, (KARPENTER_SPOT,))


def test_a_soft_taint_keeps_nobody_away():
    soft = make_node("spot-1", KARPENTER_SPOT, taints=(Taint("old", "", "PreferNoSchedule"),))
    assert spotpool.fleet(make_snapshot(nodes=[soft])).open_markers == (KARPENTER_SPOT,)


def test_the_fleet_is_summed_up_once_for_a_snapshot():
    snapshot = make_snapshot()
    assert spotpool.fleet(snapshot) is spotpool.fleet(snapshot)


@given(strategies.fleets())
def test_the_sum_does_not_depend_on_the_order_of_nodes(nodes):
    one, other = (spotpool.fleet(make_snapshot(nodes=order)) for order in (nodes, nodes[::-1]))
    assert (one.markers, one.open_markers, one.destinations) == (other.markers, other.open_markers, other.destinations)
    assert set(one.guarded) == set(other.guarded)


@given(strategies.requirements(), strategies.nodes())
def test_requirements_match_as_the_independent_evaluator_says(requirement, node):
    ours = Requirement(requirement["key"], requirement["operator"], tuple(requirement.get("values", ())))
    assert spotpool.matches(ours, node.labels) == oracle.matches_term({"matchExpressions": [requirement]}, node.labels)


@given(st.sampled_from(["Gt", "Lt"]), st.integers(-5, 5), st.one_of(st.integers(-5, 5), st.just("x")))
def test_numbers_are_compared_as_numbers_and_words_match_nothing(operator, bound, value):
    found = spotpool.matches(Requirement("n", operator, (str(bound),)), {"n": str(value)})
    expected = isinstance(value, int) and (value > bound if operator == "Gt" else value < bound)
    assert found == expected


@given(st.lists(st.sampled_from(strategies.MARKERS), max_size=4, unique=True), strategies.nodes())
def test_not_any_is_the_exact_opposite_of_any(markers, node):
    shows_one = any(all(spotpool.matches(r, node.labels) for r in marker) for marker in markers)
    elsewhere = affinity.not_any(markers)
    assert any(all(spotpool.matches(r, node.labels) for r in one) for one in elsewhere) == (not shows_one)


def test_builders_make_what_the_classifier_sees():
    for node in make_snapshot(
        nodes=[make_node("r"), make_node("s", KARPENTER_SPOT), make_node("a", AKS_SPOT)]
    ).nodes.values():
        assert spotpool.classify(node.labels, policy=builders.Policy()).capacity_type is node.capacity_type
