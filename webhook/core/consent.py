"""Who may be touched, how, and who decided.

::

    mode, spot, placement, max-spot:   pod > workload metadata > namespace > default

A rule of the operator would stand between namespace and default. Annotations only ever lower
the mode. A value nobody can read is ignored, with a note for `explain`: an annotation is a
tenant's input and must never break a tenant's pod.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

from webhook.core.model import Namespace, Value, Workload
from webhook.core.policy import Mode, PlacementMode, Policy, SpotWish

PREFIX = "spot-balancer.io/"
SKIP_LABEL = PREFIX + "skip"
MAX_SPOT = re.compile(r"(\d{1,6})(%?)", re.ASCII)

Annotations = Mapping[str, str]


class Level(StrEnum):
    """Where a value came from."""

    POD = "pod"
    WORKLOAD = "workload"
    NAMESPACE = "namespace"
    DEFAULT = "default"


# Other tools' words for the same wish, honoured so that nobody has to annotate twice.
_FOREIGN: dict[str, dict[str, SpotWish]] = {
    "scheduling.cast.ai/lifecycle": {"on-demand": SpotWish.NEVER, "spot": SpotWish.ALWAYS},
    "spotinst.io/node-lifecycle": {"od": SpotWish.NEVER, "spot": SpotWish.ALWAYS},
    "zalando.org/runtime-policy": {"require-on-demand": SpotWish.NEVER},
    "spot.kubecost.com/spot-ready": {"false": SpotWish.NEVER},
}
FOREIGN_KEYS = frozenset(_FOREIGN)


class Consent(Value, frozen=True, omit_defaults=False):
    """The effective settings of one workload's next pod, each with the level that decided it.

    ``notes`` tell of values that were ignored. ``handled`` is whether its kind is handled at all.
    """

    mode: Mode
    spot: SpotWish
    placement: PlacementMode
    max_spot: str
    handled: bool = True
    spot_from: Level = Level.DEFAULT
    mode_from: Level = Level.DEFAULT
    placement_from: Level = Level.DEFAULT
    max_spot_from: Level = Level.DEFAULT
    notes: tuple[str, ...] = ()


def resolve(pod: Annotations | None, workload: Workload, namespace: Namespace | None, policy: Policy) -> Consent:
    """Settle what applies to a pod of ``workload``; ``pod`` are its annotations, None for "its next pod"."""
    levels: list[tuple[Level, Annotations]] = [
        (Level.POD, pod or {}),
        (Level.WORKLOAD, workload.annotations),
        (Level.NAMESPACE, namespace.annotations if namespace else {}),
    ]
    notes: list[str] = []
    spot, spot_from = _spot(levels, notes)
    placement, placement_from = _first(levels, "placement", [p.value for p in PlacementMode], notes)
    max_spot, max_spot_from = _max_spot(levels, notes)
    mode, mode_from = _mode(levels, policy.mode, notes)
    return Consent(
        mode=mode,
        spot=spot,
        placement=PlacementMode(placement) if placement else policy.placement,
        max_spot=max_spot or policy.max_spot,
        # Kinds beyond the default ones are handled where someone asked by name.
        handled=workload.key.kind in policy.kinds or spot_from is not Level.DEFAULT,
        spot_from=spot_from,
        mode_from=mode_from,
        placement_from=placement_from,
        max_spot_from=max_spot_from,
        notes=tuple(notes),
    )


def _first(
    levels: Iterable[tuple[Level, Annotations]], name: str, allowed: list[str], notes: list[str]
) -> tuple[str, Level]:
    for level, annotations in levels:
        value = annotations.get(PREFIX + name)
        if value is None:
            continue
        if value in allowed:
            return value, level
        notes.append(f"{level} annotation {PREFIX}{name}={value[:40]!r} ignored: expected {', '.join(allowed)}")
    return "", Level.DEFAULT


def _spot(levels: list[tuple[Level, Annotations]], notes: list[str]) -> tuple[SpotWish, Level]:
    wish, level = _first(levels, "spot", [w.value for w in SpotWish], notes)
    if wish:
        return SpotWish(wish), level
    for level, annotations in levels:
        for key, words in _FOREIGN.items():
            foreign = words.get(annotations.get(key, ""))
            if foreign is not None:
                notes.append(f"{level} annotation {key} read as spot: {foreign}")
                return foreign, level
    return SpotWish.AUTO, Level.DEFAULT


def _max_spot(levels: list[tuple[Level, Annotations]], notes: list[str]) -> tuple[str, Level]:
    for level, annotations in levels:
        value = annotations.get(PREFIX + "max-spot")
        if value is None:
            continue
        match = MAX_SPOT.fullmatch(value)
        if match and not (match[2] and int(match[1]) > 100):
            return value, level
        notes.append(f"{level} annotation {PREFIX}max-spot={value[:40]!r} ignored: expected a share or a count")
    return "", Level.DEFAULT


def _mode(levels: list[tuple[Level, Annotations]], ceiling: Mode, notes: list[str]) -> tuple[Mode, Level]:
    order = list(Mode)
    wanted, level = _first(levels, "mode", [m.value for m in order], notes)
    if not wanted:
        return ceiling, Level.DEFAULT
    if order.index(Mode(wanted)) > order.index(ceiling):
        notes.append(f"{level} annotation {PREFIX}mode={wanted} ignored: the operator allows {ceiling}")
        return ceiling, Level.DEFAULT
    return Mode(wanted), level


def allowed_on_spot(max_spot: str, replicas: int) -> int:
    """How many of ``replicas`` pods may be on spot: a share is rounded down, so that 50 % of one is none."""
    match = MAX_SPOT.fullmatch(max_spot)
    if match is None:
        return 0
    number = int(match[1])
    return min(replicas, replicas * number // 100 if match[2] else number)
