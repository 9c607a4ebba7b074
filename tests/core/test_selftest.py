"""From probe answers to findings: what is missing is found, what was refused says nothing."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.core.nodejoin import Join, known_nodes, node_of
from webhook.core.policy import IdlePolicy
from webhook.core.selftest import Answers, Asked, Code, Finding, QueryUse, SelfTest, Severity, changes
from webhook.core.selftest_checks import examine
from webhook.wire.promql import ClusterLabel, Dialect
from webhook.wire.promql_probes import probe_queries, query_uses

NOW = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)
POLICY = IdlePolicy()
OWN = Dialect(None, {"owner": "max by (namespace, pod) (own_rule)"})
USES = query_uses(POLICY, OWN)
METRICS = sorted({metric for use in USES for metric in use.metrics})
KUBE = ("kube_pod_start_time", "kube_pod_status_phase", "kube_pod_owner", "kube_pod_container_info")


def rows(*pairs):
    return tuple(pairs)


def number(value):
    return rows(({}, value))


def by_name(**counts):
    return rows(*(({"__name__": name}, count) for name, count in counts.items()))


def whole():
    """What a Prometheus with nothing wrong says; one node, ten pods."""
    return {
        "presence": by_name(**dict.fromkeys([*METRICS, *KUBE], 10)),
        "cpu": number(10),
        "cpuContainers": number(10),
        "received": number(10),
        "kube": by_name(**dict.fromkeys(KUBE, 10)),
        "exported": (),
        "running": number(10),
        "runningWithCpu": number(10),
        "copies": rows(({"job": "kubelet"}, 10)),
        "intervals": rows(({"source": "cadvisor"}, 10.0), ({"source": "kube-state-metrics"}, 10.0)),
        "nodes": rows(({"node": "n1", "internal_ip": "10.0.0.1"}, 1)),
        "exporterNodes": rows(({"instance": "10.0.0.1:9100"}, 1)),
        "rootNodes": rows(({"instance": "n1"}, 1)),
        "containerNodes": rows(({"node": "n1"}, 1)),
        "clusters": rows(({}, 1)),
        "own:owner": rows(({"namespace": "a", "pod": "b", "owner_kind": "c", "owner_name": "d"}, 1)),
    }


def found(cluster=None, refused=None, now=NOW, dated=True, jobs=None, **changed):
    answers = {name: row for name, row in (whole() | changed).items() if name not in (refused or {})}
    told = Answers(answers, refused or {}, evaluated_at=NOW, answered_at=NOW if dated else None)
    return examine(told, Asked(USES, POLICY, cluster, jobs or {}), now=now)


def codes(tested):
    return [finding.code.value for finding in tested.findings]


def test_where_nothing_is_wrong_nothing_is_found():
    assert codes(found()) == []
    assert found().scrape_interval_seconds == {"cadvisor": 60.0, "kube-state-metrics": 60.0}
    assert [(source.source, source.by) for source in found().node_sources] == [
        ("node-exporter", {"address": 1}),
        ("cadvisor", {"name": 1}),
        ("cadvisor-containers", {"label": 1}),
    ]


def without(*metrics):
    return by_name(**dict.fromkeys([name for name in [*METRICS, *KUBE] if name not in metrics], 10))


CASES = {
    "cadvisor": ({"presence": without("container_cpu_usage_seconds_total"), "cpu": ()}, ["no-cadvisor"]),
    "network": ({"presence": without("container_network_receive_bytes_total"), "received": ()}, ["no-network"]),
    "kube-state-metrics": ({"presence": without(*KUBE), "kube": (), "running": ()}, ["no-kube-state-metrics"]),
    "one metric of it": ({"presence": without("kube_pod_container_info")}, ["metric-missing"]),
    "own rule": ({"presence": without("own_rule"), "own:owner": ()}, ["metric-missing", "own-query-empty"]),
    "labels": ({"cpu": ()}, ["cadvisor-labels"]),
    "interface": ({"received": ()}, ["cadvisor-labels"]),
    "honor_labels": ({"exported": by_name(kube_pod_owner=10), "kube": ()}, ["no-honor-labels"]),
    "uid": ({"kube": by_name(**dict.fromkeys(KUBE, 10) | {"kube_pod_owner": 0})}, ["kube-labels"]),
    "apart": ({"runningWithCpu": ()}, ["pods-apart"]),
    "some kubelets": ({"runningWithCpu": number(9)}, ["pods-without-cpu"]),
    "slow": ({"intervals": rows(({"source": "cadvisor"}, 5.0))}, ["scrape-too-slow"]),
    "slower": (
        {"intervals": rows(({"source": "cadvisor"}, 10.0), ({"source": "kube-state-metrics"}, 5.0))},
        ["scrape-slower"],
    ),
    "faster": ({"intervals": rows(({"source": "cadvisor"}, 40.0))}, ["scrape-faster"]),
    "young": ({"intervals": ()}, []),
    "twice": ({"cpu": number(20), "copies": rows(({"job": "a"}, 10), ({"job": "b"}, 10))}, ["duplicates"]),
    "twice in one job": ({"copies": rows(({"job": "a"}, 20))}, ["duplicates"]),
    "twice until a moment ago": ({"cpu": number(20), "copies": rows(({"job": "a"}, 10))}, []),
    "a restarted container": ({"cpu": number(11), "copies": rows(({"job": "a"}, 11))}, []),
    "clusters": ({"clusters": rows(({"cluster": "a"}, 1), ({"cluster": "b"}, 1))}, ["several-clusters"]),
    "no node": ({"exporterNodes": (), "rootNodes": (), "containerNodes": ()}, ["no-node-load"]),
    "no exporter": ({"exporterNodes": ()}, ["no-node-exporter"]),
    "pods only": ({"exporterNodes": (), "rootNodes": ()}, ["node-load-pods-only", "no-node-exporter"]),
    "join": ({"exporterNodes": rows(({"instance": "10.9.9.9:9100"}, 1))}, ["node-join"]),
    "join of some": (
        {"exporterNodes": rows(({"instance": "10.9.9.9:9100"}, 1), ({"node": "n1"}, 1)), "rootNodes": ()},
        ["node-join"],
    ),
    "own labels": ({"own:owner": rows(({"namespace": "a", "pod": "b"}, 1))}, ["own-query-labels"]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_found_and_nothing_else(case):
    changed, expected = CASES[case]
    assert codes(found(**changed)) == expected
    assert all(finding.sentence and finding.remedy for finding in found(**changed).findings)


def test_a_cluster_that_no_node_carries_is_the_only_thing_told():
    empty = dict.fromkeys(whole().keys() - {"clusters"}, ())
    tested = found(("cluster", "asia"), **empty, clusters=rows(({"cluster": "eu"}, 1), ({"cluster": "us"}, 1)))
    assert codes(tested) == ["cluster-unmatched", "own-query-empty"]
    assert tested.findings[0].sentence == 'no node carries cluster="asia"; there are eu, us'


@pytest.mark.parametrize(
    ("source", "probes", "severity"),
    [
        ("cadvisor", {"cpu": (), "cpuContainers": (), "runningWithCpu": ()}, Severity.ERROR),
        ("kubeStateMetrics", {"running": (), "runningWithCpu": ()}, Severity.ERROR),
        ("nodeExporter", {"exporterNodes": ()}, Severity.WARNING),
    ],
)
def test_a_scrape_job_that_holds_nothing_is_named_with_its_source(source, probes, severity):
    tested = found(jobs={source: ("kublet",)}, **probes)
    told = [f for f in tested.findings if f.code is Code.JOB_UNMATCHED]
    assert [(f.subject, f.severity) for f in told] == [(source, severity)]
    assert "scrape job kublet" in told[0].sentence
    assert codes(found(jobs=dict.fromkeys(["cadvisor", "kubeStateMetrics", "nodeExporter"], ("a",)))) == []


def test_the_right_cluster_of_several_is_no_finding():
    assert codes(found(("cluster", "eu"), clusters=rows(({"cluster": "eu"}, 1), ({"cluster": "us"}, 1)))) == []


@pytest.mark.fault(37)
def test_clocks_apart_are_an_error_and_a_missing_date_is_not():
    skewed = found(now=NOW + timedelta(seconds=31))
    assert [(finding.code, finding.subject) for finding in skewed.findings] == [
        ("clock-skew", "Date header"),
        ("clock-skew", "clock"),
    ]
    assert [(f.code, f.severity) for f in found(dated=False).findings] == [("no-date", "info")]


def test_a_prometheus_that_does_not_answer_is_one_finding():
    told = examine(Answers({}, {"time": ("auth", "HTTP 401")}), Asked(USES, POLICY), now=NOW)
    assert codes(told) == ["unreachable"]
    assert not told.reached
    assert told.has_errors
    assert "token" in told.findings[0].remedy


@given(st.sets(st.sampled_from(sorted(whole()))))
def test_what_was_refused_is_told_and_says_nothing_about_the_rest(names):
    tested = found(refused=dict.fromkeys(names, ("limit", "too many samples")))
    expected = {"probe-refused"} if names - {"own:owner"} else set()
    expected |= {"own-query-refused"} & ({"own-query-refused"} if "own:owner" in names else set())
    assert set(codes(tested)) == expected


answers = st.dictionaries(
    st.sampled_from(sorted(whole())),
    st.lists(
        st.tuples(
            st.dictionaries(
                st.sampled_from(["__name__", "node", "instance", "internal_ip", "source", "cluster", "job"]), st.text()
            ),
            st.floats(min_value=0, allow_infinity=False),
        )
    ).map(tuple),
)


@given(answers, st.sampled_from([None, ("cluster", "eu")]))
def test_no_answer_breaks_it_and_its_sentences_stay_short(told, cluster):
    tested = examine(Answers(told, {}, evaluated_at=NOW, answered_at=NOW), Asked(USES, POLICY, cluster), now=NOW)
    assert all(len(finding.sentence) <= 300 for finding in tested.findings)
    assert msgspec.json.decode(msgspec.json.encode(tested), type=SelfTest) == tested


def finding(code=Code.DUPLICATES, severity=Severity.INFO, sentence="x", subject=""):
    return Finding(code=code, severity=severity, sentence=sentence, remedy="y", subject=subject)


def test_a_change_is_a_finding_that_comes_or_goes_and_not_a_figure():
    old = SelfTest(tested_at=NOW, reached=True, findings=(finding(sentence="9 pods"), finding(Code.NO_DATE)))
    new = SelfTest(tested_at=NOW, reached=True, findings=(finding(sentence="8 pods"), finding(subject="b")))
    assert changes(old, new) == ((finding(subject="b"),), (finding(Code.NO_DATE),))
    assert changes(None, new) == (new.findings, ())


def test_every_probe_asked_is_one_that_is_looked_at():
    assert set(probe_queries(POLICY, OWN)) == set(whole())


def test_the_clusters_label_of_the_configuration_is_asked_for():
    probes = probe_queries(POLICY, Dialect(ClusterLabel("region", "eu"), {}))
    assert "region)" in probes["clusters"]


@pytest.mark.parametrize(
    ("labels", "node", "join"),
    [
        ({"node": "n1", "instance": "10.0.0.9:1"}, "n1", Join.LABEL),
        ({"instance": "10.0.0.1:9100"}, "n1", Join.ADDRESS),
        ({"instance": "[fd00::1]:9100"}, "n2", Join.ADDRESS),
        ({"instance": "n2"}, "n2", Join.NAME),
        ({"node": "gone", "instance": "10.0.0.1:9100"}, "", Join.STRAY),
        ({"instance": "10.0.0.9:9100"}, "", Join.NONE),
        ({"instance": ""}, "", Join.NONE),
        ({}, "", Join.NONE),
    ],
)
def test_a_series_is_led_to_its_node(labels, node, join):
    known = known_nodes(
        rows(({"node": "n1", "internal_ip": "10.0.0.1"}, 1), ({"node": "n2", "internal_ip": "fd00::1"}, 1))
    )
    assert node_of(labels, known) == (node, join)


def test_a_query_names_what_it_misses():
    tested = found(presence=without("own_rule"))
    assert [use.name for use in tested.queries if use.missing] == ["owner"]
    assert isinstance(tested.queries[0], QueryUse)
