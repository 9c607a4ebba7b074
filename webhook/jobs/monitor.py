"""One run of the monitor: read, judge, turn sides, write the book, and move what is on the wrong side.

Prometheus in trouble makes every workload unknown; the book is still read, and its heartbeat
still written, because the monitor lives and says so. Sides stay, and evidence runs out by
itself. Such a run did not do its work; the command then fails, and the failed Job is visible
to whatever watches Jobs. An API server that cannot be read or written raises ClusterError: no
verdict may rest on half a census, and nothing was written.

The control object is read again right before it is written: a person's `pause`, which came while
Prometheus was being asked, is not written over. Moves come last, on the book as it is then.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

import msgspec

from webhook.core import batch, batch_runs, inventory, planning, rules, sanity, sides
from webhook.core.book import Book, Control
from webhook.core.census import Census, ControllerFact, PodFact
from webhook.core.idleness import Judgement, clock_doubt, judge, unavailable
from webhook.core.learning import learn
from webhook.core.model import Evidence, Side, Value, Verdict, WorkloadKey
from webhook.core.moves import Finished, Happening
from webhook.core.owners import resolve
from webhook.core.planning import Scene, World
from webhook.core.policy import IdlePolicy, Policy
from webhook.core.readings import shape
from webhook.core.shares import over_share
from webhook.core.usage import UsageSweep, by_workload
from webhook.errors import ClusterConflict, UsageUnavailable
from webhook.jobs.mover import MoverDeps, MoveReport
from webhook.jobs.mover import run as move
from webhook.ports import Clock, ClusterReader, MonitorBook, UsageSource

log = logging.getLogger(__name__)

_NEVER_JUDGED = frozenset({"DaemonSet", "Node"})
"""One pod per node, or the node's own: their place is not ours to choose."""
UNREACHED = frozenset({"unreachable", "deadline", "tls", "auth", "redirect", "busy"})
"""Codes of a usage problem that a self-test would only find again, at the cost of another deadline."""
_TRIES = 5
_LONGEST_RUN = timedelta(seconds=48)
"""A CronJob's run is killed after fifty; where judging takes most of that, moves get the rest."""
_MOST_EVENTS = 100


class Swept(NamedTuple):
    """When a sweep began by our clock, and its answer; one that failed is its error."""

    began: datetime
    answer: UsageSweep | UsageUnavailable


Sweeps = Mapping[IdlePolicy, Swept]
"""By the shape of the policies that each is for."""


class SideChange(Value, frozen=True, omit_defaults=False):
    """A workload that changed sides in this run, and why."""

    workload: str
    before: Side
    after: Side
    reason: str


class MonitorReport(Value, frozen=True, omit_defaults=False):
    """What one run did. ``idle``, ``active`` and ``unknown`` count workloads; ``unknown_reasons`` by ``core.idleness.Code``.

    ``usage_problem`` is empty when Prometheus answered; ``usage_code`` is its code, of a bounded set.
    ``over_max_spot`` counts pods on spot beyond the share, by workload.
    ``alarm`` and its reason say what is wrong with the run as a whole; while there is one, nobody turned to spot.
    ``missing_kinds`` are those the API server did not let us read: their workloads keep what the book says.
    """

    started_at: datetime
    finished_at: datetime
    workloads: int = 0
    idle: int = 0
    active: int = 0
    unknown: int = 0
    unknown_reasons: dict[str, int] = {}
    changes: tuple[SideChange, ...] = ()
    forgotten: tuple[str, ...] = ()
    objects_written: int = 0
    queries: int = 0
    dropped_values: int = 0
    usage_problem: str = ""
    usage_code: str = ""
    over_max_spot: dict[str, int] = {}
    missing_kinds: tuple[str, ...] = ()
    alarm: sanity.Alarm | None = None
    alarm_reason: str = ""
    moves: MoveReport | None = None

    @property
    def did_its_work(self) -> bool:
        """Whether workloads were judged on what Prometheus said, which may be nothing, and moves went as far as they could."""
        return not self.usage_problem and not (self.moves and self.moves.problem)


def run_once(  # noqa: PLR0913 - the four ports, the policy and the clock
    cluster: ClusterReader,
    usage: UsageSource,
    book: MonitorBook,
    policy: Policy,
    clock: Clock,
    *,
    mover: MoverDeps | None = None,
    dry_run: bool = False,
) -> MonitorReport:
    """Judge every workload once, write the book, and move by ``mover``, if there is one. Raises ClusterError.

    Where the policy lets nothing be moved any more, what is under way by the book is still finished or undone. A dry run
    decides the same and writes nothing.
    """
    ends_by = clock() + _LONGEST_RUN
    report, world, before = _judge_once(cluster, usage, book, policy, clock, dry_run=dry_run)
    if mover is None or not (rules.may_move(policy) or before.moves or world.control.moves):
        return report
    if rules.may_move(policy) and not dry_run:
        _tell_changes(report, world.scene, mover)
        _tell_freezes(before, world, mover)
    return msgspec.structs.replace(report, moves=move(mover, world, dry_run=dry_run, ends_by=ends_by))


def _judge_once(  # noqa: PLR0913 - as above
    cluster: ClusterReader, usage: UsageSource, book: MonitorBook, policy: Policy, clock: Clock, *, dry_run: bool
) -> tuple[MonitorReport, World, Control]:
    """What was judged, the world to move in, and the control object of before.

    In a dry run that world's control object has what this run found out, and nothing else.
    """
    census, old = cluster.census(), book.read()
    now = clock()
    sweeps = sweep_all(usage, policy, clock)
    judgements = judge_all(census, sweeps, old, policy=policy)
    tally = sanity.tally(judgements.values())
    whole_run = sanity.examine(old.control.sanity, tally, now=now, patience=policy.idle.window)
    new, forgotten = rewrite(old, judgements, census=census, policy=policy, now=now, frozen=whole_run.alarm is not None)
    finished = clock()
    scene = Scene(census, inventory.build(census, new, policy))
    written, control = 0, Control(heartbeat=finished, sanity=whole_run)
    if not dry_run:
        written = book.write(old, new) + 1
        control = _beat(book, scene, whole_run, finished)
    seen = Counter(judgement.evidence for judgement in judgements.values())
    answers = [swept.answer for swept in sweeps.values()]
    whole = [answer for answer in answers if isinstance(answer, UsageSweep)]
    trouble = next((answer for answer in answers if isinstance(answer, UsageUnavailable)), None)
    report = MonitorReport(
        started_at=now,
        finished_at=finished,
        workloads=len(judgements),
        idle=seen[Evidence.IDLE],
        active=seen[Evidence.ACTIVE],
        unknown=seen[Evidence.UNKNOWN],
        unknown_reasons=_unknown_reasons(judgements.values()),
        changes=tuple(_changes(old, new)),
        forgotten=forgotten,
        objects_written=written,
        queries=sum(sweep.queries for sweep in whole),
        dropped_values=sum(sweep.dropped for sweep in whole),
        usage_problem=str(trouble or ""),
        usage_code=trouble.code if trouble else "",
        over_max_spot={str(key): n for key, n in over_share(scene.snapshot).items()},
        missing_kinds=census.missing,
        alarm=whole_run.alarm,
        alarm_reason=whole_run.reason,
    )
    _tell(report)
    return report, World(scene=scene, control=control, now=finished), old.control


def _beat(book: MonitorBook, scene: Scene, whole_run: sanity.Sanity, now: datetime) -> Control:
    """Write what the control object learns from this run over whatever it says by now.

    Raises ClusterConflict where others write faster than we read.
    """
    for _ in range(_TRIES - 1):
        with suppress(ClusterConflict):
            return _beat_once(book, scene, whole_run, now)
    return _beat_once(book, scene, whole_run, now)


def _beat_once(book: MonitorBook, scene: Scene, whole_run: sanity.Sanity, now: datetime) -> Control:
    heard = msgspec.structs.replace(book.control(), heartbeat=now, sanity=whole_run)
    after = planning.refreshed(World(scene=scene, control=heard, now=now))
    book.swap(after)
    return after


def _tell_freezes(before: Control, world: World, mover: MoverDeps) -> None:
    """Events on the workloads that would move to spot, once when a freeze begins and once when none is left."""
    if bool(before.frozen) == bool(world.control.frozen):
        return
    if world.control.frozen:
        reason, note = "MovesFrozen", f"nothing moves to spot: {'; '.join(world.freezes)}"
    else:
        reason, note = "MovesUnfrozen", "workloads may move to spot again, one after the other"
    for workload in islice(planning.frozen_workloads(world), _MOST_EVENTS):
        happening = Happening(workload.key, workload.uid, workload.api_version, reason, note, world.now)
        mover.recorder.record(happening)


def _tell_changes(report: MonitorReport, scene: Scene, mover: MoverDeps) -> None:
    """Events on the workloads that turned; of very many the first, for the log has all of them."""
    for change in report.changes[:_MOST_EVENTS]:
        workload = scene.snapshot.workloads.get(WorkloadKey.parse(change.workload))
        if workload is not None:
            note = f"its side turned from {change.before} to {change.after}: {change.reason}"
            reason = "SideTurned"
            happening = Happening(workload.key, workload.uid, workload.api_version, reason, note, report.finished_at)
            mover.recorder.record(happening)


def sweep_all(usage: UsageSource, policy: Policy, clock: Clock) -> Sweeps:
    """One sweep for each set of windows and signals that the configuration names, whether or not a workload needs it.

    So the number of queries follows from the configuration alone.
    """
    found: dict[IdlePolicy, Swept] = {}
    for idle in (policy.idle, *(rule.idle for rule in policy.rules if rule.idle)):
        if (asked := shape(idle)) not in found:
            began = clock()
            try:
                found[asked] = Swept(began, usage.sweep(asked))
            except UsageUnavailable as exc:
                found[asked] = Swept(began, exc)
    return found


def judge_all(census: Census, sweeps: Sweeps, book: Book, *, policy: Policy) -> dict[WorkloadKey, Judgement]:
    """The judgement of every workload of the census, on the sweep that its rule asks for.

    Where that sweep failed it is unknown, and says why.
    """
    known = {pod: key for pod, key in resolve(census).items() if key.kind not in _NEVER_JUDGED}
    policies = _policies(census, known.values(), policy)
    judged: dict[WorkloadKey, Judgement] = {}
    for asked, swept in sweeps.items():
        mine = {key: idle for key, idle in policies.items() if shape(idle) == asked}
        if isinstance(swept.answer, UsageUnavailable):
            judged |= dict.fromkeys(mine, unavailable(str(swept.answer)))
        else:
            owners = {pod: key for pod, key in known.items() if key in mine}
            usages = by_workload(census, swept.answer, owners=owners, everyone=policies)
            judged |= {key: judge(found, mine[key], now=swept.began) for key, found in usages.items()}
        judged |= _judge_batch(census, swept, mine, book, policy)
    return {key: judged[key] for key in policies}


def _judge_batch(
    census: Census, swept: Swept, mine: Mapping[WorkloadKey, IdlePolicy], book: Book, policy: Policy
) -> dict[WorkloadKey, Judgement]:
    """CronJobs, by the runs that the book remembers and those that are seen now.

    Without Prometheus, or with a clock that is off, nothing is proven; runs that come and go meanwhile are remembered.
    """
    sweep = None if isinstance(swept.answer, UsageUnavailable) else swept.answer
    uids, judged = _uids(census), {}
    asked = {key: idle for key, idle in mine.items() if key.kind == batch_runs.KIND}
    for key, look in batch_runs.looks(census, sweep, asked, policy=policy, now=swept.began).items():
        before = book.verdicts.get(str(key))
        past = before.runs if before and before.uid == uids.get(key, "") else ()
        if isinstance(swept.answer, UsageUnavailable):
            blind = unavailable(str(swept.answer))
        elif doubt := clock_doubt(
            swept.answer.evaluated_at, swept.answer.answered_at, policy=mine[key], now=swept.began
        ):
            blind = Judgement(evidence=Evidence.UNKNOWN, reason=doubt.reason, code=doubt.code)
        else:
            judged[key] = batch.judge(batch_runs.remembered(past, look), look, mine[key], now=swept.began)
            continue
        judged[key] = msgspec.structs.replace(blind, runs=batch_runs.remembered(past, look, clock_is_sure=False))
    return judged


def _policies(census: Census, keys: Iterable[WorkloadKey], policy: Policy) -> dict[WorkloadKey, IdlePolicy]:
    """What counts as idle for each workload; who is left out is not judged, because nobody knows which rule is for it."""
    labels = {(c.namespace, c.kind, c.name): c.labels for c in census.controllers}
    namespaces = {namespace.name: namespace.labels for namespace in census.namespaces}
    policies = {}
    for key in sorted(set(keys)):
        own, around = labels.get((key.namespace, key.kind, key.name), {}), namespaces.get(key.namespace)
        if around is not None or not inventory.is_undecided(policy, key, labels=own):
            rule = rules.first(policy, key, labels=own, namespace_labels=around or {})
            policies[key] = rules.idle_policy(policy, rule)
    return policies


def rewrite(  # noqa: PLR0913 - the whole of what a book may depend on, by name
    old: Book,
    judgements: Mapping[WorkloadKey, Judgement],
    *,
    census: Census,
    policy: Policy,
    now: datetime,
    frozen: bool = False,
) -> tuple[Book, tuple[str, ...]]:
    """The book after this run, and whom it forgot: owners gone for longer than evidence lives.

    ``frozen``: nobody turns to spot.
    """
    uids = _uids(census)
    verdicts = {
        str(key): sides.advance(
            old.verdicts.get(str(key)),
            judgement,
            key=key,
            uid=uids.get(key, ""),
            policy=policy.sides,
            now=now,
            frozen=frozen,
        )
        for key, judgement in judgements.items()
    }
    verdicts |= _taught(verdicts, old.control.finished, policy)
    absent = {name: verdict for name, verdict in old.verdicts.items() if name not in verdicts}
    forgotten = {name for name, verdict in absent.items() if _is_over(verdict, census, policy=policy, now=now)}
    kept = {name: verdict for name, verdict in absent.items() if name not in forgotten}
    return msgspec.structs.replace(old, verdicts=verdicts | kept), tuple(sorted(forgotten))


def _taught(verdicts: Mapping[str, Verdict], finished: Iterable[Finished], policy: Policy) -> dict[str, Verdict]:
    """The verdicts of those whose moves have ended since, with what these taught."""
    ended: defaultdict[str, list[Finished]] = defaultdict(list)
    for one in finished:
        ended[str(one.workload)].append(one)
    found = {}
    for name, moves in ended.items():
        verdict = verdicts.get(name)
        mine = [one for one in moves if verdict and one.uid == verdict.uid]
        if verdict and mine:
            found[name] = msgspec.structs.replace(verdict, memory=learn(verdict.memory, mine, policy.moves))
    return found


def _is_over(verdict: Verdict, census: Census, *, policy: Policy, now: datetime) -> bool:
    """Gone, and not merely hidden by a right that is missing."""
    if verdict.key.kind in census.missing or verdict.key.kind.lower() in _plurals(census.missing):
        return False
    return verdict.judged_at is None or abs(now - verdict.judged_at) > policy.sides.evidence_ttl


def _plurals(kinds: Iterable[str]) -> set[str]:
    return {kind.lower().removesuffix("s") for kind in kinds}


def _uids(census: Census) -> dict[WorkloadKey, str]:
    """UIDs by workload, also of owners that are known only from the references of what they own."""
    found: dict[WorkloadKey, str] = {}
    children: list[PodFact | ControllerFact] = [*census.pods, *census.controllers]
    for child in children:
        if child.controller:
            owner = child.controller
            found[WorkloadKey(namespace=child.namespace, kind=owner.kind, name=owner.name)] = owner.uid
    return found | {WorkloadKey(namespace=c.namespace, kind=c.kind, name=c.name): c.uid for c in census.controllers}


def _unknown_reasons(judgements: Iterable[Judgement]) -> dict[str, int]:
    return dict(Counter(j.code.value for j in judgements if j.evidence is Evidence.UNKNOWN))


def _changes(old: Book, new: Book) -> Iterable[SideChange]:
    for name, verdict in new.verdicts.items():
        before = old.verdicts[name].side if name in old.verdicts else Side.REGULAR
        if before is not verdict.side:
            yield SideChange(workload=name, before=before, after=verdict.side, reason=verdict.reason)


def _tell(report: MonitorReport) -> None:
    for change in report.changes:
        fields = {"workload": change.workload, "before": change.before.value, "after": change.after.value}
        log.info("side changed", extra=fields | {"reason": change.reason})
    if report.alarm:
        log.warning("nobody turns to spot", extra={"alarm": report.alarm.value, "reason": report.alarm_reason})
    if report.usage_problem:
        log.warning("no usage", extra={"code": report.usage_code, "reason": report.usage_problem})
