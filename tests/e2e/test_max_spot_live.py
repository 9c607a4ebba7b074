"""A share holds under a burst that two servers answer, neither of which knows of the other; what is beyond it is told."""

import contextlib
import itertools
import json
import math
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from tests import builders, serverproc
from tests.e2e import steering
from tests.e2e.steering import decision
from tests.parts.kube_api import MERGE_PATCH, path_of
from tests.parts.processes import ManagedProcess, release_port, reserve_port, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
CONTROL_PLANE = {"without": ("kube-state-metrics",)}
HOME = "spot-balancer"
BURST = 200
SHARE = 0.5
# Each pod is a draw of its own, so the count is binomial; beyond four sigma lies one run in 16,000.
BOUND = 4 * math.sqrt(BURST * SHARE * (1 - SHARE))


def relay(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def alternating(ports):
    """One address whose connections go to the ports in turn, as a Service's would."""
    turns, links = itertools.cycle(ports), []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                caller, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", next(turns)))
                links.extend((caller, server))
                for pair in ((caller, server), (server, caller)):
                    threading.Thread(target=relay, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for link in links:
                link.close()


ANNOTATIONS = {"spot-balancer.io/max-spot": "50%", "spot-balancer.io/placement": "required"}


def test_a_burst_through_two_servers_stays_within_the_share_and_what_is_beyond_it_is_told(
    control_plane, tmp_path, capsys
):
    """Only who tolerates the taint of the spot node gets there, and who demands it gets nowhere else."""
    plane, name = control_plane, "burst"
    taint = builders.AKS_TAINT
    new = steering.workload(name, "web", annotations=ANNOTATIONS, replicas=BURST, pods=0)
    nodes = [builders.make_node("regular-1"), builders.make_node("spot-1", builders.AKS_SPOT, taints=(taint,))]
    world = steering.snapshot(name, new, nodes=nodes)
    marked = [{"key": taint.key, "value": taint.value, "effect": taint.effect}]
    plane.node("regular-1", cpu="64", pods=2 * BURST)
    plane.node("spot-1", labels={taint.key: taint.value}, taints=marked, cpu="64", pods=2 * BURST)
    for namespace in (name, HOME):
        plane.namespace(namespace)
    with contextlib.ExitStack() as stack:
        servers = []
        for number in (1, 2):
            (tmp_path / str(number)).mkdir()
            servers.append(stack.enter_context(serverproc.running_server(tmp_path / str(number), world)))
        port = stack.enter_context(alternating([server.port for server in servers]))
        authorities = b"".join(server.ca.cert_pem.bytes() for server in servers)
        steering.called(plane, name, servers, port, authorities)
        plane.deployment("web", namespace=name, replicas=BURST, annotations=ANNOTATIONS)
        pods = plane.wait_for(lambda: found if len(found := plane.running(name)) == BURST else None, 60, "200 pods")
        answered = [server.metric("spot_balancer_mutate_seconds_count") for server in servers]
    decided = [decision(pod) for pod in pods]
    going = decided.count("v1/spot/required/1")
    with capsys.disabled():
        print(f"\nmax-spot 50%: {going} of {BURST} to spot; the servers answered {answered}")
    assert going + decided.count("v1/regular/max-spot/1") == BURST, "each pod is drawn, none is passed by"
    assert abs(going - BURST * SHARE) <= BOUND
    assert f"within {BURST * SHARE:.0f} ± {BOUND:.0f} " in Path("docs/placement.md").read_text()
    assert all(answered), "both servers took part"
    assert sum(pod["spec"]["nodeName"] == "spot-1" for pod in pods) == going

    with syncing(plane, tmp_path) as told:
        for share in (50, 10):
            annotations = {"metadata": {"annotations": {"spot-balancer.io/max-spot": f"{share}%"}}}
            path = path_of("Deployment", namespace=name, name="web")
            plane.api("PATCH", path, annotations, content_type=MERGE_PATCH)
            beyond = max(0, going - BURST * share // 100)
            assert monitored(plane, tmp_path)["overMaxSpot"] == ({f"{name}/Deployment/web": beyond} if beyond else {})
            wait_for(lambda beyond=beyond: told() == beyond, 20, f"sync to tell of {beyond} pods beyond {share} %")


def command(plane, folder, *words):
    """One of our programs on this cluster. Nobody listens where it is told that Prometheus is: that is not asked here."""
    config = folder / "config.yaml"
    config.write_text("mode: inject\nprometheus: {url: 'http://127.0.0.1:9'}\n")
    access = ["--config", str(config), "--kubeconfig", str(plane.admin_kubeconfig), "-n", HOME]
    return [sys.executable, "-m", "webhook", *words, *access]


def monitored(plane, folder):
    """The report of one run of the monitor, which knows nobody's use and fails for it, but counts pods all the same."""
    line = command(plane, folder, "monitor", "-o", "json")
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    report = json.loads(done.stdout)
    assert (done.returncode, report["usageCode"]) == (3, "unreachable")
    return report


@contextlib.contextmanager
def syncing(plane, folder):
    """A function that reads the gauge from the ops port of a real sync."""
    port = reserve_port()
    (folder / "snapshot").mkdir()
    flags = ("--snapshot-dir", str(folder / "snapshot"), "--ops-bind", f"127.0.0.1:{port}")
    sync = ManagedProcess("sync", command(plane, folder, "sync", *flags), log=folder / "sync.log")

    def gauge():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("spot_balancer_pods_over_max_spot "))

    try:
        sync.start()
        sync.wait_until(lambda: gauge() is not None)
        yield gauge
    finally:
        sync.kill()
        release_port(port)
