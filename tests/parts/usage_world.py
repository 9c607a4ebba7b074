"""What simulated pods use: rates by a script, counters as their exact integrals, and both as cAdvisor would tell them.

Each pod also has the row of its pod-level cgroup (`container=""`), which a query that does not
leave it out counts twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Rates:
    """What one pod of a workload does from now on."""

    cpu_cores: float = 0.0
    rx_bytes_per_s: float = 0.0
    tx_bytes_per_s: float = 0.0
    memory_bytes: float = 0.0


@dataclass(slots=True)
class Totals:
    """The integrals of a pod's rates up to `at_s` (Unix time)."""

    at_s: float
    cpu_seconds: float = 0.0
    rx_bytes: float = 0.0
    tx_bytes: float = 0.0

    def advance(self, rates: Rates, now_s: float) -> None:
        self.advance_by(rates, now_s)
        self.at_s = max(self.at_s, now_s)

    def advance_by(self, rates: Rates, now_s: float) -> None:
        """Adds what one of several rates does; the last of them goes through `advance`."""
        passed = max(0.0, now_s - self.at_s)
        self.cpu_seconds += rates.cpu_cores * passed
        self.rx_bytes += rates.rx_bytes_per_s * passed
        self.tx_bytes += rates.tx_bytes_per_s * passed


@dataclass(frozen=True, slots=True)
class Pod:
    uid: str
    namespace: str
    name: str
    node: str
    containers: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, pod: dict[str, Any]) -> Self:
        meta, spec = pod["metadata"], pod["spec"]
        containers = tuple((c["name"], c["image"]) for c in spec["containers"])
        return cls(meta["uid"], meta["namespace"], meta["name"], spec["nodeName"], containers)


@dataclass(frozen=True, slots=True)
class Node:
    """`address` is the internal one, where a node-exporter would be scraped."""

    name: str
    cpu_cores: float
    memory_bytes: float
    address: str = ""

    @classmethod
    def parse(cls, node: dict[str, Any]) -> Self:
        """Reads what `manifests.node` writes: whole or milli cores, and Ki to Ti."""
        capacity = node["status"]["capacity"]
        told = {one["type"]: one["address"] for one in node["status"].get("addresses", ())}
        return cls(
            node["metadata"]["name"],
            _amount(capacity["cpu"]),
            _amount(capacity["memory"]),
            told.get("InternalIP", ""),
        )


def _amount(quantity: str) -> float:
    units = {"m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    number = quantity.rstrip("mKMGTi")
    return float(number) * units.get(quantity[len(number) :], 1)


@dataclass(slots=True)
class World:
    """Who runs, what each was told to do, and what each has used; every change first brings the counters up to date."""

    pods: dict[str, Pod] = field(default_factory=dict)
    totals: dict[str, Totals] = field(default_factory=dict)
    script: dict[tuple[str, str], Rates] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    node_totals: dict[str, Totals] = field(default_factory=dict)
    node_script: dict[str, Rates] = field(default_factory=dict)

    def rates(self, pod: Pod) -> Rates:
        """Of the longest workload prefix that fits; a pod of nobody's script does nothing."""
        fitting = [p for ns, p in self.script if ns == pod.namespace and pod.name.startswith(p)]
        return self.script[pod.namespace, max(fitting, key=len)] if fitting else Rates()

    def advance(self, now_s: float) -> None:
        for uid, pod in self.pods.items():
            self.totals[uid].advance(self.rates(pod), now_s)
            self.node_totals[pod.node].advance_by(self.rates(pod), now_s)
        for name, totals in self.node_totals.items():
            totals.advance(self.node_script.get(name, Rates()), now_s)

    def replace(self, pods: Iterable[Pod], nodes: Iterable[Node], now_s: float) -> None:
        """A counter lives as long as its pod or node; a node's own counter keeps what its dead pods used."""
        self.advance(now_s)
        self.nodes = {node.name: node for node in nodes}
        self.node_totals = {name: self.node_totals.get(name) or Totals(now_s) for name in self.nodes}
        self.pods = {pod.uid: pod for pod in pods if pod.node in self.nodes}
        self.totals = {uid: self.totals.get(uid) or Totals(now_s) for uid in self.pods}


Labels = dict[str, str]
# metric name, labels, value
Row = tuple[str, Labels, float]


def rows(world: World) -> Iterator[Row]:
    """As cAdvisor tells it."""
    for uid, pod in world.pods.items():
        yield from _pod_rows(pod, world.totals[uid], world.rates(pod))
    used = _memory_bytes(world)
    for name, node in world.nodes.items():
        yield from _node_rows(node, world.node_totals[name], used[name])


def exporter_rows(world: World) -> Iterator[Row]:
    """As node-exporters tell it that are scraped by the nodes' addresses, as most charts do: no label names a node."""
    used = _memory_bytes(world)
    for name, node in world.nodes.items():
        where, totals, cpus = {"instance": f"{node.address}:9100"}, world.node_totals[name], max(1, int(node.cpu_cores))
        for number in range(cpus):
            one = where | {"cpu": str(number)}
            rest = node.cpu_cores * totals.at_s - totals.cpu_seconds
            yield "node_cpu_seconds_total", one | {"mode": "idle"}, rest / cpus
            yield "node_cpu_seconds_total", one | {"mode": "user"}, totals.cpu_seconds / cpus
        yield "node_memory_MemTotal_bytes", where, node.memory_bytes
        yield "node_memory_MemAvailable_bytes", where, node.memory_bytes - used[name]


def _memory_bytes(world: World) -> dict[str, float]:
    used: dict[str, float] = defaultdict(float)
    for pod in world.pods.values():
        used[pod.node] += world.rates(pod).memory_bytes
    return {name: used[name] + world.node_script.get(name, Rates()).memory_bytes for name in world.nodes}


def _node_rows(node: Node, totals: Totals, memory_bytes: float) -> Iterator[Row]:
    where = {"node": node.name}
    root = where | {"container": "", "id": "/", "image": "", "name": "", "namespace": "", "pod": ""}
    yield "machine_cpu_cores", where, node.cpu_cores
    yield "machine_memory_bytes", where, node.memory_bytes
    yield "container_cpu_usage_seconds_total", root | {"cpu": "total"}, totals.cpu_seconds
    yield "container_memory_working_set_bytes", root, memory_bytes


def _pod_rows(pod: Pod, totals: Totals, rates: Rates) -> Iterator[Row]:
    share = 1 / len(pod.containers)
    group = f"/kubepods/burstable/pod{pod.uid}"
    common = {"namespace": pod.namespace, "pod": pod.name, "node": pod.node}
    whole = common | {"container": "", "id": group, "image": "", "name": ""}
    yield "container_cpu_usage_seconds_total", whole | {"cpu": "total"}, totals.cpu_seconds
    yield "container_memory_working_set_bytes", whole, rates.memory_bytes
    for name, image in pod.containers:
        one = common | {"container": name, "id": f"{group}/{name}", "image": image, "name": f"{pod.uid}-{name}"}
        yield "container_cpu_usage_seconds_total", one | {"cpu": "total"}, totals.cpu_seconds * share
        yield "container_memory_working_set_bytes", one, rates.memory_bytes * share
    sandbox = whole | {"image": "registry.example/pause:1", "name": f"{pod.uid}-sandbox", "interface": "eth0"}
    yield "container_network_receive_bytes_total", sandbox, totals.rx_bytes
    yield "container_network_transmit_bytes_total", sandbox, totals.tx_bytes


def render(table: Iterable[Row], now_ms: int, *, copies: int) -> str:
    lines: list[str] = []
    previous = ""
    for metric, labels, value in table:
        if metric != previous:
            lines.append(f"# TYPE {metric} {'counter' if metric.endswith('_total') else 'gauge'}")
            previous = metric
        inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
        lines += [f"{metric}{{{inside}}} {value!r} {now_ms}"] * copies
    return "\n".join(lines) + "\n"
