"""From pods to workloads, by any chain that the API server may show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW
from webhook.core.census import Census, ControllerFact, PodFact
from webhook.core.model import ControllerRef, WorkloadKey
from webhook.core.owners import cron_job_of, deployment_of, resolve


def ref(kind: str, name: str) -> ControllerRef:
    return ControllerRef(kind=kind, name=name, uid=f"uid-{kind}-{name}", api_version="apps/v1")


def fact(kind: str, name: str, owner: ControllerRef | None = None, **more) -> ControllerFact:
    return ControllerFact(
        api_version="apps/v1",
        kind=kind,
        namespace="shop",
        name=name,
        uid=f"uid-{kind}-{name}",
        controller=owner,
        **more,
    )


def pod(name: str, owner: ControllerRef | None = None, **more) -> PodFact:
    return PodFact(namespace="shop", name=name, uid=f"uid-{name}", controller=owner, **more)


def census(*controllers: ControllerFact, pods: tuple[PodFact, ...] = ()) -> Census:
    return Census(taken_at=NOW, controllers=controllers, pods=pods)


def key(kind: str, name: str) -> WorkloadKey:
    return WorkloadKey("shop", kind, name)


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    ("controllers", "start", "top"),
    [
        ([fact("ReplicaSet", "web-1", ref("Deployment", "web")), fact("Deployment", "web")], "ReplicaSet/web-1", "Deployment/web"),
        ([fact("ReplicaSet", "ro-1", ref("Rollout", "ro"))], "ReplicaSet/ro-1", "Rollout/ro"),
        ([fact("Job", "n-1", ref("CronJob", "n")), fact("CronJob", "n")], "Job/n-1", "CronJob/n"),
        ([fact("Job", "once")], "Job/once", "Job/once"),
        ([fact("ReplicaSet", "bare")], "ReplicaSet/bare", "ReplicaSet/bare"),
        ([fact("StatefulSet", "db", ref("Postgres", "db"))], "StatefulSet/db", "StatefulSet/db"),
        ([fact("Deployment", "web", ref("Website", "w"))], "Deployment/web", "Deployment/web"),
        ([fact("ReplicaSet", "orphan-1", ref("Deployment", "gone"))], "ReplicaSet/orphan-1", "Deployment/gone"),
    ],
)  # fmt: skip
def test_a_chain_ends_at_the_workload_that_people_know(controllers, start, top):
    kind, _, name = start.partition("/")
    assert resolve(census(*controllers))["shop", kind, name] == key(*top.split("/"))


@pytest.mark.fault(24)
def test_a_cycle_and_a_chain_too_deep_lead_nowhere():
    cycle = [fact("ReplicaSet", "a", ref("ReplicaSet", "b")), fact("ReplicaSet", "b", ref("ReplicaSet", "a"))]
    assert resolve(census(*cycle)) == {}
    deep = [fact("Job", f"j{n}", ref("Job", f"j{n + 1}")) for n in range(5)]
    assert ("shop", "Job", "j0") not in resolve(census(*deep))


def test_a_pod_names_its_owner_where_that_kind_is_not_read_but_an_unseen_replicaset_is_no_workload():
    pods = (pod("p", ref("GameServer", "g")), pod("q", ref("ReplicaSet", "young-1")), pod("r"))
    assert resolve(census(pods=pods)) == {("shop", "GameServer", "g"): key("GameServer", "g")}


KINDS = st.sampled_from(["ReplicaSet", "Job", "Deployment", "StatefulSet", "Rollout"])
REFS = st.builds(ref, KINDS, st.sampled_from("abc"))


@pytest.mark.fault(24)
@given(
    st.lists(st.builds(fact, KINDS, st.sampled_from("abc"), st.none() | REFS), max_size=8), st.lists(REFS, max_size=3)
)
def test_every_answer_is_an_end_and_every_end_answers_for_itself(controllers, named):
    found = resolve(census(*controllers, pods=tuple(pod(f"p{n}", r) for n, r in enumerate(named))))
    parents = {(c.kind, c.name): c.controller for c in controllers}
    for top in set(found.values()):
        assert top.kind not in ("ReplicaSet", "Job") or parents.get((top.kind, top.name)) is None
    assert all(
        found["shop", c.kind, c.name] == key(c.kind, c.name)
        for c in controllers
        if parents[c.kind, c.name] is None or c.kind not in ("ReplicaSet", "Job")
    )


@pytest.mark.parametrize(
    ("replicaset", "template_hash", "deployment"),
    [
        ("nginx-demo-7f9c5d", "7f9c5d", "nginx-demo"),
        ("nginx-demo-7f9c5d", "5d", None),
        ("nginx-demo-7f9c5d", "", None),
        ("-7f9c5d", "7f9c5d", None),
        ("7f9c5d", "7f9c5d", None),
        ("a-7f9c5d-7f9c5d", "7f9c5d", "a-7f9c5d"),
    ],
)
def test_a_young_replicaset_tells_its_deployment_by_the_hash(replicaset, template_hash, deployment):
    assert deployment_of(replicaset, template_hash) == deployment


@pytest.mark.parametrize(
    ("job", "cron_job"),
    [
        ("nightly-29384756", "nightly"),
        ("a-b-29384756", "a-b"),
        ("nightly", None),
        ("nightly-1", None),
        ("nightly-2938475x", None),
        ("-29384756", None),
        ("nightly-२९३८४७५६", None),
    ],
)
def test_a_job_of_a_cron_job_is_known_by_its_name_before_any_watch_tells_of_it(job, cron_job):
    assert cron_job_of(job) == cron_job
