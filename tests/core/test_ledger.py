"""The laws of the ledger: a pod counts once and not for ever, and what is forgotten leaves nothing behind."""

import gc
import tracemalloc
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from tests.core.scoring_worlds import GIB, NAMES, NAMESPACES, TIME, candidates, node, pod, rows_of, snapshots, world
from webhook.core.ledger import KEEP, Ledger
from webhook.core.model import Bound, Estimate
from webhook.core.nodetable import table
from webhook.core.scoring import Scores, score
from webhook.core.snapshot import Snapshot

LIFE = KEEP.total_seconds()
FIELDS = ("mean", "variance", "weights")


def ledger_over(snapshot, now=TIME, **options):
    made = Ledger(**options)
    made.follow(table(snapshot), now=now)
    return made


def only(*rows):
    """Scores in which these rows are the best."""
    found = np.array(rows, dtype=np.intp)
    return Scores(
        found, np.full(len(rows), 10, dtype=np.intp), np.zeros(len(rows)), np.arange(len(rows), dtype=np.intp)
    )


def state(ground):
    """Everything that scores read and a ledger writes; namespaces by row, without those that use nothing."""
    shares = {
        (name, row): share.shares[:, place].tolist()
        for name, share in ground.namespaces.items()
        for place, row in enumerate(share.rows.tolist())
        if share.shares[:, place].any()
    }
    return {field: getattr(ground, field).copy() for field in FIELDS}, shares


def assert_alike(one, other):
    for field in FIELDS:
        assert one[0][field] == pytest.approx(other[0][field], rel=1e-9, abs=1e-9)
    assert one[1].keys() == other[1].keys()
    for key, share in one[1].items():
        assert share == pytest.approx(other[1][key], rel=1e-9, abs=1e-9)


PLACED = st.lists(st.tuples(candidates(), st.integers(0, 4), st.integers(0, 5)), max_size=8)
"""(pod, which of five UIDs, which node)."""


def placed(ledger, drawn, *, now=TIME):
    count = len(ledger.table.names)
    for candidate, number, where in drawn:
        if count:
            ledger.place(named(candidate, number), only(where % count), now=now)


def named(candidate, number):
    return replace(candidate, uid=f"uid-{number}")


@given(snapshots(), PLACED)
def test_what_is_forgotten_leaves_all_as_it_was(snapshot, drawn):
    ledger = ledger_over(snapshot)
    before = state(ledger.table)
    placed(ledger, drawn)
    event(f"{len(ledger)} held")
    for number in range(5):
        ledger.forget(f"uid-{number}")
    assert not len(ledger)
    assert_alike(state(ledger.table), before)


@given(snapshots(), PLACED)
def test_the_snapshot_s_own_table_is_never_written_to(snapshot, drawn):
    before = state(table(snapshot))
    ledger = ledger_over(snapshot)
    placed(ledger, drawn)
    ledger.follow(table(snapshot), now=TIME)
    placed(ledger, drawn[::-1])
    ledger.forget("uid-0")
    after = state(table(snapshot))
    assert after[1] == before[1]
    assert all(np.array_equal(after[0][field], before[0][field]) for field in FIELDS)


@given(snapshots(), snapshots(), PLACED)
def test_to_follow_a_snapshot_is_to_place_all_that_is_held_anew(first, second, drawn):
    ledger = ledger_over(first)
    placed(ledger, drawn)
    ledger.follow(table(second), now=TIME)
    anew = ledger_over(second)
    if first.nodes:
        names = list(first.nodes)
        last = {number: (candidate, names[where % len(names)]) for candidate, number, where in drawn}
        for number, (candidate, name) in last.items():
            row = table(second).index[name]
            if row >= 0:
                anew.place(named(candidate, number), only(row), now=TIME)
    assert_alike(state(ledger.table), state(anew.table))


@given(snapshots(), PLACED)
def test_a_pod_asked_about_again_counts_once_and_where_it_was_seen_last(snapshot, drawn):
    twice, once = ledger_over(snapshot), ledger_over(snapshot)
    placed(twice, [*drawn, *drawn])
    placed(once, list({number: (candidate, number, where) for candidate, number, where in drawn}.values()))
    assert len(twice) == len(once)
    assert_alike(state(twice.table), state(once.table))


def test_a_pod_counts_on_its_likely_node_until_it_is_held_too_long():
    ledger = ledger_over(world(node("a", 0.2), node("b", 0.2)))
    assert ledger.place(pod(1.0, GIB, sigma=0.5), only(1), now=TIME) == 1
    assert ledger.table.mean[:, 1].tolist() == pytest.approx([0.45, 1 / 16])
    assert ledger.table.variance[0, 1] == pytest.approx(0.125**2)
    assert ledger.table.weights.tolist() == [0.0, 1.0]
    ledger.place(pod(uid="later"), only(0), now=TIME + LIFE - 0.1)
    assert len(ledger) == 2
    ledger.place(pod(uid="latest"), only(0), now=TIME + LIFE)
    assert ledger.table.mean[:, 1].tolist() == pytest.approx([0.2, 0.0])
    assert ledger.table.weights.tolist() == [0.0, 0.0]


def test_a_bound_pod_counts_on_its_real_node_alone():
    ledger = ledger_over(world(node("a", 0.2), node("b", 0.2)))
    ledger.place(pod(1.0, uid="moved"), only(0), now=TIME)
    ledger.place(pod(1.0, uid="waits"), only(0), now=TIME)
    seen = world(node("a", 0.2), node("b", 0.2), bound=[Bound("moved", "b", "shop", Estimate(1.0))])
    ledger.follow(table(seen), now=TIME + 1)
    assert len(ledger) == 1
    assert ledger.table.mean[0].tolist() == pytest.approx([0.45, 0.45])


def test_who_ended_before_a_snapshot_saw_it_running_is_held_no_more():
    ledger = ledger_over(world(node("a", 0.2), node("b", 0.2)))
    ledger.place(pod(1.0, uid="short"), only(0), now=TIME)
    ledger.place(pod(1.0, uid="waits"), only(1), now=TIME)
    seen = world(node("a", 0.2), node("b", 0.2), bound=[Bound("short", "a", "shop", ended=True)])
    ledger.follow(table(seen), now=TIME + 1)
    assert ledger.held(now=TIME + 1) == 1
    assert ledger.table.mean[0].tolist() == pytest.approx([0.2, 0.45])


def test_what_is_told_as_held_is_what_is_not_held_too_long_though_no_call_came_since():
    ledger = ledger_over(world(node("a", 0.2)))
    for second in range(3):
        ledger.place(pod(uid=f"uid-{second}"), only(0), now=TIME + second)
    assert [ledger.held(now=TIME + after) for after in (2, LIFE - 0.1, LIFE, LIFE + 1, LIFE + 2)] == [3, 3, 2, 1, 0]
    assert ledger.held(now=TIME - 1) == 0, "a clock that was set back ends all"
    assert len(ledger) == 3, "to look changes nothing"


def test_a_pod_on_a_node_that_is_gone_counts_again_when_the_node_is_back():
    here, gone = world(node("a", 0.2), node("b", 0.2)), world(node("b", 0.2))
    ledger = ledger_over(here)
    ledger.place(pod(1.0), only(0), now=TIME)
    ledger.follow(table(gone), now=TIME + 1)
    assert ledger.table.mean[0].tolist() == pytest.approx([0.2])
    ledger.follow(table(here), now=TIME + 2)
    assert ledger.table.mean[0].tolist() == pytest.approx([0.45, 0.2])


def test_where_only_the_class_counted_no_node_is_likelier():
    ledger = ledger_over(world(node("a", told=False), node("b", told=False)))
    rows = rows_of(world(node("a"), node("b")), ["a", "b"])
    assert ledger.place(pod(1.0), score(ledger.table, pod(1.0), rows, now=TIME), now=TIME) is None
    assert not len(ledger)


def test_a_clock_set_back_ends_all_and_one_set_forth_too():
    ledger = ledger_over(world(node("a", 0.2)))
    for number in range(5):
        ledger.place(pod(0.1, uid=f"uid-{number}"), only(0), now=TIME + number)
    ledger.follow(table(world(node("a", 0.2))), now=TIME - 3600)
    assert not len(ledger)
    ledger.place(pod(0.1), only(0), now=TIME - 3600)
    ledger.follow(table(world(node("a", 0.2))), now=TIME + 3600)
    assert not len(ledger)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-90, 90)), max_size=30))
def test_whatever_the_clock_does_the_oldest_is_within_its_life(steps):
    ledger, now, begun = ledger_over(world(node("a", 0.2))), TIME, {}
    for number, step in steps:
        now += step
        ledger.place(pod(0.1, uid=f"uid-{number}"), only(0), now=now)
        begun[f"uid-{number}"] = now
        held = list(ledger._entries)
        oldest = ledger._entries[held[0]]
        assert 0 <= now - oldest.at < LIFE
        assert all(begun[uid] == ledger._entries[uid].at for uid in held)


def test_a_burst_goes_where_there_is_room_and_not_all_to_the_emptiest():
    even = world(*(node(f"n-{i}", 0.1 + 0.02 * i) for i in range(5)))
    ledger, rows = ledger_over(even), rows_of(even, list(even.nodes))
    chosen = Counter(
        ledger.place(one, score(ledger.table, one, rows, now=TIME), now=TIME)
        for one in (pod(0.2, uid=f"uid-{number}", sigma=0.1) for number in range(40))
    )
    assert max(chosen.values()) <= 2 * 40 / 5
    assert len(chosen) == 5
    loads = ledger.table.mean[0]
    assert loads.max() - loads.min() <= 0.12


def test_what_is_held_is_bounded_and_the_oldest_go_first():
    ledger = ledger_over(world(node("a", 0.2)), most=3)
    for number in range(5):
        ledger.place(pod(0.4, uid=f"uid-{number}"), only(0), now=TIME)
    assert len(ledger) == 3
    assert ledger.table.mean[0, 0] == pytest.approx(0.2 + 0.3)
    ledger.forget("uid-0")
    assert len(ledger) == 3
    ledger.forget("uid-4")
    assert len(ledger) == 2


@pytest.mark.slow
def test_a_million_calls_leave_no_more_behind_than_the_bound():
    """By entries, rows and bytes; the sums do not drift away either."""
    ground = world(*(node(f"n-{i}", 0.1) for i in range(8)))
    ledger = ledger_over(ground, keep=timedelta(seconds=60), most=256)
    best, batch = [only(row) for row in range(8)], [pod(0.01, GIB / 64, namespace=who) for who in NAMESPACES]
    pods = [named(batch[number % 3], number) for number in range(1024)]

    def calls(count, since):
        for number in range(since, since + count):
            ledger.place(pods[number % 1024], best[number * 7 % 8], now=TIME + number / 100)

    calls(5_000, 0)
    gc.collect()
    tracemalloc.start()
    calls(1_000, 5_000)
    before = tracemalloc.get_traced_memory()[0]
    calls(5_000, 6_000)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    calls(989_000, 11_000)
    assert len(ledger) == 256
    assert after - before < 64 * 1024
    assert sum(len(share.rows) for share in ledger.table.namespaces.values()) <= 3 * 8
    anew = ledger_over(ground)
    anew._entries = ledger._entries
    anew.follow(table(ground), now=TIME + 10_000)
    assert_alike(state(ledger.table), state(anew.table))


def test_names_of_every_script_and_broken_ones_are_held():
    ledger = ledger_over(world(node("a", 0.2), node("b", 0.2)))
    for uid in ("", "\ud800", "ключ", "x" * 4096):
        assert ledger.place(pod(0.1, uid=uid), only(0, 1), now=TIME) in {0, 1}
    assert len(ledger) == 4


@given(snapshots(), st.sampled_from(NAMES))
def test_a_table_may_shrink_under_what_is_held(snapshot, name):
    ledger = ledger_over(world(*(node(each, 0.1) for each in NAMES)))
    ledger.place(pod(0.1), only(NAMES.index(name)), now=TIME)
    ledger.follow(table(snapshot), now=TIME)
    ledger.forget("uid-1")
    empty = ledger_over(
        Snapshot(
            msgspec.structs.replace(snapshot.meta, generation=1),
            nodes=snapshot.nodes.values(),
            namespaces=snapshot.namespaces.values(),
            bound=snapshot.bound.values(),
        )
    )
    assert_alike(state(ledger.table), state(empty.table))
