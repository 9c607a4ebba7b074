"""What the mover asks while it carries a plan out: the book after each step, what stands around a move, what is told.

A plan may be seconds old when its turn comes, and a move of the book minutes: so whether a pod may be touched, and
whether it has a place, is looked at again right before.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

import msgspec

from webhook.core import learning, touch
from webhook.core.belonging import belongs
from webhook.core.book import Control
from webhook.core.fitting import MEANING, Destination
from webhook.core.model import Side
from webhook.core.moves import MISSES, Disruption, Finished, Happening, Hold, InFlight, Live, Outcome, Step
from webhook.core.planning import Plan, affords_one_more, refused
from webhook.core.policy import Mode, MovePolicy
from webhook.core.policy import Move as Way
from webhook.core.scene import World
from webhook.core.steps import Next, Situation, to_evict

_LONGEST_HOLD = timedelta(minutes=5)


def held_by_another(control: Control, holder: str, now: datetime) -> str:
    """The run that moves at this moment, if it is another; a hold from too far ahead is a clock's fault and ignored."""
    hold = control.hold
    if hold is None or hold.holder == holder or not now < hold.until <= now + _LONGEST_HOLD:
        return ""
    return hold.holder


def begun(control: Control, found: Plan, *, holder: str, until: datetime) -> Control:
    """The control object with the plan's moves in it, held by this run."""
    return msgspec.structs.replace(
        control,
        numbered=max([control.numbered, *(move.number for move in found.starts)]),
        moves=(*control.moves, *found.starts),
        disruptions=(*control.disruptions, *found.disruptions),
        hold=Hold(holder=holder, until=until),
    )


def stepped(control: Control, steps: Mapping[int, Next], *, now: datetime) -> Control:
    """The control object after these steps, by number of their moves."""
    moves, ended, more = list[InFlight](), list[Finished](), list[Disruption]()
    for move in control.moves:
        step = steps.get(move.number, Next(move))
        if step.move is None:
            ended.append(finished(move, step, now))
        else:
            moves.append(step.move)
            more += _one_more(move, step.move, now)
    control = msgspec.structs.replace(control, moves=tuple(moves), disruptions=(*control.disruptions, *more))
    if not ended:
        return control
    return msgspec.structs.replace(
        control,
        finished=(*control.finished, *ended),
        ended=dict(Counter(control.ended) + Counter(f"{one.to}/{one.outcome}" for one in ended)),
    )


def charged(world: World, before: InFlight, after: InFlight | None) -> World:
    """The world for the next move of the same tick, with what this one's step will cost."""
    more = tuple(_one_more(before, after, world.now)) if after else ()
    if not more:
        return world
    control = msgspec.structs.replace(world.control, disruptions=(*world.control.disruptions, *more))
    return world.at(control, world.now)


def _one_more(before: InFlight, after: InFlight, now: datetime) -> Iterator[Disruption]:
    """A surge that must evict takes two pods: the one it evicts, and the one that the controller takes at the end."""
    if after.way is Way.SURGE and after.step is Step.EVICTING and before.step is not Step.EVICTING:
        yield Disruption(now, after.to, str(after.workload), after.node)


def finished(move: InFlight, step: Next, now: datetime) -> Finished:
    """What `history` keeps of a move that ended by ``step``."""
    return Finished(
        number=move.number,
        workload=move.workload,
        uid=move.uid,
        way=move.way,
        to=move.to,
        began_at=move.began_at,
        ended_at=now,
        outcome=step.outcome or Outcome.STOPPED,
        pod=move.pod,
        node=move.node,
        landed_on=step.landed_on,
        transition=move.transition,
        trim=move.trim,
        note=step.note,
    )


def settles(move: InFlight) -> bool:
    """Whether its next step waits until whoever admits pods has read the book."""
    return move.step in (Step.ANNOUNCED, Step.RETRACTED)


def first_look(move: InFlight, policy: MovePolicy, now: datetime) -> datetime:
    """When a move that was found in the book is worth a look."""
    ready = move.step_at + policy.settle if settles(move) else now
    return min(max(ready, now), now + policy.settle)


def situation(world: World, move: InFlight, live: Live) -> Situation:
    """What stands around a move now; a look at the world right before it begins."""
    workload = world.scene.snapshot.workloads.get(move.workload)
    if workload is None:
        return Situation(wanted=None)
    settled = world.scene.consents[move.workload]
    belonging = belongs(workload, settled, world.policy.sides, now=world.now)
    # A surge that evicts looks for itself: it never does so below N + 1.
    touches = move.step is Step.ANNOUNCED or (move.step is Step.EVICTING and move.way is Way.EVICT)
    # While the pod that comes is waited for, nobody asks who may go for it; that look is the most frequent of all.
    chooses = move.step is Step.RAISED and _has_one_more(move, live)
    return Situation(
        wanted=move.to if move.trim else belonging.side,
        stopped=world.stopped is not None or settled.mode is not Mode.MOVE,
        refusal=_second_thoughts(world, move, live) if touches else "",
        affords=not chooses or _affords_eviction(world, move, live),
        by_cost=not chooses or not _took_a_wrong_one(move, world.control.finished),
    )


def _has_one_more(move: InFlight, live: Live) -> bool:
    """Whether more pods are Ready than the workload is to have."""
    return sum(pod.ready and pod.is_active for pod in live.pods) > move.replicas


def _affords_eviction(world: World, move: InFlight, live: Live) -> bool:
    pod = to_evict(move, live, world.classes)
    return affords_one_more(world, move, pod.node_name if pod else "")


def _took_a_wrong_one(move: InFlight, ended: Iterable[Finished]) -> bool:
    """Whether costs did not lead the controller before, for this very workload."""
    wrong = [one for one in ended if one.outcome is Outcome.WRONG_VICTIM]
    return any(one.workload == move.workload and one.uid == move.uid for one in wrong)


def _second_thoughts(world: World, move: InFlight, live: Live) -> str:
    """Why a move that was planned a while ago must not begin now; empty where nothing speaks against it."""
    subject = world.scene.subject(move.workload, live, move)
    handling = touch.handle(subject, world.scene.bounds, policy=world.policy, now=world.now)
    if handling.way is None:
        return refused(handling)
    if handling.way is not move.way:
        return f"it would be moved by {handling.way} now"
    pod = next((one for one in live.pods if one.uid == move.pod_uid), None)
    if pod is None or pod.uid not in handling.pods:
        return "the pod that was to go is gone, or must not be touched any more"
    if move.to is Side.SPOT and world.freezes:
        return f"nothing moves to spot: {'; '.join(world.freezes)}"
    found = world.ground_without(move).find(pod, move.to, leaving=move.way is not Way.SURGE)
    return "" if isinstance(found, Destination) else f"it would fit nowhere: {MEANING[found.obstacle]}"


_TOLD = {Side.SPOT: "MovedToSpot", Side.REGULAR: "MovedToRegular"}


def told(world: World, move: Finished) -> Iterator[Happening]:
    """What is told as Events of a move that ended."""
    workload = world.scene.snapshot.workloads.get(move.workload)
    version = workload.api_version if workload else ""

    def happening(reason: str, note: str, *, warning: bool) -> Happening:
        return Happening(move.workload, move.uid, version, reason, note, move.ended_at, warning)

    if move.outcome is Outcome.MOVED:
        took = (move.ended_at - move.began_at).total_seconds()
        # A surge lets the controller choose, so which of them went is not known by its name.
        which = "one of its pods" if move.way is Way.SURGE else f"{move.pod} of {move.node}"
        note = f"{which} was replaced by a pod on {move.landed_on}, by {move.way} in {took:.0f} s"
        yield happening(_TOLD[move.to], note, warning=False)
        return
    note = f"the move of {move.pod} from {move.node or 'no node'} to {move.to} ended: {move.outcome}"
    yield happening("MoveEnded", f"{note}; {move.note}" if move.note else note, warning=move.outcome in MISSES)
    memory = world.memory(move.workload)
    if move.outcome in MISSES and learning.has_given_up(memory, world.policy.moves):
        note = (
            f"{memory.misses} moves in a row came to nothing; none is tried before {memory.not_before:%Y-%m-%d %H:%M}Z"
        )
        yield happening("MovesStopped", f"{note}, or `spot-balancer resume --workload {move.workload}`", warning=True)
