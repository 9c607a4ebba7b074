"""The sweep over what is really scraped: kube-state-metrics of a real API server, and cAdvisor's stand-in."""

from datetime import timedelta

import pytest

from tests.parts.processes import wait_for
from webhook.adapters.usage import Prometheus, PrometheusSettings
from webhook.core.policy import BalancePolicy, IdlePolicy, Policy

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("e2e-usage-live")]

QUICK = IdlePolicy(
    window=timedelta(seconds=12),
    rate_window=timedelta(seconds=5),
    step=timedelta(seconds=1),
    leave_window=timedelta(seconds=4),
    scrape_interval=timedelta(seconds=1),
    startup_grace=timedelta(seconds=2),
)


@pytest.fixture(scope="module")
def source(control_plane, usage_exporter, prometheus):
    control_plane.node("regular-1")
    control_plane.namespace("shop")
    for name, cores in CORES.items():
        usage_exporter.set_usage("shop", name, cpu_cores=cores, rx_bytes_per_s=100, memory_bytes=1e8)
        control_plane.deployment(name, namespace="shop")
    usage_exporter.set_node_usage("regular-1", cpu_cores=0.25, memory_bytes=2e8)
    asked = Prometheus(PrometheusSettings(url=prometheus.url))
    yield asked
    asked.close()


WHOLE = Policy(idle=QUICK, balance=BalancePolicy(window=timedelta(seconds=12)))
CORES = {"nginx-demo": 0.002, "checkout": 0.5}


def whole_usage(source, name):
    """Its pod, once every step has a value and neither a start-up nor another test's freeze bends the rates."""

    def settled():
        pods = [pod for pod in source.sweep(QUICK).pods if pod.name.startswith(name) and pod.cpu_points >= 12]
        told = [pod for pod in pods if pod.cpu_recent_cores == pytest.approx(CORES[name], rel=0.2)]
        return next((pod for pod in told if pod.cpu_peak_cores == pytest.approx(CORES[name], rel=0.2)), None)

    return wait_for(settled, 60, f"{name} to be seen for a whole window")


@pytest.mark.parametrize("name", CORES)
def test_a_pod_is_told_as_it_lives_with_its_owner_and_no_step_missing(source, name):
    pod = whole_usage(source, name)
    assert pod.received_peak_bytes_per_second == pytest.approx(100, rel=0.2)
    assert pod.controller.kind == "ReplicaSet"
    assert pod.controller.name.startswith(f"{name}-")
    assert (pod.expected_points, pod.received_points, pod.running_points) == (12, 12, 12)
    assert pod.lives
    assert pod.started_at
    assert pod.last_sample_at


@pytest.mark.fault(36)
def test_every_row_twice_counts_once(source, usage_exporter):
    whole_usage(source, "checkout")
    usage_exporter.duplicate = True
    try:
        assert whole_usage(source, "checkout")
    finally:
        usage_exporter.duplicate = False


def test_nodes_are_told_with_what_runs_outside_of_pods(source):
    def told():
        return {sample.node: sample for sample in source.node_usage(WHOLE).nodes}.get("regular-1")

    sample = wait_for(
        lambda: (s := told()) and s.cpu_cores > 0.7 and s.memory_bytes > 3.97e8 and s,
        60,
        "the node's load to be measured",
    )
    assert sample.cpu_cores == pytest.approx(0.752, rel=0.2)
    assert sample.memory_bytes == pytest.approx(4e8, rel=0.01)
    assert sample.source == "cadvisor"
    assert source.node_usage(WHOLE).match_rate == 1.0


def test_a_frozen_exporter_is_stale_and_not_at_rest(source, usage_exporter):
    whole_usage(source, "checkout")
    usage_exporter.freeze()
    try:

        def old():
            sweep = source.sweep(QUICK)
            pod = next(p for p in sweep.pods if p.name.startswith("checkout"))
            return pod.last_sample_at is None or sweep.evaluated_at - pod.last_sample_at > 2 * QUICK.scrape_interval

        assert wait_for(old, 30, "samples to be seen as old")
    finally:
        usage_exporter.thaw()
