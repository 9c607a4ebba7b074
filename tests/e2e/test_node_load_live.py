"""Load over what is really scraped: a node's mean and deviation, its namespaces, and what an owner's pods use.

By both ways that a series leads to its node: cAdvisor's label `node`, and a node-exporter's address.
"""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.parts.processes import wait_for
from tests.parts.prometheus import (
    PrometheusServer,
    kube_state_metrics_target,
    kubelet_target,
    node_exporter_target,
)
from webhook.adapters.cluster import Cluster, WatchedCluster
from webhook.adapters.kubeapi import connect
from webhook.adapters.reflector import Pace
from webhook.adapters.usage import Prometheus, PrometheusSettings
from webhook.core.book import Book
from webhook.core.model import CapacityType, WorkloadKey
from webhook.core.nodetable import table
from webhook.core.policy import BalancePolicy, IdlePolicy, Policy
from webhook.jobs.sync import capture

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("e2e-node-load-live")]

QUICK = Policy(
    idle=IdlePolicy(
        rate_window=timedelta(seconds=5),
        step=timedelta(seconds=1),
        scrape_interval=timedelta(seconds=1),
        startup_grace=timedelta(seconds=2),
    ),
    balance=BalancePolicy(window=timedelta(seconds=6)),
)
CORES = {"nginx-demo": 0.25, "checkout": 0.5}
CHECKOUT = WorkloadKey("shop", "Deployment", "checkout")


class NoBook:
    def read(self):
        return Book()


@pytest.fixture(scope="module")
def sources(control_plane, usage_exporter, build_shown, tmp_path_factory):
    build_shown("prometheus", "promtool")
    control_plane.node("regular-1", address="10.7.0.1")
    control_plane.namespace("shop")
    for name, cores in CORES.items():
        usage_exporter.set_usage("shop", name, cpu_cores=cores, memory_bytes=1e8)
        control_plane.deployment(name, namespace="shop", replicas=2, cpu="500m")
    usage_exporter.set_node_usage("regular-1", cpu_cores=0.25, memory_bytes=2e8)
    cadvisor = kubelet_target(usage_exporter.target)
    kube = kube_state_metrics_target(control_plane.port("kube-state-metrics"))
    stacks = {"label": [cadvisor, kube], "address": [cadvisor, kube, node_exporter_target(usage_exporter.target)]}
    servers = {name: PrometheusServer(tmp_path_factory.mktemp(name), targets) for name, targets in stacks.items()}
    try:
        for server in servers.values():
            server.start()
        yield {name: Prometheus(PrometheusSettings(url=server.url)) for name, server in servers.items()}
    finally:
        for server in servers.values():
            server.close()


def taken(control_plane, source):
    api = connect(control_plane.admin_kubeconfig, None)
    now = datetime.now(UTC)
    return capture(Cluster(api, lambda: now), NoBook(), QUICK, now=now, usage=source)


@pytest.mark.parametrize(("stack", "told_by"), [("label", "cadvisor"), ("address", "node-exporter")])
def test_a_node_is_told_with_mean_deviation_and_the_part_of_each_namespace(control_plane, sources, stack, told_by):
    def settled():
        found = taken(control_plane, sources[stack])
        load = found.nodes["regular-1"].load
        steady = load and abs(load.cpu_cores - 1.75) < 0.1 and load.cpu_deviation_cores < 0.15
        return found if steady and load.namespaces.get("shop") and not found.bound else None

    found = wait_for(settled, 90, "the node's load to settle")
    load = found.nodes["regular-1"].load
    assert load.source == told_by
    assert load.memory_bytes == pytest.approx(6e8, rel=0.05)
    assert load.namespaces["shop"].cpu_cores == pytest.approx(1.5, rel=0.1)
    assert load.namespaces["shop"].memory_bytes == pytest.approx(4e8, rel=0.05)
    assert found.meta.load_match_rate == 1.0
    laid = table(found)
    assert not laid.is_blind
    assert laid.mean[0, 0] == pytest.approx(1.75 / 8, rel=0.1)


def test_an_owner_is_told_by_its_pods_and_a_namespace_by_its_requests(control_plane, sources):
    def settled():
        found = taken(control_plane, sources["label"])
        use, ratio = found.workloads[CHECKOUT].use, found.namespaces["shop"].use_ratio
        is_settled = use and use.pods == 2 and abs(use.cpu_cores - 0.5) < 0.05
        return found if is_settled and ratio.cpu == pytest.approx(0.75, rel=0.1) else None

    found = wait_for(settled, 90, "the owner's use, and its namespace's, to settle")
    assert found.workloads[CHECKOUT].use.memory_bytes == pytest.approx(1e8, rel=0.01)
    assert found.nodes["regular-1"].capacity_type is CapacityType.REGULAR


def test_over_an_hour_a_pod_of_a_minute_is_told_by_its_minute_and_not_by_a_sixtieth(control_plane, sources):
    api = connect(control_plane.admin_kubeconfig, None)
    now = datetime.now(UTC)
    pods = [pod for pod in Cluster(api, lambda: now).census().pods if pod.name.startswith("checkout")]
    assert QUICK.balance.habit == timedelta(hours=1)

    def settled():
        habits = sources["label"].pod_habits(QUICK)
        found = [habits.of(pod.namespace, pod.name) for pod in pods]
        return found if all(one and abs(one.cpu_cores - 0.5) < 0.1 for one in found) else None

    found = wait_for(settled, 90, "the pods' habits to settle")
    assert [one.memory_bytes for one in found] == pytest.approx([1e8, 1e8], rel=0.01)


def test_a_node_that_swings_deviates_and_who_just_came_is_expected_as_its_siblings_are(
    control_plane, sources, usage_exporter
):
    wait_for(lambda: taken(control_plane, sources["label"]).workloads[CHECKOUT].use, 60, "siblings to be measured")
    usage_exporter.set_node_usage("regular-1", cpu_cores=3.0, memory_bytes=2e8)
    try:

        def swings():
            load = taken(control_plane, sources["address"]).nodes["regular-1"].load
            return load and load.cpu_deviation_cores > 0.5

        assert wait_for(swings, 60, "the deviation to rise")
    finally:
        usage_exporter.set_node_usage("regular-1", cpu_cores=0.25, memory_bytes=2e8)
    control_plane.scale("checkout", 3, namespace="shop")

    def came():
        return next(iter(taken(control_plane, sources["label"]).bound.values()), None)

    try:
        pod = wait_for(came, 60, "the new pod to be bound and not measured yet")
        assert (pod.node, pod.namespace) == ("regular-1", "shop")
        assert pod.expected.cpu_cores == pytest.approx(0.5, rel=0.3)
    finally:
        control_plane.scale("checkout", 2, namespace="shop")


def test_what_a_pod_that_was_deleted_had_used_is_taken_off_its_node_by_whoever_saw_it_go(
    control_plane, sources, usage_exporter
):
    """Prometheus holds its use for the rest of the window, and the node's mean holds it just as long."""
    longer = msgspec.structs.replace(QUICK, balance=BalancePolicy(window=timedelta(seconds=30)))
    watched = WatchedCluster(
        connect(control_plane.admin_kubeconfig, None), lambda: datetime.now(UTC), pace=Pace(jitter=lambda: 0.5)
    )

    def load(cluster):
        found = capture(cluster, NoBook(), longer, now=datetime.now(UTC), usage=sources["label"])
        return found.nodes["regular-1"].load

    plain = Cluster(connect(control_plane.admin_kubeconfig, None), lambda: datetime.now(UTC))
    wait_for(lambda: load(plain) and abs(load(plain).cpu_cores - 1.75) < 0.05, 90, "a whole window of the others")
    usage_exporter.set_usage("shop", "leaving", cpu_cores=2.0, memory_bytes=5e8)
    control_plane.deployment("leaving", namespace="shop", replicas=1, cpu="500m")
    watched.start()
    try:
        wait_for(lambda: load(plain) and load(plain).cpu_cores > 2.3, 90, "its use to be measured")
        control_plane.scale("leaving", 0, namespace="shop")
        wait_for(lambda: any(one.name.startswith("leaving") for one in watched.census().departed), 30, "it to be gone")
        assert load(plain).cpu_cores > 2.2
        assert load(watched).cpu_cores == pytest.approx(1.75, abs=0.15)
        assert load(watched).memory_bytes < load(plain).memory_bytes
    finally:
        watched.stop()
        control_plane.scale("leaving", 0, namespace="shop")
