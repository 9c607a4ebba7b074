"""What the next pod of a workload would get: a plain pod as its controller would create it, put to the decision."""

from typing import Any

import msgspec

from webhook.core import placement
from webhook.core.model import Value, Workload
from webhook.core.patch import Operation, build, check
from webhook.core.placement import Decision, PlacementRequest, Reason
from webhook.core.pod import Pod
from webhook.core.policy import Mode
from webhook.core.snapshot import Snapshot

_APPS = {"ReplicaSet": "apps/v1", "Job": "batch/v1"}


class Rehearsal(Value, frozen=True):
    """``decision`` is what the policy in force gives; ``unbridled`` what it would give if its mode were inject.

    ``before`` and ``after`` are the raw pod without and with ``operations``, which follow ``unbridled``
    where only the mode is in the way.
    """

    decision: Decision
    unbridled: Decision
    before: dict[str, Any]
    after: dict[str, Any]
    operations: list[Operation]


def sample_pod(workload: Workload) -> dict[str, Any]:
    """A pod with one container and nothing else of note; what a real template adds may change the answer."""
    owner = workload.controllers[0] if workload.controllers else None
    kind, name = (owner.kind, owner.name) if owner else (workload.key.kind, workload.key.name)
    prefix = f"{workload.key.name}-"
    template_hash = name.removeprefix(prefix) if kind == "ReplicaSet" and name.startswith(prefix) else ""
    reference = {
        "apiVersion": _APPS.get(kind, workload.api_version or "apps/v1"),
        "kind": kind,
        "name": name,
        "uid": (owner.uid if owner else workload.uid) or "00000000-0000-0000-0000-000000000000",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    labels = {"app": workload.key.name} | ({"pod-template-hash": template_hash} if template_hash else {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{name}-",
            "namespace": workload.key.namespace,
            "labels": labels,
            "ownerReferences": [reference],
        },
        "spec": {
            "containers": [{"name": "app", "image": "registry.example/app:1"}],
            "schedulerName": "default-scheduler",
        },
    }


def rehearse(workload: Workload, snapshot: Snapshot, *, uid: str = "rehearsal") -> Rehearsal:
    """Put the workload's next pod to the decision, as of the snapshot's own moment. Raises PatchError."""
    before = sample_pod(workload)
    request = PlacementRequest(uid=uid, namespace=workload.key.namespace, pod=msgspec.convert(before, Pod))
    now = snapshot.meta.captured_at
    decision = placement.decide(request, snapshot, now=now)
    unbridled = placement.decide(request, snapshot, now=now, mode=Mode.INJECT)
    chosen = unbridled if decision.reason is Reason.OBSERVE else decision
    operations = build(before, chosen.changes) if chosen.changes else []
    return Rehearsal(decision, unbridled, before, check(before, operations), operations)
