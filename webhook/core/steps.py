"""What a step of a move looks at and what it says: the words that surge, eviction and restart share.

A step is a pure function of the move as the book has it and of the workload as it is now. It gives
the move as it is to be written, and what is to be done **after** that was written. Whoever comes
after a crash takes the same step again: each says by what it sees whether the thing was done.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from webhook.core.budget import limits_of
from webhook.core.census import ControllerFact, PodFact
from webhook.core.model import CapacityType, Side, Value
from webhook.core.moves import MANAGER, Answer, InFlight, Live, Outcome, Result, Step
from webhook.core.policy import MovePolicy


class Scale(Value, frozen=True):
    """Ask for so many replicas, of that version of the object."""

    replicas: int
    resource_version: str


class Evict(Value, frozen=True):
    """Evict these pods, as (name, UID)."""

    pods: tuple[tuple[str, str], ...]


class Restart(Value, frozen=True):
    """Stamp the template."""

    resource_version: str


Action = Scale | Evict | Restart


class Next(Value, frozen=True):
    """The move as it is now, None once it ended; then ``outcome`` says how, ``landed_on`` where its new pod is.

    ``action`` is what to do once that is written.
    """

    move: InFlight | None
    action: Action | None = None
    outcome: Outcome | None = None
    note: str = ""
    landed_on: str = ""


class Situation(Value, frozen=True):
    """What stands around one move. ``wanted`` is the side its pods belong on by now, None where nobody says any more.

    ``stopped``: new moves are not wanted, those under way are to end soon. ``refusal`` is why its pod must not be touched
    after all, by a look at the world right before; empty where nothing speaks against it.
    ``affords``: the budgets allow one pod more to be disrupted by this move.
    ``by_cost``: the ReplicaSet controller is trusted to read deletion costs, as it does by default. Of both nothing is
    said against it before a surge has its one pod more and must choose.
    """

    wanted: Side | None
    stopped: bool = False
    refusal: str = ""
    by_cost: bool = True
    affords: bool = True


class View(Value, frozen=True):
    """One step's view: the move, the workload now, the class of each node, and the time."""

    move: InFlight
    live: Live
    classes: Mapping[str, CapacityType]
    situation: Situation
    policy: MovePolicy
    now: datetime

    @property
    def fact(self) -> ControllerFact | None:
        """The workload's own object; None where it is gone, or another one has its name."""
        found = self.live.fact
        return found if found is not None and found.uid == self.move.uid else None

    @property
    def active(self) -> list[PodFact]:
        """The pods that its controller counts: neither finished nor on their way out."""
        return [pod for pod in self.live.pods if pod.is_active]

    @property
    def new(self) -> list[PodFact]:
        """Those that were not there when the move began."""
        return [pod for pod in self.active if pod.uid not in self.move.before]

    @property
    def wrong(self) -> list[PodFact]:
        """Those on the side that is to be left."""
        return [pod for pod in self.active if self.side(pod) not in (None, self.move.to)]

    @property
    def pending_on_demand(self) -> list[PodFact]:
        """Those without a node that were admitted with our demand: they wait for what may never come."""
        stamp = f"v1/{self.move.to}/required/"
        return [pod for pod in self.active if not pod.node_name and pod.decision.startswith(stamp)]

    @property
    def landed(self) -> PodFact | None:
        """A new pod that is Ready on the side it was to go to."""
        return next((pod for pod in self.new if pod.ready and self.side(pod) is self.move.to), None)

    @property
    def arrived(self) -> PodFact | None:
        """A new pod that is bound to the side it was to go to, the one that landed if there is one."""
        return self.landed or next((pod for pod in self.new if self.side(pod) is self.move.to), None)

    @property
    def leaving(self) -> PodFact | None:
        """The pod that is to go, while it is there."""
        return next((pod for pod in self.active if pod.uid == self.move.pod_uid), None)

    @property
    def to_evict(self) -> PodFact | None:
        """Whom an eviction would take."""
        return to_evict(self.move, self.live, self.classes)

    @property
    def unwanted(self) -> tuple[Outcome, str] | None:
        """Why nothing more of it is to be begun, with what it will then have come to."""
        if self.situation.wanted is not self.move.to:
            return Outcome.FLIPPED, "its side turned meanwhile"
        if self.situation.stopped:
            return Outcome.STOPPED, "moves were paused, or are not allowed any more"
        return None

    @property
    def waited(self) -> bool:
        """Whether the patience with this step is over."""
        return self.now - self.move.step_at > self.policy.patience

    @property
    def budget_waited(self) -> bool:
        """Whether the patience with the budgets is over: after a window all that this move itself took is free again."""
        window = limits_of(self.policy, self.move.to).window
        return self.now - self.move.step_at > max(self.policy.patience, window)

    @property
    def settled(self) -> bool:
        """Whether sync and server have had the time to follow what this step wrote."""
        return self.now - self.move.step_at >= self.policy.settle

    def side(self, pod: PodFact) -> Side | None:
        """The side of the node that it is bound to; None where it has none, or that is not known."""
        return _side(pod, self.classes)

    def to(self, step: Step, action: Action | None = None, *, outcome: Outcome | None = None, note: str = "") -> Next:
        """Go on to ``step`` and do ``action`` then. An ``outcome`` is what the move will have come to."""
        move = msgspec.structs.replace(
            self.move,
            step=step,
            step_at=self.now,
            outcome=outcome or self.move.outcome,
            note=note or self.move.note,
        )
        return Next(move, action)

    def stay(self, action: Action | None = None) -> Next:
        """Wait, or do the same again: it was not done, or that is not known."""
        return Next(self.move, action)

    def end(self, outcome: Outcome, note: str = "", *, landed_on: str = "") -> Next:
        """The move is over."""
        return Next(None, outcome=outcome, note=note or self.move.note, landed_on=landed_on)

    def scale(self, replicas: int) -> Scale:
        """Of the version that was just read."""
        return Scale(replicas=replicas, resource_version=self.live.resource_version)


def to_evict(move: InFlight, live: Live, classes: Mapping[str, CapacityType]) -> PodFact | None:
    """The pod that the move is of, or, where it is gone, another that is still on the side that is to be left."""
    active = [pod for pod in live.pods if pod.is_active]
    chosen = next((pod for pod in active if pod.uid == move.pod_uid), None)
    return chosen or next((pod for pod in active if _side(pod, classes) not in (None, move.to)), None)


def _side(pod: PodFact, classes: Mapping[str, CapacityType]) -> Side | None:
    found = classes.get(pod.node_name)
    return None if found is None else side_of(found)


def side_of(capacity: CapacityType) -> Side:
    """The side that a node of this class is."""
    return Side.SPOT if capacity is CapacityType.SPOT else Side.REGULAR


def evict(pods: Iterable[PodFact]) -> Evict:
    """Evict these."""
    return Evict(pods=tuple((pod.name, pod.uid) for pod in pods))


def is_rolling(fact: ControllerFact) -> bool:
    """Whether a rollout is under way, or paused in the middle, by its controller's word."""
    rollout = fact.rollout
    if rollout is None:
        return False
    return rollout.paused or rollout.observed_generation < rollout.generation or rollout.updated < rollout.replicas


def generation_of(fact: ControllerFact) -> int:
    """Of the object: how often what is asked of it was changed; 0 where that is not read."""
    return fact.rollout.generation if fact.rollout else 0


def is_ours(fact: ControllerFact) -> bool:
    """Whether the replicas stand as we asked for them, by who owns the field; where nobody is known to, they may be."""
    rollout = fact.rollout
    owners = {rollout.written_by, rollout.applied_by} if rollout else set[str]()
    return owners <= {MANAGER, ""}


def anchored(move: InFlight, now: datetime) -> InFlight:
    """The move with no stamp of its step from the future.

    After a clock was set back the waits of that step begin anew; else they would last until it has caught up.
    """
    return msgspec.structs.replace(move, step_at=now) if move.step_at > now else move


_REFUSALS = {
    Answer.BLOCKED: Outcome.BLOCKED,
    Answer.TWO_BUDGETS: Outcome.BLOCKED,
    Answer.FORBIDDEN: Outcome.REFUSED,
}


def answered(move: InFlight, action: Action, result: Result) -> InFlight:
    """The move after the API server's answer to its write; what it means is the next step's to say.

    Only evictions have a disruption budget: the same answer to another write means "later".
    """
    refused = _REFUSALS.get(result.answer)
    if refused is Outcome.BLOCKED and not isinstance(action, Evict):
        return move
    if refused is None or move.outcome is not None:
        return move
    return msgspec.structs.replace(move, outcome=refused, note=result.note[:300])
