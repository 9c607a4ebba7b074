"""The world at one moment, immutable: all that a decision may look at."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Self

from webhook.core.book import Control
from webhook.core.census import Census
from webhook.core.model import Bound, Namespace, Node, Value, Workload, WorkloadKey
from webhook.core.policy import Policy
from webhook.core.sanity import Alarm

SCHEMA_VERSION = 1


class Meta(Value, frozen=True, omit_defaults=False):
    """About a snapshot: ``captured_at`` is its "now" when it is a file; ``book_heartbeat`` the monitor's last run.

    ``alarm`` is why nobody turns to spot at present.

    ``load_match_rate`` is the share of load series that led to a node, None without node load. ``bound_left_out`` are
    pods that would be ``bound`` too, and are too many.

    ``versions`` names the parts that it was taken from, for a file that is to be replayed.
    """

    captured_at: datetime
    schema_version: int = SCHEMA_VERSION
    generation: int = 0
    book_heartbeat: datetime | None = None
    alarm: Alarm | None = None
    load_match_rate: float | None = None
    bound_left_out: int = 0
    policy: Policy = Policy()
    source: str = ""
    versions: dict[str, str] = {}


class Snapshot:
    """Indexed once, read many times. All mappings are read-only.

    ``controllers`` leads from (namespace, kind, name) of a pod's controller to its workload's key. ``bound`` are pods that the nodes' load
    does not hold yet, by UID. ``census`` and
    ``control`` are what a capture keeps of all that was read, and of the book, so that moves can be planned from it; None
    in what sync keeps for the server, which would pay for it in memory.
    """

    __slots__ = ("__weakref__", "bound", "census", "control", "controllers", "meta", "namespaces", "nodes", "workloads")

    def __init__(  # noqa: PLR0913 - all that it is made of, by name
        self,
        meta: Meta,
        *,
        nodes: Iterable[Node] = (),
        namespaces: Iterable[Namespace] = (),
        workloads: Iterable[Workload] = (),
        bound: Iterable[Bound] = (),
        census: Census | None = None,
        control: Control | None = None,
    ) -> None:
        self.meta = meta
        self.census, self.control = census, control
        self.nodes: Mapping[str, Node] = MappingProxyType({n.name: n for n in nodes})
        self.namespaces: Mapping[str, Namespace] = MappingProxyType({n.name: n for n in namespaces})
        self.workloads: Mapping[WorkloadKey, Workload] = MappingProxyType({w.key: w for w in workloads})
        self.bound: Mapping[str, Bound] = MappingProxyType({pod.uid: pod for pod in bound})
        self.controllers: Mapping[tuple[str, str, str], WorkloadKey] = MappingProxyType(
            {(w.key.namespace, c.kind, c.name): w.key for w in self.workloads.values() for c in w.controllers},
        )

    @classmethod
    def from_indexes(  # noqa: PLR0913 - all that it is made of, by name
        cls,
        meta: Meta,
        *,
        nodes: Mapping[str, Node],
        namespaces: dict[str, Namespace],
        workloads: dict[WorkloadKey, Workload],
        controllers: dict[tuple[str, str, str], WorkloadKey],
        bound: dict[str, Bound] | None = None,
    ) -> Self:
        """Take over indexes that were built bit by bit, so that a large snapshot never holds up a request.

        ``nodes`` may be those of another snapshot: then both have the very same.
        """
        made = cls.__new__(cls)
        made.meta = meta
        made.census = made.control = None
        made.nodes = nodes if isinstance(nodes, MappingProxyType) else MappingProxyType(nodes)
        made.namespaces = MappingProxyType(namespaces)
        made.workloads = MappingProxyType(workloads)
        made.controllers = MappingProxyType(controllers)
        made.bound = MappingProxyType(bound or {})
        return made
