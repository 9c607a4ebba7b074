"""Leases (coordination.k8s.io/v1): who may act, until when."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from webhook.core.model import Value
from webhook.wire.objects import ObjectMeta
from webhook.wire.writes import micro_time

API = "coordination.k8s.io/v1"


class LeaseSpec(Value, frozen=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: datetime | None = None
    renew_time: datetime | None = None
    lease_transitions: int | None = None


class LeaseObject(Value, frozen=True):
    """As it is read."""

    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()

    @property
    def holder(self) -> str:
        """Empty where it was given back."""
        return self.spec.holder_identity or ""


def decode_lease(body: bytes) -> LeaseObject:
    """Raises ValueError."""
    return msgspec.json.decode(body, type=LeaseObject)


def encode_lease(
    name: str, holder: str, *, now: datetime, duration: timedelta, before: LeaseObject | None = None
) -> bytes:
    """The Lease of ``holder``, which renews it or takes it over from ``before``; no holder gives it back."""
    metadata: dict[str, Any] = {"name": name}
    spec = before.spec if before else LeaseSpec()
    is_same = before is not None and before.holder == holder
    if before is not None:
        metadata["resourceVersion"] = before.metadata.resource_version
    acquired = spec.acquire_time if is_same and spec.acquire_time else now
    written = {
        "holderIdentity": holder,
        "leaseDurationSeconds": max(1, round(duration.total_seconds())),
        "acquireTime": micro_time(acquired),
        "renewTime": micro_time(now),
        "leaseTransitions": (spec.lease_transitions or 0) + (0 if is_same or before is None else 1),
    }
    return msgspec.json.encode({"apiVersion": API, "kind": "Lease", "metadata": metadata, "spec": written})
