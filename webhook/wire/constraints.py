"""What bounds a move, from the API server's JSON: budgets, autoscalers, quotas, claims, volumes and storage classes."""

from collections.abc import Callable, Mapping

import msgspec

from webhook.core.affinity import joined
from webhook.core.constraints import Autoscaler, Claim, DisruptionBudget, Quota, StorageClass, Volume
from webhook.core.model import Requirement, Value
from webhook.core.pod import NodeSelector
from webhook.wire import selectors
from webhook.wire.kubernetes import Entry, Resource
from webhook.wire.objects import Object, ObjectMeta, amount
from webhook.wire.selectors import LabelSelector

_WAITS = "WaitForFirstConsumer"
_PLACES = (
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
)
_BETWEEN_PLACES = "__"


class _Constraint(Object, frozen=True):
    def fact(self) -> Value:
        raise NotImplementedError


# --- disruption budgets


class _Versioned(ObjectMeta, frozen=True):
    generation: int = 0


class _BudgetSpec(Value, frozen=True):
    selector: LabelSelector | None = None
    min_available: int | str | None = None
    max_unavailable: int | str | None = None


class _BudgetStatus(Value, frozen=True):
    observed_generation: int | None = None
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0


class _Budget(_Constraint, frozen=True):
    metadata: _Versioned = _Versioned()
    spec: _BudgetSpec = _BudgetSpec()
    status: _BudgetStatus = _BudgetStatus()

    def fact(self) -> DisruptionBudget:
        spec, status = self.spec, self.status
        return DisruptionBudget(
            namespace=self.metadata.namespace,
            name=self.metadata.name,
            selector=selectors.requirements(spec.selector or LabelSelector()),
            selects_nothing=spec.selector is None,
            min_available=_written(spec.min_available),
            max_unavailable=_written(spec.max_unavailable),
            disruptions_allowed=status.disruptions_allowed,
            current_healthy=status.current_healthy,
            desired_healthy=status.desired_healthy,
            expected_pods=status.expected_pods,
            is_current=(status.observed_generation or 0) >= self.metadata.generation,
        )


def _written(number: int | str | None) -> str:
    return "" if number is None else str(number)


# --- autoscalers


class _Target(Value, frozen=True):
    kind: str = ""
    name: str = ""


class _AutoscalerSpec(Value, frozen=True):
    scale_target_ref: _Target = _Target()
    min_replicas: int | None = None
    max_replicas: int = 1


class _AutoscalerStatus(Value, frozen=True):
    current_replicas: int | None = None
    desired_replicas: int | None = None


class _Autoscaler(_Constraint, frozen=True):
    spec: _AutoscalerSpec = _AutoscalerSpec()
    status: _AutoscalerStatus = _AutoscalerStatus()

    def fact(self) -> Autoscaler:
        spec, status = self.spec, self.status
        return Autoscaler(
            namespace=self.metadata.namespace,
            name=self.metadata.name,
            target_kind=spec.scale_target_ref.kind,
            target_name=spec.scale_target_ref.name,
            min_replicas=1 if spec.min_replicas is None else spec.min_replicas,
            max_replicas=spec.max_replicas,
            current_replicas=status.current_replicas or 0,
            desired_replicas=status.desired_replicas or 0,
        )


# --- quotas


class _ScopeSelector(Value, frozen=True):
    match_expressions: tuple[msgspec.Raw, ...] | None = None


class _QuotaSpec(Value, frozen=True):
    hard: dict[str, str] | None = None
    scopes: tuple[str, ...] | None = None
    scope_selector: _ScopeSelector | None = None


class _QuotaStatus(Value, frozen=True):
    hard: dict[str, str] | None = None
    used: dict[str, str] | None = None


class _Quota(_Constraint, frozen=True):
    spec: _QuotaSpec = _QuotaSpec()
    status: _QuotaStatus = _QuotaStatus()

    def fact(self) -> Quota:
        spec, status = self.spec, self.status
        selected = spec.scope_selector.match_expressions if spec.scope_selector else None
        return Quota(
            namespace=self.metadata.namespace,
            name=self.metadata.name,
            # Admission holds to the status; until its controller has written that, to nothing but the spec to come.
            hard=_amounts(status.hard or spec.hard),
            used=_amounts(status.used),
            scoped=bool(spec.scopes or selected),
        )


def _amounts(amounts: Mapping[str, str] | None) -> dict[str, float]:
    return {name: amount(text) for name, text in (amounts or {}).items()}


# --- volumes


class _ClaimSpec(Value, frozen=True):
    volume_name: str | None = None
    access_modes: tuple[str, ...] | None = None
    storage_class_name: str | None = None


class _Claim(_Constraint, frozen=True):
    spec: _ClaimSpec = _ClaimSpec()

    def fact(self) -> Claim:
        return Claim(
            namespace=self.metadata.namespace,
            name=self.metadata.name,
            volume=self.spec.volume_name or "",
            access_modes=self.spec.access_modes or (),
            storage_class=self.spec.storage_class_name or "",
        )


class _VolumeAffinity(Value, frozen=True):
    required: NodeSelector | None = None


class _VolumeSpec(Value, frozen=True):
    node_affinity: _VolumeAffinity | None = None
    access_modes: tuple[str, ...] | None = None


class _Volume(_Constraint, frozen=True):
    spec: _VolumeSpec = _VolumeSpec()

    def fact(self) -> Volume:
        required = self.spec.node_affinity.required if self.spec.node_affinity else None
        terms = selectors.node_terms(required.node_selector_terms or ()) if required else None
        places = _places(self.metadata.labels or {})
        if places:
            terms = tuple(joined([places], [()] if terms is None else terms))
        return Volume(name=self.metadata.name, terms=terms, access_modes=self.spec.access_modes or ())


def _places(labels: Mapping[str, str]) -> tuple[Requirement, ...]:
    """Where the volume's labels say it is; the scheduler heeds them beside the node affinity."""
    return tuple(
        Requirement(key=key, operator="In", values=tuple(sorted(labels[key].split(_BETWEEN_PLACES))))
        for key in _PLACES
        if labels.get(key)
    )


class _TopologyExpression(Value, frozen=True):
    key: str = ""
    values: tuple[str, ...] | None = None


class _TopologyTerm(Value, frozen=True):
    match_label_expressions: tuple[_TopologyExpression, ...] | None = None


class _StorageClass(_Constraint, frozen=True):
    volume_binding_mode: str | None = None
    allowed_topologies: tuple[_TopologyTerm, ...] | None = None

    def fact(self) -> StorageClass:
        terms = tuple(map(_conjunction, self.allowed_topologies or ()))
        return StorageClass(name=self.metadata.name, waits=self.volume_binding_mode == _WAITS, terms=terms or None)


def _conjunction(term: _TopologyTerm) -> tuple[Requirement, ...]:
    return tuple(
        Requirement(key=expression.key, operator="In", values=expression.values or ())
        for expression in term.match_label_expressions or ()
    )


def _reader(shape: type[_Constraint]) -> Callable[[bytes], Entry]:
    decoder: msgspec.json.Decoder[_Constraint] = msgspec.json.Decoder(shape)

    def read(raw: bytes) -> Entry:
        found = decoder.decode(raw)
        return Entry(key=found.metadata.key, resource_version=found.metadata.resource_version, fact=found.fact())

    return read


CONSTRAINTS: tuple[Resource, ...] = tuple(
    Resource(kind=kind, plural=plural, api_version=api_version, read=_reader(shape))
    for kind, plural, api_version, shape in (
        ("PodDisruptionBudget", "poddisruptionbudgets", "policy/v1", _Budget),
        ("HorizontalPodAutoscaler", "horizontalpodautoscalers", "autoscaling/v2", _Autoscaler),
        ("ResourceQuota", "resourcequotas", "v1", _Quota),
        ("PersistentVolumeClaim", "persistentvolumeclaims", "v1", _Claim),
        ("PersistentVolume", "persistentvolumes", "v1", _Volume),
        ("StorageClass", "storageclasses", "storage.k8s.io/v1", _StorageClass),
    )
)
"""All that bounds a move; read only where something may be moved."""
