"""From a series to its node: by its own label, by the address it was scraped at, or by a host's name."""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import NamedTuple


class Join(StrEnum):
    """How a series was led to a node, best first."""

    LABEL = "label"
    ADDRESS = "address"
    NAME = "name"
    NONE = "none"


class KnownNodes(NamedTuple):
    """The nodes that kube-state-metrics knows, by name and by internal address."""

    names: Collection[str]
    addresses: Mapping[str, str]


def known_nodes(rows: Collection[tuple[Mapping[str, str], float]]) -> KnownNodes:
    """From the answer to ``max by (node, internal_ip) (kube_node_info)``."""
    named = [(labels["node"], labels.get("internal_ip", "")) for labels, _ in rows if labels.get("node")]
    return KnownNodes({node for node, _ in named}, {address: node for node, address in named if address})


def node_of(labels: Mapping[str, str], known: KnownNodes) -> tuple[str, Join]:
    """The node's name, empty for none, and how it was found."""
    if node := labels.get("node"):
        return node, Join.LABEL
    instance = labels.get("instance", "")
    host = instance.rpartition(":")[0].strip("[]") or instance
    if node := known.addresses.get(host):
        return node, Join.ADDRESS
    # Scraped through the API server's proxy, a kubelet's instance is its node's bare name.
    return (host, Join.NAME) if host in known.names else ("", Join.NONE)
