"""A thin client for tests, on the standard library: what goes over the wire is what the test wrote."""

import http.client
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

# kind -> (API path, plural, namespaced)
RESOURCES = {
    "Namespace": ("/api/v1", "namespaces", False),
    "Node": ("/api/v1", "nodes", False),
    "Pod": ("/api/v1", "pods", True),
    "Service": ("/api/v1", "services", True),
    "Secret": ("/api/v1", "secrets", True),
    "ConfigMap": ("/api/v1", "configmaps", True),
    "ServiceAccount": ("/api/v1", "serviceaccounts", True),
    "PersistentVolume": ("/api/v1", "persistentvolumes", False),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims", True),
    "Deployment": ("/apis/apps/v1", "deployments", True),
    "ReplicaSet": ("/apis/apps/v1", "replicasets", True),
    "StatefulSet": ("/apis/apps/v1", "statefulsets", True),
    "DaemonSet": ("/apis/apps/v1", "daemonsets", True),
    "Job": ("/apis/batch/v1", "jobs", True),
    "CronJob": ("/apis/batch/v1", "cronjobs", True),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets", True),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers", True),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices", True),
    "PriorityClass": ("/apis/scheduling.k8s.io/v1", "priorityclasses", False),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles", True),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings", True),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "MutatingWebhookConfiguration": ("/apis/admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", False),
    "ValidatingWebhookConfiguration": (
        "/apis/admissionregistration.k8s.io/v1",
        "validatingwebhookconfigurations",
        False,
    ),
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", False),
    "ResourceQuota": ("/api/v1", "resourcequotas", True),
    "StorageClass": ("/apis/storage.k8s.io/v1", "storageclasses", False),
    "Event": ("/apis/events.k8s.io/v1", "events", True),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases", True),
}


class ApiError(Exception):
    """The API server answered with a status of 400 or above; `body` is its Status object, or text."""

    def __init__(self, status: int, reason: str, body: Any):
        message = body.get("message", "") if isinstance(body, dict) else body
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.body = body


class KubeApi:
    """Talks to one API server with one bearer token, a connection a call."""

    def __init__(self, url: str, *, ca_file: Path, token: str, timeout_s: float = 30.0):
        self._address = urlsplit(url).netloc
        self._context = ssl.create_default_context(cafile=str(ca_file))
        self._token = token
        self._timeout_s = timeout_s

    def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, content_type: str = JSON
    ) -> dict[str, Any]:
        """The decoded answer (`{"text": ...}` where it is no JSON). Raises ApiError, OSError."""
        headers = {"Authorization": f"Bearer {token or self._token}", "Accept": JSON, "Content-Type": content_type}
        payload = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = http.client.HTTPSConnection(self._address, context=self._context, timeout=self._timeout_s)
        try:
            connection.request(method, path, payload, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        decoded = _decode(text)
        if answer.status >= 400:
            raise ApiError(answer.status, answer.reason, decoded.get("text", decoded))
        return decoded


def _decode(text: str) -> dict[str, Any]:
    try:
        decoded = json.loads(text)
    except ValueError:
        return {"text": text}
    return decoded if isinstance(decoded, dict) else {"text": text}


def path_of(kind: str, *, namespace: str | None = None, name: str = "", query: Mapping[str, str] | None = None) -> str:
    """The path of a kind's collection, or of one object of it; `namespace` None means all of them."""
    group, plural, namespaced = RESOURCES[kind]
    parts = [group]
    if namespaced and namespace is not None:
        parts += ["namespaces", quote(namespace)]
    parts += [plural, quote(name)] if name else [plural]
    return "/".join(parts) + (f"?{urlencode(query)}" if query else "")


def path_for(obj: Mapping[str, Any]) -> str:
    """Where this object is created."""
    return path_of(obj["kind"], namespace=obj["metadata"].get("namespace", "default"))
