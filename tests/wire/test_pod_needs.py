"""What a pod needs of its node, and what else of it decides about a move."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import ACCEPTED_ANNOTATIONS, TOLERATIONS, node_affinities
from webhook.core.census import PodFact
from webhook.core.model import Requirement, Toleration
from webhook.wire.kubernetes import RESOURCES, decode_object, deletion_cost

POD = next(resource for resource in RESOURCES if resource.kind == "Pod")
COST = "controller.kubernetes.io/pod-deletion-cost"


def fact(metadata=None, status=None, **spec) -> PodFact:
    body = {"metadata": {"name": "p", "namespace": "n"} | (metadata or {}), "spec": spec, "status": status or {}}
    return decode_object(json.dumps(body).encode(), POD).fact


def needs(metadata=None, **spec):
    return fact(metadata, **spec).needs


def term(*expressions, **fields):
    return {"matchExpressions": list(expressions)} | fields


def required(*terms):
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


IN_A = {"key": "zone", "operator": "In", "values": ["a"]}
ON_N1 = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}
BY_FIELD = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}


@pytest.mark.parametrize(
    ("spec", "terms", "by_name"),
    [
        ({}, None, False),
        ({"affinity": None}, None, False),
        ({"affinity": {"nodeAffinity": {}}}, None, False),
        ({"affinity": required()}, (), False),
        ({"affinity": required({}, term(IN_A))}, ((Requirement("zone", "In", ("a",)),),), False),
        ({"affinity": required({})}, (), False),
        ({"affinity": required(BY_FIELD)}, ((Requirement("metadata.name", "In", ("n1",)),),), True),
        ({"affinity": required(term(ON_N1))}, ((Requirement("kubernetes.io/hostname", "In", ("n1",)),),), True),
        ({"nodeSelector": {"kubernetes.io/hostname": "n1"}}, None, True),
        ({"nodeSelector": {"zone": "a"}}, None, False),
    ],
)
def test_terms_are_conjunctions_and_one_that_matches_nothing_is_none(spec, terms, by_name):
    found = needs(**spec)
    assert (found.terms, found.by_name) == (terms, by_name)


@pytest.mark.parametrize(
    ("volume", "local", "claims", "host_path"),
    [
        ({"hostPath": {"path": "/data"}}, ("v",), (), True),
        ({"emptyDir": {}}, ("v",), (), False),
        ({"emptyDir": {"medium": ""}}, ("v",), (), False),
        ({"emptyDir": {"medium": "Memory"}}, (), (), False),
        ({"persistentVolumeClaim": {"claimName": "data-0"}}, (), ("data-0",), False),
        ({"ephemeral": {"volumeClaimTemplate": {"spec": {}}}}, ("v",), (), False),
        ({"configMap": {"name": "c"}, "emptyDir": None}, (), (), False),
        ({"projected": {"sources": []}}, (), (), False),
    ],
)
def test_what_a_volume_ties_a_pod_to(volume, local, claims, host_path):
    found = needs(volumes=[{"name": "v"} | volume])
    assert (found.local_volumes, found.claims, found.host_path) == (local, claims, host_path)


@pytest.mark.parametrize(
    ("spec", "ports"),
    [
        ({"containers": [{"ports": [{"containerPort": 80}]}]}, ()),
        ({"containers": [{"ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]}]}, (8080,)),
        ({"hostNetwork": True, "containers": [{"ports": [{"containerPort": 80}]}]}, (80,)),
        ({"initContainers": [{"ports": [{"containerPort": 1, "hostPort": 9}]}]}, ()),
        ({"initContainers": [{"restartPolicy": "Always", "ports": [{"containerPort": 1, "hostPort": 9}]}]}, (9,)),
    ],
)
def test_ports_of_the_node_are_those_of_containers_that_stay(spec, ports):
    assert needs(**spec).host_ports == ports


@pytest.mark.parametrize(
    ("spec", "extended"),
    [
        ({"containers": [{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]}, ()),
        ({"containers": [{"resources": {"limits": {"nvidia.com/gpu": "2"}}}]}, (("nvidia.com/gpu", 2.0),)),
        (
            {
                "containers": [
                    {"resources": {"requests": {"ephemeral-storage": "1Gi"}, "limits": {"ephemeral-storage": "2Gi"}}},
                    {"resources": {"requests": {"ephemeral-storage": "1Gi", "gpu": "1"}}},
                ],
                "initContainers": [
                    {"resources": {"requests": {"gpu": "8"}}},
                    {"restartPolicy": "Always", "resources": {"requests": {"gpu": "1"}}},
                ],
            },
            (("ephemeral-storage", 2.0 * 2**30), ("gpu", 2.0)),
        ),
    ],
)
def test_all_else_than_cpu_and_memory_is_summed_over_what_stays(spec, extended):
    assert needs(**spec).extended == extended


def test_what_keeps_pods_apart_or_spread_is_told_by_its_topology_where_it_must_hold():
    anti = {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "zone", "labelSelector": {}},
            {"topologyKey": "kubernetes.io/hostname"},
            {"topologyKey": "zone"},
        ],
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "region"}}
        ],
    }
    spread = [
        {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1},
        {"topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway", "maxSkew": 1},
    ]
    found = needs(affinity={"podAntiAffinity": anti}, topologySpreadConstraints=spread)
    assert (found.apart_by, found.spread_by) == (("kubernetes.io/hostname", "zone"), ("zone",))


@pytest.mark.parametrize(
    ("spec", "critical"),
    [
        ({}, False),
        ({"priorityClassName": "system-node-critical"}, True),
        ({"priorityClassName": "mine", "priority": 2_000_000_000}, True),
        ({"priority": 1_999_999_999}, False),
    ],
)
def test_a_critical_pod_is_known_by_class_or_number(spec, critical):
    assert needs(**spec).critical is critical


def test_a_static_pod_is_known_by_its_mirror_or_by_the_node_that_owns_it():
    owner = {"kind": "Node", "name": "n1", "uid": "u", "controller": True}
    assert needs({"annotations": {"kubernetes.io/config.mirror": "x"}}).static
    assert needs({"ownerReferences": [owner]}).static
    assert not needs({"ownerReferences": [owner | {"controller": False}]}).static


def test_only_annotations_that_decide_are_kept_and_what_was_decided_on_the_pod_is_apart():
    kept = {
        "spot-balancer.io/move": "never",
        "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes": "v",
        "descheduler.alpha.kubernetes.io/prefer-no-eviction": "",
    }
    stamp = "v1/spot/3"
    found = fact(
        {"annotations": kept | {"spot-balancer.io/decision": stamp, "checksum/config": "x", COST: "4"}}, nodeName="n1"
    )
    assert dict(found.needs.annotations) == kept
    assert (found.decision, found.deletion_cost) == (stamp, 4)


def test_tolerations_stand_as_they_are_written():
    seconds = {
        "key": "node.kubernetes.io/not-ready",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 300,
    }
    (found,) = needs(tolerations=[seconds]).tolerations
    assert found == Toleration("node.kubernetes.io/not-ready", "Exists", None, "NoExecute", 300)


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("0", 0), ("7", 7), ("-7", -7), ("-007", -7), ("-0", 0), ("2147483647", 2**31 - 1), ("-2147483648", -(2**31)),
        ("2147483648", 0), ("-2147483649", 0), ("+7", 0), ("007", 0), ("00", 0), ("", 0), ("-", 0), ("1.5", 0),
        ("1e3", 0), (" 7", 0), ("7 ", 0), ("1_000", 0), ("\u0667", 0), ("9" * 5000, 0), ("-" + "0" * 5000, 0), ("0x10", 0),
    ],
)  # fmt: skip
def test_a_deletion_cost_is_read_as_the_controller_reads_it(text, cost):
    assert deletion_cost({COST: text}) == cost


def test_restarts_are_the_most_of_any_container_and_those_of_sidecars_are_apart():
    status = {
        "containerStatuses": [{"name": "a", "restartCount": 2}, {"name": "b", "restartCount": 5}],
        "initContainerStatuses": [{"name": "init", "restartCount": 9}, {"name": "side", "restartCount": 3}],
    }
    found = fact(status=status, initContainers=[{"name": "init"}, {"name": "side", "restartPolicy": "Always"}])
    assert (found.restarts, found.sidecar_restarts) == (5, 3)
    assert (fact().restarts, fact().sidecar_restarts) == (0, 0)


def test_ready_since_is_when_the_ready_condition_changed():
    moment = "2026-03-05T12:00:00Z"
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    conditions.append({"type": "Ready", "status": "True", "lastTransitionTime": moment})
    found = fact(status={"conditions": conditions})
    assert (found.ready, found.ready_at) == (True, datetime(2026, 3, 5, 12, tzinfo=UTC))
    assert fact().ready_at is None


def test_pods_of_one_template_share_one_value_though_each_has_a_token_volume_of_its_own():
    def pod(suffix):
        token = {"name": f"kube-api-access-{suffix}", "projected": {"sources": []}}
        return fact(
            {"name": f"web-{suffix}", "uid": suffix, "labels": {"app": "web"}},
            volumes=[{"name": "tmp", "emptyDir": {}}, token],
            tolerations=TOLERATIONS,
            nodeName=f"node-{suffix}",
        )

    assert pod("a").needs is pod("b").needs


@given(
    st.dictionaries(st.sampled_from(["app", "x"]), st.text(max_size=3), max_size=2),
    st.dictionaries(st.sampled_from([*ACCEPTED_ANNOTATIONS, "spot-balancer.io/move"]), st.text(max_size=3), max_size=2),
    st.one_of(st.none(), node_affinities().map(lambda inner: {"nodeAffinity": inner})),
    st.one_of(st.none(), st.lists(st.sampled_from(TOLERATIONS), max_size=3)),
)
def test_equal_needs_are_one_value_and_every_pod_has_some(labels, annotations, affinity, tolerations):
    metadata, spec = {"labels": labels, "annotations": annotations}, {"affinity": affinity, "tolerations": tolerations}
    one, other = fact(metadata, **spec), fact(metadata | {"name": "other"}, **spec)
    assert one.needs is other.needs
    assert hash(one.needs) == hash(other.needs)
    assert dict(one.needs.labels) == labels
    assert all(term for term in one.needs.terms or ()), "an empty conjunction would match every node"
