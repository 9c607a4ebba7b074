import json
from datetime import UTC, datetime

import pytest

from bench import __main__ as front
from bench import rows, tables

ROW = {
    "figure": "sweep, wall time",
    "ours": 0.25,
    "peer": 5.0,
    "peerName": "one query per owner",
    "ratio": 20.0,
    "goal": ">= 10",
    "met": True,
    "rounds": 5,
}


def test_a_table_is_aligned_and_says_what_was_not_met():
    lines = rows.table([ROW, ROW | {"figure": "x", "met": False}]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "| 5    | one query per owner |" in lines[2]
    assert "**no**" in lines[3]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (30000, "30,000"),
        (12.0, "12"),
        (1234.5, "1,234"),
        (999.7, "1,000"),
        (999.4, "999"),
        (None, ""),
        ("5 s", "5 s"),
    ],
)
def test_numbers_keep_three_digits_and_large_ones_their_separators(value, text):
    assert rows.number(value) == text


@pytest.mark.parametrize("change", [{"met": "yes"}, {"surprise": 1}])
def test_a_row_of_another_shape_is_refused_by_name(change):
    with pytest.raises(ValueError, match="sweep, wall time"):
        rows.check(ROW | change)


def test_a_row_that_lacks_a_key_is_refused_by_name():
    with pytest.raises(ValueError, match="lacks peerName"):
        rows.check({k: v for k, v in ROW.items() if k != "peerName"})


def test_a_kept_run_names_machine_and_versions_but_not_the_host(tmp_path, monkeypatch):
    import socket

    monkeypatch.setattr(front, "RESULTS", tmp_path)
    path = front.keep("sweep", [ROW | {"rawRounds": [0.2, 0.3]}], datetime(2026, 1, 2, tzinfo=UTC))
    run = json.loads(path.read_text())
    assert path.name == "2026-01-02-sweep.json"
    assert run["rows"][0]["rawRounds"] == [0.2, 0.3]
    assert set(run["machine"]) == {"processor", "cores", "memoryGibibytes", "system"}
    assert run["versions"]["prometheus"]
    assert socket.gethostname() not in path.read_text()
    assert str(tables.ROOT) not in path.read_text()


def test_a_document_is_rewritten_between_its_marks_and_twice_is_once(tmp_path, monkeypatch):
    document = tmp_path / "README.md"
    document.write_text("before\n<!-- table: defaults SidePolicy -->\nstale\n<!-- end of table -->\nafter\n")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setitem(tables.GENERATORS, "defaults", lambda name: f"| {name} |")
    once = tables.rewritten(document)
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert "stale" not in once
    document.write_text(once)
    assert tables.rewritten(document) == once
