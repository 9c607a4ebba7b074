"""The few PromQL functions that the sweep is made of, over many moments at once.

A model for benchmarks that judge months of runs; ``tests/bench/test_promql_model.py`` holds it against a real
Prometheus. Series are times in milliseconds, rising, with their values; NaN is a staleness marker. Moments and ranges
are milliseconds too; a range leaves its older end out, as since Prometheus 3. NaN in an answer is no answer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LOOKBACK_MS = 5 * 60_000
"""How far back an instant selector finds a sample, by Prometheus' default."""

Array = np.ndarray


class Series(NamedTuple):
    times: Array
    values: Array


def steps(begin_ms: int, end_ms: int, step_ms: int) -> Array:
    """The moments in (begin, end] at which a subquery is evaluated: multiples of its step since the epoch."""
    return np.arange(begin_ms // step_ms + 1, end_ms // step_ms + 1) * step_ms


def rate(series: Series, at: Array, range_ms: int) -> Array:
    """``rate(series[range])``: the increase, resets made good, extrapolated towards the borders of the range."""
    times, values = _samples(series)
    first, last = _between(times, at, range_ms)
    found = last - first >= 1
    answer = np.full(len(at), np.nan)
    if not found.any():
        return answer
    first, last, moments = first[found], last[found], at[found]
    increase = values[last] - values[first] + _resets(values)[last] - _resets(values)[first]
    sampled = (times[last] - times[first]) / 1000.0
    between = sampled / (last - first)
    to_start = _to_border((times[first] - (moments - range_ms)) / 1000.0, between)
    # A counter is not extrapolated to below zero.
    with np.errstate(divide="ignore", invalid="ignore"):
        to_zero = np.where(increase > 0, sampled * (values[first] / increase), np.inf)
    to_end = _to_border((moments - times[last]) / 1000.0, between)
    whole = sampled + np.minimum(to_start, to_zero) + to_end
    answer[found] = increase * (whole / sampled / (range_ms / 1000.0))
    return answer


def instant(series: Series, at: Array, *, of_time: bool = False) -> Array:
    """The selector's value at each moment, or with ``of_time`` its ``timestamp()`` in seconds."""
    last = np.searchsorted(series.times, at, side="right") - 1
    near = np.maximum(last, 0)
    if not len(series.times):
        return np.full(len(at), np.nan)
    there = (last >= 0) & (series.times[near] > at - LOOKBACK_MS) & ~np.isnan(series.values[near])
    return np.where(there, series.times[near] / 1000.0 if of_time else series.values[near], np.nan)


def last_over_time(series: Series, at: Array, range_ms: int) -> Array:
    times, values = _samples(series)
    first, last = _between(times, at, range_ms)
    return np.where(last >= first, values[np.maximum(last, 0)] if len(values) else np.nan, np.nan)


def resets(series: Series, at: Array, range_ms: int) -> Array:
    """How often the counter fell between two samples of the range; NaN where the range has none."""
    times, values = _samples(series)
    first, last = _between(times, at, range_ms)
    falls = np.concatenate([[0], np.cumsum(values[1:] < values[:-1])]) if len(values) else np.zeros(1)
    near = np.minimum(first, len(falls) - 1)
    return np.where(last >= first, falls[np.maximum(last, 0)] - falls[near], np.nan)


def largest(answers: Sequence[Array]) -> Array:
    """``max by`` over series: what has an answer counts."""
    return np.fmax.reduce(answers)


def total(answers: Sequence[Array]) -> Array:
    """``sum by``: of those that have an answer, NaN where none has."""
    there = ~np.isnan(answers)
    return np.where(there.any(axis=0), np.where(there, answers, 0.0).sum(axis=0), np.nan)


def max_over_time(grid: Array, steps_in_range: int) -> Array:
    """Of a subquery whose values are ``grid``, for the range that ends with each of its steps from the first whole one."""
    largest_ = np.lib.stride_tricks.sliding_window_view(np.where(np.isnan(grid), -np.inf, grid), steps_in_range)
    found = largest_.max(axis=1)
    return np.where(np.isneginf(found), np.nan, found)


def count_over_time(grid: Array, steps_in_range: int) -> Array:
    """How many steps of each range have a value; PromQL has no answer where this has zero."""
    counted = np.concatenate([[0], np.cumsum(~np.isnan(grid))])
    return counted[steps_in_range:] - counted[:-steps_in_range]


def _samples(series: Series) -> Series:
    kept = ~np.isnan(series.values)
    return Series(series.times[kept], series.values[kept])


def _between(times: Array, at: Array, range_ms: int) -> tuple[Array, Array]:
    """Indices of the first and the last sample in (at - range, at]."""
    first = np.searchsorted(times, at - range_ms, side="right")
    return first, np.searchsorted(times, at, side="right") - 1


def _resets(values: Array) -> Array:
    """What was lost to resets up to each sample."""
    lost = np.zeros(len(values))
    lost[1:] = np.where(values[1:] < values[:-1], values[:-1], 0.0)
    return np.cumsum(lost)


def _to_border(distance: Array, between: Array) -> Array:
    """As far as the border if a sample may just have been missed, else half a step."""
    return np.where(distance >= between * 1.1, between / 2, distance)
