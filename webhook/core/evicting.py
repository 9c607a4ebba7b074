"""Moves without a replica more: one pod is evicted above the floor, or the template is restarted where that is allowed.

``announced`` waits until whoever admits pods has read the book; then the pod is evicted by its UID, within its
disruption budget, and the pod that its controller makes instead is waited for. Where it lands is seen, not assumed.
"""

from collections.abc import Callable

from webhook.core.census import ControllerFact
from webhook.core.moves import Outcome, Step
from webhook.core.policy import Move as Way
from webhook.core.steps import Next, Restart, View, evict, generation_of, is_rolling


def step(view: View) -> Next:
    """One step of an eviction or a restart."""
    if view.fact is None:
        return view.end(Outcome.GONE, "the workload was deleted, or made anew under its name")
    return _STEPS[view.move.step](view, view.fact)


def _announced(view: View, fact: ControllerFact) -> Next:
    if fact.replicas != view.move.replicas:
        return view.end(Outcome.CHANGED, "it was scaled before the move began")
    if why := view.unwanted:
        return view.end(*why)
    if not view.settled:
        return view.stay()
    if view.situation.refusal:
        return view.end(Outcome.CHANGED, view.situation.refusal)
    if view.move.way is Way.RESTART:
        return view.to(Step.RESTARTING, _restart(view))
    return _begun(view)


def _begun(view: View) -> Next:
    if view.leaving is None:
        return view.end(Outcome.GONE, "the pod was gone before it could be evicted")
    return view.to(Step.EVICTING, evict([view.leaving]))


def _evicting(view: View, _: ControllerFact) -> Next:
    """The pod is still there: by the book it may have been evicted long ago, so all is looked at again."""
    if view.leaving is None:
        return view.to(Step.REPLACING)
    if view.move.outcome is not None:
        return view.end(view.move.outcome)
    if why := view.unwanted:
        return view.end(*why)
    if view.situation.refusal:
        return view.end(Outcome.CHANGED, view.situation.refusal)
    if view.waited:
        return view.end(Outcome.REFUSED, "nobody knows whether the eviction was taken; the pod is still there")
    return view.stay(evict([view.leaving]))


def _replacing(view: View, fact: ControllerFact) -> Next:
    """The replacement is the new pod; of several, whichever is Ready tells as much."""
    if fact.replicas is not None and fact.replicas < view.move.replicas:
        return view.end(Outcome.CHANGED, f"somebody else asked for {fact.replicas} meanwhile")
    if landed := view.landed:
        return view.end(Outcome.MOVED, landed_on=landed.node_name)
    strayed = next((pod for pod in view.new if pod.ready and view.side(pod) not in (None, view.move.to)), None)
    if strayed is not None:
        return view.end(Outcome.STRAYED, "its replacement was bound to the other side", landed_on=strayed.node_name)
    if view.waited:
        return view.end(Outcome.NO_CAPACITY, "its replacement was not Ready within the patience")
    return view.stay()


def _restarting(view: View, fact: ControllerFact) -> Next:
    if view.move.outcome is not None:
        return view.end(view.move.outcome)
    if generation_of(fact) <= view.move.generation:
        return _not_stamped(view)
    if view.waited:
        return view.end(Outcome.NO_CAPACITY, "its rollout did not end within the patience")
    if is_rolling(fact) or {pod.uid for pod in view.active} & set(view.move.before):
        return view.stay()
    if view.wrong:
        return view.end(Outcome.STRAYED, "pods of the new rollout are on the other side")
    return view.end(Outcome.MOVED, landed_on=view.landed.node_name) if view.landed else view.stay()


def _not_stamped(view: View) -> Next:
    if why := view.unwanted:
        return view.end(*why)
    if view.waited:
        return view.end(Outcome.REFUSED, "the API server did not take the stamp on its template")
    return view.stay(_restart(view))


def _restart(view: View) -> Restart:
    return Restart(resource_version=view.live.resource_version)


_STEPS: dict[Step, Callable[[View, ControllerFact], Next]] = {
    Step.ANNOUNCED: _announced,
    Step.EVICTING: _evicting,
    Step.REPLACING: _replacing,
    Step.RESTARTING: _restarting,
}
