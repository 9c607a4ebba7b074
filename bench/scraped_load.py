"""What scrapes leave of a labelled load, whole or with a fault, and the usage that the sweep's queries make of it."""

import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

import numpy as np

from bench import promql_model as promql
from bench.labelled_load import HOUR, MINUTE, QUARTER, Array, Pod, Workload
from bench.promql_model import Series
from webhook.core.census import Census, PodFact
from webhook.core.model import Resources, WorkloadKey
from webhook.core.policy import IdlePolicy
from webhook.core.readings import leave_range, reach, startup
from webhook.core.usage import PodUsage, RunningPod, WorkloadUsage, still_nodes

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BEGIN_MS = int(BEGIN.timestamp() * 1000)
AFTER_STEP = timedelta(milliseconds=7_123)
"""When in its minute the monitor runs."""
SCRAPE, JITTER = 60.0, 2.0
LONG_AGO = -1e9
NODES = 4
"""Few enough that each has some pods of a load, as the product asks for before it doubts an exporter."""
Spells = Sequence[tuple[float, float]]
NAMESPACE = "load"


@dataclass(frozen=True)
class Fault:
    """``lost`` is the share of samples that never arrive; in spells the exporter of a node stands still."""

    name: str = "none"
    lost: float = 0.0
    stops: bool = False
    repeats: bool = False
    duplicates: bool = False
    resets: bool = False


@dataclass(frozen=True)
class Scraped:
    """A pod's series: CPU by container and received bytes, each with its duplicates, and ``kube_pod_start_time``.

    ``restarts`` are the seconds at which its counters began anew, after one that lies before all.
    """

    pod: Pod
    cpu: tuple[tuple[Series, ...], ...]
    received: tuple[Series, ...]
    known: Series
    restarts: Array


@dataclass(frozen=True)
class Exporter:
    """A node's: when each of two Prometheuses scrapes it, and the spells in which it stands still, in seconds.

    One scrape tells of all of its pods at once.
    """

    times: tuple[Array, Array]
    spells: Spells

    @classmethod
    def drawn(cls, seconds: int, fault: Fault, rng: np.random.Generator) -> Self:
        return cls((_scrapes(seconds, rng), _scrapes(seconds, rng)), _spells(seconds, fault, rng))


def scrape(pod: Pod, seconds: int, fault: Fault, rng: np.random.Generator, exporter: Exporter) -> Scraped:
    """The series of a pod in a load of that length, by the exporter of its node."""
    restarts = _restarts(seconds, rng) if fault.resets else np.array([LONG_AGO])

    def counters(rates: Array) -> tuple[Series, ...]:
        used = np.concatenate([[0.0], np.cumsum(rates) * QUARTER])
        copies = exporter.times[: 2 if fault.duplicates else 1]
        moments = [_arrived(_alive(pod, times), fault, rng) for times in copies]
        found = [_counter(at, used, restarts, _standing_still(at, exporter.spells, fault)) for at in moments]
        if fault.duplicates:
            # A second job that still delivers, but always the same.
            found.append(Series(found[0].times, np.full(len(found[0].times), 12.5)))
        return tuple(found)

    cpu = tuple(counters(each) for each in pod.cpu)
    return Scraped(pod, cpu, counters(pod.received), _known(pod, seconds, fault, rng), restarts)


def _counter(at: Array, used: Array, restarts: Array, read: Array) -> Series:
    """The counter at times ``at``, as it was when the exporter last read it; NaN where no sample came."""
    at, read = at[~np.isnan(read)], read[~np.isnan(read)]
    borders = np.arange(len(used)) * QUARTER
    restarted = restarts[np.searchsorted(restarts, read, side="right") - 1]
    return Series(_ms(at), np.interp(read, borders, used) - np.interp(restarted, borders, used))


def _standing_still(at: Array, spells: Spells, fault: Fault) -> Array:
    """When the exporter read what it delivers at each time: in a spell of its, before the spell, or never."""
    read = at.copy()
    for begin, end in spells:
        still = (at >= begin) & (at < end)
        if still.any():
            read[still] = at[max(0, int(np.argmax(still)) - 1)] if fault.repeats else np.nan
    return read


def _arrived(at: Array, fault: Fault, rng: np.random.Generator) -> Array:
    return at[rng.random(len(at)) >= fault.lost]


def _known(pod: Pod, seconds: int, fault: Fault, rng: np.random.Generator) -> Series:
    """kube-state-metrics tells whole seconds, and its series ends with the pod."""
    at = _arrived(_alive(pod, _scrapes(seconds, rng)), fault, rng)
    values = np.full(len(at), BEGIN_MS / 1000 + pod.started)
    if pod.ended < seconds:
        at, values = np.append(at, pod.ended + rng.uniform(1, SCRAPE)), np.append(values, np.nan)
    return Series(_ms(at), values)


def _scrapes(seconds: int, rng: np.random.Generator) -> Array:
    at = np.arange(rng.uniform(JITTER, SCRAPE), seconds, SCRAPE)
    return at + rng.uniform(-JITTER, JITTER, len(at))


def _alive(pod: Pod, at: Array) -> Array:
    return at[(at >= pod.started) & (at < pod.ended)]


def _ms(seconds: Array) -> Array:
    return np.rint(seconds * 1000).astype(np.int64) + BEGIN_MS


def _spells(seconds: int, fault: Fault, rng: np.random.Generator) -> Spells:
    """When one node's exporter stands still, in seconds; one kubelet tells of all of its pods."""
    if not (fault.stops or fault.repeats):
        return ()
    begins = np.cumsum(rng.uniform(1, 8, 500) * HOUR)
    return [(b, b + rng.uniform(5, 90) * MINUTE) for b in begins[begins < seconds]]


def node_of(pod: Pod) -> int:
    """The number of its node."""
    return zlib.crc32(pod.name.encode()) % NODES


def _restarts(seconds: int, rng: np.random.Generator) -> Array:
    moments = np.cumsum(rng.exponential(40 * MINUTE, 2000))
    return np.concatenate([[LONG_AGO], moments[moments < seconds]])


# --- what the queries make of it


def seen_of(workload: Workload, fault: Fault, seed: list[int], policy: IdlePolicy) -> list["Seen"]:
    """What Prometheus would answer of each pod; the same seed scrapes in the same way."""
    rng = np.random.default_rng([7, *seed])
    seconds = workload.minutes * MINUTE
    # By the seed of the whole load: one exporter tells of the pods of other workloads on its node too.
    nodes = [Exporter.drawn(seconds, fault, np.random.default_rng([13, seed[0], node])) for node in range(NODES)]
    scraped = [scrape(pod, seconds, fault, rng, nodes[node_of(pod)]) for pod in workload.pods]
    return [observe(each, policy, workload.minutes) for each in scraped]


@dataclass(frozen=True)
class Seen:
    """A pod's answers for every run of the load; the rates stand at the step before each run."""

    pod: Pod
    columns: dict[str, Array]
    cpu_rate: Array
    received_rate: Array
    restarts: Array

    def alive(self, runs: Array) -> Array:
        at = runs * MINUTE + AFTER_STEP.total_seconds()
        return (at >= self.pod.started) & (at < self.pod.ended)


def observe(scraped: Scraped, policy: IdlePolicy, runs: int) -> Seen:
    """The sweep's queries, with their names, at each minute of the load."""
    step_ms, window_ms, rate_ms = (
        _milliseconds(policy.step),
        _milliseconds(policy.window),
        _milliseconds(policy.rate_window),
    )
    wide = window_ms // step_ms
    at = BEGIN_MS + np.arange(runs) * step_ms + _milliseconds(AFTER_STEP)
    grid = promql.steps(int(at[0]) - window_ms, int(at[-1]), step_ms)
    started = promql.instant(scraped.known, grid)
    with np.errstate(invalid="ignore"):
        grown = ~(started > grid / 1000 - startup(policy).total_seconds())
    settled = grid / 1000 - startup(policy).total_seconds() >= _start_of(scraped)
    containers = [promql.largest([promql.rate(s, grid, rate_ms) for s in series]) for series in scraped.cpu]
    received = promql.largest([promql.rate(s, grid, rate_ms) for s in scraped.received])
    cpu = promql.total(containers)
    leave_ms = _milliseconds(leave_range(policy))
    life = promql.last_over_time(scraped.known, at, window_ms)

    def points(rate: Array) -> Array:
        """Of who has ended, only steps at which kube-state-metrics knew it: a rate outlives its pod."""
        near = promql.last_over_time(scraped.known, at, _milliseconds(reach(policy)))
        has_ended = np.isnan(promql.instant(scraped.known, at)) & ~np.isnan(near)
        every, known = (np.where(settled & there, rate, np.nan) for there in (True, ~np.isnan(started)))
        counted = np.where(has_ended, promql.count_over_time(known, wide), promql.count_over_time(every, wide))
        return np.where(np.isnan(near), promql.count_over_time(rate, wide), counted)

    columns = {
        "cpu_peak_cores": promql.max_over_time(np.where(grown, cpu, np.nan), wide),
        "cpu_recent_cores": promql.total([_largest_rate(series, at, leave_ms) for series in scraped.cpu]),
        "cpu_points": _least([points(rate) for rate in containers], life),
        "received_peak_bytes_per_second": promql.max_over_time(np.where(grown, received, np.nan), wide),
        "received_recent_bytes_per_second": _largest_rate(scraped.received, at, leave_ms),
        "received_points": points(received),
        "expected_points": promql.count_over_time(np.where(settled, started, np.nan), wide),
        "running_points": promql.count_over_time(started, wide),
        "restarts": _restarted(scraped, at, _milliseconds(reach(policy))),
        "last_sample_at": _oldest_newest(scraped, at),
        "started_at": life,
    }
    return Seen(scraped.pod, columns, cpu[wide - 1 :], received[wide - 1 :], scraped.restarts)


def _start_of(scraped: Scraped) -> float:
    """Unix seconds, as kube-state-metrics tells it."""
    return BEGIN_MS / 1000 + scraped.pod.started


def _largest_rate(series: tuple[Series, ...], at: Array, range_ms: int) -> Array:
    return promql.largest([promql.rate(s, at, range_ms) for s in series])


def _restarted(scraped: Scraped, at: Array, range_ms: int) -> Array:
    """How often any of its counters began anew; a container always keeps its series here."""
    every = [one for copies in (*scraped.cpu, scraped.received) for one in copies]
    return np.nan_to_num(promql.largest([promql.resets(one, at, range_ms) for one in every]))


def _least(counts: list[Array], life: Array) -> Array:
    """No points while a container that kube-state-metrics knows has none at all."""
    return np.where(np.isnan(life), 0, np.minimum.reduce(counts))


def _oldest_newest(scraped: Scraped, at: Array) -> Array:
    """Of each container's and interface's newest sample, the oldest."""
    newest = [
        promql.largest([promql.instant(s, at, of_time=True) for s in series])
        for series in (*scraped.cpu, scraped.received)
    ]
    return np.fmin.reduce(newest)


def _milliseconds(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)


class Usages:
    """The usage of a workload at each run, as the census and the sweep would join it."""

    def __init__(self, workload: Workload, seen: list[Seen]) -> None:
        self.key = key_of(workload)
        self.created_at = BEGIN + timedelta(seconds=min(each.pod.started for each in seen))
        everything = np.arange(workload.minutes)
        self._alive = [each.alive(everything).tolist() for each in seen]
        self._facts = [_fact(each.pod) for each in seen]
        self._rows = [list(rows(each)) for each in seen]

    def running(self, run: int) -> Iterator[tuple[PodFact, PodUsage | None]]:
        """The pods that the API server says run, each with what is told of it."""
        for alive, fact, told in zip(self._alive, self._facts, self._rows, strict=True):
            if alive[run]:
                yield fact, told[run]

    def at(self, run: int, still: Collection[str] = ()) -> WorkloadUsage:
        """``still`` are the nodes whose exporters are held to repeat themselves."""
        running, gone = [], []
        for alive, fact, rows in zip(self._alive, self._facts, self._rows, strict=True):
            usage = rows[run]
            if alive[run]:
                running.append(RunningPod(pod=fact, usage=usage, on_still_node=fact.node_name in still))
            elif usage and usage.running_points:
                gone.append(usage)
        return WorkloadUsage(
            key=self.key,
            evaluated_at=moment(run),
            created_at=self.created_at,
            running=tuple(running),
            gone=tuple(gone),
        )


def still_at(everything: Iterable[Usages], run: int) -> frozenset[str]:
    """The nodes whose exporters the product doubts at that run, by the pods of a whole load."""
    pods = [pair for usages in everything for pair in usages.running(run)]
    known = {(fact.namespace, fact.name): usage for fact, usage in pods if usage}
    return still_nodes(Census(taken_at=moment(run), pods=tuple(fact for fact, _ in pods)), known)


def key_of(workload: Workload) -> WorkloadKey:
    return WorkloadKey(namespace=NAMESPACE, kind="Deployment", name=workload.name)


def moment(run: int) -> datetime:
    """When the monitor's run of that minute asks."""
    return BEGIN + timedelta(minutes=run) + AFTER_STEP


def _fact(pod: Pod) -> PodFact:
    started = BEGIN + timedelta(seconds=pod.started)
    requests = Resources(cpu_cores=pod.request_cores)
    return PodFact(
        namespace=NAMESPACE,
        name=pod.name,
        uid=pod.name,
        node_name=f"node-{node_of(pod)}",
        phase="Running",
        created_at=started,
        started_at=started,
        requests=requests,
    )


def rows(seen: Seen) -> Iterator[PodUsage | None]:
    """The pod's usage at each run; None where no query knows it."""
    columns = {name: _optional(column) for name, column in seen.columns.items()}
    for name in ("cpu_points", "received_points", "expected_points", "running_points", "restarts"):
        columns[name] = seen.columns[name].astype(int).tolist()
    for name in ("last_sample_at", "started_at"):
        columns[name] = [v if v is None else datetime.fromtimestamp(v, tz=UTC) for v in columns[name]]
    values = (
        "cpu_peak_cores",
        "cpu_recent_cores",
        "received_peak_bytes_per_second",
        "received_recent_bytes_per_second",
    )
    lived = seen.columns["running_points"] > 0
    known = np.logical_or.reduce([lived, *(~np.isnan(seen.columns[name]) for name in values)]).tolist()
    for there, *row in zip(known, *columns.values(), strict=True):
        yield (
            PodUsage(namespace=NAMESPACE, name=seen.pod.name, **dict(zip(columns, row, strict=True))) if there else None
        )


def _optional(column: Array) -> list[float | None]:
    return [None if value != value else value for value in column.tolist()]  # noqa: PLR0124 - NaN
