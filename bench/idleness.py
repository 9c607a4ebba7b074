"""How good the idle verdict is on a load whose truth is known. Run: ``python -m bench --only idleness``.

The product's own ``judge`` and ``advance`` decide, on what a model of Prometheus makes of seeded, synthetic scrapes.
Nothing is timed, so that every run of it tells the same; "rounds" is the number of seeds.

*False idles*: runs judged idle although the look-back saw activity (``bench/idle_truth.py``), under faults of the
data. The peer is the naive reader, for whom a missing value is a zero. *Detection*: precision and recall of the
minutes that are idle and stay so for an hour, and changes of side, beside other people's rules (``bench/idle_rules.py``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bench import idle_detection, idle_rules
from bench.idle_truth import active_look_backs, as_written
from bench.labelled_load import MINUTE, Workload, load
from bench.scraped_load import Fault, Seen, Usages, moment, seen_of, still_at
from webhook.core.idleness import judge
from webhook.core.model import Evidence
from webhook.core.policy import IdlePolicy

Progress = Callable[[str], None]

SEEDS, DAYS = (1, 2), 2
EVERY = 10
"""One in so many of the runs that cannot be false idles is judged, to see what a fault costs."""

FAULTS = (
    Fault("no fault"),
    Fault("10 % of samples lost", lost=0.1),
    Fault("30 % of samples lost", lost=0.3),
    Fault("50 % of samples lost", lost=0.5),
    Fault("exporters frozen, time stamps too", stops=True),
    Fault("duplicated series, one frozen", duplicates=True),
    Fault("exporters frozen, time stamps go on", repeats=True),
    Fault("counters reset", resets=True),
    Fault("10 % lost, frozen, duplicated and reset", lost=0.1, stops=True, duplicates=True, resets=True),
)


def rows(_rounds: int, progress: Progress) -> list[dict]:
    """All figures; they do not vary, so that nothing is measured twice."""
    found = [_false_idle_row(fault, progress) for fault in FAULTS]
    return found + idle_detection.rows_of(progress)


# --- false idles


@dataclass
class Falsehood:
    """Runs by what their look-back saw: active over the rate's window, or ``brief``, for one minute only.

    ``unwritten`` are those false idles whose activity no scrape ever saw, because a reset came first. Of brief and of
    resting runs one in ``EVERY`` is judged.
    """

    active: int = 0
    ours: int = 0
    unwritten: int = 0
    mean: int = 0
    maximum: int = 0
    brief: int = 0
    brief_ours: int = 0
    rest: int = 0
    rest_idle: int = 0


class Observed(NamedTuple):
    """A workload of the load, what scrapes leave of it, and what a sweep tells at each run."""

    workload: Workload
    seen: list[Seen]
    usages: Usages


def _observed(workload: Workload, fault: Fault, seed: list[int], policy: IdlePolicy) -> Observed:
    seen = seen_of(workload, fault, seed, policy)
    return Observed(workload, seen, Usages(workload, seen))


def _false_idle_row(fault: Fault, progress: Progress) -> dict:
    progress(f"false idles: {fault.name}")
    told, policy = Falsehood(), IdlePolicy()
    for seed in SEEDS:
        workloads = load(seed, DAYS)
        everything = [_observed(one, fault, [seed, number], policy) for number, one in enumerate(workloads)]
        usages = [one.usages for one in everything]
        still = [still_at(usages, run) for run in range(DAYS * idle_rules.RUNS_A_DAY)]
        for one in everything:
            _count_false_idles(told, one, still, policy)
    return {
        "figure": f"false idles: {fault.name} (of {told.active:,} runs)",
        "ours": told.ours,
        "peer": told.mean,
        "peerName": "1 h mean, absence as zero",
        "ratio": None,
        "goal": "0",
        "met": told.ours == 0,
        "rounds": len(SEEDS),
        "fault": fault.name,
        "runsWithActivity": told.active,
        "neverScraped": told.unwritten,
        "maximumWithAbsenceAsZero": told.maximum,
        "briefActivityCalledIdle": round(told.brief_ours / told.brief, 4),
        "restStillProven": round(told.rest_idle / told.rest, 4),
    }


def _count_false_idles(told: Falsehood, one: Observed, still: list[frozenset[str]], policy: IdlePolicy) -> None:
    workload, seen, usages = one
    runs = np.arange(workload.minutes)
    whole = runs >= idle_rules.RUNS_AN_HOUR
    over = int(policy.rate_window.total_seconds())
    active = whole & active_look_backs(workload.pods, len(runs), policy, over_seconds=over)
    brief = whole & ~active & active_look_backs(workload.pods, len(runs), policy, over_seconds=MINUTE)
    brief, rest = brief & (runs % EVERY == 0), whole & ~active & ~brief & (runs % EVERY == 0)
    idle = np.zeros(len(runs), dtype=bool)
    for run in runs[active | brief | rest].tolist():
        idle[run] = judge(usages.at(run, still[run]), policy, now=moment(run)).evidence is Evidence.IDLE
    told.active += int(active.sum())
    told.ours += int((idle & active).sum())
    written = active_look_backs([as_written(each) for each in seen], len(runs), policy, over_seconds=over)
    told.unwritten += int((idle & active & ~written).sum())
    told.mean += int((idle_rules.mean(seen, len(runs), absent=0.0) & active).sum())
    told.maximum += int((idle_rules.largest(seen, len(runs), absent=0.0) & active).sum())
    told.brief += int(brief.sum())
    told.brief_ours += int((idle & brief).sum())
    told.rest += int(rest.sum())
    told.rest_idle += int((idle & rest).sum())
