"""Pods of every odd shape, nodes, workloads and policies, for laws.

Vocabularies are small on purpose: labels that never meet would make every law true.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from tests import builders
from webhook.core.model import Namespace, Node, Platform, Requirement, Side, Taint, Workload
from webhook.core.placement import DELETION_COST
from webhook.core.policy import Mode, PlacementMode, Policy, Rule
from webhook.core.snapshot import Snapshot

PLATFORMS = [Platform("linux", "amd64"), Platform("linux", "arm64"), Platform("windows", "amd64")]
CAST_SPOT = (
    Requirement("scheduling.cast.ai/spot", "In", ("true",)),
    Requirement("scheduling.cast.ai/spot-fallback", "NotIn", ("true",)),
)
OPENSHIFT = (Requirement("machine.openshift.io/interruptible-instance", "Exists"),)
MARKERS = [builders.KARPENTER_SPOT, builders.AKS_SPOT, CAST_SPOT, OPENSHIFT]
FOREIGN_TAINT = Taint("dedicated", "ml", "NoSchedule")
SOFT_TAINT = Taint("maintenance", "", "PreferNoSchedule")

KEYS = {
    "karpenter.sh/capacity-type": ["spot", "on-demand"],
    "kubernetes.azure.com/scalesetpriority": ["spot", "regular"],
    "scheduling.cast.ai/spot": ["true"],
    "zone": ["a", "b"],
    "kubernetes.io/arch": ["amd64", "arm64"],
    "we~ird/k/ey": ["x", "ä"],
}


@st.composite
def requirements(draw: st.DrawFn) -> dict[str, Any]:
    """A valid requirement over the small vocabulary."""
    key = draw(st.sampled_from(list(KEYS)))
    operator = draw(st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]))
    if operator in ("Exists", "DoesNotExist"):
        return {"key": key, "operator": operator}
    values = draw(st.lists(st.sampled_from(KEYS[key]), min_size=1, max_size=2, unique=True))
    return {"key": key, "operator": operator, "values": values}


def terms() -> st.SearchStrategy[dict[str, Any]]:
    """A term, possibly empty, possibly with an unknown future field."""
    filled = st.fixed_dictionaries(
        {"matchExpressions": st.lists(requirements(), min_size=1, max_size=2)},
        optional={"futureField": st.just({"keep": "me"})},
    )
    return st.one_of(filled, filled, filled, st.just({}))


def node_affinities() -> st.SearchStrategy[dict[str, Any] | None]:
    """Node affinity as pods carry it: absent, null, empty, and filled."""
    required = st.one_of(
        st.none(), st.fixed_dictionaries({"nodeSelectorTerms": st.lists(terms(), min_size=1, max_size=3)})
    )
    wish = st.fixed_dictionaries({"weight": st.integers(1, 100), "preference": terms().filter(bool)})
    preferred = st.one_of(st.none(), st.lists(wish, max_size=2))
    return st.one_of(
        st.none(),
        st.just({}),
        st.fixed_dictionaries(
            {},
            optional={
                "requiredDuringSchedulingIgnoredDuringExecution": required,
                "preferredDuringSchedulingIgnoredDuringExecution": preferred,
            },
        ),
    )


TOLERATIONS = [
    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
    {"operator": "Exists"},
    {"key": "kubernetes.azure.com/scalesetpriority", "operator": "Equal", "value": "spot", "effect": "NoSchedule"},
    {"key": "dedicated", "value": "ml"},
]


ODD_ANNOTATIONS = {"pi~pe/slash": "~1"}
"""A key that tries every escape of a JSON Pointer; no real API server takes its tilde."""
ACCEPTED_ANNOTATIONS = {
    "Big.Prefix/Na_me.with-ALL": "~1",
    f"{'p' * 63}.{'r' * 63}.{'e' * 63}.{'f' * 61}/{'n' * 63}": "ä/☃ \U0001f680\n\x00",
    "1": "",
}
"""As odd as a real one takes: 253 characters, a slash and 63 more; any text as value."""


@st.composite
def pods(draw: st.DrawFn, odd_annotations: Mapping[str, str] = ODD_ANNOTATIONS) -> dict[str, Any]:
    """A raw pod of the idle owner that the API server would admit, optional fields absent, null, empty or filled."""
    spec: dict[str, Any] = {}
    if draw(st.booleans()):
        inner = draw(node_affinities())
        whole: dict[str, Any] = {"podAntiAffinity": {}} if draw(st.booleans()) else {}
        spec["affinity"] = draw(st.sampled_from([None, {}])) if inner is None else whole | {"nodeAffinity": inner}
    if draw(st.booleans()):
        spec["tolerations"] = draw(st.one_of(st.none(), st.lists(st.sampled_from(TOLERATIONS), max_size=3)))
    if draw(st.integers(0, 3)) == 0:
        key = draw(st.sampled_from(["zone", "karpenter.sh/capacity-type"]))
        spec["nodeSelector"] = {key: draw(st.sampled_from(KEYS[key]))}
    pod = builders.make_pod(**spec)
    if draw(st.integers(0, 3)) == 0:
        pod["spec"]["schedulerName"] = draw(st.sampled_from([None, "", "theirs"]))
    if draw(st.booleans()):
        odd = {**odd_annotations, DELETION_COST: "7"} if draw(st.booleans()) else {}
        pod["metadata"]["annotations"] = draw(st.sampled_from([None, odd]))
    if draw(st.booleans()):
        pod["spec"]["futureField"] = {"nested": [1, None, "x"]}
    return pod


@st.composite
def nodes(draw: st.DrawFn, name: str = "n") -> Node:
    """A node, spot or regular, tainted or not, of any platform; also a regular one behind spot's taint."""
    marker = draw(st.sampled_from([(), (), *MARKERS]))
    taints = draw(st.lists(st.sampled_from([builders.AKS_TAINT, FOREIGN_TAINT, SOFT_TAINT]), max_size=2, unique=True))
    if marker and marker != builders.AKS_SPOT:
        taints = [t for t in taints if t != builders.AKS_TAINT]
    return builders.make_node(
        name,
        marker,
        taints=tuple(taints),
        platform=draw(st.sampled_from(PLATFORMS)),
        labels={"zone": draw(st.sampled_from(["a", "b"]))},
        ready=draw(st.integers(0, 5)) > 0,
        schedulable=draw(st.integers(0, 5)) > 0,
    )


@st.composite
def fleets(draw: st.DrawFn) -> list[Node]:
    """Up to five nodes."""
    count = draw(st.integers(0, 5))
    return [draw(nodes(f"node-{number}")) for number in range(count)]


def policies() -> st.SearchStrategy[Policy]:
    """Injecting policies of both placements."""
    return st.builds(
        Policy,
        mode=st.just(Mode.INJECT),
        placement=st.sampled_from(list(PlacementMode)),
        preferred_weight=st.integers(1, 100),
        max_spot=st.sampled_from(["100%", "100%", "50%", "1"]),
        rules=st.just((Rule(name="second", scheduler_name="spot-balancer"),)),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """The idle owner on either side, moved or not, surging or not, anywhere in a random fleet."""
    annotations = [{}, {}, {"spot-balancer.io/spot": "always"}, {"spot-balancer.io/spot": "never"}]
    facts = {
        "annotations": draw(st.sampled_from(annotations)),
        "surge_to": draw(st.sampled_from((None, None, None, *Side))),
        "rule": draw(st.sampled_from(["", "", "second"])),
    }
    side = draw(st.sampled_from([Side.SPOT, Side.SPOT, Side.REGULAR, None]))
    if side is not None:
        key = builders.make_workload().key
        facts["verdict"] = builders.make_verdict(key, side, transitions=draw(st.integers(0, 9)))
    return builders.make_snapshot(
        draw(_workloads(side=side, **facts)),
        nodes=draw(fleets()),
        policy=draw(policies()),
        namespaces=[draw(_namespaces())],
        book_heartbeat=builders.NOW - timedelta(minutes=draw(st.sampled_from([1, 1, 1, 30]))),
    )


@st.composite
def steered_snapshots(draw: st.DrawFn, placement: PlacementMode) -> Snapshot:
    """The idle owner, surely to be steered to spot if the fleet has a way there."""
    return builders.make_snapshot(
        draw(_workloads()),
        nodes=[*draw(fleets()), draw(nodes("last").filter(lambda n: n.marker and n.ready and n.schedulable))],
        policy=Policy(mode=Mode.INJECT, placement=placement),
    )


@st.composite
def _workloads(draw: st.DrawFn, **facts: Any) -> Workload:
    platforms = draw(st.lists(st.sampled_from(PLATFORMS), max_size=2, unique=True))
    counts = {"replicas": draw(st.sampled_from([None, 1, 2, 10])), "pods_on_spot": draw(st.integers(0, 3))}
    return builders.make_workload(ready_platforms=tuple(platforms), **counts, **facts)


def _namespaces() -> st.SearchStrategy[Namespace]:
    annotations = [{}, {}, {"spot-balancer.io/placement": "required"}]
    return st.builds(Namespace, st.just("shop"), st.sampled_from(annotations))
