"""Why a server could not be asked, in words for people: what the HTTP client calls it stays in the cause."""

import ssl

import urllib3

_LONGEST = 200


def plain(exc: BaseException) -> str:
    """``no connection (Connection refused)``; the same trouble reads the same each time, without addresses of objects."""
    reason = getattr(exc, "reason", None)
    cause = reason if isinstance(reason, BaseException) else exc
    return _told(cause)[:_LONGEST]


_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (urllib3.exceptions.NameResolutionError, "no address is known of its name"),
    (urllib3.exceptions.NewConnectionError, "no connection"),
    (urllib3.exceptions.ConnectTimeoutError, "no connection in time"),
    (urllib3.exceptions.ReadTimeoutError, "no answer in time"),
    (TimeoutError, "no answer in time"),
    (urllib3.exceptions.ProxyError, "no connection through the proxy"),
    (urllib3.exceptions.ProtocolError, "the connection broke off"),
)
"""The first that fits: some are kinds of others."""


def _told(cause: BaseException) -> str:
    if isinstance(cause, urllib3.exceptions.SSLError | ssl.SSLError):
        return _tls(cause)
    for kind, words in _WORDS:
        if isinstance(cause, kind):
            return f"{words}{_system(cause)}"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause).rpartition(">: ")[2] or type(cause).__name__


def _tls(cause: BaseException) -> str:
    found = next((one for one in (cause, *cause.args) if isinstance(one, ssl.SSLError)), None)
    if isinstance(found, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({found.verify_message})"
    why = found.reason if found is not None else ""
    return "the TLS handshake failed" + (f" ({why.lower().replace('_', ' ')})" if why else "")


def _system(cause: BaseException) -> str:
    """What the system said, where it did."""
    seen: list[object] = [cause.__cause__, cause.__context__, *cause.args]
    text = next((one.strerror for one in seen if isinstance(one, OSError) and one.strerror), "")
    return f" ({text})" if text else ""
