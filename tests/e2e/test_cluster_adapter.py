"""The adapters on the real API server: lists, watches, its restart, and the book's versions."""

import msgspec
import pytest

from tests.builders import NOW, make_verdict
from tests.parts import manifests
from tests.parts.pins import KUBERNETES
from tests.parts.processes import wait_for
from webhook import errors
from webhook.adapters.cluster import Cluster, WatchedCluster
from webhook.adapters.kubeapi import connect
from webhook.adapters.reflector import Pace
from webhook.adapters.verdict_book import ConfigMapBook, WatchedBook
from webhook.core import inventory, owners
from webhook.core.book import Book, Control
from webhook.core.model import CapacityType, WorkloadKey
from webhook.core.policy import Policy

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-cluster-adapter")]
CONTROL_PLANE = {"without": ("kube-state-metrics",)}

HOME, SHOP = "spot-home", "shop"
WEB = WorkloadKey(SHOP, "Deployment", "web")
QUICK = Pace(jitter=lambda: 0.5, first_wait=0.05, longest_wait=0.5)


@pytest.fixture(scope="module")
def plane(control_plane):
    for name in (SHOP, HOME):
        control_plane.namespace(name)
    control_plane.node("spot-1", labels={"karpenter.sh/capacity-type": "spot"})
    control_plane.deployment("web", namespace=SHOP, replicas=2)
    wait_for(lambda: len(control_plane.running(SHOP, "app=web")) == 2, 30, "two running pods")
    return control_plane


@pytest.fixture
def api(plane):
    made = connect(str(plane.admin_kubeconfig))
    yield made
    made.close()


@pytest.fixture
def watched(api):
    made = WatchedCluster(api, lambda: NOW, pace=QUICK)
    made.start()
    wait_for(lambda: made.synced, 20, "all kinds")
    yield made
    made.stop()


def test_a_census_of_a_real_cluster_leads_pods_to_their_deployment(api):
    census = Cluster(api, lambda: NOW).census()
    assert census.missing == ()
    assert census.server_version == f"v{KUBERNETES}"
    resolved = owners.resolve(census)
    pods = [pod for pod in census.pods if pod.namespace == SHOP and pod.name.startswith("web-")]
    assert len(pods) == 2
    assert {resolved[SHOP, pod.controller.kind, pod.controller.name] for pod in pods} == {WEB}
    assert all(pod.ready and pod.started_at and pod.requests.cpu_cores == 0.1 for pod in pods)
    snapshot = inventory.build(census, Book(), Policy())
    assert snapshot.nodes["spot-1"].capacity_type is CapacityType.SPOT
    web = snapshot.workloads[WEB]
    assert (web.replicas, web.pods, web.pods_on_spot) == (2, 2, 2)
    assert (web.api_version, web.created_at is not None) == ("apps/v1", True)


def test_watches_follow_a_real_cluster_to_what_a_list_says(plane, api, watched):
    plane.deployment("passing", namespace=SHOP, replicas=3)
    plane.namespace("another")
    plane.node("late", labels={})
    wait_for(lambda: len(plane.running(SHOP, "app=passing")) == 3, 30, "three running pods")
    plane.scale("passing", 1, namespace=SHOP)
    wait_for(lambda: len(plane.pods(SHOP, "app=passing")) == 1, 30, "one pod")

    def sorted_facts(census):
        return {
            name: sorted(getattr(census, name), key=msgspec.json.encode)
            for name in ("nodes", "namespaces", "pods", "controllers")
        }

    wait_for(
        lambda: sorted_facts(watched.census()) == sorted_facts(Cluster(api, lambda: NOW).census()), 20, "agreement"
    )
    assert all(r.lists == 1 for r in watched._reflectors)


@pytest.mark.fault(41)
def test_an_api_server_that_restarts_costs_nothing_but_time(plane, watched):
    known = {pod.name for pod in watched.census().pods}
    plane.kill("apiserver")
    wait_for(lambda: not any(r.connected for r in watched._reflectors), 20, "all watches to end")
    assert {pod.name for pod in watched.census().pods} == known
    plane.start("apiserver")
    plane.apply(manifests.namespace("after-the-restart"))
    wait_for(lambda: "after-the-restart" in {n.name for n in watched.census().namespaces}, 30, "what happened since")
    assert {pod.name for pod in watched.census().pods} >= known


def test_the_book_is_written_read_back_watched_and_never_undone(plane, api):
    verdicts = {str(key): make_verdict(key) for key in (WEB, WorkloadKey(SHOP, "Deployment", "api"))}
    first = Book(control=Control(heartbeat=NOW), verdicts=verdicts)
    mine, other = ConfigMapBook(api, HOME, "release"), ConfigMapBook(api, HOME, "release")
    watched = WatchedBook(api, HOME, "release", pace=QUICK)
    watched.start()
    try:
        assert mine.write(mine.read(), first) == 3
        assert other.read() == first
        wait_for(lambda: watched.synced and watched.read() == first, 20, "the watched book")
        second = msgspec.structs.replace(first, control=Control(heartbeat=NOW.replace(hour=16)))
        assert mine.write(first, second) == 1
        with pytest.raises(errors.ClusterConflict):
            other.write(first, msgspec.structs.replace(first, control=Control()))
        assert other.read() == second
        wait_for(lambda: watched.read() == second, 20, "the new heartbeat")
    finally:
        watched.stop()


@pytest.mark.fault(43)
def test_an_account_without_rights_is_told_so(plane):
    token = plane.service_account_token(SHOP, "default")
    nobody = connect(str(plane.kubeconfig_for(token)))
    with pytest.raises(errors.ClusterForbidden) as caught:
        Cluster(nobody, lambda: NOW).census()
    assert caught.value.status == 403
    assert "system:serviceaccount:shop:default" in str(caught.value)
