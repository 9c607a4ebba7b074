"""Each reason by the pod and the world that give it, and what the laws leave open: draws, destinations, doubts.

It is long because one table of reasons and worlds serves all of it.
"""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import AKS_SPOT, AKS_TAINT, KARPENTER_SPOT, NOW, make_node, make_pod, make_snapshot, make_workload
from tests.core import affinity_oracle as oracle
from webhook.core import patch, placement
from webhook.core.model import ControllerRef, Namespace, Node, Platform, Requirement, Side, Taint, WorkloadKey
from webhook.core.placement import Decision, Reason
from webhook.core.policy import Mode, PlacementMode, Policy, SpotPool

ARM = Platform("linux", "arm64")
AKS_NODE = make_node("aks-1", AKS_SPOT, taints=(AKS_TAINT,))
AKS_ARM_NODE = make_node("aks-arm", AKS_SPOT, taints=(AKS_TAINT,), platform=ARM)
INJECT = Policy(mode=Mode.INJECT)
REQUIRED = Policy(mode=Mode.INJECT, placement=PlacementMode.REQUIRED)
TERMS = "requiredDuringSchedulingIgnoredDuringExecution"
WISHES = "preferredDuringSchedulingIgnoredDuringExecution"


def decide(pod: dict | None = None, snapshot=None, *, uid: str = "u-1", namespace: str = "shop", mode=None) -> Decision:
    snapshot = snapshot if snapshot is not None else make_snapshot(make_workload())
    return placement.decide(builders.make_request(pod, uid, namespace), snapshot, now=NOW, mode=mode)


def patched(pod: dict, snapshot, **options) -> dict:
    decision = decide(pod, snapshot, **options)
    return patch.check(pod, patch.build(pod, decision.changes)) if decision.changes else pod


def owned(count: int, **last) -> dict:
    pod = make_pod()
    owner = pod["metadata"]["ownerReferences"][0]
    others = [{**owner, "name": f"other-{n}", "controller": False} for n in range(count)]
    pod["metadata"]["ownerReferences"] = [*others, {**owner, **last}]
    return pod


def verdict(**fields):
    return builders.make_verdict(make_workload().key, **fields)


def required(*terms: dict) -> dict:
    return {"nodeAffinity": {TERMS: {"nodeSelectorTerms": list(terms)}}}


def expression(key: str, operator: str, *values: str) -> dict:
    return {"key": key, "operator": operator} | ({"values": list(values)} if values else {})


def on_host(name: str) -> dict:
    return {"matchFields": [expression("metadata.name", "In", name)]}


_CRITICAL = {"priorityClassName": "system-cluster-critical"}
_WORLDS = {
    Reason.SPOT_PREFERRED: ({}, make_snapshot(make_workload())),
    Reason.SPOT_REQUIRED: ({}, make_snapshot(make_workload(), policy=REQUIRED)),
    Reason.REGULAR_PREFERRED: (
        {},
        make_snapshot(make_workload(verdict=verdict(side=Side.REGULAR, transitions=2))),
    ),
    Reason.REGULAR_REQUIRED: (
        {},
        make_snapshot(make_workload(verdict=verdict(side=Side.REGULAR, transitions=2), surge_to=Side.REGULAR)),
    ),
    Reason.SPOT_TROUBLE: ({}, make_snapshot(make_workload(), nodes=[make_node("s", KARPENTER_SPOT, ready=False)])),
    Reason.MAX_SPOT: ({}, make_snapshot(make_workload(), policy=Policy(mode=Mode.INJECT, max_spot="0%"))),
    Reason.NEVER_MOVED: ({}, make_snapshot(make_workload(side=Side.REGULAR))),
    Reason.ALREADY_DECIDED: ({"annotations": {placement.DECISION: "v1/spot/preferred/1"}}, None),
    Reason.PAUSED: ({}, make_snapshot(make_workload(), policy=Policy(mode=Mode.INJECT, pause=("injection",)))),
    Reason.OBSERVE: ({}, make_snapshot(make_workload(), policy=Policy())),
    Reason.OPTED_OUT: ({"labels": {"spot-balancer.io/skip": "true"}}, None),
    Reason.NO_CONTROLLER: ({"owner": None}, None),
    Reason.DAEMONSET: ({"owner": "agent", "kind": "DaemonSet"}, None),
    Reason.STATIC: ({"annotations": {"kubernetes.io/config.mirror": "x"}}, None),
    Reason.BOUND: ({"nodeName": "regular-1"}, None),
    Reason.PINNED: ({"affinity": required(on_host("regular-1"))}, None),
    Reason.GATED: ({"schedulingGates": [{"name": "example.com/quota"}]}, None),
    Reason.HOST_PATH: ({"volumes": [{"name": "v", "hostPath": {"path": "/var/lib"}}]}, None),
    Reason.CRITICAL: (_CRITICAL, None),
    Reason.CONTRADICTION: ({"nodeSelector": {"karpenter.sh/capacity-type": "on-demand"}}, None),
    Reason.ANNOTATIONS_FULL: ({"annotations": {"note": "x" * (256 * 1024)}}, None),
    Reason.UNKNOWN_OWNER: ({"owner": "stranger"}, None),
    Reason.UNKNOWN_NAMESPACE: ({}, make_snapshot(make_workload(), namespaces=[])),
    Reason.NO_VERDICT: ({}, make_snapshot(make_workload(side=None))),
    Reason.EXPIRED_EVIDENCE: (
        {},
        make_snapshot(make_workload(verdict=verdict(good_at=NOW - timedelta(minutes=61)))),
    ),
    Reason.OLD_BOOK: ({}, make_snapshot(make_workload(), book_heartbeat=NOW - timedelta(minutes=11))),
    Reason.WAKING: ({}, make_snapshot(make_workload(risen_at=NOW - timedelta(minutes=2)))),
    Reason.NO_SPOT_NODES: ({}, make_snapshot(make_workload(), nodes=[make_node("regular-1")])),
    Reason.NO_SPOT_CAPACITY: (
        {},
        make_snapshot(make_workload(), nodes=[make_node("spot-1", KARPENTER_SPOT, taints=(Taint("tenant", "b"),))]),
    ),
    Reason.NO_READY_POD: ({}, make_snapshot(make_workload(ready_platforms=()), nodes=[AKS_NODE])),
    Reason.TOLERATIONS_RESTRICTED: (
        {},
        make_snapshot(
            make_workload(),
            nodes=[AKS_NODE],
            namespaces=[Namespace("shop", {"scheduler.alpha.kubernetes.io/tolerationsWhitelist": "[]"})],
        ),
    ),
    Reason.TOO_MANY_TERMS: (
        {"affinity": required(*({"matchExpressions": [expression("zone", "In", str(n))]} for n in range(40)))},
        make_snapshot(make_workload(), nodes=[AKS_NODE, AKS_ARM_NODE]),
    ),
}
_ELSEWHERE = {
    Reason.KIND_NOT_HANDLED,
    Reason.EXCLUDED_NAMESPACE,
    # The endpoint's own.
    Reason.NO_SNAPSHOT,
    Reason.NOT_A_POD_CREATION,
    Reason.BAD_OBJECT,
    Reason.TOO_LARGE,
    Reason.BAD_PATCH,
    Reason.INTERNAL_ERROR,
}


@pytest.mark.parametrize("reason", _WORLDS, ids=str)
def test_each_reason_is_given_where_it_belongs(reason):
    facts, snapshot = _WORLDS[reason]
    decision = decide(make_pod(**facts), snapshot)
    assert decision.reason is reason
    changes_something = reason in list(Reason)[:6]
    assert (decision.changes is not None) == changes_something


@pytest.mark.parametrize("value", ["false", "", "True"])
def test_only_the_very_word_of_the_registration_keeps_a_pod_away(value):
    decision = decide(make_pod(labels={"spot-balancer.io/skip": value}))
    assert decision.reason is Reason.SPOT_PREFERRED


def test_no_reason_is_without_a_test():
    assert set(Reason) == set(_WORLDS) | _ELSEWHERE


def test_a_namespace_that_is_excluded_is_left_alone_whatever_its_objects_claim():
    assert decide(make_pod(), namespace="kube-system").reason is Reason.EXCLUDED_NAMESPACE


def test_a_statefulset_is_handled_only_where_somebody_asked_by_name():
    def world(**annotations):
        owner = ControllerRef("StatefulSet", "db", "uid-db")
        return make_snapshot(make_workload("db", kind="StatefulSet", controllers=(owner,), annotations=annotations))

    pod = make_pod("db", "StatefulSet")
    assert decide(pod, world()).reason is Reason.KIND_NOT_HANDLED
    assert decide(pod, world(**{"spot-balancer.io/spot": "auto"})).reason is Reason.SPOT_PREFERRED


# --- row 24: owners


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (make_pod(None), Reason.NO_CONTROLLER),
        (owned(49), Reason.SPOT_PREFERRED),
        (owned(49, controller=False), Reason.NO_CONTROLLER),
        (owned(0, kind="Gizmo"), Reason.UNKNOWN_OWNER),
        (owned(0, name="gone-7f9c5d"), Reason.UNKNOWN_OWNER),
    ],
    ids=["none", "fifty", "fifty, none in control", "unheard-of kind", "gone"],
)
def test_odd_owners_lead_to_the_right_workload_or_to_nobody(pod, reason):
    assert decide(pod).reason is reason


@pytest.mark.fault(24)
def test_of_two_controllers_which_no_api_server_admits_the_first_counts():
    pod = make_pod()
    owner = pod["metadata"]["ownerReferences"][0]
    pod["metadata"]["ownerReferences"] = [owner, {**owner, "name": "other"}]
    assert decide(pod).workload == WorkloadKey("shop", "Deployment", "nginx-demo")


def test_a_replicaset_seconds_old_is_found_by_its_name_without_the_hash():
    snapshot = make_snapshot(make_workload(controllers=()))
    assert decide(make_pod(), snapshot).reason is Reason.SPOT_PREFERRED
    foreign = make_pod()
    foreign["metadata"]["labels"]["pod-template-hash"] = "else"
    assert decide(foreign, snapshot).reason is Reason.UNKNOWN_OWNER


# --- row 25: affinity of every shape


ODD_AFFINITIES = {
    "null": None,
    "empty": {},
    "node affinity null": {"nodeAffinity": None},
    "node affinity empty": {"nodeAffinity": {}},
    "required null": {"nodeAffinity": {TERMS: None}},
    "terms null": {"nodeAffinity": {TERMS: {"nodeSelectorTerms": None}}},
    "no terms": required(),
    "an empty term": required({}),
    "preferred null": {"nodeAffinity": {WISHES: None}},
    "preferred empty": {"nodeAffinity": {WISHES: []}},
    "a thousand terms": required(*({"matchExpressions": [expression("n", "In", str(n))]} for n in range(1000))),
    "match fields only": required(on_host("regular-1")),
    "other affinities": {"podAffinity": {}, "podAntiAffinity": {}},
}


@pytest.mark.fault(25)
@pytest.mark.parametrize("policy", [INJECT, REQUIRED], ids=["preferred", "required"])
@pytest.mark.parametrize("shape", ODD_AFFINITIES)
def test_affinity_of_any_shape_ends_in_a_checked_patch_or_none(shape, policy):
    pod = make_pod(affinity=ODD_AFFINITIES[shape])
    snapshot = make_snapshot(make_workload(), policy=policy)
    after = patched(pod, snapshot)
    for node in snapshot.nodes.values():
        assert oracle.matches_affinity(after, node.labels) <= oracle.matches_affinity(pod, node.labels)


@pytest.mark.fault(25)
def test_a_thousand_terms_fall_back_to_a_wish():
    pod = make_pod(affinity=ODD_AFFINITIES["a thousand terms"])
    assert decide(pod, make_snapshot(make_workload(), policy=REQUIRED)).reason is Reason.SPOT_PREFERRED


# --- row 26: pods that have their place


@pytest.mark.fault(26)
@pytest.mark.parametrize(
    "facts",
    [
        {"nodeName": "regular-1"},
        {"nodeSelector": {"karpenter.sh/capacity-type": "on-demand"}},
        {"nodeSelector": {"kubernetes.io/hostname": "regular-1"}},
        {"affinity": required({"matchExpressions": [expression("kubernetes.io/hostname", "In", "regular-1")]})},
        {"affinity": required({"matchExpressions": [expression("karpenter.sh/capacity-type", "NotIn", "spot")]})},
        {"affinity": required({"matchExpressions": [expression("karpenter.sh/capacity-type", "DoesNotExist")]})},
        {"schedulingGates": [{"name": "example.com/gate"}]},
        {"owner": "agent", "kind": "DaemonSet"},
        {"owner": "node-1", "kind": "Node"},
        {"annotations": {"kubernetes.io/config.mirror": "abc"}},
        {"volumes": [{"name": "logs", "hostPath": {"path": "/var/log"}}]},
        {"priorityClassName": "system-node-critical"},
        {"priority": 2_000_001_000},
    ],
    ids=lambda facts: next(iter(facts.values())) if "kind" in facts else next(iter(facts)),
)
def test_a_pod_that_has_its_place_is_left_there(facts):
    assert decide(make_pod(**facts)).changes is None


@pytest.mark.fault(26)
@pytest.mark.parametrize(
    "label",
    [
        ("karpenter.sh/capacity-type", "on-demand"),
        ("karpenter.sh/capacity-type", "reserved"),
        ("cloud.google.com/gke-provisioning", "standard"),
        ("scheduling.cast.ai/spot-fallback", "true"),
    ],
    ids="=".join,
)
@pytest.mark.parametrize("how", ["selector", "term"])
def test_a_pod_may_ask_for_regular_nodes_in_any_providers_words(how, label):
    """The spot nodes are known by another label: a demand for both would match no node at all."""
    eks = (Requirement("eks.amazonaws.com/capacityType", "In", ("SPOT",)),)
    key, value = label
    term = {"matchExpressions": [expression(key, "In", value)]}
    pod = make_pod(nodeSelector={key: value}) if how == "selector" else make_pod(affinity=required(term))
    snapshot = make_snapshot(make_workload(), policy=REQUIRED, nodes=[make_node("spot-1", eks)])
    assert decide(pod, snapshot).reason is Reason.CONTRADICTION


# --- row 27: keys and values that need escaping


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    "annotations",
    [
        {"a/b": "1", "c~d": "2", "~1": "3", "~0/~1": "4"},
        {f"{'x' * 252}.example.com/{'y' * 63}": "long"},
        {"example.com/ключ": "значение", "emoji": "\U0001f388"},
    ],
    ids=["pointer characters", "316 characters", "beyond ASCII"],
)
def test_keys_of_any_spelling_survive_beside_ours(annotations):
    after = patched(make_pod(annotations=annotations), make_snapshot(make_workload()))
    ours = {placement.DECISION: "v1/spot/preferred/1", placement.DELETION_COST: "1"}
    assert after["metadata"]["annotations"] == annotations | ours


LIMIT = 256 * 1024


def stuffed(size: int, filling: str = "x", **annotations: str) -> dict:
    """A pod whose annotations have so many bytes, counted as Kubernetes does: each key and value in UTF-8."""
    rest = size - len("note") - sum(len(k) + len(v) for k, v in annotations.items())
    return make_pod(annotations={"note": filling * (rest // len(filling.encode())), **annotations})


@pytest.mark.fault(27)
@pytest.mark.parametrize("filling", ["x", "ж", "\U0001f388"], ids=["1 byte", "2 bytes", "4 bytes"])
@pytest.mark.parametrize(
    "annotations",
    [{}, {placement.DELETION_COST: "7"}, {placement.DELETION_COST: "70"}],
    ids=["all of ours", "own cost", "own cost, an odd size"],
)
def test_a_pod_is_left_alone_where_ours_would_make_its_annotations_too_large(annotations, filling):
    """The API server would refuse the pod, for a limit that its owner kept to."""
    ours = {placement.DECISION: "v1/spot/preferred/1", placement.DELETION_COST: "1"}
    needed = sum(len(k) + len(v) for k, v in ours.items() if k not in annotations)
    snapshot = make_snapshot(make_workload())
    fits = stuffed(LIMIT - needed, filling, **annotations)
    assert decide(fits, snapshot).reason is Reason.SPOT_PREFERRED
    after = patched(fits, snapshot)["metadata"]["annotations"]
    assert LIMIT - 3 <= sum(len(k.encode()) + len(v.encode()) for k, v in after.items()) <= LIMIT
    full = stuffed(LIMIT - needed + len(filling.encode()), filling, **annotations)
    assert decide(full, snapshot).reason is Reason.ANNOTATIONS_FULL
    assert decide(full, snapshot).changes is None


# --- where it goes


def test_spot_behind_its_marker_taint_needs_the_toleration_and_gets_both():
    after = patched(make_pod(), make_snapshot(make_workload(), nodes=[make_node("regular-1"), AKS_NODE]))
    assert after["spec"]["tolerations"] == [
        {"key": AKS_TAINT.key, "operator": "Equal", "value": "spot", "effect": "NoSchedule"}
    ]
    assert WISHES in after["spec"]["affinity"]["nodeAffinity"]
    assert TERMS not in after["spec"]["affinity"]["nodeAffinity"], "no other platform is about, so nothing to guard"


def test_a_toleration_never_opens_spot_nodes_of_another_architecture():
    nodes = [make_node("regular-1"), make_node("regular-arm", platform=ARM), AKS_NODE, AKS_ARM_NODE]
    after = patched(make_pod(), make_snapshot(make_workload(), nodes=nodes))
    fits = {n.name for n in nodes if oracle.feasible(after, n.labels, _raw(n))}
    assert fits == {"regular-1", "regular-arm", "aks-1"}


def _raw(node: Node) -> list[dict]:
    return [{"key": t.key, "value": t.value, "effect": t.effect} for t in node.taints]


def test_a_demand_never_sends_to_spot_nodes_of_another_architecture_though_nothing_guards_them():
    """A wrong wish costs points; a wrong demand is a pod that cannot start."""
    nodes = [make_node("spot-amd", KARPENTER_SPOT), make_node("spot-arm", KARPENTER_SPOT, platform=ARM)]
    after = patched(make_pod(), make_snapshot(make_workload(), nodes=nodes, policy=REQUIRED))
    assert {n.name for n in nodes if oracle.feasible(after, n.labels, _raw(n))} == {"spot-amd"}


def test_a_demand_for_a_declared_pool_names_the_platform_that_the_pool_may_not_have():
    pool = SpotPool("cheap", KARPENTER_SPOT)
    policy = Policy(mode=Mode.INJECT, placement=PlacementMode.REQUIRED, spot_pools=(pool,))
    after = patched(make_pod(), make_snapshot(make_workload(), nodes=[make_node("regular-1")], policy=policy))
    grown = [make_node("amd", KARPENTER_SPOT), make_node("arm", KARPENTER_SPOT, platform=ARM)]
    assert [oracle.feasible(after, n.labels, _raw(n)) for n in grown] == [True, False]


@pytest.mark.parametrize(("regular", "reason"), [(Platform(), Reason.SPOT_REQUIRED), (ARM, Reason.SPOT_PREFERRED)])
def test_without_a_ready_pod_nothing_is_demanded_while_the_cluster_has_nodes_of_several_platforms(regular, reason):
    nodes = [make_node("regular-1", platform=regular), make_node("spot-1", KARPENTER_SPOT)]
    snapshot = make_snapshot(make_workload(ready_platforms=()), nodes=nodes, policy=REQUIRED)
    assert decide(make_pod(), snapshot).reason is reason


def test_a_declared_pool_of_unknown_architecture_is_guarded_too():
    pool = SpotPool("cheap", AKS_SPOT, (AKS_TAINT,))
    snapshot = make_snapshot(
        make_workload(), nodes=[make_node("regular-1")], policy=Policy(mode=Mode.INJECT, spot_pools=(pool,))
    )
    after = patched(make_pod(), snapshot)
    assert oracle.feasible(after, AKS_NODE.labels, _raw(AKS_NODE))
    assert not oracle.feasible(after, AKS_ARM_NODE.labels, _raw(AKS_ARM_NODE))


@pytest.mark.parametrize("spot", ["auto", "always", "never"])
@pytest.mark.parametrize("mode", [None, Mode.INJECT, Mode.OBSERVE])
@pytest.mark.parametrize("level", ["pod", "workload"])
def test_whose_namespace_nobody_has_seen_is_left_alone_because_its_word_may_be_unheard(spot, mode, level):
    """It may say `spot: never`, or restrict tolerations; a namespace newer than the watch, or a right that is missing."""
    own = {"spot-balancer.io/spot": spot}
    workload = make_workload(annotations=own if level == "workload" else {})
    snapshot = make_snapshot(workload, namespaces=[Namespace("other")])
    decision = decide(make_pod(annotations=own if level == "pod" else {}), snapshot, mode=mode)
    assert (decision.reason, decision.changes) == (Reason.UNKNOWN_NAMESPACE, None)


def test_foreign_taints_make_a_spot_node_no_destination_and_are_never_tolerated():
    tenant = make_node("tenant", AKS_SPOT, taints=(AKS_TAINT, Taint("tenant", "b")))
    decision = decide(make_pod(), make_snapshot(make_workload(), nodes=[tenant]))
    assert decision.reason is Reason.NO_SPOT_CAPACITY


@pytest.mark.parametrize("state", [{"ready": False}, {"schedulable": False}], ids=["not ready", "cordoned"])
@pytest.mark.parametrize(
    ("marker", "taints"), [(KARPENTER_SPOT, ()), (AKS_SPOT, (AKS_TAINT,))], ids=["open", "tainted"]
)
def test_required_is_only_wished_while_there_is_no_destination(state, marker, taints):
    """The demand would leave the pod Pending; the wish keeps it on spot's side for when the pool is back.

    Where none is Ready only who always goes to spot still wishes.
    """
    always = make_workload(annotations={"spot-balancer.io/spot": "always"})
    gone = make_snapshot(always, policy=REQUIRED, nodes=[make_node("spot-1", marker, taints=taints, **state)])
    decision = decide(make_pod(), gone)
    assert decision.reason is Reason.SPOT_PREFERRED
    assert decision.changes.required == ()
    assert [t.key for t in decision.changes.tolerations] == [t.key for t in taints]


def test_required_where_a_pool_can_grow_is_demanded_before_its_first_node():
    pool = SpotPool("cheap", KARPENTER_SPOT)
    growable = make_snapshot(
        make_workload(), nodes=[], policy=Policy(mode=Mode.INJECT, placement=PlacementMode.REQUIRED, spot_pools=(pool,))
    )
    assert decide(make_pod(), growable).reason is Reason.SPOT_REQUIRED


@pytest.mark.parametrize("ready", [True, False])
def test_a_surge_demands_its_side_whatever_the_policy_wishes(ready):
    """Also while no node is ready: the mover waits, and takes the demand back when its patience ends."""
    snapshot = make_snapshot(
        make_workload(surge_to=Side.SPOT), nodes=[make_node("spot-1", KARPENTER_SPOT, ready=ready)]
    )
    assert decide(make_pod(), snapshot).reason is Reason.SPOT_REQUIRED


def test_two_kinds_of_spot_are_two_alternatives():
    other = (Requirement("eks.amazonaws.com/capacityType", "In", ("SPOT",)),)
    nodes = [make_node("a", KARPENTER_SPOT, labels={"zone": "z"}), make_node("b", other)]
    snapshot = make_snapshot(make_workload(), policy=REQUIRED, nodes=nodes)
    after = patched(make_pod(affinity=required({"matchExpressions": [expression("zone", "In", "z")]})), snapshot)
    terms = after["spec"]["affinity"]["nodeAffinity"][TERMS]["nodeSelectorTerms"]
    assert [[e["key"] for e in term["matchExpressions"]] for term in terms] == [
        ["zone", "eks.amazonaws.com/capacityType"],
        ["zone", "karpenter.sh/capacity-type"],
    ]


def test_the_users_own_deletion_cost_stays():
    after = patched(make_pod(annotations={placement.DELETION_COST: "7"}), make_snapshot(make_workload()))
    assert after["metadata"]["annotations"][placement.DELETION_COST] == "7"


def test_waking_ends_when_evidence_has_had_time_to_see_the_new_pods():
    risen = NOW - timedelta(minutes=20)
    seen = make_workload(risen_at=risen, verdict=verdict(good_at=risen + timedelta(minutes=6)))
    assert decide(make_pod(), make_snapshot(seen)).reason is Reason.SPOT_PREFERRED
    unseen = make_workload(risen_at=risen, verdict=verdict(good_at=risen + timedelta(minutes=4)))
    assert decide(make_pod(), make_snapshot(unseen)).reason is Reason.WAKING


@pytest.mark.parametrize(("ahead", "reason"), [(9, Reason.SPOT_PREFERRED), (11, Reason.OLD_BOOK)])
def test_a_heartbeat_from_the_future_is_good_for_no_longer_than_one_of_the_past(ahead, reason):
    snapshot = make_snapshot(make_workload(), book_heartbeat=NOW + timedelta(minutes=ahead))
    assert decide(make_pod(), snapshot).reason is reason


@pytest.mark.parametrize(("ahead", "reason"), [(59, Reason.SPOT_PREFERRED), (61, Reason.EXPIRED_EVIDENCE)])
def test_evidence_from_the_future_is_good_for_no_longer_than_that_of_the_past(ahead, reason):
    snapshot = make_snapshot(make_workload(verdict=verdict(good_at=NOW + timedelta(minutes=ahead))))
    assert decide(make_pod(), snapshot).reason is reason


def test_what_if_the_mode_were_inject():
    snapshot = make_snapshot(make_workload(), policy=Policy())
    assert decide(make_pod(), snapshot, mode=Mode.INJECT).reason is Reason.SPOT_PREFERRED


# --- max-spot


def of_max(share: str, **counts) -> object:
    return make_snapshot(make_workload(**counts), policy=Policy(mode=Mode.INJECT, max_spot=share))


def test_a_burst_judged_on_one_old_snapshot_ends_near_the_share():
    snapshot = of_max("50%", replicas=200, pods=0, pods_on_spot=0)
    went = sum(decide(make_pod(), snapshot, uid=f"uid-{n}").reason is Reason.SPOT_PREFERRED for n in range(200))
    # Four standard deviations of a fair coin thrown 200 times.
    assert abs(went - 100) <= 4 * 7.1


@given(st.text(min_size=1, max_size=40), st.integers(1, 50), st.integers(0, 50))
def test_the_successor_of_a_pod_that_the_snapshot_still_counts_is_not_refused_its_place(uid, pods, on_spot):
    """A controller makes it within milliseconds; at 100 % all of them are on spot, and it belongs there too."""
    snapshot = of_max("100%", replicas=pods, pods=pods, pods_on_spot=min(on_spot, pods))
    assert decide(make_pod(), snapshot, uid=uid).reason is Reason.SPOT_PREFERRED


@pytest.mark.parametrize(("on_spot", "expected"), [(0, 200), (1, 200), (2, 100), (3, 0), (4, 0)])
def test_replacing_one_pod_after_the_other_keeps_the_share_on_average(on_spot, expected):
    """Half of four: with two there, the one that goes is one of them every second time."""
    snapshot = of_max("50%", replicas=4, pods=4, pods_on_spot=on_spot)
    went = sum(decide(make_pod(), snapshot, uid=f"uid-{n}").reason is Reason.SPOT_PREFERRED for n in range(200))
    assert abs(went - expected) <= (4 * 7.1 if expected == 100 else 0)


def test_pods_that_wait_for_their_spot_node_count_as_being_there():
    snapshot = of_max("50%", replicas=200, pods=150, pods_on_spot=40, pods_bound_for_spot=60)
    assert decide(make_pod(), snapshot).reason is Reason.MAX_SPOT


def test_the_first_pod_after_a_scale_from_nought_is_not_refused():
    assert decide(make_pod(), of_max("100%", replicas=0, pods=0)).reason is Reason.SPOT_PREFERRED


@given(st.text(min_size=1, max_size=40), st.integers(0, 10))
def test_a_single_successor_is_told_by_the_count_and_not_by_chance(uid, on_spot):
    snapshot = of_max("30%", replicas=10, pods=9, pods_on_spot=on_spot)
    expected = Reason.SPOT_PREFERRED if on_spot < 3 else Reason.MAX_SPOT
    assert decide(make_pod(), snapshot, uid=uid).reason is expected


@pytest.mark.parametrize("running", [0, 1, 3])
def test_each_pod_of_a_kind_without_replicas_is_drawn_by_itself(running):
    """A CronJob has no pod when its next one comes: half of one is none, and it would never go."""
    job = ControllerRef("Job", "nightly-1", "uid-job")
    workload = make_workload("nightly", kind="CronJob", replicas=None, pods=running, controllers=(job,))
    snapshot = make_snapshot(workload, policy=Policy(mode=Mode.INJECT, max_spot="50%"))
    pod = make_pod("nightly-1", "Job")
    went = sum(decide(pod, snapshot, uid=f"uid-{n}").reason is Reason.SPOT_PREFERRED for n in range(200))
    assert abs(went - 100) <= 4 * 7.1


@pytest.mark.parametrize(("on_spot", "reason"), [(1, Reason.SPOT_PREFERRED), (2, Reason.MAX_SPOT)])
def test_a_count_holds_for_kinds_without_replicas_too(on_spot, reason):
    job = ControllerRef("Job", "nightly-1", "uid-job")
    counts = {"replicas": None, "pods": on_spot, "pods_on_spot": on_spot}
    workload = make_workload("nightly", kind="CronJob", controllers=(job,), **counts)
    snapshot = make_snapshot(workload, policy=Policy(mode=Mode.INJECT, max_spot="2"))
    assert decide(make_pod("nightly-1", "Job"), snapshot).reason is reason


def test_a_draw_that_says_no_is_stamped_so_that_a_second_call_does_not_draw_again():
    snapshot = of_max("1", replicas=10, pods=9, pods_on_spot=1)
    after = patched(make_pod(), snapshot, uid="first")
    assert after["metadata"]["annotations"][placement.DECISION] == "v1/regular/max-spot/1"
    assert "affinity" not in after["spec"]
    assert decide(after, snapshot, uid="second").reason is Reason.ALREADY_DECIDED


def test_where_there_is_no_way_nothing_is_drawn():
    """Or a second call, with a uid of its own, might stamp what the first left alone."""
    tenant = make_node("tenant", KARPENTER_SPOT, taints=(Taint("tenant", "b"),))
    snapshot = make_snapshot(make_workload(), nodes=[tenant], policy=Policy(mode=Mode.INJECT, max_spot="50%"))
    assert {decide(make_pod(), snapshot, uid=f"uid-{n}").reason for n in range(20)} == {Reason.NO_SPOT_CAPACITY}


def test_a_toleration_never_opens_a_regular_node_of_another_architecture():
    """A fallback node wears spot's taint, and no marker by which an affinity could tell it."""
    fallback = make_node("fallback-arm", taints=(AKS_TAINT,), platform=ARM)
    assert decide(make_pod(), make_snapshot(make_workload(), nodes=[AKS_NODE, fallback])).changes is None
    known = make_workload(ready_platforms=(Platform(), ARM))
    assert decide(make_pod(), make_snapshot(known, nodes=[AKS_NODE, fallback])).reason is Reason.SPOT_PREFERRED


def test_the_pod_of_a_job_that_is_not_indexed_yet_belongs_to_its_cron_job():
    """The Job's pod is created within milliseconds of the Job."""
    workload = make_workload("nightly", kind="CronJob", replicas=None, pods=0, controllers=())
    snapshot = make_snapshot(workload)
    assert decide(make_pod("nightly-29384756", "Job"), snapshot).reason is Reason.SPOT_PREFERRED
    assert decide(make_pod("weekly-29384756", "Job"), snapshot).reason is Reason.UNKNOWN_OWNER
    assert decide(make_pod("nightly-by-hand", "Job"), snapshot).reason is Reason.UNKNOWN_OWNER
