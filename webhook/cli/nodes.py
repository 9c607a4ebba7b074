"""`spot-balancer nodes`: the class of every node, how it was found, and what looks wrong."""

from datetime import datetime
from pathlib import Path

import click

from webhook.cli.common import (
    STRUCTURED,
    Access,
    cluster_options,
    config_option,
    given_snapshot,
    output_option,
    print_structured,
    printable,
    rows,
    snapshot_option,
)
from webhook.core import nodereview
from webhook.core.model import Value
from webhook.core.nodejoin import why_blind
from webhook.core.nodereview import Finding, NodeView, Review
from webhook.core.snapshot import Snapshot

HEADER = ("NODE", "CLASS", "STATUS", "PLATFORM", "TAKES SPOT PODS", "RECOGNISED BY")


class Answer(Value, frozen=True, omit_defaults=False):
    """What `-o json` prints; times are those of the snapshot."""

    schema_version: int
    captured_at: datetime
    source: str
    load_match_rate: float | None
    fresh_loads: int
    stale_loads: int
    scored_by_type_alone: str
    nodes: tuple[NodeView, ...]
    findings: tuple[Finding, ...]


@click.command("nodes", epilog="Example: spot-balancer nodes --snapshot examples/demo.snapshot.json")
@snapshot_option
@config_option
@cluster_options
@output_option()
def command(snapshot_file: Path | None, config_file: Path | None, output: str, access: Access) -> None:
    """Tell each node's class, how it was recognised, and what is wrong with it.

    Findings are information and leave the exit code at 0. A snapshot is read with the configuration it was made with.
    """
    snapshot = given_snapshot(snapshot_file, access, config_file)
    found = nodereview.review(snapshot)
    if output in STRUCTURED:
        meta = snapshot.meta
        loads = sum(node.load is not None for node in snapshot.nodes.values())
        answer = Answer(
            schema_version=1,
            captured_at=meta.captured_at,
            source=meta.source,
            load_match_rate=meta.load_match_rate,
            fresh_loads=_fresh(snapshot),
            stale_loads=loads - _fresh(snapshot),
            scored_by_type_alone=why_blind(meta.load_match_rate, has_load=loads > 0),
            nodes=found.nodes,
            findings=found.findings,
        )
        print_structured(answer, output)
        return
    click.echo("\n".join(as_text(found, snapshot, wide=output == "wide")))


def as_text(found: Review, snapshot: Snapshot, *, wide: bool) -> list[str]:
    """The page that people read: a count, the table, the findings."""
    spot = [node for node in found.nodes if node.capacity_type == "spot"]
    ways = sum(node.destination for node in spot)
    counts = f"{len(spot)} spot ({ways} may take spot-bound pods), {len(found.nodes) - len(spot)} regular"
    lines = [f"{len(found.nodes)} nodes: {counts}; as of {snapshot.meta.captured_at:%Y-%m-%d %H:%M:%S}Z"]
    if found.nodes:
        header = (*HEADER, "MARKER", "TAINTS") if wide else HEADER
        lines += ["", rows(header, [_cells(node, wide=wide) for node in found.nodes])]
    return [*lines, "", _load(snapshot), *_told(found.findings)]


def _load(snapshot: Snapshot) -> str:
    """How far the nodes' load is known, which the extender scores by."""
    told = [node.load for node in snapshot.nodes.values() if node.load is not None]
    sources = ", ".join(sorted({load.source for load in told}))
    known = f"load of {len(told)} of {len(snapshot.nodes)} nodes is known" + (f", from {sources}" if told else "")
    if old := len(told) - _fresh(snapshot):
        known += f", {old} of them older than maxAge, which do not count"
    rate = snapshot.meta.load_match_rate
    blind = why_blind(rate, has_load=bool(told))
    return f"{known}; {blind or f'{int((rate or 0) * 100)} % of load series lead to a node'}"


def _fresh(snapshot: Snapshot) -> int:
    meta = snapshot.meta
    since = meta.captured_at - meta.policy.balance.max_age
    return sum(node.load is not None and node.load.sampled_at >= since for node in snapshot.nodes.values())


def _cells(node: NodeView, *, wide: bool) -> tuple[str, ...]:
    status = ("Ready" if node.ready else "NotReady") + ("" if node.schedulable else ",Cordoned")
    takes = "yes" if node.destination else "no"
    platform = f"{node.os}/{node.architecture}"
    cells = (node.name, node.capacity_type.value, status, platform, takes, node.recognised_by or "-")
    if not wide:
        return cells
    marker = " and ".join(f"{r.key} {r.operator} {','.join(r.values)}".strip() for r in node.marker) or "-"
    return (*cells, marker, ", ".join(map(nodereview.words, node.taints)) or "-")


def _told(findings: tuple[Finding, ...]) -> list[str]:
    if not findings:
        return ["nothing looks wrong"]
    return [
        printable(f"{f.weight.value:<7} {f.code}: {'node ' + f.node + ' ' if f.node else ''}{f.advice}")
        for f in findings
    ]
