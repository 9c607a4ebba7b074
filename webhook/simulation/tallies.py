"""What is counted of all workloads and nodes of a simulated cluster, brought up to date by those that have changed.

A run of the mover counts all that is there once a minute. In a simulation hardly anything is another than a minute ago.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from webhook.core.bounds import Bounds
from webhook.core.budget import Wholes
from webhook.core.census import FINISHED, NodeFact
from webhook.core.consent import Consent
from webhook.core.fitting import Ground, Room, in_order, room_on
from webhook.core.model import Side, Workload, WorkloadKey
from webhook.core.policy import Mode, Policy
from webhook.core.terrain import Terrain
from webhook.simulation.cluster import Cluster


class Totals(NamedTuple):
    """One moment of it. ``pods`` counts the active ones by node; ``tenants`` all that hold room, by workload and node.

    ``counted`` is what percents of budgets are of, by namespace.
    """

    policy: Policy
    terrain: Terrain
    pods: Mapping[str, int]
    rooms: dict[str, Room]
    tenants: Mapping[WorkloadKey, Mapping[str, int]]
    owners: Mapping[tuple[str, str, str], WorkloadKey]
    counted: dict[Side, dict[str, int]]
    replicas: dict[str, int]

    def wholes(self, side: Side) -> Wholes:
        """What percents of budgets are of, as `Scene.wholes`."""
        counts = self.counted[side]
        return Wholes(cluster=sum(counts.values()), namespaces=counts, workloads=self.replicas, nodes=dict(self.pods))

    def ground(self, bounds: Bounds) -> Ground:
        """What is free on the nodes, as `Scene.ground`; namespaces of a simulation restrict no toleration."""
        return Ground(
            terrain=self.terrain,
            policy=self.policy,
            bounds=bounds,
            workloads=self.owners,
            restricted=frozenset(),
            rooms=self.rooms,
            order=in_order(self.terrain, self.rooms),
            tenants=self.tenants,
        )


class Tallies:
    """Of one cluster. Who changed is told to it; that nodes did, it sees."""

    def __init__(self, cluster: Cluster, policy: Policy) -> None:
        self._cluster, self._policy = cluster, policy
        self._facts: dict[str, NodeFact] = {}
        self._pods: dict[str, int] = {}
        self._rooms: dict[str, Room] = {}
        self._tenants: dict[WorkloadKey, Mapping[str, int]] = {}
        self._active: dict[WorkloadKey, Mapping[str, int]] = {}
        self._owners: dict[tuple[str, str, str], WorkloadKey] = {}
        self._counted: dict[Side, dict[str, int]] = {side: {} for side in Side}
        self._shares: dict[WorkloadKey, tuple[int, int]] = {}
        """What each workload counts for on the way to spot, and on the way back."""
        self._replicas: dict[str, int] = {}
        self._seen: tuple[NodeFact, ...] | None = None
        self._old: set[str] = set()
        """Nodes that are to be counted anew."""

    def drop(self, key: WorkloadKey) -> None:
        """It is gone."""
        self._old.update(self._tenants.pop(key, ()))
        self._active.pop(key, None)
        self._count(key, 0, 0)
        del self._shares[key]
        self._replicas.pop(str(key), None)

    def take(self, workload: Workload, settled: Consent) -> None:
        """It changed, or a pod of it."""
        key, found = workload.key, self._cluster.deployments[workload.key]
        bound = [pod.fact for pod in found.pods.values() if pod.fact.node_name and pod.fact.phase not in FINISHED]
        there, active = Counter(fact.node_name for fact in bound), Counter(f.node_name for f in bound if f.is_active)
        before, was_active = self._tenants.get(key, {}), self._active.get(key, {})
        if there != before or active != was_active:
            # Pods of one workload ask for the same, so a node is another only where their number is.
            names = before.keys() | there.keys()
            self._old |= {n for n in names if (there[n], active[n]) != (before.get(n, 0), was_active.get(n, 0))}
        self._tenants[key], self._active[key] = there, active
        self._owners[key.namespace, key.kind, key.name] = key
        self._owners[key.namespace, "ReplicaSet", found.set_name] = key
        if settled.mode is Mode.MOVE and settled.handled and key.namespace not in self._policy.excluded_namespaces:
            self._count(key, 1, workload.pods_on_spot)
            self._replicas[str(key)] = workload.replicas or workload.pods

    def _count(self, key: WorkloadKey, to_spot: int, to_regular: int) -> None:
        before = self._shares.get(key, (0, 0))
        self._shares[key] = to_spot, to_regular
        for side, old, new in zip((Side.SPOT, Side.REGULAR), before, self._shares[key], strict=True):
            counts = self._counted[side]
            counts[key.namespace] = counts.get(key.namespace, 0) + new - old

    def totals(self) -> Totals:
        """All of it now; what changes later does not change this."""
        self._recount()
        return Totals(
            policy=self._policy,
            terrain=self._cluster.landscape.terrain,
            pods=self._pods.copy(),
            rooms=self._rooms.copy(),
            tenants=self._tenants.copy(),
            owners=self._owners,
            counted={side: counted.copy() for side, counted in self._counted.items()},
            replicas=self._replicas.copy(),
        )

    def _recount(self) -> None:
        nodes, facts = self._cluster.nodes, self._cluster.landscape.facts
        if facts is not self._seen:
            self._seen = facts
            self._old.update(fact.name for fact in facts if self._facts.get(fact.name) is not fact)
            self._forget(self._facts.keys() - nodes.keys())
        for name in self._old & nodes.keys():
            node = nodes[name]
            pods = [pod.fact for pod in node.pods.values()]
            self._facts[name], self._pods[name] = node.fact, sum(fact.is_active for fact in pods)
            self._rooms[name] = room_on(node.fact, (fact for fact in pods if fact.phase not in FINISHED))
        self._old.clear()

    def _forget(self, names: Iterable[str]) -> None:
        for name in list(names):
            del self._facts[name], self._pods[name], self._rooms[name]
