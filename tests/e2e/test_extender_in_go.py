"""What Go makes of our answers: every form is decoded with the scheduler's own types, and says what was meant."""

import json
import subprocess

import pytest

from tests.builders import KARPENTER_SPOT
from tests.endpoints.conftest import Shown
from tests.loads import arguments, loaded_node, loaded_snapshot, scheduled_pod
from webhook.core.policy import BalancePolicy, Mode, Policy
from webhook.endpoints.extender import Filter, Prioritize, Scorer
from webhook.metrics import Metrics

pytestmark = pytest.mark.e2e

ODD = ["a\u00e9\u2028\U0001f600", 'q"\\<>&', "t\tn"]
NODES = [loaded_node(f"n{i}", i / 10, 0.0) for i in range(10)] + [loaded_node("spot", 0.1, 0.0, marker=KARPENTER_SPOT)]
NODES += [loaded_node(name, 0.3, 0.0) for name in ODD]
NAMES = [node.name for node in NODES]


@pytest.fixture(scope="module")
def go(part):
    """Decode answers of one kind, as the scheduler does; a list of what Go read."""
    program = part("go-extender")

    def decode(kind, *answers):
        told = run(program, kind, b"".join(answers))
        assert told.returncode == 0, told.stderr
        return [json.loads(line) for line in told.stdout.splitlines()]

    return decode


def run(program, kind, content):
    return subprocess.run([program, "decode", kind], input=content, capture_output=True, check=False)


def answers(verb, *bodies, **balance):
    metrics = Metrics()
    policy = Policy(mode=Mode.INJECT, balance=BalancePolicy(**balance))
    endpoint = verb(Scorer(Shown(loaded_snapshot(*NODES, policy=policy))), metrics)
    replies = [endpoint(body) for body in bodies]
    assert {reply.status for reply in replies} == {200}
    return [reply.body for reply in replies]


def scores(entries):
    found = {entry["Host"]: entry["Score"] for entry in entries}
    assert len(found) == len(entries)
    return found


def test_go_refuses_what_it_should_so_that_its_word_counts(go, part):
    for bad in (b'[{"Host":"a","Score":7.5}]', b'{"Host":"a"}', b'[{"Host":5,"Score":1}]'):
        assert run(part("go-extender"), "priorities", bad).returncode
    assert go("priorities") == []


def test_go_reads_priorities_that_are_dense_sparse_few_unknown_and_none(go):
    steered = scheduled_pod(annotations={"spot-balancer.io/decision": "v1/spot/preferred/1"})
    bodies = [
        arguments([name for name in NAMES if name != "spot"]),
        arguments(NAMES),
        arguments(NAMES, steered),
        arguments([*NAMES[:3], "new", "\u00fc<new>"]),
        arguments(NAMES, whole=True),
        arguments([]),
        arguments(NAMES, scheduled_pod(kind="DaemonSet")),
    ]
    raw = answers(Prioritize, *bodies)
    dense, sparse, spot, unknown, whole, empty, neutral = map(scores, go("priorities", *raw))
    assert [scores(json.loads(body)) for body in raw] == [dense, sparse, spot, unknown, whole, empty, neutral]
    assert dense == sparse == whole
    assert dense.keys() == set(NAMES) - {"spot"}
    assert (dense["n0"], dense["n9"], spot) == (10, 1, {"spot": 10})
    assert dense[ODD[0]] == dense[ODD[1]] == dense[ODD[2]] == dense["n3"]
    assert unknown["new"] == unknown["\u00fc<new>"] == unknown["n1"]
    assert empty == neutral == {}
    [few] = map(scores, go("priorities", *answers(Prioritize, bodies[1], best=3)))
    assert few == {name: dense[name] for name in ("n0", "n1", "n2")}


@pytest.mark.parametrize("above", [None, 0.75])
def test_go_reads_what_the_filter_keeps_in_both_forms(go, above):
    bodies = [arguments(NAMES), arguments(NAMES, whole=True), arguments([]), arguments([], whole=True)]
    by_name, whole, none, no_nodes = go("filter", *answers(Filter, *bodies, filter_above=above))
    failed = {"n8", "n9"} if above else set()
    kept = [name for name in NAMES if name not in failed]
    assert (by_name["NodeNames"], by_name["Nodes"]) == (kept, None)
    assert ([node["metadata"]["name"] for node in whole["Nodes"]["items"]], whole["NodeNames"]) == (kept, None)
    for answer in (by_name, whole):
        assert set(answer["FailedAndUnresolvableNodes"] or {}) == failed
        assert (answer["FailedNodes"], answer["Error"]) == ({}, "")
    assert (none["NodeNames"], no_nodes["Nodes"]["items"]) == ([], [])


def test_go_reads_of_every_answer_the_last_byte(go):
    """What it leaves unread costs the scheduler its connection."""
    for body in answers(Prioritize, arguments(NAMES), arguments([])) + answers(Filter, arguments(NAMES)):
        assert body.rstrip() == body
        assert body[-1:] in b"]}"
