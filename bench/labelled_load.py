"""A seeded load whose truth is known: workloads of many habits, each minute labelled busy or idle by the work it does.

The label is made before anything is measured and knows no threshold: a minute is busy when the workload works for
somebody, however little, and idle when it only keeps house (collecting garbage, answering scrapes and probes,
starting up), however much that costs. Use is known in quarters of a minute; what a scraper sees of it is in
``bench/scraped_load.py``. All times are seconds since the load begins, on a Thursday at midnight UTC.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

DAY, HOUR, MINUTE, QUARTER = 86_400, 3_600, 60, 15
CPU_SHARE, CPU_FLOOR, RECEIVED = 0.05, 0.010, 1000.0
"""The product's default thresholds: habits are sized by them, so that each is a case at the border or far from it."""
START_UP = 90
"""Seconds for which a starting pod burns CPU without working."""

Array = np.ndarray


@dataclass(frozen=True)
class Pod:
    """``cpu`` (cores, by container) and ``received`` (bytes/s) are what each quarter of the whole load used."""

    name: str
    started: int
    ended: int
    request_cores: float
    cpu: tuple[Array, ...]
    received: Array


@dataclass(frozen=True)
class Workload:
    """``busy`` holds a label for each minute of the load."""

    name: str
    pods: tuple[Pod, ...]
    busy: Array

    @property
    def minutes(self) -> int:
        return len(self.busy)


@dataclass
class Work:
    """What a habit asks of its workload, by quarter; ``cpu`` in idle thresholds of a pod, ``received`` in bytes/s."""

    cpu: Array
    received: Array
    replicas: int = 1
    containers: int = 1
    spikes: tuple[float, float] = (0.05, 300.0)
    leads: bool = False
    lives: list[tuple[int, int]] = field(default_factory=list)

    @property
    def busy(self) -> Array:
        return ((self.cpu > 0) | (self.received > 0)).reshape(-1, MINUTE // QUARTER).any(axis=1)


def load(seed: int, days: int) -> tuple[Workload, ...]:
    """One workload of every habit."""
    return tuple(
        _workload(name, habit, np.random.default_rng([seed, number]), days)
        for number, (name, habit) in enumerate(HABITS.items())
    )


def threshold(request_cores: float, *, share: float = CPU_SHARE, floor: float = CPU_FLOOR) -> float:
    return max(share * request_cores, floor)


def _workload(name: str, habit: Callable, rng: np.random.Generator, days: int) -> Workload:
    quarters = days * DAY // QUARTER
    work = habit(rng, Work(np.zeros(quarters), np.zeros(quarters)))
    request = float(rng.choice([0.0, 0.1, 0.25, 0.5, 1.0]))
    pods = [
        _pod(f"{name}-{number}-{life[0]}", life, request, _share(work, number), rng)
        for number in range(work.replicas)
        for life in work.lives or [(-DAY, days * DAY + DAY)]
    ]
    return Workload(name, tuple(pods), work.busy)


def _share(work: Work, number: int) -> Work:
    """The part of one replica: all do the same, or one does all."""
    part = float(number == 0) if work.leads else 1.0
    return replace(work, cpu=work.cpu * part, received=work.received * part)


def _pod(name: str, life: tuple[int, int], request: float, work: Work, rng: np.random.Generator) -> Pod:
    """Its work, and what keeping house costs it on top."""
    began, ended = life
    quarters = len(work.cpu)
    at = np.arange(quarters) * QUARTER
    alive = (at >= began) & (at < ended)
    cpu = work.cpu * threshold(request) + _housekeeping(work, quarters, rng)
    # A start burns a good part of a core, whatever is asked of the pod then.
    cpu += np.where((at >= began) & (at < began + START_UP), 0.4, 0.0)
    received = work.received + rng.uniform(20, 150) * rng.uniform(0.8, 1.2, quarters)
    sidecars = [rng.uniform(0.0002, 0.001) * rng.uniform(0.5, 1.5, quarters) for _ in range(work.containers - 1)]
    mine = tuple(np.where(alive, each, 0.0) for each in (cpu, *sidecars))
    return Pod(name, began, ended, request, mine, np.where(alive, received, 0.0))


def _housekeeping(work: Work, quarters: int, rng: np.random.Generator) -> Array:
    """A floor of a few millicores with noise, and spikes of a quarter every so often."""
    base = rng.uniform(0.0003, 0.003) * rng.lognormal(0, 0.3, quarters)
    height, every = work.spikes
    return base + np.where(rng.random(quarters) < QUARTER / every, height * rng.uniform(0.3, 1.0, quarters), 0.0)


# --- habits: each writes its work into the quarters it works in


def _hours(quarters: int) -> Array:
    return np.arange(quarters) * QUARTER / HOUR


def _during(begin: float, length: float) -> slice:
    """The quarters of ``length`` seconds from ``begin`` on, at least one."""
    first = int(begin // QUARTER)
    return slice(first, max(first + 1, int((begin + length) // QUARTER)))


def _some(rng: np.random.Generator, size: int, low: float, high: float) -> Array:
    """Strengths between the two, spread evenly over orders of magnitude."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def _bursts(
    rng: np.random.Generator, work: Work, *, gap: tuple[float, float], length: tuple[float, float], cpu: tuple
) -> Work:
    """Work of ``length`` seconds with ``gap`` seconds of rest between, CPU in thresholds and requests to go with it."""
    at, end = rng.uniform(*gap), len(work.cpu) * QUARTER
    while at < end:
        lasts = rng.uniform(*length)
        here = _during(at, lasts)
        strength = _some(rng, 1, *cpu)[0]
        work.cpu[here], work.received[here] = strength, strength * RECEIVED * rng.uniform(0.2, 2)
        at += lasts + rng.uniform(*gap)
    return work


def resting(_rng, work):
    return work


def garbage_spikes(_rng, work):
    return replace(work, spikes=(1.5, 3 * HOUR))


def office_hours(rng, work):
    hours = _hours(len(work.cpu))
    # The load begins on a Thursday: days 2 and 3 are its weekend.
    open_ = (hours % 24 >= 8) & (hours % 24 < 18) & ~np.isin(hours // 24 % 7, [2, 3])
    wave = 1 + 4 * np.sin(np.pi * (hours % 24 - 8) / 10).clip(0)
    work.cpu[:] = np.where(open_, wave * rng.lognormal(0, 0.3, len(hours)), 0)
    work.received[:] = work.cpu * RECEIVED
    return work


def nightly_batch(rng, work):
    begin = rng.uniform(0, 5) * HOUR
    for day in range(len(work.cpu) * QUARTER // DAY):
        work.cpu[_during(day * DAY + begin + rng.uniform(0, 120), 600)] = 20
    return work


def hourly(rng, work):
    begin, lasts = rng.uniform(0, 55) * MINUTE, rng.uniform(20, 180)
    for hour in range(len(work.cpu) * QUARTER // HOUR):
        work.cpu[_during(hour * HOUR + begin, lasts)] = 60
    return work


def short_bursts(rng, work):
    return _bursts(rng, work, gap=(20 * MINUTE, 90 * MINUTE), length=(60, 180), cpu=(8, 80))


def rare_bursts(rng, work):
    return _bursts(rng, work, gap=(HOUR, 11 * HOUR), length=(60, 600), cpu=(5, 50))


def faint_bursts(rng, work):
    return _bursts(rng, work, gap=(20 * MINUTE, 40 * MINUTE), length=(15, 30), cpu=(2, 6))


def flapping(rng, work):
    return _bursts(rng, work, gap=(10 * MINUTE, 30 * MINUTE), length=(10 * MINUTE, 30 * MINUTE), cpu=(3, 30))


def border_flapping(rng, work):
    return _bursts(rng, work, gap=(HOUR, 3 * HOUR), length=(10 * MINUTE, 2 * HOUR), cpu=(0.8, 2.5))


def just_above(rng, work):
    work.cpu[:] = rng.uniform(1.2, 1.6) * rng.uniform(0.8, 1.2, len(work.cpu))
    return work


def just_below(rng, work):
    work.cpu[:] = rng.uniform(0.4, 0.55) * rng.uniform(0.8, 1.2, len(work.cpu))
    work.received[:] = 0.4 * RECEIVED
    return work


def network_only(rng, work):
    bursts = _bursts(rng, work, gap=(2 * HOUR, 8 * HOUR), length=(30 * MINUTE, 4 * HOUR), cpu=(3, 60))
    bursts.received[:] = np.where(bursts.cpu > 0, bursts.cpu * RECEIVED, 0)
    bursts.cpu[:] = 0
    return bursts


def cpu_only(rng, work):
    bursts = _bursts(rng, work, gap=(3 * HOUR, 10 * HOUR), length=(20 * MINUTE, 3 * HOUR), cpu=(3, 30))
    bursts.received[:] = 0
    return bursts


def weekly(rng, work):
    work.cpu[_during(4 * DAY + rng.uniform(1, 20) * HOUR, 2 * HOUR)] = 15
    return work


def slow_ramps(rng, work):
    """From nothing to five thresholds and back, from six in the morning to ten at night."""
    ramp = (8 - np.abs(_hours(len(work.cpu)) % 24 - 14)).clip(0) / 8
    work.cpu[:] = 5 * ramp * rng.uniform(0.9, 1.1, len(ramp))
    work.received[:] = work.cpu * RECEIVED / 2
    return work


def one_leader(rng, work):
    return replace(cpu_only(rng, work), replicas=3, leads=True)


def replicas(rng, work):
    return replace(office_hours(rng, work), replicas=3)


def with_sidecar(rng, work):
    return replace(rare_bursts(rng, work), containers=2)


def restarting(rng, work):
    """A pod that is replaced every so often, and works now and then."""
    rare = _bursts(rng, work, gap=(4 * HOUR, 12 * HOUR), length=(5 * MINUTE, 40 * MINUTE), cpu=(5, 50))
    borders = [-HOUR, *np.cumsum(rng.uniform(1, 10, 200) * HOUR).astype(int).tolist()]
    lives = [life for life in pairwise(borders) if life[0] < len(work.cpu) * QUARTER]
    return replace(rare, lives=lives)


HABITS: dict[str, Callable] = {
    habit.__name__.replace("_", "-"): habit
    for habit in (
        *(resting, garbage_spikes, office_hours, nightly_batch, hourly, short_bursts, rare_bursts, faint_bursts),
        *(flapping, border_flapping, just_above, just_below, network_only, cpu_only, weekly, slow_ramps),
        *(one_leader, replicas, with_sidecar, restarting),
    )
}
