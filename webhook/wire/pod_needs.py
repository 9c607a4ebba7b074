"""What a pod asks of its node and what speaks against moving it, from its spec in the API server's JSON.

Pods of one template ask for the same, so they share one value: a cluster of 30,000 pods holds some
thousands. That is why as little as can be of what a pod has to itself may get in; a StatefulSet's
pods have labels and claims of their own, and share nothing.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Protocol

from webhook.core.affinity import is_pinned
from webhook.core.census import PodNeeds
from webhook.core.inventory import is_read
from webhook.core.model import Requirement, Resources, Toleration, Value
from webhook.core.pod import Affinity, HostPath, NodeAffinity, Pod
from webhook.core.pod import PodSpec as AdmittedSpec
from webhook.wire.objects import amount, resources
from webhook.wire.selectors import node_terms

DECISION = "spot-balancer.io/decision"
_MIRROR = "kubernetes.io/config.mirror"
_LOCAL_VOLUMES_ARE_SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
_CRITICAL_CLASSES = frozenset({"system-cluster-critical", "system-node-critical"})
_SYSTEM_PRIORITY = 2_000_000_000
_MOST_SHARED = 16_384
_BASIC = frozenset({"cpu", "memory"})

Texts = Mapping[str, str]


class Requirements(Value, frozen=True):
    requests: dict[str, str] | None = None
    limits: dict[str, str] | None = None


class _Port(Value, frozen=True):
    container_port: int = 0
    host_port: int | None = None


class Container(Value, frozen=True):
    name: str = ""
    resources: Requirements = Requirements()
    restart_policy: str | None = None
    ports: tuple[_Port, ...] | None = None


class _EmptyDir(Value, frozen=True):
    medium: str | None = None


class _Claim(Value, frozen=True):
    claim_name: str = ""


class _Ephemeral(Value, frozen=True):
    """Its claim, ``<pod>-<volume>``, goes with the pod."""


class _Volume(Value, frozen=True):
    name: str = ""
    host_path: HostPath | None = None
    empty_dir: _EmptyDir | None = None
    persistent_volume_claim: _Claim | None = None
    ephemeral: _Ephemeral | None = None


class _PodTerm(Value, frozen=True):
    topology_key: str = ""


class _PodAntiAffinity(Value, frozen=True):
    required_during_scheduling_ignored_during_execution: tuple[_PodTerm, ...] | None = None


class _Affinity(Value, frozen=True):
    node_affinity: NodeAffinity | None = None
    pod_anti_affinity: _PodAntiAffinity | None = None


class _Spread(Value, frozen=True):
    topology_key: str = ""
    when_unsatisfiable: str = ""


class PodSpec(Value, frozen=True):
    """What is read of a pod's spec."""

    node_name: str | None = None
    host_network: bool | None = None
    containers: tuple[Container, ...] | None = None
    init_containers: tuple[Container, ...] | None = None
    overhead: dict[str, str] | None = None
    resources: Requirements | None = None
    node_selector: dict[str, str] | None = None
    affinity: _Affinity | None = None
    tolerations: tuple[Toleration, ...] | None = None
    topology_spread_constraints: tuple[_Spread, ...] | None = None
    volumes: tuple[_Volume, ...] | None = None
    priority_class_name: str | None = None
    priority: int | None = None
    scheduler_name: str | None = None

    @property
    def sidecars(self) -> tuple[Container, ...]:
        """Init containers that run as long as the pod; the others say nothing of what it needs while it runs."""
        return _sidecars(self)

    @property
    def running(self) -> tuple[Container, ...]:
        """All containers of a pod that runs."""
        return (self.containers or ()) + _sidecars(self)


class Asking(Protocol):
    """The part of a spec that tells what the pod requests."""

    @property
    def containers(self) -> tuple[Container, ...] | None: ...
    @property
    def init_containers(self) -> tuple[Container, ...] | None: ...
    @property
    def overhead(self) -> dict[str, str] | None: ...
    @property
    def resources(self) -> Requirements | None: ...


def _sidecars(spec: Asking) -> tuple[Container, ...]:
    if not spec.init_containers:
        return ()
    return tuple([container for container in spec.init_containers if container.restart_policy == "Always"])


def requests(spec: Asking) -> Resources:
    """What a running pod holds: its containers and sidecars, or its own budget, and the overhead."""
    parts = [resources(c.resources.requests) for c in (spec.containers or ()) + _sidecars(spec)]
    cpu, memory = sum([p.cpu_cores for p in parts]), sum([p.memory_bytes for p in parts])
    whole = (spec.resources.requests if spec.resources else None) or {}
    overhead = resources(spec.overhead)
    return Resources(
        cpu_cores=(amount(whole["cpu"]) if "cpu" in whole else cpu) + overhead.cpu_cores,
        memory_bytes=(amount(whole["memory"]) if "memory" in whole else memory) + overhead.memory_bytes,
    )


def needs(spec: PodSpec, *, labels: Texts, annotations: Texts, owner_kind: str) -> PodNeeds:
    """What the pod asks for; ``owner_kind`` is its controller's, empty without one."""
    volumes, affinity = spec.volumes or (), spec.affinity
    return _shared(
        PodNeeds(
            labels=tuple(sorted(labels.items())),
            node_selector=tuple(sorted(spec.node_selector.items())) if spec.node_selector else (),
            terms=_terms(affinity),
            by_name=_is_by_name(spec),
            tolerations=spec.tolerations or (),
            host_ports=_host_ports(spec),
            host_path=any(volume.host_path is not None for volume in volumes),
            local_volumes=tuple([volume.name for volume in volumes if _is_local(volume)]),
            claims=tuple([v.persistent_volume_claim.claim_name for v in volumes if v.persistent_volume_claim]),
            apart_by=_apart_by(affinity),
            spread_by=_spread_by(spec),
            extended=_extended(spec),
            critical=spec.priority_class_name in _CRITICAL_CLASSES or (spec.priority or 0) >= _SYSTEM_PRIORITY,
            static=owner_kind == "Node" or _MIRROR in annotations,
            scheduler_name=spec.scheduler_name or "",
            annotations=tuple(sorted(item for item in annotations.items() if _is_kept(item[0]))),
        )
    )


@lru_cache(maxsize=_MOST_SHARED)
def _shared(found: PodNeeds) -> PodNeeds:
    """The first of all that are equal, as long as it is remembered."""
    return found


def _is_kept(key: str) -> bool:
    """What was decided on one pod would keep it from sharing with its like, and stands in its fact."""
    return (is_read(key) or key == _LOCAL_VOLUMES_ARE_SAFE) and key != DECISION


def _terms(affinity: _Affinity | None) -> tuple[tuple[Requirement, ...], ...] | None:
    node = affinity.node_affinity if affinity else None
    required = node.required_during_scheduling_ignored_during_execution if node else None
    return node_terms(required.node_selector_terms or ()) if required else None


def _is_by_name(spec: PodSpec) -> bool:
    node = spec.affinity.node_affinity if spec.affinity else None
    if node is None and not spec.node_selector:
        return False
    admitted = AdmittedSpec(node_selector=spec.node_selector, affinity=Affinity(node_affinity=node))
    return is_pinned(Pod(spec=admitted))


def _host_ports(spec: PodSpec) -> tuple[int, ...]:
    ports = [port for container in spec.running for port in container.ports or ()]
    taken = {port.host_port or (port.container_port if spec.host_network else 0) for port in ports}
    return tuple(sorted(taken - {0}))


def _is_local(volume: _Volume) -> bool:
    """Whether its data dies with the pod, or is another's on another node; what is in memory is lost by any restart."""
    if volume.empty_dir is not None:
        return volume.empty_dir.medium != "Memory"
    return volume.host_path is not None or volume.ephemeral is not None


def _apart_by(affinity: _Affinity | None) -> tuple[str, ...]:
    anti = affinity.pod_anti_affinity if affinity else None
    required = anti.required_during_scheduling_ignored_during_execution if anti else None
    return _keys(required or ())


def _spread_by(spec: PodSpec) -> tuple[str, ...]:
    spreads = spec.topology_spread_constraints or ()
    return _keys(spread for spread in spreads if spread.when_unsatisfiable == "DoNotSchedule")


def _keys(terms: Iterable[_PodTerm | _Spread]) -> tuple[str, ...]:
    return tuple(sorted({term.topology_key for term in terms}))


def _extended(spec: PodSpec) -> tuple[tuple[str, float], ...]:
    """All but CPU and memory. The API server copies a limit to a request that is absent; here that is not relied on."""
    total: dict[str, float] = {}
    for amounts in (*(_asked(c.resources) for c in spec.running), spec.overhead or {}):
        for name in amounts.keys() - _BASIC:
            total[name] = total.get(name, 0.0) + amount(amounts[name])
    return tuple(sorted(total.items()))


def _asked(required: Requirements) -> Texts:
    return (required.limits or {}) | (required.requests or {})
