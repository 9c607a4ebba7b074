"""The model of PromQL that benchmarks judge by, held against a real Prometheus and the product's own queries."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bench import promql_model as promql
from bench.labelled_load import HOUR, Pod, load
from bench.promql_model import Series
from bench.scraped_load import NAMESPACE, Exporter, Fault, moment, observe, rows, scrape
from webhook.core.policy import IdlePolicy


def series(*samples: tuple[float, float]) -> Series:
    """Of (seconds, value)."""
    return Series(
        np.array([s * 1000 for s, _ in samples], dtype=np.int64), np.array([v for _, v in samples], dtype=float)
    )


def at(*seconds: float):
    return np.array([s * 1000 for s in seconds], dtype=np.int64)


def test_a_rate_needs_two_samples_and_its_range_leaves_the_older_end_out():
    steady = series((0, 0), (60, 6), (120, 12))
    assert np.isnan(promql.rate(steady, at(60, 120), 60_000)).all()
    assert promql.rate(steady, at(60, 120), 61_000) == pytest.approx([6 / 61, 6 / 61 * 61 / 60])


def test_a_reset_costs_nothing_that_was_scraped():
    falling = series((10, 100), (70, 106), (130, 4), (190, 10))
    [rate] = promql.rate(falling, at(200), 200_000)
    assert rate == pytest.approx((6 + 4 + 6) * (200 / 180) / 200)


def test_resets_are_told_of_samples_within_the_range_alone():
    falling = series((10, 100), (70, 6), (130, 4), (190, 10))
    assert promql.resets(falling, at(60, 129, 200, 300, 900), 200_000).tolist()[:4] == [0, 1, 2, 0]
    assert np.isnan(promql.resets(falling, at(900), 200_000)).all()
    assert np.isnan(promql.resets(series(), at(900), 200_000)).all()


def test_a_stale_marker_ends_a_series_for_instants_and_not_for_ranges():
    ended = series((0, 7), (60, 7), (90, float("nan")))
    instants = promql.instant(ended, at(89, 90, 200))
    assert instants[0] == 7
    assert np.isnan(instants[1:]).all()
    assert promql.last_over_time(ended, at(200), 3600_000).tolist() == [7]


def test_an_instant_finds_samples_of_the_last_five_minutes_only():
    once = series((100, 3))
    assert np.isnan(promql.instant(once, at(99, 400))).all()
    assert promql.instant(once, at(100, 399), of_time=True).tolist() == [100, 100]


def test_a_subquery_evaluates_at_multiples_of_its_step_and_leaves_the_older_end_out():
    assert promql.steps(60_000, 180_000, 60_000).tolist() == [120_000, 180_000]
    assert promql.steps(59_999, 180_001, 60_000).tolist() == [60_000, 120_000, 180_000]


# --- the whole sweep, by the product's adapter

FAULT = Fault("gaps, spells, duplicates and resets", lost=0.25, stops=True, duplicates=True, resets=True)
SECONDS = 9 * HOUR
RUNS = (3, 61, 100, 187, 240, 333, 395, 470, 539)
EXACT = (
    "cpu_points",
    "received_points",
    "expected_points",
    "running_points",
    "restarts",
    "last_sample_at",
    "started_at",
)
CLOSE = ("cpu_peak_cores", "cpu_recent_cores", "received_peak_bytes_per_second", "received_recent_bytes_per_second")


def some_pods() -> list[Pod]:
    """Long-lived ones, some of two containers, and those that follow each other."""
    wanted = {"resting", "flapping", "with-sidecar", "restarting", "one-leader"}
    pods = [pod for workload in load(11, 1) if workload.name in wanted for pod in workload.pods]
    return [pod for pod in pods if pod.started < SECONDS]


def open_metrics(scraped) -> str:
    """All series as text; markers of staleness cannot be backfilled, so the model must do without them too."""

    def family(name, kind, rows):
        yield f"# TYPE {name.removesuffix('_total')} {kind}\n"
        for labels, one in rows:
            for time, value in zip(one.times.tolist(), one.values.tolist(), strict=True):
                yield f'{name}{{namespace="{NAMESPACE}",{labels}}} {value!r} {time / 1000:.3f}\n'

    cpu, received, known, one = [], [], [], []
    for each in scraped:
        pod = f'pod="{each.pod.name}"'
        for number, copies in enumerate(each.cpu):
            cpu += [(f'{pod},container="c{number}",job="j{job}"', copy) for job, copy in enumerate(copies)]
            one.append((f'{pod},container="c{number}"', ones(each.known)))
        received += [(f'{pod},interface="eth0",job="j{job}"', copy) for job, copy in enumerate(each.received)]
        known.append((f'{pod},uid="{each.pod.name}"', each.known))
    running = [(f'{labels},phase="Running"', ones(since)) for labels, since in known]
    owner = [
        (f'{labels},owner_kind="Deployment",owner_name="w",owner_is_controller="true"', ones(s)) for labels, s in known
    ]
    return "".join(
        [
            *family("container_cpu_usage_seconds_total", "counter", cpu),
            *family("container_network_receive_bytes_total", "counter", received),
            *family("kube_pod_start_time", "gauge", known),
            *family("kube_pod_status_phase", "gauge", running),
            *family("kube_pod_owner", "gauge", owner),
            *family("kube_pod_container_info", "gauge", one),
            "# EOF\n",
        ]
    )


def ones(since: Series) -> Series:
    return Series(since.times, np.ones(len(since.times)))


def unmarked(since: Series) -> Series:
    kept = ~np.isnan(since.values)
    return Series(since.times[kept], since.values[kept])


def seeded_sample():
    rng = np.random.default_rng(2026)
    scraped = []
    for pod in some_pods():
        each = scrape(pod, SECONDS, FAULT, rng, Exporter.drawn(SECONDS, FAULT, rng))
        scraped.append(replace(each, known=unmarked(each.known)))
    return scraped


@pytest.mark.e2e
@pytest.mark.slow
def test_the_model_answers_the_sweep_as_a_real_prometheus_does(part, tmp_path):
    """Every value of every pod at seeded moments: with gaps, resets, duplicates, restarts and containers."""
    from tests.parts.prometheus import PrometheusServer, backfill
    from webhook.adapters.usage import Prometheus, PrometheusSettings

    part("prometheus")
    part("promtool")
    scraped, policy = seeded_sample(), IdlePolicy()
    backfill(open_metrics(scraped), tmp_path / "data")
    modelled = {each.pod.name: list(rows(observe(each, policy, SECONDS // 60))) for each in scraped}
    compared = 0
    with PrometheusServer(tmp_path) as server:
        prometheus = Prometheus(PrometheusSettings(url=server.url))
        for run in RUNS:
            told = {usage.name: usage for usage in prometheus.sweep(policy, at=moment(run)).pods}
            ours = {name: usages[run] for name, usages in modelled.items()}
            assert {name for name, usage in ours.items() if usage} == set(told)
            for name, usage in told.items():
                for field in EXACT:
                    assert getattr(ours[name], field) == getattr(usage, field), (name, run, field)
                for field in CLOSE:
                    mine, value = getattr(ours[name], field), getattr(usage, field)
                    assert (mine is None) == (value is None), (name, run, field)
                    if mine is not None:
                        assert math.isclose(mine, value, rel_tol=1e-9), (name, run, field)
                        compared += 1
        prometheus.close()
    assert compared > 200
