"""What a move reads and writes, on the real API server with the real controllers behind it."""

from datetime import UTC, datetime

import pytest

from tests.parts.kube_api import APPLY_PATCH, MERGE_PATCH, path_for, path_of
from tests.parts.processes import wait_for
from webhook.adapters.cluster import Cluster
from webhook.adapters.events import KubeRecorder
from webhook.adapters.kubeapi import connect
from webhook.adapters.lease import Lease
from webhook.adapters.moves import KubeWorkloads
from webhook.adapters.verdict_book import ConfigMapBook
from webhook.core.book import Control
from webhook.core.constraints import Autoscaler, Claim, StorageClass, Volume
from webhook.core.model import Requirement, WorkloadKey
from webhook.core.moves import MANAGER, Answer, Happening, Pause
from webhook.core.steps import is_ours
from webhook.errors import ClusterConflict

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
CONTROL_PLANE = {"without": ("kube-state-metrics",)}

SHOP = "shop"
WEB = WorkloadKey(SHOP, "Deployment", "web")


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def plane(control_plane):
    control_plane.namespace(SHOP)
    control_plane.node("n1")
    for name in ("web", "guarded", "twice"):
        control_plane.deployment(name, namespace=SHOP, replicas=2)
        wait_for(lambda name=name: len(control_plane.running(SHOP, f"app={name}")) == 2, 30, f"two pods of {name}")
    budget(control_plane, "guarded", "guarded", minAvailable=2)
    for number in (1, 2):
        budget(control_plane, f"twice-{number}", "twice", maxUnavailable="100%")
    wait_for(lambda: len(settled_budgets(control_plane)) == 3, 30, "the budgets to be counted")
    return control_plane


def budget(plane, name: str, app: str, **spec) -> None:
    spec |= {"selector": {"matchLabels": {"app": app}}}
    metadata = {"name": name, "namespace": SHOP}
    plane.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec})


def settled_budgets(plane) -> list:
    found = plane.list_all("PodDisruptionBudget", namespace=SHOP)
    return [b for b in found if b.get("status", {}).get("currentHealthy") == 2]


@pytest.fixture
def api(plane):
    made = connect(str(plane.admin_kubeconfig))
    yield made
    made.close()


@pytest.fixture
def workloads(api):
    return KubeWorkloads(api)


def settled(workloads, key: WorkloadKey, replicas: int):
    """The workload, once its controller has done what was asked."""

    def look():
        live = workloads.live(key, "")
        rollout = live.fact.rollout
        done = rollout.available == rollout.replicas == rollout.updated == replicas and len(live.pods) == replicas
        return live if done and rollout.observed_generation == rollout.generation else None

    return wait_for(look, 30, f"{key} to have {replicas} pods")


def test_a_live_workload_is_what_the_controllers_say_and_its_own_pods(plane, workloads):
    plane.deployment("web-api", namespace=SHOP, replicas=1)
    live = settled(workloads, WEB, 2)
    assert live.fact.rollout.selector == "app=web"
    assert (live.fact.rollout.max_surge, live.fact.rollout.max_unavailable) == ("25%", "25%")
    assert {pod.controller.kind for pod in live.pods} == {"ReplicaSet"}
    assert all(pod.ready and pod.ready_at and pod.needs.labels for pod in live.pods)
    assert len({id(pod.needs) for pod in live.pods}) == 1
    assert workloads.live(WorkloadKey(SHOP, "Deployment", "nobody"), "").fact is None


def test_a_scale_with_a_stale_version_conflicts_and_a_fresh_one_is_done(workloads):
    stale = settled(workloads, WEB, 2)
    assert workloads.scale(WEB, 3, resource_version=stale.resource_version).answer is Answer.DONE
    assert workloads.scale(WEB, 4, resource_version=stale.resource_version).answer is Answer.CONFLICT
    raised = settled(workloads, WEB, 3)
    assert workloads.scale(WEB, 2, resource_version=raised.resource_version).answer is Answer.DONE
    settled(workloads, WEB, 2)


def test_whose_number_of_replicas_stands_is_known_until_somebody_asks_for_another(plane, workloads):
    """By the owner of the field; whoever asks for the very number that stands leaves no trace."""
    plane.deployment("shared", namespace=SHOP, replicas=2)
    key = WorkloadKey(SHOP, "Deployment", "shared")
    path = path_of("Deployment", namespace=SHOP, name="shared")

    def ask(replicas):
        plane.api("PATCH", f"{path}?fieldManager=kubectl", {"spec": {"replicas": replicas}}, content_type=MERGE_PATCH)

    def owner():
        return workloads.live(key, "").fact.rollout.written_by

    assert owner() not in ("", MANAGER)
    seen = settled(workloads, key, 2)
    assert workloads.scale(key, 3, resource_version=seen.resource_version).answer is Answer.DONE
    raised = settled(workloads, key, 3)
    assert is_ours(raised.fact)
    ask(3)
    assert workloads.live(key, "").fact == raised.fact
    ask(2)
    ask(3)
    again = settled(workloads, key, 3)
    assert (owner(), is_ours(again.fact)) == ("kubectl", False)

    def lowered():
        # What was asked for before may still be written to the status.
        live = workloads.live(key, "")
        return workloads.scale(key, 2, resource_version=live.resource_version).answer is Answer.DONE

    wait_for(lowered, 30, "a version that nobody writes meanwhile")
    assert owner() == MANAGER


def test_a_dry_run_changes_nothing(workloads):
    before = settled(workloads, WEB, 2)
    pod = before.pods[0]
    version = before.resource_version
    assert workloads.scale(WEB, 5, resource_version=version, dry_run=True).answer is Answer.DONE
    assert workloads.evict(SHOP, pod.name, uid=pod.uid, dry_run=True).answer is Answer.DONE
    assert workloads.evict(SHOP, pod.name, uid="another", dry_run=True).answer is Answer.CONFLICT
    assert workloads.restart(WEB, at=now(), resource_version=version, dry_run=True).answer is Answer.DONE
    assert workloads.live(WEB, "") == before


@pytest.mark.fault(53)
def test_an_eviction_is_of_one_uid(workloads):
    pod, other = settled(workloads, WEB, 2).pods
    assert workloads.evict(SHOP, pod.name, uid=other.uid).answer is Answer.CONFLICT
    assert {p.uid for p in settled(workloads, WEB, 2).pods} == {pod.uid, other.uid}
    assert workloads.evict(SHOP, pod.name, uid=pod.uid).answer is Answer.DONE
    wait_for(lambda: pod.uid not in {p.uid for p in workloads.live(WEB, "").pods}, 20, "the pod to be gone")
    assert workloads.evict(SHOP, pod.name, uid=pod.uid).answer is Answer.GONE
    settled(workloads, WEB, 2)


@pytest.mark.fault(52)
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_budget_refuses_in_a_dry_run_too(workloads, dry_run):
    pod = settled(workloads, WorkloadKey(SHOP, "Deployment", "guarded"), 2).pods[0]
    result = workloads.evict(SHOP, pod.name, uid=pod.uid, dry_run=dry_run)
    assert result.answer is Answer.BLOCKED
    assert result.note == "Cannot evict pod as it would violate the pod's disruption budget."


@pytest.mark.fault(53)
def test_two_budgets_on_one_pod_are_told_from_trouble_of_the_server(workloads):
    pods = settled(workloads, WorkloadKey(SHOP, "Deployment", "twice"), 2).pods
    assert workloads.evict(SHOP, pods[0].name, uid=pods[0].uid).answer is Answer.TWO_BUDGETS
    assert {p.uid for p in workloads.live(WorkloadKey(SHOP, "Deployment", "twice"), "").pods} == {p.uid for p in pods}


def test_a_restart_stamps_the_template_and_the_rollout_follows(plane, workloads):
    plane.deployment("restarted", namespace=SHOP, replicas=1)
    key = WorkloadKey(SHOP, "Deployment", "restarted")
    before = settled(workloads, key, 1)
    assert workloads.restart(key, at=now(), resource_version=before.resource_version).answer is Answer.DONE
    assert workloads.restart(key, at=now(), resource_version=before.resource_version).answer is Answer.CONFLICT
    wait_for(lambda: settled(workloads, key, 1).pods[0].uid != before.pods[0].uid, 30, "another pod")
    assert settled(workloads, key, 1).fact.rollout.generation == before.fact.rollout.generation + 1


def test_who_applies_the_replicas_is_seen_and_who_merely_writes_them_is_not(plane, workloads):
    assert settled(workloads, WEB, 2).fact.rollout.applied_by == ""
    body = plane.get("Deployment", "web", namespace=SHOP)
    applied = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "applied", "namespace": SHOP},
        "spec": {"replicas": 1, **{key: body["spec"][key] for key in ("selector", "template")}},
    }
    applied["spec"]["selector"] = {"matchLabels": {"app": "applied"}}
    applied["spec"]["template"]["metadata"] = {"labels": {"app": "applied"}}
    path = f"{path_for(applied)}/applied?fieldManager=argocd-controller"
    plane.api("PATCH", path, applied, content_type=APPLY_PATCH)
    key = WorkloadKey(SHOP, "Deployment", "applied")
    assert settled(workloads, key, 1).fact.rollout.applied_by == "argocd-controller"


def test_a_quota_lets_the_scale_pass_and_keeps_its_pod_from_coming(plane, api, workloads):
    plane.namespace("tight")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "pods", "namespace": "tight"}}
    plane.apply(quota | {"spec": {"hard": {"pods": "1", "requests.cpu": "250m"}}})
    wait_for(lambda: plane.get("ResourceQuota", "pods", namespace="tight").get("status", {}).get("hard"), 20, "a quota")
    plane.deployment("web", namespace="tight", replicas=1)
    key = WorkloadKey("tight", "Deployment", "web")
    full = settled(workloads, key, 1)
    assert workloads.scale(key, 2, resource_version=full.resource_version).answer is Answer.DONE

    def failed():
        conditions = plane.get("Deployment", "web", namespace="tight")["status"]["conditions"]
        return next((c for c in conditions if c["type"] == "ReplicaFailure"), None)

    assert "exceeded quota" in wait_for(failed, 30, "the refusal")["message"]
    live = workloads.live(key, "")
    assert (live.fact.replicas, live.fact.rollout.available, len(live.pods)) == (2, 1, 1)
    (seen,) = Cluster(api, now, constraints=True).census().constraints.quotas
    assert (seen.hard["pods"], seen.used["pods"]) == (1.0, 1.0)
    assert (seen.hard["requests.cpu"], seen.used["requests.cpu"]) == (0.25, 0.1)


@pytest.mark.fault(43)
def test_an_account_without_the_right_is_told_so_and_reads_no_constraint(plane):
    token = plane.service_account_token(SHOP, "default")
    nobody = connect(str(plane.kubeconfig_for(token)))
    result = KubeWorkloads(nobody).scale(WEB, 3, resource_version="1")
    assert result.answer is Answer.FORBIDDEN
    assert "system:serviceaccount:shop:default" in result.note


def test_events_are_on_the_workload_for_everybody_to_see(plane, api, workloads):
    live = workloads.live(WEB, "")
    KubeRecorder(api).record(
        Happening(WEB, live.fact.uid, "apps/v1", reason="MovedToSpot", note="idle for 5 runs" + "." * 2000, at=now())
    )
    found = plane.list_all("Event", namespace=SHOP)
    (event,) = [e for e in found if e["reason"] == "MovedToSpot"]
    assert event["regarding"]["uid"] == live.fact.uid
    assert event["note"].startswith("idle for 5 runs.")
    assert event["reportingController"] == "spot-balancer.io/mover"


def test_constraints_are_read_back_as_they_were_made(plane, api):
    plane.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "zonal"},
            "provisioner": "example.com/disk",
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "b"]}]}],
        }
    )
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
    plane.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "disk-1"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "zonal",
                "csi": {"driver": "example.com", "volumeHandle": "1"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
            },
        }
    )
    plane.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": SHOP},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "zonal",
                "volumeName": "disk-1",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
    )
    plane.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "namespace": SHOP},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "elsewhere"},
                "maxReplicas": 7,
            },
        }
    )
    found = Cluster(api, now, constraints=True).census().constraints
    assert found.missing == ()
    in_a = ((Requirement("zone", "In", ("a",)),),)
    assert found.volumes == (Volume("disk-1", terms=in_a, access_modes=("ReadWriteOnce",)),)
    assert found.claims == (Claim(SHOP, "data", "disk-1", ("ReadWriteOnce",), "zonal"),)
    zones = ((Requirement("zone", "In", ("a", "b")),),)
    assert found.storage_classes == (StorageClass("zonal", waits=True, terms=zones),)
    assert found.autoscalers == (Autoscaler(SHOP, "web", "Deployment", "elsewhere", 1, 7),)
    budgets = {b.name: b for b in found.budgets}
    assert (budgets["guarded"].min_available, budgets["guarded"].max_unavailable) == ("2", "")
    assert budgets["guarded"].selector == (Requirement("app", "In", ("guarded",)),)
    assert (budgets["guarded"].disruptions_allowed, budgets["guarded"].current_healthy) == (0, 2)
    assert (budgets["twice-1"].max_unavailable, budgets["twice-1"].is_current) == ("100%", True)


def test_the_control_object_is_swapped_and_a_lease_is_had_and_given_back(plane, api):
    mine, other = ConfigMapBook(api, SHOP, "release"), ConfigMapBook(api, SHOP, "release")
    for book in (mine, other):
        assert book.control() == Control()
    first, second = Control(numbered=1), Control(numbered=2, paused=Pause(at=now(), by="me"))
    mine.swap(first)
    mine.swap(second)
    with pytest.raises(ClusterConflict):
        other.swap(first)
    assert other.control() == second
    one, two = (Lease(api, SHOP, "monitor", name, now) for name in ("one", "two"))
    assert [one.acquire_or_renew(), two.acquire_or_renew(), one.acquire_or_renew()] == [True, False, True]
    one.release()
    assert two.acquire_or_renew()
    assert plane.get("Lease", "monitor", namespace=SHOP)["spec"]["holderIdentity"] == "two"
