"""Usage of workloads as a sweep would tell it: whole, idle and settled unless said otherwise."""

from datetime import UTC, datetime, timedelta

import msgspec

from webhook.core.census import PodFact
from webhook.core.model import ControllerRef, Resources, WorkloadKey
from webhook.core.policy import IdlePolicy
from webhook.core.usage import PodLife, PodUsage, RunningPod, WorkloadUsage

# Off the minute, as a sweep's moment always is.
AT = datetime(2026, 3, 5, 12, 0, 7, 123000, tzinfo=UTC)
POLICY = IdlePolicy()
KEY = WorkloadKey(namespace="shop", kind="Deployment", name="nginx-demo")
IDLE_CORES, IDLE_BYTES = 0.002, 120.0
DAY = timedelta(days=1)


def make_usage(name="nginx-demo-7d9c5b8f6d-abcde", *, started_at=AT - DAY, **changes):
    usage = PodUsage(
        namespace="shop",
        name=name,
        lives={f"uid-{name}": PodLife(expected_points=60, running_points=60)},
        controller=ControllerRef(kind="ReplicaSet", name="nginx-demo-7d9c5b8f6d"),
        cpu_peak_cores=IDLE_CORES,
        cpu_recent_cores=IDLE_CORES,
        cpu_points=60,
        received_peak_bytes_per_second=IDLE_BYTES,
        received_recent_bytes_per_second=IDLE_BYTES,
        received_points=60,
        expected_points=60,
        running_points=60,
        started_at=started_at,
        last_sample_at=AT - timedelta(seconds=20),
    )
    return msgspec.structs.replace(usage, **changes)


def make_running(name="nginx-demo-7d9c5b8f6d-abcde", *, usage="whole", cpu_request=0.1, phase="Running", **fact):
    started_at = fact.pop("started_at", AT - DAY)
    pod = PodFact(
        namespace="shop",
        name=name,
        uid=f"uid-{name}",
        controller=ControllerRef(kind="ReplicaSet", name="nginx-demo-7d9c5b8f6d"),
        phase=phase,
        created_at=started_at,
        started_at=started_at,
        requests=Resources(cpu_cores=cpu_request),
        **fact,
    )
    return RunningPod(pod=pod, usage=make_usage(name, started_at=started_at) if usage == "whole" else usage)


def make_workload_usage(*running, gone=(), created_at=AT - 30 * DAY, **changes):
    pods = running or (make_running(),)
    usage = WorkloadUsage(
        key=KEY, evaluated_at=AT, answered_at=AT, created_at=created_at, running=tuple(pods), gone=tuple(gone)
    )
    return msgspec.structs.replace(usage, **changes)


def idle_workload(**usage_changes):
    """One running pod, idle but for what is changed."""
    return make_workload_usage(make_running(usage=make_usage(**usage_changes)))
