"""CronJobs, judged by their past runs for the next one.

A run that sleeps between two schedules shows no series, and one that works is busy by nature;
neither says whether the next may be interrupted. What an interruption costs does: one run done
again. So the next run goes to spot when the last few were all small (in time and in CPU) and
successful, and stays on regular nodes as soon as one was not, or failed on spot.

Runs are taken from the Job objects of the API server, their CPU from Prometheus while it still
has it, and kept in the book: a CronJob keeps three Jobs, and Prometheus forgets.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from webhook.core import spotpool
from webhook.core.census import Census, ControllerFact, PodFact
from webhook.core.idleness import Code, Judgement
from webhook.core.model import BatchRun, CapacityType, Evidence, WorkloadKey
from webhook.core.policy import BatchPolicy, IdlePolicy, Policy
from webhook.core.readings import good
from webhook.core.usage import UsageSweep

KIND = "CronJob"
KEPT = 10
"""Runs a workload: more than any sensible ``min_runs``, and small in the book."""

Runs = Mapping[WorkloadKey, tuple[BatchRun, ...]]


def ended_runs(census: Census, sweep: UsageSweep, policy: Policy) -> dict[WorkloadKey, tuple[BatchRun, ...]]:
    """Every ended Job that a CronJob owns, by that CronJob."""
    pods: defaultdict[tuple[str, str], list[PodFact]] = defaultdict(list)
    for pod in census.pods:
        if pod.controller and pod.controller.kind == "Job":
            pods[pod.namespace, pod.controller.name].append(pod)
    used = _cpu_seconds(sweep)
    nodes = {n.name: spotpool.classify(n.labels, policy=policy).capacity_type for n in census.nodes}
    found: defaultdict[WorkloadKey, list[BatchRun]] = defaultdict(list)
    for job in census.controllers:
        if job.kind == "Job" and job.run and job.controller and job.controller.kind == KIND:
            key = WorkloadKey(namespace=job.namespace, kind=KIND, name=job.controller.name)
            names = {pod.name for pod in pods[job.namespace, job.name]}
            seconds = _sum(used.get((job.namespace, job.name), {}), names)
            found[key].append(_run(job, pods[job.namespace, job.name], nodes, cpu_seconds=seconds))
    return {key: tuple(runs) for key, runs in found.items()}


def remembered(before: Iterable[BatchRun], ended: Iterable[BatchRun]) -> tuple[BatchRun, ...]:
    """The last runs, the youngest first; what was once seen of a run stays known."""
    known = {(run.job, run.started_at): run for run in before}
    for run in ended:
        named = (run.job, run.started_at)
        known[named] = _merged(known[named], run) if named in known else run
    return tuple(sorted(known.values(), key=lambda run: (run.started_at, run.job), reverse=True)[:KEPT])


def under_way(census: Census) -> dict[WorkloadKey, datetime]:
    """Since when the eldest run that has not ended is under way, by CronJob."""
    found: dict[WorkloadKey, datetime] = {}
    for job in census.controllers:
        if job.kind == "Job" and not job.run and job.created_at and job.controller and job.controller.kind == KIND:
            key = WorkloadKey(namespace=job.namespace, kind=KIND, name=job.controller.name)
            found[key] = min(found.get(key, job.created_at), job.created_at)
    return found


def judge(
    runs: Iterable[BatchRun], policy: IdlePolicy, *, now: datetime, running_since: datetime | None = None
) -> Judgement:
    """Evidence for the next run. ``runs`` the youngest first, as ``remembered`` gives them."""
    runs = tuple(runs)
    return msgspec.structs.replace(_judged(runs, policy, now=now, running_since=running_since), runs=runs)


def _judged(
    runs: tuple[BatchRun, ...], policy: IdlePolicy, *, now: datetime, running_since: datetime | None
) -> Judgement:
    batch, factor = policy.batch, policy.leave_factor
    if running_since is not None and now - running_since > batch.max_duration * factor:
        return _active(f"a run is under way for {(now - running_since).total_seconds():.0f} s")
    recent = [run for run in runs if now - run.started_at <= batch.window]
    last = recent[: batch.min_runs]
    if costly := next((why for run in last if (why := _why_costly(run, batch, factor))), ""):
        return _active(costly)
    if len(last) < batch.min_runs:
        return _unknown(Code.NO_PODS, f"{len(last)} runs ended in {_days(batch)}; {batch.min_runs} are needed")
    if unseen := next((run for run in last if run.cpu_seconds is None), None):
        return _unknown(
            Code.MISSING, f"nobody saw the CPU of run {unseen.job}; Prometheus must scrape it at least once"
        )
    if odd := next((run for run in last if not run.succeeded or _is_large(run, batch, 1.0)), None):
        why = "failed" if not odd.succeeded else f"took {_of(odd)}; small up to {_limits(batch, 1.0)}"
        reason = f"neither small nor large: run {odd.job} {why}"
        return Judgement(evidence=Evidence.UNKNOWN, reason=reason, code=Code.BETWEEN, measured=True)
    reason = f"its last {batch.min_runs} runs were small and succeeded: at most {_largest(last)}"
    return Judgement(evidence=Evidence.IDLE, reason=reason, code=Code.IDLE, measured=True)


def _why_costly(run: BatchRun, batch: BatchPolicy, factor: float) -> str:
    if run.on_spot and not run.succeeded:
        return f"run {run.job} failed on spot"
    if _is_large(run, batch, factor):
        limits = _limits(batch, factor)
        return f"run {run.job} took {_of(run)}; large from {limits}, so an interruption would cost much"
    return ""


def _unknown(code: Code, reason: str) -> Judgement:
    return Judgement(evidence=Evidence.UNKNOWN, reason=reason, code=code)


def _active(reason: str) -> Judgement:
    return Judgement(evidence=Evidence.ACTIVE, reason=reason, code=Code.ACTIVE, measured=True)


def _is_large(run: BatchRun, batch: BatchPolicy, factor: float) -> bool:
    limit = batch.max_duration.total_seconds() * factor
    return run.seconds > limit or (run.cpu_seconds or 0.0) > batch.max_cpu_seconds * factor


def _run(
    job: ControllerFact, pods: list[PodFact], nodes: Mapping[str, CapacityType], *, cpu_seconds: float | None
) -> BatchRun:
    run = job.run
    if run is None:
        raise ValueError(f"{job.name} has not ended")
    classes = {nodes.get(pod.node_name) for pod in pods}
    on_spot = CapacityType.SPOT in classes if classes and None not in classes else None
    return BatchRun(
        job=job.name,
        started_at=run.started_at,
        seconds=max(0.0, (run.ended_at - run.started_at).total_seconds()),
        succeeded=run.succeeded,
        cpu_seconds=cpu_seconds,
        on_spot=True if CapacityType.SPOT in classes else on_spot,
    )


def _cpu_seconds(sweep: UsageSweep) -> dict[tuple[str, str], dict[str, float | None]]:
    """By Job, then by pod, as kube-state-metrics names the owner."""
    found: defaultdict[tuple[str, str], dict[str, float | None]] = defaultdict(dict)
    for pod in sweep.pods:
        if pod.controller and pod.controller.kind == "Job":
            found[pod.namespace, pod.controller.name][pod.name] = good(pod.cpu_seconds)
    return dict(found)


def _sum(used: Mapping[str, float | None], pods: Iterable[str]) -> float | None:
    """Of all pods that either side knows; None where one of them has no value, or there is none."""
    values = [used.get(name) for name in used.keys() | set(pods)]
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _merged(before: BatchRun, now: BatchRun) -> BatchRun:
    """A counter only grows, and pods are deleted: the larger and the known value are the truer ones."""
    seconds = [value for value in (before.cpu_seconds, now.cpu_seconds) if value is not None]
    return BatchRun(
        job=now.job,
        started_at=now.started_at,
        seconds=now.seconds,
        succeeded=now.succeeded,
        cpu_seconds=max(seconds, default=None),
        on_spot=before.on_spot if now.on_spot is None else now.on_spot,
    )


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
