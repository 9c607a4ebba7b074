"""Hours of placements on simulated nodes, by our policy and by others on the same pods, and how even the load became."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from statistics import fmean
from typing import NamedTuple

import numpy as np

from webhook.core.model import Value
from webhook.core.policy import BalancePolicy
from webhook.simulation.balance_cluster import Ground
from webhook.simulation.balance_ours import OURS, Ours
from webhook.simulation.balance_peers import ORACLE, PEERS, Question, Rule
from webhook.simulation.balance_world import CPU, SETTLED, Floats, Setting, World, world

HOT = 0.65
"""Share of a node's cores; where crane's threshold and most alerts are."""
POLICIES = (OURS, *PEERS)


class Figures(Value, frozen=True, omit_defaults=False):
    """What one policy made of one world, over the minutes once the cluster is settled.

    ``deviation_percent`` is the mean over time of the standard deviation of the nodes' CPU share; ``p95_percent`` of node
    and minute. ``herd_index`` is, of a rollout's pods, the largest node's number over its part by cores, which is one pod at
    least; the mean over rollouts. ``left_out`` are pods that no node had room for.
    """

    policy: str
    deviation_percent: float
    hot_node_minutes: int
    p95_percent: float
    herd_index: float
    left_out: int = 0


class Cell(NamedTuple):
    """One world and how old its metrics are, in minutes."""

    setting: Setting
    staleness: int
    seed: int


def play(place: World, rule: Rule, cell: Cell, balance: BalancePolicy) -> Ground:
    """Every pod placed by one rule, equals by chance; ``balance`` says what is measured over."""
    window, habit = (max(1, round(length.total_seconds() / 60)) for length in (balance.window, balance.habit))
    ground = Ground(place, staleness=cell.staleness, window=window, habit=habit)
    rng = np.random.default_rng((cell.seed, cell.staleness, 1))
    for pod, at, rows in ground.arrivals():
        scores = rule(Question(ground, pod, at, rows, rng))
        best = np.flatnonzero(scores == scores.max())
        ground.place(pod, int(rows[best[rng.integers(len(best))]]))
    return ground


def figures(name: str, ground: Ground) -> Figures:
    """The measures of one that is played."""
    place = ground.world
    shares = ground.use[CPU, :, _settled(place) :] / place.capacity[CPU][:, None]
    return Figures(
        policy=name,
        deviation_percent=round(100 * float(shares.std(axis=0).mean()), 4),
        hot_node_minutes=int((shares > HOT).sum()),
        p95_percent=round(100 * float(np.percentile(shares, 95)), 3),
        herd_index=round(_herd(ground), 4),
        left_out=ground.left_out,
    )


def _settled(place: World) -> int:
    """The minute from which figures count; half of a short world."""
    return min(SETTLED, place.minutes // 2)


def _herd(ground: Ground) -> float:
    place = ground.world
    later = (place.at >= _settled(place) * 60) & (ground.node >= 0)
    if not later.any():
        return 1.0
    nodes = place.capacity.shape[1]
    _, rollout = np.unique(place.rollout[later], return_inverse=True)
    counts = np.bincount(rollout * nodes + ground.node[later], minlength=(rollout.max() + 1) * nodes)
    fair = place.capacity[CPU] / place.capacity[CPU].sum()
    return float(_largest(counts.reshape(-1, nodes).astype(np.float64), fair).mean())


def _largest(counts: Floats, fair: Floats) -> Floats:
    parts = np.maximum(1.0, counts.sum(axis=1)[:, None] * fair)
    return np.asarray((counts / parts).max(axis=1))


def fitting(balance: BalancePolicy, staleness: int) -> BalancePolicy:
    """The policy whose ``max_age`` lets metrics of this age count, five minutes over: else only the class is scored."""
    least = timedelta(minutes=staleness + 5)
    if balance.max_age >= least:
        return balance
    return BalancePolicy(**{key: getattr(balance, key) for key in balance.__struct_fields__} | {"max_age": least})


def compare(
    place: World,
    cell: Cell,
    balance: BalancePolicy,
    *,
    policies: Sequence[str] = POLICIES,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Figures]:
    """Each policy on the same world."""
    for name in policies:
        rule = Ours(fitting(balance, cell.staleness)) if name == OURS else PEERS[name]()
        yield figures(name, play(place, rule, cell, balance))
        if progress is not None:
            progress(name)


def distance_percent(deviation: float, oracle: float) -> float:
    """How far from the oracle, in percent of its deviation."""
    return 100 * (deviation / oracle - 1) if oracle else 0.0


class Result(Value, frozen=True, omit_defaults=False):
    """One seed. ``pods`` came in all; ``max_age_minutes`` is what held, see ``fitting``."""

    seed: int
    burst: int
    staleness_minutes: int
    max_age_minutes: float
    requests_off: bool
    correlation: float
    nodes: int
    pods: int
    figures: tuple[Figures, ...]


class Summary(Value, frozen=True, omit_defaults=False):
    """One policy, the mean over seeds."""

    policy: str
    deviation_percent: float
    to_oracle_percent: float
    hot_node_minutes: float
    p95_percent: float
    herd_index: float
    left_out: float


def simulate(cell: Cell, balance: BalancePolicy, *, progress: Callable[[str], None] | None = None) -> Result:
    """All policies on the world of this cell."""
    setting, place = cell.setting, world(cell.setting, cell.seed)
    return Result(
        seed=cell.seed,
        burst=setting.burst,
        staleness_minutes=cell.staleness,
        max_age_minutes=fitting(balance, cell.staleness).max_age.total_seconds() / 60,
        requests_off=setting.requests_off,
        correlation=setting.correlation,
        nodes=setting.nodes,
        pods=len(place.at),
        figures=tuple(compare(place, cell, balance, progress=progress)),
    )


def summed_up(results: Sequence[Result]) -> list[Summary]:
    """By policy, in the order played."""
    told: dict[str, list[Figures]] = {}
    for one in (one for result in results for one in result.figures):
        told.setdefault(one.policy, []).append(one)
    deviations = {name: fmean(one.deviation_percent for one in many) for name, many in told.items()}
    return [
        Summary(
            policy=name,
            deviation_percent=deviations[name],
            to_oracle_percent=distance_percent(deviations[name], deviations[ORACLE]),
            hot_node_minutes=fmean(one.hot_node_minutes for one in many),
            p95_percent=fmean(one.p95_percent for one in many),
            herd_index=fmean(one.herd_index for one in many),
            left_out=fmean(one.left_out for one in many),
        )
        for name, many in told.items()
    ]
