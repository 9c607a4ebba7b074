"""GET /healthz, /readyz and /metrics.

Liveness says that the process answers. Readiness asks for a snapshot: without one the server waits for a grace period
and then turns ready all the same, openly degraded, because an endpoint that is missing delays every pod, and one that
answers "as it came" delays none. Prometheus and the API server have no say in either. The key pair needs no check of
its own: without one nothing listens.
"""

import ipaddress
from collections.abc import Callable
from time import monotonic

from webhook.endpoints import Reply, error_body, refusal
from webhook.metrics import CONTENT_TYPE, Metrics
from webhook.ports import SnapshotView

STATES = ("ready", "waiting", "degraded")


class Probes:
    """``seconds`` is a clock that only counts; tests pass their own."""

    def __init__(
        self,
        snapshots: SnapshotView,
        metrics: Metrics,
        *,
        grace_seconds: float,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._snapshots = snapshots
        self._metrics = metrics
        self._seconds = seconds
        self._grace_ends = seconds() + grace_seconds

    def healthz(self) -> Reply:
        """200 as long as the process answers at all."""
        return Reply(200, b'{"status":"ok"}')

    def readyz(self) -> Reply:
        """200 ready or degraded, 503 waiting."""
        state = self.state()
        if state == "waiting":
            return Reply(503, b'{"status":"waiting","reason":"no snapshot yet"}')
        if state == "degraded":
            return Reply(200, b'{"status":"degraded","reason":"no snapshot: every pod is admitted as it came"}')
        return Reply(200, b'{"status":"ready"}')

    def metrics(self, peer: str) -> Reply:
        """The exposition, for peers on this machine; to any other the path does not exist."""
        if not is_loopback(peer):
            return refusal(404)
        self._metrics.show_ready(self.state(), STATES)
        return Reply(200, self._metrics.render(), CONTENT_TYPE)

    def state(self) -> str:
        """One of ``STATES``."""
        if self._snapshots.current() is not None:
            return "ready"
        return "waiting" if self._seconds() < self._grace_ends else "degraded"


def is_loopback(peer: str) -> bool:
    """Whether the address is this machine's own, IPv4 mapped into IPv6 included."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


__all__ = ["STATES", "Probes", "error_body", "is_loopback"]
