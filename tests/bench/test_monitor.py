"""The load that a run of the monitor is measured on: as it was drawn, and as the product's own rules read it."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from bench import monitor, monitor_data
from bench import scale_plane as plane
from bench import scale_world as world
from bench.monitor_feed import Feed
from webhook.core.policy import IdlePolicy
from webhook.core.readings import cpu_threshold
from webhook.wire.promql import SWEEP
from webhook.wire.promql_text import metrics

NOW = datetime(2026, 1, 1, 12, 0, 30, 250_000, tzinfo=UTC)
END = NOW + monitor_data.AFTER
SIZE = world.Size(nodes=20, deployments=60)


@pytest.fixture(scope="module")
def series():
    """{metric: {labels: [(seconds, value)]}} of the whole load."""
    found = defaultdict(lambda: defaultdict(list))
    for line in "".join(
        monitor_data.families(monitor_data.metrics(NOW, SIZE), END + timedelta(minutes=2))
    ).splitlines():
        if not line.startswith("#"):
            labelled, value, time = line.rsplit(" ", 2)
            metric, _, labels = labelled.partition("{")
            found[metric][labels.rstrip("}")].append((int(time), float(value)))
    return found


def labels_of(deployment, index):
    namespace, name, _ = world.pod_of(deployment, index)
    return f'namespace="{namespace}",pod="{name}",'


def of_pod(series, metric, deployment, index):
    return next((found for labels, found in series[metric].items() if labels_of(deployment, index) in labels), [])


def test_every_metric_of_the_sweep_is_there_except_that_of_init_containers(series):
    read = {metric for template in SWEEP.values() for metric in metrics(template.text)}
    assert read - set(series) == {"kube_pod_init_container_info"}


def test_samples_reach_from_before_every_look_back_to_after_every_run(series):
    reach = monitor_data.SCRAPE_SECONDS
    for pods in series.values():
        times = [time for samples in pods.values() for time, _ in samples]
        assert min(times) <= NOW.timestamp() - 74 * 60
        assert max(times) >= END.timestamp() - reach


def test_what_is_backfilled_and_what_is_fed_are_the_whole_and_overlap_nowhere(series):
    past = "".join(monitor_data.families(monitor_data.metrics(NOW, SIZE), NOW)).splitlines()
    times = [int(line.rsplit(" ", 1)[1]) for line in past if not line.startswith("#")]
    assert max(times) <= NOW.timestamp()
    feed = Feed("http://prometheus.example", monitor_data.metrics(NOW, SIZE), since=NOW)
    assert len(list(feed._due(NOW.timestamp(), END.timestamp()))) == sum(len(pods) for pods in series.values())
    minute = list(feed._due(NOW.timestamp(), NOW.timestamp() + monitor_data.SCRAPE_SECONDS))
    assert len(minute) == sum(len(pods) for pods in series.values())


def test_pods_carry_the_uid_and_the_start_that_the_api_server_tells(series):
    for deployment, drawn in enumerate(monitor_data.draw(SIZE.deployments)):
        for index in range(world.PODS_PER_DEPLOYMENT):
            pod = world.pod(deployment, index, NOW, SIZE)
            born = datetime.fromisoformat(pod["status"]["startTime"]).timestamp()
            mine = [(k, v) for k, v in series["kube_pod_start_time"].items() if labels_of(deployment, index) in k]
            if drawn.of(index) is monitor_data.State.UNTOLD:
                assert not mine
            else:
                [(labels, samples)] = mine
                assert f'uid="{pod["metadata"]["uid"]}"' in labels
                assert {value for _, value in samples} == {born}


def test_each_state_shows_in_the_pods_that_it_was_drawn_for(series):
    policy, state = IdlePolicy(), monitor_data.State
    below = cpu_threshold(world.REQUEST_CORES, policy)
    full = len(of_pod(series, "container_cpu_usage_seconds_total", 0, 0))
    for deployment, drawn in enumerate(monitor_data.draw(SIZE.deployments)):
        for index in range(world.PODS_PER_DEPLOYMENT):
            cpu = of_pod(series, "container_cpu_usage_seconds_total", deployment, index)
            received = of_pod(series, "container_network_receive_bytes_total", deployment, index)
            shown = drawn.of(index)
            assert (not cpu) == (not received) == (shown is state.UNSCRAPED)
            if shown is state.UNSCRAPED:
                continue
            assert (len(cpu) < full) == (shown is state.GAP)
            assert _holds(cpu, below, policy.leave_factor, busy=shown is state.BUSY_CPU)
            assert _holds(
                received, policy.received_bytes_per_second, policy.leave_factor, busy=shown is state.BUSY_NETWORK
            )


def _holds(samples, below, factor, *, busy):
    rates = [(later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in pairwise(samples)]
    return min(rates) >= below * factor if busy else max(rates) < below


def test_what_must_be_found_is_counted_from_the_draw():
    state = monitor_data.State
    drawn = [monitor_data.Draw(one, frozenset({0})) for one in (*state, state.IDLE)]
    assert monitor_data.counts(drawn) == (2, 2, 3, {"missing-series": 2, "gap": 1})


def test_the_small_cluster_is_the_beginning_of_the_large_one():
    assert monitor_data.draw(50) == monitor_data.draw(500)[:50]


def test_a_cluster_of_another_size_binds_its_pods_to_nodes_that_it_has():
    found = list(plane.objects(NOW, SIZE))
    nodes = {one["metadata"]["name"] for one in found if one["kind"] == "Node"}
    pods = [one for one in found if one["kind"] == "Pod"]
    assert (len(nodes), len(pods)) == (SIZE.nodes, SIZE.pods)
    assert {pod["spec"]["nodeName"] for pod in pods} == nodes


def test_a_run_that_found_other_than_what_was_drawn_is_no_figure():
    drawn = monitor_data.Counts(1, 0, 0, {})
    report = {"idle": 1, "active": 0, "unknown": 0, "unknownReasons": {}}
    monitor._check(report, drawn)
    with pytest.raises(RuntimeError, match="active=1"):
        monitor._check(report | {"idle": 0, "active": 1}, drawn)


def run_of(seconds, peak, queries=31):
    return monitor.Run(seconds, seconds / 2, peak, [0.5] * queries, {"changes": [], "objectsWritten": 17})


def test_the_table_tells_the_first_run_apart_and_the_largest_memory_of_all():
    runs = [run_of(12.0, 310.0), run_of(7.0, 200.0), run_of(8.0, 210.0), run_of(9.0, 205.0)]
    later, first, cpu, memory, slowest, queries = monitor._table(runs, run_of(1.0, 90.0), [20.0])
    assert (later["ours"], later["met"], later["rounds"]) == (8.0, True, 3)
    assert (first["ours"], first["met"], first["rounds"]) == (12.0, False, 1)
    assert (cpu["ours"], cpu["met"]) == (4.0, None)
    assert (memory["ours"], memory["met"]) == (310.0, False)
    assert (slowest["ours"], slowest["met"]) == (0.5, True)
    assert (queries["ours"], queries["ratio"], queries["met"]) == (31, 1.0, True)


def test_more_queries_in_a_larger_cluster_miss_the_goal():
    *_, queries = monitor._table([run_of(7.0, 200.0, 40), run_of(7.0, 200.0, 40)], run_of(1.0, 90.0), [20.0])
    assert (queries["met"], queries["ratio"]) == (False, 0.78)


def test_the_peer_asks_twice_for_each_workload():
    assert len(monitor.peer_queries(SIZE)) == 2 * SIZE.deployments
