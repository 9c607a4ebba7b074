"""How to be let in by Prometheus: TLS, credentials and headers, read anew because they rotate."""

import ssl
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from webhook.errors import ConfigurationError, UsageUnavailable
from webhook.settings import PrometheusSettings
from webhook.settings import prometheus_faults as faults_of

__all__ = ["PrometheusSettings", "credentials", "faults_of", "stamp", "tls_context"]


def tls_context(settings: PrometheusSettings) -> ssl.SSLContext:
    """TLS 1.2 or newer, trusting ``ca_file`` alone where it is given, showing ``cert_file``. Raises ConfigurationError."""
    try:
        context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
    except OSError as exc:
        raise _unusable("caFile", settings.ca_file, exc, "PEM certificates") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.cert_file and settings.key_file:
        try:
            # Without a password of ours, a key that has one would be asked for on the terminal.
            context.load_cert_chain(settings.cert_file, settings.key_file, password="")
        except (OSError, ValueError) as exc:
            pair = f"{settings.cert_file} with {settings.key_file}"
            raise _unusable("certFile, keyFile", pair, exc, "a PEM certificate and its key without password") from exc
    return context


def _unusable(key: str, what: object, exc: Exception, expected: str) -> ConfigurationError:
    said = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
    return ConfigurationError([f"{key}: {what} cannot be used ({said}); expected {expected}"], source="prometheus")


def stamp(settings: PrometheusSettings) -> bytes:
    """What the files of TLS hold, as a hash: it changes when one of them does. An unreadable one counts as empty."""
    whole = sha256()
    for file in (settings.ca_file, settings.cert_file, settings.key_file):
        if file:
            whole.update(sha256(_bytes(file)).digest())
    return whole.digest()


def _bytes(file: Path) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError:
        return b""


def credentials(settings: PrometheusSettings) -> dict[str, str]:
    """Authorization and the operator's own headers, files read anew. Raises UsageUnavailable, never with a secret in it."""
    own = dict(settings.headers) | {name: _secret(file, name) for name, file in settings.header_files.items()}
    if settings.bearer_token_file:
        return own | {"Authorization": f"Bearer {_secret(settings.bearer_token_file, 'token')}"}
    if settings.username and settings.password_file:
        password = _secret(settings.password_file, "password", ascii_only=False)
        pair = f"{settings.username}:{password}"
        return own | {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    return own


def _secret(file: Path, what: str, *, ascii_only: bool = True) -> str:
    """The file's text without the line break at its end. Raises UsageUnavailable that names file and fault."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise _no_secret(what, file, exc.strerror or type(exc).__name__) from exc
    except UnicodeDecodeError as exc:
        raise _no_secret(what, file, "is no text") from exc
    if not text:
        raise _no_secret(what, file, "is empty")
    if not text.isprintable() or (ascii_only and not text.isascii()):
        # A line break would end the header and begin another.
        raise _no_secret(what, file, "has control characters or others beyond ASCII")
    return text


def _no_secret(what: str, file: Path, why: str) -> UsageUnavailable:
    return UsageUnavailable(f"the {what} in {file} cannot be used: {why}", code="auth")
