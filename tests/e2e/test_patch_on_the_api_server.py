"""Laws M8 and M9 by the real judge, and what the real scheduler makes of our wishes.

What the API server accepted before our patch it accepts after it, and it reads our patch as we do.
"""

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import builders, strategies
from tests.e2e.town import admitted, create_dry
from tests.parts import manifests
from tests.parts.processes import wait_for
from webhook.core import patch, placement
from webhook.core.model import Platform
from webhook.core.placement import Reason
from webhook.core.pod import Pod
from webhook.core.policy import PlacementMode

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
CONTROL_PLANE = {"without": ("kube-state-metrics",)}
# Each example costs a round trip or two; the laws themselves are run by the thousand without a server.
EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)


def steered() -> st.SearchStrategy[Any]:
    return st.tuples(strategies.pods(), st.sampled_from(PlacementMode).flatmap(strategies.steered_snapshots))


@pytest.fixture(scope="module")
def plane(control_plane):
    control_plane.namespace("shop")
    return control_plane


def as_sent(raw: dict) -> dict:
    """The random pod with what every real one has: a name and a known owner."""
    pod = copy.deepcopy(raw)
    pod["spec"] |= {"containers": manifests.pod_spec()["containers"], "automountServiceAccountToken": False}
    pod["spec"].pop("futureField", None)
    return pod


def changed(raw: dict, snapshot: Any) -> tuple[dict, Reason]:
    decision = placement.decide(builders.make_request(raw), snapshot, now=builders.NOW)
    operations = patch.build(raw, decision.changes) if decision.changes else []
    return patch.check(raw, operations), decision.reason


def test_m8_what_was_accepted_before_the_patch_is_accepted_after_it(plane):
    tried: list[Reason] = []

    @EXAMPLES
    @given(steered())
    def law(case):
        raw = as_sent(case[0])
        after, reason = changed(raw, case[1])
        if after != raw and admitted(plane, raw):
            assert admitted(plane, after)
            tried.append(reason)

    law()
    assert {Reason.SPOT_PREFERRED, Reason.SPOT_REQUIRED} <= set(tried)
    assert len(tried) > 20, "the law must have been put to the test"


def test_m9_the_api_server_keeps_the_patched_fields_as_we_wrote_them(plane):
    """It decodes, defaults and encodes: whatever it would drop or change, we should not have written."""
    tried: list[Reason] = []

    @EXAMPLES
    @given(steered())
    def law(case):
        after, reason = changed(as_sent(case[0]), case[1])
        if reason not in (Reason.SPOT_PREFERRED, Reason.SPOT_REQUIRED) or not admitted(plane, after):
            return
        tried.append(reason)
        mine, theirs = (msgspec.convert(pod, Pod) for pod in (after, create_dry(plane, after)))
        assert theirs.metadata.annotations == mine.metadata.annotations
        assert _node_affinity(theirs) == _node_affinity(mine)
        assert set(mine.spec.tolerations or ()) <= set(theirs.spec.tolerations or ())

    law()
    assert len(tried) > 20, "the law must have been put to the test"


def _node_affinity(pod: Pod) -> Any:
    """Without nulls and empty lists, which mean absence to Kubernetes."""
    found = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    return {key: value for key, value in msgspec.to_builtins(found).items() if value} if found else {}


@pytest.mark.fault(28)
@pytest.mark.parametrize(
    ("name", "facts", "node"),
    [
        ("windows", {"nodeSelector": {"kubernetes.io/os": "windows"}}, {"os": "windows"}),
        ("arm", {"nodeSelector": {"kubernetes.io/arch": "arm64"}}, {"arch": "arm64"}),
        ("intolerant", {"nodeSelector": {"karpenter.sh/capacity-type": "on-demand"}}, {}),
        ("gpu", {"resources": "gpu"}, {"gpu": "1"}),
    ],
)
def test_a_preference_never_keeps_a_pod_from_the_only_node_it_fits(plane, name, facts, node):
    """Its only node is regular, the wish is for spot: the real scheduler still binds it."""
    platform = Platform(node.get("os", "linux"), node.get("arch", "amd64"))
    labels = {"karpenter.sh/capacity-type": "on-demand", "only": name}
    obj = manifests.node(f"only-{name}", labels=labels, arch=platform.architecture, os=platform.os)
    if "gpu" in node:
        for room in ("capacity", "allocatable"):
            obj["status"][room] = obj["status"][room] | {"example.com/gpu": "1"}
    plane.apply(obj)
    raw = as_sent(builders.make_pod())
    raw["metadata"] |= {"name": f"odd-{name}", "labels": {"odd": name}}
    raw["metadata"].pop("ownerReferences")
    raw["spec"] |= {k: v for k, v in facts.items() if k == "nodeSelector"}
    raw["spec"].setdefault("nodeSelector", {})["only"] = name
    if "gpu" in node:
        raw["spec"]["containers"][0]["resources"]["limits"] = {"example.com/gpu": "1"}
    snapshot = builders.make_snapshot(builders.make_workload(ready_platforms=(platform,)))
    request = builders.make_pod(nodeSelector=raw["spec"]["nodeSelector"])
    decision = placement.decide(builders.make_request(request), snapshot, now=builders.NOW)
    after = patch.check(raw, patch.build(raw, decision.changes)) if decision.changes else raw
    plane.apply(after)
    bound = wait_for(
        lambda: plane.get("Pod", f"odd-{name}", namespace="shop")["spec"].get("nodeName"), 30, f"{name} to be bound"
    )
    assert bound == f"only-{name}"
    assert decision.reason is (Reason.CONTRADICTION if name == "intolerant" else Reason.SPOT_PREFERRED)
