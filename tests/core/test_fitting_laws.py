"""The laws of destinations, held against a slow oracle: proven is possible, and what is promised is never promised twice."""

import msgspec
from hypothesis import event, given
from hypothesis import strategies as st

from tests.builders import AKS_TAINT
from tests.core import fitting_oracle as oracle
from tests.core.move_builders import GIB, make_census, make_node_fact, make_pod_fact
from webhook.core.constraints import Claim, Volume
from webhook.core.fitting import Destination, Ground, Obstacle
from webhook.core.model import ControllerRef, Requirement, Resources, Side, Taint, Toleration
from webhook.core.policy import Policy

PLAIN = Policy()
FOREIGN = Taint("dedicated", "ml", "NoSchedule")
TAINTS = [AKS_TAINT, FOREIGN, Taint(oracle.LEAVING, "1"), Taint("soft", "", "PreferNoSchedule")]
ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
NAMES = ["n-0", "n-1", "n-2", "n-3", "n-4"]
VOLUMES = (
    Claim("shop", "in-a", volume="pv-a"),
    Claim("shop", "anywhere", volume="pv"),
    Volume("pv-a", terms=((Requirement(ZONE, "In", ("a",)),),)),
    Volume("pv"),
)


def mostly(usual, *odd):
    return st.sampled_from([*[usual] * 9, *odd])


NODES = st.builds(
    make_node_fact,
    st.just(""),
    spot=st.booleans(),
    ready=mostly(True, False),
    unschedulable=mostly(False, True),
    taints=st.lists(mostly(AKS_TAINT, *TAINTS), max_size=1).map(tuple),
    labels=st.fixed_dictionaries(
        {},
        optional={
            ZONE: st.sampled_from("ab"),
            "disk": st.sampled_from(["ssd", "hdd"]),
            "kubernetes.io/arch": st.sampled_from(["amd64"] * 9 + ["arm64"]),
        },
    ),
    allocatable=st.sampled_from([Resources(1.0, 4 * GIB), Resources(2.0, GIB), Resources(4.0, 8 * GIB)]),
    allocatable_pods=st.sampled_from([2, 110]),
    extended=st.sampled_from([{}, {"gpu": 1.0}]),
)
REQUIREMENTS = st.one_of(
    st.builds(
        Requirement,
        st.sampled_from([ZONE, "disk"]),
        st.sampled_from(["In", "NotIn"]),
        st.sampled_from([("a",), ("ssd",), ("b", "hdd")]),
    ),
    st.builds(Requirement, st.sampled_from([ZONE, "disk"]), st.sampled_from(["Exists", "DoesNotExist"])),
)
TERMS = st.lists(st.lists(REQUIREMENTS, max_size=2).map(tuple), max_size=2).map(tuple)
OWNERS = [ControllerRef("ReplicaSet", name, f"uid-{name}") for name in ("nginx-demo-7f9c5d", "other")]
PODS = st.builds(
    make_pod_fact,
    node=st.sampled_from([*NAMES[:2] * 4, *NAMES, "", "gone"]),
    phase=mostly("Running", "Succeeded", "Pending"),
    deleting=mostly(False, True),
    controller=st.sampled_from(OWNERS),
    requests=st.builds(Resources, st.sampled_from([0.1, 0.3, 0.7, 1.0]), st.sampled_from([GIB / 4, GIB])),
    node_selector=mostly((), (("disk", "ssd"),)),
    terms=st.one_of(st.none(), st.none(), st.none(), st.none(), TERMS),
    tolerations=st.lists(
        st.sampled_from([Toleration(operator="Exists"), Toleration(key="dedicated", operator="Equal", value="ml")]),
        max_size=1,
    ).map(tuple),
    host_ports=mostly((), (80,)),
    claims=mostly((), ("in-a",), ("anywhere",), ("unknown",)),
    apart_by=mostly((), (HOST,), (ZONE,)),
    extended=mostly((), (("gpu", 1.0),)),
)


@st.composite
def worlds(draw, pods=PODS):
    """A census with up to five nodes; each pod has a name of its own."""
    nodes = [
        msgspec.structs.replace(node, name=name, labels=node.labels | {HOST: name})
        for name, node in zip(NAMES, draw(st.lists(NODES, min_size=2, max_size=5)), strict=False)
    ]
    several = [
        msgspec.structs.replace(pod, name=f"p-{number}", uid=f"p-{number}")
        for number, pod in enumerate(draw(st.lists(pods, min_size=1, max_size=8)))
    ]
    return make_census(*nodes, *several, *VOLUMES)


SIDES = st.sampled_from(list(Side))


@given(worlds(), SIDES)
def test_a_destination_meets_every_rule_and_an_obstacle_leaves_no_node(census, to):
    ground = Ground.of(census, PLAIN)
    for pod in census.pods:
        answer = ground.find(pod, to)
        event(getattr(answer, "obstacle", "destination"))
        broken = {node.name: oracle.breaks(census, pod, node, to) for node in census.nodes}
        if isinstance(answer, Destination):
            assert not broken[answer.node]
        else:
            assert all(broken.values())


RULES = {
    Obstacle.TAINTS: "taints",
    Obstacle.PLATFORM: "platform",
    Obstacle.AFFINITY: "affinity",
    Obstacle.VOLUME_ZONE: "volumes",
    Obstacle.VOLUME_UNKNOWN: "volumes",
    Obstacle.APART: "apart",
    Obstacle.HOST_PORT: "ports",
    Obstacle.NO_ROOM: "room",
    Obstacle.NO_SPOT_NODE: "awake",
    Obstacle.NO_REGULAR_NODE: "awake",
}


@given(worlds(), SIDES)
def test_the_obstacle_that_is_told_is_one_that_stands_in_the_way_of_some_node(census, to):
    ground = Ground.of(census, PLAIN)
    for pod in census.pods:
        answer = ground.find(pod, to)
        if not isinstance(answer, Destination):
            broken = [oracle.breaks(census, pod, node, to) for node in census.nodes]
            assert any(RULES[answer.obstacle] in rules for rules in broken)


@given(worlds(), SIDES)
def test_of_all_nodes_that_would_do_the_one_with_the_most_free_share_is_taken(census, to):
    ground = Ground.of(census, PLAIN)

    def free(node):
        there = [pod for pod in census.pods if pod.node_name == node.name and pod.phase != "Succeeded"]
        cpu = sum(pod.requests.cpu_cores for pod in there) / node.allocatable.cpu_cores
        memory = sum(pod.requests.memory_bytes for pod in there) / node.allocatable.memory_bytes
        return 1 - max(cpu, memory)

    for pod in census.pods:
        answer = ground.find(pod, to)
        if isinstance(answer, Destination):
            would_do = [node for node in census.nodes if not oracle.breaks(census, pod, node, to)]
            best = max(map(free, would_do))
            alike = [node.name for node in would_do if abs(free(node) - best) < 1e-9]
            assert answer.node == min(alike)


@given(worlds(), SIDES)
def test_what_is_placed_one_after_the_other_never_passes_what_a_node_has(census, to):
    ground, promised = Ground.of(census, PLAIN), []
    for pod in census.pods:
        answer = ground.find(pod, to)
        if isinstance(answer, Destination):
            node = next(node for node in census.nodes if node.name == answer.node)
            assert not oracle.breaks(census, pod, node, to, promised)
            ground = ground.taking(pod, answer.node)
            promised.append((pod, answer.node))


@given(worlds(), SIDES, st.integers(0, 7), st.sampled_from(NAMES))
def test_taking_room_never_makes_room_elsewhere(census, to, number, node):
    ground = Ground.of(census, PLAIN)
    taken = ground.taking(census.pods[number % len(census.pods)], node)
    for pod in census.pods:
        assert isinstance(ground.find(pod, to), Destination) or not isinstance(taken.find(pod, to), Destination)


@given(worlds(), SIDES, st.randoms(use_true_random=False))
def test_the_order_of_nodes_and_pods_changes_nothing(census, to, random):
    nodes, pods = [*census.nodes], [*census.pods]
    random.shuffle(nodes)
    random.shuffle(pods)
    shuffled = msgspec.structs.replace(census, nodes=tuple(nodes), pods=tuple(pods))
    one, other = Ground.of(census, PLAIN), Ground.of(shuffled, PLAIN)
    assert [one.find(pod, to) for pod in census.pods] == [other.find(pod, to) for pod in census.pods]


@given(worlds(), SIDES, st.integers(0, 4), st.sampled_from(TAINTS), PODS)
def test_a_taint_or_a_pod_more_never_makes_a_destination(census, to, number, taint, newcomer):
    nodes = [*census.nodes]
    number %= len(nodes)
    nodes[number] = msgspec.structs.replace(nodes[number], taints=(*nodes[number].taints, taint))
    newcomer = msgspec.structs.replace(newcomer, name="new", uid="new")
    before = Ground.of(census, PLAIN)
    after = Ground.of(msgspec.structs.replace(census, nodes=tuple(nodes), pods=(*census.pods, newcomer)), PLAIN)
    for pod in census.pods:
        assert isinstance(before.find(pod, to), Destination) or not isinstance(after.find(pod, to), Destination)


@given(worlds(), SIDES)
def test_leaving_opens_only_what_the_pod_itself_stood_in_the_way_of(census, to):
    ground = Ground.of(census, PLAIN)
    for pod in census.pods:
        staying, leaving = ground.find(pod, to), ground.find(pod, to, leaving=True)
        assert isinstance(leaving, Destination) or not isinstance(staying, Destination)
        if staying != leaving:
            assert pod.needs.apart_by


@given(worlds())
def test_no_pod_is_sent_to_a_side_that_nobody_is_on(census):
    nodes = tuple(node for node in census.nodes if node.labels.get("karpenter.sh/capacity-type") != "spot")
    ground = Ground.of(msgspec.structs.replace(census, nodes=nodes), PLAIN)
    assert not any(isinstance(ground.find(pod, Side.SPOT), Destination) for pod in census.pods)
