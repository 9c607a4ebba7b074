"""What pods of every sort get, by the real API server, controllers and scheduler."""

import base64
import contextlib
import http.server
import json
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from tests import builders, serverproc
from tests.e2e import steering
from tests.e2e.steering import decision, workload
from tests.parts import manifests
from tests.parts.kube_api import MERGE_PATCH, path_of
from tests.parts.plane import ApiError
from webhook.core.model import ControllerRef, Requirement
from webhook.core.policy import Mode, Policy, SpotPool

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
CONTROL_PLANE = {"without": ("kube-state-metrics",), "admission_plugins": ("PodTolerationRestriction",)}
REQUIRED = {"spot-balancer.io/placement": "required"}
EKS = (Requirement("eks.amazonaws.com/capacityType", "In", ("SPOT",)),)


@pytest.fixture(scope="module")
def plane(control_plane):
    control_plane.node("regular-1", labels=steering.REGULAR)
    control_plane.node("spot-1", labels=steering.SPOT)
    return control_plane


@pytest.fixture
def steer(plane, tmp_path):
    """Makes a server for a snapshot, called for the snapshot's namespace until the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda world: stack.enter_context(steering.steered(plane, tmp_path / "server", world))


def running(plane, namespace, count=1, app=""):
    def all_there():
        found = plane.running(namespace, f"app={app}" if app else "")
        return found if len(found) >= count else None

    return plane.wait_for(all_there, 30, f"{count} running pods in {namespace}")


def test_a_demand_with_a_destination_lands_on_spot(plane, steer):
    steer(steering.snapshot("demand", workload("demand", "web", annotations=REQUIRED)))
    plane.deployment("web", namespace="demand", replicas=3)
    pods = running(plane, "demand", 3)
    assert {decision(p) for p in pods} == {"v1/spot/required/1"}
    assert {p["spec"]["nodeName"] for p in pods} == {"spot-1"}


def test_a_demand_without_a_destination_becomes_a_wish_and_the_pod_runs_on_regular(plane, steer):
    """The only spot node is cordoned, in the world as in the snapshot."""
    cordoned = builders.make_node("spot-1", builders.KARPENTER_SPOT, schedulable=False)
    nodes = [builders.make_node("regular-1"), cordoned]
    steer(steering.snapshot("nowhere", workload("nowhere", "web", annotations=REQUIRED), nodes=nodes))
    cordon(plane, "spot-1", True)
    try:
        plane.deployment("web", namespace="nowhere")
        (pod,) = running(plane, "nowhere")
    finally:
        cordon(plane, "spot-1", False)
    assert decision(pod) == "v1/spot/preferred/1"
    assert pod["spec"]["nodeName"] == "regular-1"


def cordon(plane, node, shut):
    plane.api("PATCH", path_of("Node", name=node), {"spec": {"unschedulable": shut}}, content_type=MERGE_PATCH)


def test_a_demand_waits_for_the_declared_pool_to_grow_from_nothing(plane, steer):
    policy = Policy(mode=Mode.INJECT, spot_pools=(SpotPool(name="burst", marker=EKS),))
    nodes = [builders.make_node("regular-1")]
    wanted = workload("pool", "web", annotations=REQUIRED)
    steer(steering.snapshot("pool", wanted, nodes=nodes, policy=policy))
    plane.deployment("web", namespace="pool")

    def told_unschedulable():
        found = [p for p in plane.pods("pool") for c in p["status"].get("conditions", ()) if c["status"] == "False"]
        return next(iter(found), None)

    waiting = plane.wait_for(told_unschedulable, 30, "the scheduler to find no node")
    assert "nodeName" not in waiting["spec"]
    plane.node("grown", labels={"eks.amazonaws.com/capacityType": "SPOT"})
    (pod,) = running(plane, "pool")
    assert pod["spec"]["nodeName"] == "grown"
    plane.delete("Node", "grown")


def test_the_next_job_of_a_cron_job_is_steered_before_anyone_has_seen_it(plane, steer):
    """The snapshot knows the CronJob; the Job is a second old and known by its name alone."""
    steer(steering.snapshot("night", workload("night", "night", "CronJob", replicas=None, controllers=())))
    job = manifests.job("night-29400000", namespace="night", completes=False)
    made = plane.apply(manifests.cron_job("night", namespace="night"))
    job["metadata"]["ownerReferences"] = [owned_by(made)]
    plane.apply(job)
    (pod,) = running(plane, "night")
    assert decision(pod) == "v1/spot/preferred/1"
    assert pod["spec"]["nodeName"] == "spot-1"


def owned_by(owner):
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }


def test_a_stateful_set_is_steered_only_where_it_is_asked_for(plane, steer):
    def stateful(name, **facts):
        reference = (ControllerRef("StatefulSet", name),)
        return workload("stateful", name, "StatefulSet", controllers=reference, **facts)

    asked = {"spot-balancer.io/spot": "auto"}
    steer(steering.snapshot("stateful", stateful("plain"), stateful("asked", annotations=asked)))
    for name in ("plain", "asked"):
        made = manifests.deployment(name, namespace="stateful")
        plane.apply(made | {"kind": "StatefulSet", "spec": made["spec"] | {"serviceName": name}})
    by_app = {p["metadata"]["labels"]["app"]: decision(p) for p in running(plane, "stateful", 2)}
    assert by_app == {"plain": None, "asked": "v1/spot/preferred/1"}


def test_a_custom_kind_that_owns_replica_sets_is_steered_where_it_is_configured(plane, steer):
    policy = Policy(mode=Mode.INJECT, kinds=("Rollout",))
    reference = (ControllerRef("ReplicaSet", "web-5d9"),)
    world = steering.snapshot(
        "custom", workload("custom", "web", "Rollout", controllers=reference), policy=policy
    )  # fmt: skip
    steer(world)
    names = {"plural": "rollouts", "singular": "rollout", "kind": "Rollout"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "rollouts.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }
    plane.apply(crd)
    rollout = {"apiVersion": "example.com/v1", "kind": "Rollout", "metadata": {"name": "web", "namespace": "custom"}}

    def created():
        try:
            return plane.api("POST", "/apis/example.com/v1/namespaces/custom/rollouts", rollout)
        except ApiError as not_served_yet:
            assert not_served_yet.status == 404
            return None

    owner = plane.wait_for(created, 30, "the custom kind to be served")
    replica_set = manifests.deployment("web-5d9", namespace="custom") | {"kind": "ReplicaSet"}
    replica_set["metadata"]["ownerReferences"] = [owned_by(owner)]
    plane.apply(replica_set)
    (pod,) = running(plane, "custom")
    assert decision(pod) == "v1/spot/preferred/1"


def replica_pod(namespace, name="odd", **spec):
    """A pod as a ReplicaSet of `web` would make it, posted by ourselves."""
    made = builders.make_pod("web", **manifests.pod_spec(automountServiceAccountToken=False), **spec)
    made["metadata"] |= {"namespace": namespace, "name": name}
    made["spec"].pop("schedulerName")
    return made


def test_a_dry_run_gets_the_same_patch_and_leaves_nothing(plane, steer):
    steer(steering.snapshot("dry", workload("dry", "web")))
    path = path_of("Pod", namespace="dry")
    dry = plane.api("POST", path + "?dryRun=All", replica_pod("dry"))
    assert plane.pods("dry") == []
    real = plane.api("POST", path, replica_pod("dry"))
    assert decision(real) == decision(dry) == "v1/spot/preferred/1"
    assert real["spec"]["affinity"] == dry["spec"]["affinity"]


def test_a_gated_pod_is_left_as_it_is(plane, steer):
    steer(steering.snapshot("gated", workload("gated", "web")))
    made = plane.apply(replica_pod("gated", schedulingGates=[{"name": "example.com/wait"}]))
    assert decision(made) is None
    assert "affinity" not in made["spec"]


WHITELIST = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
# What Kubernetes itself gives every pod.
USUAL = [
    {"key": f"node.kubernetes.io/{what}", "operator": "Exists"}
    for what in ("not-ready", "unreachable", "memory-pressure")
]


def test_a_namespace_that_restricts_tolerations_gets_none_of_ours_and_its_pods_are_admitted(plane, steer):
    """The real plugin refuses the toleration that a pod elsewhere would get for the spot node's taint."""
    behind = builders.make_node("aks", builders.AKS_SPOT, taints=(builders.AKS_TAINT,))
    nodes = [builders.make_node("regular-1"), behind]
    annotations = {WHITELIST: json.dumps(USUAL)}
    plane.namespace("strict", annotations=annotations)
    server = steer(steering.snapshot("strict", workload("strict", "web"), nodes=nodes, annotations=annotations))
    ours = {"key": builders.AKS_TAINT.key, "operator": "Equal", "value": "spot", "effect": "NoSchedule"}
    with pytest.raises(ApiError, match="pod tolerations"):
        plane.apply(replica_pod("strict", name="refused", tolerations=[ours]))
    made = plane.apply(replica_pod("strict"))
    assert decision(made) is None
    assert ours not in made["spec"]["tolerations"]
    assert server.metric('spot_balancer_decisions_total{reason="tolerations-restricted"}') >= 1


def test_a_quota_refuses_a_pod_with_us_as_without_us(plane, steer):
    steer(steering.snapshot("quota", workload("quota", "web")))
    plane.namespace("quota-without")
    refusals = []
    for namespace in ("quota", "quota-without"):
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none"},
            "spec": {"hard": {"pods": "0"}},
        }
        plane.api("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", quota)

        def refused(namespace=namespace):
            try:
                plane.api("POST", path_of("Pod", namespace=namespace) + "?dryRun=All", replica_pod(namespace))
            except ApiError as refusal:
                counted = "exceeded quota" in str(refusal)
                return (refusal.status, str(refusal)) if counted else None
            return None

        refusals.append(plane.wait_for(refused, 20, "the quota to count"))
    assert refusals[0] == refusals[1]


@pytest.mark.parametrize(
    ("level", "context", "accepted"),
    [
        ("restricted", steering.SAFE, True),
        ("restricted", {}, False),
        ("baseline", {}, True),
        ("baseline", {"privileged": True}, False),
    ],
    ids=["restricted-safe", "restricted-plain", "baseline-plain", "baseline-privileged"],
)
def test_pod_security_judges_a_pod_with_us_as_without_us(plane, steer, level, context, accepted):
    name = f"{level}-{'yes' if accepted else 'no'}"
    enforce = {"pod-security.kubernetes.io/enforce": level}
    for namespace in (name, f"{name}-without"):
        plane.namespace(namespace, labels=enforce)
    server = steer(steering.snapshot(name, workload(name, "web")))
    answers = []
    for namespace in (name, f"{name}-without"):
        pod = replica_pod(namespace)
        pod["spec"]["containers"][0]["securityContext"] = context
        answers.append(outcome(plane, namespace, pod))
    (with_us, seen), (without_us, _) = answers
    assert with_us == without_us
    assert (with_us == "accepted") is accepted
    assert server.metric('spot_balancer_decisions_total{reason="spot-preferred"}') >= 1
    assert not accepted or seen == "v1/spot/preferred/1"


def outcome(plane, namespace, pod):
    try:
        made = plane.api("POST", path_of("Pod", namespace=namespace) + "?dryRun=All", pod)
    except ApiError as refusal:
        assert refusal.status == 403
        return str(refusal), None
    return "accepted", decision(made)


DOCS = Path("docs/placement.md")
# Requests of one replica on nodes of 8 CPUs -> how many of ten end on the one spot node.
SHARES = {"100m": range(8, 11), "600m": range(5, 11)}


@pytest.mark.parametrize("cpu", SHARES)
def test_the_share_that_a_wish_reaches_is_the_one_the_docs_tell(plane, steer, capsys, cpu):
    """Ten replicas at once, one spot and one regular node, the scheduler's default spreading."""
    least, most = min(SHARES[cpu]), max(SHARES[cpu])
    assert f"| {cpu} | {least} to {most} of 10 |" in DOCS.read_text()
    name = f"share-{cpu}"
    steer(steering.snapshot(name, workload(name, "web", replicas=10, pods=0)))
    for room, labels in (("spot", steering.SPOT), ("regular", steering.REGULAR)):
        plane.node(f"{name}-{room}", labels={**labels, "only": name})
    plane.deployment("web", namespace=name, replicas=10, cpu=cpu, nodeSelector={"only": name})
    try:
        pods = running(plane, name, 10)
    finally:
        plane.delete("Deployment", "web", namespace=name)
        plane.delete("Node", f"{name}-spot")
        plane.delete("Node", f"{name}-regular")
    counted = [p["spec"]["nodeName"] for p in pods if p["spec"]["nodeName"].startswith(name)]
    on_spot = sum(node.endswith("spot") for node in counted)
    with capsys.disabled():
        print(f"\npreferred, {cpu} each: {on_spot} of 10 on the one spot node")
    assert {decision(p) for p in pods} == {"v1/spot/preferred/1"}
    assert len(counted) == 10
    assert on_spot in SHARES[cpu]


@contextlib.contextmanager
def second_webhook(plane, namespace, folder):
    """A mesh injector in small: it adds a sidecar, a toleration and a node affinity of its own, and counts its calls."""
    calls = []

    class Injector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            calls.append(request["uid"])
            names = [c["name"] for c in request["object"]["spec"]["containers"]]
            response = {"uid": request["uid"], "allowed": True}
            if "sidecar" not in names:
                patch = json.dumps(injected(request["object"])).encode()
                response |= {"patchType": "JSONPatch", "patch": base64.b64encode(patch).decode()}
            answer = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *words):
            """A test's output is not the place."""

    authority = trustme.CA()
    serverproc.write_pair(folder, authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Injector) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        name = f"z-after-{namespace}"  # webhooks are called in the order of their configurations' names
        steering.register(plane, namespace, server.server_port, authority.cert_pem.bytes(), name=name)
        try:
            yield calls
        finally:
            plane.delete("MutatingWebhookConfiguration", name)
            server.shutdown()
            thread.join(5)


def injected(pod):
    """What it adds; the term comes to where ours may stand already."""
    term = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}
    affinity = pod["spec"].get("affinity", {})
    node = affinity.get("nodeAffinity", {}) | {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}
    }
    return [
        {"op": "add", "path": "/spec/containers/-", "value": {"name": "sidecar", "image": "registry.example/mesh:1"}},
        {"op": "add", "path": "/spec/affinity", "value": affinity | {"nodeAffinity": node}},
        {"op": "add", "path": "/spec/tolerations/-", "value": {"key": "mesh", "operator": "Exists"}},
    ]


def test_a_second_webhook_after_us_calls_us_again_and_the_pod_is_right_and_stamped_once(plane, steer, tmp_path):
    server = steer(steering.snapshot("mesh", workload("mesh", "web")))
    with second_webhook(plane, "mesh", tmp_path / "injector") as calls:
        path = path_of("Pod", namespace="mesh") + "?dryRun=All"
        plane.wait_for(lambda: (plane.api("POST", path, steering.bare("mesh")), calls)[1], 20, "the second webhook")
        before = server.metric('spot_balancer_decisions_total{reason="already-decided"}')
        made = plane.apply(replica_pod("mesh"))
    node = made["spec"]["affinity"]["nodeAffinity"]
    wishes = node["preferredDuringSchedulingIgnoredDuringExecution"]
    marker = [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]}]
    assert [wish["preference"]["matchExpressions"] for wish in wishes] == [marker]
    (term,) = node["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [e["key"] for e in term["matchExpressions"]] == ["kubernetes.io/os"]
    assert [c["name"] for c in made["spec"]["containers"]] == ["app", "sidecar"]
    assert [t["key"] for t in made["spec"]["tolerations"]].count("mesh") == 1
    assert decision(made) == "v1/spot/preferred/1"
    assert server.metric('spot_balancer_decisions_total{reason="already-decided"}') == before + 1
