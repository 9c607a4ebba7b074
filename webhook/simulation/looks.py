"""What a run of the mover looks at, made of what was kept of the last look wherever that is still true.

A census of a whole cluster is indexed anew for each run where one run a minute is all there is to do. Ten thousand runs in
seconds cannot: here each workload is built by `core.inventory` only when something of it changed. A test holds every kept
look against one that was built whole.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

import msgspec

from webhook.core import consent, inventory
from webhook.core.book import Book
from webhook.core.census import Census, ControllerFact, NodeFact, PodFact
from webhook.core.consent import Consent
from webhook.core.constraints import Constraints
from webhook.core.model import Namespace, Side, Verdict, Workload, WorkloadKey
from webhook.core.policy import Policy
from webhook.core.scene import Scene, World
from webhook.core.snapshot import Meta, Snapshot
from webhook.simulation.cluster import Cluster
from webhook.simulation.objects import DeploymentState


class _Kept(NamedTuple):
    """What was built of one workload; it stands for as long as its Deployment's ``stirs`` do, but for what the book says."""

    stirs: int
    workload: Workload
    fact: ControllerFact
    pods: list[PodFact]

    def by(self, verdict: Verdict | None, surge_to: Side | None) -> "_Kept":
        """With what the book says by now."""
        if self.workload.verdict is verdict and self.workload.surge_to is surge_to:
            return self
        told = msgspec.structs.replace(self.workload, verdict=verdict, surge_to=surge_to)
        return self._replace(workload=told)


class Indexes(NamedTuple):
    """What a scene is handed."""

    kept: Mapping[WorkloadKey, _Kept]
    consents: Mapping[WorkloadKey, Consent]
    on_node: Mapping[str, int]
    wants_spot: bool


class KeptScene(Scene):
    """A scene that was handed its indexes."""

    def __init__(self, census: Census, snapshot: Snapshot, indexes: "Indexes") -> None:
        super().__init__(census, snapshot)
        self._kept, self._wants = indexes.kept, indexes.wants_spot
        self._consents, self._counts = indexes.consents, indexes.on_node

    @cached_property
    def facts(self) -> Mapping[WorkloadKey, ControllerFact]:
        """The object of every workload."""
        return {key: one.fact for key, one in self._kept.items()}

    @cached_property
    def pods(self) -> Mapping[WorkloadKey, list[PodFact]]:
        """The active pods of every workload, by name."""
        return {key: one.pods for key, one in self._kept.items()}

    @property
    def wants_spot(self) -> bool:
        """Whether any workload belongs on spot, also one that is not in this look."""
        return self._wants

    @property
    def on_node(self) -> Mapping[str, int]:
        """How many active pods each node has."""
        return self._counts

    @property
    def consents(self) -> Mapping[WorkloadKey, Consent]:
        """What is allowed for every workload's next pod; nobody changes that in a simulation."""
        return self._consents


class Looks:
    """Looks at one cluster."""

    def __init__(self, cluster: Cluster, policy: Policy) -> None:
        self._cluster, self._policy = cluster, policy
        self._nodes: tuple[NodeFact, ...] | None = None
        self._bare = Snapshot(Meta(captured_at=cluster.now(), policy=policy))
        self._kept: dict[WorkloadKey, _Kept] = {}
        self._consents: dict[WorkloadKey, Consent] = {}
        self._namespaces: dict[str, Namespace] = {}

    def world(self, *, wants_spot: bool) -> World:
        """All of it, as `Cluster.world` gives it."""
        cluster = self._cluster
        on_node = {node.name: sum(pod.fact.is_active for pod in node.pods.values()) for node in cluster.nodes.values()}
        return self._look(
            cluster.census(), Indexes(self._refreshed(cluster.deployments), self._consents, on_node, wants_spot)
        )

    def only(self, keys: Iterable[WorkloadKey], *, wants_spot: bool) -> World:
        """The nodes, and of the workloads only these: enough to follow moves of them, and not to begin any."""
        cluster = self._cluster
        found = {key: cluster.deployments[key] for key in keys if key in cluster.deployments}
        budgets = tuple(one.budget for one in found.values() if one.has_budget)
        census = Census(taken_at=cluster.now(), nodes=cluster.node_facts, constraints=Constraints(budgets=budgets))
        return self._look(census, Indexes(self._refreshed(found), self._consents, {}, wants_spot))

    def _look(self, census: Census, indexes: Indexes) -> World:
        book = self._cluster.book
        meta = Meta(
            captured_at=census.taken_at,
            book_heartbeat=book.control.heartbeat,
            alarm=book.control.sanity.alarm,
            policy=self._policy,
        )
        snapshot = Snapshot.from_indexes(
            meta,
            nodes=self._node_snapshot(census).nodes,
            namespaces=self._namespaces,
            workloads={key: one.workload for key, one in indexes.kept.items()},
            controllers={
                (key.namespace, one.kind, one.name): key
                for key, kept in indexes.kept.items()
                for one in kept.workload.controllers
            },
        )
        return World(scene=KeptScene(census, snapshot, indexes), control=book.control, now=census.taken_at)

    def _node_snapshot(self, census: Census) -> Snapshot:
        if census.nodes is not self._nodes:
            self._nodes = census.nodes
            nodes = Census(taken_at=census.taken_at, nodes=census.nodes)
            self._bare = inventory.build(nodes, Book(), self._policy)
        return self._bare

    def _refreshed(self, wanted: Mapping[WorkloadKey, DeploymentState]) -> dict[WorkloadKey, _Kept]:
        book = self._cluster.book
        surging = book.control.surging
        for key, found in wanted.items():
            kept = self._kept.get(key)
            if kept is None or kept.stirs != found.stirs:
                kept = self._built(found, book)
            self._kept[key] = kept.by(book.verdicts.get(str(key)), surging.get(key))
        if not wanted.keys() <= self._consents.keys():
            self._index()
        return {key: self._kept[key] for key in sorted(wanted)}

    def _built(self, found: DeploymentState, book: Book) -> _Kept:
        facts = [pod.fact for pod in found.pods.values()]
        names = {fact.node_name for fact in facts}
        census = Census(
            taken_at=self._cluster.now(),
            nodes=tuple(node.fact for node in self._cluster.nodes.values() if node.name in names),
            namespaces=(Namespace(found.key.namespace),),
            pods=tuple(facts),
            controllers=found.facts,
        )
        workload = inventory.build(census, book, self._policy).workloads[found.key]
        pods = sorted((fact for fact in facts if fact.is_active), key=lambda fact: fact.name)
        return _Kept(found.stirs, workload, found.facts[0], pods)

    def _index(self) -> None:
        """What stays of workloads, whatever happens to them."""
        self._namespaces = {name: Namespace(name) for name in sorted({key.namespace for key in self._kept})}
        self._consents = {
            key: consent.resolve(None, kept.workload, self._namespaces[key.namespace], self._policy)
            for key, kept in self._kept.items()
        }
