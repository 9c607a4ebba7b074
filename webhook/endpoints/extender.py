"""POST /extender/prioritize and /extender/filter: what a kube-scheduler asks for each pod, answered from memory.

decode → whose pod is it → score or filter → encode. Whatever goes wrong leaves the pod to the scheduler as it would be
without us: no node is better than another, and none is kept away. The reason is counted, and logged without a word of
the body. Nothing here blocks: a scheduler asks for one pod after the other, and each waits for the answer.
"""

import logging
from collections.abc import Callable
from enum import StrEnum
from time import monotonic, perf_counter

import numpy as np

from webhook.core import candidates, nodetable, scoring
from webhook.core.candidates import Neutral
from webhook.core.ledger import Ledger, likely
from webhook.core.nodetable import Rows, Table
from webhook.core.scoring import Candidate, Scores
from webhook.core.snapshot import Snapshot
from webhook.endpoints import Reply, error_body
from webhook.endpoints.faults import FaultLog
from webhook.errors import ArgumentsError
from webhook.metrics import Metrics
from webhook.ports import SnapshotView
from webhook.wire import extender
from webhook.wire.extender import Question

_log = logging.getLogger(__name__)
_EXPLAIN_EVERY_SECONDS = 1.0


class Outcome(StrEnum):
    """What became of a call where nothing of the pod itself speaks against an answer; beside ``Neutral``."""

    SCORED = "scored"
    CLASS_ONLY = "class-only"  # no load is fresh; look at Prometheus
    FILTERED = "filtered"
    KEPT_ALL = "kept-all"
    NO_NODES = "no-nodes"
    NO_SNAPSHOT = "no-snapshot"
    BAD_ARGUMENTS = "bad-arguments"
    BAD_POD = "bad-pod"
    INTERNAL_ERROR = "internal-error"


Told = tuple[Outcome | Neutral, bytes]


class Scorer:
    """The ledger, standing on the newest snapshot; one for all verbs.

    ``seconds`` is a clock that only counts: how long a pod is held is nobody's wall-clock time.
    """

    def __init__(self, snapshots: SnapshotView, *, seconds: Callable[[], float] = monotonic) -> None:
        self.ledger = Ledger()
        self._snapshots = snapshots
        self._seconds = seconds
        self._followed: Snapshot | None = None

    def snapshot(self) -> Snapshot | None:
        """The newest one, with the ledger on it; None before the first."""
        found = self._snapshots.current()
        if found is not None and found is not self._followed:
            self.ledger.follow(nodetable.table(found), now=self._seconds())
            self._followed = found
        return found

    def now(self) -> float:
        """The moment to decide for, in Unix seconds."""
        return self._snapshots.now().timestamp()

    def score(self, candidate: Candidate, rows: Rows) -> Scores:
        """Score the nodes as if no earlier call for the pod had been. ``rows`` name no node twice."""
        # What such a call left behind would keep it from where it belongs.
        self.ledger.forget(candidate.uid)
        return scoring.score(self.ledger.table, candidate, rows, now=self.now())

    def lead(self, candidate: Candidate, scores: Scores) -> Scores:
        """Count the pod on its likely node, unless it is counted where it really is; the scores that send it there."""
        if candidate.uid in self.ledger.table.bound:
            return scoring.led(scores, likely(self.ledger.table, candidate.uid, scores))
        return self.ledger.answer(candidate, scores, now=self._seconds())

    def held(self) -> int:
        """How many pods count on their likely node."""
        return self.ledger.held(now=self._seconds())

    def stale_share(self) -> float:
        """Of the nodes, how many have no load that is fresh; -1 without a snapshot."""
        found = self._snapshots.current()
        if found is None:
            return -1.0
        until = nodetable.table(found).until
        return float(np.mean(until < self.now())) if len(until) else 0.0


class _Verb:
    """What both have in common: a body in, an answer of status 200 out, unless it is no scheduler's."""

    name = ""

    def __init__(self, scorer: Scorer, metrics: Metrics, *, seconds: Callable[[], float] = monotonic) -> None:
        self._scorer = scorer
        reasons = (*Outcome, *Neutral)
        self._calls = {reason: metrics.extender_calls.labels(self.name, reason.value) for reason in reasons}
        self._observe = metrics.extender_seconds.labels(self.name).observe
        self._faults = FaultLog(_log, seconds)

    def __call__(self, body: bytes) -> Reply:
        """Answer one call. Raises nothing."""
        began = perf_counter()
        try:
            question = extender.decode(body)
        except ArgumentsError as error:
            self._calls[Outcome.BAD_ARGUMENTS].inc()
            return Reply(400, error_body(str(error)))
        try:
            outcome, answer = self._answer(question)
        except ArgumentsError:
            outcome, answer = Outcome.BAD_POD, self._neutral(question)
        except Exception as error:  # noqa: BLE001 - the one place where everything is left to the scheduler
            self._faults.tell(f"a call to {self.name} failed", error, "")
            outcome, answer = Outcome.INTERNAL_ERROR, self._neutral(question)
        self._calls[outcome].inc()
        self._observe(perf_counter() - began)
        return Reply(200, answer)

    def _answer(self, question: Question) -> Told:
        if not question.names:
            return Outcome.NO_NODES, self._neutral(question)
        snapshot = self._scorer.snapshot()
        if snapshot is None:
            return Outcome.NO_SNAPSHOT, self._neutral(question)
        pod, requests = extender.decode_pod(question)
        found = candidates.candidate(pod, requests, snapshot)
        if isinstance(found, Neutral):
            return found, self._neutral(question)
        return self._decide(question, found, snapshot)

    def _decide(self, question: Question, candidate: Candidate, snapshot: Snapshot) -> Told:
        raise NotImplementedError

    def _neutral(self, question: Question) -> bytes:
        raise NotImplementedError


class Prioritize(_Verb):
    """Which of the nodes the scheduler should prefer."""

    name = "prioritize"

    def __init__(self, scorer: Scorer, metrics: Metrics, *, seconds: Callable[[], float] = monotonic) -> None:
        super().__init__(scorer, metrics, seconds=seconds)
        self._explain = Explanation(seconds)

    def _decide(self, question: Question, candidate: Candidate, snapshot: Snapshot) -> Told:
        table = self._scorer.ledger.table
        names, rows = _distinct(question.names, table)
        scores = self._scorer.score(candidate, rows)
        if self._explain.is_due():
            self._explain.tell(table, candidate, scores, now=self._scorer.now())
        scores = self._scorer.lead(candidate, scores)
        best = snapshot.meta.policy.balance.best
        answer = extender.priorities(table, names, scores, uid=candidate.uid, best=best)
        return (Outcome.SCORED if len(scores.best) else Outcome.CLASS_ONLY), answer

    def _neutral(self, question: Question) -> bytes:
        del question
        return extender.NOBODY


class Filter(_Verb):
    """Which of the nodes are too full by what was measured; never all of them."""

    name = "filter"

    def _decide(self, question: Question, candidate: Candidate, snapshot: Snapshot) -> Told:
        del candidate
        limit = snapshot.meta.policy.balance.filter_above
        if limit is None:
            return Outcome.KEPT_ALL, extender.whole(question)
        # The snapshot's own table: who may go nowhere else is kept away by what is known, not by what is likely.
        table, names = nodetable.table(snapshot), question.names
        full = scoring.too_full(table, table.rows_of(names, len(names)), now=self._scorer.now())
        if not full.any():
            return Outcome.KEPT_ALL, extender.whole(question)
        why = f"spot-balancer: measured load is above {limit:.0%} of allocatable"
        failed = {names[place]: why for place in np.flatnonzero(full).tolist()}
        return Outcome.FILTERED, extender.filtered(question, np.flatnonzero(~full).tolist(), failed)

    def _neutral(self, question: Question) -> bytes:
        return extender.whole(question)


def _distinct(names: list[str], table: Table) -> tuple[list[str], Rows]:
    """Names and rows, each node once; no scheduler names one twice."""
    rows = table.rows_of(names, len(names))
    seen = np.zeros(len(table.names) + 1, dtype=bool)
    # All that nobody knows share the last place: of several, one counts, and they are looked at by name.
    seen[rows] = True
    if np.count_nonzero(seen) == len(rows):
        return names, rows
    once = list(dict.fromkeys(names))
    return once, table.rows_of(once, len(once))


class Explanation:
    """One decision a second in the debug log, whole: why the best node won."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._next = float("-inf")

    def is_due(self) -> bool:
        return _log.isEnabledFor(logging.DEBUG) and self._seconds() >= self._next

    def tell(self, table: Table, candidate: Candidate, scores: Scores, *, now: float) -> None:
        """One debug line; none where only the class counted."""
        if not len(scores.best):
            return
        self._next = self._seconds() + _EXPLAIN_EVERY_SECONDS
        row = int(scores.rows[scores.best[0]])
        made = scoring.parts(table, candidate, row, now=now)
        if made is None:
            return
        extra = {
            "uid": candidate.uid,
            "namespace": candidate.namespace,
            "wants": candidate.wants.value,
            "cpuFrom": candidate.expected.cpu_from.value,
            "memoryFrom": candidate.expected.memory_from.value,
            "nodes": len(scores.rows),
            "best": len(scores.best),
            "node": table.names[row],
            "risk": made.risk,
        }
        for name in ("mean", "deviation", "expected", "excess"):
            cpu, memory = getattr(made, name).tolist()
            extra |= {f"{name}Cpu": cpu, f"{name}Memory": memory}
        _log.debug("scored", extra=extra)
