"""What a benchmark tells: one row per figure, comparable with a peer's and with a goal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

KEYS = ("figure", "ours", "peer", "peerName", "ratio", "goal", "met", "rounds")


def check(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with exactly the agreed keys, in order. Raises ValueError that names what is wrong."""
    if missing := [key for key in KEYS if key not in row]:
        raise ValueError(f"row {row.get('figure', '?')!r} lacks {', '.join(missing)}")
    if extra := set(row) - set(KEYS):
        raise ValueError(f"row {row['figure']!r} has unknown {', '.join(sorted(extra))}")
    if row["met"] not in {True, False, None}:
        raise ValueError(f"row {row['figure']!r}: met is true, false or null, where there is no goal")
    return {key: row[key] for key in KEYS}


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """A Markdown table, aligned so that it reads as plain text too. A row may tell its `unit` beside the agreed keys."""
    head = ("figure", "ours", "peer", "peer is", "ratio", "goal", "met", "rounds")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    unit = f" {row['unit']}" if row.get("unit") else ""
    ours, peer = (number(row[key]) + unit if row[key] is not None else "" for key in ("ours", "peer"))
    ratio = "" if row["ratio"] is None else f"{number(row['ratio'])} x"
    met = {True: "yes", False: "**no**", None: ""}[row["met"]]
    rounds = number(rounds_of(row))
    return row["figure"], ours, peer, row["peerName"] or "", ratio, str(row["goal"] or ""), met, rounds


def rounds_of(row: Mapping[str, Any]) -> int:
    """How many rounds stand behind the row, whether it tells their number or lists them."""
    rounds = row["rounds"]
    return len(rounds) if isinstance(rounds, Sequence) else int(rounds)


def number(value: float | str | None) -> str:
    """Three significant digits; whole numbers and large ones in full, with separators."""
    if value is None or isinstance(value, str):
        return value or ""
    # Three digits of 999.7 would be told as 1e+03.
    if value == int(value) or abs(value) >= 999.5:
        return f"{round(value):,}"
    return f"{value:.3g}"
