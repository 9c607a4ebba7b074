"""What the scheduler has to place, and what our server knows of it: 1,000 nodes, and 500 Deployments with six pods each.

The objects are those of ``scale_world``; a fifth of the nodes are spot and tainted. Loads are drawn once, by a fixed
seed; each workload's pods use a share of what they request.
"""

import json
import random
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from bench import scale_world as world
from webhook.core.model import (
    CapacityType,
    ControllerRef,
    Namespace,
    Node,
    NodeLoad,
    PodUse,
    Resources,
    Workload,
    WorkloadKey,
)
from webhook.core.policy import BalancePolicy, Policy
from webhook.core.snapshot import Meta, Snapshot
from webhook.wire.snapshot import encode_document

NODES, DEPLOYMENTS = 1000, 500
SIZE = world.Size(nodes=NODES, deployments=DEPLOYMENTS)
PODS = SIZE.pods
SEED = 20260314
CORES, MEMORY_BYTES = 7.91, 31450016 * 1024.0


def waiting_pods(now: datetime) -> Iterator[world.Object]:
    """As the API server stores them before a scheduler has seen them."""
    for number in range(DEPLOYMENTS):
        for index in range(world.PODS_PER_DEPLOYMENT):
            pod = world.pod(number, index, now, SIZE)
            del pod["spec"]["nodeName"]
            pod["status"] = {"phase": "Pending", "qosClass": "Burstable"}
            yield pod


def written_snapshot(path: Path, now: datetime, *, best: int | None = None) -> Path:
    path.write_bytes(encode_document(snapshot(now, best=best)))
    return path


def written_loads(path: Path, now: datetime) -> Path:
    """The same loads for the peer, by node."""
    found = {node.name: node.load for node in snapshot(now).nodes.values() if node.load}
    room = {"allocatableCpu": CORES, "allocatableBytes": MEMORY_BYTES}
    told = {name: {"cpu": load.cpu_cores, "memory": load.memory_bytes, **room} for name, load in found.items()}
    path.write_text(json.dumps(told))
    return path


def snapshot(now: datetime, *, best: int | None = None) -> Snapshot:
    """With every node's load, and the use of every workload's pods; ``best`` as `balance.best` has it."""
    chance = random.Random(SEED)
    return Snapshot(
        Meta(captured_at=now, load_match_rate=1.0, policy=Policy(balance=BalancePolicy(best=best)), source="benchmark"),
        nodes=[_node(number, chance, now) for number in range(NODES)],
        namespaces=[Namespace(name=f"team-{number:03d}") for number in range(world.NAMESPACES)],
        workloads=[_workload(number, chance) for number in range(DEPLOYMENTS)],
    )


def _node(number: int, chance: random.Random, now: datetime) -> Node:
    cores, memory = chance.uniform(0.5, 5.0), chance.uniform(2, 20) * 2**30
    parts = {f"team-{(number + 7 * k) % world.NAMESPACES:03d}": chance.random() for k in range(8)}
    whole = sum(parts.values())
    shares = {name: Resources(cores * part / whole, memory * part / whole) for name, part in parts.items()}
    load = NodeLoad(
        cpu_cores=cores,
        memory_bytes=memory,
        sampled_at=now,
        source="node-exporter",
        cpu_deviation_cores=chance.uniform(0.05, 0.5),
        memory_deviation_bytes=chance.uniform(0.01, 0.5) * 2**30,
        namespaces=shares,
    )
    return Node(
        name=world.node_name(number),
        capacity_type=CapacityType.REGULAR if number % world.SPOT_EVERY else CapacityType.SPOT,
        allocatable=Resources(CORES, MEMORY_BYTES),
        load=load,
    )


def _workload(number: int, chance: random.Random) -> Workload:
    cores, memory = world.REQUEST_CORES * chance.uniform(0.2, 1.5), chance.uniform(50, 250) * 2**20
    use = PodUse(
        cpu_cores=cores,
        cpu_deviation_cores=cores / 3,
        memory_bytes=memory,
        memory_deviation_bytes=memory / 5,
        pods=world.PODS_PER_DEPLOYMENT,
    )
    key = WorkloadKey(world.namespace_of(number), "Deployment", world.name_of(number))
    controller = ControllerRef("ReplicaSet", world.replicaset_of(number))
    return Workload(key=key, replicas=world.PODS_PER_DEPLOYMENT, controllers=(controller,), use=use)
