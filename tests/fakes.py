"""A cluster of a few nodes in memory, with what acts on it: ReplicaSets, a scheduler, kubelets, admission, the book.

It implements the ports that the mover works through. Time moves only by `sleep` and `advance`, but for a
millisecond at each look at the clock: as with real ones, no two readings are the same. It is long because it plays
all parts but the mover's.
"""

from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from tests.builders import NOW, make_verdict
from webhook.core import inventory
from webhook.core.book import Book, Control
from webhook.core.bounds import part_of
from webhook.core.census import Census, ControllerFact, NodeFact, PodFact, PodNeeds, Rollout
from webhook.core.constraints import Constraints, DisruptionBudget
from webhook.core.model import ControllerRef, Namespace, Requirement, Resources, Side, WorkloadKey
from webhook.core.moves import MANAGER, Answer, Happening, Live, Result
from webhook.core.planning import Scene, World
from webhook.core.policy import Mode, Policy
from webhook.core.victims import possible_victims
from webhook.errors import ClusterConflict, ClusterUnavailable

HOLDER = "monitor-1"
MOVING = Policy(mode=Mode.MOVE)
SPOT = {"karpenter.sh/capacity-type": "spot"}
TICK = timedelta(milliseconds=1)


def make_node_fact(name, side=Side.REGULAR, **fields):
    """A Ready node of 8 cores and ten pods, spot by Karpenter's label."""
    own = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    facts = {"ready": True, "allocatable": Resources(8, 32e9), "allocatable_pods": 10} | fields
    return NodeFact(name=name, labels=own | (SPOT if side is Side.SPOT else {}), **facts)


@dataclass
class Deployed:
    """A Deployment of one ReplicaSet, its pods, and its verdict."""

    key: WorkloadKey
    replicas: int
    verdict: object
    max_unavailable: str = "25%"
    max_surge: str = "25%"
    annotations: dict = field(default_factory=dict)
    uid: str = ""
    generation: int = 1
    version: int = 1
    paused: bool = False
    written_by: str = ""
    """Who wrote its replicas last, as its managed fields have it."""
    asked: int = 0
    """What its ReplicaSet was told: that follows by the controller's own hand."""
    pods: dict = field(default_factory=dict)

    @property
    def active(self):
        return [pod for pod in self.pods.values() if pod.is_active]

    @property
    def available(self):
        return sum(pod.ready for pod in self.active)

    @property
    def floor(self):
        """Of DESIGN's "never below": while nothing of it is evicted but in a surge, all that were asked for."""
        return self.replicas - part_of(self.max_unavailable, self.replicas)

    @property
    def fact(self):
        count = len(self.active)
        rollout = Rollout(
            max_unavailable=self.max_unavailable, max_surge=self.max_surge, paused=self.paused,
            generation=self.generation, observed_generation=self.generation, replicas=count, updated=count,
            ready=self.available, available=self.available, written_by=self.written_by,
            selector=f"app={self.key.name}",
        )  # fmt: skip
        return ControllerFact(
            "apps/v1", "Deployment", self.key.namespace, self.key.name, self.uid, annotations=self.annotations,
            replicas=self.replicas, created_at=NOW - timedelta(days=30), rollout=rollout,
        )  # fmt: skip

    def write(self, by="kubectl", **changes):
        """Change its spec, by whatever hand; what changes nothing leaves no trace, as on the API server."""
        if changes and all(getattr(self, name) == value for name, value in changes.items()):
            return
        if changes.get("replicas", self.replicas) != self.replicas:
            self.written_by = by
        for name, value in changes.items():
            setattr(self, name, value)
        self.generation += 1
        self.version += 1


class TinyCluster:
    """Everything at once; ``calls`` are the writes and swaps in their order.

    ``before_call`` and ``after_call`` are run around each call of a port that may fail, with its name; they may raise.
    ``answers`` are given once each, in place of the answer to the next write of that name (a `Result`, or a pair of a
    `Result` and whether it was done all the same).
    """

    def __init__(self, *, regular=2, spot=2, policy=MOVING, start_seconds=3.0):
        self.now = NOW
        self.policy = policy
        self.start = timedelta(seconds=start_seconds)
        self.nodes = {}
        for number in range(regular):
            self.add_node(f"regular-{number}")
        for number in range(spot):
            self.add_node(f"spot-{number}", Side.SPOT)
        self.deployed = {}
        self.budgets = []
        self.book = Control(heartbeat=NOW)
        self.version = 0
        self.happenings = []
        self.calls = []
        self.answers = {}
        self.before_call = self.after_call = self.on_sleep = lambda name: None
        self.demands = {}
        self.made = 0
        self.constraints = True

    # what is in it

    def add_node(self, name, side=Side.REGULAR, **fields):
        self.nodes[name] = make_node_fact(name, side, **fields)

    def deploy(
        self, name="web", replicas=1, *, side=Side.SPOT, on=Side.REGULAR, namespace="shop", spread=False, **fields
    ):
        """A Deployment whose verdict says ``side`` and whose pods run on nodes of ``on``, unstamped, for a day.

        They share one node as long as it has room, unless they are ``spread``.
        """
        key = WorkloadKey(namespace, "Deployment", name)
        verdict = fields.pop("verdict", make_verdict(key, side, transitions=1 if side is Side.SPOT else 2))
        fresh = msgspec.structs.replace(verdict, good_at=self.now, judged_at=self.now) if verdict else None
        made = Deployed(key, replicas, fresh, uid=f"uid-{name}", **fields)
        self.deployed[key] = made
        for _ in range(replicas):
            pod = self._pod(made, demand=None, decision="", cost=0)
            open_to = [node for node in self.nodes if self.side_of(node) is on and self._has_room(node)]
            node = min(open_to, key=lambda node: self._count(node) if spread else node)
            day = self.now - timedelta(days=1)
            self._set(
                made, pod, node_name=node, phase="Running", ready=True, ready_at=day, created_at=day, started_at=day
            )
        made.asked = replicas
        return made

    def side_of(self, node):
        return Side.SPOT if SPOT.items() <= self.nodes[node].labels.items() else Side.REGULAR

    def sides(self, made):
        """How many of its active pods are where; those without a node under None."""
        found = {}
        for pod in made.active:
            side = self.side_of(pod.node_name) if pod.node_name in self.nodes else None
            found[side] = found.get(side, 0) + 1
        return found

    def judge(self, made, side, *, measured=True):
        """Another verdict: as core/sides would count it."""
        before = made.verdict
        turned = before.side is not side
        made.verdict = make_verdict(
            made.key, side, memory=before.memory, transitions=before.transitions + turned,
            since=self.now if turned else before.since, good_at=self.now if measured else before.good_at,
            judged_at=self.now,
        )  # fmt: skip

    def keep_the_book(self):
        """What the monitor does each minute: the heartbeat, and verdicts as fresh as they were."""
        self.book = msgspec.structs.replace(self.book, heartbeat=self.now)
        self.version += 1
        for made in self.deployed.values():
            if made.verdict and made.verdict.good_at == made.verdict.judged_at:
                made.verdict = msgspec.structs.replace(made.verdict, good_at=self.now, judged_at=self.now)

    # time and those who act on it

    def clock(self):
        self.now += TICK
        return self.now

    def sleep(self, seconds):
        self.advance(seconds)
        self.on_sleep("sleep")

    def advance(self, seconds):
        end = self.now + timedelta(seconds=seconds)
        self.settle()
        while self.now < end:
            self.now = min(end, self.now + timedelta(seconds=1)) if self._is_starting() else end
            self.settle()

    def settle(self):
        for made in self.deployed.values():
            made.asked = made.replicas
            self._replicate(made)
            for pod in made.active:
                self._place(made, pod)

    def _is_starting(self):
        """Whether anything changes by time alone."""
        return any(pod.node_name and not pod.ready for made in self.deployed.values() for pod in made.active)

    def _replicate(self, made):
        while len(made.active) < made.asked:
            self._admit(made)
        while len(made.active) > made.asked:
            victims = possible_victims(made.active, now=self.now, slack=timedelta())
            self.lose(made, min(victims))

    def _admit(self, made):
        """As the webhook would: a demand while the book says surging, else a wish."""
        demand = self.book.surging.get(made.key)
        side = demand or (made.verdict.side if made.verdict else None)
        moved = made.verdict and made.verdict.transitions
        stamp = f"v1/{side}/{'required' if demand else 'preferred'}/{moved}" if demand or moved else ""
        self._pod(made, demand=demand, decision=stamp, cost=moved or 0, wish=side)

    def _pod(self, made, *, demand, decision, cost, wish=None):
        self.made += 1
        name = f"{made.key.name}-5d9c7b-{self.made:04}"
        owner = ControllerRef("ReplicaSet", f"{made.key.name}-5d9c7b", f"uid-{made.key.name}-rs", "apps/v1")
        pod = PodFact(
            made.key.namespace, name, f"uid-{name}", owner, created_at=self.now, requests=Resources(0.1, 1e8),
            decision=decision, deletion_cost=cost, needs=PodNeeds(labels=(("app", made.key.name),)),
        )  # fmt: skip
        made.pods[pod.uid] = pod
        self.demands[pod.uid] = demand, wish
        return pod

    def _place(self, made, pod):
        if not pod.node_name:
            demand, wish = self.demands[pod.uid]
            open_to = [n for n in self.nodes if self._takes(n) and (demand is None or self.side_of(n) is demand)]
            if open_to:
                node = min(open_to, key=lambda n: (self.side_of(n) is not wish, self._count(n), n))
                self._set(made, pod, node_name=node, phase="Running", started_at=self.now)
        elif not pod.ready and pod.started_at + self.start <= self.now and self.nodes[pod.node_name].ready:
            self._set(made, pod, ready=True, ready_at=self.now)

    def _set(self, made, pod, **changes):
        made.pods[pod.uid] = msgspec.structs.replace(pod, **changes)

    def _takes(self, node):
        return self.nodes[node].ready and not self.nodes[node].unschedulable and self._has_room(node)

    def _has_room(self, node):
        return self._count(node) < self.nodes[node].allocatable_pods

    def _count(self, node):
        return sum(pod.node_name == node for made in self.deployed.values() for pod in made.pods.values())

    def lose(self, made, uid):
        """The pod is gone, by whatever hand."""
        del made.pods[uid]
        made.version += 1

    def lose_nodes(self, side):
        """All of that side vanish with what ran there."""
        gone = {name for name in self.nodes if self.side_of(name) is side}
        self.nodes = {name: fact for name, fact in self.nodes.items() if name not in gone}
        for made in self.deployed.values():
            for pod in list(made.active):
                if pod.node_name in gone:
                    self.lose(made, pod.uid)

    # what is read of it

    def census(self):
        controllers = [made.fact for made in self.deployed.values()]
        controllers += [
            ControllerFact(
                "apps/v1", "ReplicaSet", made.key.namespace, f"{made.key.name}-5d9c7b", f"uid-{made.key.name}-rs",
                controller=ControllerRef("Deployment", made.key.name, made.uid, "apps/v1"), replicas=made.asked,
            ) for made in self.deployed.values()
        ]  # fmt: skip
        namespaces = {made.key.namespace for made in self.deployed.values()}
        return Census(
            taken_at=self.now,
            nodes=tuple(self.nodes.values()),
            namespaces=tuple(Namespace(name) for name in sorted(namespaces)),
            pods=tuple(pod for made in self.deployed.values() for pod in made.pods.values()),
            controllers=tuple(controllers),
            constraints=Constraints(budgets=tuple(map(self._status, self.budgets))) if self.constraints else None,
        )

    def protect(self, made, min_available):
        """A disruption budget of so many pods."""
        self.budgets.append((made.key, min_available))

    def _status(self, budget):
        key, least = budget
        made = self.deployed[key]
        return DisruptionBudget(
            key.namespace, key.name, (Requirement("app", "In", (key.name,)),), min_available=str(least),
            disruptions_allowed=max(0, made.available - least), current_healthy=made.available, desired_healthy=least,
            expected_pods=made.replicas,
        )  # fmt: skip

    def world(self):
        verdicts = {str(made.key): made.verdict for made in self.deployed.values() if made.verdict}
        census = self.census()
        snapshot = inventory.build(census, Book(control=self.book, verdicts=verdicts), self.policy)
        return World(Scene(census, snapshot), self.book, self.now)

    # ports.Workloads

    def live(self, key, selector):
        self.before_call("live")
        made = self.deployed.get(key)
        if made is None:
            return Live(fact=None)
        assert selector == f"app={key.name}"
        return Live(fact=made.fact, resource_version=str(made.version), pods=tuple(made.pods.values()))

    def scale(self, key, replicas, *, resource_version, dry_run=False):
        made = self.deployed.get(key)

        def do():
            if made is None:
                return Result(answer=Answer.GONE)
            if resource_version != str(made.version):
                return Result(answer=Answer.CONFLICT, note="the object has been modified")
            if not dry_run:
                made.write(MANAGER, replicas=replicas)
            return Result(answer=Answer.DONE)

        return self._call("scale", do, key, replicas, dry_run=dry_run)

    def evict(self, namespace, name, *, uid, dry_run=False):
        found = ((made, pod) for made in self.deployed.values() for pod in made.pods.values() if pod.name == name)
        made, pod = next(found, (None, None))

        def do():
            if pod is None or pod.uid not in made.pods:
                return Result(answer=Answer.GONE)
            if pod.uid != uid:
                return Result(answer=Answer.CONFLICT, note="the UID in the precondition differs")
            budgets = [self._status(budget) for budget in self.budgets if budget[0] == made.key]
            if pod.ready and any(budget.disruptions_allowed < 1 for budget in budgets):
                return Result(answer=Answer.BLOCKED, note="Cannot evict pod as it would violate the budget")
            if not dry_run:
                self.lose(made, uid)
            return Result(answer=Answer.DONE)

        return self._call("evict", do, made.key if made else None, uid, dry_run=dry_run)

    def restart(self, key, *, at, resource_version, dry_run=False):
        made = self.deployed[key]

        def do():
            if resource_version != str(made.version):
                return Result(answer=Answer.CONFLICT)
            if not dry_run:
                made.write()
                for uid in list(made.pods):
                    self.lose(made, uid)
            return Result(answer=Answer.DONE)

        return self._call("restart", do, key, dry_run=dry_run)

    def _call(self, name, do, *arguments, dry_run):
        if dry_run:
            return do()
        self.before_call(name)
        self.calls.append((name, *arguments, self.book))
        waiting = self.answers.get(name, [])
        given = waiting.pop(0) if waiting else None
        result, is_done = given if isinstance(given, tuple) else (given, given is None)
        real = do() if is_done else None
        self.after_call(name)
        return result or real

    # ports.Recorder, and the book as one process has it

    def connect(self):
        """A ports.ControlBook of its own, as each process has."""
        return Connection(self)

    def write_book(self, **changes):
        """Somebody else's write of the control object."""
        self.book = msgspec.structs.replace(self.book, **changes)
        self.version += 1

    def record(self, happening: Happening):
        self.happenings.append(happening)


class Connection:
    """Implements ports.ControlBook: what is swapped in must be over what was read through this very one."""

    def __init__(self, cluster):
        self._cluster = cluster
        self._seen = None

    def control(self):
        self._cluster.before_call("control")
        self._seen = self._cluster.version
        return self._cluster.book

    def swap(self, new):
        cluster = self._cluster
        cluster.before_call("swap")
        seen, self._seen = self._seen, None
        if seen != cluster.version:
            raise ClusterConflict("written by somebody else", status=409)
        # As the adapter: what is written is what can be read back.
        cluster.book = msgspec.json.decode(msgspec.json.encode(new), type=Control)
        cluster.version += 1
        self._seen = cluster.version
        cluster.calls.append(("swap", cluster.book))
        cluster.after_call("swap")


class Crash(BaseException):
    """The process ends here."""


class CallCounter:
    """A hook that raises at the n-th call, counted from one, of the named ones or of all."""

    def __init__(self, at, error=Crash, names=None):
        self.at, self.error, self.names, self.count = at, error, names, 0

    def __call__(self, name):
        if self.names is None or name in self.names:
            self.count += 1
            if self.count == self.at:
                raise self.error("the process was killed" if self.error is Crash else "no answer")


def refuse(cluster, name, answer, *, times=1, note="refused", done=False):
    """The next writes of that name get this answer; ``done``: they are carried out all the same."""
    result = Result(answer=answer, note=note)
    cluster.answers.setdefault(name, []).extend([(result, done)] * times)


def minutes(count):
    return timedelta(minutes=count)


def unavailable(message="connection refused"):
    return ClusterUnavailable(message)
