"""Nodes that carry a load, and what a scheduler asks about them."""

import json
from datetime import timedelta

from tests.builders import NOW, make_node, make_pod, make_snapshot
from webhook.core.model import NodeLoad, Resources
from webhook.core.policy import Mode, Policy

CORES, BYTES = 8.0, 32e9


def loaded_node(name, cpu=0.3, memory=0.3, marker=(), *, deviation=0.0, age=timedelta(seconds=30), **fields):
    """A node of 8 cores and 32 GB with a load, in shares of those; ``cpu`` None: nobody knows its load, or it is given as ``load``."""
    load = fields.pop("load", None)
    if cpu is not None:
        load = NodeLoad(
            cpu_cores=cpu * CORES,
            memory_bytes=memory * BYTES,
            cpu_deviation_cores=deviation * CORES,
            memory_deviation_bytes=deviation * BYTES,
            sampled_at=fields.pop("sampled_at", NOW - age),
            source="test",
        )
    return make_node(name, marker, allocatable=Resources(CORES, BYTES), load=load, **fields)


def loaded_snapshot(*nodes, workloads=(), policy=None, match_rate=1.0, **meta):
    """A snapshot that knows its nodes' load well enough."""
    found = policy or Policy(mode=Mode.INJECT)
    return make_snapshot(*workloads, nodes=list(nodes), policy=found, load_match_rate=match_rate, **meta)


def scheduled_pod(name="web-1", **spec):
    """A pod as a scheduler knows it: with a name and a UID of its own."""
    pod = make_pod(**spec)
    pod["metadata"] |= {"name": name, "uid": f"uid-{name}"}
    return pod


def arguments(names, pod=None, *, whole=False):
    """ExtenderArgs as Go writes them, by names or with whole nodes."""
    nodes = {"metadata": {}, "items": [{"metadata": {"name": name}} for name in names]} if whole else None
    body = {"Pod": pod or scheduled_pod(), "Nodes": nodes, "NodeNames": None if whole else list(names)}
    return json.dumps(body, separators=(",", ":")).encode()
