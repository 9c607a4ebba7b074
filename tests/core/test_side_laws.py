"""The laws of sides over runs at any distance: slow to spot, at once back, and no spot on evidence that is too old."""

from datetime import timedelta
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests import builders
from webhook.core import placement, sides
from webhook.core.idleness import Code, Judgement
from webhook.core.model import Evidence, Side, Verdict
from webhook.core.placement import Reason
from webhook.core.policy import Mode, Policy, SidePolicy

JUDGED = {
    "idle": Judgement(evidence=Evidence.IDLE, reason="rests", code=Code.IDLE, measured=True),
    "active": Judgement(evidence=Evidence.ACTIVE, reason="works", code=Code.ACTIVE, measured=True),
    "between": Judgement(evidence=Evidence.UNKNOWN, reason="neither", code=Code.BETWEEN, measured=True),
    "unknown": Judgement(evidence=Evidence.UNKNOWN, reason="no data", code=Code.NO_USAGE),
}
KEY = builders.make_workload().key
START = builders.NOW - timedelta(days=2)


class Run(NamedTuple):
    """One run of the monitor: what it found, how long after the one before, of which object, trusted or not."""

    found: str
    after: timedelta
    uid: str = "1"
    frozen: bool = False


GAPS = st.sampled_from([timedelta(minutes=1)] * 6 + [timedelta(minutes=m) for m in (9, 59, 60, 61, 300)])
RUNS = st.builds(
    Run,
    found=st.sampled_from(["idle"] * 8 + ["active", "between", "unknown", "unknown"]),
    after=GAPS,
    uid=st.sampled_from(["1"] * 30 + ["2"]),
    frozen=st.sampled_from([False] * 9 + [True]),
)
HISTORIES = st.lists(RUNS, min_size=1, max_size=40)
POLICIES = st.builds(
    SidePolicy,
    idle_runs_to_spot=st.integers(1, 6),
    evidence_ttl=st.sampled_from([timedelta(minutes=20), timedelta(hours=1), timedelta(hours=6)]),
)


def lived(history, policy):
    """The verdict after each run, with the moment of it."""
    verdict, now, steps = None, START, []
    for run in history:
        now += run.after
        verdict = sides.advance(
            verdict, JUDGED[run.found], key=KEY, uid=run.uid, policy=policy, now=now, frozen=run.frozen
        )
        steps.append((now, run, verdict))
    return steps


def row_before(steps, ttl):
    """How many idle runs stand in a row at the end, told anew from the history: what was seen above idle, another object
    and a pause without good evidence that is longer than its time to live each end the row."""
    count, later = 0, steps[-1][0]
    for now, run, _ in reversed(steps):
        if run.uid != steps[-1][1].uid or run.found in {"active", "between"} or later - now > ttl:
            break
        if run.found == "idle":
            count, later = count + 1, now
    return count


@given(HISTORIES, POLICIES)
def test_a_side_turns_to_spot_only_in_an_idle_run_that_ends_a_row_long_enough(history, policy):
    steps = lived(history, policy)
    before = Side.REGULAR
    for number, (_, run, verdict) in enumerate(steps):
        if number and run.uid != steps[number - 1][1].uid:
            before = Side.REGULAR
        if verdict.side is Side.SPOT and before is not Side.SPOT:
            event("turned")
            assert run.found == "idle"
            assert not run.frozen
            assert row_before(steps[: number + 1], policy.evidence_ttl) >= policy.idle_runs_to_spot
        before = verdict.side


@given(HISTORIES, POLICIES)
def test_an_active_run_is_regular_at_once_whatever_was_before(history, policy):
    for _, run, verdict in lived(history, policy):
        if run.found == "active":
            assert (verdict.side, verdict.idle_runs) == (Side.REGULAR, 0)


@given(HISTORIES, POLICIES)
def test_nothing_but_evidence_changes_a_side(history, policy):
    steps = lived(history, policy)
    for (_, earlier, was), (_, run, verdict) in pairwise(steps):
        if run.found in {"unknown", "between"} and run.uid == earlier.uid:
            assert (verdict.side, verdict.since, verdict.transitions) == (was.side, was.since, was.transitions)


@given(HISTORIES, POLICIES)
def test_good_evidence_is_never_dated_later_than_the_last_run_that_measured(history, policy):
    last = None
    for now, run, verdict in lived(history, policy):
        last = now if run.found != "unknown" else last
        if verdict.good_at is not None:
            assert last is not None
            assert verdict.good_at <= last


def decided(verdict, policy, now):
    """What a new pod of the idle workload gets, with a way to spot open and a monitor that is alive."""
    snapshot = builders.make_snapshot(
        builders.make_workload(verdict=verdict, uid=verdict.uid),
        policy=Policy(mode=Mode.INJECT, sides=policy),
        captured_at=now,
        book_heartbeat=now,
    )
    return placement.decide(builders.make_request(builders.make_pod(), "u-1"), snapshot, now=now)


@given(HISTORIES, POLICIES, st.timedeltas(timedelta(seconds=1), timedelta(days=2)))
def test_evidence_older_than_its_time_to_live_gives_no_pod_to_spot(history, policy, late):
    now, _, verdict = lived(history, policy)[-1]
    good_at = max((when for when, run, _ in lived(history, policy) if run.found != "unknown"), default=now)
    then = max(now, good_at + policy.evidence_ttl + late)
    found = decided(verdict, policy, then)
    event(str(found.reason))
    assert found.changes is None
    if verdict.good_at is not None and verdict.transitions:
        assert found.reason is Reason.EXPIRED_EVIDENCE


@given(HISTORIES, POLICIES)
def test_a_pod_is_changed_only_for_its_verdicts_own_side_and_on_fresh_evidence(history, policy):
    now, _, verdict = lived(history, policy)[-1]
    found = decided(verdict, policy, now)
    event(str(found.reason))
    if found.changes:
        # A workload that came back is led back: that too is a change.
        assert found.side is verdict.side
        assert verdict.good_at is not None
        assert now - verdict.good_at <= policy.evidence_ttl


# --- that these laws are about something


@pytest.mark.parametrize("late", [False, True], ids=["fresh", "expired"])
def test_the_same_verdict_gives_a_pod_to_spot_while_its_evidence_is_fresh(late):
    policy = SidePolicy()
    now, _, verdict = lived([Run("idle", timedelta(minutes=1))] * 5, policy)[-1]
    assert isinstance(verdict, Verdict)
    found = decided(verdict, policy, now + (policy.evidence_ttl + timedelta(seconds=1)) * late)
    assert (found.changes is None) == late


@settings(max_examples=200, derandomize=True, database=None)
@given(history=HISTORIES, policy=POLICIES)
def _tally(counts, history, policy):
    counts.extend(verdict.side for _, _, verdict in lived(history, policy)[-1:])


def test_both_sides_are_drawn_often():
    counts = []
    _tally(counts)
    assert 40 < counts.count(Side.SPOT) < len(counts) - 40
