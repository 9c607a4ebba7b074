"""The chart, installed by real helm on a real API server, and its three processes under their own accounts' tokens.

The processes run on this host instead of in pods: with the arguments, the configuration, the key pair
and the rights that the release brought, and nothing else.
"""

import base64
import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.chart.render import CHART, NAMESPACE, RELEASE
from tests.chart.test_rbac import FOR_MOVES, MONITOR, MOVE, READ_BY_BOTH, RESTART, SYNC
from tests.e2e.https import get
from tests.parts.kube_api import ApiError
from tests.parts.processes import ManagedProcess, release_port, reserve_port, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("e2e-chart")]

HOST = f"{RELEASE}.{NAMESPACE}.svc"


class Installed:
    """A release, and what its processes get from it, on this host's paths."""

    def __init__(self, plane, helm, folder: Path, prometheus_url: str):
        self.plane, self.folder = plane, folder
        self._helm_program = helm
        self._values = folder / "values.yaml"
        config = {"mode": "inject", "prometheus": {"url": prometheus_url}}
        self._values.write_text(yaml.safe_dump({"config": yaml.safe_dump(config)}))
        self.helm("install", RELEASE, str(CHART), "--create-namespace", "--values", str(self._values))
        self.port, self.ops_port = reserve_port(), reserve_port()
        self._paths = {
            "/run/spot-balancer/snapshot": self._folder("snapshot"),
            "/run/spot-balancer/tls": self._pair(),
            "/etc/spot-balancer/config/config.yaml": self._config(),
            "0.0.0.0:8443": f"127.0.0.1:{self.port}",
            "0.0.0.0:9090": f"127.0.0.1:{self.ops_port}",
        }

    def helm(self, *words):
        line = [self._helm_program, *words, "--namespace", NAMESPACE]
        environment = {**os.environ, "KUBECONFIG": str(self.plane.admin_kubeconfig), "HOME": str(self.folder)}
        done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def upgrade(self):
        self.helm("upgrade", RELEASE, str(CHART), "--values", str(self._values))

    def _folder(self, name):
        (self.folder / name).mkdir()
        return str(self.folder / name)

    def secret(self):
        found = self.plane.get("Secret", f"{RELEASE}-tls", namespace=NAMESPACE)
        return {name: base64.b64decode(data) for name, data in found["data"].items()}

    def registration(self):
        return self.plane.get("MutatingWebhookConfiguration", RELEASE)

    def _pair(self):
        folder = self._folder("tls")
        for name in ("tls.crt", "tls.key"):
            (Path(folder) / name).write_bytes(self.secret()[name])
        return folder

    def _config(self):
        found = self.plane.get("ConfigMap", f"{RELEASE}-config", namespace=NAMESPACE)
        file = self.folder / "config.yaml"
        file.write_text(found["data"]["config.yaml"])
        return str(file)

    def token(self, process):
        return self.plane.service_account_token(NAMESPACE, f"{RELEASE}-{process}")

    def command(self, container, *, account=None):
        """The container's command line, with this host's paths, and as `account` where it talks to the API server."""
        deployment = self.plane.get("Deployment", RELEASE, namespace=NAMESPACE)
        cronjob = self.plane.get("CronJob", f"{RELEASE}-monitor", namespace=NAMESPACE)
        specs = (deployment["spec"]["template"]["spec"], cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"])
        (found,) = [c for spec in specs for c in spec["containers"] if c["name"] == container]
        line = [sys.executable, "-m", "webhook", *(self._paths.get(word, word) for word in found["args"])]
        if account:
            kubeconfig = self.plane.kubeconfig_for(self.token(account))
            line += ["--kubeconfig", str(kubeconfig)]
        return line

    def ask(self, path):
        """(status, body) from the server, trusted by nothing but the registration's own bundle and service name."""
        client = self.registration()["webhooks"][0]["clientConfig"]
        context = ssl.create_default_context(cadata=base64.b64decode(client["caBundle"]).decode())
        return get("127.0.0.1", self.port, path, context=context, server_name=HOST)


@pytest.fixture(scope="module")
def installed(control_plane, prometheus, part, tmp_path_factory):
    control_plane.node("regular-1", labels={"karpenter.sh/capacity-type": "on-demand"})
    control_plane.namespace("shop")
    control_plane.deployment("nginx-demo", namespace="shop", replicas=1)
    wait_for(lambda: control_plane.running("shop", "app=nginx-demo"), 30, "a running pod")
    release = Installed(control_plane, part("helm"), tmp_path_factory.mktemp("release"), prometheus.url)
    yield release
    release_port(release.port)
    release_port(release.ops_port)


@pytest.fixture(scope="module")
def running(installed):
    """Sync and server, started as the pod would start them."""
    sync = ManagedProcess("sync", installed.command("sync", account="sync"), log=installed.folder / "sync.log")
    server = ManagedProcess("serve", installed.command("server"), log=installed.folder / "serve.log")
    try:
        sync.start()
        server.start()
        server.wait_until(lambda: installed.ask("/readyz")[0] == 200)
        yield installed
    finally:
        server.stop()
        sync.stop()


def test_sync_writes_a_snapshot_and_the_server_is_ready_under_the_services_name(running):
    from webhook.adapters import snapshots

    snapshot = snapshots.load(running.folder / "snapshot")
    assert "regular-1" in snapshot.nodes
    assert "shop/Deployment/nginx-demo" in {str(key) for key in snapshot.workloads}
    assert running.ask("/healthz")[0] == 200


def run_monitor(installed):
    """Again and again, as its CronJob does: the first runs may come before Prometheus has scraped."""
    line = installed.command("monitor", account="monitor")

    def run():
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return True

    wait_for(run, 60, "a run of the monitor with usage to judge", every_s=1.0)


def test_the_monitor_writes_the_book_with_its_own_rights(installed):
    run_monitor(installed)
    names = {c["metadata"]["name"] for c in installed.plane.list_all("ConfigMap", namespace=NAMESPACE)}
    assert f"{RELEASE}-book-control" in names


def test_sync_sees_what_the_monitor_wrote_with_its_own_rights(running):
    from webhook.adapters import snapshots

    run_monitor(running)
    wait_for(
        lambda: snapshots.load(running.folder / "snapshot").meta.book_heartbeat, 30, "the heartbeat in the snapshot"
    )


@pytest.mark.parametrize(("process", "table"), [("sync", SYNC), ("monitor", MONITOR)])
def test_an_account_may_do_what_the_table_says_and_nothing_else(installed, process, table):
    token = installed.token(process)
    nobody = installed.plane.service_account_token(NAMESPACE, "default")
    cluster = _rights(installed, "shop", token) - _rights(installed, "shop", nobody)
    own = _rights(installed, NAMESPACE, token) - _rights(installed, NAMESPACE, nobody)
    assert cluster == _flat(table["cluster"])
    assert own == cluster | _flat(table[NAMESPACE])


@pytest.fixture
def mover(installed):
    """The token of a second release's monitor, which may move pods of shop and restart in batch."""
    second = f"{RELEASE}-mover"
    installed.plane.namespace("batch")
    moves = ["moves.enabled=true", "moves.namespaces={shop}", "moves.restartNamespaces={batch}"]
    installed.helm("install", second, str(CHART), *(word for one in moves for word in ("--set", one)))
    yield installed.plane.service_account_token(NAMESPACE, f"{second}-monitor")
    installed.helm("uninstall", second)
    bindings = (one for name in ("shop", "batch") for one in installed.plane.list_all("RoleBinding", namespace=name))
    assert not [one for one in bindings if second in one["metadata"]["name"]]


def test_a_monitor_that_may_move_may_do_so_only_in_the_listed_namespaces(installed, mover):
    nobody = installed.plane.service_account_token(NAMESPACE, "default")
    there = {"shop": MOVE, "batch": RESTART, "kube-system": {}, NAMESPACE: MONITOR[NAMESPACE]}
    for namespace, rights in there.items():
        found = _rights(installed, namespace, mover) - _rights(installed, namespace, nobody)
        assert found == _flat(READ_BY_BOTH | FOR_MOVES) | _flat(rights), namespace


def _flat(rights):
    return {(group, resource, verb) for (group, resource), verbs in rights.items() for verb in verbs}


def _rights(installed, namespace, token):
    """{(group, resource, verb)} that the API server itself tells a token's bearer."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    told = installed.plane.api("POST", path, review, token=token)["status"]
    assert not told["incomplete"] or not told.get("evaluationError"), told
    return {
        (group, resource, verb)
        for rule in told["resourceRules"]
        for group in rule.get("apiGroups", [])
        for resource in rule.get("resources", [])
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("process", ["sync", "monitor"])
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/shop/secrets",
        "/api/v1/namespaces/kube-system/configmaps",
        f"/api/v1/namespaces/{NAMESPACE}/secrets",
    ],
)
def test_an_account_cannot_read_what_is_not_its_business(installed, process, path):
    with pytest.raises(ApiError) as refusal:
        installed.plane.api("GET", path, token=installed.token(process))
    assert refusal.value.status == 403


def test_the_api_server_took_the_registration_as_written(installed):
    hook = installed.registration()["webhooks"][0]
    assert (hook["failurePolicy"], hook["timeoutSeconds"]) == ("Ignore", 2)
    assert len(hook["matchConditions"]) == 4


def test_pods_are_admitted_while_nothing_answers_behind_the_service(installed):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "orphan-",
            "namespace": "shop",
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "gone", "uid": "gone", "controller": True}
            ],
        },
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    made = installed.plane.api("POST", "/api/v1/namespaces/shop/pods?dryRun=All", pod)
    assert "affinity" not in made["spec"]


def test_an_upgrade_keeps_the_key_pair(installed):
    before = installed.secret(), installed.registration()["webhooks"][0]["clientConfig"]["caBundle"]
    installed.upgrade()
    assert before == (installed.secret(), installed.registration()["webhooks"][0]["clientConfig"]["caBundle"])


def test_uninstalling_leaves_no_webhook_and_no_rights(installed):
    """A second release, because the others still need the first."""
    second = f"{RELEASE}-two"
    installed.helm("install", second, str(CHART))
    installed.helm("uninstall", second)
    left = [
        f"{kind}/{found['metadata']['name']}"
        for kind in ("MutatingWebhookConfiguration", "ClusterRole", "ClusterRoleBinding")
        for found in installed.plane.list_all(kind)
        if second in found["metadata"]["name"]
    ]
    assert not left
