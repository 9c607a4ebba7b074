"""Spot's bad days: when nothing more is sent to spot, and how it begins again without a herd.

Spot nodes are unwell while one of these holds:

=============  =====================================================================================
gone           none is there, though somebody belongs there and no pool is declared that could grow
not Ready      none of those in service is Ready, or more than ``max_unready`` of them are not
fallen         Ready ones fell by more than ``max_unready`` from their most within ``healthy_for``
no capacity    two moves to spot found no room within ``healthy_for``
=============  =====================================================================================

A cordoned node is out of service: somebody empties it on purpose. One node that fails is that node's
trouble and not the pool's, so a share counts from two nodes on; in a pool of two or three it would
else be a bad day whenever a kubelet restarts. An autoscaler that takes away many idle nodes at once
looks like an interruption and is taken for one: it costs a wait, the other mistake costs pods.

Moves to spot wait until all was well for ``healthy_for``. Since a fall is remembered for as long, one
that lasts makes them wait for twice that, and nodes that come and go within it make them wait for good.
Then workloads follow one another over another ``healthy_for``, each at its own time. What did not
begin meanwhile is not made up for: the budget is the same as on any other day.

Returns to regular never wait for any of this. The webhook has no memory and looks at `now_unwell` alone.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Self

from webhook.core.model import CapacityType, Node, Side, Value, WorkloadKey
from webhook.core.moves import Finished, Outcome, Peak, SpotHealth
from webhook.core.policy import MovePolicy, Policy

_FEW = 2
"""Fewer nodes that fail, or moves that find no room, are chance."""
_LOOKS_APART = timedelta(minutes=3)
"""The monitor looks every minute. Nodes may come and go in a longer pause, so none of it counts as health."""


class SpotNodes(Value, frozen=True):
    """Spot nodes counted: all, the Ready ones, those in service (not cordoned), and the Ready ones among these."""

    total: int = 0
    ready: int = 0
    in_service: int = 0
    usable: int = 0

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> Self:
        """Count them; regular ones are passed over. Whose they are does not matter: a tenant's fall like all others."""
        seen = cls()
        for node in nodes:
            seen = seen.and_one(node)
        return seen

    def and_one(self, node: Node) -> Self:
        """With one more node."""
        if node.capacity_type is not CapacityType.SPOT:
            return self
        return type(self)(
            total=self.total + 1,
            ready=self.ready + node.ready,
            in_service=self.in_service + node.schedulable,
            usable=self.usable + (node.ready and node.schedulable),
        )


def now_unwell(seen: SpotNodes, max_unready: float) -> str:
    """What is wrong with the nodes that are there, from this one look; empty where nothing is, or none is in service."""
    unready = seen.in_service - seen.usable
    if seen.in_service and not seen.usable:
        return f"none of {seen.in_service} spot nodes is Ready"
    return (
        f"{unready} of {seen.in_service} spot nodes are not Ready"
        if _are_many(unready, seen.in_service, max_unready)
        else ""
    )


def observe(  # noqa: PLR0913 - all that the health of spot depends on, by name
    before: SpotHealth,
    seen: SpotNodes,
    *,
    policy: Policy,
    now: datetime,
    wanted: bool,
    finished: Iterable[Finished] = (),
) -> SpotHealth:
    """The health after one more look. ``wanted``: some workload belongs on spot. ``finished`` are the last moves."""
    peaks = _peaks(before.peaks, seen.ready, now=now, span=policy.moves.healthy_for)
    why = (
        _gone(seen, policy, wanted=wanted)
        or now_unwell(seen, policy.moves.max_unready)
        or _fallen(peaks, policy.moves)
        or _no_capacity(finished, policy.moves, now)
    )
    return SpotHealth(
        ready=seen.ready,
        total=seen.total,
        looked_at=now,
        peaks=peaks,
        unwell_at=now if why else _unwell_at(before, now),
        unwell_why=why or before.unwell_why,
    )


def freeze(health: SpotHealth, policy: MovePolicy, now: datetime) -> str:
    """Why no move to spot begins now, whoever's; empty where some may."""
    if health.unwell_at is None or now - health.unwell_at >= policy.healthy_for:
        return ""
    return health.unwell_why


def opens_at(health: SpotHealth, key: WorkloadKey, policy: MovePolicy) -> datetime | None:
    """When the workload may move to spot again, if all stays well; None where nothing was ever unwell."""
    if health.unwell_at is None:
        return None
    return health.unwell_at + policy.healthy_for * (1 + _turn(key, health.unwell_at))


def is_open(health: SpotHealth, key: WorkloadKey, policy: MovePolicy, now: datetime) -> bool:
    """Whether spot's health lets the workload move there now."""
    opens = opens_at(health, key, policy)
    return opens is None or now >= opens


def _turn(key: WorkloadKey, unwell_at: datetime) -> float:
    """Its place among all, 0..1, another one each time: nobody is always the first to find out whether spot holds."""
    digest = hashlib.sha256(f"{key} {unwell_at.timestamp()}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def _are_many(bad: int, whole: int, most: float) -> bool:
    return bad >= _FEW and bad > most * whole


def _gone(seen: SpotNodes, policy: Policy, *, wanted: bool) -> str:
    return "" if seen.total or policy.spot_pools or not wanted else "there is no spot node"


def _fallen(peaks: tuple[Peak, ...], policy: MovePolicy) -> str:
    most, ready = peaks[0].ready, peaks[-1].ready
    return f"Ready spot nodes fell from {most} to {ready}" if _are_many(most - ready, most, policy.max_unready) else ""


def _no_capacity(finished: Iterable[Finished], policy: MovePolicy, now: datetime) -> str:
    """Of a stamp from the future nobody knows how long it has been, so it counts within the same distance only."""
    without = [move for move in finished if move.outcome is Outcome.NO_CAPACITY]
    misses = sum(move.to is Side.SPOT and abs(now - move.ended_at) < policy.healthy_for for move in without)
    return f"{misses} moves to spot found no room" if misses >= _FEW else ""


def _peaks(before: tuple[Peak, ...], ready: int, *, now: datetime, span: timedelta) -> tuple[Peak, ...]:
    """Those within ``span`` that no later look reached, the most first; this look is the last.

    After a clock was set back they count from now, and not until it has caught up.
    """
    kept = (Peak(at=min(p.at, now), ready=p.ready) for p in before if p.ready > ready and now - p.at < span)
    return (*kept, Peak(at=now, ready=ready))


def _unwell_at(before: SpotHealth, now: datetime) -> datetime | None:
    """When spot was last unwell, so that what has passed since is time in which it was seen to be well."""
    if before.unwell_at is None or before.looked_at is None:
        return None
    pause = now - before.looked_at
    return min(now, before.unwell_at + pause if pause > _LOOKS_APART else before.unwell_at)
