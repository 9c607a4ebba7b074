"""The laws of mutation, M1 to M12, over random pods, workloads and fleets; nodes are matched by an independent evaluator."""

import copy
import json
from datetime import timedelta

import jsonpatch
import msgspec
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from tests import builders, strategies
from tests.core import affinity_oracle as oracle
from webhook.core import patch, placement, spotpool
from webhook.core.model import CapacityType, Node, Platform, Side
from webhook.core.placement import Decision, Reason
from webhook.core.pod import Pod
from webhook.core.policy import Mode, PlacementMode, Policy
from webhook.core.snapshot import Snapshot

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def decide(raw: dict, snapshot: Snapshot, uid: str = "u-1") -> Decision:
    return placement.decide(builders.make_request(raw, uid), snapshot, now=builders.NOW)


def patched(raw: dict, snapshot: Snapshot, uid: str = "u-1") -> tuple[dict, list, Decision]:
    decision = decide(raw, snapshot, uid)
    operations = patch.build(raw, decision.changes) if decision.changes else []
    event(decision.reason)
    return patch.check(raw, operations), operations, decision


def world() -> st.SearchStrategy[tuple[dict, Snapshot]]:
    anything = strategies.snapshots()
    both_ways = [strategies.steered_snapshots(mode) for mode in PlacementMode]
    return st.tuples(strategies.pods(), st.one_of(anything, *both_ways))


def raw_taints(node: Node) -> list[dict]:
    return [{"key": t.key, "value": t.value, "effect": t.effect} for t in node.taints]


def fits(pod: dict, node: Node) -> bool:
    return oracle.feasible(pod, node.labels, raw_taints(node))


def is_spot(node: Node) -> bool:
    return node.capacity_type is CapacityType.SPOT


@given(world(), st.text(min_size=1, max_size=8))
def test_m1_patching_twice_is_patching_once_even_under_another_uid(case, other_uid):
    raw, snapshot = case
    once, _, decision = patched(raw, snapshot)
    _, again, second = patched(once, snapshot, other_uid)
    assert again == []
    stamped = decision.changes is not None and placement.DECISION in decision.changes.annotations
    assert not stamped or second.reason is Reason.ALREADY_DECIDED


@given(world())
def test_m1_without_our_mark_the_affinity_and_tolerations_are_still_said_only_once(case):
    """Another webhook may drop our annotation; the second patch then only puts it back."""
    raw, snapshot = case
    once, _, _ = patched(raw, snapshot)
    (once["metadata"].get("annotations") or {}).pop(placement.DECISION, None)
    _, again, _ = patched(once, snapshot)
    assert all(operation["path"].startswith("/metadata/annotations") for operation in again)


@given(world())
def test_m2_the_same_input_gives_the_same_bytes_and_is_not_modified(case):
    raw, snapshot = case
    before = copy.deepcopy(raw)
    answers = {json.dumps(patched(raw, snapshot)[1]) for _ in range(3)}
    assert len(answers) == 1
    assert raw == before


@given(world())
def test_m3_and_m4_only_our_fields_change_and_nothing_of_the_owners_is_lost_or_reordered(case):
    raw, snapshot = case
    after, _, _ = patched(raw, snapshot)
    assert _without_ours(after) == _without_ours(raw)
    for path in (("tolerations",), ("affinity", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution")):
        old, new = _at(raw["spec"], path), _at(after["spec"], path)
        assert new[: len(old)] == old
    old_annotations = raw["metadata"].get("annotations") or {}
    assert (after["metadata"].get("annotations") or {}).items() >= old_annotations.items()


@given(world())
def test_m3_a_rules_scheduler_takes_the_default_ones_place_alone_and_whatever_the_side(case):
    raw, snapshot = case
    after, _, _ = patched(raw, snapshot)
    before, now = raw["spec"].get("schedulerName"), after["spec"].get("schedulerName")
    (workload,) = snapshot.workloads.values()
    default, is_sent = before in {None, "", "default-scheduler"}, workload.rule == "second"
    event(f"default: {default}, sent: {is_sent}")
    assert now == ("spot-balancer" if default and is_sent else before)


def _at(value: dict, path: tuple[str, ...]) -> list:
    for key in path:
        value = (value or {}).get(key)
    return value or []


def _without_ours(pod: dict) -> dict:
    pod = copy.deepcopy(pod)
    (pod["metadata"].get("annotations") or {}).pop(placement.DECISION, None)
    if not pod["metadata"].get("annotations"):
        pod["metadata"].pop("annotations", None)
    else:
        pod["metadata"]["annotations"].pop(placement.DELETION_COST, None)
        if not pod["metadata"]["annotations"]:
            del pod["metadata"]["annotations"]
    pod["spec"].pop("tolerations", None)
    pod["spec"].pop("schedulerName", None)
    whole = pod["spec"].pop("affinity", None) or {}
    whole.pop("nodeAffinity", None)
    return {"pod": pod, "other affinity": whole}


def steered(mode: PlacementMode) -> st.SearchStrategy[tuple[dict, Snapshot]]:
    return st.tuples(strategies.pods(), strategies.steered_snapshots(mode))


@st.composite
def demanding(draw: st.DrawFn) -> tuple[dict, Snapshot]:
    """A workload that demands spot, in a fleet where often, but not always, there is somewhere to go."""
    asks = [{}, {}, {"nodeSelector": {"zone": "a"}}, {"nodeSelector": {"kubernetes.io/arch": "arm64"}}]
    raw = draw(st.one_of(st.sampled_from(asks).map(lambda spec: builders.make_pod(**spec)), strategies.pods()))
    platforms = draw(st.lists(st.sampled_from(strategies.PLATFORMS), max_size=2, unique=True))
    nodes = [draw(strategies.nodes(f"node-{number}")) for number in range(draw(st.integers(1, 6)))]
    policy = Policy(mode=Mode.INJECT, placement=PlacementMode.REQUIRED)
    workload = builders.make_workload(
        ready_platforms=tuple(platforms), surge_to=Side.SPOT if draw(st.integers(0, 9)) == 9 else None
    )
    return raw, builders.make_snapshot(workload, nodes=nodes, policy=policy)


@given(demanding(), st.lists(strategies.nodes(), min_size=1, max_size=8))
def test_m5_required_means_the_owners_nodes_and_spot_and_the_known_platform_where_spot_has_others(case, others):
    raw, snapshot = case
    after, operations, decision = patched(raw, snapshot)
    if decision.reason is not Reason.SPOT_REQUIRED:
        return
    tolerated = any(o["path"].startswith("/spec/tolerations") for o in operations)
    known = set(next(iter(snapshot.workloads.values())).ready_platforms)
    fleet = spotpool.fleet(snapshot)
    # All markers where the pod gets past their taints, by our toleration or its own; else those that stand open.
    markers = fleet.markers if tolerated or _tolerates_the_guards(raw, fleet, known) else fleet.open_markers
    is_held = tolerated or bool(known and not fleet.platforms <= known)
    event(f"tolerated {tolerated}, all markers {markers == fleet.markers}, held to platforms {is_held}")
    for node in [*snapshot.nodes.values(), *others]:
        shows_one = any(all(spotpool.matches(r, node.labels) for r in marker) for marker in markers)
        platform = Platform(node.labels["kubernetes.io/os"], node.labels["kubernetes.io/arch"])
        expected = oracle.matches_affinity(raw, node.labels) and shows_one and (not is_held or platform in known)
        assert oracle.matches_affinity(after, node.labels) == expected


def _tolerates_the_guards(raw: dict, fleet: spotpool.Fleet, known: set[Platform]) -> bool:
    wanted = [t for platform, taints in fleet.guarded for t in taints if platform is None or platform in known]
    taints = [{"key": t.key, "value": t.value, "effect": t.effect} for t in wanted]
    return bool(wanted) and oracle.tolerates_all(raw, taints)


@given(demanding())
def test_m5_a_demand_is_made_only_where_an_awake_spot_node_meets_all_of_the_pods_own_words(case):
    """Or the pod would be Pending for ever; a surge alone may wait."""
    raw, snapshot = case
    after, _, decision = patched(raw, snapshot)
    if decision.reason is not Reason.SPOT_REQUIRED or next(iter(snapshot.workloads.values())).surging:
        return
    awake = [node for node in snapshot.nodes.values() if is_spot(node) and node.ready and node.schedulable]
    assert any(fits(after, node) for node in awake)


@given(demanding(), st.lists(strategies.nodes(), max_size=8))
def test_m5_what_a_demand_opens_is_spot_of_a_known_platform_and_no_demand_sends_to_a_platform_not_known(case, others):
    """Also with nodes that come after the demand was made, such as an autoscaler's next ones."""
    raw, snapshot = case
    after, _, decision = patched(raw, snapshot)
    if decision.reason is not Reason.SPOT_REQUIRED:
        return
    known = set(next(iter(snapshot.workloads.values())).ready_platforms)
    shown = {node.platform for node in snapshot.nodes.values()}
    for node in [*snapshot.nodes.values(), *others]:
        if fits(after, node) and not fits(raw, node):
            assert is_spot(node)
            assert node.platform in known
    for node in snapshot.nodes.values():
        assert not known or not fits(after, node) or node.platform in known
    workload = next(iter(snapshot.workloads.values()))
    assert known or workload.surging or len(shown) == 1, "nobody knows where it runs, and nodes differ"


@given(
    world() | steered(PlacementMode.PREFERRED) | steered(PlacementMode.PREFERRED),
    st.lists(strategies.nodes(), max_size=5),
)
def test_m6_preferred_takes_away_or_opens_nothing_but_spot_nodes_by_platform(case, others):
    raw, snapshot = case
    after, operations, decision = patched(raw, snapshot)
    assume(decision.mode is PlacementMode.PREFERRED)
    known = set(next(iter(snapshot.workloads.values())).ready_platforms)
    tolerated = any(o["path"].startswith("/spec/tolerations") for o in operations)
    for node in snapshot.nodes.values():
        before_fits, after_fits = fits(raw, node), fits(after, node)
        if before_fits and not after_fits:
            assert tolerated
            assert is_spot(node)
            assert node.platform not in known
        if after_fits and not before_fits:
            # Spot, or a regular node behind the very taint that marks spot: docs/designs/0004 says why that is let be.
            assert tolerated
            assert is_spot(node) or builders.AKS_TAINT in node.taints
            assert node.platform in known
    if not tolerated:
        assert all(fits(raw, node) == fits(after, node) for node in others)


@given(world(), st.lists(strategies.nodes(), min_size=1, max_size=5))
def test_m7_what_matches_nothing_goes_on_matching_nothing(case, others):
    raw, snapshot = case
    raw["spec"]["affinity"] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}, {}]}}
    }
    after, _, _ = patched(raw, snapshot)
    assert not any(fits(after, node) for node in [*snapshot.nodes.values(), *others])


@given(world())
def test_m9_another_rfc_6902_library_reads_our_patch_as_we_do(case):
    raw, snapshot = case
    after, operations, _ = patched(raw, snapshot)
    assert jsonpatch.JsonPatch(operations).apply(raw) == after


@given(world(), st.sampled_from(["affinity", "toleration", "annotation", "sidecar", "selector", "terms"]))
def test_m10_another_webhook_that_only_adds_may_come_first_or_last(case, what):
    """Up to the order of what both added, either order ends in the same demands on nodes."""
    raw, snapshot = case
    ours_first = _other_webhook(patched(raw, snapshot)[0], what)
    ours_first = patched(ours_first, snapshot)[0]
    theirs_first = patched(_other_webhook(raw, what), snapshot)[0]
    assume(decide(_other_webhook(raw, what), snapshot).reason == decide(raw, snapshot).reason)
    event(what)
    for node in snapshot.nodes.values():
        assert fits(ours_first, node) == fits(theirs_first, node)


def _other_webhook(raw: dict, what: str) -> dict:
    pod = copy.deepcopy(raw)
    spec, metadata = pod["spec"], pod["metadata"]
    if what == "affinity":
        spec["affinity"] = (spec.get("affinity") or {}) | {
            "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}
        }
    elif what == "toleration":
        spec["tolerations"] = [*(spec.get("tolerations") or []), {"key": "mesh", "operator": "Exists"}]
    elif what == "annotation":
        metadata["annotations"] = (metadata.get("annotations") or {}) | {"mesh/injected": "true"}
    elif what == "selector":
        spec["nodeSelector"] = {"zone": "a"} | (spec.get("nodeSelector") or {})
    elif what == "terms":
        _narrow_each_term(spec, {"key": "zone", "operator": "In", "values": ["a"]})
    else:
        spec["containers"].append({"name": "proxy", "image": "registry.example/proxy:1"})
    return pod


def _narrow_each_term(spec: dict, requirement: dict) -> None:
    """As a webhook does that keeps pods in a zone: into every alternative, or as the only one; none that is empty."""
    affinity = spec["affinity"] = dict(spec.get("affinity") or {})
    node_affinity = affinity["nodeAffinity"] = dict(affinity.get("nodeAffinity") or {})
    required = dict(node_affinity.get(REQUIRED) or {"nodeSelectorTerms": [{"matchExpressions": []}]})
    required["nodeSelectorTerms"] = [
        term | {"matchExpressions": [*term["matchExpressions"], requirement]} if "matchExpressions" in term else term
        for term in required["nodeSelectorTerms"]
    ]
    node_affinity[REQUIRED] = required


@given(world())
def test_m11_fields_of_a_future_kubernetes_survive(case):
    raw, snapshot = case
    raw["spec"]["tomorrow"] = {"deep": [{"er": None}]}
    raw["somethingElse"] = 1
    after, _, _ = patched(raw, snapshot)
    assert after["spec"]["tomorrow"] == {"deep": [{"er": None}]}
    assert after["somethingElse"] == 1
    assert _future(after) == _future(raw)


def _future(pod: dict) -> int:
    required = _at(pod["spec"], ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"))
    terms = required.get("nodeSelectorTerms", []) if isinstance(required, dict) else []
    return min(1, sum("futureField" in term for term in terms))


@pytest.mark.parametrize(
    ("workload", "meta", "reason"),
    [
        (builders.make_workload(side=None), {}, Reason.NO_VERDICT),
        (builders.make_workload(side=Side.REGULAR), {}, Reason.NEVER_MOVED),
        (builders.make_workload(), {"book_heartbeat": None}, Reason.OLD_BOOK),
        (builders.make_workload(), {"book_heartbeat": builders.NOW - timedelta(minutes=11)}, Reason.OLD_BOOK),
        (
            builders.make_workload(
                verdict=builders.make_verdict(
                    builders.make_workload().key, good_at=builders.NOW - timedelta(minutes=61)
                )
            ),
            {},
            Reason.EXPIRED_EVIDENCE,
        ),
    ],
)
def test_m12_without_a_decided_side_and_fresh_evidence_the_pod_is_left_alone(workload, meta, reason):
    snapshot = builders.make_snapshot(workload, **meta)
    decision = decide(builders.make_pod(), snapshot)
    assert decision.reason is reason
    assert decision.changes is None


@pytest.mark.parametrize("wish", ["always", "never"])
def test_m12_always_and_never_need_no_evidence(wish):
    workload = builders.make_workload(side=None, annotations={"spot-balancer.io/spot": wish})
    decision = decide(builders.make_pod(), builders.make_snapshot(workload, book_heartbeat=None))
    assert decision.reason is (Reason.SPOT_PREFERRED if wish == "always" else Reason.REGULAR_PREFERRED)


WRONG = {
    "one more term": lambda terms, spot: [*terms, {"matchExpressions": [spot]}],
    "only the first term": lambda terms, spot: [
        {**terms[0], "matchExpressions": [*terms[0].get("matchExpressions", []), spot]},
        *terms[1:],
    ],
    "filling an empty term": lambda terms, spot: [
        {**t, "matchExpressions": [*t.get("matchExpressions", []), spot]} for t in terms
    ],
    "replacing the owner's": lambda terms, spot: [{"matchExpressions": [spot]}],
}


@pytest.mark.parametrize("name", WRONG)
def test_the_well_known_wrong_merges_are_caught_by_law_m5_and_by_our_own_check(name):
    """Each shipped in a project somewhere; each lets the pod onto nodes that its owner ruled out, or off spot."""
    spot = {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]}
    terms = [
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]},
        {},
    ]
    raw = builders.make_pod(
        affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    )
    path = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution"
    wrong = [{"op": "add", "path": path, "value": {"nodeSelectorTerms": WRONG[name](terms, spot)}}]
    after = patch.apply(raw, wrong)
    nodes = [
        builders.make_node("spot-a", builders.KARPENTER_SPOT, labels={"zone": "a"}),
        builders.make_node("spot-c", builders.KARPENTER_SPOT, labels={"zone": "c"}),
        builders.make_node("regular-b", labels={"zone": "b", "karpenter.sh/capacity-type": "on-demand"}),
    ]
    right = [fits(raw, node) and is_spot(node) for node in nodes]
    assert [fits(after, node) for node in nodes] != right
    if name != "only the first term":  # which narrows, if not enough: safe, but not what was asked
        with pytest.raises(patch.PatchError):
            patch.check(raw, wrong)


@given(world())
def test_every_odd_shape_decodes_and_is_decided_without_an_exception(case):
    raw, snapshot = case
    assert msgspec.json.decode(json.dumps(raw), type=Pod) == builders.make_request(raw).pod
    assert decide(raw, snapshot).reason in Reason
