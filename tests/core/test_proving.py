"""Proofs remembered within a plan say what the ground itself would say."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.steps_builders import changed
from tests.fakes import TinyCluster, make_node_fact
from webhook.core.census import PodNeeds
from webhook.core.fitting import Destination, Ground
from webhook.core.model import Resources, Side
from webhook.core.proving import Proofs

SIZES = st.sampled_from([Resources(cpu, memory) for cpu in (0.5, 1, 3) for memory in (1e8, 4e9)])
NEEDS = st.builds(
    PodNeeds,
    labels=st.sampled_from([(("app", "web"),), (("app", "api"),)]),
    node_selector=st.sampled_from([(), (), (("disk", "ssd"),)]),
    apart_by=st.sampled_from([(), (), ("kubernetes.io/hostname",)]),
    extended=st.sampled_from([(), (), (("nvidia.com/gpu", 1.0),)]),
)
ASKS = st.tuples(NEEDS, SIZES, st.sampled_from(Side), st.booleans())


@settings(max_examples=100, deadline=None)
@given(st.lists(ASKS, max_size=25))
def test_what_was_refused_once_is_refused_again_and_nothing_else_is(asks):
    cluster = TinyCluster()
    cluster.nodes["spot-1"] = make_node_fact("spot-1", Side.SPOT, allocatable=Resources(2, 8e9), allocatable_pods=3)
    web = cluster.deploy("web", 2, spread=True)
    ground = Ground.of(cluster.census(), cluster.policy)
    proofs = Proofs(ground)
    for needs, size, to, leaving in asks:
        pod = changed(web.active[0], needs=needs, requests=size)
        expected, found = ground.find(pod, to, leaving=leaving), proofs.find(pod, to, leaving=leaving)
        assert type(found) is type(expected)
        if isinstance(expected, Destination):
            assert found == expected
            ground = ground.taking(pod, found.node)
            proofs.take(pod, found.node)
        else:
            assert found.obstacle is expected.obstacle
