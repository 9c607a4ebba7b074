"""A real control plane on loopback for one test module: etcd, API server, controllers, scheduler, kwok, metrics.

    with ControlPlane(folder) as plane:
        plane.node("spot-1", labels={"karpenter.sh/capacity-type": "spot"})
        plane.deployment("nginx-demo", replicas=2)
        plane.wait_for(lambda: len(plane.running("default", "app=nginx-demo")) == 2, 20, "two running pods")
        plane.stop("apiserver")

Everything it writes is in `folder`; everything it starts ends with it, or with the process that started it.
"""

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.parts import components, fetch
from tests.parts.cluster import Cluster
from tests.parts.credentials import Credentials, make_credentials, write_kubeconfig
from tests.parts.kube_api import ApiError, KubeApi, path_of
from tests.parts.manifests import Manifest
from tests.parts.processes import ManagedProcess, release_port, reserve_port

__all__ = ["COMPONENTS", "ApiError", "ControlPlane"]

# component -> the program it runs; started in this order
COMPONENTS = {
    "etcd": "etcd",
    "apiserver": "kube-apiserver",
    "controller-manager": "kube-controller-manager",
    "scheduler": "kube-scheduler",
    "kwok": "kwok",
    "kube-state-metrics": "kube-state-metrics",
}


class ControlPlane(Cluster):
    """`without` leaves components out; they can still be started later by `start`.

    `scheduler_config` replaces top-level keys of the KubeSchedulerConfiguration, for instance
    {"extenders": [...]}. Starting takes about five seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        without: tuple[str, ...] = (),
        admission_plugins: tuple[str, ...] = (),
        scheduler_config: Mapping[str, Any] | None = None,
        stages: Path = components.STAGES,
    ):
        self.folder = folder
        self._without = without
        self._admission_plugins = admission_plugins
        self._ports = {name: reserve_port() for name in (*COMPONENTS, "etcd-peers", "kube-state-metrics-telemetry")}
        self.keys: Credentials = make_credentials(folder / "keys")
        self.url = f"https://127.0.0.1:{self._ports['apiserver']}"
        self.ca_file = self.keys.ca_file
        self.admin_token = self.keys.tokens["admin"]
        self.admin_kubeconfig = self._kubeconfig("admin")
        super().__init__(KubeApi(self.url, ca_file=self.ca_file, token=self.admin_token))
        self._stages = stages
        self._kubeconfigs_made = 0
        self.set_scheduler_config(scheduler_config or {})
        self._processes = {
            name: ManagedProcess(name, self._command(name), log=folder / f"{name}.log")
            for name in COMPONENTS
            if name not in without
        }

    def __enter__(self) -> Self:
        try:
            self._start_all()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start_all(self) -> None:
        rest = [name for name in self._processes if name not in ("etcd", "apiserver")]
        for name in ("etcd", "apiserver"):
            if name in self._processes:
                self.start(name)
        self._start_together(rest)
        if "controller-manager" in rest:
            self.wait_for(self._default_account, 30, "the default ServiceAccount, without which pods are refused")

    def _start_together(self, names: Sequence[str]) -> None:
        # Started by this thread, whose end would be theirs; waited for by several.
        for name in names:
            self._processes[name].start()
        with ThreadPoolExecutor(len(COMPONENTS)) as pool:
            list(pool.map(self._await_ready, names))

    def close(self) -> None:
        """Kills whatever runs; the data is of no use to anybody."""
        for process in reversed(self._processes.values()):
            process.kill()
        for port in self._ports.values():
            release_port(port)
        self._ports = {}
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)

    def start(self, name: str) -> None:
        """Starts a component, on the port it had, and waits until it is ready. Raises NotReadyError.

        After an API server, whatever watches it is started anew too: its reflectors' back-off
        doubles at each restart, and by the third a pod waits ten to thirty seconds for its binding.
        """
        process = self._processes.get(name) or ManagedProcess(
            name, self._command(name), log=self.folder / f"{name}.log"
        )
        self._processes[name] = process
        process.start()
        self._await_ready(name)
        if name == "apiserver":
            watchers = [n for n, p in self._processes.items() if p.running and n not in ("etcd", "apiserver")]
            for watcher in watchers:
                self.kill(watcher)
            self._start_together(watchers)

    def stop(self, name: str) -> None:
        """SIGTERM; an API server that still holds watches after three seconds is killed (it would wait a minute)."""
        self._processes[name].stop(grace_s=3.0)

    def kill(self, name: str) -> None:
        self._processes[name].kill()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def port(self, name: str) -> int:
        return self._ports[name]

    def pid(self, name: str) -> int | None:
        return self._processes[name].pid

    def rss_bytes(self) -> dict[str, int]:
        return {name: process.rss_bytes() for name, process in self._processes.items()}

    def set_scheduler_config(self, overrides: Mapping[str, Any]) -> None:
        """Read at the scheduler's next start."""
        text = components.scheduler_config(self._kubeconfig("system:kube-scheduler"), overrides)
        self._scheduler_config.write_text(text)

    def scheduler_beside(self, name: str, overrides: Mapping[str, Any]) -> None:
        """Starts one more kube-scheduler, a component of this name from then on. Raises NotReadyError."""
        self._ports[name] = port = reserve_port()
        kubeconfig = self._kubeconfig("system:kube-scheduler")
        config = self.folder / f"{name}.yaml"
        config.write_text(components.scheduler_config(kubeconfig, overrides))
        line = components.kube_scheduler(
            fetch.require("kube-scheduler").path,
            kubeconfig=kubeconfig,
            port=port,
            folder=self.folder / name,
            config=config,
        )
        self._processes[name] = process = ManagedProcess(name, line, log=self.log(name))
        process.start()
        self._await_ready(name)

    @property
    def _scheduler_config(self) -> Path:
        return self.folder / "scheduler.yaml"

    def _command(self, name: str) -> list[str]:
        program = fetch.require(COMPONENTS[name]).path
        port = self._ports[name]
        match name:
            case "etcd":
                peers = self._ports["etcd-peers"]
                return components.etcd(program, folder=self.folder / "etcd", port=port, peer_port=peers)
            case "apiserver":
                line = components.kube_apiserver(program, etcd_port=self._ports["etcd"], port=port, keys=self.keys)
                return line + [f"--enable-admission-plugins={plugin}" for plugin in self._admission_plugins]
            case "controller-manager":
                config = self._kubeconfig("system:kube-controller-manager")
                return components.kube_controller_manager(
                    program, kubeconfig=config, port=port, folder=self.folder / name, keys=self.keys
                )
            case "scheduler":
                config = self._kubeconfig("system:kube-scheduler")
                return components.kube_scheduler(
                    program, kubeconfig=config, port=port, folder=self.folder / name, config=self._scheduler_config
                )
            case "kwok":
                return components.kwok(program, kubeconfig=self._kubeconfig("kwok"), port=port, stages=self._stages)
            case "kube-state-metrics":
                return components.kube_state_metrics(
                    program,
                    kubeconfig=self._kubeconfig("kube-state-metrics"),
                    port=port,
                    telemetry_port=self._ports["kube-state-metrics-telemetry"],
                )
        raise KeyError(name)

    def _await_ready(self, name: str) -> None:
        self._processes[name].wait_until(lambda: self._is_ready(name))

    def _is_ready(self, name: str) -> bool:
        port = self._ports[name]
        match name:
            case "etcd":
                return components.http_ok(port, "/health")
            case "apiserver":
                return self.api("GET", "/readyz") == {"text": "ok"}
            case "kwok":
                return components.http_ok(port, "/readyz")
            case "kube-state-metrics":
                return components.http_ok(self._ports["kube-state-metrics-telemetry"], "/readyz")
            case _:  # controllers, and schedulers of any name
                return components.http_ok(port, "/healthz", tls=True)

    def _default_account(self) -> Manifest:
        return self.api("GET", path_of("ServiceAccount", namespace="default", name="default"))

    def _kubeconfig(self, user: str) -> Path:
        file = self.folder / f"{user.rpartition(':')[2]}.kubeconfig"
        return write_kubeconfig(file, url=self.url, ca_file=self.keys.ca_file, token=self.keys.tokens[user])

    def kubeconfig_for(self, token: str) -> Path:
        self._kubeconfigs_made += 1
        file = self.folder / f"token-{self._kubeconfigs_made}.kubeconfig"
        return write_kubeconfig(file, url=self.url, ca_file=self.keys.ca_file, token=token)
