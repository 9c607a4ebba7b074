"""Readers of the keys of ``prometheus`` that hold more than one value; each tells all that is wrong with its own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from webhook.configuration.readers import FaultError, PartlyReadError
from webhook.settings import cluster_label_fault, job_faults
from webhook.wire.prometheus_request import header_faults, parameter_faults
from webhook.wire.promql import ClusterLabel, own_faults

T = TypeVar("T")


def cluster_label(value: Any) -> ClusterLabel:
    """``{name: cluster, value: eu-1}``."""
    texts, faults = _each(value, _text, "{name: cluster, value: eu-1}")
    known = {"name", "value"}
    faults += [f".{one}: {'missing' if one in known else 'unknown key'}" for one in sorted(texts.keys() ^ known)]
    label = ClusterLabel(texts.get("name", "cluster"), texts.get("value", "-"))
    return _unless([*faults, cluster_label_fault(label)], label)


def headers(value: Any) -> dict[str, str]:
    """Values by header."""
    found, faults = _each(value, _text, "headers such as {X-Scope-OrgID: team-a}")
    return _unless([*faults, *(fault.removeprefix("headers") for fault in header_faults(found, ()))], found)


def header_files(value: Any) -> dict[str, Path]:
    """Files by header."""
    found, faults = _each(value, _text, "files by header, such as {X-Api-Key: /etc/spot-balancer/prometheus/key}")
    told = [*faults, *(fault.removeprefix("headerFiles") for fault in header_faults({}, found))]
    return _unless(told, {name: Path(text) for name, text in found.items()})


def parameters(value: Any) -> dict[str, tuple[str, ...]]:
    """One value or a list of them by parameter; what YAML makes of an unquoted ``true`` or number is taken for text."""
    found, faults = _each(value, _form, "parameters such as {partial_response: false}")
    return _unless([*faults, *(fault.removeprefix("parameters") for fault in parameter_faults(found))], found)


def jobs(value: Any) -> dict[str, tuple[str, ...]]:
    """One scrape job or a list of them by source."""
    found, faults = _each(value, _names, "scrape jobs by source, such as {cadvisor: kubelet}")
    return _unless([*faults, *job_faults(found)], found)


def queries(value: Any) -> dict[str, str]:
    """PromQL by the name of a query. Whether ``$cluster`` may be used is told where the cluster's label is known."""
    found, faults = _each(value, _text, "queries by name, see docs/prometheus.md")
    return _unless([*faults, *own_faults(found, clustered=True)], found)


def _each(value: Any, read: Callable[[Any], T | None], example: str) -> tuple[dict[str, T], list[str]]:
    """What can be read of a mapping, by key, and a fault for each of the rest. Raises FaultError for no mapping."""
    if not isinstance(value, Mapping):
        raise FaultError(example)
    found = {str(key): read(one) for key, one in value.items()}
    faults = [
        f".{k}: {repr(one)[:80]}; expected a text, in quotes" for k, one in value.items() if found[str(k)] is None
    ]
    return {key: one for key, one in found.items() if one is not None}, faults


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _names(value: Any) -> tuple[str, ...] | None:
    several = value if isinstance(value, list) else [value]
    return tuple(several) if all(isinstance(one, str) for one in several) else None


def _form(value: Any) -> tuple[str, ...] | None:
    several = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | bool | int) for one in several):
        return None
    return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in several)


def _unless(faults: list[str], found: T) -> T:
    if told := [fault for fault in faults if fault]:
        raise PartlyReadError(told, found)
    return found
