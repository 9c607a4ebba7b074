"""The queries of a sweep. Nothing but the policy and the operator's own configuration is ever put into them.

Names of objects stay out of PromQL: a query asks for all pods at once and the join with
owners happens in process, so that the number of queries is constant and no label can say
anything to Prometheus. There is no default for a missing series (``or vector(0)`` and the
like): absence arrives as absence.

Duplicates of one container or interface (an HA pair, two kubelet jobs, a restart) count
once, at their largest. Rates are taken per series before anything is added up, so that a
counter reset costs nothing.

Each query is a template with macros, which an operator may replace by name; a matcher for the
cluster goes into every selector of every query, theirs and ours, and one for the scrape job into
those of metrics that we know the source of.
"""

import difflib
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from webhook.core.policy import BalancePolicy, IdlePolicy
from webhook.core.readings import leave_range, reach, seen_range, startup
from webhook.wire import promql_text


class Template(NamedTuple):
    """A query with macros, and the labels that its answer must carry for the join; ``a|b`` means either."""

    text: str
    labels: tuple[str, ...]


class ClusterLabel(NamedTuple):
    """What tells one cluster's series from another's in a store that holds many."""

    name: str
    value: str

    @property
    def matcher(self) -> str:
        """``name="value"``. Raises ValueError, see ``promql_text.matcher``."""
        return promql_text.matcher(self.name, self.value)


class Dialect(NamedTuple):
    """What the configuration says of the queries: the cluster they are for, and those that an operator wrote.

    ``jobs`` are scrape jobs by source: whoever may let labels of theirs stand (``honor_labels``) may name another's pod,
    and a series of theirs would fill the gaps of the real one.
    """

    cluster: ClusterLabel | None = None
    own: Mapping[str, str] = {}
    jobs: Mapping[str, tuple[str, ...]] = {}


CPU = 'container_cpu_usage_seconds_total{pod!="",container!="",container!="POD"}'
# Network counters belong to the pod's sandbox, so there is no container to ask for.
RECEIVED = 'container_network_receive_bytes_total{pod!="",interface!="lo"}'

_STEPS = "[$window:$step]"
_CPU_RATE = f"max by (namespace, pod, container) (rate({CPU}[$rateWindow]))"
_RECEIVED_RATE = f"max by (namespace, pod, interface) (rate({RECEIVED}[$rateWindow]))"
_CPU_NUMBER = f"max by (namespace, pod, container) (rate({CPU}[$rateWindow]) >= 0)"
_RECEIVED_NUMBER = f"max by (namespace, pod, interface) (rate({RECEIVED}[$rateWindow]) >= 0)"
# The burst of a start must not count. What a range still finds after a pod's end may: it is from its life.
_GROWN = "unless on (namespace, pod) (kube_pod_start_time > time() - $startup)"
# Every start that kube-state-metrics told of within reach. What is fixed to the end is evaluated once, and few pods pass
# what follows: a join of all pods at every step is what costs Prometheus most.
_STARTS = "last_over_time(kube_pod_start_time[$reach] @ end())"
_STARTING = f"{_STARTS} > time() - $startup"
_ENDED = f"({_STARTS} unless on (namespace, pod, uid) kube_pod_start_time @ end())"
_KNOWN_OF_ENDED = f"(kube_pod_start_time and on (namespace, pod) {_ENDED})"
# Points are held against expectedPoints: only steps with a number, which NaN is not, after the start-up of the last pod
# of that name. A rate outlives its pod by a few steps, which must not fill a gap in its life: of who has ended, only
# steps count at which kube-state-metrics knew it.
_COUNTED = f"unless on (namespace, pod) ({_STARTING} or ({_ENDED} unless on (namespace, pod) {_KNOWN_OF_ENDED}))"
_POD = ("namespace", "pod")
_LIFE = (*_POD, "uid")

AHEAD = "aheadPoints"
"""The one query that looks past the moment of a sweep; of a moment in the past it would tell what came after."""

SWEEP: dict[str, Template] = {
    "cpuPeak": Template(f"max_over_time((sum by (namespace, pod) ({_CPU_RATE}) {_GROWN}){_STEPS})", _POD),
    "cpuPoints": Template(f"count_over_time(({_CPU_NUMBER} {_COUNTED}){_STEPS})", (*_POD, "container")),
    "cpuRecent": Template(
        f"sum by (namespace, pod) (max by (namespace, pod, container) (rate({CPU}[$leaveWindow])))", _POD
    ),
    # For batch: what a run used in all is still there for a while after its end. A container's restart has a new id,
    # and the whole window is looked through for those that ended early. Nobody but Jobs is asked about.
    "cpuSeconds": Template(
        f"sum by (namespace, pod, container) (max by (namespace, pod, container, id) (last_over_time({CPU}[$window]))"
        ' and on (namespace, pod) last_over_time(kube_pod_owner{owner_kind="Job"}[$window]))',
        (*_POD, "container"),
    ),
    # How much of those seconds was seen: a value of a run's beginning must not stand for the whole of it.
    # By samples in a range, which outlive a container that came and went between two steps.
    "cpuSeen": Template(
        f"count_over_time((max by (namespace, pod) (count_over_time({CPU}[$seen])"
        f' and on (namespace, pod) kube_pod_owner{{owner_kind="Job"}})){_STEPS})',
        _POD,
    ),
    # A container that began anew: under another id where the store keeps that label, else within its series. By job,
    # because two may spell an id in two ways.
    "restarts": Template(
        "max by (namespace, pod) ("
        "count by (namespace, pod, container, job)"
        f" (max by (namespace, pod, container, job, id) (last_over_time({CPU}[$reach])))"
        f" - 1 > 0 or resets({CPU}[$reach]) > 0 or resets({RECEIVED}[$reach]) > 0)",
        _POD,
    ),
    "receivedPeak": Template(f"max_over_time((sum by (namespace, pod) ({_RECEIVED_RATE}) {_GROWN}){_STEPS})", _POD),
    "receivedPoints": Template(
        f"min by (namespace, pod) (count_over_time(({_RECEIVED_NUMBER} {_COUNTED}){_STEPS}))", _POD
    ),
    "receivedRecent": Template(
        f"sum by (namespace, pod) (max by (namespace, pod, interface) (rate({RECEIVED}[$leaveWindow])))", _POD
    ),
    "sampleTime": Template(
        f"min by (namespace, pod) (max by (namespace, pod, container) (timestamp({CPU}))"
        f" or max by (namespace, pod, interface) (timestamp({RECEIVED})))",
        _POD,
    ),
    "expectedPoints": Template(
        "max by (namespace, pod, uid) (count_over_time("
        f"(kube_pod_start_time unless on (namespace, pod) ({_STARTING})){_STEPS}))",
        _LIFE,
    ),
    "runningPoints": Template(
        f'max by (namespace, pod, uid) (sum_over_time(kube_pod_status_phase{{phase="Running"}}{_STEPS}))', _LIFE
    ),
    "startTime": Template("max by (namespace, pod, uid) (last_over_time(kube_pod_start_time[$window]))", _LIFE),
    "owner": Template(
        "max by (namespace, pod, uid, owner_kind, owner_name) "
        '(last_over_time(kube_pod_owner{owner_is_controller="true"}[$window]))',
        (*_POD, "owner_kind", "owner_name"),
    ),
    # An init container that restarts for ever is a sidecar: it is there for as long as the pod is.
    "containers": Template(
        "max by (namespace, pod, container) (last_over_time(kube_pod_container_info[$window])"
        ' or last_over_time(kube_pod_init_container_info{restart_policy="Always"}[$window]))',
        (*_POD, "container"),
    ),
    # Samples more than a minute ahead; Prometheus itself refuses those that are more than ten.
    AHEAD: Template(
        f"max by (namespace, pod) (count_over_time({CPU}[10m] offset -11m)"
        f" or count_over_time({RECEIVED}[10m] offset -11m))",
        _POD,
    ),
    "toldPoints": Template(f"count_over_time((count(kube_pod_start_time) > 0){_STEPS})", ()),
}
"""The instant queries of one sweep by name; all but ``toldPoints`` return vectors over namespace and pod."""

_NODE_CPU = "node_cpu_seconds_total"
_BUSY = f'{_NODE_CPU}{{mode!~"idle|iowait|steal|guest|guest_nice"}}'
# What is idle swings as what is busy does, and is one series for each CPU instead of ten.
_RESTING = f'{_NODE_CPU}{{mode="idle"}}'
_AVAILABLE = "node_memory_MemAvailable_bytes"
_ROOT_CPU = 'container_cpu_usage_seconds_total{id="/"}'
_ROOT_MEMORY = 'container_memory_working_set_bytes{id="/"}'
_WORKING = 'container_memory_working_set_bytes{pod!="",container!="",container!="POD"}'
_BY_CPU = "sum by (node, instance) (max by (node, instance, cpu, mode)"
_BY_NODE = "max by (node, instance)"
_FIRST_BY_NODE = "min by (node, instance)"
_BY_CONTAINER = "sum by (node, instance) (max by (node, instance, namespace, pod, container)"
_BY_POD = "sum by (namespace, pod) (max by (namespace, pod, container)"
_SPREAD = "[$spreadWindow:$step]"
_LOADED = "[$loadWindow:$step]"
_EACH = "[$loadWindow:$loadStep]"
_INSTANCE = ("node|instance",)

# Means are over $loadWindow, so that a pod that started within it is in them by the part of it that it ran for.
# Deviations are of rates over $rateWindow at every $step of $spreadWindow, which is three times as long: within one
# window all rates overlap and hardly differ, and what is asked is how far the next window may be from this one.
# Memory that is available deviates as memory in use does, because the total stays.
# A mean of memory is over the samples that there are, and how far back they go is asked beside it.
NODES: dict[str, Template] = {
    "nodes": Template("max by (node, internal_ip) (kube_node_info)", ("node",)),
    "exporterCpu": Template(f"{_BY_CPU} (rate({_BUSY}[$loadWindow])))", _INSTANCE),
    "exporterCpuSpread": Template(
        f"stddev_over_time(({_BY_CPU} (rate({_RESTING}[$rateWindow])))){_SPREAD})", _INSTANCE
    ),
    "exporterMemory": Template(
        f"{_BY_NODE} (node_memory_MemTotal_bytes - avg_over_time({_AVAILABLE}[$loadWindow]))", _INSTANCE
    ),
    "exporterMemorySpread": Template(f"{_BY_NODE} (stddev_over_time({_AVAILABLE}[$spreadWindow]))", _INSTANCE),
    "exporterSince": Template(f"{_FIRST_BY_NODE} (min_over_time(timestamp({_AVAILABLE}){_EACH}))", _INSTANCE),
    "exporterTime": Template(f"{_BY_NODE} (timestamp({_AVAILABLE}))", _INSTANCE),
    "rootCpu": Template(f"{_BY_NODE} (rate({_ROOT_CPU}[$loadWindow]))", _INSTANCE),
    "rootCpuSpread": Template(f"stddev_over_time(({_BY_NODE} (rate({_ROOT_CPU}[$rateWindow]))){_SPREAD})", _INSTANCE),
    "rootMemory": Template(f"{_BY_NODE} (avg_over_time({_ROOT_MEMORY}[$loadWindow]))", _INSTANCE),
    "rootMemorySpread": Template(f"{_BY_NODE} (stddev_over_time({_ROOT_MEMORY}[$spreadWindow]))", _INSTANCE),
    "rootSince": Template(f"{_FIRST_BY_NODE} (min_over_time(timestamp({_ROOT_MEMORY}){_EACH}))", _INSTANCE),
    "cadvisorTime": Template(f"{_BY_NODE} (timestamp(container_memory_working_set_bytes))", _INSTANCE),
    "containersCpu": Template(f"{_BY_CONTAINER} (rate({CPU}[$loadWindow])))", _INSTANCE),
    "containersCpuSpread": Template(
        f"stddev_over_time(({_BY_CONTAINER} (rate({CPU}[$rateWindow])))){_SPREAD})", _INSTANCE
    ),
    "containersMemory": Template(f"avg_over_time(({_BY_CONTAINER} ({_WORKING}))){_LOADED})", _INSTANCE),
    "containersSince": Template(f"min_over_time(({_BY_NODE} (timestamp({_WORKING}))){_EACH})", _INSTANCE),
    "containersMemorySpread": Template(f"stddev_over_time(({_BY_CONTAINER} ({_WORKING}))){_SPREAD})", _INSTANCE),
}
"""What nodes use: by node-exporter, and by cAdvisor where that cannot be joined to a node."""

PODS: dict[str, Template] = {
    "podCpu": Template(f"{_BY_POD} (rate({CPU}[$loadWindow])))", _POD),
    "podMemory": Template(f"{_BY_POD} (avg_over_time({_WORKING}[$loadWindow])))", _POD),
}
"""What pods use, for what a workload's next pod will use and whose load a node bears."""

_LIKE_US = "unless on (namespace, pod) (kube_pod_start_time > time() - $grown)"
_WINDOWS = "[$habit:$loadWindow]"

# Steps of a whole window read each sample once, and a young pod's mean is over those that it has: a rate over all of
# $habit would be spread over the time before it began.
HABITS: dict[str, Template] = {
    "habitCpu": Template(f"avg_over_time(({_BY_POD} (rate({CPU}[$loadWindow]))) {_LIKE_US}){_WINDOWS})", _POD),
    "habitMemory": Template(f"avg_over_time(({_BY_POD} ({_WORKING})) {_LIKE_US}){_WINDOWS})", _POD),
}
"""What pods use over a longer time, their start-up left out, for what is usual for their like."""

LOADS = NODES | PODS | HABITS
"""All that is asked for the load of nodes."""

TEMPLATES = SWEEP | LOADS
SOURCES = {"container_": "cadvisor", "kube_": "kubeStateMetrics", "node_": "nodeExporter"}
"""Who serves the metrics that our own queries read, by the beginning of their names."""
_SOURCE_OF = {
    metric: SOURCES[f"{metric.partition('_')[0]}_"]
    for template in TEMPLATES.values()
    for metric in promql_text.metrics(template.text)
}
MACROS = ("window", "reach", "step", "rateWindow", "leaveWindow", "startup", "seen")
"""Those that every query may use; ``$cluster`` only where a cluster's label is configured."""
LOAD_MACROS = ("loadWindow", "loadStep", "spreadWindow", "habit", "grown")
"""Those that queries of ``LOADS`` may use besides."""
SPREAD_WINDOWS = 3
_LOAD_STEPS = 20
"""A twentieth of a window is less than is known of when a pod's first sample came."""


def sweep_queries(policy: IdlePolicy, dialect: Dialect = Dialect()) -> dict[str, str]:  # noqa: B008 - frozen
    """The queries of ``SWEEP`` for this policy, an operator's own in the place of ours."""
    return _written(SWEEP, macros(policy, dialect), dialect)


def load_queries(
    group: Mapping[str, Template],
    policy: IdlePolicy,
    dialect: Dialect = Dialect(),  # noqa: B008 - frozen
    balance: BalancePolicy = BalancePolicy(),  # noqa: B008 - frozen
) -> dict[str, str]:
    """The queries of ``LOADS``, or of a group of them, likewise."""
    return _written(group, load_macros(policy, balance, dialect), dialect)


def scoped(text: str, dialect: Dialect) -> str:
    """A query without macros, held to the cluster and to its metrics' scrape jobs."""

    def by_job(metric: str) -> str:
        jobs = dialect.jobs.get(_SOURCE_OF.get(metric, ""))
        return promql_text.one_of("job", jobs) if jobs else ""

    held = promql_text.within_each(text, by_job)
    return promql_text.within(held, dialect.cluster.matcher) if dialect.cluster else held


def own_faults(own: Mapping[str, str], *, clustered: bool) -> list[str]:
    """What is wrong with queries given by name, each as ``.name: found; expected``."""

    def known(name: str) -> dict[str, str]:
        more = () if name in SWEEP else LOAD_MACROS
        return dict.fromkeys((*MACROS, *more, *(["cluster"] if clustered else [])), "1")

    found = [f".{name}: unknown query; {_nearest(name)}" for name in own if name not in TEMPLATES]
    return found + [
        f".{name}: {fault}" for name, text in own.items() for fault in promql_text.faults(text, known(name))
    ]


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, TEMPLATES, n=1)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(sorted(TEMPLATES))}"


def _written(templates: Mapping[str, Template], known: Mapping[str, str], dialect: Dialect) -> dict[str, str]:
    texts = {name: dialect.own.get(name, template.text) for name, template in templates.items()}
    return {name: scoped(promql_text.expand(text, known), dialect) for name, text in texts.items()}


def macros(policy: IdlePolicy, dialect: Dialect = Dialect()) -> dict[str, str]:  # noqa: B008 - frozen
    """What every query's macros stand for."""
    return {
        "window": duration(policy.window),
        "reach": duration(reach(policy)),
        "step": duration(policy.step),
        "rateWindow": duration(policy.rate_window),
        "leaveWindow": duration(leave_range(policy)),
        "startup": seconds(startup(policy)),
        "seen": duration(seen_range(policy)),
    } | ({"cluster": dialect.cluster.matcher} if dialect.cluster else {})


def load_macros(policy: IdlePolicy, balance: BalancePolicy, dialect: Dialect) -> dict[str, str]:
    """What macros stand for in queries of nodes and of pods' use."""
    return macros(policy, dialect) | {
        "loadWindow": duration(balance.window),
        "loadStep": duration(max(balance.window / _LOAD_STEPS, timedelta(milliseconds=1))),
        "spreadWindow": duration(SPREAD_WINDOWS * balance.window),
        "habit": duration(balance.habit),
        "grown": seconds(policy.startup_grace + balance.window),
    }


def duration(length: timedelta) -> str:
    """As PromQL writes it, exactly: milliseconds where seconds would lose something."""
    milliseconds = length // timedelta(milliseconds=1)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def seconds(length: timedelta) -> str:
    """As a PromQL number of seconds, exact to the millisecond."""
    return f"{length // timedelta(milliseconds=1) / 1000:.3f}"
