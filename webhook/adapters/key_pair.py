"""The server's key pair: read from its folder, and served whole or not at all.

A context that is being served is never loaded into. That would set the certificate before its key is looked at, so a
pair that changes in between would leave a context with which no handshake succeeds; and a pair with another kind of
key would be served beside the old one, not instead of it.
"""

import ssl
from datetime import datetime
from typing import NamedTuple

from webhook.settings import ServerSettings
from webhook.wire import certificate


class KeyPair(NamedTuple):
    """A pair whose halves match, ready to serve."""

    context: ssl.SSLContext
    not_after: datetime


def load(settings: ServerSettings) -> KeyPair:
    """Read both files. Raises OSError (ssl.SSLError is one) or ValueError where they are no pair."""
    context = _tls_context()
    context.load_cert_chain(settings.certificate, settings.key)
    return KeyPair(context, certificate.not_after(settings.certificate.read_text("ascii")))


def fault_of(error: OSError | ValueError, settings: ServerSettings) -> str:
    """Why there is no pair, in words that tell nothing of the files' content."""
    if isinstance(error, FileNotFoundError):
        return f"{settings.certificate.name} or {settings.key.name} is not in {settings.tls_dir}"
    if isinstance(error, ssl.SSLError):
        return f"key pair: {error.reason or 'unreadable'}"
    return f"key pair: {type(error).__name__}"


def _tls_context() -> ssl.SSLContext:
    """TLS 1.2 or newer, HTTP/1.1 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    return context


class ServedPair:
    """What handshakes are made with: ``context`` is for the listener, and hands each one over to the newest pair."""

    def __init__(self, first: KeyPair) -> None:
        self.context = first.context
        self._newest = first.context
        # Called for each handshake, also where the caller names no server.
        self.context.sni_callback = self._hand_over

    def renew(self, pair: KeyPair) -> None:
        """Make the handshakes to come with this one."""
        self._newest = pair.context

    def _hand_over(self, connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
        connection.context = self._newest
