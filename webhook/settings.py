"""Settings: read once, whole, with all faults told together."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from webhook.errors import ConfigurationError

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What ``serve`` needs to know. Raises ConfigurationError that names every fault at once.

    ``tls_dir`` holds ``tls.crt`` and ``tls.key``, ``snapshot`` is a captured file or the directory that sync keeps.
    The server only ever reads both.
    """

    snapshot: Path
    tls_dir: Path
    host: str = "127.0.0.1"
    port: int = 8443
    """0 lets the kernel choose; the log line ``listening`` tells which."""
    log_level: str = "info"
    ready_grace_seconds: float = 30.0
    """Without a snapshot for this long, the server turns ready and says so: it admits every pod as it came."""
    snapshot_poll_seconds: float = 0.5
    tls_poll_seconds: float = 2.0
    """The kubelet takes up to a minute to renew a mounted Secret; two seconds more cost nothing."""
    max_review_bytes: int = 3 * MEBIBYTE
    """The API server's own limit for one request, so that no admissible pod is refused."""
    max_connections: int = 1000
    keepalive_seconds: int = 120
    """Above the 90 s after which Go closes idle connections, so that the caller closes first and no POST is lost."""
    graceful_seconds: int = 25
    handshake_seconds: float = 5.0
    header_seconds: float = 5.0
    body_seconds: float = 10.0

    def __post_init__(self) -> None:
        faults = tuple(_faults(self))
        if faults:
            raise ConfigurationError(faults, source="server settings")

    @property
    def certificate(self) -> Path:
        """The chain, leaf first, in PEM."""
        return self.tls_dir / "tls.crt"

    @property
    def key(self) -> Path:
        """The leaf's private key, in PEM."""
        return self.tls_dir / "tls.key"


def _faults(settings: ServerSettings) -> Iterator[str]:
    if not 0 <= settings.port <= 65535:
        yield f"port: {settings.port}; expected 0 to 65535"
    if not settings.host:
        yield "host: empty; expected an address, such as 127.0.0.1 or 0.0.0.0"
    for name in ("max_review_bytes", "max_connections", "keepalive_seconds", "graceful_seconds"):
        if getattr(settings, name) < 1:
            yield f"{name}: {getattr(settings, name)}; expected 1 or more"
    for name in ("snapshot_poll_seconds", "tls_poll_seconds", "handshake_seconds", "header_seconds", "body_seconds"):
        if getattr(settings, name) <= 0:
            yield f"{name}: {getattr(settings, name)}; expected more than 0"


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


def prometheus_faults(settings: PrometheusSettings) -> list[str]:
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
