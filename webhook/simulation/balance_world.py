"""A seeded world for placements: nodes of several sizes, and pods that come in rollouts, live for hours and use what they like.

Time is in minutes from nought. What a pod uses is its level, which differs from pod to pod, times a shape over the day,
times a slow wander (AR(1) in logarithms). Of each, a pod shares with its siblings what the correlation says: 0 makes
siblings strangers, 1 makes them the same pod. Requests are those of the template: what its pods use on average, or that
times a factor, log-uniform, that people were off by.

The same seed and burst give the same draws, so that cells differ by nothing but what they are about.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from webhook.errors import InputError

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Whole = NDArray[np.int64]
CPU, MEMORY = 0, 1
GIBIBYTE = 2.0**30

SIZES = (4.0, 8.0, 16.0, 32.0)
_SIZE_PARTS = (0.3, 0.35, 0.25, 0.1)
_MEMORY_PER_CORE = 4 * GIBIBYTE
RAMP = 60
"""Minutes in which the cluster fills, by the same policy, with workloads that nobody knows yet."""
SETTLED = 150
"""From this minute on figures count: most of those placed while nothing was known are gone."""
_LIFE = (40.0, 240.0)
"""Minutes that a pod lives, log-uniform."""
_LEVEL_SIGMA = 0.8
_WANDER_SIGMA, _WANDER_MINUTES = 0.35, 30.0
_SWING = 0.5
"""Of the daily shape, as part of the mean."""
_DAY = 1_440
_QUIET, _LOUD = 0.6, 2.6
"""A bursty pod's two levels; it is loud a fifth of the time, so that the mean is 1."""
_LOUD_MINUTES, _QUIET_MINUTES = 15.0, 60.0
_MOST_CORES = 2.5
"""A limit, as most pods have one."""
_CPU_OFF = (0.1, 10.0)
_MEMORY_OFF = (1.0, 3.0)
"""Who asks for too little memory is killed for it, so nobody does for long."""
_MOST_REQUESTED_CORES = 3.5
"""What still fits on the smallest node."""
_MOST_POD_MINUTES = 80_000_000
"""What a machine of 8 GB holds: each pod's use is drawn for each minute, some 70 bytes of it at once."""
_SECONDS_BETWEEN = 0.02
"""Within a rollout: fifty pods a second, about what a scheduler binds."""


class Setting(NamedTuple):
    """What a world is like. ``load`` is the mean CPU used, as a share of all cores; ``minutes`` follow the ramp;
    ``pods`` run at once, about.
    """

    burst: int = 5
    requests_off: bool = False
    correlation: float = 0.5
    nodes: int = 60
    pods: int = 480
    minutes: int = 240
    load: float = 0.35
    memory_load: float = 0.2
    namespaces: int = 4


class World(NamedTuple):
    """``capacity`` is (2, nodes). Per pod, in order of arrival: ``at`` in seconds, the minute ``begins`` in which it runs
    first and the one ``ends`` before which it ran last, ``workload``, and ``use`` (2, pods, minutes) if it were running.
    ``requests`` are (2, workloads), ``namespace`` is by workload, ``rollout`` numbers the rollouts.
    """

    setting: Setting
    capacity: Floats
    at: Floats
    begins: Whole
    ends: Whole
    workload: Whole
    rollout: Whole
    use: Singles
    requests: Floats
    namespace: Whole
    minutes: int


def world(setting: Setting, seed: int) -> World:
    """Draw it. Raises InputError where no rollout falls into it, or more than a machine holds would."""
    rng = np.random.default_rng((seed, setting.burst))
    cores = rng.permuted(_sizes(setting.nodes))
    capacity = np.array([cores, cores * _MEMORY_PER_CORE])
    at, rollout = _arrivals(setting, rng)
    _check(setting, len(at), seed)
    workloads = int(np.clip(setting.pods // setting.burst, 6, 90))
    order = np.concatenate([rng.permutation(workloads) for _ in range(int(rollout[-1]) // workloads + 1)])
    workload, minutes = order[rollout], RAMP + setting.minutes
    begins = np.ceil(at / 60).astype(np.int64)
    ends = np.minimum(begins + _lives(at, rng), minutes)
    use = _use(setting, workload, workloads, minutes, rng)
    alive = (np.arange(minutes) >= begins[:, None]) & (np.arange(minutes) < ends[:, None])
    for resource, load in ((CPU, setting.load), (MEMORY, setting.memory_load)):
        there = (use[resource] * alive).sum() / minutes
        use[resource] *= load * capacity[resource].sum() / there
    use[CPU] = np.minimum(use[CPU], _MOST_CORES)
    return World(
        setting=setting,
        capacity=capacity,
        at=at,
        begins=begins,
        ends=ends,
        workload=workload,
        rollout=rollout,
        use=use,
        requests=_requests(setting, use, workload, workloads, rng),
        namespace=np.arange(workloads) % setting.namespaces,
        minutes=minutes,
    )


def _check(setting: Setting, pods: int, seed: int) -> None:
    hours, minutes = setting.minutes // 60, RAMP + setting.minutes
    if not pods:
        # With a burst of no more pods than run at once, the first rollout comes while the cluster fills.
        raise InputError(
            f"with seed {seed} no rollout of {setting.burst} pods begins within {hours} hours in which "
            f"{setting.pods} pods run at once; give --burst {setting.pods} or less, or more --pods"
        )
    if pods * minutes > _MOST_POD_MINUTES:
        raise InputError(
            f"{pods} pods over {hours} hours are more than fits into memory ({_MOST_POD_MINUTES // 60:,} pod-hours); "
            "give fewer --pods or --hours"
        )


def _sizes(nodes: int) -> Floats:
    counts = np.floor(np.array(_SIZE_PARTS) * nodes).astype(np.int64)
    counts[0] += nodes - counts.sum()
    return np.repeat(np.array(SIZES), counts)


def _arrivals(setting: Setting, rng: np.random.Generator) -> tuple[Floats, Whole]:
    """Seconds of each pod and its rollout: all pods within the ramp, then as many as end."""
    mean_life = (_LIFE[1] - _LIFE[0]) / np.log(_LIFE[1] / _LIFE[0])
    later = setting.pods * setting.minutes / mean_life
    count = max(1, round((setting.pods + later) / setting.burst))
    places = (np.arange(count) + rng.random(count)) * setting.burst
    filling = places / setting.pods * RAMP
    after = RAMP + (places - setting.pods) / later * setting.minutes if later else filling
    minutes = np.sort(np.where(places < setting.pods, filling, after))
    rollout = np.repeat(np.arange(count), setting.burst)
    at = np.repeat(minutes * 60, setting.burst) + np.tile(np.arange(setting.burst), count) * _SECONDS_BETWEEN
    at = np.maximum.accumulate(at)
    inside = at < (RAMP + setting.minutes - 1) * 60
    return at[inside], rollout[inside]


def _lives(at: Floats, rng: np.random.Generator) -> Whole:
    """Minutes; those of the ramp are met in the middle of their lives, so that the number of pods stays level."""
    low, high = _LIFE
    fresh = np.exp(rng.uniform(np.log(low), np.log(high), len(at)))
    left = rng.uniform(low, high, len(at)) * rng.random(len(at)) + RAMP / 2
    return np.ceil(np.where(at < RAMP * 60, left, fresh)).astype(np.int64)


def _use(setting: Setting, workload: Whole, workloads: int, minutes: int, rng: np.random.Generator) -> Singles:
    """(2, pods, minutes), of no particular scale."""
    shared, own = np.sqrt(setting.correlation), np.sqrt(1 - setting.correlation)
    pods = len(workload)
    level = _LEVEL_SIGMA * (
        shared * rng.standard_normal((2, workloads))[:, workload] + own * rng.standard_normal((2, pods))
    )
    wander = shared * _wander(workloads, minutes, rng)[workload] + own * _wander(pods, minutes, rng)
    follows = rng.random(pods) < setting.correlation
    kind = rng.integers(0, 3, workloads)[workload]
    phase = np.where(follows, rng.random(workloads)[workload], rng.random(pods))
    day = 1 + _SWING * np.sin(2 * np.pi * (np.arange(minutes) / _DAY + phase[:, None]))
    together, alone = _telegraph(workloads, minutes, rng)[workload], _telegraph(pods, minutes, rng)
    bursts = np.where(follows[:, None], together, alone)
    shape = np.where((kind == 1)[:, None], day, np.where((kind == 2)[:, None], bursts, 1.0))
    made = np.empty((2, pods, minutes), dtype=np.float32)
    made[CPU] = np.exp(level[CPU])[:, None] * shape * np.exp(_WANDER_SIGMA * wander)
    made[MEMORY] = np.exp(0.75 * level[MEMORY])[:, None] * (1 + 0.05 * wander)
    return made


def _wander(count: int, minutes: int, rng: np.random.Generator) -> Singles:
    """(count, minutes): an AR(1) of variance 1."""
    keep = float(np.exp(-1 / _WANDER_MINUTES))
    steps = rng.standard_normal((minutes, count), dtype=np.float32)
    steps[1:] *= np.float32(np.sqrt(1 - keep**2))
    for minute in range(1, minutes):
        steps[minute] += np.float32(keep) * steps[minute - 1]
    return np.ascontiguousarray(steps.T)


def _telegraph(count: int, minutes: int, rng: np.random.Generator) -> Singles:
    """(count, minutes): loud and quiet in turn, each for an exponential time."""
    draws = rng.random((minutes, count), dtype=np.float32)
    loud = np.empty((minutes, count), dtype=bool)
    loud[0] = draws[0] < _LOUD_MINUTES / (_LOUD_MINUTES + _QUIET_MINUTES)
    for minute in range(1, minutes):
        stays = draws[minute] >= np.where(loud[minute - 1], 1 / _LOUD_MINUTES, 1 / _QUIET_MINUTES)
        loud[minute] = np.where(stays, loud[minute - 1], ~loud[minute - 1])
    return np.ascontiguousarray(np.where(loud.T, np.float32(_LOUD), np.float32(_QUIET)))


def _requests(setting: Setting, use: Singles, workload: Whole, workloads: int, rng: np.random.Generator) -> Floats:
    counts = np.maximum(1, np.bincount(workload, minlength=workloads))
    whole = use.mean(axis=2)
    means = np.array([np.bincount(workload, weights=one, minlength=workloads) / counts for one in whole])
    off = np.array(
        [np.exp(rng.uniform(np.log(span[0]), np.log(span[1]), workloads)) for span in (_CPU_OFF, _MEMORY_OFF)]
    )
    wanted = means * (off if setting.requests_off else 1.0)
    wanted[CPU] = np.minimum(wanted[CPU], _MOST_REQUESTED_CORES)
    return wanted
