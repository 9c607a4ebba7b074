"""When a certificate ends, read from its bytes: the server loads no cryptography library for one date."""

import ssl
from datetime import UTC, datetime

_VERSION = 0xA0
_UTC_TIME = 0x17
_GENERALIZED_TIME = 0x18


def not_after(pem: str) -> datetime:
    """The end of the first certificate in ``pem``, in UTC. Raises ValueError."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    start, stop = pem.find(begin), pem.find(end)
    if start < 0 or stop < start:
        raise ValueError("no certificate in PEM")
    _, certificate, _ = _element(ssl.PEM_cert_to_DER_cert(pem[start : stop + len(end)]))
    _, body, _ = _element(certificate)
    tag, _, rest = _element(body)
    # version (optional), serial, signature algorithm, issuer, validity
    for _ in range(3 if tag == _VERSION else 2):
        _, _, rest = _element(rest)
    _, validity, _ = _element(rest)
    _, _, rest = _element(validity)
    kind, text, _ = _element(rest)
    return _time(kind, text.decode("ascii"))


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """The tag and content of the first DER element, and what follows it."""
    if len(data) < 2:
        raise ValueError("the certificate is cut off")
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start])
    if len(data) < start + length:
        raise ValueError("the certificate is cut off")
    return data[0], data[start : start + length], data[start + length :]


def _time(kind: int, text: str) -> datetime:
    if kind not in {_UTC_TIME, _GENERALIZED_TIME}:
        raise ValueError("the certificate has no end")
    if kind == _UTC_TIME:
        # RFC 5280 4.1.2.5.1: two digits below 50 are of this century.
        text = ("20" if int(text[:2]) < 50 else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
