"""Our policy on the ground: what sync would have written at each moment, and the very functions that serve.

A snapshot is taken when the last is ``_REFRESH`` seconds old, and knows bindings up to ``_LAG`` seconds ago, about what
watch, sync and server take together; in between there is the ledger.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import msgspec
import numpy as np

from webhook.core import expectation, fairness, nodetable, scoring
from webhook.core.ledger import Ledger
from webhook.core.model import (
    Bound,
    CapacityType,
    Namespace,
    Node,
    NodeLoad,
    PodUse,
    Resources,
    UseRatio,
    Workload,
    WorkloadKey,
)
from webhook.core.policy import BalancePolicy, Policy
from webhook.core.snapshot import Meta, Snapshot
from webhook.simulation.balance_cluster import Ground, Measured
from webhook.simulation.balance_peers import Question, defaults
from webhook.simulation.balance_world import CPU, MEMORY, Floats

OURS = "spot-balancer"
WEIGHT = 3
"""Of the extender in the scheduler's configuration; one point of ours is ten of a plugin's."""
_REFRESH, _LAG = 2.0, 1.0
_START = datetime(2026, 1, 5, tzinfo=UTC)


class Ours:
    """Scores by the served functions. ``ledger`` and ``weight`` may be changed to see what they are for."""

    def __init__(self, balance: BalancePolicy, *, weight: int = WEIGHT, with_defaults: bool = True) -> None:
        self._weight, self._with_defaults = weight, with_defaults
        self._balance = balance
        self._meta = Meta(captured_at=_START, load_match_rate=1.0, policy=Policy(balance=balance))
        self._ledger = Ledger()
        self._taken, self._minute = -np.inf, -1
        self._snapshot = Snapshot(self._meta)
        self._expected: dict[int, expectation.Expectation] = {}
        self._nodes: MappingProxyType[str, Node] = MappingProxyType({})
        self._namespaces: dict[str, Namespace] = {}
        self._use: dict[int, PodUse] = {}

    def __call__(self, question: Question) -> Floats:
        now = _START.timestamp() + question.at
        if question.at - self._taken >= _REFRESH:
            self._take(question.ground, question.at)
            self._ledger.follow(nodetable.table(self._snapshot), now=now)
        world = question.ground.world
        workload = int(world.workload[question.pod])
        candidate = scoring.Candidate(
            uid=str(question.pod),
            namespace=_namespace(int(world.namespace[workload])),
            wants=CapacityType.REGULAR,
            expected=self._expects(question.ground, workload),
        )
        rows = question.rows.astype(np.intp)
        scores = scoring.score(self._ledger.table, candidate, rows, now=now)
        answer = self._ledger.answer(candidate, scores, now=now)
        own = np.asarray(10.0 * self._weight * answer.scores, dtype=np.float64)
        return own + defaults(question) if self._with_defaults else own

    def _take(self, ground: Ground, at: float) -> None:
        """What sync would have written of the cluster by now."""
        measured = ground.measured(at)
        minute = int(at // 60)
        if minute != self._minute:
            self._minute = minute
            self._expected = {}
            self._use = _uses(ground, measured)
            self._nodes = MappingProxyType({node.name: node for node in _nodes(ground, measured, self._use)})
            self._namespaces = {one.name: one for one in _namespaces(ground, measured)}
        before, self._taken = self._snapshot, at
        # No load is believed that is from beyond its snapshot's own moment.
        self._snapshot = Snapshot.from_indexes(
            msgspec.structs.replace(self._meta, captured_at=_START + timedelta(seconds=at)),
            nodes=self._nodes,
            namespaces=self._namespaces,
            workloads={},
            controllers={},
            bound=self._bound(ground, at, measured),
        )
        for _ in nodetable.table_steps(self._snapshot, before):
            pass

    def _expects(self, ground: Ground, workload: int) -> expectation.Expectation:
        if workload not in self._expected:
            namespace = self._namespaces.get(_namespace(int(ground.world.namespace[workload])))
            key = WorkloadKey(_namespace(int(ground.world.namespace[workload])), "Deployment", str(workload))
            cpu, memory = ground.world.requests[:, workload].tolist()
            self._expected[workload] = expectation.expect(
                Workload(key=key, use=self._use.get(workload)), namespace, Resources(cpu, memory)
            )
        return self._expected[workload]

    def _bound(self, ground: Ground, at: float, measured: Measured | None) -> dict[str, Bound]:
        world, minute = ground.world, int(at // 60)
        window = self._balance.window.total_seconds() / 60
        since = measured.minute - window if measured else 0.0
        pods = ground.running(minute)
        recent = pods[(world.begins[pods] > since) & (world.at[pods] <= at - _LAG)]
        made = {}
        for pod in recent.tolist():
            workload, begins = int(world.workload[pod]), int(world.begins[pod])
            made[str(pod)] = Bound(
                uid=str(pod),
                node=_node(int(ground.node[pod])),
                namespace=_namespace(int(world.namespace[workload])),
                expected=self._expects(ground, workload).estimate,
                started_at=None if begins > minute else _START + timedelta(minutes=begins),
            )
        return made


def _nodes(ground: Ground, measured: Measured | None, uses: Mapping[int, PodUse]) -> list[Node]:
    capacity = ground.world.capacity
    habits = _habits(ground, measured, uses) if measured else np.zeros_like(capacity)
    return [
        Node(
            name=_node(row),
            capacity_type=CapacityType.REGULAR,
            allocatable=Resources(cpu_cores=float(capacity[CPU, row]), memory_bytes=float(capacity[MEMORY, row])),
            load=_load(measured, habits[:, row], row) if measured else None,
        )
        for row in range(capacity.shape[1])
    ]


def _habits(ground: Ground, measured: Measured, uses: Mapping[int, PodUse]) -> Floats:
    """(2, nodes): what the window should have shown by what the owners' pods use."""
    means = np.zeros_like(ground.world.requests)
    for workload, use in uses.items():
        means[:, workload] = use.cpu_cores, use.memory_bytes
    expected = means[:, ground.world.workload[measured.pods]] * measured.held
    nodes = ground.node[measured.pods]
    return np.array([np.bincount(nodes, weights=one, minlength=measured.mean.shape[1]) for one in expected])


def _load(measured: Measured, habit: Floats, row: int) -> NodeLoad:
    (cpu, memory), (cpu_deviation, memory_deviation) = measured.mean[:, row], measured.deviation[:, row]
    parts = measured.namespaces[:, :, row].tolist()
    return NodeLoad(
        cpu_cores=float(cpu),
        memory_bytes=float(memory),
        sampled_at=_START + timedelta(minutes=measured.minute),
        source="simulated",
        cpu_deviation_cores=float(cpu_deviation),
        memory_deviation_bytes=float(memory_deviation),
        namespaces={
            _namespace(number): Resources(cpu_cores=part[CPU], memory_bytes=part[MEMORY])
            for number, part in enumerate(parts)
            if part[CPU] > 0
        },
        expected=Resources(cpu_cores=float(habit[CPU]), memory_bytes=float(habit[MEMORY])),
    )


def _uses(ground: Ground, measured: Measured | None) -> dict[int, PodUse]:
    """What one pod of each workload uses, by those measured."""
    if measured is None or not len(measured.pods):
        return {}
    workloads = ground.world.workload[measured.pods]
    order = np.argsort(workloads, kind="stable")
    cuts = np.flatnonzero(np.diff(workloads[order])) + 1
    made = {}
    for mine in np.split(order, cuts):
        pods = (Resources(cpu_cores=cpu, memory_bytes=memory) for cpu, memory in measured.pod_mean[:, mine].T.tolist())
        use = expectation.pod_use(pods)
        if use is not None:
            made[int(workloads[mine[0]])] = use
    return made


def _namespaces(ground: Ground, measured: Measured | None) -> list[Namespace]:
    """Each with its use over requests, of the pods measured."""
    world, ratios = ground.world, {}
    if measured is not None and len(measured.pods):
        workloads = world.workload[measured.pods]
        numbers = world.namespace[workloads]
        wanted, used = (
            np.array([np.bincount(numbers, weights=one, minlength=world.setting.namespaces) for one in both])
            for both in (world.requests[:, workloads], measured.pod_mean)
        )
        ratios = {
            number: UseRatio(
                cpu=float(used[CPU, number] / wanted[CPU, number]),
                memory=float(used[MEMORY, number] / wanted[MEMORY, number]),
            )
            for number in np.flatnonzero(wanted.all(axis=0)).tolist()
        }
    return [
        Namespace(name=_namespace(number), weight=fairness.DEFAULT, use_ratio=ratios.get(number))
        for number in range(world.setting.namespaces)
    ]


def _node(row: int) -> str:
    return f"node-{row}"


def _namespace(number: int) -> str:
    return f"team-{number}"
