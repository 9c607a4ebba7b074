"""How good a node is for a pod: the less at risk of being full after the pod landed, the better.

::

    predicted = measured + in flight + expected of the pod
    risk      = predicted mean + k * sigma + lambda * excess        per resource, in shares of allocatable; the worse counts

Class first: nodes of the other capacity type score 0 wherever one of the pod's own is among the candidates. Within
the class the lowest risk scores 10 and the others fall by real distance, a step being a ninth of the range and never
less than noise::

    score = 10 - floor((risk - lowest) / max(range / 9, noise)), at least 1

Thus equal nodes are equal, and whoever is within noise of the best is as good. A node whose load is stale is scored as
the median of the others of its class; one that nobody knows likewise. Scores are of the candidates alone: another
candidate may stretch the range, and never swaps the order of two whose load is known.
What a scheduler is answered is ``led`` by one of the best.
"""

from dataclasses import dataclass
from math import inf, isnan, nan, sqrt

import numpy as np

from webhook.core.expectation import Expectation
from webhook.core.model import CapacityType
from webhook.core.nodetable import CPU, MEMORY, TOP, Flags, Floats, Rows, Table, shares

BOTTOM = 1
NEUTRAL = 5
"""Of an unknown node where no load is known to take a median of."""
LEAD = 3
"""Of the node a pod is counted on before all others: at the extender's usual weight more than plugins differ by."""
_STEPS = TOP - BOTTOM
_EVEN = 1e-9
"""Two nodes alike must not part by the last bit of a sum, in another order of the same."""
_FINEST = 1e-6
"""The least step, where the policy knows no noise."""

_NOBODY: Rows = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True, slots=True)
class Candidate:
    """The pod to be placed: where it wants to be, and what it will use."""

    uid: str
    namespace: str
    wants: CapacityType
    expected: Expectation


@dataclass(frozen=True, slots=True)
class Scores:
    """By candidate, in the order asked for: ``scores`` 0..10; ``rows`` as given.

    ``risk`` is NaN where the load was not used. ``best`` are the positions whose risk is the lowest, or within noise of
    it: a score's step may be wider; empty where only the class counted.
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
    wants_spot = candidate.wants is CapacityType.SPOT
    return _by_load(table, candidate, rows, now, wants_spot) or _otherwise(table, candidate, rows, now, wants_spot)


def _by_load(
    table: Table,
    candidate: Candidate,
    rows: Rows,
    now: float,
    wants_spot: bool,  # noqa: FBT001
) -> Scores | None:
    """None where no node of the class has a load that is fresh."""
    if table.is_blind or not len(rows):
        return None
    memory = table.memory
    kind = (candidate.namespace, wants_spot, candidate.expected.estimate)
    known = memory.of(kind, table.is_spot, table.until, now=now)
    values: Floats = known.take(rows)
    highest = float(np.fmax.reduce(values))
    if highest == inf:
        _reckon(table, candidate, known, rows[values == inf])
        values = known.take(rows)
        highest = float(np.fmax.reduce(values))
    if isnan(highest):
        return None
    lowest, noise = float(np.fmin.reduce(values)), table.policy.noise
    step = max((highest - lowest) / _STEPS, noise, _FINEST)
    ranks = _ranks(values, lowest, step)
    best: Rows = (values <= lowest + noise).nonzero()[0]
    if step <= noise * 1.001:
        # Else whoever is within noise is within the first step, and far from its edge.
        best = best[ranks[best] == TOP]
    if np.count_nonzero(ranks) < len(rows):
        untold = memory.untold(wants_spot).take(rows)
        if np.count_nonzero(untold):
            ranks[untold] = _median(ranks[ranks > 0])
    return Scores(rows, ranks, values, best)


def _otherwise(
    table: Table,
    candidate: Candidate,
    rows: Rows,
    now: float,
    wants_spot: bool,  # noqa: FBT001
) -> Scores:
    """All are of the other class, by the pod's own demand or for want of a choice; or no load tells them apart."""
    scores, known = np.full(len(rows), NEUTRAL, dtype=np.intp), rows >= 0
    if known.any():
        mine = known.copy()
        mine[known] = table.is_spot[rows[known]] == wants_spot
        if not mine.any():
            if found := _by_load(table, candidate, rows, now, not wants_spot):
                return found
            mine = known
        scores[known] = 0
        scores[mine] = TOP
    return Scores(rows, scores, np.full(len(rows), nan), _NOBODY)


_FEW = 6
"""Rows up to which plain numbers cost less than arrays."""


def _reckon(table: Table, candidate: Candidate, known: Floats, rows: Rows) -> None:
    if len(rows) > _FEW:
        known[rows] = risks(table, candidate, rows)
        return
    for row in rows.tolist():
        known[row] = _risk(table, candidate, row)


def _ranks(values: Floats, lowest: float, step: float) -> Rows:
    """1..10, and 0 where the risk is NaN. In place, as each array made anew costs as much as a sum."""
    falls = values - lowest
    falls /= step
    falls += _EVEN
    # No risk falls by a tenth step; what is none is taken as if it did.
    np.fmin(falls, TOP, out=falls)
    ranks: Rows = TOP - falls.astype(np.intp)
    return ranks


def _median(ranks: Rows) -> int:
    """Of an even number, the mean of the two in the middle, rounded down."""
    ends = np.bincount(ranks).cumsum()
    return int(np.searchsorted(ends, ((len(ranks) + 1) // 2, len(ranks) // 2 + 1)).sum()) // 2


def led(scores: Scores, row: int | None) -> Scores:
    """The scores to answer with: the node of ``row`` alone is at the top, the others ``LEAD`` lower than they were.

    A scheduler that is left to choose among equals asks its own plugins, which go by requests, and sends a whole burst to the
    one node that they like best, while it is counted on others. With None all stay as they are.
    """
    if row is None:
        return scores
    # All by the same, so that their order stays where a plugin speaks against the first. Zero stays zero: another class.
    told: Rows = np.maximum(scores.scores - LEAD, np.minimum(scores.scores, BOTTOM))
    told[scores.rows == row] = TOP
    return Scores(scores.rows, told, scores.risk, scores.best)


def risks(table: Table, candidate: Candidate, rows: Rows) -> Floats:
    """The risk of each row, all of which must be known."""
    policy, estimate = table.policy, candidate.expected.estimate
    inverse = table.inverse.take(rows, axis=1)
    mean = np.array(((estimate.cpu_cores,), (estimate.memory_bytes,))) * inverse
    predicted = table.mean.take(rows, axis=1) + mean
    deviation = np.array(((estimate.cpu_deviation_cores,), (estimate.memory_deviation_bytes,))) * inverse
    values = predicted + policy.risk_factor * np.sqrt(table.variance.take(rows, axis=1) + deviation * deviation)
    beyond = _excess(table, candidate, rows, mean, predicted)
    if beyond is not None:
        values += policy.fairness * beyond * (predicted > (table.reference + policy.noise + _EVEN)[:, None])
    worst: Floats = values.max(axis=0)
    return worst


def _risk(table: Table, candidate: Candidate, row: int) -> float:
    """The same of one row, to the last bit, by plain numbers."""
    estimate, policy, namespace = candidate.expected.estimate, table.policy, candidate.namespace
    own = table.namespaces.get(namespace) if policy.fairness else None
    used = own.at(row, len(table.names)) if own else (0.0, 0.0)
    worst = -inf
    for resource, amount, swing in (
        (CPU, estimate.cpu_cores, estimate.cpu_deviation_cores),
        (MEMORY, estimate.memory_bytes, estimate.memory_deviation_bytes),
    ):
        inverse = table.inverse.item(resource, row)
        mean, deviation = amount * inverse, swing * inverse
        predicted = table.mean.item(resource, row) + mean
        value = predicted + policy.risk_factor * sqrt(table.variance.item(resource, row) + deviation * deviation)
        if any(used) and predicted > table.reference.item(resource) + policy.noise + _EVEN:
            part = table.weight.get(namespace, 1.0) / table.weights.item(row)
            value += policy.fairness * max(0.0, used[resource] + mean - predicted * part)
        worst = max(worst, value)
    return worst


def _excess(table: Table, candidate: Candidate, rows: Rows, mean: Floats, predicted: Floats) -> Floats | None:
    """(2, rows): how far the namespace's use goes beyond its part of each node, the pod itself included; None for nowhere.

    ``mean`` is of the pod, ``predicted`` of the nodes with it, both (2, rows).
    """
    own = table.namespaces.get(candidate.namespace)
    if own is None or not table.policy.fairness:
        return None
    places = own.places(len(table.names))[rows]
    hit = np.flatnonzero(places >= 0)
    used = own.shares.take(places[hit], axis=1)
    there = used.any(axis=0)
    if not there.all():
        hit, used = hit[there], used[:, there]
    if not len(hit):
        return None
    part = table.weight.get(candidate.namespace, 1.0) / table.weights[rows[hit]]
    whole = np.zeros((2, len(rows)))
    whole[:, hit] = np.maximum(0.0, used + mean[:, hit] - predicted[:, hit] * part)
    return whole


def parts(table: Table, candidate: Candidate, row: int, *, now: float) -> Parts | None:
    """What one node's risk is made of; None where its load is stale, or not known."""
    if row < 0 or table.is_blind or not table.until[row] >= now:
        return None
    rows = np.array([row], dtype=np.intp)
    mean, variance = shares(candidate.expected.estimate, table.inverse[:, row])
    predicted = table.mean[:, row] + mean
    beyond = _excess(table, candidate, rows, mean[:, None], predicted[:, None])
    busy = predicted > table.reference + table.policy.noise + _EVEN
    return Parts(
        mean=table.mean[:, row].copy(),
        deviation=np.sqrt(table.variance[:, row] + variance),
        expected=mean,
        excess=np.zeros(2) if beyond is None else beyond[:, 0] * busy,
        risk=float(risks(table, candidate, rows)[0]),
    )


def too_full(table: Table, rows: Rows, *, now: float) -> Flags:
    """Which of ``rows`` the filter keeps pods away from: a fresh load, as it was measured, above the limit. Never all."""
    limit = table.policy.filter_above
    none = np.zeros(len(rows), dtype=bool)
    if limit is None or table.is_blind or not table.names:
        return none
    fresh = (rows >= 0) & (table.until[rows] >= now)
    full: Flags = fresh & (table.fullest[rows] > limit)
    return none if full.all() else full
