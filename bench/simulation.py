"""Days of a cluster in memory: promises over many seeds in rough weather, and our rule beside others on each load shape.

A round is 40 seeds of the first part, so that the usual five rounds are the 200 of the goal; both cores are used.
"""

import gc
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

from webhook.core.policy import Policy
from webhook.simulation.engine import Scenario
from webhook.simulation.load import MIX, tracks
from webhook.simulation.result import OURS, Result, simulate
from webhook.simulation.weather import CALM, ROUGH

WORKLOADS, DAYS, SEEDS_A_ROUND = 200, 7, 40
SHAPES = {"mix": MIX, "diurnal": ("diurnal",), "bursty": ("bursty",), "noisy": ("noisy",)}
"""A load that works every day must move twice a day, whoever decides; the goal for moves is of the mix."""
SHAPE_WORKLOADS = 60
_POLICY = Policy()


def rows(rounds, progress):
    """Counts of broken promises over all seeds, then three figures for each shape and rule."""
    seeds = range(1, rounds * SEEDS_A_ROUND + 1)
    results = list(_all(_rough, seeds, progress))
    yield from _promises(results)
    for shape in SHAPES:
        results = list(_all(_shaped, [(shape, seed) for seed in range(1, rounds + 1)], progress))
        yield from _shape_rows(shape, results)


def _all(play, items, progress) -> Iterator[Result]:
    """Every item's result, as they come, on all cores."""
    with ProcessPoolExecutor(os.cpu_count(), initializer=_quiet) as pool:
        waiting = [pool.submit(play, item) for item in items]
        for number, done in enumerate(as_completed(waiting), start=1):
            progress(f"{play.__name__.strip('_')}: {number} of {len(waiting)}")
            yield done.result()


def _quiet():
    """What fails in a simulated cluster is counted, and no news; few cycles are worth a search."""
    logging.disable(logging.CRITICAL)
    gc.set_threshold(50_000)


def _rough(seed):
    load = tuple(tracks(seed, workloads=WORKLOADS, days=DAYS, policy=_POLICY))
    return simulate(Scenario(tracks=load, weather=ROUGH), _POLICY, seed)


def _shaped(item):
    shape, seed = item
    load = tuple(tracks(seed, workloads=SHAPE_WORKLOADS, days=DAYS, policy=_POLICY, shapes=SHAPES[shape]))
    return simulate(Scenario(tracks=load, weather=CALM), _POLICY, seed)


def _promises(results):
    broken = {
        "pods booked beyond a budget": lambda kept: kept.pods_beyond_budget,
        "moves to spot on unknown": lambda kept: kept.moves_to_spot_on_unknown,
        "moments below the floor": lambda kept: kept.moments_below_floor,
        "runs that do not end at rest": lambda kept: int(not kept.ended_at_rest),
    }
    for name, times in broken.items():
        found = {result.seed: count for result in results if (count := times(result.promises))}
        row = _row(f"simulation: {name}", sum(found.values()), goal="0", met=not found, rounds=len(results))
        # Whoever wants to see one happen plays its seed alone.
        yield row | {"seeds": sorted(found)}
    moved = sum(result.pods_moved_to_spot + result.pods_moved_to_regular for result in results)
    yield _row("simulation: pods moved, all seeds together", moved, rounds=len(results))


def _shape_rows(shape, results):
    """Our figures beside each other rule's, and whether any rule is as good in all of them and better in one."""
    ours, others = _mean(OURS, results), {}
    for name in (score.rule for score in results[0].scores if score.rule != OURS):
        others[name] = _mean(name, results)
        for figure, key in _FIGURES.items():
            yield _row(
                f"simulation, {shape}: {figure}", ours[key], peer=others[name][key], name=name, rounds=len(results)
            )
    feasible = {name: score for name, score in others.items() if name != "clairvoyant"}
    above = [name for name, score in feasible.items() if _dominates(score, ours)]
    yield _row(
        f"simulation, {shape}: rules that dominate ours", len(above), goal="0", met=not above, rounds=len(results)
    )
    share = ours["hours"] / others["clairvoyant"]["hours"] if others["clairvoyant"]["hours"] else None
    is_mix = shape == "mix"
    met = share is not None and share >= 0.8 and (not is_mix or ours["moves"] <= 0.5)
    goal = ">= 0.8 at <= 0.5 moves a workload-day" if is_mix else ">= 0.8"
    yield _row(
        f"simulation, {shape}: share of the clairvoyant's hours on spot", share, goal=goal, met=met, rounds=len(results)
    )


_FIGURES = {"moves a workload-day": "moves", "hours on spot": "hours", "busy minutes on spot": "busy"}


def _mean(rule, results):
    """A rule's figures, a seed's mean."""
    scores = [score for result in results for score in result.scores if score.rule == rule]
    sums = {
        "moves": sum(score.moves_per_workload_day for score in scores),
        "hours": sum(score.hours_on_spot for score in scores),
        "busy": sum(score.busy_minutes_on_spot for score in scores),
    }
    return {key: total / len(scores) for key, total in sums.items()}


def _dominates(one, other):
    mine, theirs = ((score["moves"], score["busy"], -score["hours"]) for score in (one, other))
    return all(a <= b for a, b in zip(mine, theirs, strict=True)) and mine != theirs


def _row(figure, ours, *, rounds, peer=None, name=None, goal=None, met=None):
    told = {key: None if value is None else round(value, 3) for key, value in (("ours", ours), ("peer", peer))}
    ratio = round(peer / ours, 3) if ours and peer is not None else None
    return {"figure": figure, **told, "peerName": name, "ratio": ratio, "goal": goal, "met": met, "rounds": rounds}
