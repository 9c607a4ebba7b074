"""What a workload really used in each look-back, with no scrape between: what a false idle is told from.

A look-back is active where a pod's mean over the rate's window, wholly within the look-back, reaches the active
threshold. Left out are a pod's start-up, as the evidence leaves it out, and the last two scrape intervals: that is
how old the newest sample may be.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from bench.labelled_load import MINUTE, QUARTER, Array, Pod
from bench.scraped_load import AFTER_STEP, JITTER, SCRAPE, Seen
from webhook.core.policy import IdlePolicy
from webhook.core.readings import cpu_threshold


def active_look_backs(pods: Iterable[Pod], runs: int, policy: IdlePolicy, *, over_seconds: int) -> Array:
    """For each run, whether its look-back saw a mean ``over_seconds`` at or above the active threshold."""
    answer = np.zeros(runs, dtype=bool)
    for pod in pods:
        answer |= _within(_active_ends(pod, policy, over_seconds), runs, policy, over_seconds)
    return answer


def as_written(seen: Seen) -> Pod:
    """The pod without what it used between a scrape and the reset of its counters, which nobody ever wrote down."""
    at = np.arange(len(seen.pod.received)) * QUARTER
    ends = seen.restarts[np.minimum(np.searchsorted(seen.restarts, at, side="right"), len(seen.restarts) - 1)]
    lost = (ends > at) & (ends - at < SCRAPE + 2 * JITTER + QUARTER)
    cpu = tuple(np.where(lost, 0.0, each) for each in seen.pod.cpu)
    return replace(seen.pod, cpu=cpu, received=np.where(lost, 0.0, seen.pod.received))


def _active_ends(pod: Pod, policy: IdlePolicy, over_seconds: int) -> Array:
    """Seconds at which an active mean of this pod ends."""
    quarters = over_seconds // QUARTER
    cpu = _means(sum(pod.cpu), quarters) >= policy.leave_factor * cpu_threshold(pod.request_cores, policy)
    received = _means(pod.received, quarters) >= policy.leave_factor * policy.received_bytes_per_second
    ends = (np.arange(len(cpu)) + quarters) * QUARTER
    settled = ends - over_seconds >= pod.started + policy.startup_grace.total_seconds()
    return ends[(cpu | received) & settled & (ends <= pod.ended)]


def _within(ends: Array, runs: int, policy: IdlePolicy, over_seconds: int) -> Array:
    at = np.arange(runs) * MINUTE + AFTER_STEP.total_seconds()
    oldest = at - policy.window.total_seconds() + over_seconds
    newest = at - 2 * policy.scrape_interval.total_seconds()
    return np.searchsorted(ends, newest, side="right") > np.searchsorted(ends, oldest, side="left")


def _means(values: Array, quarters: int) -> Array:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[quarters:] - sums[:-quarters]) / quarters
