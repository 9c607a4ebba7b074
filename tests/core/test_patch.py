"""The check before the patch: whatever is more than adding our own is refused."""

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from webhook.core import consent, patch
from webhook.core.placement import DECISION, DELETION_COST, Changes
from webhook.errors import PatchError

ZONE = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
RAW = builders.make_pod(
    annotations={"team": "shop"},
    tolerations=[{"key": "mesh", "operator": "Exists"}],
    affinity={
        "podAntiAffinity": {"x": 1},
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [ZONE, {}]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 3, "preference": ZONE}],
        },
    },
)
NODE_AFFINITY = "/spec/affinity/nodeAffinity"
TERMS = "requiredDuringSchedulingIgnoredDuringExecution"
REQUIRED = f"{NODE_AFFINITY}/{TERMS}"
WISHES = f"{NODE_AFFINITY}/preferredDuringSchedulingIgnoredDuringExecution"


def add(path, value):
    return {"op": "add", "path": path, "value": value}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/spec/tolerations/0", "value": None},
        {"op": "replace", "path": "/spec/schedulerName", "value": "ours"},
        {"op": "test", "path": "/kind", "value": "Pod"},
        add("/spec/containers/-", {"name": "extra"}),
        add("/spec/nodeSelector", {"karpenter.sh/capacity-type": "spot"}),
        add("/spec/priorityClassName", "low"),
        add("/metadata/labels/ours", "x"),
        add("/spec/schedulerName", ""),
        add("/spec/schedulerName", "A b"),
        add("/spec/schedulerName", None),
        add("/spec/schedulerName", ["spot-balancer"]),
        add("/metadata/annotations/theirs", "x"),
        add("/metadata/annotations", {DECISION: "v1"}),
        add("/spec/tolerations", []),
        add("/spec/affinity", {"nodeAffinity": {}}),
        add("/spec/affinity/podAffinity", {}),
        add(WISHES, [{"weight": 4, "preference": ZONE}]),
        add(f"{WISHES}/-", {"weight": 0, "preference": ZONE}),
        add(f"{WISHES}/-", {"weight": 101, "preference": ZONE}),
        add(REQUIRED, {"nodeSelectorTerms": [ZONE]}),
        add(REQUIRED, {"nodeSelectorTerms": [{}, ZONE]}),
        add(REQUIRED, {"nodeSelectorTerms": [ZONE, ZONE, {}, {"matchExpressions": []}, ZONE]}),
        add(REQUIRED, {"nodeSelectorTerms": [ZONE, {"matchExpressions": [{"key": "spot", "operator": "Exists"}]}]}),
        add("/spec/nothing/there", 1),
    ],
    ids=lambda operation: f"{operation['op']} {operation['path']} {str(operation['value'])[:30]}",
)
def test_what_must_not_happen_is_refused(operation):
    with pytest.raises(PatchError):
        patch.check(RAW, [operation])


@pytest.mark.parametrize("key", [DECISION, DELETION_COST])
def test_what_the_owner_wrote_under_our_own_keys_is_theirs(key):
    """A deletion cost of the owner's orders their scale-downs; overwriting it would take the wrong pod away."""
    raw = builders.make_pod(annotations={key: "7"})
    with pytest.raises(PatchError):
        patch.check(raw, [add(f"/metadata/annotations/{patch.escape(key)}", "1")])


BAD_EXPRESSIONS = [
    {"key": "pool", "operator": "In", "values": ["spot-"]},
    {"key": "pool", "operator": "In", "values": []},
    {"key": "pool", "operator": "In"},
    {"key": "pool", "operator": "Exists", "values": ["x"]},
    {"key": "a/b/c", "operator": "Exists"},
    {"key": "", "operator": "Exists"},
    {"key": "pool", "operator": "Like", "values": ["x"]},
    {"key": "pool", "operator": "Exists", "more": 1},
]
BAD_TOLERATIONS = [
    {"operator": "Exists"},
    {"key": "", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "pool", "operator": "Exists"},
    {"key": "pool", "operator": "Exists", "value": "x", "effect": "NoSchedule"},
    {"key": "pool", "operator": "Equal", "value": "x y", "effect": "NoSchedule"},
    {"key": "Pool/x", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "pool", "operator": "Exists", "effect": "Never"},
    {"key": "pool", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3},
]


@pytest.mark.parametrize("expression", BAD_EXPRESSIONS, ids=str)
@pytest.mark.parametrize("how", ["wish", "narrowed", "anew"])
def test_a_requirement_that_kubernetes_would_refuse_is_never_added(expression, how):
    term = {"matchExpressions": [expression]}
    narrowed = {"matchExpressions": [*ZONE["matchExpressions"], expression]}
    raw, operation = {
        "wish": (RAW, add(f"{WISHES}/-", {"weight": 1, "preference": term})),
        "narrowed": (RAW, add(REQUIRED, {"nodeSelectorTerms": [narrowed, {}]})),
        "anew": (builders.make_pod(), add("/spec/affinity", {"nodeAffinity": {TERMS: {"nodeSelectorTerms": [term]}}})),
    }[how]
    with pytest.raises(PatchError, match="would refuse"):
        patch.check(raw, [operation])


@pytest.mark.parametrize("preference", [{}, {"matchExpressions": []}, {"matchFields": []}], ids=str)
def test_a_wish_for_nothing_in_particular_is_never_added(preference):
    with pytest.raises(PatchError, match="without expressions"):
        patch.check(RAW, [add(f"{WISHES}/-", {"weight": 1, "preference": preference})])


@pytest.mark.parametrize("toleration", BAD_TOLERATIONS, ids=str)
def test_a_toleration_that_kubernetes_would_refuse_or_that_is_too_wide_is_never_added(toleration):
    with pytest.raises(PatchError, match="toleration"):
        patch.check(RAW, [add("/spec/tolerations/-", toleration)])


def test_the_owners_own_odd_words_are_the_api_servers_to_judge():
    """Also where we narrow beside them: a key or an operator that we do not know may be tomorrow's."""
    odd = {"matchExpressions": [{"key": "we~ird/k/ey", "operator": "Near", "values": ["ä "]}]}
    affinity = {"nodeAffinity": {TERMS: {"nodeSelectorTerms": [odd]}}}
    raw = builders.make_pod(affinity=affinity, tolerations=[{"key": "a b", "operator": "Gt"}])
    changes = Changes(required=(builders.KARPENTER_SPOT,), preferred=(builders.AKS_SPOT,))
    patch.check(raw, patch.build(raw, changes))


def test_a_weight_of_the_owners_is_the_api_servers_to_judge():
    """It refuses the pod for it; that is no fault of ours."""
    wish = {"weight": 0, "preference": ZONE}
    raw = builders.make_pod(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}})
    patch.check(raw, patch.build(raw, Changes(preferred=(builders.KARPENTER_SPOT,))))


@pytest.mark.parametrize(("spare", "refused"), [(0, False), (-1, True)])
def test_annotations_that_kubernetes_would_refuse_are_refused_here(spare, refused):
    ours = len(DECISION) + len("v1")
    raw = builders.make_pod(annotations={"n": "x" * (consent.MAX_ANNOTATION_BYTES - ours - len("n") - spare)})
    operations = [add(f"/metadata/annotations/{patch.escape(DECISION)}", "v1")]
    if refused:
        with pytest.raises(PatchError, match="limit"):
            patch.check(raw, operations)
    else:
        patch.check(raw, operations)
    assert patch.check(raw, []) == raw, "the owner's own size is the API server's to judge"


def test_narrowing_each_term_in_its_order_is_allowed():
    spot = {"key": "spot", "operator": "Exists"}
    narrowed = {"matchExpressions": [*ZONE["matchExpressions"], spot]}
    other = {"matchExpressions": [*ZONE["matchExpressions"], {"key": "cheap", "operator": "Exists"}]}
    patch.check(RAW, [add(REQUIRED, {"nodeSelectorTerms": [narrowed, other, {}]})])


def test_a_term_that_begins_like_the_one_before_is_not_mistaken_for_it():
    """{a} and {a, b}: what grew from the second also begins like the first."""
    wider = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
    narrower = {"matchExpressions": [*wider["matchExpressions"], {"key": "b", "operator": "Exists"}]}
    raw = builders.make_pod(
        affinity={
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [wider, narrower]}}
        }
    )
    changes = Changes(required=(builders.KARPENTER_SPOT,))
    patch.check(raw, patch.build(raw, changes))


@given(st.text(max_size=30))
def test_any_key_becomes_one_token_that_another_library_reads_back(key):
    document = {"metadata": {"annotations": {"a": "b"}}}
    operations = [add(f"/metadata/annotations/{patch.escape(key)}", "x")]
    assert patch.apply(document, operations)["metadata"]["annotations"][key] == "x"
    assert jsonpatch.JsonPatch(operations).apply(document) == patch.apply(document, operations)


def test_what_is_there_already_is_not_said_twice():
    changes = Changes(preferred=(builders.KARPENTER_SPOT,), weight=100, annotations={DECISION: "v1"})
    once = patch.apply(RAW, patch.build(RAW, changes))
    assert patch.build(once, changes) == []


def test_the_users_weight_of_the_same_wish_stays():
    wish = {
        "weight": 1,
        "preference": {
            "matchExpressions": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]}]
        },
    }
    raw = builders.make_pod(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}})
    assert patch.build(raw, Changes(preferred=(builders.KARPENTER_SPOT,), weight=100)) == []


@pytest.mark.parametrize("there", [None, "", "default-scheduler"])
def test_a_pod_of_the_default_scheduler_is_sent_to_another(there):
    raw = builders.make_pod(schedulerName=there)
    operations = patch.build(raw, Changes(scheduler_name="spot-balancer"))
    assert operations == [add("/spec/schedulerName", "spot-balancer")]
    assert patch.check(raw, operations) == builders.make_pod(schedulerName="spot-balancer")


def test_a_pod_that_names_no_scheduler_at_all_is_sent_too():
    raw = builders.make_pod()
    del raw["spec"]["schedulerName"]
    after = patch.check(raw, patch.build(raw, Changes(scheduler_name="spot-balancer")))
    assert after == builders.make_pod(schedulerName="spot-balancer")


@pytest.mark.parametrize("theirs", ["volcano", "spot-balancer"])
def test_a_scheduler_that_the_owner_chose_is_the_owners(theirs):
    raw = builders.make_pod(schedulerName=theirs)
    assert patch.build(raw, Changes(scheduler_name="spot-balancer")) == []
    with pytest.raises(PatchError, match="owner chose"):
        patch.check(raw, [add("/spec/schedulerName", "other")])
