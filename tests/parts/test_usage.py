"""The stand-in for cAdvisor: exact integrals, honest labels, and every way a scrape goes wrong."""

from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parts import manifests
from tests.parts.kube_api import ApiError
from tests.parts.usage_exporter import UsageExporter
from tests.parts.usage_world import Node, Pod, Rates, World, rows


class OneNode:
    """A cluster of one node and these running pods; `away` stands for an API server that is gone."""

    def __init__(self, *names: str):
        self.names = list(names)
        self.away = False

    def list_all(self, kind: str) -> list[manifests.Manifest]:
        if self.away:
            raise ApiError(503, "Service Unavailable", "away")
        return [manifests.node("n1")]

    def pods(self) -> list[manifests.Manifest]:
        made = [manifests.pod(name) for name in self.names]
        for pod in made:
            pod["metadata"]["uid"] = f"uid-{pod['metadata']['name']}"
            pod["spec"]["nodeName"] = "n1"
            pod["status"] = {"phase": "Running"}
        return made


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def read(exporter: UsageExporter, metric: str, label: str) -> float:
    """The value of the only row of the metric with this text among its labels."""
    [line] = [row for row in exporter.page().splitlines() if row.startswith(metric + "{") and label in row]
    return float(line.split()[-2])


CPU = "container_cpu_usage_seconds_total"


def node_page(exporter: UsageExporter) -> dict[str, float]:
    """The values of what node-exporters serve, by name and labels."""
    lines = [line.split() for line in exporter.page(of_nodes=True).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value, _ in lines}


def test_counters_are_the_integral_of_the_script(clock):
    with UsageExporter(OneNode("web-1"), clock=clock) as exporter:
        exporter.set_usage("default", "web", cpu_cores=0.5, rx_bytes_per_s=100)
        clock.now_s += 10
        exporter.set_usage("default", "web", cpu_cores=2.0)
        clock.now_s += 3
        assert read(exporter, CPU, 'container="app"') == 0.5 * 10 + 2.0 * 3
        assert read(exporter, "container_network_receive_bytes_total", 'interface="eth0"') == 1000
        assert read(exporter, CPU, 'id="/"') == 11


def test_node_exporters_tell_the_same_by_address(clock):
    with UsageExporter(OneNode("web-1"), clock=clock) as exporter:
        exporter.set_usage("default", "web", cpu_cores=0.5, memory_bytes=2**30)
        old = node_page(exporter)
        clock.now_s += 10
        told = node_page(exporter)
        grown = {mode: sum(told[n] - old[n] for n in told if f'mode="{mode}"' in n) for mode in ("user", "idle")}
        assert grown == {"user": pytest.approx(5), "idle": pytest.approx(75)}
        assert not any("node=" in name for name in told)
        size, available = (next(v for n, v in told.items() if word in n) for word in ("MemTotal", "MemAvailable"))
        assert size - available == 2**30


def test_the_longest_prefix_of_the_right_namespace_speaks_for_a_pod(clock):
    with UsageExporter(OneNode("web-api-1"), clock=clock) as exporter:
        exporter.set_usage("default", "web", cpu_cores=1)
        exporter.set_usage("default", "web-api", cpu_cores=3)
        exporter.set_usage("other", "web-api-1", cpu_cores=7)
        clock.now_s += 1
        assert read(exporter, CPU, 'container="app"') == 3


def test_the_pod_level_row_repeats_what_its_containers_used(clock):
    with UsageExporter(OneNode("web-1"), clock=clock) as exporter:
        exporter.set_usage("default", "web", cpu_cores=1)
        clock.now_s += 5
        assert read(exporter, CPU, 'container="",id="/kubepods') == read(exporter, CPU, 'container="app"') == 5


def test_a_pod_that_is_gone_has_no_rows_and_its_node_keeps_what_it_used(clock):
    cluster = OneNode("web-1")
    with UsageExporter(cluster, clock=clock) as exporter:
        exporter.set_usage("default", "web", cpu_cores=1)
        clock.now_s += 5
        cluster.names.clear()
        exporter.refresh()
        assert "web-1" not in exporter.page()
        assert read(exporter, CPU, 'id="/"') == 5


def test_while_the_api_server_is_away_the_pods_known_go_on(clock):
    cluster = OneNode("web-1")
    with UsageExporter(cluster, clock=clock) as exporter:
        exporter.set_usage("default", "web", cpu_cores=1)
        cluster.away = True
        with pytest.raises(ApiError):
            exporter.refresh()
        clock.now_s += 4
        assert read(exporter, CPU, 'container="app"') == 4


def test_frozen_it_serves_the_same_bytes_and_thawed_the_counters_have_gone_on(clock):
    with UsageExporter(OneNode("web-1"), clock=clock) as exporter:
        exporter.set_usage("default", "web", cpu_cores=1)
        exporter.freeze()
        before = exporter.page()
        clock.now_s += 9
        assert exporter.page() == before
        exporter.thaw()
        assert read(exporter, CPU, 'container="app"') == 9


def test_half_of_the_scrapes_can_be_dropped():
    with UsageExporter(OneNode()) as exporter:
        exporter.drop_share = 0.5
        assert [exporter.should_drop() for _ in range(4)] == [False, True, False, True]


def test_a_dropped_scrape_is_a_closed_connection_and_a_failing_one_a_500():
    with UsageExporter(OneNode()) as exporter:
        exporter.drop_share = 1.0
        with pytest.raises(ConnectionError):
            urlopen(f"http://{exporter.target}/metrics", timeout=10)
        exporter.drop_share = 0.0
        exporter.fail_with_500 = True
        with pytest.raises(HTTPError, match="500") as refused:
            urlopen(f"http://{exporter.target}/metrics", timeout=10)
        refused.value.close()


def test_duplicates_are_the_same_row_twice(clock):
    with UsageExporter(OneNode("web-1"), clock=clock) as exporter:
        exporter.duplicate = True
        samples = [row for row in exporter.page().splitlines() if not row.startswith("#")]
        assert samples
        assert samples[::2] == samples[1::2]


rates = st.builds(Rates, *[st.floats(0, 1e6, allow_nan=False)] * 4)


@given(steps=st.lists(st.tuples(rates, st.floats(-5, 1e5, allow_nan=False)), max_size=10))
def test_counters_never_fall_whatever_the_script_and_the_clock_do(steps):
    world = World()
    world.replace([Pod("u", "ns", "web-1", "n1", (("app", "i"),))], [Node("n1", 8, 1)], 0.0)
    now_s, seen = 0.0, {}
    for wanted, passed_s in steps:
        world.script["ns", "web"] = wanted
        now_s += passed_s
        world.advance(now_s)
        for metric, labels, value in rows(world):
            if metric.endswith("_total"):
                key = (metric, labels["id"])
                assert value >= seen.get(key, 0.0)
                seen[key] = value


def test_hidden_pods_have_no_series_at_all(clock):
    with UsageExporter(OneNode("web-1", "reports-1"), clock=clock) as exporter:
        assert 'pod="reports-1"' in exporter.page()
        exporter.hide("default", "reports")
        assert 'pod="reports-1"' not in exporter.page()
        assert 'pod="web-1"' in exporter.page()
