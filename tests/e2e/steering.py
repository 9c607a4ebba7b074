"""A real server on a snapshot that the test wrote, called by a real API server for one namespace."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests import builders, serverproc
from tests.parts.plane import ControlPlane
from webhook.core.model import Namespace, Workload
from webhook.core.placement import DECISION
from webhook.core.snapshot import Snapshot

REGULAR = {"karpenter.sh/capacity-type": "on-demand"}
SPOT = {"karpenter.sh/capacity-type": "spot"}
# What the strictest Pod Security level admits.
SAFE = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
_RULE = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}


def workload(namespace: str, name: str, kind: str = "Deployment", **facts) -> Workload:
    """On spot's side by a fresh verdict, in a namespace of the test's choice."""
    made = builders.make_workload(name, kind=kind, **facts)
    key = msgspec.structs.replace(made.key, namespace=namespace)
    verdict = made.verdict and msgspec.structs.replace(made.verdict, key=key)
    return msgspec.structs.replace(made, key=key, verdict=verdict)


def snapshot(namespace: str, *workloads: Workload, annotations: dict[str, str] | None = None, **facts) -> Snapshot:
    return builders.make_snapshot(
        *workloads, namespaces=[Namespace(namespace, annotations=annotations or {})], **facts
    )  # fmt: skip


def register(plane: ControlPlane, namespace: str, port: int, authorities: bytes, *, name: str = "") -> None:
    """The chart's registration, for one namespace, under its name unless told otherwise."""
    hook = {
        "name": "spot.spot-balancer.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "IfNeeded",
        "timeoutSeconds": 5,
        "clientConfig": {
            "url": f"https://127.0.0.1:{port}/mutate",
            "caBundle": base64.b64encode(authorities).decode(),
        },
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [_RULE],
    }
    kind, group = "MutatingWebhookConfiguration", "admissionregistration.k8s.io/v1"
    plane.apply({"apiVersion": group, "kind": kind, "metadata": {"name": name or namespace}, "webhooks": [hook]})


def bare(namespace: str) -> dict:
    """A pod without a controller, which we leave alone: fit to see whether we are called."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "probe-", "namespace": namespace},
        "spec": {"containers": [{"name": "c", "image": "i", "securityContext": SAFE}]},
    }


@contextmanager
def steered(plane: ControlPlane, folder: Path, world: Snapshot) -> Iterator[serverproc.Server]:
    """Serves `world` for the one namespace that it holds, made here too if it is not there."""
    (namespace,) = world.namespaces
    if not any(n["metadata"]["name"] == namespace for n in plane.list_all("Namespace")):
        plane.namespace(namespace)
    folder.mkdir()
    with serverproc.running_server(folder, world) as server:
        called(plane, namespace, [server], server.port, server.ca.cert_pem.bytes())
        yield server
        plane.delete("MutatingWebhookConfiguration", namespace)


def called(plane: ControlPlane, namespace: str, servers, port: int, authorities: bytes):
    """Registers, and waits until a creation has come through to one of the servers."""
    # The API server learns of a registration by a watch: until then pods pass by it.
    register(plane, namespace, port, authorities)
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"

    def arrived() -> bool:
        plane.api("POST", path, bare(namespace))
        return any(s.metric('spot_balancer_decisions_total{reason="no-controller"}') for s in servers)

    plane.wait_for(arrived, 20, "the API server to call us")


def decision(pod) -> str | None:
    return (pod["metadata"].get("annotations") or {}).get(DECISION)
