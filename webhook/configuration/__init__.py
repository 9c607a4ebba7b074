"""The operator's configuration file: YAML in, a policy and a Prometheus out, or all its faults at once.

A file with any fault is refused whole: half a default is a policy nobody wrote.
"""

from dataclasses import dataclass, field

from webhook.configuration.document import parse
from webhook.configuration.keys import TOP
from webhook.configuration.readers import section
from webhook.configuration.settling import contradictions, settle
from webhook.core.policy import Policy
from webhook.errors import ConfigurationError
from webhook.settings import PrometheusSettings, prometheus_faults


@dataclass(frozen=True, slots=True)
class Configuration:
    """``prometheus`` is None where the file names none; only commands that ask it mind."""

    policy: Policy = field(default_factory=Policy)
    prometheus: PrometheusSettings | None = None


def load(text: str, *, source: str) -> Configuration:
    """Read a configuration file's text. Raises ConfigurationError with every fault, each with its path."""
    faults: list[str] = []
    whole = parse(text, source)
    values = section(whole, "", TOP, faults)
    prometheus = values.pop("prometheus", None)
    # A section with a fault stands at its defaults here, which do not contradict each other.
    policy = settle(values)
    faults += contradictions(policy, clustered=bool(prometheus and prometheus.get("cluster_label")))
    settings = PrometheusSettings(**prometheus) if prometheus and "url" in prometheus else None
    if prometheus is not None and settings is None and not any(f.startswith("prometheus") for f in faults):
        faults.append("prometheus.url: missing; expected http(s)://host[:port][/prefix]")
    faults += [f"prometheus.{fault}" for fault in (prometheus_faults(settings) if settings else ())]
    if faults:
        raise ConfigurationError(faults, source=source)
    return Configuration(policy=policy, prometheus=settings)
