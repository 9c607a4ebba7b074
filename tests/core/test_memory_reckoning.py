"""What a node is reckoned to bear, held against an exact reckoning: the mean of its samples, and the parts that these lack."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW
from tests.core.test_load import running
from tests.core.test_owners import ref
from webhook.core import inventory, load
from webhook.core.book import Book
from webhook.core.census import Census, NodeFact
from webhook.core.model import NodeLoad, Resources
from webhook.core.nodetable import CPU, MEMORY, table
from webhook.core.policy import Policy
from webhook.core.usage import NodeSample, NodeUsage, PodsUse

POLICY = Policy()
WINDOW = int(POLICY.balance.window.total_seconds())
ROOM = Resources(cpu_cores=64, memory_bytes=512e9)
SYSTEM_BYTES = 1e9
"""What runs on the node beside pods, for as long as there is a node."""


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


class Told:
    """A node that has been scraped every second for ``age`` seconds, the last time ``lag`` seconds ago.

    Pods are (age, cores, bytes); none began before its node was scraped.
    """

    def __init__(self, age, lag, pods):
        self.age, self.lag, self.pods = age, lag, pods
        self.first = min(age, WINDOW - 1)
        self.sampled = range(lag, self.first + 1)

    def sample(self):
        sizes = [SYSTEM_BYTES + sum(size for age, _, size in self.pods if age >= at) for at in self.sampled]
        # A counter's growth is spread over the whole window, whenever it began.
        cores = sum(cores * min(1, max(0, age - self.lag) / WINDOW) for age, cores, _ in self.pods)
        return NodeSample(
            node="n1",
            cpu_cores=cores,
            memory_bytes=sum(sizes) / len(sizes),
            memory_span_seconds=float(self.first - self.lag),
            sampled_at=ago(self.lag),
            source="test",
        )

    def snapshot(self):
        facts = [
            msgspec.structs.replace(
                running(f"p{number}", started_at=ago(age), ready_at=ago(age)),
                controller=ref("ReplicaSet", f"r{number}"),
                requests=Resources(cpu_cores=cores, memory_bytes=size),
            )
            for number, (age, cores, size) in enumerate(self.pods)
        ]
        census = Census(taken_at=NOW, nodes=(NodeFact(name="n1", allocatable=ROOM),), pods=tuple(facts))
        # A pod that did not run yet when its node was sampled has no value; nor does Prometheus know what comes next.
        used = {
            ("shop", f"p{number}"): (cores * min(1, (age - self.lag) / WINDOW), size)
            for number, (age, cores, size) in enumerate(self.pods)
            if age >= self.lag
        }
        sample = self.sample()
        measured = load.measure(
            census, PodsUse(sample.sampled_at, used), {}, POLICY.balance, samples={sample.node: sample}
        )
        usage = NodeUsage(nodes=(sample,), match_rate=1.0)
        return inventory.build(census, Book(), POLICY, node_usage=usage, measured=measured)


@st.composite
def told(draw):
    age = draw(st.integers(0, 3 * WINDOW))
    lag = draw(st.integers(0, min(age, WINDOW // 2)))
    sizes = st.sampled_from([1e8, 1e9, 8e9])
    pods = draw(st.lists(st.tuples(st.integers(0, age), st.sampled_from([0.1, 1.0]), sizes), max_size=6))
    return Told(age, lag, pods)


@given(told())
def test_what_was_measured_and_what_is_missing_make_up_what_will_be_there(node):
    laid = table(node.snapshot())
    cores, size = sum(c for _, c, _ in node.pods), sum(s for _, _, s in node.pods)
    # Between two samples nobody knows whether a pod was there already.
    grain = size / len(node.sampled) * 1.001
    assert laid.mean[MEMORY, 0] * ROOM.memory_bytes == pytest.approx(SYSTEM_BYTES + size, rel=0.01, abs=grain)
    assert laid.mean[CPU, 0] * ROOM.cpu_cores == pytest.approx(cores, rel=0.01, abs=1e-9)
    if node.pods:
        mine = laid.namespaces["shop"].at(0, 1)
        assert mine[MEMORY] * ROOM.memory_bytes == pytest.approx(size, rel=0.01, abs=grain)
        assert mine[CPU] * ROOM.cpu_cores == pytest.approx(cores, rel=0.01, abs=1e-9)


def test_on_a_node_as_young_as_its_pods_no_memory_counts_twice():
    node = Told(120, 0, [(110, 1.0, 8e9), (90, 1.0, 8e9)])
    assert table(node.snapshot()).mean[MEMORY, 0] * ROOM.memory_bytes == pytest.approx(17e9, rel=0.02)


def test_a_sync_that_starts_again_remembers_how_far_the_mean_reaches():
    snapshot = Told(120, 0, [(90, 1.0, 8e9)]).snapshot()
    usage, _ = load.recall(snapshot)
    assert usage.nodes[0].memory_span_seconds == 120


def test_a_span_that_nobody_told_is_the_whole_window():
    assert NodeLoad(cpu_cores=1, memory_bytes=1, sampled_at=NOW, source="test").memory_span_seconds is None
