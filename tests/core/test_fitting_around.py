"""What a destination owes to the rest of the world: moves in flight, volumes, siblings, and pools that are yet to grow."""

import msgspec
import pytest

from tests.builders import KARPENTER_SPOT, make_move, make_workload
from tests.core.fitting_worlds import FOREIGN, HOST, OTHER, PLAIN, ZONE, bound, found, regular, spot, terms, where
from tests.core.move_builders import GIB, SHOP, make_census, make_pod_fact
from webhook.core.constraints import Claim, StorageClass, Volume
from webhook.core.fitting import Destination, Ground, Obstacle
from webhook.core.model import Namespace, Requirement, Resources, Side, Taint, Toleration
from webhook.core.policy import Policy, SpotPool

# --- what is in flight -------------------------------------------------------------------------------------------


def in_flight(**fields):
    facts = {"pod_uid": "pod-1", "destination": "spot-1", "before": ("pod-1",), **fields}
    return make_move(make_workload(facts.pop("of", "nginx-demo")).key, **facts)


FLIGHTS = {
    "promised": (in_flight(), [], Obstacle.NO_ROOM),
    "promised, and its old pod is gone": (in_flight(pod_uid="gone"), [], Obstacle.NO_ROOM),
    "promised elsewhere": (in_flight(destination="spot-2"), [], "spot-1"),
    "promised of a pool": (in_flight(destination=""), [], "spot-1"),
    "come to nothing known": (in_flight(of="gone"), [], "spot-1"),
}


@pytest.mark.parametrize(("move", "others", "answer"), FLIGHTS.values(), ids=FLIGHTS)
def test_what_is_promised_to_a_move_is_not_promised_again(move, others, answer):
    pod = make_pod_fact(1, requests=Resources(2.5, GIB))
    ground = Ground.of(make_census(regular(), spot(), pod, *others), PLAIN, [move])
    got = ground.find(pod, Side.SPOT)
    assert (got.node if isinstance(got, Destination) else got.obstacle) == answer


def test_what_is_promised_is_what_the_moved_pod_asks_and_not_what_its_siblings_do():
    large, small = (make_pod_fact(n, requests=Resources(cpu, GIB)) for n, cpu in ((1, 3.0), (0, 0.1)))
    for moved, answer in ((large, Obstacle.NO_ROOM), (small, Destination(node="spot-1"))):
        move = in_flight(pod_uid=moved.uid, before=("pod-0", "pod-1"))
        got = Ground.of(make_census(regular(), spot(), large, small), PLAIN, [move]).find(large, Side.SPOT)
        assert getattr(got, "obstacle", got) == answer


def test_what_has_landed_is_counted_once():
    old, new = (
        make_pod_fact(n, node=node, requests=Resources(2.0, GIB)) for n, node in ((1, "regular-1"), (2, "spot-1"))
    )
    ground = Ground.of(make_census(regular(), spot(), old, new), PLAIN, [in_flight()])
    assert ground.find(old, Side.SPOT) == Destination(node="spot-1")


# --- volumes -----------------------------------------------------------------------------------------------------

BOUND = Claim("shop", "data", volume="pv")
IN_A, IN_B = (Volume("pv", terms=terms([(ZONE, "In", zone)])) for zone in "ab")
WAITING = StorageClass("ssd", waits=True)
UNBOUND = Claim("shop", "data", storage_class="ssd")
VOLUMES = {
    "a volume of its zone": ([BOUND, IN_A], "spot-1"),
    "a volume of another zone": ([BOUND, IN_B], Obstacle.VOLUME_ZONE),
    "a volume that is everywhere": ([BOUND, Volume("pv")], "spot-1"),
    "a volume of one node": ([BOUND, Volume("pv", terms=terms([(HOST, "In", "regular-1")]))], Obstacle.VOLUME_ZONE),
    "a volume that nobody knows": ([BOUND], Obstacle.VOLUME_UNKNOWN),
    "a claim that nobody knows": ([], Obstacle.VOLUME_UNKNOWN),
    "a claim that waits for its pod": ([UNBOUND, WAITING], "spot-1"),
    "a class of another zone": (
        [UNBOUND, StorageClass("ssd", waits=True, terms=terms([(ZONE, "In", "b")]))],
        Obstacle.VOLUME_ZONE,
    ),
    "a claim that is being bound": ([UNBOUND, StorageClass("ssd")], Obstacle.VOLUME_UNKNOWN),
    "a class that nobody knows": ([UNBOUND], Obstacle.VOLUME_UNKNOWN),
}


@pytest.mark.parametrize(("volumes", "answer"), VOLUMES.values(), ids=VOLUMES)
def test_a_pod_goes_only_where_its_volumes_can(volumes, answer):
    assert where(make_pod_fact(claims=("data",)), spot(labels={ZONE: "a"}), *volumes) == answer


@pytest.mark.parametrize("kind", ["PersistentVolumeClaim", "PersistentVolume", "StorageClass"])
def test_volumes_that_could_not_be_read_are_not_nowhere(kind):
    with_claim = make_pod_fact(claims=("data",))
    assert where(with_claim, spot(labels={ZONE: "a"}), BOUND, IN_A, missing=(kind,)) is Obstacle.VOLUME_UNKNOWN
    assert where(make_pod_fact(), spot(), missing=(kind,)) == "spot-1"


# --- apart and spread --------------------------------------------------------------------------------------------


def test_a_pod_that_wants_its_host_alone_goes_to_no_host_of_its_workload():
    pod, sibling = make_pod_fact(1, apart_by=(HOST,)), make_pod_fact(2, node="spot-1")
    assert where(pod, sibling, spot()) is Obstacle.APART
    assert where(pod, sibling, spot(), spot("spot-2")) == "spot-2"
    assert where(pod, make_pod_fact(2, node="spot-1", **OTHER), spot()) == "spot-1"
    assert where(make_pod_fact(1), sibling, spot()) == "spot-1"


def test_a_pod_that_wants_its_zone_alone_may_take_its_own_place_only_after_it_left():
    in_a = regular("in-a", labels={ZONE: "a"})
    pod = make_pod_fact(1, node="in-a", apart_by=(ZONE,))
    near = [in_a, spot(labels={ZONE: "a"})]
    assert where(pod, *near) is Obstacle.APART
    assert where(pod, *near, leaving=True) == "spot-1"
    assert where(pod, *near, make_pod_fact(2, node="in-a"), leaving=True) is Obstacle.APART


def test_what_is_promised_stands_apart_too():
    pods = [make_pod_fact(n, apart_by=(HOST,)) for n in range(2)]
    ground = Ground.of(make_census(regular(), spot(), *pods), PLAIN)
    assert ground.taking(pods[0], "spot-1").find(pods[1], Side.SPOT).obstacle is Obstacle.APART


def test_a_pod_that_must_be_spread_goes_where_fewest_of_its_workload_are():
    nodes = [spot("a-1", labels={ZONE: "a"}), spot("b-1", labels={ZONE: "b"}), spot("b-2", labels={ZONE: "b"})]
    siblings = [make_pod_fact(2, node="a-1", requests=Resources()), make_pod_fact(3, node="b-2")]
    assert where(make_pod_fact(1, spread_by=(HOST,)), *nodes, *siblings) == "b-1"
    more = [*siblings, make_pod_fact(4, node="b-2")]
    assert where(make_pod_fact(1, spread_by=(ZONE,)), *nodes, *more) == "a-1", "one in a, two in b"
    both = make_pod_fact(1, spread_by=(HOST, ZONE))
    assert where(both, *nodes, *siblings, make_pod_fact(4, node="b-1")) == "a-1", "the more crowded of both counts"
    assert where(make_pod_fact(1, spread_by=("rack",)), *nodes) is Obstacle.SPREAD_UNKNOWN


# --- pools that can grow -----------------------------------------------------------------------------------------

POOL = SpotPool("grown", marker=KARPENTER_SPOT, taints=(FOREIGN,))
GROWS = {
    "a plain pod": ({}, POOL, "grown"),
    "a label of the marker": ({"node_selector": (("karpenter.sh/capacity-type", "spot"),)}, POOL, "grown"),
    "a label that nobody declared": ({"node_selector": (("disk", "ssd"),)}, POOL, Obstacle.NO_SPOT_NODE),
    "terms of the marker": ({"terms": (KARPENTER_SPOT,)}, POOL, "grown"),
    "one of two terms": ({"terms": (*terms([("disk", "In", "ssd")]), KARPENTER_SPOT)}, POOL, "grown"),
    "half of a term": (
        {"terms": ((*KARPENTER_SPOT, Requirement("disk", "In", ("ssd",))),)},
        POOL,
        Obstacle.NO_SPOT_NODE,
    ),
    "an empty term": ({"terms": ((),)}, POOL, Obstacle.NO_SPOT_NODE),
    "its own architecture": ({"terms": terms([("kubernetes.io/arch", "In", "amd64")])}, POOL, Obstacle.NO_SPOT_NODE),
    "a pool of another architecture": (
        {},
        SpotPool("arm", marker=(*KARPENTER_SPOT, Requirement("kubernetes.io/arch", "In", ("arm64",)))),
        Obstacle.NO_SPOT_NODE,
    ),
    "a device": ({"extended": (("gpu", 1.0),)}, POOL, Obstacle.NO_SPOT_NODE),
    "apart by host": ({"apart_by": (HOST,)}, POOL, "grown"),
    "apart by zone": ({"apart_by": (ZONE,)}, POOL, Obstacle.NO_SPOT_NODE),
    "a volume of a zone": ({"claims": ("data",)}, POOL, Obstacle.NO_SPOT_NODE),
}


@pytest.mark.parametrize(("needs", "pool", "answer"), GROWS.values(), ids=GROWS)
def test_a_declared_pool_is_a_destination_by_what_is_declared_of_it(needs, pool, answer):
    assert where(make_pod_fact(**needs), BOUND, IN_A, policy=Policy(spot_pools=(pool,))) == answer


def test_a_pool_grows_only_where_no_live_node_fits_and_only_for_spot():
    policy = Policy(spot_pools=(POOL,))
    pod = make_pod_fact(requests=Resources(3.0, GIB))
    assert where(pod, spot(), policy=policy) == "spot-1"
    full = bound(7, requests=Resources(3.0, GIB))
    assert found(pod, spot(), full, policy=policy) == Destination(pool="grown")
    crowded = bound(8, "regular-1", requests=Resources(1.0, GIB))
    assert where(pod, crowded, to=Side.REGULAR, policy=policy) is Obstacle.NO_ROOM


def test_a_pool_behind_taints_is_closed_where_none_may_be_added():
    namespace = Namespace("shop", {"scheduler.alpha.kubernetes.io/tolerationsWhitelist": "[]"})
    policy = Policy(spot_pools=(POOL,))
    assert where(make_pod_fact(), policy=policy, namespaces=(namespace,)) is Obstacle.NO_SPOT_NODE
    assert where(make_pod_fact(), policy=policy, namespaces=(SHOP,)) == "grown"
    two = msgspec.structs.replace(POOL, taints=(FOREIGN, Taint("gpu")))
    half = make_pod_fact(tolerations=(Toleration(key="gpu", operator="Exists"),))
    assert where(half, policy=Policy(spot_pools=(two,)), namespaces=(namespace,)) is Obstacle.NO_SPOT_NODE
