"""The table behind one score: what each node bears, what the pod adds, what counts against it, and why the winner wins.

It stands on the snapshot alone. A running server also counts the pods that it scored in the last minute, which nobody
else knows of.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from webhook.core import nodetable, scoring
from webhook.core.expectation import Expectation
from webhook.core.ledger import likely
from webhook.core.model import CapacityType, NodeLoad, Value
from webhook.core.nodejoin import LEAST_MATCHED
from webhook.core.nodetable import CPU, MEMORY, TOP, Floats, Table
from webhook.core.scoring import Candidate, Parts, Scores
from webhook.core.snapshot import Snapshot


class Freshness(StrEnum):
    """Whether a node's load counts; only a fresh one does."""

    FRESH = "fresh"
    STALE = "stale"
    NONE = "no load"
    UNKNOWN = "unknown node"


class Use(Value, frozen=True, omit_defaults=False):
    """Of one resource, as shares of allocatable.

    ``mean`` and ``deviation`` are measured; ``habit`` is what is added to the mean, or taken off, because its pods' owners
    use more or less as a rule; ``in_flight`` was bound since; ``expected`` is the pod; ``excess`` is what its
    namespace would have beyond its part, which is zero where the node is not busy.
    """

    mean: float
    deviation: float
    habit: float
    in_flight: float
    expected: float
    excess: float


class NodeScore(Value, frozen=True, omit_defaults=False):
    """One row. ``risk`` is None where the load did not count; ``cpu`` and ``memory`` where there is none to show."""

    name: str
    capacity_type: CapacityType | None
    score: int
    risk: float | None
    freshness: Freshness
    age_seconds: float | None
    source: str
    cpu: Use | None
    memory: Use | None


class ScoreView(Value, frozen=True, omit_defaults=False):
    """Nodes, the best first. ``likely`` is the best's name, drawn by the pod's UID among equals; empty if none is better."""

    wants: CapacityType
    namespace: str
    weight: float
    expected: Expectation
    nodes: tuple[NodeScore, ...]
    likely: str
    why: str


def view(snapshot: Snapshot, candidate: Candidate, names: Sequence[str]) -> ScoreView:
    """Score nodes for a pod, as of the snapshot's own moment. ``names`` holds no name twice, and at least one."""
    table, now = nodetable.table(snapshot), snapshot.meta.captured_at.timestamp()
    rows = table.rows_of(names, len(names))
    found = scoring.score(table, candidate, rows, now=now)
    made = [
        _node(snapshot, table, candidate, name, (score, risk))
        for name, score, risk in zip(names, found.scores.tolist(), found.risk.tolist(), strict=True)
    ]
    row = likely(table, candidate.uid, found)
    return ScoreView(
        wants=candidate.wants,
        namespace=candidate.namespace,
        weight=table.weight.get(candidate.namespace, 1.0),
        expected=candidate.expected,
        nodes=tuple(sorted(made, key=lambda one: (-one.score, 9.0 if one.risk is None else one.risk, one.name))),
        likely="" if row is None else table.names[row],
        why=why(table, candidate, found, now=now),
    )


def why(table: Table, candidate: Candidate, found: Scores, *, now: float) -> str:
    """A sentence: who wins, and against whom."""
    if not len(found.best):
        return _class_only(table, found)
    row = likely(table, candidate.uid, found)
    assert row is not None
    best = [table.names[other] for other in found.rows[found.best].tolist()]
    told = f"{table.names[row]} wins: the pod would leave it at a risk of {_risk(table, candidate, row, now)}"
    if len(best) > 1:
        told += f"; drawn by its UID among {len(best)} that are as good, to within noise"
    second = np.where(found.scores == TOP, np.nan, found.risk)
    if np.isnan(second).all():
        return told
    place = int(np.nanargmin(second))
    next_row = int(found.rows[place])
    return f"{told}; next is {table.names[next_row]}, {_risk(table, candidate, next_row, now)}, score {found.scores[place]}"


def _class_only(table: Table, found: Scores) -> str:
    if not (found.rows >= 0).any():
        return "none of these nodes is known, so all are equal"
    reason = "no node of its class has a fresh load"
    if table.is_blind:
        reason = f"node load is not measured, or less than {LEAST_MATCHED:.0%} of its series lead to a node"
    equal = int(np.count_nonzero(found.scores == TOP))
    return f"only the class counts: {reason}; {equal} node(s) are as good, and what else the scheduler weighs decides"


def _risk(table: Table, candidate: Candidate, row: int, now: float) -> str:
    made = scoring.parts(table, candidate, row, now=now)
    assert made is not None
    return f"{made.risk:.0%} of its {('CPU', 'memory')[_worse(table, made)]}"


def _worse(table: Table, made: Parts) -> int:
    policy = table.policy
    risks = made.mean + made.expected + policy.risk_factor * made.deviation + policy.fairness * made.excess
    return int(np.argmax(risks))


def _node(snapshot: Snapshot, table: Table, candidate: Candidate, name: str, scored: tuple[int, float]) -> NodeScore:
    node, row = snapshot.nodes.get(name), table.index[name]
    load, now, (score, risk) = node.load if node else None, snapshot.meta.captured_at, scored
    freshness = Freshness.UNKNOWN if node is None else Freshness.NONE
    cpu = memory = None
    if load is not None and table.until[row] > -np.inf:
        freshness = Freshness.FRESH if table.until[row] >= now.timestamp() else Freshness.STALE
        measured = _measured(load, table.inverse[:, row])
        # At the time of its own sample even an old load can be taken apart; a blind table's never.
        made = scoring.parts(table, candidate, row, now=float(table.until[row]))
        cpu, memory = (_use(measured, made, resource) for resource in (CPU, MEMORY))
    return NodeScore(
        name=name,
        capacity_type=node.capacity_type if node else None,
        score=score,
        risk=None if np.isnan(risk) else risk,
        freshness=freshness,
        age_seconds=(now - load.sampled_at).total_seconds() if load else None,
        source=load.source if load else "",
        cpu=cpu,
        memory=memory,
    )


def _measured(load: NodeLoad, inverse: Floats) -> Floats:
    """(mean, deviation, mean with habit) by resource, (3, 2)."""
    deviations = (load.cpu_deviation_cores, load.memory_deviation_bytes)
    amounts = ((load.cpu_cores, load.memory_bytes), deviations, nodetable.foretold(load))
    return np.nan_to_num(np.array(amounts) * inverse, nan=0.0, posinf=0.0, neginf=0.0)


def _use(measured: Floats, made: Parts | None, resource: int) -> Use:
    mean, deviation, foretold = measured[:, resource].tolist()
    return Use(
        mean=mean,
        deviation=deviation,
        habit=foretold - mean,
        in_flight=0.0 if made is None else max(0.0, float(made.mean[resource]) - foretold),
        expected=0.0 if made is None else float(made.expected[resource]),
        excess=0.0 if made is None else float(made.excess[resource]),
    )
