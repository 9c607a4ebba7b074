"""The API server over HTTP: raw bytes in and out, every wait bounded, every error one of ours.

Where the server is and who we are is the official client's knowledge (kubeconfig files,
contexts, exec plugins, a pod's own token); its object models are not used, because they cost
a millisecond a pod. Redirects are not followed: the token goes to the one server it is for.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import urllib3

from webhook.adapters.http_words import plain
from webhook.adapters.kubeconfig import Access, load_access
from webhook.errors import (
    ClusterConflict,
    ClusterError,
    ClusterForbidden,
    ClusterNotFound,
    ClusterSilent,
    ClusterUnavailable,
    InputError,
)
from webhook.wire.kubernetes import decode_message

__all__ = ["Access", "KubeApi", "LineStream", "connect"]

log = logging.getLogger(__name__)

JSON = "application/json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
CONNECT_SECONDS = 5.0
_LARGEST_BYTES = 256 * 1024 * 1024
_LONGEST_LINE = 16 * 1024 * 1024
_CHUNK = 64 * 1024


def connect(kubeconfig: str | None = None, context: str | None = None) -> "KubeApi":
    """Reach a cluster as kubectl would: by ``kubeconfig``, $KUBECONFIG, ~/.kube/config, or in a pod by its own token.

    Nothing is asked of the server yet. Raises InputError where there is no such file or context.
    """
    return KubeApi(lambda: load_access(kubeconfig, context))


class KubeApi:
    """One API server. Safe for many threads; ``namespace`` is the context's own.

    ``load`` is called again after a 401, once per request: a token may have been rotated on disk.
    """

    def __init__(self, load: Callable[[], Access]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._access = load()
        self._pool = _pool(self._access)

    @property
    def namespace(self) -> str:
        """The context's namespace, or that of the pod we run in."""
        return self._access.namespace

    def request(
        self, method: str, path: str, body: bytes | None = None, *, timeout: float = 30.0, content_type: str = JSON
    ) -> bytes:
        """One exchange within about ``timeout`` seconds; the body of a 2xx. Raises ClusterError."""
        deadline = time.monotonic() + timeout
        response = self._send(method, path, body, read_timeout=timeout, content_type=content_type)
        try:
            return _whole(response, deadline, path)
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise ClusterUnavailable(f"{method} {_bare(path)}: the answer broke off: {plain(exc)}") from exc
        finally:
            response.release_conn() if response.closed else response.close()

    def stream(self, path: str, read_timeout: float) -> "LineStream":
        """Open a GET whose answer comes line by line; silence longer than ``read_timeout`` seconds ends it.

        Raises ClusterError, here and while it is read; such silence is ClusterSilent.
        """
        return LineStream(self._send("GET", path, None, read_timeout=read_timeout), _bare(path))

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._pool.clear()

    def _send(
        self, method: str, path: str, body: bytes | None, *, read_timeout: float, content_type: str = JSON
    ) -> urllib3.BaseHTTPResponse:
        used = self._access
        response = self._send_once(method, path, body, read_timeout=read_timeout, content_type=content_type)
        if response.status == 401:
            response.close()
            self._reload(used)
            response = self._send_once(method, path, body, read_timeout=read_timeout, content_type=content_type)
        if not 200 <= response.status < 300:
            raise _refusal(response, f"{method} {_bare(path)}")
        return response

    def _send_once(
        self, method: str, path: str, body: bytes | None, *, read_timeout: float, content_type: str
    ) -> urllib3.BaseHTTPResponse:
        access, pool = self._access, self._pool
        try:
            return pool.request(
                method,
                access.url + path,
                body=body,
                headers=_headers(access, content_type if body is not None else None),
                timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, read_timeout), read=read_timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise ClusterUnavailable(f"{method} {_bare(path)} at {access.url}: {plain(exc)}") from exc

    def _reload(self, used: Access) -> None:
        with self._lock:
            if self._access is not used:
                return  # another thread was refused at the same moment, and has loaded them
            try:
                self._access = self._load()
            except InputError as exc:
                raise ClusterForbidden(f"401, and new credentials cannot be had: {exc}", status=401) from exc
            self._pool = _pool(self._access)
            log.info("credentials reloaded after a 401")


class LineStream:
    """The lines of one answer. ``abort`` may be called from another thread and ends a read that waits."""

    def __init__(self, response: urllib3.BaseHTTPResponse, what: str) -> None:
        self._response = response
        self._what = what

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.close()

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        try:
            for chunk in self._response.stream(_CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line for line in lines if line.strip())
                if len(rest) > _LONGEST_LINE:
                    raise ClusterUnavailable(f"GET {self._what}: a line without end")
        except urllib3.exceptions.ReadTimeoutError as exc:
            raise ClusterSilent(f"GET {self._what}: {plain(exc)}") from exc
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            raise ClusterUnavailable(f"GET {self._what}: {plain(exc)}") from exc

    def abort(self) -> None:
        """End the stream from outside; reading it then ends or raises ClusterUnavailable."""
        try:
            self._response.shutdown()
        except (OSError, ValueError, RuntimeError):
            log.debug("a stream had ended by itself")


def _headers(access: Access, content_type: str | None) -> dict[str, str]:
    headers = {"Accept": JSON, "User-Agent": "spot-balancer"}
    if token := access.authorization():
        headers["Authorization"] = token
    if content_type is not None:
        headers["Content-Type"] = content_type
    return headers


def _whole(response: urllib3.BaseHTTPResponse, deadline: float, path: str) -> bytes:
    parts, size = [], 0
    for chunk in response.stream(_CHUNK):
        parts.append(chunk)
        size += len(chunk)
        if size > _LARGEST_BYTES:
            raise ClusterError(f"{_bare(path)}: an answer of more than {_LARGEST_BYTES} bytes")
        if time.monotonic() > deadline:
            raise ClusterUnavailable(f"{_bare(path)}: the answer took too long")
    return b"".join(parts)


_ERRORS: dict[int, type[ClusterError]] = {
    401: ClusterForbidden,
    403: ClusterForbidden,
    404: ClusterNotFound,
    409: ClusterConflict,
    410: ClusterNotFound,
    429: ClusterUnavailable,
}


def _refusal(response: urllib3.BaseHTTPResponse, what: str) -> ClusterError:
    try:
        message = decode_message(response.read(_CHUNK))
    except (urllib3.exceptions.HTTPError, OSError):
        message = ""
    finally:
        response.close()
    kind = _ERRORS.get(response.status, ClusterUnavailable if response.status >= 500 else ClusterError)
    text = f"{what}: {response.status} {message}".rstrip()
    after = _seconds(response.headers.get("Retry-After", ""))
    return kind(text, status=response.status, retry_after_seconds=after, said=message)


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def _bare(path: str) -> str:
    return path.partition("?")[0]


def _pool(access: Access) -> urllib3.PoolManager:
    options: dict[str, Any] = {"num_pools": 2, "maxsize": 16, "ssl_context": access.tls}
    if access.server_name:
        options["server_hostname"] = options["assert_hostname"] = access.server_name
    if access.proxy:
        return urllib3.ProxyManager(access.proxy, **options)
    return urllib3.PoolManager(**options)
