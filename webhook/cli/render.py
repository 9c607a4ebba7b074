"""Values as text: diffs, amounts, ages. No decision is made here."""

import difflib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import click
import yaml

from webhook.core.model import BatchRun, Signal
from webhook.core.words import amount

_COLOURS = {"+": "green", "-": "red"}


def pod_diff(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The pod as YAML, lines that the patch adds marked with +, and a little of what stands around them."""
    old, new = (yaml.safe_dump(pod, sort_keys=False).splitlines() for pod in (before, after))
    lines = difflib.unified_diff(old, new, lineterm="", n=2)
    # Line numbers of a pod that nobody has a file of say nothing; where lines are left out, a gap does.
    return ["  ..." if line.startswith("@@") else line for line in lines if not line.startswith(("---", "+++"))]


def painted(lines: Iterable[str], *, colour: bool) -> list[str]:
    """Added lines green; plain where colour is not wanted."""
    if not colour:
        return list(lines)
    return [click.style(line, fg=_COLOURS[line[0]]) if line[:1] in _COLOURS else line for line in lines]


def span(length: timedelta) -> str:
    """``20m``, ``3h``, ``2d``."""
    seconds = int(length.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def ago(moment: datetime | None, now: datetime) -> str:
    """``20m ago``, or ``never``."""
    return "never" if moment is None else f"{span(now - moment)} ago"


def signal_cells(signal: Signal, *, judged_at: datetime | None) -> tuple[str, ...]:
    """Name, peak, recent, idle below, active above, window, coverage, samples, age of the last sample when judged."""
    sampled_at = signal.sampled_at
    return (
        signal.name,
        amount(signal.value, signal.unit),
        amount(signal.recent, signal.unit),
        amount(signal.idle_below, signal.unit),
        amount(signal.active_above, signal.unit),
        span(timedelta(seconds=signal.window_seconds)),
        "-" if signal.coverage is None else f"{signal.coverage:.0%}",
        f"{signal.samples}/{signal.samples_expected}",
        span(max(timedelta(), judged_at - sampled_at)) if judged_at and sampled_at else "-",
    )


def run_cells(run: BatchRun, now: datetime) -> tuple[str, ...]:
    """Job, how long ago it started, how long it took, its CPU-seconds, how it ended, and on which class of node.

    Of a run whose end nobody saw, it is what was seen at least.
    """
    return (
        run.job,
        ago(run.started_at, now),
        ("" if run.ended else ">=") + span(timedelta(seconds=run.seconds)),
        "-" if run.cpu_seconds is None else ("" if run.ended else ">=") + f"{run.cpu_seconds:.0f}",
        ("succeeded" if run.succeeded else "failed") if run.ended else "unseen",
        {True: "spot", False: "regular", None: "-"}[run.on_spot],
    )
