"""A pod as the API server sends it, decoded only where decisions look.

Keys are Kubernetes' own. Everything may be absent or null, which mean the same; fields
that are not named here are never read, never written, and survive in the raw object.
"""

from webhook.core.model import Toleration, Value

DEFAULT_SCHEDULER = "default-scheduler"
"""What the API server writes where a pod names no scheduler."""


class OwnerReference(Value, frozen=True):
    kind: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    controller: bool | None = None


class Metadata(Value, frozen=True):
    name: str | None = None
    generate_name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None


class SelectorRequirement(Value, frozen=True):
    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class SelectorTerm(Value, frozen=True):
    match_expressions: list[SelectorRequirement] | None = None
    match_fields: list[SelectorRequirement] | None = None


class PreferredTerm(Value, frozen=True):
    weight: int = 0
    preference: SelectorTerm | None = None


class NodeSelector(Value, frozen=True):
    node_selector_terms: list[SelectorTerm] | None = None


class NodeAffinity(Value, frozen=True):
    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: list[PreferredTerm] | None = None


class Affinity(Value, frozen=True):
    node_affinity: NodeAffinity | None = None


class SchedulingGate(Value, frozen=True):
    name: str = ""


class HostPath(Value, frozen=True):
    path: str = ""


class Volume(Value, frozen=True):
    name: str = ""
    host_path: HostPath | None = None


class PodSpec(Value, frozen=True):
    node_name: str | None = None
    node_selector: dict[str, str] | None = None
    affinity: Affinity | None = None
    tolerations: list[Toleration] | None = None
    scheduling_gates: list[SchedulingGate] | None = None
    volumes: list[Volume] | None = None
    priority_class_name: str | None = None
    priority: int | None = None
    scheduler_name: str | None = None


class Pod(Value, frozen=True):
    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()

    @property
    def controller(self) -> OwnerReference | None:
        """The owner with ``controller: true``; the first of several, which no API server admits."""
        owners = self.metadata.owner_references or ()
        return next((owner for owner in owners if owner.controller), None)
