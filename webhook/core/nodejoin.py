"""From a series to its node: by its own label, by the address it was scraped at, or by a host's name.

And how far that is to be trusted: a join that fails often may as well lead astray.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

LEAST_MATCHED = 0.9
"""Below this share of load series that lead to a node, the rest is too likely to be led to the wrong one."""


class Join(StrEnum):
    """How a series was led to a node, best first."""

    LABEL = "label"
    ADDRESS = "address"
    NAME = "name"
    STRAY = "stray"
    """Its label names no node that is known, while others of its source do."""
    NONE = "none"


class KnownNodes(NamedTuple):
    """The nodes that kube-state-metrics knows, by name and by internal address."""

    names: Collection[str]
    addresses: Mapping[str, str]


def known_nodes(rows: Collection[tuple[Mapping[str, str], float]]) -> KnownNodes:
    """From the answer to ``max by (node, internal_ip) (kube_node_info)``."""
    named = [(labels["node"], labels.get("internal_ip", "")) for labels, _ in rows if labels.get("node")]
    return KnownNodes({node for node, _ in named}, {address: node for node, address in named if address})


def are_named(rows: Iterable[tuple[Mapping[str, str], float]], known: KnownNodes) -> bool:
    """Whether labels ``node`` of these series name nodes: one that is known says so for all.

    Of what names something else, as a host's other name, the address is asked. Where no node is known, a label is taken at
    its word.
    """
    return not known.names or any(labels.get("node") in known.names for labels, _ in rows)


def node_of(labels: Mapping[str, str], known: KnownNodes, *, named: bool = True) -> tuple[str, Join]:
    """The node's name, empty for none, and how it was found; ``named`` is of its source, see ``are_named``."""
    if named and (label := labels.get("node")):
        # Nor by its address: that of a node that is gone may be another's by now.
        return (label, Join.LABEL) if label in known.names or not known.names else ("", Join.STRAY)
    instance = labels.get("instance", "")
    host = instance.rpartition(":")[0].strip("[]") or instance
    if node := known.addresses.get(host):
        return node, Join.ADDRESS
    # Scraped through the API server's proxy, a kubelet's instance is its node's bare name.
    return (host, Join.NAME) if host in known.names else ("", Join.NONE)


def joins(rows: Iterable[tuple[Mapping[str, str], float]], known: KnownNodes, *, named: bool = True) -> Counter[Join]:
    """How many series were led to a node in which way."""
    return Counter(node_of(labels, known, named=named)[1] for labels, _ in rows)


def counted(series: Counter[Join], newest: Counter[Join]) -> tuple[int, int]:
    """(series, joined) of one source for ``match_rate``; ``newest`` is of the samples that there are at this moment.

    Nodes come and go, and none of that is a join that fails: a rate tells of a node that is gone for its whole window,
    which its newest sample does not, and a label may name a node before kube-state-metrics does, or after. More such
    labels than known ones are names of something else.
    """
    joined = series.total() - series[Join.NONE] - series[Join.STRAY]
    if not joined:
        return series.total(), 0
    lost, strays = (min(series[how], newest[how]) for how in (Join.NONE, Join.STRAY))
    return joined + lost + (strays if strays > joined else 0), joined


def match_rate(sources: Iterable[tuple[int, int]]) -> float | None:
    """The share of series that lead to a node, from (series, joined) of each source; None without series.

    A source that leads nowhere gives no node its load, so it speaks against none.
    """
    counted = list(sources)
    used = [(series, joined) for series, joined in counted if joined]
    series = sum(count for count, _ in used)
    if series:
        return sum(joined for _, joined in used) / series
    return 0.0 if any(count for count, _ in counted) else None


def why_blind(rate: float | None, *, has_load: bool = False) -> str:
    """Why nodes are scored by their capacity type alone; empty where their load counts."""
    reason = blindness(rate, has_load=has_load)
    return f"{reason}, so only the capacity type is scored" if reason else ""


def blindness(rate: float | None, *, has_load: bool) -> str:
    """Why no load counts, in a clause; empty where it does. ``has_load`` is whether there is one of any node."""
    if rate is None:
        return "how many load series lead to a node is not known" if has_load else "no node's load is known"
    if rate < LEAST_MATCHED:
        # Never rounded up to what would suffice.
        return f"{int(rate * 100)} % of load series lead to a node, fewer than {LEAST_MATCHED * 100:.0f} %"
    return ""
