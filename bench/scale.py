"""`sync` at full size: seconds from exec to the first whole snapshot, and peak memory, beside the client's own informer.

A real API server with 5,000 nodes and 30,000 pods. Both sides are processes of their own, started anew each round
and interleaved; both keep the same kinds. The peer only fills its caches: it concludes nothing and writes nothing.
"""

import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bench import scale_world as world
from bench.scale_plane import cluster
from tests.parts.processes import ManagedProcess, release_port, reserve_port
from webhook.adapters import snapshots

MIB = 1024 * 1024
SIZE = f"{world.NODES:,} nodes, {world.PODS:,} pods"
PEER = "SharedInformer of the kubernetes client, caches only"
LONGEST_S = 300
PEER_ROUNDS = 3
"""It takes minutes: three are enough to tell apart what lies so far apart."""


class Start(NamedTuple):
    """One start of one side."""

    seconds: float
    peak_mib: float


def rows(rounds: int, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """The figures of `sync`. Needs etcd and the API server (`python -m tests.parts.fetch`)."""
    ours: list[Start] = []
    peer: list[Start] = []
    with cluster(datetime.now(UTC), progress) as plane:
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            ours.append(_sync(plane.admin_kubeconfig))
            if number < min(rounds, PEER_ROUNDS):
                peer.append(_informer(plane.admin_kubeconfig))
    return list(_table(ours, peer))


def _sync(kubeconfig: Path) -> Start:
    port = reserve_port()
    with TemporaryDirectory() as scratch:
        directory = Path(scratch) / "snapshot"
        directory.mkdir()
        flags = ["--snapshot-dir", str(directory), "--ops-bind", f"127.0.0.1:{port}", "--kubeconfig", str(kubeconfig)]
        line = [sys.executable, "-m", "webhook", "sync", *flags, "-n", "default"]
        try:
            start = _measured("sync", line, Path(scratch), lambda _: (directory / snapshots.META).exists())
        finally:
            release_port(port)
        found = snapshots.load(directory)
    if (len(found.nodes), len(found.workloads)) != (world.NODES, world.DEPLOYMENTS):
        raise RuntimeError(f"the snapshot holds {len(found.nodes)} nodes and {len(found.workloads)} workloads")
    return start


def _informer(kubeconfig: Path) -> Start:
    with TemporaryDirectory() as scratch:
        line = [sys.executable, "-m", "bench.scale_peer", str(kubeconfig)]
        return _measured("peer", line, Path(scratch), lambda log: f'"Pod": {world.PODS}' in log.read_text())


def _measured(name: str, line: list[str], folder: Path, done: Callable[[Path], bool]) -> Start:
    """Starts it, and ends it once it is done. Raises NotReadyError."""
    log = folder / f"{name}.log"
    process = ManagedProcess(name, line, log=log)
    began = time.perf_counter()
    try:
        process.start()
        process.wait_until(lambda: done(log), timeout_s=LONGEST_S)
        return Start(time.perf_counter() - began, _peak_mib(process.pid))
    finally:
        process.kill()


def _peak_mib(pid: int | None) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def _table(ours: list[Start], peer: list[Start]) -> Iterator[dict[str, Any]]:
    yield _row("sync: exec to the first snapshot", "s", [s.seconds for s in ours], [s.seconds for s in peer], 15.0)
    yield _row("sync: peak memory", "MiB", [s.peak_mib for s in ours], [s.peak_mib for s in peer], 250.0)


def _row(figure: str, unit: str, ours: list[float], peer: list[float], goal: float) -> dict[str, Any]:
    mine, theirs = median(ours), median(peer)
    return {
        "figure": f"{figure}, {unit} ({SIZE})",
        "ours": round(mine, 2),
        "peer": round(theirs, 2),
        "peerName": f"{PEER} ({len(peer)} rounds)",
        "ratio": round(theirs / mine, 2),
        "goal": f"at most {goal:g} {unit}",
        "met": mine <= goal,
        "rounds": len(ours),
        "unit": unit,
        "rawOurs": [round(value, 3) for value in ours],
        "rawPeer": [round(value, 3) for value in peer],
    }
