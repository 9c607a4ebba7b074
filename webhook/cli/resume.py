"""`spot-balancer resume`: moves go on, an alarm is accepted, a workload is tried again."""

from datetime import datetime, timedelta

import click

from webhook.cli import render
from webhook.cli.common import (
    STRUCTURED,
    Access,
    clock,
    cluster_options,
    find_key,
    known,
    open_book,
    open_control,
    output_option,
    print_structured,
    printable,
    read_workload,
    told_if_slow,
)
from webhook.cli.pause import told
from webhook.core import pausing
from webhook.core.book import Control
from webhook.core.model import Value, Verdict, WorkloadKey
from webhook.core.moves import Pause
from webhook.core.sanity import Alarm
from webhook.core.words import ALARMS
from webhook.errors import InputError
from webhook.jobs.pausing import change, try_again

_RECENT = timedelta(days=1)
"""An older bad day of spot is over, whatever the configuration asks for."""


class Answer(Value, frozen=True, omit_defaults=False):
    """What `-o json` prints. ``ended`` is the pause that was, ``alarm`` one that stands all the same."""

    schema_version: int
    ended: Pause | None
    acknowledged: Alarm | None
    alarm: Alarm | None
    spot_unwell_at: datetime | None
    spot_unwell_why: str


class Retry(Value, frozen=True, omit_defaults=False):
    """What `--workload -o json` prints: what was forgotten."""

    schema_version: int
    workload: str
    misses: int
    last_outcome: str
    not_before: datetime | None


@click.command("resume", epilog="Example: spot-balancer resume -n spot-balancer --workload shop/deployment/nginx-demo")
@click.option(
    "--workload",
    metavar="NAMESPACE/KIND/NAME",
    callback=read_workload,
    help="Only forget the misses of this one, so that it is tried again.",
)
@cluster_options
@output_option()
def command(workload: str | None, output: str, access: Access) -> None:
    """End a pause, and acknowledge an alarm about the monitor's runs as a whole.

    What the last run saw under the alarm is accepted, and the next one is held against that: should it be worse still,
    it alarms again. Where nothing at all was measured there is nothing to accept, and the alarm stays.

    Bad days of spot nodes are facts and not ended by this; nor are dwell times and used budgets.
    """
    if workload is not None:
        _try_again(workload, output, access)
        return
    now = clock()
    with told_if_slow():
        before, after = change(open_control(access), lambda control: pausing.resume(known(control, access)))
    if output in STRUCTURED:
        print_structured(answer(before, after), output)
    else:
        click.echo("\n".join(as_text(before, after, now=now)))


def answer(before: Control, after: Control) -> Answer:
    """What the change did."""
    return Answer(
        schema_version=1,
        ended=before.paused,
        acknowledged=None if after.sanity.alarm else before.sanity.alarm,
        alarm=after.sanity.alarm,
        spot_unwell_at=after.spot.unwell_at,
        spot_unwell_why=after.spot.unwell_why,
    )


def as_text(before: Control, after: Control, *, now: datetime) -> list[str]:
    """The same for people."""
    lines = [f"moves go on; they were paused{told(before.paused)}" if before.paused else "moves were not paused"]
    alarm = before.sanity.alarm
    if alarm and not after.sanity.alarm:
        lines.append(f"acknowledged: {ALARMS[alarm]} ({before.sanity.reason}); the next run is held against that")
    elif alarm:
        lines.append(f"the alarm stays: {ALARMS[alarm]} ({before.sanity.reason}); nothing to accept was measured yet")
    unwell_at = after.spot.unwell_at
    if unwell_at is not None and now - unwell_at < _RECENT:
        why = f" ({after.spot.unwell_why})" if after.spot.unwell_why else ""
        lines.append(
            f"spot nodes were unwell {render.ago(unwell_at, now)}{why}: "
            "moves to spot wait until they were well for `moves.healthyFor`, resumed or not"
        )
    return [printable(line) for line in lines]


def _try_again(text: str, output: str, access: Access) -> None:
    book = open_book(access)
    with told_if_slow():
        found = book.read()
    known(found.control, access)
    key = find_key(text, (verdict.key for verdict in found.verdicts.values()), where="the book")
    before = try_again(book, str(key))
    if before is None:
        raise InputError(printable(f"{key} was forgotten by the monitor meanwhile: it is gone"))
    if output in STRUCTURED:
        print_structured(_retry(key, before), output)
    else:
        click.echo(_retry_as_text(key, before))


def _retry(key: WorkloadKey, before: Verdict) -> Retry:
    memory = before.memory
    return Retry(
        schema_version=1,
        workload=str(key),
        misses=memory.misses,
        last_outcome=memory.last_outcome,
        not_before=memory.not_before,
    )


def _retry_as_text(key: WorkloadKey, before: Verdict) -> str:
    memory = before.memory
    if not memory.misses and memory.not_before is None:
        return printable(f"{key}: no misses; nothing keeps it from being tried")
    misses = f"{memory.misses} {'miss' if memory.misses == 1 else 'misses'}"
    last = f" (the last: {memory.last_outcome})" if memory.last_outcome else ""
    return printable(f"{key}: {misses} forgotten{last}; the next run may try it again")
