"""The keys of `prometheus` in the configuration file that hold more than one value."""

from pathlib import Path

import pytest

from webhook.configuration import load
from webhook.errors import ConfigurationError
from webhook.wire.promql import ClusterLabel

WHOLE = """
prometheus:
  url: https://mimir.monitoring.svc/prometheus
  certFile: /etc/p/tls.crt
  keyFile: /etc/p/tls.key
  headers: {X-Scope-OrgID: team-a}
  headerFiles: {X-Api-Key: /etc/p/key}
  parameters: {partial_response: false, nocache: 1, "replicaLabels[]": [a, b]}
  clusterLabel: {name: cluster, value: eu-1}
  jobs: {cadvisor: kubelet, kubeStateMetrics: [ksm, ksm-2]}
  queries: {cpuRecent: "sum by (namespace, pod) (rate(x{$cluster}[$leaveWindow]))"}
"""


def faults(text):
    with pytest.raises(ConfigurationError) as caught:
        load(text, source="config.yaml")
    return list(caught.value.faults)


def test_all_of_it_is_read_into_values():
    found = load(WHOLE, source="config.yaml").prometheus
    assert (found.cert_file, found.key_file) == (Path("/etc/p/tls.crt"), Path("/etc/p/tls.key"))
    assert (found.headers, found.header_files) == ({"X-Scope-OrgID": "team-a"}, {"X-Api-Key": Path("/etc/p/key")})
    assert found.parameters == {"partial_response": ("false",), "nocache": ("1",), "replicaLabels[]": ("a", "b")}
    assert found.dialect.cluster == ClusterLabel("cluster", "eu-1")
    assert found.dialect.own.keys() == {"cpuRecent"}
    assert found.dialect.jobs == {"cadvisor": ("kubelet",), "kubeStateMetrics": ("ksm", "ksm-2")}


@pytest.mark.fault(67)
def test_all_faults_of_all_keys_are_told_together():
    text = """
prometheus:
  url: http://p
  deadlineSeconds: 0
  headers: {Authorization: x, Host: a, X-Scope-OrgID: 3}
  headerFiles: [a]
  parameters: {partial_respons: false, dedup: maybe, limit: 5}
  clusterLabel: {name: a-b, valu: x}
  jobs: {cadviser: kubelet, kubeStateMetrics: [], nodeExporter: 5}
  queries: {cpuPek: up, cpuPeak: "up[$windw] or vector(0)", owner: ""}
"""
    told = [fault.partition(":")[0] for fault in faults(text)]
    assert sorted(set(told)) == [
        "prometheus.clusterLabel.name",
        "prometheus.clusterLabel.valu",
        "prometheus.clusterLabel.value",
        "prometheus.deadlineSeconds",
        "prometheus.headerFiles",
        "prometheus.headers.Authorization",
        "prometheus.headers.Host",
        "prometheus.headers.X-Scope-OrgID",
        "prometheus.jobs.cadviser",
        "prometheus.jobs.kubeStateMetrics",
        "prometheus.jobs.nodeExporter",
        "prometheus.parameters.dedup",
        "prometheus.parameters.limit",
        "prometheus.parameters.partial_respons",
        "prometheus.queries.cpuPeak",
        "prometheus.queries.cpuPek",
        "prometheus.queries.owner",
    ]
    assert told.count("prometheus.queries.cpuPeak") == 2


@pytest.mark.fault(67)
def test_what_contradicts_itself_is_told_together_too():
    text = """
prometheus:
  url: http://p
  certFile: /c
  bearerTokenFile: /t
  username: me
  headers: {x-key: b}
  headerFiles: {X-Key: /a}
  queries: {owner: "up{$cluster}"}
"""
    told = "\n".join(faults(text))
    for words in (
        "http with a token",
        "certFile: given with http",
        "certFile, keyFile: one without",
        "beside username",
    ):
        assert words in told
    for words in (
        "username, passwordFile: one without",
        "x-key stands twice",
        "queries.owner: $cluster: unknown macro; expected prometheus.clusterLabel",
    ):
        assert words in told


@pytest.mark.parametrize(
    "label", ["{name: cluster, value: ''}", "{name: __name__, value: a}", "eu", "{value: 1, name: a}"]
)
def test_a_cluster_label_that_cannot_be_one_is_refused(label):
    assert all(
        f.startswith("prometheus.clusterLabel")
        for f in faults(f"prometheus: {{url: 'http://p', clusterLabel: {label}}}")
    )
