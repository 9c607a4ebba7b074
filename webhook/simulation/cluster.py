"""An in-memory cluster with a clock of its own: nodes, Deployments, and the controllers that work between them.

Time moves only by `advance`, and jumps from one event to the next, so a quiet day costs nothing. All that
happens by chance is drawn from one seed: the same calls in the same order give the same history. The module is long
because each of those who act is in it.

Who acts, and how late:

=============  ======================================================================================
Deployment     sees a change of its object after a controller's lag, and tells its ReplicaSet
ReplicaSet     after another one creates what is missing, or deletes one by one whom its order allows
webhook        decides on nodes and book as they were a sync's lag ago
scheduler      binds after its own lag; what fits nowhere waits until a node or its room changes
kubelet        reports a pod Ready after a time drawn from what its Deployment says
status         the counts of a Deployment follow its pods after a lag
=============  ======================================================================================
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec

from webhook.core import inventory
from webhook.core.book import Book, Control
from webhook.core.budget import Wholes
from webhook.core.census import Census, PodFact
from webhook.core.constraints import Constraints
from webhook.core.inventory import History, Seen
from webhook.core.model import CapacityType, Namespace, Side, Value, Verdict, WorkloadKey
from webhook.core.policy import Mode, Policy
from webhook.core.scene import Scene, World
from webhook.core.snapshot import Snapshot
from webhook.core.spotpool import classify
from webhook.core.victims import possible_victims
from webhook.simulation import accounts
from webhook.simulation.admission import admit
from webhook.simulation.landscape import Known, Landscape
from webhook.simulation.objects import DeploymentSpec, DeploymentState, NodeSpec, NodeState, PodState
from webhook.simulation.record import How, Record
from webhook.simulation.scheduling import choose
from webhook.simulation.timeline import Past, Range, Timeline

START = datetime(2026, 3, 2, tzinfo=UTC)
"""A Monday, midnight."""
MOVING = Policy(mode=Mode.MOVE)
_NOT_READY_SECONDS = 300.0
"""Kubernetes' own toleration of a node that is not Ready; then its pods are deleted."""


class Lags(Value, frozen=True):
    """How late each part acts, in seconds, between two bounds."""

    sync: Range = (0.5, 2.0)
    controller: Range = (0.05, 0.8)
    scheduler: Range = (0.05, 0.5)
    status: Range = (0.05, 0.8)
    stop: Range = (0.5, 3.0)


class Cluster(Timeline):
    """The whole of it. What a run of the mover needs is made by ``webhook.simulation.api``."""

    def __init__(
        self, policy: Policy = MOVING, *, seed: int = 1, start: datetime = START, lags: Lags | None = None
    ) -> None:
        super().__init__(start, seed)
        self.policy, self.record = policy, Record()
        self.nodes: dict[str, NodeState] = {}
        self.specs: dict[str, NodeSpec] = {}
        """Of every node there ever was."""
        self.deployments: dict[WorkloadKey, DeploymentState] = {}
        self.node_changes = self.book_version = 0
        """Count all that changes of nodes, their pods aside, and all writes of the book."""
        self.stirred: list[WorkloadKey] = []
        """Whoever changed, by the object or a pod of it, as often as that was and in its order."""
        self._lags = lags = lags or Lags()
        self._books = Past(Book(), reach_seconds=lags.sync[1])
        self._nodes_known: Known = {}
        self._landscapes = Past(Landscape((), policy, self._nodes_known), reach_seconds=lags.sync[1])
        self._seen: dict[WorkloadKey, Seen] = {}
        self._looked: dict[Side, Wholes] | None = None
        self.waiting: dict[str, PodState] = {}  # pods without a node, by UID

    # --- what an operator, a cloud or a tenant does

    def add_node(self, spec: NodeSpec) -> None:
        """A node joins, Ready."""
        self.specs[spec.name] = spec
        found = classify(spec.fact.labels, policy=self.policy).capacity_type
        self.nodes[spec.name] = NodeState(spec.fact, spot=found is CapacityType.SPOT)
        self._nodes_changed()

    def remove_node(self, name: str) -> None:
        """A node is taken away with all that runs on it, at once: what an interruption comes to."""
        node = self.nodes.pop(name)
        for pod in list(node.pods.values()):
            self._lose(pod)
        self._nodes_changed()

    def set_node(self, name: str, *, ready: bool | None = None, unschedulable: bool | None = None) -> None:
        """A kubelet goes silent or is back; a node is cordoned or uncordoned."""
        node = self.nodes[name]
        ready = node.fact.ready if ready is None else ready
        cordoned = node.fact.unschedulable if unschedulable is None else unschedulable
        went, came = node.fact.ready and not ready, ready and not node.fact.ready
        node.fact = msgspec.structs.replace(node.fact, ready=ready, unschedulable=cordoned)
        for pod in list(node.pods.values()) if went or came else ():
            if went or pod.fact.phase == "Running":
                self._set_ready(pod, ready=came)
        if went:
            self.later(_NOT_READY_SECONDS, partial(self._give_up_on, node))
        self._nodes_changed()

    def add_deployment(self, spec: DeploymentSpec) -> None:
        """A Deployment is made; its pods come by themselves."""
        uid = f"{spec.key}#{next(self._numbers)}"
        made = DeploymentState(spec, uid=uid, replicas=spec.replicas, created_at=self._second())
        self.deployments[spec.key] = made
        self._object_changed(made)

    def delete_deployment(self, key: WorkloadKey) -> None:
        """It is deleted with its pods."""
        gone = self.deployments.pop(key)
        self._stir(gone)
        for pod in list(gone.pods.values()):
            self._delete(pod)

    def set_replicas(self, key: WorkloadKey, replicas: int) -> None:
        """Somebody else's hand, an autoscaler's for instance."""
        self._scale(self.deployments[key], replicas, is_ours=False)

    def set_paused(self, key: WorkloadKey, *, paused: bool) -> None:
        """`kubectl rollout pause`, or resume."""
        found = self.deployments[key]
        found.paused, found.generation = paused, found.generation + 1
        self._object_changed(found)

    def fail_pod(self, key: WorkloadKey, name: str) -> None:
        """A pod dies without a word, as by a lost machine; its controller makes another."""
        self._lose(next(pod for pod in self.deployments[key].pods.values() if pod.fact.name == name))

    def set_pod_ready(self, key: WorkloadKey, name: str, *, ready: bool) -> None:
        """Its readiness probe fails, or is answered again."""
        self._set_ready(next(p for p in self.deployments[key].pods.values() if p.fact.name == name), ready=ready)

    # --- what the API server tells

    def census(self) -> Census:
        """Everything at this moment, constraints too."""
        states = self.deployments.values()
        return Census(
            taken_at=self.now(),
            nodes=self.landscape.facts,
            namespaces=tuple(Namespace(name) for name in sorted({d.key.namespace for d in states})),
            pods=tuple(pod.fact for d in states for pod in d.pods.values()),
            controllers=tuple(fact for d in states for fact in d.facts),
            constraints=self.constraints(),
        )

    def constraints(self) -> Constraints:
        """Disruption budgets alone; there are no autoscalers, quotas or volumes."""
        return Constraints(budgets=tuple(d.budget for d in self.deployments.values() if d.has_budget))

    def world(self) -> World:
        """One look at all of it: what a run of the mover begins with."""
        census = self.census()
        scene = Scene(census, inventory.build(census, self.book, self.policy))
        return World(scene=scene, control=self.book.control, now=self.now())

    def begin_run(self) -> None:
        """A run looks: whatever it books until it ends, percents of budgets are of what was there then.

        A whole pool may be reclaimed between its look and its write, and a percent of nothing is no budget that it broke.
        """
        self._looked = self._wholes()

    def end_run(self) -> None:
        """What is booked from now on, nobody looked for."""
        self._looked = None

    def _wholes(self) -> dict[Side, Wholes]:
        return {side: accounts.wholes(self.deployments, self.nodes, side) for side in Side}

    # --- the book

    @property
    def book(self) -> Book:
        """The verdict book as it is now."""
        return self._books.last

    @property
    def landscape(self) -> Landscape:
        """The nodes; the very same value for as long as nothing of them changes."""
        return self._landscapes.last

    def write_book(self, book: Book) -> None:
        """Write it, whoever does; sync follows after its lag."""
        before = self.book.control
        self.record.booked += accounts.bookings(before, book.control, lambda: self._looked or self._wholes())
        self._books.note(self._seconds, book)
        self.book_version += 1
        ended = () if before.moves is book.control.moves else before.surging.keys() - book.control.surging.keys()
        for key in ended:
            self.later(self._lags.sync[1], partial(self._observe_replicas, key))

    def write_verdict(self, verdict: Verdict) -> None:
        """Write one verdict."""
        book = self.book
        self.write_book(msgspec.structs.replace(book, verdicts={**book.verdicts, str(verdict.key): verdict}))

    def write_control(self, control: Control) -> None:
        """Write the control object."""
        self.write_book(msgspec.structs.replace(self.book, control=control))

    # --- what a write of the API does; webhook.simulation.api answers for the rest

    def scale_by_mover(self, found: DeploymentState, replicas: int) -> None:
        """The scale subresource was written by us."""
        self._scale(found, replicas, is_ours=True)

    def evict_by_mover(self, pod: PodState) -> None:
        """An eviction of ours was granted."""
        before = pod.owner.available
        self._delete(pod)
        self._note_taken(pod, How.EVICTED, before)

    # --- how it works inside

    def _scale(self, found: DeploymentState, replicas: int, *, is_ours: bool) -> None:
        if replicas != found.replicas:
            found.replicas, found.generation, found.is_ours = replicas, found.generation + 1, is_ours
        self._object_changed(found)
        self._after(self._lags.sync, partial(self._observe_replicas, found.key))

    def _object_changed(self, found: DeploymentState) -> None:
        self._touch(found)
        self._once(found, "observe", self._lags.controller, self._observe)

    def _touch(self, found: DeploymentState) -> None:
        found.touch()
        self._stir(found)

    def _stir(self, found: DeploymentState) -> None:
        found.stirs += 1
        self.stirred.append(found.key)

    def _pods_changed(self, found: DeploymentState) -> None:
        self._stir(found)
        accounts.availability(found, self.nodes, self.record.availability[found.key], self.now())
        self._once(found, "reconcile", self._lags.controller, self._reconcile)
        self._once(found, "status", self._lags.status, self._tell_status)

    def _once(self, found: DeploymentState, what: str, lag: Range, act: Callable[[DeploymentState], None]) -> None:
        """Do it soon, and once for all that asked meanwhile."""
        if what in found.scheduled:
            return
        found.scheduled.add(what)

        def due() -> None:
            found.scheduled.discard(what)
            act(found)

        self._after(lag, due)

    def _observe(self, found: DeploymentState) -> None:
        """The Deployment's controller; a paused one still scales."""
        found.observed, found.asked = found.generation, found.replicas
        found.touch()
        self._pods_changed(found)

    def _tell_status(self, found: DeploymentState) -> None:
        counts = (len(found.active), found.available)
        if counts != found.counts:
            found.counts = counts
            self._touch(found)

    def _reconcile(self, found: DeploymentState) -> None:
        """The ReplicaSet's controller."""
        if self.deployments.get(found.key) is not found:
            return
        active = found.active
        for _ in range(found.asked - len(active)):
            self._create(found)
        for _ in range(len(active) - found.asked):
            self._delete_one(found)

    def _delete_one(self, found: DeploymentState) -> None:
        facts = [pod.fact for pod in found.active]
        victims = possible_victims(facts, related=facts, now=self.now(), slack=timedelta())
        pod, before = found.pods[self._rng.choice(sorted(victims))], found.available
        self._delete(pod)
        if found.is_ours and pod.fact.node_name:
            self._note_taken(pod, How.LOWERED, before)

    def _create(self, found: DeploymentState) -> None:
        number = next(self._numbers)
        name, uid = f"{found.set_name}-{number:x}", f"{self._rng.getrandbits(48):012x}-{number:x}"
        snapshot = self._as_sync_has_it(found)
        admitted = admit(found, name, uid, snapshot)
        self.record.admitted[admitted.reason] += 1
        fact = PodFact(
            namespace=found.spec.namespace,
            name=name,
            uid=uid,
            controller=found.reference,
            created_at=self._second(),
            requests=found.spec.requests,
            decision=admitted.decision,
            deletion_cost=admitted.deletion_cost,
            needs=found.needs(admitted.terms, admitted.tolerations),
        )
        pod = PodState(fact, found, admitted.terms, admitted.wishes, admitted.weight, admitted.tolerations)
        found.pods[uid] = pod
        self.waiting[uid] = pod
        self._pods_changed(found)
        self._after(self._lags.scheduler, partial(self._schedule, pod))

    def _as_sync_has_it(self, found: DeploymentState) -> Snapshot:
        """The snapshot that the webhook has of this Deployment: the book and the nodes are a little old."""
        seen_at = self._seconds - self._rng.uniform(*self._lags.sync)
        book, landscape = self._books.as_of(seen_at), self._landscapes.as_of(seen_at)
        census = Census(
            taken_at=self.now(),
            namespaces=(Namespace(found.spec.namespace),),
            pods=tuple(pod.fact for pod in found.pods.values()),
            controllers=found.facts,
        )
        self._remember_replicas(found, book)
        seen = {str(found.key): self._seen[found.key]}
        snapshot = inventory.build(census, book, self.policy, history=History(seen=seen), nodes=landscape.nodes)
        landscape.sum_up(snapshot)
        return snapshot

    def _observe_replicas(self, key: WorkloadKey) -> None:
        if key in self.deployments:
            self._remember_replicas(self.deployments[key], self.book)

    def _remember_replicas(self, found: DeploymentState, book: Book) -> None:
        """What sync keeps of replicas over time, to tell a rise of ours from another's."""
        before = self._seen.get(found.key)
        history = History(seen={str(found.key): before} if before else {})
        census = Census(taken_at=self.now(), controllers=found.facts)
        self._seen[found.key] = inventory.observe(history, census, book).seen[str(found.key)]

    def _schedule(self, pod: PodState) -> None:
        if pod.uid not in self.waiting:
            return
        node = choose(pod, self.nodes.values(), self._rng)
        if node is None:
            return
        del self.waiting[pod.uid]
        node.take(pod)
        pod.bound_at = self._seconds
        pod.change(node_name=node.name, started_at=self._second())
        self._pods_changed(pod.owner)
        self._after(pod.owner.spec.start_seconds, partial(self._started, pod))

    def _started(self, pod: PodState) -> None:
        node = self.nodes.get(pod.fact.node_name)
        if node is None or pod.uid not in node.pods or pod.fact.deleting:
            return
        pod.change(phase="Running")
        pod.owner.stirred_at = self._seconds
        self._set_ready(pod, ready=node.fact.ready)

    def _set_ready(self, pod: PodState, *, ready: bool) -> None:
        if pod.fact.ready != ready:
            pod.change(ready=ready, ready_at=self._second())
        self._pods_changed(pod.owner)

    def _delete(self, pod: PodState) -> None:
        """It is told to stop: at once no longer counted, and soon gone."""
        if pod.fact.deleting:
            return
        pod.change(deleting=True)
        self._pods_changed(pod.owner)
        if pod.fact.node_name:
            self._after(self._lags.stop, partial(self._forget, pod))
        else:
            self._forget(pod)

    def _lose(self, pod: PodState) -> None:
        """It is gone without our doing."""
        if not pod.fact.deleting:
            self.record.lost.append((self.now(), pod.owner.key, pod.fact.node_name))
        self._forget(pod)

    def _forget(self, pod: PodState) -> None:
        if pod.owner.pods.pop(pod.uid, None) is None:
            return
        self.waiting.pop(pod.uid, None)
        pod.owner.stirred_at = self._seconds
        if pod.bound_at is not None and pod.fact.phase == "Running":
            pod.owner.ended.append((pod.bound_at, self._seconds))
        if pod.fact.node_name in self.nodes:
            self.nodes[pod.fact.node_name].free(pod)
        self._pods_changed(pod.owner)
        self._try_pending()

    def _give_up_on(self, node: NodeState) -> None:
        """Pods of a node that was silent for too long are replaced elsewhere; what runs there is lost."""
        if self.nodes.get(node.name) is node and not node.fact.ready:
            for pod in list(node.pods.values()):
                self._lose(pod)

    def _try_pending(self) -> None:
        for pod in self.waiting.values():
            self._after(self._lags.scheduler, partial(self._schedule, pod))

    def _nodes_changed(self) -> None:
        facts = tuple(node.fact for node in self.nodes.values())
        self._landscapes.note(self._seconds, Landscape(facts, self.policy, self._nodes_known))
        self.node_changes += 1
        self._try_pending()

    def side(self, name: str) -> Side | None:
        """The side that a node is; None where there is none of that name."""
        if name not in self.nodes:
            return None
        return Side.SPOT if self.nodes[name].spot else Side.REGULAR

    def _note_taken(self, pod: PodState, how: How, before: int) -> None:
        left = self.side(pod.fact.node_name)
        if left is not None:
            move = next((one for one in self.book.control.moves if one.workload == pod.owner.key), None)
            self.record.taken.append(accounts.taken(pod, how, before, move, left=left, at=self.now()))
