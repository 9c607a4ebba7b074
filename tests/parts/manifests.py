"""Objects as a user would write them, as plain dicts; only what a test cares for need be named."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.parts.pins import KUBERNETES

Manifest = dict[str, Any]

# kwok leaves a node or pod that carries it alone: it stays NotReady, or Pending after it was bound.
HOLD = "spot-balancer.test/hold"
# kwok ends a running pod that carries it with success: what a Job's pod does.
COMPLETES = "spot-balancer.test/completes"


def node(
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    taints: Sequence[Mapping[str, str]] = (),
    cpu: str = "8",
    memory: str = "32Gi",
    pods: int = 110,
    arch: str = "amd64",
    os: str = "linux",
    annotations: Mapping[str, str] | None = None,
    address: str = "",
) -> Manifest:
    """A node that kwok makes Ready; `taints` as {"key", "value", "effect"}, `address` its internal one."""
    facts = {"kubernetes.io/hostname": name, "kubernetes.io/arch": arch, "kubernetes.io/os": os}
    room = {"cpu": cpu, "memory": memory, "pods": str(pods)}
    status: Manifest = {"capacity": room, "allocatable": room, "nodeInfo": _node_info(name, arch, os)}
    if address:
        status["addresses"] = [{"type": "InternalIP", "address": address}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": facts | dict(labels or {}), "annotations": dict(annotations or {})},
        "spec": {"taints": [dict(taint) for taint in taints]} if taints else {},
        "status": status,
    }


def _node_info(name: str, arch: str, os: str) -> Manifest:
    unknown = ("bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion", "kubeletVersion", "osImage")
    info = dict.fromkeys(unknown, "simulated")
    info["kubeletVersion"] = f"v{KUBERNETES}"
    return info | {"architecture": arch, "operatingSystem": os, "machineID": name, "systemUUID": name}


def pod_spec(
    *, image: str = "registry.example/app:1", cpu: str = "100m", memory: str = "64Mi", **more: Any
) -> Manifest:
    """One container named `app`; `more` are further fields of the spec."""
    container = {"name": "app", "image": image, "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    return {"containers": [container], "terminationGracePeriodSeconds": 0, **more}


def pod(
    name: str,
    *,
    namespace: str = "default",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Manifest:
    metadata = {
        "name": name, "namespace": namespace, "labels": dict(labels or {}), "annotations": dict(annotations or {}),
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(**spec)}


def deployment(
    name: str,
    *,
    namespace: str = "default",
    replicas: int = 1,
    annotations: Mapping[str, str] | None = None,
    pod_annotations: Mapping[str, str] | None = None,
    strategy: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Manifest:
    """Pods carry the label `app: <name>`; `spec` goes to `pod_spec`."""
    template = {
        "metadata": {"labels": {"app": name}, "annotations": dict(pod_annotations or {})},
        "spec": pod_spec(**spec),
    }
    body: Manifest = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    if strategy:
        body["strategy"] = dict(strategy)
    metadata = {"name": name, "namespace": namespace, "annotations": dict(annotations or {})}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": body}


def job(name: str, *, namespace: str = "default", completes: bool = True, **spec: Any) -> Manifest:
    annotations = {COMPLETES: "true"} if completes else {}
    template = {
        "metadata": {"labels": {"app": name}, "annotations": annotations},
        "spec": pod_spec(restartPolicy="Never", **spec),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": template},
    }


def cron_job(
    name: str,
    *,
    namespace: str = "default",
    schedule: str = "0 3 29 2 *",
    suspend: bool = True,
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Suspended unless told otherwise: the test then makes its Jobs. Their pods run until they are told to complete."""
    template = {"spec": job(name, completes=False)["spec"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "namespace": namespace, "annotations": dict(annotations or {})},
        "spec": {"schedule": schedule, "suspend": suspend, "jobTemplate": template},
    }


def namespace(
    name: str, *, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None
) -> Manifest:
    metadata = {"name": name, "labels": dict(labels or {}), "annotations": dict(annotations or {})}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
