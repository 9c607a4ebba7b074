"""How good a node is for a pod: the less at risk of being full after the pod landed, the better.

::

    predicted = measured + in flight + expected of the pod
    risk      = predicted mean + k * sigma + lambda * excess        per resource, in shares of allocatable; the worse counts

Class first: nodes of the other capacity type score 0 wherever one of the pod's own is among the candidates. Within
the class the lowest risk scores 10 and the others fall by real distance, a step being a ninth of the range and never
less than noise::

    score = 10 - floor((risk - lowest) / max(range / 9, noise)), at least 1

Thus equal nodes are equal, and a difference within noise is none. A node whose load is stale is scored as the median of the
others of its class; one that nobody knows likewise. Scores are of the candidates alone: another candidate may
stretch the range, and never swaps the order of two others.
"""

from dataclasses import dataclass

import numpy as np

from webhook.core.expectation import Expectation
from webhook.core.model import CapacityType
from webhook.core.nodetable import CPU, MEMORY, TOP, Flags, Floats, Rows, Table, shares

BOTTOM = 1
NEUTRAL = 5
"""Of an unknown node where no load is known to take a median of."""
_STEPS = TOP - BOTTOM
_EVEN = 1e-9
"""Of a step: two nodes alike must not part by the last bit of a sum."""

_NOBODY: Rows = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Candidate:
    """The pod to be placed: where it wants to be, and what it will use."""

    uid: str
    namespace: str
    wants: CapacityType
    expected: Expectation


@dataclass(frozen=True, slots=True)
class Scores:
    """By candidate, in the order asked for: ``scores`` 0..10 (int8); ``rows`` as given.

    ``risk`` is NaN where the load was not used. ``best`` are the positions that share the highest score by a known load;
    empty where only the class counted.
    """

    rows: Rows
    scores: Rows
    risk: Floats
    best: Rows


@dataclass(frozen=True, slots=True)
class Parts:
    """Behind one node's score, for people: shares of allocatable, each (CPU, memory). None where its load says nothing."""

    mean: Floats
    deviation: Floats
    expected: Floats
    excess: Floats
    risk: float


def score(table: Table, candidate: Candidate, rows: Rows, *, now: float) -> Scores:
    """Score the nodes of ``rows`` for the candidate; ``now`` in Unix seconds.

    ``rows`` must name no node twice; -1 is one that the table does not know.
    """
    known = rows >= 0
    if not known.any():
        return Scores(rows, np.full(len(rows), NEUTRAL, dtype=np.int32), np.full(len(rows), np.nan), _NOBODY)
    mine = known & (table.is_spot[rows] == (candidate.wants is CapacityType.SPOT))
    if not mine.any():
        # All are of the other class, by the pod's own demand or for want of a choice.
        mine = known
    told = mine & (table.until[rows] >= now)
    scores = np.zeros(len(rows), dtype=np.int32)
    risk = np.full(len(rows), np.nan)
    if table.is_blind or not told.any():
        scores[mine] = TOP
        scores[~known] = NEUTRAL
        return Scores(rows, scores, risk, _NOBODY)
    everyone = bool(told.all())
    used = rows if everyone else rows[told]
    values = risks(table, candidate, used)
    ranks = _ranks(values, table.policy.noise)
    if everyone:
        scores, risk = ranks, values
        best = np.flatnonzero(ranks == TOP)
    else:
        scores[told], risk[told] = ranks, values
        scores[(mine & ~told) | ~known] = int(np.median(ranks))
        best = np.flatnonzero(told)[ranks == TOP]
    return Scores(rows, scores, risk, best.astype(np.int32))


def risks(table: Table, candidate: Candidate, rows: Rows) -> Floats:
    """The risk of each row, all of which must be known."""
    policy, estimate = table.policy, candidate.expected.estimate
    own = (
        (CPU, estimate.cpu_cores, estimate.cpu_deviation_cores),
        (MEMORY, estimate.memory_bytes, estimate.memory_deviation_bytes),
    )
    worst: Floats | None = None
    beyond = _excess(table, candidate, rows)
    for resource, mean, deviation in own:
        inverse = table.inverse[resource][rows]
        predicted = table.mean[resource][rows] + mean * inverse
        variance = table.variance[resource][rows]
        if deviation:
            variance = variance + (deviation * inverse) ** 2
        value = predicted + policy.risk_factor * np.sqrt(variance)
        if beyond is not None:
            busy = predicted > table.reference[resource] + policy.noise
            value += policy.fairness * beyond[resource] * busy
        worst = value if worst is None else np.maximum(worst, value)
    assert worst is not None
    return worst


def _excess(table: Table, candidate: Candidate, rows: Rows) -> Floats | None:
    """(2, rows): how far the namespace's use goes beyond its part of each node, the pod itself included; None for nowhere."""
    own = table.namespaces.get(candidate.namespace)
    if own is None or not table.policy.fairness:
        return None
    estimate = candidate.expected.estimate
    whole = np.zeros((2, len(table.names)))
    mean = np.array((estimate.cpu_cores, estimate.memory_bytes))[:, None] * table.inverse[:, own.rows]
    weight, there = table.weight.get(candidate.namespace, 1.0), own.shares.any(axis=0)
    part = weight / np.where(there, table.weights[own.rows], weight)
    beyond = np.maximum(0.0, own.shares + mean - (table.mean[:, own.rows] + mean) * part)
    whole[:, own.rows] = np.where(there, beyond, 0.0)
    return whole[:, rows]


def _ranks(values: Floats, noise: float) -> Rows:
    lowest = values.min()
    step = max((values.max() - lowest) / _STEPS, noise)
    falls = np.floor((values - lowest) / step + _EVEN)
    ranks: Rows = (TOP - np.minimum(falls, _STEPS)).astype(np.int32)
    return ranks


def parts(table: Table, candidate: Candidate, row: int, *, now: float) -> Parts | None:
    """What one node's risk is made of; None where its load is stale, or not known."""
    if row < 0 or table.is_blind or not table.until[row] >= now:
        return None
    rows = np.array([row], dtype=np.int32)
    mean, variance = shares(candidate.expected.estimate, table.inverse[:, row])
    beyond = _excess(table, candidate, rows)
    busy = table.mean[:, row] + mean > table.reference + table.policy.noise
    return Parts(
        mean=table.mean[:, row].copy(),
        deviation=np.sqrt(table.variance[:, row] + variance),
        expected=mean,
        excess=np.zeros(2) if beyond is None else beyond[:, 0] * busy,
        risk=float(risks(table, candidate, rows)[0]),
    )


def too_full(table: Table, rows: Rows, *, now: float) -> Flags:
    """Which of ``rows`` the filter keeps pods away from: a fresh load above the limit. Never all of them."""
    limit = table.policy.filter_above
    none = np.zeros(len(rows), dtype=bool)
    if limit is None or table.is_blind or not table.names:
        return none
    fresh = (rows >= 0) & (table.until[rows] >= now)
    full: Flags = fresh & (table.mean[:, rows].max(axis=0) > limit)
    return none if full.all() else full
