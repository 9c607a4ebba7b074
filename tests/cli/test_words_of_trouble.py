"""What goes wrong is told in words for people: none of a library's, and none that is about something else."""

import re

import pytest

from tests.adapters.fake_apiserver import NODES, FakeApiServer, Fault
from tests.cli.conftest import kubeconfig
from tests.parts.processes import reserve_port
from webhook.cli import demo

DEMO = "examples/demo.snapshot.json"
LIBRARIES = re.compile(r"HTTPS?Connection|\w+Error:|<unicode string>|recursion|Input data|Errno|Service host")


def leading_to(url, tmp_path):
    file = tmp_path / "kubeconfig"
    file.write_text(kubeconfig(url))
    return ["--kubeconfig", str(file)]


@pytest.fixture
def server():
    found = FakeApiServer()
    yield found
    found.stop()


def test_a_server_that_is_not_there_is_told_with_its_address(cli, tmp_path):
    url = f"https://127.0.0.1:{reserve_port()}"
    told = cli("pause", *leading_to(url, tmp_path))
    assert told.code == 3
    assert f"at {url}: no connection (Connection refused)" in told.err
    assert not LIBRARIES.search(told.err)


def test_plain_text_where_tls_was_meant_is_told(cli, server, tmp_path):
    told = cli("pause", *leading_to(server.url.replace("http:", "https:"), tmp_path))
    assert "the TLS handshake failed" in told.err
    assert not LIBRARIES.search(told.err)


def test_a_name_that_nobody_knows_is_told(cli, tmp_path):
    told = cli("pause", *leading_to("https://nowhere.invalid:6443", tmp_path))
    assert "no address is known of its name" in told.err
    assert not LIBRARIES.search(told.err)


@pytest.mark.parametrize("words", [("nodes",), ("plan",), ("pause",)])
def test_without_any_kubeconfig_nothing_is_told_of_how_a_pod_would_be_found(cli, tmp_path, monkeypatch, words):
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    told = cli(*words)
    assert "nor by the token of a pod" in told.err
    assert not LIBRARIES.search(told.err)


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "it is empty"), (b'{"kind": "Snap', "it was cut off"), (b"\n", "it is empty")]
)
def test_a_snapshot_that_is_cut_off_or_empty_is_told_as_that(cli, tmp_path, content, says):
    file = tmp_path / "x.json"
    file.write_bytes(content)
    told = cli("nodes", "--snapshot", str(file))
    assert f"{file}: no Snapshot: {says}" in told.err


def test_a_file_that_is_no_yaml_is_told_by_its_name_and_line(cli, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("mode: move\nidle: [\n")
    told = cli("nodes", "--config", str(file))
    assert told.code == 2
    assert f'"{file}", line 3' in told.err
    file.write_text("a: " + "[" * 5000)
    assert "nested too deeply" in cli("nodes", "--config", str(file)).err


@pytest.mark.parametrize("words", [("nodes",), ("pause",)])
def test_who_is_not_known_is_not_told_to_ask_for_a_right(cli, server, tmp_path, words):
    server.good_tokens = set()
    told = cli(*words, *leading_to(server.url, tmp_path))
    assert told.code == 3
    assert "The credentials are wrong or expired" in told.err
    assert "Ask for the right" not in told.err


def test_where_no_book_is_the_namespace_that_was_looked_in_is_named(cli, server, tmp_path):
    flags = leading_to(server.url, tmp_path)
    assert "book spot-balancer in namespace steering, which is the context's; " in cli("history", *flags).err
    assert "book spot-balancer in namespace other; " in cli("history", *flags, "-n", "other").err


@pytest.mark.parametrize("words", [("nodes",), ("plan",), ("explain", "a/b/c")])
def test_a_snapshot_is_offered_where_there_is_no_cluster_and_not_where_one_has_trouble(cli, server, tmp_path, words):
    hint = "--snapshot reads a captured file"
    away = leading_to(f"https://127.0.0.1:{reserve_port()}", tmp_path)
    assert hint in cli(*words, *away).err
    assert hint in cli(*words, "--kubeconfig", "nowhere").err
    server.fail("GET", NODES, Fault(500), times=None)
    told = cli(*words, *leading_to(server.url, tmp_path)).err
    assert "500" in told
    assert hint not in told


@pytest.mark.parametrize("words", [("explain", "shop/deploy/nginx-demo"), ("nodes",), ("plan",), ("score", "a/b/c")])
def test_what_leads_to_a_cluster_is_refused_beside_a_snapshot_and_not_passed_over(cli, words):
    told = cli(*words, "--snapshot", DEMO, "--context", "x", "--book", "y")
    assert (told.code, told.out) == (2, "")
    assert "--context, --book beside --snapshot" in told.err


def test_the_demonstration_offers_no_plan_of_a_file_that_has_none(cli, tmp_path, capsys):
    file = tmp_path / "red.json"
    cli("snapshot", "--redact", "--snapshot", DEMO, "-o", str(file))
    demo.Page(colour=False).closing(file, demo.read_snapshot(file))
    page = capsys.readouterr().out
    assert " explain " in page
    assert " plan " not in page
