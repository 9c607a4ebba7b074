"""What the API server's validation says of keys, values, requirements and tolerations, from its source, by hand.

It shares no line with the product and uses no regular expression: an error in one is not an error in the other.
"""

import string
from typing import Any

Json = dict[str, Any]
ALNUM = set(string.ascii_letters + string.digits)
LOWER = set(string.ascii_lowercase + string.digits)


def qualified_name(text: str) -> bool:
    parts = text.split("/")
    if len(parts) > 2:
        return False
    return _name(parts[-1]) and (len(parts) == 1 or subdomain(parts[0]))


def label_value(text: str) -> bool:
    return text == "" or _name(text)


def subdomain(text: str) -> bool:
    if not 1 <= len(text) <= 253:
        return False
    return all(part and set(part) <= LOWER | {"-"} and {part[0], part[-1]} <= LOWER for part in text.split("."))


def _name(text: str) -> bool:
    return 1 <= len(text) <= 63 and set(text) <= ALNUM | set("-_.") and {text[0], text[-1]} <= ALNUM


def requirement(one: Json) -> bool:
    values = one.get("values") or []
    if one["operator"] in ("In", "NotIn"):
        return bool(values) and qualified_name(one["key"]) and all(map(label_value, values))
    return one["operator"] in ("Exists", "DoesNotExist") and not values and qualified_name(one["key"])


def toleration(one: Json) -> bool:
    key, value, operator = one.get("key") or "", one.get("value") or "", one.get("operator") or "Equal"
    if key and not qualified_name(key):
        return False
    if not key and operator != "Exists":
        return False
    if operator == "Exists" and value:
        return False
    effects = ("", "NoSchedule", "PreferNoSchedule", "NoExecute")
    return operator in ("Equal", "Exists") and label_value(value) and (one.get("effect") or "") in effects


def admits(pod: Json) -> bool:
    """Whether every node affinity term and every toleration of the pod would pass."""
    spec = pod["spec"]
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    terms = list(required["nodeSelectorTerms"]) if required else []
    wishes = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or []
    told = [e for term in [*terms, *(w["preference"] for w in wishes)] for e in term.get("matchExpressions") or []]
    return (
        (required is None or bool(terms))
        and all(1 <= wish["weight"] <= 100 for wish in wishes)
        and all(map(requirement, told))
        and all(map(toleration, spec.get("tolerations") or []))
    )
