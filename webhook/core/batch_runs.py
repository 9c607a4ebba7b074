"""What is seen of a CronJob's runs, and what the book remembers of them.

Runs are taken from the Job objects of the API server, their CPU from Prometheus while it still
has it, and kept in the book: a CronJob keeps three Jobs, and Prometheus forgets. A Job may also
be gone before anybody looked, or before its end was seen. Such a run is remembered from the
CronJob's own status, or from what was seen while it was under way.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from webhook.core import spotpool
from webhook.core.census import Census, ControllerFact, CronStatus, PodFact
from webhook.core.model import BatchRun, CapacityType, Value, WorkloadKey
from webhook.core.owners import cron_job_of
from webhook.core.policy import IdlePolicy, Policy
from webhook.core.readings import good
from webhook.core.usage import PodUsage, UsageSweep

KIND = "CronJob"
KEPT = 10
"""Runs a workload: more than any sensible ``min_runs``, and small in the book."""
_AGE_STEP = 60.0
"""Seconds; the age of a run under way is remembered at 1, 2, 4, 8, ... of these, so that it is seldom written."""


class EndedRun(Value, frozen=True):
    """A run that ended. ``created_at`` is its Job's, by which it is known again as the one that was under way."""

    run: BatchRun
    created_at: datetime | None = None


class Look(Value, frozen=True):
    """What one census and one sweep tell of a CronJob's runs.

    ``under_way`` are Jobs that have not ended, since their creation and with their exact age. ``due`` are runs that the
    CronJob says it started, whether or not their Jobs were seen. ``hidden`` are Jobs that it calls active and the census
    has not. ``schedule`` is the CronJob's own status, None where it was not read; ``unread`` the kinds that were not.
    """

    ended: tuple[EndedRun, ...] = ()
    under_way: tuple[BatchRun, ...] = ()
    due: tuple[BatchRun, ...] = ()
    hidden: tuple[str, ...] = ()
    schedule: CronStatus | None = None
    unread: tuple[str, ...] = ()


def looks(
    census: Census,
    sweep: UsageSweep | None,
    policies: Mapping[WorkloadKey, IdlePolicy],
    *,
    policy: Policy,
    now: datetime,
) -> dict[WorkloadKey, Look]:
    """What is seen of each CronJob of ``policies``. Without a ``sweep`` no run's CPU is known."""
    pods: defaultdict[tuple[str, str], list[PodFact]] = defaultdict(list)
    for pod in census.pods:
        if pod.controller and pod.controller.kind == "Job":
            pods[pod.namespace, pod.controller.name].append(pod)
    used = _used(sweep)
    nodes = {n.name: spotpool.classify(n.labels, policy=policy).capacity_type for n in census.nodes}
    cron_jobs = {_key(c.namespace, c.name): c for c in census.controllers if c.kind == KIND}
    jobs: defaultdict[WorkloadKey, list[ControllerFact]] = defaultdict(list)
    for job in census.controllers:
        if job.kind == "Job" and job.controller and job.controller.kind == KIND:
            key = _key(job.namespace, job.controller.name)
            # Jobs of a predecessor under this name may outlive it for a while.
            if key not in cron_jobs or job.controller.uid in ("", cron_jobs[key].uid):
                jobs[key].append(job)
    unread = tuple(kind for kind in ("Job", KIND) if kind in census.missing)
    found = {}
    for key, idle in policies.items():
        ended, under_way = [], []
        for job in jobs[key]:
            mine, seen = pods[job.namespace, job.name], used.get((job.namespace, job.name), {})
            if job.run:
                # While kube-state-metrics was away, nobody knows for how long a pod ran, nor so what was seen of it.
                since = sweep.evaluated_at - idle.window if sweep and not sweep.untold_steps else None
                ended.append(_ended(job, mine, nodes, cpu_seconds=_whole(job, mine, seen, since)))
            elif job.created_at:
                under_way.append(_under_way(job, mine, nodes, cpu_seconds=_at_least(seen), now=now))
        schedule = cron_jobs[key].schedule if key in cron_jobs else None
        names = {job.name for job in jobs[key]}
        found[key] = Look(
            ended=tuple(ended),
            under_way=tuple(under_way),
            due=_due(key, schedule),
            hidden=tuple(name for name in (schedule.active if schedule else ()) if name not in names),
            schedule=schedule,
            unread=unread,
        )
    return found


def remembered(before: Iterable[BatchRun], look: Look, *, clock_is_sure: bool = True) -> tuple[BatchRun, ...]:
    """The last runs, by their end and the latest first; what was once seen of a run stays known.

    A run under way is remembered as one whose end was not seen, until that is seen. Where our clock is in doubt, no run
    grows older, and none is given CPU, for nobody knows what the look-back held.
    """
    known = {(run.job, run.started_at): run for run in before}
    for seen in look.ended:
        run = seen.run if clock_is_sure else msgspec.structs.replace(seen.run, cpu_seconds=None)
        for old in _earlier_looks(known, run.job, seen.created_at):
            run = _merged(known.pop(old), run)
        named = (run.job, run.started_at)
        known[named] = _merged(known[named], run) if named in known else run
    for exact in look.under_way:
        run = _coarse(exact, aged=clock_is_sure)
        for old in _earlier_looks(known, run.job, run.started_at):
            run = _merged(known.pop(old), run)
        known.setdefault((run.job, run.started_at), run)
    names = {run.job for run in known.values()}
    known |= {(run.job, run.started_at): run for run in look.due if run.job not in names}
    return tuple(sorted(known.values(), key=lambda run: (until(run), run.started_at, run.job), reverse=True)[:KEPT])


def until(run: BatchRun) -> datetime:
    """When it ended. A run whose end was not seen was under way for less than twice the age that is remembered."""
    return run.started_at + timedelta(seconds=run.seconds if run.ended else max(2 * run.seconds, _AGE_STEP))


# --- from Jobs to runs


def _key(namespace: str, name: str) -> WorkloadKey:
    return WorkloadKey(namespace=namespace, kind=KIND, name=name)


def _ended(
    job: ControllerFact, pods: list[PodFact], nodes: Mapping[str, CapacityType], *, cpu_seconds: float | None
) -> EndedRun:
    run = job.run
    if run is None:
        raise ValueError(f"{job.name} has not ended")
    found = BatchRun(
        job=job.name,
        started_at=run.started_at,
        seconds=max(0.0, (run.ended_at - run.started_at).total_seconds()),
        succeeded=run.succeeded,
        cpu_seconds=cpu_seconds,
        on_spot=_on_spot(pods, nodes),
    )
    return EndedRun(run=found, created_at=job.created_at)


def _under_way(
    job: ControllerFact,
    pods: list[PodFact],
    nodes: Mapping[str, CapacityType],
    *,
    cpu_seconds: float | None,
    now: datetime,
) -> BatchRun:
    if job.created_at is None:
        raise ValueError(f"nobody knows since when {job.name} is there")
    return BatchRun(
        job=job.name,
        started_at=job.created_at,
        seconds=max(0.0, (now - job.created_at).total_seconds()),
        succeeded=False,
        ended=False,
        cpu_seconds=cpu_seconds,
        on_spot=_on_spot(pods, nodes),
    )


def _due(key: WorkloadKey, schedule: CronStatus | None) -> tuple[BatchRun, ...]:
    """Runs that were started by the CronJob's own word, of which nothing else is known here.

    The CronJob controller names a Job by the minute of its schedule. So a Job that somebody made by hand is never taken
    for the one that was due, however shortly after it came.
    """
    if schedule is None:
        return ()
    names = [name for name in schedule.active if cron_job_of(name) == key.name]
    if schedule.last_schedule_at is not None:
        names.append(f"{key.name}-{int(schedule.last_schedule_at.timestamp()) // 60}")
    return tuple(
        BatchRun(job=name, started_at=at, seconds=0.0, succeeded=False, ended=False)
        for name in dict.fromkeys(names)
        if (at := _stamp(name)) is not None
    )


def _stamp(job: str) -> datetime | None:
    """The minute of the schedule that a Job is named by."""
    minutes = job.rpartition("-")[2]
    return datetime.fromtimestamp(int(minutes) * 60, tz=UTC) if cron_job_of(job) else None


def _on_spot(pods: list[PodFact], nodes: Mapping[str, CapacityType]) -> bool | None:
    classes = {nodes.get(pod.node_name) for pod in pods}
    if CapacityType.SPOT in classes:
        return True
    return False if classes and None not in classes else None


def _used(sweep: UsageSweep | None) -> dict[tuple[str, str], dict[str, PodUsage]]:
    """By Job, then by pod, as kube-state-metrics names the owner."""
    found: defaultdict[tuple[str, str], dict[str, PodUsage]] = defaultdict(dict)
    for pod in sweep.pods if sweep else ():
        if pod.controller and pod.controller.kind == "Job":
            found[pod.namespace, pod.controller.name][pod.name] = pod
    return dict(found)


def _whole(
    job: ControllerFact, pods: Iterable[PodFact], used: Mapping[str, PodUsage], since: datetime | None
) -> float | None:
    """Of all pods that either side knows; None where one of them was not seen whole, or the Job counts more than are known.

    Also None for a Job that is older than ``since``, where the look-back of the sweep begins: a container that ended
    before has no series in it any more, and a sum without it would make a large run small.
    """
    if job.run is None or since is None or min(job.created_at or job.run.started_at, job.run.started_at) < since:
        return None
    names = used.keys() | {pod.name for pod in pods}
    values = [_seen_whole(used[name]) if name in used else None for name in names]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) >= job.run.pods > 0 else None


def _seen_whole(pod: PodUsage) -> float | None:
    """CPU-seconds, where it was scraped at all but one of the steps for which it ran.

    A counter keeps its last value: one of a run's first minute would stand for all that came after. The one step that
    may be missing, because scrapes do not wait for the end, is taken to have been like the others.
    """
    seen, owed, used = pod.cpu_seen_points, pod.running_points, good(pod.cpu_seconds)
    if used is None or pod.restarts or seen < max(1, owed - 1):
        return None
    return used * max(1.0, owed / seen)


def _at_least(used: Mapping[str, PodUsage]) -> float | None:
    known = [value for pod in used.values() if (value := good(pod.cpu_seconds)) is not None]
    return sum(known) if known else None


# --- memory


def _earlier_looks(
    known: Mapping[tuple[str, datetime], BatchRun], job: str, created_at: datetime | None
) -> list[tuple[str, datetime]]:
    """What is remembered of this Job from before its end: while it was under way, or that it was due.

    Another Job of this name, made and deleted earlier, is another run.
    """
    moments = (created_at, _stamp(job))
    return [name for name, run in known.items() if not run.ended and name[0] == job and name[1] in moments]


def _coarse(run: BatchRun, *, aged: bool) -> BatchRun:
    """At least so much, in steps that double: a run of a day is written a dozen times, not every minute."""
    return msgspec.structs.replace(
        run,
        seconds=_step(run.seconds, _AGE_STEP) if aged else 0.0,
        cpu_seconds=None if run.cpu_seconds is None or not aged else _step(run.cpu_seconds, 1.0),
    )


def _step(amount: float, first: float) -> float:
    """The largest of ``first`` times 1, 2, 4, 8, ... that is not above the amount; zero where none is."""
    step = 0.0
    while (following := max(first, 2 * step)) <= amount < float("inf"):
        step = following
    return step


def _merged(before: BatchRun, now: BatchRun) -> BatchRun:
    """A counter only grows, and pods are deleted: the larger and the known value are the truer ones.

    What was seen before the end is at least so much, and never the whole: with it alone, the CPU stays unknown.
    """
    used = [value for value in (before.cpu_seconds, now.cpu_seconds) if value is not None]
    is_partial = now.ended and not before.ended and now.cpu_seconds is None
    return msgspec.structs.replace(
        now,
        seconds=now.seconds if now.ended else max(before.seconds, now.seconds),
        cpu_seconds=None if is_partial else max(used, default=None),
        on_spot=True if before.on_spot else before.on_spot if now.on_spot is None else now.on_spot,
    )
