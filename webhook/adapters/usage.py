"""Prometheus as a source of usage: a constant number of queries a sweep, joined in process.

All queries of a sweep are evaluated for one moment, taken from Prometheus' own clock, and
any one that fails fails the sweep: half a sweep would show pods that do nothing.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from webhook.adapters.prometheus_http import Transport
from webhook.adapters.prometheus_settings import PrometheusSettings
from webhook.adapters.usage_pods import instant, pods_of, untold_steps
from webhook.adapters.usage_signals import of_workloads, with_signals
from webhook.core.nodejoin import KnownNodes, known_nodes, node_of
from webhook.core.policy import IdlePolicy
from webhook.core.selftest import Answers, Asked, SelfTest
from webhook.core.selftest_checks import examine
from webhook.core.usage import NodeSample, NodeUsage, UsageSweep
from webhook.errors import UsageUnavailable
from webhook.wire.prometheus import Labels, Vector, decode_time, decode_vector, decode_version
from webhook.wire.promql import AHEAD, node_queries, sweep_queries
from webhook.wire.promql_probes import probe_queries, query_uses
from webhook.wire.promql_signals import signal_queries

__all__ = ["Prometheus", "PrometheusSettings", "pods_of"]


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
        if at:
            queries.pop(AHEAD)
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
            untold_steps=untold_steps(answers["toldPoints"], moment, policy),
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
        labels: dict[int, Labels] = {}

        def one(name: str) -> Vector:
            try:
                return decode_vector(self._transport.query(queries[name], at=at).body, labels)
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
            sampled_at = instant(values[2])
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
