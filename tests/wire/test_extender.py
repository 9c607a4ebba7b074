"""A scheduler's arguments in every form that Go would read, and answers that it reads as they were meant."""

import contextlib
import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import KARPENTER_SPOT, make_node, make_pod, make_snapshot
from webhook.core import nodetable
from webhook.core.model import Resources
from webhook.core.scoring import Scores
from webhook.errors import ArgumentsError
from webhook.wire import extender

NAMES = ["node-a", "node-b", "node-c"]
NODES = {"metadata": {}, "items": [{"metadata": {"name": name, "labels": {"a": "b"}}} for name in NAMES]}


def body(**keys):
    return json.dumps(keys).encode()


def names_of(**keys):
    return extender.decode(body(**keys)).names


@pytest.mark.parametrize(
    "keys",
    [
        {"Pod": {}, "Nodes": None, "NodeNames": NAMES},
        {"Pod": {}, "NodeNames": NAMES},
        {"pod": {}, "nodes": None, "nodenames": NAMES},
        {"POD": {}, "NODENAMES": NAMES},
        {"nodeNames": NAMES},
        {"NodeNames": ["other"], "nodenames": NAMES},
        {"NodeNames": NAMES, "Unknown": {"deep": [1, 2]}},
        {"Pod": {}, "Nodes": NODES, "NodeNames": None},
        {"Pod": {}, "nodes": NODES},
        {"Nodes": {"kind": "NodeList", "apiVersion": "v1", **NODES}},
        {"Nodes": {"Items": NODES["items"]}},
        {"Nodes": {"other": 1, "items": NODES["items"]}},
        {"Nodes": {"items": [{"metadata": {"name": "other"}}]}, "NodeNames": NAMES},
    ],
)
def test_names_are_found_in_every_form_that_go_reads(keys):
    assert names_of(**keys) == NAMES


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"Pod": None, "Nodes": None, "NodeNames": None},
        {"NodeNames": []},
        {"Nodes": {}},
        {"Nodes": {"items": None}},
        {"Nodes": {"items": []}},
        {"Nodes": NODES, "NodeNames": []},
    ],
)
def test_null_absent_and_empty_are_no_nodes(keys):
    assert names_of(**keys) == []


def test_a_node_without_a_name_keeps_its_place():
    assert names_of(Nodes={"items": [None, {}, {"metadata": None}, {"metadata": {"name": "a"}}]}) == ["", "", "", "a"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"5",
        b'{"NodeNames":["a"',
        b'{"NodeNames":{"a":1}}',
        b'{"NodeNames":[1]}',
        b'{"NodeNames":[null]}',
        b'{"NodeNames":"a"}',
        b'{"Nodes":[]}',
        b'{"Nodes":{"items":[{"metadata":{"name":5}}]}}',
        b'{"NodeNames":["\xff"]}',
        b'{"NodeNames":["\\ud800"]}',
        b'{"NodeNames":[NaN]}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"Pod":' * 100_000,
    ],
)
def test_what_no_scheduler_sends_is_refused(content):
    with pytest.raises(ArgumentsError):
        extender.decode(content)


@pytest.mark.parametrize("keys", [{"NodeNames": [""]}, {"Nodes": {"items": [None]}}, {"nodes": {"Items": [None]}}])
def test_more_nodes_than_any_cluster_has_are_refused(keys):
    for times, told in (
        (extender.MOST_NAMES, contextlib.nullcontext()),
        (extender.MOST_NAMES + 1, pytest.raises(ArgumentsError)),
    ):
        with told:
            extender.decode(body(**{key: _several(value, times) for key, value in keys.items()}))


def _several(value, times):
    return value * times if isinstance(value, list) else {key: items * times for key, items in value.items()}


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_raise_anything_else(content):
    with contextlib.suppress(ArgumentsError):
        extender.decode(content)


def test_a_pod_tells_what_it_requests_with_sidecars_overhead_and_its_own_budget():
    pod = make_pod(
        initContainers=[
            {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m", "memory": "1Mi"}}},
            {"name": "i", "resources": {"requests": {"cpu": "9"}}},
        ],
        overhead={"cpu": "10m"},
        resources={"requests": {"memory": "64Mi"}},
    )
    found, requests = extender.decode_pod(extender.decode(body(Pod=pod, NodeNames=NAMES)))
    assert found.controller.name == "nginx-demo-7f9c5d"
    assert requests == Resources(cpu_cores=pytest.approx(0.16), memory_bytes=64 * 2**20)


@pytest.mark.parametrize("pod", [None, 5, [], "x", {"metadata": {"labels": 5}}, {"spec": {"containers": {}}}])
def test_a_pod_of_another_shape_is_told_apart_from_bad_arguments(pod):
    question = extender.decode(body(Pod=pod, NodeNames=NAMES))
    with pytest.raises(ArgumentsError):
        extender.decode_pod(question)


TABLE = nodetable.table(make_snapshot(nodes=[make_node(name) for name in NAMES] + [make_node("s", KARPENTER_SPOT)]))


def priorities(scores, names=NAMES, **options):
    rows = TABLE.rows_of(names, len(names))
    made = Scores(rows, np.array(scores, dtype=np.intp), np.full(len(names), np.nan), np.zeros(0, dtype=np.intp))
    return extender.priorities(TABLE, names, made, uid="u", **options)


def test_zeros_are_left_out_and_an_answer_is_no_wider_than_its_names_ask_for():
    assert priorities([10, 0, 3]) == b'[{"Host":"node-a","Score":10},{"Host":"node-c","Score": 3}]'
    assert priorities([0, 0, 0]) == b"[]"
    assert priorities([], []) == b"[]"


@given(st.data())
def test_an_answer_says_of_each_node_that_scores_what_it_scored_and_names_no_other(data):
    """Names of any length and with any letter, known and unknown ones."""
    names = data.draw(st.lists(st.text(min_size=1, max_size=40), unique=True, max_size=20))
    known = [name for name in names if data.draw(st.booleans())]
    scores = data.draw(st.lists(st.integers(0, nodetable.TOP), min_size=len(names), max_size=len(names)))
    table = nodetable.table(make_snapshot(nodes=[make_node(name) for name in known]))
    nothing = np.full(len(names), np.nan), np.zeros(0, dtype=np.intp)
    made = Scores(table.rows_of(names, len(names)), np.array(scores, dtype=np.intp), *nothing)
    answer = json.loads(extender.priorities(table, names, made, uid="u"))
    assert len(answer) == len({entry["Host"] for entry in answer})
    assert {entry["Host"]: entry["Score"] for entry in answer} == {
        n: s for n, s in zip(names, scores, strict=True) if s
    }


def test_one_name_that_is_far_longer_than_the_others_makes_no_answer_long():
    names = [f"node-{number:02}" for number in range(20)] + ["x" * 253]
    table = nodetable.table(make_snapshot(nodes=[make_node(name) for name in names]))
    rows = table.rows_of(names, len(names))
    made = Scores(rows, np.full(21, 5), np.full(21, np.nan), np.zeros(0, dtype=np.intp))
    answer = extender.priorities(table, names, made, uid="u")
    assert [entry["Host"] for entry in json.loads(answer)] == names
    assert len(answer) < 21 * 32 + 253


def test_a_node_that_nobody_knows_is_named_as_the_caller_wrote_it():
    assert json.loads(priorities([4, 5], ["node-a", 'a"\\\u00e9\u2028<']))[1] == {
        "Host": 'a"\\\u00e9\u2028<',
        "Score": 5,
    }


def test_only_so_many_of_the_best_are_named_and_in_the_order_asked_for():
    assert [entry["Host"] for entry in json.loads(priorities([3, 10, 7], best=2))] == ["node-b", "node-c"]
    assert len(json.loads(priorities([5, 5, 5], best=2))) == 2
    assert priorities([3, 0, 7], best=3) == priorities([3, 0, 7])


def test_who_is_in_among_equals_hangs_on_pod_and_node_alone():
    one = {entry["Host"] for entry in json.loads(priorities([5, 5, 5], best=2))}
    other = {entry["Host"] for entry in json.loads(priorities([5, 5, 5], NAMES[::-1], best=2))}
    assert one == other


def test_a_table_without_nodes_answers_for_those_asked():
    empty = nodetable.table(make_snapshot(nodes=[]))
    made = Scores(np.full(2, -1, dtype=np.intp), np.full(2, 5, dtype=np.intp), np.full(2, np.nan), np.zeros(0, int))
    assert json.loads(extender.priorities(empty, ["a", "b"], made, uid="u", best=1)) in (
        [{"Host": "a", "Score": 5}],
        [{"Host": "b", "Score": 5}],
    )


@pytest.mark.parametrize("keys", [{"NodeNames": NAMES}, {"nodenames": NAMES}, {"NodeNames": NAMES, "Nodes": NODES}])
def test_a_filter_asked_by_names_answers_by_names(keys):
    question = extender.decode(body(**keys))
    assert json.loads(extender.filtered(question, [0, 2], {"node-b": "full"})) == {
        "Nodes": None,
        "NodeNames": ["node-a", "node-c"],
        "FailedNodes": {},
        "FailedAndUnresolvableNodes": {"node-b": "full"},
        "Error": "",
    }
    assert json.loads(extender.whole(question))["NodeNames"] == NAMES


@pytest.mark.parametrize("key", ["items", "Items"])
def test_a_filter_asked_by_whole_nodes_answers_with_those_nodes_as_they_came(key):
    question = extender.decode(body(Nodes={key: NODES["items"]}))
    answer = json.loads(extender.filtered(question, [1], {"node-a": "full", "node-c": "full"}))
    assert (answer["NodeNames"], answer["Nodes"]["items"]) == (None, [NODES["items"][1]])
    assert json.loads(extender.whole(question))["Nodes"]["items"] == NODES["items"]


def test_no_list_of_the_form_asked_for_is_ever_null():
    assert json.loads(extender.whole(extender.decode(b"{}")))["NodeNames"] == []
    assert json.loads(extender.whole(extender.decode(b'{"Nodes":{"items":null}}')))["Nodes"]["items"] == []


def test_what_is_read_of_nodes_is_their_name_and_the_rest_may_be_anything():
    odd = {"metadata": {"name": "a", "labels": 5}, "spec": [], "status": "x"}
    question = extender.decode(msgspec.json.encode({"Nodes": {"items": [odd]}}))
    assert question.names == ["a"]
    assert json.loads(extender.whole(question))["Nodes"]["items"] == [odd]
