"""What all steps share: sides of pods, what an answer means, and clocks that are set back."""

import pytest

from tests.builders import NOW, make_move
from tests.core.steps_builders import KEY, LANDED, MINUTE, OLD, PENDING, SECOND, changed, deployment, pod, view
from webhook.core.model import Side
from webhook.core.moves import Answer, Outcome, Result, Step
from webhook.core.steps import Evict, Restart, Scale, anchored, answered, generation_of, is_rolling

EVICT, SCALE, RESTART = Evict(pods=(("web-1", "u"),)), Scale(replicas=3, resource_version="7"), Restart("7")


@pytest.mark.parametrize(
    ("action", "answer", "outcome"),
    [
        (EVICT, Answer.BLOCKED, Outcome.BLOCKED),
        (EVICT, Answer.TWO_BUDGETS, Outcome.BLOCKED),
        (EVICT, Answer.FORBIDDEN, Outcome.REFUSED),
        (SCALE, Answer.FORBIDDEN, Outcome.REFUSED),
        (RESTART, Answer.FORBIDDEN, Outcome.REFUSED),
        (SCALE, Answer.BLOCKED, None),
        (RESTART, Answer.BLOCKED, None),
        *((action, answer, None) for action in (EVICT, SCALE) for answer in (Answer.DONE, Answer.CONFLICT)),
        *((action, answer, None) for action in (EVICT, SCALE) for answer in (Answer.GONE, Answer.FAILED)),
    ],
)
@pytest.mark.fault(53)
def test_an_answer_counts_as_a_refusal_only_where_it_is_one(action, answer, outcome):
    assert answered(make_move(KEY), action, Result(answer=answer, note="so it said")).outcome is outcome


def test_a_refusal_keeps_the_api_servers_sentence_and_not_a_book_of_it():
    found = answered(make_move(KEY), EVICT, Result(answer=Answer.BLOCKED, note="x" * 5000))
    assert found.note == "x" * 300


def test_what_a_move_has_come_to_is_not_changed_by_a_later_answer():
    gone = make_move(KEY, step=Step.CLEARING, outcome=Outcome.LOST_POD)
    assert answered(gone, EVICT, Result(answer=Answer.FORBIDDEN)) == gone


def test_a_clock_that_was_set_back_makes_a_step_wait_anew_and_not_until_it_has_caught_up():
    ahead = make_move(KEY, step_at=NOW + 600 * MINUTE)
    assert anchored(ahead, NOW).step_at == NOW
    assert anchored(make_move(KEY, step_at=NOW - SECOND), NOW).step_at == NOW - SECOND


def test_pods_are_told_apart_by_side_age_and_what_they_wait_for():
    unknown, leaving = pod("elsewhere", "gone-node"), changed(OLD[1], deleting=True)
    seen = view(Step.RAISED, (OLD[0], leaving, unknown, LANDED, changed(PENDING, name="p", uid="p")), replicas=3)
    assert [one.name for one in seen.wrong] == ["old-1"]
    assert [one.name for one in seen.new] == ["elsewhere", "new", "p"]
    assert [one.name for one in seen.pending_on_demand] == ["p"]
    assert (seen.landed.name, seen.leaving.name) == ("new", "old-1")


def test_a_pod_that_demands_the_other_side_waits_for_something_else():
    assert not view(Step.RAISED, (PENDING,), to=Side.REGULAR).pending_on_demand


def test_another_object_of_the_same_name_is_not_the_workload():
    assert view(Step.RAISED, uid="uid-other").fact is None


@pytest.mark.parametrize(
    ("rollout", "rolling"),
    [
        ({}, False),
        ({"paused": True}, True),
        ({"generation": 3, "observed_generation": 2}, True),
        ({"updated": 1}, True),
    ],
)
def test_a_rollout_is_under_way_by_its_controllers_word(rollout, rolling):
    assert is_rolling(deployment(**rollout)) is rolling


def test_of_what_has_no_rollout_nothing_rolls():
    bare = changed(deployment(), rollout=None)
    assert (is_rolling(bare), generation_of(bare), generation_of(deployment(generation=4))) == (False, 0, 4)


def test_finished_pods_and_those_on_their_way_out_are_not_counted():
    assert [changed(OLD[0], **now).is_active for now in ({}, {"deleting": True}, {"phase": "Failed"})] == [
        True,
        False,
        False,
    ]
