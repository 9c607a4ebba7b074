"""Where moving stands, for people: who is where, what is under way, what holds it up, and what came of past moves.

It only counts what book and snapshot say. What may be moved next is decided elsewhere.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime

from webhook.core import badday, budget, consent, learning
from webhook.core.book import Control
from webhook.core.consent import Consent
from webhook.core.model import CapacityType, Memory, Side, Value, Workload, WorkloadKey
from webhook.core.moves import MISSES, Finished, InFlight, Outcome, SpotHealth, Step
from webhook.core.policy import Limits, Mode, MovePolicy, Policy, SpotWish
from webhook.core.policy import Move as Way
from webhook.core.snapshot import Snapshot

_OF_ITS_NODE = frozenset({"DaemonSet", "Node"})
"""One pod per node, or the node's own: they say nothing of where pods were put."""


class SideCount(Value, frozen=True, omit_defaults=False):
    """Workloads of one mode, by their side in the book; ``left_alone`` are of a kind or namespace that is not handled."""

    mode: Mode
    regular: int = 0
    spot: int = 0
    left_alone: int = 0


class SpotShare(Value, frozen=True, omit_defaults=False):
    """Pods of a namespace that run on spot; those that belong to their node are not counted. ``share`` is 0..1."""

    namespace: str
    workloads: int
    pods: int
    pods_on_spot: int
    share: float


class Underway(Value, frozen=True, omit_defaults=False):
    """A move in flight. ``outcome`` is what one that is being undone will have come to."""

    number: int
    workload: str
    way: Way
    to: Side
    step: Step
    began_at: datetime
    step_at: datetime
    pod: str
    node: str
    destination: str
    outcome: Outcome | None
    note: str


class BudgetLeft(Value, frozen=True, omit_defaults=False):
    """What the cluster's budget leaves to one way: ``limit`` of ``whole``, of which ``used`` within ``window_seconds``.

    ``whole`` counts workloads that may be moved (to spot), or pods on spot (to regular).
    """

    to: Side
    window_seconds: float
    whole: int
    limit: int
    used: int
    left: int


class Freeze(Value, frozen=True, omit_defaults=False):
    """Why no move begins; ``to`` is the way it holds, None for both. ``code`` is one of a bounded set."""

    code: str
    to: Side | None
    since: datetime | None
    reason: str


class Standing(Value, frozen=True, omit_defaults=False):
    """The whole of it. ``heartbeat`` is the end of the monitor's last run, None where there was none.

    ``given_up`` are workloads whose misses have used up the attempts; ``finished`` counts moves that the book remembers.
    """

    at: datetime
    heartbeat: datetime | None
    freezes: tuple[Freeze, ...]
    sides: tuple[SideCount, ...]
    namespaces: tuple[SpotShare, ...]
    spot_nodes_ready: int
    spot_nodes: int
    moves: tuple[Underway, ...]
    budgets: tuple[BudgetLeft, ...]
    given_up: tuple[str, ...]
    finished: int


class Past(Value, frozen=True, omit_defaults=False):
    """A move that ended; ``missed`` counts towards giving up. ``landed_on`` is the node of the pod that came instead."""

    number: int
    ended_at: datetime
    workload: str
    to: Side
    way: Way
    took_seconds: float
    outcome: Outcome
    missed: bool
    pod: str
    node: str
    landed_on: str
    trim: bool
    note: str


def stand(control: Control, snapshot: Snapshot, *, now: datetime) -> Standing:
    """Count it all, for the policy and the workloads of ``snapshot``."""
    policy = snapshot.meta.policy
    settled = {key: _settle(workload, snapshot) for key, workload in snapshot.workloads.items()}
    wholes = {
        Side.SPOT: sum(_may_be_moved(key, one, policy) for key, one in settled.items()),
        Side.REGULAR: sum(
            snapshot.workloads[key].pods_on_spot for key, one in settled.items() if _may_be_moved(key, one, policy)
        ),
    }
    health = badday.observe(
        control.spot,
        badday.SpotNodes.of(snapshot.nodes.values()),
        policy=policy,
        now=now,
        wanted=any(w.verdict is not None and w.verdict.side is Side.SPOT for w in snapshot.workloads.values()),
        finished=control.finished,
    )
    unmovable = "" if wholes[Side.SPOT] else _why_none(policy, any_there=bool(snapshot.workloads))
    spot_nodes = [node for node in snapshot.nodes.values() if node.capacity_type is CapacityType.SPOT]
    return Standing(
        at=now,
        heartbeat=control.heartbeat,
        freezes=tuple(_freezes(control, health, policy, unmovable=unmovable, now=now)),
        sides=_sides(snapshot, settled),
        namespaces=_shares(snapshot),
        spot_nodes_ready=sum(node.ready for node in spot_nodes),
        spot_nodes=len(spot_nodes),
        moves=underway(control),
        budgets=budget_left(control, policy.moves, wholes, now=now),
        given_up=tuple(sorted(_given_up(control, snapshot))),
        finished=len(control.finished),
    )


def underway(control: Control) -> tuple[Underway, ...]:
    """The moves in flight, the eldest first."""
    return tuple(_underway(move) for move in control.moves)


def history(control: Control, *, workload: WorkloadKey | None = None, misses: bool = False) -> tuple[Past, ...]:
    """Moves that ended, the newest first: of one ``workload``, or only those that count as ``misses``."""
    return tuple(
        _past(one)
        for one in sorted(control.finished, key=lambda one: (one.ended_at, one.number), reverse=True)
        if workload in {None, one.workload} and (one.outcome in MISSES or not misses)
    )


def budget_left(
    control: Control, moves: MovePolicy, wholes: Mapping[Side, int], *, now: datetime
) -> tuple[BudgetLeft, ...]:
    """What is left of the cluster's budget each way; ``wholes`` are what a percent is of."""
    return tuple(
        _left(control, limits, to, wholes[to], now=now)
        for to, limits in ((Side.SPOT, moves.to_spot), (Side.REGULAR, moves.to_regular))
    )


def _left(control: Control, limits: Limits, to: Side, whole: int, *, now: datetime) -> BudgetLeft:
    used = sum(one.to is to and now - one.at < limits.window for one in control.disruptions)
    limit = budget.amount(limits.per_cluster, whole)
    return BudgetLeft(
        to=to,
        window_seconds=limits.window.total_seconds(),
        whole=whole,
        limit=limit,
        used=used,
        left=max(0, limit - used),
    )


def _settle(workload: Workload, snapshot: Snapshot) -> Consent:
    return consent.resolve(None, workload, snapshot.namespaces.get(workload.key.namespace), snapshot.meta.policy)


def _is_left_alone(key: WorkloadKey, settled: Consent, policy: Policy) -> bool:
    return not settled.handled or key.namespace in policy.excluded_namespaces


def _may_be_moved(key: WorkloadKey, settled: Consent, policy: Policy) -> bool:
    return settled.mode is Mode.MOVE and bool(settled.moves) and not _is_left_alone(key, settled, policy)


def _why_none(policy: Policy, *, any_there: bool) -> str:
    """Why no workload may be moved, in words that hold for the mode that the configuration has."""
    if not any_there:
        return "no workload is there"
    if policy.mode is Mode.MOVE:
        return "the mode is move, and yet no workload may be moved; `spot-balancer plan -o wide` says why of each"
    return f"no workload may be moved; the mode of the configuration is {policy.mode}"


def _freezes(
    control: Control, health: SpotHealth, policy: Policy, *, unmovable: str, now: datetime
) -> Iterator[Freeze]:
    """What holds most first; ``unmovable`` says why no workload may be moved, and is empty where one may."""
    if unmovable:
        yield Freeze(code="mode", to=None, since=None, reason=unmovable)
    if "moves" in policy.pause:
        yield Freeze(code="configuration", to=None, since=None, reason="the configuration pauses moves")
    if control.paused:
        told = ": ".join(part for part in (control.paused.by, control.paused.reason) if part)
        yield Freeze(code="paused", to=None, since=control.paused.at, reason=told or "paused by a person")
    if control.heartbeat is None or abs(now - control.heartbeat) > policy.sides.heartbeat_ttl:
        reason = "the monitor has not run for too long; look at its Jobs"
        yield Freeze(code="heartbeat", to=None, since=control.heartbeat, reason=reason)
    if control.sanity.alarm:
        reason = f"{control.sanity.alarm}: {control.sanity.reason}"
        yield Freeze(code="alarm", to=Side.SPOT, since=control.sanity.since, reason=reason)
    if why := badday.freeze(health, policy.moves, now):
        yield Freeze(code="spot-bad-day", to=Side.SPOT, since=health.unwell_at, reason=why)


def _sides(snapshot: Snapshot, settled: Mapping[WorkloadKey, Consent]) -> tuple[SideCount, ...]:
    counts: dict[Mode, Counter[str]] = {mode: Counter() for mode in Mode}
    for key, workload in snapshot.workloads.items():
        side = _side(workload, settled[key])
        alone = _is_left_alone(key, settled[key], snapshot.meta.policy)
        counts[settled[key].mode]["left_alone" if alone else side.value] += 1
    return tuple(SideCount(mode=mode, **count) for mode, count in counts.items() if count)


def _side(workload: Workload, settled: Consent) -> Side:
    """What was said in so many words counts before the book."""
    said = {SpotWish.ALWAYS: Side.SPOT, SpotWish.NEVER: Side.REGULAR}.get(settled.spot)
    return said or (workload.verdict.side if workload.verdict else Side.REGULAR)


def _shares(snapshot: Snapshot) -> tuple[SpotShare, ...]:
    by_namespace: defaultdict[str, list[Workload]] = defaultdict(list)
    for key, workload in snapshot.workloads.items():
        if key.kind not in _OF_ITS_NODE:
            by_namespace[key.namespace].append(workload)
    return tuple(_share(name, by_namespace[name]) for name in sorted(by_namespace))


def _share(namespace: str, workloads: list[Workload]) -> SpotShare:
    pods, on_spot = sum(one.pods for one in workloads), sum(one.pods_on_spot for one in workloads)
    return SpotShare(
        namespace=namespace,
        workloads=len(workloads),
        pods=pods,
        pods_on_spot=on_spot,
        share=on_spot / pods if pods else 0.0,
    )


def _given_up(control: Control, snapshot: Snapshot) -> Iterator[str]:
    """What the last run learnt too, which the next one writes down."""
    moves = snapshot.meta.policy.moves
    ended: defaultdict[tuple[WorkloadKey, str], list[Finished]] = defaultdict(list)
    for one in control.finished:
        ended[one.workload, one.uid].append(one)
    for key, workload in snapshot.workloads.items():
        before = workload.verdict.memory if workload.verdict else Memory()
        memory = learning.learn(before, ended.get((key, workload.uid), ()), moves)
        if learning.has_given_up(memory, moves):
            yield str(key)


def _underway(move: InFlight) -> Underway:
    return Underway(
        number=move.number,
        workload=str(move.workload),
        way=move.way,
        to=move.to,
        step=move.step,
        began_at=move.began_at,
        step_at=move.step_at,
        pod=move.pod,
        node=move.node,
        destination=move.destination,
        outcome=move.outcome,
        note=move.note,
    )


def _past(one: Finished) -> Past:
    return Past(
        number=one.number,
        ended_at=one.ended_at,
        workload=str(one.workload),
        to=one.to,
        way=one.way,
        took_seconds=(one.ended_at - one.began_at).total_seconds(),
        outcome=one.outcome,
        missed=one.outcome in MISSES,
        pod=one.pod,
        node=one.node,
        landed_on=one.landed_on,
        trim=one.trim,
        note=one.note,
    )
