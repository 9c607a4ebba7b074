"""The configuration that makes a kube-scheduler ask our extender: kubescheduler.config.k8s.io/v1, with its reasons as comments.

What is made here holds kube-scheduler's own rules: a weight above 0 beside a prioritizeVerb, a CA wherever TLS is asked
for (without one it would trust anybody, and say nothing), a name for each profile and each Lease.
"""

import base64
import json
import re
from collections.abc import Iterator
from datetime import timedelta

import msgspec

from webhook.core.model import Value

PATH = "/extender"
MOST_WEIGHT = 12
"""From here on the extender outdoes all of the default plugins together, and no taint or wish counts any more."""
LEAD = 3
"""By how much, of 10, the node that leads is scored above all others; a test holds it to what is answered."""
_PLAIN = re.compile(r"[A-Za-z/][\w./:-]*[\w/]", re.ASCII)
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


class Extender(Value, frozen=True):
    """Where the extender is and how long to wait for it.

    ``url`` is ``https://host:port`` without a path. ``server_name`` is whom the certificate must be for; empty: the
    host of ``url``. One of ``ca_data``, a CA in PEM, and ``ca_path``, where the scheduler finds it, is given.
    ``timeout`` is of one call.
    """

    url: str
    server_name: str = ""
    ca_data: bytes = b""
    ca_path: str = ""
    weight: int = 3
    timeout: timedelta = timedelta(milliseconds=300)
    filters: bool = False


class Second(Value, frozen=True):
    """A scheduler beside the default one: the name that pods ask for, and the namespace of its Lease."""

    name: str
    namespace: str


class _ServicePort(Value, frozen=True):
    port: int = 0
    name: str = ""


class _ServiceSpec(Value, frozen=True):
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    ports: list[_ServicePort] | None = None


class _Service(Value, frozen=True):
    spec: _ServiceSpec = _ServiceSpec()


def service_url(body: bytes) -> str:
    """The address of a Service as the API server tells it; empty where it has none of its own. Raises ValueError."""
    spec = msgspec.json.decode(body, type=_Service).spec
    ports = sorted(spec.ports or (), key=lambda one: one.name != "https")
    if not ports or spec.cluster_ip in {"", "None"}:
        return ""
    host = f"[{spec.cluster_ip}]" if ":" in spec.cluster_ip else spec.cluster_ip
    return f"https://{host}:{ports[0].port}"


def whole(extender: Extender, *, kubeconfig: str = "", second: Second | None = None) -> str:
    """A configuration file. ``kubeconfig`` is the scheduler's own; empty: by the token of its pod."""
    return "\n".join([*_head(kubeconfig, second), *_stanza(extender)]) + "\n"


def stanza(extender: Extender) -> str:
    """The list of extenders alone, to be put into a file that is there."""
    return "\n".join(_stanza(extender)) + "\n"


def _head(kubeconfig: str, second: Second | None) -> Iterator[str]:
    yield "apiVersion: kubescheduler.config.k8s.io/v1"
    yield "kind: KubeSchedulerConfiguration"
    if kubeconfig:
        yield "clientConnection:"
        yield f"  kubeconfig: {_scalar(kubeconfig)}"
    yield "leaderElection:"
    yield "  leaderElect: true"
    if second is not None:
        yield "  # A Lease of its own: with the default one's name the two schedulers would wait for each other."
        yield f"  resourceName: {_scalar(second.name)}"
        yield f"  resourceNamespace: {_scalar(second.namespace)}"
        yield "profiles:"
        yield "  # Only pods that ask for this name are its own; the default scheduler serves the rest."
        yield f"  - schedulerName: {_scalar(second.name)}"


def _stanza(extender: Extender) -> Iterator[str]:
    yield "extenders:"
    yield f"  - urlPrefix: {_scalar(extender.url + PATH)}"
    yield "    prioritizeVerb: prioritize"
    yield from _weight(extender.weight)
    if extender.filters:
        yield "    # Nodes above balance.filterAbove take no new pod. Cluster Autoscaler never asks an extender: it adds no node"
        yield "    # for pods that wait only because of this."
        yield "    filterVerb: filter"
    yield "    enableHTTPS: true"
    yield "    tlsConfig:"
    if extender.server_name:
        yield f"      serverName: {_scalar(extender.server_name)}"
    if extender.ca_path:
        yield "      # Read once, when the scheduler starts."
        yield f"      caFile: {_scalar(extender.ca_path)}"
    else:
        yield f"      caData: {base64.b64encode(extender.ca_data).decode()}"
    yield "    # Scheduling is one pod after the other and waits for us at most so long; we answer in milliseconds."
    yield f"    httpTimeout: {_milliseconds(extender.timeout)}"
    yield "    # Names instead of whole nodes: a hundredth of the bytes."
    yield "    nodeCacheCapable: true"
    yield "    # Without us pods are scheduled as they would be anyway."
    yield "    ignorable: true"


def _weight(weight: int) -> Iterator[str]:
    yield f"    # {weight * 100} points in all, at least {weight * LEAD * 10} of them between the node that leads and any other. Default"
    yield "    # spreading and node affinity weigh up to 200 each, against that; see docs/balancing.md. At most 12."
    yield f"    weight: {weight}"


def _milliseconds(length: timedelta) -> str:
    return f"{length // timedelta(milliseconds=1)}ms"


def _scalar(text: str) -> str:
    """As YAML: plain where nothing else could be meant, else quoted as in JSON."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else json.dumps(text)
