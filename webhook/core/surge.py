"""One replica more on the right side, then one less on the wrong one; never fewer than there were.

==============  ===================================================================================
step            goes on when
==============  ===================================================================================
``announced``   the book was read by whoever admits pods: ask for N + 1
``raising``     the scale holds N + 1
``raised``      N + 1 are available and a new one is Ready on its side. If the ReplicaSet controller
                can only take a pod of the wrong side, ask for N; else evict the one that is to go,
                as soon as the budgets allow one pod more
``evicting``    that pod is gone; or a disruption budget refused: ask for N all the same
``replacing``   N + 1 are available again: ask for N
``lowering``    the scale holds N, and one pod went: see which
``retracted``   given up; new pods are admitted with a wish again, and after a while N is asked for
``undoing``     the scale holds N: evict what is still Pending with our demand, for its replacement
                then carries the wish only. No disruption budget refuses that of a Pending pod
``clearing``    none of these is left
==============  ===================================================================================

Lowering is safe whatever happened meanwhile: the controller takes pods that are not Ready first, so
fewer than N are available afterwards only if fewer than N were before. Evicting is not, so each time
it is looked again whether N + 1 are available. Where somebody else changed the replicas, theirs is
the last word: nothing is lowered that does not stand at our N + 1. That it is ours, and not one that
somebody asked for while our own was refused, or after ours was taken back, is told by who owns the
field; that holds for a write whose answer was lost too.

Once the side turned, or moves were paused, nothing is raised and nobody evicted any more. However it
ends, no pod is left that waits for our demand: those go the way of ``retracted``, moved or not.
"""

from collections.abc import Callable
from datetime import timedelta

import msgspec

from webhook.core.census import ControllerFact, PodFact
from webhook.core.moves import Outcome, Step
from webhook.core.steps import Next, View, evict, generation_of, is_ours
from webhook.core.victims import possible_victims

_CONTROLLER_LAG = timedelta(seconds=30)
"""The controller may lower the ReplicaSet this much later than we look; log buckets of age depend on when."""


def step(view: View) -> Next:
    """One step of a surge. Raises nothing; what cannot be known is waited for, within the patience."""
    if view.fact is None:
        return view.end(Outcome.GONE, "the workload was deleted, or made anew under its name")
    return _STEPS[view.move.step](view, view.fact)


def _announced(view: View, fact: ControllerFact) -> Next:
    """Nothing was done yet, so whatever speaks against it ends it here."""
    if why := view.unwanted:
        return _called_off(view, fact, *why)
    if fact.replicas != view.move.replicas or generation_of(fact) != view.move.generation:
        return _called_off(view, fact, Outcome.CHANGED, "it was changed before the move began")
    if not view.settled:
        return view.stay()
    if view.situation.refusal:
        return _called_off(view, fact, Outcome.CHANGED, view.situation.refusal)
    return view.to(Step.RAISING, view.scale(view.move.replicas + 1))


def _called_off(view: View, fact: ControllerFact, outcome: Outcome, note: str) -> Next:
    """No replica of ours is there; but a pod that came by itself meanwhile may wait for our demand."""
    if not view.pending_on_demand:
        return view.end(outcome, note)
    gone = view.to(Step.RETRACTED, outcome=outcome, note=note)
    # N is whatever is asked for now, lest one that somebody else added is taken for ours.
    return _with(gone, replicas=fact.replicas or 0)


def _raising(view: View, fact: ControllerFact) -> Next:
    """Whether it was done is seen by the replicas; the generation tells "not yet" from "taken back"."""
    wanted, generation = view.move.replicas, generation_of(fact)
    if _stands(view, fact):
        return view.to(Step.RAISED)
    if fact.replicas == wanted and generation > view.move.generation + 1:
        return _retract(view, Outcome.REVERTED, "somebody set the replicas back at once")
    if fact.replicas != wanted or generation != view.move.generation:
        return _retract(view, Outcome.CHANGED, "somebody else changed it at the same moment")
    return _not_raised(view, fact)


def _stands(view: View, fact: ControllerFact) -> bool:
    """Whether our N + 1 does, which is ours to lower; somebody else's is theirs."""
    return fact.replicas == view.move.replicas + 1 and is_ours(fact)


def _not_raised(view: View, fact: ControllerFact) -> Next:
    if view.move.outcome is Outcome.REFUSED:
        return _called_off(view, fact, Outcome.REFUSED, view.move.note)
    if why := view.unwanted:
        # Not called off: the write may be on its way still.
        return _retract(view, *why)
    if view.waited:
        return _retract(view, Outcome.REFUSED, "the API server did not take the change of its replicas")
    return view.stay(view.scale(view.move.replicas + 1))


def _retract(view: View, outcome: Outcome, note: str) -> Next:
    return view.to(Step.RETRACTED, outcome=outcome, note=note)


def _raised(view: View, fact: ControllerFact) -> Next:
    if trouble := _disturbance(view, fact):
        return trouble
    if not _all_available(view, fact):
        return _given_up(view) or view.stay()
    wrong = view.wrong
    if not wrong or (_takes_only(view, wrong) and view.situation.wanted is view.move.to):
        return view.to(Step.LOWERING, view.scale(view.move.replicas))
    if why := view.unwanted:
        return _retract(view, *why)
    if not view.situation.affords:
        return _waits_for_budget(view)
    chosen = view.to_evict or wrong[0]
    evicting = view.to(Step.EVICTING, evict([chosen]))
    return _with(evicting, pod=chosen.name, pod_uid=chosen.uid, node=chosen.node_name, owed=False)


def _waits_for_budget(view: View) -> Next:
    """One replica more costs nobody anything, so it stays meanwhile; then whoever the controller takes goes."""
    return (
        view.to(Step.LOWERING, view.scale(view.move.replicas)) if view.budget_waited else _with(view.stay(), owed=True)
    )


def _with(found: Next, **fields: object) -> Next:
    """With these fields of its move."""
    return msgspec.structs.replace(found, move=found.move and msgspec.structs.replace(found.move, **fields))


def _disturbance(view: View, fact: ControllerFact) -> Next | None:
    """Somebody else's hand on the replicas or the template."""
    if fact.replicas == view.move.replicas:
        return _retract(view, Outcome.REVERTED, "somebody set the replicas back")
    if not _stands(view, fact):
        return _retract(view, Outcome.CHANGED, f"somebody else asked for {fact.replicas}")
    if fact.rollout is not None and fact.rollout.paused:
        return _retract(view, Outcome.CHANGED, "its rollouts were paused")
    if _is_new_template(fact):
        return _retract(view, Outcome.CHANGED, "a rollout began")
    return None


def _is_new_template(fact: ControllerFact) -> bool:
    """Not all pods are of the newest template; the one that we asked for, and that is not there yet, is of none."""
    rollout = fact.rollout
    return (
        rollout is not None and rollout.observed_generation >= rollout.generation and rollout.updated < rollout.replicas
    )


def _given_up(view: View) -> Next | None:
    """Why not to wait any longer for N + 1."""
    if why := view.unwanted:
        return _retract(view, *why)
    if any(view.side(pod) not in (None, view.move.to) for pod in view.new):
        return _retract(view, Outcome.STRAYED, "the new pod was bound to the other side")
    if view.pending_on_demand and _lost_one(view):
        return _retract(view, Outcome.LOST_POD, "a pod was lost while the new one was Pending")
    return _retract(view, Outcome.NO_CAPACITY, _why_late(view)) if view.waited else None


def _lost_one(view: View) -> bool:
    """Whether more than what is evicted is gone: whatever comes for it must not wait for our demand too."""
    if view.move.step is Step.RAISED:
        return not {pod.uid for pod in view.active}.issuperset(view.move.before)
    return sum(pod.ready for pod in view.active) < view.move.replicas


def _why_late(view: View) -> str:
    minutes = view.policy.patience / timedelta(minutes=1)
    what = "was Pending" if view.pending_on_demand else "was not Ready"
    return f"the new pod {what} for more than {minutes:g} min"


def _all_available(view: View, fact: ControllerFact) -> bool:
    """N + 1 available by the controller's word about this very generation and by the pods, and a new one where it belongs.

    The status may be older than the pods: by its word alone a pod that has just died would count.
    """
    rollout, ready = fact.rollout, sum(pod.ready for pod in view.active)
    if rollout is None or rollout.observed_generation < rollout.generation:
        return False
    return min(rollout.available, ready) > view.move.replicas and view.landed is not None


def _takes_only(view: View, wrong: list[PodFact]) -> bool:
    """Whether the controller, lowering by one, surely takes one of ``wrong``."""
    by_cost = True if view.situation.by_cost else None
    victims = possible_victims(view.active, now=view.now, slack=_CONTROLLER_LAG, deletion_cost=by_cost)
    return victims <= {pod.uid for pod in wrong}


def _evicting(view: View, fact: ControllerFact) -> Next:
    if trouble := _disturbance(view, fact):
        return trouble
    if view.leaving is None:
        return view.to(Step.REPLACING)
    if view.move.outcome is not None:
        # Refused by a budget, or for want of a right: an elder goes instead, and the next move tries again.
        return view.to(Step.LOWERING, view.scale(view.move.replicas))
    return _evict_again(view, fact, view.leaving)


def _evict_again(view: View, fact: ControllerFact, pod: PodFact) -> Next:
    if why := view.unwanted:
        return _retract(view, *why)
    if not _all_available(view, fact):
        return _given_up(view) or view.stay()
    if view.waited:
        note = "nobody knows whether the eviction was taken; the pod is still there"
        return view.to(Step.LOWERING, view.scale(view.move.replicas), outcome=Outcome.REFUSED, note=note)
    return view.stay(evict([pod]))


def _replacing(view: View, fact: ControllerFact) -> Next:
    if trouble := _disturbance(view, fact):
        return trouble
    if _all_available(view, fact):
        return view.to(Step.LOWERING, view.scale(view.move.replicas))
    return _given_up(view) or view.stay()


def _lowering(view: View, fact: ControllerFact) -> Next:
    if _stands(view, fact):
        return view.stay(view.scale(view.move.replicas))
    if fact.replicas != view.move.replicas:
        return _retract(view, Outcome.CHANGED, f"somebody else asked for {fact.replicas} meanwhile")
    if len(view.active) > view.move.replicas and not view.waited:
        return view.stay()
    outcome, note = _read_back(view)
    if view.pending_on_demand:
        return _retract(view, outcome, note)
    return _over(view, outcome, note)


def _read_back(view: View) -> tuple[Outcome, str]:
    """Which pod went: one of the wrong side, or one that was right."""
    there = {pod.uid for pod in view.active}
    if view.arrived and not there.issuperset(view.move.wrong):
        return Outcome.MOVED, ""
    return view.move.outcome or Outcome.WRONG_VICTIM, view.move.note or "a pod of the right side went"


def _over(view: View, outcome: Outcome, note: str = "") -> Next:
    arrived = view.arrived
    return view.end(outcome, note, landed_on=arrived.node_name if arrived else "")


def _retracted(view: View, fact: ControllerFact) -> Next:
    if not view.settled:
        return view.stay()
    if _stands(view, fact):
        return view.to(Step.UNDOING, view.scale(view.move.replicas))
    return _cleared(view, fact)


def _undoing(view: View, fact: ControllerFact) -> Next:
    if _stands(view, fact):
        return view.stay(view.scale(view.move.replicas))
    return _cleared(view, fact)


def _cleared(view: View, fact: ControllerFact) -> Next:
    """Evict what our demand holds Pending; its controller takes one of them first, so it is given the time.

    Their UIDs are kept: what comes instead may carry the same demand by its owner's own wish.
    """
    pending = view.pending_on_demand
    if not pending:
        return _over(view, view.move.outcome or Outcome.STOPPED)
    if len(view.active) > (fact.replicas or 0) and not view.waited:
        return view.stay()
    return _with(view.to(Step.CLEARING, evict(pending)), wrong=tuple(pod.uid for pod in pending))


def _clearing(view: View, _: ControllerFact) -> Next:
    """However long it takes: nobody else would ever free them."""
    pending = [pod for pod in view.pending_on_demand if pod.uid in view.move.wrong]
    if not pending:
        return _over(view, view.move.outcome or Outcome.STOPPED)
    return view.stay(evict(pending))


_STEPS: dict[Step, Callable[[View, ControllerFact], Next]] = {
    Step.ANNOUNCED: _announced,
    Step.RAISING: _raising,
    Step.RAISED: _raised,
    Step.EVICTING: _evicting,
    Step.REPLACING: _replacing,
    Step.LOWERING: _lowering,
    Step.RETRACTED: _retracted,
    Step.UNDOING: _undoing,
    Step.CLEARING: _clearing,
}
