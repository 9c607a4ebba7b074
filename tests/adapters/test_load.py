"""Node load and pods' use from Prometheus' answers: the best source that knows all, and no zero for what is missing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from time import sleep

import pytest

from tests.adapters.test_usage import NOW, serving, vector, whole
from webhook.adapters.usage import Prometheus, PrometheusSettings, nodes_of
from webhook.core.model import Resources
from webhook.core.policy import Policy
from webhook.errors import UsageUnavailable
from webhook.wire.prometheus import Row, Vector
from webhook.wire.promql import NODES

AT = NOW.timestamp()
BY_NODE, BY_ADDRESS = {"node": "n1"}, {"instance": "10.0.0.1:9100"}


def one(labels, value):
    return Vector((Row(labels, value),), 0)


def answers(**changes):
    """One node that root cgroups tell of, by its label."""
    found = dict.fromkeys(NODES, Vector((), 0)) | {
        "nodes": one({"node": "n1", "internal_ip": "10.0.0.1"}, 1.0),
        "rootCpu": one(BY_NODE, 2.0),
        "rootCpuSpread": one(BY_NODE, 0.5),
        "rootMemory": one(BY_NODE, 4e9),
        "rootMemorySpread": one(BY_NODE, 1e8),
        "cadvisorTime": one(BY_NODE, AT),
    }
    return found | changes


EXPORTER = {
    "exporterCpu": one(BY_ADDRESS, 2.5),
    "exporterCpuSpread": one(BY_ADDRESS, 0.6),
    "exporterMemory": one(BY_ADDRESS, 5e9),
    "exporterMemorySpread": one(BY_ADDRESS, 2e8),
    "exporterTime": one(BY_ADDRESS, AT - 7),
}


def test_a_node_is_told_with_mean_and_deviation_of_both():
    (sample,) = nodes_of(answers()).nodes
    assert (sample.cpu_cores, sample.cpu_deviation_cores) == (2.0, 0.5)
    assert (sample.memory_bytes, sample.memory_deviation_bytes) == (4e9, 1e8)
    assert (sample.source, sample.sampled_at) == ("cadvisor", NOW)


@pytest.mark.parametrize(
    ("first", "last", "span"),
    [(AT - 90, AT - 10, 80.0), (AT - 400, AT - 10, 290.0), (AT - 10, AT - 10, 0.0), (AT, AT - 10, 0.0)],
    ids=["came within the window", "was there before", "one sample", "clocks apart"],
)
def test_a_mean_of_memory_tells_how_far_back_its_samples_go(first, last, span):
    told = answers(rootSince=one(BY_NODE, first), cadvisorTime=one(BY_NODE, last))
    (sample,) = nodes_of(told, begins=NOW - timedelta(minutes=5)).nodes
    assert sample.memory_span_seconds == span


@pytest.mark.parametrize("told", [answers(), answers(exporterSince=one(BY_ADDRESS, AT))])
def test_where_nobody_tells_how_far_back_samples_go_the_node_is_known_all_the_same(told):
    (sample,) = nodes_of(told, begins=NOW - timedelta(minutes=5)).nodes
    assert sample.memory_span_seconds is None


@pytest.mark.parametrize("name", [name for name in NODES if name.endswith(("Cpu", "Memory"))])
def test_every_mean_is_over_the_window_that_pods_in_flight_are_held_against(name):
    assert "$loadWindow" in NODES[name].text


def test_node_exporter_comes_first_and_is_led_by_address():
    found = nodes_of(answers(**EXPORTER))
    (sample,) = found.nodes
    assert (sample.source, sample.cpu_cores, sample.cpu_deviation_cores) == ("node-exporter", 2.5, 0.6)
    assert sample.sampled_at == NOW - timedelta(seconds=7)
    assert found.match_rate == 1.0


@pytest.mark.parametrize("name", EXPORTER)
def test_a_source_that_lacks_one_figure_of_a_node_does_not_tell_of_it(name):
    (sample,) = nodes_of(answers(**(EXPORTER | {name: Vector((), 1)}))).nodes
    assert sample.source == "cadvisor"


@pytest.mark.parametrize(
    "name", ["cadvisorTime", *(name for name in answers() if name.startswith("root") and name != "rootSince")]
)
def test_without_a_figure_there_is_no_load_and_never_a_zero(name):
    assert nodes_of(answers(**{name: Vector((), 1)})).nodes == ()


def test_no_series_is_no_rate_and_series_that_lead_nowhere_are_zero():
    nothing = dict.fromkeys(NODES, Vector((), 0))
    assert nodes_of(nothing).match_rate is None
    assert nodes_of(nothing | EXPORTER).match_rate == 0.0
    assert nodes_of(answers(**(EXPORTER | {"nodes": Vector((), 0)}))).match_rate == 1.0


def test_a_label_that_names_no_known_node_leads_nowhere_and_an_address_still_does():
    named = {"node": "host-of-n1.example"}
    series = [name for name in answers() if name.startswith("root")] + ["cadvisorTime"]
    astray = dict.fromkeys(series, one(named, AT))
    assert (nodes_of(answers(**astray)).nodes, nodes_of(answers(**astray)).match_rate) == ((), 0.0)
    addressed = dict.fromkeys(series, one(named | BY_ADDRESS, AT))
    assert [sample.node for sample in nodes_of(answers(**addressed)).nodes] == ["n1"]


def test_an_address_that_is_given_again_brings_its_node_nothing_of_who_had_it_before():
    both = Vector((Row(BY_NODE | BY_ADDRESS, 0.1), Row({"node": "gone"} | BY_ADDRESS, 7.5)), 0)
    (sample,) = nodes_of(answers(rootCpu=both)).nodes
    assert sample.cpu_cores == 0.1


NODES_THERE = Vector(tuple(Row({"node": f"n{i}", "internal_ip": f"10.0.0.{i}"}, 1.0) for i in range(4)), 0)


@pytest.mark.parametrize(
    ("labels", "left_in_time", "rate"),
    [
        ([{"node": f"n{i}"} for i in range(6)], 6, 1.0),
        ([{"node": f"n{i}"} for i in range(9)], 9, 4 / 9),
        ([{"node": f"n{i}"} for i in range(9)], 4, 1.0),
        ([{"instance": f"10.0.0.{i}:9100"} for i in range(6)], 4, 1.0),
        ([{"instance": f"10.0.0.{i}:9100"} for i in range(6)], 5, 0.8),
        ([{"instance": f"10.0.0.{i}:9100"} for i in range(6)], 6, 4 / 6),
    ],
    ids=["just come", "names of something else", "most gone", "both gone", "one gone", "not of this cluster"],
)
def test_nodes_that_come_and_go_are_no_join_that_fails(labels, left_in_time, rate):
    series = Vector(tuple(Row(one, 1.0) for one in labels), 0)
    told = dict.fromkeys(("rootCpu", "rootCpuSpread", "rootMemory", "rootMemorySpread"), series)
    newest = Vector(tuple(Row(one, AT) for one in labels[:left_in_time]), 0)
    found = nodes_of(answers(nodes=NODES_THERE, cadvisorTime=newest, **told))
    assert [sample.node for sample in found.nodes] == ["n0", "n1", "n2", "n3"]
    assert found.match_rate == pytest.approx(rate)


def test_of_two_series_of_one_node_the_larger_counts():
    twice = Vector((Row(BY_NODE, 2.0), Row({"instance": "n1"}, 3.0)), 0)
    (sample,) = nodes_of(answers(rootCpu=twice)).nodes
    assert sample.cpu_cores == 3.0


def test_a_pod_has_both_figures_or_none():
    a, b = {"namespace": "shop", "pod": "a"}, {"namespace": "shop", "pod": "b"}

    def told(query):
        if query == "time()":
            return whole(query)
        return vector((a, 1e8)) if "memory" in query else vector((a, 0.1), (b, 0.2), ({"pod": "c"}, 9.0))

    with serving() as stub:
        stub.answer = told
        source = Prometheus(PrometheusSettings(url=stub.url))
        assert source.pod_use(Policy()).pods == {("shop", "a"): (0.1, 1e8)}
        source.close()


def test_habits_are_two_queries_and_a_pod_has_both_figures_or_none():
    a, b = {"namespace": "shop", "pod": "a"}, {"namespace": "shop", "pod": "b"}

    def told(query):
        if query == "time()":
            return whole(query)
        assert "[3600s:300s]" in query
        return vector((a, 1e8)) if "memory" in query else vector((a, 0.1), (b, 0.2))

    with serving() as stub:
        stub.answer = told
        source = Prometheus(PrometheusSettings(url=stub.url))
        found = source.pod_habits(Policy())
        assert (found.evaluated_at, len(found), len(stub.queries())) == (NOW, 1, 3)
        assert found.of("shop", "a") == Resources(cpu_cores=0.1, memory_bytes=1e8)
        assert found.of("shop", "b") is None
        source.close()


def nodes_and_root(nodes, told, containers=None):
    """A Prometheus whose root cgroups know ``told`` of ``nodes``; ``containers`` is what it answers of those."""

    def answer(query):
        if query == "time()":
            return whole(query)
        if "kube_node_info" in query:
            return vector(*(({"node": name}, 1) for name in nodes))
        if 'pod!=""' in query:
            return containers or vector()
        return vector() if "node_" in query else vector(*(({"node": name}, 1.0) for name in told))

    return answer


@pytest.mark.parametrize(
    ("nodes", "told", "count"), [(1, 1, 14), (2, 1, 19), (10, 9, 14), (10, 8, 19)], ids=["all", "half", "most", "few"]
)
def test_the_sums_of_containers_are_asked_for_only_where_many_nodes_are_not_known_without_them(nodes, told, count):
    names = [f"n{number}" for number in range(nodes)]
    with serving() as stub:
        stub.answer = nodes_and_root(names, names[:told])
        source = Prometheus(PrometheusSettings(url=stub.url))
        assert [sample.node for sample in source.node_usage(Policy()).nodes] == names[:told]
        assert len(stub.queries()) == count
        source.close()


def test_where_the_sums_of_containers_fail_the_nodes_that_are_known_count_all_the_same():
    refusal = {"status": "error", "errorType": "execution", "error": "query processing would load too many samples"}
    with serving() as stub:
        stub.answer = nodes_and_root(["n1", "n2"], ["n1"], refusal)
        source = Prometheus(PrometheusSettings(url=stub.url))
        assert [sample.node for sample in source.node_usage(Policy()).nodes] == ["n1"]
        stub.answer = nodes_and_root(["n1", "n2"], [], refusal)
        with pytest.raises(UsageUnavailable):
            source.node_usage(Policy())
        source.close()


def test_pods_use_is_two_queries_and_an_error_is_none_of_them_zero():
    with serving() as stub:
        source = Prometheus(PrometheusSettings(url=stub.url))
        found = source.pod_use(Policy())
        assert found.evaluated_at == NOW
        assert list(found.pods.values()) == [(0.001, 0.001)]
        assert len(stub.queries()) == 3
        stub.answer = lambda query: whole(query) if query == "time()" else {"status": "error", "error": "no"}
        for ask in (source.pod_use, source.pod_habits, source.node_usage):
            with pytest.raises(UsageUnavailable):
                ask(Policy())
        source.close()


def test_polls_that_meet_share_connections_and_none_is_thrown_away(caplog):
    """As in sync: what nodes use, what pods use, and the self-test, each with its own queries under way."""
    meeting = Barrier(3)

    def meet(query):
        if query == "time()":
            meeting.wait(10)
        else:
            sleep(0.05)
        return whole(query)

    with serving() as stub, ThreadPoolExecutor(3) as polls, caplog.at_level("WARNING"):
        stub.answer = meet
        prometheus = Prometheus(PrometheusSettings(url=stub.url))
        polled = [
            polls.submit(prometheus.node_usage, Policy()),
            polls.submit(prometheus.pod_use, Policy()),
            polls.submit(prometheus.self_test, Policy(), now=NOW),
        ]
        for one in polled:
            one.result()
        prometheus.close()
    assert caplog.records == []
