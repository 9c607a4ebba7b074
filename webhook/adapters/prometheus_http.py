"""One HTTP exchange with Prometheus, bounded in time, size and trust.

The deadline is for the whole exchange: name look-up, connect, handshake, headers and body. A
read timeout alone never ends on a server that sends a byte now and then, so each exchange runs
on a thread of its own and its socket is shut when time is up. Redirects are not followed and
proxies of the environment are not used: the token goes to the one origin it was given for.
"""

import logging
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from webhook.adapters.http_words import plain
from webhook.adapters.prometheus_settings import PrometheusSettings, credentials, faults_of, stamp, tls_context
from webhook.errors import ConfigurationError, UsageUnavailable
from webhook.wire.prometheus import code_of, decode_error

log = logging.getLogger(__name__)

_CHUNK = 256 * 1024
_LONGEST_ERROR = 64 * 1024
_TOO_MUCH = (
    "one query reads too much; lengthen idle.step (up to idle.rateWindow less two idle.scrapeInterval), "
    "shorten idle.window, raise the server's own limit, or name recording rules in prometheus.queries"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A 200 with its body; ``date`` is its Date header, None where there is none that can be read."""

    body: bytes
    date: datetime | None


class Transport:
    """Requests to one Prometheus. Raises ConfigurationError at once where the settings cannot be right."""

    def __init__(self, settings: PrometheusSettings) -> None:
        if faults := faults_of(settings):
            raise ConfigurationError(faults, source="prometheus")
        self._settings = settings
        self._prefix = urlsplit(settings.url).path.rstrip("/")
        self._stamp = stamp(settings)
        self._pool = _pool(settings)
        self._renewing = threading.Lock()

    def query(self, expression: str, *, at: datetime | None = None) -> Answer:
        """Ask an instant query by POST, for the moment ``at``. Raises UsageUnavailable."""
        fields = {"query": expression, "timeout": f"{round(self._settings.deadline_seconds * 1000)}ms"}
        if at is not None:
            fields["time"] = f"{at.timestamp():.3f}"
        more = [(name, value) for name, values in self._settings.parameters.items() for value in values]
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", "/api/v1/query", body=urlencode([*fields.items(), *more]).encode(), headers=headers)

    def request(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One exchange within the deadline. Raises UsageUnavailable."""
        # Packing costs Prometheus more than the bytes do; a proxy that packs all the same is understood.
        accept = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "spot-balancer"}
        whole = credentials(self._settings) | accept | dict(headers or {})
        self._renew()
        exchange = _Exchange(lambda: self._send(method, path, body, whole))
        return exchange.within(self._settings.deadline_seconds)

    def close(self) -> None:
        """Close what is kept alive."""
        self._pool.close()

    def _renew(self) -> None:
        """Connect anew when a file of TLS changed. A pair caught between its two files leaves the last good one."""
        if not (self._settings.cert_file or self._settings.ca_file):
            return
        with self._renewing:
            found = stamp(self._settings)
            if found == self._stamp:
                return
            try:
                fresh = _pool(self._settings)
            except ConfigurationError as exc:
                log.warning("the last good certificate stays", extra={"why": exc.faults[0]})
                return
            old, self._pool, self._stamp = self._pool, fresh, found
        old.close()

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        try:
            response = self._pool.urlopen(
                method, self._prefix + path, body=body, headers=headers, redirect=False, preload_content=False
            )
        except urllib3.exceptions.HTTPError as exc:
            raise UsageUnavailable(f"cannot be reached: {plain(exc)}", code=_unreachable(exc)) from exc
        try:
            return self._read(response)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            raise UsageUnavailable(f"the answer broke off: {plain(exc)}", code="truncated") from exc
        finally:
            # A body that was not read to its end must not be taken for the next answer's beginning.
            response.close()

    def _read(self, response: urllib3.BaseHTTPResponse) -> Answer:
        if response.status != 200:
            raise _refusal(response.status, _body(response, cap=_LONGEST_ERROR, cut=True))
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise UsageUnavailable(f"sent {kind[:80] or 'a nameless type'} where JSON was asked for", code="malformed")
        return Answer(_body(response, cap=self._settings.max_body_bytes), _date(response.headers.get("Date", "")))


# --- time


_in_use: ContextVar[dict[str, HTTPConnection]] = ContextVar("_in_use")
"""The connection of this thread's exchange: a deadline must be able to shut its socket."""


class _HttpConnection(HTTPConnection):
    def connect(self) -> None:
        _in_use.get()["connection"] = self
        super().connect()

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        _in_use.get()["connection"] = self
        super().putrequest(*args, **kwargs)


class _HttpsConnection(HTTPSConnection):
    def connect(self) -> None:
        _in_use.get()["connection"] = self
        super().connect()

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        _in_use.get()["connection"] = self
        super().putrequest(*args, **kwargs)


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class _Exchange:
    """Runs ``send`` on a daemon thread: a name look-up that hangs cannot be interrupted, only left behind."""

    def __init__(self, send: Callable[[], Answer]) -> None:
        self._send = send
        self._done = threading.Event()
        self._answer: Answer | None = None
        self._failure: Exception | None = None
        self._local: dict[str, HTTPConnection] = {}

    def within(self, seconds: float) -> Answer:
        threading.Thread(target=self._run, name="prometheus", daemon=True).start()
        if not self._done.wait(seconds):
            self._abort()
            raise UsageUnavailable(f"no whole answer within {seconds:g} s", code="deadline")
        if self._answer is None:
            raise self._failure or UsageUnavailable("no answer", code="unreachable")
        return self._answer

    def _run(self) -> None:
        _in_use.set(self._local)
        try:
            self._answer = self._send()
        except Exception as exc:  # noqa: BLE001 - whatever it was, the waiting thread must hear of it
            self._failure = exc
        finally:
            self._done.set()

    def _abort(self) -> None:
        connection = self._local.get("connection")
        sock = connection.sock if connection else None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError as exc:
                log.debug("socket was gone already", extra={"reason": str(exc)})


# --- trust


_POLLS = 3
"""Those of sync that may meet: nodes, pods, self-test. Each connection beyond what is kept would be a handshake, and a warning."""


def _pool(settings: PrometheusSettings) -> urllib3.HTTPConnectionPool:
    parts = urlsplit(settings.url)
    host = parts.hostname or ""
    timeout = urllib3.Timeout(connect=settings.deadline_seconds, read=settings.deadline_seconds)
    kept = _POLLS * settings.concurrency
    if parts.scheme == "http":
        return _HttpPool(host, parts.port or 80, timeout=timeout, maxsize=kept, retries=False)
    context = tls_context(settings)
    return _HttpsPool(host, parts.port or 443, timeout=timeout, maxsize=kept, retries=False, ssl_context=context)


# --- answers


def _body(response: urllib3.BaseHTTPResponse, *, cap: int, cut: bool = False) -> bytes:
    """The body, unpacked, at most ``cap`` bytes packed or unpacked; more is cut off or refused."""
    unpack = _unpacker(response.headers.get("Content-Encoding", "").strip().lower())
    whole, packed = bytearray(), 0
    while chunk := response.read(_CHUNK, decode_content=False):
        packed += len(chunk)
        whole += unpack(chunk, cap + 1 - len(whole))
        if len(whole) > cap or packed > cap:
            if cut:
                break
            raise UsageUnavailable(f"an answer of more than {cap:,} bytes", code="too-large")
    return bytes(whole[:cap])


def _unpacker(encoding: str) -> Callable[[bytes, int], bytes]:
    if encoding in {"", "identity"}:
        return lambda chunk, _room: chunk
    if encoding != "gzip":
        raise UsageUnavailable(f"an answer packed as {encoding[:40]}", code="malformed")
    unzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def gunzip(chunk: bytes, room: int) -> bytes:
        # A small packet may hold gigabytes: no more is unpacked than may be kept.
        try:
            return unzip.decompress(unzip.unconsumed_tail + chunk, max(1, room))
        except zlib.error as exc:
            raise UsageUnavailable(f"an answer that does not unpack: {exc}", code="malformed") from exc

    return gunzip


def _refusal(status: int, body: bytes) -> UsageUnavailable:
    said = decode_error(body)
    message = f"HTTP {status}" + (f" ({said})" if said else "")
    if 300 <= status < 400:
        return UsageUnavailable(f"{message}: redirects are not followed", code="redirect")
    if status in {400, 422, 503} and (code := code_of(said)):
        return UsageUnavailable(f"{message}: {_TOO_MUCH}", code=code)
    codes = {400: "query", 422: "query", 401: "auth", 403: "auth", 429: "busy", 503: "busy", 504: "busy"}
    return UsageUnavailable(message, code=codes.get(status, "server" if status >= 500 else "refused"))


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _unreachable(exc: Exception) -> str:
    seen: BaseException | None = exc
    while seen is not None:
        if isinstance(seen, ssl.SSLError | urllib3.exceptions.SSLError):
            return "tls"
        seen = seen.__cause__ or seen.__context__ or getattr(seen, "reason", None)
        if not isinstance(seen, BaseException):
            break
    return "unreachable"
