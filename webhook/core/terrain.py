"""The nodes of a cluster, laid out so that what a pod asks of them is found without looking at each.

Sets of node names are what everything is answered in: who is awake on a side, behind which taints, with which labels.
A label's nodes are gathered when it is first asked for, and kept; a cluster has some forty labels a node, and pods ask
for few of them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from webhook.core import inventory, spotpool
from webhook.core.census import NodeFact
from webhook.core.model import CapacityType, Requirement, Side, Taint
from webhook.core.policy import Policy

Names = frozenset[str]
Terms = tuple[tuple[Requirement, ...], ...]
K = TypeVar("K")

OS, ARCHITECTURE = "kubernetes.io/os", "kubernetes.io/arch"
HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"

_LEAVING = frozenset(
    {
        *("ToBeDeletedByClusterAutoscaler", "DeletionCandidateOfClusterAutoscaler"),
        *("karpenter.sh/disrupted", "karpenter.sh/disruption"),
        *("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/unschedulable"),
        *("node.kubernetes.io/memory-pressure", "node.kubernetes.io/disk-pressure", "node.kubernetes.io/pid-pressure"),
        *("node.kubernetes.io/network-unavailable", "node.kubernetes.io/out-of-service"),
        *("node.cloudprovider.kubernetes.io/uninitialized", "node.cloudprovider.kubernetes.io/shutdown"),
        "cloud.google.com/impending-node-termination",
    }
)
_NOTICES = "aws-node-termination-handler/"
"""Each reason to go has a key of its own under this prefix."""


class Terrain:
    """All nodes. ``awake`` are those that new pods may come to, by side; ``markers`` what spot nodes are known by."""

    def __init__(self, nodes: Iterable[NodeFact], policy: Policy) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.every: Names = frozenset(self.nodes)
        classes = {name: spotpool.classify(node.labels, policy=policy) for name, node in self.nodes.items()}
        awake = {name: classes[name].capacity_type for name, node in self.nodes.items() if _is_awake(node)}
        by_class = _by(awake.items())
        self.awake: dict[Side, Names] = {
            Side.SPOT: by_class.get(CapacityType.SPOT, frozenset()),
            Side.REGULAR: by_class.get(CapacityType.REGULAR, frozenset()),
        }
        pools = (pool.marker for pool in policy.spot_pools)
        self.markers = {*(found.marker for found in classes.values()), *policy.spot_labels, *pools} - {()}
        self._behind = _by((name, spotpool.blocking(node.taints)) for name, node in self.nodes.items())
        self._platforms = _by((name, inventory.platform_of(node.labels)) for name, node in self.nodes.items())
        self._labels: dict[str, dict[str, Names]] = {}

    def open_to(self, tolerated: Callable[[Taint], bool]) -> Names:
        """Nodes all of whose blocking taints are tolerated."""
        return _union(names for taints, names in self._behind.items() if all(map(tolerated, taints)))

    def on(self, wanted: Mapping[str, str]) -> Names:
        """Nodes of the operating system and architecture given, each where it is given."""
        return _union(
            names
            for platform, names in self._platforms.items()
            if wanted.get(OS, platform.os) == platform.os
            and wanted.get(ARCHITECTURE, platform.architecture) == platform.architecture
        )

    def meeting_any(self, terms: Terms) -> Names:
        """Nodes that meet one of the terms; an empty one is met by none, as Kubernetes has it."""
        return _union(self.meeting(term) for term in terms if term)

    def meeting(self, requirements: Iterable[Requirement]) -> Names:
        """Nodes that meet each of them."""
        found = self.every
        for requirement in requirements:
            found &= self._meeting(requirement)
        return found

    def _meeting(self, requirement: Requirement) -> Names:
        by_value = self.by_label(requirement.key)
        match requirement.operator:
            case "In":
                return self.with_label(requirement.key, requirement.values)
            case "NotIn":
                return self.every - self.with_label(requirement.key, requirement.values)
            case "Exists":
                return _union(by_value.values())
            case "DoesNotExist":
                return self.every - _union(by_value.values())
        met = spotpool.matches
        return _union(names for value, names in by_value.items() if met(requirement, {requirement.key: value}))

    def with_label(self, key: str, values: Iterable[str]) -> Names:
        """Nodes whose label has one of the values."""
        by_value = self.by_label(key)
        return _union(by_value[value] for value in set(values) if value in by_value)

    def by_label(self, key: str) -> dict[str, Names]:
        """The nodes that carry the label, by its value."""
        if key not in self._labels:
            self._labels[key] = _by((name, node.labels[key]) for name, node in self.nodes.items() if key in node.labels)
        return self._labels[key]


def _is_awake(node: NodeFact) -> bool:
    """Ready, not cordoned, and with no taint that says it is about to go, whoever tolerates that."""
    if not node.ready or node.unschedulable:
        return False
    return not any(taint.key in _LEAVING or taint.key.startswith(_NOTICES) for taint in node.taints)


def _by(pairs: Iterable[tuple[str, K]]) -> dict[K, Names]:
    """Names by what they are paired with."""
    found: defaultdict[K, set[str]] = defaultdict(set)
    for name, key in pairs:
        found[key].add(name)
    return {key: frozenset(names) for key, names in found.items()}


def _union(several: Iterable[Names]) -> Names:
    # One set is the usual case, and comes back as it is.
    first, *rest = [*several] or [frozenset[str]()]
    return first.union(*rest) if rest else first
