"""A real Prometheus on loopback that scrapes what a test gives it, every second unless told otherwise.

with PrometheusServer(folder, [kubelet_target(exporter.target), metrics_target(plane)]) as prometheus:
    prometheus.wait_for_series("kube_pod_owner")
    prometheus.query('sum(rate(container_cpu_usage_seconds_total{container!=""}[5s]))')
"""

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.parts import fetch
from tests.parts.components import http_ok
from tests.parts.processes import ManagedProcess, release_port, reserve_port, wait_for


@dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """One job of static targets; `settings` are further keys of its scrape configuration."""

    job: str
    addresses: Sequence[str]
    path: str = "/metrics"
    settings: dict[str, Any] = field(default_factory=dict)

    def config(self) -> dict[str, Any]:
        static = [{"targets": list(self.addresses)}]
        return {"job_name": self.job, "metrics_path": self.path, "static_configs": static, **self.settings}


def kubelet_target(address: str, *, job: str = "kubelet") -> ScrapeTarget:
    """Scraped as common installations scrape cAdvisor: a series that vanished ends at once."""
    honor = {"honor_labels": True, "track_timestamps_staleness": True}
    return ScrapeTarget(job, [address], path="/metrics/cadvisor", settings=honor)


def node_exporter_target(address: str) -> ScrapeTarget:
    """Every node's, at one address: `instance` says whose a series is."""
    return ScrapeTarget("node-exporter", [address], path="/metrics/node", settings={"honor_labels": True})


def kube_state_metrics_target(port: int) -> ScrapeTarget:
    return ScrapeTarget("kube-state-metrics", [f"127.0.0.1:{port}"], settings={"honor_labels": True})


class QueryError(Exception):
    """Prometheus refused the query; the message is its own."""


class PrometheusServer:
    """Starts, stops and starts again on the same data and port. `arguments` go to its command line.

    It is ready within a second and scrapes its first target five seconds later: Prometheus collects
    changes of its targets, the first list included, that long.
    """

    def __init__(
        self,
        folder: Path,
        targets: Iterable[ScrapeTarget] = (),
        *,
        scrape_interval: str = "1s",
        retention: str = "100y",
        arguments: Sequence[str] = (),
    ):
        self.folder = folder
        self.data = folder / "data"
        self._port = reserve_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._config = folder / "prometheus.yml"
        self.set_targets(targets, scrape_interval=scrape_interval)
        command = [
            str(fetch.require("prometheus").path),
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self.data}",
            f"--storage.tsdb.retention.time={retention}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--log.level=warn",
            *arguments,
        ]
        self._process = ManagedProcess("prometheus", command, log=folder / "prometheus.log")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        self._process.start()
        self._process.wait_until(lambda: http_ok(self._port, "/-/ready"))

    def stop(self) -> None:
        self._process.stop()

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.kill()
        release_port(self._port)

    def rss_bytes(self) -> int:
        return self._process.rss_bytes()

    def set_targets(self, targets: Iterable[ScrapeTarget], *, scrape_interval: str = "1s") -> None:
        """Read at the next start. The file is JSON, which is YAML."""
        timing = {"scrape_interval": scrape_interval, "scrape_timeout": scrape_interval}
        config = {"global": timing, "scrape_configs": [target.config() for target in targets]}
        self._config.write_text(json.dumps(config, indent=1))

    def query(self, expression: str, *, at_s: float | None = None) -> list[dict[str, Any]]:
        """The result vector at a Unix time, by default now. Raises QueryError, OSError."""
        fields = {"query": expression} | ({"time": str(at_s)} if at_s is not None else {})
        try:
            with urlopen(f"{self.url}/api/v1/query", data=urlencode(fields).encode(), timeout=30) as answer:
                result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except HTTPError as refused:
            with refused:
                raise QueryError(refused.read().decode(errors="replace")) from refused
        return result

    def value(self, expression: str, *, at_s: float | None = None) -> float:
        """The value of an expression that gives one series. Raises QueryError if it gives another number of them."""
        result = self.query(expression, at_s=at_s)
        if len(result) != 1:
            raise QueryError(f"{len(result)} series, not one: {expression}")
        return float(result[0]["value"][1])

    def wait_for_series(self, expression: str, *, timeout_s: float = 30.0) -> list[dict[str, Any]]:
        return wait_for(lambda: self.query(expression), timeout_s, f"Prometheus to answer {expression}")


def backfill(openmetrics_text: str, data: Path) -> None:
    """Writes samples with time stamps (OpenMetrics text, ending in `# EOF`) as blocks of a server's `data` folder.

    Give it to a server that is stopped. Each series' samples are in order. Raises subprocess.CalledProcessError.
    """
    data.mkdir(parents=True, exist_ok=True)
    source = data.parent / "backfill.om"
    source.write_text(openmetrics_text)
    promtool = str(fetch.require("promtool").path)
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", str(source), str(data)]
    subprocess.run(command, check=True, capture_output=True)
    source.unlink()
