"""What people and files hand to the command line by mistake or malice: told in a sentence, and never obeyed."""

import threading

import pytest

from tests import builders
from webhook.cli import common
from webhook.core.model import Side, WorkloadKey
from webhook.wire.snapshot import encode_document

BROKEN = {
    "no yaml": "a: [",
    "no mapping": "a: b: c",
    "a server that is a number": """
clusters: [{name: c, cluster: {server: 5}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
current-context: x
""",
    "a provider of long ago": """
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
users: [{name: u, user: {auth-provider: {name: gcp}}}]
current-context: x
""",
}


@pytest.mark.fault(67)
@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_kubeconfig_that_is_wrong_anywhere_is_told_by_its_name(cli, tmp_path, text):
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    told = cli("nodes", "--kubeconfig", str(file))
    assert (told.code, told.out) == (3, "")
    assert told.err.startswith(f"error: no way to a cluster by {file}: ")
    assert told.err.count("\n") == 1


def test_without_any_kubeconfig_it_is_said_where_one_was_looked_for(cli, tmp_path, monkeypatch):
    from kubernetes.config import kube_config

    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    told = cli("nodes")
    assert told.code == 3
    assert f"{tmp_path / 'config'}, which is not there (name another with --kubeconfig)" in told.err


@pytest.mark.parametrize("command", [("explain", "shop/deploy/nginx-demo"), ("nodes",), ("snapshot", "-o", "-")])
def test_a_configuration_beside_a_snapshot_is_refused_and_not_passed_over(cli, command):
    told = cli(*command, "--snapshot", "examples/demo.snapshot.json", "--config", "examples/nowhere.yaml")
    assert (told.code, told.out) == (2, "")
    assert "--config beside --snapshot" in told.err


def test_an_api_server_that_keeps_silent_is_told_while_it_is_waited_for(monkeypatch):
    told, is_told = [], threading.Event()
    monkeypatch.setattr(common, "SLOW_SECONDS", 0)
    monkeypatch.setattr(common.click, "echo", lambda text, **_: (told.append(text), is_told.set()))
    with common.told_if_slow():
        assert is_told.wait(30)
    assert told == ["the API server has not answered yet; each call waits for up to 30s"]


def test_what_a_terminal_would_obey_is_shown_and_not_obeyed(cli, tmp_path):
    key = WorkloadKey("shop", "Deployment", "nginx-demo")
    verdict = builders.make_verdict(key, Side.SPOT, reason="low\x1b[31m\x07\nside       regular")
    node = builders.make_node("evil\x1b]0;title\x07")
    workload = builders.make_workload("nginx-demo", verdict=verdict)
    snapshot = builders.make_snapshot(workload, nodes=[node], versions={"prometheus": "3\x07"})
    file = tmp_path / "evil.json"
    file.write_bytes(encode_document(snapshot))
    page = cli("explain", str(key), "--snapshot", str(file), "-o", "wide").out
    page += cli("nodes", "--snapshot", str(file), "-o", "wide").out
    assert "\x1b" not in page
    assert "\x07" not in page
    assert r"low\x1b[31m\x07\nside       regular" in page
    assert "\x1b" not in cli("explain", "a\x1b[31m/b/c", "--snapshot", str(file)).err
