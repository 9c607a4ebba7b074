"""The webhook of a simulated cluster: the real decision, on the snapshot that sync would have."""

from webhook.core import placement
from webhook.core.affinity import Alternative
from webhook.core.model import Toleration, Value
from webhook.core.placement import DELETION_COST, PlacementRequest
from webhook.core.pod import Metadata, OwnerReference, Pod, PodSpec
from webhook.core.snapshot import Snapshot
from webhook.simulation.objects import APPS, HASH, LABEL, DeploymentState


class Admitted(Value, frozen=True):
    """A pod as it was admitted: what its scheduler and its controller will read, and why."""

    reason: str
    terms: tuple[Alternative, ...] | None = None
    wishes: tuple[Alternative, ...] = ()
    weight: int = 0
    tolerations: tuple[Toleration, ...] = ()
    decision: str = ""
    deletion_cost: int = 0


def admit(owner: DeploymentState, name: str, uid: str, snapshot: Snapshot) -> Admitted:
    """Decide for a new pod of ``owner``; ``uid`` is the review's. The moment is the snapshot's own."""
    request = PlacementRequest(uid=uid, namespace=owner.spec.namespace, pod=_pod(owner, name))
    decision = placement.decide(request, snapshot, now=snapshot.meta.captured_at)
    changes = decision.changes
    if changes is None:
        return Admitted(reason=decision.reason.value)
    stamps = changes.annotations
    return Admitted(
        reason=decision.reason.value,
        # The template has no demand of its own, so ours stands alone.
        terms=changes.required or None,
        wishes=changes.preferred,
        weight=changes.weight,
        tolerations=changes.tolerations,
        decision=stamps.get(placement.DECISION, ""),
        deletion_cost=int(stamps.get(DELETION_COST, "0")),
    )


def _pod(owner: DeploymentState, name: str) -> Pod:
    reference = owner.reference
    return Pod(
        metadata=Metadata(
            name=name,
            namespace=owner.spec.namespace,
            labels={LABEL: owner.spec.name, "pod-template-hash": HASH},
            owner_references=[
                OwnerReference(
                    kind=reference.kind, name=reference.name, uid=reference.uid, api_version=APPS, controller=True
                )
            ],
        ),
        spec=PodSpec(),
    )
