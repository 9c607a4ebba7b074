"""Small worlds in which a pod of nginx-demo runs on regular-1 and looks for another node."""

from tests.core.move_builders import make_census, make_node_fact, make_pod_fact
from webhook.core.fitting import Destination, Ground
from webhook.core.model import ControllerRef, Requirement, Side, Taint, Toleration
from webhook.core.policy import Policy

PLAIN = Policy()
FOREIGN = Taint("dedicated", "ml")
LEAVING = Taint("ToBeDeletedByClusterAutoscaler", "1700000000")
HOST = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
ANYTHING = (Toleration(operator="Exists"),)
OTHER = {"controller": ControllerRef("ReplicaSet", "other-1", "uid-other-1")}


def regular(name="regular-1", **fields):
    return make_node_fact(name, **fields)


def spot(name="spot-1", **fields):
    return make_node_fact(name, spot=True, **fields)


def found(pod, *world, to=Side.SPOT, policy=PLAIN, leaving=False, **census):
    """Where the pod fits, in a world where it runs on regular-1."""
    ground = Ground.of(make_census(regular(), pod, *world, **census), policy)
    return ground.find(pod, to, leaving=leaving)


def where(*args, **fields):
    """The node's or the pool's name, or the obstacle."""
    answer = found(*args, **fields)
    return answer.node or answer.pool if isinstance(answer, Destination) else answer.obstacle


def terms(*several):
    """Required node affinity: each a term of (key, operator, values...)."""
    return tuple(
        tuple(Requirement(key, operator, tuple(values)) for key, operator, *values in term) for term in several
    )


def bound(number, node="spot-1", **fields):
    """A pod of somebody else's."""
    return make_pod_fact(number, node=node, **(OTHER | fields))
