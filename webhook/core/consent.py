"""Who may be touched, how, and who decided.

::

    mode, spot, placement, max-spot, move:   pod > workload metadata > namespace > first matching rule > default

At each level our own word comes first, then other tools' words for the same wish. Annotations
only ever lower the mode, and move only in ways that the operator allows. Asking for less
(``never``, ``preferred``, a lower mode) is always heard; asking for more only where
``allowedAnnotations`` has the word. A value nobody can read or may ask for is passed over,
with a note for `explain`: an annotation is a tenant's input and must never break a tenant's pod.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import cache
from typing import TypeVar

from webhook.core import rules
from webhook.core.model import Namespace, Value, Workload
from webhook.core.policy import Mode, Move, MoveWish, PlacementMode, Policy, Rule, SpotWish

PREFIX = "spot-balancer.io/"
SKIP_LABEL = PREFIX + "skip"
MAX_SPOT = re.compile(r"(\d{1,6})(%?)", re.ASCII)

Annotations = Mapping[str, str]
T = TypeVar("T")
W = TypeVar("W", bound=StrEnum)


MAX_ANNOTATION_BYTES = 256 * 1024
"""Of all keys and values of an object together, as Kubernetes counts; an object with more is refused."""


def is_room_for(more: Annotations, present: Annotations | None) -> bool:
    """Whether an object with both stays within MAX_ANNOTATION_BYTES."""
    # A lone surrogate, which no text may have, becomes three bytes on the other side too.
    whole = {**(present or {}), **more}
    size = sum(len(text.encode("utf-8", "surrogatepass")) for item in whole.items() for text in item)
    return size <= MAX_ANNOTATION_BYTES


class Level(StrEnum):
    """Where a value came from."""

    POD = "pod"
    WORKLOAD = "workload"
    NAMESPACE = "namespace"
    RULE = "rule"
    DEFAULT = "default"


# Above zero, as Go reads it; possessive, because a tenant may write a quarter of a megabyte.
DURATION = r"(?=[^1-9]*+[1-9])\+?(?:(?:\d++(?:\.\d*+)?|\.\d++)(?:ns|us|µs|μs|ms|s|m|h))++"
_NEITHER = {"spot": "never", "move": "never"}
# Other tools' words: (annotation, values, what they ask for in our words), honoured so that nobody has to annotate
# twice. Of several at one level the first counts, so those that ask for less come first.
_FOREIGN: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("scheduling.cast.ai/lifecycle", "on-demand", {"spot": "never"}),
    ("spotinst.io/node-lifecycle", "od", {"spot": "never"}),
    ("zalando.org/runtime-policy", "require-on-demand", {"spot": "never"}),
    ("spot.kubecost.com/spot-ready", "false", {"spot": "never"}),
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false", _NEITHER),
    ("karpenter.sh/do-not-disrupt", f"true|{DURATION}", _NEITHER),
    # The descheduler looks only whether the key is there.
    ("descheduler.alpha.kubernetes.io/prefer-no-eviction", "(?s:.*)", {"move": "never"}),
    ("scheduling.cast.ai/lifecycle", "spot", {"spot": "always"}),
    ("spotinst.io/node-lifecycle", "spot", {"spot": "always"}),
)
FOREIGN_KEYS = frozenset(key for key, _, _ in _FOREIGN)
_VETOES = frozenset(key for key, _, asks in _FOREIGN if asks is _NEITHER)
"""They say what must not be disturbed, and nothing of where it should be: a kind is not handled for their sake."""


class Consent(Value, frozen=True, omit_defaults=False):
    """The effective settings of one workload's next pod, each with the level that decided it.

    ``notes`` tell of values that were passed over. ``handled`` is whether its kind is handled at all. ``moves`` are
    the ways a running pod of it may be moved; none is a way too. ``scheduler_name`` is the rule's word on who schedules
    its new pods; empty where it has none.
    """

    mode: Mode
    spot: SpotWish
    placement: PlacementMode
    max_spot: str
    moves: tuple[Move, ...] = ()
    rule: str = ""
    scheduler_name: str = ""
    handled: bool = True
    spot_from: Level = Level.DEFAULT
    mode_from: Level = Level.DEFAULT
    placement_from: Level = Level.DEFAULT
    max_spot_from: Level = Level.DEFAULT
    moves_from: Level = Level.DEFAULT
    notes: tuple[str, ...] = ()


class _Asked:
    """What the annotations of pod, workload and namespace ask for, nearest first."""

    def __init__(self, levels: list[tuple[Level, Annotations]], *, may_ask: tuple[str, ...]) -> None:
        self._levels = levels
        self._may_ask = may_ask
        self.notes: list[str] = []
        self.heard: dict[str, str] = {}
        """By what was asked, the annotation that decided it."""

    def first(
        self,
        name: str,
        read: Callable[[str], T | None],
        *,
        expected: str,
        modest: Callable[[T], bool],
        beyond: Callable[[T], str] = lambda _: "",
    ) -> tuple[T, Level] | None:
        """The nearest value that can be read and may be asked for; at each level our own word comes first.

        ``modest`` values may always be asked for. ``beyond`` says what the operator allows instead of one.
        """
        for level, annotations in self._levels:
            for key, text, word in _words_for(name, annotations):
                value = read(word)
                if value is None:
                    self._pass_over(level, key, text, f"expected {expected}")
                elif not modest(value) and name not in self._may_ask:
                    self._pass_over(level, key, text, "the operator does not let it be asked for")
                elif allowed := beyond(value):
                    self._pass_over(level, key, text, f"the operator allows {allowed}")
                else:
                    self.heard[name] = key
                    if key in FOREIGN_KEYS:
                        self.notes.append(f"{level} annotation {key} read as {name}: {word}")
                    return value, level
        return None

    def _pass_over(self, level: Level, key: str, text: str, why: str) -> None:
        self.notes.append(f"{level} annotation {key}={text[:40]!r} ignored: {why}")


def _words_for(name: str, annotations: Annotations) -> Iterator[tuple[str, str, str]]:
    """Who says ``name`` here: the annotation, its text, and that in our words."""
    own = PREFIX + name
    if own in annotations:
        yield own, annotations[own], annotations[own]
    for key, values, asks in _FOREIGN:
        if name in asks and key in annotations and re.fullmatch(values, annotations[key], re.ASCII):
            yield key, annotations[key], asks[name]


def resolve(pod: Annotations | None, workload: Workload, namespace: Namespace | None, policy: Policy) -> Consent:
    """Settle what applies to a pod of ``workload``; ``pod`` are its annotations, None for "its next pod".

    Whose ``namespace`` is not known is observed only: what it says, and rules by its labels, would go unheard.
    """
    rule = rules.named(policy, workload.rule)
    levels: list[tuple[Level, Annotations]] = [
        (Level.POD, pod or {}),
        (Level.WORKLOAD, workload.annotations),
        (Level.NAMESPACE, namespace.annotations if namespace else {}),
    ]
    may_ask = policy.allowed_annotations
    if rule and rule.allowed_annotations is not None:
        may_ask = rule.allowed_annotations
    asked = _Asked(levels, may_ask=may_ask)
    spot, spot_from = _spot(asked, rule)
    placement, placement_from = _placement(asked, rule, policy)
    max_spot, max_spot_from = _max_spot(asked, rule, policy)
    mode, mode_from = _mode(asked, rule, policy)
    if namespace is None and mode is not Mode.OBSERVE:
        mode, mode_from = Mode.OBSERVE, Level.NAMESPACE
        asked.notes.append("the namespace is not known, so it is observed only")
    moves, moves_from = _moves(asked, rule, policy)
    return Consent(
        mode=mode,
        spot=spot,
        placement=placement,
        max_spot=max_spot,
        moves=moves,
        rule=rule.name if rule else "",
        scheduler_name=(rule.scheduler_name or "") if rule else "",
        # Kinds beyond the default ones are handled where someone asked by name.
        handled=workload.key.kind in policy.kinds
        or (spot_from is not Level.DEFAULT and asked.heard.get("spot") not in _VETOES)
        or rules.asks_for_kind(rule, workload.key.kind),
        spot_from=spot_from,
        mode_from=mode_from,
        placement_from=placement_from,
        max_spot_from=max_spot_from,
        moves_from=moves_from,
        notes=tuple(asked.notes),
    )


def _spot(asked: _Asked, rule: Rule | None) -> tuple[SpotWish, Level]:
    found = asked.first("spot", _member(SpotWish), expected=_words(SpotWish), modest=lambda w: w is SpotWish.NEVER)
    return found or _said(rule.spot if rule else None, SpotWish.AUTO)


def _placement(asked: _Asked, rule: Rule | None, policy: Policy) -> tuple[PlacementMode, Level]:
    found = asked.first(
        "placement",
        _member(PlacementMode),
        expected=_words(PlacementMode),
        modest=lambda p: p is PlacementMode.PREFERRED,
    )
    return found or _said(rule.placement if rule else None, policy.placement)


def _max_spot(asked: _Asked, rule: Rule | None, policy: Policy) -> tuple[str, Level]:
    found = asked.first("max-spot", _share, expected="a share or a count", modest=lambda share: share in ("0", "0%"))
    return found or _said(rule.max_spot if rule else None, policy.max_spot)


def _mode(asked: _Asked, rule: Rule | None, policy: Policy) -> tuple[Mode, Level]:
    ceiling, level = _said(rule.mode if rule else None, policy.mode)
    order = list(Mode)
    found = asked.first(
        "mode",
        _member(Mode),
        expected=_words(Mode),
        modest=lambda _: True,
        beyond=lambda mode: ceiling.value if order.index(mode) > order.index(ceiling) else "",
    )
    return found or (ceiling, level)


def _moves(asked: _Asked, rule: Rule | None, policy: Policy) -> tuple[tuple[Move, ...], Level]:
    """The ways that are both allowed and asked for; an allowed way is never more than the operator's."""
    allowed, level = _said(rule.allowed_moves if rule else None, policy.allowed_moves)
    ways = {MoveWish.AUTO: allowed, MoveWish.NEVER: ()} | {MoveWish(move.value): (move,) for move in allowed}
    found = asked.first(
        "move",
        _member(MoveWish),
        expected=_words(MoveWish),
        modest=lambda wish: wish in (MoveWish.NEVER, MoveWish.AUTO),
        beyond=lambda wish: "" if wish in ways else ", ".join(allowed) or "no move",
    )
    return (ways[found[0]], found[1]) if found else (allowed, level)


def _said(by_rule: T | None, by_default: T) -> tuple[T, Level]:
    return (by_default, Level.DEFAULT) if by_rule is None else (by_rule, Level.RULE)


@cache
def _member(words: type[W]) -> Callable[[str], W | None]:
    known: dict[str, W] = {word.value: word for word in words}
    return known.get


@cache
def _words(words: type[StrEnum]) -> str:
    return ", ".join(word.value for word in words)


def _share(text: str) -> str | None:
    match = MAX_SPOT.fullmatch(text)
    return text if match and not (match[2] and int(match[1]) > 100) else None


def allowed_on_spot(max_spot: str, replicas: int) -> int:
    """How many of ``replicas`` pods may be on spot: a share is rounded down, so that 50 % of one is none."""
    match = MAX_SPOT.fullmatch(max_spot)
    if match is None:
        return 0
    number = int(match[1])
    return min(replicas, replicas * number // 100 if match[2] else number)


def is_drawn(uid: str, workload: Workload, max_spot: str) -> bool:
    """Whether this pod may go, by a ticket drawn from its request's ``uid`` against the chance that the share leaves."""
    going, out_of = _chance(workload, max_spot)
    if going >= out_of:
        return True
    ticket = int.from_bytes(hashlib.sha256(uid.encode("utf-8", "replace")).digest()[:8], "big")
    return ticket * out_of < going << 64


def _chance(workload: Workload, max_spot: str) -> tuple[int, int]:
    """The chance of the next pod, as (going, out of); nought where going is not above nought.

    While pods are missing it is what is left of the share over those that are to come, so that a burst judged on one
    old snapshot ends near the share. Where none is missing the next pod replaces one that the snapshot still counts:
    its predecessor's place is free too, and was on spot with the chance that any of them is.
    """
    if workload.replicas is None and max_spot.endswith("%"):
        # Nobody knows how many a CronJob will ever have at once, so each of its pods is drawn by itself.
        return allowed_on_spot(max_spot, 100), 100
    # At least the one that is just being created: a snapshot may still say none.
    wanted = workload.replicas or workload.pods + 1
    there = workload.pods_on_spot + workload.pods_bound_for_spot
    left = allowed_on_spot(max_spot, wanted) - there
    if wanted > workload.pods:
        return left, wanted - workload.pods
    return left * workload.pods + there, workload.pods
