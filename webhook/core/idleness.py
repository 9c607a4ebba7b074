"""Evidence of one run: is a workload idle, active, or is it unknown?

Absence is never zero. Idle must be proven by every signal of every pod over the whole
look-back, active by one good value of any signal; everything else is unknown, and says what
is missing. In this order:

1. A clock that disagrees with Prometheus' makes every age a guess: unknown.
2. **Active**: a recent rate of any pod above ``leave_factor`` times its threshold.
3. A doubt: too young, time without any pod, a running pod without data, an old sample, a gap,
   a restart, too little of the pod-time seen. Unknown.
4. **Idle**: every peak of the window, and every recent rate, below its threshold.
5. Between the thresholds, or busy earlier in the window: neither. The evidence is unknown,
   but ``measured``: the data was whole, so it does not run out, and it ends a row of idle runs.
   Calling it active would send a workload at the border back and forth.

A pod's first ``startup_grace`` + ``rate_window`` count neither way, because a rate looks that
far back. They do count as pod-time that existed: a workload whose pods are always young has
not been seen.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum

from webhook.core import readings
from webhook.core.model import BatchRun, Evidence, Signal, Value
from webhook.core.policy import IdlePolicy
from webhook.core.readings import Measure, Reading, coverage, leave_range, startup
from webhook.core.usage import RunningPod, WorkloadUsage


class Code(StrEnum):
    """Why, in one word that fits a metric label."""

    IDLE = "idle"
    ACTIVE = "active"
    BETWEEN = "between"
    CLOCK = "clock-skew"
    NO_USAGE = "prometheus-unavailable"
    NO_PODS = "no-pods"
    YOUNG = "young"
    MISSING = "missing-series"
    STRANGER = "another-pod"
    STALE = "stale-samples"
    GAP = "gap"
    COVERAGE = "low-coverage"
    RESET = "counter-reset"
    UNSEEN = "unseen-run"
    UNREAD = "unread-kind"


class Judgement(Value, frozen=True):
    """Evidence with its reason; ``measured`` says that the data was whole, whatever it told. ``runs`` are a CronJob's."""

    evidence: Evidence
    reason: str
    code: Code
    signals: tuple[Signal, ...] = ()
    measured: bool = False
    runs: tuple[BatchRun, ...] = ()


class Doubt(Value, frozen=True):
    """Something that is missing to be idle."""

    code: Code
    reason: str


def judge(usage: WorkloadUsage, policy: IdlePolicy, *, now: datetime) -> Judgement:
    """Say what one sweep proves of a workload. ``now`` is our own clock when the sweep began."""
    if doubt := clock_doubt(usage.evaluated_at, usage.answered_at, policy=policy, now=now):
        return Judgement(evidence=Evidence.UNKNOWN, reason=doubt.reason, code=doubt.code)
    measures = readings.measures(usage, policy)
    signals = tuple(_signal(measure, policy) for measure in measures)
    if waking := _activity(measures, policy):
        return Judgement(evidence=Evidence.ACTIVE, reason=waking, code=Code.ACTIVE, signals=signals, measured=True)
    if doubt := next(doubts(usage, measures, policy=policy), None):
        return Judgement(evidence=Evidence.UNKNOWN, reason=doubt.reason, code=doubt.code, signals=signals)
    if busy := _not_idle(measures, policy):
        return Judgement(evidence=Evidence.UNKNOWN, reason=busy, code=Code.BETWEEN, signals=signals, measured=True)
    rest = _rest(measures, policy)
    return Judgement(evidence=Evidence.IDLE, reason=rest, code=Code.IDLE, signals=signals, measured=True)


def unavailable(reason: str) -> Judgement:
    """The judgement of every workload when Prometheus gave nothing that may be believed."""
    return Judgement(evidence=Evidence.UNKNOWN, reason=f"Prometheus: {reason}", code=Code.NO_USAGE)


def clock_doubt(
    evaluated_at: datetime, answered_at: datetime | None, *, policy: IdlePolicy, now: datetime
) -> Doubt | None:
    """Prometheus' own clock and its Date header must both agree with ours."""
    for name, told in (("clock", evaluated_at), ("Date header", answered_at)):
        if told is not None and abs(now - told) > policy.max_clock_skew:
            seconds = (told - now).total_seconds()
            reason = (
                f"the {name} of Prometheus is {seconds:+.0f} s off ours; {_span(policy.max_clock_skew)} are allowed"
            )
            return Doubt(code=Code.CLOCK, reason=reason)
    return None


# --- active, idle, and neither


def _activity(measures: Iterable[Measure], policy: IdlePolicy) -> str:
    for measure in measures:
        for reading in measure.readings:
            if reading.recent is not None and reading.recent >= reading.active_above:
                return (
                    f"{measure.label} of {reading.subject} was {measure.show(reading.recent)} in the last "
                    f"{_span(leave_range(policy))}; active from {measure.show(reading.active_above)}"
                )
    return ""


def _not_idle(measures: Iterable[Measure], policy: IdlePolicy) -> str:
    for measure in measures:
        worst = _worst(measure.readings)
        if worst and worst.value is not None and worst.value >= worst.idle_below:
            return (
                f"neither idle nor active: {measure.label} of {worst.subject} reached {measure.show(worst.value)} in "
                f"{_span(policy.window)} (idle below {measure.show(worst.idle_below)}), and is not above "
                f"{measure.show(worst.active_above)} now"
            )
    return ""


def _rest(measures: Iterable[Measure], policy: IdlePolicy) -> str:
    told = []
    for measure in measures:
        worst = _worst(measure.readings)
        if worst and worst.value is not None:
            told.append(f"{measure.label} at most {measure.show(worst.value)} of {measure.show(worst.idle_below)}")
    return f"{', '.join(told)} a pod, throughout {_span(policy.window)}"


def _worst(readings: Iterable[Reading]) -> Reading | None:
    """The reading nearest to, or furthest above, its own threshold."""
    valued = [reading for reading in readings if reading.value is not None]
    return max(valued, key=lambda r: (r.value or 0.0) / r.idle_below if r.idle_below else float("inf"), default=None)


def _signal(measure: Measure, policy: IdlePolicy) -> Signal:
    worst = _worst(measure.readings)
    recent = max((r.recent for r in measure.readings if r.recent is not None), default=None)
    strictest = worst or min(measure.readings, key=lambda r: r.idle_below, default=None)
    return Signal(
        name=measure.name,
        unit=measure.unit,
        value=worst.value if worst else None,
        recent=recent,
        idle_below=strictest.idle_below if strictest else 0.0,
        active_above=strictest.active_above if strictest else 0.0,
        window_seconds=policy.window.total_seconds(),
        coverage=coverage(measure.readings),
        samples=sum(r.seen for r in measure.readings),
        samples_expected=sum(r.expected for r in measure.readings),
        sampled_at=min((r.sampled_at for r in measure.readings if r.sampled_at), default=None),
    )


# --- what is missing to be idle


def doubts(usage: WorkloadUsage, measures: Iterable[Measure], *, policy: IdlePolicy) -> Iterator[Doubt]:
    """All that keeps a workload that does nothing from being called idle, the plainest first."""
    yield from _age_doubts(usage, policy)
    yield from _absence_doubts(usage, policy)
    for running in usage.running:
        yield from _pod_doubts(running, usage.evaluated_at, policy)
    for ended in usage.gone:
        if ended.started_at is None:
            reason = (
                f"the start of pod {ended.name}, which is gone, is not known: its use may be of its start-up or not"
            )
            yield Doubt(code=Code.MISSING, reason=reason)
    told = [pod for pod in (*(running.usage for running in usage.running), *usage.gone) if pod]
    for ahead in (pod for pod in told if pod.is_ahead):
        reason = f"samples of pod {ahead.name} are dated in the future: what it does now is not known"
        yield Doubt(code=Code.CLOCK, reason=reason)
    for anew in (pod for pod in told if pod.restarts):
        # The two look the same, and whoever shares the name must not explain a restart away.
        reason = (
            f"a container of pod {anew.name} restarted, or the pod was made anew under its name: "
            "what it used since the last scrape is in no counter"
        )
        yield Doubt(code=Code.RESET, reason=reason)
    for measure in measures:
        yield from _measure_doubts(measure, policy)
    if usage.untold_steps:
        reason = (
            f"kube-state-metrics told of no pod at {usage.untold_steps} steps in {_span(policy.window)}: "
            "what came and went then is not known"
        )
        yield Doubt(code=Code.GAP, reason=reason)


def _age_doubts(usage: WorkloadUsage, policy: IdlePolicy) -> Iterator[Doubt]:
    if usage.created_at is None:
        yield Doubt(code=Code.YOUNG, reason="its age is not known, so neither is what it did in the whole window")
    elif usage.evaluated_at - usage.created_at < policy.window:
        age = _span(usage.evaluated_at - usage.created_at)
        yield Doubt(code=Code.YOUNG, reason=f"it is {age} old; {_span(policy.window)} must be seen")


def _absence_doubts(usage: WorkloadUsage, policy: IdlePolicy) -> Iterator[Doubt]:
    """Time without any pod is no rest: nobody saw what it does when it is asked to work.

    Without this, the last quiet minutes of what was then scaled to zero would soon be all that the window holds.
    """
    if not usage.running:
        ran = "runs now" if usage.gone else f"ran in the last {_span(policy.window)}"
        yield Doubt(code=Code.NO_PODS, reason=f"no pod of it {ran}")
        return
    up, whole = readings.up_steps(usage, policy), policy.window // policy.step
    if up < policy.min_coverage * whole:
        reason = (
            f"no pod of it is known to have run for {whole - up} of {whole} steps in {_span(policy.window)}; "
            f"{policy.min_coverage:.0%} are needed"
        )
        yield Doubt(code=Code.NO_PODS, reason=reason)


def _pod_doubts(running: RunningPod, evaluated_at: datetime, policy: IdlePolicy) -> Iterator[Doubt]:
    pod, usage = running.pod, running.usage
    if pod.started_at is None:
        yield Doubt(code=Code.MISSING, reason=f"pod {pod.name} runs, but its start is not known")
        return
    if not running.is_told_of:
        reason = (
            f"Prometheus knows another pod named {pod.name} and not this one yet: a predecessor, or another cluster's"
        )
        yield Doubt(code=Code.STRANGER, reason=reason)
    if pod.started_at - evaluated_at > policy.max_clock_skew:
        # The node's clock is ahead. Such a pod is young until then, and nothing that it does would count.
        ahead = _span(pod.started_at - evaluated_at)
        yield Doubt(code=Code.CLOCK, reason=f"pod {pod.name} started {ahead} in the future, by its node's clock")
    if running.on_still_node:
        reason = f"no pod at all of {pod.name}'s node uses any CPU: its exporter repeats itself"
        yield Doubt(code=Code.STALE, reason=reason)
    if evaluated_at - pod.started_at < startup(policy):
        return
    if usage is None:
        yield Doubt(code=Code.MISSING, reason=f"running pod {pod.name} has no series in Prometheus")
    elif usage.last_sample_at is None:
        yield Doubt(code=Code.MISSING, reason=f"running pod {pod.name} has no current sample")
    else:
        yield from _sample_doubts(pod.name, evaluated_at - usage.last_sample_at, policy)


def _sample_doubts(pod: str, age: timedelta, policy: IdlePolicy) -> Iterator[Doubt]:
    allowed = readings.fresh(policy)
    if age > allowed:
        reason = f"the last sample of pod {pod} is {_span(age)} old; {_span(allowed)} are allowed"
        yield Doubt(code=Code.STALE, reason=reason)
    elif age < -policy.max_clock_skew:
        yield Doubt(code=Code.STALE, reason=f"the last sample of pod {pod} is {_span(-age)} in the future")


def _measure_doubts(measure: Measure, policy: IdlePolicy) -> Iterator[Doubt]:
    for reading in measure.readings:
        if reading.seen < reading.expected:
            missing = reading.expected - reading.seen
            reason = (
                f"{measure.label} of {reading.subject} has no value at {missing} of {reading.expected} steps "
                f"in {_span(policy.window)}: what it did then is not known"
            )
            yield Doubt(code=Code.GAP if reading.points else Code.MISSING, reason=reason)
        elif reading.owes_recent and reading.recent is None:
            reason = (
                f"{measure.label} of {reading.subject} has no rate of late, so it may have woken since the last step"
            )
            yield Doubt(code=Code.MISSING, reason=reason)
        elif reading.expected and reading.peak is None:
            yield Doubt(code=Code.MISSING, reason=f"{measure.label} of {reading.subject} has no usable value")
    yield from _coverage_doubts(measure, policy)


def _coverage_doubts(measure: Measure, policy: IdlePolicy) -> Iterator[Doubt]:
    share = coverage(measure.readings)
    if share is None and measure.readings:
        yield Doubt(code=Code.NO_PODS, reason=f"no pod of it was up at any step of the last {_span(policy.window)}")
    elif share is not None and share < policy.min_coverage:
        reason = (
            f"{measure.label} was seen for {share:.0%} of the pods' time in {_span(policy.window)} (start-up counts as "
            f"not seen); {policy.min_coverage:.0%} are needed"
        )
        yield Doubt(code=Code.COVERAGE, reason=reason)


# --- words


def _span(length: timedelta) -> str:
    seconds = length.total_seconds()
    if seconds >= 120 and seconds % 60 == 0:
        return f"{seconds / 60:g} min"
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.1f} min"
