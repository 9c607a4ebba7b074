"""What moves teach: back-off that doubles, dwell that doubles, the canary, and clocks that are set back."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW, make_workload
from webhook.core.learning import LONGEST, backoff, dwell, has_given_up, held_until, learn
from webhook.core.model import Memory, Side
from webhook.core.moves import MISSES, Finished, Outcome
from webhook.core.policy import Move, MovePolicy

KEY = make_workload("web").key
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
POLICY = MovePolicy()


def made(number=1, outcome=Outcome.MOVED, to=Side.SPOT, *, began=NOW, took=MINUTE, transition=1, trim=False):
    return Finished(
        number, KEY, "uid-web", Move.SURGE, to, began, began + took, outcome, transition=transition, trim=trim
    )


def home(number, began, **fields):
    return made(number, to=Side.REGULAR, began=began, transition=2, **fields)


def after(*moves, memory=None, policy=POLICY):
    return learn(memory or Memory(), moves, policy)


def test_the_first_pod_of_a_change_of_side_is_its_canary():
    first = made(1)
    memory = after(first, made(2, began=NOW + HOUR))
    assert (memory.canary, memory.canary_at, memory.moved_at) == (1, first.ended_at, first.ended_at)
    next_time = made(3, began=NOW + 9 * HOUR, transition=3)
    assert after(next_time, memory=memory).canary_at == next_time.ended_at


def test_a_workload_that_never_changed_sides_has_a_canary_too():
    assert after(made(transition=0)).canary_at == NOW + MINUTE


@pytest.mark.parametrize(
    ("outcomes", "waits"),
    [
        ([Outcome.NO_CAPACITY], 10 * MINUTE),
        ([Outcome.NO_CAPACITY, Outcome.BLOCKED], 20 * MINUTE),
        ([Outcome.STRAYED, Outcome.BLOCKED, Outcome.WRONG_VICTIM], LONGEST),
        ([Outcome.STRAYED, Outcome.MOVED, Outcome.BLOCKED], 10 * MINUTE),
        ([Outcome.STRAYED, Outcome.FLIPPED, Outcome.BLOCKED], 20 * MINUTE),
    ],
)
@pytest.mark.fault(52)
def test_moves_that_come_to_nothing_wait_longer_each_time(outcomes, waits):
    moves = [made(number, outcome) for number, outcome in enumerate(outcomes, 1)]
    memory = after(*moves)
    assert memory.not_before == moves[-1].ended_at + waits
    assert has_given_up(memory, POLICY) is (waits == LONGEST)


def test_many_attempts_double_up_to_a_day():
    patient = MovePolicy(attempts=20)
    assert [backoff(n, patient) / MINUTE for n in (1, 2, 3, 7, 8)] == [10, 20, 40, 640, 1280]
    assert backoff(9, patient) == backoff(19, patient) == LONGEST


@pytest.mark.fault(66)
def test_replicas_that_somebody_sets_back_are_raised_once_more_and_then_not_for_a_day():
    once = after(made(1, Outcome.REVERTED))
    assert not has_given_up(once, POLICY)
    twice = after(made(2, Outcome.REVERTED), memory=once)
    assert has_given_up(twice, POLICY)
    assert twice.not_before == NOW + MINUTE + LONGEST


@pytest.mark.parametrize("outcome", [o for o in Outcome if o not in MISSES and o is not Outcome.MOVED])
def test_what_others_did_teaches_nothing(outcome):
    before = after(made(1, Outcome.BLOCKED))
    memory = after(made(2, outcome), memory=before)
    assert (memory.misses, memory.not_before, memory.last_outcome) == (1, before.not_before, outcome.value)


def test_each_move_is_learnt_from_once_and_in_its_order():
    moves = [made(1, Outcome.BLOCKED), made(2), made(3, Outcome.BLOCKED)]
    memory = after(*moves)
    assert after(*reversed(moves)) == memory == after(*moves, memory=memory)
    assert (memory.learnt, memory.misses) == (3, 1)


def test_the_dwell_runs_from_the_last_pod_that_came_back():
    memory = after(made(1), home(2, NOW + 5 * HOUR), home(3, NOW + 5 * HOUR + 10 * MINUTE))
    assert held_until(memory, Side.SPOT, POLICY, NOW + 5 * HOUR + 20 * MINUTE) == (
        NOW + 6 * HOUR + 10 * MINUTE,
        "dwell",
    )
    assert held_until(memory, Side.SPOT, POLICY, NOW + 6 * HOUR + 10 * MINUTE) is None
    assert held_until(memory, Side.REGULAR, POLICY, NOW + 5 * HOUR + 20 * MINUTE) is None


def test_pods_that_came_to_spot_without_a_move_dwell_each_time_they_come_back():
    memory = after(home(1, NOW), home(2, NOW + 48 * HOUR))
    assert memory.returned_at == NOW + 48 * HOUR


def test_a_return_within_the_dwell_doubles_the_next_up_to_a_day_and_a_late_one_forgives():
    memory, now, number = Memory(), NOW, 0
    for expected in (2, 4, 8, 16, 24, 24):
        memory = after(made(number + 1, began=now), home(number + 2, now + 10 * MINUTE), memory=memory)
        assert dwell(memory, POLICY) == min(expected * HOUR, LONGEST)
        number, now = number + 2, now + 50 * HOUR
    memory = after(made(number + 1, began=now), home(number + 2, now + 25 * HOUR), memory=memory)
    assert dwell(memory, POLICY) == HOUR


def test_trimming_is_neither_an_arrival_nor_a_return():
    memory = after(made(1, trim=True, to=Side.REGULAR), made(2, Outcome.MOVED, Side.REGULAR, trim=True))
    assert (memory.returned_at, memory.moved_at, memory.canary_at, memory.learnt) == (None, None, None, 2)


MOMENTS = st.integers(-3 * 24 * 60, 3 * 24 * 60).map(lambda minutes: NOW + minutes * MINUTE)
ANY = st.builds(
    made,
    number=st.integers(1, 40),
    outcome=st.sampled_from([Outcome.MOVED] * 5 + list(Outcome)),
    to=st.sampled_from(Side),
    began=MOMENTS,
    transition=st.integers(0, 3),
    trim=st.booleans(),
)


@given(st.lists(ANY, max_size=12), MOMENTS, st.sampled_from(Side))
def test_nobody_waits_for_more_than_a_day_whatever_the_clocks_did(moves, now, to):
    held = held_until(after(*moves), to, POLICY, now)
    assert held is None or now < held[0] <= now + LONGEST


@given(st.lists(ANY, max_size=12), ANY)
def test_no_miss_ever_shortens_the_wait(moves, more):
    before = after(*moves)
    memory = after(more, memory=before)
    if more.number > before.learnt and more.outcome in MISSES:
        assert memory.misses > before.misses
        assert memory.not_before - more.ended_at >= POLICY.backoff
