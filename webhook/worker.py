"""The server process: gunicorn's own asgi worker, with deadlines, a connection cap and TLS that is never left out.

``serve`` waits for the key pair before anything listens. A connection refused costs the API server nothing, while one
that is accepted and stays silent costs every pod the webhook's timeout.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Any

import uvloop
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.asgi.lifespan import LifespanManager
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

from webhook import asgi, gunicorn_conf, logs
from webhook.adapters import key_pair
from webhook.allocator import keep_buffers
from webhook.connection import Connection
from webhook.settings import ServerSettings

_log = logging.getLogger(__name__)
_IDLE_LINGER_SECONDS = 1.0
_SHUTDOWN_POLL_SECONDS = 0.05


def serve(settings: ServerSettings) -> int:
    """Run the server in this process until SIGTERM or SIGINT; return the exit code."""
    logs.configure(settings.log_level)
    try:
        wait_for_key_pair(settings)
        Application(settings).run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def wait_for_key_pair(settings: ServerSettings, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Return when the key pair is there and its halves match. SIGTERM meanwhile ends the process with 0."""
    told = ""
    previous = signal.signal(signal.SIGTERM, _leave)
    try:
        while fault := _key_pair_fault(settings):
            if fault != told:
                _log.info("waiting for the key pair; nothing listens yet", extra={"reason": fault})
                told = fault
            pause(0.2)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _key_pair_fault(settings: ServerSettings) -> str:
    """What keeps the key pair from being served; empty where nothing does."""
    try:
        key_pair.load(settings)
    except (OSError, ValueError) as error:
        return key_pair.fault_of(error, settings)
    return ""


class Application(BaseApplication):  # type: ignore[misc]
    """gunicorn without its files, flags and environment: settings come from us alone."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Set what ``gunicorn_conf`` says."""
        for name, value in gunicorn_conf.options(self.settings).items():
            self.cfg.set(name, value)
        self.cfg.set("worker_class", Worker)

    def load(self) -> asgi.Server:
        """Build the app; called in the worker."""
        return asgi.build(self.settings)


class Worker(ASGIWorker):  # type: ignore[misc]
    """One event loop. It leaves rather than serve without TLS."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings: ServerSettings = self.app.settings
        self.connections: dict[Connection, None] = {}
        self.bodies_bytes = 0
        """What is kept for all connections: of requests not answered yet, and of answers not taken yet."""

    def _setup_event_loop(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.loop.set_exception_handler(self._note_broken_connection)
        asyncio.set_event_loop(self.loop)

    async def _serve(self) -> None:
        self.lifespan = LifespanManager(self.asgi, self.log, self.state)
        await self.lifespan.startup()
        if self.settings.extender:
            keep_buffers()
        served = self._tls_or_leave()
        # gunicorn notes what its C parser can do on the class it asks, and reads it from the base class alone.
        ASGIProtocol._check_h1c_protocol_available()  # noqa: SLF001
        for listener in self.sockets:
            server = await self.loop.create_server(
                lambda: Connection(self),
                sock=listener.sock,
                ssl=served.context,
                ssl_handshake_timeout=self.settings.handshake_seconds,
                ssl_shutdown_timeout=2.0,
            )
            self.servers.append(server)
            host, port = listener.getsockname()[:2]
            _log.info("listening", extra={"host": host, "port": port})
        rotation = self.loop.create_task(self._follow_key_pair(served))
        while self.alive and self.ppid == os.getppid():
            self.notify()
            await asyncio.sleep(0.2)
        rotation.cancel()
        await self._shutdown()

    async def _shutdown(self) -> None:
        """Accept no more, let idle connections go after a moment, and wait for the busy ones."""
        for server in self.servers:
            server.close()
        began = self.loop.time()
        while self.connections and self.loop.time() < began + self.settings.graceful_seconds:
            if self._quick_shutdown:
                break
            self.notify()
            if self.loop.time() > began + _IDLE_LINGER_SECONDS:
                self._drop_idle()
            await asyncio.sleep(_SHUTDOWN_POLL_SECONDS)
        await self.lifespan.shutdown()

    def admit(self, connection: "Connection") -> None:
        """Take a connection in; at the cap the eldest goes that never sent a whole request, else the eldest that rests.

        Where all are at work it is the new one: nobody is interrupted.
        """
        others = tuple(self.connections) if len(self.connections) >= self.settings.max_connections else None
        self.connections[connection] = None
        if others is not None:
            silent = (known for known in others if not known.has_asked)
            resting = (known for known in others if known.is_idle)
            next(chain(silent, resting), connection).drop("cap")

    def count_dropped(self, cause: str) -> None:
        self.asgi.metrics.dropped.labels(cause).inc()

    def _drop_idle(self) -> None:
        for connection in tuple(self.connections):
            if connection.is_idle:
                connection.drop("shutdown")

    def _tls_or_leave(self) -> key_pair.ServedPair:
        try:
            pair = key_pair.load(self.settings)
        except (OSError, ValueError) as error:
            _log.critical("no TLS, no server", extra={"reason": type(error).__name__})
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from error
        self._show_end(pair)
        return key_pair.ServedPair(pair)

    async def _follow_key_pair(self, served: key_pair.ServedPair) -> None:
        """Serve a renewed pair on new connections. One that does not fit is told once, and the old one stays."""
        seen = _signature(self.settings)
        while True:
            await asyncio.sleep(self.settings.tls_poll_seconds)
            # Before the files are read: what changes meanwhile is looked at again.
            found = _signature(self.settings)
            if found == seen:
                continue
            seen = found
            try:
                pair = key_pair.load(self.settings)
            except (OSError, ValueError) as error:
                self.asgi.metrics.certificate_faults.inc()
                _log.warning("key pair not taken up", extra={"reason": key_pair.fault_of(error, self.settings)})
            else:
                served.renew(pair)
                self._show_end(pair)
                _log.info("key pair renewed")

    def _show_end(self, pair: key_pair.KeyPair) -> None:
        self.asgi.metrics.certificate_not_after.set(pair.not_after.timestamp())

    def _note_broken_connection(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Plain text on the TLS port, a handshake given up: anybody can cause them, so they are counted, not told."""
        error = context.get("exception")
        if isinstance(error, OSError | None):
            self.count_dropped("transport")
            return
        _log.error("event loop", extra={"error": type(error).__name__, "what": context.get("message", "")})


def _signature(settings: ServerSettings) -> tuple[int, ...]:
    """Changes when either file does; a half that is missing counts as zero."""
    return tuple(number for path in (settings.certificate, settings.key) for number in _stat(path))


def _stat(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return (0,)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
