"""What a snapshot holds, and what it leaves out."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW, make_move, make_verdict
from tests.core.test_owners import census, fact, key, pod, ref
from webhook.core import fairness, load
from webhook.core.book import Book, Control
from webhook.core.census import Census, NodeFact
from webhook.core.inventory import History, build, observe, recall
from webhook.core.model import CapacityType, Namespace, Platform, Resources, Side
from webhook.core.policy import BalancePolicy, Match, Policy, Rule, SpotWish
from webhook.core.usage import NodeSample, NodeUsage

WEB = key("Deployment", "web")
SPOT = {"karpenter.sh/capacity-type": "spot", "kubernetes.io/arch": "arm64", "vendor/noise": "x"}


def web(replicas: int = 2, uid: str = "uid-web", **more):
    return msgspec.structs.replace(fact("Deployment", "web", replicas=replicas, **more), uid=uid)


def shop(**changes) -> Census:
    owner = ref("ReplicaSet", "web-2")
    pods = (
        pod("p1", owner, node_name="s1", phase="Running", ready=True),
        pod("p2", owner, node_name="r1", phase="Running", ready=False),
        pod("p3", owner, node_name="s1", phase="Running", ready=True, deleting=True),
        pod("p4", owner, node_name="s1", phase="Succeeded"),
        pod("p5", owner, node_name="", phase="Pending"),
        pod("agent", ref("DaemonSet", "agent"), node_name="s1", phase="Running", ready=True),
    )
    made = Census(
        taken_at=NOW,
        nodes=(NodeFact(name="s1", labels=SPOT, ready=True), NodeFact(name="r1", unschedulable=True)),
        namespaces=(
            Namespace(
                name="shop",
                annotations={"spot-balancer.io/spot": "never", "scheduler.alpha.kubernetes.io/tolerationsWhitelist": "[]", "a": "b"},
                labels={"team": "x"},
            ),
        ),
        pods=pods,
        controllers=(
            web(annotations={"spot-balancer.io/max-spot": "50%", "karpenter.sh/do-not-disrupt": "30m", "kubectl": "long"}),
            fact("ReplicaSet", "web-1", ref("Deployment", "web"), replicas=0),
            fact("ReplicaSet", "web-2", ref("Deployment", "web"), replicas=2),
            fact("StatefulSet", "db", replicas=1),
        ),
        server_version="v1.37.2",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def test_pods_are_counted_where_they_are_and_only_while_they_live():
    found = build(shop(), Book(), Policy()).workloads[WEB]
    assert (found.pods, found.pods_on_spot, found.replicas) == (3, 1, 2)
    assert found.ready_platforms == (Platform("linux", "arm64"),)


def test_controllers_lead_to_their_workload_and_replicasets_of_the_past_are_left_out():
    found = build(shop(), Book(), Policy())
    assert found.controllers["shop", "ReplicaSet", "web-2"] == WEB
    assert ("shop", "ReplicaSet", "web-1") not in found.controllers
    assert found.controllers["shop", "StatefulSet", "db"] == key("StatefulSet", "db")
    assert {k.kind for k in found.workloads} == {"Deployment", "StatefulSet"}


def test_only_metadata_that_decisions_read_is_kept():
    found = build(shop(), Book(), Policy())
    assert found.workloads[WEB].annotations == {
        "spot-balancer.io/max-spot": "50%",
        "karpenter.sh/do-not-disrupt": "30m",
    }
    assert set(found.namespaces["shop"].annotations) == {
        "spot-balancer.io/spot",
        "scheduler.alpha.kubernetes.io/tolerationsWhitelist",
    }
    assert found.namespaces["shop"].labels == {}
    assert "vendor/noise" not in found.nodes["s1"].labels


def test_nodes_have_their_class_and_load():
    sample = NodeSample(node="s1", cpu_cores=1.5, memory_bytes=2e9, sampled_at=NOW, source="node-exporter")
    found = build(shop(), Book(), Policy(), node_usage=NodeUsage(nodes=(sample,))).nodes
    assert (found["s1"].capacity_type, found["s1"].load.cpu_cores) == (CapacityType.SPOT, 1.5)
    assert (found["r1"].capacity_type, found["r1"].schedulable, found["r1"].load) == (CapacityType.REGULAR, False, None)


@pytest.mark.parametrize(("minutes", "max_age", "known"), [(1, 5, True), (5, 1, True), (6, 5, False), (6, 10, True)])
def test_pods_that_were_told_of_long_before_a_node_was_sampled_are_held_for_none_of_its_load(minutes, max_age, known):
    sample = NodeSample(node="s1", cpu_cores=1.5, memory_bytes=2e9, sampled_at=NOW, source="node-exporter")
    used = {"s1": {"shop": Resources(1.0, 1e9)}}
    measured = load.Measured({}, {}, used, {"s1": Resources(1.0, 0.0)}, NOW - timedelta(minutes=minutes))
    policy = Policy(balance=BalancePolicy(max_age=timedelta(minutes=max_age)))
    nodes = NodeUsage(nodes=(sample,))
    for told in (measured, load.recall(build(shop(), Book(), policy, node_usage=nodes, measured=measured))[1]):
        found = build(shop(), Book(), policy, node_usage=nodes, measured=told).nodes["s1"].load
        assert (found.namespaces, found.expected is not None) == ((used["s1"] if known else {}), known)
        assert found.cpu_cores == 1.5


@pytest.mark.parametrize(("uid", "side"), [("uid-web", Side.SPOT), ("uid-of-another", None)])
def test_a_verdict_holds_for_the_object_it_was_made_for(uid, side):
    verdict = msgspec.structs.replace(make_verdict(WEB), uid=uid)
    book = Book(control=Control(heartbeat=NOW, moves=(make_move(WEB),)), verdicts={str(WEB): verdict})
    found = build(shop(), book, Policy())
    assert (found.workloads[WEB].verdict.side if found.workloads[WEB].verdict else None) == side
    assert found.workloads[WEB].surging
    assert found.meta.book_heartbeat == NOW


def test_an_owner_whose_kind_is_not_read_is_known_by_what_its_children_say():
    rollout = msgspec.structs.replace(ref("Rollout", "ro"), api_version="argoproj.io/v1alpha1")
    found = build(census(fact("ReplicaSet", "ro-1", rollout, replicas=0)), Book(), Policy())
    workload = found.workloads[key("Rollout", "ro")]
    assert (workload.uid, workload.api_version) == ("uid-Rollout-ro", "argoproj.io/v1alpha1")
    # Its ReplicaSets have no hash that we know, so even those at zero must lead to it.
    assert found.controllers["shop", "ReplicaSet", "ro-1"] == workload.key


@given(st.permutations(shop().pods), st.permutations(shop().controllers), st.permutations(shop().nodes))
def test_the_order_in_which_things_were_read_does_not_show(pods, controllers, nodes):
    one = build(shop(), Book(), Policy())
    other = build(shop(pods=tuple(pods), controllers=tuple(controllers), nodes=tuple(nodes)), Book(), Policy())
    assert list(one.workloads.values()) == list(other.workloads.values())
    assert list(one.nodes.values()) == list(other.nodes.values())


def fold(*steps: tuple[int, bool], start: History | None = None, uid: str = "uid-web") -> History:
    """Successive censuses a minute apart: replicas, and whether the book says that we surge."""
    history = start or History()
    for minute, (replicas, surging) in enumerate(steps):
        seen = msgspec.structs.replace(census(web(replicas, uid)), taken_at=NOW + timedelta(minutes=minute))
        history = observe(history, seen, Book(control=Control(moves=(make_move(WEB),) if surging else ())))
    return history


def risen(history: History) -> int | None:
    at = history.seen[str(WEB)].risen_at
    return None if at is None else round((at - NOW).total_seconds() / 60)


@pytest.mark.parametrize(
    ("steps", "minute"),
    [
        ([(2, False)], None),
        ([(2, False), (2, False), (1, False)], None),
        ([(2, False), (3, False), (3, False)], 1),
        ([(0, False), (1, False)], 1),
        ([(2, False), (3, False), (5, False)], 2),
        ([(2, False), (2, True), (3, True), (3, True), (2, True), (2, False)], None),
        ([(2, False), (3, True), (4, True)], 2),
        ([(2, False), (4, True)], 1),
        ([(2, False), (3, True), (3, False), (4, False)], 3),
    ],
)
def test_replicas_that_rose_by_someone_elses_hand_are_noted_and_our_own_one_is_not(steps, minute):
    assert risen(fold(*steps)) == minute


def test_another_object_of_the_same_name_has_not_risen():
    assert risen(fold((5, False), start=fold((2, False)), uid="new")) is None


def test_history_holds_no_more_than_the_cluster_and_reaches_the_snapshot_and_back():
    history = fold((2, False), (3, False))
    assert observe(history, census(), Book()).seen == {}
    book = Book()
    snapshot = build(census(web(3)), book, Policy(), history=history)
    assert snapshot.workloads[WEB].risen_at == NOW + timedelta(minutes=1)
    assert recall(snapshot) == history


BY_LABEL = Rule(
    name="careful", match=Match(kinds=("Deployment",), namespace_labels={"env": "prod"}), spot=SpotWish.NEVER
)
LAX = Rule(name="lax", match=Match(), spot=SpotWish.ALWAYS)


@pytest.mark.parametrize(
    ("namespaces", "rule"),
    [
        ((Namespace("shop", labels={"env": "prod"}),), "careful"),
        ((Namespace("shop", labels={"env": "dev"}),), "lax"),
        ((Namespace("shop"),), "lax"),
        ((Namespace("other", labels={"env": "dev"}),), ""),
        ((), ""),
    ],
    ids=["matches", "does not", "no labels", "another is known", "none is known"],
)
def test_no_laxer_rule_is_taken_while_the_namespaces_labels_are_not_known(namespaces, rule):
    found = build(shop(namespaces=namespaces), Book(), Policy(rules=(BY_LABEL, LAX)))
    assert found.workloads[WEB].rule == rule


@pytest.mark.parametrize(
    ("rules", "rule"),
    [((LAX, BY_LABEL), "lax"), ((BY_LABEL, LAX), "lax"), ((), "")],
    ids=["the first is for it anyhow", "the first is for another kind", "no rules"],
)
def test_a_rule_that_does_not_hang_on_the_namespace_is_taken_though_that_is_unknown(rules, rule):
    found = build(shop(namespaces=()), Book(), Policy(rules=rules))
    subject = WEB if rules[:1] == (LAX,) else key("StatefulSet", "db")
    assert found.workloads[subject].rule == rule


@given(st.lists(st.sampled_from([BY_LABEL, LAX, *(Rule(name=n, match=Match(names=(n,))) for n in ("web", "db"))])))
def test_an_unknown_namespace_gives_no_rule_or_the_one_that_any_labels_would_give(rules):
    policy = Policy(rules=tuple(rules))
    unknown = build(shop(namespaces=()), Book(), policy).workloads
    for env in ({}, {"env": "prod"}, {"env": "dev"}):
        known = build(shop(namespaces=(Namespace("shop", labels=env),)), Book(), policy).workloads
        assert all(found.rule in ("", known[name].rule) for name, found in unknown.items())


GOLD = Rule(name="gold", match=Match(namespace_labels={"tier": "gold"}), weight=3)


@pytest.mark.parametrize(
    ("labels", "annotations", "weight", "said_by", "note"),
    [
        ({}, {}, 1, "default", ""),
        ({"tier": "gold"}, {}, 3, "rule gold", ""),
        ({"tier": "gold"}, {"spot-balancer.io/weight": "0.5"}, 0.5, "namespace", ""),
        ({"tier": "gold"}, {"spot-balancer.io/weight": "lots"}, 3, "rule gold", "expected a number from 0.001 to 1000"),
        ({"tier": "gold"}, {"spot-balancer.io/weight": "9"}, 3, "rule gold", "more than rule gold allows"),
    ],
)
def test_a_namespace_is_weighed_by_labels_that_the_snapshot_does_not_keep(labels, annotations, weight, said_by, note):
    policy = Policy(rules=(GOLD,), allowed_annotations=())
    found = build(shop(namespaces=(Namespace("shop", annotations, labels),)), Book(), policy).namespaces["shop"]
    assert found.labels == {}
    assert found.weight == weight
    told = fairness.weight_in(policy, found)
    assert (told.value, told.said_by) == (weight, said_by)
    assert note in told.note
