"""`nodes` on a captured file: every format, and the exit code stays 0."""

import json
from datetime import timedelta

import pytest
import yaml

from tests import builders
from tests.loads import loaded_node, loaded_snapshot
from webhook.core.model import NodeLoad
from webhook.core.nodereview import Code
from webhook.wire.snapshot import encode_document

DEMO = "examples/demo.snapshot.json"


@pytest.fixture
def odd(tmp_path):
    """A spot node behind a tenant's taint beside a regular one."""
    spot = builders.make_node("spot-1", builders.KARPENTER_SPOT, taints=(builders.Taint("dedicated", "ml"),))
    file = tmp_path / "odd.json"
    file.write_bytes(encode_document(builders.make_snapshot(nodes=[builders.make_node("regular-1"), spot])))
    return str(file)


def test_the_table_names_class_and_ground(cli):
    outcome = cli("nodes", "--snapshot", DEMO)
    assert outcome.code == 0
    assert "Karpenter: karpenter.sh/capacity-type=spot" in outcome.out
    assert "\x1b" not in outcome.out


def test_findings_say_what_to_do_and_leave_the_exit_code(cli, odd):
    outcome = cli("nodes", "--snapshot", odd)
    assert outcome.code == 0
    assert "foreign-taint: node spot-1 is no destination: dedicated=ml:NoSchedule" in outcome.out
    assert "spotTaints" in outcome.out


def test_wide_adds_marker_and_taints(cli, odd):
    wide = cli("nodes", "--snapshot", odd, "-o", "wide").out
    assert "karpenter.sh/capacity-type In spot" in wide
    assert "MARKER" not in cli("nodes", "--snapshot", odd).out


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_structured_output_carries_schema_and_codes(cli, odd, output, read):
    told = read(cli("nodes", "--snapshot", odd, "-o", output).out)
    assert told["schemaVersion"] == 1
    assert {n["name"]: n["capacityType"] for n in told["nodes"]} == {"regular-1": "regular", "spot-1": "spot"}
    assert {f["code"] for f in told["findings"]} <= set(Code)


@pytest.mark.parametrize(
    ("rate", "word"),
    [
        (None, "load of 1 of 1 nodes is known, from cadvisor; how many load series lead to a node is not known"),
        (0.5, "50 % of load series lead to a node, fewer than 90 %, so only the capacity type is scored"),
        (1.0, "load of 1 of 1 nodes is known, from cadvisor; 100 % of load series lead to a node"),
    ],
)
def test_how_far_load_is_known_is_told(cli, tmp_path, rate, word):
    load = NodeLoad(cpu_cores=1, memory_bytes=1, sampled_at=builders.NOW, source="cadvisor")
    snapshot = builders.make_snapshot(nodes=[builders.make_node("regular-1", load=load)], load_match_rate=rate)
    file = tmp_path / "load.json"
    file.write_bytes(encode_document(snapshot))
    assert word in cli("nodes", "--snapshot", str(file)).out
    assert json.loads(cli("nodes", "--snapshot", str(file), "-o", "json").out)["loadMatchRate"] == rate


def test_a_load_older_than_max_age_is_told_apart(cli, tmp_path):
    nodes = [loaded_node("a"), loaded_node("b", age=timedelta(hours=1)), loaded_node("c", None)]
    file = tmp_path / "stale.json"
    file.write_bytes(encode_document(loaded_snapshot(*nodes)))
    page = cli("nodes", "--snapshot", str(file)).out
    assert "load of 2 of 3 nodes is known, from test, 1 of them older than maxAge, which do not count;" in page
    told = json.loads(cli("nodes", "--snapshot", str(file), "-o", "json").out)
    assert (told["freshLoads"], told["staleLoads"]) == (1, 1)


def test_a_file_that_is_none_is_one_sentence(cli, tmp_path):
    outcome = cli("nodes", "--snapshot", str(tmp_path / "gone.json"))
    assert (outcome.code, outcome.err.count("\n")) == (3, 1)
