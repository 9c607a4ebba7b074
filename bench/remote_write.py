"""Samples for a running Prometheus, as its remote-write receiver takes them: what goes on after a backfill.

Only what a benchmark needs of the protocol: series with all their samples in order, and snappy's framing around bytes
as they are, unpacked.
"""

import struct
from collections.abc import Iterable, Mapping

import urllib3

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
ARGUMENT = "--web.enable-remote-write-receiver"
"""What Prometheus must be started with."""


def labels(name: str, others: Mapping[str, str]) -> bytes:
    """The labels of a series, in the order that the receiver demands."""
    pairs = sorted({"__name__": name, **others}.items())
    return b"".join(_field(1, _field(1, key.encode()) + _field(2, value.encode())) for key, value in pairs)


def samples(found: Iterable[tuple[int, float]]) -> bytes:
    """(Unix seconds, value) of a series, the eldest first; the same bytes serve every series that has them."""
    return b"".join(_field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(at * 1000)) for at, value in found)


def series(labelled: bytes, sampled: bytes) -> bytes:
    return _field(1, labelled + sampled)


def send(http: urllib3.PoolManager, url: str, written: Iterable[bytes]) -> None:
    """Sends series in one request. Raises RuntimeError where Prometheus does not take every sample."""
    body = b"".join(written)
    # One literal with a length of four bytes.
    framed = _varint(len(body)) + b"\xfc" + struct.pack("<I", len(body) - 1) + body
    answer = http.request("POST", f"{url}/api/v1/write", body=framed, headers=HEADERS, timeout=60, retries=False)
    if answer.status not in (200, 204):
        raise RuntimeError(f"remote write: {answer.status} {answer.data[:300]!r}")


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
