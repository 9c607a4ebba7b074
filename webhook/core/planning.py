"""Who moves next, where to, and why everybody else stays: one plan from one look at the world.

Whoever may move is considered in an order that starves nobody: the way back first, then those that
never moved, then whose last move is the longest ago. Each either starts a move, whose place is proven
and whose disruption every budget allows, or is told why not, in one word that fits a metric and a
sentence for people. A plan is a value: it is printed by `plan`, rehearsed by a dry run, and carried
out by the mover, which looks again right before it acts. The module is long because it has a reason
for everybody who stays.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple

import msgspec

from webhook.core import badday, budget, fitting, learning, strays, touch
from webhook.core.belonging import Belonging, belongs, room_on_spot
from webhook.core.book import Control
from webhook.core.budget import Ledger, Limit, Refusal
from webhook.core.census import PodFact
from webhook.core.consent import Consent
from webhook.core.fitting import Destination, Why
from webhook.core.model import Memory, Side, Value, Workload, WorkloadKey
from webhook.core.moves import Disruption, InFlight, Step
from webhook.core.policy import Mode, MovePolicy
from webhook.core.policy import Move as Way
from webhook.core.proving import Proofs
from webhook.core.refusals import REMEDY
from webhook.core.scene import Scene, World
from webhook.core.steps import generation_of
from webhook.core.touch import Handling

__all__ = ["Consideration", "Plan", "Scene", "World", "plan", "refreshed", "refused"]

KEPT_FINISHED = 200
"""Moves that the book keeps for `history`; what they taught is kept beside each verdict."""
_EPOCH = datetime.fromtimestamp(0, tz=UTC)
_MOST_MOVES = 100
"""Under way at once: a run looks at each several times within its seconds."""
_UNBOUNDED = "999999"
_MOST_UIDS = 10_000
"""Of pods that the moves under way name: the book's control object holds no more than 1 MiB."""


class Consideration(Value, frozen=True, omit_defaults=False):
    """What was thought of one workload. ``code`` is of a bounded set, ``reason`` a sentence.

    ``side`` is where it belongs, None where nobody says; ``misplaced`` counts its pods that are elsewhere. ``until`` is
    when it is worth another look, where that is known. ``pod``, ``node`` and ``destination`` are of the move that starts.
    """

    workload: WorkloadKey
    code: str
    reason: str
    side: Side | None = None
    misplaced: int = 0
    way: Way | None = None
    until: datetime | None = None
    pod: str = ""
    node: str = ""
    destination: str = ""


class Plan(NamedTuple):
    """``starts`` are the moves to begin, with the ``disruptions`` that they cost, ``considered`` has every workload.

    ``freezes`` say why nothing moves to spot, ``missed_admissions`` counts pods that were created while nobody stamped
    them.
    """

    starts: tuple[InFlight, ...]
    disruptions: tuple[Disruption, ...]
    considered: tuple[Consideration, ...]
    freezes: tuple[str, ...] = ()
    missed_admissions: int = 0


Said = tuple[str, str, datetime | None]
"""Code, sentence, and until when, of a `Consideration`."""


class _Case(NamedTuple):
    """One workload that has pods, and what was settled for it. ``misplaced`` are those not on its side."""

    world: World
    workload: Workload
    settled: Consent
    belonging: Belonging
    misplaced: list[PodFact]

    @property
    def memory(self) -> Memory:
        """Of its moves."""
        return self.world.memory(self.workload.key)

    @property
    def order(self) -> tuple[object, ...]:
        """The way back first; then whose last move is the longest ago, who never moved before all others."""
        verdict = self.workload.verdict
        since = verdict.since if verdict else None
        return (self.belonging.side is Side.SPOT, self.memory.learnt, since or _EPOCH, str(self.workload.key))

    def told(self, code: str, reason: str, until: datetime | None = None) -> Consideration:
        """It stays."""
        side, count = self.belonging.side, len(self.misplaced)
        return Consideration(self.workload.key, code, reason, side=side, misplaced=count, until=until)


class _Candidate(NamedTuple):
    """A workload that may start a move, if its place can be proven and the budgets allow it."""

    workload: Workload
    to: Side
    way: Way
    pods: list[PodFact]
    trim: bool

    def told(self, said: Said) -> Consideration:
        """It stays, or starts."""
        code, reason, until = said
        key, count = self.workload.key, len(self.pods)
        return Consideration(key, code, reason, side=self.to, misplaced=count, way=self.way, until=until)


def plan(world: World, *, thorough: bool = False) -> Plan:
    """The moves to begin now. Deterministic, whatever the order of what was read.

    Once a budget of all together is used up, whoever it counts is told so, and not looked at closer: of thousands that
    fell asleep in one minute ten move in a run. ``thorough`` looks at all, for people who ask why; the moves are the same.
    """
    considered, waiting = list[Consideration](), list[_Case]()
    chosen = _Chooser(world, thorough=thorough)
    for workload in world.scene.snapshot.workloads.values():
        found = chosen.free(workload) or _consider(world, workload)
        if isinstance(found, Consideration):
            considered.append(found)
        elif found is not None:
            waiting.append(found)
    considered += [chosen.take(case) for case in sorted(waiting, key=lambda one: one.order)]
    return Plan(
        starts=tuple(chosen.starts),
        disruptions=tuple(chosen.disruptions),
        considered=tuple(sorted(considered, key=lambda one: one.workload)),
        freezes=world.freezes,
        missed_admissions=_all_missed(world),
    )


def refreshed(world: World) -> Control:
    """The control object with what only time changes: budgets' windows, spot's health, moves that are told long since.

    Of the moves that ended only the last are kept: whoever calls this has written down what they taught.
    """
    control = world.control
    return msgspec.structs.replace(
        control,
        disruptions=budget.expire(control.disruptions, world.policy.moves, now=world.now),
        spot=world.health,
        finished=control.finished[-KEPT_FINISHED:],
        missed_admissions=_all_missed(world),
        frozen=tuple(why.partition(":")[0] for why in world.freezes),
    )


def frozen_workloads(world: World) -> Iterator[Workload]:
    """Those that would have somebody to move to spot, were it not for a freeze; by their names."""
    for key, workload in sorted(world.scene.snapshot.workloads.items()):
        settled = world.scene.consents[key]
        side = belongs(workload, settled, world.policy.sides, now=world.now).side
        if settled.mode is Mode.MOVE and side is Side.SPOT and world.scene.misplaced(key, Side.SPOT):
            yield workload


def _all_missed(world: World) -> int:
    return sum(map(world.scene.missed, world.scene.snapshot.workloads.values()))


def _consider(world: World, workload: Workload) -> Consideration | _Case | None:
    """What is to be thought of one workload, or the case where it may go; None where it has nothing that could be moved."""
    key, settled = workload.key, world.scene.consents[workload.key]
    if not world.scene.pods.get(key):
        return None
    belonging = belongs(workload, settled, world.policy.sides, now=world.now)
    misplaced = world.scene.misplaced(key, belonging.side) if belonging.side else []
    case = _Case(world, workload, settled, belonging, misplaced)
    if said := _rests(case) or _waits(case):
        return case.told(*said)
    return case


def _handled(case: _Case) -> Consideration | _Candidate:
    """By which way it would go, or why its pods must not be touched."""
    world, side, key = case.world, case.belonging.side, case.workload.key
    handling = touch.handle(world.scene.subject(key), world.scene.bounds, policy=world.policy, now=world.now)
    if handling.way is None:
        return case.told(str(handling.refusal), refused(handling))
    free = [pod for pod in case.misplaced if pod.uid in handling.pods]
    if not free or side is None:
        return case.told("held", "each of its pods on the wrong side says that it must not be touched")
    return _Candidate(case.workload, side, handling.way, free, case.belonging.trim)


def _rests(case: _Case) -> Said | None:
    """Why nothing of it is to be moved."""
    if case.settled.mode is not Mode.MOVE:
        return "mode", f"its mode is {case.settled.mode}; `mode: move` lets running pods be moved", None
    if case.workload.key in case.world.moving:
        return "in-flight", "a move of it is under way", None
    if case.belonging.side is None and case.belonging.doubt:
        return *case.belonging.doubt, None
    if not case.misplaced:
        return "settled", f"it belongs on the {case.belonging.side} side, and none of its pods is on the other", None
    return None


def _waits(case: _Case) -> Said | None:
    """Why what is to be moved is not moved now."""
    if stop := case.world.stopped:
        return *stop, None
    if case.belonging.doubt:
        return *case.belonging.doubt, None
    side, policy = case.belonging.side, case.world.policy.moves
    if side is Side.SPOT and (held := _held_from_spot(case, policy)):
        return held
    if side and (waits := learning.held_until(case.memory, side, policy, case.world.now)):
        until, code = waits
        return code, _HELD[code], until
    return None


_HELD = {
    "dwell": "it came back not long ago; it stays on regular nodes for a while",
    "backoff": "its last move came to nothing; the next one waits",
    "gave-up": "its moves came to nothing again and again; `spot-balancer resume --workload` tries again before the day is over",
}


def _held_from_spot(case: _Case, policy: MovePolicy) -> Said | None:
    """What holds moves to spot alone: freezes, the share, the canary."""
    world, now = case.world, case.world.now
    if world.freezes:
        return "frozen", f"nothing moves to spot: {'; '.join(world.freezes)}", None
    if not badday.is_open(world.health, case.workload.key, policy, now):
        opens = badday.opens_at(world.health, case.workload.key, policy)
        return "frozen", "spot nodes are well again; workloads follow one after the other", opens
    if room_on_spot(case.workload, case.settled) < 1:
        return "max-spot", f"its share on spot is used up (max-spot {case.settled.max_spot})", None
    until = _canary_until(case, policy)
    if until is not None and now < until <= now + policy.canary:
        return "canary", "its first pod on spot is being watched before the others follow", until
    return None


def _canary_until(case: _Case, policy: MovePolicy) -> datetime | None:
    memory, verdict = case.memory, case.workload.verdict
    if memory.canary_at is None or memory.canary != (verdict.transitions if verdict else 0):
        return None
    # Where it is gone already there is nothing to watch.
    return memory.canary_at + policy.canary if case.workload.pods_on_spot else None


def refused(handling: Handling) -> str:
    """Why its pods are not moved, in words."""
    remedy = REMEDY[handling.refusal] if handling.refusal else ""
    return f"{remedy} ({handling.detail})" if handling.detail else remedy


class _Chooser:
    """Takes candidates in order, each against what those before it left of budgets and nodes."""

    def __init__(self, world: World, *, thorough: bool) -> None:
        self._world, self._thorough = world, thorough
        self._number = max(world.control.numbered, _learnt(world))
        self._spent: dict[Side, Refusal | None] = {}
        """What the budgets of all together say, until the next move is charged to them."""
        owed = tuple(_more(world, move, move.node) for move in world.control.moves if move.owed)
        self._ledger = Ledger.of((*budget.expire(world.control.disruptions, world.policy.moves, now=world.now), *owed))
        self._uids = sum(map(_uids, world.control.moves))
        self.starts: list[InFlight] = []
        self.disruptions: list[Disruption] = []

    @cached_property
    def _proofs(self) -> Proofs:
        return Proofs(self._world.ground)

    def free(self, workload: Workload) -> Consideration | None:
        """Evict its pods that wait for the demand of a move that is over; that costs no budget, for none of them runs."""
        if self._world.stopped or len(self._world.control.moves) + len(self.starts) >= _MOST_MOVES:
            return None
        move = strays.freeing(self._world, workload, self._number + 1)
        if move is None:
            return None
        self._number, self._uids = move.number, self._uids + _uids(move)
        self.starts.append(move)
        reason = f"{len(move.wrong)} of its pods are evicted: {move.note}"
        return Consideration(workload.key, "starts", reason, side=move.to, way=move.way, pod=move.pod)

    def take(self, case: _Case) -> Consideration:
        """Start a move of it, or say why not now."""
        side = case.belonging.side
        # Whom no budget counts waits for none: his reason is another, also where a percent of nobody allows nothing.
        is_counted = self._world.scene.is_counted(case.workload.key)
        if side and is_counted and not self._thorough and (spent := self._used_up(side)):
            return case.told(*_spent(spent))
        found = _handled(case)
        return found if isinstance(found, Consideration) else self._begin(found)

    def _used_up(self, to: Side) -> Refusal | None:
        """The budget of the run or of the cluster that lets nobody go there any more."""
        if to not in self._spent:
            unbounded = dict.fromkeys(("per_namespace", "per_workload", "per_node"), _UNBOUNDED)
            policy, wanted = (
                _limited(self._world.policy.moves, to, **unbounded),
                Disruption(self._world.now, to, "", ""),
            )
            self._spent[to] = self._ledger.refuses(wanted, policy, self._world.scene.wholes[to])
        return self._spent[to]

    def _begin(self, candidate: _Candidate) -> Consideration:
        """By its first pod that has a budget and a place."""
        if crowded := self._crowded(candidate):
            return candidate.told(("in-turn", crowded, None))
        said, proven = None, set[object]()
        for pod in candidate.pods:
            cost = self._cost(candidate, pod)
            ledger = self._charged(candidate, cost)
            if isinstance(ledger, Refusal):
                said = said or _spent(ledger)
                if ledger.limit is not Limit.NODE:
                    break
                continue
            if pod.needs in proven:
                continue
            proven.add(pod.needs)
            found = self._proofs.find(pod, candidate.to, leaving=candidate.way is not Way.SURGE)
            if isinstance(found, Destination):
                return self._start(candidate, pod, found, cost, ledger)
            said = _nowhere(found)
        return candidate.told(said or ("settled", "nothing of it is to be moved", None))

    def _cost(self, candidate: _Candidate, pod: PodFact) -> list[Disruption]:
        """What is disrupted: one pod, or all where the template is restarted."""
        all_of_it = self._world.scene.pods[candidate.workload.key]
        pods = all_of_it if candidate.way is Way.RESTART else [pod]
        name = str(candidate.workload.key)
        return [Disruption(self._world.now, candidate.to, name, one.node_name) for one in pods]

    def _charged(self, candidate: _Candidate, cost: list[Disruption]) -> Ledger | Refusal:
        """The ledger after it, or the limit that refuses it."""
        ledger, policy = self._ledger, self._world.policy.moves
        if candidate.way is Way.RESTART:
            # Who allows a restart lets all pods of a workload go, as its own strategy says; all else is held to.
            policy = _limited(policy, candidate.to, per_workload="100%")
        for one in cost:
            if refusal := ledger.refuses(one, policy, self._world.scene.wholes[candidate.to]):
                return refusal
            ledger = ledger.spend(one)
        return ledger

    def _start(
        self, candidate: _Candidate, pod: PodFact, found: Destination, cost: list[Disruption], ledger: Ledger
    ) -> Consideration:
        move = _begin(self._world, candidate, pod, found.node, self._number + 1)
        self._number, self._uids = move.number, self._uids + _uids(move)
        self._ledger = ledger
        self._spent.clear()
        self._proofs.take(pod, found.node)
        self.starts.append(move)
        self.disruptions += cost
        where = found.node or f"a node that pool {found.pool} is to grow"
        said = candidate.told(("starts", f"{pod.name} goes from {pod.node_name} to {where}, by {candidate.way}", None))
        return msgspec.structs.replace(said, pod=pod.name, node=pod.node_name, destination=found.node)

    def _crowded(self, candidate: _Candidate) -> str:
        """Why it does not fit beside those under way; empty where it does."""
        if len(self._world.control.moves) + len(self.starts) >= _MOST_MOVES:
            return f"{_MOST_MOVES} moves are under way, as many as a run can follow; it comes next"
        named = len(self._world.scene.pods[candidate.workload.key]) + len(candidate.pods)
        if self._uids + named > _MOST_UIDS:
            return "the book has no room for one more move of so many pods while others are under way"
        return ""


def _learnt(world: World) -> int:
    """The highest number of a move that is remembered: where the control object was lost, its own count begins anew."""
    verdicts = (workload.verdict for workload in world.scene.snapshot.workloads.values())
    return max((verdict.memory.learnt for verdict in verdicts if verdict), default=0)


def _uids(move: InFlight) -> int:
    return len(move.before) + len(move.wrong)


def affords_one_more(world: World, move: InFlight, node: str) -> bool:
    """Whether a move under way may disrupt one pod more, on ``node``; its own first one counts, as everybody's do."""
    policy = world.policy.moves
    ledger = Ledger.of(budget.expire(world.control.disruptions, policy, now=world.now))
    return ledger.refuses(_more(world, move, node), policy, world.scene.wholes[move.to]) is None


def _more(world: World, move: InFlight, node: str) -> Disruption:
    return Disruption(world.now, move.to, str(move.workload), node)


def _limited(policy: MovePolicy, to: Side, **limits_instead: str) -> MovePolicy:
    limits = msgspec.structs.replace(budget.limits_of(policy, to), **limits_instead)
    return msgspec.structs.replace(policy, **{"to_spot" if to is Side.SPOT else "to_regular": limits})


def _nowhere(why: Why) -> Said:
    meaning = f"it would fit nowhere: {fitting.MEANING[why.obstacle]}"
    return why.obstacle.value, f"{meaning} ({why.detail})" if why.detail else meaning, None


def _spent(refusal: Refusal) -> Said:
    if not refusal.allowed:
        return f"budget-{refusal.limit}", f"the budget per {refusal.limit} allows none at all", None
    sentence = f"the budget per {refusal.limit} is spent: {refusal.spent} of {refusal.allowed}"
    return f"budget-{refusal.limit}", sentence, refusal.free_at


def _begin(world: World, candidate: _Candidate, pod: PodFact, destination: str, number: int) -> InFlight:
    key, fact = candidate.workload.key, world.scene.facts.get(candidate.workload.key)
    verdict = candidate.workload.verdict
    return InFlight(
        number=number,
        workload=key,
        uid=candidate.workload.uid,
        way=candidate.way,
        to=candidate.to,
        step=Step.ANNOUNCED,
        began_at=world.now,
        step_at=world.now,
        replicas=(fact.replicas if fact else None) or len(world.scene.pods[key]),
        generation=generation_of(fact) if fact else 0,
        pod=pod.name,
        pod_uid=pod.uid,
        node=pod.node_name,
        destination=destination,
        before=tuple(one.uid for one in world.scene.pods[key]),
        wrong=tuple(one.uid for one in candidate.pods),
        transition=verdict.transitions if verdict else 0,
        trim=candidate.trim,
    )
