"""The parts prove themselves: what the other end-to-end tests stand on is true here."""

import pytest

from tests.parts import manifests
from tests.parts.kube_api import ApiError
from tests.parts.plane import ControlPlane
from tests.parts.prometheus import PrometheusServer
from tests.parts.usage_exporter import UsageExporter

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-parts")]


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    control_plane.node("regular-1", labels={"pool": "regular"})
    return control_plane


def running(plane: ControlPlane, name: str, count: int) -> list[manifests.Manifest]:
    """The deployment's running pods once there are so many."""

    def pods() -> list[manifests.Manifest] | None:
        found = plane.running("default", f"app={name}")
        return found if len(found) == count else None

    return plane.wait_for(pods, 30, f"{count} running pods of {name}")


def test_a_deployment_runs_on_a_simulated_node_bound_by_the_real_scheduler(plane):
    plane.deployment("bound", replicas=2)
    pods = running(plane, "bound", 2)
    assert {pod["spec"]["nodeName"] for pod in pods} == {"regular-1"}
    events = plane.api("GET", "/api/v1/namespaces/default/events?fieldSelector=reason%3DScheduled")["items"]
    bound = {event["involvedObject"]["name"] for event in events if event["reportingComponent"] == "default-scheduler"}
    assert {pod["metadata"]["name"] for pod in pods} <= bound


def test_a_deleted_pod_comes_back_under_another_name(plane):
    plane.deployment("reborn")
    [pod] = running(plane, "reborn", 1)
    plane.delete_pod(pod["metadata"]["name"])
    again = plane.wait_for(
        lambda: [p for p in running(plane, "reborn", 1) if p["metadata"]["uid"] != pod["metadata"]["uid"]],
        30,
        "the pod's successor",
    )
    assert again[0]["metadata"]["ownerReferences"] == pod["metadata"]["ownerReferences"]


def test_a_pod_that_no_node_can_hold_stays_pending(plane):
    plane.apply(manifests.pod("homeless", nodeSelector={"pool": "none"}))
    reason = plane.wait_for(
        lambda: plane.get("Pod", "homeless")["status"].get("conditions", [{}])[0].get("reason"), 20, "a verdict"
    )
    assert reason == "Unschedulable"


def test_a_held_pod_is_bound_and_never_becomes_ready(plane):
    plane.apply(manifests.pod("held", annotations={manifests.HOLD: "true"}))
    plane.apply(manifests.pod("after-it"))
    plane.wait_for(lambda: plane.get("Pod", "after-it")["status"]["phase"] == "Running", 20, "a later pod to run")
    held = plane.wait_for(
        lambda: plane.get("Pod", "held") if plane.get("Pod", "held")["spec"].get("nodeName") else None,
        20,
        "it to be bound",
    )
    assert held["status"]["phase"] == "Pending"


def test_a_job_runs_to_its_end(plane):
    plane.apply(manifests.job("once"))
    status = plane.wait_for(lambda: _done(plane, "once"), 30, "the job to complete")
    assert status["succeeded"] == 1


def _done(plane: ControlPlane, name: str) -> manifests.Manifest | None:
    status = plane.get("Job", name)["status"]
    return status if status.get("completionTime") else None


def test_an_account_may_do_only_what_its_role_says(plane):
    plane.namespace("guarded")
    plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": "guarded"}})
    plane.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "read-nodes"},
            "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}],
        }
    )
    plane.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "read-nodes"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "read-nodes"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "guarded"}],
        }
    )
    token = plane.service_account_token("guarded", "reader")
    plane.wait_for(lambda: plane.api("GET", "/api/v1/nodes", token=token)["items"], 10, "the role to be known")
    with pytest.raises(ApiError) as refused:
        plane.api("GET", "/api/v1/pods", token=token)
    assert refused.value.status == 403
    assert "system:serviceaccount:guarded:reader" in refused.value.body["message"]


def test_kube_state_metrics_and_usage_reach_the_real_prometheus(
    plane: ControlPlane, usage_exporter: UsageExporter, prometheus: PrometheusServer
):
    usage_exporter.set_usage("default", "worker", cpu_cores=0.25, rx_bytes_per_s=5000, memory_bytes=1 << 20)
    plane.deployment("worker")
    [pod] = running(plane, "worker", 1)
    name = pod["metadata"]["name"]
    [owner] = prometheus.wait_for_series(f'kube_pod_owner{{pod="{name}"}}')
    assert owner["metric"]["owner_kind"] == "ReplicaSet"
    assert owner["metric"]["owner_name"] == pod["metadata"]["ownerReferences"][0]["name"]
    assert owner["metric"]["job"] == "kube-state-metrics"

    cpu = f'rate(container_cpu_usage_seconds_total{{pod="{name}",container="app"}}[4s])'
    # Until the counter is older than the window, rate() knows that it began at zero and tells less.
    exact = pytest.approx(0.25, rel=1e-6)
    assert plane.wait_for(lambda: prometheus.value(cpu) == exact, 30, "the scripted rate")
    assert prometheus.value(f'rate(container_network_receive_bytes_total{{pod="{name}"}}[4s])') == pytest.approx(
        5000, rel=1e-6
    )
    assert prometheus.value(f'container_memory_working_set_bytes{{pod="{name}",container="app"}}') == 1 << 20
    assert prometheus.value('machine_cpu_cores{node="regular-1"}') == 8


def test_the_api_server_comes_back_on_its_port_with_its_data(plane):
    plane.deployment("survivor")
    [before] = running(plane, "survivor", 1)
    plane.kill("apiserver")
    with pytest.raises(OSError, match="refused"):
        plane.api("GET", "/readyz")
    plane.start("apiserver")
    assert plane.get("Pod", before["metadata"]["name"])["metadata"]["uid"] == before["metadata"]["uid"]
    plane.scale("survivor", 2)
    running(plane, "survivor", 2)
