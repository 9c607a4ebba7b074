"""The adapter against Prometheuses that misbehave: real sockets on loopback, no network beyond.

It is long because each way to misbehave is a test of its own beside the one stub they share.
"""

import gzip
import json
import re
import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
import trustme

from webhook.adapters.usage import Prometheus, PrometheusSettings, between_steps
from webhook.adapters.usage_pods import ABOUT_PODS, Answered
from webhook.core.policy import IdlePolicy
from webhook.core.usage import PodLife
from webhook.errors import ConfigurationError, UsageUnavailable
from webhook.wire.prometheus import decode_pod_vector

POLICY = IdlePolicy()
NOW = datetime(2026, 3, 5, 12, 0, 7, 123000, tzinfo=UTC)
START = NOW - timedelta(days=1)
POD = {"namespace": "shop", "pod": "nginx-demo-7d9c5b8f6d-abcde"}


def vector(*rows):
    series = [{"metric": labels, "value": [NOW.timestamp(), str(value)]} for labels, value in rows]
    return {"status": "success", "data": {"resultType": "vector", "result": series}}


OWNER = {"owner_kind": "ReplicaSet", "owner_name": "nginx-demo-7d9c5b8f6d"}
# The first that is found in a query tells its answer.
HEALTHY = {
    'owner_kind="Job"': (POD | {"container": "app"}, 1.5),
    "count(kube_pod_start_time)": ({}, 60),
    "kube_pod_owner": (POD | {"uid": "u"} | OWNER, 1),
    "last_over_time(kube_pod_start_time[3600s]": (POD | {"uid": "u"}, START.timestamp()),
    "kube_pod_container_info": (POD | {"container": "app"}, 1),
    "timestamp(": (POD, NOW.timestamp() - 20),
    "count_over_time": (POD | {"container": "app", "uid": "u"}, 60),
    "sum_over_time": (POD | {"uid": "u"}, 60),
    "": (POD, 0.001),
}


def whole(query):
    """What a healthy Prometheus with one idle pod says."""
    if query == "time()":
        return {"status": "success", "data": {"resultType": "scalar", "result": [0, str(NOW.timestamp())]}}
    return vector(next(row for part, row in HEALTHY.items() if part in query))


class Stub:
    """Answers like `whole`, unless told otherwise; remembers what it was asked."""

    def __init__(self, url):
        self.url = url
        self.answer = whole
        self.status = 200
        self.headers = {"Content-Type": "application/json"}
        self.raw = None
        self.asked = []

    def queries(self):
        return [form["query"][0] for _, _, form in self.asked if "query" in form]


@contextmanager
def serving(context=None):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
            stub.asked.append((self.path, dict(self.headers), form))
            body = stub.raw if stub.raw is not None else json.dumps(stub.answer(form["query"][0])).encode()
            self.reply(body)

        def do_GET(self):
            stub.asked.append((self.path, dict(self.headers), {}))
            self.reply(b'{"status":"success","data":{"version":"3.14.0"}}')

        def reply(self, body):
            self.send_response(stub.status)
            for name, value in stub.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

        def handle_one_request(self):
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    stub = Stub(f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def stub():
    with serving() as running:
        yield running


def sweep(url, **settings):
    prometheus = Prometheus(PrometheusSettings(url=url, **{"deadline_seconds": 5.0} | settings))
    try:
        return prometheus.sweep(POLICY)
    finally:
        prometheus.close()


def trouble(url, **settings):
    with pytest.raises(UsageUnavailable) as caught:
        sweep(url, **settings)
    return caught.value


def test_a_whole_sweep_is_joined_into_pods(stub):
    told = sweep(stub.url)
    (pod,) = told.pods
    assert (pod.namespace, pod.name, pod.controller.name) == ("shop", POD["pod"], "nginx-demo-7d9c5b8f6d")
    assert (pod.cpu_peak_cores, pod.cpu_points, pod.expected_points, pod.running_points) == (0.001, 60, 60, 60)
    assert (pod.started_at, told.evaluated_at, told.prometheus_version) == (START, NOW, "3.14.0")


def test_every_query_of_a_sweep_is_a_post_for_one_moment_and_their_number_is_constant(stub):
    told = sweep(stub.url)
    assert told.queries == len(stub.queries()) == 18
    forms = [form for path, _, form in stub.asked if path == "/api/v1/query"]
    assert {form["time"][0] for form in forms if form["query"] != ["time()"]} == {f"{NOW.timestamp():.3f}"}
    assert {form["timeout"][0] for form in forms} == {"5000ms"}


def test_no_name_of_an_object_ever_reaches_promql(stub):
    evil = {"namespace": '"} or vector(0) #', "pod": "x\n*"}
    stub.answer = lambda query: whole(query) if query == "time()" else vector((evil, 0.001))
    first = sweep(stub.url)
    second = sweep(stub.url)
    assert first.pods == second.pods
    assert not any("vector(0)" in query or "x\n" in query for query in stub.queries())


@pytest.mark.fault(29)
def test_a_prometheus_that_refuses_connections_is_unreachable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert trouble(f"http://127.0.0.1:{port}").code == "unreachable"


@pytest.mark.fault(29)
def test_a_name_that_does_not_resolve_is_unreachable(monkeypatch):
    def unknown(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert trouble("http://prometheus.monitoring:9090").code == "unreachable"


@pytest.mark.fault(29)
def test_a_name_look_up_that_hangs_ends_at_the_deadline(monkeypatch):
    released = threading.Event()

    def hangs(*_args, **_kwargs):
        released.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    assert trouble("http://prometheus.monitoring:9090", deadline_seconds=0.3).code == "deadline"
    released.set()


@contextmanager
def dripping(payload):
    """Accepts, and sends one byte now and then, each well within any read timeout."""
    server = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()
    closed_on = threading.Event()

    def drip():
        connection, _ = server.accept()
        with connection:
            for byte in payload:
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    closed_on.set()
                    return
                if stop.wait(0.05):
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}", closed_on
    finally:
        stop.set()
        thread.join()
        server.close()


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    "payload",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X-Slow: 1\r\n" * 500,
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n" + b" " * 5000,
    ],
    ids=["headers", "body"],
)
def test_a_server_that_drips_bytes_ends_at_the_deadline_and_its_socket_is_shut(payload):
    with dripping(payload) as (url, closed):
        began = time.monotonic()
        assert trouble(url, deadline_seconds=0.5).code == "deadline"
        assert time.monotonic() - began < 5
        assert closed.wait(10)


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "server"),
        (502, "server"),
        (503, "busy"),
        (429, "busy"),
        (401, "auth"),
        (403, "auth"),
        (400, "query"),
        (404, "refused"),
    ],
)
def test_a_status_that_is_not_200_is_told_by_a_bounded_code(stub, status, code):
    stub.status = status
    stub.raw = b'{"status":"error","errorType":"unavailable","error":"replaying the log"}'
    failure = trouble(stub.url)
    assert failure.code == code
    assert "replaying the log" in str(failure)


@pytest.mark.fault(31)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_no_token_goes_there(stub, status, tmp_path):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    with serving() as elsewhere:
        stub.status = status
        stub.headers |= {"Location": f"{elsewhere.url}/api/v1/query"}
        failure = trouble(stub.url, bearer_token_file=token, allow_insecure_credentials=True)
        assert failure.code == "redirect"
        assert elsewhere.asked == []
    assert stub.asked[0][1]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in str(failure)


@pytest.mark.fault(31)
@pytest.mark.parametrize("kind", ["text/html", "", "application/x-protobuf"])
def test_a_page_where_json_was_asked_for_is_refused(stub, kind):
    stub.headers = {"Content-Type": kind} if kind else {}
    assert trouble(stub.url).code == "malformed"


@pytest.mark.fault(31)
def test_json_that_breaks_off_is_refused(stub):
    stub.raw = b'{"status":"success","data":{"resultType":"vector","result":[{"metr'
    assert trouble(stub.url).code == "malformed"


@pytest.mark.fault(31)
def test_a_connection_that_breaks_off_is_refused():
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    server = socket.create_server(("127.0.0.1", 0))

    def cut():
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(head)

    thread = threading.Thread(target=cut)
    thread.start()
    assert trouble(f"http://127.0.0.1:{server.getsockname()[1]}").code in {"truncated", "malformed"}
    thread.join()
    server.close()


@pytest.mark.fault(31)
def test_a_gzip_bomb_is_not_unpacked_beyond_the_cap(stub):
    stub.raw = gzip.compress(b" " * 50_000_000)
    stub.headers |= {"Content-Encoding": "gzip"}
    assert len(stub.raw) < 100_000
    assert trouble(stub.url, max_body_bytes=1_000_000).code == "too-large"


def test_an_honestly_packed_answer_is_read(stub):
    stub.raw = gzip.compress(json.dumps(whole("time()")).encode())
    stub.headers |= {"Content-Encoding": "gzip"}
    assert trouble(stub.url).code == "type"  # the clock was read; the vectors, then, are scalars


@pytest.mark.fault(31)
@pytest.mark.fault(39)
def test_a_body_beyond_the_cap_is_given_up(stub):
    stub.answer = lambda query: whole(query) if query == "time()" else vector((POD | {"x": "y" * 2_000_000}, 1))
    assert trouble(stub.url, max_body_bytes=1_000_000).code == "too-large"


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("odd", "code"),
    [
        ({"status": "error", "errorType": "execution", "error": "too many samples"}, "limit"),
        (vector((POD, 1)) | {"warnings": ["store-1: connection refused"]}, "partial"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "type"),
    ],
    ids=["error", "warnings", "matrix"],
)
def test_one_odd_answer_among_good_ones_fails_the_whole_sweep(stub, odd, code):
    stub.answer = lambda query: odd if "owner_is_controller" in query else whole(query)
    failure = trouble(stub.url)
    assert failure.code == code
    assert "query owner" in str(failure)


@pytest.mark.fault(33)
@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-0", "1e309", "abc", "-5"])
def test_a_value_that_is_no_measurement_leaves_the_pod_without_one(stub, value):
    peak = re.compile("max_over_time.*cpu_usage")
    stub.answer = lambda query: vector((POD, value)) if peak.search(query) else whole(query)
    told = sweep(stub.url)
    assert told.pods[0].cpu_peak_cores is None
    assert told.dropped == 1


@pytest.mark.fault(34)
def test_empty_vectors_are_unavailable_and_not_rest(stub):
    stub.answer = lambda query: whole(query) if query == "time()" else vector()
    assert trouble(stub.url).code == "empty"


@pytest.mark.fault(34)
def test_without_kube_state_metrics_nothing_is_known(stub):
    stub.answer = lambda query: vector() if query.count("kube_") and "rate(" not in query else whole(query)
    assert trouble(stub.url).code == "empty"


@pytest.mark.fault(36)
def test_of_two_values_for_one_pod_the_larger_use_and_the_fewer_points_count():
    twice = (POD, 0.001), (POD | {"prometheus_replica": "b"}, 0.5)
    points = (POD | {"container": "app"}, 60), (POD | {"container": "app", "replica": "b"}, 40)
    app = [(POD | {"container": "app"}, 1)]
    answers = {name: [(POD, 1)] for name in ABOUT_PODS} | {"containers": app, "cpuSeconds": app}
    answers |= {"cpuPeak": twice, "cpuPoints": points, "receivedPoints": points}
    told = Answered()
    for name, rows in answers.items():
        told.take(name, decode_pod_vector(json.dumps(vector(*rows)).encode()))
    (pod,) = told.pods()
    assert (pod.cpu_peak_cores, pod.cpu_points, pod.received_points) == (0.5, 40, 40)


@pytest.mark.fault(35)
@pytest.mark.parametrize("needed", [("app", "proxy"), ("proxy",)])
def test_a_container_without_any_series_leaves_its_pod_without_points_whoever_else_has_some(stub, needed):
    told = vector(*((POD | {"container": name}, 1) for name in needed))
    stub.answer = lambda query: told if "kube_pod_init_container_info" in query else whole(query)
    (pod,) = sweep(stub.url).pods
    assert (pod.cpu_points, pod.cpu_seconds) == (0, None)


def test_a_container_that_kube_state_metrics_does_not_tell_of_takes_no_points_but_its_use_counts(stub):
    """cAdvisor has init and ephemeral containers too, for as long as they lived."""
    extra = {"count_over_time((max": 5, 'owner_kind="Job"': 9.0}

    def answer(query):
        for part, value in extra.items():
            if part in query:
                row = HEALTHY['owner_kind="Job"' if "Job" in part else "count_over_time"]
                return vector(row, (POD | {"container": "init"}, value))
        return whole(query)

    stub.answer = answer
    (pod,) = sweep(stub.url).pods
    assert (pod.cpu_points, pod.cpu_seconds) == (60, 10.5)


@pytest.mark.fault(35)
@pytest.mark.parametrize(("rows", "untold"), [([({}, 60)], 0), ([({}, 48)], 12), ([], 60)])
def test_steps_at_which_kube_state_metrics_told_of_nobody_are_counted(stub, rows, untold):
    stub.answer = lambda query: vector(*rows) if "count(kube_pod_start_time)" in query else whole(query)
    assert sweep(stub.url).untold_steps == untold


def test_pods_that_followed_each_other_under_one_name_are_told_apart_by_their_uids(stub):
    def answer(query):
        by_uid = {"count_over_time((kube_pod_start_time": (20, 30), "sum_over_time": (20, 40)}
        for part, steps in by_uid.items():
            if part in query:
                return vector(*((POD | {"uid": uid}, n) for uid, n in zip(("old", "u"), steps, strict=True)))
        return whole(query)

    stub.answer = answer
    (pod,) = sweep(stub.url).pods
    assert (pod.expected_points, pod.running_points) == (50, 60)
    assert pod.before("u") == PodLife(expected_points=20, running_points=20)


def test_the_clocks_of_the_answer_are_handed_on(stub):
    date = NOW.replace(microsecond=0) + timedelta(hours=1)
    stub.headers |= {"Date": format_datetime(date, usegmt=True)}
    told = sweep(stub.url)
    assert date in (told.answered_at, NOW.replace(microsecond=0) + timedelta(hours=1))


def test_a_sweep_never_falls_on_a_step():
    """There, two generations of Prometheus disagree on how many steps a window has."""
    minute = NOW.replace(second=0, microsecond=0)
    assert between_steps(minute, step=timedelta(minutes=1)) == minute + timedelta(milliseconds=1)
    assert between_steps(NOW, step=timedelta(minutes=1)) == NOW


# --- trust


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture
def tls_stub(ca):
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with serving(context) as running:
        yield running


def test_a_token_is_read_anew_for_each_sweep(tls_stub, ca, tmp_path):
    ca.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    token = tmp_path / "token"
    token.write_text("one\n")
    settings = PrometheusSettings(url=tls_stub.url, bearer_token_file=token, ca_file=tmp_path / "ca.crt")
    prometheus = Prometheus(settings)
    prometheus.sweep(POLICY)
    token.write_text("two\n")
    prometheus.sweep(POLICY)
    prometheus.close()
    sent = [headers["Authorization"] for _, headers, _ in tls_stub.asked]
    assert (sent[0], sent[-1]) == ("Bearer one", "Bearer two")


def test_basic_credentials_come_from_a_file(tls_stub, ca, tmp_path):
    ca.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    (tmp_path / "password").write_text("pässword")
    sweep(tls_stub.url, username="monitor", password_file=tmp_path / "password", ca_file=tmp_path / "ca.crt")
    assert tls_stub.asked[0][1]["Authorization"] == "Basic bW9uaXRvcjpww6Rzc3dvcmQ="


def test_a_certificate_of_an_unknown_authority_is_refused(tls_stub):
    failure = trouble(tls_stub.url)
    assert failure.code == "tls"
    assert tls_stub.asked == []


@pytest.mark.fault(67)
@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"url": "http://p:9090", "bearer_token_file": "token"}, "https"),
        ({"url": "http://p:9090", "username": "a", "password_file": "b"}, "https"),
        ({"url": "ftp://p"}, "http(s)"),
        ({"url": "p:9090"}, "http(s)"),
        ({"url": "http://"}, "http(s)"),
        ({"url": "http://p:x"}, "http(s)"),
        ({"url": "https://me:secret@p"}, "credentials"),
        ({"url": "https://p?x=1"}, "query"),
        ({"url": "https://p", "username": "a"}, "passwordFile"),
        ({"url": "https://p", "ca_file": "nowhere.crt"}, "caFile"),
        ({"url": "https://p", "deadline_seconds": 0}, "deadlineSeconds"),
        ({"url": "https://p", "max_body_bytes": -1}, "maxBodyBytes"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_right_are_refused_before_anything_is_sent(settings, word):
    with pytest.raises(ConfigurationError) as caught:
        Prometheus(PrometheusSettings(**settings))
    assert word in str(caught.value)


@pytest.mark.parametrize("content", ["", "two\nlines", "bell\x07"])
def test_a_token_that_would_break_the_header_is_not_sent(stub, tmp_path, content):
    token = tmp_path / "token"
    token.write_text(content)
    failure = trouble(stub.url, bearer_token_file=token, allow_insecure_credentials=True)
    assert failure.code == "auth"
    assert stub.asked == []


def test_proxies_of_the_environment_are_not_used(stub, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert sweep(stub.url).pods
