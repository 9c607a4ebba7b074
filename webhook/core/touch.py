"""Who must never be touched: whether a workload's running pods may be moved, by which way, and down to which floor.

What is looked at, in this order; the first that speaks against it is told::

    the workload's kind and namespace
    each of its pods: what pod, workload, namespace and rule allow; what other tools' annotations forbid; what would be lost
    its state: scaled to nought, paused, unready, in the middle of a rollout
    what bounds it: disruption budgets, autoscalers
    the ways that are allowed, in this order: surge, evict, restart

A pod that must not be touched keeps only itself from being evicted. It keeps the whole workload from a surge, in which
the ReplicaSet controller chooses who goes, and from a restart, in which all go.
"""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from webhook.core import bounds, holds, refusals
from webhook.core.bounds import Bounds
from webhook.core.census import ControllerFact, PodFact, Rollout
from webhook.core.constraints import Autoscaler, DisruptionBudget
from webhook.core.holds import Asked
from webhook.core.model import Namespace, Value, Workload
from webhook.core.moves import InFlight
from webhook.core.policy import Move as Way
from webhook.core.policy import Policy
from webhook.core.refusals import Refusal, Refused

_ARGO = "argocd.argoproj.io/"
_FLUX = ("kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/")
_FLUX_MANAGERS = ("kustomize-controller", "helm-controller")
_INSTANCE = "app.kubernetes.io/instance"
_HELM_RELEASE = "meta.helm.sh/release-name"


class Subject(Value, frozen=True):
    """A workload and all that is read of it. ``fact`` None: its object is gone, or its kind is not read.

    ``pods`` are all of it, ``namespace`` its own, ``move`` the one of ours that is under way.
    """

    workload: Workload
    fact: ControllerFact | None = None
    pods: tuple[PodFact, ...] = ()
    namespace: Namespace | None = None
    move: InFlight | None = None


class Handling(Value, frozen=True):
    """How a workload's pods may be moved: either a ``way`` or a ``refusal``.

    ``detail`` is a sentence for people, of this very workload. ``floor`` is how many of its pods must stay available,
    0..replicas. ``pods`` are the UIDs of those that may go; ``held`` says why each of the others may not.
    """

    way: Way | None = None
    refusal: Refusal | None = None
    detail: str = ""
    floor: int = 0
    pods: tuple[str, ...] = ()
    held: dict[str, Refusal] = {}


class _Case(Value, frozen=True):
    """What the ways are judged by.

    ``wanted`` are the replicas without a surge of ours; ``scaled`` those asked for now. ``surging``: one more than
    wanted is ours. ``budgets`` are those that select each live pod.
    """

    subject: Subject
    fact: ControllerFact
    known: Bounds
    wanted: int
    scaled: int
    surging: bool
    available: int
    free: tuple[PodFact, ...]
    held: dict[str, Refused]
    budgets: tuple[tuple[DisruptionBudget, ...], ...]
    autoscalers: tuple[Autoscaler, ...]
    floor: int = 0


def handle(subject: Subject, known: Bounds, *, policy: Policy, now: datetime) -> Handling:
    """Whether and how the workload's running pods may be moved now."""
    if no := _not_movable(subject, policy):
        return _refused(no)
    live = [pod for pod in subject.pods if pod.is_active]
    live.sort(key=lambda pod: (pod.name, pod.uid))
    asked = Asked(subject.workload, subject.namespace, policy, now)
    held = {pod.uid: no for pod in live if (no := holds.reason(pod, asked, known))}
    no = refusals.first(held.values()) if live else holds.unasked(None, asked)
    if no and len(held) == len(live):
        return _refused(no, held)
    case = _case(subject, known, live, held)
    if isinstance(case, Refused):
        return _refused(case, held)
    if no := _unsettled(case) or _bounded(case):
        return _refused(no, held)
    allowed = [holds.ways(pod, asked) for pod in case.free]
    return _by_a_way(case, [way for way in Way if all(way in ways for ways in allowed)])


def _refused(no: Refused, held: dict[str, Refused] | None = None, floor: int = 0) -> Handling:
    codes = {uid: one.refusal for uid, one in (held or {}).items()}
    return Handling(refusal=no.refusal, detail=no.detail, floor=floor, held=codes)


def _not_movable(subject: Subject, policy: Policy) -> Refused | None:
    key, fact = subject.workload.key, subject.fact
    if key.namespace in policy.excluded_namespaces:
        return Refused(Refusal.EXCLUDED_NAMESPACE, f"namespace {key.namespace} is excluded")
    if key.kind == "ReplicaSet" and fact is not None and fact.controller is not None:
        return Refused(Refusal.KIND_NOT_MOVABLE, f"its replicas are {fact.controller.kind} {fact.controller.name}'s")
    if key.kind in ("Deployment", "StatefulSet", "ReplicaSet"):
        return None
    return Refused(_OTHER_KINDS.get(key.kind, Refusal.KIND_NOT_MOVABLE), f"it is a {key.kind}")


_OTHER_KINDS = {
    "Pod": Refusal.BARE,
    "DaemonSet": Refusal.DAEMONSET,
    "Node": Refusal.STATIC,
    "Job": Refusal.NEXT_PODS_ONLY,
    "CronJob": Refusal.NEXT_PODS_ONLY,
}


def _case(subject: Subject, known: Bounds, live: list[PodFact], held: dict[str, Refused]) -> _Case | Refused:
    fact = subject.fact
    if fact is None or fact.replicas is None or (fact.rollout is None and fact.kind != "ReplicaSet"):
        return Refused(Refusal.UNREAD, "nobody knows how many replicas it wants and has")
    surge = subject.move if subject.move and subject.move.way is Way.SURGE else None
    ready = sum(pod.ready for pod in live)
    case = _Case(
        subject=subject,
        fact=fact,
        known=known,
        wanted=surge.replicas if surge else fact.replicas,
        scaled=fact.replicas,
        surging=surge is not None,
        # Status and pods are not of the same moment: the lesser of both is there.
        available=min(ready, fact.rollout.available) if fact.rollout else ready,
        free=tuple(pod for pod in live if pod.uid not in held),
        held=held,
        budgets=tuple(map(known.budgets_of, live)),
        autoscalers=tuple(known.autoscalers_of(subject.workload.key)),
    )
    return msgspec.structs.replace(case, floor=_floor(case))


def _floor(case: _Case) -> int:
    """How many pods must stay available: as its budgets want, and as many as its own rollouts keep.

    All but one of a StatefulSet or a ReplicaSet. Never above ``wanted``: a workload is not to be scaled for its sake.
    """
    may_miss = 1 if case.fact.kind != "Deployment" else bounds.part_of(_rollout(case).max_unavailable, case.wanted)
    kept = [bounds.kept_by(budget, case.scaled) for several in case.budgets for budget in several]
    return max(0, min(case.wanted, max([case.wanted - may_miss, *kept])))


def _rollout(case: _Case) -> Rollout:
    return case.fact.rollout or Rollout()


def _unsettled(case: _Case) -> Refused | None:
    rollout, wanted = case.fact.rollout, case.wanted
    if not wanted or not case.scaled:
        return Refused(Refusal.SCALED_TO_ZERO, "it has no replicas")
    if rollout and rollout.strategy == "Recreate":
        return Refused(Refusal.RECREATE, "its strategy is Recreate")
    if rollout and rollout.paused:
        return Refused(Refusal.PAUSED, "its rollout is paused")
    if rollout and (why := _progress(case, rollout)):
        return Refused(Refusal.PROGRESSING, why)
    if case.available < wanted:
        return Refused(Refusal.UNREADY, f"{case.available} of {wanted} replicas are available")
    return None


def _progress(case: _Case, rollout: Rollout) -> str:
    if rollout.observed_generation < rollout.generation:
        return "its controller has not seen its last change yet"
    if rollout.updated < case.wanted:
        return f"{rollout.updated} of {case.wanted} replicas are of the newest template"
    if rollout.replicas > case.wanted + case.surging:
        return f"it has {rollout.replicas} pods where {case.wanted} are wanted"
    return ""


def _bounded(case: _Case) -> Refused | None:
    if not case.known.knows(bounds.BUDGETS):
        return Refused(Refusal.BUDGETS_UNKNOWN, "disruption budgets could not be read")
    if not case.known.knows(bounds.AUTOSCALERS):
        return Refused(Refusal.AUTOSCALERS_UNKNOWN, "autoscalers could not be read")
    every = [budget for several in case.budgets for budget in several]
    if found := next(filter(bounds.forbids_all, every), None):
        return Refused(Refusal.BUDGET_FORBIDS, f"disruption budget {found.name} allows none")
    if found := next((budget for budget in every if not budget.is_current), None):
        return Refused(
            Refusal.BUDGET_STALE, f"disruption budget {found.name} changed, and its status does not tell yet"
        )
    for one in case.autoscalers:
        # One that has no metrics wants none at all, for as long as that lasts; it scales nothing.
        if one.desired_replicas not in (0, one.current_replicas):
            return Refused(
                Refusal.AUTOSCALING,
                f"autoscaler {one.name} wants {one.desired_replicas} replicas and sees {one.current_replicas}",
            )
    return None


def _by_a_way(case: _Case, ways: list[Way]) -> Handling:
    """The first way that nothing speaks against. Where all are barred, what bars an eviction is told first.

    That is what an operator can change most often; a restart's comes next, and a surge's last.
    """
    codes = {uid: no.refusal for uid, no in case.held.items()}
    barred: dict[Way, Refused] = {}
    for way in ways:
        no = _BARS[way](case)
        if no is None:
            uids = tuple(pod.uid for pod in case.free)
            return Handling(way=way, detail=_told(barred), floor=case.floor, pods=uids, held=codes)
        barred[way] = no
    no = next((barred[way] for way in (Way.EVICT, Way.RESTART, Way.SURGE) if way in barred), None)
    if no is None:
        return _refused(Refused(Refusal.NOT_ALLOWED, "its pods ask for different ways"), case.held, case.floor)
    return _refused(Refused(no.refusal, _told(barred)), case.held, case.floor)


def _told(barred: dict[Way, Refused]) -> str:
    return "; ".join(f"no {way}: {no.detail}" for way, no in barred.items())


def _bars_surge(case: _Case) -> Refused | None:
    why = next(_against_surge(case), "")
    return Refused(Refusal.SURGE_UNSAFE, why) if why else None


def _against_surge(case: _Case) -> Iterator[str]:
    fact, rollout = case.fact, _rollout(case)
    if fact.kind != "Deployment":
        yield f"a {fact.kind} is not scaled"
    if fact.controller is not None:
        yield f"{fact.controller.kind} {fact.controller.name} keeps its replicas"
    if case.autoscalers:
        yield f"autoscaler {case.autoscalers[0].name} keeps its replicas"
    if rollout.applied_by:
        yield f"{rollout.applied_by} applies its replicas"
    if case.held:
        yield "the ReplicaSet controller might take a pod that must stay"
    if bounds.is_nought(rollout.max_surge):
        yield "its strategy has maxSurge 0"
    if single := next(filter(None, map(case.known.single_claim, case.free)), ""):
        yield f"claim {single} cannot be on two nodes at once"
    if not case.known.knows(bounds.QUOTAS):
        yield "quotas could not be read"
    yield case.known.exhausted(case.free[0])


def _bars_eviction(case: _Case) -> Refused | None:
    if max(map(len, case.budgets), default=0) > 1:
        names = sorted({budget.name for several in case.budgets for budget in several})
        return Refused(Refusal.TWO_BUDGETS, f"disruption budgets {' and '.join(names)} select the same pod")
    if case.available - 1 < case.floor:
        why = f"{case.available} replicas are available, and {case.floor} must be"
        return Refused(Refusal.HPA_NO_HEADROOM if case.autoscalers else Refusal.NO_HEADROOM, why)
    every = (budget for several in case.budgets for budget in several)
    if spent := next((budget for budget in every if budget.disruptions_allowed < 1), None):
        return Refused(Refusal.BUDGET_SPENT, f"disruption budget {spent.name} allows none now")
    return None


def _bars_restart(case: _Case) -> Refused | None:
    why = next(_against_restart(case), "")
    return Refused(Refusal.RESTART_UNSAFE, why) if why else None


def _against_restart(case: _Case) -> Iterator[str]:
    fact, rollout = case.fact, _rollout(case)
    if fact.kind != "Deployment":
        yield f"a {fact.kind} is not restarted"
    if fact.controller is not None:
        yield f"{fact.controller.kind} {fact.controller.name} keeps its template"
    if syncer := _syncer(fact):
        yield f"{syncer} keeps its template"
    if case.held:
        yield "it would take a pod that must stay"
    may_miss = bounds.part_of(rollout.max_unavailable, case.wanted)
    if case.wanted - may_miss < case.floor:
        yield "its rollouts take more pods at once than its disruption budget allows"
    if not may_miss and bounds.is_nought(rollout.max_surge):
        # Kubernetes then takes one away all the same, or nothing would ever roll out.
        yield "its rollouts take a pod away before the next is ready"


def _syncer(fact: ControllerFact) -> str:
    """What would undo a stamp on the template, as far as the object shows it."""
    marks = fact.labels.keys() | fact.annotations.keys()
    manager = fact.rollout.applied_by if fact.rollout else ""
    if any(mark.startswith(_ARGO) for mark in marks) or manager.startswith("argocd"):
        return "Argo CD"
    if any(mark.startswith(_FLUX) for mark in marks) or manager in _FLUX_MANAGERS:
        return "Flux"
    # Argo CD may track by this label alone, which Helm's charts set too; Helm itself leaves the release's name beside it.
    if _INSTANCE in fact.labels and _HELM_RELEASE not in fact.annotations:
        return f"perhaps Argo CD, by the label {_INSTANCE},"
    return ""


_BARS = {Way.SURGE: _bars_surge, Way.EVICT: _bars_eviction, Way.RESTART: _bars_restart}
