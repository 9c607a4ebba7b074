"""Kubernetes' own rules of node affinity and taints, written down from its documentation and source, on raw JSON.

It shares no line with the product: an error in one is not an error in the other.
"""

from typing import Any

Json = dict[str, Any]


def feasible(pod: Json, labels: dict[str, str], taints: list[Json]) -> bool:
    """Whether the scheduler's NodeAffinity and TaintToleration filters let the pod onto the node."""
    return matches_affinity(pod, labels) and tolerates_all(pod, taints)


def matches_affinity(pod: Json, labels: dict[str, str]) -> bool:
    """nodeSelector AND required node affinity."""
    spec = pod["spec"]
    selector = spec.get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    node_affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(matches_term(term, labels) for term in required.get("nodeSelectorTerms") or [])


def matches_term(term: Json, labels: dict[str, str]) -> bool:
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    by_name = {"metadata.name": labels.get("kubernetes.io/hostname", "")}
    return all(_meets(e, labels) for e in expressions) and all(_meets(f, by_name) for f in fields)


def _meets(requirement: Json, labels: dict[str, str]) -> bool:
    key, operator, values = requirement["key"], requirement["operator"], requirement.get("values") or []
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return key not in labels or labels[key] not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    raise AssertionError(f"no strategy makes {operator}")


def tolerates_all(pod: Json, taints: list[Json]) -> bool:
    tolerations = pod["spec"].get("tolerations") or []
    hard = [taint for taint in taints if taint["effect"] in ("NoSchedule", "NoExecute")]
    return all(any(_tolerates(t, taint) for t in tolerations) for taint in hard)


def _tolerates(toleration: Json, taint: Json) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint["value"]
