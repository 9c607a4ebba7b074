"""An API server that misbehaves on request: pages, watches, conflicts, and every way to answer badly.

What it does when nothing is asked of it is what the real one does for the same requests; that the
adapters also work on the real one is shown in tests/e2e/test_cluster_adapter.py.
"""

import json
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PODS, NODES, CRONJOBS = "/api/v1/pods", "/api/v1/nodes", "/apis/batch/v1/cronjobs"
COLLECTIONS = (
    NODES,
    PODS,
    "/api/v1/namespaces",
    "/apis/apps/v1/replicasets",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/statefulsets",
    "/apis/batch/v1/jobs",
    CRONJOBS,
)
Json = dict[str, Any]


@dataclass
class Fault:
    """Stands in for an answer; `after_commit` does the work first, as a gateway that lost the answer."""

    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    after_commit: bool = False


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, str]
    token: str


class FakeApiServer:
    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Json]] = defaultdict(dict)
        self.requests: list[Seen] = []
        self.silent = False
        self.good_tokens: set[str] | None = None
        self.page: int | None = None
        self._faults: dict[tuple[str, str], deque[Fault]] = defaultdict(deque)
        self._forever: dict[tuple[str, str], Fault] = {}
        self._events: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        self._raw: dict[str, list[bytes]] = defaultdict(list)
        self._oldest: dict[str, int] = defaultdict(int)
        self._epoch = 0
        self._watching: dict[str, int] = defaultdict(int)
        self._version = 100
        self._changed = threading.Condition()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    # --- what a test does

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _handler(self))
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """All connections end and none is accepted; `start` comes back on the same port."""
        if self._server is not None:
            self.drop_watches()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def put(self, path: str, name: str, namespace: str = "", **body: Any) -> Json:
        with self._changed:
            key = f"{namespace}/{name}"
            kind = "MODIFIED" if key in self.objects[path] else "ADDED"
            self._version += 1
            metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}"} | body.pop("metadata", {})
            made = body | {"metadata": metadata | {"resourceVersion": str(self._version)}}
            self.objects[path][key] = made
            self._tell(path, kind, made)
            return made

    def remove(self, path: str, name: str, namespace: str = "", *, silently: bool = False) -> None:
        with self._changed:
            gone = self.objects[path].pop(f"{namespace}/{name}")
            self._version += 1
            gone["metadata"]["resourceVersion"] = str(self._version)
            if not silently:
                self._tell(path, "DELETED", gone)

    def inject(self, path: str, line: bytes | Json) -> None:
        """One line to every open watch, whatever it is."""
        with self._changed:
            self._raw[path].append(line if isinstance(line, bytes) else json.dumps(line).encode())
            self._changed.notify_all()

    def compact(self, path: str) -> None:
        """Forget: a watch from an earlier version gets 410."""
        with self._changed:
            self._version += 1
            self._oldest[path] = self._version
            self._events[path].clear()

    def drop_watches(self) -> None:
        with self._changed:
            self._epoch += 1
            self._changed.notify_all()

    def fail(self, method: str, path: str, fault: Fault, *, times: int | None = 1) -> None:
        """The next `times` such requests are answered by `fault`; None means until `mend`."""
        if times is None:
            self._forever[method, path] = fault
        else:
            self._faults[method, path].extend([fault] * times)

    def mend(self, method: str, path: str) -> None:
        self._forever.pop((method, path), None)

    def count(self, path: str, *, watch: bool) -> int:
        return sum(r.path == path and ("watch" in r.query) is watch for r in list(self.requests))

    def watching(self, path: str) -> int:
        return self._watching[path]

    # --- what the handler does

    def _tell(self, path: str, kind: str, obj: Json) -> None:
        line = json.dumps({"type": kind, "object": obj}).encode()
        self._events[path].append((self._version, line))
        self._changed.notify_all()

    def take_fault(self, method: str, path: str) -> Fault | None:
        waiting = self._faults[method, path]
        return waiting.popleft() if waiting else self._forever.get((method, path))

    def list_page(self, path: str, query: dict[str, str]) -> tuple[int, Json]:
        with self._changed:
            everything = [self.objects[path][key] for key in sorted(self.objects[path])]
            begin = int(query.get("continue", "0"))
            size = self.page or int(query.get("limit", "500"))
            end = begin + size
            more = {"continue": str(end)} if end < len(everything) else {}
            return 200, {"metadata": {"resourceVersion": str(self._version)} | more, "items": everything[begin:end]}

    def write(self, method: str, path: str, body: Json) -> tuple[int, Json]:
        collection, name = (path, body["metadata"]["name"]) if method == "POST" else path.rsplit("/", 1)
        namespace = collection.split("/")[4]
        with self._changed:
            before = self.objects[collection].get(f"{namespace}/{name}")
            if method == "POST" and before is not None:
                return 409, {"message": "already exists"}
            if method == "PUT" and (
                before is None or before["metadata"]["resourceVersion"] != body["metadata"].get("resourceVersion")
            ):
                return 409, {"message": "the object has been modified"}
        rest = {key: value for key, value in body.items() if key != "metadata"}
        metadata = {key: value for key, value in body["metadata"].items() if key != "resourceVersion"}
        return 200, self.put(collection, name, namespace, metadata=metadata, **rest)

    def read(self, path: str) -> tuple[int, Json]:
        collection, name = path.rsplit("/", 1)
        found = next((o for o in self.objects[collection].values() if o["metadata"]["name"] == name), None)
        return (200, found) if found else (404, {"message": "not found"})

    def lines(self, path: str, since: int):
        """Yields the lines of one watch until it is dropped; b"" to see whether the other end still listens."""
        with self._changed:
            epoch, raw = self._epoch, len(self._raw[path])
            self._watching[path] += 1
        try:
            while True:
                with self._changed:
                    if epoch != self._epoch:
                        return
                    new = [] if self.silent else [(v, line) for v, line in self._events[path] if v > since]
                    mine = [] if self.silent else self._raw[path][raw:]
                    if not new and not mine:
                        self._changed.wait(0.1)
                    raw += len(mine)
                for version, line in new:
                    since = version
                    yield line
                yield from mine
                yield b""
        finally:
            with self._changed:
                self._watching[path] -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, address, handler):
        self._open: set[Any] = set()
        super().__init__(address, handler)

    def process_request(self, request, client_address):
        self._open.add(request)
        super().process_request(request, client_address)

    def server_close(self):
        super().server_close()
        for request in self._open:
            self.shutdown_request(request)

    def handle_error(self, request, client_address):
        pass


def _handler(fake: FakeApiServer) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one small server
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self._answer()

        do_POST = do_PUT = do_GET  # noqa: N815 - the base class' names

        def _answer(self):
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            token = self.headers.get("Authorization", "")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fake.requests.append(Seen(self.command, url.path, query, token))
            if fake.good_tokens is not None and token not in fake.good_tokens:
                return self._send(401, {"message": "Unauthorized"})
            fault = fake.take_fault("WATCH" if "watch" in query else self.command, url.path)
            if fault and not fault.after_commit:
                return self._send(fault.status, {"message": "fault"}, fault.headers, fault.body)
            if "watch" in query:
                return self._watch(url.path, int(query["resourceVersion"]))
            status, answer = self._work(url.path, query, body)
            if fault:
                return self._send(fault.status, {"message": "fault"}, fault.headers)
            return self._send(status, answer)

        def _work(self, path, query, body):
            if self.command in ("POST", "PUT"):
                return fake.write(self.command, path, json.loads(body))
            if path == "/version":
                return 200, {"gitVersion": "v1.37.2"}
            is_collection = path in COLLECTIONS or path.endswith("/configmaps")
            return fake.list_page(path, query) if is_collection else fake.read(path)

        def _send(self, status, answer, headers=None, raw=None):
            body = raw if raw is not None else json.dumps(answer).encode()
            self.send_response(status)
            for key, value in ({"Content-Type": "application/json"} | (headers or {})).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _watch(self, path, since):
            if since < fake._oldest[path]:
                self._send(410, {"message": "too old resource version", "code": 410})
                return
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for line in fake.lines(path, since):
                if line:
                    self.wfile.write(f"{len(line) + 1:x}\r\n".encode() + line + b"\n\r\n")
                    self.wfile.flush()
            self.close_connection = True

        def log_message(self, *args):
            pass

    return Handler
