"""`spot-balancer explain`: side, evidence, who decided, and the patch of the next pod."""

import json
from datetime import datetime
from pathlib import Path

import click
import msgspec

from webhook.cli import render, score
from webhook.cli.common import (
    Access,
    cluster_options,
    config_option,
    find_key,
    given_snapshot,
    is_colourful,
    output_option,
    print_structured,
    printable,
    read_workload,
    rows,
    snapshot_option,
)
from webhook.core import candidates, consent, fairness, rules, scoreview, spotpool
from webhook.core.model import BatchRun, Memory, Signal, Value, Workload, WorkloadKey
from webhook.core.outlook import to_active, to_spot
from webhook.core.patch import Operation
from webhook.core.planning import Consideration, plan
from webhook.core.rehearsal import Rehearsal, rehearse
from webhook.core.sanity import Alarm
from webhook.core.scene import World
from webhook.core.snapshot import Snapshot
from webhook.core.words import ALARMS, MEANING

SIGNALS = ("SIGNAL", "PEAK", "RECENT", "IDLE BELOW", "ACTIVE ABOVE", "WINDOW", "COVERAGE", "SAMPLES", "AGE")
RUNS = ("RUN", "STARTED", "TOOK", "CPU-SECONDS", "ENDED", "ON")


class Explanation(Value, frozen=True, omit_defaults=False):
    """What `-o json` prints; times are those of the snapshot."""

    schema_version: int
    workload: str
    side: str
    since: datetime | None
    transitions: int
    evidence: str
    reason: str
    good_at: datetime | None
    signals: tuple[Signal, ...]
    runs: tuple[BatchRun, ...]
    memory: Memory
    move: Consideration | None
    missing_for_spot: tuple[str, ...]
    missing_for_active: tuple[str, ...]
    judged_at: datetime | None
    replicas: int | None
    pods: int
    pods_on_spot: int
    consent: consent.Consent
    weight: fairness.Weight
    decision: str
    meaning: str
    would: str
    balance: str | None
    patch: list[Operation]
    captured_at: datetime
    book_heartbeat: datetime | None
    alarm: Alarm | None
    source: str


@click.command(
    "explain",
    epilog="Example: spot-balancer explain shop/deployment/nginx-demo --snapshot examples/demo.snapshot.json",
)
@click.argument("workload", metavar="NAMESPACE/KIND/NAME", callback=read_workload)
@snapshot_option
@config_option
@cluster_options
@output_option()
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True)
def command(  # noqa: PLR0913, PLR0917 - one argument an option
    workload: str, snapshot_file: Path | None, config_file: Path | None, output: str, color: str, access: Access
) -> None:
    """Say why a workload is where it is, and what its next pod would get."""
    snapshot = given_snapshot(snapshot_file, access, config_file, with_census=True)
    found = find(workload, snapshot)
    explanation, rehearsal = explain(found, snapshot)
    if output in ("json", "yaml"):
        print_structured(explanation, output)
        return
    colour = is_colourful(color)
    lines = as_text(explanation, rehearsal, colour=colour)
    if output == "wide":
        lines += background(found, snapshot, rehearsal)
    click.echo("\n".join(lines), color=colour)


def find(text: str, snapshot: Snapshot) -> Workload:
    """The workload meant, kind in any case or kubectl's short form. Raises InputError that names the nearest ones."""
    return snapshot.workloads[find_key(text, snapshot.workloads, where="this snapshot")]


def explain(workload: Workload, snapshot: Snapshot) -> tuple[Explanation, Rehearsal]:
    """Gather what is known and rehearse the next pod."""
    meta, verdict = snapshot.meta, workload.verdict
    rehearsal = rehearse(workload, snapshot)
    namespace = snapshot.namespaces.get(workload.key.namespace)
    idle = rules.idle_policy(meta.policy, rules.named(meta.policy, workload.rule))
    return Explanation(
        schema_version=1,
        workload=str(workload.key),
        side=verdict.side.value if verdict else "regular",
        since=verdict.since if verdict else None,
        transitions=verdict.transitions if verdict else 0,
        evidence=verdict.evidence.value if verdict else "unknown",
        reason=verdict.reason if verdict else "the monitor has not judged it yet",
        good_at=verdict.good_at if verdict else None,
        signals=verdict.signals if verdict else (),
        runs=verdict.runs if verdict else (),
        memory=verdict.memory if verdict else Memory(),
        move=considered(workload.key, snapshot),
        missing_for_spot=to_spot(verdict, idle, meta.policy.sides) if verdict else (),
        missing_for_active=to_active(verdict) if verdict else (),
        judged_at=verdict.judged_at if verdict else None,
        replicas=workload.replicas,
        pods=workload.pods,
        pods_on_spot=workload.pods_on_spot,
        consent=consent.resolve(None, workload, namespace, meta.policy),
        weight=fairness.weight_in(meta.policy, namespace) if namespace else fairness.Weight(),
        decision=rehearsal.decision.reason.value,
        meaning=MEANING[rehearsal.decision.reason],
        would=rehearsal.unbridled.reason.value,
        balance=balanced(workload, snapshot),
        patch=rehearsal.operations,
        captured_at=meta.captured_at,
        book_heartbeat=meta.book_heartbeat,
        alarm=meta.alarm,
        source=meta.source,
    ), rehearsal


def considered(key: WorkloadKey, snapshot: Snapshot) -> Consideration | None:
    """What the next run would think of moving it; None where the snapshot was captured without what moves need."""
    world = World.of(snapshot)
    return (
        None
        if world is None
        else next((one for one in plan(world, thorough=True).considered if one.workload == key), None)
    )


def balanced(workload: Workload, snapshot: Snapshot) -> str | None:
    """Which node the extender would prefer for the next pod; None where no load is measured, or it is not scored."""
    names = [node.name for node in snapshot.nodes.values() if node.ready and node.schedulable]
    if snapshot.meta.load_match_rate is None or not names:
        return None
    found = candidates.candidate(*score.next_pod(workload, snapshot), snapshot)
    return None if isinstance(found, candidates.Neutral) else scoreview.view(snapshot, found, names, has_uid=False).why


def as_text(explanation: Explanation, rehearsal: Rehearsal, *, colour: bool) -> list[str]:
    """The page that people read."""
    e, now = explanation, explanation.captured_at
    counts = f"{e.pods} pods, {e.pods_on_spot} on spot" + (f", {e.replicas} wanted" if e.replicas is not None else "")
    since = f", since {e.since:%Y-%m-%d %H:%M}Z ({render.ago(e.since, now)})" if e.since else ""
    freshness = (
        f"last good evidence {render.ago(e.good_at, now)}, last run of the monitor {render.ago(e.book_heartbeat, now)}"
    )
    lines = [
        f"workload   {printable(e.workload)}  ({counts})",
        f"side       {e.side}{since}, {e.transitions} change(s)",
        f"evidence   {e.evidence}: {printable(e.reason)}",
        f"as of      {now:%Y-%m-%d %H:%M:%S}Z; {freshness}",
        *([f"alarm      {e.alarm}: {ALARMS[e.alarm]}; nobody turns to spot until that is over"] if e.alarm else []),
        *_moves(e),
        *([f"rule       {printable(e.consent.rule)}, the first that matches it"] if e.consent.rule else []),
        "",
    ]
    if e.signals:
        lines += [rows(SIGNALS, [render.signal_cells(signal, judged_at=e.judged_at) for signal in e.signals]), ""]
    if e.runs:
        lines += [rows(RUNS, [render.run_cells(run, now) for run in e.runs]), ""]
    if e.signals or e.runs:
        lines += _listed("to go to spot it still needs", e.missing_for_spot)
        lines += _listed("active at once by any of", e.missing_for_active)
    lines += _settings(e.consent, e.weight)
    lines += ["", f"The next pod {e.meaning}. [{e.decision}]"]
    if e.decision == "observe" and e.would != e.decision:
        lines.append(f"With mode: inject, the next pod {MEANING[rehearsal.unbridled.reason]}. [{e.would}]")
    if any(operation["path"] == "/spec/schedulerName" for operation in rehearsal.operations):
        goes = "It would go" if e.decision == "observe" else "It goes"
        lines.append(
            f"{goes} to the scheduler {printable(e.consent.scheduler_name)}, by rule {printable(e.consent.rule)}."
        )
    if e.balance:
        lines.append(f"By measured load {printable(e.balance)}; `spot-balancer score` shows the table.")
    if rehearsal.operations:
        lines += ["", *render.painted(render.pod_diff(rehearsal.before, rehearsal.after), colour=colour)]
    return lines


def background(workload: Workload, snapshot: Snapshot, rehearsal: Rehearsal) -> list[str]:
    """What `-o wide` adds: what stands behind the decision, and the patch as it is sent."""
    fleet, meta = spotpool.fleet(snapshot), snapshot.meta
    sides, verdict = meta.policy.sides, workload.verdict
    controllers = ", ".join(f"{c.kind}/{c.name}" for c in workload.controllers) or "none seen"
    platforms = ", ".join(f"{p.os}/{p.architecture}" for p in workload.ready_platforms) or "none seen"
    pools = ", ".join(pool.name for pool in meta.policy.spot_pools) or "none"
    runs = f"{verdict.idle_runs if verdict else 0} idle in a row, {sides.idle_runs_to_spot} needed"
    facts = {
        "snapshot": meta.source or "-",
        "made with": ", ".join(f"{name} {version}" for name, version in sorted(meta.versions.items())) or "-",
        "controllers": controllers,
        "Ready on": platforms,
        "runs": runs,
        "evidence kept": f"{render.span(sides.evidence_ttl)}; the book {render.span(sides.heartbeat_ttl)}",
        "spot nodes": f"{fleet.destinations} to go to, of {len(snapshot.nodes)} nodes; declared pools: {pools}",
    }
    patch = [json.dumps(msgspec.to_builtins(operation)) for operation in rehearsal.operations]
    return [
        "",
        *(f"{name:<14} {printable(text)}" for name, text in facts.items()),
        *(["", "patch:", *patch] if patch else []),
    ]


def _moves(e: Explanation) -> list[str]:
    """Whether its running pods would be moved now, when that is looked at again, and what its last moves taught."""
    lines = []
    if e.move:
        again = "the monitor's next run" if e.move.until is None else f"in {render.span(e.move.until - e.captured_at)}"
        lines = [f"moves      {e.move.code}: {printable(e.move.reason)}", f"next check {again}"]
    if e.memory.last_outcome:
        misses = f"{e.memory.misses} in a row came to nothing" if e.memory.misses else "none in a row came to nothing"
        lines.append(f"last move  {e.memory.last_outcome}; {misses}")
    return lines


def _listed(heading: str, items: tuple[str, ...]) -> list[str]:
    return [f"{heading}:", *(f"  - {printable(item)}" for item in items), ""] if items else []


def _settings(settled: consent.Consent, weight: fairness.Weight) -> list[str]:
    def by(level: consent.Level) -> str:
        return f"rule {settled.rule}" if level is consent.Level.RULE else level.value

    table = [
        ("mode", settled.mode.value, by(settled.mode_from)),
        ("spot", settled.spot.value, by(settled.spot_from)),
        ("placement", settled.placement.value, by(settled.placement_from)),
        ("max-spot", settled.max_spot, by(settled.max_spot_from)),
        ("moves", ", ".join(settled.moves) or "none", by(settled.moves_from)),
        ("weight", f"{weight.value:g}", weight.said_by),
        *([("scheduler", settled.scheduler_name, by(consent.Level.RULE))] if settled.scheduler_name else []),
    ]
    lines = [rows(("SETTING", "VALUE", "DECIDED BY"), table)]
    if not settled.handled:
        lines.append("kind: not among `kinds`, and no rule or annotation spot-balancer.io/spot asks for it")
    passed_over = [f"namespace annotation {weight.note}"] if weight.note else []
    return lines + [f"note: {printable(note)}" for note in (*settled.notes, *passed_over)]
