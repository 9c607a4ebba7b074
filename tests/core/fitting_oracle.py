"""Whether one pod may come to one node, rule by rule, as slowly and plainly as it can be said.

It shares no line with the product but the values; taints, selectors and terms are judged by ``affinity_oracle``.
Only Karpenter's label makes a node spot here, and only AKS's taint marks one.
"""

from fractions import Fraction

from tests.core import affinity_oracle
from webhook.core.model import Side

MARK = "kubernetes.azure.com/scalesetpriority"
LEAVING = "ToBeDeletedByClusterAutoscaler"


def breaks(census, pod, node, to, promised=()):
    """The rules that stand against it; ``promised`` are (pod, node name) pairs placed before."""
    there = [other for other in census.pods if other.node_name == node.name and other.phase != "Succeeded"]
    there += [other for other, name in promised if name == node.name]
    rules = {
        "awake": _awake(node, to),
        "taints": _tolerates(pod, node, to),
        "platform": _platform(census, pod, node),
        "affinity": affinity_oracle.matches_affinity(_json(pod), node.labels),
        "volumes": all(_reached(census, claim, node) for claim in pod.needs.claims),
        "apart": all(_apart(census, pod, node, key, promised) for key in pod.needs.apart_by),
        "ports": not {port for other in there for port in other.needs.host_ports} & set(pod.needs.host_ports),
        "room": _has_room(node, pod, there),
    }
    return {name for name, holds in rules.items() if not holds}


def _has_room(node, pod, there):
    pods = [*there, pod]
    cpu = sum(round(Fraction(pod.requests.cpu_cores) * 1000) for pod in pods)
    memory = sum(round(Fraction(pod.requests.memory_bytes)) for pod in pods)
    gpus = sum(amount for pod in pods for _, amount in pod.needs.extended)
    return (
        cpu <= round(Fraction(node.allocatable.cpu_cores) * 1000)
        and memory <= node.allocatable.memory_bytes
        and len(pods) <= node.allocatable_pods
        and (not pod.needs.extended or gpus <= node.extended.get("gpu", 0))
    )


def _awake(node, to):
    side = Side.SPOT if node.labels.get("karpenter.sh/capacity-type") == "spot" else Side.REGULAR
    return side is to and node.ready and not node.unschedulable and all(taint.key != LEAVING for taint in node.taints)


def _tolerates(pod, node, to):
    taints = [{"key": t.key, "value": t.value, "effect": t.effect} for t in node.taints]
    if to is Side.SPOT:
        taints = [taint for taint in taints if taint["key"] != MARK]
    return affinity_oracle.tolerates_all(_json(pod), taints)


def _platform(census, pod, node):
    now = next((one for one in census.nodes if one.name == pod.node_name), None)
    return now is not None and all(
        now.labels[key] == node.labels[key] for key in ("kubernetes.io/os", "kubernetes.io/arch")
    )


def _reached(census, name, node):
    claim = next((one for one in census.constraints.claims if one.name == name), None)
    volume = next((one for one in census.constraints.volumes if claim and one.name == claim.volume), None)
    if volume is None:
        return False
    terms = [{"matchExpressions": [_expression(r) for r in term]} for term in volume.terms or ()]
    return volume.terms is None or any(affinity_oracle.matches_term(term, node.labels) for term in terms)


def _apart(census, pod, node, key, promised):
    labels = {one.name: one.labels for one in census.nodes}
    homes = [(other, other.node_name) for other in census.pods if other.phase != "Succeeded"]
    near = {labels[name].get(key) for other, name in [*homes, *promised] if name in labels and _kin(other, pod)}
    return node.labels.get(key) is None or node.labels[key] not in near


def _kin(one, other):
    return one.controller is not None and one.controller == other.controller


def _json(pod):
    tolerations = [
        {"key": t.key, "operator": t.operator, "value": t.value or "", "effect": t.effect}
        for t in pod.needs.tolerations
    ]
    spec = {"nodeSelector": dict(pod.needs.node_selector), "tolerations": tolerations}
    if pod.needs.terms is not None:
        terms = [{"matchExpressions": [_expression(r) for r in term]} for term in pod.needs.terms]
        required = {"nodeSelectorTerms": terms}
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return {"spec": spec}


def _expression(requirement):
    return {"key": requirement.key, "operator": requirement.operator, "values": list(requirement.values)}
