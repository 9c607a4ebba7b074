"""Prometheus as a source of usage: a constant number of queries a sweep, joined in process.

All queries of a sweep are evaluated for one moment, taken from Prometheus' own clock, and
any one that fails fails the sweep: half a sweep would show pods that do nothing.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from webhook.adapters.prometheus_http import Transport
from webhook.adapters.prometheus_settings import PrometheusSettings
from webhook.adapters.usage_signals import of_workloads, with_signals
from webhook.core.model import ControllerRef
from webhook.core.nodejoin import KnownNodes, known_nodes, node_of
from webhook.core.policy import IdlePolicy
from webhook.core.selftest import Answers, Asked, SelfTest
from webhook.core.selftest_checks import examine
from webhook.core.usage import NodeSample, NodeUsage, PodUsage, UsageSweep
from webhook.errors import UsageUnavailable
from webhook.wire.prometheus import Vector, decode_time, decode_vector, decode_version
from webhook.wire.promql import node_queries, sweep_queries
from webhook.wire.promql_probes import probe_queries, query_uses
from webhook.wire.promql_signals import signal_queries

__all__ = ["Prometheus", "PrometheusSettings"]

Pod = tuple[str, str]


class Prometheus:
    """Implements ``ports.UsageSource``. Raises ConfigurationError where the settings cannot be right."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._transport = Transport(settings)
        self._concurrency = settings.concurrency
        self._dialect = settings.dialect
        self._version: str | None = None

    def sweep(self, policy: IdlePolicy, *, at: datetime | None = None) -> UsageSweep:
        """Ask for every pod's use, now or ``at`` a past moment, which has no clock to compare with ours.

        Raises UsageUnavailable with one of a bounded set of codes.
        """
        clock = self._transport.query("time()")
        moment = between_steps(at or decode_time(clock.body), step=policy.step)
        queries = sweep_queries(policy, self._dialect) | signal_queries(policy, self._dialect)
        answers = self._ask(queries, moment)
        if not answers["startTime"].rows or not (answers["cpuPoints"].rows or answers["cpuRecent"].rows):
            raise UsageUnavailable("no pod has series of both cAdvisor and kube-state-metrics", code="empty")
        return UsageSweep(
            evaluated_at=moment,
            answered_at=None if at else clock.date,
            pods=with_signals(pods_of(answers), answers, policy.signals),
            workloads=of_workloads(answers, policy.signals),
            queries=1 + len(answers),
            dropped=sum(answer.dropped for answer in answers.values()),
            prometheus_version=self.version(),
        )

    def node_usage(self, policy: IdlePolicy) -> NodeUsage:
        """Ask what each node uses, by node-exporter or, where that has no such node, by cAdvisor."""
        at = decode_time(self._transport.query("time()").body)
        return nodes_of(self._ask(node_queries(policy, self._dialect), at))

    def self_test(self, policy: IdlePolicy, *, now: datetime) -> SelfTest:
        """Find out what it can tell and what not. Whatever goes wrong is a finding, and raises nothing."""
        asked = Asked(query_uses(policy, self._dialect), policy, self._dialect.cluster, self._dialect.jobs)
        try:
            clock = self._transport.query("time()")
            at = decode_time(clock.body)
        except UsageUnavailable as exc:
            return examine(Answers({}, {"time": (exc.code, str(exc))}), asked, now=now)
        answers, refused = self._try(probe_queries(policy, self._dialect), at)
        return examine(
            Answers(
                rows={name: answer.rows for name, answer in answers.items()},
                refused=refused,
                infos=tuple(info for answer in answers.values() for info in answer.infos),
                evaluated_at=at,
                answered_at=clock.date,
                version=self.version(),
            ),
            asked,
            now=now,
        )

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _ask(self, queries: Mapping[str, str], at: datetime) -> dict[str, Vector]:
        def one(name: str) -> Vector:
            try:
                return decode_vector(self._transport.query(queries[name], at=at).body)
            except UsageUnavailable as exc:
                raise UsageUnavailable(f"query {name}: {exc}", code=exc.code) from exc

        with ThreadPoolExecutor(self._concurrency) as threads:
            waiting = [threads.submit(one, name) for name in queries]
            try:
                return {name: asked.result() for name, asked in zip(queries, waiting, strict=True)}
            except UsageUnavailable:
                # A Prometheus in trouble is not asked the rest.
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _try(self, queries: Mapping[str, str], at: datetime) -> tuple[dict[str, Vector], dict[str, tuple[str, str]]]:
        """As ``_ask``, but each for itself: (answers, code and message of each refusal)."""
        away: list[UsageUnavailable] = []

        def one(name: str) -> Vector | UsageUnavailable:
            if away:
                return away[0]
            try:
                return decode_vector(self._transport.query(queries[name], at=at).body)
            except UsageUnavailable as exc:
                # Each of the rest would cost another deadline.
                away.extend([exc] if exc.code in {"deadline", "unreachable"} else [])
                return exc

        with ThreadPoolExecutor(self._concurrency) as threads:
            found = dict(zip(queries, threads.map(one, queries), strict=True))
        answers = {name: answer for name, answer in found.items() if isinstance(answer, Vector)}
        return answers, {n: (e.code, str(e)) for n, e in found.items() if isinstance(e, UsageUnavailable)}

    def version(self) -> str:
        """Prometheus' own version; empty where it does not tell, as stores do that only speak its query API."""
        if self._version is None:
            try:
                self._version = decode_version(self._transport.request("GET", "/api/v1/status/buildinfo").body)
            except UsageUnavailable:
                self._version = ""
        return self._version


def between_steps(moment: datetime, *, step: timedelta) -> datetime:
    """The moment, a millisecond later if it lies on a step.

    Prometheus 3 leaves a window's left border out, Prometheus 2 has it in: off the steps, both see the same ones.
    """
    milliseconds = int(moment.timestamp() * 1000)
    milliseconds += milliseconds % max(1, step // timedelta(milliseconds=1)) == 0
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


# --- pods


def pods_of(answers: Mapping[str, Vector]) -> tuple[PodUsage, ...]:
    """Join a sweep's answers by namespace and pod. No row gives None or no points, never zero use."""
    known = {name: _by_pod(answers[name], max) for name in _LARGEST}
    life, uids = _by_pod(answers["startTime"], max), _uids(answers["startTime"])
    cpu_points = _cpu_points(answers["cpuPoints"], _by_pod(answers["containers"], max))
    received_points = _by_pod(answers["receivedPoints"], min)
    sampled = _by_pod(answers["sampleTime"], min)
    expected, running = _summed(answers["expectedPoints"]), _summed(answers["runningPoints"])
    named: set[Pod] = set().union(*known.values(), life, expected, running)
    owners = _owners(answers["owner"])
    return tuple(
        PodUsage(
            namespace=pod[0],
            name=pod[1],
            uids=uids.get(pod, ()),
            controller=owners.get(pod),
            cpu_peak_cores=known["cpuPeak"].get(pod),
            cpu_recent_cores=known["cpuRecent"].get(pod),
            cpu_points=cpu_points.get(pod, 0),
            cpu_seconds=known["cpuSeconds"].get(pod),
            received_peak_bytes_per_second=known["receivedPeak"].get(pod),
            received_recent_bytes_per_second=known["receivedRecent"].get(pod),
            received_points=int(received_points.get(pod, 0)),
            expected_points=int(expected.get(pod, 0)),
            running_points=int(running.get(pod, 0)),
            started_at=_moment(life[pod]) if pod in life else None,
            last_sample_at=_moment(sampled[pod]) if pod in sampled else None,
        )
        for pod in sorted(named)
    )


_LARGEST = ("cpuPeak", "cpuRecent", "cpuSeconds", "receivedPeak", "receivedRecent")


def _pod(labels: Mapping[str, str]) -> Pod | None:
    namespace, name = labels.get("namespace", ""), labels.get("pod", "")
    return (namespace, name) if namespace and name else None


def _by_pod(answer: Vector, choose: Callable[[float, float], float]) -> dict[Pod, float]:
    """By pod; of two values for one, the one that argues for less change is chosen by the caller."""
    found: dict[Pod, float] = {}
    for labels, value in answer.rows:
        if pod := _pod(labels):
            found[pod] = choose(found[pod], value) if pod in found else value
    return found


def _summed(answer: Vector) -> dict[Pod, float]:
    """Added over the UIDs of one name: pods of a StatefulSet follow each other under it."""
    found: dict[Pod, float] = {}
    for labels, value in answer.rows:
        if pod := _pod(labels):
            found[pod] = found.get(pod, 0.0) + value
    return found


def _cpu_points(answer: Vector, containers: Mapping[Pod, float]) -> dict[Pod, int]:
    """Steps at which every container had a value; none while one that kube-state-metrics knows has none at all."""
    least: dict[Pod, float] = {}
    counted: dict[Pod, int] = {}
    for labels, value in answer.rows:
        if pod := _pod(labels):
            least[pod] = min(least.get(pod, value), value)
            counted[pod] = counted.get(pod, 0) + 1
    return {pod: int(value) for pod, value in least.items() if pod in containers and counted[pod] >= containers[pod]}


def _uids(answer: Vector) -> dict[Pod, tuple[str, ...]]:
    """Of every pod of each name; an old or own kube-state-metrics tells of none."""
    found: dict[Pod, tuple[str, ...]] = {}
    for labels, _ in answer.rows:
        if (pod := _pod(labels)) and (uid := labels.get("uid")):
            found[pod] = (*found.get(pod, ()), uid)
    return found


def _owners(answer: Vector) -> dict[Pod, ControllerRef]:
    rows = ((_pod(labels), labels) for labels, _ in answer.rows)
    return {
        pod: ControllerRef(kind=labels["owner_kind"], name=labels["owner_name"])
        for pod, labels in rows
        if pod and labels.get("owner_kind") and labels.get("owner_name")
    }


def _moment(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (OverflowError, OSError, ValueError):
        return None


# --- nodes

_SOURCES = (
    ("node-exporter", "exporterCpu", "exporterMemory", "exporterTime"),
    ("cadvisor", "rootCpu", "rootMemory", "cadvisorTime"),
    ("cadvisor-containers", "containersCpu", "containersMemory", "cadvisorTime"),
)
"""Best first: the containers' sum misses whatever runs on a node outside of pods."""


def nodes_of(answers: Mapping[str, Vector]) -> NodeUsage:
    """Join each source's series to nodes, and take each node from the best source that knows it."""
    known = known_nodes(answers["nodes"].rows)
    samples: dict[str, NodeSample] = {}
    series = joined = 0
    for source, cpu, memory, time in _SOURCES:
        by_node = [_by_node(answers[name], known) for name in (cpu, memory, time)]
        series += len(answers[cpu].rows)
        joined += len(answers[cpu].rows) - by_node[0].pop("", (0, 0.0))[0]
        for node in by_node[0].keys() & by_node[1].keys() & by_node[2].keys():
            values = [table[node][1] for table in by_node]
            sampled_at = _moment(values[2])
            if node not in samples and sampled_at:
                samples[node] = NodeSample(
                    node=node, cpu_cores=values[0], memory_bytes=values[1], sampled_at=sampled_at, source=source
                )
    return NodeUsage(nodes=tuple(samples[n] for n in sorted(samples)), match_rate=joined / series if series else 0.0)


def _by_node(answer: Vector, known: KnownNodes) -> dict[str, tuple[int, float]]:
    """(rows, largest value) by node; under "" those that lead to none."""
    found: dict[str, tuple[int, float]] = {}
    for labels, value in answer.rows:
        node, _ = node_of(labels, known)
        rows, largest = found.get(node, (0, 0.0))
        found[node] = (rows + 1, max(largest, value))
    return found
