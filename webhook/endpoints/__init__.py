"""Bytes in, Reply out; the same functions behind Flask and the hot routes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

JSON = "application/json"


class Reply(NamedTuple):
    """An HTTP answer, whole: its length is known, nothing is streamed."""

    status: int
    body: bytes
    content_type: str = JSON
    allow: str = ""
    """The Allow header of a 405."""
    closes: bool = False
    """Whether the connection ends with it, as after a body that will not be read."""

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What goes before the body."""
        headers = [("Content-Type", self.content_type), ("Content-Length", str(len(self.body)))]
        if self.allow:
            headers.append(("Allow", self.allow))
        if self.closes:
            headers.append(("Connection", "close"))
        return headers


Handler = Callable[[bytes], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """A path that takes one JSON body by POST; ``max_bytes`` caps it."""

    path: str
    handler: Handler
    max_bytes: int

    def answer(self, method: str, content_type: str, body: bytes) -> Reply:
        """Refuse what is no such body, or hand it over."""
        if method != "POST":
            return refusal(405, allow="POST")
        if not is_json(content_type):
            return refusal(415)
        if len(body) > self.max_bytes:
            return refusal(413)
        return self.handler(body)


def is_json(content_type: str) -> bool:
    """Whether a body is declared as JSON, with or without parameters; forms are never parsed."""
    return content_type == JSON or content_type.partition(";")[0].strip().lower() == JSON


_REASONS = {
    400: "bad request",
    404: "not found",
    405: "method not allowed",
    408: "request timeout",
    413: "body too large",
    414: "URI too long",
    415: "expected application/json",
    431: "header fields too large",
    500: "internal error",
    501: "not implemented",
    503: "not ready",
}


def error_body(message: str) -> bytes:
    return msgspec.json.encode({"error": message})


_BODIES = {status: error_body(reason) for status, reason in _REASONS.items()}


def refusal(status: int, *, allow: str = "", closes: bool = False) -> Reply:
    """An error that tells nothing of the request: the same bytes for the same status."""
    return Reply(status, _BODIES.get(status) or _BODIES[400], allow=allow, closes=closes)
