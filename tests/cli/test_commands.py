"""Every command explains itself, answers nonsense with one sentence, and keeps to its exit codes."""

import json
import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import click
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import builders
from tests.cli.conftest import ROOT, kubeconfig
from tests.parts.processes import reserve_port
from webhook import __version__
from webhook.cli import root
from webhook.cli.common import FORMATS, STRUCTURED
from webhook.cli.root import COMMANDS, run
from webhook.core.model import BatchRun, Side, WorkloadKey
from webhook.core.moves import Finished, Outcome
from webhook.core.policy import Move
from webhook.jobs.monitor import MonitorReport, SideChange
from webhook.jobs.mover import MoveReport
from webhook.wire.snapshot import encode_document

DEMO = "examples/demo.snapshot.json"
CONFIG = "examples/config.yaml"


@pytest.fixture
def closed_cluster(tmp_path):
    """A kubeconfig whose API server nobody answers for."""
    file = tmp_path / "kubeconfig"
    file.write_text(kubeconfig(f"https://127.0.0.1:{reserve_port()}", namespace="home"))
    return str(file)


def every_command(command=root.cli, words=()):
    """The words of each command and group, the root's being none."""
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from every_command(command.get_command(context, name), (*words, name))


@pytest.mark.parametrize("words", list(every_command()), ids=" ".join)
def test_every_command_helps_with_an_example(cli, words):
    outcome = cli(*words, "--help")
    assert outcome.code == 0
    assert "Example: spot-balancer" in outcome.out


def test_every_command_that_prints_takes_the_same_formats():
    """Only `snapshot` has another -o: the file it writes."""
    for words in every_command():
        command = root.cli
        for word in words:
            command = command.get_command(click.Context(command), word)
        for option in command.params:
            if "-o" in option.opts and words != ("snapshot",):
                assert tuple(option.type.choices) == FORMATS, words


@pytest.mark.parametrize("words", [("version",), ("config", "check", CONFIG), ("config", "print", CONFIG)])
def test_where_wide_has_nothing_more_to_tell_it_is_the_table(cli, words):
    assert cli(*words, "-o", "wide").out == cli(*words).out


def test_the_list_of_commands_is_the_list_of_modules(cli):
    helpers = {"__init__", "root", "common", "render", "burst", "podfile", "json_file", "simulate_balance"}
    modules = {file.stem for file in (ROOT / "webhook" / "cli").glob("*.py")} - helpers
    assert modules == {name.replace("-", "_") for name in COMMANDS}
    assert all(name in cli("--help").out for name in COMMANDS)


def test_as_a_plugin_it_calls_itself_kubectls(process):
    program = str(Path(sys.executable).with_name("kubectl-spot_balancer"))
    assert "Usage: kubectl spot-balancer" in process("--help", program=program).out


@pytest.mark.parametrize("output", FORMATS)
def test_version_in_each_format(cli, output):
    text = cli("version", "-o", output).out
    assert __version__ in text
    if output in STRUCTURED:
        assert yaml.safe_load(text)["schemaVersion"] == 1


def test_version_stays_quick_because_it_loads_neither_client_nor_server():
    code = (
        "import sys; from webhook.cli.root import run; run(['version']); "
        "print([m for m in ('kubernetes','flask','gunicorn','cryptography','rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.endswith("[]\n")


@pytest.mark.fault(67)
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["explode"], "No such command"),
        (["explain"], "Missing argument"),
        (["explain", "nonsense", "--snapshot", DEMO], "is not <namespace>/<kind>/<name>"),
        (["explain", "a/b/c/d", "--snapshot", DEMO], "is not <namespace>/<kind>/<name>"),
        (["explain", "shop/deploy/nginx-dmeo", "--snapshot", DEMO], "shop/Deployment/nginx-demo"),
        (["explain", "shop/deploy/nginx-demo", "--snapshot", "nowhere.json"], "nowhere.json: No such file"),
        (["explain", "shop/deploy/nginx-demo", "--snapshot", "README.md"], "README.md"),
        (["explain", "a/b/c", "--snapshot", DEMO, "-o", "xml"], "'xml' is not one of"),
        (["serve"], "Missing option '--snapshot'"),
        (["serve", "--snapshot", "nowhere.json"], "spot-balancer snapshot"),
        (["serve", "--snapshot", DEMO, "--bind", "8443"], "is not HOST:PORT"),
        (["serve", "--snapshot", DEMO, "--bind", "host:99999"], "is not HOST:PORT"),
        (["serve", "--snapshot", DEMO, "--bind", "host:" + "9" * 5000], "is not HOST:PORT"),
        (["serve", "--snapshot", DEMO, "--bind", "nowhere.invalid:0"], "cannot listen on nowhere.invalid:0"),
        (["serve", "--snapshot", "README.md"], "README.md: no Snapshot"),
        (["serve", "--snapshot", DEMO, "--tls-dir", "README.md"], "README.md is no folder"),
        (["sync", "--snapshot-dir", "build", "--ops-bind", "x"], "Invalid value for --ops-bind"),
        (["sync", "--snapshot-dir", "README.md", "--ops-bind", "127.0.0.1:0"], "cannot keep a snapshot there"),
        (["explain", "a/b/c", "--snapshot", "docs"], "docs holds no snapshot"),
        (["demo", "--snapshot", "docs"], "docs holds no snapshot"),
        (["monitor", "--config", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["monitor"], "no Prometheus"),
        (["snapshot", "-f", "x.json", "--kubeconfig", "nowhere"], "nowhere"),
        (["certs", "dev", "--dir", "build/none", "--host", "not a host"], "is no DNS name or IP address"),
        (["demo", "--snapshot", "nowhere.json"], "nowhere.json is not there"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nonsense_is_answered_by_what_is_wrong_and_what_to_do(cli, words, says):
    outcome = cli(*words)
    assert outcome.code in (2, 3)
    assert says in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.fault(67)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["explain", "version", "certs", "snapshot"]),
    st.lists(st.text(max_size=12).filter(lambda word: not word.startswith("-")), max_size=3),
)
def test_no_words_at_all_make_a_traceback(capsys, tmp_path, command, words):
    code = run([command, *words, *(["--snapshot", DEMO] if command == "explain" else [])])
    printed = capsys.readouterr()
    assert code in (0, 2, 3)
    assert "Traceback" not in printed.err


@pytest.mark.fault(67)
@pytest.mark.parametrize("command", ["monitor", "sync"])
def test_all_faults_of_a_configuration_are_told_before_anything_starts(cli, tmp_path, command):
    file = tmp_path / "config.yaml"
    file.write_text("mode: injekt\nidle: {windw: 5m}\nprometheus: {url: 'ftp://x'}\n")
    extra = ["--snapshot-dir", str(tmp_path / "snapshot")] if command == "sync" else []
    outcome = cli(command, "--config", str(file), *extra)
    assert outcome.code == 2
    for path in ("mode:", "idle.windw:", "prometheus.url:"):
        assert path in outcome.err
    assert not (tmp_path / "snapshot").exists()


@pytest.mark.parametrize(
    ("listed", "home", "expected"),
    [
        ("[kube-system]", "spot-balancer", ("kube-system", "spot-balancer")),
        ("[kube-system, spot-balancer]", "spot-balancer", ("kube-system", "spot-balancer")),
        ("[kube-system]", None, ("kube-system",)),
    ],
    ids=["in a pod", "in a pod and listed", "on a laptop"],
)
def test_in_a_pod_sync_leaves_its_own_namespace_alone(tmp_path, monkeypatch, listed, home, expected):
    from webhook.cli import sync

    file, told = tmp_path / "config.yaml", tmp_path / "namespace"
    file.write_text(f"excludedNamespaces: {listed}")
    if home:
        told.write_text(home)
    monkeypatch.setattr("webhook.adapters.kubeconfig._POD_NAMESPACE", told)
    assert sync._policy(file).excluded_namespaces == expected


def test_a_cluster_that_does_not_answer_is_told_in_a_sentence(cli, closed_cluster, tmp_path):
    outcome = cli("snapshot", "-f", str(tmp_path / "x.json"), "--kubeconfig", closed_cluster)
    assert outcome.code == 3
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") <= 2
    assert not (tmp_path / "x.json").exists()


@pytest.mark.fault(67)
@pytest.mark.parametrize("command", ["serve", "sync"])
def test_a_port_in_use_is_told_at_once(cli, tmp_path, command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        words = {
            "serve": ["serve", "--snapshot", DEMO, "--bind", bind],
            "sync": ["sync", "--snapshot-dir", str(tmp_path / "snapshot"), "--ops-bind", bind],
        }
        outcome = cli(*words[command])
    assert outcome.code == 3
    assert f"cannot listen on {bind} (Address already in use); choose another --" in outcome.err
    assert not (tmp_path / "snapshot").exists()


def test_a_reader_that_has_enough_is_answered_by_silence():
    line = [sys.executable, "-m", "webhook", "explain", "shop/deploy/nginx-demo", "--snapshot", DEMO, "-o", "wide"]
    near, far = os.pipe()
    os.close(near)
    done = subprocess.run(line, stdout=far, stderr=subprocess.PIPE, timeout=60, check=False, cwd=ROOT)
    os.close(far)
    assert (done.returncode, done.stderr) == (1, b"")


def test_certs_dev_writes_a_pair_and_says_where(cli, tmp_path):
    outcome = cli("certs", "dev", "--dir", str(tmp_path / "tls"), "--host", "127.0.0.1")
    assert outcome.code == 0
    assert {file.name for file in (tmp_path / "tls").iterdir()} == {"ca.crt", "tls.crt", "tls.key"}
    assert str(tmp_path / "tls" / "ca.crt") in outcome.out
    assert cli("certs", "dev", "--dir", str(tmp_path / "tls")).code == 3


# --- explain


@pytest.mark.parametrize(
    "name", ["shop/Deployment/nginx-demo", "shop/deploy/nginx-demo", "shop/deployments/nginx-demo"]
)
def test_explain_knows_kinds_as_kubectl_does(cli, name):
    outcome = cli("explain", name, "--snapshot", DEMO)
    assert outcome.code == 0
    assert "side       spot" in outcome.out
    assert "+  affinity:" in outcome.out


def test_explain_tells_all_it_knows_as_json_and_yaml_alike(cli):
    words = ["explain", "shop/deploy/nginx-demo", "--snapshot", DEMO, "-o"]
    told = json.loads(cli(*words, "json").out)
    assert yaml.safe_load(cli(*words, "yaml").out) == told
    assert told["schemaVersion"] == 1
    assert (told["side"], told["evidence"], told["decision"]) == ("spot", "idle", "spot-preferred")
    assert {signal["name"] for signal in told["signals"]} == {"cpu", "received"}
    assert {"value", "idleBelow", "activeAbove", "windowSeconds", "coverage"} <= set(told["signals"][0])
    assert {operation["op"] for operation in told["patch"]} == {"add"}
    assert told["consent"]["modeFrom"] == "default"


def test_explain_of_a_busy_and_of_an_unknown_owner_says_why_nothing_happens(cli):
    for name, evidence in (("checkout", "active"), ("reports", "unknown")):
        told = json.loads(cli("explain", f"shop/deploy/{name}", "--snapshot", DEMO, "-o", "json").out)
        assert (told["evidence"], told["decision"], told["patch"]) == (evidence, "never-moved", [])
        assert told["reason"]


def test_explain_under_observe_shows_what_would_happen(cli, tmp_path):
    file = tmp_path / "observing.json"
    file.write_bytes(encode_document(builders.idle_shop_snapshot(policy=builders.Policy())))
    text = cli("explain", "shop/deploy/nginx-demo", "--snapshot", str(file)).out
    assert "[observe]" in text
    assert "With mode: inject, the next pod prefers spot nodes" in text
    assert "+  affinity:" in text


def test_explain_reads_the_directory_that_sync_keeps(cli, tmp_path):
    from webhook.adapters.snapshots import DirectoryWriter

    DirectoryWriter(tmp_path).write(builders.idle_shop_snapshot())
    assert "side       spot" in cli("explain", "shop/deploy/nginx-demo", "--snapshot", str(tmp_path)).out


@pytest.mark.parametrize("output", ["table", "wide", "json", "yaml"])
def test_explain_prints_as_it_was_agreed(cli, tmp_path, output):
    """Set RENEW_GOLDEN=1 to write the files anew, then read the difference."""
    file = tmp_path / "shop.json"
    file.write_bytes(encode_document(builders.idle_shop_snapshot()))
    text = cli("explain", "shop/deploy/nginx-demo", "--snapshot", str(file), "-o", output).out
    golden = Path(__file__).parent / "golden" / f"explain.{output}.txt"
    if os.environ.get("RENEW_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def _moves():
    """One of everything that a run tells of moves."""
    started = builders.make_move(
        WorkloadKey("shop", "Deployment", "web"), pod="web-1", node="regular-1", destination="spot-1"
    )
    ended = Finished(
        3,
        WorkloadKey("shop", "Deployment", "api"),
        "uid-api",
        Move.EVICT,
        Side.REGULAR,
        builders.NOW,
        builders.NOW,
        Outcome.STRAYED,
        landed_on="spot-2",
        note="its replacement was bound to the other side",
    )
    return MoveReport(
        started=(started,),
        finished=(ended,),
        in_flight=(started,),
        considered={"dwell": 2, "settled": 7, "starts": 1},
        missed_admissions=1,
    )


@pytest.mark.parametrize("output", FORMATS)
def test_a_run_of_the_monitor_prints_as_it_was_agreed(capsys, output):
    from webhook.cli.monitor import _print

    change = SideChange("shop/Deployment/nginx-demo", before=Side.REGULAR, after=Side.SPOT, reason="CPU at most 1m")
    report = MonitorReport(
        builders.NOW,
        builders.NOW + timedelta(seconds=2),
        workloads=3,
        idle=1,
        active=1,
        unknown=1,
        unknown_reasons={"no-samples": 1},
        changes=(change,),
        missing_kinds=("CronJob",),
        moves=_moves(),
    )
    _print(report, output, dry_run=True)
    text = capsys.readouterr().out
    golden = Path(__file__).parent / "golden" / f"monitor.{output}.txt"
    if os.environ.get("RENEW_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("word", ["sts", "StatefulSet", "statefulsets"])
def test_explain_knows_stateful_sets_and_cron_jobs_by_their_short_names_too(cli, tmp_path, word):
    file = tmp_path / "kinds.json"
    workloads = [builders.make_workload("thing", kind=kind) for kind in ("StatefulSet", "CronJob")]
    file.write_bytes(encode_document(builders.make_snapshot(*workloads)))
    for one, kind in ((word, "StatefulSet"), ("cj", "CronJob"), ("CronJobs", "CronJob")):
        told = json.loads(cli("explain", f"shop/{one}/thing", "--snapshot", str(file), "-o", "json").out)
        assert told["workload"] == f"shop/{kind}/thing"


def test_colour_only_where_it_is_wanted(cli, monkeypatch):
    words = ["explain", "shop/deploy/nginx-demo", "--snapshot", DEMO, "--color"]
    assert "\x1b[" not in cli(*words, "auto").out
    assert "\x1b[" in cli(*words, "always").out


def test_explain_of_a_cron_job_shows_the_runs_it_is_judged_by(cli, tmp_path):
    runs = tuple(
        BatchRun(
            job=f"nightly-{n}",
            started_at=builders.NOW - timedelta(hours=n),
            seconds=75.0,
            succeeded=n != 2,
            cpu_seconds=None if n == 3 else 12.4,
            on_spot=[None, True, False][n - 1],
        )
        for n in (1, 2, 3)
    )
    runs += (
        BatchRun("nightly-4", builders.NOW - timedelta(hours=4), 3840.0, succeeded=False, cpu_seconds=8.0, ended=False),
    )
    key = WorkloadKey("shop", "CronJob", "nightly")
    verdict = builders.make_verdict(key, Side.REGULAR, reason="run nightly-2 failed on spot", runs=runs)
    file = tmp_path / "batch.json"
    file.write_bytes(
        encode_document(builders.make_snapshot(builders.make_workload("nightly", kind="CronJob", verdict=verdict)))
    )
    text = cli("explain", "shop/cj/nightly", "--snapshot", str(file)).out
    assert [line.split() for line in text.splitlines() if line.startswith("nightly-")] == [
        ["nightly-1", "60m", "ago", "75s", "12", "succeeded", "-"],
        ["nightly-2", "2h", "ago", "75s", "12", "failed", "spot"],
        ["nightly-3", "3h", "ago", "75s", "-", "succeeded", "regular"],
        ["nightly-4", "4h", "ago", ">=64m", ">=8", "unseen", "-"],
    ]
