"""What creates pods, from the API server's JSON: how many it wants, how it rolls out, how its runs ended."""

from datetime import datetime

import msgspec

from webhook.core.census import ControllerFact, CronStatus, JobRun, Rollout
from webhook.core.model import Value
from webhook.wire import selectors
from webhook.wire.objects import Condition, Object, ObjectMeta
from webhook.wire.selectors import LabelSelector

Amount = int | str
"""A number of pods, or a percent of them."""


class ControllerSpec(Value, frozen=True):
    replicas: int | None = None


class ControllerStatus(Value, frozen=True):
    pass


class Controller(Object, frozen=True):
    """A ReplicaSet; the other kinds have more."""

    spec: ControllerSpec = ControllerSpec()
    status: ControllerStatus = ControllerStatus()

    def fact_of(self, api_version: str, kind: str) -> ControllerFact:
        """What is known of it, as an object of this kind."""
        meta = self.metadata
        return ControllerFact(
            api_version=api_version,
            kind=kind,
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            controller=meta.controller,
            labels=meta.labels or {},
            annotations=meta.annotations or {},
            replicas=self.spec.replicas,
            created_at=meta.creation_timestamp,
            run=self.run(),
            schedule=self.schedule(),
            rollout=self.rollout(),
        )

    def run(self) -> JobRun | None:
        return None

    def schedule(self) -> CronStatus | None:
        return None

    def rollout(self) -> Rollout | None:
        return None


# --- Jobs and CronJobs


class _JobStatus(ControllerStatus, frozen=True):
    start_time: datetime | None = None
    conditions: tuple[Condition, ...] | None = None
    succeeded: int | None = None
    failed: int | None = None


class Job(Controller, frozen=True):
    status: _JobStatus = _JobStatus()

    def run(self) -> JobRun | None:
        """How it ended; None while it runs."""
        status = self.status
        ended = next((c for c in status.conditions or () if c.type in _ENDED and c.status == "True"), None)
        if ended is None or ended.last_transition_time is None or status.start_time is None:
            return None
        return JobRun(
            started_at=status.start_time,
            ended_at=ended.last_transition_time,
            succeeded=ended.type == "Complete",
            pods=(status.succeeded or 0) + (status.failed or 0),
        )


_ENDED = frozenset({"Complete", "Failed"})


class _Reference(Value, frozen=True):
    name: str = ""


class _CronStatus(ControllerStatus, frozen=True):
    last_schedule_time: datetime | None = None
    last_successful_time: datetime | None = None
    active: tuple[_Reference, ...] | None = None


class CronJob(Controller, frozen=True):
    status: _CronStatus = _CronStatus()

    def schedule(self) -> CronStatus:
        return CronStatus(
            last_schedule_at=self.status.last_schedule_time,
            last_success_at=self.status.last_successful_time,
            active=tuple(reference.name for reference in self.status.active or () if reference.name),
        )


# --- Deployments and StatefulSets


class _Owned(Value, frozen=True):
    """A field that a manager owns; what is inside is of no use here."""


class _OwnedSpec(Value, frozen=True):
    replicas: _Owned | None = msgspec.field(default=None, name="f:replicas")


class _OwnedFields(Value, frozen=True):
    spec: _OwnedSpec | None = msgspec.field(default=None, name="f:spec")


class _ManagedFields(Value, frozen=True):
    manager: str = ""
    operation: str = ""
    fields_v1: _OwnedFields | None = None


class _ScalableMeta(ObjectMeta, frozen=True):
    generation: int = 0
    managed_fields: tuple[_ManagedFields, ...] | None = None

    @property
    def applied_by(self) -> str:
        """Who applies spec.replicas: whatever else writes it, the next apply takes it back."""
        return self._owner("Apply")

    @property
    def written_by(self) -> str:
        """Whose write of spec.replicas stands: another number takes the field from whoever had it, the same does not."""
        return self._owner("Update")

    def _owner(self, operation: str) -> str:
        entries = (entry for entry in self.managed_fields or () if entry.operation == operation)
        return next((entry.manager for entry in entries if _has_replicas(entry)), "")


def _has_replicas(entry: _ManagedFields) -> bool:
    spec = entry.fields_v1.spec if entry.fields_v1 else None
    return spec is not None and spec.replicas is not None


class _RollingUpdate(Value, frozen=True):
    max_surge: Amount | None = None
    max_unavailable: Amount | None = None


class _Strategy(Value, frozen=True):
    type: str | None = None
    rolling_update: _RollingUpdate | None = None


class _ScalableSpec(ControllerSpec, frozen=True):
    selector: LabelSelector = LabelSelector()
    min_ready_seconds: int | None = None


class _DeploymentSpec(_ScalableSpec, frozen=True):
    strategy: _Strategy = _Strategy()
    paused: bool | None = None


class _StatefulSetSpec(_ScalableSpec, frozen=True):
    update_strategy: _Strategy = _Strategy()


class _ScalableStatus(ControllerStatus, frozen=True):
    observed_generation: int | None = None
    replicas: int | None = None
    updated_replicas: int | None = None
    ready_replicas: int | None = None
    available_replicas: int | None = None


class _Scalable(Controller, frozen=True):
    metadata: _ScalableMeta = _ScalableMeta()
    spec: _ScalableSpec = _ScalableSpec()
    status: _ScalableStatus = _ScalableStatus()

    def rollout(self) -> Rollout:
        status = self.status
        return Rollout(
            min_ready_seconds=self.spec.min_ready_seconds or 0,
            generation=self.metadata.generation,
            observed_generation=status.observed_generation or 0,
            replicas=status.replicas or 0,
            updated=status.updated_replicas or 0,
            ready=status.ready_replicas or 0,
            available=status.available_replicas or 0,
            applied_by=self.metadata.applied_by,
            written_by=self.metadata.written_by,
            selector=selectors.query(self.spec.selector),
        )


class Deployment(_Scalable, frozen=True):
    spec: _DeploymentSpec = _DeploymentSpec()

    def rollout(self) -> Rollout:
        strategy = self.spec.strategy
        rolling = strategy.rolling_update or _RollingUpdate()
        return msgspec.structs.replace(
            super().rollout(),
            strategy=strategy.type or "RollingUpdate",
            max_surge=_written(rolling.max_surge, "25%"),
            max_unavailable=_written(rolling.max_unavailable, "25%"),
            paused=bool(self.spec.paused),
        )


class StatefulSet(_Scalable, frozen=True):
    spec: _StatefulSetSpec = _StatefulSetSpec()

    def rollout(self) -> Rollout:
        strategy = self.spec.update_strategy
        rolling = strategy.rolling_update or _RollingUpdate()
        return msgspec.structs.replace(
            super().rollout(),
            strategy=strategy.type or "RollingUpdate",
            max_surge="0",
            max_unavailable=_written(rolling.max_unavailable, "1"),
        )


def _written(amount: Amount | None, default: str) -> str:
    return default if amount is None else str(amount)
