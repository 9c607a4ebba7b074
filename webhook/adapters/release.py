"""What a scheduler must know of an installed release: the address of its Service, its CA, its configuration's text."""

from urllib.parse import quote

from webhook.adapters.kubeapi import KubeApi
from webhook.errors import ClusterNotFound, InputError
from webhook.wire.config_map import decode_config_map
from webhook.wire.scheduler_config import service_url


class Release:
    """``Release(connect(kubeconfig, context), namespace, name)``; each question is one read of the API server.

    All raise ClusterError, and InputError where the object is there and says nothing of use.
    """

    def __init__(self, api: KubeApi, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name

    def url(self) -> str:
        """``https://ip:port`` of the Service."""
        where = f"Service {self._name} in namespace {self._namespace}"
        try:
            found = service_url(self._get("services", self._name))
        except ClusterNotFound as exc:
            raise InputError(f"no {where}; -n and --service name the release's, --url gives an address") from exc
        except ValueError as exc:
            raise InputError(f"{where} cannot be read") from exc
        if not found:
            raise InputError(f"{where} has no cluster IP or no port; --url gives an address")
        return found

    def ca(self) -> bytes:
        """The CA's certificates in PEM, as the chart publishes them."""
        name = f"{self._name}-ca"
        where = f"ConfigMap {name} in namespace {self._namespace}"
        told = self._data(name, "ca.crt")
        if told is None:
            raise InputError(
                f"no {where} with a key ca.crt; --ca-file gives the CA, --ca-path where a scheduler finds it"
            )
        return told.encode()

    def configuration(self) -> str:
        """The configuration file's text; empty where the release keeps none there."""
        return self._data(f"{self._name}-config", "config.yaml") or ""

    def _data(self, name: str, key: str) -> str | None:
        try:
            found = decode_config_map(self._get("configmaps", name))
        except ClusterNotFound:
            return None
        except ValueError as exc:
            raise InputError(f"ConfigMap {name} in namespace {self._namespace} cannot be read") from exc
        return (found.data or {}).get(key)

    def _get(self, plural: str, name: str) -> bytes:
        return self._api.request("GET", f"/api/v1/namespaces/{quote(self._namespace)}/{plural}/{quote(name)}")
