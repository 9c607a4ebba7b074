"""Which pods the chart's registration sends to the server, asked of a real API server with a server that only takes notes."""

import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme

from tests.chart.render import NAMESPACE, one, render

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("e2e-registration")]
CONTROL_PLANE = {"without": ("scheduler", "kwok", "kube-state-metrics")}

OWNED = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "1", "controller": True}]


class Notes(BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        self.server.seen.append(request["object"]["metadata"]["name"])
        answer = {**review, "request": None, "response": {"uid": request["uid"], "allowed": True}}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def seen(control_plane):
    """Names of the pods that reached the server, newest last."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), Notes) as server:
        server.seen = []
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        registration = one(render(), "MutatingWebhookConfiguration")
        registration["webhooks"][0]["clientConfig"] = {
            "url": f"https://127.0.0.1:{server.server_port}/mutate",
            "caBundle": base64.b64encode(authority.cert_pem.bytes()).decode(),
        }
        for namespace in ("shop", NAMESPACE):
            control_plane.namespace(namespace)
        control_plane.apply(registration)
        # A registration takes a moment to be seen by the API server's own watch.
        control_plane.wait_for(
            lambda: create(control_plane, "first") and "first" in server.seen, 30, "the registration to be in force"
        )
        yield server.seen
        server.shutdown()
        thread.join()


def create(plane, name, *, namespace="shop", owners=OWNED, **metadata):
    spec = {"containers": [{"name": "c", "image": "i"}]} | metadata.pop("spec", {})
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": owners, **metadata},
        "spec": spec,
    }
    return plane.api("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)


@pytest.mark.parametrize("kind", ["ReplicaSet", "Job", "StatefulSet", "Rollout"])
def test_pods_of_a_controller_are_sent(control_plane, seen, kind):
    create(control_plane, f"of-{kind.lower()}", owners=[OWNED[0] | {"kind": kind}])
    assert f"of-{kind.lower()}" in seen


@pytest.mark.fault(26)
@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("bare", {"owners": []}),
        ("owned-without-controller", {"owners": [{k: v for k, v in OWNED[0].items() if k != "controller"}]}),
        ("of-daemonset", {"owners": [OWNED[0] | {"kind": "DaemonSet"}]}),
        ("of-node", {"owners": [OWNED[0] | {"apiVersion": "v1", "kind": "Node"}]}),
        ("bound", {"spec": {"nodeName": "regular-1"}}),
        ("opted-out", {"labels": {"spot-balancer.io/skip": "true"}}),
        ("in-kube-system", {"namespace": "kube-system"}),
        ("in-our-own-namespace", {"namespace": NAMESPACE}),
    ],
)
def test_pods_that_are_nobodys_business_never_wait_for_the_server(control_plane, seen, name, facts):
    create(control_plane, name, **facts)
    assert name not in seen


def test_a_skip_label_that_says_no_is_no_opt_out(control_plane, seen):
    create(control_plane, "still-in", labels={"spot-balancer.io/skip": "false"})
    assert "still-in" in seen
