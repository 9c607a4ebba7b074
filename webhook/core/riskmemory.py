"""Risks that were reckoned once, by kind of pod and row: the pods of a burst are alike, and so is most of each answer.

A kind is a namespace, the class that the pod wants, and what it is expected to use. A risk hangs on its node's row alone;
whatever is counted on a row takes back that row's, and no other's. Only what was asked for is reckoned, so a kind that
comes once costs no more than its own call. What is held belongs to one table and goes with it; it is bounded, and
the kind that was held longest goes first.
"""

from math import inf, isnan, nan

import numpy as np
from numpy.typing import NDArray

from webhook.core.model import Estimate

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

MOST = 16
"""Kinds held at once: a mebibyte of risks for each ten thousand nodes."""

Kind = tuple[str, bool, Estimate]
"""Namespace, whether spot is wanted, and the expectation."""


class RiskMemory:
    """By row, with one place more at the end, for row -1: a node that nobody knows.

    A risk is infinite until it is reckoned, and NaN where the load says nothing to such a pod: it is stale or not known,
    or the node is of the other class.
    """

    __slots__ = ("_after", "_before", "_grounds", "_kinds")

    def __init__(self) -> None:
        self._kinds: dict[Kind, Floats] = {}
        self._grounds: dict[bool, tuple[Floats, Flags]] = {}
        self._after, self._before = inf, -inf
        """As long as it is later than the one, and not later than the other, the same loads are fresh."""

    def __len__(self) -> int:
        """How many kinds are held."""
        return len(self._kinds)

    def of(self, kind: Kind, is_spot: Flags, until: Floats, *, now: float) -> Floats:
        """The kind's risks at ``now``, to be filled in by whoever needs one. The arrays are the table's columns."""
        if not self._after < now <= self._before:
            self._renew(is_spot, until, now)
        found = self._kinds.get(kind)
        if found is None:
            if len(self._kinds) >= MOST:
                del self._kinds[next(iter(self._kinds))]
            found = self._kinds[kind] = self._grounds[kind[1]][0].copy()
        return found

    def untold(self, wants_spot: bool) -> Flags:  # noqa: FBT001 - half of a kind
        """Rows of the class whose load is stale or not known, and the place of those that nobody knows; after ``of``."""
        return self._grounds[wants_spot][1]

    def take_back(self, row: int) -> None:
        """The row's load has changed."""
        for risks in self._kinds.values():
            if not isnan(risks.item(row)):
                risks[row] = inf

    def _renew(self, is_spot: Flags, until: Floats, now: float) -> None:
        fresh = until >= now
        self._after = float(until[~fresh].max(initial=-inf))
        self._before = float(until[fresh].min(initial=inf))
        self._kinds.clear()
        for wants_spot in (False, True):
            mine = is_spot == wants_spot
            self._grounds[wants_spot] = (
                np.append(np.where(mine & fresh, inf, nan), nan),
                np.append(mine & ~fresh, True),
            )
