"""The self-test against real Prometheuses that lack a piece each, over one real cluster's metrics."""

import json
import os
import subprocess
import sys
import threading
import urllib.request
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.parts.processes import ManagedProcess, release_port, reserve_port, wait_for
from tests.parts.prometheus import PrometheusServer, ScrapeTarget, kube_state_metrics_target, kubelet_target
from webhook.adapters.usage import Prometheus, PrometheusSettings
from webhook.core.policy import IdlePolicy, Policy
from webhook.core.selftest import Severity
from webhook.wire.promql import ClusterLabel

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("e2e-selftest-live")]

QUICK = IdlePolicy(
    window=timedelta(seconds=20),
    rate_window=timedelta(seconds=5),
    step=timedelta(seconds=1),
    leave_window=timedelta(seconds=4),
    scrape_interval=timedelta(seconds=1),
    startup_grace=timedelta(seconds=2),
)
RULE = "node_namespace_pod_container:container_cpu_usage_seconds_total:sum_rate5m"
NODE_EXPORTER = """# TYPE node_cpu_seconds_total counter
node_cpu_seconds_total{cpu="0",mode="user"} 10
# TYPE node_memory_MemTotal_bytes gauge
node_memory_MemTotal_bytes 1e9
# TYPE node_memory_MemAvailable_bytes gauge
node_memory_MemAvailable_bytes 5e8
# TYPE RULE gauge
RULE{namespace="shop",pod="web",container="app"} 0.1
""".replace("RULE", RULE)


@pytest.fixture(scope="module")
def node_exporter():
    """host:port of what serves one node's figures and a recording rule's."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(NODE_EXPORTER.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def labelled(target, **labels):
    static = [{"targets": list(target.addresses), "labels": labels}]
    return ScrapeTarget(target.job, target.addresses, target.path, target.settings | {"static_configs": static})


@pytest.fixture(scope="module")
def variants(control_plane, usage_exporter, node_exporter, build_shown, tmp_path_factory):
    """A Prometheus for each thing that can be wrong, all scraping the same cluster."""
    build_shown("prometheus", "promtool")
    control_plane.node("regular-1")
    control_plane.namespace("shop")
    control_plane.namespace("spot-balancer")
    usage_exporter.set_usage("shop", "nginx-demo", cpu_cores=0.002, rx_bytes_per_s=100, memory_bytes=1e8)
    control_plane.deployment("nginx-demo", namespace="shop", replicas=2)
    kubelet = kubelet_target(usage_exporter.target)
    kube = kube_state_metrics_target(control_plane.port("kube-state-metrics"))
    exporter = ScrapeTarget("node-exporter", [node_exporter])
    own_pod = {"namespace": "monitoring", "pod": "kube-state-metrics-0"}
    without_network = [{"source_labels": ["__name__"], "regex": "container_network.*", "action": "drop"}]
    without_labels = [{"regex": "container|interface", "action": "labeldrop"}]
    roots_dropped = [{"source_labels": ["id"], "regex": "/", "action": "drop"}]
    other_host = ScrapeTarget("node-exporter", [node_exporter], settings={"params": {"x": ["y"]}})
    kubelet_twin = kubelet_target(usage_exporter.target, job="cadvisor")
    jobs = {
        "whole": [kubelet, kube],
        "no-cadvisor": [kube],
        "no-kube-state-metrics": [kubelet],
        "no-network": [relabelled(kubelet, without_network), kube],
        "no-labels": [relabelled(kubelet, without_labels), kube],
        "no-honor-labels": [kubelet, labelled(ScrapeTarget(kube.job, kube.addresses), **own_pod)],
        "twice": [kubelet, kubelet_twin, kube],
        "node-exporter": [kubelet, kube, labelled(exporter, node="regular-1")],
        "unjoined": [relabelled(kubelet, roots_dropped), kube, other_host],
        "two-clusters": [
            labelled(kubelet, cluster="eu"),
            labelled(kube, cluster="eu"),
            labelled(ScrapeTarget("other", kube.addresses, settings=kube.settings), cluster="us"),
        ],
    }
    servers = {name: PrometheusServer(tmp_path_factory.mktemp(name), targets) for name, targets in jobs.items()}
    servers["slow"] = PrometheusServer(tmp_path_factory.mktemp("slow"), [kubelet, kube], scrape_interval="3s")
    try:
        for server in servers.values():
            server.start()
        yield {name: server.url for name, server in servers.items()}
    finally:
        for server in servers.values():
            server.close()


def relabelled(target, rules):
    return ScrapeTarget(target.job, target.addresses, target.path, target.settings | {"metric_relabel_configs": rules})


def selftest_of(url, **settings):
    source = Prometheus(PrometheusSettings(url=url, **settings))
    try:
        return source.self_test(Policy(idle=QUICK), now=datetime.now(UTC))
    finally:
        source.close()


def codes(found):
    return {finding.code.value for finding in found.findings if finding.severity is not Severity.INFO}


def sentences(found):
    return " ".join(finding.sentence for finding in found.findings)


def settled(url, expected, *, word="", **settings):
    """The self-test, once scrapes of ten seconds are there and it finds just what is wrong, and says that word of it.

    A finding of no weight is not in ``expected`` and may come a look later, when every job's scrapes are answered.
    """

    def as_expected():
        found = selftest_of(url, **settings)
        is_whole = codes(found) == expected and found.scrape_interval_seconds
        return found if is_whole and word in sentences(found) else None

    try:
        return wait_for(as_expected, 60, f"findings to be {expected}, with {word!r}")
    except Exception:
        found = selftest_of(url, **settings)
        pytest.fail(f"{[(f.code.value, f.sentence) for f in found.findings]} {found.scrape_interval_seconds}")


def with_intervals(found):
    """Both, and of whole scrapes: one that is late on a busy machine counts for the half minute that is looked at."""
    intervals = found.scrape_interval_seconds.values()
    return (
        found if len(intervals) == 2 and all(seconds == pytest.approx(1, rel=0.15) for seconds in intervals) else None
    )


def test_a_whole_prometheus_has_nothing_wrong(variants):
    found = wait_for(lambda: with_intervals(settled(variants["whole"], set())), 60, "scrapes of ten seconds")
    assert found.scrape_interval_seconds == {
        "cadvisor": pytest.approx(1, rel=0.15),
        "kube-state-metrics": pytest.approx(1, rel=0.15),
    }
    assert {source.source: (source.series, source.by) for source in found.node_sources} == {
        "node-exporter": (0, {}),
        "cadvisor": (1, {"label": 1}),
        "cadvisor-containers": (1, {"label": 1}),
    }
    assert [finding.code for finding in found.findings] == ["no-node-exporter"]
    assert all(not query.missing for query in found.queries if not query.for_nodes)
    assert found.prometheus_version.startswith("3.")


@pytest.mark.parametrize(
    ("variant", "expected", "word"),
    [
        ("no-network", {"no-network"}, "receivedPeak"),
        ("no-labels", {"cadvisor-labels"}, "container"),
        ("no-honor-labels", {"no-honor-labels"}, "exported_pod"),
        ("no-kube-state-metrics", {"no-kube-state-metrics"}, "kube-state-metrics"),
        ("twice", set(), "differ in job"),
        ("unjoined", {"node-load-pods-only", "node-join"}, "lead to no node"),
        ("two-clusters", {"several-clusters"}, "eu, us"),
        ("slow", {"scrape-too-slow", "scrape-slower"}, "every 3"),
    ],
)
def test_what_is_wrong_is_found_and_nothing_else(variants, variant, expected, word):
    found = settled(variants[variant], expected, word=word)
    assert all(finding.remedy for finding in found.findings)


def test_without_cadvisor_every_query_that_misses_it_is_named(variants):
    found = settled(variants["no-cadvisor"], {"no-cadvisor", "no-network", "no-node-load"})
    missing = {query.name for query in found.queries if query.missing and not query.for_nodes}
    assert missing >= {"cpuPeak", "cpuPoints", "cpuRecent", "receivedPeak", "receivedPoints", "sampleTime"}
    assert not missing & {"startTime", "owner", "containers", "expectedPoints", "runningPoints"}


def test_two_kubelet_jobs_are_told_and_harm_nothing(variants):
    found = settled(variants["twice"], set(), word="CPU series")
    copies = next(finding for finding in found.findings if finding.code == "duplicates")
    assert copies.sentence == "each container has 2.0 CPU series, which differ in job"


def test_one_cluster_of_two_is_chosen_by_its_label(variants):
    found = settled(variants["two-clusters"], set(), cluster_label=ClusterLabel("cluster", "eu"))
    assert all('cluster="eu"' in query.text for query in found.queries)
    wrong = selftest_of(variants["two-clusters"], cluster_label=ClusterLabel("cluster", "asia"))
    assert codes(wrong) == {"cluster-unmatched"}
    assert "eu, us" in wrong.findings[0].sentence


def test_node_exporter_and_recording_rules_are_recognised(variants):
    found = settled(variants["node-exporter"], set())
    assert {source.source: source.by for source in found.node_sources}["node-exporter"] == {"label": 1}
    assert {finding.code: finding.subject for finding in found.findings} == {"recording-rules": RULE}


def test_queries_of_ones_own_are_tried(variants):
    own = {
        "cpuPeak": "max by (pod) (up) # no namespace",
        "owner": "sum(rate(up[5s])) by (namespace, pod, owner_kind, owner_name)",
        "startTime": "nothing_like_it",
        "cpuRecent": "sum by (namespace, pod) (rate(kube_pod_status_phase[5s]))",
        "containers": "sum by (",
    }
    found = settled(
        variants["whole"],
        {"own-query-labels", "own-query-empty", "own-query-refused", "metric-missing"},
        queries=own,
    )
    by = {(finding.code.value, finding.subject) for finding in found.findings}
    assert {
        ("own-query-labels", "cpuPeak"),
        ("own-query-labels", "owner"),
        ("own-query-empty", "startTime"),
        ("own-query-refused", "containers"),
        ("metric-missing", "nothing_like_it"),
    } <= by
    assert not {finding for finding in by if finding[1] == "cpuRecent"}
    assert "query-infos" in {code for code, _ in by}


# --- the processes themselves


@pytest.fixture
def config(tmp_path, control_plane, variants):
    """Flags of a command for a cluster whose Prometheus scrapes kube-state-metrics without honor_labels."""
    file = tmp_path / "config.yaml"
    idle = {"window": "20s", "rateWindow": "5s", "step": "1s", "leaveWindow": "4s", "scrapeInterval": "1s"}
    file.write_text(json.dumps({"prometheus": {"url": variants["no-honor-labels"]}, "idle": idle}))
    return ["--config", str(file), "--kubeconfig", str(control_plane.admin_kubeconfig), "-n", "spot-balancer"]


def lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def fetch(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return answer.read().decode()


def test_sync_tells_in_its_log_its_metrics_and_its_api(config, tmp_path, variants):
    settled(variants["no-honor-labels"], {"no-honor-labels"})
    port = reserve_port()
    command = [sys.executable, "-m", "webhook", "sync", "--snapshot-dir", str(tmp_path / "s")]
    command += ["--ops-bind", f"127.0.0.1:{port}", *config]
    log = tmp_path / "sync.log"
    process = ManagedProcess("sync", command, log=log, environ=dict(os.environ))
    process.start()
    try:

        def page():
            told = json.loads(fetch(port, "/api/v1/prometheus"))
            return told if told["testedAt"] else None

        process.wait_until(page)
        told = page()
        assert told["schemaVersion"] == 1
        assert "no-honor-labels" in {finding["code"] for finding in told["findings"]}
        assert {query["name"] for query in told["queries"]} >= {"cpuPeak", "owner", "nodes"}
        metrics = fetch(port, "/metrics")
        assert 'spot_balancer_prometheus_finding{code="no-honor-labels"} 1.0' in metrics
        assert 'spot_balancer_prometheus_finding{code="no-cadvisor"} 0.0' in metrics
    finally:
        process.kill()
        release_port(port)
    found = [line for line in lines(log.read_text()) if line.get("code") == "no-honor-labels"]
    assert [(line["severity"], bool(line["remedy"])) for line in found] == [("error", True)]


def test_a_run_of_the_monitor_tells_what_is_wrong(config, variants):
    settled(variants["no-honor-labels"], {"no-honor-labels"})
    command = [sys.executable, "-m", "webhook", "monitor", *config, "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = {line["code"]: line for line in lines(done.stderr) if line.get("remedy")}
    assert "honor_labels: true" in found["no-honor-labels"]["remedy"], done.stderr
