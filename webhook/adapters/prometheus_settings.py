"""How to be let in by Prometheus: TLS and credentials, read anew because they rotate."""

import ssl
from base64 import b64encode
from pathlib import Path

from webhook.errors import ConfigurationError, UsageUnavailable
from webhook.settings import PrometheusSettings
from webhook.settings import prometheus_faults as faults_of

__all__ = ["PrometheusSettings", "credentials", "faults_of", "tls_context"]


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
