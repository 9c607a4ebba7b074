"""`spot-balancer plan`: who would move where, who would not, and why."""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import click

from webhook.cli import render
from webhook.cli.common import (
    STRUCTURED,
    Access,
    cluster_options,
    config_option,
    given_snapshot,
    note_defaults,
    output_option,
    print_structured,
    printable,
    rows,
)
from webhook.core.model import Value
from webhook.core.planning import Consideration, Plan, World, plan
from webhook.core.snapshot import Snapshot
from webhook.errors import InputError

_QUIET = frozenset({"settled", "mode", "never-moved", "no-verdict"})
"""What most workloads are told; `-o wide` lists them too."""


class PlanView(Value, frozen=True, omit_defaults=False):
    """What `-o json` prints; times are those of the snapshot."""

    schema_version: int
    captured_at: datetime
    freezes: tuple[str, ...]
    missed_admissions: int
    considered: dict[str, int]
    workloads: tuple[Consideration, ...]


@click.command("plan", epilog="Example: spot-balancer plan --config config.yaml -n spot-balancer -o wide")
@click.option(
    "--snapshot",
    "snapshot_file",
    type=click.Path(path_type=Path),
    help="A file captured by `spot-balancer snapshot`, instead of a cluster.",
)
@config_option
@cluster_options
@output_option()
def command(snapshot_file: Path | None, config_file: Path | None, output: str, access: Access) -> None:
    """Say which moves the next run of the monitor would begin, and why the others wait or stay.

    Nothing is written, nor asked of Prometheus: sides are those of the verdict book.
    """
    if snapshot_file is None:
        note_defaults(config_file)
    snapshot = given_snapshot(snapshot_file, access, config_file, with_census=True)
    world = world_of(snapshot, str(snapshot_file or "the cluster"))
    found = plan(world, thorough=True)
    if output in STRUCTURED:
        print_structured(_view(found, world), output)
        return
    click.echo("\n".join(as_text(found, world, wide=output == "wide")))


def world_of(snapshot: Snapshot, source: str) -> World:
    """One look at a capture, at its own time. Raises InputError where it was captured without what moves need."""
    world = World.of(snapshot)
    if world is None:
        raise InputError(
            f"{printable(source)} was captured without pods and what bounds their moves; "
            "capture it anew with `spot-balancer snapshot`, without --redact"
        )
    return world


def _view(found: Plan, world: World) -> PlanView:
    return PlanView(
        schema_version=1,
        captured_at=world.now,
        freezes=found.freezes,
        missed_admissions=found.missed_admissions,
        considered=dict(sorted(Counter(one.code for one in found.considered).items())),
        workloads=found.considered,
    )


def as_text(found: Plan, world: World, *, wide: bool) -> list[str]:
    """The page that people read: what starts, what waits, what holds all of it."""
    lines = [f"as of {world.now:%Y-%m-%d %H:%M:%S}Z"]
    lines += [f"frozen: nothing moves to spot: {printable(why)}" for why in found.freezes]
    starts = [one for one in found.considered if one.code == "starts"]
    if starts:
        table = [(str(o.workload), str(o.way), f"to {o.side}", o.pod, o.node, o.destination or "-") for o in starts]
        lines += ["", rows(("WOULD START", "WAY", "SIDE", "POD", "FROM", "PROVEN NODE"), table)]
    others = [one for one in found.considered if one.code != "starts" and (wide or one.code not in _QUIET)]
    if others:
        whys = [(str(o.workload), _wanted(o), o.code, _until(o, world.now), o.reason) for o in others]
        lines += ["", rows(("STAYS", "BELONGS", "CODE", "NEXT LOOK", "WHY"), whys)]
    lines += ["", _total(found)]
    if hidden := len(found.considered) - len(starts) - len(others):
        lines.append(f"{hidden} of them not listed; -o wide lists all, and why they stay")
    if found.missed_admissions:
        lines.append(f"created unstamped: {found.missed_admissions} pod(s), while the webhook could not be asked")
    return lines


def _wanted(one: Consideration) -> str:
    if one.side is None:
        return "-"
    return f"{one.side} ({one.misplaced} elsewhere)" if one.misplaced else one.side.value


def _until(one: Consideration, now: datetime) -> str:
    return "-" if one.until is None else f"in {render.span(max(one.until - now, timedelta()))}"


def _total(found: Plan) -> str:
    counts = Counter(one.code for one in found.considered)
    return "total: " + (", ".join(f"{count} {code}" for code, count in sorted(counts.items())) or "no workload")
