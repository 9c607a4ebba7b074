"""How Deployments and StatefulSets roll out, and what selects their pods."""

import json

import pytest

from webhook.core.census import Rollout
from webhook.wire.kubernetes import RESOURCES, decode_object
from webhook.wire.selectors import LabelSelector, query, requirements

BY_KIND = {resource.kind: resource for resource in RESOURCES}
OWNS = {"f:spec": {"f:replicas": {}, "f:template": {}}}


def rollout(kind="Deployment", status=None, metadata=None, **spec) -> Rollout | None:
    body = {"metadata": {"name": "c", "namespace": "n"} | (metadata or {}), "spec": spec, "status": status or {}}
    return decode_object(json.dumps(body).encode(), BY_KIND[kind]).fact.rollout


def managed(**entry):
    fields = {"manager": "argocd", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": OWNS}
    return {"managedFields": [{"manager": "kubectl", "operation": "Update", "fieldsV1": OWNS}, fields | entry]}


@pytest.mark.parametrize("kind", ["ReplicaSet", "Job", "CronJob"])
def test_other_kinds_have_no_rollout(kind):
    assert rollout(kind) is None


def test_what_is_absent_is_what_the_api_server_would_fill_in():
    assert rollout() == Rollout()
    assert rollout("StatefulSet") == Rollout(max_surge="0", max_unavailable="1")
    assert rollout(strategy={"type": "RollingUpdate", "rollingUpdate": None}, minReadySeconds=None) == Rollout()


def test_a_rollout_is_told_as_it_is_written_and_as_its_controller_counts():
    found = rollout(
        metadata={"generation": 7},
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "50%"}},
        paused=True,
        minReadySeconds=30,
        selector={"matchLabels": {"app": "web"}},
        status={
            "observedGeneration": 6, "replicas": 5, "updatedReplicas": 4, "readyReplicas": 3, "availableReplicas": 2,
        },
    )  # fmt: skip
    assert found == Rollout(
        max_surge="0",
        max_unavailable="50%",
        paused=True,
        min_ready_seconds=30,
        generation=7,
        observed_generation=6,
        replicas=5,
        updated=4,
        ready=3,
        available=2,
        selector="app=web",
    )
    assert rollout(strategy={"type": "Recreate"}).strategy == "Recreate"
    on_delete = rollout("StatefulSet", updateStrategy={"type": "OnDelete"})
    assert (on_delete.strategy, on_delete.max_unavailable) == ("OnDelete", "1")
    partial = rollout("StatefulSet", updateStrategy={"rollingUpdate": {"partition": 1, "maxUnavailable": "2"}})
    assert partial.max_unavailable == "2"


@pytest.mark.parametrize(
    ("entry", "manager"),
    [
        ({}, "argocd"),
        ({"subresource": "scale"}, "argocd"),
        ({"operation": "Update"}, ""),
        ({"fieldsV1": {"f:spec": {"f:template": {}}}}, ""),
        ({"fieldsV1": {"f:status": {"f:replicas": {}}}}, ""),
        ({"fieldsV1": None}, ""),
    ],
)
def test_only_who_applies_the_replicas_takes_them_back(entry, manager):
    assert rollout(metadata=managed(**entry)).applied_by == manager


@pytest.mark.parametrize(
    ("fields", "manager"),
    [
        ({}, "kubectl"),
        ({"subresource": "scale"}, "kubectl"),
        ({"operation": "Apply"}, ""),
        ({"fieldsV1": {"f:spec": {"f:template": {}}}}, ""),
        ({"fieldsV1": None}, ""),
    ],
)
def test_who_wrote_the_replicas_last_is_told_by_their_owner(fields, manager):
    entry = {"manager": "kubectl", "operation": "Update", "fieldsV1": OWNS}
    others = {"manager": "helm", "operation": "Update", "fieldsV1": {"f:spec": {"f:template": {}}}}
    assert rollout(metadata={"managedFields": [others, entry | fields]}).written_by == manager


def test_a_selector_is_the_text_of_a_query():
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "env", "operator": "NotIn", "values": ["test"]},
        {"key": "x/y", "operator": "Exists"},
        {"key": "gone", "operator": "DoesNotExist"},
    ]
    found = rollout(selector={"matchLabels": {"b": "2", "a": ""}, "matchExpressions": expressions})
    assert found.selector == "a=,b=2,tier in (a,b),env notin (test),x/y,!gone"
    assert query(LabelSelector()) == ""
    assert requirements(LabelSelector()) == ()
