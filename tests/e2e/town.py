"""A small town to try the product in: a cluster, its Prometheus, and our three processes, all real.

Windows are settings, so that an hour's look-back takes twenty seconds here and no line of the
code under test knows the difference.
"""

import base64
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from tests.parts.plane import ApiError, ControlPlane
from tests.parts.processes import ManagedProcess, T, release_port, reserve_port, wait_for
from tests.parts.prometheus import PrometheusServer, kube_state_metrics_target, kubelet_target
from tests.parts.usage_exporter import UsageExporter
from webhook.adapters.certificates import make_pair
from webhook.adapters.verdict_book import VERDICTS

HOME = "spot-balancer"
SERVICE = f"spot-balancer.{HOME}.svc"
SHOP = "shop"
SPOT = {"karpenter.sh/capacity-type": "spot"}
REGULAR = {"karpenter.sh/capacity-type": "on-demand"}
QUICK = {
    "mode": "inject",
    "idle": {
        "window": "20s",
        "rateWindow": "5s",
        "step": "1s",
        "leaveWindow": "4s",
        "scrapeInterval": "1s",
        "startupGrace": "2s",
    },
    "sides": {"idleRunsToSpot": 2, "evidenceTtl": "40s", "heartbeatTtl": "5m"},
}


@dataclass
class Town:
    """`plane` and the rest are started by the fixture; `serve` and `sync` are restartable processes."""

    folder: Path
    plane: ControlPlane
    exporter: UsageExporter
    prometheus: PrometheusServer
    config: dict[str, Any] = field(default_factory=dict)
    serve_flags: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.server_port, self.ops_port = reserve_port(), reserve_port()
        self.reports: list[dict[str, Any]] = []
        self.snapshots = self.folder / "snapshot"
        self.snapshots.mkdir()
        self.pair = make_pair(self.folder / "tls", ["127.0.0.1", "localhost", SERVICE], now=datetime.now(UTC))
        self.config_file = self.folder / "config.yaml"
        self.configure(self.config)
        self.serve = self._process(
            "serve", "--snapshot", str(self.snapshots), "--bind", f"127.0.0.1:{self.server_port}",
            "--tls-dir", str(self.folder / "tls"), *self.serve_flags,
        )  # fmt: skip
        self.sync = self._process(
            "sync",
            "--snapshot-dir",
            str(self.snapshots),
            "--ops-bind",
            f"127.0.0.1:{self.ops_port}",
            *self.cluster_flags,
        )

    @property
    def cluster_flags(self) -> list[str]:
        return ["--config", str(self.config_file), "--kubeconfig", str(self.plane.admin_kubeconfig), "-n", HOME]

    def _process(self, command: str, *flags: str) -> ManagedProcess:
        line = [sys.executable, "-m", "webhook", command, *flags]
        return ManagedProcess(command, line, log=self.folder / f"{command}.log", environ=dict(os.environ))

    def configure(self, changes: dict[str, Any]) -> None:
        whole = {**QUICK, "prometheus": {"url": self.prometheus.url}, **changes}
        self.config_file.write_text(yaml.safe_dump(whole))

    def start(self) -> None:
        self.plane.namespace(HOME)
        self.sync.start()
        self.sync.wait_until((self.snapshots / "meta.json").exists, timeout_s=60)
        self.start_server()

    def start_server(self) -> None:
        self.serve.start()
        self.serve.wait_until(lambda: self.probe("/readyz") == 200, timeout_s=30)

    def close(self) -> None:
        self.serve.kill()
        self.sync.kill()
        release_port(self.server_port)
        release_port(self.ops_port)

    def probe(self, path: str) -> int:
        context = ssl.create_default_context(cafile=str(self.pair.ca_file))
        with urllib.request.urlopen(
            f"https://127.0.0.1:{self.server_port}{path}", context=context, timeout=5
        ) as answer:
            return int(answer.status)

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs one of our commands against this cluster, as a person would."""
        line = [sys.executable, "-m", "webhook", *words]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(words)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def monitor(self, *, check: bool = True) -> dict[str, Any]:
        """One run of the monitor; its report."""
        done = self.command("monitor", *self.cluster_flags, "-o", "json", check=check)
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def explain(self, workload: str) -> dict[str, Any]:
        done = self.command("explain", workload, *self.cluster_flags, "-o", "json")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def verdict(self, workload: str) -> dict[str, Any]:
        """As sync tells it to the server: from the snapshot on disk."""
        from webhook.adapters import snapshots
        from webhook.core.model import WorkloadKey

        found = snapshots.load(self.snapshots).workloads.get(WorkloadKey.parse(workload))
        if found is None or found.verdict is None:
            return {}
        v = found.verdict
        return {"side": v.side.value, "evidence": v.evidence.value, "transitions": v.transitions, "reason": v.reason}

    def book(self) -> dict[str, Any]:
        """Verdicts by workload as the last run of the monitor wrote them, which sync and server have yet to follow."""
        from webhook.wire.book import decode_shard

        maps = self.plane.list_all("ConfigMap", namespace=HOME)
        shards = [decode_shard(m["data"][VERDICTS]) for m in maps if VERDICTS in m.get("data", {})]
        return {name: verdict for shard in shards for name, verdict in shard.verdicts.items()}

    def monitor_until(self, workload: str, timeout_s: float = 90, **expected: Any) -> dict[str, Any]:
        """Runs the monitor again and again, as its CronJob does, until the server's own view of the verdict agrees."""

        def agrees() -> dict[str, Any] | None:
            self.monitor()
            seen = self.verdict(workload)
            return seen if all(seen.get(k) == v for k, v in expected.items()) else None

        seen = wait_for(agrees, timeout_s, f"{workload} to be {expected}", every_s=1.0)
        if self.serve.running:
            self.await_server()
        return seen

    def await_server(self) -> None:
        """Until the server decides on what is on disk now: it looks twice a second, and a test is quicker."""
        from webhook.adapters import snapshots

        written = snapshots.load(self.snapshots).meta.generation
        wait_for(lambda: self.server_metric("spot_balancer_snapshot_generation") >= written, 20, "the server to follow")

    def server_metric(self, name: str) -> float:
        """A metric of the server without labels."""
        return next(float(line.split()[1]) for line in self._server_metrics() if line.startswith(f"{name} "))

    def register_webhook(self, name: str = "spot-balancer") -> None:
        ca = base64.b64encode(self.pair.ca_file.read_bytes()).decode()
        hook = {
            "name": "spot.spot-balancer.io",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Ignore",
            "matchPolicy": "Equivalent",
            "reinvocationPolicy": "IfNeeded",
            "timeoutSeconds": 2,
            "clientConfig": {"url": f"https://127.0.0.1:{self.server_port}/mutate", "caBundle": ca},
            "rules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "resources": ["pods"],
                    "operations": ["CREATE"],
                    "scope": "Namespaced",
                }
            ],
        }
        self.plane.apply(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": name},
                "webhooks": [hook],
            }
        )

    def unregister_webhook(self, name: str = "spot-balancer") -> None:
        self.plane.delete("MutatingWebhookConfiguration", name)

    def decisions(self) -> dict[str, float]:
        """The server's counter of decisions by reason."""
        return self._by_reason("spot_balancer_decisions_total{")

    def prioritized(self) -> dict[str, float]:
        """The server's answers to schedulers that ask which nodes to prefer, by reason."""
        return self._by_reason("spot_balancer_extender_calls_total{reason=", 'verb="prioritize"')

    def _by_reason(self, start: str, label: str = "") -> dict[str, float]:
        rows = (line for line in self._server_metrics() if line.startswith(start) and label in line)
        return {row.split('reason="')[1].split('"')[0]: float(row.rsplit(" ", 1)[1]) for row in rows}

    def decided(self, act: Callable[[], T]) -> tuple[T, dict[str, float]]:
        """What `act` returned, and the server's decisions meanwhile, by reason."""
        before = self.decisions()
        result = act()
        after = self.decisions()
        return result, {reason: n - before.get(reason, 0) for reason, n in after.items() if n != before.get(reason, 0)}

    def admission_seconds(self, pod: dict[str, Any], tries: int = 15) -> float:
        """The median of so many creations, none of which leaves anything behind."""
        return median(seconds(lambda: create_dry(self.plane, pod)) for _ in range(tries))

    def _server_metrics(self) -> list[str]:
        context = ssl.create_default_context(cafile=str(self.pair.ca_file))
        with urllib.request.urlopen(
            f"https://127.0.0.1:{self.server_port}/metrics", context=context, timeout=5
        ) as answer:
            return answer.read().decode().splitlines()

    def app_pods(self, app: str) -> list[dict[str, Any]]:
        return self.plane.running(SHOP, f"app={app}")

    def side_of(self, pod: dict[str, Any]) -> str:
        """Where the real scheduler bound it."""
        labels = self.plane.get("Node", pod["spec"]["nodeName"])["metadata"]["labels"]
        return "spot" if labels.get("karpenter.sh/capacity-type") == "spot" else "regular"

    def replace_pod(self, pod: dict[str, Any]) -> dict[str, Any]:
        """Deletes one pod and returns the one its controller made for it, running."""
        app, name = pod["metadata"]["labels"]["app"], pod["metadata"]["name"]
        before = {p["metadata"]["name"] for p in self.plane.pods(SHOP, f"app={app}")}
        self.plane.delete_pod(name, namespace=SHOP)
        return wait_for(
            lambda: next((p for p in self.app_pods(app) if p["metadata"]["name"] not in before), None),
            30,
            f"the successor of {name}",
        )


def raise_town(stack: ExitStack, folder: Path, *, serve_flags: Sequence[str] = (), **config: Any) -> Town:
    """Starts the foreign parts in `folder`; ours are configured and wait for `start`. All end with the stack."""
    (folder / "plane").mkdir()
    plane = stack.enter_context(ControlPlane(folder / "plane"))
    exporter = stack.enter_context(UsageExporter(plane))
    targets = [kubelet_target(exporter.target), kube_state_metrics_target(plane.port("kube-state-metrics"))]
    (folder / "prometheus").mkdir()
    prometheus = stack.enter_context(PrometheusServer(folder / "prometheus", targets))
    town = Town(
        folder=folder, plane=plane, exporter=exporter, prometheus=prometheus, config=config, serve_flags=serve_flags
    )
    stack.callback(town.close)
    return town


def as_its_owner_wrote_it(pod: dict[str, Any]) -> dict[str, Any]:
    """A pod without what the API server and the scheduler fill in for each one anew."""
    spec = {k: v for k, v in pod["spec"].items() if k != "nodeName"}
    text = json.dumps(spec, sort_keys=True)
    for volume in spec.get("volumes", []):
        if volume["name"].startswith("kube-api-access-"):
            text = text.replace(volume["name"], "kube-api-access")
    metadata = {k: pod["metadata"].get(k) for k in ("labels", "annotations", "ownerReferences", "finalizers")}
    return {"metadata": metadata, "spec": json.loads(text)}


def create_dry(plane: ControlPlane, pod: dict[str, Any]) -> dict[str, Any]:
    """What the API server would store, admission included. Raises ApiError."""
    namespace = pod["metadata"]["namespace"]
    return plane.api("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)


def admitted(plane: ControlPlane, pod: dict[str, Any]) -> bool:
    try:
        create_dry(plane, pod)
    except ApiError as refusal:
        if refusal.status in (400, 403, 422):
            return False
        raise
    return True


def seconds(function: Callable[[], object]) -> float:
    began = time.monotonic()
    function()
    return time.monotonic() - began
