"""What is remembered of risks changes no answer: it equals, to the last bit, what a table that remembers nothing tells."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.core.scoring_worlds import ASKED, NAMES, TIME, candidates, node, pod, rows_of, snapshots, world
from webhook.core import riskmemory
from webhook.core.ledger import Ledger
from webhook.core.nodetable import table
from webhook.core.scoring import score

MOMENTS = st.sampled_from([TIME, TIME + 1, TIME + 20, TIME + 271, TIME - 5, TIME + 4000])
CALLS = st.lists(st.tuples(candidates(), st.integers(0, 2), ASKED, MOMENTS, st.booleans()), min_size=2, max_size=8)
"""(pod, which of three UIDs, nodes asked for, when, whether the pod is forgotten afterwards)."""


def assert_same(one, other):
    for field in ("rows", "scores", "risk", "best"):
        assert np.array_equal(getattr(one, field), getattr(other, field), equal_nan=field == "risk"), field


@given(snapshots(), CALLS)
def test_whoever_came_before_each_answer_is_that_of_a_table_that_remembers_nothing(snapshot, calls):
    ledger = Ledger()
    ledger.follow(table(snapshot), now=TIME)
    pods = [candidate for candidate, *_ in calls]
    for number, (candidate, _, names, now, forgets) in enumerate(calls):
        rows = rows_of(snapshot, names)
        # An earlier pod again, so that something is remembered of its kind.
        for one in (candidate, pods[number // 2]):
            found = score(ledger.table, one, rows, now=now)
            assert_same(found, score(ledger.table.copied(), one, rows, now=now))
            ledger.place(one, found, now=TIME)
        if forgets:
            ledger.forget(candidate.uid)


def test_one_row_alone_is_reckoned_as_many_are():
    """A few rows go by plain numbers, many by arrays."""
    use = {"shop": 0.3, "batch": 0.2}
    nodes = [node(f"n-{i}", 0.1 * i, 0.05 * i, sigma=0.03 * i, use=use if i % 2 else None) for i in range(12)]
    snapshot = world(*nodes, weights={"shop": 3.0}, fairness=0.7)
    names = [one.name for one in nodes]
    candidate = pod(0.37, 1.1e9, sigma=0.21)
    many = score(table(snapshot), candidate, rows_of(snapshot, names), now=TIME).risk.tolist()
    for name, risk in zip(names, many, strict=True):
        ground = table(snapshot).copied()
        assert score(ground, candidate, rows_of(snapshot, [name]), now=TIME).risk.tolist() == [risk]


def test_so_many_kinds_are_held_and_no_more():
    snapshot = world(*(node(name, 0.2) for name in NAMES))
    ground, rows = table(snapshot), rows_of(snapshot, NAMES)
    for number in range(3 * riskmemory.MOST):
        score(ground, pod(0.01 * number), rows, now=TIME)
    assert len(ground.memory) == riskmemory.MOST
    score(ground, pod(0.5), rows, now=TIME + 4000)
    assert len(ground.memory) <= 1, "with another moment come other loads that are fresh"
