"""Laying a table out must never hold up a request for long: what one step does is bounded, whatever the snapshot holds."""

import sys

from tests.core.scoring_worlds import NOW, node, world
from webhook.core.model import Bound, Estimate
from webhook.core.nodetable import table_steps

NODES, PODS = 400, 4000
MOST_CALLS = 1500
"""Some ten for each of the pods that one step may take."""


def calls_by_step(snapshot):
    """How many functions each step calls, Python's own included: a clock would tell of the machine."""
    steps = table_steps(snapshot)
    counts, is_over = [], False
    while not is_over:
        called = 0

        def count(_frame, event, _arg):
            nonlocal called
            called += event in {"call", "c_call"}

        sys.setprofile(count)
        try:
            is_over = next(steps, steps) is steps
        finally:
            sys.setprofile(None)
        counts.append(called)
    return counts


def test_thousands_of_pods_of_one_namespace_are_not_laid_one_by_one_in_a_single_step():
    nodes = [node(f"n-{number}", 0.3, 0.3) for number in range(NODES)]
    own = Estimate(cpu_cores=0.1, memory_bytes=1e8)
    bound = [
        Bound(uid=f"u{n}", node=f"n-{n % NODES}", namespace="shop", expected=own, started_at=NOW) for n in range(PODS)
    ]
    assert max(calls_by_step(world(*nodes, bound=bound))) < MOST_CALLS


def test_no_step_reads_the_sizes_of_many_nodes():
    sizes = [node(f"n-{number}", told=False) for number in range(PODS)]
    assert max(calls_by_step(world(*sizes))) < MOST_CALLS
