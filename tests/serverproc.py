"""The real server process over real TLS on loopback, for tests of any folder.

with running_server(tmp_path, snapshot) as server:
    reply = server.post("/mutate", body)
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from webhook.core.snapshot import Snapshot
from webhook.wire.snapshot import encode_document

_PROGRAM = """
import json, sys
from pathlib import Path
from webhook.settings import ServerSettings
from webhook.worker import serve
given = json.loads(sys.argv[1])
for name in ("snapshot", "tls_dir"):
    given[name] = Path(given[name])
sys.exit(serve(ServerSettings(**given)))
"""
_PATIENCE_SECONDS = 30.0


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)


@dataclass
class Server:
    process: subprocess.Popen
    port: int
    tls_dir: Path
    snapshot: Path
    log: Path
    ca: trustme.CA
    _connection: http.client.HTTPSConnection | None = field(default=None)

    def context(self, **bounds: ssl.TLSVersion) -> ssl.SSLContext:
        """A caller's TLS context that trusts this server; ``maximum_version`` and the like may be set."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        for name, value in bounds.items():
            setattr(context, name, value)
        return context

    def connect(self, timeout: float = 10.0) -> ssl.SSLSocket:
        """A raw TLS connection."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        return self.context().wrap_socket(raw, server_hostname="127.0.0.1")

    def send(self, data: bytes, timeout: float = 10.0) -> bytes:
        """Send raw bytes, and return whatever comes until the server closes."""
        with self.connect(timeout) as link:
            with contextlib.suppress(OSError):
                link.sendall(data)
            return read_all(link)

    def request(self, method: str, path: str, body: bytes | None = None, headers: dict | None = None) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self.context())
        try:
            return ask(connection, method, path, body, headers)
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, path: str, body: bytes | dict, content_type: str | None = "application/json") -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, data, {"Content-Type": content_type} if content_type else {})

    def session(self) -> http.client.HTTPSConnection:
        """A connection to keep alive; use with ``ask``."""
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self.context())

    def metric(self, line_start: str) -> float:
        """The value of the first sample whose line starts so; 0 where there is none."""
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith(line_start):
                return float(line.rpartition(" ")[2])
        return 0.0

    def worker_pid(self) -> int:
        """The process that answers: the only child of ours."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def resident_bytes(self) -> int:
        """Of the process that answers."""
        return int(Path(f"/proc/{self.worker_pid()}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> int:
        """End it by SIGTERM; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def ask(connection, method, path, body=None, headers=None) -> Answer:
    """One request on a connection that stays open."""
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def read_all(link: socket.socket) -> bytes:
    """Everything until the peer closes or resets."""
    data = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while chunk := link.recv(65536):
            data += chunk
    return data


def wait_until(condition, what: str, seconds: float = _PATIENCE_SECONDS):
    """The condition's first true value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def write_pair(directory: Path, ca: trustme.CA, *names: str, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> None:
    """A new key pair, as a renewed Secret would bring it."""
    directory.mkdir(parents=True, exist_ok=True)
    pair = ca.issue_cert(*(names or ("127.0.0.1", "localhost")), key_type=key_type)
    for name, content in (("tls.key", pair.private_key_pem), ("tls.crt", pair.cert_chain_pems[0])):
        fresh = directory / f".{name}"
        fresh.write_bytes(content.bytes())
        fresh.replace(directory / name)


def start_server(directory: Path, snapshot: Snapshot | Path | None, *, pair: bool = True, **settings) -> Server:
    """Start the process without waiting for it; ``snapshot`` is a value, or the path of a file or directory."""
    ca = trustme.CA()
    tls_dir, log = directory / "tls", directory / "server.log"
    tls_dir.mkdir(parents=True, exist_ok=True)
    if pair:
        write_pair(tls_dir, ca)
    path = snapshot if isinstance(snapshot, Path) else directory / "captured.json"
    if isinstance(snapshot, Snapshot):
        path.write_bytes(encode_document(snapshot))
    port = free_port()
    given = {"snapshot": str(path), "tls_dir": str(tls_dir), "port": port, "snapshot_poll_seconds": 0.05} | settings
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, json.dumps(given)],
            stderr=sink,
            stdout=sink,
            cwd=Path(__file__).parents[1],
            env={"PATH": os.environ["PATH"]},
        )
    return Server(process, port, tls_dir, path, log, ca)


def answers(server: Server) -> bool:
    if server.process.poll() is not None:
        raise AssertionError(f"the server ended with {server.process.returncode}:\n{server.log.read_text()}")
    try:
        return server.get("/healthz").status == 200
    except OSError:
        return False


@contextlib.contextmanager
def running_server(directory: Path, snapshot: Snapshot | Path | None, **settings):
    """A server that answers; it is ended afterwards, and its log shown where that fails."""
    server = start_server(directory, snapshot, **settings)
    try:
        wait_until(lambda: answers(server), "the server to answer")
        yield server
    finally:
        server.stop()
