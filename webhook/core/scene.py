"""What a plan looks at: a census and its snapshot, indexed for moves, and the book beside them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Self

from webhook.core import badday, consent, learning, owners
from webhook.core.badday import SpotNodes
from webhook.core.book import Control
from webhook.core.bounds import Bounds
from webhook.core.budget import Wholes
from webhook.core.census import Census, ControllerFact, PodFact
from webhook.core.consent import Consent
from webhook.core.fitting import Ground
from webhook.core.model import CapacityType, Memory, Side, Workload, WorkloadKey
from webhook.core.moves import Finished, InFlight, Live, SpotHealth
from webhook.core.policy import Mode, Policy, SpotWish
from webhook.core.snapshot import Snapshot
from webhook.core.steps import side_of
from webhook.core.touch import Subject


class Scene:
    """A census and the snapshot built of it, indexed for moves. The same for all looks of one run."""

    def __init__(self, census: Census, snapshot: Snapshot) -> None:
        self.census, self.snapshot = census, snapshot

    @property
    def policy(self) -> Policy:
        """What holds in this snapshot."""
        return self.snapshot.meta.policy

    @cached_property
    def classes(self) -> Mapping[str, CapacityType]:
        """The class of every node."""
        return {name: node.capacity_type for name, node in self.snapshot.nodes.items()}

    @cached_property
    def facts(self) -> Mapping[WorkloadKey, ControllerFact]:
        """The object of every workload that is read."""
        return {WorkloadKey(c.namespace, c.kind, c.name): c for c in self.census.controllers}

    @cached_property
    def pods(self) -> Mapping[WorkloadKey, list[PodFact]]:
        """The active pods of every workload, by name."""
        resolved = owners.resolve(self.census)
        found: defaultdict[WorkloadKey, list[PodFact]] = defaultdict(list)
        for pod in sorted(self.census.pods, key=_pod_name):
            above = pod.controller and resolved.get((pod.namespace, pod.controller.kind, pod.controller.name))
            if above and pod.is_active:
                found[above].append(pod)
        return found

    @cached_property
    def on_node(self) -> Mapping[str, int]:
        """How many active pods each node has."""
        found: defaultdict[str, int] = defaultdict(int)
        for pod in self.census.pods:
            if pod.is_active:
                found[pod.node_name] += 1
        return found

    @cached_property
    def consents(self) -> Mapping[WorkloadKey, Consent]:
        """What is allowed for every workload's next pod."""
        snapshot = self.snapshot
        return {
            key: consent.resolve(None, workload, snapshot.namespaces.get(key.namespace), self.policy)
            for key, workload in snapshot.workloads.items()
        }

    @cached_property
    def wants_spot(self) -> bool:
        """Whether any workload belongs on spot."""
        return any(
            settled.handled and (settled.spot is SpotWish.ALWAYS or _is_spots(self.snapshot.workloads[key]))
            for key, settled in self.consents.items()
        )

    @cached_property
    def wholes(self) -> Mapping[Side, Wholes]:
        """What percents of budgets are of; counted only where somebody may go, for in most minutes nobody does."""
        return {side: self._wholes(side) for side in Side}

    def _wholes(self, side: Side) -> Wholes:
        """Workloads that may be moved for the way to spot, their pods on spot for the way back."""
        cluster, namespaces = 0, defaultdict[str, int](int)
        workloads: dict[str, int] = {}
        for key, workload in self.snapshot.workloads.items():
            if self.is_counted(key):
                count = 1 if side is Side.SPOT else workload.pods_on_spot
                cluster += count
                namespaces[key.namespace] += count
                workloads[str(key)] = workload.replicas or workload.pods
        return Wholes(cluster=cluster, namespaces=dict(namespaces), workloads=workloads, nodes=dict(self.on_node))

    def is_counted(self, key: WorkloadKey) -> bool:
        """Whether it may be moved, so that percents of budgets are of it too."""
        settled, excluded = self.consents[key], key.namespace in self.policy.excluded_namespaces
        return settled.mode is Mode.MOVE and settled.handled and not excluded

    @cached_property
    def bounds(self) -> Bounds:
        """What bounds moves, indexed."""
        return Bounds.of(self.census.constraints)

    def subject(self, key: WorkloadKey, live: Live | None = None, move: InFlight | None = None) -> Subject:
        """All that is known of a workload, by the census or as it is now."""
        workload = self.snapshot.workloads[key]
        namespace = self.snapshot.namespaces.get(key.namespace)
        fact, pods = (live.fact, live.pods) if live else (self.facts.get(key), tuple(self.pods.get(key, ())))
        return Subject(workload=workload, fact=fact, pods=pods, namespace=namespace, move=move)

    @cached_property
    def ground(self) -> Ground:
        """What is free on the nodes, moves in flight not counted."""
        return Ground.of(self.census, self.policy)

    def ground_with(self, moves: Iterable[InFlight]) -> Ground:
        """What is left of it by what these moves were promised, and do not hold yet."""
        ground = self.ground
        for move in moves:
            pods = self.pods.get(move.workload, [])
            if any(pod.node_name and pod.uid not in move.before for pod in pods):
                continue
            # Pods of one workload ask for the same, so where the moved one is gone another tells what it was.
            model = next((pod for pod in pods if pod.uid == move.pod_uid), pods[0] if pods else None)
            ground = ground.taking(model, move.destination) if model else ground
        return ground

    def missed(self, workload: Workload) -> int:
        """Pods that were created while nobody stamped them, of a workload whose pods are stamped."""
        settled, verdict = self.consents[workload.key], workload.verdict
        if settled.mode is Mode.OBSERVE or not settled.handled or verdict is None or verdict.since is None:
            return 0
        if verdict.transitions == 0 or settled.spot is not SpotWish.AUTO:
            return 0
        # What came within a minute of the turn was admitted by what the server knew until then.
        since = verdict.since + timedelta(minutes=1)
        pods = self.pods.get(workload.key, ())
        return sum(not pod.decision and pod.created_at is not None and pod.created_at > since for pod in pods)

    def misplaced(self, key: WorkloadKey, side: Side) -> list[PodFact]:
        """Its pods on nodes of the other side."""
        return [pod for pod in self.pods.get(key, ()) if self.side(pod) not in (None, side)]

    def side(self, pod: PodFact) -> Side | None:
        """Of the node that it is bound to, where that is known."""
        found = self.classes.get(pod.node_name)
        return None if found is None else side_of(found)


def _is_spots(workload: Workload) -> bool:
    return workload.verdict is not None and workload.verdict.side is Side.SPOT


def _pod_name(pod: PodFact) -> tuple[str, str]:
    return pod.namespace, pod.name


@dataclass(frozen=True)
class World:
    """One look: the scene, the control object, and now."""

    scene: Scene
    control: Control
    now: datetime

    @classmethod
    def of(cls, snapshot: Snapshot) -> Self | None:
        """A capture at its own time; None where it was captured without what moves need."""
        if snapshot.census is None or snapshot.control is None:
            return None
        return cls(Scene(snapshot.census, snapshot), snapshot.control, snapshot.meta.captured_at)

    @property
    def policy(self) -> Policy:
        """What holds."""
        return self.scene.policy

    @property
    def classes(self) -> Mapping[str, CapacityType]:
        """The class of every node."""
        return self.scene.classes

    def at(self, control: Control, now: datetime) -> "World":
        """The same scene, with the book as it is by now."""
        return replace(self, control=control, now=now)

    def selector_of(self, key: WorkloadKey) -> str:
        """Of its pods; empty where its object is not known."""
        fact = self.scene.facts.get(key)
        return fact.rollout.selector if fact and fact.rollout else ""

    @cached_property
    def heartbeat(self) -> datetime | None:
        """When the monitor last ran, by the book or by the snapshot that was made of it."""
        told = (self.control.heartbeat, self.scene.snapshot.meta.book_heartbeat)
        return max((one for one in told if one is not None), default=None)

    @cached_property
    def health(self) -> SpotHealth:
        """How the spot nodes are, with what the book remembers of them."""
        return badday.observe(
            self.control.spot,
            SpotNodes.of(self.scene.snapshot.nodes.values()),
            policy=self.policy,
            now=self.now,
            wanted=self.scene.wants_spot,
            finished=self.control.finished,
        )

    @cached_property
    def freezes(self) -> tuple[str, ...]:
        """Why nothing may move to spot, each as ``code: sentence``; empty when all is well."""
        alarm, why = self.control.sanity, badday.freeze(self.health, self.policy.moves, self.now)
        found = (f"{alarm.alarm}: {alarm.reason}" if alarm.alarm else "", f"spot-bad-day: {why}" if why else "")
        return tuple(filter(None, found))

    @cached_property
    def ground(self) -> Ground:
        """What is free on the nodes, less what moves under way were promised."""
        return self.scene.ground_with(self.control.moves)

    def ground_without(self, move: InFlight) -> Ground:
        """The same, with what this one was promised."""
        return self.scene.ground_with(other for other in self.control.moves if other.number != move.number)

    @cached_property
    def stopped(self) -> tuple[str, str] | None:
        """Why no move may begin in either direction, as (code, sentence): the configuration, a `pause`, a book that nobody keeps."""
        if "moves" in self.policy.pause:
            return "paused", "moves are paused in the configuration"
        if (pause := self.control.paused) is not None:
            by, why = f" by {pause.by}" if pause.by else "", f" ({pause.reason})" if pause.reason else ""
            return "paused", f"moves were paused{by}; `spot-balancer resume` starts them again{why}"
        if self.heartbeat is None or abs(self.now - self.heartbeat) > self.policy.sides.heartbeat_ttl:
            return "old-book", "the monitor has not kept the book; nothing moves on old news"
        return None

    @cached_property
    def moving(self) -> frozenset[WorkloadKey]:
        """The workloads that a move is under way of."""
        return frozenset(move.workload for move in self.control.moves)

    @cached_property
    def _finished(self) -> Mapping[WorkloadKey, list[Finished]]:
        found: defaultdict[WorkloadKey, list[Finished]] = defaultdict(list)
        for one in self.control.finished:
            found[one.workload].append(one)
        return found

    def memory(self, key: WorkloadKey) -> Memory:
        """What the book remembers of its moves, those that have just ended too."""
        workload = self.scene.snapshot.workloads.get(key)
        if workload is None:
            return Memory()
        memory = workload.verdict.memory if workload.verdict else Memory()
        mine = [one for one in self._finished.get(key, ()) if one.uid == workload.uid]
        return learning.learn(memory, mine, self.policy.moves) if mine else memory
