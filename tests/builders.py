"""Pods, reviews, nodes and snapshots by one call each; name only what matters to the test."""

from datetime import UTC, datetime, timedelta
from typing import Any

from webhook.core.model import (
    CapacityType,
    ControllerRef,
    Evidence,
    Namespace,
    Node,
    Platform,
    Requirement,
    Side,
    Signal,
    Taint,
    Verdict,
    Workload,
    WorkloadKey,
)
from webhook.core.moves import InFlight, Step
from webhook.core.placement import PlacementRequest
from webhook.core.pod import Pod
from webhook.core.policy import Mode, Move, Policy
from webhook.core.snapshot import Meta, Snapshot

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
KARPENTER_SPOT = (Requirement("karpenter.sh/capacity-type", "In", ("spot",)),)
AKS_SPOT = (Requirement("kubernetes.azure.com/scalesetpriority", "In", ("spot",)),)
AKS_TAINT = Taint("kubernetes.azure.com/scalesetpriority", "spot", "NoSchedule")
HASH = "7f9c5d"

Json = dict[str, Any]


def make_pod(owner: str | None = "nginx-demo", kind: str = "ReplicaSet", **spec: Any) -> Json:
    """A pod as the API server sends it at creation; ``labels`` and ``annotations`` go to its metadata, the rest to spec."""
    metadata: Json = {
        "generateName": f"{owner}-{HASH}-",
        "namespace": "shop",
        "labels": {"app": owner or "bare", "pod-template-hash": HASH} | spec.pop("labels", {}),
    }
    if "annotations" in spec:
        metadata["annotations"] = spec.pop("annotations")
    if owner is not None:
        name = f"{owner}-{HASH}" if kind == "ReplicaSet" else owner
        reference = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": f"uid-{name}", "controller": True}
        metadata["ownerReferences"] = [reference | {"blockOwnerDeletion": True}]
    container = {"name": "app", "image": "registry.example/app:1", "resources": {"requests": {"cpu": "100m"}}}
    body = {"containers": [container], "restartPolicy": "Always", "schedulerName": "default-scheduler", **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body, "status": {}}


def make_review(pod: Json | None, uid: str = "705ab4f5-6393-11e8-b7cc-42010a800002", **request: Any) -> Json:
    """The AdmissionReview of its creation; ``request`` overrides fields of the request."""
    kind, resource = {"group": "", "version": "v1", "kind": "Pod"}, {"group": "", "version": "v1", "resource": "pods"}
    body = {
        "uid": uid,
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "namespace": "shop",
        "operation": "CREATE",
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
        "object": pod,
        "oldObject": None,
        "dryRun": False,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        **request,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": body}


def make_node(name: str, marker: tuple[Requirement, ...] = (), **fields: Any) -> Node:
    """A Ready node; spot where it has a marker. ``labels`` are added to those that marker and platform imply."""
    platform = fields.pop("platform", Platform())
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": platform.os,
        "kubernetes.io/arch": platform.architecture,
    }
    labels |= {r.key: r.values[0] if r.values else "" for r in marker if r.operator in ("In", "Exists")}
    labels |= fields.pop("labels", {})
    capacity = CapacityType.SPOT if marker else CapacityType.REGULAR
    said = f"{marker[0].key}={labels[marker[0].key]}" if marker else "no spot label"
    return Node(
        name=name,
        capacity_type=fields.pop("capacity_type", capacity),
        recognised_by=said,
        marker=marker,
        labels=labels,
        platform=platform,
        **fields,
    )


def make_verdict(key: WorkloadKey, side: Side = Side.SPOT, **fields: Any) -> Verdict:
    """Fresh and decided; ``transitions`` is 1 for spot and 0 for regular unless named."""
    facts: Json = {
        "uid": f"uid-{key.name}",
        "since": NOW - timedelta(minutes=20),
        "transitions": 1 if side is Side.SPOT else 0,
        "idle_runs": 5 if side is Side.SPOT else 0,
        "evidence": Evidence.IDLE if side is Side.SPOT else Evidence.ACTIVE,
        "reason": "every signal is low" if side is Side.SPOT else "cpu is above its threshold",
        "good_at": NOW - timedelta(minutes=1),
        "judged_at": NOW - timedelta(minutes=1),
    }
    return Verdict(key=key, side=side, **(facts | fields))


def make_workload(name: str = "nginx-demo", side: Side | None = Side.SPOT, **fields: Any) -> Workload:
    """A Deployment in shop with its ReplicaSet and two Ready pods on linux/amd64; ``side`` None: no verdict."""
    key = WorkloadKey("shop", fields.pop("kind", "Deployment"), name)
    facts: Json = {
        "uid": f"uid-{name}",
        "api_version": "apps/v1",
        "replicas": 2,
        "pods": 2,
        "ready_platforms": (Platform(),),
        "controllers": (ControllerRef("ReplicaSet", f"{name}-{HASH}", f"uid-{name}-{HASH}"),),
        "created_at": NOW - timedelta(days=30),
        "verdict": make_verdict(key, side) if side is not None else None,
    }
    return Workload(key=key, **(facts | fields))


def make_move(key: WorkloadKey, to: Side = Side.SPOT, step: Step = Step.RAISED, **fields: Any) -> InFlight:
    """A surge of one replica, announced a minute ago."""
    facts: Json = {
        "number": 1,
        "uid": f"uid-{key.name}",
        "way": Move.SURGE,
        "began_at": NOW - timedelta(minutes=1),
        "step_at": NOW - timedelta(minutes=1),
        "replicas": 1,
        "transition": 1,
    }
    return InFlight(workload=key, to=to, step=step, **(facts | fields))


def make_snapshot(
    *workloads: Workload, nodes: list[Node] | None = None, policy: Policy | None = None, **meta: Any
) -> Snapshot:
    """One regular and one spot node unless told otherwise; mode inject; heartbeat a minute ago."""
    facts: Json = {"captured_at": NOW, "book_heartbeat": NOW - timedelta(minutes=1), "generation": 1} | meta
    namespaces, bound = facts.pop("namespaces", [Namespace("shop")]), facts.pop("bound", ())
    return Snapshot(
        Meta(policy=policy or Policy(mode=Mode.INJECT), **facts),
        nodes=[make_node("regular-1"), make_node("spot-1", KARPENTER_SPOT)] if nodes is None else nodes,
        namespaces=namespaces,
        workloads=workloads,
        bound=bound,
    )


def idle_shop_snapshot(**changes: Any) -> Snapshot:
    """The standard shop: nginx-demo idle and on spot's side, checkout active, reports never judged well."""
    key = WorkloadKey("shop", "Deployment", "reports")
    unknown = make_verdict(
        key, Side.REGULAR, evidence=Evidence.UNKNOWN, reason="no CPU samples for 1 of 1 pods", good_at=None, since=None
    )
    cpu = Signal(
        "cpu", "cores", value=0.001, recent=0.001, idle_below=0.01, active_above=0.02, window_seconds=3600, coverage=1.0
    )
    idle = make_verdict(WorkloadKey("shop", "Deployment", "nginx-demo"), Side.SPOT, signals=(cpu,))
    return make_snapshot(
        make_workload("nginx-demo", verdict=idle),
        make_workload("checkout", Side.REGULAR),
        make_workload("reports", verdict=unknown),
        **changes,
    )


def make_request(pod: Json | None = None, uid: str = "u-1", namespace: str = "shop") -> PlacementRequest:
    """What the endpoint hands to the core for this raw pod."""
    import msgspec

    typed = msgspec.convert(pod if pod is not None else make_pod(), Pod)
    return PlacementRequest(uid=uid, namespace=namespace, pod=typed)
