"""Settings: read once, whole, with all faults told together."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from webhook.errors import ConfigurationError
from webhook.wire.prometheus_request import header_faults, parameter_faults
from webhook.wire.promql import SOURCES, ClusterLabel, Dialect, own_faults
from webhook.wire.promql_text import LABEL_NAME

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
    extender: bool = False
    """Whether schedulers are answered; without it their paths do not exist."""
    max_extender_bytes: int = 8 * MEBIBYTE
    """The names of 15,000 nodes, however long, beside the largest pod; or some 800 nodes whole, at ten kilobytes each."""
    max_bodies_bytes: int = 64 * MEBIBYTE
    """Of all bodies that are under way together, to us and back; a burst of reviews is far below, and a pod's limit of memory far above."""
    max_connections: int = 1000
    keepalive_seconds: int = 120
    """Above the 90 s after which Go closes idle connections, so that the caller closes first and no POST is lost."""
    graceful_seconds: int = 25
    handshake_seconds: float = 5.0
    header_seconds: float = 5.0
    body_seconds: float = 10.0
    answer_seconds: float = 10.0
    """For a caller to read a long answer, or many that it asked for at once."""

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
    counts = ("max_review_bytes", "max_extender_bytes", "max_connections", "keepalive_seconds", "graceful_seconds")
    for name in counts:
        if getattr(settings, name) < 1:
            yield f"{name}: {getattr(settings, name)}; expected 1 or more"
    if settings.max_bodies_bytes < max(settings.max_review_bytes, settings.max_extender_bytes):
        yield f"max_bodies_bytes: {settings.max_bodies_bytes}; expected no less than max_review_bytes and max_extender_bytes"
    deadlines = ("handshake_seconds", "header_seconds", "body_seconds", "answer_seconds")
    for name in ("snapshot_poll_seconds", "tls_poll_seconds", *deadlines):
        if getattr(settings, name) <= 0:
            yield f"{name}: {getattr(settings, name)}; expected more than 0"


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """Where Prometheus is and how to be let in. Files are read anew for each request, because they rotate.

    ``deadline_seconds`` bounds each query as a whole, ``max_body_bytes`` its answer, packed and unpacked.
    ``concurrency`` queries are under way at once. What is secret is sent over plain HTTP only with
    ``allow_insecure_credentials``. ``header_files`` are headers whose values stand in files; ``parameters`` go with
    every query, by name the values; ``jobs`` are scrape jobs by source; ``queries`` replace ours by name.
    """

    url: str
    bearer_token_file: Path | None = None
    username: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    header_files: Mapping[str, Path] = field(default_factory=dict)
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cluster_label: ClusterLabel | None = None
    jobs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    queries: Mapping[str, str] = field(default_factory=dict)
    deadline_seconds: float = 10.0
    max_body_bytes: int = 64 * 1024 * 1024
    concurrency: int = 2
    allow_insecure_credentials: bool = False

    @property
    def dialect(self) -> Dialect:
        """What its queries are written with."""
        return Dialect(self.cluster_label, self.queries, self.jobs)


def prometheus_faults(settings: PrometheusSettings) -> list[str]:
    """What cannot be right, each as ``key: found; expected``."""
    found = [*_url_faults(settings), *_trust_faults(settings)]
    found += header_faults(settings.headers, settings.header_files)
    found += parameter_faults(settings.parameters)
    if settings.cluster_label and (fault := cluster_label_fault(settings.cluster_label)):
        found.append(f"clusterLabel{fault}")
    found += [f"jobs{fault}" for fault in job_faults(settings.jobs)]
    clustered = settings.cluster_label is not None
    found += [f"queries{fault}" for fault in own_faults(settings.queries, clustered=clustered)]
    limits = {"deadlineSeconds": settings.deadline_seconds, "maxBodyBytes": settings.max_body_bytes}
    limits["concurrency"] = settings.concurrency
    return found + [f"{name}: {value}; expected more than 0" for name, value in limits.items() if not value > 0]


def _url_faults(settings: PrometheusSettings) -> Iterator[str]:
    try:
        parts = urlsplit(settings.url)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError as exc:
        yield f"url: {settings.url!r} ({exc}); expected http(s)://host[:port][/prefix]"
        return
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_right:
        yield f"url: {settings.url!r}; expected http(s)://host[:port][/prefix]"
    if parts.username is not None or parts.query or parts.fragment:
        yield "url: carries credentials, a query or a fragment; expected only an address, credentials go in files"
    secret = settings.bearer_token_file or settings.username or settings.password_file or settings.header_files
    if secret and parts.scheme == "http" and not settings.allow_insecure_credentials:
        yield (
            "url: http with a token, a password or a header from a file; "
            "expected https, or allowInsecureCredentials: true"
        )
    if settings.cert_file and parts.scheme == "http":
        yield "certFile: given with http, where no certificate is ever shown; expected https"


def _trust_faults(settings: PrometheusSettings) -> Iterator[str]:
    if settings.bearer_token_file and settings.username:
        yield "bearerTokenFile: given beside username; expected one of them"
    if bool(settings.username) != bool(settings.password_file):
        yield "username, passwordFile: one without the other; expected both or neither"
    if bool(settings.cert_file) != bool(settings.key_file):
        yield "certFile, keyFile: one without the other; expected both or neither"


def job_faults(jobs: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """What is wrong with scrape jobs by source, each as ``.source: found; expected``."""
    known = sorted(SOURCES.values())
    for source, names in jobs.items():
        if source not in known:
            near = difflib.get_close_matches(source, known, n=1)
            yield f".{source[:80]}: unknown source; " + (
                f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            )
        elif not names or not all(names):
            yield f".{source}: empty; expected what the label job says, such as kubelet"
        else:
            yield from (f".{source}: {name[:80]!r}; expected text" for name in names if not _is_text(name))


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def cluster_label_fault(label: ClusterLabel) -> str:
    """What is wrong with it as ``.key: found; expected``, or empty."""
    if not LABEL_NAME.fullmatch(label.name) or label.name == "__name__":
        return f".name: {label.name[:80]!r}; expected a label's name such as cluster"
    try:
        return "" if label.value and label.matcher else ".value: empty; expected what the label says of this cluster"
    except ValueError as exc:
        return f".value: {exc}; expected text"
