"""CronJobs are judged by their past runs: small and successful ones only, and never by what nobody saw."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.usage_builders import AT, DAY
from webhook.core import batch, batch_runs
from webhook.core.batch_runs import EndedRun, Look
from webhook.core.census import CronStatus
from webhook.core.idleness import Code
from webhook.core.model import BatchRun, Evidence
from webhook.core.policy import IdlePolicy

POLICY = IdlePolicy()
MINUTE = timedelta(minutes=1)
SCHEDULED = CronStatus(last_schedule_at=AT - 12 * 60 * MINUTE)


def make_run(days_ago=1.0, **changes):
    facts = {"seconds": 60.0, "succeeded": True, "cpu_seconds": 5.0, "on_spot": False}
    return BatchRun(job=f"nightly-{days_ago}", started_at=AT - days_ago * DAY, **(facts | changes))


def working(minutes=10.0, job="nightly-x", **changes):
    """A run under way since so many minutes, as it is seen now."""
    facts = {"seconds": minutes * 60, "succeeded": False, "ended": False}
    return BatchRun(job=job, started_at=AT - minutes * MINUTE, **(facts | changes))


def look(*ended, schedule=SCHEDULED, **facts):
    return Look(ended=tuple(EndedRun(run=run) for run in ended), schedule=schedule, **facts)


def judged(*runs, before=(), **facts):
    seen = look(*runs, **facts)
    return batch.judge(batch_runs.remembered(before, seen), seen, POLICY, now=AT)


SMALL = [make_run(d) for d in (1, 2, 3)]
RUNS = st.lists(
    st.builds(
        make_run,
        st.floats(0.1, 20),
        seconds=st.sampled_from([1.0, 899.0, 900.0, 901.0, 1801.0, 9000.0]),
        succeeded=st.booleans(),
        cpu_seconds=st.sampled_from([None, 0.0, 600.0, 601.0, 1201.0]),
        on_spot=st.sampled_from([None, True, False]),
    ),
    max_size=8,
    unique_by=lambda run: run.job,
)


def test_three_small_successful_runs_are_idle_and_their_figures_are_told():
    found = judged(*SMALL)
    assert (found.evidence, found.code, found.measured) == (Evidence.IDLE, Code.IDLE, True)
    assert "3 runs were small and succeeded: at most 60 s and 5 CPU-seconds" in found.reason
    assert found.runs == tuple(SMALL)


@pytest.mark.parametrize(
    ("runs", "evidence", "words"),
    [
        (SMALL[:2], Evidence.UNKNOWN, "2 runs ended in 7 days; 3 are needed"),
        ([*SMALL[:2], make_run(8)], Evidence.UNKNOWN, "2 runs ended"),
        ([make_run(0.5, cpu_seconds=None), *SMALL], Evidence.UNKNOWN, "was not seen whole"),
        ([make_run(0.5, succeeded=False), *SMALL], Evidence.UNKNOWN, "neither small nor large: run nightly-0.5 failed"),
        ([make_run(0.5, seconds=1000.0), *SMALL], Evidence.UNKNOWN, "took 1000 s and 5 CPU-seconds; small up to 900 s"),
        ([make_run(0.5, succeeded=False, on_spot=True), *SMALL], Evidence.ACTIVE, "failed on spot"),
        ([make_run(0.5, seconds=2000.0), *SMALL], Evidence.ACTIVE, "large from 1800 s"),
        ([make_run(0.5, cpu_seconds=1201.0), *SMALL], Evidence.ACTIVE, "large from 1800 s or 1200 CPU-seconds"),
        ([make_run(0.5, seconds=2000.0, cpu_seconds=None)], Evidence.ACTIVE, "took 2000 s"),
        ([make_run(8, seconds=7.9 * 86400), *SMALL], Evidence.ACTIVE, "took 682560 s"),
        ([*SMALL, make_run(4, succeeded=False, on_spot=True)], Evidence.IDLE, "small and succeeded"),
    ],
)
def test_each_other_row_of_runs_says_why_it_is_not(runs, evidence, words):
    found = judged(*runs)
    assert found.evidence is evidence, found.reason
    assert words in found.reason


def test_a_run_that_works_for_long_is_active_before_it_ends():
    assert judged(*SMALL, under_way=(working(29),)).evidence is Evidence.IDLE
    found = judged(*SMALL, under_way=(working(31), working(2, "nightly-y")))
    assert (found.evidence, found.reason) == (
        Evidence.ACTIVE, "run nightly-x is under way for 1860 s; large from 1800 s or 1200 CPU-seconds"
    )  # fmt: skip


@given(RUNS)
def test_idle_is_proven_by_every_one_of_the_last_runs(runs):
    found = judged(*runs)
    known = batch_runs.remembered((), look(*runs))
    last = [r for r in known if AT - batch_runs.until(r) <= POLICY.batch.window][:3]
    small = [r.succeeded and r.seconds <= 900 and r.cpu_seconds is not None and r.cpu_seconds <= 600 for r in last]
    assert (found.evidence is Evidence.IDLE) == (len(small) == 3 and all(small))


@given(RUNS, st.data())
def test_losing_what_was_seen_of_a_run_never_makes_idle(runs, data):
    before = judged(*runs)
    lost = [msgspec.structs.replace(r, cpu_seconds=None) if data.draw(st.booleans()) else r for r in runs]
    after = judged(*lost)
    assert after.evidence is not Evidence.IDLE or before.evidence is Evidence.IDLE


@given(RUNS, RUNS)
def test_the_order_in_which_runs_are_learnt_does_not_matter_and_ten_are_kept(first, second):
    # One Job ends once.
    second = [run for run in second if run.job not in {one.job for one in first}]

    def keys(runs):
        return [(run.job, run.started_at) for run in runs]

    both = batch_runs.remembered(batch_runs.remembered((), look(*first)), look(*second))
    other = batch_runs.remembered(batch_runs.remembered((), look(*second)), look(*first))
    assert keys(both) == keys(other)
    assert len(both) <= batch_runs.KEPT
    assert batch_runs.remembered(both, look()) == both


def test_what_was_once_seen_of_a_run_stays_known_when_its_pods_are_gone():
    seen = make_run(1, cpu_seconds=7.0, on_spot=True)
    gone = msgspec.structs.replace(seen, cpu_seconds=None, on_spot=None)
    assert batch_runs.remembered((seen,), look(gone)) == (seen,)
    assert batch_runs.remembered((seen,), look(msgspec.structs.replace(seen, on_spot=False)))[0].on_spot is True


# --- what nobody saw


@pytest.mark.parametrize("missing", [("Job",), ("CronJob",), ("Job", "CronJob")])
def test_jobs_that_may_not_be_read_leave_the_best_of_memories_unknown(missing):
    found = judged(before=SMALL, unread=missing)
    assert (found.evidence, found.code, found.measured) == (Evidence.UNKNOWN, Code.UNREAD, False)
    assert found.reason == f"{' and '.join(missing)} cannot be read, so nobody saw its last runs"
    assert found.runs == tuple(SMALL)


@pytest.mark.parametrize("schedule", [None, CronStatus()])
def test_without_a_word_on_its_schedule_nobody_knows_which_runs_went_unseen(schedule):
    found = judged(*SMALL, schedule=schedule)
    assert (found.evidence, found.code) == (Evidence.UNKNOWN, Code.UNSEEN)
    assert "its schedule is not known" in found.reason


def test_a_success_that_the_cron_job_alone_saw_leaves_it_unknown():
    last = SMALL[0].started_at + MINUTE
    assert judged(*SMALL, schedule=CronStatus(AT - DAY, last + MINUTE / 2)).evidence is Evidence.IDLE
    found = judged(*SMALL, schedule=CronStatus(AT - DAY, last + 5 * MINUTE))
    assert (found.evidence, found.reason) == (Evidence.UNKNOWN, "nobody saw the run that succeeded last")
    late = make_run(0.9, succeeded=False)
    found = judged(late, *SMALL, schedule=CronStatus(AT - DAY, last + 5 * MINUTE))
    assert found.code is Code.UNSEEN, "a run that failed later did not succeed then"


def test_a_run_that_vanished_while_under_way_counts_as_one_of_unknown_outcome():
    first = look(under_way=(working(10),))
    before = batch_runs.remembered(SMALL, first)
    assert batch.judge(before, first, POLICY, now=AT).evidence is Evidence.IDLE
    found = judged(before=before)
    assert (found.evidence, found.code) == (Evidence.UNKNOWN, Code.UNSEEN)
    assert found.reason == "nobody saw the end of run nightly-x; it ran for at least 480 s"


def test_a_run_of_twenty_hours_that_vanished_is_large_and_the_small_ones_beside_it_do_not_hide_it():
    before = batch_runs.remembered(SMALL, look(under_way=(working(20 * 60),)))
    later = [make_run(days) for days in (0.1, 0.2, 0.3)]
    for runs in ([], later):
        found = judged(*runs, before=before)
        assert found.evidence is Evidence.ACTIVE
        assert found.reason.startswith("run nightly-x took 61440 s")


def test_the_cpu_of_a_run_that_vanished_is_at_least_what_was_seen():
    before = batch_runs.remembered(SMALL, look(under_way=(working(10, cpu_seconds=5000.0),)))
    assert judged(before=before).reason.startswith("run nightly-x took 480 s and 4096 CPU-seconds")


def test_the_end_of_a_run_replaces_what_was_seen_before_it():
    started = working(10, cpu_seconds=3.0, on_spot=True)
    before = batch_runs.remembered((), look(under_way=(started,)))
    end = msgspec.structs.replace(make_run(1), job="nightly-x", started_at=started.started_at + timedelta(seconds=1))
    for cpu, whole in ((5.0, 5.0), (None, None), (1.0, 2.0)):
        seen = EndedRun(run=msgspec.structs.replace(end, cpu_seconds=cpu, on_spot=None), created_at=started.started_at)
        (run,) = batch_runs.remembered(before, Look(ended=(seen,)))
        assert run == msgspec.structs.replace(end, cpu_seconds=whole, on_spot=True)
        assert batch_runs.remembered((run,), Look(ended=(EndedRun(run=run),))) == (run,)


def test_a_job_made_anew_under_its_name_does_not_stand_in_for_the_one_that_vanished():
    before = batch_runs.remembered((), look(under_way=(working(600, "by-hand"),)))
    other = msgspec.structs.replace(make_run(1), job="by-hand", started_at=AT - 5 * MINUTE)
    runs = batch_runs.remembered(before, Look(ended=(EndedRun(run=other, created_at=AT - 5 * MINUTE),)))
    assert [run.ended for run in runs] == [False, True]


def test_a_growing_age_is_written_in_steps_that_double():
    runs, written = (), 0
    for minute in range(24 * 60):
        now = msgspec.structs.replace(working(0, cpu_seconds=minute * 10.0), seconds=minute * 60.0)
        after = batch_runs.remembered(runs, look(under_way=(now,)))
        written += after != runs
        runs = after
    assert written <= 25
    assert runs[0].seconds == 1024 * 60.0
    assert runs[0].cpu_seconds == 8192.0


def test_with_a_clock_in_doubt_no_run_grows_older_and_none_is_forgotten():
    before = batch_runs.remembered((), look(under_way=(working(10),)))
    older = look(under_way=(msgspec.structs.replace(working(10), seconds=9e9, cpu_seconds=9e9),))
    assert batch_runs.remembered(before, older, clock_is_sure=False) == before
    (blind,) = batch_runs.remembered((), look(make_run(1)), clock_is_sure=False)
    assert blind.cpu_seconds is None


@given(RUNS, st.booleans(), st.data())
def test_a_run_that_was_large_or_failed_on_spot_keeps_the_next_ones_from_idle(runs, large, data):
    """Until as many later runs as are looked at have been seen."""
    costly = make_run(0.05, seconds=9000.0) if large else make_run(0.05, succeeded=False, on_spot=True)
    later = data.draw(st.integers(0, POLICY.batch.min_runs - 1))
    small = [make_run(0.001 * (number + 1)) for number in range(later)]
    before = batch_runs.remembered((), look(*runs, costly))
    assert judged(*small, before=before).evidence is not Evidence.IDLE
