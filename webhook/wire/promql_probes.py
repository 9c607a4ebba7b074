"""The queries of the self-test: few, cheap, and as many on a large cluster as on a small one.

What they look for is what the sweep's queries read; an operator's own queries bring their metrics along.
"""

from collections.abc import Mapping
from datetime import timedelta

from webhook.core.policy import BalancePolicy, CustomSignal, IdlePolicy
from webhook.core.selftest import CLUSTER_LABELS, REPLICA_LABELS, RULES, QueryUse
from webhook.wire import promql, promql_text
from webhook.wire.promql import CPU, RECEIVED, Dialect
from webhook.wire.promql_signals import LABELS

_KUBE = "kube_pod_start_time|kube_pod_status_phase|kube_pod_owner|kube_pod_container_info"
_RUNNING = 'max by (namespace, pod) (kube_pod_status_phase{phase="Running"} == 1)'
_LARGEST_SAMPLE = 5


def query_uses(
    policy: IdlePolicy,
    dialect: Dialect,
    balance: BalancePolicy = BalancePolicy(),  # noqa: B008 - frozen
) -> tuple[QueryUse, ...]:
    """Which queries will be asked, in whose words, and what they read and must answer."""
    texts = promql.sweep_queries(policy, dialect) | promql.load_queries(promql.LOADS, policy, dialect, balance)
    ours = tuple(
        QueryUse(
            name=name,
            text=text,
            own=name in dialect.own,
            for_nodes=name not in promql.SWEEP,
            metrics=promql_text.metrics(text),
            labels=promql.TEMPLATES[name].labels,
        )
        for name, text in texts.items()
    )
    return ours + tuple(_signal_use(signal, policy, dialect) for signal in policy.signals)


def _signal_use(signal: CustomSignal, policy: IdlePolicy, dialect: Dialect) -> QueryUse:
    """A user's signal as they wrote it; the sweep asks for its peak, its points and its value now."""
    text = promql.scoped(promql_text.expand(signal.query, promql.macros(policy, dialect)), dialect)
    labels = LABELS[signal.of]
    return QueryUse(
        name=f"signals.{signal.name}", text=text, own=True, metrics=promql_text.metrics(text), labels=labels
    )


def probe_queries(
    policy: IdlePolicy,
    dialect: Dialect,
    balance: BalancePolicy = BalancePolicy(),  # noqa: B008 - frozen
) -> dict[str, str]:
    """The probes by name, see ``core.selftest.examine``; an operator's own queries as ``own:<name>``."""
    uses = query_uses(policy, dialect, balance)
    probes = {name: promql.scoped(text, dialect) for name, text in _probes(policy, uses).items()}
    # Asked of the whole store: other clusters are what it is about.
    labels = dict.fromkeys((*CLUSTER_LABELS, *([dialect.cluster.name] if dialect.cluster else [])))
    probes["clusters"] = f"count by ({', '.join(labels)}) (kube_node_info)"
    return probes | {f"own:{use.name}": f"topk({_LARGEST_SAMPLE}, {use.text}\n)" for use in uses if use.own}


def _probes(policy: IdlePolicy, uses: tuple[QueryUse, ...]) -> Mapping[str, str]:
    wanted = sorted({metric for use in uses for metric in use.metrics} | set(RULES))
    length = promql.duration(_measured_over(policy))
    return {
        "presence": f'count by (__name__) ({{__name__=~"{"|".join(wanted)}"}})',
        "cpu": f"count({_with_namespace(CPU)})",
        "cpuContainers": f"count(count by (namespace, pod, container) ({_with_namespace(CPU)}))",
        "received": f"count({_with_namespace(RECEIVED)})",
        "kube": f'count by (__name__) ({{__name__=~"{_KUBE}",namespace!="",pod!="",uid!=""}})',
        "exported": f'count by (__name__) ({{__name__=~"{_KUBE}",exported_pod!=""}})',
        "running": f"count({_RUNNING})",
        "runningWithCpu": f"count({_RUNNING} and on (namespace, pod) {CPU})",
        "copies": f"count by (job, {', '.join(REPLICA_LABELS)}) ({_with_namespace(CPU)})",
        "intervals": " or ".join(_interval(source, what, length) for source, what in _SCRAPED.items()),
        "nodes": "max by (node, internal_ip) (kube_node_info)",
        "exporterNodes": "count by (node, instance) (node_memory_MemAvailable_bytes)",
        "rootNodes": 'count by (node, instance) (container_cpu_usage_seconds_total{id="/"})',
        "containerNodes": f"count by (node, instance) ({CPU})",
    }


_SCRAPED = {
    "cadvisor": CPU,
    "kube-state-metrics": "kube_pod_start_time",
    "node-exporter": "node_memory_MemAvailable_bytes",
}


def _with_namespace(selector: str) -> str:
    return promql_text.within(selector, 'namespace!=""')


def _interval(source: str, what: str, length: str) -> str:
    """Samples of a middling series in ``length``; of those alone that were there before it, or youth looks like rest."""
    counted = f"quantile(0.5, count_over_time({what}[{length}]) and {what} offset {length})"
    return f'label_replace({counted}, "source", "{source}", "", "")'


def _measured_over(policy: IdlePolicy) -> timedelta:
    """Over ten scrapes as configured, so that one more or less shows."""
    return max(policy.rate_window, 10 * policy.scrape_interval)
