"""The nodes of a simulated cluster at one moment, read once however many look at them."""

from collections import deque
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType

from webhook.core import inventory, spotpool
from webhook.core.census import NodeFact
from webhook.core.model import Node
from webhook.core.policy import Policy
from webhook.core.snapshot import Snapshot
from webhook.core.terrain import Terrain

Known = dict[str, tuple[NodeFact, Node]]


class Landscape:
    """All nodes. ``known`` is what was read of each before, and is kept up to date: most are the same as a moment ago."""

    def __init__(self, facts: tuple[NodeFact, ...], policy: Policy, known: Known) -> None:
        self.facts = facts
        self._policy, self._known = policy, known
        self._first: Snapshot | None = None

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """As decisions see them, by name and in its order."""
        return MappingProxyType({fact.name: self._node(fact) for fact in sorted(self.facts, key=lambda one: one.name)})

    @cached_property
    def terrain(self) -> Terrain:
        """As a proof of a destination sees them."""
        return Terrain(sorted(self.facts, key=lambda one: one.name), self._policy)

    def sum_up(self, snapshot: Snapshot) -> None:
        """Let a snapshot that has these very nodes know what the first one of them was told of their fleet."""
        deque(spotpool.fleet_steps(snapshot, self._first), maxlen=0)
        self._first = self._first or snapshot

    def _node(self, fact: NodeFact) -> Node:
        known = self._known.get(fact.name)
        if known is None or known[0] is not fact:
            known = self._known[fact.name] = fact, inventory.node_of(fact, self._policy)
        return known[1]
