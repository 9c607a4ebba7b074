"""Many proofs of a destination in one plan: where spot is full, thousands of workloads ask for the same and hear the same.

What is free only shrinks while a plan is made, so what kept a pod from every node keeps each pod of its kind from them,
and where there was no room for it there is none for a larger one.
"""

from collections import defaultdict
from collections.abc import Hashable

import msgspec

from webhook.core import inventory
from webhook.core.census import PodFact
from webhook.core.fitting import Destination, Ground, Obstacle, Why
from webhook.core.model import Resources, Side


class Proofs:
    """The ground as a plan goes on, and what it has refused so far."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._refused: defaultdict[Hashable, list[tuple[Resources, Why]]] = defaultdict(list)

    def find(self, pod: PodFact, to: Side, *, leaving: bool) -> Destination | Why:
        """As ``Ground.find``, on what is left."""
        kind = self._kind(pod, to, leaving=leaving)
        for least, why in self._refused[kind] if kind is not None else ():
            if why.obstacle is not Obstacle.NO_ROOM or _is_within(least, pod.requests):
                return why
        found = self._ground.find(pod, to, leaving=leaving)
        if kind is not None and isinstance(found, Why):
            self._refused[kind].append((pod.requests, found))
        return found

    def take(self, pod: PodFact, node: str) -> None:
        """Its room there is promised."""
        self._ground = self._ground.taking(pod, node)

    def _kind(self, pod: PodFact, to: Side, *, leaving: bool) -> Hashable | None:
        """All that the rules look at but the size; None where they look at volumes or at other pods of its workload."""
        needs = pod.needs
        if needs.claims or needs.apart_by or needs.spread_by:
            return None
        node = self._ground.terrain.nodes.get(pod.node_name)
        platform = inventory.platform_of(node.labels) if node else None
        steered, _, _ = pod.decision.rpartition("/")
        asked = msgspec.structs.replace(needs, labels=(), annotations=())
        return to, leaving, asked, platform, steered, pod.namespace in self._ground.restricted


def _is_within(least: Resources, asked: Resources) -> bool:
    return least.cpu_cores <= asked.cpu_cores and least.memory_bytes <= asked.memory_bytes
