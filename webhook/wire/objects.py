"""What objects of every kind have in common in the API server's JSON, and how amounts are read."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache

from webhook.core.model import ControllerRef, Resources, Value
from webhook.core.pod import OwnerReference
from webhook.core.quantity import to_float
from webhook.errors import QuantityError

Key = tuple[str, str]
"""Namespace ("" for kinds without) and name."""


class ObjectMeta(Value, frozen=True):
    """Of any object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None

    @property
    def controller(self) -> ControllerRef | None:
        """The owner with ``controller: true``."""
        found = next((owner for owner in self.owner_references or () if owner.controller), None)
        if found is None:
            return None
        return ControllerRef(kind=found.kind, name=found.name, uid=found.uid, api_version=found.api_version)

    @property
    def key(self) -> Key:
        """Unique within its kind."""
        return (self.namespace, self.name)


class Object(Value, frozen=True):
    """Any object, of which only the metadata is read."""

    metadata: ObjectMeta = ObjectMeta()


class Condition(Value, frozen=True):
    """One of a status' conditions."""

    type: str = ""
    status: str = ""
    last_transition_time: datetime | None = None


def condition(conditions: Iterable[Condition] | None, kind: str) -> Condition:
    """The condition of that type; an empty one, which does not hold, where there is none."""
    return next((c for c in conditions or () if c.type == kind), _NO_CONDITION)


_NO_CONDITION = Condition()


def resources(amounts: Mapping[str, str] | None) -> Resources:
    """CPU and memory of a list of amounts."""
    found = amounts or {}
    return Resources(cpu_cores=amount(found.get("cpu", "0")), memory_bytes=amount(found.get("memory", "0")))


@lru_cache(maxsize=4096)
def amount(text: str) -> float:
    """Zero where it cannot be read: the API server validates quantities, so this is no number anybody set."""
    try:
        return to_float(text)
    except QuantityError:
        return 0.0
