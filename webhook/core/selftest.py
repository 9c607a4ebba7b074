"""What a Prometheus can tell us and what it cannot, from the answers to a few probe queries.

Nothing is decided by it: evidence keeps to its own contract, and what a finding is about makes
evidence unknown all by itself. A finding says so beforehand, in a sentence, with what to do.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from webhook.core.model import Value
from webhook.core.policy import IdlePolicy


class Severity(StrEnum):
    """``error``: no evidence for many or all workloads; ``warning``: for some, or less good; ``info``: to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Code(StrEnum):
    """What was found; a bounded set, fit for a metric label."""

    UNREACHABLE = "unreachable"
    PROBE_REFUSED = "probe-refused"
    CLOCK_SKEW = "clock-skew"
    NO_DATE = "no-date"
    NO_CADVISOR = "no-cadvisor"
    NO_NETWORK = "no-network"
    NO_KUBE_STATE_METRICS = "no-kube-state-metrics"
    METRIC_MISSING = "metric-missing"
    CADVISOR_LABELS = "cadvisor-labels"
    KUBE_LABELS = "kube-labels"
    NO_HONOR_LABELS = "no-honor-labels"
    PODS_APART = "pods-apart"
    PODS_WITHOUT_CPU = "pods-without-cpu"
    SCRAPE_TOO_SLOW = "scrape-too-slow"
    SCRAPE_SLOWER = "scrape-slower"
    SCRAPE_FASTER = "scrape-faster"
    SEVERAL_CLUSTERS = "several-clusters"
    CLUSTER_UNMATCHED = "cluster-unmatched"
    JOB_UNMATCHED = "job-unmatched"
    DUPLICATES = "duplicates"
    NO_NODE_LOAD = "no-node-load"
    NODE_JOIN = "node-join"
    NODE_LOAD_PODS_ONLY = "node-load-pods-only"
    NO_NODE_EXPORTER = "no-node-exporter"
    OWN_QUERY_REFUSED = "own-query-refused"
    OWN_QUERY_EMPTY = "own-query-empty"
    OWN_QUERY_LABELS = "own-query-labels"
    RECORDING_RULES = "recording-rules"
    QUERY_INFOS = "query-infos"


class Finding(Value, frozen=True, omit_defaults=False):
    """One thing found. ``subject`` is what it is about, where one code may be found of several things."""

    code: Code
    severity: Severity
    sentence: str
    remedy: str
    subject: str = ""


class QueryUse(Value, frozen=True, omit_defaults=False):
    """A query that will be asked. ``own`` where the configuration wrote it; ``missing`` are metrics nobody serves.

    ``for_nodes``: it asks for load, of nodes or pods, and no evidence hangs on it.
    """

    name: str
    text: str
    own: bool = False
    for_nodes: bool = False
    metrics: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class NodeSource(Value, frozen=True, omit_defaults=False):
    """One source of node load: its series, how many lead to a node, and by which join."""

    source: str
    series: int
    joined: int
    by: dict[str, int]


class SelfTest(Value, frozen=True, omit_defaults=False):
    """The whole of it. ``scrape_interval_seconds`` is measured, by source; a young store has none yet."""

    tested_at: datetime
    reached: bool
    prometheus_version: str = ""
    queries_asked: int = 0
    findings: tuple[Finding, ...] = ()
    scrape_interval_seconds: dict[str, float] = {}
    node_sources: tuple[NodeSource, ...] = ()
    queries: tuple[QueryUse, ...] = ()

    @property
    def has_errors(self) -> bool:
        """Whether anything found keeps many workloads from being judged."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)


Rows = tuple[tuple[Mapping[str, str], float], ...]


class Answers(NamedTuple):
    """What the probes brought, by name: rows, or code and message of what refused them."""

    rows: Mapping[str, Rows]
    refused: Mapping[str, tuple[str, str]]
    infos: tuple[str, ...] = ()
    evaluated_at: datetime | None = None
    answered_at: datetime | None = None
    version: str = ""


class Asked(NamedTuple):
    """What was asked: the queries of the sweeps, the policy they are for, and the cluster's label as (name, value).

    ``jobs`` are the scrape jobs that metrics are held to, by source.
    """

    uses: tuple[QueryUse, ...]
    policy: IdlePolicy
    cluster: tuple[str, str] | None = None
    jobs: Mapping[str, tuple[str, ...]] = {}


CLUSTER_LABELS = ("cluster", "cluster_name", "cluster_id", "k8s_cluster", "k8s_cluster_name", "kubernetes_cluster")
"""Labels that common installations tell clusters apart by."""
REPLICA_LABELS = ("metrics_path", "prometheus", "prometheus_replica", "replica")
"""Labels that differ between two series of one container."""
_RULE = "node_namespace_pod_container:container_cpu_usage_seconds_total:"
RULES = {
    f"{_RULE}sum_rate5m": "fit for prometheus.queries.cpuPeak: a rate over 5 minutes, already added up",
    f"{_RULE}sum_irate": "not fit for evidence: it looks at two samples only",
    "namespace_workload_pod:kube_pod_owner:relabel": "not needed: owners are joined in process",
}
"""Recording rules of kube-prometheus-stack, in both spellings, and what they are good for here."""


def changes(old: SelfTest | None, new: SelfTest) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """(findings that are new or became more or less severe, findings that are gone); figures alone change nothing."""
    before = {_key(finding): finding for finding in old.findings} if old else {}
    after = {_key(finding): finding for finding in new.findings}
    told = tuple(finding for key, finding in after.items() if key not in before)
    return told, tuple(finding for key, finding in before.items() if key not in after)


def _key(finding: Finding) -> tuple[Code, Severity, str]:
    return finding.code, finding.severity, finding.subject
