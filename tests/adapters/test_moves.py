"""What a move reads and writes, and that every answer of the API server has its own result."""

import logging
from datetime import timedelta

import pytest

from tests.adapters.fake_apiserver import FakeApiServer, Fault
from tests.builders import NOW
from webhook import errors
from webhook.adapters.events import KubeRecorder
from webhook.adapters.kubeapi import Access, KubeApi
from webhook.adapters.moves import KubeWorkloads
from webhook.core.model import WorkloadKey
from webhook.core.moves import MANAGER, Answer, Happening, Live

WEB = WorkloadKey("shop", "Deployment", "web")
DEPLOYMENTS, PODS = "/apis/apps/v1/namespaces/shop/deployments", "/api/v1/namespaces/shop/pods"
SCALE, EVICTION = f"{DEPLOYMENTS}/web/scale", f"{PODS}/web-7f9c-a/eviction"
EVENTS = "/apis/events.k8s.io/v1/namespaces/shop/events"
HAPPENED = Happening(workload=WEB, uid="uid-web", api_version="apps/v1", reason="Moved", note="to spot", at=NOW)


@pytest.fixture
def workloads(server):
    server.put(
        DEPLOYMENTS, "web", "shop", spec={"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {}}
    )
    for name, owner in (
        ("web-7f9c-a", "web-7f9c"),
        ("web-7f9c-b", "web-7f9c"),
        ("web-api-7f9c-a", "web-api-7f9c"),
        ("stray", None),
    ):
        reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": f"u-{owner}"}
        owners = {"ownerReferences": [reference | {"controller": True}]} if owner else {}
        server.put(PODS, name, "shop", metadata={"labels": {"app": "web"}} | owners)
    server.put(PODS, "other", "shop", metadata={"labels": {"app": "other"}})
    return KubeWorkloads(api_of(server))


def api_of(server: FakeApiServer) -> KubeApi:
    return KubeApi(lambda: Access(url=server.url))


def written(server):
    return [seen for seen in server.requests if seen.method != "GET"]


@pytest.mark.parametrize("selector", ["app=web", ""])
def test_a_live_workload_has_its_own_pods_and_nobody_elses_in_two_calls(server, workloads, selector):
    live = workloads.live(WEB, selector)
    assert [pod.name for pod in live.pods] == ["web-7f9c-a", "web-7f9c-b"]
    assert (live.fact.replicas, live.fact.rollout.selector) == (2, "app=web")
    assert live.resource_version == server.objects[DEPLOYMENTS]["shop/web"]["metadata"]["resourceVersion"]
    assert len(server.requests) == 2


def test_a_workload_that_is_gone_has_no_fact_and_costs_no_second_call(server, workloads):
    server.remove(DEPLOYMENTS, "web", "shop")
    assert workloads.live(WEB, "app=web") == Live(fact=None)
    assert len(server.requests) == 1


def test_pods_of_a_stateful_set_are_those_of_its_uid(server, workloads):
    sets = "/apis/apps/v1/namespaces/shop/statefulsets"
    server.put(sets, "db", "shop", metadata={"uid": "now"}, spec={"selector": {"matchLabels": {"app": "db"}}})
    for name, uid in (("db-0", "now"), ("db-1", "before")):
        owner = {"kind": "StatefulSet", "name": "db", "uid": uid, "controller": True}
        server.put(PODS, name, "shop", metadata={"labels": {"app": "db"}, "ownerReferences": [owner]})
    assert [p.name for p in workloads.live(WorkloadKey("shop", "StatefulSet", "db"), "").pods] == ["db-0"]


@pytest.mark.parametrize("body", [b"[]", b"{}", b"", b'{"metadata": {"name": 3}}'])
def test_what_is_no_workload_is_no_news_of_one(server, workloads, body):
    server.fail("GET", f"{DEPLOYMENTS}/web", Fault(200, body=body))
    with pytest.raises(errors.ClusterUnavailable, match="no Deployment"):
        workloads.live(WEB, "")


def test_a_kind_without_a_scale_is_neither_read_nor_written(server, workloads):
    nightly = WorkloadKey("shop", "CronJob", "nightly")
    with pytest.raises(errors.ClusterError, match="CronJob"):
        workloads.live(nightly, "")
    assert workloads.scale(nightly, 2, resource_version="1").answer is Answer.FAILED
    assert server.requests == []


def test_a_scale_holds_to_the_version_that_was_seen(server, workloads):
    seen = workloads.live(WEB, "").resource_version
    assert workloads.scale(WEB, 3, resource_version=seen).answer is Answer.DONE
    assert server.objects[DEPLOYMENTS]["shop/web"]["spec"]["replicas"] == 3
    assert workloads.scale(WEB, 4, resource_version=seen).answer is Answer.CONFLICT
    assert [seen.query for seen in written(server)] == [{"fieldManager": MANAGER}] * 2
    assert server.objects[DEPLOYMENTS]["shop/web"]["spec"]["replicas"] == 3


def test_an_eviction_is_of_one_pod_and_not_of_the_next_of_its_name(server, workloads):
    assert workloads.evict("shop", "web-7f9c-a", uid="another").answer is Answer.CONFLICT
    assert workloads.evict("shop", "web-7f9c-a", uid="uid-web-7f9c-a").answer is Answer.DONE
    assert workloads.evict("shop", "web-7f9c-a", uid="uid-web-7f9c-a").answer is Answer.GONE
    assert all(seen.method == "POST" for seen in written(server))


def test_a_restart_stamps_the_template_and_nothing_else(server, workloads):
    seen = workloads.live(WEB, "").resource_version
    assert workloads.restart(WEB, at=NOW, resource_version=seen).answer is Answer.DONE
    (patch,) = written(server)
    stamp = {"kubectl.kubernetes.io/restartedAt": "2026-03-14T15:09:26Z"}
    assert patch.content_type == "application/strategic-merge-patch+json"
    assert patch.body["spec"] == {"template": {"metadata": {"annotations": stamp}}}
    assert workloads.restart(WEB, at=NOW, resource_version=seen).answer is Answer.CONFLICT


def test_a_dry_run_asks_and_changes_nothing(server, workloads):
    before = {path: dict(objects) for path, objects in server.objects.items()}
    seen = workloads.live(WEB, "").resource_version
    assert workloads.scale(WEB, 3, resource_version=seen, dry_run=True).answer is Answer.DONE
    assert workloads.evict("shop", "web-7f9c-a", uid="uid-web-7f9c-a", dry_run=True).answer is Answer.DONE
    assert workloads.restart(WEB, at=NOW, resource_version=seen, dry_run=True).answer is Answer.DONE
    assert {path: dict(objects) for path, objects in server.objects.items()} == before
    assert [seen.query["dryRun"] for seen in written(server)] == ["All"] * 3


TWO = (
    b'{"kind": "Status", "status": "Failure", "code": 500, "message": "This pod has more than one PodDisruptionBudget"}'
)


@pytest.mark.fault(53)
@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (Fault(500, body=TWO), Answer.TWO_BUDGETS),
        (Fault(500), Answer.FAILED),
        (Fault(403), Answer.FORBIDDEN),
        (Fault(404), Answer.GONE),
        (Fault(409), Answer.CONFLICT),
        (Fault(422), Answer.FAILED),
        (Fault(301), Answer.FAILED),
    ],
    ids=lambda value: str(getattr(value, "status", value)),
)
def test_no_refusal_of_an_eviction_counts_as_one(server, workloads, fault, answer):
    server.fail("POST", EVICTION, fault)
    assert workloads.evict("shop", "web-7f9c-a", uid="uid-web-7f9c-a").answer is answer


@pytest.mark.fault(52)
def test_a_budget_that_refuses_is_told_with_its_sentence_and_asked_once(server, workloads):
    server.put(PODS, "web-7f9c-a", "shop", metadata={"annotations": {"test/blocked": "yes"}})
    result = workloads.evict("shop", "web-7f9c-a", uid="uid-web-7f9c-a")
    assert result.answer is Answer.BLOCKED
    assert result.note == "Cannot evict pod as it would violate the pod's disruption budget."
    assert len(written(server)) == 1


@pytest.mark.fault(43)
def test_a_429_says_when_to_come_again_and_a_401_is_tried_once_with_new_credentials(server, workloads):
    server.fail("PUT", SCALE, Fault(429, {"Retry-After": "7"}))
    assert workloads.scale(WEB, 3, resource_version="1").retry_after_seconds == 7.0
    server.fail("PUT", SCALE, Fault(401))
    seen = workloads.live(WEB, "").resource_version
    assert workloads.scale(WEB, 3, resource_version=seen).answer is Answer.DONE


@pytest.mark.fault(43)
@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("after_commit", [True, False])
def test_after_an_answer_that_was_lost_nobody_claims_to_know(server, workloads, status, after_commit):
    seen = workloads.live(WEB, "").resource_version
    server.fail("PUT", SCALE, Fault(status, after_commit=after_commit))
    assert workloads.scale(WEB, 3, resource_version=seen).answer is Answer.FAILED
    assert workloads.live(WEB, "").fact.replicas == (3 if after_commit else 2)
    assert len(written(server)) == 1


def test_a_server_that_is_away_is_an_answer_too(server, workloads):
    server.stop()
    assert workloads.evict("shop", "web-7f9c-a", uid="u").answer is Answer.FAILED


def test_what_happened_is_told_on_the_workloads_own_object(server):
    KubeRecorder(api_of(server)).record(HAPPENED)
    (event,) = server.objects[EVENTS].values()
    assert event["regarding"] == {
        "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web", "uid": "uid-web",
    }  # fmt: skip
    assert (event["type"], event["reason"], event["note"]) == ("Normal", "Moved", "to spot")
    assert event["eventTime"] == "2026-03-14T15:09:26.000000Z"


@pytest.mark.fault(43)
def test_telling_never_raises_and_a_right_that_is_missing_is_logged_once(server, caplog):
    recorder = KubeRecorder(api_of(server))
    caplog.set_level(logging.WARNING)
    server.fail("POST", EVENTS, Fault(403), times=None)
    for minute in range(3):
        recorder.record(Happening(workload=WEB, uid="u", api_version="v1", reason="R", note="n", at=NOW + minute * timedelta(minutes=1)))  # fmt: skip
    server.stop()
    recorder.record(HAPPENED)
    recorder.record(HAPPENED)
    assert [record.message for record in caplog.records] == ["Events cannot be written"] * 2
