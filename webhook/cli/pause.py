"""`spot-balancer pause`: no move begins any more."""

import getpass
import time
from datetime import datetime, timedelta
from math import inf

import click
from click.core import ParameterSource

from webhook.cli import render
from webhook.cli.common import (
    STRUCTURED,
    Access,
    clock,
    cluster_options,
    known,
    open_control,
    output_option,
    print_structured,
    printable,
    read_duration,
    rows,
    told_if_slow,
)
from webhook.core import pausing
from webhook.core.book import Control
from webhook.core.model import Value
from webhook.core.moves import Pause
from webhook.core.policy import SidePolicy
from webhook.core.standing import Underway, underway
from webhook.errors import InputError
from webhook.jobs.pausing import change, wait_until_still

MOVES = ("MOVE", "WORKLOAD", "WAY", "TO", "STEP", "FOR")
_SHORTEST_CALL, _LONGEST_CALL = 1.0, 10.0
"""Seconds that a call to the API server may take: a brake that hangs is tried again, not waited for."""
_NAMED = 3
WIDE = ("BEGAN", "POD", "FROM", "DESTINATION", "COMES TO", "NOTE")


class Answer(Value, frozen=True, omit_defaults=False):
    """What `-o json` prints. ``still``: nothing is in flight any more."""

    schema_version: int
    paused: Pause
    still: bool
    moves: tuple[Underway, ...]


@click.command("pause", epilog="Example: spot-balancer pause -n spot-balancer --reason 'sale until Monday' --wait")
@click.option("--reason", default="", help="Told by `status` and `resume`.")
@click.option("--wait", is_flag=True, help="Wait until no move is in flight; exit code 3 when the time is over.")
@click.option(
    "--timeout", callback=read_duration, metavar="DURATION", default="15m", show_default=True, help="Of --wait."
)
@cluster_options
@output_option()
def command(reason: str, timeout: timedelta, output: str, access: Access, *, wait: bool) -> int:
    """Begin no move any more. What is in flight is finished or undone by the monitor's next runs, so let it run.

    New pods are steered as before; `pause: [injection]` in the configuration stops that. `resume` ends the pause.
    """
    said = click.get_current_context().get_parameter_source("timeout")
    if not wait and said is not ParameterSource.DEFAULT:
        raise click.UsageError("--timeout without --wait: nothing is waited for")
    end = time.monotonic() + timeout.total_seconds() if wait else inf
    book, now = open_control(access, lambda: max(_SHORTEST_CALL, min(_LONGEST_CALL, end - time.monotonic()))), clock()
    word = Pause(at=now, by=_who(), reason=reason)
    with told_if_slow(_LONGEST_CALL):
        _, control = change(book, lambda before: pausing.pause(known(before, access), word))
    if output not in STRUCTURED:
        click.echo("\n".join(as_text(control, wide=output == "wide", now=now)))
    trouble = ""
    if wait and control.moves:
        control = wait_until_still(
            book,
            seconds=max(0.0, end - time.monotonic()),
            sleep=time.sleep,
            elapsed=time.monotonic,
            tell=_Waiting(timeout).tell,
        )
        trouble = _trouble(control, timeout)
    if output in STRUCTURED:
        print_structured(answer(control, word), output)
    elif wait and not trouble:
        click.echo("all is still")
    if trouble:
        raise InputError(trouble)
    return 0


def answer(control: Control, word: Pause) -> Answer:
    """The pause that holds, or ``word`` where somebody ended it meanwhile."""
    moves = underway(control)
    return Answer(schema_version=1, paused=control.paused or word, still=not moves, moves=moves)


def as_text(control: Control, *, wide: bool, now: datetime) -> list[str]:
    """The page that people read: since when, for whom, and what is in flight."""
    pause, moves = control.paused, underway(control)
    lines = [f"moves are paused{told(pause)}"] if pause else []
    if not moves:
        return [*lines, "no move is in flight"]
    lines.append(f"{len(moves)} in flight; the monitor's next runs finish or undo surges, and wait for the rest:")
    lines.append(moves_table(moves, wide=wide, now=now))
    if control.heartbeat is None or now - control.heartbeat > SidePolicy().heartbeat_ttl:
        lines.append(
            f"warning: the monitor ran {render.ago(control.heartbeat, now)}; without it nothing of that is done"
        )
    return lines


def told(pause: Pause) -> str:
    """`` since ... by ann: reason``."""
    by = f" by {pause.by}" if pause.by else ""
    return printable(f" since {pause.at:%Y-%m-%d %H:%M:%S}Z{by}{f': {pause.reason}' if pause.reason else ''}")


def moves_table(moves: tuple[Underway, ...], *, wide: bool, now: datetime) -> str:
    """What is in flight, as a table; FOR is how long it has stood at its step."""
    return rows((*MOVES, *WIDE) if wide else MOVES, [_cells(move, wide=wide, now=now) for move in moves])


def _cells(move: Underway, *, wide: bool, now: datetime) -> tuple[str, ...]:
    for_ = render.span(now - move.step_at)
    cells = (str(move.number), move.workload, move.way.value, move.to.value, move.step.value, for_)
    if not wide:
        return cells
    outcome = move.outcome.value if move.outcome else ""
    more = (move.pod, move.node, move.destination, outcome, move.note)
    return (*cells, render.ago(move.began_at, now), *(text or "-" for text in more))


class _Waiting:
    """Says on stderr what is waited for, and again when that is another."""

    def __init__(self, timeout: timedelta) -> None:
        self._timeout, self._told = timeout, ""

    def tell(self, control: Control | None) -> None:
        """None where the API server did not answer."""
        text = "the API server does not answer; it is asked again until the time is over"
        if control is not None:
            moves = underway(control)
            first = ", ".join(f"{one.workload} is {one.step}" for one in moves[:_NAMED])
            more = f" and {len(moves) - _NAMED} more" if len(moves) > _NAMED else ""
            text = f"waiting for {len(moves)} in flight, for up to {render.span(self._timeout)}: {first}{more}"
        if text != self._told:
            click.echo(printable(text), err=True)
        self._told = text


def _trouble(control: Control, timeout: timedelta) -> str:
    if not control.moves:
        return ""
    if control.paused is None:
        return f"somebody resumed meanwhile; {len(control.moves)} in flight"
    return (
        f"{len(control.moves)} still in flight after {render.span(timeout)}; `spot-balancer status` tells their steps"
    )


def _who() -> str:
    """The name of the person at this terminal, as far as the system knows one."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return ""
