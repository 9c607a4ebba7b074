"""A person's change to the book beside a monitor that writes it too: nothing of either is lost."""

import msgspec
import pytest

from tests.builders import NOW, make_move, make_verdict
from tests.fake_book import FakeBook
from webhook import errors
from webhook.core import pausing
from webhook.core.book import Book, Control
from webhook.core.model import Memory, WorkloadKey
from webhook.core.moves import Pause
from webhook.jobs.pausing import POLL_SECONDS, TRIES, change, try_again, wait_until_still

WORD = Pause(at=NOW, by="ann")
WEB = WorkloadKey("shop", "Deployment", "web")
MOVE = make_move(WEB)


def pause(control):
    return pausing.pause(control, WORD)


def begin_a_move(control):
    return msgspec.structs.replace(control, numbered=control.numbered + 1)


@pytest.mark.fault(43)
@pytest.mark.parametrize("others", [0, 1, TRIES - 1])
def test_whoever_wrote_first_is_not_undone(others):
    book = FakeBook(Control(heartbeat=NOW))
    book.meanwhile = [begin_a_move] * others
    before, after = change(book, pause)
    assert after == book.content.control == Control(heartbeat=NOW, numbered=others, paused=WORD)
    assert before.numbered == others


@pytest.mark.fault(43)
def test_a_book_that_is_written_without_end_is_told_and_left_alone():
    book = FakeBook(Control(heartbeat=NOW))
    book.meanwhile = [begin_a_move] * TRIES
    with pytest.raises(errors.ClusterConflict, match="at each attempt; try again"):
        change(book, pause)
    assert book.content.control.paused is None


def test_what_changes_nothing_is_not_written():
    book = FakeBook(Control(heartbeat=NOW, paused=WORD))
    change(book, pause)
    assert book.writes == 0


class Time:
    """Passes only while somebody sleeps; ``events`` happen at their second."""

    def __init__(self, book, events):
        self.now, self.book, self.events = 0.0, book, sorted(events.items())

    def elapsed(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds
        while self.events and self.events[0][0] <= self.now:
            self.events.pop(0)[1](self.book)


def wait(book, seconds, **events):
    time = Time(book, {int(at.removeprefix("at_")): event for at, event in events.items()})
    return wait_until_still(book, seconds=seconds, sleep=time.sleep, elapsed=time.elapsed), time.now


def put(**control):
    return lambda book: book.put(Control(heartbeat=NOW, **control))


def moving():
    return FakeBook(Control(heartbeat=NOW, moves=(MOVE,), paused=WORD))


def test_it_waits_until_nothing_is_in_flight():
    control, waited = wait(moving(), 900, at_62=put(paused=WORD))
    assert control.moves == ()
    assert 62 <= waited < 62 + POLL_SECONDS


def test_it_does_not_wait_where_nothing_is_in_flight():
    assert wait(FakeBook(Control(heartbeat=NOW, paused=WORD)), 900)[1] == 0


def test_it_gives_up_when_the_time_is_over_and_tells_what_is_left():
    control, waited = wait(moving(), 33)
    assert (control.moves, waited) == ((MOVE,), 33)


def test_it_does_not_wait_for_what_somebody_resumed():
    control, waited = wait(moving(), 900, at_20=put(moves=(MOVE,)))
    assert (control.paused, waited) == (None, 20)


@pytest.mark.fault(41)
def test_an_api_server_that_is_away_for_a_while_is_asked_again():
    control, _ = wait(moving(), 900, at_10=FakeBook.fall_silent, at_40=put(paused=WORD))
    assert control.moves == ()


@pytest.mark.fault(41)
def test_an_api_server_that_stays_away_is_told_when_the_time_is_over():
    with pytest.raises(errors.ClusterUnavailable):
        wait(moving(), 30, at_10=FakeBook.fall_silent)


@pytest.mark.fault(41)
def test_an_api_server_that_takes_its_time_takes_none_beyond_the_end():
    """Each look takes 12 s: what is left for sleep is reckoned after it."""
    book = moving()
    time = Time(book, {})
    looks, look = [], book.control

    def slow():
        looks.append(time.now)
        time.now += 12
        return look()

    book.control = slow
    wait_until_still(book, seconds=30, sleep=time.sleep, elapsed=time.elapsed)
    assert looks == [0, 17, 30]


def test_it_tells_what_it_waits_for_and_when_nobody_answers():
    book, told = moving(), []
    time = Time(book, {10: FakeBook.fall_silent, 20: put(paused=WORD)})
    wait_until_still(book, seconds=900, sleep=time.sleep, elapsed=time.elapsed, tell=told.append)
    assert [one and len(one.moves) for one in told] == [1, 1, None, None]


def given_up(name="web"):
    key = WorkloadKey("shop", "Deployment", name)
    return make_verdict(key, memory=Memory(learnt=5, misses=3, not_before=NOW, last_outcome="blocked"))


def shelf(*verdicts):
    book = FakeBook(Control(heartbeat=NOW))
    book.content = Book(control=book.content.control, verdicts={str(one.key): one for one in verdicts})
    return book


def test_only_the_misses_of_the_workload_that_is_meant_are_forgotten():
    book = shelf(given_up("web"), given_up("api"))
    assert try_again(book, str(WEB)) == given_up("web")
    kept = given_up("web").memory
    assert book.content.verdicts[str(WEB)].memory == msgspec.structs.replace(kept, misses=0, not_before=None)
    assert book.content.verdicts["shop/Deployment/api"] == given_up("api")


def test_a_workload_without_a_verdict_is_told_as_such():
    assert try_again(shelf(), str(WEB)) is None


@pytest.mark.fault(43)
def test_the_monitors_own_write_in_between_is_kept():
    book = shelf(given_up())
    book.meanwhile = [begin_a_move]
    try_again(book, str(WEB))
    assert book.content.control.numbered == 1
    assert book.content.verdicts[str(WEB)].memory.misses == 0


@pytest.mark.fault(43)
def test_misses_too_are_left_alone_in_a_book_that_is_written_without_end():
    book = shelf(given_up())
    book.meanwhile = [begin_a_move] * TRIES
    with pytest.raises(errors.ClusterConflict, match="try again"):
        try_again(book, str(WEB))
    assert book.content.verdicts[str(WEB)] == given_up()
