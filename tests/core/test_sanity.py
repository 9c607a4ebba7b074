"""A whole run held against the one before it."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.usage_builders import AT
from webhook.core import sanity
from webhook.core.idleness import Code, Judgement
from webhook.core.model import Evidence
from webhook.core.sanity import Alarm, Sanity, Tally

MINUTE, HOUR = timedelta(minutes=1), timedelta(minutes=60)
FRESH = Sanity()
CALM = Tally(due=100, measured=100, idle=30)


@st.composite
def tallies(draw, most=400):
    due = draw(st.integers(0, most))
    # A workload may be seen to be active before evidence of rest is due.
    measured = draw(st.integers(0, due + 5))
    return Tally(due=due, measured=measured, idle=draw(st.integers(0, measured)))


def after(*tallies_, before=FRESH, every=MINUTE, at=AT):
    for seen in tallies_:
        before = sanity.examine(before, seen, now=at, patience=HOUR)
        at += every
    return before


def judged(evidence, code, *, measured=True):
    return Judgement(evidence=evidence, reason="", code=code, measured=measured)


def test_a_tally_counts_who_is_due_measured_and_idle():
    judgements = [
        judged(Evidence.IDLE, Code.IDLE),
        judged(Evidence.ACTIVE, Code.ACTIVE),
        judged(Evidence.UNKNOWN, Code.BETWEEN),
        judged(Evidence.UNKNOWN, Code.GAP, measured=False),
        judged(Evidence.UNKNOWN, Code.YOUNG, measured=False),
        judged(Evidence.UNKNOWN, Code.NO_PODS, measured=False),
    ]
    assert sanity.tally(judgements) == Tally(due=4, measured=3, idle=1)


def test_the_first_run_has_nothing_to_be_held_against():
    assert after(Tally(due=100, measured=100, idle=100)) == Sanity(accepted=Tally(due=100, measured=100, idle=100))


@pytest.mark.parametrize(
    ("seen", "alarm"),
    [
        (Tally(due=100, measured=100, idle=50), None),
        (Tally(due=100, measured=100, idle=51), Alarm.IDLE_JUMP),
        (Tally(due=100, measured=80, idle=24), None),
        (Tally(due=100, measured=79, idle=24), Alarm.EVIDENCE_DROP),
        (Tally(due=100, measured=0, idle=0), Alarm.EVIDENCE_DROP),
        (Tally(due=100, measured=79, idle=79), Alarm.EVIDENCE_DROP),
        (Tally(due=50, measured=50, idle=15), None),
        (Tally(due=0, measured=0, idle=0), None),
        (Tally(due=1000, measured=1000, idle=900), None),
    ],
    ids=["a-rise", "a-jump", "a-loss", "a-drop", "nothing-left", "both", "half-was-deleted", "all-young", "filling"],
)
def test_what_raises_an_alarm(seen, alarm):
    found = after(CALM, seen)
    assert found.alarm is alarm
    assert bool(found.reason) is bool(alarm)
    assert found.accepted == (CALM if alarm or not seen.measured else seen)


def test_in_a_small_cluster_a_few_may_turn_together():
    assert after(Tally(due=12, measured=12, idle=2), Tally(due=12, measured=12, idle=10)).alarm is None
    assert after(Tally(due=12, measured=12, idle=2), Tally(due=12, measured=12, idle=12)).alarm is Alarm.IDLE_JUMP


def test_a_slow_evening_is_no_jump():
    evening = [Tally(due=1000, measured=1000, idle=idle) for idle in range(100, 1000, 150)]
    assert after(*evening).alarm is None


def test_an_alarm_ends_when_runs_are_as_before_and_the_next_one_starts_anew():
    jump = Tally(due=100, measured=100, idle=90)
    assert after(CALM, jump, CALM) == Sanity(accepted=CALM)
    again = after(*[CALM, *[jump] * 40, CALM, *[jump] * 40])
    assert (again.alarm, again.since) == (Alarm.IDLE_JUMP, AT + 42 * MINUTE)


def test_what_stays_for_a_whole_window_is_the_new_state_of_things():
    jump = Tally(due=100, measured=100, idle=90)
    assert after(CALM, *[jump] * 61).alarm is Alarm.IDLE_JUMP
    assert after(CALM, *[jump] * 62) == Sanity(accepted=jump)


def test_an_outage_is_never_accepted_and_what_follows_it_is_held_against_the_time_before():
    nothing, jump = Tally(due=100, measured=0, idle=0), Tally(due=100, measured=100, idle=90)
    dark = after(CALM, *[nothing] * 300)
    assert (dark.alarm, dark.accepted) == (Alarm.EVIDENCE_DROP, CALM)
    late = sanity.examine(dark, jump, now=AT + 301 * MINUTE, patience=HOUR)
    assert (late.alarm, late.since) == (Alarm.IDLE_JUMP, AT + 301 * MINUTE)


def test_a_clock_that_is_set_back_does_not_end_the_wait():
    jump = Tally(due=100, measured=100, idle=90)
    alarmed = after(CALM, jump)
    back = sanity.examine(alarmed, jump, now=AT - 5 * HOUR, patience=HOUR)
    assert (back.alarm, back.since) == (Alarm.IDLE_JUMP, AT - 5 * HOUR)


@given(st.lists(tallies(), min_size=1, max_size=30))
def test_a_run_without_evidence_is_never_the_measure_of_the_next(runs):
    found = after(*runs, every=20 * MINUTE)
    assert found.accepted is None or found.accepted.measured > 0
    assert (found.alarm is None) == (found.since is None) == (found.reason == "")


@given(tallies(), tallies())
def test_more_idle_alone_never_ends_an_alarm(accepted, seen):
    before = Sanity(accepted=accepted)
    found = sanity.examine(before, seen, now=AT, patience=HOUR)
    fuller = msgspec.structs.replace(seen, idle=seen.measured)
    if found.alarm:
        assert sanity.examine(before, fuller, now=AT, patience=HOUR).alarm


@given(tallies(), tallies())
def test_so_many_turn_to_rest_in_one_run_only_under_an_alarm_or_when_more_is_measured(accepted, seen):
    found = sanity.examine(Sanity(accepted=accepted), seen, now=AT, patience=HOUR)
    if found.alarm is None and accepted.measured and accepted.measured >= 0.8 * seen.measured > 0:
        risen = seen.idle / seen.measured - accepted.idle / accepted.measured
        assert risen <= 0.20 + 1e-9 or risen * seen.measured < 10
