"""Controllers, pods, budgets and nodes as a census tells them; name only what matters to the test."""

from datetime import timedelta
from typing import Any

import msgspec

from tests.builders import HASH, KARPENTER_SPOT, NOW, make_workload
from webhook.core import touch
from webhook.core.bounds import Bounds
from webhook.core.census import Census, ControllerFact, NodeFact, PodFact, PodNeeds, Rollout
from webhook.core.constraints import Autoscaler, Claim, Constraints, DisruptionBudget, Quota, StorageClass, Volume
from webhook.core.model import ControllerRef, Namespace, Requirement, Resources, Workload
from webhook.core.policy import Mode, Move, Policy
from webhook.core.touch import Handling, Subject

MOVING = Policy(mode=Mode.MOVE)
ALL_WAYS = Policy(mode=Mode.MOVE, allowed_moves=(Move.SURGE, Move.EVICT, Move.RESTART))
GIB = 2.0**30
SHOP = Namespace("shop")


def make_fact(kind: str = "Deployment", replicas: int | None = 4, **fields: Any) -> ControllerFact:
    """nginx-demo in shop, all of its replicas up to date and available; ``rollout`` overrides fields of it."""
    count = replicas or 0
    state = {"replicas": count, "updated": count, "ready": count, "available": count}
    state |= {"generation": 3, "observed_generation": 3} | fields.pop("rollout", {})
    rollout = None if kind == "ReplicaSet" else Rollout(**state)
    facts = {"name": "nginx-demo", "uid": "uid-nginx-demo", "rollout": rollout} | fields
    return ControllerFact(api_version="apps/v1", kind=kind, namespace="shop", replicas=replicas, **facts)


def make_pod_fact(number: int = 0, node: str = "regular-1", **fields: Any) -> PodFact:
    """A Ready pod of nginx-demo; what PodNeeds knows goes there, the rest to the pod."""
    needs = {name: fields.pop(name) for name in PodNeeds.__struct_fields__ if name in fields}
    needs = {"labels": (("app", "nginx-demo"), ("pod-template-hash", HASH))} | needs
    facts: dict[str, Any] = {
        "namespace": "shop",
        "name": f"nginx-demo-{HASH}-{number}",
        "uid": f"pod-{number}",
        "controller": ControllerRef("ReplicaSet", f"nginx-demo-{HASH}", f"uid-nginx-demo-{HASH}"),
        "node_name": node,
        "phase": "Running",
        "ready": True,
        "created_at": NOW - timedelta(hours=1),
        "requests": Resources(0.1, GIB / 4),
        "needs": PodNeeds(**needs),
    }
    return PodFact(**(facts | fields))


def make_subject(
    kind: str = "Deployment",
    replicas: int | None = 4,
    *,
    pod: dict[str, Any] | None = None,
    workload: Workload | None = None,
    pods: tuple[PodFact, ...] | None = None,
    namespace: Namespace | None = SHOP,
    move: Any = None,
    **fact: Any,
) -> Subject:
    """A healthy workload of that kind with all its pods; ``pod`` says what all of them are like, the rest the object."""
    if pods is None:
        pods = tuple(make_pod_fact(number, **(pod or {})) for number in range(replicas or 0))
    return Subject(
        workload=workload or make_workload(kind=kind, replicas=replicas),
        fact=make_fact(kind, replicas, **fact),
        pods=pods,
        namespace=namespace,
        move=move,
    )


def make_bounds(*several: Any, missing: tuple[str, ...] = ()) -> Bounds:
    """Budgets, autoscalers, quotas and claims, each by its type; the rest is known to be nothing."""
    by_type: dict[type, list[Any]] = {}
    for one in several:
        by_type.setdefault(type(one), []).append(one)
    return Bounds.of(
        Constraints(
            budgets=tuple(by_type.get(DisruptionBudget, ())),
            autoscalers=tuple(by_type.get(Autoscaler, ())),
            quotas=tuple(by_type.get(Quota, ())),
            claims=tuple(by_type.get(Claim, ())),
            missing=missing,
        )
    )


def make_budget(name: str = "pdb", **fields: Any) -> DisruptionBudget:
    """Of nginx-demo's pods: four of them, healthy, of which one may go."""
    facts = {
        "selector": (Requirement("app", "In", ("nginx-demo",)),),
        "max_unavailable": "" if "min_available" in fields else "1",
        "disruptions_allowed": 1,
        "current_healthy": 4,
        "desired_healthy": 3,
        "expected_pods": 4,
    }
    return DisruptionBudget(namespace="shop", name=name, **(facts | fields))


def make_autoscaler(**fields: Any) -> Autoscaler:
    """Of nginx-demo, content with its four replicas."""
    facts = {"min_replicas": 4, "max_replicas": 8, "current_replicas": 4, "desired_replicas": 4} | fields
    facts = {"target_kind": "Deployment", "target_name": "nginx-demo"} | facts
    return Autoscaler(namespace="shop", name="hpa", **facts)


def make_node_fact(name: str, *, spot: bool = False, **fields: Any) -> NodeFact:
    """A Ready node of 4 cores and 16 GiB on linux/amd64; ``labels`` are added to what these imply."""
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    labels |= {r.key: r.values[0] for r in KARPENTER_SPOT if spot} | fields.pop("labels", {})
    return NodeFact(name=name, labels=labels, **({"ready": True, "allocatable": Resources(4.0, 16 * GIB)} | fields))


def needing(pod: PodFact, **needs: Any) -> PodFact:
    """The same pod with other needs."""
    return msgspec.structs.replace(pod, needs=msgspec.structs.replace(pod.needs, **needs))


def make_census(*several: Any, missing: tuple[str, ...] = (), **fields: Any) -> Census:
    """Nodes, pods, controllers, claims, volumes and storage classes, each by its type; nginx-demo is always there."""
    kinds: dict[type, list[Any]] = {}
    for one in several:
        kinds.setdefault(type(one), []).append(one)
    owner = ControllerRef("Deployment", "nginx-demo", "uid-nginx-demo")
    own = make_fact("ReplicaSet", name=f"nginx-demo-{HASH}", uid=f"uid-nginx-demo-{HASH}", controller=owner)
    constraints = Constraints(
        claims=tuple(kinds.get(Claim, ())),
        volumes=tuple(kinds.get(Volume, ())),
        storage_classes=tuple(kinds.get(StorageClass, ())),
        missing=missing,
    )
    facts = {
        "taken_at": NOW,
        "nodes": tuple(kinds.get(NodeFact, ())),
        "namespaces": (SHOP,),
        "pods": tuple(kinds.get(PodFact, ())),
        "controllers": (make_fact(), own, *kinds.get(ControllerFact, ())),
        "constraints": constraints,
    }
    return Census(**(facts | fields))


def handled(subject: Subject | None = None, *bounds: Any, missing: tuple[str, ...] = (), **how: Any) -> Handling:
    """How it may be moved now, in mode move unless told otherwise."""
    known = make_bounds(*bounds, missing=missing)
    return touch.handle(subject or make_subject(), known, **({"policy": MOVING, "now": NOW} | how))


def asked(kind: str = "StatefulSet", replicas: int = 4, **fields: Any) -> Subject:
    """Of a kind that is handled because somebody asked for it."""
    annotations = {"spot-balancer.io/spot": "always"}
    workload = make_workload(kind=kind, replicas=replicas, annotations=annotations)
    return make_subject(kind, replicas, workload=workload, **fields)


def only(*ways: Move) -> Policy:
    """A policy that allows these ways."""
    return Policy(mode=Mode.MOVE, allowed_moves=ways)
