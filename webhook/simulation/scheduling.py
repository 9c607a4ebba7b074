"""The scheduler's choice, as far as it matters here: what a node must have, and what makes it liked.

A node must be Ready and not cordoned, its taints tolerated, the pod's demand met, and have room. Of those that do, the
one with the highest score is taken, equals by chance: the share of the pod's wishes that it meets counts twice, as the
weight of NodeAffinity is, the spread of the owner's pods over nodes twice, the free share of CPU and memory once.
"""

from collections import Counter
from collections.abc import Iterable
from random import Random

from webhook.core import spotpool
from webhook.core.affinity import Alternative
from webhook.core.model import Resources
from webhook.simulation.objects import NodeState, PodState


def choose(pod: PodState, nodes: Iterable[NodeState], rng: Random) -> NodeState | None:
    """Where the pod goes; None where it stays Pending."""
    feasible = [node for node in nodes if is_feasible(pod, node)]
    if not feasible:
        return None
    mates = Counter(other.fact.node_name for other in pod.owner.pods.values())
    company = [mates[node.name] for node in feasible]
    most, liking = max(company), [_liking(pod, node) for node in feasible]
    best = max(liking) or 1
    scores = [
        200.0 * liked / best + 200.0 * (1.0 - near / most if most else 1.0) + _free(node, pod.fact.requests)
        for node, liked, near in zip(feasible, liking, company, strict=True)
    ]
    top = max(scores)
    return rng.choice([node for node, score in zip(feasible, scores, strict=True) if score == top])


def is_feasible(pod: PodState, node: NodeState) -> bool:
    """Whether the node may take the pod now."""
    fact = node.fact
    if not fact.ready or fact.unschedulable or not node.has_room(pod.fact.requests):
        return False
    if not all(
        spotpool.is_tolerated(pod.tolerations, spotpool.toleration_of(t)) for t in spotpool.blocking(fact.taints)
    ):
        return False
    return pod.terms is None or any(_meets(term, node) for term in pod.terms)


def _meets(term: Alternative, node: NodeState) -> bool:
    return spotpool.matches_all(term, node.fact.labels)


def _liking(pod: PodState, node: NodeState) -> int:
    return sum(pod.weight for wish in pod.wishes if _meets(wish, node))


def _free(node: NodeState, requests: Resources) -> float:
    """Least allocated: the free share after the pod, 0..100."""
    whole = node.fact.allocatable
    cpu = 1.0 - (node.cpu_cores + requests.cpu_cores) / whole.cpu_cores
    memory = 1.0 - (node.memory_bytes + requests.memory_bytes) / whole.memory_bytes
    return 50.0 * (cpu + memory)
