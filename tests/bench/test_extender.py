"""What the benchmark of the extender asks for, and how it counts."""

import json

import pytest

from bench import extender
from webhook.core import nodetable
from webhook.wire.extender import decode, decode_pod


def test_each_call_starts_elsewhere_and_names_nobody_twice():
    names = [f"n{number}" for number in range(100)]
    lists = [extender.rotated(names, turn, 60) for turn in range(extender.ROTATIONS)]
    assert len({tuple(found) for found in lists}) == extender.ROTATIONS
    assert all(len(set(found)) == 60 for found in lists)


def test_each_pod_is_another_of_a_workload_that_was_measured():
    snapshot = extender.cluster(20)
    assert not nodetable.table(snapshot).is_blind
    pods = [decode_pod(decode(extender.body_of(number, b'["a"]')))[0] for number in range(60)]
    assert len({pod.metadata.uid for pod in pods}) == 60
    assert all(("shop", pod.controller.kind, pod.controller.name) in snapshot.controllers for pod in pods)


def test_rows_hold_the_goal_against_the_median_of_the_rounds():
    rounds = [extender.Round([0.001] * 100, [0.004] * 99 + [0.1])] * 2
    middle, high = extender._table(500, 5_000, rounds)
    assert (middle["ours"], middle["peer"], middle["ratio"], middle["met"]) == (1.0, 4.0, 4.0, True)
    assert (high["peer"], high["rounds"]) == (100.0, 2)
    assert json.dumps(middle)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 51.0), (0.99, 100.0)])
def test_a_percentile_is_a_call_that_was_made(share, expected):
    assert extender.percentile([number / 1000 for number in range(1, 101)], share) == expected
