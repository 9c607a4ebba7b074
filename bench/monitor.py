"""A whole run of `monitor` at full size: seconds, peak memory, and what is asked of Prometheus.

A real API server with 5,000 nodes, 5,000 Deployments and 30,000 pods, and a real Prometheus that has their last hour.
The program is a process of its own, as the CronJob starts it: it reads the cluster, sweeps, judges, tests Prometheus
and writes its book. After one dry run, the first run writes every verdict; those that follow find what it left.
Each must find what was drawn.

The peer asks for nothing but the peaks of CPU and network, two queries for each workload by its pods' exact names, one
after the other; it is given the names, and neither judges nor writes. All its queries are asked, none is scaled up.
A cluster of a tenth of the size stands beside for the number of queries.

At the end a run that may move: three thousand workloads rest by then, so it begins as many moves as one run may. There is
no controller in this cluster, so what is measured is all of a move that the monitor itself does in such a run: it proves
the places, announces, waits for the webhook to follow, looks again and asks for the replicas.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import urllib3

from bench import backfill, measured, remote_write, sweep
from bench import monitor_data as data
from bench import scale_world as world
from bench.monitor_feed import Feed
from bench.scale_plane import cluster
from tests.parts.plane import ControlPlane
from tests.parts.processes import ManagedProcess, wait_for
from webhook.settings import PrometheusSettings

LONGEST_S = 300
DEADLINE_S = 60
"""For each query, in the place of the default: a slow one is a figure, and not the end of the benchmark."""
PEER_ROUNDS = 3
SMALL = world.Size(world.NODES // 10, world.DEPLOYMENTS // 10)
SECONDS, SECONDS_MOVING, MEBIBYTES = 10.0, 15.0, 300.0
PEER = "two queries per workload, exact pod names; no cluster read, nothing judged or written"


class Parts(NamedTuple):
    """What a run talks to. ``query_log`` is what Prometheus tells of queries, ``feed`` what it is told."""

    plane: ControlPlane
    prometheus: str
    query_log: Path
    feed: Feed


class Run(NamedTuple):
    """One run of the program. ``queries`` are seconds of each in Prometheus, the self-test's too."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    queries: list[float]
    report: dict[str, Any]


def rows(rounds: int, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """The figures of `monitor`. Needs etcd, the API server, Prometheus and promtool (`python -m tests.parts.fetch`)."""
    runs: list[Run] = []
    peer: list[float] = []
    with parts(SMALL, progress) as small:
        few = run(small, SMALL)
    with parts(world.FULL, progress) as full:
        progress("warming up")
        run(full, world.FULL, "--dry-run")
        for number in range(1 + rounds):
            progress(f"run {number + 1} of {1 + rounds}")
            runs.append(run(full, world.FULL))
            if number < min(rounds, PEER_ROUNDS):
                peer.append(_one_by_one(full))
        progress("a run that moves")
        moved, calls = moving(full)
    return [*_table(runs, few, peer), *_move_rows(moved, calls)]


def _move_rows(moved: Run, calls: int) -> Iterator[dict[str, Any]]:
    """What a run costs that begins moves."""
    begun = len(moved.report["moves"]["started"])
    if not begun or moved.report["moves"]["problem"]:
        raise RuntimeError(f"no move began: {moved.report['moves']}")
    size = f"{world.DEPLOYMENTS:,} workloads, {world.PODS:,} pods, {begun} moves begun"
    yield _row(f"monitor: a run with moves, s ({size})", moved.seconds, unit="s") | {
        "goal": f"at most {SECONDS_MOVING:g} s",
        "met": moved.seconds <= SECONDS_MOVING,
    }
    yield _row(f"monitor: peak memory of a run with moves, MiB ({size})", moved.peak_mib, unit="MiB") | {
        "goal": f"at most {MEBIBYTES:g} MiB",
        "met": moved.peak_mib <= MEBIBYTES,
    }
    most = LISTS + A_MOVE * begun
    yield _row(f"monitor: calls of the API server in a run with moves ({size})", calls, unit="calls") | {
        "goal": f"at most {LISTS} for the lists and {A_MOVE} a move: {most}",
        "met": calls <= most,
    }


@contextmanager
def parts(size: world.Size, progress: Callable[[str], None]) -> Iterator[Parts]:
    """The cluster and the Prometheus that watched it, of one age."""
    sweep.CACHE.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=sweep.CACHE) as scratch:
        now = datetime.now(UTC)
        progress(f"writing the last hour of {size.pods:,} pods as OpenMetrics text")
        # Longer blocks than usual: one or two, which nothing ever compacts while a run is measured.
        blocks = data.families(data.metrics(now, size), now)
        backfill.blocks(blocks, Path(scratch) / "tsdb", progress, longest="24h")
        log = Path(scratch) / "queries.log"
        with (
            sweep.prometheus_of(Path(scratch), remote_write.ARGUMENT, query_log=log) as url,
            Feed(url, data.metrics(now, size), since=now) as feed,
            cluster(now, progress, size) as plane,
        ):
            yield Parts(plane, url, log, feed)


MOVING = {
    "mode": "move",
    "spotTaints": ["karpenter.sh/capacity-type=spot:NoSchedule"],
    # Long enough to announce and to ask; the rest would only wait for a controller that is not there.
    "moves": {"runSeconds": 8},
}
READ_AND_WRITTEN = frozenset(
    {
        *("nodes", "pods", "namespaces", "replicasets", "deployments", "statefulsets", "jobs", "cronjobs"),
        *("poddisruptionbudgets", "horizontalpodautoscalers", "resourcequotas", "persistentvolumeclaims"),
        *("persistentvolumes", "storageclasses", "configmaps", "events"),
    }
)
LISTS, A_MOVE = 80, 8


def moving(on: Parts, size: world.Size = world.FULL) -> tuple[Run, int]:
    """A run that may move, and how many calls of the API server it took."""
    before = _calls(on)
    found = run(on, size, config=MOVING)
    return found, _calls(on) - before


def _calls(on: Parts) -> int:
    """Calls so far, watches not counted: the API server's own of these kinds are all watches."""
    text = on.plane.api("GET", "/metrics")["text"]
    rows = (line for line in text.splitlines() if line.startswith("apiserver_request_total{"))
    return sum(round(float(row.rsplit(" ", 1)[1])) for row in rows if _is_counted(row))


def _is_counted(row: str) -> bool:
    resource = row.partition('resource="')[2].partition('"')[0]
    return resource in READ_AND_WRITTEN and 'verb="WATCH"' not in row


def run(on: Parts, size: world.Size, *flags: str, config: Mapping[str, Any] | None = None) -> Run:
    """The program once, to its end. Raises RuntimeError where it fails or finds other than what was drawn."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        file, told, output = folder / "config.json", folder / "told.json", folder / "report.json"
        prometheus = {"url": on.prometheus, "deadlineSeconds": DEADLINE_S}
        file.write_text(json.dumps({"prometheus": prometheus, **(config or {})}))
        access = ["--config", str(file), "--kubeconfig", str(on.plane.admin_kubeconfig), "-n", "default"]
        launcher = [sys.executable, "-I", "-S", measured.__file__, str(told), str(output)]
        line = [*launcher, sys.executable, "-m", "webhook", "monitor", *access, "-o", "json", *flags]
        process = ManagedProcess("monitor", line, log=folder / "monitor.log")
        before = len(_evaluated(on.query_log))
        on.feed.check()
        try:
            process.start()
            wait_for(lambda: not process.running, LONGEST_S, "the end of the monitor")
        finally:
            process.kill()
        took = json.loads(told.read_text()) if told.exists() else {}
        if took.get("status") != 0:
            raise RuntimeError(f"the monitor failed with {took.get('status')}: {process.tail()}")
        report = json.loads(output.read_text())
        queries = _evaluated(on.query_log)[before:]
    found = Run(took["seconds"], took["cpuSeconds"], took["peakMebibytes"], queries, report)
    _check(found.report, data.counts(data.draw(size.deployments)))
    return found


def _check(report: dict[str, Any], drawn: data.Counts) -> None:
    told = data.Counts(report["idle"], report["active"], report["unknown"], report["unknownReasons"])
    if told != drawn:
        raise RuntimeError(f"found {told}, where {drawn} were drawn")


def _evaluated(log: Path) -> list[float]:
    """Seconds of each query so far, waiting for its turn and writing its answer not included."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [json.loads(line)["stats"]["timings"]["evalTotalTime"] for line in lines]


def peer_queries(size: world.Size) -> list[str]:
    pods = range(world.PODS_PER_DEPLOYMENT)
    named = ([world.pod_of(number, index)[:2] for index in pods] for number in range(size.deployments))
    return [query for names in named for query in sweep.peer_queries(sweep.exact_names(names))]


def _one_by_one(on: Parts) -> float:
    """Seconds of the peer, answers read and not decoded."""
    queries, at = peer_queries(world.FULL), datetime.now(UTC).timestamp()
    with urllib3.PoolManager() as http:
        began = time.perf_counter()
        for query in queries:
            sweep.ask(http, on.prometheus, query, at=at)
        return time.perf_counter() - began


def _table(runs: list[Run], few: Run, peer: list[float]) -> Iterator[dict[str, Any]]:
    size = f"{world.DEPLOYMENTS:,} workloads, {world.PODS:,} pods, {world.NODES:,} nodes"
    first, *others = runs
    against = (median(peer), f"{PEER} ({len(peer)} rounds)")
    seconds, mebibytes = median(one.seconds for one in others), max(one.peak_mib for one in runs)
    changed = [len(one.report["changes"]) for one in others]
    yield _row(f"monitor: a run, s ({size})", seconds, *against, unit="s", rounds=len(others)) | {
        "goal": f"at most {SECONDS:g} s",
        "met": seconds <= SECONDS,
        "rawOurs": [round(one.seconds, 3) for one in others],
        "rawPeer": [round(one, 3) for one in peer],
        "sidesChanged": changed,
        "objectsWritten": [one.report["objectsWritten"] for one in others],
    }
    yield _row(f"monitor: the first run, which writes every verdict, s ({size})", first.seconds, *against, unit="s") | {
        "goal": f"at most {SECONDS:g} s",
        "met": first.seconds <= SECONDS,
    }
    cpu = median(one.cpu_seconds for one in others)
    yield _row(
        f"monitor: CPU of a run, that of the servers not counted, s ({size})", cpu, unit="s", rounds=len(others)
    ) | {
        "rawOurs": [round(one.cpu_seconds, 3) for one in others],
    }
    yield _row(
        f"monitor: peak memory, the largest of all runs, MiB ({size})", mebibytes, unit="MiB", rounds=len(runs)
    ) | {
        "goal": f"at most {MEBIBYTES:g} MiB",
        "met": mebibytes <= MEBIBYTES,
        "rawOurs": [round(one.peak_mib, 1) for one in runs],
    }
    slowest, deadline = max(max(one.queries) for one in runs), PrometheusSettings(url="").deadline_seconds
    yield _row(f"monitor: slowest query in Prometheus, s ({size})", slowest, unit="s", rounds=len(runs)) | {
        "goal": f"at most {deadline:g} s, the deadline",
        "met": slowest <= deadline,
        "rawOurs": [round(max(one.queries), 3) for one in runs],
    }
    asked = {len(one.queries) for one in runs}
    if len(asked) != 1:
        raise RuntimeError(f"runs of one cluster asked {sorted(asked)} queries")
    same = f"the same command with {SMALL.deployments:,} workloads and {SMALL.pods:,} pods"
    mine, theirs = asked.pop(), len(few.queries)
    figure = f"monitor: queries of a run, the self-test's too ({size})"
    yield _row(figure, mine, theirs, same, unit="queries", rounds=len(runs)) | {
        "goal": "the same",
        "met": mine == theirs,
    }


def _row(
    figure: str, ours: float, peer: float | None = None, name: str | None = None, *, unit: str, rounds: int = 1
) -> dict[str, Any]:
    return {
        "figure": figure,
        "ours": round(ours, 3),
        "peer": None if peer is None else round(peer, 3),
        "peerName": name,
        "ratio": None if peer is None else round(peer / ours, 2),
        "goal": None,
        "met": None,
        "rounds": rounds,
        "unit": unit,
    }
