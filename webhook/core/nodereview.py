"""What is to be said about a cluster's nodes: the class of each, how it was found, and what looks wrong.

Findings are information. A node that a person would call broken may be just what its owner wants, so each finding
says what it means for spot-balancer and what to do if that was not meant.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum

from webhook.core import spotpool
from webhook.core.model import CapacityType, Node, Requirement, Taint, Value
from webhook.core.policy import Policy
from webhook.core.snapshot import Snapshot


class Code(StrEnum):
    """What is wrong, in one bounded word."""

    NO_SPOT_NODE = "no-spot-node"
    NO_DESTINATION = "no-destination"
    TWO_CLASSES = "two-classes"
    TAINT_WITHOUT_LABEL = "taint-without-label"
    LABEL_WITHOUT_TAINT = "label-without-taint"
    FOREIGN_TAINT = "foreign-taint"
    NOT_READY = "not-ready"
    CORDONED = "cordoned"
    UNKNOWN_PLATFORM = "unknown-platform"
    OTHER_CLASS_NOW = "other-class-now"
    UNMATCHED_LABELS = "spot-labels-match-nothing"
    UNMATCHED_TAINTS = "spot-taints-match-nothing"
    UNMATCHED_POOL = "spot-pool-matches-nothing"


class Weight(StrEnum):
    """A problem keeps pods from spot or may put them wrong; a note is what many set-ups want."""

    PROBLEM = "problem"
    NOTE = "note"


class Finding(Value, frozen=True, omit_defaults=False):
    """``node`` is empty where the whole cluster or the configuration is meant; ``advice`` is a sentence."""

    code: Code
    advice: str
    node: str = ""
    weight: Weight = Weight.PROBLEM


class NodeView(Value, frozen=True, omit_defaults=False):
    """A node as decisions see it; ``destination`` is whether a spot-bound pod may be sent there now."""

    name: str
    capacity_type: CapacityType
    recognised_by: str
    marker: tuple[Requirement, ...]
    ready: bool
    schedulable: bool
    destination: bool
    os: str
    architecture: str
    taints: tuple[Taint, ...]


class Review(Value, frozen=True, omit_defaults=False):
    """``nodes`` by name, ``findings`` about the cluster first, then in the order of nodes."""

    nodes: tuple[NodeView, ...]
    findings: tuple[Finding, ...]


# Kubernetes taints nodes by their condition; the condition is told already.
_BY_CONDITION = {"node.kubernetes.io/unschedulable", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
_PLATFORM_KEYS = ("kubernetes.io/os", "kubernetes.io/arch")


def review(snapshot: Snapshot) -> Review:
    """Look at every node, then at the whole and at what the configuration lists."""
    policy = snapshot.meta.policy
    nodes = sorted(snapshot.nodes.values(), key=lambda node: node.name)
    findings = [*_of_cluster(nodes, policy), *_of_configuration(nodes, policy)]
    findings += [finding for node in nodes for finding in _of_node(node, policy)]
    return Review(nodes=tuple(_view(node, policy) for node in nodes), findings=tuple(findings))


def words(taint: Taint) -> str:
    """As kubectl writes it: ``key=value:Effect``."""
    return f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"


def _view(node: Node, policy: Policy) -> NodeView:
    return NodeView(
        name=node.name,
        capacity_type=node.capacity_type,
        recognised_by=node.recognised_by,
        marker=node.marker,
        ready=node.ready,
        schedulable=node.schedulable,
        destination=spotpool.destination(node, policy=policy),
        os=node.platform.os,
        architecture=node.platform.architecture,
        taints=node.taints,
    )


# --- the whole


def _of_cluster(nodes: list[Node], policy: Policy) -> Iterator[Finding]:
    spot = [node for node in nodes if _is_spot(node)]
    if not spot and not policy.spot_pools:
        yield Finding(
            Code.NO_SPOT_NODE,
            "no node is recognised as spot and no pool is declared, so no pod is steered; label the nodes as your "
            "provider does, list your own label under spotLabels, or declare a pool that starts at zero under spotPools",
        )
    elif spot and not any(spotpool.destination(node, policy=policy) for node in spot):
        yield Finding(
            Code.NO_DESTINATION,
            f"none of the {len(spot)} spot nodes can take a spot-bound pod now; what keeps each from it is told below",
        )


def _of_configuration(nodes: list[Node], policy: Policy) -> Iterator[Finding]:
    """Where nobody matches what is listed, a word is misspelt, or a pool stands at zero."""
    for number, marker in enumerate(policy.spot_labels):
        if not any(spotpool.matches_all(marker, node.labels) for node in nodes):
            keys = ", ".join(requirement.key for requirement in marker)
            advice = f"no node matches spotLabels[{number}] ({keys}); compare its keys and values with a node's labels"
            yield Finding(Code.UNMATCHED_LABELS, advice)
    for number, known in enumerate(policy.spot_taints):
        if not any(spotpool.covers(known, taint) for node in nodes for taint in node.taints):
            advice = f"no node carries the taint of spotTaints[{number}] ({known.key}); if no pool will, take it out"
            yield Finding(Code.UNMATCHED_TAINTS, advice, weight=Weight.NOTE)
    for pool in policy.spot_pools:
        if not any(spotpool.matches_all(pool.marker, node.labels) for node in nodes):
            advice = f"no node shows the marker of spotPools {pool.name}; fine while the pool is at zero, else compare it with a node's labels"
            yield Finding(Code.UNMATCHED_POOL, advice, weight=Weight.NOTE)


# --- one node


def _of_node(node: Node, policy: Policy) -> Iterator[Finding]:
    yield from _of_class(node, policy)
    yield from _of_taints(node, policy)
    yield from _of_state(node)


def _of_class(node: Node, policy: Policy) -> Iterator[Finding]:
    now = spotpool.classify(node.labels, policy=policy)
    if now.problem:
        yield _about(node, Code.TWO_CLASSES, f"{now.problem}; remove the label that is wrong")
    elif now.capacity_type is not node.capacity_type:
        advice = (
            f"kept as {node.capacity_type}, but its labels say {now.capacity_type} by this release ({now.recognised_by}); "
            "the snapshot is of another release, so capture it anew"
        )
        yield _about(node, Code.OTHER_CLASS_NOW, advice)
    missing = [key for key in _PLATFORM_KEYS if key not in node.labels]
    if missing:
        advice = f"has no label {' and '.join(missing)}; taken as {node.platform.os}/{node.platform.architecture}; its kubelet should set both"
        yield _about(node, Code.UNKNOWN_PLATFORM, advice)


def _of_taints(node: Node, policy: Policy) -> Iterator[Finding]:
    blocking = spotpool.blocking(node.taints)
    ours = [taint for taint in blocking if spotpool.tolerable(taint, policy=policy)]
    if not _is_spot(node):
        if ours and not _is_explained(node, policy):
            advice = (
                f"carries the spot marker {words(ours[0])} but no spot label, so it counts as regular and spot-bound pods "
                "are not opened to it; add its provider's label or list one under spotLabels if it is spot, else remove the taint"
            )
            yield _about(node, Code.TAINT_WITHOUT_LABEL, advice)
        return
    foreign = [taint for taint in blocking if taint not in ours and taint.key not in _BY_CONDITION]
    if foreign:
        advice = (
            f"is no destination: {', '.join(map(words, foreign))} is not a spot marker and is never tolerated; if it means "
            "nothing but spot, list it under spotTaints, else it guards a tenant's pool or a node that is being emptied"
        )
        yield _about(node, Code.FOREIGN_TAINT, advice)
    elif not ours:
        advice = (
            "is spot, but no taint keeps other pods off: anything may land there; taint the pool if that is not wanted"
        )
        yield _about(node, Code.LABEL_WITHOUT_TAINT, advice, weight=Weight.NOTE)


def _of_state(node: Node) -> Iterator[Finding]:
    if not node.ready:
        yield _about(node, Code.NOT_READY, "is not Ready; kubectl describe node tells why")
    if not node.schedulable:
        yield _about(node, Code.CORDONED, "is cordoned; kubectl uncordon opens it again", weight=Weight.NOTE)


def _is_spot(node: Node) -> bool:
    return node.capacity_type is CapacityType.SPOT


def _is_explained(node: Node, policy: Policy) -> bool:
    """A fallback node carries spot's taint by design, and two classes at once are told as such."""
    if spotpool.classify(node.labels, policy=policy).problem:
        return True
    return _any_fallback(node, (row.unless for row in spotpool.PROVIDERS if row.unless))


def _any_fallback(node: Node, marks: Iterable[tuple[str, str]]) -> bool:
    return any(node.labels.get(key, "").lower() == value for key, value in marks)


def _about(node: Node, code: Code, advice: str, *, weight: Weight = Weight.PROBLEM) -> Finding:
    return Finding(code, advice, node=node.name, weight=weight)
