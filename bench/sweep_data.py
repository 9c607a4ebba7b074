"""A Prometheus with 3,000 owners and 30,000 pods in it: the load that the sweep is measured on.

Synthetic and seeded: 75 minutes of 60 s scrapes, one container and one interface a pod, and
the kube-state-metrics series that a sweep reads. Backfilled once and kept under ``build/``;
all of it lies in one two-hour block, so that compaction never comes between two rounds.
"""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

from bench import backfill

OWNERS = 3_000
PODS_PER_OWNER = 10
NAMESPACES = 100
NODES = 1_000
SCRAPE_SECONDS = 60
SCRAPES = 75
BEGIN = 1_767_225_600  # 2026-01-01T00:00:00Z, the border of a two-hour block
TIMES = range(BEGIN, BEGIN + SCRAPES * SCRAPE_SECONDS, SCRAPE_SECONDS)
LAST_SCRAPE = TIMES[-1]
STARTED = BEGIN - 86_400
PATTERNS = 200
SEED = 7


def owner_of(index: int) -> tuple[str, str]:
    """(namespace, ReplicaSet name) of an owner."""
    return f"team-{index % NAMESPACES:03d}", f"web-{index}-7d9c5b8f6d"


def pod_of(owner: int, index: int) -> tuple[str, str, str]:
    """(namespace, pod name, uid)."""
    namespace, replicaset = owner_of(owner)
    suffix = hashlib.sha256(f"{owner}/{index}".encode()).hexdigest()
    return namespace, f"{replicaset}-{suffix[:5]}", f"{suffix[:8]}-{suffix[8:12]}-4000-8000-{suffix[12:24]}"


def pods() -> Iterator[tuple[int, str, str, str]]:
    """(owner, namespace, pod name, uid) of all."""
    for owner in range(OWNERS):
        for index in range(PODS_PER_OWNER):
            yield owner, *pod_of(owner, index)


def prepare(folder: Path, progress: backfill.Progress) -> Path:
    """The data folder of a Prometheus, made if it is not there yet."""
    recipe = hashlib.sha256(b"".join(Path(of).read_bytes() for of in (__file__, backfill.__file__))).hexdigest()[:12]
    data = folder / f"sweep-{recipe}"
    if (data / "whole").exists():
        return data
    data.mkdir(parents=True, exist_ok=True)
    progress(f"writing {OWNERS * PODS_PER_OWNER:,} pods as OpenMetrics text (once; kept in {folder})")
    backfill.blocks(_lines(), data / "tsdb", progress)
    (data / "whole").touch()
    return data


def _lines() -> Iterator[str]:
    rng = random.Random(SEED)
    flat, since = backfill.steady(1, TIMES), backfill.steady(STARTED, TIMES)
    cpu = [backfill.counter(rng, TIMES, lowest=0.001, highest=0.2) for _ in range(PATTERNS)]
    network = [backfill.counter(rng, TIMES, lowest=100, highest=50_000) for _ in range(PATTERNS)]
    yield from _family("container_cpu_usage_seconds_total", 'container="app",image="registry.example/web:1"', cpu)
    yield from _family("container_network_receive_bytes_total", 'interface="eth0"', network)
    yield from _family("kube_pod_start_time", "", [since])
    yield from _family("kube_pod_status_phase", 'phase="Running"', [flat])
    yield from _family("kube_pod_container_info", 'container="app",image="registry.example/web:1"', [flat])
    yield from _family("kube_pod_owner", 'owner_kind="ReplicaSet",owner_is_controller="true"', [flat])


def _family(name: str, labels: str, patterns: list[backfill.Samples]) -> Iterator[str]:
    kubelet = name.startswith("container_")

    def series() -> Iterator[tuple[str, backfill.Samples]]:
        for number, (owner, namespace, pod, uid) in enumerate(pods()):
            own = f'instance="10.0.{number % NODES}:10250",node="node-{number % NODES}"' if kubelet else f'uid="{uid}"'
            if name == "kube_pod_owner":
                own += f',owner_name="{owner_of(owner)[1]}"'
            every = f'namespace="{namespace}",pod="{pod}",{own}{"," if labels else ""}{labels}'
            yield every, patterns[number % len(patterns)]

    return backfill.family(name, series())
