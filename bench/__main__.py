"""Measures, prints tables, writes build/bench.json; `--keep WHAT` keeps a run that is to be quoted.

Each module of this package with a function `rows(rounds, progress)` is a benchmark.
"""

import argparse
import importlib
import json
import pkgutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import bench
from bench import machine
from bench.rows import KEYS, check, table

ROOT = Path(__file__).parents[1]
LATEST = ROOT / "build" / "bench.json"
RESULTS = ROOT / "bench" / "results"


def benchmarks():
    """{name: module} of all that can be measured."""
    names = (m.name for m in pkgutil.iter_modules(bench.__path__) if not m.name.startswith("_"))
    modules = {name: importlib.import_module(f"bench.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "rows")}


def keep(what, rows, now):
    """Writes the run as `<date>-<what>.json` and returns the path; an earlier one of the same day is replaced."""
    run = {
        "schemaVersion": 1,
        "what": what,
        "measuredAt": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine.describe(),
        "versions": machine.versions(),
        "rows": rows,
    }
    path = RESULTS / f"{now:%Y-%m-%d}-{what}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(run, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="benchmarks to run; all without it")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    parser.add_argument("--keep", metavar="WHAT", help="keep the run as bench/results/<date>-WHAT.json")
    options = parser.parse_args(arguments)
    known = benchmarks()
    if unknown := set(options.only or ()) - set(known):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    measured, raw = [], []
    for name in options.only or known:
        print(f"== {name}", flush=True)
        # What a row tells beyond the agreed keys is kept with the run, not in build/bench.json.
        told = list(known[name].rows(options.rounds, _progress))
        raw += told
        measured += [check({key: row[key] for key in KEYS if key in row}) for row in told]
        print(table(told), flush=True)
    LATEST.parent.mkdir(exist_ok=True)
    LATEST.write_text(json.dumps(measured, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"== {LATEST.relative_to(ROOT)}")
    if options.keep:
        print(f"== {keep(options.keep, raw, datetime.now(UTC)).relative_to(ROOT)}; now run `make docs`")
    missed = [row["figure"] for row in measured if row["met"] is False]
    print("== goals not met: " + "; ".join(missed) if missed else "== every goal is met")
    return 0


def _progress(text):
    print(f"   {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
