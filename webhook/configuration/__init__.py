"""The operator's configuration file: YAML in, a policy and a Prometheus out, or all its faults at once.

A file with any fault is refused whole: half a default is a policy nobody wrote.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from webhook.configuration.document import parse
from webhook.configuration.keys import TOP
from webhook.configuration.readers import UNREAD, section
from webhook.configuration.settling import contradictions, settle
from webhook.core.policy import Policy
from webhook.errors import ConfigurationError
from webhook.settings import PrometheusSettings, prometheus_faults
from webhook.wire.promql import ClusterLabel


@dataclass(frozen=True, slots=True)
class Configuration:
    """``prometheus`` is None where the file names none; only commands that ask it mind."""

    policy: Policy = field(default_factory=Policy)
    prometheus: PrometheusSettings | None = None


_UNTOLD: dict[str, Any] = {"url": "https://unread", "cluster_label": ClusterLabel("cluster", "unread")}
_GIVEN = ("bearer_token_file", "username", "password_file", "cert_file", "key_file", "allow_insecure_credentials")
"""What counts by being there: whatever its value, it is there."""


def _sound(said: Mapping[str, Any]) -> dict[str, Any]:
    """What was said of Prometheus, and where that could not be read, what contradicts nothing."""
    read = {name: value for name, value in said.items() if value is not UNREAD or name in _GIVEN}
    return {name: value for name, value in _UNTOLD.items() if said.get(name) is UNREAD} | read


def load(text: str, *, source: str) -> Configuration:
    """Read a configuration file's text. Raises ConfigurationError with every fault, each with its path."""
    faults: list[str] = []
    whole = parse(text, source)
    values = section(whole, "", TOP, faults)
    said = values.pop("prometheus", None) or {}
    policy = settle(values)
    faults += contradictions(policy, clustered=bool(said.get("cluster_label")))
    # Where nothing of it could be read, there is nothing to hold against the rest.
    prometheus = PrometheusSettings(**_sound(said)) if any(one is not UNREAD for one in said.values()) else None
    told = [f"prometheus.{fault}" for fault in (prometheus_faults(prometheus) if prometheus else ())]
    # What a reader refused is found again here.
    faults += [fault for fault in told if fault not in faults]
    if faults:
        raise ConfigurationError(faults, source=source)
    return Configuration(policy=policy, prometheus=prometheus)
