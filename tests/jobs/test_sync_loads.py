"""What sync is told may be dated oddly, or be no measurement at all: it goes on, and the loads that can be right count."""

from datetime import timedelta

import msgspec
import pytest

from tests.builders import NOW
from tests.jobs.test_sync import WEB, Scene, grown
from webhook.core import nodetable
from webhook.core.model import Resources
from webhook.core.usage import NodeSample, NodeUsage, PodsUse


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path / "snapshot")


def sampled(scene, at):
    """Prometheus tells of another load, that was sampled then; what the table makes of it."""
    sample = NodeSample(node="s1", cpu_cores=2.0, memory_bytes=1e9, sampled_at=at, source="test")
    scene.usage.node_usage = lambda policy: NodeUsage(nodes=(sample,), match_rate=0.95)
    scene.world.change(
        nodes=(msgspec.structs.replace(scene.world.census_now.nodes[0], allocatable=Resources(4.0, 4e9)),)
    )
    scene.sync.poll_load()
    assert scene.look()
    table = nodetable.table(scene.written())
    return float(table.mean[0, 0]), bool(table.until[0] >= scene.time.timestamp())


def test_while_one_watch_is_down_the_load_of_nodes_counts_all_the_same(scene):
    """The census is then as old as that watch, and all samples are younger than it."""
    scene.look(after=60)
    assert sampled(scene, scene.time) == (0.5, True)


def test_a_load_from_beyond_our_own_clock_counts_for_nothing_whatever_the_age_of_the_census(scene):
    scene.look(after=60)
    assert sampled(scene, scene.time + timedelta(seconds=40)) == (0.0, False)


def test_a_series_that_no_pod_can_have_ends_nothing(scene):
    """Anybody's may be among those of two siblings, and sync learns of all pods at once."""
    one = grown()[0]
    scene.world.change(pods=(one, msgspec.structs.replace(one, name="p2", uid="p2")))
    scene.usage.pod_use = lambda policy: PodsUse(NOW, {("shop", "p1"): (1e200, 1e8), ("shop", "p2"): (0.5, 1e8)})
    scene.sync.poll_pods()
    scene.sync.poll_load()
    assert scene.look()
    assert scene.written().workloads[WEB].use.cpu_cores == 0.5
