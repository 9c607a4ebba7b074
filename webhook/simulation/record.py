"""What happened, kept so that promises can be held against it afterwards."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from webhook.core import budget
from webhook.core.budget import Limit, Wholes
from webhook.core.model import Side, Value, WorkloadKey
from webhook.core.moves import Disruption, InFlight
from webhook.core.policy import MovePolicy


class How(StrEnum):
    """What took a pod away by our hand."""

    EVICTED = "evicted"
    LOWERED = "lowered"


class Taken(Value, frozen=True):
    """A pod that had a node and went by our hand. ``left`` is the side of its node.

    ``move`` is what the book says was under way; None where nothing was, which must not be.
    ``before`` and ``after`` count the workload's available pods around that moment; ``floor`` is how many must be.
    """

    at: datetime
    workload: WorkloadKey
    pod: str
    node: str
    left: Side
    move: InFlight | None
    how: How
    before: int
    after: int
    floor: int

    @property
    def is_below_floor(self) -> bool:
        """Whether it took the workload below what was promised; one that was below already lost nothing by it."""
        return self.after < min(self.floor, self.before)


class Booked(Value, frozen=True):
    """A disruption as it was written to the book, and what the percents of budgets were of at that moment."""

    disruption: Disruption
    wholes: Wholes


class Beyond(Value, frozen=True):
    """A booked disruption that passed a limit."""

    booked: Booked
    limit: Limit
    counted: int
    allowed: int


class Availability(Value, frozen=True):
    """How many pods of a workload served from then on, how many of those on spot nodes, and how many were wanted."""

    at: datetime
    available: int
    replicas: int
    on_spot: int = 0


@dataclass(slots=True)
class Record:
    """All of it, in the order of time. ``writes`` counts calls of the API by name, those that were refused too.

    ``lost`` are pods that went without our doing, as (when, whose, node); ``admitted`` counts the webhook's decisions by
    reason; ``events`` are those that we told, as (when, of whom, reason, note).
    """

    availability: defaultdict[WorkloadKey, list[Availability]] = field(default_factory=lambda: defaultdict(list))
    taken: list[Taken] = field(default_factory=list)
    booked: list[Booked] = field(default_factory=list)
    lost: list[tuple[datetime, WorkloadKey, str]] = field(default_factory=list)
    admitted: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    writes: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    events: list[tuple[datetime, WorkloadKey, str, str]] = field(default_factory=list)

    @property
    def below_floor(self) -> list[Taken]:
        """What must be empty."""
        return [taken for taken in self.taken if taken.is_below_floor]


def overspent(booked: list[Booked], policy: MovePolicy) -> Iterator[Beyond]:
    """Every limit that a booked disruption passed, counted here from the record alone; of each disruption the first.

    Of each, the disruptions of its window that count for the same are counted, itself included. A run's own limit is
    not held here: the book does not tell runs apart.
    """
    times: defaultdict[tuple[Side, Limit, str], list[datetime]] = defaultdict(list)
    for one in booked:
        window, passed = budget.limits_of(policy, one.disruption.to).window, list[Beyond]()
        for limit, name, allowed in _allowances(one, policy):
            stamps = times[one.disruption.to, limit, name]
            stamps.append(one.disruption.at)
            counted = sum(one.disruption.at - at < window for at in stamps)
            del stamps[: len(stamps) - counted]
            if counted > allowed:
                passed.append(Beyond(one, limit, counted, allowed))
        yield from passed[:1]


def _allowances(one: Booked, policy: MovePolicy) -> Iterator[tuple[Limit, str, int]]:
    limits, told, wholes = budget.limits_of(policy, one.disruption.to), one.disruption, one.wholes
    yield Limit.CLUSTER, "", budget.amount(limits.per_cluster, wholes.cluster)
    yield Limit.NAMESPACE, told.namespace, budget.amount(limits.per_namespace, wholes.namespaces.get(told.namespace, 0))
    yield Limit.WORKLOAD, told.workload, budget.amount(limits.per_workload, wholes.workloads.get(told.workload, 0))
    yield Limit.NODE, told.node, budget.amount(limits.per_node, wholes.nodes.get(told.node, 0))
