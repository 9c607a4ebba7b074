"""Every key of the configuration file, with the field it fills and the reader of its value."""

from typing import Any

from webhook.configuration import prometheus
from webhook.configuration import readers as read
from webhook.configuration.readers import Reader
from webhook.core.policy import IdlePolicy, Mode, PlacementMode, SidePolicy, SpotPool
from webhook.errors import ConfigurationError

PAUSABLE = ("injection", "moves", "scoring")

IDLE: dict[str, tuple[str, Reader]] = {
    "window": ("window", read.duration),
    "rateWindow": ("rate_window", read.duration),
    "step": ("step", read.duration),
    "cpuShareOfRequest": ("cpu_share_of_request", read.number(0, 1, "a share from 0 to 1")),
    "cpuFloor": ("cpu_floor_cores", read.number(0, 1000, "CPU such as 10m or 0.01")),
    "receivedBytesPerSecond": ("received_bytes_per_second", read.number(0, 1e12, "bytes a second, 0 or more")),
    "leaveFactor": ("leave_factor", read.number(1.01, 100, "a factor above 1")),
    "leaveWindow": ("leave_window", read.duration),
    "scrapeInterval": ("scrape_interval", read.duration),
    "startupGrace": ("startup_grace", read.duration_or_zero),
    "minCoverage": ("min_coverage", read.number(0.5, 1, "a share from 0.5 to 1")),
    "maxClockSkew": ("max_clock_skew", read.duration),
}
SIDES: dict[str, tuple[str, Reader]] = {
    "idleRunsToSpot": ("idle_runs_to_spot", read.whole_number(1, 1440)),
    "evidenceTtl": ("evidence_ttl", read.duration),
    "heartbeatTtl": ("heartbeat_ttl", read.duration),
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
    "queries": ("queries", prometheus.queries),
    "deadlineSeconds": ("deadline_seconds", read.number(0.1, 600, "seconds from 0.1 to 600")),
    "maxBodyBytes": ("max_body_bytes", read.whole_number(1024, 1 << 31)),
    "concurrency": ("concurrency", read.whole_number(1, 16)),
    "allowInsecureCredentials": ("allow_insecure_credentials", read.flag),
}


def _pool(**values: Any) -> SpotPool:
    if missing := {"name", "marker"} - values.keys():
        raise ConfigurationError(f".{'labels' if one == 'marker' else one}: missing" for one in sorted(missing))
    return SpotPool(**values)


TOP: dict[str, tuple[str, Reader]] = {
    "mode": ("mode", read.choice(Mode)),
    "placement": ("placement", read.choice(PlacementMode)),
    "preferredWeight": ("preferred_weight", read.whole_number(1, 100)),
    "maxSpot": ("max_spot", read.max_spot),
    "kinds": ("kinds", read.texts()),
    "excludedNamespaces": ("excluded_namespaces", read.texts()),
    "spotLabels": ("spot_labels", read.list_of(read.marker)),
    "spotTaints": ("spot_taints", read.list_of(read.taint)),
    "spotPools": ("spot_pools", read.list_of(read.nested(POOL, _pool))),
    "pause": ("pause", read.texts(of=PAUSABLE)),
    "idle": ("idle", read.nested(IDLE, IdlePolicy)),
    "sides": ("sides", read.nested(SIDES, SidePolicy)),
    "prometheus": ("prometheus", read.nested(PROMETHEUS, dict)),
}
