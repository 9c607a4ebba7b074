from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.usage_builders import AT, KEY
from webhook.core import sides
from webhook.core.idleness import Code, Judgement
from webhook.core.model import Evidence, Side, Verdict
from webhook.core.policy import SidePolicy

POLICY = SidePolicy()
MINUTE = timedelta(minutes=1)
IDLE = Judgement(evidence=Evidence.IDLE, reason="rests", code=Code.IDLE, measured=True)
ACTIVE = Judgement(evidence=Evidence.ACTIVE, reason="works", code=Code.ACTIVE, measured=True)
BETWEEN = Judgement(evidence=Evidence.UNKNOWN, reason="neither", code=Code.BETWEEN, measured=True)
UNKNOWN = Judgement(evidence=Evidence.UNKNOWN, reason="no data", code=Code.NO_USAGE)
EVERY = {"idle": IDLE, "active": ACTIVE, "between": BETWEEN, "unknown": UNKNOWN}


def run(judgements, *, every=MINUTE, previous=None, uid="1", policy=POLICY):
    verdict, now = previous, AT
    for judgement in judgements:
        verdict = sides.advance(verdict, judgement, key=KEY, uid=uid, policy=policy, now=now)
        now += every
    return verdict


def test_the_nth_idle_run_in_a_row_turns_a_workload_to_spot():
    assert run([IDLE] * 4).side is Side.REGULAR
    turned = run([IDLE] * 5)
    assert (turned.side, turned.transitions, turned.since) == (Side.SPOT, 1, AT + 4 * MINUTE)


def test_one_active_run_turns_it_back_at_once():
    back = run([IDLE] * 5 + [ACTIVE])
    assert (back.side, back.transitions, back.idle_runs) == (Side.REGULAR, 2, 0)


@pytest.mark.parametrize("doubt", [BETWEEN, UNKNOWN], ids=["between", "unknown"])
@pytest.mark.parametrize("before", [[IDLE] * 5, [ACTIVE]], ids=["spot", "regular"])
def test_whatever_is_not_evidence_leaves_the_side(before, doubt):
    assert run([*before, *[doubt] * 100]).side is run(before).side


def test_seen_above_idle_ends_a_row_of_idle_runs_and_missing_data_only_pauses_it():
    assert run([IDLE] * 4 + [BETWEEN] + [IDLE] * 4).side is Side.REGULAR
    assert run([IDLE] * 4 + [UNKNOWN] + [IDLE]).side is Side.SPOT


def test_a_pause_longer_than_evidence_lives_starts_the_row_over():
    assert run([IDLE] * 4 + [UNKNOWN] * 61 + [IDLE] * 4).side is Side.REGULAR


def test_another_object_under_the_same_name_starts_over():
    old = run([IDLE] * 5)
    new = sides.advance(old, IDLE, key=KEY, uid="2", policy=POLICY, now=AT + 9 * MINUTE)
    assert (new.side, new.transitions, new.idle_runs, new.uid) == (Side.REGULAR, 0, 1, "2")


def test_good_evidence_keeps_a_verdict_alive_and_missing_data_lets_it_run_out():
    resting = run([IDLE] * 300)
    assert not sides.has_expired(resting, policy=POLICY, now=AT + 300 * MINUTE)
    middling = run([IDLE] * 5 + [BETWEEN] * 300)
    assert not sides.has_expired(middling, policy=POLICY, now=AT + 305 * MINUTE)
    blind = run([IDLE] * 5 + [UNKNOWN] * 61)
    assert sides.has_expired(blind, policy=POLICY, now=AT + 66 * MINUTE)


@given(st.timedeltas(timedelta(0), timedelta(days=999)))
def test_a_stamp_is_as_bad_ahead_as_it_is_behind(distance):
    """A clock that was set back would otherwise keep old evidence alive for ever."""
    ahead, behind = (Verdict(key=KEY, uid="1", good_at=AT + sign * distance) for sign in (1, -1))
    expired = distance > POLICY.evidence_ttl
    assert (
        sides.has_expired(ahead, policy=POLICY, now=AT) is sides.has_expired(behind, policy=POLICY, now=AT) is expired
    )


def test_a_verdict_that_says_the_same_is_written_six_times_an_hour_and_not_every_minute():
    verdict, now, written = run([IDLE] * 5), AT + 5 * MINUTE, 0
    for _ in range(60):
        after = sides.advance(verdict, IDLE, key=KEY, uid="1", policy=POLICY, now=now)
        written += after is not verdict
        verdict, now = after, now + MINUTE
    assert written == 6


def test_not_all_verdicts_are_refreshed_in_the_same_minute():
    keys = [msgspec.structs.replace(KEY, name=f"web-{i}") for i in range(100)]
    old = [
        Verdict(key=key, uid="1", side=Side.SPOT, idle_runs=5, evidence=Evidence.IDLE, judged_at=AT, good_at=AT)
        for key in keys
    ]
    minutes = set()
    for verdict in old:
        now = AT
        while sides.advance(verdict, IDLE, key=verdict.key, uid="1", policy=POLICY, now=now) is verdict:
            now += MINUTE
        minutes.add(now)
        assert now - AT <= POLICY.evidence_ttl / 6 + MINUTE
    assert len(minutes) > 5


# --- laws

histories = st.lists(st.sampled_from(sorted(EVERY)), max_size=40)


@given(histories)
def test_spot_is_reached_by_idle_runs_alone(history):
    verdict = run([EVERY[name] for name in history])
    if verdict and verdict.side is Side.SPOT:
        tail = "".join({"idle": "i", "unknown": "", "active": "x", "between": "-"}[name] for name in history)
        assert "iiiii" in tail[tail.rfind("x") + 1 :]


@given(histories, histories.filter(lambda h: "active" not in h and "idle" not in h))
def test_no_amount_of_doubt_changes_a_side(history, doubts):
    before = run([EVERY[name] for name in history] or [UNKNOWN])
    after = run([EVERY[name] for name in doubts], previous=before)
    assert (after.side, after.transitions, after.since) == (before.side, before.transitions, before.since)


@given(histories)
def test_transitions_count_the_changes_of_side(history):
    verdict, changes = None, 0
    for number, name in enumerate(history):
        after = sides.advance(verdict, EVERY[name], key=KEY, uid="1", policy=POLICY, now=AT + number * MINUTE)
        changes += after.side is not (verdict.side if verdict else Side.REGULAR)
        assert after.transitions == changes
        assert (after.side is Side.SPOT) == (changes % 2 == 1)
        verdict = after


@given(histories)
def test_the_last_word_active_is_always_regular(history):
    assert run([*[EVERY[name] for name in history], ACTIVE]).side is Side.REGULAR


@given(histories, st.timedeltas(timedelta(0), timedelta(hours=3)))
def test_good_evidence_is_never_dated_later_than_it_was_seen(history, later):
    verdict, seen = None, None
    for number, name in enumerate(history):
        now = AT + number * MINUTE
        verdict = sides.advance(verdict, EVERY[name], key=KEY, uid="1", policy=POLICY, now=now)
        seen = now if EVERY[name].measured else seen
    if verdict and verdict.good_at:
        assert verdict.good_at <= seen
        assert seen - verdict.good_at <= POLICY.evidence_ttl / 6 + MINUTE


@given(st.lists(st.tuples(st.sampled_from(sorted(EVERY)), st.booleans()), max_size=30))
def test_while_runs_are_distrusted_nobody_turns_to_spot_and_nothing_else_differs(steps):
    verdict, now = None, AT
    for name, frozen in steps:
        args = {"key": KEY, "uid": "1", "policy": POLICY, "now": now}
        after = sides.advance(verdict, EVERY[name], **args, frozen=frozen)
        free = sides.advance(verdict, EVERY[name], **args)
        before = verdict.side if verdict else Side.REGULAR
        turns_to_spot = before is Side.REGULAR and free.side is Side.SPOT
        assert after.side is (before if frozen and turns_to_spot else free.side)
        assert after.idle_runs == free.idle_runs
        verdict, now = after, now + MINUTE


def test_idle_runs_count_on_while_runs_are_distrusted():
    """Or an alarm would cost every workload its row, and the fleet would turn together after it."""
    waiting = run([IDLE] * 4)
    held = sides.advance(waiting, IDLE, key=KEY, uid="1", policy=POLICY, now=AT + 4 * MINUTE, frozen=True)
    assert (held.side, held.idle_runs) == (Side.REGULAR, 5)
    assert sides.advance(held, IDLE, key=KEY, uid="1", policy=POLICY, now=AT + 5 * MINUTE).side is Side.SPOT
