"""The sweep's PromQL on a real Prometheus: synthetic histories whose right answer is known.

One scrape a minute, minutes 0 to 75; the look-back of the sweep holds the steps 16 to 75. Each
history is a namespace of its own in one backfilled server, and goes through the adapter, the
join with owners and the verdict.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.parts.prometheus import PrometheusServer, backfill
from webhook.adapters.usage import Prometheus, PrometheusSettings
from webhook.core.census import Census, ControllerFact, PodFact
from webhook.core.idleness import Code, judge
from webhook.core.model import ControllerRef, Evidence, Resources, WorkloadKey
from webhook.core.policy import IdlePolicy
from webhook.core.usage import by_workload

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-usage-queries")]

BEGIN = datetime(2026, 3, 5, 10, 0, tzinfo=UTC)
LAST = 75
AT = BEGIN + timedelta(minutes=LAST, seconds=7, milliseconds=123)
POLICY = IdlePolicy()
REPLICASET = ControllerRef(kind="ReplicaSet", name="web-1")


@dataclass(frozen=True)
class Life:
    """One pod: `cpu` and `received` are its rates in the minute that ends at a scrape."""

    name: str = "web-1-a"
    start: int = -1440
    end: int | None = None
    cpu: Callable[[int], float] = lambda _minute: 0.002
    received: Callable[[int], float] = lambda _minute: 100.0
    missing: frozenset[int] = frozenset()
    reset_at: int | None = None
    """Within the same series, as where the label id is dropped."""
    restarted_at: int | None = None
    """Under another id, as cAdvisor tells of it."""
    request: float = 0.0
    id_by_job: bool = False
    told_anew_at: int | None = None
    """When kube-state-metrics went on from another instance."""
    nan_at: frozenset[int] = frozenset()
    jobs: tuple[str, ...] = ("kubelet",)
    containers: tuple[str, ...] = ("app",)
    silent: frozenset[str] = frozenset()
    host_network: bool = False
    scraped: bool = True
    known: bool = True
    uid: str = ""
    untold: frozenset[int] = frozenset()
    sidecars: tuple[str, ...] = ()
    init: tuple[str, ...] = ()
    replicas: tuple[tuple[str, frozenset[int]], ...] = ()
    """Of an HA pair, with the minutes that each of them missed."""
    replica: str = ""
    forged: bool = False
    """Another job claims low figures for this pod, as labels that are honoured let any target do."""
    image: str = "nginx"

    @property
    def own_uid(self) -> str:
        return self.uid or f"uid-{self.name}"


@dataclass(frozen=True)
class History:
    lives: list[Life] = field(default_factory=lambda: [Life()])
    code: Code = Code.IDLE
    age: int = 30 * 24 * 60
    """Minutes since the workload was created."""


def during(minutes, rate, otherwise=0.002):
    return lambda minute: rate if minute in minutes else otherwise


def minutes(first, last):
    return frozenset(range(first, last + 1))


SUCCESSOR = Life("web-1-b", start=45)
# cAdvisor tells of a pod a minute longer than kube-state-metrics: backfilled series end without a stale marker.
PREDECESSOR = Life("web-1-a", end=44)

# A pod of a StatefulSet, made anew under its name.
OUTAGE = minutes(55, 64)
PAIR = (("a", minutes(30, 36)), ("b", minutes(50, 59)))
BEFORE, AFTER = Life("web-0", end=34, uid="uid-before"), Life("web-0", start=41)

HISTORIES = {
    "idle": History(),
    "busy": History([Life(cpu=lambda _: 0.5)], Code.ACTIVE),
    "busy-network": History([Life(received=lambda _: 5000.0)], Code.ACTIVE),
    "woke-two-minutes-ago": History([Life(cpu=during({74, 75}, 0.5))], Code.ACTIVE),
    "between": History([Life(cpu=lambda _: 0.015)], Code.BETWEEN),
    # Windows side by side would split this minute in two halves, each below the threshold.
    "spike-on-a-border": History([Life(cpu=during({40}, 0.052))], Code.BETWEEN),
    "spike-at-the-old-end": History([Life(cpu=during({13}, 0.5))], Code.BETWEEN),
    "spike-before-the-window": History([Life(cpu=during({9}, 0.5))], Code.IDLE),
    "two-lost-scrapes": History([Life(missing=frozenset({40, 41}))], Code.IDLE),
    "gap": History([Life(missing=minutes(30, 36))], Code.GAP),
    "busy-within-a-gap": History([Life(cpu=during(minutes(31, 35), 3.0), missing=minutes(30, 36))], Code.GAP),
    "back-with-zeros": History([Life(missing=minutes(20, 40), reset_at=41)], Code.RESET),
    "counter-reset": History([Life(reset_at=40)], Code.RESET),
    # The first rate of the window looks back to minute 11.
    "counter-reset-at-the-old-end": History([Life(reset_at=13)], Code.RESET),
    "counter-reset-before-the-window": History([Life(reset_at=9)], Code.IDLE),
    "container-restarted": History([Life(restarted_at=40)], Code.RESET),
    "container-restarted-and-gone": History([Life(end=44, restarted_at=30), Life("web-1-b", start=45)], Code.RESET),
    "scaled-to-zero": History([Life(end=60, cpu=during(minutes(-60, 50), 8.0))], Code.NO_PODS),
    "scaled-to-zero-and-up-again": History([Life(end=25), Life("web-1-b", start=74)], Code.NO_PODS),
    "young": History([Life(start=40)], Code.YOUNG, age=35),
    "large-request-idle": History([Life(cpu=lambda _: 0.09, request=2.0)], Code.IDLE),
    "large-request-between": History([Life(cpu=lambda _: 0.15, request=2.0)], Code.BETWEEN),
    "large-request-busy": History([Life(cpu=lambda _: 0.25, request=2.0)], Code.ACTIVE),
    "counter-reset-while-busy": History([Life(cpu=lambda _: 0.5, reset_at=74)], Code.ACTIVE),
    "predecessor-idle": History([PREDECESSOR, SUCCESSOR], Code.IDLE),
    "predecessor-busy": History([Life("web-1-a", end=44, cpu=during(minutes(20, 30), 1.0)), SUCCESSOR], Code.BETWEEN),
    "startup-burst": History([PREDECESSOR, Life("web-1-b", start=45, cpu=during(minutes(45, 49), 2.0))], Code.IDLE),
    "burst-after-startup": History([PREDECESSOR, Life("web-1-b", start=45, cpu=during({57}, 2.0))], Code.BETWEEN),
    "two-kubelet-jobs": History(
        [Life(cpu=lambda _: 0.006, received=lambda _: 600, jobs=("kubelet", "cadvisor"))], Code.IDLE
    ),
    "two-jobs-that-spell-ids-in-two-ways": History([Life(jobs=("kubelet", "cadvisor"), id_by_job=True)], Code.IDLE),
    "kube-state-metrics-moved": History([Life(told_anew_at=40)], Code.IDLE),
    "up-again-beside-one-that-is-gone": History([Life(start=40), Life("web-1-b", start=40, end=70)], Code.NO_PODS),
    "pod-never-scraped": History([Life(), Life("web-1-b", scraped=False)], Code.MISSING),
    "silent-container": History([Life(containers=("app", "proxy"), silent=frozenset({"proxy"}))], Code.MISSING),
    "two-containers": History([Life(containers=("app", "proxy"), cpu=lambda _: 0.004)], Code.IDLE),
    "two-containers-add-up": History([Life(containers=("app", "proxy"), cpu=lambda _: 0.007)], Code.BETWEEN),
    "nan": History([Life(nan_at=minutes(30, 40))], Code.GAP),
    "stopped-being-scraped": History([Life(missing=minutes(72, 75))], Code.STALE),
    "host-network": History([Life(host_network=True, received=lambda _: 1e6)], Code.IDLE),
    "made-anew": History([BEFORE, AFTER], Code.RESET),
    "made-anew-before-the-window": History([replace(BEFORE, end=5), replace(AFTER, start=7)], Code.IDLE),
    # Both exporters are away: told and owed shrink alike, and what was before must not fill the gap.
    "made-anew-and-gap": History(
        [BEFORE, replace(AFTER, cpu=during(OUTAGE, 3.0), missing=OUTAGE, untold=OUTAGE)], Code.RESET
    ),
    "sidecar": History([Life(sidecars=("mesh",), cpu=lambda _: 0.004)], Code.IDLE),
    "sidecar-stands-in": History([Life(sidecars=("mesh",), silent=frozenset({"app"}))], Code.MISSING),
    "silent-sidecar": History([Life(sidecars=("mesh",), silent=frozenset({"mesh"}))], Code.MISSING),
    "init-container-long-ago": History([Life(init=("migrate",), cpu=lambda _: 0.004)], Code.IDLE),
    "ha-pair": History([Life(replicas=PAIR)], Code.IDLE),
    "ha-pair-busy": History([Life(replicas=PAIR, cpu=lambda _: 0.5)], Code.ACTIVE),
    "ha-pair-busy-where-one-missed-it": History([Life(replicas=PAIR, cpu=during(minutes(31, 35), 3.0))], Code.BETWEEN),
    "ha-pair-both-lost-a-gap": History([Life(replicas=(("a", OUTAGE), ("b", OUTAGE)))], Code.GAP),
    "huge-labels": History([Life(image="x" * 10_000)], Code.IDLE),
    "forged": History([Life(cpu=during(minutes(31, 35), 3.0), missing=minutes(30, 36), forged=True)], Code.IDLE),
    "unknown-to-kube-state-metrics": History([Life(known=False)], Code.MISSING),
}


def exposition():
    """All histories as OpenMetrics text, one family after the other."""
    families = {}
    for namespace, history in HISTORIES.items():
        for life in history.lives:
            for name, labels, samples in [row for one in copies(life) for row in series(one)]:
                inside = ",".join(f'{key}="{text}"' for key, text in ({"namespace": namespace} | labels).items())
                rows = [f"{name}{{{inside}}} {value} {stamp(minute)}" for minute, value in samples]
                families.setdefault(name, []).extend(rows)
    return "\n".join(row for rows in families.values() for row in rows) + "\n# EOF\n"


def copies(life):
    """The life as each replica that scraped it saw it, and as a forger tells it."""
    for name, missed in life.replicas:
        yield replace(life, replicas=(), replica=name, missing=life.missing | missed)
    if not life.replicas:
        yield life
    if life.forged:
        yield Life(life.name, life.start, life.end, uid=life.own_uid, jobs=("tenant",), known=False)


def stamp(minute):
    return int(BEGIN.timestamp()) + 60 * minute


def series(life):
    pod = {"pod": life.name} | ({"replica": life.replica} if life.replica else {})
    alive = range(max(0, life.start), (LAST if life.end is None else life.end) + 1)
    if life.known and life.told_anew_at:
        yield from told(life, pod | {"instance": "first"}, [m for m in alive if m < life.told_anew_at])
        yield from told(life, pod | {"instance": "second"}, [m for m in alive if m >= life.told_anew_at])
    elif life.known:
        yield from told(life, pod, [m for m in alive if m not in life.untold])
    yield from scraped_series(life, pod)


def told(life, pod, alive):
    """What kube-state-metrics says."""
    own = pod | {"uid": life.own_uid, "job": "kube-state-metrics"}
    yield "kube_pod_start_time", own, [(m, stamp(life.start)) for m in alive]
    yield "kube_pod_status_phase", own | {"phase": "Running"}, [(m, 1) for m in alive]
    owner = {"owner_kind": "ReplicaSet", "owner_name": "web-1", "owner_is_controller": "true"}
    yield "kube_pod_owner", own | owner, [(m, 1) for m in alive]
    for container in life.containers:
        yield "kube_pod_container_info", own | {"container": container}, [(m, 1) for m in alive]
    for container in life.sidecars:
        always = {"container": container, "restart_policy": "Always"}
        yield "kube_pod_init_container_info", own | always, [(m, 1) for m in alive]
    for container in life.init:
        yield "kube_pod_init_container_info", own | {"container": container}, [(m, 1) for m in alive]


def scraped_series(life, pod):
    """What cAdvisor says."""
    if not life.scraped:
        return
    last = LAST if life.end is None else life.end + 1
    scraped = [m for m in range(max(0, life.start), last + 1) if m not in life.missing]
    for job in life.jobs:
        for container in sorted({*life.containers, *life.sidecars, *life.init} - life.silent):
            labels = pod | {"container": container, "job": job, "id": f"/{life.own_uid}/{container}"}
            if life.id_by_job:
                labels["id"] += f"/{job}"
            labels["image"] = life.image
            lived = scraped[:3] if container in life.init else scraped
            yield from instances(life, labels, lived)
        # The pod's own cgroup, which would count everything twice.
        whole = pod | {"container": "", "job": job, "id": f"/{life.own_uid}"}
        yield "container_cpu_usage_seconds_total", whole, counter(life, life.cpu, scraped)
        network = pod | {"interface": "eth0", "job": job, "id": f"/{life.own_uid}"}
        yield "container_network_receive_bytes_total", network, counter(life, life.received, scraped)


def instances(life, labels, scraped):
    """A container's series, one for each time it was started."""
    name, again = "container_cpu_usage_seconds_total", life.restarted_at
    if again is None:
        yield name, labels, counter(life, life.cpu, scraped)
        return
    yield name, labels, counter(life, life.cpu, [m for m in scraped if m < again])
    anew = labels | {"id": labels["id"] + "-again"}
    yield name, anew, counter(replace(life, start=again), life.cpu, [m for m in scraped if m >= again])


def counter(life, rate, scraped):
    total, samples = 1000.0, []
    for minute in range(max(0, life.start), LAST + 2):
        total = (0.0 if minute == life.reset_at else total) + 60 * rate(minute)
        if minute in scraped:
            samples.append((minute, "NaN" if minute in life.nan_at else f"{total:.6f}"))
    return samples


def census():
    pods, controllers = [], []
    for namespace, history in HISTORIES.items():
        begun = AT - timedelta(minutes=history.age)
        controllers.append(
            ControllerFact(
                api_version="apps/v1",
                kind="Deployment",
                namespace=namespace,
                name="web",
                uid=f"uid-{namespace}",
                created_at=begun,
            )
        )
        pods += [fact(namespace, life) for life in history.lives if life.end is None]
    return Census(taken_at=AT, pods=tuple(pods), controllers=tuple(controllers))


def fact(namespace, life):
    started_at = BEGIN + timedelta(minutes=life.start)
    return PodFact(
        namespace=namespace,
        name=life.name,
        uid=life.own_uid,
        controller=REPLICASET,
        phase="Running",
        host_network=life.host_network,
        requests=Resources(cpu_cores=life.request),
        created_at=started_at,
        started_at=started_at,
    )


@pytest.fixture(scope="module")
def url(build_shown, tmp_path_factory):
    build_shown("prometheus", "promtool")
    folder = tmp_path_factory.mktemp("prometheus")
    backfill(exposition(), folder / "data")
    with PrometheusServer(folder) as server:
        yield server.url


@pytest.fixture(scope="module")
def prometheus(url):
    source = Prometheus(PrometheusSettings(url=url))
    yield source
    source.close()


@pytest.fixture(scope="module")
def verdicts(prometheus):
    return verdicts_of(prometheus)


@pytest.fixture(scope="module")
def held_verdicts(url):
    """Of a source that believes the jobs it was told of, and no other."""
    jobs = {"cadvisor": ("kubelet",), "kubeStateMetrics": ("kube-state-metrics",)}
    source = Prometheus(PrometheusSettings(url=url, jobs=jobs))
    yield verdicts_of(source)
    source.close()


def verdicts_of(source):
    owners = {(name, "ReplicaSet", "web-1"): key_of(name) for name in HISTORIES}
    usages = by_workload(census(), source.sweep(POLICY, at=AT), owners=owners)
    return {name: judge(usages[key_of(name)], POLICY, now=AT) for name in HISTORIES}


def key_of(namespace):
    return WorkloadKey(namespace=namespace, kind="Deployment", name="web")


@pytest.mark.fault(36)
@pytest.mark.fault(38)
@pytest.mark.fault(39)
@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_is_judged_as_it_was_lived(verdicts, name):
    assert (verdicts[name].code, verdicts[name].reason) == (HISTORIES[name].code, verdicts[name].reason)


@pytest.mark.fault(35)
def test_one_workload_in_the_dark_does_not_darken_the_others(verdicts):
    assert verdicts["pod-never-scraped"].evidence is Evidence.UNKNOWN
    assert verdicts["idle"].evidence is Evidence.IDLE


@pytest.mark.fault(38)
@pytest.mark.parametrize("name", [n for n in HISTORIES if "gap" in n or "zeros" in n or "busy" in n or "nan" in n])
def test_nothing_that_was_busy_or_unseen_is_ever_idle(verdicts, name):
    assert verdicts[name].evidence is not Evidence.IDLE


@pytest.mark.fault(40)
def test_a_series_of_another_job_counts_for_nothing_where_the_jobs_are_named(held_verdicts):
    """By labels alone a forger cannot be told from cAdvisor: it fills a gap in which the pod worked."""
    assert held_verdicts["forged"].code is Code.GAP
    others = [name for name in HISTORIES if name != "forged"]
    assert {n: held_verdicts[n].code for n in others} == {n: HISTORIES[n].code for n in others}


@pytest.mark.fault(37)
def test_an_hour_later_every_sample_is_too_old(prometheus):
    from webhook.errors import UsageUnavailable

    late = AT + timedelta(hours=2)
    with pytest.raises(UsageUnavailable) as caught:
        prometheus.sweep(POLICY, at=late)
    assert caught.value.code == "empty"


def test_signals_tell_the_figures_that_were_lived(verdicts):
    cpu, received = verdicts["idle"].signals
    assert cpu.value == pytest.approx(0.002, rel=0.01)
    assert received.value == pytest.approx(100, rel=0.01)
    assert (cpu.coverage, received.coverage) == (1.0, 1.0)
