"""Redaction renames and does nothing else: the same decisions, no name left, never two names made one."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import builders, strategies
from webhook.core import fairness, spotpool
from webhook.core.model import (
    Bound,
    CapacityType,
    ControllerRef,
    Estimate,
    Memory,
    Namespace,
    Node,
    NodeLoad,
    PodUse,
    Requirement,
    Resources,
    Taint,
    UseRatio,
    Value,
    Workload,
    WorkloadKey,
)
from webhook.core.placement import Changes, Decision, PlacementRequest, decide
from webhook.core.pod import Pod
from webhook.core.policy import (
    ANNOTATIONS,
    BalancePolicy,
    CustomSignal,
    IdlePolicy,
    Limits,
    Match,
    MovePolicy,
    Policy,
    Rule,
    SpotPool,
)
from webhook.core.redaction import Redactor, redact
from webhook.core.rehearsal import rehearse
from webhook.core.snapshot import Snapshot
from webhook.errors import InputError
from webhook.wire.snapshot import decode_document, encode_document

SECRET = b"a key for tests"
# 0, 1, 8 and 9 never occur in a renamed word, so that no name is found there by chance.
NAMES = st.from_regex(r"[a-z]{2}[0189][a-z]{2}[0189]q[a-z]{0,3}", fullmatch=True)


def redacted_pod(pod: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    """The same pod in the redacted world."""
    pod = json.loads(json.dumps(pod))
    meta, spec = pod["metadata"], pod["spec"]
    if meta.get("annotations"):
        meta["annotations"] = redactor.annotations(meta["annotations"])
    for owner in meta.get("ownerReferences", ()):
        owner["name"] = redactor.owned(owner["name"], ["nginx-demo"])
    if "pod-template-hash" in meta["labels"]:
        meta["labels"]["pod-template-hash"] = redactor.name(meta["labels"]["pod-template-hash"])
    if "nodeSelector" in spec:
        spec["nodeSelector"] = {redactor.key(k): redactor.labelled(k, v) for k, v in spec["nodeSelector"].items()}
    for toleration in spec.get("tolerations") or ():
        for field, rename in (("key", redactor.key), ("value", redactor.word)):
            if field in toleration:
                toleration[field] = rename(toleration[field])
    for found in _expressions(spec.get("affinity")):
        key = found["key"]
        found["key"] = redactor.key(key)
        if "values" in found:
            found["values"] = [redactor.labelled(key, value) for value in found["values"]]
    meta["namespace"] = redactor.namespace(meta["namespace"])
    return pod


def _expressions(tree: Any) -> list[dict[str, Any]]:
    if isinstance(tree, dict):
        own = tree.get("matchExpressions") or []
        return [*own, *(e for value in tree.values() for e in _expressions(value))]
    return [e for one in tree for e in _expressions(one)] if isinstance(tree, list) else []


def unordered(decision: Decision, rename: Redactor | None = None) -> Any:
    """Alternatives as sets: their order is that of their keys, and those are renamed."""

    def alternatives(found: tuple[tuple[Requirement, ...], ...]) -> set[frozenset[Requirement]]:
        return {frozenset(rename.requirement(r) if rename else r for r in one) for one in found}

    changes = decision.changes or Changes()
    tolerations = {rename.value_of(t) if rename else t for t in changes.tolerations}
    key = decision.workload
    return (
        (decision.reason, decision.side, decision.mode, decision.changes is None, decision.detail),
        rename.value_of(key) if rename and key else key,
        (alternatives(changes.required), alternatives(changes.preferred), changes.weight),
        (tolerations, changes.annotations),
    )


def assert_decides_alike(pod: dict[str, Any], snapshot: Snapshot, namespace: str = "shop") -> None:
    redactor, other = Redactor(SECRET, snapshot), redact(snapshot, SECRET)
    here = decide(builders.make_request(pod, namespace=namespace), snapshot, now=builders.NOW)
    there_pod = msgspec.convert(redacted_pod(pod, redactor), Pod)
    request = PlacementRequest(uid="u-1", namespace=redactor.namespace(namespace), pod=there_pod)
    assert unordered(decide(request, other, now=builders.NOW)) == unordered(here, redactor)


@given(pod=strategies.pods(), snapshot=strategies.snapshots())
@settings(max_examples=150, deadline=None)
def test_every_decision_is_the_same_but_for_the_names(pod, snapshot):
    assert_decides_alike(pod, snapshot)


@given(pod=strategies.pods(), snapshot=strategies.snapshots())
@settings(max_examples=50, deadline=None)
def test_a_replicaset_too_young_to_be_known_still_leads_to_its_deployment(pod, snapshot):
    young = [msgspec.structs.replace(w, controllers=()) for w in snapshot.workloads.values()]
    bare = Snapshot(
        snapshot.meta, nodes=snapshot.nodes.values(), namespaces=snapshot.namespaces.values(), workloads=young
    )
    assert_decides_alike(pod, bare)


@st.composite
def named_snapshots(draw: st.DrawFn) -> tuple[Snapshot, set[str]]:
    """A world where everything that can carry a name carries one of its own, and those names."""
    names = draw(st.lists(NAMES, min_size=22, max_size=22, unique=True))
    take = iter(names).__next__
    space, own, replicas = take(), take(), take()
    key = WorkloadKey(space, take(), own)
    pod = f"{own}-{replicas}-{take()}"
    reason = draw(st.sampled_from([f"running pod {pod} has no current sample", f"Prometheus: no host {take()} at all"]))
    marker = (Requirement(take(), "In", (take(),)),)
    rule = Rule(name=take(), match=Match(namespaces=(f"/{space}.*/",), names=(own,), labels={take(): take()}))
    policy = Policy(
        rules=(rule,),
        spot_labels=(marker,),
        spot_pools=(SpotPool(take(), marker, (Taint(take(), take()),)),),
        excluded_namespaces=("kube-system", take()),
        idle=IdlePolicy(signals=(CustomSignal(take(), f"sum({take()})", 1.0),)),
    )
    labels = {marker[0].key: marker[0].values[0], "kubernetes.io/hostname": names[-1]}
    told = spotpool.classify(labels, policy=policy).recognised_by
    node = Node(
        name=names[-1], capacity_type=CapacityType.SPOT, recognised_by=told, marker=marker, labels=labels, taints=()
    )
    workload = Workload(
        key=key,
        uid=names[-2],
        rule=rule.name,
        annotations={f"spot-balancer.io/{names[-3]}": names[-3], "spot-balancer.io/spot": "always"},
        controllers=(ControllerRef("ReplicaSet", f"{own}-{replicas}", names[-3]),),
        verdict=builders.make_verdict(key, uid=names[-2], reason=reason),
    )
    spaces = [Namespace(space, {"scheduler.alpha.kubernetes.io/tolerationsWhitelist": names[-3]})]
    return builders.make_snapshot(workload, nodes=[node], policy=policy, namespaces=spaces, source=names[-4]), set(
        names
    )


@given(named_snapshots())
@settings(max_examples=60, deadline=None)
def test_no_name_is_left_in_the_bytes(world):
    snapshot, names = world
    text = encode_document(redact(snapshot, SECRET)).decode()
    assert [name for name in names if name in text] == []


@given(named_snapshots())
@settings(max_examples=30, deadline=None)
def test_one_key_gives_one_file_that_can_be_read_and_another_key_another(world):
    snapshot, _ = world
    written = encode_document(redact(snapshot, SECRET))
    assert written == encode_document(redact(snapshot, SECRET))
    assert written != encode_document(redact(snapshot, b"another"))
    assert encode_document(decode_document(written)) == written


@given(st.lists(st.text(), min_size=2, max_size=30, unique=True))
def test_no_two_names_become_one(names):
    redactor = Redactor(SECRET, builders.make_snapshot())
    assert len({redactor.name(name) for name in names}) == len(names)
    assert len({redactor.word(name) for name in names}) == len(names)


def test_rules_keep_their_workloads():
    rule = Rule(name="mine", match=Match(names=("/nginx-.*/", "exact"), namespaces=("/nowhere/",)))
    other = redact(builders.make_snapshot(builders.make_workload(), policy=Policy(rules=(rule,))), SECRET)
    redactor = Redactor(SECRET, builders.make_snapshot())
    match = other.meta.policy.rules[0].match
    assert match.names == (redactor.name("nginx-demo"), redactor.name("exact"))
    assert len(match.namespaces) == 1  # an empty list would be for every namespace
    assert next(iter(other.workloads.values())).rule == ""


def test_our_own_reasons_stay_readable_but_for_the_pod():
    workload = builders.make_workload()
    redactor = Redactor(SECRET, builders.make_snapshot(workload))
    reason = f"CPU of pod nginx-demo-{builders.HASH}-abcde was 400m in the last 2 min; active from 20m"
    told = redactor.sentence(reason, workload)
    owner, own_hash, suffix = (redactor.name(part) for part in ("nginx-demo", builders.HASH, "abcde"))
    assert told == f"CPU of pod {owner}-{own_hash}-{suffix} was 400m in the last 2 min; active from 20m"


def test_a_reason_with_a_foreign_word_goes_as_a_whole():
    redactor = Redactor(SECRET, builders.make_snapshot())
    told = redactor.sentence("Prometheus: cannot reach prom.acme.example", builders.make_workload())
    assert told.split()[0] == "redacted"
    assert "acme" not in told


def test_other_tools_words_ask_for_the_same_once_redacted():
    said = {"karpenter.sh/do-not-disrupt": "30m", "scheduling.cast.ai/lifecycle": "on-demand"}
    assert Redactor(SECRET, builders.make_snapshot()).annotations(said) == said


def test_text_nobody_knows_is_refused_unless_it_is_the_default():
    class Later(Value, frozen=True):
        words: tuple[str, ...] = ("fixed",)
        more: str = ""

    redactor = Redactor(SECRET, builders.make_snapshot())
    assert redactor.value_of(Later()) == Later()
    for leaking in (Later(more="acme"), Later(words=("acme",))):
        with pytest.raises(InputError, match="Later"):
            redactor.value_of(leaking)


def test_a_comparison_of_more_than_a_short_number_is_refused():
    with pytest.raises(InputError):
        Redactor(SECRET, builders.make_snapshot()).requirement(Requirement("size", "Gt", ("123456789012",)))


def test_the_next_pod_of_each_workload_of_a_shop_is_told_alike():
    shop = builders.idle_shop_snapshot()
    other = redact(shop, SECRET)
    redactor = Redactor(SECRET, shop)
    for workload in shop.workloads.values():
        here, there = (
            rehearse(workload, shop),
            rehearse(other.workloads[redactor.value_of(workload.key)], other),
        )
        assert (there.decision.reason, there.unbridled.reason) == (here.decision.reason, here.unbridled.reason)
        assert there.operations == here.operations


@pytest.mark.parametrize(
    "reason",
    [
        "nobody saw run nightly-29545200, only that it started",
        "nobody saw the end of run nightly-29545200; it ran for at least 480 s",
        "run nightly-29545200 is under way and cannot be read",
        "run nightly-29545200 is under way for 1860 s; large from 1800 s or 1200 CPU-seconds",
        "its schedule is not known, and so not that every run was seen",
        "nobody saw the run that succeeded last",
        "Job and CronJob cannot be read, so nobody saw its last runs",
    ],
)
def test_what_nobody_saw_of_a_cron_job_stays_readable_but_for_the_run(reason):
    workload = builders.make_workload("nightly", kind="CronJob")
    redactor = Redactor(SECRET, builders.make_snapshot(workload))
    other = redactor.owned("nightly-29545200", ["nightly"])
    assert redactor.sentence(reason, workload) == reason.replace("nightly-29545200", other)


def test_loads_keep_their_numbers_and_lose_their_names():
    used = {"team-acme": Resources(0.5, 2e8), "kube-system": Resources(0.1, 1e8)}
    load = NodeLoad(
        cpu_cores=1.5,
        memory_bytes=4e9,
        sampled_at=builders.NOW,
        source="cadvisor-containers",
        cpu_deviation_cores=0.2,
        memory_deviation_bytes=1e8,
        namespaces=used,
    )
    use = PodUse(cpu_cores=0.5, memory_bytes=1e8, pods=3)
    came = Bound(uid="uid-acme", node="acme-1", namespace="team-acme", expected=Estimate(cpu_cores=0.5))
    spaces = [Namespace("team-acme", use_ratio=UseRatio(cpu=2.0))]
    snapshot = builders.make_snapshot(
        builders.make_workload(use=use),
        nodes=[builders.make_node("acme-1", load=load)],
        namespaces=spaces,
        bound=[came],
        load_match_rate=0.97,
    )
    found, redactor = redact(snapshot, SECRET), Redactor(SECRET, snapshot)
    assert "acme" not in encode_document(found).decode()
    (node,), (pod,) = found.nodes.values(), found.bound.values()
    renamed = {redactor.name("team-acme"): used["team-acme"], "kube-system": used["kube-system"]}
    assert node.load == msgspec.structs.replace(load, namespaces=renamed)
    assert (pod.node, pod.namespace) == (node.name, redactor.name("team-acme"))
    assert (pod.expected, pod.uid != "") == (came.expected, True)
    assert next(iter(found.workloads.values())).use == use
    assert found.namespaces[redactor.name("team-acme")].use_ratio == UseRatio(cpu=2.0)
    assert found.meta.load_match_rate == 0.97


def test_what_tenants_may_ask_for_stays_and_a_schedulers_name_does_not():
    rule = Rule(name="mine", allowed_annotations=ANNOTATIONS, scheduler_name="acme-scheduler")
    found = redact(builders.make_snapshot(policy=Policy(rules=(rule,))), SECRET).meta.policy
    assert found.allowed_annotations == found.rules[0].allowed_annotations == ANNOTATIONS
    assert "acme" not in found.rules[0].scheduler_name


def test_limits_in_counts_and_what_moves_taught_name_nobody_and_stay():
    moves = MovePolicy(to_spot=Limits(per_cluster="20", per_node="3"))
    memory = Memory(learnt=4, misses=1, last_outcome="no-capacity")
    moved = builders.make_workload(verdict=builders.make_verdict(builders.make_workload().key, memory=memory))
    found = redact(builders.make_snapshot(moved, policy=Policy(moves=moves)), b"secret")
    assert found.meta.policy.moves == moves
    (workload,) = found.workloads.values()
    assert workload.verdict.memory == memory


def test_weights_and_who_is_sent_to_a_second_scheduler_stay_and_name_nobody():
    rule = Rule(name="mine", match=Match(), allowed_annotations=("weight",), weight=2.5, scheduler_name="acme")
    policy = Policy(rules=(rule,), allowed_annotations=("spot", "weight"), balance=BalancePolicy(filter_above=0.9))
    acme = Namespace("acme", {"spot-balancer.io/weight": "2"}, weight=2, weight_rule="mine")
    found = redact(builders.make_snapshot(policy=policy, namespaces=[acme]), SECRET)
    (namespace,) = found.namespaces.values()
    told, (other,) = found.meta.policy, found.meta.policy.rules
    assert (told.balance, told.allowed_annotations, other.allowed_annotations) == (
        policy.balance,
        policy.allowed_annotations,
        ("weight",),
    )
    assert (namespace.weight, namespace.annotations) == (2, acme.annotations)
    assert (other.weight, namespace.weight_rule) == (2.5, other.name)
    assert other.scheduler_name == Redactor(SECRET, builders.make_snapshot()).name("acme")
    assert fairness.weight_in(told, namespace) == fairness.weight_in(policy, acme)
