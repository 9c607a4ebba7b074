"""What the throughput is measured on: pods that wait, on nodes and for owners that our server knows."""

from datetime import UTC, datetime

import pytest

from bench import scale_world as world
from bench import throughput
from bench import throughput_world as load
from webhook.core import expectation, nodetable
from webhook.core.model import Resources
from webhook.wire.snapshot import decode_document

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return decode_document(load.written_snapshot(tmp_path_factory.mktemp("load") / "captured.json", NOW).read_bytes())


def test_all_pods_wait_for_the_scheduler():
    pods = list(load.waiting_pods(NOW))
    assert len({pod["metadata"]["uid"] for pod in pods}) == len(pods) == load.PODS
    assert not any("nodeName" in pod["spec"] for pod in pods)
    assert {pod["spec"]["schedulerName"] for pod in pods} == {"default-scheduler"}
    assert {pod["status"]["phase"] for pod in pods} == {"Pending"}


def test_the_server_knows_every_node_by_its_load_and_every_pod_by_its_siblings(known):
    table = nodetable.table(known)
    names = [world.node(number, NOW)["metadata"]["name"] for number in range(load.NODES)]
    assert (table.rows_of(names, len(names)) >= 0).all()
    assert (table.until >= NOW.timestamp()).all()
    assert not table.is_blind
    for pod in load.waiting_pods(NOW):
        [owner] = pod["metadata"]["ownerReferences"]
        key = known.controllers[pod["metadata"]["namespace"], owner["kind"], owner["name"]]
        expected = expectation.expect(known.workloads[key], None, Resources())
        assert expected.cpu_from is expectation.Source.OWNER


def test_sides_take_turns_in_being_first():
    sides = {"a": {}, "b": {}, "c": {}}
    assert ["".join(name for name, _ in throughput.turned(sides, n)) for n in range(3)] == ["abc", "bca", "cab"]


def test_a_rate_is_of_what_was_placed_between_the_first_look_and_the_last_before_the_end(monkeypatch):
    looks = iter([(0, 1.0), (10, 2.0), (110, 3.0), (load.PODS - 1, 7.0), (load.PODS, 12.0)])
    monkeypatch.setattr(throughput, "EVERY_S", 0)
    assert throughput.rate(lambda: next(looks)) == (load.PODS - 1 - 10) / 5


@pytest.mark.parametrize("told", [[0], [0, 10], [0, 10, 10]])
def test_no_rate_is_made_of_less_than_two_looks(monkeypatch, told):
    looks = iter([(count, float(at)) for at, count in enumerate([*told, load.PODS])])
    monkeypatch.setattr(throughput, "EVERY_S", 0)
    # All at once between two looks, or between the last two of them.
    with pytest.raises(RuntimeError, match="between two looks"):
        throughput.rate(lambda: next(looks))


@pytest.mark.parametrize(
    ("ours", "least", "met"), [(100, 1.0, False), (101, 1.0, True), (70, 0.7, True), (69, 0.7, False), (69, None, None)]
)
def test_goals_are_held_against_medians(ours, least, met):
    row = throughput.row("peer", [1, ours, 10_000], [50, 100, 9_000], least)
    assert (row["ours"], row["peer"], row["met"]) == (ours, 100, met)
