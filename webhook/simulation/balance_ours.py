"""Our policy on the ground: what sync would have written at each moment, by the very functions that learn and serve.

A snapshot is taken when the last is ``_REFRESH`` seconds old, and knows bindings up to ``_LAG`` seconds ago, about what
watch, sync and server take together; in between there is the ledger.
"""

from datetime import timedelta
from types import MappingProxyType

import msgspec
import numpy as np

from webhook.core import expectation, fairness, load, nodetable, scoreview, scoring
from webhook.core.ledger import Ledger
from webhook.core.model import Bound, CapacityType, Namespace, Node, Resources, Workload
from webhook.core.policy import BalancePolicy, Policy
from webhook.core.snapshot import Meta, Snapshot
from webhook.simulation.balance_cluster import Ground, Measured
from webhook.simulation.balance_learning import START, Learner, namespace_name, node_name
from webhook.simulation.balance_peers import Question, defaults
from webhook.simulation.balance_world import Floats

OURS = "spot-balancer"
WEIGHT = 3
"""Of the extender in the scheduler's configuration; one point of ours is ten of a plugin's."""
_REFRESH, _LAG = 2.0, 1.0


class Ours:
    """Scores by the served functions. ``ledger`` and ``weight`` may be changed to see what they are for."""

    def __init__(self, balance: BalancePolicy, *, weight: int = WEIGHT, with_defaults: bool = True) -> None:
        self._weight, self._with_defaults = weight, with_defaults
        self._balance = balance
        self._meta = Meta(captured_at=START, load_match_rate=1.0, policy=Policy(balance=balance))
        self._ledger = Ledger()
        self._taken, self._minute = -np.inf, -1
        self._snapshot = Snapshot(self._meta)
        self._expected: dict[int, expectation.Expectation] = {}
        self._nodes: MappingProxyType[str, Node] = MappingProxyType({})
        self._namespaces: dict[str, Namespace] = {}
        self._learner: Learner | None = None
        self._learnt = load.NOTHING

    def __call__(self, question: Question) -> Floats:
        now = START.timestamp() + question.at
        if question.at - self._taken >= _REFRESH:
            self._take(question.ground, question.at)
            self._ledger.follow(nodetable.table(self._snapshot), now=now)
        world = question.ground.world
        workload = int(world.workload[question.pod])
        candidate = scoring.Candidate(
            uid=str(question.pod),
            namespace=namespace_name(int(world.namespace[workload])),
            wants=CapacityType.REGULAR,
            expected=self._expects(question.ground, workload),
        )
        rows = question.rows.astype(np.intp)
        # As the scheduler asks: the filter first, by the snapshot's own table, and scores of those alone that it left.
        full = scoring.too_full(nodetable.table(self._snapshot), rows, now=now)
        scores = scoring.score(self._ledger.table, candidate, rows[~full], now=now)
        answer = self._ledger.answer(candidate, scores, now=now)
        own = np.full(len(rows), -np.inf)
        own[~full] = 10.0 * self._weight * scoreview.as_told(self._ledger.table, candidate, answer)
        return own + defaults(question) if self._with_defaults else own

    def _take(self, ground: Ground, at: float) -> None:
        """What sync would have written of the cluster by now."""
        measured = ground.measured(at)
        minute = int(at // 60)
        if minute != self._minute:
            self._minute = minute
            self._expected = {}
            learner = self._learner = self._learner or Learner(ground.world, self._balance)
            self._learnt = learner.learn(ground, measured) if measured else load.NOTHING
            self._nodes = MappingProxyType({node.name: node for node in learner.nodes(measured, self._learnt)})
            self._namespaces = {one.name: one for one in _namespaces(ground, self._learnt)}
        before, self._taken = self._snapshot, at
        # No load is believed that is from beyond its snapshot's own moment.
        self._snapshot = Snapshot.from_indexes(
            msgspec.structs.replace(self._meta, captured_at=START + timedelta(seconds=at)),
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
            assert self._learner is not None
            key = self._learner.keys[workload]
            cpu, memory = ground.world.requests[:, workload].tolist()
            self._expected[workload] = expectation.expect(
                Workload(key=key, use=self._learnt.workloads.get(key)),
                self._namespaces.get(key.namespace),
                Resources(cpu, memory),
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
                node=node_name(int(ground.node[pod])),
                namespace=namespace_name(int(world.namespace[workload])),
                expected=self._expects(ground, workload).estimate,
                started_at=None if begins > minute else START + timedelta(minutes=begins),
            )
        return made


def _namespaces(ground: Ground, learnt: load.Measured) -> list[Namespace]:
    names = map(namespace_name, range(ground.world.setting.namespaces))
    return [Namespace(name=name, weight=fairness.DEFAULT, use_ratio=learnt.ratios.get(name)) for name in names]
