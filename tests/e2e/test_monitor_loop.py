"""`monitor --loop` under a real Lease: one acts, and when it is killed another one does within seconds."""

import json
import os
import signal
import sys

import pytest

from tests.parts.processes import ManagedProcess, reserve_port, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
CONTROL_PLANE = {"without": ("controller-manager", "scheduler", "kwok", "kube-state-metrics")}
HOME = "default"


@pytest.fixture
def loop(control_plane, tmp_path):
    """Starts one more monitor that loops; all end with the test. Nothing answers where its Prometheus should be."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"prometheus": {"url": f"http://127.0.0.1:{reserve_port()}"}}))
    started = []

    def start(name):
        access = ["--config", str(config), "--kubeconfig", str(control_plane.admin_kubeconfig), "-n", HOME]
        line = [sys.executable, "-m", "webhook", "monitor", "--loop", *access]
        process = ManagedProcess(name, line, log=tmp_path / f"{name}.log", environ=dict(os.environ))
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


def heartbeat(plane):
    maps = {m["metadata"]["name"]: m for m in plane.list_all("ConfigMap", namespace=HOME)}
    found = maps.get("spot-balancer-book-control")
    return json.loads(found["data"]["control.json"])["control"].get("heartbeat") if found else None


def holder(plane):
    path = f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases"
    found = {lease["metadata"]["name"]: lease for lease in plane.api("GET", path)["items"]}
    lease = found.get("spot-balancer-monitor")
    return lease["spec"].get("holderIdentity") if lease else None


@pytest.mark.fault(49)
def test_one_of_two_acts_and_the_other_takes_over_when_it_is_killed(control_plane, loop):
    first = loop("first")
    began = wait_for(lambda: heartbeat(control_plane), 60, "the first run")
    assert holder(control_plane).endswith(f"-{first.pid}")

    second = loop("second")
    first.kill()
    wait_for(lambda: heartbeat(control_plane) not in (None, began), 60, "the other's run")
    assert holder(control_plane).endswith(f"-{second.pid}")

    os.kill(second.pid, signal.SIGTERM)
    wait_for(lambda: not second.running, 60, "the end of the other")
    assert holder(control_plane) in (None, ""), "given back, so that nobody has to wait for it"
