"""What a move writes, as JSON for the API server.

Each body names the version or the UID that it is for: whoever was quicker wins, and nothing is done twice.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from webhook.core.model import WorkloadKey
from webhook.core.moves import Happening

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
_MOST_NOTE_CHARACTERS = 1024
_REPORTER = "spot-balancer.io/mover"


def micro_time(at: datetime) -> str:
    """As the API server takes a MicroTime: always six digits of a second, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def encode_scale(key: WorkloadKey, replicas: int, *, resource_version: str) -> bytes:
    """A Scale, which replaces spec.replicas of the object if it is still of that version."""
    metadata = {"name": key.name, "namespace": key.namespace, "resourceVersion": resource_version}
    return _encoded("autoscaling/v1", "Scale", metadata, spec={"replicas": replicas})


def encode_eviction(namespace: str, name: str, *, uid: str) -> bytes:
    """An Eviction of the pod of that UID and no other of its name."""
    options = {"preconditions": {"uid": uid}}
    return _encoded("policy/v1", "Eviction", {"name": name, "namespace": namespace}, deleteOptions=options)


def encode_restart(at: datetime, *, resource_version: str) -> bytes:
    """A strategic merge patch that stamps the template as kubectl does."""
    stamp = {RESTARTED_AT: at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    template = {"metadata": {"annotations": stamp}}
    return msgspec.json.encode({"metadata": {"resourceVersion": resource_version}, "spec": {"template": template}})


def encode_event(happening: Happening) -> bytes:
    """An Event on the workload's own object."""
    key = happening.workload
    regarding = {
        "apiVersion": happening.api_version,
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "uid": happening.uid,
    }
    return _encoded(
        "events.k8s.io/v1",
        "Event",
        {"generateName": f"{key.name[:200]}-", "namespace": key.namespace},
        eventTime=micro_time(happening.at),
        type="Warning" if happening.warning else "Normal",
        reason=happening.reason,
        action=happening.reason,
        note=happening.note[:_MOST_NOTE_CHARACTERS],
        regarding=regarding,
        reportingController=_REPORTER,
        reportingInstance="spot-balancer",
    )


def _encoded(api_version: str, kind: str, metadata: dict[str, str], **rest: Any) -> bytes:
    return msgspec.json.encode({"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest})
