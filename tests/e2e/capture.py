"""Captures examples/demo.snapshot.json from the real parts: `python -m tests.e2e.capture FILE`.

A small shop: one owner idle, one active, one that Prometheus knows nothing of, on regular and
spot nodes, judged by real runs of the monitor over real scrapes, captured by `spot-balancer snapshot`.
"""

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.e2e.town import REGULAR, SHOP, SPOT, Town, raise_town
from tests.parts.processes import wait_for

OWNERS = {"nginx-demo": 2, "checkout": 2, "reports": 1}
# What runs there beside our pods, in cores: without any, there is nothing for `score` to tell nodes apart by.
LOADS = {"regular-1": 2.6, "regular-2": 0.7, "spot-1": 0.3}


def build_shop(town: Town) -> None:
    """Three owners running, and a spot node that came after them."""
    for name, cores in LOADS.items():
        town.exporter.set_node_usage(name, cpu_cores=cores, memory_bytes=2**30)
    for number in (1, 2):
        town.plane.node(f"regular-{number}", labels=REGULAR)
    town.plane.namespace(SHOP)
    town.exporter.set_usage(SHOP, "nginx-demo", cpu_cores=0.001, memory_bytes=2**26, rx_bytes_per_s=50)
    town.exporter.set_usage(SHOP, "checkout", cpu_cores=0.4, memory_bytes=2**28, rx_bytes_per_s=200_000)
    town.exporter.hide(SHOP, "reports")
    for name, replicas in OWNERS.items():
        town.plane.deployment(name, namespace=SHOP, replicas=replicas)
    wait_for(lambda: all(len(town.app_pods(n)) == r for n, r in OWNERS.items()), 30, "the shop to be running")
    town.plane.node("spot-1", labels=SPOT)


def capture(town: Town, file: Path) -> None:
    """Judge, once everybody is older than the look-back, until the idle owner's side is spot; then capture once."""
    age = "min(time() - kube_deployment_created)"
    wait_for(lambda: town.prometheus.value(age) > 22, 60, "the shop to be older than the look-back")
    town.monitor_until(f"{SHOP}/Deployment/nginx-demo", side="spot")
    # Judged while nothing may move, captured as if it might: so `plan` has something to say of the file.
    town.configure({"mode": "move", "balance": {"window": "10s"}})
    town.command("snapshot", *town.cluster_flags, "--output-file", str(file))


def main(file: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        print("starting a control plane and a Prometheus", file=sys.stderr)
        town = raise_town(stack, Path(folder))
        build_shop(town)
        town.start()
        print("judging the shop until its idle owner's side is spot (about half a minute)", file=sys.stderr)
        capture(town, file)
        print(f"wrote {file}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
