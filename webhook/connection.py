"""One connection to the server: gunicorn's HTTP/1.1 protocol, with deadlines, and a direct way for the hot routes.

gunicorn runs an application in a task of its own, which waits for each piece of the body under a timer: several times
the cost of a decision. So a request for a pod is answered in the very call that brings the last byte of its body, as
nothing in its handler blocks. That is for a plain POST of a known length; all else takes gunicorn's way to Flask.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from gunicorn.asgi.protocol import ASGIProtocol

from webhook.endpoints import Route, refusal
from webhook.settings import ServerSettings

if TYPE_CHECKING:
    from webhook.worker import Worker

_PIECE_BYTES = 16 * 1024
"""Parsed at once. The parser keeps four times that of a next request that came with the end of this one."""
_WRITTEN_BYTES = 64 * 1024
"""Written at once, as much as the transport takes before it asks to wait; each piece is a call of the kernel."""
_NOT_PLAIN = frozenset({b"connection", b"expect", b"transfer-encoding", b"upgrade"})
"""Headers by which a caller asks for more than an answer."""


class Direct:
    """A request that is answered by its connection. It stands where gunicorn keeps its own request and its body."""

    version = (1, 1)
    buffered = 0
    """gunicorn stops reading above some; here the route's cap bounds what is kept."""

    def __init__(self, route: Route, content_type: str, length: int) -> None:
        self.route = route
        self.content_type = content_type
        self.left = length
        self._chunks: list[bytes] = []
        self._complete = False

    def take(self) -> bytes:
        """The body, which is kept no longer."""
        body = b"".join(self._chunks)
        self._chunks.clear()
        return body

    def feed(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self.left -= len(chunk)

    def set_complete(self) -> None:
        self._complete = True

    def signal_disconnect(self) -> None:
        """Nobody waits for it."""


class Connection(ASGIProtocol):  # type: ignore[misc]
    """One connection with a deadline each for headers, for a body and for the reading of an answer.

    The first two run from the first byte they wait for, the last from when the caller leaves more unread than is sent
    ahead.
    """

    _current_request: Any
    _body_receiver: Any

    def __init__(self, worker: "Worker") -> None:
        super().__init__(worker)
        self.has_asked = False
        """Whether it ever sent a whole request."""
        self._held = b""
        self._phase = ""
        self._deadline: asyncio.TimerHandle | None = None
        self._direct: Direct | None = None
        self._next: asyncio.Handle | None = None
        self._unsent = memoryview(b"")
        """Of the answer, what the caller has not made room for yet."""
        self._kept_bytes = self._counted_bytes = 0
        self._is_dropped = False

    @property
    def is_idle(self) -> bool:
        """Between requests, or before the first, with nothing to send."""
        return self._current_request is None and not (self._held or self._flow_control.write_paused)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the deadline for the first headers."""
        super().connection_made(transport)
        self.worker.admit(self)
        self._enter("headers")

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and see what is still to come."""
        self._held = self._held + data if self._held else data
        self._feed()

    def _feed(self) -> None:
        """Give the parser what it can take: nothing of the next request before this one is answered.

        It would keep 64 KiB of it and then close the connection without an answer, which a caller meets that sends a
        large review the moment it has read the last answer.
        """
        while self._held and not (self._closed or self._must_wait or self._next):
            most = max(_PIECE_BYTES, self._direct.left if self._direct else 0)
            piece, self._held = self._held[:most], self._held[most:]
            super().data_received(piece)
            # A body in chunks of one byte costs a thousand times what its bytes do.
            if self._held and self._direct is None:
                self._feed_soon()
        self._reckon()
        if self._must_wait or len(self._held) > _PIECE_BYTES:
            self._pause_reading()
        else:
            self._maybe_resume_reading()

    def _feed_soon(self) -> None:
        """Go on after all others have had their turn: nobody keeps the loop who sends many requests, or chunks, at once."""
        if self._next is None:
            self._next = self.worker.loop.call_soon(self._feed_now)

    def _feed_now(self) -> None:
        self._next = None
        self._feed()

    @property
    def _must_wait(self) -> bool:
        """Until an answer is made, or taken by a caller who does not read: what it is owed is bounded by this."""
        return self._is_answering or self._flow_control.write_paused

    @property
    def _is_answering(self) -> bool:
        receiver = self._body_receiver
        # gunicorn offers no other sign that a body has come to its end.
        return self._current_request is not None and (receiver is None or receiver._complete)  # noqa: SLF001

    def _note_phase(self) -> None:
        if self._is_answering:
            self.has_asked = True
            self._rest()
        else:
            self._enter("headers" if self._current_request is None else "body")

    def _maybe_resume_reading(self) -> None:
        if not self._must_wait and len(self._held) <= _PIECE_BYTES:
            super()._maybe_resume_reading()

    def _resume_reading(self) -> None:
        """Called when a request is answered, just before the parser is made ready for the next."""
        if self._is_answering:
            self._rest()
            self._let_go()
        super()._resume_reading()
        if self._held:
            self._feed_soon()

    def pause_writing(self) -> None:
        """More is sent than the caller has read; what it is owed is for its own deadline."""
        super().pause_writing()
        if not self._phase:
            self._rest()

    def resume_writing(self) -> None:
        """The caller has read on; so may we. An answer in pieces keeps the deadline of its first."""
        super().resume_writing()
        if self._unsent:
            self._write_on()
        elif not self._is_answering:
            if self._phase == "answer":
                self._rest()
            self._go_on()

    def _go_on(self) -> None:
        self._maybe_resume_reading()
        if self._held:
            self._feed_soon()

    # --- what is kept for it

    def _on_body(self, chunk: bytes) -> None:
        super()._on_body(chunk)
        self._kept_bytes += len(chunk)

    def _let_go(self) -> None:
        """Nothing is kept any more of this request and its answer."""
        self._kept_bytes = 0
        self._reckon()

    def _reckon(self) -> None:
        """Hold what is kept against the bound of all connections; who grows beyond it is cut off."""
        more = self._kept_bytes + len(self._held) - self._counted_bytes
        self._counted_bytes += more
        self.worker.bodies_bytes += more
        if more > 0 and self.worker.bodies_bytes > self.worker.settings.max_bodies_bytes:
            self.drop("memory")

    # --- the direct way

    def _on_headers_complete(self) -> bool:
        self._direct = self._plain_post()
        if self._direct is None:
            return bool(super()._on_headers_complete())
        self._cancel_keepalive_timer()
        self._current_request = self._body_receiver = self._direct
        return False

    def _plain_post(self) -> Direct | None:
        """The request whose headers have just come, if it can be answered directly."""
        parser = self._callback_parser
        route = self.worker.asgi.hot.find(parser.path)
        length = parser.content_length
        if route is None or parser.method != b"POST" or parser.http_version != (1, 1):
            return None
        if parser.is_chunked or not length or length > route.max_bytes or not self.worker.alive:
            return None
        content_type = b""
        for name, value in parser.asgi_headers:
            if name == b"content-type":
                content_type = value
            elif name in _NOT_PLAIN:
                return None
        return Direct(route, content_type.decode("latin-1"), length)

    def _feed_callback_parser(self, data: bytes) -> bool:
        is_open = bool(super()._feed_callback_parser(data)) and not self._is_dropped
        if is_open and self._direct is not None and self._is_answering:
            self._answer(self._direct)
        elif is_open:
            self._note_phase()
        return is_open

    def _answer(self, asked: Direct) -> None:
        self.has_asked = True
        self._rest()
        reply = self.worker.asgi.hot.answer(asked.route, asked.content_type, asked.take())
        self._send_response_start(reply.status, reply.headers, asked, close=not self.worker.alive)
        self._kept_bytes, self._unsent = len(reply.body), memoryview(reply.body)
        self._write_on()

    def _write_on(self) -> None:
        """Write as much of the answer as is taken. The transport takes all it is given, and nobody could count that."""
        while self._unsent and not self._flow_control.write_paused:
            piece, self._unsent = self._unsent[:_WRITTEN_BYTES], self._unsent[_WRITTEN_BYTES:]
            self._send_body(piece)
        if not self._unsent:
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Make the parser ready for the next request, of which it may hold the beginning."""
        parser = self._callback_parser
        if parser.remaining_truncated or not self.worker.alive:
            self._close_transport()
            return
        rest = parser.remaining()
        parser.reset()
        self._direct = self._current_request = self._body_receiver = None
        self._rest()
        self._arm_keepalive_timer()
        self._held = rest + self._held
        self._let_go()
        self._go_on()

    def _arm_keepalive_timer(self) -> None:
        # gunicorn begins to wait for a request of its own while one is under way that is answered directly.
        if self._direct is None:
            super()._arm_keepalive_timer()

    # --- the end

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._enter("")
        self._held = b""
        self._unsent = memoryview(b"")
        self._let_go()
        self.worker.connections.pop(self, None)
        super().connection_lost(exc)

    def drop(self, cause: str) -> None:
        """Close without an answer; what is still parsed of it goes nowhere."""
        if self._is_dropped:
            return
        self._is_dropped = self._closed = True
        self.worker.count_dropped(cause)
        # At once: of many that come together, each must find another to take the place of.
        self.worker.connections.pop(self, None)
        self.transport.abort()

    def _rest(self) -> None:
        """Wait for nothing, unless for the caller to read."""
        self._enter("answer" if self._flow_control.write_paused else "")

    def _enter(self, phase: str) -> None:
        """A phase keeps the deadline it began with, however slowly its bytes come."""
        if phase == self._phase:
            return
        self._phase = phase
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if phase:
            settings: ServerSettings = self.worker.settings
            seconds = {
                "headers": settings.header_seconds,
                "body": settings.body_seconds,
                "answer": settings.answer_seconds,
            }
            self._deadline = self.worker.loop.call_later(seconds[phase], self.drop, phase)

    def _send_error_response(self, status: int, message: str, extra_headers: object = ()) -> None:
        """As JSON of constant bytes: gunicorn's own text quotes the request."""
        del message, extra_headers
        body = refusal(status).body
        head = f"HTTP/1.1 {status} {self._get_reason_phrase(status)}\r\nContent-Type: application/json\r\n"
        self.worker.asgi.metrics.refused.labels(str(status)).inc()
        self._safe_write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
