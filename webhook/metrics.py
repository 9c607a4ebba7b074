"""What the server counts. Labels are fixed words: nothing that a caller sends ever becomes one."""

from collections.abc import Callable
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from webhook.core.snapshot import Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LATENCY_BUCKETS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    1.0,
)
_SIZE_BUCKETS = (256, 512, 1024, 2048, 4096, 16384, 65536)


class Metrics:
    """One registry of its own, so that two servers in one process (tests) do not meet in it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.decisions = Counter(
            "spot_balancer_decisions", "Answers to admission reviews, by reason.", ["reason"], registry=self.registry
        )
        self.mutate_seconds = Histogram(
            "spot_balancer_mutate_seconds",
            "Time to decide and answer one review, without the network.",
            registry=self.registry,
            buckets=_LATENCY_BUCKETS,
        )
        self.patch_bytes = Histogram(
            "spot_balancer_patch_bytes", "Size of patches sent.", registry=self.registry, buckets=_SIZE_BUCKETS
        )
        self.extender_calls = Counter(
            "spot_balancer_extender_calls",
            "Answers to schedulers, by verb and reason.",
            ["verb", "reason"],
            registry=self.registry,
        )
        self.extender_seconds = Histogram(
            "spot_balancer_extender_seconds",
            "Time to decide and answer one call of a scheduler, without the network.",
            ["verb"],
            registry=self.registry,
            buckets=_LATENCY_BUCKETS,
        )
        self.refused = Counter(
            "spot_balancer_refused_requests", "Requests refused, by HTTP status.", ["code"], registry=self.registry
        )
        self.dropped = Counter(
            "spot_balancer_dropped_connections",
            "Connections closed by us, by cause.",
            ["cause"],
            registry=self.registry,
        )
        self.certificate_not_after = Gauge(
            "spot_balancer_certificate_not_after_seconds",
            "When the serving certificate ends, in Unix time.",
            registry=self.registry,
        )
        self.certificate_faults = Counter(
            "spot_balancer_certificate_faults", "Key pairs found and not loaded.", registry=self.registry
        )
        self._ready = Gauge(
            "spot_balancer_ready", "Readiness: 1 for the state that holds.", ["state"], registry=self.registry
        )

    def watch(self, current: Callable[[], Snapshot | None], clock: Callable[[], datetime]) -> None:
        """Show the age and generation of whatever snapshot is current at each scrape."""
        self._gauge(
            "spot_balancer_snapshot_age_seconds",
            "Age of the snapshot that decisions use; -1 without one.",
            lambda: _age_seconds(current(), clock()),
        )
        self._gauge(
            "spot_balancer_snapshot_generation",
            "Generation of the snapshot that decisions use; -1 without one.",
            lambda: _generation(current()),
        )

    def watch_count(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a number that lives elsewhere; ``name`` goes without the prefix."""
        self._gauge(f"spot_balancer_{name}", text, value)

    def show_ready(self, state: str, states: tuple[str, ...]) -> None:
        for name in states:
            self._ready.labels(name).set(name == state)

    def render(self) -> bytes:
        """The exposition, in Prometheus' text format."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(name, text, registry=self.registry).set_function(value)


def _age_seconds(current: Snapshot | None, now: datetime) -> float:
    return -1.0 if current is None else (now - current.meta.captured_at).total_seconds()


def _generation(current: Snapshot | None) -> float:
    return -1.0 if current is None else float(current.meta.generation)
