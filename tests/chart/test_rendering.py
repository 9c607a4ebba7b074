"""What must hold for the rendered chart, whatever values are set."""

import base64
import ipaddress
import json
import re
import subprocess

import pytest
import yaml
from cryptography import x509

from tests.chart.render import (
    CHART,
    CI_VALUES,
    NAMESPACE,
    RELEASE,
    containers,
    one,
    pod_specs,
    pod_templates,
    program,
    render,
)

every_values_file = pytest.mark.parametrize("values_file", CI_VALUES, ids=lambda file: file.stem)


@every_values_file
def test_helm_lint_finds_nothing(values_file):
    line = [program("helm"), "lint", "--strict", str(CHART), "--values", str(values_file)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_charts_own_suites_pass():
    line = [program("helm-unittest"), "--strict", str(CHART)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@every_values_file
def test_every_object_fits_the_schema_of_its_kind(values_file):
    import kubernetes_validate

    for made in render(values_file=values_file):
        kubernetes_validate.validate(made, kubernetes_validate.latest_version(), strict=True)


@every_values_file
def test_every_pod_meets_pod_security_restricted(values_file):
    for spec in pod_specs(render(values_file=values_file)).values():
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 65532
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert not [v for v in spec["volumes"] if "hostPath" in v]
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]


@every_values_file
def test_only_what_talks_to_the_api_server_holds_a_token(values_file):
    objects = render(values_file=values_file)
    for spec in pod_specs(objects).values():
        assert spec["automountServiceAccountToken"] is False
    holders = {
        name for name, c in containers(objects).items() if any(m["name"] == "api-token" for m in c["volumeMounts"])
    }
    assert holders == {"sync", "monitor"} | ({"scheduler"} & set(containers(objects)))


@every_values_file
def test_the_server_writes_nowhere_but_its_temporary_folder(values_file):
    mounts = containers(render(values_file=values_file))["server"]["volumeMounts"]
    assert [m["mountPath"] for m in mounts if not m.get("readOnly")] == ["/tmp"]


@every_values_file
def test_snapshot_and_temporary_files_stay_in_memory(values_file):
    for spec in pod_specs(render(values_file=values_file)).values():
        for volume in spec["volumes"]:
            assert volume.get("emptyDir", {"medium": "Memory"})["medium"] == "Memory"


@every_values_file
def test_probes_ports_and_service_agree(values_file):
    objects = render(values_file=values_file)
    server = containers(objects)["server"]
    (port,) = one(objects, "Service")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (443, "https")
    assert {p["name"]: p["containerPort"] for p in server["ports"]} == {"https": 8443}
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert server[probe]["httpGet"] == {"path": path, "port": "https", "scheme": "HTTPS"}
    client = one(objects, "MutatingWebhookConfiguration")["webhooks"][0]["clientConfig"]["service"]
    service = one(objects, "Service")["metadata"]
    assert (client["name"], client["namespace"], client["port"]) == (service["name"], service["namespace"], 443)


@every_values_file
def test_selectors_find_only_the_server(values_file):
    objects = render(values_file=values_file)
    wanted = one(objects, "Service")["spec"]["selector"]
    labels = {name: template["metadata"]["labels"] for name, template in pod_templates(objects).items()}
    assert {name for name, own in labels.items() if wanted.items() <= own.items()} == {"server"}
    for made in objects:
        if made["kind"] in {"Deployment", "PodDisruptionBudget"}:
            chosen = made["spec"]["selector"]["matchLabels"].items()
            found = [name for name, own in labels.items() if chosen <= own.items()]
            assert found == [made["metadata"]["labels"]["app.kubernetes.io/component"]]


@every_values_file
def test_registration_never_rejects_and_guards_every_field(values_file):
    hook = one(render(values_file=values_file), "MutatingWebhookConfiguration")["webhooks"][0]
    assert (hook["failurePolicy"], hook["sideEffects"], hook["matchPolicy"]) == ("Ignore", "None", "Equivalent")
    assert hook["reinvocationPolicy"] == "IfNeeded"
    assert hook["timeoutSeconds"] <= 2
    assert hook["rules"] == [
        {
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["pods"],
            "operations": ["CREATE"],
            "scope": "Namespaced",
        }
    ]
    left_out = hook["namespaceSelector"]["matchExpressions"][0]
    assert left_out["key"] == "kubernetes.io/metadata.name"
    assert {"kube-system", "kube-public", "kube-node-lease", NAMESPACE} <= set(left_out["values"])
    assert len(left_out["values"]) == len(set(left_out["values"]))
    for condition in hook["matchConditions"]:
        used = set(re.findall(r"(?:object|request)(?:\.\w+)*\.(\w+)\b(?!\()", condition["expression"]))
        guarded = set(re.findall(r"has\([\w.]*\.(\w+)\)", condition["expression"]))
        assert used <= guarded, condition


def test_helms_pair_serves_the_services_name_and_is_trusted_by_the_bundle():
    objects = render()
    secret = {k: base64.b64decode(v) for k, v in one(objects, "Secret")["data"].items()}
    bundle = one(objects, "MutatingWebhookConfiguration")["webhooks"][0]["clientConfig"]["caBundle"]
    assert base64.b64decode(bundle) == secret["ca.crt"]
    assert one(objects, "ConfigMap", f"{RELEASE}-ca")["data"]["ca.crt"].encode() == secret["ca.crt"]
    authority = x509.load_pem_x509_certificate(secret["ca.crt"])
    leaf = x509.load_pem_x509_certificate(secret["tls.crt"])
    leaf.verify_directly_issued_by(authority)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert f"{RELEASE}.{NAMESPACE}.svc" in names.get_values_for_type(x509.DNSName)
    assert not [a for a in names.get_values_for_type(x509.IPAddress) if isinstance(a, ipaddress.IPv4Address)]


def test_the_authoritys_key_is_thrown_away():
    assert set(one(render(), "Secret")["data"]) == {"ca.crt", "tls.crt", "tls.key"}


def test_nothing_but_the_pair_differs_between_two_renderings():
    def quiet(objects):
        return [
            json.dumps(o, sort_keys=True)
            for o in objects
            if o["kind"] not in {"Secret", "MutatingWebhookConfiguration"} and "ca.crt" not in o.get("data", {})
        ]

    assert quiet(render()) == quiet(render({"commonLabels": {}}))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"replicas": 3}, "replicas"),
        ({"server": {"replicas": 0}}, "replicas"),
        ({"tls": {"mode": "magic"}}, "mode"),
        ({"tls": {"mode": "existingSecret"}}, "tls.existingSecret.name"),
        ({"config": {"mode": "observe"}}, "config"),
        ({"webhook": {"failurePolicy": "Fail"}}, "failurePolicy"),
        ({"webhook": {"timeoutSeconds": 30}}, "timeoutSeconds"),
        *(
            ({"webhook": {"excludedNamespaces": [name]}}, "excludedNamespaces")
            for name in ("", "Shop", "a.b", "kube-*")
        ),
        ({"secondScheduler": {"weight": 13}}, "weight"),
        (
            {"secondScheduler": {"enabled": True, "name": "default-scheduler"}},
            "secondScheduler.name must not be default-scheduler: that is the cluster's own",
        ),
        *(({"secondScheduler": {"httpTimeout": t}}, "httpTimeout") for t in ("9ms", "5001ms", "6s", "0s", "300", "1m")),
        (
            {
                "secondScheduler": {"enabled": True},
                "tls": {"mode": "existingSecret", "existingSecret": {"name": "ours"}},
            },
            "tls.existingSecret.caBundle",
        ),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(values, told):
    with pytest.raises(AssertionError, match=re.escape(told)):
        render(values)


def test_every_value_is_in_the_schema_and_every_schema_name_is_a_value():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(_names(schema)) - {"global"} == set(_keys(values, schema))


def _names(schema, prefix=""):
    for name, part in schema.get("properties", {}).items():
        yield prefix + name
        if part.get("additionalProperties") is False and part.get("type") == "object":
            yield from _names(part, prefix + name + ".")


def _keys(values, schema, prefix=""):
    for name, value in values.items():
        yield prefix + name
        part = schema["properties"][name]
        if part.get("additionalProperties") is False and isinstance(value, dict):
            yield from _keys(value, part, prefix + name + ".")


def test_every_object_of_the_schema_is_closed_or_a_map():
    def objects(part):
        if isinstance(part, dict):
            if part.get("type") == "object" and part.get("properties"):
                yield part
            for inner in part.values():
                yield from objects(inner)

    assert all(
        o["additionalProperties"] is False for o in objects(json.loads((CHART / "values.schema.json").read_text()))
    )


def test_every_value_has_a_comment():
    """Its reason and, where it is a number, its unit."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    silent = []
    for number, line in enumerate(lines):
        found = re.match(r"^( *)([A-Za-z]\w*):", line)
        if not found or found[2] in {"requests", "limits"} or _in_text_block(lines, number):
            continue
        opens_a_group = line.rstrip().endswith(":")
        above = lines[number - 1].strip() if number else ""
        continued = re.match(r"^ *\w+: ", lines[number - 1] if number else "")
        if not opens_a_group and not above.startswith("#") and not continued:
            silent.append(line.strip())
    assert not silent


def _in_text_block(lines, number):
    opened = next((i for i, line in enumerate(lines) if line.startswith("config: |")), len(lines))
    closed = next((i for i, line in enumerate(lines) if i > opened and line and not line.startswith(" ")), len(lines))
    return opened < number < closed
