"""What a scheduler waits for: /extender/prioritize beside an extender in Go. Run: ``python -m bench --only extender``.

500, 5,000 and 15,000 names on one kept-alive connection over TLS, as a scheduler holds it. Ours is the real server
process on a snapshot directory whose nodes carry load, by namespace too; the peer is Go's own server with the scheduler's
types, which looks each node's load up in a map. Names are rotated and the pod is another in each call. Rounds alternate
between the two, a few calls at a time, so that both meet the same hour; caller and servers share the machine's cores. A
figure is the median of the rounds.
"""

import contextlib
import gc
import json
import random
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import trustme

from tests.builders import HASH, KARPENTER_SPOT, make_workload
from tests.loads import BYTES, CORES, loaded_node, loaded_snapshot, scheduled_pod
from tests.parts import fetch
from tests.parts.processes import ManagedProcess, release_port, reserve_port, wait_for
from tests.serverproc import write_pair
from webhook.adapters.snapshots import DirectoryWriter
from webhook.core.model import Namespace, Node, NodeLoad, PodUse, Resources
from webhook.core.policy import BalancePolicy, Mode, Policy
from webhook.core.snapshot import Snapshot

SEED = 20260314
CLUSTERS = {5_000: (500, 5_000), 15_000: (15_000,)}
CALLS = {500: 1_000, 5_000: 300, 15_000: 120}
"""Of each round and side."""
AT_A_TIME = 20
ROTATIONS = 40
NAMESPACES = 60
WORKLOADS = 50
PEER = "Go 1.26, net/http and encoding/json with the scheduler's own types"
GOALS = {500: 0.75, 5_000: 0.5}
LONGEST_MS = 50.0


def rows(rounds: int, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """The figures. Needs the Go extender (`python -m tests.parts.fetch --only go-extender`)."""
    told = []
    for nodes, counts in CLUSTERS.items():
        progress(f"a cluster of {nodes:,} nodes")
        with TemporaryDirectory() as scratch, _both(Path(scratch), nodes) as (ours, peer, names):
            for count in counts:
                lists = [
                    json.dumps(rotated(names, turn, count), separators=(",", ":")).encode() for turn in range(ROTATIONS)
                ]
                told += _table(count, nodes, list(_measured((ours, peer), lists, count, rounds, progress)))
    return told


@dataclass
class Round:
    """Seconds of each call, ours and the peer's."""

    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)


def _measured(
    callers: tuple["Caller", "Caller"], lists: list[bytes], count: int, rounds: int, progress: Callable[[str], None]
) -> Iterator[Round]:
    number = 0
    for turn in range(rounds + 1):
        progress(f"{count:,} names: " + (f"round {turn} of {rounds}" if turn else "warming up"))
        found = Round()
        for _ in range(CALLS[count] // AT_A_TIME):
            for caller, seconds in zip(callers, (found.ours, found.peer), strict=True):
                for _ in range(AT_A_TIME):
                    number += 1
                    seconds.append(caller.ask(body_of(number, lists[number % ROTATIONS]), count))
        if turn:
            yield found


def rotated(names: list[str], turn: int, count: int) -> list[str]:
    """As a scheduler's search goes round: another start in each call."""
    start = turn * len(names) // ROTATIONS + turn
    return [names[(start + place) % len(names)] for place in range(count)]


def body_of(number: int, names: bytes) -> bytes:
    """ExtenderArgs as Go writes them, for a pod that was never asked for."""
    pod = scheduled_pod(f"web-{number}", owner=f"w{number % WORKLOADS}", labels={"pod-template-hash": HASH})
    pod["metadata"]["uid"] = f"8a3c1f5e-0000-4000-8000-{number:012}"
    return b'{"Pod":%b,"Nodes":null,"NodeNames":%b}' % (json.dumps(pod, separators=(",", ":")).encode(), names)


def cluster(nodes: int) -> Snapshot:
    """Seeded; each node runs pods of eight namespaces."""
    chance, now = random.Random(SEED), datetime.now(UTC)
    names = [f"team-{number}" for number in range(NAMESPACES - 1)] + ["shop"]
    made = [_node(number, names, chance, now) for number in range(nodes)]
    workloads = [make_workload(f"w{n}", use=PodUse(0.2, 0.05, 3e8, 5e7, pods=3)) for n in range(WORKLOADS)]
    # The run may last longer than a load does otherwise.
    policy = Policy(mode=Mode.INJECT, balance=BalancePolicy(max_age=timedelta(days=1)))
    known = [Namespace(name) for name in names]
    return loaded_snapshot(*made, workloads=workloads, policy=policy, namespaces=known, captured_at=now)


def _node(number: int, namespaces: list[str], chance: random.Random, now: datetime) -> Node:
    name = f"ip-10-{number >> 16}-{number >> 8 & 255}-{number & 255}.eu-central-1.compute.internal"
    marker = KARPENTER_SPOT if number % 4 == 0 else ()
    cpu, memory = chance.uniform(0.1, 0.8), chance.uniform(0.1, 0.8)
    there = {n: Resources(cpu * CORES / 8, memory * BYTES / 8) for n in chance.sample(namespaces, 8)}
    load = NodeLoad(
        cpu_cores=cpu * CORES,
        memory_bytes=memory * BYTES,
        sampled_at=now,
        source="bench",
        cpu_deviation_cores=0.05 * CORES,
        memory_deviation_bytes=0.01 * BYTES,
        namespaces=there,
    )
    return loaded_node(name, None, marker=marker, load=load)


@contextlib.contextmanager
def _both(scratch: Path, nodes: int) -> Iterator[tuple["Caller", "Caller", list[str]]]:
    snapshot = cluster(nodes)
    DirectoryWriter(scratch / "snapshot").write(snapshot)
    (scratch / "loads.json").write_text(json.dumps(_loads(snapshot)), encoding="utf-8")
    authority, context = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(context)
    write_pair(scratch / "tls", authority)
    with _caller("ours", _ours, scratch, context) as ours, _caller("go-extender", _go, scratch, context) as peer:
        yield ours, peer, list(snapshot.nodes)


@contextlib.contextmanager
def _caller(
    name: str, command: Callable[[Path, str], list[str]], scratch: Path, context: ssl.SSLContext
) -> Iterator["Caller"]:
    """A connection to a server in a session of its own: the kernel may share out its time by sessions."""
    port = reserve_port()
    process = ManagedProcess(name, command(scratch, f"127.0.0.1:{port}"), log=scratch / f"{name}.log")
    process.start()
    try:
        with contextlib.closing(wait_for(lambda: Caller(port, context), 60, name)) as caller:
            yield caller
    finally:
        process.stop()
        release_port(port)


def _ours(scratch: Path, address: str) -> list[str]:
    folders = ["--snapshot", str(scratch / "snapshot"), "--tls-dir", str(scratch / "tls")]
    return [sys.executable, "-m", "webhook", "serve", *folders, "--bind", address, "--extender"]


def _go(scratch: Path, address: str) -> list[str]:
    pair = [str(scratch / "tls" / name) for name in ("tls.crt", "tls.key")]
    return [str(fetch.require("go-extender").path), "serve", address, *pair, str(scratch / "loads.json")]


def _loads(snapshot: Snapshot) -> dict[str, dict[str, float]]:
    return {
        node.name: {
            "cpu": node.load.cpu_cores,
            "memory": node.load.memory_bytes,
            "allocatableCpu": node.allocatable.cpu_cores,
            "allocatableBytes": node.allocatable.memory_bytes,
        }
        for node in snapshot.nodes.values()
        if node.load is not None
    }


class Caller:
    """One connection over TLS, kept alive; no HTTP library stands between the clock and the server."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=30)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._link = context.wrap_socket(plain, server_hostname="127.0.0.1")

    def close(self) -> None:
        self._link.close()

    def ask(self, body: bytes, count: int) -> float:
        """Seconds from the first byte sent to the last one read. Raises RuntimeError where the answer is not one."""
        head = b"POST /extender/prioritize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        request = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        gc.disable()
        began = time.perf_counter()
        self._link.sendall(request)
        answer = self._read()
        seconds = time.perf_counter() - began
        gc.enable()
        found = len(json.loads(answer))
        if not 0.5 * count < found <= count:
            raise RuntimeError(f"{found} of {count} nodes were scored")
        return seconds

    def _read(self) -> bytes:
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        lines = bytes(data[:end]).lower().split(b"\r\n")
        if not lines[0].startswith(b"http/1.1 200"):
            raise RuntimeError(lines[0].decode())
        length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
        while len(data) < end + 4 + length:
            data += self._more()
        return bytes(data[end + 4 :])

    def _more(self) -> bytes:
        chunk = self._link.recv(1 << 18)
        if not chunk:
            raise RuntimeError("the server closed the connection")
        return chunk


def percentile(seconds: list[float], share: float) -> float:
    """Milliseconds that so large a share of the calls stayed within."""
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))] * 1000


def _table(count: int, nodes: int, rounds: list[Round]) -> list[dict[str, Any]]:
    return [_row(count, nodes, rounds, name, share) for name, share in (("p50", 0.5), ("p99", 0.99))]


def _row(count: int, nodes: int, rounds: list[Round], name: str, share: float) -> dict[str, Any]:
    ours = [percentile(found.ours, share) for found in rounds]
    peer = [percentile(found.peer, share) for found in rounds]
    part = median(ours) / median(peer)
    goal, met = "", None
    if count in GOALS:
        goal, met = f"at most {GOALS[count]} of the peer's, so {1 / GOALS[count]:.3g} x", part <= GOALS[count]
    elif share > 0.5:
        goal, met = f"at most {LONGEST_MS:g} ms", median(ours) <= LONGEST_MS
    return {
        "figure": f"/extender/prioritize, {count:,} names of {nodes:,} nodes, {name}, ms",
        "ours": round(median(ours), 3),
        "peer": round(median(peer), 3),
        "peerName": PEER,
        "ratio": round(1 / part, 2),
        "goal": goal,
        "met": met,
        "rounds": len(rounds),
        "unit": "ms",
        "rawOurs": [round(value, 3) for value in ours],
        "rawPeer": [round(value, 3) for value in peer],
    }
