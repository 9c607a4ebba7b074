"""Pods a second through the real kube-scheduler: alone, asking our extender, asking it for the best alone, and one in Go.

1,000 nodes of a real API server, 3,000 pods that all wait when the scheduler starts, as after an outage; counted by the
scheduler's own counter, between looks at it. Scheduler, API server, etcd and extender share the machine's
cores, so that an extender pays for what it takes from the scheduler. Nobody runs the pods. The sides take turns.
"""

import re
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from bench import scale_plane, throughput_world
from tests.parts import fetch
from tests.parts.plane import ControlPlane
from tests.parts.processes import ManagedProcess, release_port, reserve_port, wait_for
from webhook.adapters.certificates import make_pair

STOCK, OURS, FEWER, GO = "stock", "ours", "best", "go"
BEST = 50
"""`balance.best` of the third side: it is the scheduler's own reading of an answer that costs the most."""
SIZE = f"{throughput_world.NODES:,} nodes, {throughput_world.PODS:,} pods"
EVERY_S = 1.0
"""Each look has the scheduler tell all its metrics: who looked five times a second took a twentieth of both cores for it."""
LONGEST_S = 600
CLIENT = {"qps": 5000, "burst": 10000}
_SCHEDULED = re.compile(r'^scheduler_schedule_attempts_total\{[^}]*result="scheduled"[^}]*\} (\S+)$', re.MULTILINE)
Progress = Callable[[str], None]
Config = Mapping[str, Any]


def rows(rounds: int, progress: Progress) -> list[dict[str, Any]]:
    """The figures. Needs the control plane (`python -m tests.parts.fetch`)."""
    now = datetime.now(UTC)
    told: dict[str, list[float]] = {STOCK: [], OURS: [], FEWER: [], GO: []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        plane = stack.enter_context(scale_plane.cluster(now, progress, throughput_world.SIZE))
        sides = {
            STOCK: {},
            OURS: stack.enter_context(our_extender(folder / OURS, now)),
            FEWER: stack.enter_context(our_extender(folder / FEWER, now, best=BEST)),
            GO: stack.enter_context(go_extender(folder / GO, now)),
        }
        for number in range(rounds):
            for name, config in turned(sides, number):
                told[name].append(pods_a_second(plane, config, now))
                progress(f"round {number + 1} of {rounds}: {name} {told[name][-1]:.0f} pods/s")
    return list(_table(told))


def turned(sides: dict[str, Config], number: int) -> list[tuple[str, Config]]:
    """Each round begins with another: what warms up, or tires, does so for all."""
    order = list(sides.items())
    turn = number % len(order)
    return order[turn:] + order[:turn]


def pods_a_second(plane: ControlPlane, config: Config, now: datetime) -> float:
    """Of one start of the scheduler on pods that wait. Raises RuntimeError, NotReadyError."""
    scale_plane.clear(plane, "Pod")
    wait_for(lambda: not plane.api("GET", "/api/v1/pods?limit=1")["items"], 60, "no pod to be left")
    scale_plane.write(plane, throughput_world.waiting_pods(now))
    # They were written a hundred to a revision, and who begins to watch in the middle of one never hears of the rest.
    wait_for(lambda: _served(plane) == throughput_world.PODS, 60, "the API server to have read all pods", every_s=1)
    plane.set_scheduler_config({"clientConnection": _client(plane)} | dict(config))
    plane.start("scheduler")
    try:
        return rate(lambda: (_scheduled(plane), time.monotonic()))
    finally:
        plane.kill("scheduler")


def _served(plane: ControlPlane) -> int:
    """How many pods the API server tells of from its memory, as it tells a scheduler that starts."""
    return len(plane.api("GET", "/api/v1/pods?resourceVersion=0")["items"])


def _client(plane: ControlPlane) -> dict[str, Any]:
    return {"kubeconfig": str(plane.folder / "kube-scheduler.kubeconfig"), **CLIENT}


def rate(look: Callable[[], tuple[int, float]]) -> float:
    """Pods a second from the first look at which some are scheduled to the last at which not all are. Raises RuntimeError.

    A look tells (pods, seconds). That all are scheduled is seen up to a whole look late, which the faster would pay for more.
    """
    count, at = look()
    deadline = at + LONGEST_S
    told: list[tuple[int, float]] = []
    while count < throughput_world.PODS:
        if at > deadline:
            raise RuntimeError(f"{count} of {throughput_world.PODS} pods were scheduled in {LONGEST_S} s")
        if count:
            told.append((count, at))
        time.sleep(EVERY_S)
        count, at = look()
    if len(told) < 2 or told[-1][0] == told[0][0]:
        raise RuntimeError(f"all {count} pods were scheduled between two looks")
    (first, began), (last, ended) = told[0], told[-1]
    return (last - first) / (ended - began)


def _scheduled(plane: ControlPlane) -> int:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    asked = urllib.request.Request(
        f"https://127.0.0.1:{plane.port('scheduler')}/metrics",
        headers={"Authorization": f"Bearer {plane.admin_token}"},
    )
    with urllib.request.urlopen(asked, context=context, timeout=30) as answer:
        found = _SCHEDULED.findall(answer.read().decode())
    return round(sum(map(float, found)))


@contextmanager
def our_extender(folder: Path, now: datetime, *, best: int | None = None) -> Iterator[Config]:
    """`serve` on a captured snapshot, and the stanza that `scheduler-config` prints for it."""
    folder.mkdir()
    snapshot = throughput_world.written_snapshot(folder / "captured.json", now, best=best)

    def line(address: str) -> list[str]:
        flags = ["--snapshot", str(snapshot), "--bind", address, "--tls-dir", str(folder), "--extender"]
        return [sys.executable, "-m", "webhook", "serve", *flags]

    with _serving(folder, now, line, "/readyz") as config:
        yield config


@contextmanager
def go_extender(folder: Path, now: datetime) -> Iterator[Config]:
    """A plain one on the same nodes: it decodes, scores each name by its load, and answers them all."""
    folder.mkdir()
    loads = throughput_world.written_loads(folder / "loads.json", now)
    program = fetch.require("go-extender").path
    pair = [str(folder / "tls.crt"), str(folder / "tls.key")]
    with _serving(
        folder, now, lambda address: [str(program), "serve", address, *pair, str(loads)], "/healthz"
    ) as found:
        yield found


@contextmanager
def _serving(folder: Path, now: datetime, line: Callable[[str], list[str]], ready: str) -> Iterator[Config]:
    """Runs a server on a port and a key pair of its own; yields what tells a scheduler of it, the same for all."""
    port = reserve_port()
    authority = make_pair(folder, ["127.0.0.1"], now=now - timedelta(minutes=1)).ca_file
    server = ManagedProcess(folder.name, line(f"127.0.0.1:{port}"), log=folder / "server.log")
    try:
        server.start()
        server.wait_until(lambda: _answers(f"https://127.0.0.1:{port}{ready}", authority), timeout_s=60)
        yield {"extenders": _printed(port, authority)["extenders"]}
    finally:
        server.kill()
        release_port(port)


def _answers(url: str, authority: Path) -> bool:
    context = ssl.create_default_context(cafile=str(authority))
    with urllib.request.urlopen(url, context=context, timeout=5) as answer:
        return bool(answer.status == 200)


def _printed(port: int, authority: Path) -> Config:
    line = [sys.executable, "-m", "webhook", "scheduler-config", "--url", f"https://127.0.0.1:{port}"]
    flags = ["--server-name", "127.0.0.1", "--ca-file", str(authority)]
    done = subprocess.run([*line, *flags], check=True, capture_output=True, text=True, timeout=60)
    config: Config = yaml.safe_load(done.stdout)
    return config


def _table(told: dict[str, list[float]]) -> Iterator[dict[str, Any]]:
    yield row("a Go extender with the scheduler's own types", told[OURS], told[GO], 1.0)
    yield row("the scheduler alone", told[OURS], told[STOCK], 0.7)
    yield row("the scheduler alone", told[FEWER], told[STOCK], None, ours_is=f"our extender, balance.best: {BEST}")


def row(
    peer: str, ours: list[float], theirs: list[float], least: float | None, *, ours_is: str = "our extender"
) -> dict[str, Any]:
    """``least`` is of the peer's; 1 asks for more than that, None for nothing.

    Ratios are of one round, whose sides follow one another: a shared machine may be twice as fast in the next.
    """
    mine, other = median(ours), median(theirs)
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    return {
        "figure": f"kube-scheduler with {ours_is}, pods/s ({SIZE})",
        "ours": round(mine, 1),
        "peer": round(other, 1),
        "peerName": peer,
        "ratio": round(ratio, 2),
        "goal": None if least is None else "more" if least == 1 else f"at least {least:g} x",
        "met": None if least is None else ratio > 1 if least == 1 else ratio >= least,
        "rounds": len(ours),
        "unit": "pods/s",
        "rawOurs": [round(value, 1) for value in ours],
        "rawPeer": [round(value, 1) for value in theirs],
    }
