"""Whose node is it: the weight by which a namespace has its part of what a node gives, held against what it uses there.

``scoring`` reckons, for all nodes at once::

    excess = max(0, use(namespace, node) - load(node) * w / sum of w over the namespaces with load on that node)

as shares of allocatable. A namespace alone on a node has all of it and never an excess; whoever uses little is held to
nothing, because use is measured and never requested.
"""

import re
from collections.abc import Mapping

from webhook.core import rules
from webhook.core.consent import PREFIX
from webhook.core.model import Namespace, Value
from webhook.core.policy import Policy, Rule

WEIGHT = PREFIX + "weight"
DEFAULT = 1.0
LEAST, MOST = 0.001, 1000.0
"""Of a weight: beyond, one namespace would have all of a node or nothing, which is no weight but a quota."""
_NUMBER = re.compile(r"\d{1,4}(?:\.\d{1,6})?", re.ASCII)


class Weight(Value, frozen=True, omit_defaults=False):
    """A namespace's entitlement and who said so; ``note`` tells of an annotation that was passed over."""

    value: float = DEFAULT
    said_by: str = "default"
    note: str = ""


def weight_of(policy: Policy, name: str, *, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Weight:
    """Annotation > first rule with a weight that names this namespace > 1.

    A lower weight than the rule's is always heard, a higher one only where the rule, or the policy, lists ``weight`` in
    ``allowedAnnotations``.
    """
    return settled(policy, rules.first_weighing(policy, name, labels=labels), annotations)


def weight_in(policy: Policy, namespace: Namespace) -> Weight:
    """The same for a snapshot's namespace, whose labels are not there any more: its rule is, by name."""
    return settled(policy, rules.named(policy, namespace.weight_rule), namespace.annotations)


def settled(policy: Policy, rule: Rule | None, annotations: Mapping[str, str]) -> Weight:
    """Annotation > ``rule`` > 1."""
    found = Weight(value=rule.weight, said_by=f"rule {rule.name}") if rule and rule.weight is not None else Weight()
    text = annotations.get(WEIGHT)
    if text is None:
        return found
    wanted = _number(text)
    if wanted is None:
        told = f"{WEIGHT}: {text[:40]!r}; expected a number from {LEAST} to {MOST:g}"
        return Weight(value=found.value, said_by=found.said_by, note=told)
    own = rule.allowed_annotations if rule else None
    allowed = policy.allowed_annotations if own is None else own
    if wanted > found.value and "weight" not in allowed:
        return Weight(value=found.value, said_by=found.said_by, note=f"{WEIGHT}: more than {found.said_by} allows")
    return Weight(value=wanted, said_by="namespace")


def _number(text: str) -> float | None:
    value = float(text) if _NUMBER.fullmatch(text) else 0.0
    return value if LEAST <= value <= MOST else None
