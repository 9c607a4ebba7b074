"""Values as text: diffs, amounts, ages. No decision is made here."""

import difflib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import click
import yaml

from webhook.core.model import Signal

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


def amount(value: float | None, unit: str) -> str:
    """``0.4 cores`` as people read it; a dash where there was no value."""
    if value is None:
        return "-"
    if unit == "cores":
        return f"{value * 1000:.4g}m" if value < 1 else f"{value:.3g}"
    if "bytes" in unit:
        for prefix in ("", "k", "M", "G"):
            if abs(value) < 1000 or prefix == "G":
                return f"{value:.3g} {prefix}B/s"
            value /= 1000
    return f"{value:.4g} {unit}".strip()


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


def signal_cells(signal: Signal) -> tuple[str, ...]:
    """Name, peak, recent, idle below, active above, window, coverage."""
    return (
        signal.name,
        amount(signal.value, signal.unit),
        amount(signal.recent, signal.unit),
        amount(signal.idle_below, signal.unit),
        amount(signal.active_above, signal.unit),
        span(timedelta(seconds=signal.window_seconds)),
        "-" if signal.coverage is None else f"{signal.coverage:.0%}",
    )
