"""Which pods the ReplicaSet controller may delete when its ReplicaSet is lowered by one.

The controller sorts its active pods and deletes the first. Of two pods, the one that goes earlier is
told by the first row in which they differ:

===  ====================  ==========================================================================
row  looks at              goes first
===  ====================  ==========================================================================
1    node                  has none yet
2    phase                 Pending, then Unknown, then Running
3    Ready                 is not Ready
4    deletion cost         the lower one; only where the feature gate PodDeletionCost is on
5    company               shares its node with more pods of the same Deployment; a ReplicaSet that
                           nothing owns is not asked for company
6    Ready since           where both are Ready: the shorter time, on a scale of powers of two
7    restarts              the larger count of any of its containers, then of any of its sidecars
8    age                   the younger one, on the same scale
===  ====================  ==========================================================================

In rows 6 and 8 a pod without a time goes first; two times that differ but fall between the same two
powers of two nanoseconds ago are decided by UID, the lower one first, and no further row is looked at.

Rows 1 to 5 are an order. Rows 6 to 8 are not: of three pods that became Ready within one power of
two, two of them in the same second, each may have to go before the next in a circle. Nor is the sort
stable. So the answer is the smallest set in which each pod surely goes before each one outside:
sorts by insertion, partition, heap and merge all keep the whole of such a set in front, whatever
order they begin with. For up to twelve pods it is exact at any one moment: the controller then sorts
by insertion, which leaves an order as it is where no two neighbours are the wrong way round, and each
pod of the set begins such an order.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from itertools import compress
from operator import attrgetter

from webhook.core.census import PodFact
from webhook.core.model import Value

_PHASES = {"": 0, "Pending": 0, "Unknown": 1, "Running": 2}
_BLUR = timedelta(microseconds=1)
"""The controller reads its clock in nanoseconds and rounds logarithms; both move a border by less than this."""
_MOST_COMPARED = 500
"""Pods alike in rows 1 to 5. Each may have to be held against each; a run that moves has seconds, not minutes."""


class _Moments(Value, frozen=True):
    """Between which two moments the controller's clock will be when it sorts."""

    earliest: datetime
    latest: datetime

    def ranks(self, at: datetime) -> tuple[int, int]:
        """The lowest and the highest that ``at`` may have on the scale of powers of two."""
        return _rank(self.earliest - at), _rank(self.latest - at)


def possible_victims(  # noqa: PLR0913 - all that the order depends on, by name
    pods: Iterable[PodFact],
    *,
    related: Iterable[PodFact] = (),
    now: datetime,
    slack: timedelta,
    deletion_cost: bool | None = True,
    owned: bool = True,
) -> frozenset[str]:
    """The UIDs of the pods that may be the one to go; empty only where no pod is active.

    ``pods`` are the ReplicaSet's own, ``related`` further ones that its selector or those of the Deployment's other
    ReplicaSets select. ``owned``: the ReplicaSet is a Deployment's, or another controller's. The controller's clock will
    show a moment between ``now`` and ``now + slack``. ``deletion_cost`` tells whether it reads that annotation; None
    where nobody knows, and then both answers are joined.
    """
    pods = tuple(pods)
    active = [pod for pod in pods if pod.is_active]
    around = {pod.uid: pod.node_name for pod in (*pods, *related) if pod.is_active} if owned else {}
    company = Counter(around.values())
    moments = _Moments(earliest=now - _BLUR, latest=now + slack + _BLUR)
    gates = (True, False) if deletion_cost is None else (deletion_cost,)
    rows = [partial(_row, company=company, by_cost=gate) for gate in gates]
    return frozenset(uid for row in rows for uid in _first(active, row, moments))


def _row(pod: PodFact, *, company: Counter[str], by_cost: bool) -> tuple[int, ...]:
    """Rows 1 to 5, the lowest first."""
    cost = pod.deletion_cost if by_cost else 0
    return bool(pod.node_name), _PHASES.get(pod.phase, 0), pod.ready, cost, -company[pod.node_name]


def _first(active: list[PodFact], row: Callable[[PodFact], tuple[int, ...]], moments: _Moments) -> list[str]:
    if not active:
        return []
    lowest = min(map(row, active))
    return [pod.uid for pod in _dominant([pod for pod in active if row(pod) == lowest], moments)]


def _dominant(pods: list[PodFact], moments: _Moments) -> list[PodFact]:
    """The smallest set of which each surely goes before each of the rest; all of them where they are very many."""
    if len(pods) > _MOST_COMPARED:
        return pods
    start = pods[0]
    for pod in pods[1:]:
        # Whoever goes before the one held so far takes its place. Once it is of the set, nobody from outside can.
        if _surely_before(pod, start, moments):
            start = pod
    found, open_ends, rest = [], [start], [pod for pod in pods if pod is not start]
    while open_ends:
        inside = open_ends.pop()
        found.append(inside)
        behind = [_surely_before(inside, pod, moments) for pod in rest]
        open_ends += [pod for pod, is_behind in zip(rest, behind, strict=True) if not is_behind]
        rest = list(compress(rest, behind))
    return found


def _surely_before(one: PodFact, other: PodFact, moments: _Moments) -> bool:
    """Whether ``one`` goes before ``other`` by rows 6 to 8, whatever the moment; they are alike in the rows above."""
    if one.ready and one.ready_at != other.ready_at:
        return _is_surely_later(one, other, attrgetter("ready_at"), moments)
    if one.restarts != other.restarts:
        return one.restarts > other.restarts
    if one.sidecar_restarts != other.sidecar_restarts:
        return one.sidecar_restarts > other.sidecar_restarts
    if one.created_at != other.created_at:
        return _is_surely_later(one, other, attrgetter("created_at"), moments)
    return False


def _is_surely_later(
    one: PodFact, other: PodFact, time_of: Callable[[PodFact], datetime | None], moments: _Moments
) -> bool:
    """Of two pods whose times differ. The younger's rank is never above the elder's, so it may lose by UID alone."""
    mine, theirs = time_of(one), time_of(other)
    if mine is None or theirs is None:
        return mine is None
    my_lowest, my_highest = moments.ranks(mine)
    their_lowest, their_highest = moments.ranks(theirs)
    if one.uid < other.uid:
        return mine > theirs or my_lowest == my_highest == their_lowest == their_highest
    return my_highest < their_lowest


def _rank(age: timedelta) -> int:
    """The power of two that the age in nanoseconds reaches; -1 for what is yet to come."""
    nanoseconds = (age // timedelta(microseconds=1)) * 1000
    return nanoseconds.bit_length() - 1 if nanoseconds > 0 else -1
