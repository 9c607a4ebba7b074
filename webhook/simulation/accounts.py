"""How what happens to a simulated cluster is put on its record."""

from collections.abc import Callable, Mapping
from datetime import datetime

from webhook.core.book import Control
from webhook.core.budget import Wholes
from webhook.core.model import Side, WorkloadKey
from webhook.core.moves import InFlight
from webhook.core.policy import Move as Way
from webhook.simulation.objects import DeploymentState, NodeState, PodState
from webhook.simulation.record import Availability, Booked, How, Taken

Nodes = Mapping[str, NodeState]


def is_spot(nodes: Nodes, pod: PodState) -> bool:
    """Whether the pod's node is there, and spot."""
    return pod.fact.node_name in nodes and nodes[pod.fact.node_name].spot


def availability(found: DeploymentState, nodes: Nodes, told: list[Availability], at: datetime) -> None:
    """Put how many pods serve on the record of the workload, if that has changed."""
    serving = [pod for pod in found.pods.values() if pod.is_available]
    counts = len(serving), found.replicas, sum(is_spot(nodes, pod) for pod in serving)
    if not told or (told[-1].available, told[-1].replicas, told[-1].on_spot) != counts:
        told.append(Availability(at, *counts))


def bookings(before: Control, after: Control, wholes_of: Callable[[], Mapping[Side, Wholes]]) -> list[Booked]:
    """What a write of the book adds to its disruptions, with what percents were of."""
    if after.disruptions is before.disruptions:
        return []
    known = set(before.disruptions)
    fresh = [one for one in after.disruptions if one not in known]
    if not fresh:
        return []
    wholes = wholes_of()
    return [Booked(one, wholes[one.to]) for one in fresh]


def wholes(deployments: Mapping[WorkloadKey, DeploymentState], nodes: Nodes, to: Side) -> Wholes:
    """What the percents of budgets are of, counted from the cluster itself."""
    active = {name: [pod for pod in node.pods.values() if pod.fact.is_active] for name, node in nodes.items()}
    namespaces = dict.fromkeys((key.namespace for key in deployments), 0)
    if to is Side.SPOT:
        counted = [key.namespace for key in deployments]
    else:
        counted = [pod.owner.key.namespace for name, node in nodes.items() if node.spot for pod in active[name]]
    for namespace in counted:
        namespaces[namespace] += 1
    return Wholes(
        cluster=len(counted),
        namespaces=namespaces,
        workloads={found.name: found.replicas for found in deployments.values()},
        nodes={name: len(pods) for name, pods in active.items()},
    )


def taken(pod: PodState, how: How, before: int, move: InFlight | None, *, left: Side, at: datetime) -> Taken:  # noqa: PLR0913
    """A pod that went by our hand; of a surge all replicas must stay, of an eviction what budget and strategy keep."""
    owner = pod.owner
    replicas = move.replicas if move else owner.replicas
    return Taken(
        at=at,
        workload=owner.key,
        pod=pod.fact.name,
        node=pod.fact.node_name,
        left=left,
        move=move,
        how=how,
        before=before,
        after=owner.available,
        floor=replicas if move and move.way is Way.SURGE else owner.floor(replicas),
    )
