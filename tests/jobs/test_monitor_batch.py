"""CronJobs through whole runs of the monitor: what nobody saw never turns one to spot, and stays in the book."""

from datetime import timedelta

import msgspec
import pytest

from tests.core.usage_builders import AT, make_usage
from tests.jobs.test_monitor import MINUTE, World, cron_runs
from webhook.core.census import ControllerFact, CronStatus, JobRun
from webhook.core.model import ControllerRef, Evidence, Side
from webhook.errors import UsageUnavailable

NIGHTLY = "shop/CronJob/nightly"
UP = ControllerRef(kind="CronJob", name="nightly", uid="uid-nightly")


@pytest.fixture
def world():
    """A CronJob that has just turned to spot."""
    world = World()
    cron_runs(world, "nightly")
    world.run(5)
    assert verdict(world).side is Side.SPOT
    return world


def verdict(world):
    return world.book.verdicts[NIGHTLY]


def schedule(world, **status):
    """Let the CronJob's own status say so."""
    world.controllers = [
        msgspec.structs.replace(c, schedule=CronStatus(**status)) if c.kind == "CronJob" else c
        for c in world.controllers
    ]


def start(world, name, *, at=None, **facts):
    job = ControllerFact(
        "batch/v1", "Job", "shop", name, f"uid-{name}", controller=UP, created_at=at or world.now, **facts
    )
    world.controllers = [c for c in world.controllers if c.name != name] + [job]


def vanish(world, name):
    world.controllers = [c for c in world.controllers if c.name != name]


def due(world):
    """The schedule's newest minute, and the name of its Job."""
    moment = world.now.replace(second=0, microsecond=0)
    return moment, f"nightly-{int(moment.timestamp()) // 60}"


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_a_right_that_is_lost_leaves_a_cron_job_unknown_and_its_memory_whole(world, kind):
    before, world.missing = verdict(world).runs, (kind,)
    world.controllers = [c for c in world.controllers if c.kind != kind]
    report = world.run()
    assert report.unknown_reasons == {"unread-kind": 1}
    assert verdict(world).evidence is Evidence.UNKNOWN
    assert (verdict(world).side, verdict(world).runs) == (Side.SPOT, before)


def test_a_run_whose_job_is_gone_before_the_monitor_looks_is_not_idle(world):
    """As with a history limit of zero: whether the run failed, and where, nobody can tell."""
    moment, job = due(world)
    schedule(world, last_schedule_at=moment)
    report = world.run()
    assert (report.idle, report.unknown_reasons) == (0, {"unseen-run": 1})
    assert verdict(world).reason == f"nobody saw run {job}, only that it started"
    for number in range(3):
        assert verdict(world).evidence is Evidence.UNKNOWN
        world.now = AT + (number + 1) * 10 * MINUTE
        moment, job = due(world)
        start(world, job, at=moment, run=JobRun(moment, moment + timedelta(seconds=5), succeeded=True, pods=1))
        world.usages.append(
            make_usage(f"{job}-x", controller=ControllerRef("Job", job), cpu_seconds=1.0, cpu_seen_points=60)
        )
        schedule(world, last_schedule_at=moment)
        world.run()
    assert verdict(world).evidence is Evidence.IDLE, "three later runs were seen to their end"


def test_a_run_that_is_seen_a_minute_late_leaves_no_trace_of_the_doubt(world):
    moment, job = due(world)
    schedule(world, last_schedule_at=moment)
    world.run()
    start(world, job, at=moment, run=JobRun(moment, moment + timedelta(seconds=5), succeeded=True, pods=1))
    world.usages.append(
        make_usage(f"{job}-x", controller=ControllerRef("Job", job), cpu_seconds=1.0, cpu_seen_points=60)
    )
    world.run()
    assert verdict(world).evidence is Evidence.IDLE
    assert all(run.ended for run in verdict(world).runs)


def test_a_run_of_twenty_hours_that_vanishes_is_large_and_its_end_if_seen_decides(world):
    moment, job = due(world)
    schedule(world, last_schedule_at=moment, active=(job,))
    start(world, job, at=moment)
    world.now += 20 * 60 * MINUTE
    world.run()
    vanish(world, job)
    schedule(world, last_schedule_at=moment)
    world.run(10)
    assert (verdict(world).evidence, verdict(world).side) == (Evidence.ACTIVE, Side.REGULAR)
    assert verdict(world).reason.startswith(f"run {job} took 61440 s")
    ended = moment + 20 * 60 * MINUTE
    start(world, job, at=moment, run=JobRun(moment, ended, succeeded=True, pods=1))
    world.run()
    assert (verdict(world).runs[0].ended, verdict(world).runs[0].seconds) == (True, 72000.0)


def test_a_run_under_way_is_not_written_every_minute(world):
    moment, job = due(world)
    schedule(world, last_schedule_at=moment, active=(job,))
    start(world, job, at=moment)
    world.run()
    world.writes.clear()
    world.run(240)
    # Once every ten minutes a verdict is written in any case.
    assert sum(world.writes) <= 24 + 8 + 2


def test_what_ran_and_vanished_while_prometheus_was_away_is_remembered(world):
    world.trouble = UsageUnavailable("gone", code="unreachable")
    moment, lost = due(world)
    schedule(world, last_schedule_at=moment)
    report = world.run()
    assert report.unknown_reasons == {"prometheus-unavailable": 1}
    world.trouble = None
    world.now += 10 * MINUTE
    moment, job = due(world)
    schedule(world, last_schedule_at=moment)
    start(world, job, at=moment, run=JobRun(moment, moment + timedelta(seconds=5), succeeded=True, pods=1))
    world.usages.append(
        make_usage(f"{job}-x", controller=ControllerRef("Job", job), cpu_seconds=1.0, cpu_seen_points=60)
    )
    world.run()
    assert verdict(world).reason == f"nobody saw run {lost}, only that it started"


def test_a_clock_that_is_off_neither_ages_a_run_nor_forgets_one(world):
    moment, job = due(world)
    schedule(world, last_schedule_at=moment)
    sweep = world.sweep
    world.sweep = lambda policy: msgspec.structs.replace(sweep(policy), evaluated_at=world.now + 24 * 60 * MINUTE)
    report = world.run()
    assert report.unknown_reasons == {"clock-skew": 1}
    assert [run.job for run in verdict(world).runs if not run.ended] == [job]
