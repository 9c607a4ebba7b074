"""Other people's rules for who is idle, over the same rates as ours, and how any rule's answers are scored.

A rule sees a workload as its busiest pod at each minute: CPU as a share of that pod's threshold, and received bytes
per second, both as 5-minute rates. Where there is no value it keeps its last answer. Rules by the day look back over
all of the load so far (at most 14 days), anew at each midnight.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import numpy as np

from bench.labelled_load import CPU_FLOOR, CPU_SHARE, RECEIVED, Array, threshold
from bench.scraped_load import Seen

RUNS_A_DAY, RUNS_AN_HOUR = 1440, 60
AWS_RECEIVED = 5e6 / 86_400


@dataclass(frozen=True)
class Busiest:
    """By minute; NaN where no pod had a value."""

    cpu: Array
    received: Array


def busiest(seen: Iterable[Seen], runs: int, *, share: float = CPU_SHARE, absent: float = np.nan) -> Busiest:
    """The workload as rules see it; ``absent`` is what a running pod without a value counts for."""
    cpu, received = np.full(runs, np.nan), np.full(runs, np.nan)
    everything = np.arange(runs)
    for each in seen:
        alive = each.alive(everything)
        scaled = each.cpu_rate / threshold(each.pod.request_cores, share=share, floor=CPU_FLOOR)
        for target, values in ((cpu, scaled), (received, each.received_rate)):
            told = np.where(np.isnan(values), absent, values)
            target[alive] = np.fmax(target[alive], told[alive])
    return Busiest(cpu, received)


def instant(seen: list[Seen], runs: int) -> Array:
    load = busiest(seen, runs)
    return _held(_below(load), np.isnan(load.cpu) | np.isnan(load.received))


def mean(seen: list[Seen], runs: int, *, window: int = RUNS_AN_HOUR, absent: float = np.nan) -> Array:
    load = busiest(seen, runs, absent=absent)
    return _below(Busiest(_means(load.cpu, window), _means(load.received, window)))


def largest(seen: list[Seen], runs: int, *, window: int = RUNS_AN_HOUR, absent: float = np.nan) -> Array:
    load = busiest(seen, runs, absent=absent)
    return _below(Busiest(_largest(load.cpu, window), _largest(load.received, window)))


def largest_of_a_day(seen: list[Seen], runs: int) -> Array:
    return largest(seen, runs, window=RUNS_A_DAY)


def google(seen: list[Seen], runs: int) -> Array:
    """CPU below 0.03 of a core for 97 % of the time and received below 2,000 B/s for 95 %."""
    load = busiest(seen, runs, share=0.03)

    def idle(past: slice) -> bool:
        return _share_below(load.cpu[past], 1.0) >= 0.97 and _share_below(load.received[past], 2000.0) >= 0.95

    return _daily(idle, runs)


def aws(seen: list[Seen], runs: int, *, received: float = AWS_RECEIVED) -> Array:
    """Peak CPU below 5 % and network below 5 MB a day."""
    load = busiest(seen, runs)

    def idle(past: slice) -> bool:
        return bool(np.nanmax(load.cpu[past]) < 1 and np.nanmean(load.received[past]) < received)

    return _daily(idle, runs)


def aws_with_our_network(seen: list[Seen], runs: int) -> Array:
    return aws(seen, runs, received=RECEIVED)


PEERS: dict[str, Callable[[list[Seen], int], Array]] = {
    "instant threshold": instant,
    "1 h mean": mean,
    "1 h maximum": largest,
    "24 h maximum": largest_of_a_day,
    "Google idle VM, scaled to a pod": google,
    "AWS Compute Optimizer, scaled to a pod": aws,
    "AWS, with 1 kB/s received": aws_with_our_network,
}


def _below(load: Busiest) -> Array:
    with np.errstate(invalid="ignore"):
        return (load.cpu < 1) & (load.received < RECEIVED)


def _held(answers: Array, unknown: Array) -> Array:
    """The last known answer, no before the first."""
    last = np.maximum.accumulate(np.where(unknown, -1, np.arange(len(answers))))
    return np.where(last >= 0, answers[np.maximum(last, 0)], False)


def _means(values: Array, window: int) -> Array:
    there = ~np.isnan(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(there, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(there)])
    begin = np.maximum(np.arange(1, len(values) + 1) - window, 0)
    with np.errstate(invalid="ignore"):
        return (sums[1:] - sums[begin]) / (counts[1:] - counts[begin])


def _largest(values: Array, window: int) -> Array:
    padded = np.concatenate([np.full(window - 1, -np.inf), np.where(np.isnan(values), -np.inf, values)])
    found = np.lib.stride_tricks.sliding_window_view(padded, window).max(axis=1)
    return np.where(np.isneginf(found), np.nan, found)


def _share_below(values: Array, limit: float) -> float:
    return float((values[~np.isnan(values)] < limit).mean())


def _daily(idle: Callable[[slice], bool], runs: int) -> Array:
    answers = np.zeros(runs, dtype=bool)
    for midnight in range(RUNS_A_DAY, runs, RUNS_A_DAY):
        answers[midnight : midnight + RUNS_A_DAY] = idle(slice(max(0, midnight - 14 * RUNS_A_DAY), midnight))
    return answers


# --- scores


@dataclass
class Score:
    """Minutes of all workloads, and changes of side; a minute is ``good`` if it is idle, and the next hour too."""

    spot: int = 0
    good: int = 0
    good_on_spot: int = 0
    busy: int = 0
    busy_on_spot: int = 0
    changes: int = 0
    minutes: int = 0

    def add(self, on_spot: Array, busy: Array) -> None:
        """Score one workload from its second day on, while the hour that follows is known."""
        scored = slice(RUNS_A_DAY, len(busy) - RUNS_AN_HOUR)
        spot, working, good = on_spot[scored], busy[scored], _rests(busy)[scored]
        self.spot += int(spot.sum())
        self.good += int(good.sum())
        self.good_on_spot += int((spot & good).sum())
        self.busy += int(working.sum())
        self.busy_on_spot += int((spot & working).sum())
        self.changes += int((spot[1:] != spot[:-1]).sum())
        self.minutes += len(spot)

    @property
    def precision(self) -> float | None:
        return self.good_on_spot / self.spot if self.spot else None

    @property
    def recall(self) -> float | None:
        return self.good_on_spot / self.good if self.good else None

    @property
    def changes_a_day(self) -> float:
        return self.changes / (self.minutes / RUNS_A_DAY)

    def told(self, name: str) -> dict:
        return {
            "name": name,
            "precision": _rounded(self.precision),
            "precisionNow": _rounded(1 - self.busy_on_spot / self.spot if self.spot else None),
            "recall": _rounded(self.recall),
            "changesPerWorkloadAndDay": _rounded(self.changes_a_day),
            "busyMinutesOnSpot": _rounded(self.busy_on_spot / self.busy if self.busy else None),
            "counts": asdict(self),
        }


def dominates(one: Score, other: Score) -> bool:
    """At least as good in precision, recall and changes, and better in one. Who never says idle has no precision."""
    if one.precision is None or other.precision is None:
        return False
    mine = (one.precision, one.recall or 0.0, -one.changes_a_day)
    yours = (other.precision, other.recall or 0.0, -other.changes_a_day)
    return mine != yours and all(a >= b for a, b in zip(mine, yours, strict=True))


def _rests(busy: Array) -> Array:
    """Whether each minute and the hour after it are idle."""
    padded = np.concatenate([busy, np.ones(RUNS_AN_HOUR, dtype=bool)])
    return ~np.lib.stride_tricks.sliding_window_view(padded, RUNS_AN_HOUR + 1).any(axis=1)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
