"""What a test does with a cluster, in one line each: create, read, delete, wait."""

from collections.abc import Callable
from typing import Any

from tests.parts import manifests
from tests.parts.kube_api import JSON, MERGE_PATCH, KubeApi, path_for, path_of
from tests.parts.manifests import Manifest
from tests.parts.processes import T, wait_for


class Cluster:
    """One API server, talked to as admin. Every call raises ApiError on a status of 400 or above, and OSError."""

    def __init__(self, api: KubeApi):
        self._api = api

    def api(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, content_type: str = JSON
    ) -> Manifest:
        """One call, as admin unless a token is given."""
        return self._api.call(method, path, body, token=token, content_type=content_type)

    def apply(self, obj: Manifest) -> Manifest:
        """Creates the object, by a plain POST: no Apply manager enters its managedFields."""
        return self.api("POST", path_for(obj), obj)

    def get(self, kind: str, name: str, *, namespace: str = "default") -> Manifest:
        return self.api("GET", path_of(kind, namespace=namespace, name=name))

    def list_all(self, kind: str, *, namespace: str | None = None, selector: str = "") -> list[Manifest]:
        query = {"labelSelector": selector} if selector else None
        items: list[Manifest] = self.api("GET", path_of(kind, namespace=namespace, query=query))["items"]
        return items

    def delete(self, kind: str, name: str, *, namespace: str = "default") -> None:
        self.api("DELETE", path_of(kind, namespace=namespace, name=name))

    def service_account_token(self, namespace: str, name: str, *, seconds: int = 3600) -> str:
        """A token as the projected volume of a pod would hold it."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = path_of("ServiceAccount", namespace=namespace, name=name) + "/token"
        token: str = self.api("POST", path, request)["status"]["token"]
        return token

    def wait_for(self, condition: Callable[[], T | None], timeout_s: float, what: str) -> T:
        return wait_for(condition, timeout_s, what)

    def node(self, name: str, **facts: Any) -> Manifest:
        """Creates a node (`manifests.node`) and waits until kwok has made it Ready."""
        self.apply(manifests.node(name, **facts))
        return self.wait_for(lambda: self._ready_node(name), 20, f"node {name} to be Ready")

    def _ready_node(self, name: str) -> Manifest | None:
        found = self.get("Node", name)
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in found["status"].get("conditions", []))
        tainted = any(t["key"] == "node.kubernetes.io/not-ready" for t in found["spec"].get("taints", []))
        return found if ready and not tainted else None

    def namespace(self, name: str, **facts: Any) -> Manifest:
        """Creates a namespace and waits for its default ServiceAccount, without which pods are refused."""
        made = self.apply(manifests.namespace(name, **facts))
        self.wait_for(
            lambda: self.get("ServiceAccount", "default", namespace=name), 20, f"the ServiceAccount of {name}"
        )
        return made

    def deployment(self, name: str, **facts: Any) -> Manifest:
        return self.apply(manifests.deployment(name, **facts))

    def scale(self, name: str, replicas: int, *, namespace: str = "default") -> Manifest:
        path = path_of("Deployment", namespace=namespace, name=name) + "/scale"
        return self.api("PATCH", path, {"spec": {"replicas": replicas}}, content_type=MERGE_PATCH)

    def pods(self, namespace: str | None = None, selector: str = "") -> list[Manifest]:
        return self.list_all("Pod", namespace=namespace, selector=selector)

    def running(self, namespace: str | None = None, selector: str = "") -> list[Manifest]:
        """The pods that run and are not on their way out."""
        return [
            pod
            for pod in self.pods(namespace, selector)
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    def delete_pod(self, name: str, *, namespace: str = "default") -> None:
        self.delete("Pod", name, namespace=namespace)
