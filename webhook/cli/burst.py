"""The demonstration's second chapter: a burst of pods with and without the extender, on nodes whose requests mislead.

The nodes are made up. Of the scheduler's own plugins only least-allocated is imitated, for it is what decides among
nodes that nothing else tells apart; the extender's points come from the server, asked as a scheduler asks.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from webhook.core.model import (
    CapacityType,
    ControllerRef,
    Namespace,
    Node,
    NodeLoad,
    PodUse,
    Resources,
    Value,
    Workload,
    WorkloadKey,
)
from webhook.core.snapshot import Meta, Snapshot

PODS = 24
CORES, BYTES = 8.0, 32e9
LOADS = (0.70, 0.55, 0.40, 0.30, 0.20, 0.10)
"""Of CPU, by node."""
REQUESTED = (0.10, 0.15, 0.30, 0.40, 0.50, 0.60)
"""Who works most has requested least: what people wrote down once is not what runs."""
USE, REQUEST = Resources(0.4, 0.3e9), Resources(0.1, 0.3e9)
WEIGHT = 3
"""The extender's, as `scheduler-config` prints it, beside the plugin's 1: 300 points against 100."""
KEY = WorkloadKey("shop", "Deployment", "burst")
_WIDTH = 50

Ask = Callable[[dict[str, object], Sequence[str]], Mapping[str, int]]
"""From a pod and the candidates' names to their points, 0..10; who is missing has none."""


class Placed(Value, frozen=True):
    """CPU of each node as shares of allocatable: measured before, and added by the burst. ``pods`` counts those added."""

    name: str
    before: float
    added: float
    pods: int


def snapshot(now: datetime) -> Snapshot:
    """Six nodes with their load, and the owner of the burst, whose pods use four times what they request."""
    nodes = [
        Node(
            name=f"node-{letter}",
            capacity_type=CapacityType.REGULAR,
            allocatable=Resources(CORES, BYTES),
            load=NodeLoad(
                cpu_cores=load * CORES,
                memory_bytes=0.3 * BYTES,
                cpu_deviation_cores=0.02 * CORES,
                sampled_at=now,
                source="made up",
            ),
        )
        for letter, load in zip("abcdef", LOADS, strict=True)
    ]
    owner = Workload(
        key=KEY,
        controllers=(ControllerRef("ReplicaSet", "burst-1", "uid-burst", "apps/v1"),),
        use=PodUse(USE.cpu_cores, 0.05, USE.memory_bytes, 0.0, pods=4),
    )
    meta = Meta(captured_at=now, load_match_rate=1.0, source="made up for the demonstration")
    return Snapshot(meta, nodes=nodes, namespaces=[Namespace(name=KEY.namespace)], workloads=[owner])


def pod(number: int) -> dict[str, object]:
    """One of the burst, as a scheduler knows it."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "burst-1", "uid": "uid-burst", "controller": True}
    requests = {"cpu": f"{REQUEST.cpu_cores * 1000:.0f}m", "memory": f"{REQUEST.memory_bytes:.0f}"}
    return {
        "metadata": {
            "name": f"burst-1-{number:02}",
            "namespace": KEY.namespace,
            "uid": f"5b1d2c6a-0f3e-4c57-9a41-{number:012}",
            "ownerReferences": [owner],
        },
        "spec": {"containers": [{"name": "app", "image": "app", "resources": {"requests": requests}}]},
    }


def place(ask: Ask | None) -> list[Placed]:
    """Place the burst one by one, by free requests and, where there is one, by the extender's points."""
    names = [f"node-{letter}" for letter in "abcdef"]
    requested = dict(zip(names, ([cpu, 0.3] for cpu in REQUESTED), strict=True))
    pods = dict.fromkeys(names, 0)
    for number in range(PODS):
        points = {name: 100 * (1 - sum(shares) / 2) for name, shares in requested.items()}
        if ask is not None:
            given = ask(pod(number), names)
            points = {name: own + 10 * WEIGHT * given.get(name, 0) for name, own in points.items()}
        # Equal ones in turn: a scheduler draws.
        chosen = max(names, key=lambda name: (points[name], -pods[name]))
        pods[chosen] += 1
        requested[chosen][0] += REQUEST.cpu_cores / CORES
        requested[chosen][1] += REQUEST.memory_bytes / BYTES
    share = USE.cpu_cores / CORES
    return [Placed(name, load, pods[name] * share, pods[name]) for name, load in zip(names, LOADS, strict=True)]


def chart(placed: Sequence[Placed]) -> list[str]:
    """A bar a node: ``█`` was there, ``▒`` came with the burst; a whole bar is 100 %, and beyond it is marked."""
    lines = []
    for one in placed:
        whole = one.before + one.added
        before = round(min(1.0, one.before) * _WIDTH)
        after = round(min(1.0, whole) * _WIDTH)
        bar = ("█" * before + "▒" * (after - before)).ljust(_WIDTH, "·")
        over = "  too much" if whole > 1 else ""
        lines.append(f"{one.name}  {bar}  {whole:4.0%}  +{one.pods} pods{over}")
    return lines


def summary(placed: Sequence[Placed]) -> str:
    """``fullest 115 %, standard deviation 27 %``."""
    loads = [one.before + one.added for one in placed]
    mean = sum(loads) / len(loads)
    deviation = (sum((load - mean) ** 2 for load in loads) / len(loads)) ** 0.5
    return f"fullest {max(loads):.0%}, standard deviation between nodes {deviation:.1%}"
