"""ConfigMaps as the API server sends and takes them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from webhook.core.model import Value
from webhook.wire.kubernetes import Entry, Resource
from webhook.wire.objects import ObjectMeta


class ConfigMap(Value, frozen=True):
    """As it is read and written; ``data`` may be absent."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] | None = None


def config_maps(namespace: str) -> Resource:
    """The ConfigMaps of one namespace; their ``fact`` is a ConfigMap."""

    def read(raw: bytes) -> Entry:
        found = decode_config_map(raw)
        return Entry(key=found.metadata.key, resource_version=found.metadata.resource_version, fact=found)

    return Resource(kind="ConfigMap", plural="configmaps", api_version="v1", read=read, namespace=namespace)


def decode_config_map(body: bytes) -> ConfigMap:
    """Read one ConfigMap. Raises ValueError."""
    return msgspec.json.decode(body, type=ConfigMap)


def encode_config_map(metadata: Mapping[str, Any], data: Mapping[str, str]) -> bytes:
    """A ConfigMap to send; ``metadata`` uses the API's own keys."""
    whole = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": dict(metadata), "data": dict(data)}
    return msgspec.json.encode(whole)
