"""From changes to RFC 6902 operations, and the check that stands before every one of them.

A patch that does not apply rejects the pod, whatever the failure policy says. So each is
applied here first, and whatever it would do beyond adding our own is an error of ours.
"""

import copy
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, TypedDict

import msgspec

from webhook.core import affinity, consent, labels
from webhook.core.model import Toleration
from webhook.core.placement import DECISION, DELETION_COST, Changes
from webhook.core.pod import DEFAULT_SCHEDULER
from webhook.errors import PatchError

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_NODE_AFFINITY = "/spec/affinity/nodeAffinity"
_OURS = frozenset({DECISION, DELETION_COST})

Json = dict[str, Any]


class Operation(TypedDict):
    """We only ever add: never test, remove, move or replace."""

    op: str
    path: str
    value: Any


def build(raw: Mapping[str, Any], changes: Changes) -> list[Operation]:
    """The operations that bring ``changes`` into a pod as it was sent; what is there already is not said twice.

    ``raw`` is the whole object, so that what we do not know survives. An explicit null counts as absent.
    Raises PatchError.
    """
    spec = raw.get("spec") or {}
    try:
        node_affinity = _node_affinity(spec, changes)
    except affinity.TooManyTermsError as exc:
        raise PatchError("the required terms would pass their limit") from exc
    annotations = _annotations(raw.get("metadata") or {}, changes.annotations)
    scheduler = _scheduler(spec, changes.scheduler_name)
    return [*annotations, *node_affinity, *_tolerations(spec, changes.tolerations), *scheduler]


def _add(path: str, value: object) -> Operation:
    return {"op": "add", "path": path, "value": value}


def escape(key: str) -> str:
    """A key as a JSON Pointer token."""
    return key.replace("~", "~0").replace("/", "~1")


def _annotations(metadata: Mapping[str, Any], wanted: Mapping[str, str]) -> list[Operation]:
    present = metadata.get("annotations")
    if not wanted:
        return []
    if present is None:
        return [_add("/metadata/annotations", dict(wanted))]
    return [_add(f"/metadata/annotations/{escape(k)}", v) for k, v in wanted.items() if present.get(k) != v]


def _tolerations(spec: Mapping[str, Any], wanted: tuple[Toleration, ...]) -> list[Operation]:
    # msgspec leaves out what is None, which is how a pod is written.
    values = [msgspec.to_builtins(toleration) for toleration in wanted]
    present = spec.get("tolerations")
    if not values:
        return []
    if not present:
        return [_add("/spec/tolerations", values)]
    return [_add("/spec/tolerations/-", value) for value in values if value not in present]


def _scheduler(spec: Mapping[str, Any], wanted: str) -> list[Operation]:
    if not wanted or not _has_default_scheduler(spec):
        return []
    # `add` writes over the default's name, which the API server has filled in before we see the pod.
    return [_add("/spec/schedulerName", wanted)]


def _has_default_scheduler(spec: Mapping[str, Any]) -> bool:
    return spec.get("schedulerName") in {None, "", DEFAULT_SCHEDULER}


def _node_affinity(spec: Mapping[str, Any], changes: Changes) -> list[Operation]:
    whole = spec.get("affinity") or {}
    present = whole.get("nodeAffinity") or {}
    new: Json = {}
    if required := _required(present.get(_REQUIRED), changes):
        new[_REQUIRED] = required
    if preferred := _preferred(present.get(_PREFERRED) or [], changes):
        new[_PREFERRED] = preferred
    if not new:
        return []
    if not whole and not spec.get("affinity"):
        return [_add("/spec/affinity", {"nodeAffinity": new})]
    if not present:
        return [_add(_NODE_AFFINITY, new)]
    return _into_present(present, new)


def _into_present(present: Mapping[str, Any], new: Json) -> list[Operation]:
    operations = [_add(f"{_NODE_AFFINITY}/{_REQUIRED}", new[_REQUIRED])] if _REQUIRED in new else []
    if _PREFERRED in new and present.get(_PREFERRED):
        return [*operations, *(_add(f"{_NODE_AFFINITY}/{_PREFERRED}/-", one) for one in new[_PREFERRED])]
    return [*operations, *([_add(f"{_NODE_AFFINITY}/{_PREFERRED}", new[_PREFERRED])] if _PREFERRED in new else [])]


def _required(present: Mapping[str, Any] | None, changes: Changes) -> Json | None:
    if not changes.required:
        return None
    before = None if present is None else list(present.get("nodeSelectorTerms") or [])
    after = affinity.demand(before, list(changes.required))
    return None if after == before else {**(present or {}), "nodeSelectorTerms": after}


def _preferred(present: list[Json], changes: Changes) -> list[Json]:
    """The wishes that are not there yet, whatever weight their owner gave them."""
    known = [term.get("preference") for term in present]
    wishes = [affinity.wish(alternative, changes.weight) for alternative in changes.preferred]
    return [wish for wish in wishes if wish["preference"] not in known]


def apply(raw: Mapping[str, Any], operations: list[Operation]) -> Json:
    """The object after our own kind of patch. Raises PatchError where a parent is missing."""
    result: Json = copy.deepcopy(dict(raw))
    for operation in operations:
        *parents, last = (t.replace("~1", "/").replace("~0", "~") for t in operation["path"].split("/")[1:])
        target: Any = result
        for token in parents:
            target = target.get(token) if isinstance(target, dict) else None
        if isinstance(target, list) and last == "-":
            target.append(operation["value"])
        elif isinstance(target, dict):
            target[last] = operation["value"]
        else:
            raise PatchError(f"{operation['path']}: its parent is not there")
    return result


def check(raw: Mapping[str, Any], operations: list[Operation]) -> Json:
    """Apply the patch and prove that it only adds what is ours; returns the patched object. Raises PatchError."""
    if any(operation["op"] != "add" for operation in operations):
        raise PatchError("the patch does more than add")
    after = apply(raw, operations)
    ours = _OURS - (_field(raw, "metadata", "annotations") or {}).keys()
    if _rest(raw, ours) != _rest(after, ours):
        raise PatchError("the patch reaches beyond node affinity, tolerations, the scheduler and our annotations")
    stamped = _field(after, "metadata", "annotations")
    if stamped != _field(raw, "metadata", "annotations") and not consent.is_room_for({}, stamped):
        raise PatchError("the annotations would pass Kubernetes' limit")
    _check_prefix(_field(raw, "spec", "tolerations"), _field(after, "spec", "tolerations"), "tolerations")
    before_affinity, after_affinity = (_field(pod, "spec", "affinity", "nodeAffinity") or {} for pod in (raw, after))
    _check_prefix(before_affinity.get(_PREFERRED), after_affinity.get(_PREFERRED), "preferred terms")
    _check_terms(before_affinity.get(_REQUIRED), after_affinity.get(_REQUIRED))
    _check_words(raw, after)
    _check_scheduler(raw, after)
    return after


def _check_scheduler(raw: Mapping[str, Any], after: Json) -> None:
    before, now = _field(raw, "spec", "schedulerName"), _field(after, "spec", "schedulerName")
    if now == before:
        return
    if not _has_default_scheduler({"schedulerName": before}):
        raise PatchError("the patch would take a pod from the scheduler that its owner chose")
    if not isinstance(now, str) or not labels.is_subdomain(now):
        raise PatchError("a scheduler's name that none can have")


def _field(pod: Mapping[str, Any], *path: str) -> Any:
    value: Any = pod
    for key in path:
        value = (value or {}).get(key)
    return value


def _rest(pod: Mapping[str, Any], ours: AbstractSet[str]) -> Json:
    """The pod without what a patch of ours may change, ``ours`` being the annotations it may add."""
    metadata, spec = dict(pod.get("metadata") or {}), dict(pod.get("spec") or {})
    annotations = {k: v for k, v in (metadata.pop("annotations", None) or {}).items() if k not in ours}
    others = {k: v for k, v in (spec.pop("affinity", None) or {}).items() if k != "nodeAffinity"}
    spec.pop("tolerations", None)
    spec.pop("schedulerName", None)
    node_affinity = _field(pod, "spec", "affinity", "nodeAffinity") or {}
    unknown = {k: v for k, v in node_affinity.items() if k not in (_REQUIRED, _PREFERRED)}
    kept = {k: v for k, v in pod.items() if k not in ("metadata", "spec")}
    return {**kept, "metadata": metadata, "spec": spec, "annotations": annotations, "affinity": [others, unknown]}


def _check_prefix(before: list[Any] | None, after: list[Any] | None, what: str) -> None:
    old, new = before or [], after or []
    if new[: len(old)] != old:
        raise PatchError(f"the patch would change the owner's {what}")


def _check_terms(before: Json | None, after: Json | None) -> None:
    """Every term comes from one of the owner's, in their order, with all it asked for; none is lost, none is new."""
    if before is None or before == after:
        return
    terms = list((after or {}).get("nodeSelectorTerms") or [])
    ends = {0}
    for old in before.get("nodeSelectorTerms") or []:
        ends = {end for start in ends for end in _runs(terms, start, old)}
    if len(terms) not in ends:
        raise PatchError("the patch would change the owner's required terms")


def _runs(terms: list[Json], start: int, old: Json) -> list[int]:
    """Where the terms that narrow ``old`` may end, if they begin at ``start``; at least one must."""
    ends = []
    while start < len(terms) and _narrows(terms[start], old):
        start += 1
        ends.append(start)
    return ends


def _narrows(new: Json, old: Json) -> bool:
    own = old.get("matchExpressions") or []
    rest = {k: v for k, v in old.items() if k != "matchExpressions"}
    if {k: v for k, v in new.items() if k != "matchExpressions"} != rest:
        return False
    added = new.get("matchExpressions") or []
    return bool(added[: len(own)] == own) and (new == old or bool(own or old.get("matchFields")))


def _check_words(raw: Mapping[str, Any], after: Json) -> None:
    """Everything we add is spelt as Kubernetes accepts it; the owner's own words are the API server's to judge."""
    added = _added(raw, after, "spec", "tolerations")
    if not all(map(_is_toleration, added)):
        raise PatchError("a toleration that Kubernetes would refuse")
    wishes = _added(raw, after, "spec", "affinity", "nodeAffinity", _PREFERRED)
    if any(not 1 <= wish.get("weight", 0) <= 100 for wish in wishes):
        raise PatchError("a preference has a weight outside 1..100")
    narrowed = [wish.get("preference") or {} for wish in wishes]
    if any(set(term) != {"matchExpressions"} or not term["matchExpressions"] for term in narrowed):
        raise PatchError("a preference without expressions, which would like every node")
    expressions = [e for term in narrowed for e in term["matchExpressions"]] + _demanded(raw, after)
    if not all(map(_is_expression, expressions)):
        raise PatchError("a node selector requirement that Kubernetes would refuse")


def _added(raw: Mapping[str, Any], after: Json, *path: str) -> list[Any]:
    return (_field(after, *path) or [])[len(_field(raw, *path) or []) :]


def _demanded(raw: Mapping[str, Any], after: Json) -> list[Any]:
    """The expressions of required terms that follow the owner's own in the longest of their terms they begin with."""
    where = ("spec", "affinity", "nodeAffinity", _REQUIRED, "nodeSelectorTerms")
    old, new = (_field(pod, *where) or [] for pod in (raw, after))
    if new == old:
        return []
    owned = [term.get("matchExpressions") or [] for term in old]
    tails: list[Any] = []
    for term in new:
        whole = term.get("matchExpressions") or []
        tails += whole[max((len(own) for own in owned if whole[: len(own)] == own), default=0) :]
    return tails


def _is_expression(expression: Mapping[str, Any]) -> bool:
    values = expression.get("values", [])
    counts = bool(values) == (expression.get("operator") in ("In", "NotIn"))
    return (
        set(expression) <= {"key", "operator", "values"}
        and expression.get("operator") in ("In", "NotIn", "Exists", "DoesNotExist")
        and labels.is_key(expression.get("key") or "")
        and counts
        and all(map(labels.is_value, values))
    )


def _is_toleration(toleration: Mapping[str, Any]) -> bool:
    """Narrower than what Kubernetes accepts: ours always name a key and an effect, and never a time."""
    value = toleration.get("value") or ""
    return (
        set(toleration) <= {"key", "operator", "value", "effect"}
        and labels.is_key(toleration.get("key") or "")
        and labels.is_value(value)
        and toleration.get("effect") in ("NoSchedule", "NoExecute")
        and toleration.get("operator") in (("Equal",) if value else ("Exists",))
    )
