"""The table behind one score: what each node bears, what the pod adds, what counts against it, and why the winner wins.

It stands on the snapshot alone. A running server also counts the pods that it scored in the last minute, which nobody
else knows of.
"""

from collections.abc import Sequence
from copy import copy
from enum import StrEnum

import msgspec
import numpy as np

from webhook.core import habits, nodetable, scoring
from webhook.core.expectation import Expectation
from webhook.core.ledger import draws, likely
from webhook.core.model import CapacityType, NodeLoad, Resources, Value
from webhook.core.nodejoin import blindness
from webhook.core.nodetable import CPU, MEMORY, TOP, Floats, Rows, Table
from webhook.core.policy import BalancePolicy
from webhook.core.scoring import Candidate, Parts, Scores
from webhook.core.snapshot import Snapshot


def under(snapshot: Snapshot, balance: BalancePolicy) -> Snapshot:
    """The same world judged by another policy; what its loads and its pods' use are means over stays."""
    policy = snapshot.meta.policy
    tried = msgspec.structs.replace(balance, window=policy.balance.window, habit=policy.balance.habit)
    made = copy(snapshot)
    made.meta = msgspec.structs.replace(snapshot.meta, policy=msgspec.structs.replace(policy, balance=tried))
    return made


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
    """One row. ``risk`` is None where the load did not count; ``cpu`` and ``memory`` where there is none to show.

    ``answered`` is what a scheduler is told. What is ``filtered`` it never asks a score of: both are 0, the risk None.
    """

    name: str
    capacity_type: CapacityType | None
    score: int
    answered: int
    filtered: bool
    risk: float | None
    freshness: Freshness
    age_seconds: float | None
    source: str
    cpu: Use | None
    memory: Use | None


class ScoreView(Value, frozen=True, omit_defaults=False):
    """Nodes, the one that leads first. ``likely`` is its name, drawn by the pod's UID among equals; empty if none leads."""

    wants: CapacityType
    namespace: str
    weight: float
    expected: Expectation
    nodes: tuple[NodeScore, ...]
    likely: str
    why: str


def view(snapshot: Snapshot, candidate: Candidate, names: Sequence[str], *, has_uid: bool = True) -> ScoreView:
    """Score nodes for a pod, as of the snapshot's own moment. ``names`` holds no name twice, and at least one.

    Without ``has_uid`` the candidate stands for pods that are still to come, and the draw among equals for one of them.
    """
    table, now = nodetable.table(snapshot), snapshot.meta.captured_at.timestamp()
    rows = table.rows_of(names, len(names))
    full = scoring.too_full(table, rows, now=now)
    # As the scheduler asks: the filter first, and scores of those alone that it left.
    found = scoring.score(table, candidate, rows[~full], now=now)
    row = likely(table, candidate.uid, found)
    scores, answered = np.zeros(len(rows), dtype=np.int32), np.zeros(len(rows), dtype=np.int32)
    risk = np.full(len(rows), np.nan)
    scores[~full], risk[~full] = found.scores, found.risk
    answered[~full] = as_told(table, candidate, scoring.led(found, row))
    told = zip(scores.tolist(), answered.tolist(), full.tolist(), risk.tolist(), strict=True)
    made = [_node(snapshot, table, candidate, name, one) for name, one in zip(names, told, strict=True)]
    return ScoreView(
        wants=candidate.wants,
        namespace=candidate.namespace,
        weight=table.weight.get(candidate.namespace, 1.0),
        expected=candidate.expected,
        nodes=tuple(sorted(made, key=_place)),
        likely="" if row is None else table.names[row],
        why=_why(snapshot, candidate, found, has_uid=has_uid),
    )


def _place(one: NodeScore) -> tuple[int, int, bool, float, str]:
    return -one.answered, -one.score, one.filtered, 9.0 if one.risk is None else one.risk, one.name


def as_told(table: Table, candidate: Candidate, told: Scores) -> Rows:
    """What a scheduler is told, by candidate: 0 for all that ``best`` leaves out of the answer."""
    best, scores = table.policy.best, told.scores
    if best is None or np.count_nonzero(scores) <= best:
        return scores
    drawn = draws(table, candidate.uid, told.rows) if table.names else np.zeros(len(scores))
    kept = np.lexsort((drawn, scores))[-best:]
    return np.where(np.isin(np.arange(len(scores)), kept), scores, 0).astype(np.int32)


def _why(snapshot: Snapshot, candidate: Candidate, found: Scores, *, has_uid: bool) -> str:
    """A sentence: who wins, and against whom."""
    table, now = nodetable.table(snapshot), snapshot.meta.captured_at.timestamp()
    row = likely(table, candidate.uid, found)
    if row is None:
        return _class_only(snapshot, found)
    name, equal = table.names[row], len(found.best)
    risk = f"the pod would leave it at a risk of {_risk(table, candidate, row, now)}"
    alike = f"{equal} that are as good, to within noise"
    if equal == 1:
        told = f"{name} wins: {risk}"
    elif has_uid:
        told = f"{name} wins: {risk}; drawn by its UID among {alike}"
    else:
        told = f"each pod draws one of {alike}, one of them {name}: {risk}"
    others = found.risk.copy()
    others[found.best] = np.nan
    if np.isnan(others).all():
        return told
    place = int(np.nanargmin(others))
    second = int(found.rows[place])
    return f"{told}; next is {table.names[second]}, {_risk(table, candidate, second, now)}, score {found.scores[place]}"


def _class_only(snapshot: Snapshot, found: Scores) -> str:
    if not (found.rows >= 0).any():
        return "none of these nodes is known, so all are equal"
    has_load = any(node.load is not None for node in snapshot.nodes.values())
    reason = blindness(snapshot.meta.load_match_rate, has_load=has_load) or "no node of its class has a fresh load"
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


def _node(
    snapshot: Snapshot, table: Table, candidate: Candidate, name: str, scored: tuple[int, int, bool, float]
) -> NodeScore:
    node, row = snapshot.nodes.get(name), table.index[name]
    load, now = node.load if node else None, snapshot.meta.captured_at
    score, answered, filtered, risk = scored
    freshness = Freshness.UNKNOWN if node is None else Freshness.NONE
    cpu = memory = None
    if node is not None and load is not None and table.until[row] > -np.inf:
        freshness = Freshness.FRESH if table.until[row] >= now.timestamp() else Freshness.STALE
        measured = _measured(load, node.allocatable, table.inverse[:, row])
        # At the time of its own sample even an old load can be taken apart; a blind table's never.
        made = scoring.parts(table, candidate, row, now=float(table.until[row]))
        cpu, memory = (_use(measured, made, resource) for resource in (CPU, MEMORY))
    return NodeScore(
        name=name,
        capacity_type=node.capacity_type if node else None,
        score=score,
        answered=answered,
        filtered=filtered,
        risk=None if np.isnan(risk) else risk,
        freshness=freshness,
        age_seconds=(now - load.sampled_at).total_seconds() if load else None,
        source=load.source if load else "",
        cpu=cpu,
        memory=memory,
    )


def _measured(load: NodeLoad, allocatable: Resources, inverse: Floats) -> Floats:
    """(mean, deviation, mean with habit) by resource, (3, 2)."""
    deviations = (load.cpu_deviation_cores, load.memory_deviation_bytes)
    amounts = ((load.cpu_cores, load.memory_bytes), deviations, habits.foretold(load, allocatable))
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
