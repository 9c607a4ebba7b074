"""How many pods may be disrupted now, and when the next one may be.

A limit holds in every window that ends now, wherever it began: a disruption counts from the moment it
is written down until the window has passed, whatever came of it and whoever caused it. That is why
`spend` comes before the eviction, and why a run begins with what the book says: the moves of another
mover, of one that crashed, and those that failed are all in there.

A stamp from the future counts: a clock that was set back must not open a budget. `expire` makes it a
stamp of now, so that it counts for one window more and not until the clock has caught up. A clock
that leaps ahead is believed, for nothing tells it from time that has passed.

Moves to spot and moves to regular have limits of their own and do not count for each other.
"""

import re
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Self

import msgspec

from webhook.core.model import Side, Value
from webhook.core.moves import Disruption
from webhook.core.policy import Limits, MovePolicy

AMOUNT = re.compile(r"(\d{1,6})(%?)", re.ASCII)
"""A number, or a percent of something."""


class Limit(StrEnum):
    """What bounds disruptions: bounded, fit for a metric label. In the order in which they are told."""

    RUN = "run"
    CLUSTER = "cluster"
    NAMESPACE = "namespace"
    WORKLOAD = "workload"
    NODE = "node"


class Wholes(Value, frozen=True):
    """What percents are of, see ``Limits``. By namespace, ``str(WorkloadKey)`` and node; of what is missing, nothing."""

    cluster: int = 0
    namespaces: dict[str, int] = {}
    workloads: dict[str, int] = {}
    nodes: dict[str, int] = {}


class Refusal(Value, frozen=True):
    """``spent`` of ``allowed`` are used up. ``free_at`` is when all limits would let this one pass, were nothing else done.

    It is now where only the run's own limit is used up, and None where time alone changes nothing: one allows none at all.
    """

    limit: Limit
    allowed: int
    spent: int
    free_at: datetime | None


Scope = tuple[Side, Limit, str]


class Ledger(Value, frozen=True):
    """What was spent, one value per moment: `spend` gives another. Make one with `of` at the start of a run.

    ``disruptions`` are what the book is to keep. ``stamps`` are the same, sorted, by what they count for; ``in_run``
    counts those that were spent since the run began.
    """

    disruptions: tuple[Disruption, ...] = ()
    stamps: dict[Scope, tuple[datetime, ...]] = {}
    in_run: dict[Side, int] = {}

    @classmethod
    def of(cls, disruptions: Iterable[Disruption]) -> Self:
        """What a run starts from: all that the book knows of, nothing spent by this run."""
        known = tuple(disruptions)
        stamps: dict[Scope, list[datetime]] = {}
        for disruption in known:
            for scope in _scopes(disruption):
                stamps.setdefault(scope, []).append(disruption.at)
        return cls(disruptions=known, stamps={scope: tuple(sorted(times)) for scope, times in stamps.items()})

    def spend(self, disruption: Disruption) -> Self:
        """The ledger after it. Not to be asked first: a pod that vanished from under us is spent too."""
        added = {scope: _with(self.stamps.get(scope, ()), disruption.at) for scope in _scopes(disruption)}
        return msgspec.structs.replace(
            self,
            disruptions=(*self.disruptions, disruption),
            stamps={**self.stamps, **added},
            in_run={**self.in_run, disruption.to: self.in_run.get(disruption.to, 0) + 1},
        )

    def refuses(self, wanted: Disruption, policy: MovePolicy, wholes: Wholes) -> Refusal | None:
        """Why ``wanted`` may not happen at its time ``at``, by the first limit that is used up; None where it may."""
        limits = limits_of(policy, wanted.to)
        refusals = [refusal for refusal in self._refusals(wanted, limits, wholes) if refusal.spent >= refusal.allowed]
        if not refusals:
            return None
        ends = [refusal.free_at for refusal in refusals]
        free_at = None if None in ends else max(end for end in ends if end is not None)
        return msgspec.structs.replace(refusals[0], free_at=free_at)

    def _refusals(self, wanted: Disruption, limits: Limits, wholes: Wholes) -> Iterator[Refusal]:
        """Each limit as if it refused."""
        in_run, of_run = self.in_run.get(wanted.to, 0), amount(limits.per_run, wholes.cluster)
        yield Refusal(limit=Limit.RUN, allowed=of_run, spent=in_run, free_at=wanted.at if of_run else None)
        for scope in _scopes(wanted):
            allowed = amount(*_bound(scope, limits, wholes))
            stamps = self.stamps.get(scope, ())
            counted = stamps[bisect_right(stamps, wanted.at - limits.window) :]
            ends = counted[-allowed] + limits.window if 0 < allowed <= len(counted) else None
            yield Refusal(limit=scope[1], allowed=allowed, spent=len(counted), free_at=ends)


def amount(text: str, whole: int) -> int:
    """What ``text`` allows: its number, or its percent of ``whole`` rounded up. What cannot be read allows nothing."""
    match = AMOUNT.fullmatch(text)
    if match is None:
        return 0
    number = int(match[1])
    return -(-whole * number // 100) if match[2] else number


def expire(disruptions: Iterable[Disruption], policy: MovePolicy, *, now: datetime) -> tuple[Disruption, ...]:
    """Those that a window may still count, now or later; a stamp from the future becomes one of ``now``.

    No answer at ``now`` changes by it, and none later but for what was stamped by a clock that was ahead.
    """
    kept = (d for d in disruptions if now - d.at < limits_of(policy, d.to).window)
    return tuple(msgspec.structs.replace(d, at=now) if d.at > now else d for d in kept)


def limits_of(policy: MovePolicy, to: Side) -> Limits:
    """The limits of moves to that side."""
    return policy.to_spot if to is Side.SPOT else policy.to_regular


def _scopes(disruption: Disruption) -> list[Scope]:
    """What it counts for. A pod that has no node yet leaves none."""
    to = disruption.to
    everywhere: list[Scope] = [
        (to, Limit.CLUSTER, ""),
        (to, Limit.NAMESPACE, disruption.namespace),
        (to, Limit.WORKLOAD, disruption.workload),
    ]
    return [*everywhere, (to, Limit.NODE, disruption.node)] if disruption.node else everywhere


def _bound(scope: Scope, limits: Limits, wholes: Wholes) -> tuple[str, int]:
    """The amount as it is written, and what a percent of it is of."""
    _, limit, name = scope
    bounds: Mapping[Limit, tuple[str, int]] = {
        Limit.CLUSTER: (limits.per_cluster, wholes.cluster),
        Limit.NAMESPACE: (limits.per_namespace, wholes.namespaces.get(name, 0)),
        Limit.WORKLOAD: (limits.per_workload, wholes.workloads.get(name, 0)),
        Limit.NODE: (limits.per_node, wholes.nodes.get(name, 0)),
    }
    return bounds[limit]


def _with(stamps: tuple[datetime, ...], at: datetime) -> tuple[datetime, ...]:
    more = list(stamps)
    insort(more, at)
    return tuple(more)
