"""Prometheus as a source of usage: a constant number of queries a sweep, joined in process.

All queries of a sweep are evaluated for one moment, taken from Prometheus' own clock, and
any one that fails fails the sweep: half a sweep would show pods that do nothing.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from webhook.adapters.prometheus_http import Transport
from webhook.adapters.prometheus_settings import PrometheusSettings
from webhook.adapters.usage_pods import ABOUT_PODS, Answered, Told, instant, untold_steps
from webhook.adapters.usage_signals import of_workloads, with_signals
from webhook.core.nodejoin import KnownNodes, are_named, counted, joins, known_nodes, match_rate, node_of
from webhook.core.policy import IdlePolicy, Policy
from webhook.core.rules import every_signal
from webhook.core.selftest import Answers, Asked, SelfTest
from webhook.core.selftest_checks import examine
from webhook.core.usage import NodeSample, NodeUsage, PodHabits, PodsUse, UsageSweep
from webhook.errors import UsageUnavailable
from webhook.wire.prometheus import (
    Labels,
    Vector,
    decode_pod_vector,
    decode_pods,
    decode_time,
    decode_vector,
    decode_version,
)
from webhook.wire.promql import AHEAD, HABITS, NODES, PODS, Template, load_queries, sweep_queries
from webhook.wire.promql_probes import probe_queries, query_uses
from webhook.wire.promql_signals import signal_queries

T = TypeVar("T")

__all__ = ["Prometheus", "PrometheusSettings"]


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
        found, labels = Answered(), dict[int, Labels]()

        def read(name: str, body: bytes) -> Told | Vector:
            return found.take(name, decode_pod_vector(body)) if name in ABOUT_PODS else decode_vector(body, labels)

        told = self._each(queries, moment, read)
        answers = {name: answer for name, answer in told.items() if isinstance(answer, Vector)}
        if not told["startTime"].rows or not (told["cpuPoints"].rows or told["cpuRecent"].rows):
            raise UsageUnavailable("no pod has series of both cAdvisor and kube-state-metrics", code="empty")
        return UsageSweep(
            evaluated_at=moment,
            answered_at=None if at else clock.date,
            pods=with_signals(found.pods(), answers, policy.signals),
            workloads=of_workloads(answers, policy.signals),
            queries=1 + len(told),
            dropped=sum(answer.dropped for answer in told.values()),
            untold_steps=untold_steps(answers["toldPoints"], moment, policy),
            prometheus_version=self.version(),
        )

    def node_usage(self, policy: Policy) -> NodeUsage:
        """Ask what each node uses, by node-exporter or, where that has no such node, by cAdvisor.

        The sums of containers, by far the dearest, are asked for only where many nodes are not known without them: a
        node that has just come is known by none for a minute. Where they fail, those that are known count all the same.
        """
        at = decode_time(self._transport.query("time()").body)
        queries = load_queries(NODES, policy.idle, self._dialect, policy.balance)
        answers = self._ask({name: text for name, text in queries.items() if name not in _LAST}, at)
        begins = at - policy.balance.window
        found = nodes_of(answers, begins=begins)
        told, names = {sample.node for sample in found.nodes}, known_nodes(answers["nodes"].rows).names
        if told and len(told.intersection(names)) >= LEAST_TOLD * len(names):
            return found
        try:
            return nodes_of(answers | self._ask({name: queries[name] for name in _LAST}, at), begins=begins)
        except UsageUnavailable:
            if told:
                return found
            raise

    def pod_use(self, policy: Policy) -> PodsUse:
        """Ask what each pod uses: two queries, whatever the cluster."""
        return PodsUse(*self._of_pods(PODS, policy, "podCpu", "podMemory"))

    def pod_habits(self, policy: Policy) -> PodHabits:
        """Ask what each pod uses over a longer time: two queries likewise, each with a deadline of its own."""
        return PodHabits(*self._of_pods(HABITS, policy, "habitCpu", "habitMemory"))

    def self_test(self, policy: Policy, *, now: datetime) -> SelfTest:
        """Find out what it can tell and what not. Whatever goes wrong is a finding, and raises nothing."""
        idle = every_signal(policy)
        uses = query_uses(idle, self._dialect, policy.balance)
        asked = Asked(uses, idle, self._dialect.cluster, self._dialect.jobs)
        try:
            clock = self._transport.query("time()")
            at = decode_time(clock.body)
        except UsageUnavailable as exc:
            return examine(Answers({}, {"time": (exc.code, str(exc))}), asked, now=now)
        answers, refused = self._try(probe_queries(idle, self._dialect, policy.balance), at)
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

    def _of_pods(
        self, group: Mapping[str, Template], policy: Policy, cpu: str, memory: str
    ) -> tuple[datetime, dict[tuple[str, str], tuple[float, float]]]:
        queries = load_queries(group, policy.idle, self._dialect, policy.balance)
        at = decode_time(self._transport.query("time()").body)
        # One after the other: nobody waits for them, and two large answers at once are what sync's memory peaks by.
        cores, sizes = (
            self._each({name: queries[name]}, at, lambda _, body: decode_pods(body))[name] for name in (cpu, memory)
        )
        return at, {pod: (value, sizes[pod]) for pod, value in cores.items() if pod in sizes}

    def _ask(self, queries: Mapping[str, str], at: datetime) -> dict[str, Vector]:
        labels: dict[int, Labels] = {}
        return self._each(queries, at, lambda _, body: decode_vector(body, labels))

    def _each(self, queries: Mapping[str, str], at: datetime, decode: Callable[[str, bytes], T]) -> dict[str, T]:
        def one(name: str) -> T:
            try:
                return decode(name, self._transport.query(queries[name], at=at).body)
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
    ("node-exporter", "exporter", "exporterTime"),
    ("cadvisor", "root", "cadvisorTime"),
    ("cadvisor-containers", "containers", "cadvisorTime"),
)
"""(source, beginning of its queries' names, query of its time), best first: the containers' sum misses what runs outside
of pods."""
_FIGURES = ("Cpu", "Memory", "CpuSpread", "MemorySpread")
LEAST_TOLD = 0.9
"""Of the nodes, how many must be known so that the others may stay unknown, which is scored as the middle of all."""
_LAST = tuple(f"containers{figure}" for figure in (*_FIGURES, "Since"))


def nodes_of(answers: Mapping[str, Vector], *, begins: datetime | None = None) -> NodeUsage:
    """Join each source's series to nodes, and take each node from the best source that knows all figures of it.

    Sources that were not asked are left out. ``begins`` is where the window of the means does: what an answer tells of
    before is not in them.
    """
    known = known_nodes(answers["nodes"].rows)
    samples: dict[str, NodeSample] = {}
    counts: list[tuple[int, int]] = []
    for source, prefix, time in _SOURCES:
        if f"{prefix}Cpu" not in answers:
            continue
        series, newest = answers[f"{prefix}Cpu"], answers[time]
        named = are_named(series.rows, known)
        by_node = partial(_by_node, known=known, named=named)
        figures = [by_node(answers[f"{prefix}{figure}"]) for figure in _FIGURES]
        times, since = by_node(newest), by_node(answers[f"{prefix}Since"], choose=min)
        counts.append(counted(*(joins(answer.rows, known, named=named) for answer in (series, newest))))
        for node in set(times).intersection(*figures) - samples.keys():
            sampled_at = instant(times[node][1])
            if node and sampled_at:
                first = max(since[node][1], begins.timestamp() if begins else 0.0) if node in since else None
                span = None if first is None else max(0.0, round(times[node][1] - first, 3))
                samples[node] = _sample(node, source, sampled_at, [table[node][1] for table in figures], span)
    return NodeUsage(nodes=tuple(samples[n] for n in sorted(samples)), match_rate=match_rate(counts))


def _sample(node: str, source: str, sampled_at: datetime, figures: list[float], span: float | None) -> NodeSample:
    cpu, memory, cpu_deviation, memory_deviation = figures
    return NodeSample(
        node=node,
        cpu_cores=cpu,
        memory_bytes=memory,
        sampled_at=sampled_at,
        source=source,
        cpu_deviation_cores=cpu_deviation,
        memory_deviation_bytes=memory_deviation,
        memory_span_seconds=span,
    )


def _by_node(
    answer: Vector, *, known: KnownNodes, named: bool, choose: Callable[[float, float], float] = max
) -> dict[str, tuple[int, float]]:
    """(rows, the largest value or what ``choose`` takes) by node; under "" those that lead to none."""
    found: dict[str, tuple[int, float]] = {}
    for labels, value in answer.rows:
        node, _ = node_of(labels, known, named=named)
        rows, chosen = found.get(node, (0, value))
        found[node] = (rows + 1, choose(chosen, value))
    return found
