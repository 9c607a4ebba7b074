"""The ops port of `sync`: plain HTTP, read only, for probes, Prometheus and people inside the cluster.

==================  ===========================================================================
/healthz            200 while the loop looks at the world, 503 once it stopped for a minute
/readyz             200 from the first snapshot on
/metrics            of sync, of the server (fetched), and of the monitor (from the book)
/api/v1/status      all of it as one JSON object
/api/v1/prometheus what the last self-test of Prometheus found, and the queries that are asked
==================  ===========================================================================
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from webhook.core import badday
from webhook.core.book import Book
from webhook.core.learning import has_given_up
from webhook.core.model import CapacityType, Side
from webhook.core.moves import Outcome
from webhook.core.nodejoin import why_blind
from webhook.core.sanity import Alarm, Sanity
from webhook.core.selftest import Code, SelfTest
from webhook.core.shares import over_share
from webhook.core.snapshot import Snapshot
from webhook.jobs.sync import SyncStatus
from webhook.ports import Clock

log = logging.getLogger(__name__)

_TEXT = "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_JSON = "application/json"
_STUCK = timedelta(seconds=60)
_MOST_REQUESTS = 16
_SOCKET_SECONDS = 5.0


class Answer(NamedTuple):
    status: int
    body: bytes
    content_type: str = _TEXT


class Ops:
    """Answers of the ops port.

    ``server_metrics`` fetches the server's own, and may fail as HTTP clients do: OSError, HTTPException, ValueError.
    """

    def __init__(self, status: SyncStatus, clock: Clock, server_metrics: Callable[[], bytes] | None = None) -> None:
        self._status, self._clock, self._server_metrics = status, clock, server_metrics
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Metrics(status, clock))

    def answer(self, path: str) -> Answer:
        """What a GET of ``path`` gets."""
        match path.partition("?")[0]:
            case "/healthz":
                return self._health()
            case "/readyz":
                ready = self._status.snapshot is not None
                return Answer(200, b"ok\n") if ready else Answer(503, b"no snapshot yet\n")
            case "/metrics":
                return Answer(200, self._metrics(), _METRICS)
            case "/api/v1/status":
                return _json(describe(self._status, now=self._clock()))
            case "/api/v1/prometheus":
                return _json(describe_prometheus(self._status))
        return Answer(404, b"there are /healthz, /readyz, /metrics, /api/v1/status and /api/v1/prometheus\n")

    def _health(self) -> Answer:
        looked = self._status.looked_at
        if looked is not None and self._clock() - looked > _STUCK:
            return Answer(503, f"the loop has not looked since {looked.isoformat()}\n".encode())
        return Answer(200, b"ok\n")

    def _metrics(self) -> bytes:
        own = generate_latest(self._registry)
        if self._server_metrics is None:
            return own
        try:
            fetched, up = self._server_metrics(), 1
        except (OSError, ValueError, HTTPException) as exc:
            log.debug("metrics of the server cannot be fetched", extra={"why": str(exc)})
            fetched, up = b"", 0
        text = (
            "# HELP spot_balancer_server_up Whether the server's own metrics could be fetched.\n"
            f"# TYPE spot_balancer_server_up gauge\nspot_balancer_server_up {up}\n"
        )
        return own + text.encode() + fetched


def _json(page: dict[str, Any]) -> Answer:
    body = msgspec.json.encode(page, order="deterministic")
    return Answer(200, msgspec.json.format(body, indent=2) + b"\n", _JSON)


def describe_prometheus(status: SyncStatus) -> dict[str, Any]:
    """The last self-test; ``testedAt`` is null before the first, and where there is no Prometheus to test."""
    found = status.self_test
    tested: dict[str, Any] = msgspec.to_builtins(found) if found else {"testedAt": None, "findings": []}
    return {"schemaVersion": 1, **tested}


def describe(status: SyncStatus, *, now: datetime) -> dict[str, Any]:
    """The status page: what sync knows, how old it is, and what is wrong."""
    page: dict[str, Any] = {
        "schemaVersion": 1,
        "now": now,
        "ready": status.snapshot is not None,
        "writtenAt": status.written_at,
        "writes": status.writes,
        "problems": status.problems,
        "missingKinds": status.missing,
        "bookHeartbeat": status.book.control.heartbeat,
        "alarm": _alarm(status.book.control.sanity),
        "verdicts": [
            {"side": side, "evidence": evidence, "workloads": count}
            for (side, evidence), count in sorted(_verdicts(status.book).items())
        ],
    }
    return page | (_world(status.snapshot) if status.snapshot else {})


def _alarm(sanity: Sanity) -> dict[str, Any] | None:
    """What is wrong with the monitor's runs as a whole, or null."""
    if sanity.alarm is None:
        return None
    return {"code": sanity.alarm.value, "reason": sanity.reason, "since": sanity.since}


def _world(snapshot: Snapshot) -> dict[str, Any]:
    meta, nodes = snapshot.meta, snapshot.nodes.values()
    return {
        "capturedAt": meta.captured_at,
        "mode": meta.policy.mode.value,
        "pause": meta.policy.pause,
        "versions": meta.versions,
        "workloads": len(snapshot.workloads),
        "namespaces": len(snapshot.namespaces),
        "nodes": {kind.value: sum(n.capacity_type is kind for n in nodes) for kind in CapacityType},
        "readyNodes": sum(n.ready for n in nodes),
        "nodesWithLoad": sum(n.load is not None for n in nodes),
        "loadMatchRate": meta.load_match_rate,
        "scoredByTypeAlone": why_blind(meta.load_match_rate, has_load=any(n.load is not None for n in nodes)),
        "podsNotMeasuredYet": _not_measured(snapshot),
        "podsNotMeasuredLeftOut": meta.bound_left_out,
    }


def _verdicts(book: Book) -> Counter[tuple[str, str]]:
    return Counter((v.side.value, v.evidence.value) for v in book.verdicts.values())


class _Metrics(Collector):
    """Computed at each scrape from what the loop left; nothing to keep in step."""

    def __init__(self, status: SyncStatus, clock: Clock) -> None:
        self._status, self._clock = status, clock

    def collect(self) -> Iterator[Metric]:
        """Gauges of sync, then of the monitor by what the book says."""
        status, now = self._status, self._clock()
        writes = CounterMetricFamily("spot_balancer_sync_snapshots_written", "Snapshots written since the start.")
        writes.add_metric([], status.writes)
        yield writes
        problems = GaugeMetricFamily("spot_balancer_sync_problem", "1 where a part has a problem.", labels=["part"])
        for part in ("cluster", "podHabits", "podUse", "policy", "snapshot", "usage"):
            problems.add_metric([part], part in status.problems)
        yield problems
        yield from _finding_metrics(status.self_test, now)
        yield _gauge("sync_kinds_missing", "Kinds that may not be read.", len(status.missing))
        if status.snapshot is not None:
            yield from snapshot_metrics(status.snapshot, now)
            yield from _trouble_metrics(status.snapshot, status.book, now)
        if status.book.control.heartbeat is not None:
            age = (now - status.book.control.heartbeat).total_seconds()
            yield _gauge("monitor_heartbeat_age_seconds", "Since the monitor last finished a run.", age)
            alarms = GaugeMetricFamily(
                "spot_balancer_monitor_alarm", "1 while nobody turns to spot for that reason.", labels=["alarm"]
            )
            for alarm in Alarm:
                alarms.add_metric([alarm.value], status.book.control.sanity.alarm is alarm)
            yield alarms
        yield from move_metrics(status.book)
        verdicts = GaugeMetricFamily(
            "spot_balancer_monitor_verdicts", "Workloads in the book.", labels=["side", "evidence"]
        )
        for labels, count in sorted(_verdicts(status.book).items()):
            verdicts.add_metric(labels, count)
        yield verdicts


def move_metrics(book: Book) -> Iterator[Metric]:
    """Of the mover, by what the book says; every outcome there is, so that an alert can tell "none" from "unknown"."""
    control = book.control
    ended = CounterMetricFamily("spot_balancer_moves", "Moves that ended.", labels=["to", "outcome"])
    for side in Side:
        for outcome in Outcome:
            ended.add_metric([side.value, outcome.value], control.ended.get(f"{side}/{outcome}", 0))
    yield ended
    yield _gauge("moves_in_flight", "Moves under way.", len(control.moves))
    yield _gauge("moves_paused", "1 while a person has paused moves.", control.paused is not None)
    yield _gauge(
        "pods_created_unstamped", "Pods created while the webhook could not be asked.", control.missed_admissions
    )


def _finding_metrics(tested: SelfTest | None, now: datetime) -> Iterator[Metric]:
    """Every code there is, as 0 or 1, so that an alert can tell "all well" from "not tested yet"."""
    found = GaugeMetricFamily(
        "spot_balancer_prometheus_finding", "1 where the self-test of Prometheus found it.", labels=["code"]
    )
    if tested is not None:
        codes = {finding.code for finding in tested.findings}
        for code in Code:
            found.add_metric([code.value], code in codes)
        age = (now - tested.tested_at).total_seconds()
        yield _gauge("prometheus_self_test_age_seconds", "Since Prometheus was last tested.", age)
    yield found


def _trouble_metrics(snapshot: Snapshot, book: Book, now: datetime) -> Iterator[Metric]:
    """Who is not moved any more, and why nobody goes to spot."""
    moves = snapshot.meta.policy.moves
    given_up = sum(has_given_up(verdict.memory, moves) for verdict in book.verdicts.values())
    yield _gauge("workloads_given_up", "Workloads whose moves came to nothing too often.", given_up)
    unwell = bool(badday.freeze(book.control.spot, moves, now))
    yield _gauge("spot_unwell", "1 while nothing moves to spot because of its nodes.", unwell)


def snapshot_metrics(snapshot: Snapshot, now: datetime) -> Iterator[Metric]:
    """As many samples for a large cluster as for a small one: no name of an object is a label."""
    age = (now - snapshot.meta.captured_at).total_seconds()
    yield _gauge("sync_cluster_age_seconds", "Since all watches last stood.", age)
    nodes = GaugeMetricFamily("spot_balancer_sync_nodes", "Nodes by capacity type.", labels=["capacity_type"])
    for kind in CapacityType:
        nodes.add_metric([kind.value], sum(n.capacity_type is kind for n in snapshot.nodes.values()))
    yield nodes
    with_load = sum(node.load is not None for node in snapshot.nodes.values())
    yield _gauge("sync_nodes_with_load", "Nodes whose load is known, however old.", with_load)
    if snapshot.meta.load_match_rate is not None:
        text = "Share of load series that lead to a node; below 0.9 only the capacity type is scored."
        yield _gauge("load_match_rate", text, snapshot.meta.load_match_rate)
    yield _gauge(
        "pods_not_measured_yet", "Pods that their node's load does not hold whole yet.", _not_measured(snapshot)
    )
    yield _gauge("sync_workloads", "Workloads in the snapshot.", len(snapshot.workloads))
    over = over_share(snapshot).values()
    yield _gauge("pods_over_max_spot", "Pods on spot beyond their workload's max-spot.", sum(over))


def _not_measured(snapshot: Snapshot) -> int:
    return sum(not pod.ended for pod in snapshot.bound.values())


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"spot_balancer_{name}", about, value=value)


class OpsServer:
    """Serves ``ops`` on a thread, as a context manager: ``with OpsServer(ops, "0.0.0.0", 9090) as server: ...``.

    Port 0 lets the kernel choose; ``port`` tells. Raises OSError where the address cannot be had.
    """

    def __init__(self, ops: Ops, host: str, port: int) -> None:
        self._server = _Server((host, port), _handler(ops))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="ops", daemon=True
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2.0)


class _Server(ThreadingHTTPServer):
    """A thread a request, sixteen at most: who holds sockets open must not take the memory of the loop."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(_MOST_REQUESTS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:  # noqa: ARG002
        log.debug("an ops request broke off")


def _handler(ops: Ops) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _SOCKET_SECONDS
        server_version = "spot-balancer"
        sys_version = ""

        def do_GET(self) -> None:
            answer = ops.answer(self.path)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_HEAD = do_GET  # noqa: N815 - the base class' name

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
            log.debug("ops request", extra={"line": format % args})

    return Handler
