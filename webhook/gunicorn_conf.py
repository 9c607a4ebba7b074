"""gunicorn's settings, with the reason for each that is not its default."""

import logging
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

from webhook.settings import ServerSettings


class Log(Logger):  # type: ignore[misc]
    """gunicorn's own words go the way of all logs, as JSON; there is no access log."""

    def setup(self, cfg: Any) -> None:
        """Leave handlers to the root logger."""
        self.cfg = cfg
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING if cfg.loglevel == "info" else cfg.loglevel.upper())


def options(settings: ServerSettings) -> dict[str, Any]:
    """By gunicorn's names."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "bind": [f"{host}:{settings.port}"],
        "certfile": str(settings.certificate),
        "keyfile": str(settings.key),
        # One loop, one snapshot, one registry; more load is for more pods.
        "workers": 1,
        "worker_connections": settings.max_connections,
        "keepalive": settings.keepalive_seconds,
        "graceful_timeout": settings.graceful_seconds,
        # The heartbeat's limit, not a request's: a worker silent for this long is stuck.
        "timeout": 30,
        "backlog": 512,
        # The pure Python parser costs more than the decision.
        "http_parser": "fast",
        "http_protocols": "h1",
        "limit_request_line": 4094,
        # It would be written below $HOME, which is read-only in the image.
        "control_socket_disable": True,
        "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108 - memory, so a heartbeat never waits for a disk
        "logger_class": Log,
        "loglevel": settings.log_level,
        # No peer may speak for another.
        "forwarded_allow_ips": "",
    }
