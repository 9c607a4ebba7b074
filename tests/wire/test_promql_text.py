"""PromQL as text, by itself; tests/e2e/test_promql_live.py asks Prometheus whether it is right."""

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.house.linters import ROOT
from webhook.core.policy import BalancePolicy, CustomSignal, IdlePolicy
from webhook.wire import promql, promql_text
from webhook.wire.promql import AHEAD, MACROS, SWEEP, TEMPLATES, ClusterLabel, Dialect, own_faults, sweep_queries
from webhook.wire.promql_probes import probe_queries, query_uses

ANY = dict.fromkeys(MACROS, "1")


@given(st.text())
def test_the_pieces_of_any_text_make_it_up_whole(text):
    assert "".join(token.text for token in promql_text.tokens(text)) == text


@given(st.text())
def test_no_text_is_more_than_a_fault(text):
    assert isinstance(promql_text.faults(text, ANY), list)
    assert isinstance(promql_text.within(text, 'a="b"'), str)


def test_the_windows_of_load_are_for_queries_of_load_alone():
    assert own_faults({"rootCpu": "a[$loadWindow]", "podCpu": "b[$spreadWindow:$step]"}, clustered=False) == []
    (fault,) = own_faults({"cpuPeak": "a[$loadWindow]"}, clustered=False)
    assert fault.startswith(".cpuPeak: $loadWindow: unknown macro")


def test_means_are_over_the_window_of_balance_and_deviations_over_three_of_them():
    balance = BalancePolicy(window=timedelta(minutes=2))
    queries = promql.load_queries(promql.NODES | promql.PODS, IdlePolicy(), balance=balance)
    for name, text in queries.items():
        assert "$" not in text
        assert ("[360s" in text) == name.endswith("Spread"), name
    assert all(
        "[120s]" in queries[name] for name in ("exporterCpu", "exporterMemory", "rootCpu", "podCpu", "podMemory")
    )


def test_habits_are_over_whole_windows_of_their_time_and_without_the_start_of_a_pod():
    balance = BalancePolicy(window=timedelta(minutes=2), habit=timedelta(minutes=30))
    queries = promql.load_queries(promql.HABITS, IdlePolicy(startup_grace=timedelta(minutes=3)), balance=balance)
    for text in queries.values():
        assert text.endswith("(kube_pod_start_time > time() - 300.000))[1800s:120s])")
    assert "rate(" in queries["habitCpu"]
    assert "[120s])" in queries["habitCpu"]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_quoted_text_never_ends_before_its_end(text):
    (token,) = promql_text.tokens(promql_text.quoted(text))
    assert (token.kind, "\n" in token.text) == ("string", False)


def test_metrics_are_held_to_the_scrape_job_of_their_source_and_others_are_not():
    dialect = Dialect(jobs={"cadvisor": ("kubelet",), "kubeStateMetrics": ("ksm", "k.s|m")})
    queries = sweep_queries(IdlePolicy(), dialect) | promql.load_queries(promql.NODES, IdlePolicy(), dialect)
    for name, text in queries.items():
        for selector in promql_text.selectors(text):
            wanted = {"container": 'job="kubelet"', "kube": 'job=~"ksm|k\\\\.s\\\\|m"', "node": "up"}[
                selector.name.split("_")[0]
            ]
            assert (wanted in selector.matchers) == (wanted != "up"), (name, selector)
    rule = "node_namespace_pod_container:container_cpu_usage_seconds_total:sum_rate5m"
    assert promql.scoped(f"{rule} + mine", dialect) == f"{rule} + mine"


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=3))
def test_a_choice_of_values_is_one_matcher_whatever_they_say(values):
    kinds = [(token.kind, token.text) for token in promql_text.tokens(promql_text.one_of("job", values))]
    assert [text for kind, text in kinds if kind != "string"] in (["job", "="], ["job", "=", "~"])
    assert kinds[-1][0] == "string"


def test_half_a_surrogate_pair_is_no_text():
    with pytest.raises(ValueError, match="surrogate"):
        promql_text.quoted("\ud800")


@pytest.mark.fault(67)
@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("  \n", "empty"),
        ("# up", "empty"),
        ("x" * 20_000, "16384"),
        ("sum(up) or vector(0)", "vector()"),
        ("sum(up) or on () VECTOR (0)", "vector()"),
        ("absent(up) - 1", "absent()"),
        ("absent_over_time(up[5m]) * 2", "absent_over_time()"),
        ("up + fill(0) up", "fill()"),
        ("up or kube_pod_info * 0", "* 0"),
        ("up or 0.0 * kube_pod_info", "0 *"),
        ("up or kube_pod_info * 0e5", "* 0"),
        ("up or kube_pod_info * (-0x0)", "* 0"),
        ("up or kube_pod_info * 0s", "* 0"),
        ("up default 0", "default"),
        ("interpolate(up)", "interpolate()"),
        ("up offset 1d", "offset"),
        ("up @ 1700000000", "@"),
        ('{a="b" or c="d"}', "or between matchers"),
        ('up{a="b}', "does not end"),
        ("rate(up[$rateWindw])", "did you mean $rateWindow?"),
        ("rate(up[$x])", "expected one of"),
    ],
)
def test_what_makes_a_number_of_nothing_is_refused(query, word):
    assert any(word in fault for fault in promql_text.faults(query, ANY))


@pytest.mark.parametrize(
    "query",
    [
        'up{a="or vector(0) absent( $x @ * 0"} # or vector(0)',
        "vector_total * 10",
        "absent",
        "clamp_min(up, 0) * up * (10 - 0)",
        "default:rule{offset='1'}",
        'label_replace(up, "a", "$1", "b", "(.*)")',
        "rate(up[$rateWindow]) > $startup",
    ],
)
def test_what_only_looks_like_it_is_not(query):
    assert promql_text.faults(query, ANY) == []


def test_macros_are_put_in_outside_of_strings_and_comments():
    text = 'rate(up{a="$step"}[$step]) # $step'
    assert promql_text.expand(text, {"step": "60s"}) == 'rate(up{a="$step"}[60s]) # $step'


def test_our_own_queries_keep_the_rules_for_others():
    """But for the one that looks into the future, which needs an offset, and for what is known at the sweep's own end."""
    ours = {name: template.text.replace("@ end()", "") for name, template in TEMPLATES.items() if name != AHEAD}
    assert own_faults(ours, clustered=False) == []


def test_an_unknown_name_is_told_with_the_nearest():
    assert own_faults({"cpuPaek": "up"}, clustered=False) == [".cpuPaek: unknown query; did you mean cpuPeak?"]


def test_a_query_of_ones_own_takes_the_place_of_ours_macros_expanded():
    own = {"cpuPeak": "max_over_time(x{$cluster}[$window:$step])"}
    dialect = Dialect(ClusterLabel("cluster", 'e"u'), own)
    queries = sweep_queries(IdlePolicy(), dialect)
    assert queries["cpuPeak"] == r'max_over_time(x{cluster="e\"u",cluster="e\"u"}[3600s:60s])'
    assert queries.keys() == SWEEP.keys()
    assert [use.name for use in query_uses(IdlePolicy(), dialect) if use.own] == ["cpuPeak"]


def test_the_probes_are_constant_in_number_and_look_for_what_own_queries_read():
    dialect = Dialect(None, {"owner": "max by (a) (some_rule:x)"})
    probes = probe_queries(IdlePolicy(), dialect)
    assert probes.keys() - probe_queries(IdlePolicy(), Dialect()).keys() == {"own:owner"}
    assert len(probes) == 16
    assert "some_rule:x" in probes["presence"]


def test_signals_of_users_are_probed_as_they_were_written():
    signal = CustomSignal(name="requests", query="sum by (namespace, pod) (rate(reqs[$rateWindow]))", idle_below=1.0)
    probes = probe_queries(IdlePolicy(signals=(signal,)), Dialect(ClusterLabel("cluster", "eu")))
    text = 'sum by (namespace, pod) (rate(reqs{cluster="eu"}[300s]))'
    assert probes["own:signals.requests"] == f"topk(5, {text}\n)"
    assert "|reqs" in probes["presence"]


def test_metrics_are_read_off_a_query_once_each():
    assert promql_text.metrics("sum by (a) (b{}) / on (c) group_left (d) b + e:f") == ("b", "e:f")


def test_every_query_macro_and_parameter_is_documented():
    from webhook.core.selftest import Code
    from webhook.wire.prometheus_request import PARAMETERS

    page = (ROOT / "docs" / "prometheus.md").read_text()
    families = re.findall(r"`((?:exporter|root|containers|cadvisor)\w+)`", page)
    named = {*re.findall(r"`\$?([\w\[\]-]+)`", page), *families}
    assert {
        *TEMPLATES,
        *promql.MACROS,
        *promql.LOAD_MACROS,
        "cluster",
        *PARAMETERS,
        *(code.value for code in Code),
    } <= named
