"""Even load: our scores beside other policies, over bursts, old metrics, wrong requests and siblings that are alike or not.

A round is a seed, and a seed is played by every policy in every cell, so that policies are compared on the same pods. The
oracle, the stock scheduler and chance read no metrics, so they are played once for all ages. All cores are used.
"""

import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from statistics import fmean, median, stdev

from msgspec import structs

from webhook.core.policy import BalancePolicy
from webhook.simulation.balance import ORACLE, OURS, POLICIES, Cell, compare, distance_percent, figures, fitting, play
from webhook.simulation.balance_ours import Ours
from webhook.simulation.balance_peers import CLAIRVOYANT, SIBLINGS, STALE_FREE, STOCK
from webhook.simulation.balance_world import Setting, world

BURSTS, STALENESS, CORRELATIONS = (1, 5, 40, 200), (1, 5, 15), (0.0, 0.5, 1.0)
PODS, MINUTES = 400, 180
"""At once, and after the first hour: about a thousand placements on 60 nodes a policy, so that all cells fit ten minutes."""
DISTANCE_GOAL, HOT_GOAL = 10, 0.5
"""Percent of the oracle's deviation, median over cells; share of the stock scheduler's hot node-minutes."""
_BALANCE = BalancePolicy()
BEST = 6
"""A tenth of the 60 nodes, as 50 are of 500: what an answer of the best alone costs, which spares a scheduler its reading."""
HOT_FIGURE = "node-minutes above 65 %"
FEWER = f"{OURS}, best {BEST} of 60"


def rows(rounds, progress):
    """One row for each cell, with all policies' figures for the tables of the docs, then what the goals come to."""
    cells = played(range(1, rounds + 1), progress)
    told = [cell_row(key, by_policy) for key, by_policy in sorted(cells.items())]
    yield from told
    yield from goals(told)


def played(seeds, progress):
    """{(burst, staleness, requests_off, correlation): {policy: its figures, a list by seed}}."""
    settings = [
        Setting(burst=burst, requests_off=off, correlation=correlation, pods=PODS, minutes=MINUTES)
        for burst, off, correlation in product(BURSTS, (False, True), CORRELATIONS)
    ]
    jobs = [(setting, seed) for seed in seeds for setting in settings]
    cells = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        waiting = [pool.submit(_play, job) for job in jobs]
        for number, done in enumerate(as_completed(waiting), start=1):
            setting, seed, by_age = done.result()
            for age, figures in by_age.items():
                key = (setting.burst, age, setting.requests_off, setting.correlation)
                for one in figures:
                    cells.setdefault(key, {}).setdefault(one.policy, {})[seed] = one
            progress(f"balance: {number} of {len(jobs)} worlds")
    return {key: {name: [by[s] for s in sorted(by)] for name, by in told.items()} for key, told in cells.items()}


def _play(job):
    setting, seed = job
    place, cell = world(setting, seed), Cell(setting, STALENESS[0], seed)
    common = list(compare(place, cell, _BALANCE, policies=STALE_FREE))
    reading = [name for name in POLICIES if name not in STALE_FREE]
    return (
        setting,
        seed,
        {
            age: [
                *compare(place, cell._replace(staleness=age), _BALANCE, policies=reading),
                _fewer(place, cell._replace(staleness=age)),
                *common,
            ]
            for age in STALENESS
        },
    )


def _fewer(place, cell):
    balance = structs.replace(fitting(_BALANCE, cell.staleness), best=BEST)
    return figures(FEWER, play(place, Ours(balance), cell, balance))


def cell_row(key, by_policy):
    """Ours beside the best peer; ``worseThan`` are those that we are beyond two standard errors behind."""
    burst, age, off, correlation = key
    deviations = {name: [one.deviation_percent for one in told] for name, told in by_policy.items()}
    means = {name: fmean(values) for name, values in deviations.items()}
    peers = [name for name in POLICIES if name not in (OURS, *CLAIRVOYANT)]
    best = min(peers, key=means.__getitem__)
    behind = [name for name in peers if is_worse(deviations[OURS], deviations[name])]
    return {
        "figure": f"balance: deviation of node CPU, points; rollouts of {burst}, metrics {age} min old, "
        f"requests {'off' if off else 'right'}, correlation {correlation:g}",
        "ours": round(means[OURS], 3),
        "peer": round(means[best], 3),
        "peerName": f"the best: {best}",
        "ratio": round(means[best] / means[OURS], 3),
        "goal": "no peer better by two standard errors",
        # One seed has no error to hold a difference against.
        "met": not behind if len(deviations[OURS]) > 1 else None,
        "rounds": len(deviations[OURS]),
        "worseThan": behind,
        "burst": burst,
        "stalenessMinutes": age,
        "maxAgeMinutes": fitting(_BALANCE, age).max_age.total_seconds() / 60,
        "requestsOff": off,
        "correlation": correlation,
        "policies": {name: _told(by_policy[name]) for name in POLICIES},
        "bestOnly": _told(by_policy[FEWER]),
    }


def _told(figures):
    deviations = [one.deviation_percent for one in figures]
    return {
        "deviationPercent": round(fmean(deviations), 3),
        "standardError": round(_standard_error(deviations), 3),
        "hotNodeMinutes": round(fmean(one.hot_node_minutes for one in figures), 1),
        "p95Percent": round(fmean(one.p95_percent for one in figures), 2),
        "herdIndex": round(fmean(one.herd_index for one in figures), 3),
        "leftOut": sum(one.left_out for one in figures),
    }


def is_worse(ours, peer):
    """Whether ours is larger, seed by seed, by more than two standard errors of the difference."""
    differences = [a - b for a, b in zip(ours, peer, strict=True)]
    return len(differences) > 1 and fmean(differences) > max(0.0, 2 * _standard_error(differences))


def _standard_error(values):
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def goals(told):
    """What all cells come to."""
    rounds = told[0]["rounds"]
    for name in POLICIES:
        if name != ORACLE:
            distances = [distance_to_oracle(row, name) for row in told]
            is_ours = name == OURS
            yield {
                "figure": f"balance: distance to the oracle, median of {len(told)} cells, %: {name}",
                "ours": round(median(distances), 1),
                "peer": None,
                "peerName": None,
                "ratio": None,
                "goal": f"<= {DISTANCE_GOAL}" if is_ours else None,
                "met": median(distances) <= DISTANCE_GOAL if is_ours else None,
                "rounds": rounds,
            }
    distances = [distance_to_oracle(row, OURS, SIBLINGS) for row in told]
    yield {
        "figure": "balance: distance to an oracle that knows of a new pod only its siblings' mean, median, %",
        "ours": round(median(distances), 1),
        "peer": None,
        "peerName": None,
        "ratio": None,
        "goal": None,
        "met": None,
        "rounds": rounds,
    }
    yield from _regret(told, rounds)
    hot = {name: fmean(row["policies"][name]["hotNodeMinutes"] for row in told) for name in POLICIES}
    for name in POLICIES:
        if name != OURS:
            is_stock = name == STOCK
            yield {
                "figure": f"balance: {HOT_FIGURE}, mean of all cells",
                "ours": round(hot[OURS], 1),
                "peer": round(hot[name], 1),
                "peerName": name,
                "ratio": round(hot[name] / hot[OURS], 3) if hot[OURS] else None,
                "goal": f"<= {HOT_GOAL:g} of it" if is_stock else None,
                "met": hot[OURS] <= HOT_GOAL * hot[name] if is_stock else None,
                "rounds": rounds,
            }


def _regret(told, rounds):
    """What `balance.best` loses: the same decisions where only so many of the best are answered, the others read as 0."""
    for figure, key in (("deviation of node CPU, points", "deviationPercent"), (HOT_FIGURE, "hotNodeMinutes")):
        ours = fmean(row["policies"][OURS][key] for row in told)
        fewer = fmean(row["bestOnly"][key] for row in told)
        yield {
            "figure": f"balance: {figure}, mean of all cells",
            "ours": round(ours, 2),
            "peer": round(fewer, 2),
            "peerName": FEWER,
            "ratio": round(fewer / ours, 3) if ours else None,
            "goal": None,
            "met": None,
            "rounds": rounds,
        }


def distance_to_oracle(row, name, oracle=ORACLE):
    """Of one cell, in percent."""
    by_policy = row["policies"]
    return distance_percent(by_policy[name]["deviationPercent"], by_policy[oracle]["deviationPercent"])
