"""`score`: the table behind one decision, by pod, workload or file, and what is told of odd ones."""

import json
import os
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import yaml

from tests import builders
from tests.builders import NOW
from tests.core.move_builders import make_census, make_pod_fact
from tests.loads import BYTES, CORES, loaded_node
from webhook.cli import score
from webhook.core import candidates, nodetable, scoreview, scoring
from webhook.core.expectation import Expectation, Source
from webhook.core.ledger import likely
from webhook.core.model import Bound, ControllerRef, Estimate, Namespace, PodUse, Resources
from webhook.core.policy import BalancePolicy, Mode, Policy
from webhook.core.snapshot import Meta, Snapshot
from webhook.wire import extender
from webhook.wire.snapshot import encode_document

FORMATS = ("table", "wide", "json", "yaml")
DEMO = "examples/demo.snapshot.json"


def shop(**changes):
    """Two nodes that could take the pod, a crowded, a stale, an untold and a spot one."""
    use = {"shop": Resources(0.1 * CORES, 0.05 * BYTES), "batch": Resources(0.4 * CORES, 0.1 * BYTES)}
    nodes = [
        loaded_node("regular-1", 0.55, 0.3, deviation=0.06),
        loaded_node("regular-2", 0.35, 0.5, deviation=0.02),
        loaded_node("regular-3", 0.5, 0.5, age=timedelta(hours=1)),
        loaded_node("regular-4", None),
        loaded_node("spot-1", 0.05, 0.1, builders.KARPENTER_SPOT),
    ]
    nodes[0] = msgspec.structs.replace(nodes[0], load=msgspec.structs.replace(nodes[0].load, namespaces=use))
    workload = builders.make_workload(
        "nginx-demo", side=None, use=PodUse(0.4, 0.1, 0.5e9, 0.1e9, pods=3), rule="", annotations={}
    )
    controller = ControllerRef("ReplicaSet", workload.controllers[0].name, "uid-rs", "apps/v1")
    pod = make_pod_fact(1, namespace="shop", name="nginx-demo-1", controller=controller)
    fields = {
        "nodes": nodes,
        "namespaces": [Namespace(name="shop", weight=3.0), Namespace(name="batch")],
        "workloads": [workload],
        "bound": [Bound("uid-b", "regular-2", "batch", Estimate(0.8, 0.2, 1e9, 0.0), started_at=None)],
        "census": make_census(pod),
    } | changes
    policy = fields.pop("policy", Policy(mode=Mode.INJECT))
    return Snapshot(Meta(captured_at=NOW, load_match_rate=fields.pop("rate", 1.0), policy=policy), **fields)


@pytest.fixture
def captured(tmp_path):
    def capture(**changes):
        file = tmp_path / "shop.json"
        file.write_bytes(encode_document(shop(**changes)))
        return str(file)

    return capture


@pytest.mark.parametrize("output", FORMATS)
def test_a_score_prints_as_it_was_agreed(cli, captured, output):
    """Set RENEW_GOLDEN=1 to write the files anew, then read the difference."""
    outcome = cli("score", "shop/deployment/nginx-demo", "--snapshot", captured(), "-o", output)
    assert (outcome.code, outcome.err) == (0, "")
    golden = Path(__file__).parent / "golden" / f"score.{output}.txt"
    if os.environ.get("RENEW_GOLDEN"):
        golden.write_text(outcome.out)
    assert outcome.out == golden.read_text()


def told(outcome):
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)["decision"]


def test_a_pod_of_the_capture_is_scored_like_the_next_of_its_workload(cli, captured):
    file = captured()
    one = told(cli("score", "shop/nginx-demo-1", "--snapshot", file, "-o", "json"))
    other = told(cli("score", "shop/deploy/nginx-demo", "--snapshot", file, "-o", "json"))
    assert one["nodes"] == other["nodes"]
    assert one["expected"]["cpuFrom"] == "owner"


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "new-1",
        "namespace": "shop",
        "annotations": {"spot-balancer.io/decision": "v1/spot/preferred/3"},
    },
    "spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "800m", "memory": "320M"}}}]},
}


ASKS = (
    "kind: Pod\nmetadata: {{namespace: shop}}\nspec: {{containers: [{{name: app, resources: {{requests: {{{}}}}}}}]}}"
)


@pytest.mark.parametrize(("written", "cores"), [("1", 1.0), ("0.5", 0.5), ("1e-05", 1e-5), ("'250m'", 0.25)])
def test_a_request_may_be_a_number_as_for_kubectl(cli, captured, tmp_path, written, cores):
    file = tmp_path / "pod.yaml"
    file.write_text(ASKS.format(f"cpu: {written}, memory: 1048576"))
    found = told(cli("score", str(file), "--snapshot", captured(), "-o", "json"))
    assert found["expected"]["estimate"]["cpuCores"] == pytest.approx(cores)
    assert found["expected"]["estimate"]["memoryBytes"] == 1048576


@pytest.mark.parametrize(("suffix", "write"), [("yaml", yaml.safe_dump), ("json", json.dumps)])
def test_a_pod_in_a_file_is_expected_to_use_what_it_requests(cli, captured, tmp_path, suffix, write):
    file = tmp_path / f"pod.{suffix}"
    file.write_text(write(POD))
    found = told(cli("score", str(file), "--snapshot", captured(), "-o", "json"))
    assert found["wants"] == "spot"
    assert found["expected"]["cpuFrom"] == "request"
    assert found["expected"]["estimate"]["cpuCores"] == pytest.approx(0.8)
    assert found["likely"] == "spot-1"
    assert {n["name"]: n["score"] for n in found["nodes"]} == {"spot-1": 10} | {f"regular-{i}": 0 for i in range(1, 5)}


def test_only_the_nodes_named_are_compared_and_unknown_ones_are_told(cli, captured):
    page = cli("score", "shop/deploy/nginx-demo", "--snapshot", captured(), "--nodes", "regular-1, regular-1,gone").out
    assert "unknown node" in page
    assert page.count("regular-1 ") == 1 + page.count("regular-1 wins")
    assert "regular-2" not in page


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rate": None}, "how many load series lead to a node is not known"),
        (
            {"nodes": [loaded_node("a", None), loaded_node("b", None)]},
            "no node of its class has a fresh load; 2 node(s)",
        ),
    ],
)
def test_where_only_the_class_counts_it_says_why(cli, captured, changes, reason):
    page = cli("score", "shop/deploy/nginx-demo", "--snapshot", captured(**changes)).out
    assert f"Only the class counts: {reason}" in page


def test_the_leader_comes_first_and_no_other_is_answered_as_much(cli, captured):
    found = told(cli("score", "shop/deploy/nginx-demo", "--snapshot", captured(), "-o", "json"))
    answered = {one["name"]: one["answered"] for one in found["nodes"]}
    assert found["nodes"][0]["name"] == found["likely"] == "regular-2"
    assert answered == {"regular-2": 10, "regular-3": 5, "regular-4": 5, "regular-1": 3, "spot-1": 0}


def test_whom_the_filter_keeps_away_is_marked_and_no_more_than_best_are_answered(cli, captured):
    file = captured(policy=Policy(mode=Mode.INJECT, balance=BalancePolicy(filter_above=0.54, best=1)))
    page = cli("score", "shop/deploy/nginx-demo", "--snapshot", file).out
    assert "filterAbove 0.54, best 1" in page
    assert next(line for line in page.splitlines() if line.startswith("regular-1 ")).endswith("too full")
    found = told(cli("score", "shop/deploy/nginx-demo", "--snapshot", file, "-o", "json"))["nodes"]
    assert [one["name"] for one in found if one["filtered"]] == ["regular-1"]
    assert [one["name"] for one in found if one["answered"]] == ["regular-2"]


def test_another_balance_is_tried_on_what_was_captured(cli, captured, tmp_path):
    tried, file = BalancePolicy(filter_above=0.54, best=1, fairness=0.0), tmp_path / "config.yaml"
    file.write_text("mode: observe\nbalance: {filterAbove: 54%, best: 1, fairness: 0, window: 30m, habit: 2h}\n")
    words = ("score", "shop/deploy/nginx-demo", "-o", "json", "--snapshot")
    found = cli(*words, captured(), "--config", str(file))
    assert (found.code, found.err.count("\n")) == (0, 1)
    assert "only what it says of `balance` is tried, and of that neither `window` nor `habit`" in found.err
    as_captured = cli(*words, captured(policy=Policy(mode=Mode.INJECT, balance=tried)))
    assert json.loads(found.out) == json.loads(as_captured.out)


def test_a_configuration_with_faults_is_tried_on_nothing(cli, captured, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("balance: {filterAbove: 9}\n")
    found = cli("score", "shop/deploy/nginx-demo", "--snapshot", captured(), "--config", str(file))
    assert (found.code, found.out) == (2, "")


@pytest.mark.parametrize("best", [None, 1, 3, 6])
def test_the_answers_are_those_of_the_wire(best):
    nodes = [loaded_node(f"n-{number}", 0.2 + 0.001 * (number % 3)) for number in range(8)]
    snapshot = shop(nodes=nodes, bound=[], policy=Policy(mode=Mode.INJECT, balance=BalancePolicy(best=best)))
    candidate = candidates.candidate(*score.from_fact(snapshot.census.pods[0]), snapshot)
    table, names = nodetable.table(snapshot), [node.name for node in nodes]
    found = scoring.score(table, candidate, table.rows_of(names, len(names)), now=NOW.timestamp())
    scores = scoring.led(found, likely(table, candidate.uid, found))
    sent = json.loads(extender.priorities(table, names, scores, uid=candidate.uid, best=best))
    shown = scoreview.view(snapshot, candidate, names).nodes
    assert {one.name: one.answered for one in shown if one.answered} == {one["Host"]: one["Score"] for one in sent}


def test_each_pod_to_come_draws_its_own_and_next_is_the_lowest_of_the_rest(cli, captured):
    shares = {"a": 0.30, "b": 0.31, "c": 0.33, "d": 0.99}
    file = captured(nodes=[loaded_node(name, share) for name, share in shares.items()], bound=[])
    page = cli("score", "shop/deploy/nginx-demo", "--snapshot", file).out
    assert "\nEach pod draws one of 2 that are as good, to within noise" in page
    assert "; next is c, " in page
    assert "score 10" in page
    assert "drawn by its UID among 2" in cli("score", "shop/nginx-demo-1", "--snapshot", file).out


@pytest.mark.parametrize("age", [-200, -900])
def test_a_sample_from_just_after_the_snapshot_has_no_negative_age(cli, captured, age):
    file = captured(nodes=[loaded_node("regular-1", 0.3, age=timedelta(milliseconds=age))], bound=[])
    page = cli("score", "shop/deploy/nginx-demo", "--snapshot", file, "-o", "wide").out
    assert "   0s   " in page
    assert not any(word in page.partition("\n\n")[2] for word in ("-0", "-1s"))


def test_what_is_expected_is_told_in_units_that_people_use():
    def told(cores, deviation=0.0, **sources):
        return score.expected(Expectation(Estimate(cores, deviation, 2**30, 2**20), **sources))

    known = {"cpu_from": Source.OWNER, "memory_from": Source.REQUEST}
    assert told(4.0, 0.5, **known) == "CPU 4 cores ± 500m (owner), memory 1024 MiB ± 1 MiB (request)"
    assert told(0.25, 0.0004, **known).startswith("CPU 250m ± 0.4m (owner)")
    assert told(2000.0, 1.0, **known).startswith("CPU 2000 cores ± 1 core (owner)")
    assert told(0.0) == "nothing known of its CPU, nothing known of its memory"


def test_a_node_that_nobody_knows_is_told_with_the_nearest_name(cli, captured):
    words = ("score", "shop/deploy/nginx-demo", "--snapshot", captured(), "--nodes")
    assert cli(*words, "regular-1").err == ""
    found = cli(*words, "regular-1,regulr-2,elsewhere.test\x1b")
    assert found.code == 0
    assert found.err == (
        "note: no node regulr-2 in this snapshot (did you mean regular-2?)\n"
        "note: no node elsewhere.test\\x1b in this snapshot\n"
    )
    assert "unknown node" in found.out


def test_a_page_ends_after_forty_nodes_and_json_does_not(cli, captured):
    file = captured(nodes=[loaded_node(f"n-{number}") for number in range(45)], bound=[])
    page = cli("score", "shop/deploy/nginx-demo", "--snapshot", file).out
    assert "… and 5 more; --nodes names them" in page
    assert sum(line.startswith("n-") and "fresh" in line for line in page.splitlines()) == 40
    assert len(told(cli("score", "shop/deploy/nginx-demo", "--snapshot", file, "-o", "json"))["nodes"]) == 45


@pytest.mark.parametrize("words", [("score", "shop/deploy/a"), ("explain", "shop/deploy/a"), ("nodes",)])
def test_without_a_cluster_the_error_names_snapshot(cli, tmp_path, words):
    outcome = cli(*words, "--kubeconfig", str(tmp_path / "gone"))
    assert outcome.code == 3
    assert "--snapshot reads a captured file" in outcome.err


def test_who_is_not_scored_is_told_why(cli, captured):
    page = cli("score", "shop/deploy/nginx-demo", "--snapshot", captured(policy=Policy(excluded_namespaces=("shop",))))
    assert page.out == "shop/deploy/nginx-demo is not scored: its namespace is excluded. All nodes are equal.\n"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("kind: Deployment", "holds a Deployment; give a Pod, or a workload as NAMESPACE/KIND/NAME"),
        ("[]", "holds no object"),
        ("a: [", "neither YAML with one document nor JSON"),
        ("kind: Pod\n---\nkind: Pod", "neither YAML with one document nor JSON"),
        ("kind: Pod\nmetadata: {name: 5}", "not shaped like a Pod"),
        ("kind: Pod\nmetadata: {name: a}", "without metadata.namespace"),
        ("kind: \x1b[31m", "neither YAML"),
        (ASKS.format("cpu: lots"), "container app, requests: cpu is lots, which is no quantity"),
        (ASKS.format("cpu: .nan"), "cpu is nan, which is no quantity"),
        (ASKS.format("cpu: true"), "cpu is True, which is no quantity"),
        (ASKS.format("memory: [1]"), "memory is [1], which is no quantity"),
        (ASKS.format("memory: -1Gi"), "memory is -1Gi; an amount cannot be negative"),
        (ASKS.format("cpu: -0.5"), "cpu is -0.5; an amount cannot be negative"),
    ],
)
def test_a_file_that_is_no_pod_is_one_sentence(cli, captured, tmp_path, text, fault):
    file = tmp_path / "pod.yaml"
    file.write_text(text)
    outcome = cli("score", str(file), "--snapshot", captured())
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (3, "", 1)
    assert fault in outcome.err
    assert "\x1b" not in outcome.err


def test_what_is_not_there_is_told_with_what_would_do(cli, captured, tmp_path):
    file = captured()
    assert "cannot be read" in cli("score", str(tmp_path / "gone.yaml"), "--snapshot", file).err
    assert "no pod shop/none among the 1" in cli("score", "shop/none", "--snapshot", file).err
    assert "the nearest: shop/Deployment/nginx-demo" in cli("score", "shop/deploy/nginx", "--snapshot", file).err
    assert (
        "is neither NAMESPACE/POD, nor NAMESPACE/KIND/NAME as in shop/Deployment/nginx-demo, nor a FILE"
        in cli("score", "nginx", "--snapshot", file).err
    )
    assert "names no node" in cli("score", "shop/nginx-demo-1", "--snapshot", file, "--nodes", " ,").err
    bare = captured(census=None)
    assert "this snapshot holds no pods" in cli("score", "shop/nginx-demo-1", "--snapshot", bare).err
    assert "no node that takes pods" in cli("score", "shop/deploy/nginx-demo", "--snapshot", captured(nodes=[])).err


def test_the_demo_s_capture_is_scored(cli):
    assert cli("score", "shop/deployment/nginx-demo", "--snapshot", DEMO).code == 0


def test_explain_says_which_node_would_win_where_load_is_measured(cli, captured):
    file = captured()
    page = cli("explain", "shop/deploy/nginx-demo", "--snapshot", file).out
    assert "By measured load regular-2 wins: the pod would leave it at a risk of 57% of its memory;" in page
    assert json.loads(cli("explain", "shop/deploy/nginx-demo", "--snapshot", file, "-o", "json").out)["balance"]
    assert "By measured load" not in cli("explain", "shop/deploy/nginx-demo", "--snapshot", captured(rate=None)).out
