"""Laws M8 and M9 by the real judge, and what the real scheduler makes of our wishes.

What the API server accepted before our patch it accepts after it, and it reads our patch as we do.
"""

import copy
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import builders, strategies
from tests.e2e.town import admitted, create_dry
from tests.golden.test_golden_pods import CASES, WORLDS
from tests.parts import manifests
from tests.parts.kube_api import JSON_PATCH
from tests.parts.plane import ApiError, ControlPlane
from tests.parts.processes import wait_for
from webhook.core import patch, placement
from webhook.core.model import Platform
from webhook.core.placement import Reason
from webhook.core.pod import Pod
from webhook.core.policy import PlacementMode

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
CONTROL_PLANE = {"without": ("kube-state-metrics",)}
TEMPLATES = "/api/v1/namespaces/shop/podtemplates"
# Each example costs a round trip or two; the laws themselves are run by the thousand without a server.
EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)


def steered() -> st.SearchStrategy[Any]:
    pods = strategies.pods(odd_annotations=strategies.ACCEPTED_ANNOTATIONS)
    return st.tuples(pods, st.sampled_from(PlacementMode).flatmap(strategies.steered_snapshots))


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


def stored_template(plane: ControlPlane, pod: dict) -> dict | None:
    """The pod's metadata and spec in a PodTemplate, as the API server keeps them: unlike a pod's, all of it can be patched."""
    template = {"metadata": pod["metadata"], "spec": pod["spec"]}
    whole = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"generateName": "law-"}, "template": template}
    try:
        return plane.api("POST", TEMPLATES, whole)
    except ApiError as refusal:
        if refusal.status == 422:
            return None
        raise


def patched_template(plane: ControlPlane, stored: dict, operations: list) -> dict:
    """What the API server makes of our operations on the pod in it. Raises ApiError."""
    moved = [{**operation, "path": f"/template{operation['path']}"} for operation in operations]
    path = f"{TEMPLATES}/{stored['metadata']['name']}?dryRun=All"
    return plane.api("PATCH", path, moved, content_type=JSON_PATCH)["template"]


def agreed_operations(plane: ControlPlane, sent: dict, snapshot: Any) -> list[str]:
    """Where our operations lead for this pod as the API server holds it, having seen that it applies them as we do."""
    stored = stored_template(plane, sent)
    if stored is None:
        return []
    raw = {"apiVersion": "v1", "kind": "Pod", **stored["template"]}
    decision = placement.decide(builders.make_request(raw), snapshot, now=builders.NOW)
    operations = patch.build(raw, decision.changes) if decision.changes else []
    mine = patch.check(raw, operations)
    assert patched_template(plane, stored, operations) == {"metadata": mine["metadata"], "spec": mine["spec"]}
    return [operation["path"] for operation in operations]


def test_m9_the_api_servers_own_library_applies_our_operations_as_we_do(plane):
    """Go's JSON Patch, which also applies what a webhook answers, on the pod as the API server sends it."""
    tried: list[str] = []

    @EXAMPLES
    @given(steered())
    def law(case):
        tried.extend(agreed_operations(plane, as_sent(case[0]), case[1]))

    law()
    assert len(tried) > 20, "the law must have been put to the test"


def test_m9_every_shape_of_operation_is_applied_by_the_api_servers_own_library(plane):
    tried: set[str] = set()
    for file in CASES:
        case = yaml.safe_load(file.read_text())
        tried.update(agreed_operations(plane, as_sent(builders.make_pod(**case["pod"])), WORLDS[case["world"]]))
    affinity = "/spec/affinity/nodeAffinity"
    demands = f"{affinity}/requiredDuringSchedulingIgnoredDuringExecution"
    wishes = f"{affinity}/preferredDuringSchedulingIgnoredDuringExecution"
    stamp = f"/metadata/annotations/{patch.escape(placement.DECISION)}"
    assert tried >= {"/metadata/annotations", stamp, "/spec/tolerations", "/spec/tolerations/-"}
    assert tried >= {"/spec/affinity", affinity, demands, wishes, f"{wishes}/-"}


@pytest.mark.fault(27)
def test_the_oddest_keys_and_values_that_kubernetes_accepts_are_reached_by_our_pointers(plane):
    stored = stored_template(plane, as_sent(builders.make_pod(annotations={"there": "already"})))
    odd = strategies.ACCEPTED_ANNOTATIONS
    operations = [
        {"op": "add", "path": f"/metadata/annotations/{patch.escape(key)}", "value": value}
        for key, value in odd.items()
    ]
    assert max(map(len, odd)) == 317
    assert patched_template(plane, stored, operations)["metadata"]["annotations"] == {"there": "already", **odd}


@pytest.mark.fault(27)
@pytest.mark.parametrize("key", ["p" * 254 + "/n", "p/" + "n" * 64, "pi~pe/slash", "a/b/c", "~01", "ä/n"])
def test_a_key_that_kubernetes_refuses_is_named_whole_so_the_pointer_led_to_it(plane, key):
    stored = stored_template(plane, as_sent(builders.make_pod(annotations={"there": "already"})))
    operations = [{"op": "add", "path": f"/metadata/annotations/{patch.escape(key)}", "value": "x"}]
    with pytest.raises(ApiError) as refused:
        patched_template(plane, stored, operations)
    assert refused.value.status == 422
    assert f'"{key.lower()}"' in str(refused.value)


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
