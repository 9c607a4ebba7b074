"""A census, read once or kept by watches."""

from datetime import timedelta

import pytest

from tests.adapters.fake_apiserver import BUDGETS, COLLECTIONS, CRONJOBS, NODES, PODS, VOLUMES, FakeApiServer, Fault
from tests.builders import NOW
from tests.parts.processes import wait_for
from webhook import errors
from webhook.adapters.cluster import Cluster, WatchedCluster
from webhook.adapters.kubeapi import Access, KubeApi
from webhook.adapters.reflector import Pace
from webhook.core.model import ControllerRef

QUICK = Pace(jitter=lambda: 0.5, first_wait=0.01, longest_wait=0.05, denied_wait=0.05, silence=5)


ROOM = {"cpu": "3920m", "memory": "1Gi", "pods": "58", "nvidia.com/gpu": "2"}


def api_of(server: FakeApiServer) -> KubeApi:
    return KubeApi(lambda: Access(url=server.url))


def furnish(server: FakeApiServer) -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": ROOM}
    server.put(NODES, "n1", status=ready, spec={"taints": None, "unschedulable": True})
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u", "controller": True}
    other = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "x"}
    containers = [{"resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}}, {"resources": {}}]
    sidecar = {"restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}}
    initial = {"resources": {"requests": {"cpu": "4"}}}
    server.put(
        PODS,
        "web-1-x",
        "shop",
        metadata={"ownerReferences": [other, owner], "creationTimestamp": "2026-03-14T15:00:00Z"},
        spec={
            "nodeName": "n1",
            "containers": containers,
            "initContainers": [initial, sidecar],
            "overhead": {"cpu": "10m"},
        },
        status={"phase": "Running", "startTime": "2026-03-14T15:00:01Z"},
    )
    server.put("/apis/apps/v1/deployments", "web", "shop", spec={"replicas": 2})
    server.put("/apis/apps/v1/replicasets", "web-1", "shop", spec={"replicas": 2})
    server.put(CRONJOBS, "nightly", "shop", spec={})
    server.put("/api/v1/namespaces", "shop", metadata={"annotations": None, "labels": {"a": "b"}})


def test_once_the_api_server_is_away_no_kind_is_asked_for_any_more():
    """Each would wait as long again."""

    class Away:
        asked = 0

        def request(self, *_, **__):
            self.asked += 1
            raise errors.ClusterUnavailable("no answer")

    api = Away()
    with pytest.raises(errors.ClusterUnavailable, match="no answer"):
        Cluster(api, lambda: NOW, constraints=True).census()
    assert api.asked <= 4


def test_a_census_holds_what_decisions_read(server):
    furnish(server)
    census = Cluster(api_of(server), lambda: NOW).census()
    (node,), (pod,) = census.nodes, census.pods
    assert (node.ready, node.unschedulable, node.allocatable.cpu_cores) == (True, True, 3.92)
    assert (node.allocatable_pods, node.extended) == (58, {"nvidia.com/gpu": 2.0})
    assert pod.controller == ControllerRef(kind="ReplicaSet", name="web-1", uid="u", api_version="apps/v1")
    assert pod.requests.cpu_cores == pytest.approx(0.310)
    assert pod.requests.memory_bytes == 64 * 1024**2
    assert pod.started_at.isoformat() == "2026-03-14T15:00:01+00:00"
    assert {(c.kind, c.replicas) for c in census.controllers} == {
        ("Deployment", 2),
        ("ReplicaSet", 2),
        ("CronJob", None),
    }
    assert census.taken_at == NOW
    assert census.server_version == "v1.37.2"
    assert census.missing == ()


def test_one_object_that_cannot_be_read_hides_no_other(server):
    furnish(server)
    server.put(PODS, "odd", "shop", spec="what is this")
    assert [pod.name for pod in Cluster(api_of(server), lambda: NOW).census().pods] == ["web-1-x"]


@pytest.mark.fault(43)
def test_a_kind_without_a_right_is_named_missing_but_without_pods_there_is_no_census(server):
    furnish(server)
    server.fail("GET", CRONJOBS, Fault(403), times=None)
    assert Cluster(api_of(server), lambda: NOW).census().missing == ("CronJob",)
    server.fail("GET", PODS, Fault(403), times=None)
    with pytest.raises(errors.ClusterForbidden):
        Cluster(api_of(server), lambda: NOW).census()


@pytest.mark.fault(41)
@pytest.mark.parametrize("path", [PODS, CRONJOBS])
def test_half_a_census_is_none(server, path):
    """Workloads that only seem to be gone would lose their verdicts."""
    furnish(server)
    server.fail("GET", path, Fault(503), times=None)
    with pytest.raises(errors.ClusterUnavailable):
        Cluster(api_of(server), lambda: NOW).census()


def test_a_list_whose_pages_expire_is_begun_anew(server):
    server.page = 1
    furnish(server)
    server.put(PODS, "second", "shop")
    pages = []
    api = api_of(server)
    ask = api.request

    def request(method, path, *args, **kwargs):
        if path.startswith(PODS) and "continue" in path and not pages:
            pages.append(path)
            raise errors.ClusterNotFound("expired", status=410)
        return ask(method, path, *args, **kwargs)

    api.request = request
    assert len(Cluster(api, lambda: NOW).census().pods) == 2
    assert pages


BOUND = {
    BUDGETS: ("budgets", "PodDisruptionBudget"),
    "/apis/autoscaling/v2/horizontalpodautoscalers": ("autoscalers", "HorizontalPodAutoscaler"),
    "/api/v1/resourcequotas": ("quotas", "ResourceQuota"),
    "/api/v1/persistentvolumeclaims": ("claims", "PersistentVolumeClaim"),
    VOLUMES: ("volumes", "PersistentVolume"),
    "/apis/storage.k8s.io/v1/storageclasses": ("storage_classes", "StorageClass"),
}


def test_what_bounds_moves_is_read_only_where_it_is_asked_for(server):
    furnish(server)
    for path in BOUND:
        server.put(path, "one", "shop")
    assert Cluster(api_of(server), lambda: NOW).census().constraints is None
    assert not {request.path for request in server.requests} & BOUND.keys()
    found = Cluster(api_of(server), lambda: NOW, constraints=True).census()
    assert {name: [one.name for one in getattr(found.constraints, name)] for name, _ in BOUND.values()} == {
        name: ["one"] for name, _ in BOUND.values()
    }
    assert (found.missing, found.constraints.missing) == ((), ())


@pytest.mark.fault(43)
@pytest.mark.parametrize("path", BOUND)
@pytest.mark.parametrize("status", [403, 404, 401, 503])
def test_a_constraint_that_cannot_be_read_is_missing_and_never_none(server, path, status):
    """Whatever the reason: it may cost moves, and no verdict."""
    furnish(server)
    server.fail("GET", path, Fault(status), times=None)
    found = Cluster(api_of(server), lambda: NOW, constraints=True).census()
    assert found.constraints.missing == (BOUND[path][1],)
    assert found.missing == ()


def test_a_cluster_of_full_size_is_read_in_eighty_calls(server):
    for path in COLLECTIONS:
        count = 30_000 if path == PODS else 5_000
        names = (f"{number:05}" for number in range(count))
        server.objects[path] = {name: {"metadata": {"name": name}} for name in names}
    census = Cluster(api_of(server), lambda: NOW, constraints=True).census()
    assert (len(census.pods), len(census.constraints.claims)) == (30_000, 5_000)
    assert len(server.requests) <= 80


@pytest.fixture
def watched(server):
    furnish(server)
    made = WatchedCluster(api_of(server), lambda: NOW, pace=QUICK)
    made.start()
    yield made
    made.stop()


def test_a_kept_census_is_the_one_that_would_be_read(server, watched):
    wait_for(lambda: watched.synced, 10, "all kinds")
    assert watched.census() == Cluster(api_of(server), lambda: NOW).census()
    before = watched.generation
    server.put(PODS, "second", "shop")
    wait_for(lambda: watched.generation > before, 10, "a change")
    assert {pod.name for pod in watched.census().pods} == {"web-1-x", "second"}


def test_who_is_deleted_under_a_watch_is_told_as_departed_and_not_for_ever(server):
    times = [NOW]
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u", "controller": True}
    started = {"phase": "Running", "startTime": "2026-03-14T15:00:00Z"}
    for name, spec in (("ran", {"nodeName": "n1"}), ("never", {}), ("stays", {"nodeName": "n1"})):
        server.put(PODS, name, "shop", metadata={"ownerReferences": [owner]}, spec=spec, status=started)
    watched = WatchedCluster(api_of(server), lambda: times[-1], pace=QUICK)
    watched.start()
    try:
        wait_for(lambda: watched.synced and len(watched.census().pods) == 3, 10, "all kinds")
        assert watched.census().departed == ()
        for name in ("ran", "never"):
            server.remove(PODS, name, "shop")
        wait_for(lambda: len(watched.census().pods) == 1, 10, "the deletions")
        (gone,) = watched.census().departed
        assert (gone.name, gone.node_name, gone.ended_at) == ("ran", "n1", NOW)
        times.append(NOW + timedelta(hours=1))
        assert watched.census().departed == ()
    finally:
        watched.stop()


def test_before_everything_was_listed_there_is_no_census(server):
    with pytest.raises(errors.ClusterUnavailable):
        WatchedCluster(api_of(server), lambda: NOW, pace=QUICK).census()


@pytest.mark.fault(41)
def test_what_is_known_while_the_api_server_is_away_keeps_its_age(server):
    furnish(server)
    times = [NOW]
    watched = WatchedCluster(api_of(server), lambda: times[-1], pace=QUICK)
    watched.start()
    try:
        wait_for(lambda: watched.synced and all(r.connected for r in watched._reflectors), 10, "all watches")
        assert watched.census().taken_at == NOW
        server.stop()
        wait_for(lambda: not any(r.connected for r in watched._reflectors), 10, "all watches to end")
        times.append(NOW.replace(hour=20))
        census = watched.census()
        assert census.taken_at == NOW
        assert len(census.pods) == 1
        server.start()
        wait_for(lambda: watched.census().taken_at == times[-1], 10, "a fresh census")
    finally:
        watched.stop()


@pytest.mark.fault(43)
def test_without_the_right_to_pods_nothing_is_decided_on_an_empty_cluster(server):
    server.fail("GET", PODS, Fault(403), times=None)
    watched = WatchedCluster(api_of(server), lambda: NOW, pace=QUICK)
    watched.start()
    try:
        wait_for(lambda: watched.synced, 10, "all kinds")
        with pytest.raises(errors.ClusterForbidden):
            watched.census()
    finally:
        watched.stop()
