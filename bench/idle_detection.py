"""The idle verdict beside other people's rules, and our defaults beside others of our own; see ``bench/idleness.py``."""

from collections.abc import Callable
from datetime import timedelta

import msgspec
import numpy as np

from bench import idle_rules
from bench.idle_rules import Score, dominates
from bench.labelled_load import HABITS, Array, Workload, load
from bench.scraped_load import Fault, Seen, Usages, key_of, moment, seen_of
from webhook.core.idleness import Judgement, judge
from webhook.core.model import Side
from webhook.core.policy import IdlePolicy, SidePolicy
from webhook.core.sides import advance

SEEDS, DAYS = (1, 2), 8
SWEEP_SEEDS, SWEEP_DAYS = (3,), 4
"""The sweep of defaults has a load of its own: defaults chosen on one are shown on another."""

IDLE_RUNS = (1, 3, 5, 10)
POLICIES: dict[str, dict] = {
    "window 30 min": {"window": timedelta(minutes=30)},
    "window 120 min": {"window": timedelta(minutes=120)},
    "CPU 2.5 % / 5m": {"cpu_share_of_request": 0.025, "cpu_floor_cores": 0.005},
    "CPU 10 % / 20m": {"cpu_share_of_request": 0.10, "cpu_floor_cores": 0.020},
    "received 500 B/s": {"received_bytes_per_second": 500.0},
    "received 2 kB/s": {"received_bytes_per_second": 2000.0},
    "leave factor 1": {"leave_factor": 1.0},
    "leave factor 4": {"leave_factor": 4.0},
}


def rows_of(progress: Callable[[str], None]) -> list[dict]:
    """Three figures for each rule, and who dominates us and our defaults, with all scores."""
    ours, peers, habits = _detect(progress)
    compared = [row for name, score in peers.items() for row in _against(name, ours, score)]
    rules = _dominating("idle detection: rules that dominate ours", ours, peers)
    rules |= {"days": DAYS, "rules": [score.told(name) for name, score in ({"ours": ours} | peers).items()]}
    rules |= {"habits": [score.told(name) for name, score in habits.items()]}
    default, others = _defaults(progress)
    defaults = _dominating("idle detection: settings that dominate the defaults", default, others)
    told = {"the defaults": default} | others
    defaults |= {"days": SWEEP_DAYS, "defaults": [score.told(name) for name, score in told.items()]}
    return [*compared, rules, defaults | {"rounds": len(SWEEP_SEEDS)}]


def _dominating(figure: str, ours: Score, others: dict[str, Score]) -> dict:
    above = [name for name, score in others.items() if dominates(score, ours)]
    row = _row(figure, len(above), None, "as good in precision, recall and changes, better in one")
    return row | {"goal": "0", "met": not above, "dominating": above}


def _against(name: str, ours: Score, peer: Score) -> list[dict]:
    return [
        _row("idle detection: precision", ours.precision, peer.precision, name),
        _row("idle detection: recall", ours.recall, peer.recall, name),
        _row("idle detection: changes per workload and day", ours.changes_a_day, peer.changes_a_day, name),
    ]


def _row(figure: str, ours: float | None, peer: float | None, name: str) -> dict:
    mine, theirs = (None if value is None else round(value, 4) for value in (ours, peer))
    ratio = round(theirs / mine, 3) if mine and theirs is not None else None
    row = {"figure": figure, "ours": mine, "peer": theirs, "peerName": name, "ratio": ratio}
    return row | {"goal": None, "met": None, "rounds": len(SEEDS)}


def _detect(progress: Callable[[str], None]) -> tuple[Score, dict[str, Score], dict[str, Score]]:
    """Our score, the peers' by rule, and ours by habit."""
    ours, peers, policy = Score(), {name: Score() for name in idle_rules.PEERS}, IdlePolicy()
    habits = {name: Score() for name in HABITS}
    for seed in SEEDS:
        progress(f"detection: seed {seed}, {DAYS} days")
        for number, workload in enumerate(load(seed, DAYS)):
            seen = seen_of(workload, Fault(), [seed, number], policy)
            sides = on_spot(workload, judged(workload, seen, policy), SidePolicy())
            ours.add(sides, workload.busy)
            habits[workload.name].add(sides, workload.busy)
            for name, rule in idle_rules.PEERS.items():
                peers[name].add(rule(seen, workload.minutes), workload.busy)
    return ours, peers, habits


def _defaults(progress: Callable[[str], None]) -> tuple[Score, dict[str, Score]]:
    """The score of the defaults, and those of settings that differ from them in one thing."""
    default = SidePolicy().idle_runs_to_spot
    progress("defaults: idleRunsToSpot")
    tried = _tried(IdlePolicy(), IDLE_RUNS)
    others = {f"idleRunsToSpot {number}": tried[number] for number in IDLE_RUNS if number != default}
    for name, change in POLICIES.items():
        progress(f"defaults: {name}")
        others[name] = _tried(msgspec.structs.replace(IdlePolicy(), **change), (default,))[default]
    return tried[default], others


def _tried(policy: IdlePolicy, idle_runs: tuple[int, ...]) -> dict[int, Score]:
    """A policy's score for each number of idle runs to spot."""
    scores = {number: Score() for number in idle_runs}
    for seed in SWEEP_SEEDS:
        for number, workload in enumerate(load(seed, SWEEP_DAYS)):
            judgements = judged(workload, seen_of(workload, Fault(), [seed, number], policy), policy)
            for runs, score in scores.items():
                score.add(on_spot(workload, judgements, SidePolicy(idle_runs_to_spot=runs)), workload.busy)
    return scores


def judged(workload: Workload, seen: list[Seen], policy: IdlePolicy) -> list[Judgement]:
    """The product's judgement of every minute."""
    usages = Usages(workload, seen)
    return [judge(usages.at(run), policy, now=moment(run)) for run in range(workload.minutes)]


def on_spot(workload: Workload, judgements: list[Judgement], policy: SidePolicy) -> Array:
    """Whether it belongs on spot after every minute, by the product's own rule."""
    key, verdict = key_of(workload), None
    sides = np.zeros(len(judgements), dtype=bool)
    for run, judgement in enumerate(judgements):
        verdict = advance(verdict, judgement, key=key, uid=workload.name, policy=policy, now=moment(run))
        sides[run] = verdict.side is Side.SPOT
    return sides
