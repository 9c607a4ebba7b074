"""What a sweep's figures of one pod mean: thresholds, the steps it owes, and the words for values."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from math import isfinite
from typing import NamedTuple

import msgspec

from webhook.core.model import Value
from webhook.core.policy import CustomSignal, IdlePolicy, SignalOf
from webhook.core.usage import PodUsage, RunningPod, SignalSample, WorkloadUsage


class Reading(Value, frozen=True):
    """One signal of one pod, or of the workload as a whole, where ``pod`` is empty.

    ``recent`` is None where the pod is starting up, or has no value; ``owes_recent`` tells which: it is past its start,
    and who woke after the last step shows in nothing else.
    """

    pod: str
    peak: float | None
    recent: float | None
    idle_below: float
    points: int
    expected: int
    running: int
    active_above: float
    sampled_at: datetime | None = None
    owes_recent: bool = False

    @property
    def subject(self) -> str:
        """Whose reading it is, in words."""
        return f"pod {self.pod}" if self.pod else "the workload"

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


def shape(policy: IdlePolicy) -> IdlePolicy:
    """What of a policy the queries depend on; policies of one shape can be judged on one sweep."""
    bare = IdlePolicy()
    return msgspec.structs.replace(
        policy,
        cpu_share_of_request=bare.cpu_share_of_request,
        cpu_floor_cores=bare.cpu_floor_cores,
        received_bytes_per_second=bare.received_bytes_per_second,
        leave_factor=bare.leave_factor,
        min_coverage=bare.min_coverage,
        max_clock_skew=bare.max_clock_skew,
        batch=bare.batch,
        signals=tuple(
            msgspec.structs.replace(signal, idle_below=0.0, active_above=None, unit="") for signal in policy.signals
        ),
    )


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


def up_steps(usage: WorkloadUsage, policy: IdlePolicy) -> int:
    """Steps of the window for which some pod is known to have run; pods side by side cover no time twice."""
    covered, until = timedelta(), usage.evaluated_at - policy.window
    for begin, end in sorted(_spans(usage, policy)):
        covered += max(timedelta(), end - max(begin, until))
        until = max(until, end)
    return covered // policy.step


def _spans(usage: WorkloadUsage, policy: IdlePolicy) -> Iterator[tuple[datetime, datetime]]:
    """From when to when each pod ran; of who is gone, as many steps since its start as kube-state-metrics told of."""
    at = usage.evaluated_at
    for running in usage.running:
        if running.pod.started_at:
            before = (running.usage or _nothing(running)).before(running.pod.uid)
            yield running.pod.started_at - before.running_points * policy.step, at
    for ended in usage.gone:
        if ended.started_at:
            begin = max(ended.started_at, at - policy.window)
            yield begin, min(at, begin + ended.running_points * policy.step)


def startup(policy: IdlePolicy) -> timedelta:
    """The part of a pod's life that counts neither way: a later rate would still look back into the grace."""
    return policy.startup_grace + policy.rate_window


def leave_range(policy: IdlePolicy) -> timedelta:
    """How far back activity is looked for: a rate over less than four scrapes may miss its two samples."""
    return max(policy.leave_window, 4 * policy.scrape_interval)


def reach(policy: IdlePolicy) -> timedelta:
    """How far back evidence looks in all: the first rate of the window has its own range before it."""
    return policy.window + policy.rate_window


def seen_range(policy: IdlePolicy) -> timedelta:
    """In which a scrape must lie for a step to be seen: a little more than one, so that jitter loses none."""
    return max(policy.step, policy.scrape_interval) * 5 / 4


def fresh(policy: IdlePolicy) -> timedelta:
    """How old a sample may be: one scrape may be lost, two may not."""
    return 2 * policy.scrape_interval


def measures(usage: WorkloadUsage, policy: IdlePolicy) -> tuple[Measure, ...]:
    """Every signal that must be low for the workload to be idle."""
    return (cpu(usage, policy), received(usage, policy), *(custom(usage, own, policy) for own in policy.signals))


def cpu(usage: WorkloadUsage, policy: IdlePolicy) -> Measure:
    """Cores of each pod against its own requests."""
    thresholds = [cpu_threshold(r.pod.requests.cpu_cores, policy) for r in usage.running]
    # What a gone pod requested is not known: the strictest threshold of its successors, else the floor.
    strictest = min(thresholds, default=policy.cpu_floor_cores)
    readers = [_Reader(usage, policy, _cpu_sample, idle_below=below) for below in thresholds]
    alive = [reader.running(pod) for reader, pod in zip(readers, usage.running, strict=True)]
    ended = _Reader(usage, policy, _cpu_sample, idle_below=strictest)
    readings = (*alive, *map(ended.gone, usage.gone))
    return Measure(name="cpu", label="CPU", unit="cores", readings=readings, show=_cores)


def received(usage: WorkloadUsage, policy: IdlePolicy) -> Measure:
    """Bytes a second; a pod in its node's network namespace shows the traffic of the whole node, so it has none."""
    own = [r for r in usage.running if not r.pod.host_network]
    gone = usage.gone if len(own) == len(usage.running) else ()
    reader = _Reader(usage, policy, _received_sample, idle_below=policy.received_bytes_per_second)
    readings = (*map(reader.running, own), *map(reader.gone, gone))
    return Measure(name="received", label="received network", unit="bytes/s", readings=readings, show=_rate)


def custom(usage: WorkloadUsage, own: CustomSignal, policy: IdlePolicy) -> Measure:
    """A signal of the user's: of each pod, or one reading of the workload as a whole."""

    def sample(pod: PodUsage) -> SignalSample:
        return pod.signals.get(own.name, SignalSample())

    if own.of is SignalOf.WORKLOAD:
        readings: tuple[Reading, ...] = (_of_workload(usage, own, policy),)
    else:
        reader = _Reader(usage, policy, sample, idle_below=own.idle_below, active_above=own.active_above)
        readings = (*map(reader.running, usage.running), *map(reader.gone, usage.gone))
    return Measure(
        name=own.name, label=own.name, unit=own.unit, readings=readings, show=lambda v: f"{v:.3g} {own.unit}".rstrip()
    )


def _of_workload(usage: WorkloadUsage, own: CustomSignal, policy: IdlePolicy) -> Reading:
    """It owes a value at every step of the window that lies in its life; there is no start-up to leave out."""
    sample = usage.signals.get(own.name, SignalSample())
    owed = running_steps(usage.created_at or usage.evaluated_at - policy.window, usage.evaluated_at, policy)
    return Reading(
        pod="",
        peak=good(sample.peak),
        recent=good(sample.recent),
        idle_below=own.idle_below,
        active_above=_above(own.idle_below, own.active_above, policy),
        points=sample.points,
        expected=owed,
        running=owed,
        sampled_at=usage.evaluated_at if sample.recent is not None else None,
        owes_recent=True,
    )


class _Reader(NamedTuple):
    """Reads one signal of pods, against one threshold."""

    usage: WorkloadUsage
    policy: IdlePolicy
    sample: Callable[[PodUsage], SignalSample]
    idle_below: float
    active_above: float | None = None

    def gone(self, pod: PodUsage) -> Reading:
        """Of a pod that only Prometheus knows."""
        sample = self.sample(pod)
        return Reading(
            pod=pod.name,
            peak=good(sample.peak),
            recent=_settled(pod.started_at, good(sample.recent), self.usage.evaluated_at, self.policy),
            idle_below=self.idle_below,
            active_above=_above(self.idle_below, self.active_above, self.policy),
            points=sample.points,
            expected=max(pod.expected_points, _owed(pod, self.policy)),
            running=max(pod.running_points, pod.expected_points),
        )

    def running(self, running: RunningPod) -> Reading:
        """Of a running pod: it owes a value since the start that the API server tells, whatever was missed before it."""
        pod, at = running.usage or _nothing(running), self.usage.evaluated_at
        reading = msgspec.structs.replace(self.gone(pod), sampled_at=pod.last_sample_at)
        started_at = running.pod.started_at
        if started_at is None:
            return reading
        is_settled = at - started_at >= self.policy.startup_grace + leave_range(self.policy)
        # A gap of both exporters shortens what is told and what is owed alike: only the API server's start is whole.
        # What a predecessor of that name showed must not fill it.
        before = pod.before(running.pod.uid)
        return msgspec.structs.replace(
            reading,
            # By the API server's start alone: another pod of that name may have just started elsewhere.
            recent=good(self.sample(pod).recent) if is_settled else None,
            owes_recent=is_settled,
            expected=max(reading.expected, before.expected_points + expected_steps(started_at, at, self.policy)),
            running=max(reading.running, before.running_points + running_steps(started_at, at, self.policy)),
        )


def _cpu_sample(pod: PodUsage) -> SignalSample:
    return SignalSample(peak=pod.cpu_peak_cores, recent=pod.cpu_recent_cores, points=pod.cpu_points)


def _received_sample(pod: PodUsage) -> SignalSample:
    return SignalSample(
        peak=pod.received_peak_bytes_per_second,
        recent=pod.received_recent_bytes_per_second,
        points=pod.received_points,
    )


def _above(idle_below: float, active_above: float | None, policy: IdlePolicy) -> float:
    return idle_below * policy.leave_factor if active_above is None else active_above


def _owed(pod: PodUsage, policy: IdlePolicy) -> int:
    """Steps past their start-up that pods of that name ran for: a life that is told in part owes no less."""
    starting = -(-startup(policy) // policy.step)
    return max(0, pod.running_points - starting * max(1, len(pod.lives)))


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
