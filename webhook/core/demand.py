"""What a pod asks of a node by itself: what the webhook added to it holds for the pod that runs, not for its replacement."""

from collections.abc import Iterable

from webhook.core import affinity, inventory, spotpool
from webhook.core.census import NodeFact, PodFact
from webhook.core.model import Requirement, Side, Taint, Toleration
from webhook.core.spotpool import Marker
from webhook.core.terrain import ARCHITECTURE, OS, Terms


def is_too_long(pod: PodFact) -> bool:
    """Whether its selector and terms are more than is looked at; a tenant may write thousands."""
    requirements = [requirement for term in pod.needs.terms or () for requirement in term]
    words = 2 * len(pod.needs.node_selector) + sum(1 + len(requirement.values) for requirement in requirements)
    return words > affinity.MAX_WORDS


def selector(pod: PodFact) -> tuple[Requirement, ...]:
    """Its node selector, as requirements."""
    return tuple(Requirement(key, "In", (value,)) for key, value in pod.needs.node_selector)


def terms(pod: PodFact, markers: Iterable[Marker]) -> Terms | None:
    """Its required terms, less what the webhook demanded for a side; None where any node will do.

    An owner who writes the very same requirement is taken for us: the move then comes to nothing, and is not tried
    for long. The other way round, a pod that was once held to its side could never leave it.
    """
    if pod.needs.terms is None or _stamp(pod, 2) != "required":
        return pod.needs.terms
    ours = {requirement for marker in markers for requirement in _either_way(marker)}
    own = tuple(tuple(r for r in term if r not in ours) for term in pod.needs.terms)
    # An empty term meets nothing and is never added to; one that is empty now was all ours.
    freed = any(before and not after for before, after in zip(pod.needs.terms, own, strict=True))
    return None if freed else own


def _either_way(marker: Marker) -> Iterable[Requirement]:
    yield from marker
    for alternative in affinity.not_any((marker,)):
        yield from alternative


def _stamp(pod: PodFact, part: int) -> str:
    """A part of ``v1/<side>/<how>/<transition>``; empty where the webhook stamped nothing."""
    parts = pod.decision.split("/")
    return parts[part] if len(parts) == 4 else ""


def is_steered_to(pod: PodFact, side: Side) -> bool:
    """Whether the webhook steered it there."""
    return _stamp(pod, 1) == side.value


def tolerates(pod: PodFact, taint: Taint) -> bool:
    """Whether it does so for good: a toleration for some seconds lets it in only to be evicted again."""
    lasting = (t for t in pod.needs.tolerations if taint.effect != "NoExecute" or t.toleration_seconds is None)
    needed = Toleration(key=taint.key, operator="Equal", value=taint.value, effect=taint.effect)
    return spotpool.is_tolerated(lasting, needed)


def platform(pod: PodFact, node: NodeFact | None) -> dict[str, str] | None:
    """The system and architecture that it must find, by label, less what its selector or terms say themselves.

    None where that is not known: its image may be made for what its ``node`` is, and for nothing else.
    """
    silent = [key for key in (OS, ARCHITECTURE) if not _says(pod, key)]
    if not silent:
        return {}
    if node is None:
        return None
    now = inventory.platform_of(node.labels)
    return {key: value for key, value in ((OS, now.os), (ARCHITECTURE, now.architecture)) if key in silent}


def _says(pod: PodFact, key: str) -> bool:
    if any(key == mine for mine, _ in pod.needs.node_selector):
        return True
    filled = [term for term in pod.needs.terms or () if term]
    return bool(filled) and all(any(r.key == key and r.operator == "In" for r in term) for term in filled)
