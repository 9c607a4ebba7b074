"""What a person may change in the book, and what no word of theirs takes back."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW, make_move, make_verdict
from tests.core.test_sanity import CALM, tallies
from webhook.core import pausing, sanity
from webhook.core.book import Control
from webhook.core.learning import learn
from webhook.core.model import Memory, Side, WorkloadKey
from webhook.core.moves import Disruption, Finished, Outcome, Pause, Peak, SpotHealth
from webhook.core.policy import Move, MovePolicy
from webhook.core.sanity import Alarm, Sanity, Tally

HOUR = timedelta(hours=1)
WEB = WorkloadKey("shop", "Deployment", "web")
WORD = Pause(at=NOW, by="ann", reason="sale")
FACTS = {
    "heartbeat": NOW,
    "numbered": 7,
    "moves": (make_move(WEB),),
    "disruptions": (Disruption(at=NOW, to=Side.SPOT, workload=str(WEB)),),
    "spot": SpotHealth(ready=1, total=3, peaks=(Peak(NOW, 3),), unwell_at=NOW, unwell_why="2 of 3 gone"),
}
JUMPED = Tally(due=100, measured=100, idle=80)


def alarmed(seen: Tally) -> Sanity:
    return sanity.examine(Sanity(accepted=CALM), seen, now=NOW, patience=HOUR)


def test_a_pause_changes_nothing_but_that_moves_are_paused():
    assert pausing.pause(Control(**FACTS), WORD) == Control(**FACTS, paused=WORD)


@pytest.mark.parametrize(
    ("again", "expected"),
    [
        (Pause(at=NOW + HOUR), WORD),
        (Pause(at=NOW + HOUR, by="bob", reason="and Monday"), Pause(at=NOW, by="bob", reason="and Monday")),
    ],
    ids=["without a reason", "with another"],
)
def test_paused_again_it_is_paused_since_the_first_time(again, expected):
    assert pausing.pause(Control(paused=WORD), again).paused == expected


def test_a_resume_takes_back_no_fact():
    control = Control(**FACTS, paused=WORD, sanity=alarmed(JUMPED))
    assert pausing.resume(control) == Control(**FACTS, sanity=Sanity(accepted=JUMPED))


def test_without_pause_and_alarm_a_resume_changes_nothing():
    control = Control(**FACTS, sanity=Sanity(accepted=CALM))
    assert pausing.resume(control) == control


def test_what_is_acknowledged_is_what_was_seen_so_that_still_worse_alarms_again():
    accepted = sanity.acknowledge(alarmed(JUMPED))
    next_run = sanity.examine(accepted, JUMPED, now=NOW, patience=HOUR)
    assert next_run == Sanity(accepted=JUMPED)
    lost = Tally(due=100, measured=40, idle=40)
    assert sanity.examine(accepted, lost, now=NOW, patience=HOUR).alarm is Alarm.EVIDENCE_DROP


def test_where_nothing_was_measured_there_is_nothing_to_accept():
    blind = alarmed(Tally(due=100, measured=0))
    assert blind.alarm is Alarm.EVIDENCE_DROP
    assert sanity.acknowledge(blind) == blind


def test_an_alarm_of_a_book_that_does_not_say_what_was_seen_waits_for_the_next_run():
    before = Sanity(accepted=CALM, alarm=Alarm.IDLE_JUMP, since=NOW, reason="80 of 100")
    assert sanity.acknowledge(before) == before
    seen = sanity.examine(before, JUMPED, now=NOW, patience=HOUR)
    assert sanity.acknowledge(seen) == Sanity(accepted=JUMPED)


@given(tallies(), tallies(), tallies())
def test_an_acknowledged_run_is_a_measure_for_the_next_one_and_never_none(accepted, seen, after):
    before = sanity.examine(Sanity(accepted=accepted), seen, now=NOW, patience=HOUR)
    acknowledged = sanity.acknowledge(before)
    assert acknowledged.accepted is not None
    assert sanity.acknowledge(acknowledged) == acknowledged
    if before.alarm and not acknowledged.alarm:
        assert sanity.examine(acknowledged, seen, now=NOW, patience=HOUR).alarm is None
        # The same as if that run had been accepted when it came.
        honest = sanity.examine(Sanity(accepted=seen), after, now=NOW, patience=HOUR)
        assert sanity.examine(acknowledged, after, now=NOW, patience=HOUR) == honest


def test_to_try_again_forgets_misses_and_backoff_and_neither_dwell_nor_canary():
    memory = Memory(
        learnt=9, misses=3, not_before=NOW + HOUR, last_outcome="no-capacity", returned_at=NOW, dwell_factor=4, canary=2
    )
    verdict = make_verdict(WEB, memory=memory)
    kept = msgspec.structs.replace(memory, misses=0, not_before=None)
    assert pausing.try_again(verdict, ()) == msgspec.structs.replace(verdict, memory=kept)


def missed(number, key=WEB, **fields):
    facts = {"uid": f"uid-{key.name}", "way": Move.SURGE, "to": Side.SPOT, "outcome": Outcome.REVERTED}
    return Finished(number=number, workload=key, began_at=NOW, ended_at=NOW, **(facts | fields))


def test_a_miss_that_no_run_has_learnt_from_yet_is_forgotten_too_and_those_of_others_are_not():
    verdict = make_verdict(WEB, memory=Memory(learnt=9, misses=1, last_outcome="reverted"))
    ended = (
        missed(10),
        missed(11),
        missed(12, uid="its predecessor's"),
        missed(13, WorkloadKey("shop", WEB.kind, "api")),
    )
    tried_again = pausing.try_again(verdict, ended).memory
    assert learn(tried_again, ended[:2], MovePolicy()) == tried_again
    assert (tried_again.misses, tried_again.learnt) == (0, 11)
    assert learn(tried_again, [missed(14)], MovePolicy()).misses > 0


@given(st.builds(Pause, at=st.just(NOW), by=st.text(max_size=3), reason=st.text(max_size=3)))
def test_a_pause_that_is_resumed_leaves_no_trace(word):
    control = Control(**FACTS, sanity=Sanity(accepted=CALM))
    assert pausing.resume(pausing.pause(control, word)) == control
