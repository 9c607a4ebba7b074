"""`spot-balancer history`: the moves that ended, and what came of each."""

from datetime import datetime, timedelta

import click

from webhook.cli import render
from webhook.cli.common import (
    STRUCTURED,
    Access,
    clock,
    cluster_options,
    known,
    matching,
    open_book,
    output_option,
    print_structured,
    printable,
    read_workload,
    rows,
    told_if_slow,
)
from webhook.core.book import Control
from webhook.core.model import Value
from webhook.core.standing import Past, history

HEADER = ("ENDED", "WORKLOAD", "TO", "WAY", "TOOK", "OUTCOME", "POD", "LANDED ON", "NOTE")


class Answer(Value, frozen=True, omit_defaults=False):
    """What `-o json` prints, the newest first; ``moves_ever`` counts those too that the book has forgotten."""

    schema_version: int
    moves_ever: int
    moves: tuple[Past, ...]


@click.command("history", epilog="Example: spot-balancer history -n spot-balancer --misses -o wide")
@click.option("--workload", metavar="NAMESPACE/KIND/NAME", callback=read_workload, help="Only the moves of this one.")
@click.option("--misses", is_flag=True, help="Only moves that came to nothing and count towards giving up.")
@cluster_options
@output_option()
def command(workload: str | None, output: str, access: Access, *, misses: bool) -> None:
    """Tell the last moves that ended, the newest first. The book keeps the last ones only.

    It needs a cluster: a snapshot file holds no moves.
    """
    with told_if_slow():
        control = known(open_book(access).read().control, access)
    found = chosen(control, workload, misses=misses)
    if output in STRUCTURED:
        print_structured(Answer(schema_version=1, moves_ever=control.numbered, moves=found), output)
    else:
        click.echo("\n".join(as_text(found, wide=output == "wide", now=clock())))


def chosen(control: Control, workload: str | None, *, misses: bool) -> tuple[Past, ...]:
    """All, those of one workload, or only misses. Raises InputError for what is no name of a workload."""
    if workload is None:
        return history(control, misses=misses)
    key = matching(workload, (one.workload for one in control.finished))
    return history(control, workload=key, misses=misses) if key else ()


def as_text(found: tuple[Past, ...], *, wide: bool, now: datetime) -> list[str]:
    """The table, or that there is nothing to tell."""
    if not found:
        return ["no such move is remembered"]
    header = ("MOVE", *HEADER, "FROM", "ENDED AT") if wide else HEADER
    return [rows(header, [_cells(one, wide=wide, now=now) for one in found])]


def _cells(one: Past, *, wide: bool, now: datetime) -> tuple[str, ...]:
    to = f"{one.to} (max-spot)" if one.trim else one.to.value
    took = render.span(timedelta(seconds=one.took_seconds))
    told = (one.pod or "-", one.landed_on or "-", printable(one.note) or "-")
    cells = (render.ago(one.ended_at, now), one.workload, to, one.way.value, took, one.outcome.value, *told)
    return (str(one.number), *cells, one.node or "-", f"{one.ended_at:%Y-%m-%dT%H:%M:%SZ}") if wide else cells
