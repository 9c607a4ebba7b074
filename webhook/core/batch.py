"""CronJobs, judged by their past runs for the next one.

A run that sleeps between two schedules shows no series, and one that works is busy by nature;
neither says whether the next may be interrupted. What an interruption costs does: one run done
again. So the next run goes to spot when the last few were all small (in time and in CPU) and
successful, and stays on regular nodes as soon as one was not, or failed on spot.

A run whose end nobody saw is no small one: it leaves the CronJob unknown until enough later
runs were seen to their end.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from webhook.core.batch_runs import Look, until
from webhook.core.census import CronStatus
from webhook.core.idleness import Code, Doubt, Judgement
from webhook.core.model import BatchRun, Evidence
from webhook.core.policy import BatchPolicy, IdlePolicy

_SLACK = timedelta(minutes=1)
"""Between the end of a Job and what its CronJob calls the time of its success."""


def judge(runs: Iterable[BatchRun], look: Look, policy: IdlePolicy, *, now: datetime) -> Judgement:
    """Evidence for the next run. ``runs`` are what ``remembered`` gives for this ``look``."""
    runs = tuple(runs)
    return msgspec.structs.replace(_judged(runs, look, policy, now=now), runs=runs)


def _judged(runs: tuple[BatchRun, ...], look: Look, policy: IdlePolicy, *, now: datetime) -> Judgement:
    batch, factor = policy.batch, policy.leave_factor
    if look.unread:
        return _unknown(Code.UNREAD, f"{' and '.join(look.unread)} cannot be read, so nobody saw its last runs")
    # By its time alone: a run's first minutes have no CPU yet, and must neither hide a large run nor wait for a sample.
    limit = batch.max_duration.total_seconds() * factor
    if long := next((run for run in look.under_way if run.seconds > limit), None):
        return _active(f"run {long.job} is under way for {long.seconds:.0f} s; large from {_limits(batch, factor)}")
    working = {(run.job, run.started_at) for run in look.under_way}
    recent = [r for r in runs if now - until(r) <= batch.window and (r.ended or (r.job, r.started_at) not in working)]
    last = recent[: batch.min_runs]
    if costly := next((why for run in last if (why := _why_costly(run, batch, factor))), ""):
        return _active(costly)
    if doubt := _doubt(recent, look, batch, now=now):
        return _unknown(doubt.code, doubt.reason)
    if odd := next((run for run in last if not run.succeeded or _is_large(run, batch, 1.0)), None):
        why = "failed" if not odd.succeeded else f"took {_of(odd)}; small up to {_limits(batch, 1.0)}"
        reason = f"neither small nor large: run {odd.job} {why}"
        return Judgement(evidence=Evidence.UNKNOWN, reason=reason, code=Code.BETWEEN, measured=True)
    reason = f"its last {batch.min_runs} runs were small and succeeded: at most {_largest(last)}"
    return Judgement(evidence=Evidence.IDLE, reason=reason, code=Code.IDLE, measured=True)


def _doubt(recent: list[BatchRun], look: Look, batch: BatchPolicy, *, now: datetime) -> Doubt | None:
    """What nobody saw of the last runs."""
    last = recent[: batch.min_runs]
    if unseen := _unseen(last, look):
        return Doubt(code=Code.UNSEEN, reason=unseen)
    if len(last) < batch.min_runs:
        reason = f"{len(last)} runs ended in {_days(batch)}; {batch.min_runs} are needed"
        return Doubt(code=Code.NO_PODS, reason=reason)
    if untold := _untold(recent, look.schedule, batch, now=now):
        return Doubt(code=Code.UNSEEN, reason=untold)
    if blind := next((run for run in last if run.cpu_seconds is None), None):
        reason = (
            f"the CPU of run {blind.job} was not seen whole: scrapes failed, a container restarted, "
            "or it began before the look-back"
        )
        return Doubt(code=Code.MISSING, reason=reason)
    return None


def _why_costly(run: BatchRun, batch: BatchPolicy, factor: float) -> str:
    if run.on_spot and run.ended and not run.succeeded:
        return f"run {run.job} failed on spot"
    if _is_large(run, batch, factor):
        limits = _limits(batch, factor)
        return f"run {run.job} took {_of(run)}; large from {limits}, so an interruption would cost much"
    return ""


def _unseen(last: list[BatchRun], look: Look) -> str:
    """A run that the next one may resemble, and whose end nobody saw."""
    if lost := next((run for run in last if not run.ended), None):
        if lost.seconds:
            return f"nobody saw the end of run {lost.job}; it ran for at least {lost.seconds:.0f} s"
        return f"nobody saw run {lost.job}, only that it started"
    return f"run {look.hidden[0]} is under way and cannot be read" if look.hidden else ""


def _untold(recent: list[BatchRun], schedule: CronStatus | None, batch: BatchPolicy, *, now: datetime) -> str:
    """Runs that may have been, by the CronJob's own word.

    One that tells of no schedule has never been scheduled, or its controller keeps no status, and then any number of
    runs may have gone unseen. The two look alike, so neither proves anything. A success that nobody else saw is one of
    a run that somebody started by hand, and whose Job was gone soon after.
    """
    if schedule is None or schedule.last_schedule_at is None:
        return "its schedule is not known, and so not that every run was seen"
    success = schedule.last_success_at
    if success is None or now - success > batch.window:
        return ""
    seen = any(run.ended and run.succeeded and until(run) >= success - _SLACK for run in recent)
    return "" if seen else "nobody saw the run that succeeded last"


def _unknown(code: Code, reason: str) -> Judgement:
    return Judgement(evidence=Evidence.UNKNOWN, reason=reason, code=code)


def _active(reason: str) -> Judgement:
    return Judgement(evidence=Evidence.ACTIVE, reason=reason, code=Code.ACTIVE, measured=True)


def _is_large(run: BatchRun, batch: BatchPolicy, factor: float) -> bool:
    limit = batch.max_duration.total_seconds() * factor
    return run.seconds > limit or (run.cpu_seconds or 0.0) > batch.max_cpu_seconds * factor


def _of(run: BatchRun) -> str:
    cpu = "" if run.cpu_seconds is None else f" and {run.cpu_seconds:.0f} CPU-seconds"
    return f"{run.seconds:.0f} s{cpu}"


def _limits(batch: BatchPolicy, factor: float) -> str:
    return f"{batch.max_duration.total_seconds() * factor:.0f} s or {batch.max_cpu_seconds * factor:.0f} CPU-seconds"


def _largest(runs: Iterable[BatchRun]) -> str:
    runs = tuple(runs)
    return f"{max(r.seconds for r in runs):.0f} s and {max(r.cpu_seconds or 0.0 for r in runs):.0f} CPU-seconds"


def _days(batch: BatchPolicy) -> str:
    return f"{batch.window.total_seconds() / 86400:g} days"
