"""Each `*.pod.yaml` beside this file is a case: a pod, a world in one word, the reason, and the patch to the letter.

A new case is a new file. `world` names one of WORLDS; `pod` holds what the pod has beside a container and its owner.
"""

from pathlib import Path

import pytest
import yaml

from tests import builders
from tests.builders import (
    AKS_SPOT,
    AKS_TAINT,
    KARPENTER_SPOT,
    NOW,
    make_node,
    make_snapshot,
    make_verdict,
    make_workload,
)
from webhook.core import patch, placement
from webhook.core.model import Platform, Requirement, Side
from webhook.core.policy import Mode, PlacementMode, Policy, Rule

CASES = sorted(Path(__file__).parent.glob("*.pod.yaml"))
ARM = Platform("linux", "arm64")
REQUIRED = Policy(mode=Mode.INJECT, placement=PlacementMode.REQUIRED)
SECOND = Policy(mode=Mode.INJECT, rules=(Rule(name="web", scheduler_name="spot-balancer"),))
CAST = (
    Requirement("scheduling.cast.ai/spot", "In", ("true",)),
    Requirement("scheduling.cast.ai/spot-fallback", "NotIn", ("true",)),
)
REGULAR, AKS = make_node("regular-1"), make_node("aks-1", AKS_SPOT, taints=(AKS_TAINT,))
ZONE_A = {"topology.kubernetes.io/zone": "a"}
HOME = make_verdict(make_workload().key, Side.REGULAR, transitions=2)
WORLDS = {
    "idle owner, Karpenter": make_snapshot(make_workload()),
    "idle owner, Karpenter, placement required": make_snapshot(
        make_workload(), nodes=[REGULAR, make_node("k", KARPENTER_SPOT, labels=ZONE_A)], policy=REQUIRED
    ),
    "idle owner, AKS with its taint": make_snapshot(make_workload(), nodes=[REGULAR, AKS]),
    "idle owner, AKS with its taint, placement required": make_snapshot(
        make_workload(), nodes=[REGULAR, AKS], policy=REQUIRED
    ),
    "idle owner, AKS with its taint on amd64 and arm64": make_snapshot(
        make_workload(), nodes=[REGULAR, AKS, make_node("aks-arm", AKS_SPOT, taints=(AKS_TAINT,), platform=ARM)]
    ),
    "idle owner, CAST AI with fallback nodes": make_snapshot(make_workload(), nodes=[REGULAR, make_node("c", CAST)]),
    "idle owner, Karpenter and AKS untainted, placement required": make_snapshot(
        make_workload(),
        nodes=[make_node("k", KARPENTER_SPOT, labels=ZONE_A), make_node("a", AKS_SPOT)],
        policy=REQUIRED,
    ),
    "woken owner, Karpenter": make_snapshot(make_workload(verdict=HOME)),
    "woken owner, Karpenter, surging": make_snapshot(make_workload(verdict=HOME, surge_to=Side.REGULAR)),
    "woken owner, CAST AI with fallback nodes": make_snapshot(
        make_workload(verdict=HOME), nodes=[REGULAR, make_node("c", CAST)]
    ),
    "busy owner": make_snapshot(make_workload(side=Side.REGULAR)),
    "unknown owner": make_snapshot(make_workload(side=None)),
    "owner says spot never": make_snapshot(make_workload(side=None, annotations={"spot-balancer.io/spot": "never"})),
    "owner says spot always": make_snapshot(make_workload(side=None, annotations={"spot-balancer.io/spot": "always"})),
    "busy owner of a rule for a second scheduler": make_snapshot(
        make_workload(side=Side.REGULAR, rule="web"), policy=SECOND
    ),
    "idle owner of a rule for a second scheduler": make_snapshot(make_workload(rule="web"), policy=SECOND),
    "idle owner, max-spot used up": make_snapshot(
        make_workload(replicas=2, pods=1, pods_on_spot=1), policy=Policy(mode=Mode.INJECT, max_spot="50%")
    ),
}


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.name.removesuffix(".pod.yaml"))
def test_golden_pod(file):
    case = yaml.safe_load(file.read_text())
    assert set(case) == {"world", "pod", "reason", "expect"}
    raw, snapshot = builders.make_pod(**case["pod"]), WORLDS[case["world"]]
    decision = placement.decide(builders.make_request(raw), snapshot, now=NOW)
    operations = patch.build(raw, decision.changes) if decision.changes else []
    assert (decision.reason.value, operations) == (case["reason"], case["expect"])
    patch.check(raw, operations)


def test_every_world_has_a_case():
    assert {yaml.safe_load(file.read_text())["world"] for file in CASES} == set(WORLDS)
