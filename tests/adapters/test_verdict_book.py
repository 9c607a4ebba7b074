"""The book: what is written is read back, nobody's work is undone, and nothing is lost in silence."""

import json
import logging
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.fake_apiserver import FakeApiServer, Fault
from tests.builders import NOW, make_move, make_verdict
from tests.parts.processes import wait_for
from webhook import errors
from webhook.adapters.kubeapi import Access, KubeApi
from webhook.adapters.reflector import Pace
from webhook.adapters.verdict_book import CONTROL, UNREADABLE, VERDICTS, ConfigMapBook, WatchedBook
from webhook.core.book import Book, Control
from webhook.core.model import Side, WorkloadKey
from webhook.core.moves import Disruption, Finished, Hold, InFlight, Pause, SpotHealth
from webhook.wire import book as wire

HOME = "/api/v1/namespaces/spot/configmaps"
CONTROL_MAP = f"{HOME}/release-book-control"
WEB = WorkloadKey("shop", "Deployment", "web")


def verdict_of(name: str, side: Side = Side.SPOT):
    return make_verdict(WorkloadKey("shop", "Deployment", name), side)


def book_of(*names: str, **control) -> Book:
    verdicts = {f"shop/Deployment/{name}": verdict_of(name) for name in names}
    return Book(control=Control(heartbeat=NOW, **control), verdicts=verdicts)


def open_book(server: FakeApiServer) -> ConfigMapBook:
    return ConfigMapBook(KubeApi(lambda: Access(url=server.url)), "spot", "release")


def shard_name(name: str) -> str:
    return f"release-book-{wire.shard_of(f'shop/Deployment/{name}'):02}"


def writes(server: FakeApiServer) -> list[str]:
    return [f"{r.method} {r.path.rpartition('/')[2]}" for r in server.requests if r.method != "GET"]


@given(st.dictionaries(st.text("abcdefgh-", min_size=1, max_size=9), st.sampled_from(Side), max_size=20))
def test_the_text_of_a_book_says_what_the_book_says(sides):
    verdicts = {f"shop/Deployment/{name}": verdict_of(name, side) for name, side in sides.items()}
    found = {}
    for number, text in wire.encode_shards(Book(verdicts=verdicts)).items():
        reading = wire.decode_shard(text)
        assert reading.lost == ()
        assert all(wire.shard_of(name) == number for name in reading.verdicts)
        found |= reading.verdicts
    assert found == verdicts


def test_a_workload_stays_in_its_shard_whatever_the_release():
    assert wire.shard_of("shop/Deployment/nginx-demo") == 4


def test_an_empty_cluster_has_an_empty_book_and_what_is_written_is_read_back(server):
    book = open_book(server)
    assert book.read() == Book()
    new = book_of("web", "api", "db", moves=(make_move(WorkloadKey("shop", "Deployment", "web")),))
    count = book.write(Book(), new)
    assert open_book(server).read() == new
    assert count == len({shard_name(n) for n in ("web", "api", "db")}) + 1
    assert writes(server)[-1] == "POST configmaps"
    shard = next(o for o in server.objects[HOME].values() if o["metadata"]["name"] == shard_name("web"))
    assert '\n  "shop/Deployment/web": {\n' in shard["data"][VERDICTS]


def test_only_what_changed_is_written_and_control_last(server):
    book = open_book(server)
    book.read()
    first = book_of("web", "api", "db")
    book.write(Book(), first)
    second = msgspec.structs.replace(
        first, verdicts=first.verdicts | {"shop/Deployment/web": verdict_of("web", Side.REGULAR)}
    )
    server.requests.clear()
    assert book.write(first, second) == 1
    assert writes(server) == [f"PUT {shard_name('web')}"]
    third = msgspec.structs.replace(second, control=Control(heartbeat=NOW.replace(hour=16)), verdicts={})
    server.requests.clear()
    book.write(second, third)
    assert writes(server)[-1] == "PUT release-book-control"
    assert open_book(server).read() == third


@pytest.mark.fault(43)
def test_two_writers_never_undo_each_other(server):
    mine, other = open_book(server), open_book(server)
    mine.write(mine.read(), book_of("web"))
    start, theirs = mine.read(), other.read()
    other.write(theirs, msgspec.structs.replace(theirs, verdicts={}))
    with pytest.raises(errors.ClusterConflict):
        mine.write(start, msgspec.structs.replace(start, control=Control(), verdicts={}))


def test_control_alone_is_one_call_to_read_and_one_to_swap(server):
    book = open_book(server)
    assert book.control() == Control()
    first = Control(numbered=1, moves=(make_move(WEB),))
    book.swap(first)
    book.swap(Control(numbered=2))
    assert [r.method for r in server.requests] == ["GET", "POST", "PUT"]
    server.requests.clear()
    assert book.control() == Control(numbered=2)
    assert [r.path for r in server.requests] == [CONTROL_MAP]
    assert book.read() == Book(control=Control(numbered=2))


@pytest.mark.fault(50)
def test_of_two_who_read_the_same_control_one_swaps_and_the_other_must_read_again(server):
    mine, other = open_book(server), open_book(server)
    for book in (mine, other):
        book.control()
    mine.swap(Control(numbered=1))
    for _ in range(2):
        with pytest.raises(errors.ClusterConflict):
            other.swap(Control(numbered=7))
    assert other.control() == Control(numbered=1)
    other.swap(Control(numbered=2))
    with pytest.raises(errors.ClusterConflict):
        mine.swap(Control(numbered=3))
    assert mine.control() == Control(numbered=2)


@pytest.mark.fault(50)
@pytest.mark.parametrize("is_own", [True, False])
def test_a_book_that_was_read_before_a_swap_is_not_written_over_it(server, is_own):
    book = open_book(server)
    book.write(book.read(), book_of("web"))
    start = book.read()
    swapper = book if is_own else open_book(server)
    swapper.control()
    swapper.swap(Control(numbered=5, moves=(make_move(WEB),)))
    for _ in range(2):
        with pytest.raises(errors.ClusterConflict):
            book.write(start, msgspec.structs.replace(start, control=Control(heartbeat=NOW.replace(hour=16))))
    assert open_book(server).control().numbered == 5


@pytest.mark.fault(43)
@pytest.mark.parametrize("after_commit", [True, False])
def test_a_swap_whose_answer_was_lost_is_looked_at_again(server, after_commit):
    book = open_book(server)
    book.control()
    book.swap(Control(numbered=1))
    server.fail("PUT", CONTROL_MAP, Fault(504, after_commit=after_commit))
    if after_commit:
        book.swap(Control(numbered=2))
        book.swap(Control(numbered=3))
    else:
        with pytest.raises(errors.ClusterUnavailable):
            book.swap(Control(numbered=2))
        with pytest.raises(errors.ClusterConflict, match="read before"):
            book.swap(Control(numbered=3))
    assert book.control() == Control(numbered=3 if after_commit else 1)


def test_a_swap_keeps_a_control_that_could_not_be_read(server):
    book = open_book(server)
    book.control()
    book.swap(Control(numbered=1))
    server.put(HOME, "release-book-control", "spot", data={CONTROL: "[]"})
    assert book.control().paused
    book.swap(Control(numbered=2))
    data = server.objects[HOME]["spot/release-book-control"]["data"]
    assert data[CONTROL + UNREADABLE] == "[]"
    assert book.control() == Control(numbered=2)


def test_a_control_of_before_moves_were_kept_is_read_without_them():
    text = json.dumps(
        {"schemaVersion": 1, "control": {"heartbeat": "2026-03-14T15:09:26Z", "surging": [{"namespace": "shop"}]}}
    )
    assert wire.decode_control(text) == Control(heartbeat=NOW)


MOMENTS = st.integers(0, 10**6).map(lambda seconds: NOW + timedelta(seconds=seconds))
KEYS = st.builds(WorkloadKey, st.just("shop"), st.sampled_from(["Deployment", "StatefulSet"]), st.sampled_from("ab"))
WORDS = st.text(max_size=5)
MOVES = st.builds(
    InFlight, workload=KEYS, began_at=MOMENTS, step_at=MOMENTS, note=WORDS, before=st.lists(WORDS).map(tuple)
)
CONTROLS = st.builds(
    Control,
    heartbeat=st.none() | MOMENTS,
    numbered=st.integers(0, 9),
    moves=st.lists(MOVES, max_size=3).map(tuple),
    disruptions=st.lists(st.builds(Disruption, at=MOMENTS, workload=KEYS.map(str), node=WORDS), max_size=3).map(tuple),
    finished=st.lists(
        st.builds(Finished, workload=KEYS, began_at=MOMENTS, ended_at=MOMENTS, note=WORDS), max_size=2
    ).map(tuple),
    spot=st.builds(SpotHealth, looked_at=st.none() | MOMENTS, unwell_at=st.none() | MOMENTS, unwell_why=WORDS),
    paused=st.none() | st.builds(Pause, at=MOMENTS, by=WORDS, reason=WORDS),
    hold=st.none() | st.builds(Hold, holder=WORDS, until=MOMENTS),
)


@given(CONTROLS)
def test_a_control_says_after_its_text_what_it_said_before(control):
    assert wire.decode_control(wire.encode_control(control)) == control
    assert wire.encode_control(wire.decode_control(wire.encode_control(control))) == wire.encode_control(control)


@pytest.mark.fault(43)
def test_a_504_after_the_write_was_done_is_seen_as_done(server):
    book = open_book(server)
    book.write(book.read(), book_of("web"))
    server.fail("PUT", CONTROL_MAP, Fault(504, after_commit=True))
    later = msgspec.structs.replace(book_of("web"), control=Control(heartbeat=NOW.replace(hour=16)))
    assert book.write(book_of("web"), later) == 1
    assert open_book(server).read() == later
    assert writes(server).count("PUT release-book-control") == 1


@pytest.mark.fault(43)
def test_a_504_without_a_write_is_told_and_the_next_run_begins_with_reading(server):
    book = open_book(server)
    book.write(book.read(), book_of("web"))
    server.fail("PUT", CONTROL_MAP, Fault(504))
    later = msgspec.structs.replace(book_of("web"), control=Control())
    with pytest.raises(errors.ClusterUnavailable):
        book.write(book_of("web"), later)
    assert book.write(book_of("web"), later) == 1


def test_a_shard_of_garbage_loses_its_verdicts_openly_and_is_kept_when_written_over(server, caplog):
    book = open_book(server)
    book.write(book.read(), book_of("web"))
    server.put(HOME, shard_name("web"), "spot", data={VERDICTS: '{"schemaVersion": 1, "verd'})
    caplog.set_level(logging.ERROR)
    found = book.read()
    assert found.verdicts == {}
    assert found.control.heartbeat == NOW
    assert "unreadable" in caplog.text
    book.write(found, book_of("web"))
    data = server.objects[HOME][f"spot/{shard_name('web')}"]["data"]
    assert data[VERDICTS + UNREADABLE] == '{"schemaVersion": 1, "verd'
    assert book.read() == book_of("web")


def test_one_bad_verdict_costs_its_neighbours_nothing():
    good = msgspec.json.encode(verdict_of("web")).decode()
    text = f'{{"schemaVersion": 1, "verdicts": {{"shop/Deployment/web": {good}, "shop/Deployment/x": {{"side": 3}}}}}}'
    reading = wire.decode_shard(text)
    assert list(reading.verdicts) == ["shop/Deployment/web"]
    assert len(reading.lost) == 1


@given(st.text(max_size=80))
def test_no_text_at_all_breaks_the_reader(text):
    assert wire.decode_shard(text).verdicts == {}


def test_an_unreadable_control_has_no_heartbeat_so_that_nothing_is_patched(server):
    book = open_book(server)
    book.write(book.read(), book_of("web"))
    server.put(HOME, "release-book-control", "spot", data={CONTROL: "[]"})
    found = book.read().control
    assert found.heartbeat is None
    assert found.paused, "what was under way is not known, so nothing begins before a person has looked"
    assert msgspec.structs.replace(found, paused=None) == Control()


def test_a_book_of_a_later_release_is_not_guessed_at():
    assert wire.decode_shard(json.dumps({"schemaVersion": 2, "verdicts": {}})).lost


def test_a_shard_that_has_grown_too_large_is_refused_before_anything_is_written(server):
    book = open_book(server)
    old = book.read()
    huge = msgspec.structs.replace(verdict_of("web"), reason="x" * 1_100_000)
    with pytest.raises(errors.ClusterError, match="more than the 1000000"):
        book.write(old, Book(verdicts={"shop/Deployment/web": huge}))
    assert writes(server) == []


def test_objects_that_only_look_like_the_book_are_left_alone(server):
    server.put(HOME, "release-book-99", "spot", data={VERDICTS: "garbage"})
    server.put(HOME, "other-book-00", "spot", data={VERDICTS: "garbage"})
    assert open_book(server).read() == Book()


def test_a_watched_book_follows_what_the_monitor_writes(server):
    pace = Pace(jitter=lambda: 0.5, first_wait=0.01, longest_wait=0.05)
    watched = WatchedBook(KubeApi(lambda: Access(url=server.url)), "spot", "release", pace=pace)
    with pytest.raises(errors.ClusterUnavailable):
        watched.read()
    watched.start()
    try:
        wait_for(lambda: watched.synced, 10, "the book")
        assert watched.read() == Book()
        open_book(server).write(Book(), book_of("web", "api"))
        wait_for(lambda: watched.read() == book_of("web", "api"), 10, "the book's verdicts")
    finally:
        watched.stop()
