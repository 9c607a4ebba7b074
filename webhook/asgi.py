"""The server's front door: builds the app and what it looks at, and carries requests to it.

Most requests for a pod are answered by their connection; what is here carries all others. Flask is called inline, in
the event loop: no handler blocks, and a thread would cost more than the answer. Bodies are counted as they are read,
against the cap of their path; what is over is dropped, so that memory stays flat.
"""

import asyncio
import gc
import io
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from prometheus_client import disable_created_metrics

from webhook.adapters.snapshots import Follower
from webhook.app import MAX_OTHER_BYTES, HotRoutes, body_limits, create_app
from webhook.core import spotpool
from webhook.core.snapshot import Snapshot
from webhook.endpoints import Reply, refusal
from webhook.metrics import Metrics
from webhook.settings import ServerSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

Headers = list[tuple[str, str]]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_DRAINED_BYTES = 1024 * 1024
_PIECE_BYTES = 32 * 1024


def build(settings: ServerSettings) -> "Server":
    """Wire the server. Nothing is read before its lifespan starts."""
    # One more series for each labelled one, and nobody asks when it began.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics = Metrics()
    poll = settings.snapshot_poll_seconds
    snapshots = Follower(settings.snapshot, clock, poll_seconds=poll, prepare=_prepare(settings))
    metrics.watch(snapshots.current, clock)
    metrics.watch_count("snapshot_swaps", "Snapshots taken up.", lambda: snapshots.swaps)
    metrics.watch_count("snapshot_faults", "Snapshots refused.", snapshots.faults.total)
    app = create_app(settings, snapshots, metrics)
    return Server(app, snapshots, metrics, hot=HotRoutes(app, metrics), limits=body_limits(app))


def _prepare(settings: ServerSettings) -> Callable[[Snapshot, Snapshot | None], Iterable[None]]:
    if not settings.extender:
        return spotpool.fleet_steps
    # As in app: numpy is for the extender alone.
    from webhook.core import nodetable  # noqa: PLC0415

    return lambda new, old: chain(spotpool.fleet_steps(new, old), nodetable.table_steps(new, old))


def clock() -> datetime:
    """Now, by this machine."""
    return datetime.now(UTC)


class Server:
    """An ASGI application around a WSGI one. ``hot`` is what a connection may answer by itself."""

    def __init__(
        self, wsgi: "WSGIApplication", snapshots: Follower, metrics: Metrics, *, hot: HotRoutes, limits: dict[str, int]
    ) -> None:
        self.metrics = metrics
        self.hot = hot
        self._wsgi = wsgi
        self._snapshots = snapshots
        self._limits = limits

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or live through one lifespan."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._snapshots.refresh_now()
        # What lives from here on lives for good; the collector need not look at it again.
        gc.collect()
        gc.freeze()
        following = asyncio.create_task(self._snapshots.run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        limit = self._limits.get(scope["path"], MAX_OTHER_BYTES)
        body = await _read(receive, declared=_declared_length(scope), limit=limit)
        if isinstance(body, Reply):
            self.metrics.refused.labels(str(body.status)).inc()
            await _send(send, body.status, body.headers, body.body)
        elif body is not None:
            await self._call(scope, body, send)

    async def _call(self, scope: Message, body: bytes, send: Send) -> None:
        started: list[tuple[int, Headers]] = []

        def start_response(status: str, headers: Headers, _: object = None) -> Callable[[bytes], object]:
            started[:] = [(int(status[:3]), headers)]
            return lambda _: None

        answer = _joined(self._wsgi(_environ(scope, body), start_response))
        status, headers = started[0]
        await _send(send, status, headers, answer)


async def _read(receive: Receive, *, declared: int, limit: int) -> bytes | Reply | None:
    """The whole body; a 413 where it is over ``limit``; None where the caller went away.

    A body slightly over is read to its end and dropped, so that the caller sees the answer; with a longer one the
    connection is closed, and it may see a reset instead.
    """
    if declared > limit + _DRAINED_BYTES:
        return refusal(413, closes=True)
    # Not a list: a chunk of one byte would cost fifty in it.
    body, size = bytearray(), 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            body += chunk
        elif size > limit + _DRAINED_BYTES:
            # Of a chunked body all may have come by now, and then the connection stays.
            return refusal(413)
        else:
            body.clear()
        if not message.get("more_body"):
            return bytes(body) if size <= limit else refusal(413)


def _declared_length(scope: Message) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return 0


def _environ(scope: Message, body: bytes) -> dict[str, Any]:
    """PEP 3333's environment; header names with underscores never come this far."""
    client, server = scope["client"] or ("", 0), scope["server"] or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        if name == b"content-type":
            environ["CONTENT_TYPE"] = value.decode("latin-1")
        elif name not in {b"content-length", b"transfer-encoding"}:
            environ["HTTP_" + name.decode("latin-1").upper().replace("-", "_")] = value.decode("latin-1")
    return environ


def _joined(content: Iterable[bytes]) -> bytes:
    try:
        return b"".join(content)
    finally:
        close = getattr(content, "close", None)
        if close is not None:
            close()


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    for start in range(0, len(body) or 1, _PIECE_BYTES):
        end = start + _PIECE_BYTES
        # gunicorn waits between two pieces for a caller who does not read.
        await send({"type": "http.response.body", "body": body[start:end], "more_body": end < len(body)})
