"""The texts we write, read by Prometheus itself: quoting comes back whole, and no selector lacks the cluster."""

import json
from datetime import timedelta
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.parts.prometheus import PrometheusServer
from webhook.core.policy import IdlePolicy
from webhook.wire import promql_text
from webhook.wire.promql import LOADS, ClusterLabel, Dialect, load_queries, sweep_queries
from webhook.wire.promql_probes import probe_queries

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-promql")]

texts = st.text(max_size=40) | st.text(alphabet="\"\\`'{}$#\n\r\t\x00\x7f\ufffd\U0001f40d", max_size=20)
lengths = st.timedeltas(timedelta(milliseconds=1), timedelta(days=30))
often = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def url(build_shown, tmp_path_factory):
    build_shown("prometheus", "promtool")
    with PrometheusServer(tmp_path_factory.mktemp("prometheus")) as server:
        yield server.url


def ask(url, path, **fields):
    try:
        with urlopen(f"{url}/api/v1/{path}", data=urlencode(fields).encode(), timeout=30) as answer:
            return json.load(answer)["data"]
    except HTTPError as refused:
        with refused:
            pytest.fail(refused.read().decode(errors="replace"))


def selectors(tree):
    """Every selector of a parsed query, as Prometheus' own parser tells it."""
    if isinstance(tree, dict):
        if tree.get("type") in {"vectorSelector", "matrixSelector"}:
            yield tree
        for inner in tree.values():
            yield from selectors(inner)
    elif isinstance(tree, list):
        for inner in tree:
            yield from selectors(inner)


def unscoped(url, query, name, value):
    """Metrics of the selectors that lack the matcher."""
    found = list(selectors(ask(url, "parse_query", query=query)))
    wanted = {"name": name, "type": "=", "value": value}
    return len(found), [one["name"] for one in found if wanted not in one["matchers"]]


@given(text=texts)
@often
def test_any_text_comes_back_from_prometheus_as_it_was(url, text):
    assert ask(url, "query", query=promql_text.quoted(text))["result"][1] == text


@given(value=texts.filter(bool), window=lengths, step=lengths, own=st.booleans())
@often
def test_every_selector_of_every_query_has_the_cluster(url, value, window, step, own):
    label = ClusterLabel("cluster", value)
    dialect = Dialect(label, {"owner": OWN} if own else {})
    policy = IdlePolicy(window=window, step=step)
    queries = sweep_queries(policy, dialect) | load_queries(LOADS, policy, dialect) | probe_queries(policy, dialect)
    of_the_whole_store = queries.pop("clusters")
    assert unscoped(url, of_the_whole_store, "cluster", value) == (1, ["kube_node_info"])
    for name, query in queries.items():
        told, lacking = unscoped(url, query, "cluster", value)
        assert told >= 1, name
        assert not lacking, name


OWN = """max by (namespace, pod, owner_kind, owner_name) ( # {by} comment
  {__name__=~"a|b", x='}{'} or sum without (job) (up) or on () group (c:d{}) + ignoring (x) group_left (y) e{f!~`}`,}
  or rate(sum[5m]) or by{} or avg_over_time(g[$window:$step]) / i{x="1"} > bool 3 or -h ^ inf
)"""


def test_an_odd_query_of_ones_own_is_scoped_whole(url):
    query = sweep_queries(IdlePolicy(), Dialect(ClusterLabel("cluster", "eu"), {"owner": OWN}))["owner"]
    assert unscoped(url, query, "cluster", "eu") == (9, [])


# Words of the language that may also name a metric.
names = st.sampled_from(["up", "a:b", "sum", "by", "without", "or", "and", "rate", "offset", "topk"])
braces = st.sampled_from(["{}", '{x="}"}', "{x='{',}", '{ x!~`"` , y="a" }'])
selector = st.builds("".join, st.tuples(names, braces)) | st.sampled_from(["up", "x_total", "a:b", '{x="1"}'])


def compound(inner):
    return (
        st.builds("sum by (a, by) ({})".format, inner)
        | st.builds("avg without (b) ({})".format, inner)
        | st.builds("count({}) by (c)".format, inner)
        | st.builds("topk(3, {})".format, inner)
        | st.builds("({} # {{x}} up\n)".format, inner)
        | st.builds("{} and on (a) {}".format, inner, inner)
        | st.builds("({}) * ignoring (a) group_left (b, up) ({})".format, inner, inner)
        | st.builds("max_over_time(({})[5m:1m])".format, inner)
        | st.builds('label_replace({}, "x", "$1 up {{", "y", "(.*)")'.format, inner)
    )


@given(query=st.recursive(selector, compound, max_leaves=6))
@often
def test_whatever_prometheus_parses_is_scoped_and_nothing_else_changes(url, query):
    before = list(selectors(ask(url, "parse_query", query=query)))
    after = list(selectors(ask(url, "parse_query", query=promql_text.within(query, 'cluster="eu"'))))
    ours = {"name": "cluster", "type": "=", "value": "eu"}
    assert all(ours in one["matchers"] for one in after)
    assert [[m for m in one["matchers"] if m != ours] for one in after] == [one["matchers"] for one in before]
    assert promql_text.metrics(query) == tuple(dict.fromkeys(one["name"] for one in before if one["name"]))
