"""A gate between one process and the API server that lets so many writes pass and kills the process at the next.

TLS ends here and begins anew, so that what is written can be counted; reads pass uncounted.
"""

import http.client
import os
import re
import signal
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import trustme

from tests.parts.credentials import write_kubeconfig
from tests.parts.plane import ControlPlane
from tests.parts.processes import release_port, reserve_port

WRITES = ("POST", "PUT")
_SHARD = re.compile(r"/configmaps(/.*-book-\d\d)?$")


class TollGate:
    """`writes` are the writes that came, as "PUT /path"; `kubeconfig` leads through the gate as admin.

    `victim` is the process that is killed. Shards of the book are written before moves and pass uncounted.
    """

    def __init__(self, plane: ControlPlane, folder: Path):
        folder.mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        self._plane, self._port = plane, reserve_port()
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler_of(self))
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="toll-gate")
        self._lock = threading.Lock()
        self._onward = ssl.create_default_context(cafile=str(plane.ca_file))
        self.kubeconfig = write_kubeconfig(
            folder / "kubeconfig",
            url=f"https://127.0.0.1:{self._port}",
            ca_file=folder / "ca.pem",
            token=plane.admin_token,
        )
        self.let_pass()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        release_port(self._port)

    def let_pass(self) -> None:
        """From now on everything; the count begins anew."""
        self.writes: list[str] = []
        self._at, self._forwarded, self.victim = 0, False, 0

    def kill_at(self, write: int, *, forwarded: bool) -> None:
        """SIGKILL for the victim when its write of this number, from 1, arrives: before it is forwarded, or once the
        API server has done it and before the answer."""
        self.let_pass()
        self._at, self._forwarded = write, forwarded

    def pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str] | None:
        """The API server's answer; None where there is nobody left to answer to."""
        is_last = method in WRITES and not _SHARD.search(path) and self._count(f"{method} {path}") == self._at
        if is_last and not self._forwarded:
            os.kill(self.victim, signal.SIGKILL)
            return None
        answer = self._forward(method, path, headers, body)
        if is_last:
            os.kill(self.victim, signal.SIGKILL)
            return None
        return answer

    def _count(self, write: str) -> int:
        with self._lock:
            self.writes.append(write)
            return len(self.writes)

    def _forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        connection = http.client.HTTPSConnection(urlsplit(self._plane.url).netloc, context=self._onward, timeout=30)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheader("Content-Type", "application/json")
        finally:
            connection.close()


def _handler_of(gate: TollGate) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        kept = ("Authorization", "Accept", "Content-Type", "User-Agent")

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: self.headers[name] for name in self.kept if name in self.headers}
            answer = gate.pass_on(self.command, self.path, headers, body)
            if answer is None:
                self.close_connection = True
                return
            status, text, kind = answer
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self._pass_on()

        def do_POST(self) -> None:
            self._pass_on()

        def do_PUT(self) -> None:
            self._pass_on()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    return Handler
