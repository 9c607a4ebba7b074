"""Every key of the configuration file, with the field it fills and the reader of its value."""

from datetime import timedelta
from typing import Any

from webhook.configuration import prometheus, words
from webhook.configuration import readers as read
from webhook.configuration.readers import Reader
from webhook.core.fairness import LEAST, MOST
from webhook.core.policy import (
    ANNOTATIONS,
    CustomSignal,
    Match,
    Mode,
    Move,
    PlacementMode,
    SidePolicy,
    SignalOf,
    SpotPool,
    SpotWish,
)
from webhook.errors import ConfigurationError

PAUSABLE = ("injection", "moves", "scoring")

SIGNAL: dict[str, tuple[str, Reader]] = {
    "name": ("name", words.name),
    "query": ("query", read.text),
    "idleBelow": ("idle_below", read.number(1e-12, 1e15, "a number above 0")),
    "activeAbove": ("active_above", read.number(1e-12, 1e15, "a number above 0")),
    "unit": ("unit", read.text),
    "of": ("of", read.choice(SignalOf)),
}


BATCH: dict[str, tuple[str, Reader]] = {
    "window": ("window", read.duration),
    "minRuns": ("min_runs", read.whole_number(1, 10)),
    "maxDuration": ("max_duration", read.duration),
    "maxCpuSeconds": ("max_cpu_seconds", read.number(0, 1e9, "CPU-seconds, 0 or more")),
}
IDLE: dict[str, tuple[str, Reader]] = {
    "window": ("window", read.duration),
    "rateWindow": ("rate_window", read.duration),
    "step": ("step", read.duration),
    "cpuShareOfRequest": ("cpu_share_of_request", read.share(0, 1)),
    "cpuFloor": ("cpu_floor_cores", read.cores(1)),
    "receivedBytesPerSecond": ("received_bytes_per_second", read.number(0, 1e12, "bytes a second, 0 or more")),
    "leaveFactor": ("leave_factor", read.number(1.01, 100, "a factor above 1")),
    "leaveWindow": ("leave_window", read.duration),
    "scrapeInterval": ("scrape_interval", read.duration),
    "startupGrace": ("startup_grace", read.duration_or_zero),
    "minCoverage": ("min_coverage", read.share(0.5, 1)),
    "maxClockSkew": ("max_clock_skew", read.duration),
    "batch": ("batch", read.nested(BATCH, dict)),
    "signals": (
        "signals",
        read.list_of(read.nested(SIGNAL, CustomSignal, required={"name": "", "query": "", "idleBelow": ""})),
    ),
}
SIDES: dict[str, tuple[str, Reader]] = {
    "idleRunsToSpot": ("idle_runs_to_spot", read.whole_number(1, 1440)),
    "evidenceTtl": ("evidence_ttl", read.duration),
    "heartbeatTtl": ("heartbeat_ttl", read.duration),
}
LIMITS: dict[str, tuple[str, Reader]] = {
    "window": ("window", read.duration),
    "perRun": ("per_run", read.amount),
    "perCluster": ("per_cluster", read.amount),
    "perNamespace": ("per_namespace", read.amount),
    "perWorkload": ("per_workload", read.amount),
    "perNode": ("per_node", read.amount),
}
MOVES: dict[str, tuple[str, Reader]] = {
    # Not Limits yet: what is left out is said by the defaults of that way, and the two ways differ.
    "toSpot": ("to_spot", read.nested(LIMITS, dict)),
    "toRegular": ("to_regular", read.nested(LIMITS, dict)),
    "dwell": ("dwell", read.duration_or_zero),
    "canary": ("canary", read.duration_or_zero),
    "patience": ("patience", read.duration),
    "settle": ("settle", read.duration_within(timedelta(seconds=1), timedelta(seconds=60))),
    "attempts": ("attempts", read.whole_number(1, 20)),
    "backoff": ("backoff", read.duration),
    "healthyFor": ("healthy_for", read.duration),
    "maxUnready": ("max_unready", read.share(0, 1)),
    "runSeconds": ("run_seconds", read.number(1, 50, "seconds from 1 to 50")),
}
BALANCE: dict[str, tuple[str, Reader]] = {
    "window": ("window", read.duration_within(timedelta(seconds=1), timedelta(hours=1))),
    "habit": ("habit", read.duration_within(timedelta(seconds=1), timedelta(hours=6))),
    "maxAge": ("max_age", read.duration_within(timedelta(seconds=1), timedelta(hours=1))),
    "riskFactor": ("risk_factor", read.number(0, 10, "a factor from 0 to 10")),
    "fairness": ("fairness", read.share(0, 1)),
    "noise": ("noise", read.share(0.001, 0.5)),
    "filterAbove": ("filter_above", read.share(0.1, 1, without="nothing is filtered")),
    "best": ("best", read.whole_number(1, 10_000, without="all that score are answered")),
}
POOL: dict[str, tuple[str, Reader]] = {
    "name": ("name", read.text),
    "labels": ("marker", read.marker),
    "taints": ("taints", read.list_of(read.taint)),
}
PROMETHEUS: dict[str, tuple[str, Reader]] = {
    "url": ("url", read.text),
    "bearerTokenFile": ("bearer_token_file", read.path),
    "username": ("username", read.text),
    "passwordFile": ("password_file", read.path),
    "caFile": ("ca_file", read.path),
    "certFile": ("cert_file", read.path),
    "keyFile": ("key_file", read.path),
    "headers": ("headers", prometheus.headers),
    "headerFiles": ("header_files", prometheus.header_files),
    "parameters": ("parameters", prometheus.parameters),
    "clusterLabel": ("cluster_label", prometheus.cluster_label),
    "jobs": ("jobs", prometheus.jobs),
    "queries": ("queries", prometheus.queries),
    "deadlineSeconds": ("deadline_seconds", read.number(0.1, 600, "seconds from 0.1 to 600")),
    "maxBodyBytes": ("max_body_bytes", read.whole_number(1024, 1 << 31)),
    "concurrency": ("concurrency", read.whole_number(1, 16)),
    "allowInsecureCredentials": ("allow_insecure_credentials", read.flag),
}


MATCH: dict[str, tuple[str, Reader]] = {
    "namespaces": ("namespaces", read.list_of(words.namespace_word)),
    "namespaceLabels": ("namespace_labels", words.label_words),
    "kinds": ("kinds", read.list_of(words.kind)),
    "names": ("names", read.list_of(words.word)),
    "labels": ("labels", words.label_words),
}


def _match(value: Any) -> Match:
    """Whole or not at all: what is left beside a fault would match more than was meant."""
    try:
        found: Match = read.nested(MATCH, Match)(value)
    except ConfigurationError as error:
        raise ConfigurationError(error.faults) from error
    return found


RULE: dict[str, tuple[str, Reader]] = {
    "name": ("name", words.name),
    "match": ("match", _match),
    "mode": ("mode", read.choice(Mode)),
    "spot": ("spot", read.choice(SpotWish)),
    "placement": ("placement", read.choice(PlacementMode)),
    "maxSpot": ("max_spot", read.max_spot),
    "allowedMoves": ("allowed_moves", read.list_of(read.choice(Move))),
    "allowedAnnotations": ("allowed_annotations", read.texts(of=ANNOTATIONS)),
    "idle": ("idle", read.nested(IDLE, dict)),
    "weight": ("weight", read.number(LEAST, MOST, f"a number from {LEAST} to {MOST:g}")),
    "schedulerName": ("scheduler_name", words.scheduler_name),
}


_FOR = "; expected what it is for, or {} for every workload"
_ADDRESS = "; expected http(s)://host[:port][/prefix]"
TOP: dict[str, tuple[str, Reader]] = {
    "mode": ("mode", read.choice(Mode)),
    "placement": ("placement", read.choice(PlacementMode)),
    "preferredWeight": ("preferred_weight", read.whole_number(1, 100)),
    "maxSpot": ("max_spot", read.max_spot),
    "allowedMoves": ("allowed_moves", read.list_of(read.choice(Move))),
    "allowedAnnotations": ("allowed_annotations", read.texts(of=ANNOTATIONS)),
    # Not a Rule yet: what it says of idleness stands on the policy's own, which may come later in the file.
    "rules": ("rules", read.list_of(read.nested(RULE, dict, required={"name": "", "match": _FOR}))),
    "kinds": ("kinds", read.list_of(words.handled_kind)),
    "excludedNamespaces": ("excluded_namespaces", read.list_of(words.namespace)),
    "spotLabels": ("spot_labels", read.list_of(read.marker)),
    "spotTaints": ("spot_taints", read.list_of(read.taint)),
    "spotPools": ("spot_pools", read.list_of(read.nested(POOL, SpotPool, required={"name": "", "labels": ""}))),
    "pause": ("pause", read.texts(of=PAUSABLE)),
    "idle": ("idle", read.nested(IDLE, dict)),
    "sides": ("sides", read.nested(SIDES, SidePolicy)),
    "moves": ("moves", read.nested(MOVES, dict)),
    # Not a BalancePolicy yet: two of its defaults follow the scrape interval, which may come later in the file.
    "balance": ("balance", read.nested(BALANCE, dict)),
    "prometheus": ("prometheus", read.nested(PROMETHEUS, dict, required={"url": _ADDRESS})),
}
