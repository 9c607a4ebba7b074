"""Where Prometheus is, how to be let in, and what of that cannot be right."""

import ssl
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from webhook.errors import ConfigurationError, UsageUnavailable


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """Where Prometheus is and how to be let in. Files are read anew for each sweep, because tokens rotate.

    ``deadline_seconds`` bounds each query as a whole, ``max_body_bytes`` its answer, packed and unpacked.
    ``concurrency`` queries are under way at once. A token or password is sent over plain HTTP only with
    ``allow_insecure_credentials``.
    """

    url: str
    bearer_token_file: Path | None = None
    username: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    deadline_seconds: float = 10.0
    max_body_bytes: int = 64 * 1024 * 1024
    concurrency: int = 2
    allow_insecure_credentials: bool = False


def faults_of(settings: PrometheusSettings) -> list[str]:
    """What cannot be right, each as ``key: found; expected``."""
    faults = []
    try:
        parts = urlsplit(settings.url)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError as exc:
        return [f"url: {settings.url!r} ({exc}); expected http(s)://host[:port][/prefix]"]
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_right:
        faults.append(f"url: {settings.url!r}; expected http(s)://host[:port][/prefix]")
    if parts.username is not None or parts.query or parts.fragment:
        faults.append(
            "url: carries credentials, a query or a fragment; expected only an address, credentials go in files"
        )
    secret = settings.bearer_token_file or settings.username or settings.password_file
    if secret and parts.scheme == "http" and not settings.allow_insecure_credentials:
        faults.append("url: http with a token or password; expected https, or allowInsecureCredentials: true")
    if settings.bearer_token_file and settings.username:
        faults.append("bearerTokenFile: given beside username; expected one of them")
    if bool(settings.username) != bool(settings.password_file):
        faults.append("username, passwordFile: one without the other; expected both or neither")
    limits = {"deadlineSeconds": settings.deadline_seconds, "maxBodyBytes": settings.max_body_bytes}
    limits["concurrency"] = settings.concurrency
    return faults + [f"{name}: {value}; expected more than 0" for name, value in limits.items() if not value > 0]


def tls_context(settings: PrometheusSettings) -> ssl.SSLContext:
    """TLS 1.2 or newer, trusting ``ca_file`` alone where it is given. Raises ConfigurationError."""
    try:
        context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
    except OSError as exc:
        fault = f"caFile: {settings.ca_file} cannot be used ({exc.strerror or exc}); expected PEM certificates"
        raise ConfigurationError([fault], source="prometheus") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def credentials(settings: PrometheusSettings) -> dict[str, str]:
    """The Authorization header, read anew from its file. Raises UsageUnavailable, never with the secret in it."""
    try:
        if settings.bearer_token_file:
            return {"Authorization": f"Bearer {_secret(settings.bearer_token_file)}"}
        if settings.username and settings.password_file:
            pair = f"{settings.username}:{_secret(settings.password_file)}"
            return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    except (OSError, UnicodeDecodeError, ValueError) as exc:
        raise UsageUnavailable(f"its token or password cannot be read: {type(exc).__name__}", code="auth") from exc
    return {}


def _secret(file: Path) -> str:
    text = file.read_text(encoding="utf-8").strip()
    if not text or not text.isprintable():
        # A line break would end the header and begin another.
        raise ValueError("empty, or with control characters")
    return text
