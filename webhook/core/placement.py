"""What the next pod of an owner gets: spot, the way back, or nothing, and why.

Side and policy decide; the pod's own wishes always stand. Spot means an affinity **and** the
tolerations it needs; the way back is a wish for nodes that are not spot; a workload that never
changed sides is left exactly as it is. It is long because the way from a pod to what it gets is read
in one go, every reason on it.
"""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

import msgspec

from webhook.core import affinity, consent, owners, rules, spotpool
from webhook.core.affinity import Alternative
from webhook.core.consent import Consent
from webhook.core.model import Platform, Side, Toleration, Value, Verdict, Workload, WorkloadKey
from webhook.core.pod import DEFAULT_SCHEDULER, Pod
from webhook.core.policy import Mode, PlacementMode, Policy, SpotWish
from webhook.core.sides import has_expired
from webhook.core.snapshot import Snapshot
from webhook.core.spotpool import Fleet, Marker

DECISION = consent.PREFIX + "decision"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_MIRROR = "kubernetes.io/config.mirror"
_WHITELIST = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
_CRITICAL = ("system-cluster-critical", "system-node-critical")
_SYSTEM_PRIORITY = 2_000_000_000
"""Kubernetes keeps priorities from here on for itself; user-defined classes end at half of it."""


class Reason(StrEnum):
    """Why a pod got what it got: bounded, fit for a metric label. The comment says what an operator may do."""

    # Patched.
    SPOT_PREFERRED = "spot-preferred"
    SPOT_REQUIRED = "spot-required"
    REGULAR_PREFERRED = "regular-preferred"  # its workload woke, or says `spot: never`
    REGULAR_REQUIRED = "regular-required"  # a move home is in flight
    SPOT_TROUBLE = "spot-trouble"  # spot has a bad day; look at its nodes
    MAX_SPOT = "max-spot"  # the draw said no; only the draw is stamped
    # Left alone, as intended.
    NEVER_MOVED = "never-moved"
    ALREADY_DECIDED = "already-decided"  # a second call for the same pod
    PAUSED = "paused"  # take `injection` out of `pause`
    OBSERVE = "observe"  # set `mode: inject`
    KIND_NOT_HANDLED = "kind-not-handled"  # annotate the workload `spot: auto`
    EXCLUDED_NAMESPACE = "excluded-namespace"
    OPTED_OUT = "opted-out"
    # Not ours to steer.
    NO_CONTROLLER = "no-controller"  # a bare pod never comes back
    DAEMONSET = "daemonset"
    STATIC = "static"
    BOUND = "bound"
    PINNED = "pinned"
    GATED = "gated"
    HOST_PATH = "host-path"
    CRITICAL = "critical"
    CONTRADICTION = "contradiction"  # the pod itself says where
    ANNOTATIONS_FULL = "annotations-full"  # with ours the pod would pass Kubernetes' limit and be refused
    # Not known well enough.
    UNKNOWN_OWNER = "unknown-owner"
    UNKNOWN_NAMESPACE = "unknown-namespace"  # what it says would go unheard; may `sync` watch namespaces?
    NO_VERDICT = "no-verdict"
    EXPIRED_EVIDENCE = "expired-evidence"  # look at Prometheus
    OLD_BOOK = "old-book"  # look at the monitor
    WAKING = "waking"  # its replicas just rose
    # Nowhere to go.
    NO_SPOT_NODES = "no-spot-nodes"
    NO_SPOT_CAPACITY = "no-spot-capacity"  # all behind foreign taints, or of another architecture and tainted
    NO_READY_POD = "no-ready-pod"  # nobody knows yet on which architecture it runs
    TOLERATIONS_RESTRICTED = "tolerations-restricted"
    TOO_MANY_TERMS = "too-many-terms"
    TOO_LARGE = "too-large"  # its required terms, which an answer must repeat, are tens of kilobytes long
    # Faults of ours, answered openly.
    NO_SNAPSHOT = "no-snapshot"
    NOT_A_POD_CREATION = "not-a-pod-creation"
    BAD_OBJECT = "bad-object"
    BAD_PATCH = "bad-patch"
    INTERNAL_ERROR = "internal-error"


class PlacementRequest(Value, frozen=True):
    """One review: ``uid`` is the request's, drawn anew for each call; ``namespace`` the request's, not the object's."""

    uid: str
    namespace: str
    pod: Pod


class Changes(Value, frozen=True):
    """What is added to a pod. ``required`` alternatives are ANDed into its terms; ``preferred`` are wishes of ``weight``.

    ``scheduler_name`` takes the place of the default scheduler's; empty leaves whatever is there.
    """

    required: tuple[Alternative, ...] = ()
    preferred: tuple[Alternative, ...] = ()
    weight: int = 100
    tolerations: tuple[Toleration, ...] = ()
    annotations: dict[str, str] = {}
    scheduler_name: str = ""


class Decision(Value, frozen=True):
    """``changes`` None means: leave the pod byte for byte. ``detail`` is a sentence for people.

    ``reason`` is about the side: a pod that no side is wished for may still be sent to another scheduler.
    """

    reason: Reason
    side: Side | None = None
    mode: PlacementMode | None = None
    changes: Changes | None = None
    workload: WorkloadKey | None = None
    detail: str = ""


class _Case(Value, frozen=True):
    """All that the later steps look at, gathered once."""

    request: PlacementRequest
    workload: Workload
    consent: Consent
    policy: Policy
    fleet: Fleet
    may_tolerate: bool


def decide(request: PlacementRequest, snapshot: Snapshot, *, now: datetime, mode: Mode | None = None) -> Decision:
    """Decide for one pod. ``mode`` stands in for the effective one: what would happen if.

    Cost is bounded by the pod's own terms; nodes are summed up once per snapshot.
    """
    if refusal := _not_ours(request, snapshot.meta.policy):
        return Decision(refusal)
    workload = find_workload(request, snapshot)
    if workload is None:
        return Decision(Reason.UNKNOWN_OWNER)
    case = _gather(request, workload, snapshot, mode)
    if isinstance(case, Reason):
        return Decision(case, workload=workload.key)
    return _sent(_steered(case, snapshot.meta.book_heartbeat, now), case)


def _gather(request: PlacementRequest, workload: Workload, snapshot: Snapshot, mode: Mode | None) -> _Case | Reason:
    policy, namespace = snapshot.meta.policy, snapshot.namespaces.get(request.namespace)
    if namespace is None:
        return Reason.UNKNOWN_NAMESPACE
    allowed = consent.resolve(request.pod.metadata.annotations, workload, namespace, policy)
    if (mode or allowed.mode) is Mode.OBSERVE:
        return Reason.OBSERVE if allowed.handled else Reason.KIND_NOT_HANDLED
    return _Case(
        request=request,
        workload=workload,
        consent=allowed,
        policy=policy,
        fleet=spotpool.fleet(snapshot),
        # Where tolerations are restricted, one too many rejects the pod.
        may_tolerate=_WHITELIST not in namespace.annotations,
    )


def _sent(decision: Decision, case: _Case) -> Decision:
    """Also to the scheduler that the workload's rule names, whatever its side, and of whatever kind it is.

    A pod that names another than the default one has been sent somewhere already.
    """
    there, wanted = case.request.pod.spec.scheduler_name, case.consent.scheduler_name
    if not wanted or there not in {None, "", DEFAULT_SCHEDULER}:
        return decision
    changes = msgspec.structs.replace(decision.changes or Changes(), scheduler_name=wanted)
    return msgspec.structs.replace(decision, changes=changes)


def _steered(case: _Case, heartbeat: datetime | None, now: datetime) -> Decision:
    if not case.consent.handled:
        return Decision(Reason.KIND_NOT_HANDLED, workload=case.workload.key)
    side = _side(case, heartbeat, now)
    if isinstance(side, Reason):
        return Decision(side, workload=case.workload.key)
    decision = _to_spot(case) if side is Side.SPOT else _to_regular(case)
    stamps = decision.changes.annotations if decision.changes else {}
    if stamps and not consent.is_room_for(stamps, case.request.pod.metadata.annotations):
        return Decision(Reason.ANNOTATIONS_FULL, workload=case.workload.key)
    return decision


# Each of these alone is reason enough; the first that holds is told.
_SKIPS: tuple[tuple[Reason, Callable[[Pod], bool]], ...] = (
    (Reason.STATIC, lambda p: _MIRROR in (p.metadata.annotations or {}) or _owner_kind(p) == "Node"),
    (Reason.DAEMONSET, lambda p: _owner_kind(p) == "DaemonSet"),
    (Reason.BOUND, lambda p: bool(p.spec.node_name)),
    (Reason.OPTED_OUT, lambda p: (p.metadata.labels or {}).get(consent.SKIP_LABEL) == "true"),
    (Reason.ALREADY_DECIDED, lambda p: DECISION in (p.metadata.annotations or {})),
    (Reason.NO_CONTROLLER, lambda p: p.controller is None),
    (Reason.GATED, lambda p: bool(p.spec.scheduling_gates)),
    (
        Reason.CRITICAL,
        lambda p: p.spec.priority_class_name in _CRITICAL or (p.spec.priority or 0) >= _SYSTEM_PRIORITY,
    ),
    (Reason.HOST_PATH, lambda p: any(v.host_path is not None for v in p.spec.volumes or ())),
    (Reason.PINNED, affinity.is_pinned),
)


def _not_ours(request: PlacementRequest, policy: Policy) -> Reason | None:
    if "injection" in policy.pause:
        return Reason.PAUSED
    if request.namespace in policy.excluded_namespaces:
        return Reason.EXCLUDED_NAMESPACE
    return next((reason for reason, holds in _SKIPS if holds(request.pod)), None)


def _owner_kind(pod: Pod) -> str:
    return pod.controller.kind if pod.controller else ""


def find_workload(request: PlacementRequest, snapshot: Snapshot) -> Workload | None:
    """The top controller. A ReplicaSet or Job seconds old may not be indexed yet: then its name tells."""
    owner = request.pod.controller
    if owner is None:
        return None
    key = snapshot.controllers.get((request.namespace, owner.kind, owner.name))
    if key is None and (named := _by_name(request, owner.kind, owner.name)):
        key = WorkloadKey(request.namespace, *named)
    return snapshot.workloads.get(key) if key else None


def _by_name(request: PlacementRequest, kind: str, name: str) -> tuple[str, str] | None:
    """(kind, name) of the workload whose controller makes such names."""
    if kind == "ReplicaSet":
        template_hash = (request.pod.metadata.labels or {}).get("pod-template-hash", "")
        above = owners.deployment_of(name, template_hash)
        return ("Deployment", above) if above else None
    if kind == "Job" and (above := owners.cron_job_of(name)):
        return ("CronJob", above)
    return None


def _side(case: _Case, heartbeat: datetime | None, now: datetime) -> Side | Reason:
    """The side to steer to, or why none. ``always`` and ``never`` need no evidence.

    While a move holds one replica more, its side counts, whatever was judged since; but a book that nobody keeps any
    more must not hold pods to a demand for ever.
    """
    if case.workload.surge_to is not None:
        return Reason.OLD_BOOK if _is_old(heartbeat, case.policy, now) else case.workload.surge_to
    match case.consent.spot:
        case SpotWish.NEVER:
            return Side.REGULAR
        case SpotWish.ALWAYS:
            return Side.SPOT
        case _:
            verdict = case.workload.verdict
            return Reason.NO_VERDICT if verdict is None else _side_of(verdict, case, heartbeat, now)


def _side_of(verdict: Verdict, case: _Case, heartbeat: datetime | None, now: datetime) -> Side | Reason:
    """The book's side, unless the book or its evidence is old, or nothing was ever decided.

    A heartbeat from the future counts as old: a clock set back would keep a dead book alive for as long.
    """
    sides = case.policy.sides
    doubts = (
        (Reason.OLD_BOOK, _is_old(heartbeat, case.policy, now)),
        (Reason.NEVER_MOVED, verdict.side is Side.REGULAR and verdict.transitions == 0),
        (Reason.EXPIRED_EVIDENCE, has_expired(verdict, policy=sides, now=now)),
        (Reason.WAKING, verdict.side is Side.SPOT and _is_waking(case.workload, verdict, case.policy)),
    )
    return next((reason for reason, holds in doubts if holds), verdict.side)


def _is_old(heartbeat: datetime | None, policy: Policy, now: datetime) -> bool:
    return heartbeat is None or abs(now - heartbeat) > policy.sides.heartbeat_ttl


def _is_waking(workload: Workload, verdict: Verdict, policy: Policy) -> bool:
    """Someone else raised the replicas, and no evidence is young enough to have seen what the new pods do."""
    risen = workload.risen_at
    if risen is None or workload.surging or verdict.good_at is None:
        return False
    idle = rules.idle_policy(policy, rules.named(policy, workload.rule))
    return verdict.good_at <= risen + idle.startup_grace


def _to_regular(case: _Case) -> Decision:
    """A wish for nodes that are not spot; a demand while a move home holds one replica more."""
    key, pod = case.workload.key, case.request.pod
    if not case.fleet.markers:
        return Decision(Reason.NO_SPOT_NODES, workload=key)
    try:
        elsewhere = tuple(affinity.not_any(case.fleet.markers))
    except affinity.TooManyTermsError:
        return Decision(Reason.TOO_MANY_TERMS, workload=key)
    if affinity.contradicts(pod, elsewhere):
        return Decision(Reason.CONTRADICTION, workload=key)
    if case.workload.surging and affinity.fits(pod, elsewhere):
        changes = Changes(required=elsewhere, annotations=_stamps(case, Side.REGULAR, "required"))
        return Decision(Reason.REGULAR_REQUIRED, Side.REGULAR, PlacementMode.REQUIRED, changes, key)
    stamps = _stamps(case, Side.REGULAR, "preferred")
    changes = Changes(preferred=elsewhere, weight=case.policy.preferred_weight, annotations=stamps)
    return Decision(Reason.REGULAR_PREFERRED, Side.REGULAR, PlacementMode.PREFERRED, changes, key)


def _ruled_out(case: _Case) -> Reason | None:
    """Why no spot node of this cluster can be meant, whatever state it is in."""
    if not case.fleet.markers:
        return Reason.NO_SPOT_NODES
    # A pod may ask for regular nodes in the words of another provider than the spot nodes are known by.
    if affinity.contradicts(case.request.pod, ((*m, *spotpool.NEVER_ON_SPOT) for m in case.fleet.markers)):
        return Reason.CONTRADICTION
    return None


def _away_from_spot(case: _Case) -> Decision:
    """On a bad day: a wish for regular nodes, as on the way back.

    The pod costs less than those that are on spot already: when a move brings it there later, it is the one to go.
    """
    decision = _to_regular(case)
    if decision.changes is None:
        return decision
    stamps = _stamps(case, Side.REGULAR, "spot-trouble", below=1)
    changes = msgspec.structs.replace(decision.changes, annotations=stamps)
    return msgspec.structs.replace(decision, reason=Reason.SPOT_TROUBLE, changes=changes, detail=case.fleet.trouble)


class _Route(Value, frozen=True):
    """Which spot nodes are meant, and what it takes to get there."""

    markers: tuple[Marker, ...]
    tolerations: tuple[Toleration, ...] = ()
    guard: tuple[Alternative, ...] = ()


def _to_spot(case: _Case) -> Decision:
    key = case.workload.key
    if refusal := _ruled_out(case):
        return Decision(refusal, workload=key)
    if case.fleet.trouble and not case.workload.surging and case.consent.spot is not SpotWish.ALWAYS:
        return _away_from_spot(case)
    route = _route(case)
    if isinstance(route, Reason):
        return Decision(route, workload=key)
    # Only where there is a way: a draw that said yes to nothing would be drawn again at a second call.
    if not case.workload.surging and not consent.is_drawn(case.request.uid, case.workload, case.consent.max_spot):
        changes = Changes(annotations=_stamps(case, Side.REGULAR, "max-spot"))
        return Decision(Reason.MAX_SPOT, Side.REGULAR, None, changes, key, f"max-spot {case.consent.max_spot}")
    if demanded := _demanded(case, route):
        stamps = _stamps(case, Side.SPOT, "required")
        changes = Changes(required=demanded, tolerations=route.tolerations, annotations=stamps)
        return Decision(Reason.SPOT_REQUIRED, Side.SPOT, PlacementMode.REQUIRED, changes, key)
    changes = Changes(
        required=route.guard,
        preferred=_wishes(case, route),
        weight=case.policy.preferred_weight,
        tolerations=route.tolerations,
        annotations=_stamps(case, Side.SPOT, "preferred"),
    )
    return Decision(Reason.SPOT_PREFERRED, Side.SPOT, PlacementMode.PREFERRED, changes, key)


def _route(case: _Case) -> _Route | Reason:
    """Through the guarded pools if the pod may tolerate their marker, else to the open ones."""
    fleet, pod = case.fleet, case.request.pod
    known = frozenset(case.workload.ready_platforms)
    wanted = [taint for platform, taints in fleet.guarded for taint in taints if platform is None or platform in known]
    missing = tuple(
        t
        for t in dict.fromkeys(map(spotpool.toleration_of, wanted))
        if not spotpool.is_tolerated(pod.spec.tolerations, t)
    )
    if wanted and not missing:
        return _Route(markers=fleet.markers)
    if missing and known and case.may_tolerate and fleet.lookalikes <= known:
        guard = _guard(case, known)
        if guard is None or affinity.fits(pod, guard):
            return _Route(markers=fleet.markers, tolerations=missing, guard=guard or ())
        if not fleet.open_markers:
            return Reason.TOO_MANY_TERMS
    if fleet.open_markers:
        return _Route(markers=fleet.open_markers)
    return _why_nowhere(case, known=bool(known), wanted=bool(wanted))


def _why_nowhere(case: _Case, *, known: bool, wanted: bool) -> Reason:
    if case.fleet.guarded and not known:
        return Reason.NO_READY_POD
    return Reason.TOLERATIONS_RESTRICTED if wanted and not case.may_tolerate else Reason.NO_SPOT_CAPACITY


def _guard(case: _Case, known: frozenset[Platform]) -> tuple[Alternative, ...] | None:
    """Keeps our toleration from opening spot nodes of another architecture: no marker at all, or the workload's own.

    None where there is nothing to keep closed. A declared pool's architecture is nobody's knowledge.
    """
    blind = any(platform is None for platform, _ in case.fleet.guarded)
    if not blind and case.fleet.behind_taints <= known:
        return None
    return affinity.off_or_on(case.fleet.markers, known)


def _demanded(case: _Case, route: _Route) -> tuple[Alternative, ...]:
    """What to demand; none where a wish must do.

    A demand that no node can meet leaves the pod Pending for ever, so the pod's own selector and terms must leave it
    somewhere to go. A surge waits for just that, for as long as it is patient.
    """
    pod, workload = case.request.pod, case.workload
    if not workload.surging and case.consent.placement is not PlacementMode.REQUIRED:
        return ()
    demanded = _on_known_platforms(case, route)
    if affinity.is_demanded(pod, demanded):
        # A second call for a pod whose stamp got lost: nothing is added, and no wish beside the demand either.
        return demanded
    if not affinity.fits(pod, demanded):
        return ()
    if workload.surging:
        return demanded
    landings, platforms = case.fleet.landings, workload.ready_platforms
    return demanded if affinity.lands(pod, demanded, route.tolerations, landings, platforms) else ()


def _on_known_platforms(case: _Case, route: _Route) -> tuple[Alternative, ...]:
    """The markers, and the platform wherever spot nodes may be of another: what a wish makes likely, a demand makes sure.

    None where nobody knows on which platform the pod runs and the cluster has several.
    """
    fleet, known = case.fleet, frozenset(case.workload.ready_platforms)
    if not known:
        return route.markers if case.workload.surging or len(fleet.every_platform) <= 1 else ()
    # What a toleration opens now, a node that comes later may show too; nobody has seen a declared pool's nodes.
    if not route.tolerations and not case.policy.spot_pools and fleet.platforms <= known:
        return route.markers
    return tuple(affinity.joined(route.markers, affinity.on_platforms(known)))


def _wishes(case: _Case, route: _Route) -> tuple[Alternative, ...]:
    """Also a wish names the platform where others are about: it must not raise the odds of a wrong image."""
    known = frozenset(case.workload.ready_platforms)
    if not known or case.fleet.platforms <= known:
        return route.markers
    return tuple(affinity.joined(route.markers, affinity.on_platforms(known)))


def _stamps(case: _Case, side: Side, how: str, *, below: int = 0) -> dict[str, str]:
    """``v1/<side>/<how>/<transition>``, and the order in which the ReplicaSet controller may take pods away.

    That is the transition's number, less ``below``.
    """
    transition = case.workload.verdict.transitions if case.workload.verdict else 0
    stamps = {DECISION: f"v1/{side}/{how}/{transition}"}
    cost = max(transition - below, 0)
    if cost and DELETION_COST not in (case.request.pod.metadata.annotations or {}):
        stamps[DELETION_COST] = str(cost)
    return stamps
