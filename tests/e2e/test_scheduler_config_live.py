"""The real kube-scheduler starts with exactly what `scheduler-config` prints, asks what it is told to ask, and heeds the answer."""

import json
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from tests.chart.render import render
from tests.parts import manifests
from webhook.adapters.certificates import make_pair
from webhook.cli.root import run

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
CONTROL_PLANE = {"without": ("kube-state-metrics", "scheduler")}
HOME, NODES = "steering", ("node-1", "node-2", "node-3")
BEST = "node-2"


class Extender:
    """Likes one node over TLS, and remembers who was asked for what."""

    def __init__(self, folder):
        files = make_pair(folder, ["127.0.0.1"], now=datetime.now(UTC))
        self.ca_file, self.calls = files.ca_file, []
        calls = self.calls

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                calls.append((self.path, body))
                answer = json.dumps(
                    [{"Host": name, "Score": 10 * (name == BEST)} for name in body["NodeNames"]]
                ).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def extender(tmp_path_factory):
    with Extender(tmp_path_factory.mktemp("extender") / "tls") as found:
        yield found


@pytest.fixture(scope="module")
def plane(control_plane):
    for name in NODES:
        control_plane.node(name)
    control_plane.namespace(HOME)
    return control_plane


def start(plane, printed):
    with suppress(KeyError):  # not started yet
        plane.stop("scheduler")
    (plane.folder / "scheduler.yaml").write_text(printed)
    plane.start("scheduler")


def node_of(plane, name):
    def bound():
        return plane.get("Pod", name, namespace="default")["spec"].get("nodeName")

    return plane.wait_for(bound, 60, f"a node for {name}")


def test_the_first_scheduler_asks_by_names_and_takes_the_best(plane, extender, capsys):
    given = ["--url", extender.url, "--server-name", "127.0.0.1", "--ca-file", str(extender.ca_file)]
    kubeconfig = str(plane.folder / "kube-scheduler.kubeconfig")
    assert run(["scheduler-config", *given, "--scheduler-kubeconfig", kubeconfig, "--timeout", "5s"]) == 0
    start(plane, capsys.readouterr().out)
    for number in range(5):
        plane.apply(manifests.pod(f"first-{number}"))
        assert node_of(plane, f"first-{number}") == BEST
    path, body = extender.calls[-1]
    assert path == "/extender/prioritize"
    assert (body["Nodes"], set(body["NodeNames"])) == (None, set(NODES))


def test_a_second_scheduler_with_the_charts_rights_serves_its_own_pods_alone(plane, extender, capsys):
    rendered = render({"secondScheduler": {"enabled": True, "name": "balanced"}})
    for made in rendered:
        component = made["metadata"]["labels"]["app.kubernetes.io/component"]
        if component == "scheduler" and made["kind"] != "Deployment":
            plane.apply(made)
    token = plane.service_account_token(HOME, "spot-balancer-scheduler")
    given = ["--url", extender.url, "--ca-path", str(extender.ca_file), "--second", "balanced", "-n", HOME]
    given += ["--server-name", "127.0.0.1"]
    kubeconfig = str(plane.kubeconfig_for(token))
    assert run(["scheduler-config", *given, "--scheduler-kubeconfig", kubeconfig, "--timeout", "5s"]) == 0
    printed = capsys.readouterr().out
    start(plane, printed)
    plane.apply(manifests.pod("of-nobody"))
    plane.apply(manifests.pod("of-the-second", schedulerName="balanced"))
    assert node_of(plane, "of-the-second") == BEST
    assert plane.get("Lease", "balanced", namespace=HOME)["spec"]["holderIdentity"]
    assert "nodeName" not in plane.get("Pod", "of-nobody", namespace="default")["spec"]


def test_the_address_and_the_ca_are_those_that_the_chart_installed(plane, capsys):
    rendered = [o for o in render() if o["kind"] in {"Service", "ConfigMap"}]
    for made in rendered:
        plane.apply(made)
    assert run(["scheduler-config", "--kubeconfig", str(plane.admin_kubeconfig), "-n", HOME]) == 0
    (found,) = yaml.safe_load(capsys.readouterr().out)["extenders"]
    service = plane.get("Service", "spot-balancer", namespace=HOME)["spec"]
    assert found["urlPrefix"] == f"https://{service['clusterIP']}:443/extender"
    assert found["tlsConfig"]["serverName"] == "spot-balancer.steering.svc"
