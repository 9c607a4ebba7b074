"""Snapshots in files: atomic to write, and followed through every state that files can be in."""

import asyncio
import logging

import msgspec
import pytest

from tests.builders import KARPENTER_SPOT, NOW, idle_shop_snapshot, make_node, make_snapshot, make_workload
from webhook.adapters.snapshots import META, DirectoryWriter, Follower, load
from webhook.core import spotpool
from webhook.core.model import Requirement
from webhook.core.policy import Policy, SpotPool
from webhook.core.snapshot import Snapshot
from webhook.errors import SnapshotError
from webhook.wire.snapshot import encode_document


def at_generation(snapshot: Snapshot, number: int, **meta) -> Snapshot:
    changed = msgspec.structs.replace(snapshot.meta, generation=number, **meta)
    return Snapshot(
        changed,
        nodes=snapshot.nodes.values(),
        namespaces=snapshot.namespaces.values(),
        workloads=snapshot.workloads.values(),
    )


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "snapshot"


@pytest.fixture
def writer(directory):
    writer = DirectoryWriter(directory)
    writer.write(idle_shop_snapshot())
    return writer


@pytest.fixture
def follower(directory, writer):
    follower = Follower(directory, lambda: NOW)
    follower.refresh_now()
    return follower


def test_a_directory_loads_as_it_was_written(directory, writer):
    assert load(directory).workloads == idle_shop_snapshot().workloads


def test_a_file_loads_as_it_was_written(tmp_path):
    (tmp_path / "demo.json").write_bytes(encode_document(idle_shop_snapshot()))
    assert load(tmp_path / "demo.json").workloads == idle_shop_snapshot().workloads


@pytest.mark.parametrize("name", ["absent.json", ".", "garbage"])
def test_what_cannot_be_loaded_is_named_in_the_error(tmp_path, name):
    (tmp_path / "garbage").write_bytes(b"\x00garbage")
    with pytest.raises(SnapshotError, match=str(tmp_path)):
        load(tmp_path / name)


def test_an_unchanged_part_is_not_written_again(directory, writer):
    before = {file.name: file.stat().st_ino for file in directory.iterdir()}
    writer.write(idle_shop_snapshot())
    after = {file.name: file.stat().st_ino for file in directory.iterdir()}
    assert {name for name in before if before[name] != after[name]} <= {META}
    assert before.keys() == after.keys()


def test_generations_rise_over_writers(directory, writer):
    DirectoryWriter(directory).write(idle_shop_snapshot())
    assert load(directory).meta.generation == 2


def test_parts_of_generations_before_the_last_are_removed(directory, writer):
    for number in range(5):
        writer.write(make_snapshot(make_workload(f"shop-{number}")))
    assert len([file for file in directory.iterdir() if file.name.startswith("workloads-")]) == 2


def test_a_writer_clears_away_what_a_killed_one_left(directory, writer):
    (directory / "meta.json.77.tmp").write_bytes(b"half")
    writer.write(idle_shop_snapshot())
    assert not list(directory.glob("*.tmp"))


def test_a_damaged_part_is_written_again(directory, writer):
    part = next(directory.glob("workloads-*"))
    part.write_bytes(b"x" * part.stat().st_size)
    writer.write(idle_shop_snapshot())
    assert load(directory).workloads == idle_shop_snapshot().workloads


def test_a_new_snapshot_is_taken_up(writer, follower):
    writer.write(make_snapshot(make_workload("newcomer")))
    follower.refresh_now()
    assert [str(key) for key in follower.current().workloads] == ["shop/Deployment/newcomer"]
    assert follower.swaps == 2


def test_an_unchanged_directory_is_not_read_again(follower):
    shown = follower.current()
    follower.refresh_now()
    assert follower.current() is shown
    assert follower.swaps == 1


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda d: (d / META).unlink(), "missing"),
        (lambda d: (d / META).write_bytes(b""), "unreadable"),
        (lambda d: (d / META).write_bytes((d / META).read_bytes()[:100]), "unreadable"),
        (lambda d: (d / META).write_bytes(b"\xff\x00garbage"), "unreadable"),
        (lambda d: (d / META).write_bytes((d / META).read_bytes().replace(b'rsion": 1', b'rsion": 9')), "unreadable"),
        (lambda d: ([f.unlink() for f in d.glob("workloads-*")], touch(d)), "missing"),
        (lambda d: ([f.write_bytes(f.read_bytes()[:-9]) for f in d.glob("workloads-*")], touch(d)), "unreadable"),
        (lambda d: ([f.write_bytes(f.read_bytes() + b"{}\n") for f in d.glob("nodes-*")], touch(d)), "unreadable"),
        (lambda d: ((d / META).unlink(), (d / META).mkdir()), "unreadable"),
    ],
)
def test_a_spoilt_directory_leaves_the_last_good_snapshot(directory, follower, caplog, spoil, code):
    """And is counted once, and told once, however often it is looked at."""
    shown = follower.current()
    spoil(directory)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            follower.refresh_now()
    assert follower.current() is shown
    assert follower.faults == {code: 1}
    assert len(caplog.records) == 1


def touch(directory):
    """As a rename would: another inode."""
    meta = directory / META
    fresh = directory / "fresh"
    fresh.write_bytes(meta.read_bytes())
    fresh.replace(meta)


def test_an_older_generation_does_not_come_back(directory, writer, follower, tmp_path):
    old = (directory / META).read_bytes()
    writer.write(idle_shop_snapshot())
    follower.refresh_now()
    (directory / META).write_bytes(old)
    follower.refresh_now()
    assert follower.current().meta.generation == 2
    assert follower.faults == {"older": 1}


def test_a_directory_begun_anew_is_believed_if_it_is_younger(tmp_path, follower, directory):
    for file in directory.iterdir():
        file.unlink()
    later = idle_shop_snapshot()
    DirectoryWriter(directory).write(at_generation(later, 0, captured_at=NOW.replace(year=2027)))
    follower.refresh_now()
    assert follower.current().meta.captured_at.year == 2027


def test_a_directory_that_comes_later_is_found(tmp_path):
    follower = Follower(tmp_path / "later", lambda: NOW)
    follower.refresh_now()
    assert follower.current() is None
    DirectoryWriter(tmp_path / "later").write(idle_shop_snapshot())
    follower.refresh_now()
    assert follower.current() is not None


def test_the_now_of_a_directory_is_the_clocks_and_that_of_a_file_its_own(tmp_path, directory, writer):
    tick = NOW.replace(year=2030)
    live = Follower(directory, lambda: tick)
    live.refresh_now()
    assert live.now() == tick
    (tmp_path / "demo.json").write_bytes(encode_document(idle_shop_snapshot()))
    captured = Follower(tmp_path / "demo.json", lambda: tick)
    assert captured.now() == tick
    captured.refresh_now()
    assert captured.now() == NOW


def test_a_large_snapshot_is_decoded_with_pauses_in_which_others_run(tmp_path):
    """The loop gets its turn many times before the new snapshot is shown."""
    DirectoryWriter(tmp_path).write(make_snapshot(*(make_workload(f"w-{n}") for n in range(5000))))

    async def count_turns() -> int:
        follower = Follower(tmp_path, lambda: NOW, poll_seconds=60)
        running = asyncio.create_task(follower.run())
        turns = 0
        while follower.current() is None:
            turns += 1
            await asyncio.sleep(0)
        running.cancel()
        return turns

    assert asyncio.run(count_turns()) > 10


def test_what_decisions_compute_once_is_warmed_step_by_step_before_the_swap(directory, writer):
    seen = []

    def prepare(new, old):
        for step in range(2):
            seen.append((step, new, old, follower.current()))
            yield

    follower = Follower(directory, lambda: NOW, prepare=prepare)
    follower.refresh_now()
    first = follower.current()
    assert seen == [(0, first, None, None), (1, first, None, None)]
    writer.write(make_snapshot(make_workload("newcomer")))
    follower.refresh_now()
    assert seen[2:] == [(step, follower.current(), first, first) for step in range(2)]


def test_nodes_that_did_not_change_are_the_very_same_in_the_next_snapshot_and_changed_ones_are_not(directory, writer):
    """So that nothing of them needs to be decoded or summed up again each time a workload changes."""
    follower = Follower(directory, lambda: NOW, prepare=spotpool.fleet_steps)
    follower.refresh_now()
    nodes, fleet = follower.current().nodes, spotpool.fleet(follower.current())
    for name in ("newcomer", "later"):
        writer.write(make_snapshot(make_workload(name)))
        follower.refresh_now()
        assert [key.name for key in follower.current().workloads] == [name]
        assert follower.current().nodes is nodes
        assert spotpool.fleet(follower.current()) is fleet
    writer.write(make_snapshot(make_workload(), nodes=[make_node("other", KARPENTER_SPOT)]))
    follower.refresh_now()
    assert list(follower.current().nodes) == ["other"]
    assert spotpool.fleet(follower.current()) is not fleet


def test_another_policy_sums_up_the_same_nodes_anew(directory, writer):
    follower = Follower(directory, lambda: NOW, prepare=spotpool.fleet_steps)
    follower.refresh_now()
    nodes = follower.current().nodes
    pool = SpotPool("burst", marker=(Requirement("pool", "In", ("burst",)),))
    writer.write(idle_shop_snapshot(policy=Policy(spot_pools=(pool,))))
    follower.refresh_now()
    assert follower.current().nodes is nodes
    assert pool.marker in spotpool.fleet(follower.current()).markers
