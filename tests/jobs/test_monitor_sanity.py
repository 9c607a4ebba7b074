"""Runs of the monitor that are distrusted as a whole."""

import json
from datetime import timedelta

import msgspec
import pytest

from tests.core.usage_builders import make_usage
from tests.jobs.test_monitor import MINUTE, World
from webhook.core import inventory
from webhook.core.model import Side
from webhook.core.policy import Policy
from webhook.core.sanity import Alarm
from webhook.jobs.ops import Ops
from webhook.jobs.sync import SyncStatus

BUSY = {"cpu_recent_cores": 1.0, "cpu_peak_cores": 1.0}
FLEET = 40


@pytest.fixture
def world():
    """Thirty workloads that work and ten that rest, on spot since they were judged."""
    world = World()
    for number in range(FLEET):
        world.deploy(f"web-{number}", **(BUSY if number % 4 else {}))
    assert len(world.run(5).changes) == FLEET // 4
    return world


def on_spot(world):
    return sum(verdict.side is Side.SPOT for verdict in world.book.verdicts.values())


def all_rest(world):
    world.usages = [make_usage(usage.name, controller=usage.controller) for usage in world.usages]


@pytest.mark.fault(34)
def test_a_fleet_that_seems_to_go_to_rest_in_one_minute_stays_where_it_is(world):
    all_rest(world)
    report = world.run(30)
    assert (report.idle, report.alarm, report.changes) == (FLEET, Alarm.IDLE_JUMP, ())
    assert report.alarm_reason == "40 of 40 (100%) workloads are idle, 10 of 40 (25%) before"
    assert on_spot(world) == FLEET // 4


def test_load_still_brings_a_workload_home_under_an_alarm(world):
    all_rest(world)
    world.run(10)
    world.usages[0] = msgspec.structs.replace(world.usages[0], **BUSY)
    report = world.run()
    assert (report.alarm, [change.after for change in report.changes]) == (Alarm.IDLE_JUMP, [Side.REGULAR])


def test_a_fleet_that_rests_for_a_whole_window_more_is_believed(world):
    all_rest(world)
    world.run(61)
    assert on_spot(world) == FLEET // 4
    assert (world.run().alarm, on_spot(world)) == (None, FLEET)


@pytest.mark.fault(34)
def test_when_every_series_vanishes_nobody_moves_and_the_alarm_says_so(world):
    told, world.usages = world.usages, []
    report = world.run(90)
    assert (report.unknown, report.alarm, on_spot(world)) == (FLEET, Alarm.EVIDENCE_DROP, FLEET // 4)
    world.usages = told
    assert world.run().alarm is None


@pytest.mark.fault(35)
def test_half_of_the_workloads_without_series_are_unknown_and_the_rest_turns_nowhere_but_home(world):
    world.usages = [make_usage(u.name, controller=u.controller) for u in world.usages[: FLEET // 2]]
    report = world.run(20)
    assert (report.idle, report.unknown, report.alarm) == (FLEET // 2, FLEET // 2, Alarm.EVIDENCE_DROP)
    assert on_spot(world) == FLEET // 4


@pytest.mark.fault(35)
def test_a_few_workloads_without_series_are_unknown_and_the_others_are_judged_as_ever(world):
    world.usages = world.usages[: FLEET - 5]
    world.usages[1] = make_usage(world.usages[1].name, controller=world.usages[1].controller)
    report = world.run(5)
    assert (report.unknown, report.alarm, [change.after for change in report.changes]) == (5, None, [Side.SPOT])


def test_a_dry_run_and_a_new_book_raise_no_alarm(world):
    fresh = World()
    fresh.controllers, fresh.pods, fresh.usages = world.controllers, world.pods, world.usages
    all_rest(fresh)
    assert fresh.run(5).alarm is None
    assert on_spot(fresh) == FLEET


def test_the_alarm_is_told_in_metrics_on_the_status_page_and_in_the_snapshot(world):
    all_rest(world)
    world.run()
    status = SyncStatus()
    status.book = world.book
    ops = Ops(status, lambda: world.now + timedelta(seconds=1))
    text = ops.answer("/metrics").body.decode()
    assert 'spot_balancer_monitor_alarm{alarm="idle-jump"} 1.0' in text
    assert 'spot_balancer_monitor_alarm{alarm="evidence-drop"} 0.0' in text
    page = json.loads(ops.answer("/api/v1/status").body)
    assert (page["alarm"]["code"], page["alarm"]["since"][:16]) == (
        "idle-jump",
        (world.now - MINUTE).isoformat()[:16],
    )
    assert inventory.build(world.census(), world.book, Policy()).meta.alarm is Alarm.IDLE_JUMP
