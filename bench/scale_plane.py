"""An API server with the cluster of ``scale_world`` in it.

The objects are written to etcd directly, before the API server starts: through it they would all be a second old,
and no workload that young is ever judged. What the API server then lists and tells is its own.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import urllib3

from bench import scale_world as world
from tests.parts.plane import COMPONENTS, ControlPlane
from tests.parts.processes import wait_for

Progress = Callable[[str], None]
Write = tuple[str, bytes]

_BATCH = 100
_WRITERS = 4
_LONGEST_S = 180
PREFIXES = {
    "Namespace": "namespaces",
    "Node": "minions",
    "Pod": "pods",
    "ReplicaSet": "replicasets",
    "Deployment": "deployments",
}


@contextmanager
def cluster(now: datetime, progress: Progress, size: world.Size = world.FULL) -> Iterator[ControlPlane]:
    """The API server, its watch caches warm. ``now`` is what the objects' ages are counted from."""
    without = tuple(name for name in COMPONENTS if name != "etcd")
    with TemporaryDirectory() as scratch, ControlPlane(Path(scratch), without=without) as plane:
        progress(f"writing {size.nodes:,} nodes, {size.deployments:,} Deployments and {size.pods:,} pods to etcd")
        write(plane, objects(now, size))
        progress("starting the API server")
        plane.start("apiserver")
        for path in ("/api/v1/nodes", "/api/v1/pods", "/apis/apps/v1/replicasets", "/apis/apps/v1/deployments"):
            wait_for(lambda at=path: plane.api("GET", f"{at}?limit=1")["items"], 60, f"objects at {path}")
        yield plane


def objects(now: datetime, size: world.Size = world.FULL) -> Iterator[world.Object]:
    yield from world.namespaces(now)
    yield from (world.node(number, now) for number in range(size.nodes))
    for number in range(size.deployments):
        yield world.deployment(number, now)
        yield from world.replicasets(number, now)
        yield from pods(number, now, size)


def pods(number: int, now: datetime, size: world.Size = world.FULL) -> Iterator[world.Object]:
    return (world.pod(number, index, now, size) for index in range(world.PODS_PER_DEPLOYMENT))


def write(plane: ControlPlane, found: Iterable[world.Object]) -> int:
    """Puts objects into etcd, a hundred at a time over four connections; how many. Raises RuntimeError."""
    url, rest, count = f"http://127.0.0.1:{plane.port('etcd')}/v3/kv/txn", iter(found), 0
    http = urllib3.HTTPConnectionPool("127.0.0.1", plane.port("etcd"), maxsize=_WRITERS, timeout=_LONGEST_S)
    with http, ThreadPoolExecutor(_WRITERS) as threads:
        waiting = []
        while batch := list(islice(rest, _BATCH)):
            count += len(batch)
            waiting.append(threads.submit(_put, http, url, batch))
            if len(waiting) > 4 * _WRITERS:  # a bound on what lies in memory
                waiting.pop(0).result()
        for each in waiting:
            each.result()
    return count


def clear(plane: ControlPlane, kind: str) -> None:
    """Takes all objects of a kind out of etcd, graces and finalizers notwithstanding. Raises RuntimeError."""
    first = f"/registry/{PREFIXES[kind]}/"
    body = {"key": _base64(first), "range_end": _base64(first[:-1] + chr(ord("/") + 1))}
    url = f"http://127.0.0.1:{plane.port('etcd')}/v3/kv/deleterange"
    answer = urllib3.request("POST", url, body=json.dumps(body), timeout=_LONGEST_S, retries=False)
    if answer.status != 200:
        raise RuntimeError(f"etcd: {answer.status} {answer.data[:300]!r}")


def key_of(found: world.Object) -> str:
    meta = found["metadata"]
    scope = f"{meta['namespace']}/" if "namespace" in meta else ""
    return f"/registry/{PREFIXES[found['kind']]}/{scope}{meta['name']}"


def _put(http: urllib3.HTTPConnectionPool, url: str, batch: list[world.Object]) -> None:
    puts = [{"requestPut": {"key": _base64(key_of(one)), "value": _base64(json.dumps(one))}} for one in batch]
    answer = http.request("POST", url, body=json.dumps({"success": puts}), retries=False)
    if answer.status != 200:
        raise RuntimeError(f"etcd: {answer.status} {answer.data[:300]!r}")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
