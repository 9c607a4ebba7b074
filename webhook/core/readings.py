"""What a sweep's figures of one pod mean: thresholds, the steps it owes, and the words for values."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from math import isfinite

from webhook.core.model import Value
from webhook.core.policy import IdlePolicy
from webhook.core.usage import PodUsage, RunningPod, WorkloadUsage


class Reading(Value, frozen=True):
    """One signal of one pod. ``recent`` is None where the pod is starting up, or has no value."""

    pod: str
    peak: float | None
    recent: float | None
    idle_below: float
    points: int
    expected: int
    running: int

    @property
    def value(self) -> float | None:
        """The larger of peak and recent rate: what must be low to be idle."""
        return max((v for v in (self.peak, self.recent) if v is not None), default=None)

    @property
    def seen(self) -> int:
        """Steps with a value; two series of one pod never count for more than its life."""
        return min(self.points, self.expected)


class Measure(Value, frozen=True):
    """A signal's readings of all pods, with the words to speak of it."""

    name: str
    label: str
    unit: str
    readings: tuple[Reading, ...]
    show: Callable[[float], str]


def cpu_threshold(request_cores: float, policy: IdlePolicy) -> float:
    """Idle below this many cores; a pod without requests is held to the floor."""
    return max(policy.cpu_share_of_request * request_cores, policy.cpu_floor_cores)


def steps_between(since: datetime, until: datetime, *, step: timedelta) -> int:
    """How many multiples of ``step`` (since the epoch) lie in [since, until]: where Prometheus evaluates."""
    width = _ms(step)
    return max(0, _epoch_ms(until) // width - (_epoch_ms(since) - 1) // width)


def expected_steps(started_at: datetime, evaluated_at: datetime, policy: IdlePolicy) -> int:
    """Steps of the window at which a pod that runs since ``started_at`` must have a value."""
    begin = max(started_at + startup(policy), evaluated_at - policy.window + timedelta(milliseconds=1))
    return steps_between(begin, evaluated_at, step=policy.step)


def running_steps(started_at: datetime, evaluated_at: datetime, policy: IdlePolicy) -> int:
    """Steps of the window at which such a pod existed, its start included."""
    begin = max(started_at, evaluated_at - policy.window + timedelta(milliseconds=1))
    return steps_between(begin, evaluated_at, step=policy.step)


def startup(policy: IdlePolicy) -> timedelta:
    """The part of a pod's life that counts neither way: a later rate would still look back into the grace."""
    return policy.startup_grace + policy.rate_window


def leave_range(policy: IdlePolicy) -> timedelta:
    """How far back activity is looked for: a rate over less than four scrapes may miss its two samples."""
    return max(policy.leave_window, 4 * policy.scrape_interval)


def cpu(usage: WorkloadUsage, policy: IdlePolicy) -> Measure:
    thresholds = [cpu_threshold(r.pod.requests.cpu_cores, policy) for r in usage.running]
    # What a gone pod requested is not known: the strictest threshold of its successors, else the floor.
    strictest = min(thresholds, default=policy.cpu_floor_cores)
    alive = [
        _cpu_reading(r, below, usage.evaluated_at, policy) for r, below in zip(usage.running, thresholds, strict=True)
    ]
    gone = [_cpu_of(pod, strictest, usage.evaluated_at, policy) for pod in usage.gone]
    return Measure(name="cpu", label="CPU", unit="cores", readings=(*alive, *gone), show=_cores)


def received(usage: WorkloadUsage, policy: IdlePolicy) -> Measure:
    # A pod in its node's network namespace shows the traffic of the whole node.
    own = [r for r in usage.running if not r.pod.host_network]
    alive = [_received_reading(r, usage.evaluated_at, policy) for r in own]
    shared = any(r.pod.host_network for r in usage.running)
    gone = [] if shared else [_received_of(pod, usage.evaluated_at, policy) for pod in usage.gone]
    return Measure(name="received", label="received network", unit="bytes/s", readings=(*alive, *gone), show=_rate)


def _cpu_of(pod: PodUsage, idle_below: float, evaluated_at: datetime, policy: IdlePolicy) -> Reading:
    return Reading(
        pod=pod.name,
        peak=good(pod.cpu_peak_cores),
        recent=_settled(pod.started_at, good(pod.cpu_recent_cores), evaluated_at, policy),
        idle_below=idle_below,
        points=pod.cpu_points,
        expected=pod.expected_points,
        running=pod.running_points,
    )


def _received_of(pod: PodUsage, evaluated_at: datetime, policy: IdlePolicy) -> Reading:
    return Reading(
        pod=pod.name,
        peak=good(pod.received_peak_bytes_per_second),
        recent=_settled(pod.started_at, good(pod.received_recent_bytes_per_second), evaluated_at, policy),
        idle_below=policy.received_bytes_per_second,
        points=pod.received_points,
        expected=pod.expected_points,
        running=pod.running_points,
    )


def _cpu_reading(running: RunningPod, idle_below: float, evaluated_at: datetime, policy: IdlePolicy) -> Reading:
    reading = _cpu_of(running.usage or _nothing(running), idle_below, evaluated_at, policy)
    return _held_to_the_api_server(reading, running, evaluated_at, policy)


def _received_reading(running: RunningPod, evaluated_at: datetime, policy: IdlePolicy) -> Reading:
    reading = _received_of(running.usage or _nothing(running), evaluated_at, policy)
    return _held_to_the_api_server(reading, running, evaluated_at, policy)


def _held_to_the_api_server(
    reading: Reading, running: RunningPod, evaluated_at: datetime, policy: IdlePolicy
) -> Reading:
    """A running pod owes a value since the start that the API server tells, whatever kube-state-metrics missed."""
    started_at = running.pod.started_at
    if started_at is None:
        return reading
    return Reading(
        pod=reading.pod,
        peak=reading.peak,
        recent=_settled(started_at, reading.recent, evaluated_at, policy),
        idle_below=reading.idle_below,
        points=reading.points,
        expected=max(reading.expected, expected_steps(started_at, evaluated_at, policy)),
        running=max(reading.running, running_steps(started_at, evaluated_at, policy)),
    )


def _nothing(running: RunningPod) -> PodUsage:
    return PodUsage(namespace=running.pod.namespace, name=running.pod.name)


def _settled(
    started_at: datetime | None, value: float | None, evaluated_at: datetime, policy: IdlePolicy
) -> float | None:
    """A recent rate counts once its whole range lies behind the start-up."""
    if started_at is None or evaluated_at - started_at < policy.startup_grace + leave_range(policy):
        return None
    return value


def good(value: float | None) -> float | None:
    """NaN, infinities and negative rates are no measurements."""
    return value if value is not None and isfinite(value) and value >= 0 else None


def coverage(readings: Iterable[Reading]) -> float | None:
    """Pod-time seen over pod-time existed, 0..1; None where no pod existed."""
    counted = list(readings)
    existed = sum(reading.running for reading in counted)
    return sum(reading.seen for reading in counted) / existed if existed else None


def _cores(value: float) -> str:
    return f"{value * 1000:.3g}m" if value < 1 else f"{value:.3g} cores"


def _rate(value: float) -> str:
    return f"{value:.3g} B/s" if value < 1000 else f"{value / 1000:.3g} kB/s"


def _ms(length: timedelta) -> int:
    return max(1, length // timedelta(milliseconds=1))


def _epoch_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
