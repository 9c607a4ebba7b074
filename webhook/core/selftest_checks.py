"""The checks of the self-test, from probe answers to findings. A probe that was refused says nothing, for or against.

It is long because each thing that can be wrong with a Prometheus has its own sentence and its own remedy.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from webhook.core.nodejoin import Join, KnownNodes, are_named, counted, joins, known_nodes, match_rate, why_blind
from webhook.core.selftest import (
    CLUSTER_LABELS,
    REPLICA_LABELS,
    RULES,
    Answers,
    Asked,
    Code,
    Finding,
    NodeSource,
    Rows,
    SelfTest,
    Severity,
)

_CPU = "container_cpu_usage_seconds_total"
_RECEIVED = "container_network_receive_bytes_total"
_OPTIONAL = frozenset({"kube_pod_init_container_info"})
"""Metrics that a healthy cluster may have no series of: not every one runs a pod with an init container."""
_MOST_NAMED = 5
_GOOD_SHARE = 0.95
_SLACK = 1.15
"""A scrape more or less in the measured range is no finding."""
_LONGEST = 300


def examine(answers: Answers, asked: Asked, *, now: datetime) -> SelfTest:
    """Findings, worst first, and what the sweeps will ask. ``now`` is our own clock."""
    present = _by_name(answers.rows.get("presence"))
    uses = tuple(
        msgspec.structs.replace(use, missing=() if present is None else _missing(use.metrics, present))
        for use in asked.uses
    )
    sources = _node_sources(answers)
    intervals = _intervals(answers, asked)
    view = _View(answers, asked._replace(uses=uses), present, sources, intervals)
    found = [finding for check in _CHECKS for finding in check(view)] + list(_clocks(view, now))
    found.sort(key=lambda finding: (list(Severity).index(finding.severity), finding.code, finding.subject))
    return SelfTest(
        tested_at=now,
        reached=answers.evaluated_at is not None,
        prometheus_version=answers.version,
        queries_asked=1 + len(answers.rows) + len(answers.refused.keys() - {"time"}),
        findings=tuple(found),
        scrape_interval_seconds=intervals,
        node_sources=sources,
        queries=uses,
    )


def _missing(metrics: Iterable[str], present: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(metric for metric in metrics if metric not in present and metric not in _OPTIONAL)


class _View:
    """The answers, with what several checks need of them."""

    def __init__(
        self,
        answers: Answers,
        asked: Asked,
        present: dict[str, float] | None,
        sources: tuple[NodeSource, ...],
        intervals: dict[str, float],
    ) -> None:
        self.answers, self.asked, self.present = answers, asked, present
        self.sources, self.intervals = sources, intervals

    def rows(self, probe: str) -> Rows | None:
        """None where the probe was refused."""
        return self.answers.rows.get(probe)

    def count(self, probe: str) -> float | None:
        """The one number of a probe: 0 where there was nothing to count."""
        rows = self.rows(probe)
        return None if rows is None else sum(value for _, value in rows)

    def has(self, metric: str) -> bool:
        return self.present is not None and metric in self.present


def _finding(code: Code, severity: Severity, sentence: str, remedy: str, subject: str = "") -> Finding:
    return Finding(code=code, severity=severity, sentence=sentence[:_LONGEST], remedy=remedy, subject=subject)


def _by_name(rows: Rows | None) -> dict[str, float] | None:
    return None if rows is None else {labels.get("__name__", ""): value for labels, value in rows}


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(name[:60] for name in names[:_MOST_NAMED]) + more


# --- reachable, and of one mind about the time


def _refused(view: _View) -> Iterator[Finding]:
    refused = view.answers.refused
    if "time" in refused:
        code, why = refused["time"]
        yield _finding(Code.UNREACHABLE, Severity.ERROR, f"Prometheus did not answer ({code}): {why}", _remedy_of(code))
        return
    probes = sorted(name for name in refused if not name.startswith("own:"))
    if probes:
        code, why = refused[probes[0]]
        sentence = f"{len(probes)} probes were refused ({_some(probes)}), the first with {code}: {why}"
        yield _finding(Code.PROBE_REFUSED, Severity.WARNING, sentence, _remedy_of(code))


def _remedy_of(code: str) -> str:
    return {
        "auth": "look at the token, password or headers that prometheus names, and at what they are allowed to read",
        "tls": "look at prometheus.caFile, certFile and keyFile",
        "redirect": "give prometheus.url the address that it redirects to",
        "partial": "look at the parts of the store: one of them did not answer",
        "limit": "raise the store's limits for one query, or lengthen idle.step, up to idle.rateWindow less two scrapes",
        "deadline": "raise prometheus.deadlineSeconds, or give the store more to work with",
        "busy": "wait until it has started, or raise its query concurrency",
    }.get(code, "look at prometheus.url, the network policies on the way, and Prometheus' own log")


def _clocks(view: _View, now: datetime) -> Iterator[Finding]:
    answers, allowed = view.answers, view.asked.policy.max_clock_skew
    if answers.evaluated_at is None:
        return
    if answers.answered_at is None:
        yield _finding(
            Code.NO_DATE,
            Severity.INFO,
            "answers carry no Date header: clocks are compared by time() alone",
            "nothing must be done; a proxy on the way drops the header",
        )
    for name, told in (("clock", answers.evaluated_at), ("Date header", answers.answered_at)):
        if told is not None and abs(told - now) > allowed:
            off = (told - now).total_seconds()
            yield _finding(
                Code.CLOCK_SKEW,
                Severity.ERROR,
                f"the {name} of Prometheus is {off:+.0f} s off ours, more than {allowed.total_seconds():g} s",
                "set both clocks by NTP; until then all evidence is unknown",
                subject=name,
            )


# --- metrics and their labels

_KUBE = ("kube_pod_start_time", "kube_pod_status_phase", "kube_pod_owner", "kube_pod_container_info")


def _metrics(view: _View) -> Iterator[Finding]:
    """What the sweep reads and nobody serves. Node load has other sources to fall back to, see ``_nodes``."""
    if _is_unmatched(view):
        return
    readers: dict[str, list[str]] = {}
    for use in view.asked.uses:
        for metric in () if use.for_nodes else use.missing:
            readers.setdefault(metric, []).append(use.name)
    read = {metric for use in view.asked.uses for metric in use.metrics}
    if read & set(_KUBE) and all(metric in readers for metric in read & set(_KUBE)):
        yield _finding(
            Code.NO_KUBE_STATE_METRICS,
            Severity.ERROR,
            "there is nothing of kube-state-metrics: no pod's start, state or owner is known",
            "install kube-state-metrics and let Prometheus scrape it with honor_labels: true",
        )
        readers = {metric: names for metric, names in readers.items() if metric not in _KUBE}
    for metric, names in sorted(readers.items()):
        code, remedy = _ABSENT.get(metric, (Code.METRIC_MISSING, "let it be scraped, or take it out of its query"))
        sentence = f"{metric} is not there; it is read by {_some(names)}"
        yield _finding(code, Severity.ERROR, sentence, remedy, subject=metric)


_ABSENT = {
    _CPU: (Code.NO_CADVISOR, "let Prometheus scrape the kubelets at /metrics/cadvisor"),
    _RECEIVED: (Code.NO_NETWORK, "keep the metric where the kubelets' /metrics/cadvisor is scraped and relabelled"),
    **dict.fromkeys(
        _KUBE, (Code.METRIC_MISSING, "take it into the allow list of kube-state-metrics, and out of drop rules")
    ),
}


def _cadvisor_labels(view: _View) -> Iterator[Finding]:
    for metric, probe, needed in (
        (_CPU, "cpu", "namespace, pod and container"),
        (_RECEIVED, "received", "namespace, pod and interface"),
    ):
        if view.has(metric) and view.count(probe) == 0 and not view.asked.jobs.get("cadvisor"):
            yield _finding(
                Code.CADVISOR_LABELS,
                Severity.ERROR,
                f"{metric} is there, but no series of it carries {needed}",
                "scrape with honor_labels: true, and look for relabelling that drops or renames these labels",
                subject=metric,
            )


def _jobs(view: _View) -> Iterator[Finding]:
    """Sources that are there, and of which the named jobs hold nothing."""
    if _is_unmatched(view):
        return
    for source, metric, probe, severity in (
        ("cadvisor", _CPU, "cpu", Severity.ERROR),
        ("kubeStateMetrics", "kube_pod_status_phase", "running", Severity.ERROR),
        ("nodeExporter", "node_memory_MemAvailable_bytes", "exporterNodes", Severity.WARNING),
    ):
        if (jobs := view.asked.jobs.get(source)) and view.has(metric) and view.count(probe) == 0:
            yield _finding(
                Code.JOB_UNMATCHED,
                severity,
                f"{metric} is there, but no series of the scrape job {_some(list(jobs))} is fit for use",
                f"set prometheus.jobs.{source} to what the label job says there, or leave it out",
                subject=source,
            )


def _kube_labels(view: _View) -> Iterator[Finding]:
    exported, whole = _by_name(view.rows("exported")), _by_name(view.rows("kube"))
    if exported:
        yield _finding(
            Code.NO_HONOR_LABELS,
            Severity.ERROR,
            "kube-state-metrics is scraped without honor_labels: its namespace and pod arrive as exported_namespace "
            "and exported_pod, and every series seems to be of kube-state-metrics' own pod",
            "set honor_labels: true in its scrape job (honorLabels in a ServiceMonitor)",
        )
        return
    if whole is None or view.present is None:
        return
    for metric in _KUBE:
        if view.present.get(metric, 0) > whole.get(metric, 0):
            yield _finding(
                Code.KUBE_LABELS,
                Severity.WARNING,
                f"{view.present[metric] - whole.get(metric, 0):.0f} series of {metric} lack namespace, pod or uid",
                "run kube-state-metrics 2.0 or newer, and look for relabelling that drops these labels",
                subject=metric,
            )


def _pods(view: _View) -> Iterator[Finding]:
    running, seen = view.count("running"), view.count("runningWithCpu")
    if not running or seen is None or not view.count("cpu") or view.rows("exported"):
        return
    if not seen:
        yield _finding(
            Code.PODS_APART,
            Severity.ERROR,
            f"of {running:.0f} running pods none has CPU series under the same namespace and pod",
            "look for relabelling of namespace or pod in one of the two scrape jobs",
        )
    elif seen < _GOOD_SHARE * running:
        yield _finding(
            Code.PODS_WITHOUT_CPU,
            Severity.WARNING,
            f"{running - seen:.0f} of {running:.0f} running pods have no CPU series; their owners stay unknown",
            "look at Prometheus' targets for kubelets that are down or not scraped",
        )


def _copies(view: _View) -> Iterator[Finding]:
    # How many there are and what they differ in is of one answer: a job whose scrape fails between two is in one of them.
    rows, containers = view.rows("copies") or (), view.count("cpuContainers")
    series = sum(count for _, count in rows)
    if not containers or series < 1.5 * containers:
        return
    differing = [name for name in ("job", *REPLICA_LABELS) if len({labels.get(name, "") for labels, _ in rows}) > 1]
    yield _finding(
        Code.DUPLICATES,
        Severity.INFO,
        f"each container has {series / containers:.1f} CPU series"
        + (f", which differ in {', '.join(differing)}" if differing else ""),
        "nothing must be done: the largest counts, once; dropping the copies makes queries cheaper",
    )


# --- how often it is scraped


def _intervals(answers: Answers, asked: Asked) -> dict[str, float]:
    """Seconds between samples by source, to a tenth."""
    policy = asked.policy
    over = max(policy.rate_window, 10 * policy.scrape_interval).total_seconds()
    rows = answers.rows.get("intervals") or ()
    return {labels.get("source", ""): round(over / samples, 1) for labels, samples in rows if samples >= 1}


def _scrapes(view: _View) -> Iterator[Finding]:
    configured = view.asked.policy.scrape_interval.total_seconds()
    room = view.asked.policy.rate_window.total_seconds()
    for source in ("cadvisor", "kube-state-metrics"):
        measured = view.intervals.get(source)
        if measured is None:
            continue
        told = f"{source} has a sample every {measured:g} s; idle.scrapeInterval says {configured:g} s"
        if source == "cadvisor" and 4 * measured > _SLACK * room:
            yield _finding(
                Code.SCRAPE_TOO_SLOW,
                Severity.ERROR,
                f"{told}, and idle.rateWindow of {room:g} s holds fewer than four samples",
                "scrape more often, or set idle.scrapeInterval to the real one and idle.rateWindow to four of them",
                subject=source,
            )
        elif measured > 1.5 * configured:
            remedy = "set idle.scrapeInterval to the real one: fresh samples are taken for stale ones"
            yield _finding(Code.SCRAPE_SLOWER, Severity.WARNING, told, remedy, subject=source)
        elif source == "cadvisor" and measured < 0.5 * configured:
            remedy = "set idle.scrapeInterval to the real one: waking workloads are then seen earlier"
            yield _finding(Code.SCRAPE_FASTER, Severity.INFO, told, remedy, subject=source)


# --- one cluster


def _values(view: _View, label: str) -> list[str]:
    return sorted({labels.get(label, "") for labels, _ in view.rows("clusters") or ()} - {""})


def _is_unmatched(view: _View) -> bool:
    cluster = view.asked.cluster
    return bool(cluster and view.rows("clusters") is not None and cluster[1] not in _values(view, cluster[0]))


def _clusters(view: _View) -> Iterator[Finding]:
    if view.asked.cluster:
        if _is_unmatched(view):
            name, value = view.asked.cluster
            known = _values(view, name)
            yield _finding(
                Code.CLUSTER_UNMATCHED,
                Severity.ERROR,
                f'no node carries {name}="{value[:60]}"' + (f"; there are {_some(known)}" if known else ""),
                "set prometheus.clusterLabel to what this cluster's series carry",
            )
        return
    for label in CLUSTER_LABELS:
        if len(values := _values(view, label)) > 1:
            yield _finding(
                Code.SEVERAL_CLUSTERS,
                Severity.ERROR,
                f"the store holds {len(values)} clusters by the label {label} ({_some(values)}), and pods of one name "
                "would be taken for one",
                f"set prometheus.clusterLabel: {{name: {label}, value: ...}}",
                subject=label,
            )


# --- nodes


def _node_sources(answers: Answers) -> tuple[NodeSource, ...]:
    """The sources in the order the sweep of nodes takes them."""
    known = known_nodes(answers.rows.get("nodes") or ())
    probes = (("node-exporter", "exporterNodes"), ("cadvisor", "rootNodes"), ("cadvisor-containers", "containerNodes"))
    return tuple(_node_source(name, answers.rows.get(probe) or (), known) for name, probe in probes)


def _node_source(name: str, rows: Rows, known: KnownNodes) -> NodeSource:
    by = joins(rows, known, named=are_named(rows, known))
    lost = by[Join.NONE] + by[Join.STRAY]
    return NodeSource(
        source=name, series=len(rows), joined=len(rows) - lost, by={how.value: n for how, n in by.items()}
    )


def _counted(source: NodeSource) -> tuple[int, int]:
    """As sync counts them; the probes tell of this moment alone."""
    by = Counter({Join(how): n for how, n in source.by.items()})
    return counted(by, by)


def _nodes(view: _View) -> Iterator[Finding]:
    if not view.rows("nodes") or any(view.rows(p) is None for p in ("exporterNodes", "rootNodes", "containerNodes")):
        return
    exporter, roots, containers = view.sources
    best = next((source for source in view.sources if source.joined), None)
    if best is None:
        yield _finding(
            Code.NO_NODE_LOAD,
            Severity.WARNING,
            "neither node-exporter nor cAdvisor lead to a node: no node's load is known",
            "give their series a node label, or scrape them by the node's address or name",
        )
        return
    if not exporter.series:
        remedy = "nothing must be done; node-exporter knows more of memory"
        yield _finding(Code.NO_NODE_EXPORTER, Severity.INFO, f"no node-exporter: load comes from {best.source}", remedy)
    if best is containers and not roots.joined:
        yield _finding(
            Code.NODE_LOAD_PODS_ONLY,
            Severity.WARNING,
            "node load is the sum of pods: what runs outside of them is not seen",
            'install node-exporter, or keep the series with id="/" of cAdvisor',
        )
    blind = why_blind(match_rate(_counted(source) for source in view.sources))
    for source in (exporter, roots):
        series, joined = _counted(source)
        if joined < _GOOD_SHARE * series:
            told = f"{series - joined} of {series} series of {source.source} lead to no node"
            yield _finding(
                Code.NODE_JOIN,
                Severity.WARNING,
                f"{told}; {blind}" if blind else told,
                "give them a node label (attachMetadata.node in a ServiceMonitor) that is the node's name, or scrape by "
                "the node's address; "
                "of machines that are no nodes, keep the series out by prometheus.jobs",
                subject=source.source,
            )


# --- queries of one's own, and what else is good to know


def _own_queries(view: _View) -> Iterator[Finding]:
    for use in view.asked.uses:
        probe = f"own:{use.name}"
        path = f"idle.{use.name}" if use.name.startswith("signals.") else f"prometheus.queries.{use.name}"
        if probe in view.answers.refused:
            code, why = view.answers.refused[probe]
            sentence = f"{path} was refused ({code}): {why}"
            yield _finding(Code.OWN_QUERY_REFUSED, Severity.ERROR, sentence, "mend the query", subject=use.name)
        elif (rows := view.rows(probe)) is not None and not rows:
            remedy = "look at its metrics and matchers; absence makes evidence unknown"
            yield _finding(Code.OWN_QUERY_EMPTY, Severity.WARNING, f"{path} gives nothing", remedy, subject=use.name)
        elif lacking := [label for label in use.labels if not all(_carries(row, label) for row, _ in rows or ())]:
            sentence = f"{path} answers without {_words(lacking)}, so it joins with nothing"
            remedy = f"let its answer carry {_words(use.labels)}"
            yield _finding(Code.OWN_QUERY_LABELS, Severity.ERROR, sentence, remedy, subject=use.name)


def _carries(labels: Mapping[str, str], wanted: str) -> bool:
    return any(labels.get(label) for label in wanted.split("|"))


def _words(labels: Iterable[str]) -> str:
    return ", ".join(label.replace("|", " or ") for label in labels)


def _rules(view: _View) -> Iterator[Finding]:
    for rule, use in RULES.items():
        if view.has(rule):
            sentence = f"the recording rule {rule} is there; {use}"
            yield _finding(Code.RECORDING_RULES, Severity.INFO, sentence, "nothing must be done", subject=rule)


def _infos(view: _View) -> Iterator[Finding]:
    if infos := sorted(set(view.answers.infos)):
        sentence = f"Prometheus remarks on {len(infos)} queries, first: {infos[0]}"
        yield _finding(Code.QUERY_INFOS, Severity.INFO, sentence, "look at the query; remarks change no answer")


_CHECKS: tuple[Callable[[_View], Iterator[Finding]], ...] = (
    _refused,
    _clusters,
    _metrics,
    _cadvisor_labels,
    _jobs,
    _kube_labels,
    _pods,
    _copies,
    _scrapes,
    _nodes,
    _own_queries,
    _rules,
    _infos,
)
