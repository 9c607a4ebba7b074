"""The command line and the readiness of each component of the test control plane."""

import http.client
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.parts.credentials import Credentials

STAGES = Path(__file__).with_name("kwok-stages.yaml")


def http_ok(port: int, path: str, *, tls: bool = False) -> bool:
    """Whether it answers 200; over TLS the certificate is not looked at (a loopback port of ours)."""
    connection: http.client.HTTPConnection
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    finally:
        connection.close()


def etcd(program: Path, *, folder: Path, port: int, peer_port: int) -> list[str]:
    peer = f"http://127.0.0.1:{peer_port}"
    client = f"http://127.0.0.1:{port}"
    return [
        str(program),
        "--name=test",
        f"--data-dir={folder}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=test={peer}",
        "--log-level=warn",
        "--unsafe-no-fsync",  # nothing here outlives the test
    ]


def kube_apiserver(program: Path, *, etcd_port: int, port: int, keys: Credentials) -> list[str]:
    return [
        str(program),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={keys.serving_pair}",
        f"--tls-private-key-file={keys.serving_pair}",
        f"--token-auth-file={keys.token_file}",
        "--authorization-mode=RBAC",
        "--anonymous-auth=true",
        "--allow-privileged=true",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={keys.service_account_key}",
        f"--service-account-signing-key-file={keys.service_account_key}",
        # Webhooks named by Service are called at the endpoint itself: there is no kube-proxy and no DNS.
        "--enable-aggregator-routing=true",
        "--endpoint-reconciler-type=none",  # it would refuse loopback, once every ten seconds
        "--profiling=false",
    ]


def kube_controller_manager(
    program: Path, *, kubeconfig: Path, port: int, folder: Path, keys: Credentials
) -> list[str]:
    return [
        str(program),
        *_secured(kubeconfig, port, folder),
        "--leader-elect=false",
        "--controllers=*",
        # Controllers then act under their own names, as everywhere: a webhook sees the real userInfo.
        "--use-service-account-credentials=true",
        # Nodes send no heartbeat here. kwok could renew leases, but one that is restarted must let
        # those of its predecessor expire first, and runs no pod until then.
        "--node-monitor-grace-period=24h",
        f"--service-account-private-key-file={keys.service_account_key}",
        f"--root-ca-file={keys.ca_file}",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]


def kube_scheduler(program: Path, *, kubeconfig: Path, port: int, folder: Path, config: Path) -> list[str]:
    return [str(program), *_secured(kubeconfig, port, folder)[1:], f"--config={config}"]


def _secured(kubeconfig: Path, port: int, folder: Path) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
    ]


def scheduler_config(kubeconfig: Path, overrides: Mapping[str, Any]) -> str:
    """The scheduler's configuration file (JSON, which is YAML); `overrides` replace whole top-level keys."""
    config = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig), "qps": 5000, "burst": 10000},
        "leaderElection": {"leaderElect": False},
        # Waits after a pod found no node: short, so that tests of full clusters are.
        "podInitialBackoffSeconds": 1,
        "podMaxBackoffSeconds": 1,
    }
    return json.dumps(config | dict(overrides), indent=1)


def kwok(program: Path, *, kubeconfig: Path, port: int, stages: Path = STAGES) -> list[str]:
    return [
        str(program),
        f"--kubeconfig={kubeconfig}",
        f"--config={stages}",
        "--manage-all-nodes=true",
        "--cidr=10.128.0.1/16",  # pods of nodes without a podCIDR; apart from the Services
        f"--server-address=127.0.0.1:{port}",
    ]


def kube_state_metrics(program: Path, *, kubeconfig: Path, port: int, telemetry_port: int) -> list[str]:
    return [
        str(program),
        f"--kubeconfig={kubeconfig}",
        "--host=127.0.0.1",
        f"--port={port}",
        "--telemetry-host=127.0.0.1",
        f"--telemetry-port={telemetry_port}",
    ]
