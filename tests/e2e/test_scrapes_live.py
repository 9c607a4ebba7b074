"""Faults of exporters under real scrapes: nobody who works is ever called idle, and who rests is idle again after it.

Each fault is a pair of scrape jobs of its own in one Prometheus, cAdvisor's and kube-state-metrics', with three
workloads: one rests, one works, and one rests until the fault begins and works from then on, which is the one that a
reading of old or missing samples as rest would send to spot. All faults begin at one moment.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest

from tests.parts.processes import release_port, reserve_port, wait_for
from tests.parts.prometheus import PrometheusServer, ScrapeTarget
from webhook.adapters.usage import Prometheus, PrometheusSettings
from webhook.core.census import Census, ControllerFact, PodFact
from webhook.core.idleness import Code, judge
from webhook.core.model import ControllerRef, Evidence, WorkloadKey
from webhook.core.policy import IdlePolicy
from webhook.core.usage import by_workload
from webhook.errors import UsageUnavailable

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("e2e-scrapes")]

QUICK = IdlePolicy(
    window=timedelta(seconds=12),
    rate_window=timedelta(seconds=5),
    step=timedelta(seconds=1),
    leave_window=timedelta(seconds=4),
    scrape_interval=timedelta(seconds=1),
    startup_grace=timedelta(seconds=2),
)
REST, WORK = 0.002, 0.5
FAULT_SECONDS = 25.0
NOTICED = 8.0
"""After so long a workload that woke must be seen, or doubted: two scrapes of age are allowed, and four of range."""
OWNER = ControllerRef(kind="ReplicaSet", name="web-1")
WORKLOADS = ("rests", "works", "wakes")


class RefusedError(Exception):
    """The target answers 500."""


class Page(NamedTuple):
    """How one scrape of cAdvisor comes out, ``since`` seconds after the fault began (negative before)."""

    dated: Callable[[float], float] = lambda _since: 0.0
    """Seconds added to its time stamps."""
    fails: Callable[[float], bool] = lambda _since: False
    freezes: bool = False
    """From the fault on, the last page again."""
    resets_at: float | None = None
    """Counters start over, and everybody is at rest."""
    pod_label: Callable[[float], str] = lambda _since: "pod"
    job: Callable[[float], str] = lambda _since: "kubelet"
    kube_fails: bool = False
    copies: tuple[str, ...] = ("a",)
    """Replicas of an HA pair that scrape it; the fault hits the first."""


class Fault(NamedTuple):
    page: Page
    rests: frozenset[Code]
    """What the resting workload's evidence comes to while the fault lasts."""
    wakes: Evidence = Evidence.UNKNOWN


def codes(*wanted):
    return frozenset(wanted)


FAULTS = {
    "none": Fault(Page(), codes(Code.IDLE), Evidence.ACTIVE),
    "frozen": Fault(Page(freezes=True), codes(Code.STALE)),
    "gone": Fault(Page(fails=lambda s: s > 0), codes(Code.MISSING, Code.GAP)),
    "late": Fault(Page(dated=lambda s: -6.0 if s > 0 else 0.0), codes(Code.STALE, Code.MISSING)),
    "ahead": Fault(Page(dated=lambda s: 90.0 if s > 0 else 0.0), codes(Code.CLOCK, Code.STALE)),
    "one-in-two-lost": Fault(Page(fails=lambda s: s > 0 and int(s) % 2 == 0), codes(*Code), Evidence.ACTIVE),
    "labels-renamed": Fault(Page(pod_label=lambda s: "pod_name" if s > 0 else "pod"), codes(Code.MISSING, Code.GAP)),
    "job-relabelled": Fault(Page(job=lambda s: "cadvisor" if s > 0 else "kubelet"), codes(Code.IDLE), Evidence.ACTIVE),
    "one-of-a-pair-frozen": Fault(Page(freezes=True, copies=("a", "b")), codes(Code.IDLE), Evidence.ACTIVE),
    "one-of-a-pair-gone": Fault(Page(fails=lambda s: s > 0, copies=("a", "b")), codes(Code.IDLE), Evidence.ACTIVE),
    "restarted": Fault(Page(resets_at=0.0), codes(Code.IDLE)),
    "away-and-back-with-zeros": Fault(Page(fails=lambda s: 0 < s < 8, resets_at=8.0), codes(Code.GAP, Code.MISSING)),
    "kube-state-metrics-gone": Fault(Page(kube_fails=True), codes(Code.GAP, Code.MISSING), Evidence.ACTIVE),
}
BACK_AT_REST = ("restarted", "away-and-back-with-zeros")
"""Their counters start over with a workload that does nothing: there, what woke goes to rest again."""


class Exporters:
    """All targets on one port, by path: ``/<fault>/<replica>/cadvisor`` and ``/<fault>/kube``."""

    def __init__(self):
        self.began = time.time()
        self.fault_at = float("inf")
        self.port = reserve_port()
        self._frozen = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        release_port(self.port)

    def answer(self, path):
        name, *rest = path.strip("/").split("/")
        page, now = FAULTS[name].page, time.time()
        since = now - self.fault_at
        if rest == ["kube"]:
            if page.kube_fails and since > 0:
                raise RefusedError
            return kube(name, self.began)
        if rest[0] == page.copies[0]:
            if page.fails(since):
                raise RefusedError
            if page.freezes and since > 0 and path in self._frozen:
                return self._frozen[path]
            self._frozen[path] = cadvisor(name, page, since, now, self.began)
            return self._frozen[path]
        return cadvisor(name, Page(), since, now, self.began)


def _handler(exporters):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                body = exporters.answer(self.path).encode()
            except RefusedError:
                self.send_error(500)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            return None

    return Handler


def cores_until(workload, since, lived):
    """CPU-seconds that a workload has used after ``lived`` seconds, ``since`` of them after the fault began."""
    if workload == "wakes":
        return REST * lived + (WORK - REST) * max(0.0, since)
    return (WORK if workload == "works" else REST) * lived


def cadvisor(name, page, since, now, began):
    stamp = round((now + page.dated(since)) * 1000)
    rows = defaultdict(list)
    for workload in WORKLOADS:
        used = cores_until(workload, since, now - began)
        if page.resets_at is not None and since >= page.resets_at:
            # Nothing is left of what it did, and it does next to nothing.
            used = REST * (since - page.resets_at) if workload != "works" else WORK * (since - page.resets_at)
        labels = f'namespace="{name}-{workload}",{page.pod_label(since)}="web-1-a",job="{page.job(since)}"'
        rows["container_cpu_usage_seconds_total"].append((f'{labels},container="app"', used))
        rows["container_network_receive_bytes_total"].append((f'{labels},interface="eth0"', used * 1000))
    return "".join(
        f"# TYPE {metric} counter\n" + "".join(f"{metric}{{{labels}}} {value:.6f} {stamp}\n" for labels, value in told)
        for metric, told in rows.items()
    )


def kube(name, began):
    lines = []
    for workload in WORKLOADS:
        pod = f'namespace="{name}-{workload}",pod="web-1-a",uid="uid-{name}-{workload}"'
        lines += [
            f"kube_pod_start_time{{{pod}}} {began - 86400:.0f}",
            f'kube_pod_status_phase{{{pod},phase="Running"}} 1',
            f'kube_pod_owner{{{pod},owner_kind="ReplicaSet",owner_name="web-1",owner_is_controller="true"}} 1',
            f'kube_pod_container_info{{{pod},container="app"}} 1',
        ]
    return "\n".join(lines) + "\n"


def targets(port):
    honor = {"honor_labels": True, "track_timestamps_staleness": True}
    address = [f"127.0.0.1:{port}"]
    for name, fault in FAULTS.items():
        for replica in fault.page.copies:
            told = {"static_configs": [{"targets": address, "labels": {"replica": replica}}]}
            yield ScrapeTarget(f"{name}-{replica}", address, path=f"/{name}/{replica}/cadvisor", settings=honor | told)
        yield ScrapeTarget(f"{name}-kube", address, path=f"/{name}/kube", settings={"honor_labels": True})


class Watch:
    """The source, and who is who by the API server."""

    def __init__(self, url, began):
        born = datetime.fromtimestamp(began, tz=UTC) - timedelta(days=1)
        names = [(fault, workload) for fault in FAULTS for workload in WORKLOADS]
        self.keys = {f"{f}-{w}": WorkloadKey(namespace=f"{f}-{w}", kind="Deployment", name="web") for f, w in names}
        pods = [
            PodFact(namespace=n, name="web-1-a", uid=f"uid-{n}", controller=OWNER, phase="Running", created_at=born,
                    started_at=born)
            for n in self.keys
        ]  # fmt: skip
        controllers = [
            ControllerFact(api_version="apps/v1", kind="Deployment", namespace=n, name="web", uid=n, created_at=born)
            for n in self.keys
        ]
        self.census = Census(taken_at=born, pods=tuple(pods), controllers=tuple(controllers))
        self.owners = {(name, "ReplicaSet", "web-1"): key for name, key in self.keys.items()}
        self.source = Prometheus(PrometheusSettings(url=url))

    def verdicts(self, *, clock_off=timedelta(0)):
        """By ``<fault>-<workload>``; none of them while Prometheus is away. ``clock_off`` is our own clock's error."""
        now = datetime.now(UTC) + clock_off
        try:
            usages = by_workload(self.census, self.source.sweep(QUICK), owners=self.owners)
        except UsageUnavailable:
            return {}
        return {name: judge(usages[key], QUICK, now=now) for name, key in self.keys.items()}


class Seen(NamedTuple):
    since: float
    verdicts: dict


@pytest.fixture(scope="module")
def scene(build_shown, tmp_path_factory):
    build_shown("prometheus")
    folder = tmp_path_factory.mktemp("scrapes")
    with Exporters() as exporters, PrometheusServer(folder, targets(exporters.port)) as server:
        watch = Watch(server.url, exporters.began)
        yield exporters, server, watch
        watch.source.close()


@pytest.fixture(scope="module")
def seen(scene):
    """Every verdict from before the fault until long after it."""
    exporters, _, watch = scene

    def all_rest():
        found = watch.verdicts()
        resting = [name for name in watch.keys if not name.endswith("-works")]
        return found and all(found[name].evidence is Evidence.IDLE for name in resting)

    wait_for(all_rest, 90, "all that rests to be seen at rest")
    exporters.fault_at = time.time()
    found = []
    while (since := time.time() - exporters.fault_at) < FAULT_SECONDS:
        found.append(Seen(since, watch.verdicts()))
        time.sleep(0.4)
    return found


def told(seen, name, *, after=0.0):
    found = [one.verdicts[name] for one in seen if one.verdicts and one.since > after]
    assert len(found) >= 5, "too few sweeps to say anything"
    return found


@pytest.mark.fault(35)
@pytest.mark.fault(38)
@pytest.mark.parametrize("fault", FAULTS)
def test_who_works_is_never_idle(seen, fault):
    assert [v.reason for v in told(seen, f"{fault}-works") if v.evidence is Evidence.IDLE] == []


@pytest.mark.fault(37)
@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in BACK_AT_REST])
def test_who_wakes_in_the_middle_of_a_fault_is_seen_or_doubted_and_never_idle(seen, fault):
    late = told(seen, f"{fault}-wakes", after=NOTICED)
    assert [v.reason for v in late if v.evidence is Evidence.IDLE] == []
    assert FAULTS[fault].wakes in {v.evidence for v in late}


@pytest.mark.fault(37)
def test_samples_of_the_future_are_told_apart_before_their_time_comes(scene, seen):
    assert seen
    pods = scene[2].source.sweep(QUICK).pods
    assert {pod.namespace for pod in pods if pod.is_ahead} == {f"ahead-{workload}" for workload in WORKLOADS}


@pytest.mark.fault(37)
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_of_ours_that_is_off_by_an_hour_leaves_everybody_unknown(scene, seen, hours):
    assert seen
    found = scene[2].verdicts(clock_off=timedelta(hours=hours))
    assert {(verdict.evidence, verdict.code) for verdict in found.values()} == {(Evidence.UNKNOWN, Code.CLOCK)}


@pytest.mark.parametrize("fault", FAULTS)
def test_who_rests_is_doubted_for_the_right_reason_or_seen_at_rest(seen, fault):
    late = {verdict.code for verdict in told(seen, f"{fault}-rests", after=NOTICED)}
    assert late & FAULTS[fault].rests


@pytest.mark.fault(38)
def test_after_prometheus_was_away_nobody_rests_until_a_whole_window_is_seen_and_then_they_do(scene, seen):
    exporters, server, watch = scene
    assert seen
    server.stop()
    assert watch.verdicts() == {}
    time.sleep(8)
    exporters.fault_at = float("inf")
    server.start()
    back = wait_for(watch.verdicts, 30, "Prometheus to answer again")
    assert back["none-rests"].evidence is not Evidence.IDLE

    def rests():
        found = watch.verdicts()
        assert not found or found["none-works"].evidence is not Evidence.IDLE
        return found and found["none-rests"].evidence is Evidence.IDLE

    wait_for(rests, 60, "a whole window to be seen")
