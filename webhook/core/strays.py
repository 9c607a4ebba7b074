"""Pods that wait Pending for the demand of a surge that is over, and that nobody else would ever free.

A pod is admitted by what the server knew of the book at that moment. One that is created right as a surge ends, or while
`sync` is away, may still get its demand, after the surge has looked for such pods for the last time. So each run looks
for them, and evicts them as a surge that is given up does: what comes instead only wishes.
"""

from datetime import timedelta

from webhook.core import consent
from webhook.core.census import PodFact
from webhook.core.model import Side, Workload
from webhook.core.moves import InFlight, Outcome, Step
from webhook.core.policy import Mode, Move, PlacementMode
from webhook.core.scene import World
from webhook.core.steps import generation_of

_AGE = timedelta(minutes=1)
"""A demand that can be met is met by then, or its pod is better off with a wish."""
_NOTE = "pods waited for the demand of a move that was over"


def freeing(world: World, workload: Workload, number: int) -> InFlight | None:
    """What frees such pods of a workload, as a surge that has nothing left to do but that; None where there is none."""
    pods = world.scene.pods.get(workload.key, [])
    if all(pod.node_name for pod in pods):
        return None
    key, settled = workload.key, world.scene.consents[workload.key]
    fact = world.scene.facts.get(key)
    if key.kind != "Deployment" or fact is None or settled.mode is not Mode.MOVE or key in world.moving:
        return None
    for side in Side:
        waiting = [pod for pod in pods if _waits(world, workload, pod, side)]
        if waiting:
            return InFlight(
                number=number,
                workload=key,
                uid=workload.uid,
                way=Move.SURGE,
                to=side,
                step=Step.CLEARING,
                began_at=world.now,
                step_at=world.now,
                replicas=fact.replicas or 0,
                generation=generation_of(fact),
                pod=waiting[0].name,
                pod_uid=waiting[0].uid,
                before=tuple(pod.uid for pod in pods),
                wrong=tuple(pod.uid for pod in waiting),
                transition=workload.verdict.transitions if workload.verdict else 0,
                outcome=Outcome.STOPPED,
                note=_NOTE,
            )
    return None


def _waits(world: World, workload: Workload, pod: PodFact, side: Side) -> bool:
    if pod.node_name or not pod.decision.startswith(f"v1/{side}/required/"):
        return False
    if pod.created_at is None or world.now - pod.created_at < _AGE:
        return False
    if side is Side.REGULAR:
        return True
    # Its owner, or the operator, may demand spot by their own word.
    namespace = world.scene.snapshot.namespaces.get(workload.key.namespace)
    asked = consent.resolve(dict(pod.needs.annotations), workload, namespace, world.policy)
    return asked.placement is not PlacementMode.REQUIRED
