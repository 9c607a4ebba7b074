"""Stands in for the kubelets' cAdvisor: the same metric names and labels, driven by a script per workload.

Every half second it asks the API server which pods run. Each has counters that are the exact
integral of the rates it was given, from the moment it was first seen running.
Samples carry time stamps, as cAdvisor's do. Each pod also has the row of its pod-level cgroup
(`container=""`), which a query that does not leave it out counts twice.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from time import time

from tests.parts.processes import release_port, reserve_port

POLL_EVERY_SECONDS = 0.5
Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Rates:
    """What one pod of a workload does from now on."""

    cpu_cores: float = 0.0
    rx_bytes_per_s: float = 0.0
    tx_bytes_per_s: float = 0.0
    memory_bytes: float = 0.0


@dataclass(slots=True)
class _Totals:
    """The integrals of a pod's rates up to `at_s` (Unix time)."""

    at_s: float
    cpu_seconds: float = 0.0
    rx_bytes: float = 0.0
    tx_bytes: float = 0.0

    def advance(self, rates: Rates, now_s: float) -> None:
        passed = max(0.0, now_s - self.at_s)
        self.cpu_seconds += rates.cpu_cores * passed
        self.rx_bytes += rates.rx_bytes_per_s * passed
        self.tx_bytes += rates.tx_bytes_per_s * passed
        self.at_s += passed


@dataclass(frozen=True, slots=True)
class _Pod:
    uid: str
    namespace: str
    name: str
    node: str
    containers: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, pod: dict[str, Any]) -> Self:
        meta, spec = pod["metadata"], pod["spec"]
        containers = tuple((c["name"], c["image"]) for c in spec["containers"])
        return cls(meta["uid"], meta["namespace"], meta["name"], spec["nodeName"], containers)


@dataclass(slots=True)
class _World:
    """Who runs, what each was told to do, and what each has used; every change first brings the counters up to date."""

    pods: dict[str, _Pod] = field(default_factory=dict)
    totals: dict[str, _Totals] = field(default_factory=dict)
    script: dict[tuple[str, str], Rates] = field(default_factory=dict)

    def rates(self, pod: _Pod) -> Rates:
        """Of the longest workload prefix that fits; a pod of nobody's script does nothing."""
        fitting = [p for ns, p in self.script if ns == pod.namespace and pod.name.startswith(p)]
        return self.script[pod.namespace, max(fitting, key=len)] if fitting else Rates()

    def advance(self, now_s: float) -> None:
        for uid, pod in self.pods.items():
            self.totals[uid].advance(self.rates(pod), now_s)

    def replace_pods(self, running: Iterable[_Pod], now_s: float) -> None:
        self.advance(now_s)
        self.pods = {pod.uid: pod for pod in running}
        self.totals = {uid: self.totals.get(uid) or _Totals(now_s) for uid in self.pods}


class UsageExporter:
    """`list_pods` gives the pods of all namespaces as the API server's dicts; its OSErrors keep the last answer.

    `fail_with_500`, `drop_share` (0..1 of the scrapes, evenly spread, answered by a closed connection) and
    `duplicate` (each row twice in one scrape) may be set at any time.
    """

    def __init__(self, list_pods: Callable[[], list[dict[str, Any]]], *, clock: Callable[[], float] = time):
        self._list_pods = list_pods
        self._clock = clock
        self._world = _World()
        self._node_base: dict[str, Rates] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._frozen: str | None = None
        self._dropped = 0.0
        self.drop_share = 0.0
        self.fail_with_500 = False
        self.duplicate = False
        self.scrapes = 0
        self.port = reserve_port()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler_of(self))
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.05,), name="usage-exporter-http"),
            threading.Thread(target=self._poll, name="usage-exporter-poll"),
        ]

    @property
    def target(self) -> str:
        """host:port for a scrape configuration."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.refresh()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join()
        self._server.server_close()
        release_port(self.port)

    def set_usage(self, namespace: str, workload_prefix: str, **rates: float) -> None:
        """What every pod whose name begins so does from now on, each by itself; `rates` are fields of Rates."""
        with self._lock:
            self._world.advance(self._clock())
            self._world.script[namespace, workload_prefix] = Rates(**rates)

    def freeze(self) -> None:
        """Serves the same bytes, time stamps included, until `thaw`: a stuck cAdvisor. Counters go on in the dark."""
        self._frozen = self.page()

    def thaw(self) -> None:
        self._frozen = None

    def refresh(self) -> None:
        """Asks now which pods run."""
        running = [_Pod.parse(pod) for pod in self._list_pods() if pod["status"].get("phase") == "Running"]
        with self._lock:
            self._world.replace_pods(running, self._clock())

    def page(self) -> str:
        """The exposition text at this moment."""
        if self._frozen is not None:
            return self._frozen
        with self._lock:
            now_s = self._clock()
            self._world.advance(now_s)
            rows = sorted(_rows(self._world), key=lambda row: row[0])
        return _render(rows, round(now_s * 1000), copies=2 if self.duplicate else 1)

    def should_drop(self) -> bool:
        """Counts a scrape; true for `drop_share` of them."""
        with self._lock:
            self.scrapes += 1
            self._dropped += self.drop_share
            if self._dropped < 1.0:
                return False
            self._dropped -= 1.0
            return True

    def _poll(self) -> None:
        while not self._closing.wait(POLL_EVERY_SECONDS):
            try:
                self.refresh()
            except Exception:  # noqa: S112 - the API server is away: a kubelet, too, goes on with what it knows
                continue


Row = tuple[str, Labels, float]


def _rows(world: _World) -> Iterator[Row]:
    nodes: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for uid, pod in world.pods.items():
        totals, rates = world.totals[uid], world.rates(pod)
        yield from _pod_rows(pod, totals, rates)
        nodes[pod.node][0] += totals.cpu_seconds
        nodes[pod.node][1] += rates.memory_bytes
    for node, (cpu_seconds, memory_bytes) in nodes.items():
        root = {"container": "", "id": "/", "image": "", "name": "", "namespace": "", "pod": "", "node": node}
        yield "container_cpu_usage_seconds_total", root | {"cpu": "total"}, cpu_seconds
        yield "container_memory_working_set_bytes", root, memory_bytes


def _pod_rows(pod: _Pod, totals: _Totals, rates: Rates) -> Iterator[Row]:
    share = 1 / len(pod.containers)
    group = f"/kubepods/burstable/pod{pod.uid}"
    common = {"namespace": pod.namespace, "pod": pod.name, "node": pod.node}
    whole = common | {"container": "", "id": group, "image": "", "name": ""}
    yield "container_cpu_usage_seconds_total", whole | {"cpu": "total"}, totals.cpu_seconds
    yield "container_memory_working_set_bytes", whole, rates.memory_bytes
    for name, image in pod.containers:
        one = common | {"container": name, "id": f"{group}/{name}", "image": image, "name": f"{pod.uid}-{name}"}
        yield "container_cpu_usage_seconds_total", one | {"cpu": "total"}, totals.cpu_seconds * share
        yield "container_memory_working_set_bytes", one, rates.memory_bytes * share
    sandbox = whole | {"image": "registry.example/pause:1", "name": f"{pod.uid}-sandbox", "interface": "eth0"}
    yield "container_network_receive_bytes_total", sandbox, totals.rx_bytes
    yield "container_network_transmit_bytes_total", sandbox, totals.tx_bytes


def _render(rows: Iterable[Row], now_ms: int, *, copies: int) -> str:
    lines: list[str] = []
    previous = ""
    for metric, labels, value in rows:
        if metric != previous:
            lines.append(f"# TYPE {metric} {'counter' if metric.endswith('_total') else 'gauge'}")
            previous = metric
        inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
        lines += [f"{metric}{{{inside}}} {value!r} {now_ms}"] * copies
    return "\n".join(lines) + "\n"


def _handler_of(exporter: UsageExporter) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if exporter.should_drop():
                self.close_connection = True
                return
            if exporter.fail_with_500:
                self.send_error(500)
                return
            body = exporter.page().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
