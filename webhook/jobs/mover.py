"""One run of the mover: begin what the plan says, and take every move in flight as many steps as the time allows.

Each step is written to the book's control object before what it stands for is done, over the very
version that was read: two movers, or a mover and a person's `pause`, cannot both believe that they
were first. Whatever ends this process in the middle, the next run finds in the book what may have
been done, and looks. Waiting is bounded by ``run_seconds``; the rest is for the next run.

Where nothing begins and nothing is under way, nothing is written. A workload that cannot be read
holds up nobody else.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from webhook.core import evicting, following, planning, surge
from webhook.core.book import Control
from webhook.core.model import Value
from webhook.core.moves import Answer, Finished, InFlight, Live, Result, Step
from webhook.core.planning import Plan, World
from webhook.core.policy import Move as Way
from webhook.core.policy import MovePolicy
from webhook.core.steps import Action, Evict, Next, Restart, Scale, View, anchored, answered
from webhook.errors import ClusterConflict, ClusterError
from webhook.ports import Clock, ControlBook, Recorder, Workloads

log = logging.getLogger(__name__)

_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=1), timedelta(seconds=8)
_HOLD_MARGIN = timedelta(seconds=5)
_MOST_CONFLICTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class MoverDeps:
    """What a run works on. ``holder`` names it among others; ``may_write`` is asked before each write of a move."""

    workloads: Workloads
    book: ControlBook
    recorder: Recorder
    clock: Clock
    sleep: Callable[[float], None]
    holder: str
    may_write: Callable[[], bool] = lambda: True


class MoveReport(Value, frozen=True, omit_defaults=False):
    """What one run did. ``considered`` counts workloads by the code that says why they moved, or did not.

    ``refused`` are the writes that the API server refused, as sentences; in a dry run, those that it would refuse.
    ``held_by`` names the run that moves at this moment, if it is another one; then nothing was done here.
    """

    started: tuple[InFlight, ...] = ()
    finished: tuple[Finished, ...] = ()
    in_flight: tuple[InFlight, ...] = ()
    considered: dict[str, int] = {}
    frozen: tuple[str, ...] = ()
    missed_admissions: int = 0
    refused: tuple[str, ...] = ()
    held_by: str = ""
    problem: str = ""


def run(deps: MoverDeps, world: World, *, dry_run: bool = False, ends_by: datetime | None = None) -> MoveReport:
    """Move for at most ``run_seconds``, and not beyond ``ends_by``, when the next run may begin.

    Raises ClusterError where the book cannot be read, or nothing be begun in it. A dry run considers the same and writes nothing, whoever else moves at this moment.
    It takes from the world whether the run as a whole is doubtful, for one that writes would have left that in the book.
    """
    control, now = deps.book.control(), deps.clock()
    if dry_run:
        # This run is itself the sign of life that one which writes would have left in the book.
        control = msgspec.structs.replace(control, heartbeat=now, sanity=world.control.sanity)
        plan = planning.plan(world.at(control, now))
        return _report(plan, control, started=plan.starts, refused=tuple(_rehearse(deps, world, plan.starts)))
    return _Run(deps, world, control, ends_by=ends_by).through()


def _report(  # noqa: PLR0913 - what a report is made of, by name
    plan: Plan,
    control: Control,
    *,
    started: tuple[InFlight, ...] = (),
    finished: tuple[Finished, ...] = (),
    refused: tuple[str, ...] = (),
    problem: str = "",
) -> MoveReport:
    return MoveReport(
        started=started,
        finished=finished,
        in_flight=control.moves,
        considered=dict(sorted(Counter(one.code for one in plan.considered).items())),
        frozen=plan.freezes,
        missed_admissions=plan.missed_admissions,
        refused=refused,
        problem=problem,
    )


def _rehearse(deps: MoverDeps, world: World, starts: Iterable[InFlight]) -> Iterator[str]:
    """What the API server would say to the first write of each move; nothing is written."""
    for move in starts:
        try:
            live = deps.workloads.live(move.workload, world.selector_of(move.workload))
        except ClusterError as exc:
            yield f"{move.workload}: could not be read: {exc}"
            continue
        result = _write(deps.workloads, move, _first_write(move, live), at=move.began_at, dry_run=True)
        if result.answer is not Answer.DONE:
            yield f"{move.workload}: {move.way} would be refused: {result.note or result.answer}"


def _first_write(move: InFlight, live: Live) -> Action:
    if move.step is Step.CLEARING:
        return Evict(pods=((move.pod, move.pod_uid),))
    match move.way:
        case Way.SURGE:
            return Scale(replicas=move.replicas + 1, resource_version=live.resource_version)
        case Way.RESTART:
            return Restart(resource_version=live.resource_version)
        case _:
            return Evict(pods=((move.pod, move.pod_uid),))


def _write(workloads: Workloads, move: InFlight, action: Action, *, at: datetime, dry_run: bool = False) -> Result:
    """Do it; an eviction's first pod only."""
    match action:
        case Scale(replicas=replicas, resource_version=version):
            return workloads.scale(move.workload, replicas, resource_version=version, dry_run=dry_run)
        case Restart(resource_version=version):
            return workloads.restart(move.workload, at=at, resource_version=version, dry_run=dry_run)
        case Evict(pods=pods):
            name, uid = pods[0]
            return workloads.evict(move.workload.namespace, name, uid=uid, dry_run=dry_run)


def _one_by_one(action: Action) -> Iterable[Action]:
    return [Evict(pods=(pod,)) for pod in action.pods] if isinstance(action, Evict) else [action]


class _Look(NamedTuple):
    """When to look at a move next, and how long the last wait was."""

    at: datetime
    wait: timedelta


class _Run:
    """The control object as it is in the book, and what this run waits for."""

    def __init__(self, deps: MoverDeps, world: World, control: Control, *, ends_by: datetime | None) -> None:
        self._deps, self._world, self._control = deps, world, control
        self._policy: MovePolicy = world.policy.moves
        ends_at = deps.clock() + timedelta(seconds=self._policy.run_seconds)
        self._ends_at = ends_at if ends_by is None else min(ends_at, ends_by)
        self._looks: dict[int, _Look] = {}
        """By number of the move."""
        self._answers: dict[int, tuple[Action, Result]] = {}
        """What the API server said to the last write of a move, for its next step."""
        self._finished: list[Finished] = []
        self._refused: list[str] = []
        self._problem = ""

    def through(self) -> MoveReport:
        """Begin what the plan says, and go on until the time is over or nothing is left to wait for."""
        plan = self._begin()
        if plan is None:
            return MoveReport(held_by=self._other(), in_flight=self._control.moves)
        started = plan.starts if self._holds() else ()
        try:
            self._advance()
        except KeyboardInterrupt:
            # Else whoever comes next would wait for the end of a hold that nobody has.
            self._release()
            raise
        except ClusterError as exc:
            # What was begun is in the book; the next run goes on with it.
            self._broke_off("moves broke off", exc)
        self._release()
        return _report(
            plan,
            self._control,
            started=started,
            finished=tuple(self._finished),
            refused=tuple(self._refused),
            problem=self._problem,
        )

    def _begin(self) -> Plan | None:
        """Plan on what the book says now and write it down; None where another run moves."""
        for attempt in range(_MOST_CONFLICTS + 1):
            if self._other():
                return None
            plan = planning.plan(self._world.at(self._control, self._deps.clock()))
            if not (plan.starts or self._control.moves) or not self._deps.may_write():
                return plan
            if self._deps.clock() >= self._ends_at:
                self._problem = "judging took so long that no time was left for moves"
                return plan
            until = self._ends_at + _HOLD_MARGIN
            try:
                self._swap(following.begun(self._control, plan, holder=self._deps.holder, until=until))
                # From when it is written: planning and writing may have taken longer than anybody needs to follow.
                at = self._deps.clock() + self._policy.settle
                self._looks |= {move.number: _Look(at, _FIRST_WAIT) for move in plan.starts}
            except ClusterConflict:
                if attempt == _MOST_CONFLICTS:
                    raise
                # Perhaps a person's `pause`: so it is planned anew.
                self._control = self._deps.book.control()
            else:
                return plan
        return None

    def _advance(self) -> None:
        conflicts = 0
        while self._holds() and self._control.moves and self._goes_on():
            wait = self._until_next_look()
            if self._deps.clock() + wait >= self._ends_at:
                return
            if wait:
                self._deps.sleep(wait.total_seconds())
            try:
                self._tick()
            except ClusterConflict:
                conflicts += 1
                if conflicts > _MOST_CONFLICTS:
                    raise
                # Take over what somebody else wrote, a `pause` for instance.
                self._control = self._deps.book.control()

    def _goes_on(self) -> bool:
        return self._deps.clock() < self._ends_at and self._deps.may_write()

    def _other(self) -> str:
        return following.held_by_another(self._control, self._deps.holder, self._deps.clock())

    def _holds(self) -> bool:
        """Whether the moves are this run's: another may have taken them over while it was held up."""
        hold = self._control.hold
        return hold is not None and hold.holder == self._deps.holder

    def _until_next_look(self) -> timedelta:
        now = self._deps.clock()
        for move in self._control.moves:
            self._looks.setdefault(move.number, _Look(following.first_look(move, self._policy, now), _FIRST_WAIT))
        return max(timedelta(), min(self._looks[move.number].at for move in self._control.moves) - now)

    def _tick(self) -> None:
        """One step of every move whose time has come: look, write the steps down, and only then do what they say."""
        now = self._deps.clock()
        due = [move for move in self._control.moves if self._looks[move.number].at <= now]
        steps = self._steps(due, now)
        if not self._goes_on():
            return
        stepped = following.stepped(self._control, {number: step for number, (_, step) in steps.items()}, now=now)
        # Written also where nothing changes but something is done again: it proves that the book is still this run's.
        if stepped != self._control or any(step.action for _, step in steps.values()):
            self._swap(stepped)
        for move, step in steps.values():
            self._done(move, step, now)

    def _steps(self, due: Iterable[InFlight], now: datetime) -> dict[int, tuple[InFlight, Next]]:
        """By number of the move; those that could not be looked at are left for later."""
        world, steps = self._world.at(self._control, now), dict[int, tuple[InFlight, Next]]()
        for move in due:
            if not self._goes_on():
                break
            try:
                steps[move.number] = move, (step := self._step(world, move))
                world = following.charged(world, move, step.move)
            except ClusterError as exc:
                self._broke_off(f"{move.workload} could not be read", exc)
                self._wait_longer(move.number, now)
        return steps

    def _step(self, world: World, move: InFlight) -> Next:
        live = self._deps.workloads.live(move.workload, world.selector_of(move.workload))
        known = anchored(move, world.now)
        if move.number in self._answers:
            known = answered(known, *self._answers[move.number])
        view = View(
            move=known,
            live=live,
            classes=world.classes,
            situation=following.situation(world, known, live),
            policy=self._policy,
            now=world.now,
        )
        return surge.step(view) if move.way is Way.SURGE else evicting.step(view)

    def _done(self, before: InFlight, step: Next, now: datetime) -> None:
        """What follows a step that is in the book by now."""
        self._answers.pop(before.number, None)
        if step.move is None:
            self._ended(following.finished(before, step, now), now)
            return
        if step.action is not None:
            self._act(step.move, step.action)
        if step.move.step is before.step:
            self._wait_longer(before.number, now)
        else:
            settled = self._deps.clock() + self._policy.settle if following.settles(step.move) else now
            self._looks[before.number] = _Look(max(now + _FIRST_WAIT, settled), _FIRST_WAIT)

    def _wait_longer(self, number: int, now: datetime) -> None:
        wait = min(self._looks[number].wait * 2, _LONGEST_WAIT)
        self._looks[number] = _Look(now + wait, wait)

    def _act(self, move: InFlight, action: Action) -> None:
        """Do it, unless this run lost the right to, or its time is over: then the next takes the same step."""
        for one in _one_by_one(action):
            if not self._goes_on():
                return
            result = _write(self._deps.workloads, move, one, at=self._deps.clock())
            if result.answer is not Answer.DONE:
                self._answers[move.number] = one, result
                self._refused.append(f"{move.workload}: {result.answer}: {result.note}")
                fields = {"workload": str(move.workload), "step": move.step.value, "answer": result.answer.value}
                log.warning("a write of a move was refused", extra=fields)

    def _ended(self, move: Finished, now: datetime) -> None:
        self._finished.append(move)
        self._looks.pop(move.number, None)
        fields = {"workload": str(move.workload), "to": move.to.value, "outcome": move.outcome.value}
        log.info("move ended", extra=fields | {"note": move.note})
        for happening in following.told(self._world.at(self._control, now), move):
            self._deps.recorder.record(happening)

    def _broke_off(self, what: str, why: ClusterError) -> None:
        self._problem = f"{what}: {why}"
        log.warning("moves are held up", extra={"why": self._problem})

    def _swap(self, new: Control) -> None:
        self._deps.book.swap(new)
        self._control = new

    def _release(self) -> None:
        """Let the next run begin at once; where that cannot be written, the hold runs out by itself."""
        if not self._holds() or not self._deps.may_write():
            return
        try:
            self._swap(msgspec.structs.replace(self._control, hold=None))
        except ClusterError as exc:
            log.info("the hold on moves runs out by itself", extra={"why": str(exc)})
