"""The second scheduler: its configuration is what the program prints, its rights are Kubernetes' own and one Lease."""

import hashlib

import pytest
import yaml

from tests.chart.render import CHART, NAMESPACE, RELEASE, containers, one, pod_specs, render
from tests.chart.test_rbac import rights
from webhook.cli.root import run

MINE = {"enabled": True, "name": "balanced", "weight": 2, "httpTimeout": "200ms"}
ACCOUNT = {"kind": "ServiceAccount", "name": f"{RELEASE}-scheduler", "namespace": NAMESPACE}


def configuration(values):
    return yaml.safe_load(one(render(values), "ConfigMap", f"{RELEASE}-scheduler")["data"]["config.yaml"])


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ({"enabled": True}, ["--second", "spot-balancer"]),
        (MINE, ["--second", "balanced", "--weight", "2", "--timeout", "200ms"]),
        ({"enabled": True, "name": "123"}, ["--second", "123"]),
    ],
)
@pytest.mark.parametrize("filters", [False, True])
def test_its_configuration_is_the_one_that_the_program_prints(values, options, filters, capsys):
    text = "mode: inject\nbalance: {filterAbove: 0.9}\n" if filters else "mode: inject\n"
    options = [
        "-n",
        NAMESPACE,
        "--ca-path",
        "/etc/spot-balancer/ca/ca.crt",
        *options,
        *(["--filter"] if filters else []),
    ]
    assert run(["scheduler-config", *options]) == 0
    assert configuration({"config": text, "secondScheduler": values}) == yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("said", "filters"),
    [
        ("balance: {filterAbove: 90%}", True),
        ("balance: {filterAbove: 0.9}", True),
        ("balance: {filterAbove: null}", False),
        ("balance: {filterAbove: }", False),
        ("balance: {filterAbove: off}", False),
        ("balance: {filterAbove: ''}", False),
        ("balance: {window: 10m}", False),
        ("balance: null", False),
    ],
)
def test_the_filter_is_asked_only_where_a_limit_is_said(said, filters):
    (found,) = configuration({"config": said, "secondScheduler": MINE})["extenders"]
    assert ("filterVerb" in found) is filters


def test_it_finds_the_configuration_and_the_ca_where_they_are_mounted():
    objects = render({"secondScheduler": MINE})
    container, spec = containers(objects)["scheduler"], pod_specs(objects)["scheduler"]
    assert container["args"][0] == "--config=/etc/spot-balancer/scheduler/config.yaml"
    maps = {v["name"]: v["configMap"]["name"] for v in spec["volumes"] if "configMap" in v}
    keys = {
        m["mountPath"]: set(one(objects, "ConfigMap", maps[m["name"]])["data"]) for m in container["volumeMounts"][:2]
    }
    assert keys == {"/etc/spot-balancer/scheduler": {"config.yaml"}, "/etc/spot-balancer/ca": {"ca.crt"}}


def test_it_may_what_kubernetes_own_scheduler_may_and_hold_its_own_lease():
    objects = render({"secondScheduler": MINE})
    bindings = [o for o in objects if ACCOUNT in o.get("subjects", ())]
    bound = {(o["roleRef"]["name"], o["metadata"].get("namespace", "cluster")) for o in bindings}
    assert bound == {
        ("system:kube-scheduler", "cluster"),
        ("system:volume-scheduler", "cluster"),
        ("extension-apiserver-authentication-reader", "kube-system"),
        (f"{RELEASE}-scheduler", NAMESPACE),
    }
    role = one(objects, "Role", f"{RELEASE}-scheduler")
    named = [rule for rule in role["rules"] if rule.pop("resourceNames", None) == ["balanced"]]
    assert rights({"rules": named}) == {("coordination.k8s.io", "leases"): ("get", "update")}
    assert rights(role) == {("coordination.k8s.io", "leases"): ("create", "get", "update")}


@pytest.mark.parametrize("length", ["10ms", "300ms", "999ms", "1s", "4999ms", "5000ms", "5s"])
def test_its_timeout_is_told_in_milliseconds_or_seconds(length):
    (found,) = configuration({"secondScheduler": {"enabled": True, "httpTimeout": length}})["extenders"]
    assert found["httpTimeout"] == length


def test_it_keeps_off_spot_nodes_as_the_server_does():
    specs = pod_specs(render({"secondScheduler": MINE}))
    assert specs["scheduler"]["affinity"] == specs["server"]["affinity"]
    avoided = specs["server"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    labels = yaml.safe_load((CHART / "values.yaml").read_text())["server"]["avoidNodeLabels"]
    found = [wish["preference"]["matchExpressions"] for wish in avoided]
    assert found == [[{"key": one["key"], "operator": "NotIn", "values": [one["value"]]}] for one in labels]
    nowhere = pod_specs(render({"secondScheduler": MINE, "server": {"avoidNodeLabels": []}}))
    assert not [name for name, spec in nowhere.items() if "affinity" in spec]


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({}, True),
        ({"secondScheduler": {"enabled": True, "replicas": 1}}, False),
        ({"secondScheduler": {"enabled": False}}, False),
        ({"podDisruptionBudget": {"enabled": False}}, False),
        ({"podDisruptionBudget": {"maxUnavailable": 2}}, True),
    ],
)
def test_a_drain_takes_one_of_its_pods_at_a_time(values, kept):
    objects = render({"secondScheduler": MINE} | values)
    budgets = [o for o in objects if o["kind"] == "PodDisruptionBudget" and o["metadata"]["name"].endswith("scheduler")]
    assert [o["spec"]["maxUnavailable"] for o in budgets] == [1] * kept


def test_without_rbac_it_is_given_no_right():
    objects = render({"secondScheduler": MINE, "rbac": {"create": False}})
    assert not [o for o in objects if o["kind"].endswith(("Role", "RoleBinding"))]


@pytest.mark.parametrize(
    ("values", "asked"),
    [({}, False), ({"extender": {"enabled": True}}, True), ({"secondScheduler": {"enabled": True}}, True)],
)
def test_the_server_answers_the_extenders_calls_where_somebody_may_ask(values, asked):
    assert ("--extender" in containers(render(values))["server"]["args"]) is asked


def test_the_ca_is_published_wherever_it_is_known():
    given = {"mode": "existingSecret", "existingSecret": {"name": "ours", "caBundle": "a CA in PEM"}}
    assert one(render({"tls": given}), "ConfigMap", f"{RELEASE}-ca")["data"]["ca.crt"].strip() == "a CA in PEM"
    given["existingSecret"].pop("caBundle")
    assert not [o for o in render({"tls": given}) if o["metadata"]["name"] == f"{RELEASE}-ca"]


@pytest.mark.parametrize(
    "tls", [{}, {"mode": "existingSecret", "existingSecret": {"name": "ours", "caBundle": "a CA in PEM"}}]
)
def test_it_begins_anew_with_another_ca_whoever_made_that(tls):
    objects = render({"secondScheduler": MINE, "tls": tls})
    bundle = one(objects, "MutatingWebhookConfiguration")["webhooks"][0]["clientConfig"]["caBundle"]
    pods = one(objects, "Deployment", f"{RELEASE}-scheduler")["spec"]["template"]
    told = pods["metadata"]["annotations"]["checksum/ca"]
    assert told == hashlib.sha256(bundle.encode()).hexdigest()


def test_defaults_of_the_chart_and_of_the_program_are_the_same():
    values = yaml.safe_load((CHART / "values.yaml").read_text())["secondScheduler"]
    assert (values["weight"], values["httpTimeout"], values["enabled"]) == (3, "300ms", False)
