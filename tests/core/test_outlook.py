"""What a workload lacks to go to spot, and what would wake it, told from what one run really judged."""

from datetime import timedelta

import msgspec
import pytest

from tests.core.usage_builders import AT, KEY, POLICY, idle_workload, make_running, make_usage, make_workload_usage
from webhook.core import outlook
from webhook.core.idleness import judge
from webhook.core.model import Verdict
from webhook.core.policy import SidePolicy
from webhook.core.sides import advance

SIDES = SidePolicy()
YOUNG = make_running("new", started_at=AT - timedelta(minutes=20), usage=None)
GAP = idle_workload(cpu_points=41)


def after(*usages):
    """The verdict when runs a minute apart have seen these."""
    verdict = None
    for minute, usage in enumerate(usages):
        now = AT + timedelta(minutes=minute)
        verdict = advance(verdict, judge(usage, POLICY, now=AT), key=KEY, uid="uid", policy=SIDES, now=now)
    return verdict


def lacks(*usages):
    return outlook.to_spot(after(*usages), POLICY, SIDES)


def test_a_signal_tells_its_samples_their_number_that_was_due_and_the_age_of_the_oldest_newest():
    late = make_running("b", usage=make_usage("b", cpu_points=59, last_sample_at=AT - timedelta(seconds=110)))
    cpu, received = judge(make_workload_usage(make_running("a"), late), POLICY, now=AT).signals
    assert (cpu.samples, cpu.samples_expected, received.samples) == (119, 120, 120)
    assert cpu.sampled_at == AT - timedelta(seconds=110)
    assert cpu.coverage == pytest.approx(119 / 120)


def test_who_rests_on_spot_lacks_nothing_and_only_use_would_wake_it():
    verdict = after(*[idle_workload()] * 5)
    assert outlook.to_spot(verdict, POLICY, SIDES) == ()
    assert outlook.to_active(verdict) == (
        "cpu of 20m or more in one pod; now 2m",
        "received of 2 kB/s or more in one pod; now 120 B/s",
    )


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (idle_workload(), ()),
        (GAP, ("cpu: 60 samples in the window; 41 were there", "cpu: 80% of the pods' time seen; 68% was")),
        (
            idle_workload(cpu_peak_cores=0.015),
            ("cpu: below 10m for 60 min; it reached 15m",),
        ),
        (
            idle_workload(received_peak_bytes_per_second=None, received_recent_bytes_per_second=None),
            ("received: a value; the window has none",),
        ),
        (
            msgspec.structs.replace(idle_workload(), created_at=AT - timedelta(minutes=9)),
            ("it is 9 min old; 60 min must be seen",),
        ),
    ],
    ids=["idle", "gap", "between", "no value", "young"],
)
def test_each_thing_that_is_missing_is_a_sentence_and_the_runs_come_last(usage, expected):
    runs = 1 if usage == idle_workload() else 0
    assert lacks(usage) == (*expected, f"5 idle runs in a row; {runs} so far")


def test_who_is_active_lacks_a_low_window_and_nothing_more_would_wake_it():
    verdict = after(idle_workload(cpu_peak_cores=0.5, cpu_recent_cores=0.4))
    assert outlook.to_active(verdict) == ()
    assert outlook.to_spot(verdict, POLICY, SIDES)[0] == "cpu: below 10m for 60 min; it reached 500m"


def test_on_spot_and_not_idle_any_more_what_is_missing_is_told_without_counting_runs():
    verdict = after(*[idle_workload()] * 5, GAP)
    assert isinstance(verdict, Verdict)
    assert outlook.to_spot(verdict, POLICY, SIDES)[0] == "cpu: 60 samples in the window; 41 were there"
    assert not any("idle runs" in lack for lack in outlook.to_spot(verdict, POLICY, SIDES))


def test_without_a_recent_value_it_is_said_that_there_is_none():
    verdict = after(make_workload_usage(YOUNG))
    assert "cpu of 20m or more in one pod; there is no recent value" in outlook.to_active(verdict)
