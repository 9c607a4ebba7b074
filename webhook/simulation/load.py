"""Seeded synthetic load: workloads of many shapes, each minute labelled busy or idle by the work that is done in it.

The label is made before anything is measured and knows no threshold: a minute is busy when the workload works for
somebody. What it uses is told in multiples of idle's threshold, of whichever signal is the higher: work costs 1.5 to 40,
keeping house less than 0.6, with a spike above the threshold once in a while. Time begins on a Monday at midnight.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from webhook.core import rules
from webhook.core.model import Resources, WorkloadKey
from webhook.core.policy import Policy
from webhook.simulation.evidence import Track, masks
from webhook.simulation.objects import MEBIBYTE

HOUR, DAY = 60, 1_440
Span = tuple[float, float]


class Shape(NamedTuple):
    """``spans`` gives the minutes of work, in order; ``strength`` how much it costs then, ``noise`` how uneven it is."""

    spans: Callable[[Random, int], Iterator[Span]]
    strength: Span = (2.0, 40.0)
    noise: float = 0.3


def _never(_: Random, __: int) -> Iterator[Span]:
    yield from ()


def _always(_: Random, minutes: int) -> Iterator[Span]:
    yield 0, minutes


def _daily(begin: Span, lasts: Span, days: Callable[[int], bool]) -> Callable[[Random, int], Iterator[Span]]:
    """Once on each of ``days``, from about the same minute on."""

    def spans(rng: Random, minutes: int) -> Iterator[Span]:
        first, length = rng.uniform(*begin), rng.uniform(*lasts)
        for day in range(minutes // DAY + 1):
            if days(day):
                at = day * DAY + first + rng.uniform(-10, 10)
                yield at, at + length

    return spans


def _bursts(gap: Span, lasts: Span) -> Callable[[Random, int], Iterator[Span]]:
    """Work of some length again and again, at no particular time."""

    def spans(rng: Random, minutes: int) -> Iterator[Span]:
        at = rng.uniform(0, gap[1])
        while at < minutes:
            until = at + rng.uniform(*lasts)
            yield at, until
            at = until + rng.uniform(*gap)

    return spans


def _every_day(_: int) -> bool:
    return True


def _on_weekdays(day: int) -> bool:
    return day % 7 < 5


def _on_sundays(day: int) -> bool:
    return day % 7 == 6


SHAPES: dict[str, Shape] = {
    "resting": Shape(_never),
    "steady": Shape(_always),
    "diurnal": Shape(_daily((6 * HOUR, 9 * HOUR), (10 * HOUR, 15 * HOUR), _every_day)),
    "office-hours": Shape(_daily((7 * HOUR, 9 * HOUR), (8 * HOUR, 11 * HOUR), _on_weekdays)),
    "nightly-batch": Shape(_daily((0, 5 * HOUR), (20, 90), _every_day), strength=(5.0, 40.0)),
    "weekly": Shape(_daily((HOUR, 20 * HOUR), (HOUR, 4 * HOUR), _on_sundays), strength=(3.0, 20.0)),
    "hourly": Shape(_bursts((50, 58), (2, 6)), strength=(5.0, 60.0)),
    "bursty": Shape(_bursts((2 * HOUR, 40 * HOUR), (10, 3 * HOUR)), noise=0.5),
    "noisy": Shape(_daily((5 * HOUR, 9 * HOUR), (9 * HOUR, 14 * HOUR), _every_day), strength=(1.5, 6.0), noise=0.9),
}
"""By name. A mix takes them in turn."""

MIX = (*SHAPES, "resting", "steady", "steady", "resting", "office-hours", "steady")
"""Of a cluster: much that always works or always rests, some of everything else."""


def tracks(seed: int, *, workloads: int, days: int, policy: Policy, shapes: tuple[str, ...] = MIX) -> list[Track]:
    """So many workloads, each with what its usage would have shown under the policy that its rule gives it."""
    return [_track(seed, number, shapes[number % len(shapes)], days, policy) for number in range(workloads)]


def _track(seed: int, number: int, name: str, days: int, policy: Policy) -> Track:
    rng = Random(f"load {seed} {number} {name}")  # noqa: S311 - a load that can be told again
    key = WorkloadKey(f"team-{number % 8}", "Deployment", f"{name}-{number}")
    idle = rules.idle_policy(policy, rules.first(policy, key, labels={}, namespace_labels={}))
    busy, levels = _usage(rng, SHAPES[name], days * DAY)
    return Track(
        key=key,
        replicas=rng.choice((1, 1, 2, 2, 3, 5)),
        requests=Resources(cpu_cores=rng.choice((0.1, 0.25, 0.5)), memory_bytes=rng.choice((128, 512)) * MEBIBYTE),
        busy=busy,
        gap=bytes(len(busy)),
        shape=name,
        **masks(levels, idle),
    )


def _usage(rng: Random, shape: Shape, minutes: int) -> tuple[bytes, list[float]]:
    """Whether each minute is busy, and what it uses."""
    base, draw = rng.uniform(0.05, 0.4), rng.random
    levels = [base * (0.5 + draw()) for _ in range(minutes)]
    for _ in range(minutes // (2 * DAY)):
        # Garbage that is collected: a minute well above the threshold, a rate over five well below.
        levels[rng.randrange(minutes)] = rng.uniform(1.0, 2.5)
    busy = bytearray(minutes)
    for begin, end in shape.spans(rng, minutes):
        first, last = max(0, int(begin)), min(minutes, max(int(end), int(begin) + 1))
        strength = rng.uniform(*shape.strength)
        for minute in range(first, last):
            busy[minute] = 1
            levels[minute] += strength * (1.0 + shape.noise * (2.0 * draw() - 1.0))
    return bytes(busy), levels
