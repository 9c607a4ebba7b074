"""One step's view by one call: a Deployment of two pods on regular nodes, and whatever the test adds."""

from datetime import timedelta

import msgspec

from tests.builders import NOW, make_move, make_workload
from webhook.core.census import ControllerFact, PodFact, Rollout
from webhook.core.model import CapacityType, Side
from webhook.core.moves import Live, Step
from webhook.core.policy import MovePolicy
from webhook.core.steps import Situation, View

KEY = make_workload("web").key
CLASSES = {"r": CapacityType.REGULAR, "r2": CapacityType.REGULAR, "s": CapacityType.SPOT}
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
POLICY = MovePolicy()


def pod(name, node="r", **fields):
    """Ready on that node for a day; one that demands spot where it has no node."""
    facts = {
        "ready": bool(node),
        "phase": "Running" if node else "Pending",
        "ready_at": NOW - DAY,
        "created_at": NOW - DAY,
    }
    return PodFact("shop", name, name, node_name=node, **(facts | fields))


OLD = (pod("old-1"), pod("old-2", "r2"))
LANDED = pod("new", "s", ready_at=NOW, deletion_cost=1, decision="v1/spot/required/1")
PENDING = pod("new", "", decision="v1/spot/required/1")


def deployment(replicas=2, pods=OLD, **rollout):
    """Its status as its pods say, unless named."""
    facts = {
        "generation": 1,
        "observed_generation": rollout.get("generation", 1),
        "replicas": len(pods),
        "updated": len(pods),
        "available": sum(one.ready for one in pods),
    }
    return ControllerFact(
        "apps/v1", "Deployment", "shop", "web", "uid-web", replicas=replicas, rollout=Rollout(**(facts | rollout))
    )


def view(step, pods=OLD, *, replicas=2, wanted=Side.SPOT, waited=SECOND * 30, to=Side.SPOT, **fields):
    """As of NOW, ``waited`` after the step began. Fields of Rollout, Situation and InFlight go where they belong."""
    about = {name: fields.pop(name) for name in ("stopped", "refusal", "by_cost") if name in fields}
    of_rollout = ("paused", "observed_generation", "updated", "available", "written_by", "applied_by")
    told = {name: fields.pop(name) for name in of_rollout if name in fields}
    at_generation = fields.pop("now_generation", None) or (1 if step in (Step.ANNOUNCED, Step.RAISING) else 2)
    fact = fields.pop("fact", deployment(replicas, pods, generation=at_generation, **told))
    facts = {
        "replicas": 2, "generation": 1, "pod": "old-1", "pod_uid": "old-1", "node": "r", "before": ("old-1", "old-2"),
        "wrong": ("old-1", "old-2"), "step_at": NOW - waited,
    }  # fmt: skip
    return View(
        move=make_move(KEY, to, step, **(facts | fields)),
        live=Live(fact=fact, resource_version="7", pods=tuple(pods)),
        classes=CLASSES,
        situation=Situation(wanted=wanted, **about),
        policy=POLICY,
        now=NOW,
    )


def without(pods, *names):
    return tuple(one for one in pods if one.name not in names)


def changed(one, **fields):
    return msgspec.structs.replace(one, **fields)
