"""`spot-balancer simulate`, as a person calls it."""

import json
import re
import sys

import pytest

from webhook.cli import simulate, simulate_balance

SMALL = ("--workloads", "6", "--days", "1")
COLUMNS = "time,pod,owner,cpuCores,memoryBytes,receivedBytesPerSecond,cpuRequestCores"


def write_trace(path, *, minutes, step=1):
    """One idle pod, a sample every so many minutes."""
    rows = [f"{1772000000 + 60 * m},web-1,shop/Deployment/web,0.001,1e8,50,0.1" for m in range(0, minutes, step)]
    path.write_text("\n".join([COLUMNS, *rows]))
    return str(path)


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


BALANCE = ("balance", "--nodes", "6", "--pods", "20", "--hours", "2", "--burst", "5")


@pytest.mark.parametrize("words", [SMALL, BALANCE])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_played(cli, tmp_path, monkeypatch, words):
    monkeypatch.setattr(simulate, "simulate", None)
    monkeypatch.setattr(simulate_balance, "simulate", None)
    told = cli("simulate", *words, "--json", str(tmp_path / "nope" / "x.json"))
    assert (told.code, told.out) == (3, "")
    assert f"cannot be written ({tmp_path / 'nope'} is no directory)" in told.err
    told = cli("simulate", *words, "--json", "-")
    assert (told.code, told.out) == (2, "")
    assert "`-o json` prints the same" in told.err


@pytest.mark.parametrize(("words", "shown"), [(SMALL, "clairvoyant"), (BALANCE, "crane")])
def test_what_was_played_is_printed_also_where_its_file_cannot_be_written_in_the_end(cli, words, shown):
    told = cli("simulate", *words, "--json", "/dev/full")
    assert told.code == 3
    assert shown in told.out
    assert "/dev/full: cannot be written (No space left on device)" in told.err


def test_a_file_keeps_what_it_holds_until_there_is_a_result(cli, tmp_path):
    file = tmp_path / "old.json"
    file.write_text("old")
    assert cli("simulate", *SMALL, "--json", str(file), "--config", str(tmp_path / "none.yaml")).code == 2
    assert file.read_text() == "old"


def test_the_size_of_a_synthetic_load_beside_a_trace_is_refused(cli, tmp_path):
    trace = write_trace(tmp_path / "usage.csv", minutes=3)
    told = cli("simulate", trace, "--workloads", "5", "--days", "2")
    assert told.code == 2
    assert "--workloads and --days beside a trace: a trace has its own" in told.err


def test_wide_tells_more_than_a_table(cli):
    table, wide = (cli("simulate", *SMALL, "--no-storms", "-o", form).out for form in ("table", "wide"))
    more = set(wide.splitlines()) - set(table.splitlines())
    assert sorted(line.split("  ")[0] for line in more) == ["at rest", "turns to spot"]


def test_several_seeds_follow_one_another(cli):
    told = json.loads(cli("simulate", *SMALL, "--seeds", "2", "--no-storms", "-o", "json").out)
    assert [result["seed"] for result in told["results"]] == [1, 2]
    assert all(not result["weather"].get("storm") for result in told["results"])


def test_a_trace_of_ones_own_is_played(cli, tmp_path):
    trace = tmp_path / "usage.csv"
    told = cli("simulate", write_trace(trace, minutes=200), "--no-storms")
    assert told.code == 0, told.err
    assert "200 lines, 1 workload\n" in told.err
    assert "weather           calm\n" in told.out
    assert re.search(r"spot-balancer +\d\.\d\d +\d of 3 ", told.out)
    assert "1 to spot, 0 to regular" in told.out


def test_a_trace_too_coarse_to_judge_is_told_with_its_total_and_what_to_do(cli, tmp_path):
    told = cli("simulate", write_trace(tmp_path / "usage.csv", minutes=300, step=6), "--no-storms")
    assert told.code == 0, told.err
    assert "49 of 295 minutes of pods have no value" in told.err
    assert "samples lie 6 minutes apart, and each holds for 5 at most" in told.err
    assert "export one every 5 minutes or more often" in told.err
    assert "unknown, in hours 3.92 gap, 1 young, of 4.92 of all workloads\n" in told.out


def test_a_trace_with_a_gap_now_and_then_is_not_called_coarse(cli, tmp_path):
    path = tmp_path / "usage.csv"
    write_trace(path, minutes=300)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:100] + lines[150:]))
    told = cli("simulate", str(path), "--no-storms").err
    assert "46 of 300 minutes of pods have no value" in told
    assert "warning" not in told


@pytest.mark.parametrize(
    ("minutes", "idle", "warns"),
    [
        (60, "", "lasts 1 hour, no longer than idle.window (1 hour) of 1 of 1 workload:"),
        (1, "", "lasts 1 minute, no longer"),
        (1800, "{window: 2d}", "lasts 1.25 days, no longer than idle.window (2 days)"),
        (62, "", ""),
    ],
)
def test_a_load_that_is_over_before_its_window_is_told_to_judge_nobody(cli, tmp_path, minutes, idle, warns):
    (tmp_path / "config.yaml").write_text(f"idle: {idle}\n" if idle else "{}\n")
    trace = write_trace(tmp_path / "usage.csv", minutes=minutes)
    told = cli("simulate", trace, "--no-storms", "--config", str(tmp_path / "config.yaml"))
    assert told.code == 0, told.err
    assert (warns in told.err) if warns else ("warning" not in told.err)
    assert ("extrapolated" in told.out) == (minutes < 1440)


def test_hours_of_which_nothing_is_known_are_told_by_why(cli):
    told = json.loads(cli("simulate", *SMALL, "--no-storms", "-o", "json").out)["results"][0]
    assert told["workloadHours"] == 144
    assert 0 < told["unknownWorkloadHours"]["young"] <= 6


def test_a_trace_that_is_wrong_is_refused_in_one_line(cli, tmp_path):
    trace = tmp_path / "usage.csv"
    trace.write_text("time,pod\n")
    told = cli("simulate", str(trace))
    assert told.code == 2
    assert "column 'owner' is missing" in told.err
    assert cli("simulate", str(tmp_path / "none.csv")).code == 2


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
