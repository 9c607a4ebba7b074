"""The tables of the docs about even load, from the newest kept run of ``bench/balance.py``."""

import json
from pathlib import Path

from bench.idle_tables import aligned
from bench.rows import number, table

RESULTS = Path(__file__).parent / "results"


def balance(what: str) -> str:
    """The table of that name: goals, deviation or hot."""
    runs = sorted(RESULTS.glob("*-balance.json"))
    if not runs:
        raise SystemExit("no run of 'balance' is kept: python -m bench --only balance --keep balance")
    run = json.loads(runs[-1].read_text(encoding="utf-8"))
    source = f"Seeded and simulated on {run['measuredAt'][:10]}, Python {run['versions']['python']}"
    return f"{TABLES[what](run['rows'])}\n\n{source}: [{runs[-1].name}]({{up}}bench/results/{runs[-1].name})."


def goals(rows: list[dict]) -> str:
    """Every goal, that of the cells as one line."""
    cells = [row for row in rows if "policies" in row]
    missed = [row for row in cells if row["worseThan"]]
    rounds, lower = cells[0]["rounds"], [row for row in cells if row["peer"] < row["ours"]]
    lines = (
        ("by two standard errors", missed, {name for row in missed for name in row["worseThan"]}, "0"),
        ("in the mean, by however little", lower, {row["peerName"].removeprefix("the best: ") for row in lower}, None),
    )
    told = [
        {
            "figure": f"balance: cells in which a peer is better {how}, of {len(cells)}",
            "ours": len(found),
            "peer": None,
            "peerName": ", ".join(sorted(names)) or None,
            "ratio": None,
            "goal": goal,
            # One seed has no error to hold a difference against.
            "met": not found if goal and rounds > 1 else None,
            "rounds": rounds,
        }
        for how, found, names, goal in lines
    ]
    return table([*told, *(row for row in rows if "policies" not in row)])


def deviation(rows: list[dict]) -> str:
    """Every cell: the deviation by each policy, with its standard error; a peer that is better is in bold."""
    return _cells(rows, "deviationPercent")


def hot(rows: list[dict]) -> str:
    """Every cell: node-minutes above 65 %."""
    return _cells(rows, "hotNodeMinutes")


def _cells(rows: list[dict], key: str) -> str:
    cells = [row for row in rows if "policies" in row]
    names = list(cells[0]["policies"])
    head = ("rollouts of", "metrics old", "requests", "correlation", *names)
    return aligned([head, *(_line(row, names, key) for row in cells)])


def _line(row: dict, names: list[str], key: str) -> tuple[str, ...]:
    off = "off" if row["requestsOff"] else "right"
    place = (str(row["burst"]), f"{row['stalenessMinutes']} min", off, f"{row['correlation']:g}")
    return (*place, *(_cell(row, name, key) for name in names))


def _cell(row: dict, name: str, key: str) -> str:
    told = row["policies"][name]
    if key != "deviationPercent":
        return number(told[key])
    text = f"{told[key]:.1f} ± {told['standardError']:.1f}"
    return f"**{text}**" if name in row["worseThan"] else text


TABLES = {"goals": goals, "deviation": deviation, "hot": hot}
