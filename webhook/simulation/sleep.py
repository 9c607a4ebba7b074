"""Whether the mover can be left alone: a run that would begin nothing, and follow nothing, is not worth its time."""

from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

from webhook.core import badday, budget, planning
from webhook.core.budget import Ledger, Limit, Wholes
from webhook.core.fitting import Obstacle
from webhook.core.model import Side, WorkloadKey
from webhook.core.moves import Disruption, Step
from webhook.core.planning import Consideration
from webhook.core.sanity import Alarm
from webhook.core.scene import World
from webhook.jobs.mover import MoveReport
from webhook.simulation.cluster import Cluster
from webhook.simulation.monitor import Monitor

CONTENT = frozenset({"settled", "starts", "in-flight", "mode", "never-moved", "no-verdict"})
"""Codes of workloads that nothing holds back."""
_ROOM = frozenset({"in-turn", *(obstacle.value for obstacle in Obstacle)})
"""Codes of what may end as soon as another move goes on."""
_SLACK = timedelta(seconds=1)
"""A run plans a little later than its minute begins."""
_MANY = 1_000_000


class Level(IntEnum):
    """How much of a run is needed."""

    NONE = 0  # nothing moves, and nothing can begin
    FOLLOW = 1  # moves are under way, and none can begin
    PLAN = 2


class _Seen(NamedTuple):
    """What a plan depends on beside time and the workloads themselves."""

    nodes: int
    turned: int
    alarm: Alarm | None


class Sleep:
    """Whether the mover can be left alone, or left to follow its moves.

    A plan that began nothing is the same for as long as what it looked at: the nodes, the verdicts, the other workloads,
    and the time until which it held somebody back. While the cluster's budget for moves to spot is spent, none begins,
    so those that a move has just changed need no look before it is free again, unless they have pods to bring back.
    """

    def __init__(self, cluster: Cluster, monitor: Monitor) -> None:
        self._cluster, self._monitor = cluster, monitor
        self._wakes_at: datetime | None = None
        self._loose = frozenset[WorkloadKey]()
        self._is_awake, self._seen = True, self._look()
        self._stirred, self._told = set[WorkloadKey](), 0
        """Since a plan looked: who stirred, and how far that was read."""

    @property
    def is_for_good(self) -> bool:
        """Whether nothing but a change from outside will ever need a run."""
        return self.level() is Level.NONE and self._wakes_at is None

    def level(self) -> Level:
        """What the run of this moment must do."""
        control, now = self._cluster.book.control, self._cluster.now()
        is_late = self._wakes_at is not None and now + _SLACK >= self._wakes_at
        moving = {move.workload for move in control.moves}
        if self._is_awake or is_late or self._is_changed(self._loose | moving):
            return Level.PLAN
        if any(self._must_return(key) for key in self._loose - moving):
            return Level.PLAN
        if any(pod.owner.key not in moving for pod in self._cluster.waiting.values()):
            # What waits for the demand of a move that is over is freed once it is old enough.
            return Level.PLAN
        if any(move.step is Step.ANNOUNCED for move in control.moves):
            # Right before it begins, it looks at all that is promised to others.
            return Level.PLAN
        return Level.FOLLOW if moving else Level.NONE

    def wake(self) -> None:
        """The next run must plan."""
        self._is_awake = True

    def before(self) -> None:
        """A run plans on what is there now."""
        self._seen, self._loose = self._look(), frozenset()
        self._stirred, self._told = set(), len(self._cluster.stirred)

    def after(self, report: MoveReport, world: World, level: Level) -> None:
        """Take in what a run said."""
        touched = (move.workload for moves in (report.started, report.finished, report.in_flight) for move in moves)
        self._loose |= frozenset(touched)
        if level is not Level.PLAN:
            self._is_awake = bool(report.held_by or report.problem)
            return
        # Who was not looked at had nobody to bring back, and is looked at again as soon as it stirs.
        keys = (self._loose | world.scene.snapshot.workloads.keys()) - {move.workload for move in report.in_flight}
        self._is_awake = bool(report.held_by or report.problem) or any(map(self._must_return, keys))
        waits = bool(self._loose) or not report.considered.keys() <= CONTENT
        if self._is_awake or not waits:
            self._wakes_at = None
        elif free_at := self._free_at(world):
            self._wakes_at = free_at
        else:
            self._plan_ahead(report, world)

    def _plan_ahead(self, report: MoveReport, world: World) -> None:
        """Nothing is spent, so each is held by something of its own."""
        self._is_awake = bool(self._loose)
        if self._is_awake:
            return
        held = planning.plan(world).considered
        self._is_awake = bool(report.in_flight) and any(one.code in _ROOM for one in held)
        self._wakes_at = min(filter(None, (self._until(one, world) for one in held)), default=None)

    def _until(self, one: Consideration, world: World) -> datetime | None:
        if one.until is None and one.code == "frozen":
            return badday.opens_at(world.health, one.workload, world.policy.moves)
        return one.until

    def _free_at(self, world: World) -> datetime | None:
        """When the cluster's budget lets the next move to spot begin; None where it does now."""
        nobody, policy = WorkloadKey("-", "-", "-"), world.policy.moves
        wholes = Wholes(cluster=len(self._cluster.deployments), namespaces={"-": _MANY}, workloads={str(nobody): _MANY})
        wanted = Disruption(world.now, Side.SPOT, str(nobody))
        refusal = Ledger.of(budget.expire(world.control.disruptions, policy, now=world.now)).refuses(
            wanted, policy, wholes
        )
        return refusal.free_at if refusal and refusal.limit is Limit.CLUSTER else None

    def _must_return(self, key: WorkloadKey) -> bool:
        verdict, found = self._monitor.verdicts[str(key)], self._cluster.deployments.get(key)
        if found is None or verdict.side is not Side.REGULAR or not verdict.transitions:
            return False
        return any(self._cluster.side(pod.fact.node_name) is Side.SPOT for pod in found.active)

    def _look(self) -> _Seen:
        return _Seen(self._cluster.node_changes, self._monitor.turned, self._monitor.sanity.alarm)

    def _is_changed(self, but: AbstractSet[WorkloadKey]) -> bool:
        self._stirred.update(self._cluster.stirred[self._told :])
        self._told = len(self._cluster.stirred)
        return self._seen != self._look() or not self._stirred <= but
