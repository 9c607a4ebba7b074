"""What anybody who reaches the port can send, against the real process: small answers, flat memory, no stall."""

import contextlib
import json
import socket
import ssl

import pytest

from tests.builders import make_pod, make_review
from tests.serverproc import ask, read_all, wait_until

BODY = json.dumps(make_review(make_pod())).encode()
MIB = 1024 * 1024


def head(*lines: str, path: str = "/mutate") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *lines, "", ""]).encode()


def status_of(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1])


@pytest.fixture(autouse=True)
def serves_on(server):
    """Whatever a test did, the same worker goes on answering."""
    before = server.worker_pid()
    yield
    assert server.post("/mutate", BODY).json()["response"]["allowed"] is True
    assert server.worker_pid() == before


def test_an_answer_has_its_exact_length_and_nothing_else(server):
    answer = server.post("/mutate", BODY)
    assert answer.status == 200
    assert answer.headers["content-length"] == str(len(answer.body))
    assert not {"transfer-encoding", "retry-after"} & answer.headers.keys()
    assert not answer.body.endswith(b"\n")


@pytest.mark.fault(15)
@pytest.mark.parametrize("body", [b"null", b"[]", b'"x"', b"0", b"", b"{}"])
def test_a_body_that_is_no_review_gets_a_json_error(server, body):
    answer = server.post("/mutate", body)
    assert (answer.status, list(answer.json())) == (400, ["error"])


@pytest.mark.fault(11, 12, 13, 14)
@pytest.mark.parametrize(
    "body",
    [
        b'{"a":NaN}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 5000,
        b"\xef\xbb\xbf" + BODY,
        BODY.decode().encode("utf-16"),
        BODY.replace(b"shop", b"\xff\xfe"),
        BODY.replace(b"705ab4f5", b"\\ud800"),
        BODY[:-1],
        BODY + BODY,
    ],
    ids=str,
)
def test_malformed_json_gets_a_json_error(server, body):
    answer = server.post("/mutate", body)
    assert (answer.status, list(answer.json())) == (400, ["error"])


@pytest.mark.fault(16)
@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_other_content_types_are_refused(server, content_type):
    assert server.post("/mutate", BODY, content_type).status == 415


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/mutate", 405), ("PUT", "/mutate", 405), ("HEAD", "/mutate", 405), ("OPTIONS", "/mutate", 405),
        ("POST", "/healthz", 405), ("POST", "/nothing", 404), ("GET", "/..%2fetc/passwd", 404), ("GET", "/", 404),
        ("GET", "/" + "x" * 100_000, 414),
    ],
)  # fmt: skip
def test_other_methods_and_paths_get_constant_errors(server, method, path, status):
    answers = [server.request(method, path) for _ in range(2)]
    assert [answer.status for answer in answers] == [status, status]
    assert answers[0].body == answers[1].body
    assert method == "HEAD" or list(answers[0].json()) == ["error"]
    assert path not in answers[0].body.decode() or path == "/"


@pytest.mark.fault(18)
@pytest.mark.parametrize("version", ["admission.k8s.io/v1beta1", "admission.k8s.io/v2"])
def test_other_versions_are_told_the_one_that_is_spoken(server, version):
    answer = server.post("/mutate", make_review(make_pod()) | {"apiVersion": version})
    assert answer.status == 400
    assert "admission.k8s.io/v1" in answer.json()["error"]


@pytest.mark.fault(19)
@pytest.mark.parametrize("uid", ["", None, "u" * 1_000_000])
def test_a_review_without_a_usable_uid_is_refused(server, uid):
    answer = server.post("/mutate", make_review(make_pod(), uid=uid))
    assert (answer.status, len(answer.body) < 200) == (400, True)


@pytest.mark.fault(20)
@pytest.mark.parametrize("request_", [{"object": None}, {"operation": "DELETE"}, {"subResource": "binding"}])
def test_what_is_no_pod_creation_is_allowed_as_it_came(server, request_):
    answer = server.post("/mutate", make_review(make_pod(), **request_)).json()
    assert answer["response"] == {"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": True}


@pytest.mark.fault(21)
def test_a_dry_run_gets_the_same_bytes(server):
    dry, real = (server.post("/mutate", make_review(make_pod(), dryRun=flag)).body for flag in (True, False))
    assert dry == real


@pytest.mark.fault(22)
def test_a_thousand_replays_get_the_same_bytes_on_one_connection(server):
    session = server.session()
    replies = {ask(session, "POST", "/mutate", BODY, {"Content-Type": "application/json"}).body for _ in range(1000)}
    session.close()
    assert len(replies) == 1


@pytest.mark.fault(9)
def test_the_cap_counts_bytes(server):
    """A body of spaces is no review; what matters is on which side of the cap it falls."""
    assert server.post("/mutate", b" " * (3 * MIB)).status == 400
    assert server.post("/mutate", b" " * (3 * MIB + 1)).json() == {"error": "body too large"}
    assert server.post("/healthz", b" " * (64 * 1024 + 1)).status == 413


@pytest.mark.fault(9)
def test_a_chunked_body_has_the_same_cap_and_leaves_memory_flat(server):
    before = server.resident_bytes()
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    over = server.send(head("Transfer-Encoding: chunked", "Connection: close") + chunk * 56 + b"0\r\n\r\n")
    assert status_of(over) == 413
    with server.connect() as link, contextlib.suppress(OSError):
        link.sendall(head("Transfer-Encoding: chunked"))
        for _ in range(100):
            link.sendall(chunk * 10)
    assert server.resident_bytes() - before < 30 * MIB


@pytest.mark.fault(9)
def test_a_gigabyte_that_is_only_announced_is_refused_at_once(server):
    answer = server.send(head(f"Content-Length: {1024 * MIB}"))
    assert status_of(answer) == 413
    # Or a proxy would send the next request on a connection that ends.
    assert b"\r\nconnection: close\r\n" in answer.lower()


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: -5"],
        ["Content-Length: 5", "Content-Length: 7"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Content-Length: five"],
        ["Transfer-Encoding: gzip"],
    ],
)
def test_a_body_without_one_clear_length_ends_the_connection(server, lines):
    """The second request on the same connection is never answered as if it were one."""
    reply = server.send(head(*lines) + b"hello" + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert reply.count(b"HTTP/1.1 ") == 1
    assert status_of(reply) in {400, 501}
    assert json.loads(reply.partition(b"\r\n\r\n")[2]).keys() == {"error"}


@pytest.mark.fault(7)
def test_plain_text_on_the_tls_port_is_closed_unanswered(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
        link.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in read_all(link)


@pytest.mark.fault(7)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused_by_the_server(server, version):
    """With its alert or by closing, not because our own library will not speak it: its security level is lowered first."""
    context = server.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw,
        pytest.raises(ssl.SSLError, match=r"(?i)protocol.version|alert|EOF"),
    ):
        context.wrap_socket(raw, server_hostname="127.0.0.1")


@pytest.mark.fault(7)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_tls_is_spoken(server, version):
    context = server.context(minimum_version=version, maximum_version=version)
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as link,
    ):
        assert link.version() == version.name.replace("_", ".")


def test_nothing_of_a_pod_is_ever_logged(server):
    canary = "canary-5b1f0c"
    pod = make_pod("stranger")
    pod["spec"]["containers"][0]["env"] = [{"name": "TOKEN", "value": canary}]
    good = json.dumps(make_review(pod)).encode()
    for body in (good, good[:-1], good.replace(b'"spec": {', b'"spec": 5, "x": {'), good.replace(b'"uid"', b'"uib"')):
        server.post("/mutate", body)
    server.send(head("X-Token: " + canary, "Content-Length: -1"))
    server.request("GET", f"/{canary}")
    assert canary not in server.log.read_text()
    assert canary not in server.get("/metrics").body.decode()


def test_refusals_show_in_the_metrics(server):
    before = server.metric('spot_balancer_refused_requests_total{code="415"}')
    server.post("/mutate", BODY, "text/plain")
    wait_until(
        lambda: server.metric('spot_balancer_refused_requests_total{code="415"}') > before, "the refusal to be counted"
    )


def test_a_large_review_right_behind_another_is_answered_too(server):
    """The parser keeps 64 KiB of what comes before the last answer is out, and would then drop the connection."""
    pod = make_pod()
    pod["metadata"]["annotations"] = {"long": "x" * 500_000}
    large = json.dumps(make_review(pod)).encode()
    requests = b"".join(head(f"Content-Length: {len(body)}") + body for body in (BODY, large, BODY, large))
    with server.connect() as link:
        link.sendall(requests)
        seen = b""
        while seen.count(b"HTTP/1.1 200") < 4:
            got = link.recv(65536)
            assert got, seen
            seen += got
