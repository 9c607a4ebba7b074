"""Node affinity as algebra: how a demand or a wish joins what the owner already wrote.

Kubernetes' rules (component-helpers/scheduling/corev1/nodeaffinity): terms are ORed, requirements
inside a term are ANDed, and a term without requirements matches nothing. So a demand is ANDed into
every term; one more term would widen the pod instead of narrowing it.
"""

from collections.abc import Iterable, Mapping

import msgspec

from webhook.core import spotpool
from webhook.core.model import Platform, Requirement, Taint, Toleration
from webhook.core.pod import Affinity, Pod, PreferredTerm, SelectorRequirement, SelectorTerm
from webhook.core.spotpool import Landing, Marker

MAX_TERMS = 32
"""More than this is no affinity any more: each term is evaluated for every node of the cluster."""

MAX_WORDS = 128
"""Of an owner's selector and terms: more than this is not looked at to find the pod a destination."""

_HOSTNAME = "kubernetes.io/hostname"
_OPPOSITE = {"In": "NotIn", "NotIn": "In", "Exists": "DoesNotExist", "DoesNotExist": "Exists"}

Alternative = tuple[Requirement, ...]
Json = dict[str, object]


class TooManyTermsError(Exception):
    """The product of the owner's terms and ours would pass MAX_TERMS."""


def required_terms(pod: Pod) -> list[SelectorTerm] | None:
    """The owner's required terms; None where there is no such demand."""
    affinity = (pod.spec.affinity or Affinity()).node_affinity
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    return None if required is None else list(required.node_selector_terms or ())


def preferred_terms(pod: Pod) -> list[PreferredTerm]:
    """The owner's wishes."""
    affinity = (pod.spec.affinity or Affinity()).node_affinity
    return list((affinity.preferred_during_scheduling_ignored_during_execution if affinity else None) or ())


def is_empty(term: SelectorTerm) -> bool:
    return not term.match_expressions and not term.match_fields


def as_requirement(expression: SelectorRequirement) -> Requirement:
    return Requirement(expression.key, expression.operator, tuple(expression.values or ()))


def is_pinned(pod: Pod) -> bool:
    """Whether it names its node: a DaemonSet's pod, or one that is meant for one machine."""
    if _HOSTNAME in (pod.spec.node_selector or {}):
        return True
    terms = [term for term in required_terms(pod) or () if not is_empty(term)]
    return any(term.match_fields for term in terms) or (bool(terms) and all(map(_names_a_host, terms)))


def _names_a_host(term: SelectorTerm) -> bool:
    return any(e.key == _HOSTNAME and e.operator == "In" for e in term.match_expressions or ())


def contradicts(pod: Pod, alternatives: Iterable[Alternative]) -> bool:
    """Whether the owner already says where, so that none of the alternatives can ever hold."""
    return not any(_possible(pod, alternative) for alternative in alternatives)


def _possible(pod: Pod, alternative: Alternative) -> bool:
    selector = pod.spec.node_selector or {}
    chosen = ((mine, selector[mine.key]) for mine in alternative if mine.key in selector)
    if any(_disjoint(mine, Requirement(mine.key, "In", (value,))) for mine, value in chosen):
        return False
    terms = required_terms(pod)
    filled = [term for term in terms or () if not is_empty(term)]
    return not filled or any(_agrees(term, alternative) for term in filled)


def _agrees(term: SelectorTerm, alternative: Alternative) -> bool:
    # Few keys are ours, and a term may hold tens of thousands of others.
    keys = {mine.key for mine in alternative}
    theirs = [as_requirement(e) for e in term.match_expressions or () if e.key in keys]
    return not any(_disjoint(mine, other) for mine in alternative for other in theirs)


def _disjoint(one: Requirement, other: Requirement) -> bool:
    """Whether no value of the label can meet both. Sound for the operators that markers use."""
    if one.key != other.key:
        return False
    pair = {one.operator: one, other.operator: other}
    if one.operator == other.operator == "In":
        return not set(one.values) & set(other.values)
    if "In" in pair and "NotIn" in pair:
        return set(pair["In"].values) <= set(pair["NotIn"].values)
    return "DoesNotExist" in pair and bool({"In", "Exists"} & pair.keys())


def lands(
    pod: Pod,
    alternatives: Iterable[Alternative],
    tolerations: Iterable[Toleration],
    landings: Iterable[Landing],
    platforms: Iterable[Platform],
) -> bool:
    """Whether the pod, held to one of the alternatives and with our tolerations, surely has somewhere to go.

    Surely: by its own selector and terms, the labels that are known and the taints; room and the rest of the world
    are the scheduler's. A declared pool's nodes are taken to be of one of ``platforms``, as our demand says.
    The cost is bounded by MAX_WORDS and the landings; a pod that asks more than that is not known to land.
    """
    own = _owned(pod)
    if own is None:
        return False
    carried = [*(pod.spec.tolerations or ()), *tolerations]
    wanted, known = list(alternatives), sorted(platforms)
    tolerated: dict[Taint, bool] = {}
    for landing in landings:
        for taint in landing.taints:
            if taint not in tolerated:
                tolerated[taint] = spotpool.is_tolerated(carried, spotpool.toleration_of(taint))
        if all(tolerated[taint] for taint in landing.taints) and any(
            _meets_any(ground, wanted) and _meets_any(ground, own) for ground in _grounds(landing, known)
        ):
            return True
    return False


def _owned(pod: Pod) -> list[Alternative] | None:
    """What the owner asks of a node, as alternatives; None where it is too much to look at or by the node's name."""
    selector = tuple(Requirement(key, "In", (value,)) for key, value in (pod.spec.node_selector or {}).items())
    terms = required_terms(pod)
    filled = [term for term in terms or () if not is_empty(term)]
    expressions = [e for term in filled for e in term.match_expressions or ()]
    words = 2 * len(selector) + len(expressions) + sum(len(e.values or ()) for e in expressions)
    if words > MAX_WORDS or any(term.match_fields for term in filled):
        return None
    if terms is None:
        return [selector]
    return [(*selector, *map(as_requirement, term.match_expressions or ())) for term in filled]


def _grounds(landing: Landing, platforms: list[Platform]) -> list[Landing]:
    """A declared pool once per platform that it may have; what its own labels say of that stands."""
    if not landing.given or not platforms:
        return [landing]
    said = [{"kubernetes.io/os": one.os, "kubernetes.io/arch": one.architecture} for one in platforms]
    return [msgspec.structs.replace(landing, labels=labels | landing.labels) for labels in said]


def _meets_any(landing: Landing, alternatives: list[Alternative]) -> bool:
    return any(all(map(landing.surely_meets, alternative)) for alternative in alternatives)


def not_any(markers: Iterable[Marker]) -> list[Alternative]:
    """What holds on a node that shows none of the markers, as alternatives (a product: each marker fails somewhere)."""
    result: list[Alternative] = [()]
    for marker in markers:
        result = [
            (*before, _negated(one)) if _negated(one) not in before else before for before in result for one in marker
        ]
        if len(result) > MAX_TERMS:
            raise TooManyTermsError
    return list(dict.fromkeys(result))


def off_or_on(markers: Iterable[Marker], platforms: Iterable[Platform]) -> tuple[Alternative, ...]:
    """Nodes that show none of the markers, or are of these platforms; more than `fits` any pod where it takes too many."""
    try:
        return (*not_any(markers), *on_platforms(platforms))
    except TooManyTermsError:
        return ((),) * (MAX_TERMS + 1)


def _negated(requirement: Requirement) -> Requirement:
    return Requirement(requirement.key, _OPPOSITE[requirement.operator], requirement.values)


def on_platforms(platforms: Iterable[Platform]) -> list[Alternative]:
    """Nodes of these platforms, one alternative per operating system."""
    by_os: dict[str, list[str]] = {}
    for platform in sorted(platforms):
        by_os.setdefault(platform.os, []).append(platform.architecture)
    return [
        (Requirement("kubernetes.io/os", "In", (os,)), Requirement("kubernetes.io/arch", "In", tuple(architectures)))
        for os, architectures in by_os.items()
    ]


def joined(left: Iterable[Alternative], right: Iterable[Alternative]) -> list[Alternative]:
    """AND of two lists of alternatives, without saying a requirement twice; `fits` judges its length."""
    right = list(right)
    return list(dict.fromkeys(_merged(one, other) for one in left for other in right))


def _merged(one: Alternative, other: Alternative) -> Alternative:
    return (*one, *(requirement for requirement in other if requirement not in one))


def demand(raw_terms: list[Json] | None, alternatives: list[Alternative]) -> list[Json]:
    """The required terms after ANDing ``alternatives`` into each; the owner's keep their order, fields and unknown keys.

    A term that already implies one of the alternatives stays as it is, so that the second time changes
    nothing. An empty term stays empty: it matches nothing, and filling it would widen the pod.
    Raises TooManyTermsError.
    """
    if raw_terms is None:
        return [{"matchExpressions": [as_json(r) for r in alternative]} for alternative in alternatives]
    result: list[Json] = []
    for term in raw_terms:
        result += _demanded(term, alternatives)
    if len(result) > max(MAX_TERMS, len(raw_terms)):
        raise TooManyTermsError
    return result


def _demanded(term: Json, alternatives: list[Alternative]) -> list[Json]:
    expressions = _expressions(term)
    if not expressions and not term.get("matchFields"):
        return [term]
    present = [_plain(e) for e in expressions]
    missing = [[r for r in map(as_json, alternative) if r not in present] for alternative in alternatives]
    if any(not rest for rest in missing):
        return [term]
    return [{**term, "matchExpressions": [*expressions, *rest]} for rest in missing]


def _expressions(term: Json) -> list[Json]:
    found = term.get("matchExpressions")
    return [e for e in found if isinstance(e, dict)] if isinstance(found, list) else []


def _plain(expression: Mapping[str, object]) -> Json:
    plain: Json = {"key": expression.get("key"), "operator": expression.get("operator")}
    if expression.get("values"):
        plain["values"] = expression["values"]
    return plain


def as_json(requirement: Requirement) -> Json:
    """As it stands in a pod."""
    plain: Json = {"key": requirement.key, "operator": requirement.operator}
    if requirement.values:
        plain["values"] = list(requirement.values)
    return plain


def wish(alternative: Alternative, weight: int) -> Json:
    """A preferred term."""
    return {"weight": weight, "preference": {"matchExpressions": [as_json(r) for r in alternative]}}


def is_demanded(pod: Pod, alternatives: Iterable[Alternative]) -> bool:
    """Whether each of the pod's terms that can match at all asks for one of them already."""
    wanted = [set(alternative) for alternative in alternatives]
    asked = [set(map(as_requirement, t.match_expressions or ())) for t in required_terms(pod) or () if not is_empty(t)]
    return bool(asked) and all(any(one <= mine for one in wanted) for mine in asked)


def is_held_to(pod: Pod, alternatives: Iterable[Alternative]) -> bool:
    """Whether its selector and terms, as they stand at any time, ask for one of them in the same words.

    More than MAX_TERMS terms are not looked at.
    """
    terms = [term for term in required_terms(pod) or () if not is_empty(term)]
    if len(terms) > MAX_TERMS or not (terms or pod.spec.node_selector):
        return False
    wanted = [set(alternative) for alternative in alternatives]
    # Few keys are ours, and a term may hold tens of thousands of others.
    keys = {requirement.key for one in wanted for requirement in one}
    chosen = (pod.spec.node_selector or {}).items()
    selector = {Requirement(key, "In", (value,)) for key, value in chosen if key in keys}
    asked = [
        selector.union(as_requirement(e) for e in term.match_expressions or () if e.key in keys) for term in terms
    ] or [selector]
    return all(any(one <= mine for one in wanted) for mine in asked)


def fits(pod: Pod, alternatives: Iterable[Alternative]) -> bool:
    """Whether ANDing them into the pod's terms stays within MAX_TERMS."""
    terms = required_terms(pod)
    count = 1 if terms is None else sum(1 for term in terms if not is_empty(term))
    return count * sum(1 for _ in alternatives) <= MAX_TERMS
