"""Where a pod would fit: the proof of a destination, before anything is moved.

A pod that is moved on hope comes back to where it was, and is moved again. So each move needs a node that meets all
that the pod asks for, with room for it that nothing else in flight was promised. The scheduler decides afterwards and by
itself; what it knows and this does not (affinity to other pods, disks a node can attach) costs a move that is undone.

========================  =====================================================================================
awake                     Ready, not cordoned, not about to go, and of the side
``taints``                tolerated by the pod itself, or a spot marker that the webhook tolerates for it
``platform``              of the system and architecture that it runs on now, unless the pod says that itself
``affinity``              its node selector and required terms, by all labels of the node
``volume-zone``           reached by its volumes
``apart``                 without a pod of its workload in the same domain, where it asks to be apart
``host-port``             its ports of the node are not taken
``no-room``               requests, number of pods and extended resources, less what is promised to other moves
========================  =====================================================================================

The first of these rules that leaves no node is told.
"""

import math
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, Self

import msgspec

from webhook.core import demand, inventory, owners, spotpool
from webhook.core.bounds import Bounds
from webhook.core.census import FINISHED, Census, NodeFact, PodFact
from webhook.core.model import Requirement, Resources, Side, Taint, Value, WorkloadKey
from webhook.core.moves import InFlight
from webhook.core.policy import Policy
from webhook.core.spotpool import Landing
from webhook.core.terrain import HOSTNAME, ZONE, Names, Terms, Terrain

Workloads = Mapping[owners.Name, WorkloadKey]
"""By what pods name as their controller."""


class Obstacle(StrEnum):
    """What keeps a pod from every node: bounded, fit for a metric label."""

    NO_SPOT_NODE = "no-spot-node"
    NO_REGULAR_NODE = "no-regular-node"
    TAINTS = "taints"
    PLATFORM = "platform"
    AFFINITY = "affinity"
    VOLUME_UNKNOWN = "volume-unknown"
    VOLUME_ZONE = "volume-zone"
    SPREAD_UNKNOWN = "spread-unknown"
    APART = "apart"
    HOST_PORT = "host-port"
    NO_ROOM = "no-room"


MEANING: dict[Obstacle, str] = {
    Obstacle.NO_SPOT_NODE: "no spot node is Ready and takes pods; look at the spot pools, and at spotLabels if they are there",
    Obstacle.NO_REGULAR_NODE: "no regular node is Ready and takes pods",
    Obstacle.TAINTS: "all are behind taints that it does not tolerate; list those that mark spot nodes in spotTaints",
    Obstacle.PLATFORM: "none is of the system and architecture that it runs on now",
    Obstacle.AFFINITY: "none has the labels that its node selector and affinity ask for",
    Obstacle.VOLUME_UNKNOWN: "nobody knows which nodes its volumes can reach",
    Obstacle.VOLUME_ZONE: "none is where its volumes are",
    Obstacle.SPREAD_UNKNOWN: "it must be spread over domains other than hosts and zones, and how is not known",
    Obstacle.APART: "each has a pod of its workload near, and it asks to be apart from those",
    Obstacle.HOST_PORT: "its host port is taken on all of them",
    Obstacle.NO_ROOM: "none has room for its requests",
}
"""Each continues "it would fit nowhere: ...", of the nodes that the rules before left."""


class Why(Value, frozen=True):
    """Why there is no destination; ``detail`` is about this very pod."""

    obstacle: Obstacle
    detail: str = ""


class Destination(Value, frozen=True):
    """The node that was proven; or, where no live one fits, the declared ``pool`` that can grow one."""

    node: str = ""
    pool: str = ""


class Room(NamedTuple):
    """What is free on a node, or asked of it: in whole units, so that no order of sums makes a difference."""

    cpu_millicores: int
    memory_bytes: int
    pods: int
    extended: dict[str, int]
    ports: frozenset[int]

    def holds(self, need: "Room") -> bool:
        return (
            need.cpu_millicores <= self.cpu_millicores
            and need.memory_bytes <= self.memory_bytes
            and need.pods <= self.pods
            and all(amount <= self.extended.get(name, 0) for name, amount in need.extended.items())
        )

    def without(self, need: "Room") -> "Room":
        return Room(
            self.cpu_millicores - need.cpu_millicores,
            self.memory_bytes - need.memory_bytes,
            self.pods - need.pods,
            {name: self.extended.get(name, 0) - need.extended.get(name, 0) for name in self.extended | need.extended}
            if need.extended
            else self.extended,
            self.ports | need.ports,
        )


class Ground(Value, frozen=True):
    """The nodes and what is free on them; ``taking`` gives another one, and leaves this one as it is.

    ``rooms`` are by node; ``order`` holds them with the most free share first, as (less the share, name). ``tenants``
    counts pods by workload and node. ``restricted`` are the namespaces in which no toleration may be added.
    """

    terrain: Terrain
    bounds: Bounds
    policy: Policy
    workloads: Workloads
    restricted: frozenset[str]
    rooms: dict[str, Room]
    order: list[tuple[float, str]]
    tenants: Mapping[WorkloadKey, Mapping[str, int]]

    @classmethod
    def of(cls, census: Census, policy: Policy, in_flight: Iterable[InFlight] = ()) -> Self:
        """Lay it out once for a run; what moves ``in_flight`` were promised, and do not hold yet, is taken."""
        nodes = sorted(census.nodes, key=lambda node: node.name)
        workloads, bound = owners.resolve(census), _bound(census)
        terrain, rooms = Terrain(nodes, policy), {node.name: room_on(node, bound[node.name]) for node in nodes}
        ground = cls(
            terrain=terrain,
            bounds=Bounds.of(census.constraints),
            policy=policy,
            workloads=workloads,
            restricted=frozenset(n.name for n in census.namespaces if inventory.TOLERATIONS_WHITELIST in n.annotations),
            rooms=rooms,
            order=in_order(terrain, rooms),
            tenants=_tenants(bound, workloads),
        )
        for pod, node in _promised(census, in_flight, workloads):
            ground = ground.taking(pod, node)
        return ground

    def taking(self, pod: PodFact, node: str) -> Self:
        """With the pod's room on the node taken; the same where that is no node, such as one that is yet to grow."""
        if node not in self.rooms:
            return self
        fact, room = self.terrain.nodes[node], self.rooms[node]
        left = room.without(_need(pod))
        order = self.order.copy()
        del order[bisect_left(order, (-_share(room, fact), node))]
        insort(order, (-_share(left, fact), node))
        tenants = self.tenants
        if workload := _workload_of(pod, self.workloads):
            there = tenants.get(workload, {})
            tenants = {**tenants, workload: {**there, node: there.get(node, 0) + 1}}
        return msgspec.structs.replace(self, rooms={**self.rooms, node: left}, order=order, tenants=tenants)

    def find(self, pod: PodFact, to: Side, *, leaving: bool = False) -> Destination | Why:
        """The awake node of that side with the most free share that meets all rules; the name decides between equals.

        A share is the lesser of CPU's and memory's. Of nodes that a pod must be spread over, the one with the fewest of
        its workload in its domain comes first: how much skew is allowed is not known, and so it is least. ``leaving``:
        the pod is evicted before its replacement comes, so its own place does not stand in its way.
        """
        ask = self._ask(pod, to, leaving=leaving)
        if isinstance(ask, Why):
            return ask
        found = self._node(ask)
        if isinstance(found, Why) and to is Side.SPOT and (pool := self._pool(ask)):
            return Destination(pool=pool)
        return found

    def _ask(self, pod: PodFact, to: Side, *, leaving: bool) -> "_Ask | Why":
        if pod.needs.by_name:
            return Why(Obstacle.AFFINITY, "it names its node")
        if demand.is_too_long(pod):
            return Why(Obstacle.AFFINITY, "it asks for more than is looked at")
        if foreign := sorted({*pod.needs.spread_by} - {HOSTNAME, ZONE}):
            return Why(Obstacle.SPREAD_UNKNOWN, f"it is spread by {foreign[0]}")
        platform = demand.platform(pod, self.terrain.nodes.get(pod.node_name))
        if platform is None:
            return Why(Obstacle.PLATFORM, "what it runs on now is not known")
        try:
            reach = self._reach(pod)
        except LookupError as unknown:
            return Why(Obstacle.VOLUME_UNKNOWN, f"claim or volume {unknown.args[0]}")
        return _Ask(
            pod=pod,
            to=to,
            need=_need(pod),
            platform=platform,
            selector=demand.selector(pod),
            terms=demand.terms(pod, self.terrain.markers),
            reach=reach,
            around=self._around(pod, leaving=leaving),
            may_add=pod.namespace not in self.restricted,
        )

    def _reach(self, pod: PodFact) -> list[Terms]:
        """The terms of each of its volumes that cannot be everywhere. Raises LookupError for what is not known."""
        if unread := self.bounds.unread_claim(pod):
            raise LookupError(unread)
        places = (self.bounds.places(self.bounds.claims[pod.namespace, name]) for name in pod.needs.claims)
        return [terms for terms in places if terms is not None]

    def _around(self, pod: PodFact, *, leaving: bool) -> dict[str, int]:
        """Pods of its workload by node, itself left out where it is leaving."""
        workload = _workload_of(pod, self.workloads)
        there = dict(self.tenants.get(workload, {})) if workload else {}
        if leaving and pod.node_name in there:
            there[pod.node_name] -= 1
        return {node: count for node, count in there.items() if count > 0}

    def _node(self, ask: "_Ask") -> Destination | Why:
        left = self.terrain.awake[ask.to]
        if not left:
            return Why(Obstacle.NO_SPOT_NODE if ask.to is Side.SPOT else Obstacle.NO_REGULAR_NODE)
        for obstacle, allowed in self._rules(ask):
            if left.isdisjoint(allowed):
                return Why(obstacle, f"of {len(left)} {ask.to} nodes")
            left &= allowed
        node = self._roomiest(ask, left)
        return Destination(node=node) if node else Why(Obstacle.NO_ROOM, f"of {len(left)} {ask.to} nodes")

    def _rules(self, ask: "_Ask") -> Iterator[tuple[Obstacle, Names]]:
        """Each rule with the nodes that meet it, worked out only when its turn comes."""
        land, needs = self.terrain, ask.pod.needs
        yield Obstacle.TAINTS, land.open_to(lambda taint: ask.passes(taint, self.policy))
        yield Obstacle.PLATFORM, land.on(ask.platform)
        if ask.selector:
            yield Obstacle.AFFINITY, land.meeting(ask.selector)
        if ask.terms is not None:
            yield Obstacle.AFFINITY, land.meeting_any(ask.terms)
        for terms in ask.reach:
            yield Obstacle.VOLUME_ZONE, land.meeting_any(terms)
        for key in needs.apart_by if ask.around else ():
            yield Obstacle.APART, land.every - land.with_label(key, self._domains(ask, key))
        if ask.need.ports:
            taken = (name for name, room in self.rooms.items() if not room.ports.isdisjoint(ask.need.ports))
            yield Obstacle.HOST_PORT, land.every.difference(taken)

    def _domains(self, ask: "_Ask", key: str) -> dict[str, int]:
        """Pods of its workload by the value of a node label."""
        counts: defaultdict[str, int] = defaultdict(int)
        for name, count in ask.around.items():
            if (value := self.terrain.nodes[name].labels.get(key)) is not None:
                counts[value] += count
        return counts

    def _roomiest(self, ask: "_Ask", names: Names) -> str:
        fitting = (name for _, name in self.order if name in names and self.rooms[name].holds(ask.need))
        if not ask.pod.needs.spread_by:
            return next(fitting, "")
        domains = [(key, self._domains(ask, key)) for key in ask.pod.needs.spread_by]

        def crowd(name: str) -> int:
            labels = self.terrain.nodes[name].labels
            return max(counts.get(labels.get(key, ""), 0) for key, counts in domains)

        # The first of the least is the one with the most free share.
        return min(fitting, key=crowd, default="")

    def _pool(self, ask: "_Ask") -> str:
        """The first declared pool that can grow a node for it, by what is declared: of its size and zone nothing is known."""
        if ask.need.extended or {*ask.pod.needs.apart_by} - {HOSTNAME}:
            return ""
        pools = zip(self.policy.spot_pools, spotpool.declared(self.policy), strict=False)
        return next((pool.name for pool, landing in pools if ask.lands(landing, self.policy)), "")


class _Ask(Value, frozen=True):
    """What a pod asks of a node of side ``to``. ``reach`` are its volumes' terms; each must be met.

    ``around`` counts the other pods of its workload by node. ``may_add``: the webhook may add tolerations to it.
    """

    pod: PodFact
    to: Side
    need: Room
    platform: dict[str, str]
    selector: tuple[Requirement, ...]
    terms: Terms | None
    reach: list[Terms]
    around: dict[str, int]
    may_add: bool

    def passes(self, taint: Taint, policy: Policy) -> bool:
        """Whether the pod that comes gets past the taint."""
        if spotpool.tolerable(taint, policy=policy):
            if self.to is Side.SPOT and self.may_add:
                return True
            if self.to is Side.REGULAR and demand.is_steered_to(self.pod, Side.SPOT):
                # That toleration is ours, and the pod that comes will not have it.
                return False
        return demand.tolerates(self.pod, taint)

    def lands(self, landing: Landing, policy: Policy) -> bool:
        """Whether it surely could run on a node that a declared pool grows."""
        if any(landing.labels.get(key, value) != value for key, value in self.platform.items()):
            return False
        grown = msgspec.structs.replace(landing, labels=self.platform | landing.labels)
        several = self.reach if self.terms is None else [self.terms, *self.reach]
        return (
            all(self.passes(taint, policy) for taint in landing.taints)
            and all(map(grown.surely_meets, self.selector))
            and all(any(term and all(map(grown.surely_meets, term)) for term in terms) for terms in several)
        )


def _bound(census: Census) -> dict[str, list[PodFact]]:
    """Pods by the node they hold room on; those on their way out hold it until they are gone."""
    bound: dict[str, list[PodFact]] = {node.name: [] for node in census.nodes}
    for pod in census.pods:
        if pod.node_name in bound and pod.phase not in FINISHED:
            bound[pod.node_name].append(pod)
    return bound


def _workload_of(pod: PodFact, workloads: Workloads) -> WorkloadKey | None:
    """Whose it is; of a controller that was not read at least that one, for its pods still stand apart."""
    owner = pod.controller
    if owner is None:
        return None
    own = WorkloadKey(pod.namespace, owner.kind, owner.name)
    return workloads.get((pod.namespace, owner.kind, owner.name), own)


def _tenants(bound: Mapping[str, list[PodFact]], workloads: Workloads) -> dict[WorkloadKey, dict[str, int]]:
    counts: defaultdict[WorkloadKey, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for node, pods in bound.items():
        for pod in pods:
            if workload := _workload_of(pod, workloads):
                counts[workload][node] += 1
    return {workload: dict(nodes) for workload, nodes in counts.items()}


def _promised(census: Census, in_flight: Iterable[InFlight], workloads: Workloads) -> Iterator[tuple[PodFact, str]]:
    """The pods that moves under way will bring, as far as they are not bound yet, with the nodes that were proven."""
    moves = sorted((move for move in in_flight if move.destination), key=lambda move: move.number)
    pods: dict[WorkloadKey | None, list[PodFact]] = {move.workload: [] for move in moves}
    for pod in sorted(census.pods, key=lambda pod: (pod.namespace, pod.name, pod.uid)) if moves else ():
        if (key := _workload_of(pod, workloads)) in pods:
            pods[key].append(pod)
    for move in moves:
        of_it = pods[move.workload]
        if any(pod.node_name and pod.uid not in move.before for pod in of_it):
            continue
        # Pods of one workload ask for the same, so where the moved one is gone already another tells what it was.
        model = next((pod for pod in of_it if pod.uid == move.pod_uid), None) or next(iter(of_it), None)
        if model is not None:
            yield model, move.destination


def _need(pod: PodFact) -> Room:
    return _asked(pod.requests, pod.needs.extended, pod.needs.host_ports)


@lru_cache(maxsize=4_096)
def _asked(requests: Resources, extended: tuple[tuple[str, float], ...], host_ports: tuple[int, ...]) -> Room:
    """Kept, for the many pods of a cluster ask for few different things."""
    more = {name: math.ceil(amount) for name, amount in extended}
    return Room(*_whole(requests, math.ceil), 1, more, frozenset(host_ports))


def room_on(node: NodeFact, pods: Iterable[PodFact]) -> Room:
    """What these pods leave free of it."""
    extended = {name: math.floor(amount) for name, amount in node.extended.items()}
    free = Room(*_whole(node.allocatable, math.floor), node.allocatable_pods, extended, frozenset())
    for pod in pods:
        free = free.without(_need(pod))
    return free


def in_order(terrain: Terrain, rooms: Mapping[str, Room]) -> list[tuple[float, str]]:
    """The nodes as ``Ground.order`` has them."""
    return sorted((-_share(rooms[name], node), name) for name, node in terrain.nodes.items())


def _whole(amount: Resources, to_int: Callable[[float], int]) -> tuple[int, int]:
    """Millicores and bytes; what a float adds or takes of a millionth is its own doing."""
    return to_int(round(amount.cpu_cores * 1000, 6)), to_int(round(amount.memory_bytes, 3))


def _share(room: Room, node: NodeFact) -> float:
    """The lesser of the free shares of CPU and memory; below nought where a node is promised more than it has."""
    cpu, memory = _whole(node.allocatable, math.floor)
    return min(room.cpu_millicores / cpu if cpu else 0.0, room.memory_bytes / memory if memory else 0.0)
