"""How much the requests of a cluster's workloads are worth beside what was measured of them: empirical Bayes, for one resource.

What a workload's pods were measured to use is a sample: of few pods, and of one hour. What they request is a guess, and how
good the guesses are here shows over many workloads, in how far the logarithms of use over request lie apart::

    noise²  = pods' variance / pods + what the last minutes were apart from the hour, twice
    spread² = variance of ln(use / request) - mean of noise², 0 at least
    part    = noise² / (spread² + noise²)
    use     = measured ^ (1 - part) * (request * ratio) ^ part

Where requests are right, what is measured leans to them by what chance made of it; where they are off by factors, ``part`` is
next to nothing. Nothing hangs on the unit of a resource.
"""

from collections.abc import Iterable, Sequence
from math import exp, fsum, log, sqrt
from typing import NamedTuple

from webhook.core.quantity import is_amount

LEAST = 8
"""With fewer workloads that request something, nobody knows how good requests are."""
_UNKNOWN = 0.25
"""Variance of a pod over its mean, squared, where no workload has two: as ``expectation.UNSURE`` has it."""
_MOST = 1.0
"""What one workload may say of such variances: one whose leader alone works shall not make all others' measurements doubtful."""
_SLOW = 2.0
"""An hour is off the long run by about as much as minutes are off the hour, and what changes slowly shows less than half of
itself within an hour."""
_FURTHEST = 2.0
"""In deviations of its noise: whoever is further from its request than chance explains is no longer led than that."""
_LARGEST = log(4)
"""Nobody is led beyond four times or a quarter: noise is as large as an owner makes it, and its pods' nodes are everybody's."""
_FINEST = 1e-12


class Seen(NamedTuple):
    """What one workload's pods use of one resource, and request.

    ``mean`` is theirs over an hour or what there is of it, ``deviation`` that between them, ``recent`` their mean over the
    window. ``request`` is the mean of theirs, 0 where one of them has none.
    """

    mean: float
    deviation: float
    pods: int
    recent: float
    request: float

    @property
    def tells(self) -> bool:
        """Whether use can be held against requests; figures that no amount can be are none."""
        usable = is_amount(self.mean, self.deviation, self.recent, self.request) and self.pods > 0
        return usable and self.mean > _FINEST and self.request > _FINEST


class Believed(NamedTuple):
    """``mean`` is what a pod is taken to use; ``part`` how much requests had in it, 0..1."""

    mean: float
    part: float = 0.0


class Trust(NamedTuple):
    """What is known of requests: ``level`` is ln of use over request, ``spread`` the variance around it.

    ``between`` and ``over_time`` are variances of a measurement over its mean, squared: of one pod, and of an hour.
    """

    level: float
    spread: float
    between: float
    over_time: float

    def of(self, seen: Seen) -> Believed:
        """Between what was measured and request * ratio, or the one of them."""
        if not seen.tells:
            return Believed(seen.mean)
        noise = self.between / seen.pods + self.over_time
        if not noise > _FINEST:
            return Believed(seen.mean)
        part = noise / (self.spread + noise)
        away = self.level - log(seen.mean / seen.request)
        if abs(away) <= _FINEST:
            return Believed(seen.mean, part)
        part = min(part, _FURTHEST * sqrt(noise) / abs(away), _LARGEST / abs(away))
        return Believed(seen.mean * exp(part * away), part)


def trust(seen: Iterable[Seen]) -> Trust | None:
    """None where too few workloads tell. Their order does not show in a single bit."""
    return _trust([(one, 1.0) for one in seen if one.tells])


def everywhere(groups: Iterable[Iterable[Seen]]) -> Trust | None:
    """The same over groups, each of which counts as ``LEAST`` workloads at most: many of one hand shall not speak for all."""
    known = [[one for one in group if one.tells] for group in groups]
    return _trust([(one, min(1.0, LEAST / len(group))) for group in known for one in group])


def _trust(known: Sequence[tuple[Seen, float]]) -> Trust | None:
    if len(known) < LEAST:
        return None
    shares = [share for _, share in known]
    several = [(min(_MOST, (one.deviation / one.mean) ** 2), share) for one, share in known if one.pods > 1]
    between = _mean([variance for variance, _ in several], [share for _, share in several]) if several else _UNKNOWN
    changes = [((one.recent - one.mean) / max(one.recent, one.mean)) ** 2 for one, _ in known]
    over_time = _SLOW * _mean(changes, shares)
    ratios = [log(one.mean / one.request) for one, _ in known]
    noises = [between / one.pods + over_time for one, _ in known]
    level = _mean(ratios, shares)
    whole = fsum(shares)
    # Of n that count alike, their number less one.
    freedom = whole - fsum(share * share for share in shares) / whole
    found = fsum(share * (ratio - level) ** 2 for ratio, share in zip(ratios, shares, strict=True)) / freedom
    spread = max(0.0, found - _mean(noises, shares))
    weights = [share / (spread + noise + _FINEST) for noise, share in zip(noises, shares, strict=True)]
    return Trust(level=_mean(ratios, weights), spread=spread, between=between, over_time=over_time)


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return fsum(weight * value for value, weight in zip(values, weights, strict=True)) / fsum(weights)
