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
BUDGETS, VOLUMES = "/apis/policy/v1/poddisruptionbudgets", "/api/v1/persistentvolumes"
COLLECTIONS = (
    NODES,
    PODS,
    "/api/v1/namespaces",
    "/apis/apps/v1/replicasets",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/statefulsets",
    "/apis/batch/v1/jobs",
    CRONJOBS,
    BUDGETS,
    "/apis/autoscaling/v2/horizontalpodautoscalers",
    "/api/v1/resourcequotas",
    "/api/v1/persistentvolumeclaims",
    VOLUMES,
    "/apis/storage.k8s.io/v1/storageclasses",
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
    body: Json = field(default_factory=dict)
    content_type: str = ""


class FakeApiServer:
    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Json]] = defaultdict(dict)
        self.requests: list[Seen] = []
        self.silent = False
        self.good_tokens: set[str] | None = None
        self.cut_off: set[str] = set()
        """Tokens whose requests get no answer, as behind a partition."""
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
            found = [self.objects[path][key] for key in sorted(self.objects[path])]
            if selector := query.get("labelSelector"):
                found = [o for o in found if _selects(selector, o["metadata"].get("labels") or {})]
            begin = int(query.get("continue", "0"))
            size = self.page or int(query.get("limit", "500"))
            end = begin + size
            more = {"continue": str(end)} if end < len(found) else {}
            return 200, {"metadata": {"resourceVersion": str(self._version)} | more, "items": found[begin:end]}

    def write(self, method: str, path: str, body: Json, *, dry_run: bool = False) -> tuple[int, Json]:
        made = path.rsplit("/", maxsplit=1)[-1] in ("configmaps", "leases", "events")
        collection, name = (path, _name_of(body, self._version)) if made else path.rsplit("/", 1)
        namespace = collection.split("/namespaces/")[1].split("/")[0]
        if name in ("scale", "eviction"):
            return self._sub(collection, namespace, name, body, dry_run=dry_run)
        with self._changed:
            before = self.objects[collection].get(f"{namespace}/{name}")
            if made and before is not None:
                return 409, {"message": "already exists"}
            if not made and before is None:
                return (409, {"message": "the object has been modified"}) if method == "PUT" else _NOT_FOUND
            if not made and before["metadata"]["resourceVersion"] != body["metadata"].get("resourceVersion"):
                return 409, {"message": "the object has been modified"}
        if method == "PATCH":
            body = _merged(before, body)
        metadata = {k: v for k, v in body["metadata"].items() if k not in ("resourceVersion", "generateName")}
        if dry_run:
            return 200, body
        rest = {key: value for key, value in body.items() if key != "metadata"}
        return (201 if made else 200), self.put(collection, name, namespace, metadata=metadata, **rest)

    def _sub(self, path: str, namespace: str, sub: str, body: Json, *, dry_run: bool) -> tuple[int, Json]:
        """Scale and eviction; a pod whose annotation `test/blocked` says so is guarded by a budget."""
        collection, name = path.rsplit("/", 1)
        found = self.objects[collection].get(f"{namespace}/{name}")
        if found is None:
            return _NOT_FOUND
        meta = found["metadata"]
        if sub == "eviction":
            if meta["uid"] != body["deleteOptions"]["preconditions"]["uid"]:
                return 409, {"message": "the UID in the precondition does not match"}
            if (meta.get("annotations") or {}).get("test/blocked"):
                return 429, {"message": "Cannot evict pod as it would violate the pod's disruption budget."}
            if not dry_run:
                self.remove(collection, name, namespace)
            return 201, {"kind": "Status", "status": "Success", "code": 201}
        if meta["resourceVersion"] != body["metadata"]["resourceVersion"]:
            return 409, {"message": "the object has been modified"}
        if not dry_run:
            rest = {key: value for key, value in found.items() if key != "metadata"}
            rest["spec"] = found["spec"] | body["spec"]
            self.put(collection, name, namespace, metadata=meta, **rest)
        return 200, body

    def read(self, path: str) -> tuple[int, Json]:
        collection, name = path.rsplit("/", 1)
        found = next((o for o in self.objects[collection].values() if o["metadata"]["name"] == name), None)
        return (200, found) if found else _NOT_FOUND

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


_NOT_FOUND = (404, {"message": "not found"})


def _name_of(body: Json, version: int) -> str:
    metadata = body["metadata"]
    return metadata.get("name") or f"{metadata['generateName']}{version:x}"


def _merged(before: Any, patch: Any) -> Any:
    if not isinstance(before, dict) or not isinstance(patch, dict):
        return patch
    return before | {key: _merged(before.get(key), value) for key, value in patch.items()}


def _selects(selector: str, labels: dict[str, str]) -> bool:
    """Only what tests ask for: `key=value`, joined by commas."""
    wanted = dict(part.split("=") for part in selector.split(","))
    return all(labels.get(key) == value for key, value in wanted.items())


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

        do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815 - the base class' names

        def _answer(self):
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            token = self.headers.get("Authorization", "")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = json.loads(body) if body else {}
            kind = self.headers.get("Content-Type", "")
            fake.requests.append(Seen(self.command, url.path, query, token, said, kind))
            if token in fake.cut_off:
                self.close_connection = True
                return None
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
            if self.command in ("POST", "PUT", "PATCH"):
                return fake.write(self.command, path, json.loads(body), dry_run=query.get("dryRun") == "All")
            if path == "/version":
                return 200, {"gitVersion": "v1.37.2"}
            is_collection = path in COLLECTIONS or path.endswith(("/configmaps", "/pods"))
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
