"""What pods use over an hour: asked for now and then, kept while Prometheus gives no answer, and not asked for nothing."""

from datetime import timedelta

import msgspec
import pytest

from tests.jobs.test_sync import WEB, Scene, grown
from webhook import errors


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path / "snapshot")


def test_habits_are_asked_for_every_few_minutes_and_outlast_polls_that_fail(scene):
    scene.world.change(pods=grown())
    scene.usage.pod_habit = 0.75

    def polled(*, after=60):
        scene.time += timedelta(seconds=after)
        scene.sync.poll_pods()
        scene.sync.poll_load()
        scene.look()
        return scene.written().workloads[WEB].use.cpu_cores

    assert (polled(), polled(), scene.usage.asked_habits) == (0.75, 0.75, 1)
    scene.usage.habits_error = errors.UsageUnavailable("too many samples", code="refused")
    assert (polled(after=240), polled(), scene.usage.asked_habits) == (0.75, 0.75, 2)
    assert scene.status.problems == {"podHabits": "too many samples"}
    scene.usage.habits_error, scene.usage.pod_habit = None, 0.5
    assert (polled(after=300), scene.status.problems) == (0.5, {})


def test_a_prometheus_that_is_away_is_not_asked_for_habits_either(scene):
    scene.usage.error = errors.UsageUnavailable("down")
    scene.sync.poll_pods()
    assert scene.usage.asked_habits == 0
    scene.usage.error = None
    scene.sync.poll_pods()
    assert scene.usage.asked_habits == 1


def test_where_habits_are_no_longer_than_the_window_nothing_more_is_asked(scene):
    scene.usage.pod_habit = 0.75
    balance = scene.policy.balance
    scene.policy = msgspec.structs.replace(scene.policy, balance=msgspec.structs.replace(balance, habit=balance.window))
    scene.world.change(pods=grown())
    scene.look(after=60)
    scene.sync.poll_pods()
    scene.sync.poll_load()
    scene.look()
    assert scene.usage.asked_habits == 0
    assert scene.written().workloads[WEB].use.cpu_cores == 0.25
