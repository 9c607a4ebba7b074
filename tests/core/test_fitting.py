"""Where a pod would fit, and if nowhere, the first rule that leaves no node."""

import msgspec
import pytest

from tests.builders import AKS_TAINT, KARPENTER_SPOT
from tests.core.fitting_worlds import ANYTHING, FOREIGN, LEAVING, PLAIN, bound, found, regular, spot, terms, where
from tests.core.move_builders import GIB, make_census, make_pod_fact
from webhook.core.fitting import MEANING, Destination, Ground, Obstacle
from webhook.core.model import Namespace, Requirement, Resources, Side, Taint, Toleration
from webhook.core.policy import Policy


def test_every_obstacle_has_a_sentence():
    assert set(MEANING) == set(Obstacle)


def test_a_pod_fits_on_a_spot_node_with_room():
    assert found(make_pod_fact(), spot()) == Destination(node="spot-1")


# --- the side ----------------------------------------------------------------------------------------------------

NOT_AWAKE = {
    "no spot node": [],
    "a typo in the label": [regular("spot-1", labels={"karpenter.sh/capacity-type": "spto"})],
    "a typo in the key": [regular("spot-1", labels={"karpenter.sh/capacity": "spot"})],
    "a spot taint without a label": [regular("spot-1", taints=(AKS_TAINT,))],
    "a fallback node": [
        regular("spot-1", labels={"scheduling.cast.ai/spot": "true", "scheduling.cast.ai/spot-fallback": "true"})
    ],
    "NotReady": [spot(ready=False)],
    "cordoned": [spot(unschedulable=True)],
    "being deleted": [spot(taints=(LEAVING,))],
    "a candidate for deletion": [
        spot(taints=(Taint("DeletionCandidateOfClusterAutoscaler", "1", "PreferNoSchedule"),))
    ],
    "disrupted by Karpenter": [spot(taints=(Taint("karpenter.sh/disrupted"),))],
    "about to be reclaimed": [spot(taints=(Taint("aws-node-termination-handler/spot-itn", "x"),))],
}


@pytest.mark.fault(56)
@pytest.mark.parametrize("nodes", NOT_AWAKE.values(), ids=NOT_AWAKE)
def test_without_an_awake_spot_node_there_is_nowhere_to_go(nodes):
    assert where(make_pod_fact(tolerations=ANYTHING), *nodes) is Obstacle.NO_SPOT_NODE


@pytest.mark.fault(55)
@pytest.mark.parametrize("gone", [{"ready": False}, {"unschedulable": True}, {"taints": (LEAVING,)}])
def test_the_way_back_needs_an_awake_regular_node(gone):
    pod = make_pod_fact(node="spot-1")
    census = make_census(regular(**gone), spot(), pod)
    answer = Ground.of(census, PLAIN).find(pod, Side.REGULAR)
    assert answer.obstacle is Obstacle.NO_REGULAR_NODE


# --- taints ------------------------------------------------------------------------------------------------------

TAINTS = {
    "a provider's marker": (AKS_TAINT, (), PLAIN, "spot-1"),
    "what the operator lists": (FOREIGN, (), Policy(spot_taints=(FOREIGN,)), "spot-1"),
    "a soft taint": (Taint("maintenance", "", "PreferNoSchedule"), (), PLAIN, "spot-1"),
    "a foreign taint": (FOREIGN, (), PLAIN, Obstacle.TAINTS),
    "a foreign taint that it tolerates": (FOREIGN, (Toleration(key="dedicated", value="ml"),), PLAIN, "spot-1"),
    "the same key and another value": (FOREIGN, (Toleration(key="dedicated", value="x"),), PLAIN, Obstacle.TAINTS),
    "a taint without a value": (Taint("a"), (Toleration(key="a"),), PLAIN, "spot-1"),
    "for some seconds": (
        Taint("a", "", "NoExecute"),
        (Toleration(key="a", operator="Exists", toleration_seconds=300),),
        PLAIN,
        Obstacle.TAINTS,
    ),
}


@pytest.mark.parametrize(("taint", "tolerations", "policy", "answer"), TAINTS.values(), ids=TAINTS)
def test_only_a_marker_is_tolerated_for_the_pod(taint, tolerations, policy, answer):
    assert where(make_pod_fact(tolerations=tolerations), spot(taints=(taint,)), policy=policy) == answer


def test_where_tolerations_are_restricted_none_is_added():
    namespace = Namespace("shop", {"scheduler.alpha.kubernetes.io/tolerationsWhitelist": "[]"})
    tainted = spot(taints=(AKS_TAINT,))
    assert where(make_pod_fact(), tainted, namespaces=(namespace,)) is Obstacle.TAINTS
    assert where(make_pod_fact(tolerations=ANYTHING), tainted, namespaces=(namespace,)) == "spot-1"


def test_the_toleration_that_the_webhook_added_opens_no_regular_node():
    lookalike = regular("fallback", taints=(AKS_TAINT,))
    tolerations = (Toleration(key=AKS_TAINT.key, operator="Equal", value="spot", effect="NoSchedule"),)
    pod = make_pod_fact(node="spot-1", tolerations=tolerations)
    ours = msgspec.structs.replace(pod, decision="v1/spot/preferred/1")
    for one, answer in ((pod, Destination(node="fallback")), (ours, Obstacle.TAINTS)):
        found = Ground.of(make_census(spot(), lookalike, one), PLAIN).find(one, Side.REGULAR)
        assert getattr(found, "obstacle", found) == answer


# --- labels ------------------------------------------------------------------------------------------------------

ASKS = {
    "a label": ({"node_selector": (("disk", "ssd"),)}, "spot-1"),
    "another value": ({"node_selector": (("disk", "hdd"),)}, Obstacle.AFFINITY),
    "a label that no snapshot keeps": ({"node_selector": (("cloud.example/rack", "7"),)}, "spot-1"),
    "In": ({"terms": terms([("disk", "In", "hdd", "ssd")])}, "spot-1"),
    "NotIn": ({"terms": terms([("disk", "NotIn", "hdd")])}, "spot-1"),
    "NotIn, and it is": ({"terms": terms([("disk", "NotIn", "ssd")])}, Obstacle.AFFINITY),
    "NotIn of what is not there": ({"terms": terms([("other", "NotIn", "x")])}, "spot-1"),
    "Exists": ({"terms": terms([("disk", "Exists")])}, "spot-1"),
    "DoesNotExist": ({"terms": terms([("disk", "DoesNotExist")])}, Obstacle.AFFINITY),
    "Gt": ({"terms": terms([("cores", "Gt", "7")])}, "spot-1"),
    "Gt, and it is equal": ({"terms": terms([("cores", "Gt", "8")])}, Obstacle.AFFINITY),
    "Lt": ({"terms": terms([("cores", "Lt", "9")])}, "spot-1"),
    "Gt of what is no number": ({"terms": terms([("disk", "Gt", "1")])}, Obstacle.AFFINITY),
    "one of two terms": ({"terms": terms([("disk", "In", "hdd")], [("disk", "In", "ssd")])}, "spot-1"),
    "both of one term": ({"terms": terms([("disk", "In", "ssd"), ("cores", "In", "9")])}, Obstacle.AFFINITY),
    "selector and terms": (
        {"node_selector": (("disk", "ssd"),), "terms": terms([("cores", "In", "9")])},
        Obstacle.AFFINITY,
    ),
    "no term at all": ({"terms": ()}, Obstacle.AFFINITY),
    "an empty term": ({"terms": ((),)}, Obstacle.AFFINITY),
    "a node by its name": ({"by_name": True}, Obstacle.AFFINITY),
    "more than is looked at": ({"terms": terms(*[[("disk", "In", "ssd")]] * 65)}, Obstacle.AFFINITY),
}


@pytest.mark.parametrize(("needs", "answer"), ASKS.values(), ids=ASKS)
def test_selector_and_required_terms_hold_by_all_labels_of_the_node(needs, answer):
    node = spot(labels={"disk": "ssd", "cores": "8", "cloud.example/rack": "7"})
    assert where(make_pod_fact(**needs), node) == answer


HELD = {
    "held to spot, on its way back": ("v1/spot/required/1", [*KARPENTER_SPOT], Side.REGULAR),
    "kept off spot, on its way there": (
        "v1/regular/required/2",
        [Requirement("karpenter.sh/capacity-type", "NotIn", ("spot",))],
        Side.SPOT,
    ),
}


@pytest.mark.parametrize(("decision", "ours", "to"), HELD.values(), ids=HELD)
def test_what_the_webhook_demanded_for_one_side_does_not_hold_for_the_other(decision, ours, to):
    own = Requirement("disk", "In", ("ssd",))
    nodes = [
        make(f"{disk}-{make.__name__}", labels={"disk": disk}) for make in (spot, regular) for disk in ("hdd", "ssd")
    ]

    def goes(*requirements, decision):
        pod = make_pod_fact(decision=decision, terms=(requirements,), node="hdd-regular")
        return Ground.of(make_census(*nodes, pod), PLAIN).find(pod, to)

    assert goes(own, *ours, decision=decision) == Destination(node=f"ssd-{to}")
    assert goes(*ours, decision=decision) == Destination(node="hdd-spot" if to is Side.SPOT else "ssd-regular")
    for owners_word in ("", decision.replace("required", "preferred")):
        assert goes(*ours, decision=owners_word).obstacle is Obstacle.AFFINITY


# --- platform ----------------------------------------------------------------------------------------------------

ARM = {"kubernetes.io/arch": "arm64"}
WINDOWS = {"kubernetes.io/os": "windows"}
SAYS_ARM = (("kubernetes.io/arch", "arm64"),)
PLATFORMS = {
    "another architecture": (ARM, {}, Obstacle.PLATFORM),
    "another system": (WINDOWS, {}, Obstacle.PLATFORM),
    "another architecture that it asks for": (ARM, {"node_selector": SAYS_ARM}, "spot-1"),
    "an architecture in one term only": (
        ARM,
        {"terms": terms([("kubernetes.io/arch", "In", "arm64")], [("kubernetes.io/os", "In", "linux")])},
        Obstacle.PLATFORM,
    ),
    "an architecture in each term": (
        ARM,
        {"terms": terms([("kubernetes.io/arch", "In", "arm64", "amd64")])},
        "spot-1",
    ),
    "the architecture alone where the system differs": (ARM | WINDOWS, {"node_selector": SAYS_ARM}, Obstacle.PLATFORM),
}


@pytest.mark.parametrize(("labels", "needs", "answer"), PLATFORMS.values(), ids=PLATFORMS)
def test_a_pod_goes_only_where_its_image_is_known_to_run(labels, needs, answer):
    assert where(make_pod_fact(**needs), spot(labels=labels)) == answer


def test_a_pod_that_runs_nobody_knows_where_goes_nowhere():
    assert where(make_pod_fact(node="gone"), spot()) is Obstacle.PLATFORM
    both = (("kubernetes.io/arch", "amd64"), ("kubernetes.io/os", "linux"))
    assert where(make_pod_fact(node="gone", node_selector=both), spot()) == "spot-1"


# --- room --------------------------------------------------------------------------------------------------------


ROOMS = {
    "just enough": ({"requests": Resources(4.0, 16 * GIB)}, [], {}, "spot-1"),
    "too much CPU": ({"requests": Resources(4.001, GIB)}, [], {}, Obstacle.NO_ROOM),
    "too much memory": ({"requests": Resources(1.0, 16 * GIB + 1)}, [], {}, Obstacle.NO_ROOM),
    "no CPU left": ({"requests": Resources(1.0, GIB)}, [bound(1, requests=Resources(3.5, GIB))], {}, Obstacle.NO_ROOM),
    "tenths that add up": (
        {"requests": Resources(3.7, GIB)},
        [bound(n, requests=Resources(0.1, GIB)) for n in (1, 2, 3)],
        {},
        "spot-1",
    ),
    "held by a pod on its way out": (
        {"requests": Resources(1.0, GIB)},
        [bound(1, requests=Resources(3.5, GIB), deleting=True)],
        {},
        Obstacle.NO_ROOM,
    ),
    "held by a pod that is starting": (
        {"requests": Resources(1.0, GIB)},
        [bound(1, requests=Resources(3.5, GIB), phase="Pending")],
        {},
        Obstacle.NO_ROOM,
    ),
    "freed by a pod that ended": (
        {"requests": Resources(1.0, GIB)},
        [bound(1, requests=Resources(3.5, GIB), phase="Succeeded")],
        {},
        "spot-1",
    ),
    "the last pod that it takes": ({}, [bound(1)], {"allocatable_pods": 2}, "spot-1"),
    "a pod too many": ({}, [bound(1)], {"allocatable_pods": 1}, Obstacle.NO_ROOM),
    "a device": ({"extended": (("gpu", 1.0),)}, [], {"extended": {"gpu": 1.0}}, "spot-1"),
    "no device": ({"extended": (("gpu", 1.0),)}, [], {}, Obstacle.NO_ROOM),
    "a device in use": (
        {"extended": (("gpu", 1.0),)},
        [bound(1, extended=(("gpu", 1.0),))],
        {"extended": {"gpu": 1.0}},
        Obstacle.NO_ROOM,
    ),
    "a host port": ({"host_ports": (80,)}, [bound(1, host_ports=(443,))], {}, "spot-1"),
    "a host port in use": ({"host_ports": (80,)}, [bound(1, host_ports=(80,))], {}, Obstacle.HOST_PORT),
}


@pytest.mark.parametrize(("pod", "others", "node", "answer"), ROOMS.values(), ids=ROOMS)
def test_a_destination_has_room_for_all_that_the_pod_asks(pod, others, node, answer):
    assert where(make_pod_fact(**pod), spot(**node), *others) == answer


def test_the_node_with_the_most_free_share_is_taken_and_the_name_decides_between_equals():
    small, large = spot("a-small", allocatable=Resources(2.0, 8 * GIB)), spot("b-large")
    pod = make_pod_fact()
    assert where(pod, large, small) == "a-small", "equally free"
    assert where(pod, large, small, bound(1, "a-small")) == "b-large"
    hungry = bound(2, "b-large", requests=Resources(0.0, 8 * GIB))
    assert where(pod, large, small, bound(1, "a-small"), hungry) == "a-small", "the scarcer of both counts"


def test_moves_of_one_run_spread_over_the_nodes():
    pods = [make_pod_fact(n, requests=Resources(1.0, GIB)) for n in range(9)]
    ground = Ground.of(make_census(regular(), spot("a"), spot("b"), *pods), PLAIN)
    went = []
    for pod in pods:
        answer = ground.find(pod, Side.SPOT)
        went.append(answer.node if isinstance(answer, Destination) else answer.obstacle)
        ground = ground.taking(pod, went[-1]) if isinstance(answer, Destination) else ground
    assert went == ["a", "b"] * 4 + [Obstacle.NO_ROOM]


def test_taking_leaves_the_ground_it_came_from_as_it_was():
    pod = make_pod_fact(requests=Resources(3.0, GIB))
    ground = Ground.of(make_census(regular(), spot(), pod), PLAIN)
    taken = ground.taking(pod, "spot-1")
    assert taken.find(pod, Side.SPOT).obstacle is Obstacle.NO_ROOM
    assert ground.find(pod, Side.SPOT) == Destination(node="spot-1")
    assert ground.taking(pod, "") is ground
