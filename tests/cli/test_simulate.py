"""`spot-balancer simulate`, as a person calls it."""

import json
import sys

import pytest

from webhook.cli import simulate, simulate_balance

SMALL = ("--workloads", "6", "--days", "1")


def test_it_prints_what_a_load_came_to(cli):
    told = cli("simulate", *SMALL)
    assert told.code == 0, told.err
    for words in ("6 workloads", "0 pods beyond a budget", "clairvoyant", "HOURS ON SPOT"):
        assert words in told.out


def test_two_runs_are_equal_to_the_byte_and_json_goes_to_a_file_too(cli, tmp_path):
    files = [tmp_path / name for name in ("one.json", "other.json")]
    printed = [cli("simulate", *SMALL, "--seed", "4", "--json", str(file), "-o", "json").out for file in files]
    assert printed[0] == printed[1]
    assert files[0].read_bytes() == files[1].read_bytes()
    document = json.loads(printed[0])
    assert document == json.loads(files[0].read_text())
    assert document["schemaVersion"] == 1
    assert document["results"][0]["seed"] == 4


def test_several_seeds_follow_one_another(cli):
    told = json.loads(cli("simulate", *SMALL, "--seeds", "2", "--no-storms", "-o", "json").out)
    assert [result["seed"] for result in told["results"]] == [1, 2]
    assert all(not result["weather"].get("storm") for result in told["results"])


def test_a_trace_of_ones_own_is_played(cli, tmp_path):
    trace = tmp_path / "usage.csv"
    rows = [f"{1772000000 + 60 * m},web-1,shop/Deployment/web,0.001,1e8,50,0.1" for m in range(200)]
    trace.write_text("\n".join(["time,pod,owner,cpuCores,memoryBytes,receivedBytesPerSecond,cpuRequestCores", *rows]))
    told = cli("simulate", str(trace), "--no-storms")
    assert told.code == 0, told.err
    assert "200 lines, 1 workloads" in told.err
    assert "1 to spot, 0 to regular" in told.out


def test_a_trace_that_is_wrong_is_refused_in_one_line(cli, tmp_path):
    trace = tmp_path / "usage.csv"
    trace.write_text("time,pod\n")
    told = cli("simulate", str(trace))
    assert told.code == 2
    assert "column 'owner' is missing" in told.err
    assert cli("simulate", str(tmp_path / "none.csv")).code == 3


def test_signals_of_ones_own_are_told_to_be_left_out(cli, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(
        "idle:\n  signals:\n    - {name: queue, query: 'sum by (namespace, pod) (queue)', idleBelow: 1}\n"
    )
    told = cli("simulate", *SMALL, "--config", str(config))
    assert told.code == 0, told.err
    assert "left out: queue" in told.err


@pytest.mark.parametrize("seen", [True, False])
def test_how_far_a_run_is_is_one_line_that_is_written_over_where_somebody_sees_it(capsys, monkeypatch, seen):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: seen)
    days, policies = simulate._progress(7), simulate_balance._progress(7)
    for share in (0.5, 1.0):
        days(share)
    for name in simulate_balance.POLICIES:
        policies(name)
    told = capsys.readouterr().err
    count = len(simulate_balance.POLICIES)
    assert told.startswith("\rseed 7:  50% \rseed 7: 100%\n\rseed 7: 1 of " if seen else "")
    assert told.count("\n") == (2 if seen else 0)
    assert (f"{count} of {count} policies" in told) is seen
