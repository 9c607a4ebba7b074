"""What a run of the mover looks at, made of what was kept of the last look wherever that is still true.

A census of a whole cluster is indexed anew for each run where one run a minute is all there is to do. Ten thousand runs in
seconds cannot: here each workload is built by `core.inventory` only when something of it changed, and whoever every plan
would leave where it is, is left out of the look. A test holds every kept look against one that was built whole.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

import msgspec

from webhook.core import consent, inventory
from webhook.core.belonging import belongs
from webhook.core.book import Book
from webhook.core.budget import Wholes
from webhook.core.census import Census, ControllerFact, PodFact
from webhook.core.consent import Consent
from webhook.core.constraints import Constraints
from webhook.core.fitting import Ground
from webhook.core.model import Namespace, Side, Verdict, Workload, WorkloadKey
from webhook.core.policy import Policy
from webhook.core.scene import Scene, World
from webhook.core.snapshot import Meta, Snapshot
from webhook.simulation.cluster import Cluster
from webhook.simulation.objects import DeploymentState
from webhook.simulation.tallies import Tallies, Totals


class _Kept(NamedTuple):
    """What was built of one workload; it stands for as long as its Deployment's ``stirs`` do, but for what the book says.

    ``rests``: every plan leaves it where it is, until it stirs or what was ``said`` of its side changes.
    """

    stirs: int
    workload: Workload
    fact: ControllerFact
    pods: list[PodFact]
    name: str
    rests: bool = False
    said: tuple[object, ...] = ()

    def by(self, verdict: Verdict | None, surge_to: Side | None) -> "_Kept":
        """With what the book says by now."""
        if self.workload.verdict is verdict and self.workload.surge_to is surge_to:
            return self
        told = msgspec.structs.replace(self.workload, verdict=verdict, surge_to=surge_to)
        return self._replace(workload=told)


def _said(verdict: Verdict | None) -> tuple[object, ...]:
    """All that a verdict says of where pods belong; its evidence says when they may go there."""
    return () if verdict is None else (verdict.uid, verdict.side, verdict.transitions)


class Indexes(NamedTuple):
    """What a scene is handed; ``totals`` are None where nothing is to begin."""

    kept: Mapping[WorkloadKey, _Kept]
    consents: Mapping[WorkloadKey, Consent]
    totals: Totals | None
    wants_spot: bool


class KeptScene(Scene):
    """A scene that was handed its indexes."""

    def __init__(self, census: Census, snapshot: Snapshot, indexes: "Indexes") -> None:
        super().__init__(census, snapshot)
        self._kept, self._wants = indexes.kept, indexes.wants_spot
        self._consents, self._totals = indexes.consents, indexes.totals

    @cached_property
    def facts(self) -> Mapping[WorkloadKey, ControllerFact]:
        """The object of every workload of this look."""
        return {key: one.fact for key, one in self._kept.items()}

    @cached_property
    def pods(self) -> Mapping[WorkloadKey, list[PodFact]]:
        """The active pods of every workload of this look, by name."""
        return {key: one.pods for key, one in self._kept.items()}

    @property
    def wants_spot(self) -> bool:
        """Whether any workload belongs on spot, also one that is not in this look."""
        return self._wants

    @property
    def on_node(self) -> Mapping[str, int]:
        """How many active pods each node has, also of workloads that are not in this look."""
        return self._totals.pods if self._totals else {}

    @cached_property
    def wholes(self) -> Mapping[Side, Wholes]:
        """What percents of budgets are of, all workloads counted."""
        return {side: self._totals.wholes(side) for side in Side} if self._totals else super().wholes

    @cached_property
    def ground(self) -> Ground:
        """What is free on the nodes, the pods of all workloads counted."""
        return self._totals.ground(self.bounds) if self._totals else super().ground

    @property
    def consents(self) -> Mapping[WorkloadKey, Consent]:
        """What is allowed for every workload's next pod; nobody changes that in a simulation."""
        return self._consents


class Looks:
    """Looks at one cluster."""

    def __init__(self, cluster: Cluster, policy: Policy) -> None:
        self._cluster, self._policy = cluster, policy
        self._tallies, self._told = Tallies(cluster, policy), 0
        self._kept: dict[WorkloadKey, _Kept] = {}
        self._verdicts: dict[WorkloadKey, Verdict | None] = {}
        self._consents: dict[WorkloadKey, Consent] = {}
        self._namespaces: dict[str, Namespace] = {}

    def world(self, *, wants_spot: bool) -> World:
        """`Cluster.world` without those that rest: enough to plan, for of them no plan says anything that would be done."""
        self._catch_up()
        moving = {move.workload for move in self._cluster.book.control.moves}
        restless = [key for key, kept in self._kept.items() if key in moving or not kept.rests]
        return self._look(restless, self._tallies.totals(), wants_spot=wants_spot)

    def following(self, keys: Iterable[WorkloadKey], *, wants_spot: bool) -> World:
        """Of the workloads only these, beside what all others come to: enough to follow moves, and not to begin any."""
        self._catch_up()
        found = [key for key in keys if key in self._cluster.deployments]
        return self._look(found, self._tallies.totals(), wants_spot=wants_spot)

    def nobody(self, *, wants_spot: bool) -> World:
        """The nodes, and none of the workloads: what no budget and no place is asked of."""
        return self._look((), None, wants_spot=wants_spot)

    def _look(self, keys: Iterable[WorkloadKey], totals: Totals | None, *, wants_spot: bool) -> World:
        cluster, control = self._cluster, self._cluster.book.control
        kept, surging = dict[WorkloadKey, _Kept](), control.surging
        for key in sorted(keys):
            found = self._kept[key]
            kept[key] = self._kept[key] = found.by(cluster.book.verdicts.get(found.name), surging.get(key))
        states = [cluster.deployments[key] for key in kept]
        census = Census(
            taken_at=cluster.now(),
            nodes=cluster.landscape.facts,
            constraints=Constraints(budgets=tuple(one.budget for one in states if one.has_budget)),
        )
        meta = Meta(
            captured_at=census.taken_at,
            book_heartbeat=control.heartbeat,
            alarm=control.sanity.alarm,
            policy=self._policy,
        )
        snapshot = Snapshot.from_indexes(
            meta,
            nodes=cluster.landscape.nodes,
            namespaces=self._namespaces,
            workloads={key: one.workload for key, one in kept.items()},
            controllers={
                (key.namespace, above.kind, above.name): key
                for key, one in kept.items()
                for above in one.workload.controllers
            },
        )
        scene = KeptScene(census, snapshot, Indexes(kept, self._consents, totals, wants_spot))
        return World(scene=scene, control=control, now=census.taken_at)

    def _catch_up(self) -> None:
        """Take in who stirred, and whose side turned, since the last time."""
        cluster, verdicts = self._cluster, self._cluster.book.verdicts
        stirred = set(cluster.stirred[self._told :])
        self._told = len(cluster.stirred)
        turned = set(self._turned(verdicts))
        surging = cluster.book.control.surging
        for key in stirred | turned:
            if key not in cluster.deployments:
                self._kept.pop(key, None)
                self._tallies.drop(key)
                continue
            kept = self._refresh(key, surging)
            self._kept[key] = kept._replace(rests=self._rests(kept), said=_said(kept.workload.verdict))
            if key in stirred:
                self._tallies.take(kept.workload, self._consents[key])

    def _turned(self, verdicts: Mapping[str, Verdict]) -> Iterator[WorkloadKey]:
        for key, kept in self._kept.items():
            verdict = verdicts.get(kept.name)
            if verdict is not self._verdicts.get(key):
                self._verdicts[key] = verdict
                if kept.said != _said(verdict):
                    yield key

    def _refresh(self, key: WorkloadKey, surging: Mapping[WorkloadKey, Side]) -> _Kept:
        found, book = self._cluster.deployments[key], self._cluster.book
        kept = self._kept.get(key)
        if kept is None or kept.stirs != found.stirs:
            kept = self._built(found, book)
        kept = self._kept[key] = kept.by(book.verdicts.get(kept.name), surging.get(key))
        if key not in self._consents:
            self._settle(kept.workload)
        return kept

    def _built(self, found: DeploymentState, book: Book) -> _Kept:
        facts = [pod.fact for pod in found.pods.values()]
        census = Census(
            taken_at=self._cluster.now(),
            namespaces=(Namespace(found.key.namespace),),
            pods=tuple(facts),
            controllers=found.facts,
        )
        nodes = self._cluster.landscape.nodes
        workload = inventory.build(census, book, self._policy, nodes=nodes).workloads[found.key]
        pods = sorted((fact for fact in facts if fact.is_active), key=lambda fact: fact.name)
        return _Kept(found.stirs, workload, found.facts[0], pods, found.name)

    def _settle(self, workload: Workload) -> None:
        """What stays of a workload, whatever happens to it."""
        name = workload.key.namespace
        if name not in self._namespaces:
            self._namespaces = dict(sorted({**self._namespaces, name: Namespace(name)}.items()))
        settled = consent.resolve(None, workload, self._namespaces[name], self._policy)
        self._consents = {**self._consents, workload.key: settled}

    def _rests(self, kept: _Kept) -> bool:
        """Whether all its pods are where they belong, or nobody says where that is.

        What waits for a node may wait for a demand that is over, and is to be freed once it is old enough.
        """
        settled, now = self._consents[kept.workload.key], self._cluster.now()
        side = belongs(kept.workload, settled, self._policy.sides, now=now).side
        if side is None:
            return all(pod.node_name for pod in kept.pods)
        return all(pod.node_name and self._cluster.side(pod.node_name) in (None, side) for pod in kept.pods)
