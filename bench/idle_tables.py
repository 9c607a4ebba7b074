"""The tables of the docs about the idle verdict, from the newest kept run of ``bench/idleness.py``."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.rows import number

RESULTS = Path(__file__).parent / "results"
SCORES = {
    "precision": "precision",
    "precisionNow": "idle now",
    "recall": "recall",
    "changesPerWorkloadAndDay": "changes of side per workload and day",
    "busyMinutesOnSpot": "busy minutes on spot",
}
SHARES = {"precision", "precisionNow", "recall", "busyMinutesOnSpot"}


def idleness(what: str) -> str:
    """The table of that name: false-idles, rules, habits or defaults."""
    runs = sorted(RESULTS.glob("*-idleness.json"))
    if not runs:
        raise SystemExit("no run of 'idleness' is kept: python -m bench --only idleness --keep idleness")
    run = json.loads(runs[-1].read_text(encoding="utf-8"))
    source = f"Seeded and simulated on {run['measuredAt'][:10]}, Python {run['versions']['python']}"
    return f"{TABLES[what](run['rows'])}\n\n{source}: [{runs[-1].name}]({{up}}bench/results/{runs[-1].name})."


def false_idles(rows: Iterable[dict]) -> str:
    head = (
        "scrapes",
        "runs whose look-back was active",
        "called idle",
        "of these never scraped",
        "goal",
        "met",
        "1 h mean, absence as zero",
        "1 h maximum, absence as zero",
        "rest still proven",
    )
    return aligned([head, *(_fault_cells(row) for row in rows if "fault" in row)])


def _fault_cells(row: dict) -> tuple[str, ...]:
    met = {True: "yes", False: "**no**", None: ""}[row["met"]]
    counts = [row[key] for key in ("runsWithActivity", "ours", "neverScraped")]
    peers = [row["peer"], row["maximumWithAbsenceAsZero"]]
    ours, theirs = map(number, counts), map(number, peers)
    return (row["fault"], *ours, row["goal"] or "", met, *theirs, f"{row['restStillProven']:.0%}")


def scores(rows: Iterable[dict], key: str, first: str) -> str:
    """The scores under that key, one line each, and who dominates the first."""
    [row] = [row for row in rows if key in row]
    lines = [(first, *SCORES.values()), *((one["name"], *_score_cells(one)) for one in row[key])]
    return f"{aligned(lines)}{_dominating(row) if key != 'habits' else ''}"


def _dominating(row: dict) -> str:
    names = ", ".join(row["dominating"]) or "none"
    return f"\n\nAs good as the first line in precision, recall and changes, and better in one: {names}."


def _score_cells(score: dict) -> list[str]:
    return [_cell(score[key], share=key in SHARES) for key in SCORES]


def _cell(value: float | None, *, share: bool) -> str:
    if value is None:
        return "none"
    return f"{value:.1%}" if share else f"{value:.2f}"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first line is its head."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    ruled = [lines[0], ["-" * width for width in widths], *lines[1:]]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in ruled)


TABLES = {
    "false-idles": false_idles,
    "rules": lambda rows: scores(rows, "rules", "rule"),
    "habits": lambda rows: scores(rows, "habits", "habit"),
    "defaults": lambda rows: scores(rows, "defaults", "the defaults, but for"),
}
