"""Selectors of labels and of nodes, from the API server's JSON to requirements, and to the text of a query."""

from collections.abc import Iterable

from webhook.core.affinity import Alternative, as_requirement, is_empty
from webhook.core.model import Requirement, Value
from webhook.core.pod import SelectorRequirement, SelectorTerm


class LabelSelector(Value, frozen=True):
    """Both parts must hold; without either it selects everything."""

    match_labels: dict[str, str] | None = None
    match_expressions: tuple[SelectorRequirement, ...] | None = None


def requirements(selector: LabelSelector) -> tuple[Requirement, ...]:
    """What must hold of the labels; none selects everything."""
    labels = sorted((selector.match_labels or {}).items())
    same = (Requirement(key=key, operator="In", values=(value,)) for key, value in labels)
    return (*same, *map(as_requirement, selector.match_expressions or ()))


def query(selector: LabelSelector) -> str:
    """As the text of ``labelSelector=``; the empty text selects everything."""
    return ",".join(map(_text, requirements(selector)))


def _text(requirement: Requirement) -> str:
    match requirement.operator:
        case "In" if len(requirement.values) == 1:
            return f"{requirement.key}={requirement.values[0]}"
        case "In":
            return f"{requirement.key} in ({','.join(requirement.values)})"
        case "NotIn":
            return f"{requirement.key} notin ({','.join(requirement.values)})"
        case "DoesNotExist":
            return f"!{requirement.key}"
        case _:
            return requirement.key


def node_terms(terms: Iterable[SelectorTerm] | None) -> tuple[Alternative, ...] | None:
    """Terms of a required node affinity, each a conjunction; None where there is no such demand.

    A term without requirements matches no node, so it is left out; what is asked of a node's fields is written as a
    requirement on ``metadata.name``, which no node has as a label.
    """
    if terms is None:
        return None
    return tuple(
        tuple(as_requirement(e) for e in (*(term.match_expressions or ()), *(term.match_fields or ())))
        for term in terms
        if not is_empty(term)
    )
