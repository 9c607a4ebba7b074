"""What sync would learn on the ground: by its own functions, of what Prometheus and the API server would have told."""

from datetime import UTC, datetime, timedelta

from webhook.core import departed, inventory, load
from webhook.core.census import Census, PodFact
from webhook.core.model import CapacityType, ControllerRef, Node, Resources, WorkloadKey
from webhook.core.policy import BalancePolicy
from webhook.core.usage import NodeSample, PodHabits, PodsUse
from webhook.simulation.balance_cluster import Ground, Measured
from webhook.simulation.balance_world import CPU, MEMORY, Floats, World

START = datetime(2026, 1, 5, tzinfo=UTC)
_KIND = "ReplicaSet"


class Learner:
    """``keys`` are the workloads', in order."""

    def __init__(self, world: World, balance: BalancePolicy) -> None:
        self._world, self._balance = world, balance
        self.keys = [
            WorkloadKey(namespace_name(number), "Deployment", str(workload))
            for workload, number in enumerate(world.namespace.tolist())
        ]
        self._owners = {(key.namespace, _KIND, key.name): key for key in self.keys}
        self._facts: dict[int, PodFact] = {}

    def learn(self, ground: Ground, measured: Measured) -> load.Measured:
        """Of the pods that run, and were seen, and of those that are no more."""
        at = START + timedelta(minutes=measured.minute)
        facts = tuple(self._fact(ground, pod) for pod in measured.pods.tolist())
        left = tuple(self._fact(ground, pod) for pod in measured.gone.tolist())
        ended = (START + timedelta(minutes=int(minute)) for minute in self._world.ends[measured.gone])
        gone = (departed.departed(fact, when) for fact, when in zip(left, ended, strict=True))
        habits = _by_pod(facts, measured.pod_habit)
        use = _by_pod(facts, measured.pod_mean) | _by_pod(left, measured.gone_mean)
        census = Census(taken_at=at, pods=facts, departed=tuple(one for one in gone if one is not None))
        return load.measure(census, PodsUse(at, use), self._owners, self._balance, PodHabits(at, habits))

    def nodes(self, measured: Measured | None, learnt: load.Measured) -> list[Node]:
        """All of them, with their load once there is any."""
        capacity = self._world.capacity
        return [
            Node(
                name=node_name(row),
                capacity_type=CapacityType.REGULAR,
                allocatable=Resources(cpu_cores=float(capacity[CPU, row]), memory_bytes=float(capacity[MEMORY, row])),
                load=inventory.node_load(_sample(measured, row), learnt, self._balance) if measured else None,
            )
            for row in range(capacity.shape[1])
        ]

    def _fact(self, ground: Ground, pod: int) -> PodFact:
        """Ready at once: nothing in this world takes time to start."""
        if (known := self._facts.get(pod)) is None:
            workload = int(self._world.workload[pod])
            cpu, memory = self._world.requests[:, workload].tolist()
            began = START + timedelta(minutes=int(self._world.begins[pod]))
            key = self.keys[workload]
            known = self._facts[pod] = PodFact(
                namespace=key.namespace,
                name=str(pod),
                uid=str(pod),
                controller=ControllerRef(kind=_KIND, name=key.name),
                node_name=node_name(int(ground.node[pod])),
                phase="Running",
                ready=True,
                started_at=began,
                ready_at=began,
                requests=Resources(cpu_cores=cpu, memory_bytes=memory),
            )
        return known


def _by_pod(facts: tuple[PodFact, ...], told: Floats) -> dict[tuple[str, str], tuple[float, float]]:
    pairs: list[list[float]] = told.T.tolist()
    return {(fact.namespace, fact.name): (cpu, memory) for fact, (cpu, memory) in zip(facts, pairs, strict=True)}


def _sample(measured: Measured, row: int) -> NodeSample:
    (cpu, memory), (cpu_deviation, memory_deviation) = measured.mean[:, row], measured.deviation[:, row]
    return NodeSample(
        node=node_name(row),
        cpu_cores=float(cpu),
        memory_bytes=float(memory),
        sampled_at=START + timedelta(minutes=measured.minute),
        source="simulated",
        cpu_deviation_cores=float(cpu_deviation),
        memory_deviation_bytes=float(memory_deviation),
    )


def node_name(row: int) -> str:
    """``node-7``."""
    return f"node-{row}"


def namespace_name(number: int) -> str:
    """``team-3``."""
    return f"team-{number}"
