"""Pods just scored, until the watches tell where they went: without it, every pod of a burst would see the same emptiest node.

Each counts at once on its likely node: one of those with the lowest risk, drawn by a hash of pod and node, as
evenly as the scheduler itself draws among equals. It counts until a snapshot knows the pod as bound, which then
counts on its real node, or as ended, and for ``keep`` at most: a pod that nothing bound in that time has gone another way.
A second call for the same pod replaces the first. What is held is bounded; the oldest go first.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from webhook.core import nodetable
from webhook.core.model import Estimate
from webhook.core.nodetable import CPU, MEMORY, NOTHING, Floats, Rows, Share, Table
from webhook.core.scoring import Candidate, Scores, led

KEEP = timedelta(seconds=60)
"""From a score to the binding in our snapshot: seconds, but a pod may wait for its volumes meanwhile."""
MOST = 8192
_PLAIN_MIXER = 0x9E3779B97F4A7C15
"""2**64 over the golden ratio (Knuth's multiplicative hash): neighbours end far apart."""
_MASK = 2**64 - 1
_MIXER, _HALF = np.uint64(_PLAIN_MIXER), np.uint64(29)
_FEW = 8
"""Rows up to which plain numbers cost less than arrays."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A pod on its likely node, by name: rows differ from snapshot to snapshot. ``at`` in Unix seconds."""

    node: str
    namespace: str
    expected: Estimate
    at: float


class Ledger:
    """``table`` is that of the last snapshot followed, with what is held added to it; score by it."""

    def __init__(self, *, keep: timedelta = KEEP, most: int = MOST) -> None:
        self._keep, self._most = keep.total_seconds(), most
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._table: Table | None = None
        self._own: set[str] = set()
        """Namespaces touched since the last snapshot, whose shares are no longer the snapshot's."""

    def __len__(self) -> int:
        return len(self._entries)

    def held(self, *, now: float) -> int:
        """How many are not held too long by now, though no call came to end those that are."""
        over = 0
        for entry in self._entries.values():
            if self._holds(entry, now):
                break
            over += 1
        return len(self._entries) - over

    @property
    def table(self) -> Table:
        """Only after ``follow``."""
        assert self._table is not None
        return self._table

    def follow(self, table: Table, *, now: float) -> None:
        """Stand on a newer snapshot's table: who is bound or ended there, or held too long, is held no more."""
        self._expire(now)
        for uid in [uid for uid in self._entries if uid in table.bound]:
            del self._entries[uid]
        self._table = table.copied()
        self._own = set()
        self._lay(self._entries.values())

    def place(self, candidate: Candidate, scores: Scores, *, now: float) -> int | None:
        """Count the pod on its likely node; return the row, or None where only the class counted."""
        self.forget(candidate.uid)
        self._expire(now)
        row = likely(self.table, candidate.uid, scores)
        if row is None:
            return None
        while len(self._entries) >= self._most:
            self.forget(next(iter(self._entries)))
        entry = Entry(self.table.names[row], candidate.namespace, candidate.expected.estimate, now)
        self._entries[candidate.uid] = entry
        self._add(row, entry, 1)
        return row

    def answer(self, candidate: Candidate, scores: Scores, *, now: float) -> Scores:
        """Count the pod on its likely node, and return the scores that send it there."""
        return led(scores, self.place(candidate, scores, now=now))

    def forget(self, uid: str) -> None:
        """Count this pod no more, if it was counted at all."""
        entry = self._entries.pop(uid, None)
        if entry is not None and self._table is not None and (row := self._table.index[entry.node]) >= 0:
            self._add(row, entry, -1)

    def _expire(self, now: float) -> None:
        """The oldest come first. Where a clock was set back behind the oldest, nobody knows how long they were held: all end."""
        while self._entries:
            uid, entry = next(iter(self._entries.items()))
            if self._holds(entry, now):
                return
            self.forget(uid)

    def _holds(self, entry: Entry, now: float) -> bool:
        return 0 <= now - entry.at < self._keep

    def _lay(self, entries: Iterable[Entry]) -> None:
        table, index = self.table, self.table.index
        found = [(index[entry.node], entry) for entry in entries]
        found = [(row, entry) for row, entry in found if row >= 0]
        if not found:
            return
        rows = np.array([row for row, _ in found], dtype=np.intp)
        means, variances = nodetable.shares_of([entry.expected for _, entry in found], table.inverse[:, rows])
        nodetable.lay(table, rows, means, variances)
        places: dict[str, list[int]] = {}
        for place, (_, entry) in enumerate(found):
            places.setdefault(entry.namespace, []).append(place)
        for namespace, mine in places.items():
            nodetable.add_shares(table, namespace, rows[mine], means[:, mine])

    def _add(self, row: int, entry: Entry, sign: int) -> None:
        """By plain numbers: an array for a single node costs many times the sum itself."""
        table, expected = self.table, entry.expected
        cpu_inverse, memory_inverse = table.inverse.item(CPU, row), table.inverse.item(MEMORY, row)
        cpu, memory = sign * expected.cpu_cores * cpu_inverse, sign * expected.memory_bytes * memory_inverse
        _raise(table.mean, row, cpu, memory)
        variances = (
            (expected.cpu_deviation_cores * cpu_inverse) ** 2,
            (expected.memory_deviation_bytes * memory_inverse) ** 2,
        )
        _raise(table.variance, row, sign * variances[CPU], sign * variances[MEMORY])
        if cpu or memory:
            self._share(row, entry.namespace, cpu, memory)
        table.memory.take_back(row)

    def _share(self, row: int, namespace: str, cpu: float, memory: float) -> None:
        """In place: a namespace on thousands of nodes is not laid anew for each pod."""
        table = self.table
        if namespace not in self._own:
            known = table.namespaces.get(namespace) or Share(np.zeros(0, dtype=np.intp), np.zeros((2, 0)))
            # Not the snapshot's own arrays: those stay as they were read.
            table.namespaces[namespace] = Share(known.rows, known.shares.copy())
            self._own.add(namespace)
        share = table.namespaces[namespace]
        place = share.place_of(row, len(table.names))
        before = share.shares.item(CPU, place) > 0 or share.shares.item(MEMORY, place) > 0
        _raise(share.shares, place, cpu, memory)
        after = share.shares.item(CPU, place) > 0 or share.shares.item(MEMORY, place) > 0
        table.weights[row] += table.weight.get(namespace, 1.0) * (after - before)


def _raise(columns: Floats, place: int, cpu: float, memory: float) -> None:
    """What subtraction leaves of nothing is nothing: else a namespace that is gone would keep its weight."""
    for resource, more in ((CPU, cpu), (MEMORY, memory)):
        left = columns.item(resource, place) + more
        columns[resource, place] = left if left > NOTHING else 0.0


def likely(table: Table, uid: str, scores: Scores) -> int | None:
    """The row where a pod of this UID most likely goes: one of the best, each as likely as the others."""
    if not len(scores.best):
        return None
    rows: Rows = scores.rows[scores.best]
    if len(rows) > _FEW:
        return int(rows[draws(table, uid, rows).argmax()])
    few, seed = list[int](rows.tolist()), _seed(uid)
    return max(few, key=lambda row: _drawn(table.salts.item(row) ^ seed))


def draws(table: Table, uid: str, rows: Rows) -> NDArray[np.uint64]:
    """A number for each row, by which a pod of this UID chooses among equals: the largest wins."""
    drawn: NDArray[np.uint64] = (table.salts[rows] ^ np.uint64(_seed(uid))) * _MIXER
    drawn ^= drawn >> _HALF
    drawn *= _MIXER
    return drawn


def _seed(uid: str) -> int:
    return crc32(uid.encode("utf-8", "surrogatepass"))


def _drawn(salted: int) -> int:
    """The same for one row, by plain numbers."""
    mixed = salted * _PLAIN_MIXER & _MASK
    return (mixed ^ mixed >> 29) * _PLAIN_MIXER & _MASK
