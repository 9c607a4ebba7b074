"""What a Prometheus remembers of the pods of ``scale_world``, and which evidence that is of each workload.

Six workloads of ten rest, three are active, and of one in ten something is missing. Synthetic and seeded; all but the
time is the same at each run. One container and one interface a pod, scraped every minute at an offset of its node's
own. What lies before a moment, 75 minutes, is backfilled; what follows is written when its time has come, because the
monitor asks for now and doubts samples of the future. Of the five phases that kube-state-metrics tells of each pod,
only the one that is asked for is there.
"""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from bench import backfill
from bench import scale_world as world
from webhook.core.idleness import Code

SCRAPE_SECONDS = 60
BEFORE, AFTER = timedelta(minutes=75), timedelta(minutes=40)
GAP = (timedelta(minutes=-25), timedelta(minutes=-5))
"""Around the moment; within the look-back of every run that has samples at all."""
KUBE_STATE_METRICS_OFFSET = 13
PATTERNS = 200
SEED = 11
IDLE_CORES, BUSY_CORES = (0.0005, 0.004), (0.06, 0.2)
IDLE_BYTES, BUSY_BYTES = (50, 500), (6_000, 50_000)
"""Mean rates of a pod; half as much again at times. Its thresholds are 10 millicores and 1,000 bytes a second."""


class State(StrEnum):
    """What is so of a workload, in one of its pods or in several."""

    IDLE = "idle"
    BUSY_CPU = "busy by CPU"
    BUSY_NETWORK = "busy by network"
    UNSCRAPED = "nothing of cAdvisor"
    GAP = "20 minutes without CPU"
    UNTOLD = "nothing of kube-state-metrics"


WEIGHTS = {
    State.IDLE: 60,
    State.BUSY_CPU: 15,
    State.BUSY_NETWORK: 15,
    State.UNSCRAPED: 4,
    State.GAP: 3,
    State.UNTOLD: 3,
}
ACTIVE = (State.BUSY_CPU, State.BUSY_NETWORK)
DOUBTS = {State.UNSCRAPED: Code.MISSING, State.GAP: Code.GAP, State.UNTOLD: Code.MISSING}


class Draw(NamedTuple):
    """A workload's state, and the pods by their index that show it; the others of it rest."""

    state: State
    shown_by: frozenset[int]

    def of(self, index: int) -> State:
        return self.state if index in self.shown_by else State.IDLE


class Counts(NamedTuple):
    """Workloads by what the monitor must find, the unknown by its reason's code too."""

    idle: int
    active: int
    unknown: int
    reasons: dict[str, int]


def draw(workloads: int) -> list[Draw]:
    """Of the first so many workloads."""
    rng, drawn = random.Random(SEED), []
    for _ in range(workloads):
        state = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        several = rng.randint(1, world.PODS_PER_DEPLOYMENT) if state in ACTIVE else 1
        drawn.append(Draw(state, frozenset(rng.sample(range(world.PODS_PER_DEPLOYMENT), several))))
    return drawn


def counts(drawn: list[Draw]) -> Counts:
    states = Counter(each.state for each in drawn)
    reasons = Counter(DOUBTS[each.state].value for each in drawn if each.state in DOUBTS)
    return Counts(states[State.IDLE], sum(states[one] for one in ACTIVE), reasons.total(), dict(reasons))


class _Pattern(NamedTuple):
    """What the exporter of one node tells of pods."""

    cpu: dict[State, backfill.Samples]
    received: dict[State, backfill.Samples]
    node: backfill.Samples


class _Pod(NamedTuple):
    deployment: int
    labels: str
    uid: str
    node: str
    state: State
    number: int


Metrics = Iterator[tuple[str, Iterator[tuple[str, backfill.Samples]]]]
"""(name, its series) of each metric; a series is (labels, samples), and series that go alike share the very list."""


def families(metrics: Metrics, until: datetime) -> Iterator[str]:
    """Their OpenMetrics text up to a moment."""
    cut: dict[int, tuple[backfill.Samples, backfill.Samples]] = {}

    def past(samples: backfill.Samples) -> backfill.Samples:
        if id(samples) not in cut:
            cut[id(samples)] = (samples, [sample for sample in samples if at(sample)[0] <= until.timestamp()])
        return cut[id(samples)][1]

    for name, series in metrics:
        yield from backfill.family(name, ((labels, past(samples)) for labels, samples in series))


def at(sample: str) -> tuple[int, float]:
    """(Unix seconds, value)."""
    value, time = sample.split()
    return int(time), float(value)


def metrics(now: datetime, size: world.Size) -> Metrics:
    """All series that a run of the monitor reads, from before ``now`` to long after."""
    begin = int((now - BEFORE).timestamp()) // SCRAPE_SECONDS * SCRAPE_SECONDS
    minutes = range(begin, int((now + AFTER).timestamp()), SCRAPE_SECONDS)
    told = [minute + KUBE_STATE_METRICS_OFFSET for minute in minutes]
    flat, since = backfill.steady(1, told), backfill.steady(int(world.started(now).timestamp()), told)
    rng = random.Random(SEED)
    patterns = [_pattern(rng, [m + number * 7 % SCRAPE_SECONDS for m in minutes], now) for number in range(PATTERNS)]
    pods = list(_pods(size))
    known = [pod for pod in pods if pod.state is not State.UNTOLD]

    def of_kubelet(labels: str, kind: str) -> Iterator[tuple[str, backfill.Samples]]:
        for pod in pods:
            if samples := getattr(patterns[pod.number % PATTERNS], kind)[pod.state]:
                yield f'{pod.labels},node="{pod.node}",instance="{pod.node}:10250",{labels}', samples

    def of_kube(labels: str, samples: backfill.Samples) -> Iterator[tuple[str, backfill.Samples]]:
        return ((f'{pod.labels},uid="{pod.uid}"{labels}', samples) for pod in known)

    image = 'container="app",image="registry.example/service:1"'
    yield "container_cpu_usage_seconds_total", chain(_roots(size, patterns), of_kubelet(image, "cpu"))
    yield "container_network_receive_bytes_total", of_kubelet('interface="eth0"', "received")
    yield "kube_pod_start_time", of_kube("", since)
    yield "kube_pod_status_phase", of_kube(',phase="Running"', flat)
    yield "kube_pod_container_info", of_kube(f",{image}", flat)
    yield "kube_pod_owner", ((_owned(pod), flat) for pod in known)
    nodes = [(world.node_name(number), world.node_address(number)) for number in range(size.nodes)]
    yield "kube_node_info", ((f'node="{name}",internal_ip="{address}"', flat) for name, address in nodes)
    yield "node_memory_MemAvailable_bytes", ((f'instance="{address}:9100"', flat) for _, address in nodes)


def _pods(size: world.Size) -> Iterator[_Pod]:
    for deployment, drawn in enumerate(draw(size.deployments)):
        for index in range(world.PODS_PER_DEPLOYMENT):
            namespace, name, uid = world.pod_of(deployment, index)
            number = deployment * world.PODS_PER_DEPLOYMENT + index
            labels, node = f'namespace="{namespace}",pod="{name}"', world.node_of(deployment, index, size)
            yield _Pod(deployment, labels, uid, node, drawn.of(index), number)


def _owned(pod: _Pod) -> str:
    owner = world.replicaset_of(pod.deployment)
    return f'{pod.labels},uid="{pod.uid}",owner_kind="ReplicaSet",owner_is_controller="true",owner_name="{owner}"'


def _roots(size: world.Size, patterns: list[_Pattern]) -> Iterator[tuple[str, backfill.Samples]]:
    """CPU of whole nodes: the monitor's self-test looks for it."""
    for number in range(size.nodes):
        node = world.node_name(number)
        yield f'id="/",node="{node}",instance="{node}:10250"', patterns[number % PATTERNS].node


def _pattern(rng: random.Random, times: list[int], now: datetime) -> _Pattern:
    def counter(rates: tuple[float, float]) -> backfill.Samples:
        return backfill.counter(rng, times, lowest=rates[0], highest=rates[1])

    quiet, silent = counter(IDLE_CORES), counter(IDLE_BYTES)
    begin, end = ((now + border).timestamp() for border in GAP)
    broken = [sample for time, sample in zip(times, quiet, strict=True) if not begin < time < end]
    cpu = dict.fromkeys(State, quiet) | {State.BUSY_CPU: counter(BUSY_CORES), State.UNSCRAPED: [], State.GAP: broken}
    received = dict.fromkeys(State, silent) | {State.BUSY_NETWORK: counter(BUSY_BYTES), State.UNSCRAPED: []}
    return _Pattern(cpu, received, counter((1.0, 4.0)))
