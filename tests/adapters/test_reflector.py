"""The copy converges to what the API server has, whatever happens on the way there."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.fake_apiserver import CRONJOBS, PODS, FakeApiServer, Fault
from tests.parts.processes import wait_for
from webhook.adapters.kubeapi import Access, KubeApi
from webhook.adapters.reflector import Pace, Reflector, Store
from webhook.core.census import NodeFact
from webhook.wire.kubernetes import RESOURCES, Entry, Event

POD = next(r for r in RESOURCES if r.kind == "Pod")
CRONJOB = next(r for r in RESOURCES if r.kind == "CronJob")
QUICK = Pace(jitter=lambda: 0.5, first_wait=0.01, longest_wait=0.05, denied_wait=0.05, watch_seconds=30, silence=5)


@pytest.fixture
def api(server: FakeApiServer) -> Iterator[KubeApi]:
    made = KubeApi(lambda: Access(url=server.url))
    yield made
    made.close()


@pytest.fixture
def reflect(api: KubeApi):
    started: list[Reflector] = []

    def start(resource=POD, pace=QUICK) -> Reflector:
        reflector = Reflector(api, resource, pace=pace)
        started.append(reflector)
        reflector.start()
        return reflector

    yield start
    for reflector in started:
        reflector.stop()


def names(reflector: Reflector) -> set[str]:
    return {entry.key[1] for entry in reflector.store.entries()}


def until(reflector: Reflector, *expected: str) -> None:
    wait_for(lambda: reflector.store.listed and names(reflector) == set(expected), 10, f"the copy to hold {expected}")


def watching(server: FakeApiServer, path: str = PODS) -> None:
    wait_for(lambda: server.watching(path), 10, "a watch")


def test_lists_by_pages_and_then_follows(server, reflect):
    server.page = 2
    for number in range(5):
        server.put(PODS, f"p{number}", "shop")
    reflector = reflect()
    until(reflector, "p0", "p1", "p2", "p3", "p4")
    server.put(PODS, "p5", "shop")
    server.remove(PODS, "p0", "shop")
    until(reflector, "p1", "p2", "p3", "p4", "p5")
    assert server.count(PODS, watch=False) == 3
    assert reflector.lists == 1


@pytest.mark.fault(42)
def test_a_watch_that_drops_goes_on_where_it_ended(server, reflect):
    server.put(PODS, "p1", "shop")
    reflector = reflect()
    watching(server)
    server.drop_watches()
    server.put(PODS, "p2", "shop")
    until(reflector, "p1", "p2")
    assert reflector.lists == 1


@pytest.mark.fault(42)
def test_after_410_all_is_listed_anew_and_what_was_missed_is_there(server, reflect):
    server.put(PODS, "p1", "shop")
    server.put(PODS, "p2", "shop")
    reflector = reflect()
    until(reflector, "p1", "p2")
    watching(server)
    server.remove(PODS, "p1", "shop", silently=True)
    server.compact(PODS)
    server.drop_watches()
    until(reflector, "p2")
    assert reflector.lists == 2


@pytest.mark.fault(42)
def test_a_410_inside_the_stream_does_the_same(server, reflect):
    server.put(PODS, "p1", "shop")
    reflector = reflect()
    watching(server)
    server.remove(PODS, "p1", "shop", silently=True)
    server.inject(PODS, {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "Expired"}})
    until(reflector)
    assert reflector.lists == 2


@pytest.mark.fault(42)
def test_bookmarks_alone_move_the_place_to_go_on_from(server, reflect):
    reflector = reflect()
    watching(server)
    server.inject(PODS, {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9000"}}})
    wait_for(lambda: reflector._position == "9000", 10, "the bookmark")
    server.drop_watches()
    wait_for(lambda: any(r.query.get("resourceVersion") == "9000" for r in server.requests), 10, "a watch from there")
    assert reflector.lists == 1


@pytest.mark.fault(42)
def test_garbage_in_a_stream_breaks_the_watch_and_nothing_else(server, reflect):
    reflector = reflect()
    watching(server)
    server.inject(PODS, b'{"type": "ADDED", "object": {"meta')
    server.put(PODS, "p1", "shop")
    until(reflector, "p1")


@pytest.mark.fault(42)
def test_a_connection_whose_other_end_is_gone_ends_by_the_read_timeout(server, reflect):
    pace = Pace(jitter=lambda: 0.5, first_wait=0.01, longest_wait=0.05, silence=0.3)
    server.silent = True
    reflector = reflect(pace=pace)
    watching(server)
    server.silent = False
    server.drop_watches()
    server.put(PODS, "p1", "shop")
    until(reflector, "p1")


@pytest.mark.fault(42)
def test_a_half_open_watch_is_given_up(server, reflect):
    server.silent = True
    reflector = reflect(pace=Pace(jitter=lambda: 0.5, first_wait=0.01, longest_wait=0.05, silence=0.2))
    wait_for(lambda: server.count(PODS, watch=True) >= 3, 10, "the watch to be opened again and again")
    assert reflector.store.listed


@pytest.mark.fault(42)
def test_a_kind_of_which_nothing_is_ever_told_is_no_trouble(server, reflect, caplog):
    """An API server sends no bookmarks of a kind that it has seen no event of since it started, as of CronJobs where
    there are none."""
    server.silent = True
    with caplog.at_level("WARNING"):
        reflector = reflect(pace=Pace(jitter=lambda: 0.5, first_wait=30, silence=0.1))
        wait_for(lambda: reflector.lists >= 2, 10, "a list anew after some silent watches, without a wait between them")
    assert server.count(PODS, watch=True) >= 5
    assert caplog.records == []


def version(number: int, name: str = "n", kind: str = "MODIFIED") -> Event:
    fact = NodeFact(name=name, labels={"at": str(number)})
    return Event(kind=kind, entry=Entry(key=("", name), resource_version=str(number), fact=fact))


HISTORIES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["ADDED", "MODIFIED", "DELETED"])), min_size=1, max_size=12
).map(lambda steps: [version(100 + i, name, kind) for i, (name, kind) in enumerate(steps)])


@pytest.mark.fault(42)
@given(HISTORIES, st.randoms(use_true_random=False))
def test_duplicate_late_and_unknown_events_change_nothing_that_is_newer(history, chance):
    """Whatever order they come in, and however often: each object ends as its last event left it."""
    truth = {}
    for event in history:
        truth[event.entry.key] = event
    shuffled = history + chance.choices(history, k=5)
    chance.shuffle(shuffled)
    store = Store()
    store.replace([])
    for event in shuffled:
        store.apply(event)
    expected = {key: event.entry for key, event in truth.items() if event.kind != "DELETED"}
    assert {entry.key: entry for entry in store.entries()} == expected


@pytest.mark.fault(42)
@given(HISTORIES, HISTORIES)
def test_a_list_is_the_truth_whatever_was_before(before, listed):
    store = Store()
    for event in before:
        store.apply(event)
    store.replace([event.entry for event in listed])
    assert {e.key: e for e in store.entries()} == {event.entry.key: event.entry for event in listed}


@given(HISTORIES, HISTORIES)
def test_each_object_that_goes_is_told_once_for_each_time_that_it_was_there(before, listed):
    """By event or by a list that knows it no more; late and repeated events tell nothing."""
    told = []
    store = Store(gone=told.append)
    for event in before:
        store.apply(event)
        store.apply(event)
    deleted = sum(event.kind == "DELETED" for event in before)
    assert len(told) <= deleted
    held = {entry.key: entry for entry in store.entries()}
    told.clear()
    store.replace([event.entry for event in listed])
    missed = held.keys() - {event.entry.key for event in listed}
    assert sorted(map(repr, told)) == sorted(repr(held[key].fact) for key in missed)


def test_an_event_that_changes_nothing_we_read_is_no_change():
    store = Store()
    store.replace([version(1).entry])
    before = store.generation
    same = Entry(key=("", "n"), resource_version="2", fact=version(1).entry.fact)
    store.apply(Event(kind="MODIFIED", entry=same))
    assert store.generation == before
    store.apply(version(3))
    assert store.generation == before + 1


@pytest.mark.fault(43)
def test_a_missing_right_switches_the_kind_off_says_so_once_and_comes_back_when_granted(server, reflect, caplog):
    caplog.set_level(logging.WARNING)
    server.put(CRONJOBS, "nightly", "shop")
    server.fail("GET", CRONJOBS, Fault(403), times=None)
    reflector = reflect(CRONJOB)
    wait_for(lambda: server.count(CRONJOBS, watch=False) >= 3, 10, "a few tries")
    assert reflector.store.denied
    assert [r.message for r in caplog.records].count("kind cannot be read: off until granted") == 1
    server.mend("GET", CRONJOBS)
    until(reflector, "nightly")


@pytest.mark.fault(43)
@pytest.mark.parametrize(("headers", "least"), [({"Retry-After": "7"}, 7.0), ({}, 0.25)])
def test_429_is_waited_out_as_long_as_the_server_says(server, api, headers, least):
    waits = []

    def sleep(timeout: float) -> bool:
        waits.append(timeout)
        return len(waits) == 2

    server.fail("GET", PODS, Fault(429, headers), times=2)
    Reflector(api, POD, pace=Pace(jitter=lambda: 0.0), sleep=sleep).run()
    assert waits[0] >= least
    assert server.count(PODS, watch=False) == 2


@given(st.integers(0, 1000), st.floats(0, 1), st.none() | st.floats(0, 1e6))
def test_waits_grow_are_jittered_and_end(failures, chance, asked):
    pace = Pace(jitter=lambda: chance)
    wait = pace.wait(failures, asked)
    assert wait <= max(pace.longest_wait, pace.longest_retry_after)
    assert wait >= min(asked or 0, pace.longest_retry_after)
    if failures:
        assert wait >= pace.first_wait / 2
    assert Pace(jitter=lambda: 0.0).wait(3, None) < Pace(jitter=lambda: 1.0).wait(3, None)


@pytest.mark.fault(41)
def test_an_api_server_that_is_away_leaves_the_copy_and_is_found_again(server, reflect):
    server.put(PODS, "p1", "shop")
    reflector = reflect()
    watching(server)
    server.stop()
    wait_for(lambda: not reflector.connected, 10, "the watch to end")
    assert names(reflector) == {"p1"}
    server.put(PODS, "p2", "shop")
    server.start()
    until(reflector, "p1", "p2")
    assert Pace(jitter=lambda: 1.0).wait(99, None) < 30


@pytest.mark.fault(41)
def test_a_server_restored_to_lower_versions_is_listed_anew(server, reflect):
    """It would never answer a watch from a version that it has not reached."""
    server.put(PODS, "p1", "shop")
    reflector = reflect()
    watching(server)
    server.fail("WATCH", PODS, Fault(504), times=5)
    server.remove(PODS, "p1", "shop", silently=True)
    server.drop_watches()
    until(reflector)


def test_stopping_ends_a_silent_watch_at_once(server, api):
    reflector = Reflector(api, POD, pace=Pace(jitter=lambda: 0.5, silence=60))
    reflector.start()
    watching(server)
    reflector.stop()
    assert not reflector._thread.is_alive()
