"""From a pod that is about to be scheduled to what is scored: where it wants to be and what it will use, or why it is left alone.

Left alone means that every node is as good as any other: the scheduler then places the pod as it would without us.
"""

from enum import StrEnum

from webhook.core import affinity, consent, nodetable, placement, spotpool
from webhook.core.expectation import expect
from webhook.core.model import CapacityType, Resources
from webhook.core.placement import PlacementRequest
from webhook.core.pod import Pod
from webhook.core.policy import Policy
from webhook.core.quantity import MOST_BYTES, MOST_CORES
from webhook.core.scoring import Candidate
from webhook.core.snapshot import Snapshot

_MIRROR = "kubernetes.io/config.mirror"
_LONGEST_UID = 256
_NO_NAMESPACE = ""


class Neutral(StrEnum):
    """Why a pod is not scored; fit for a metric label."""

    PAUSED = "paused"  # take `scoring` out of `pause`
    EXCLUDED_NAMESPACE = "excluded-namespace"
    DAEMONSET = "daemonset"  # it names its node
    STATIC = "static"
    OPTED_OUT = "opted-out"


def candidate(pod: Pod, requests: Resources, snapshot: Snapshot) -> Candidate | Neutral:
    """What to score the nodes for. ``pod`` is as the API server knows it, with namespace and UID."""
    if refusal := _left_alone(pod, snapshot.meta.policy):
        return refusal
    own = pod.metadata
    namespace, uid = own.namespace or "", own.uid or f"{own.namespace}/{own.name}"
    workload = placement.find_workload(PlacementRequest(uid=uid, namespace=namespace, pod=pod), snapshot)
    return Candidate(
        uid=uid[:_LONGEST_UID],
        namespace=namespace if _is_known(namespace, snapshot) else _NO_NAMESPACE,
        wants=wants(pod, snapshot),
        expected=expect(workload, snapshot.namespaces.get(namespace), _bounded(requests)),
    )


def wants(pod: Pod, snapshot: Snapshot) -> CapacityType:
    """Spot where the webhook steered it there, or its own demand says so in the words of a spot marker."""
    stamp = (pod.metadata.annotations or {}).get(placement.DECISION, "").split("/")
    if len(stamp) == 4 and stamp[:2] == ["v1", CapacityType.SPOT.value]:
        return CapacityType.SPOT
    demanded = affinity.is_held_to(pod, spotpool.fleet(snapshot).markers)
    return CapacityType.SPOT if demanded else CapacityType.REGULAR


def _left_alone(pod: Pod, policy: Policy) -> Neutral | None:
    own, owner = pod.metadata, pod.controller
    kind = owner.kind if owner else ""
    if "scoring" in policy.pause:
        return Neutral.PAUSED
    if own.namespace in policy.excluded_namespaces:
        return Neutral.EXCLUDED_NAMESPACE
    if kind == "DaemonSet":
        return Neutral.DAEMONSET
    if kind == "Node" or (own.annotations and _MIRROR in own.annotations):
        return Neutral.STATIC
    if own.labels and own.labels.get(consent.SKIP_LABEL) == "true":
        return Neutral.OPTED_OUT
    return None


def _is_known(namespace: str, snapshot: Snapshot) -> bool:
    """Names that nobody has read are kept as one: a caller may invent any number of them."""
    return namespace in snapshot.namespaces or namespace in nodetable.table(snapshot).namespaces


def _bounded(requests: Resources) -> Resources:
    return Resources(cpu_cores=min(requests.cpu_cores, MOST_CORES), memory_bytes=min(requests.memory_bytes, MOST_BYTES))
