"""What a sweep costs Prometheus, beside asking once per owner. Run: ``python -m bench.sweep``.

3,000 owners, 30,000 pods, a real Prometheus, the last hour in steps of a minute. The peers ask
for the same peaks of CPU and received bytes, start-up left out as in ours, two queries for each owner, one after the
other on one kept-alive connection: by a pattern of pod names, as recommenders do, or by the exact pod names. They are
measured on a seeded sample of owners and scaled to all. Rounds are interleaved; figures are
medians. The peers' peaks stand beside our peaks, as the product asks for them, two queries at a time, and once more
one after the other; our whole sweep, which also
proves coverage, age and ownership, has rows of its own. How many queries a sweep is, Prometheus' own log tells, of
all pods and of one namespace's.
"""

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import urlencode

import urllib3

from bench import sweep_data as data
from tests.parts import fetch
from tests.parts.components import http_ok
from tests.parts.processes import ManagedProcess, release_port, reserve_port
from webhook.adapters.prometheus_http import Answer, Transport
from webhook.adapters.usage import Prometheus
from webhook.core.policy import IdlePolicy
from webhook.settings import PrometheusSettings
from webhook.wire.promql import ClusterLabel, sweep_queries

CACHE = Path(__file__).resolve().parent.parent / "build" / "bench"
AT = data.LAST_SCRAPE + 7.123
SAMPLE = 100
PEAKS = ("cpuPeak", "receivedPeak")
AT_ONCE = PrometheusSettings(url="").concurrency
PODS = data.OWNERS * data.PODS_PER_OWNER
# A store that holds a cluster in each namespace, and the product told of one of them.
FEW = ClusterLabel("namespace", data.owner_of(0)[0])
FEW_OWNERS = data.OWNERS // data.NAMESPACES
QUERIES = "queries of a sweep"
CPU = 'container_cpu_usage_seconds_total{%(pods)s,container!="",container!="POD"}[5m]'
RECEIVED = 'container_network_receive_bytes_total{%(pods)s,interface!="lo"}[5m]'
YOUNG = "unless on (namespace, pod) (kube_pod_start_time{%(pods)s} > time() - 600)"
CPU_PEAK = f"sum by (namespace, pod) (max by (namespace, pod, container) (rate({CPU}))) {YOUNG}"
RECEIVED_PEAK = f"sum by (namespace, pod) (max by (namespace, pod, interface) (rate({RECEIVED}))) {YOUNG}"


@dataclass
class Cost:
    """Of one way of asking: seconds of each round, and what one round asks for and gets."""

    queries: list[str]
    scale: float = 1.0
    at_once: int = 1
    seconds: list[float] = field(default_factory=list)
    samples: int = 0
    megabytes: float = 0.0
    pods: int = 0

    @property
    def asked(self) -> int:
        return round(len(self.queries) * self.scale)


class Asked(NamedTuple):
    """How many queries Prometheus saw in a sweep of all pods and in one of few."""

    of_all: int
    of_few: int


def rows(rounds: int, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """The figures of the sweep. Needs Prometheus and promtool (`python -m tests.parts.fetch`)."""
    with TemporaryDirectory() as scratch:
        log = Path(scratch) / "queries.log"
        with prometheus_of(data.prepare(CACHE, progress), query_log=log) as url:
            ways = _ways()
            progress("warming up, and counting samples")
            for way in ways.values():
                _count(way, url)
            with sweeping(url) as everything, sweeping(url, FEW) as few:
                asked = Asked(*(_logged(log, *of) for of in ((everything, PODS), (few, PODS // data.NAMESPACES))))
                for number in range(rounds):
                    progress(f"round {number + 1} of {rounds}")
                    for name in ("pattern", "together", "exact", "peaks"):
                        ways[name].seconds.append(_asked(ways[name], url))
                    ways["sweep"].seconds.append(_swept(everything, PODS))
    return _table(ways, asked, rounds)


def _ways() -> dict[str, Cost]:
    ours = sweep_queries(IdlePolicy())
    sample = random.Random(data.SEED).sample(range(data.OWNERS), SAMPLE)
    scale = data.OWNERS / SAMPLE
    peaks = [ours[name] for name in PEAKS]
    return {
        "pattern": Cost([query for owner in sample for query in peer_queries(_pattern(owner))], scale),
        "exact": Cost([query for owner in sample for query in peer_queries(_exact(owner))], scale),
        "peaks": Cost(peaks),
        "together": Cost(peaks, at_once=AT_ONCE),
        "sweep": Cost(["time()", *ours.values()], at_once=AT_ONCE),
    }


def peer_queries(pods: str) -> list[str]:
    """The same peaks as ours, start-up left out, of one owner's pods."""
    return [f"max_over_time(({peak % {'pods': pods}})[1h:1m])" for peak in (CPU_PEAK, RECEIVED_PEAK)]


def _pattern(owner: int) -> str:
    namespace, replicaset = data.owner_of(owner)
    return f'namespace="{namespace}",pod=~"{replicaset.rpartition("-")[0]}-.*"'


def _exact(owner: int) -> str:
    return exact_names([data.pod_of(owner, index)[:2] for index in range(data.PODS_PER_OWNER)])


def exact_names(pods: list[tuple[str, str]]) -> str:
    """Matchers for these pods of one namespace, each (namespace, name)."""
    return f'namespace="{pods[0][0]}",pod=~"{"|".join(name for _, name in pods)}"'


def ask(http: urllib3.PoolManager, url: str, query: str, *, at: float = AT, **fields: str) -> bytes:
    body = urlencode({"query": query, "time": f"{at:.3f}", **fields})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = http.request("POST", f"{url}/api/v1/query", body=body, headers=headers, timeout=120, retries=False)
    if answer.status != 200:
        raise RuntimeError(answer.data[:500])
    return answer.data


def _asked(way: Cost, url: str) -> float:
    """Seconds for all queries of a way, one after the other or some at once; answers are read, not decoded."""
    with urllib3.PoolManager(maxsize=way.at_once) as http, ThreadPoolExecutor(way.at_once) as threads:
        began = time.perf_counter()
        # No thread stands between the peers and their answers.
        for _ in (map if way.at_once == 1 else threads.map)(lambda query: ask(http, url, query), way.queries):
            pass
        return (time.perf_counter() - began) * way.scale


class _ThenTransport(Transport):
    """Whoever asks what time it is hears when the data ends: a sweep of a moment in the past is one query less."""

    def query(self, expression: str, *, at: datetime | None = None) -> Answer:
        return super().query(expression, at=at or datetime.fromtimestamp(AT, tz=UTC))


@contextmanager
def sweeping(url: str, cluster: ClusterLabel | None = None) -> Iterator[Prometheus]:
    """The product's own source of usage, on the data's last moment."""
    settings = PrometheusSettings(url=url, deadline_seconds=60, cluster_label=cluster)
    prometheus = Prometheus(settings)
    prometheus._transport.close()  # noqa: SLF001 - the one seam at which its clock can be told
    prometheus._transport = _ThenTransport(settings)  # noqa: SLF001
    try:
        yield prometheus
    finally:
        prometheus.close()


def _swept(prometheus: Prometheus, pods: int) -> float:
    """Seconds of the product's own sweep: queries two at a time, decoded and joined."""
    began = time.perf_counter()
    sweep = prometheus.sweep(IdlePolicy())
    seconds = time.perf_counter() - began
    if len(sweep.pods) != pods:
        raise RuntimeError(f"a sweep found {len(sweep.pods)} of {pods} pods")
    return seconds


def _logged(log: Path, prometheus: Prometheus, pods: int) -> int:
    """How many queries of one sweep Prometheus itself has written down."""
    before = len(log.read_bytes().splitlines())
    _swept(prometheus, pods)
    return len(log.read_bytes().splitlines()) - before


def _count(way: Cost, url: str) -> None:
    with urllib3.PoolManager() as http:
        for query in way.queries:
            body = ask(http, url, query, stats="all")
            answer = json.loads(body)["data"]
            way.samples += round(answer["stats"]["samples"]["totalQueryableSamples"] * way.scale)
            way.pods += round(len(answer["result"]) * way.scale)
            way.megabytes += len(body) * way.scale / 1e6


def _table(ways: dict[str, Cost], asked: Asked, rounds: int) -> list[dict[str, Any]]:
    pattern, peaks, together, exact, sweep = (ways[n] for n in ("pattern", "peaks", "together", "exact", "sweep"))
    if not pattern.pods == peaks.pods == exact.pods:
        raise RuntimeError(f"answers differ: {pattern.pods}, {peaks.pods}, {exact.pods} rows")
    of = f"({SAMPLE} of {data.OWNERS} owners, scaled)"
    named = {"pattern": f"query per owner, pod name pattern, one after the other {of}"}
    named["exact"] = f"query per owner, exact pod names, one after the other {of}"
    few = f"the same sweep of one namespace: {FEW_OWNERS} owners, {FEW_OWNERS * data.PODS_PER_OWNER} pods"
    told: list[dict[str, Any]] = [
        _plain(QUERIES, asked.of_all, asked.of_few, few, unit="queries", rounds=1)
        | {"goal": "the same", "met": asked.of_all == asked.of_few}
    ]
    at_once = f"{AT_ONCE} queries at a time"
    for name, peer, goal in (("pattern", pattern, 10.0), ("exact", exact, 2.0)):
        told += [
            _row(
                f"peaks of CPU and network, as the product asks, {at_once}, wall time",
                together,
                peer,
                named[name],
                rounds=rounds,
                goal=(goal, at_once),
            ),
            _row(
                "peaks of CPU and network, one query after the other, as the peer asks, wall time",
                peaks,
                peer,
                named[name],
                rounds=rounds,
            ),
            _row("whole sweep with coverage and owners, wall time", sweep, peer, named[name], rounds=rounds),
            _plain(QUERIES, asked.of_all, peer.asked, named[name], unit="queries", rounds=1),
            _plain("samples touched, peaks", peaks.samples, peer.samples, named[name], unit="samples", rounds=rounds),
            _plain(
                "samples touched, whole sweep", sweep.samples, peer.samples, named[name], unit="samples", rounds=rounds
            ),
            _plain("answers, whole sweep", sweep.megabytes, peer.megabytes, named[name], unit="MB", rounds=rounds),
        ]
    return told


def _row(
    figure: str, ours: Cost, peer: Cost, name: str, *, rounds: int, goal: tuple[float, str] | None = None
) -> dict[str, Any]:
    """``goal`` is how many times as fast, and by what else than the queries themselves."""
    row = _plain(figure, median(ours.seconds), median(peer.seconds), name, unit="s", rounds=rounds)
    row |= {"rawOurs": [round(s, 3) for s in ours.seconds], "rawPeer": [round(s, 3) for s in peer.seconds]}
    if goal:
        times, by_what = goal
        row |= {"goal": f"at least {times:g} x, with {by_what}", "met": row["ratio"] >= times}
    return row


def _plain(figure: str, ours: float, peer: float, name: str, *, unit: str, rounds: int) -> dict[str, Any]:
    return {
        "figure": f"{figure}, {unit} ({data.OWNERS:,} owners, {data.OWNERS * data.PODS_PER_OWNER:,} pods)",
        "ours": round(ours, 3),
        "peer": round(peer, 3),
        "peerName": name,
        "ratio": round(peer / ours, 2),
        "goal": None,
        "met": None,
        "rounds": rounds,
        "unit": unit,
    }


@contextmanager
def prometheus_of(folder: Path, *arguments: str, query_log: Path | None = None) -> Iterator[str]:
    """The address of a server on the prepared data: nothing is scraped, nothing is ever too old."""
    port = reserve_port()
    with TemporaryDirectory() as scratch:
        config = Path(scratch) / "prometheus.yml"
        config.write_text(json.dumps({"global": {"query_log_file": str(query_log)}} if query_log else {}))
        command = [
            str(fetch.require("prometheus").path),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
            *arguments,
        ]
        process = ManagedProcess("prometheus", command, log=Path(scratch) / "prometheus.log")
        try:
            process.start()
            process.wait_until(lambda: http_ok(port, "/-/ready"))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            release_port(port)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for row in rows(rounds, lambda text: print(f"   {text}", file=sys.stderr, flush=True)):
        print(json.dumps(row, ensure_ascii=False))


if __name__ == "__main__":
    main()
