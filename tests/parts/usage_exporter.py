"""Stands in for the kubelets' cAdvisor: the same metric names and labels, driven by a script per workload.

Every half second it asks the API server which pods run. Each has counters that are the exact
integral of the rates it was given, from the moment it was first seen running.
Samples carry time stamps, as cAdvisor's do.
"""

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from types import TracebackType
from typing import Self

from tests.parts.cluster import Cluster
from tests.parts.kube_api import ApiError
from tests.parts.processes import release_port, reserve_port
from tests.parts.usage_world import Node, Pod, Rates, World, exporter_rows, render, rows

POLL_EVERY_SECONDS = 0.5
NODE_EXPORTER = "/metrics/node"
"""Where it stands in for every node's node-exporter too."""


class UsageExporter:
    """Serves the pods and nodes of the cluster; while the API server is away, those it knew last.

    `fail_with_500`, `drop_share` (0..1 of the scrapes, evenly spread, answered by a closed connection) and
    `duplicate` (each row twice in one scrape) may be set at any time.
    """

    def __init__(self, cluster: Cluster, *, clock: Callable[[], float] = time):
        self._cluster = cluster
        self._clock = clock
        self._world = World()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._frozen: dict[bool, str] = {}
        self._hidden: set[tuple[str, str]] = set()
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
            self._world.advance(self._now_s())
            self._world.script[namespace, workload_prefix] = Rates(**rates)

    def set_node_usage(self, node: str, **rates: float) -> None:
        """What the node does besides its pods: kubelet, kernel, whatever no pod answers for."""
        with self._lock:
            self._world.advance(self._now_s())
            self._world.node_script[node] = Rates(**rates)

    def hide(self, namespace: str, workload_prefix: str) -> None:
        """Serves nothing of these pods any more, as for a node whose kubelet is not scraped."""
        with self._lock:
            self._hidden.add((namespace, workload_prefix))
        self.refresh()

    def freeze(self) -> None:
        """Serves the same bytes, time stamps included, until `thaw`: a stuck cAdvisor. Counters go on in the dark."""
        self._frozen = {of_nodes: self.page(of_nodes=of_nodes) for of_nodes in (False, True)}

    def thaw(self) -> None:
        self._frozen = {}

    def refresh(self) -> None:
        """Asks now which nodes there are and which pods run. Raises ApiError, OSError."""
        nodes = [Node.parse(node) for node in self._cluster.list_all("Node")]
        pods = [Pod.parse(pod) for pod in self._cluster.pods() if pod["status"].get("phase") == "Running"]
        with self._lock:
            seen = [pod for pod in pods if not self._is_hidden(pod)]
            self._world.replace(seen, nodes, self._now_s())

    def page(self, *, of_nodes: bool = False) -> str:
        """The exposition text at this moment: cAdvisor's, or that of the node-exporters."""
        if of_nodes in self._frozen:
            return self._frozen[of_nodes]
        with self._lock:
            now_s = self._now_s()
            self._world.advance(now_s)
            table = sorted((exporter_rows if of_nodes else rows)(self._world), key=lambda row: row[0])
        return render(table, round(now_s * 1000), copies=2 if self.duplicate else 1)

    def _now_s(self) -> float:
        # Whole milliseconds, as the exposition format has: value and time stamp then fit exactly.
        return round(self._clock() * 1000) / 1000

    def should_drop(self) -> bool:
        """Counts a scrape; true for `drop_share` of them."""
        with self._lock:
            self.scrapes += 1
            self._dropped += self.drop_share
            if self._dropped < 1.0:
                return False
            self._dropped -= 1.0
            return True

    def _is_hidden(self, pod: Pod) -> bool:
        return any(pod.namespace == namespace and pod.name.startswith(prefix) for namespace, prefix in self._hidden)

    def _poll(self) -> None:
        while not self._closing.wait(POLL_EVERY_SECONDS):
            try:
                self.refresh()
            except (OSError, ApiError, http.client.HTTPException):
                continue  # a kubelet, too, goes on with what it knows


def _handler_of(exporter: UsageExporter) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if exporter.should_drop():
                self.close_connection = True
                return
            if exporter.fail_with_500:
                self.send_error(500)
                return
            body = exporter.page(of_nodes=self.path == NODE_EXPORTER).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
