"""What bounds a move: every kind as it is written, and what is absent."""

import json

import pytest

from webhook.core.constraints import Autoscaler, Claim, DisruptionBudget, Quota, StorageClass, Volume
from webhook.core.model import Requirement
from webhook.wire.constraints import CONSTRAINTS
from webhook.wire.kubernetes import decode_object

BY_KIND = {resource.kind: resource for resource in CONSTRAINTS}


def read(kind, metadata=None, **body):
    whole = {"metadata": {"name": "x", "namespace": "n"} | (metadata or {})} | body
    return decode_object(json.dumps(whole).encode(), BY_KIND[kind]).fact


def is_in(key, *values):
    return Requirement(key, "In", values)


def budget(status=None, generation=1, **spec):
    return read(
        "PodDisruptionBudget", {"generation": generation}, spec=spec, status=status or {"observedGeneration": 1}
    )


@pytest.mark.parametrize(
    ("selector", "found", "selects_nothing"),
    [
        (None, (), True),
        ({}, (), False),
        ({"matchLabels": {"b": "2", "a": "1"}}, (is_in("a", "1"), is_in("b", "2")), False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, (Requirement("a", "Exists"),), False),
    ],
)
def test_a_budget_without_a_selector_selects_nothing_and_an_empty_one_everything(selector, found, selects_nothing):
    read = budget(selector=selector)
    assert (read.selector, read.selects_nothing) == (found, selects_nothing)
    assert budget().selects_nothing


def test_a_budget_is_told_as_it_is_written_with_what_its_controller_counted():
    status = {
        "observedGeneration": 3,
        "disruptionsAllowed": 1,
        "currentHealthy": 4,
        "desiredHealthy": 3,
        "expectedPods": 5,
    }
    assert budget(status, generation=3, selector={}, minAvailable="60%") == DisruptionBudget(
        "n", "x", min_available="60%", disruptions_allowed=1, current_healthy=4, desired_healthy=3, expected_pods=5
    )
    assert budget(maxUnavailable=0).max_unavailable == "0"
    assert budget(minAvailable=0).min_available == "0"


@pytest.mark.parametrize(("status", "current"), [({"observedGeneration": 2}, True), ({"observedGeneration": 1}, False), ({}, False)])  # fmt: skip
def test_a_budget_whose_controller_has_not_seen_its_last_change_is_not_current(status, current):
    assert budget(status or {"disruptionsAllowed": 0}, generation=2).is_current is current


def test_an_autoscaler_keeps_at_least_one_unless_it_says_otherwise():
    target = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
    found = read("HorizontalPodAutoscaler", spec={"scaleTargetRef": target, "maxReplicas": 9}, status={})
    assert found == Autoscaler("n", "x", "Deployment", "web", 1, 9)
    status = {"currentReplicas": 2, "desiredReplicas": 3}
    spec = {"scaleTargetRef": target, "minReplicas": 0, "maxReplicas": 9}
    busy = read("HorizontalPodAutoscaler", spec=spec, status=status)
    assert (busy.min_replicas, busy.current_replicas, busy.desired_replicas) == (0, 2, 3)


def test_a_quota_is_in_base_units_and_is_scoped_by_either_way_of_saying_so():
    status = {"hard": {"pods": "10", "requests.memory": "1Gi"}, "used": {"pods": "3", "requests.memory": "512Mi"}}
    found = read("ResourceQuota", spec={"hard": {"pods": "99"}}, status=status)
    assert found == Quota(
        "n", "x", hard={"pods": 10.0, "requests.memory": 2.0**30}, used={"pods": 3.0, "requests.memory": 2.0**29}
    )
    assert read("ResourceQuota", spec={"hard": {"pods": "5"}}, status={}).hard == {"pods": 5.0}
    assert read("ResourceQuota", spec={"scopes": ["BestEffort"]}).scoped
    selector = {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists"}]}
    assert read("ResourceQuota", spec={"scopeSelector": selector}).scoped
    assert not read("ResourceQuota", spec={"scopeSelector": {}}).scoped


def test_a_claim_names_its_volume_once_it_has_one():
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "volumeName": "pv-1"}
    assert read("PersistentVolumeClaim", spec=spec) == Claim("n", "x", "pv-1", ("ReadWriteOnce",), "fast")
    assert read("PersistentVolumeClaim", spec={}) == Claim("n", "x")


def volume(labels=None, terms=None):
    affinity = {} if terms is None else {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}
    return read("PersistentVolume", {"namespace": "", "labels": labels}, spec=affinity)


ON_N1 = {"matchExpressions": [{"key": "host", "operator": "In", "values": ["n1"]}]}
ZONE = "topology.kubernetes.io/zone"


@pytest.mark.parametrize(
    ("labels", "terms", "found"),
    [
        (None, None, None),
        (None, [ON_N1, {}], ((is_in("host", "n1"),),)),
        (None, [], ()),
        ({ZONE: "a"}, None, ((is_in(ZONE, "a"),),)),
        ({ZONE: "b__a", "other": "x"}, [ON_N1], ((is_in(ZONE, "a", "b"), is_in("host", "n1")),)),
        ({ZONE: "a"}, [], ()),
    ],
)
def test_a_volume_is_where_its_terms_and_its_labels_say(labels, terms, found):
    assert volume(labels, terms) == Volume("x", terms=found)


def test_a_storage_class_waits_or_does_not_and_says_where():
    zones = [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "b"]}]}]
    made = {"volumeBindingMode": "WaitForFirstConsumer", "allowedTopologies": zones}
    assert read("StorageClass", **made) == StorageClass("x", waits=True, terms=((is_in("zone", "a", "b"),),))
    assert read("StorageClass", volumeBindingMode="Immediate", allowedTopologies=None) == StorageClass("x")


def test_every_kind_has_the_path_the_api_server_serves():
    assert [resource.path for resource in CONSTRAINTS] == [
        "/apis/policy/v1/poddisruptionbudgets",
        "/apis/autoscaling/v2/horizontalpodautoscalers",
        "/api/v1/resourcequotas",
        "/api/v1/persistentvolumeclaims",
        "/api/v1/persistentvolumes",
        "/apis/storage.k8s.io/v1/storageclasses",
    ]
