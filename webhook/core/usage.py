"""What Prometheus told of pods and nodes in one sweep, typed, with absence kept apart from zero."""

from datetime import datetime

from webhook.core.model import ControllerRef, Value


class PodUsage(Value, frozen=True):
    """One pod's use over the look-back; None means that no value was there, which is never zero.

    ``*_peak`` is the largest rate of the window, ``*_recent`` of the leave window. ``*_points`` counts the steps with a
    value, ``expected_points`` the steps at which kube-state-metrics knew the pod and its start-up grace was over.
    ``controller`` is its owner as kube-state-metrics names it, also for a pod that is gone by now.
    """

    namespace: str
    name: str
    uid: str = ""
    controller: ControllerRef | None = None
    cpu_peak_cores: float | None = None
    cpu_recent_cores: float | None = None
    cpu_points: int = 0
    received_peak_bytes_per_second: float | None = None
    received_recent_bytes_per_second: float | None = None
    received_points: int = 0
    expected_points: int = 0
    created_at: datetime | None = None
    last_sample_at: datetime | None = None


class UsageSweep(Value, frozen=True):
    """``evaluated_at`` is the time that all queries of the sweep were evaluated for, by Prometheus' clock."""

    evaluated_at: datetime
    pods: tuple[PodUsage, ...] = ()
    queries: int = 0
    prometheus_version: str = ""


class NodeSample(Value, frozen=True):
    node: str
    cpu_cores: float
    memory_bytes: float
    sampled_at: datetime
    source: str


class NodeUsage(Value, frozen=True):
    """``match_rate`` is the share of series that could be joined to a node, 0..1."""

    nodes: tuple[NodeSample, ...] = ()
    match_rate: float = 0.0
