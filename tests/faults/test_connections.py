"""What a caller can do with a connection, against the real process: the direct way to an answer and the one by Flask agree."""

import contextlib
import json
import re
import select
import socket
import ssl
import threading
import time

import pytest

from tests.builders import idle_shop_snapshot, make_pod, make_review
from tests.loads import scheduled_pod
from tests.serverproc import ask, read_all, running_server, wait_until

BODY = json.dumps(make_review(make_pod())).encode()
LARGE_POD = make_pod()
LARGE_POD["metadata"]["annotations"] = {"long": "x" * 500_000}
LARGE = json.dumps(make_review(LARGE_POD)).encode()
JSON = "Content-Type: application/json"


def request(body: bytes, *lines: str, version: str = "1.1", path: str = "/mutate") -> bytes:
    """A POST; without lines of its own it is of the plain kind that is answered directly."""
    lines = lines or (JSON, f"Content-Length: {len(body)}")
    return "\r\n".join([f"POST {path} HTTP/{version}", "Host: x", *lines, "", ""]).encode() + body


def chunked(body: bytes) -> bytes:
    cut = len(body) // 2
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:cut], body[cut:]) if piece)
    return request(pieces + b"0\r\n\r\n", JSON, "Transfer-Encoding: chunked")


def answers(link, count: int) -> list[tuple[int, dict[str, str], bytes]]:
    """So many answers; what comes after them stays unread."""
    seen, told = b"", []
    while len(told) < count:
        while not (whole := re.match(rb"HTTP/1\.1 (\d+) [^\r]*\r\n(.*?\r\n)\r\n", seen, re.DOTALL)):
            seen += received(link)
        lines = [line.partition(": ") for line in whole[2].decode().splitlines()]
        headers = {name.lower(): value for name, _, value in lines}
        length = int(headers.get("content-length", 0))
        while len(seen) < whole.end() + length:
            seen += received(link)
        body, seen = seen[whole.end() : whole.end() + length], seen[whole.end() + length :]
        if whole[1] != b"100":
            told.append((int(whole[1]), headers, body))
    return told


def received(link) -> bytes:
    got = link.recv(65536)
    assert got, "closed"
    return got


@pytest.mark.parametrize("body", [BODY, LARGE, b"{}", b"x"], ids=["review", "large", "empty", "broken"])
def test_both_ways_give_the_same_answer(server, body):
    plain = request(body)
    others = [
        chunked(body),
        request(body, JSON, f"Content-Length: {len(body)}", "Connection: keep-alive"),
        request(body, JSON, f"Content-Length: {len(body)}", "Expect: 100-continue"),
        request(body, path="/mutate?timeout=5s"),
    ]
    with server.connect() as link:
        for asked in (plain, *others, plain):
            link.sendall(asked)
        told = answers(link, 6)
    bodies = {(status, answer) for status, _, answer in told}
    assert len(bodies) == 1
    names = {tuple(sorted(headers)) for _, headers, _ in told}
    assert names == {("content-length", "content-type", "date", "server")}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_caller_who_wants_no_other_answer_is_let_go(server, version):
    lines = (JSON, f"Content-Length: {len(BODY)}", *(["Connection: close"] if version == "1.1" else []))
    reply = server.send(request(BODY, *lines, version=version))
    assert reply.count(b"HTTP/1.") == 1
    assert b'"allowed":true' in reply


@pytest.mark.parametrize("size", [1, 7, 1000, 16_384, 100_000])
def test_many_requests_in_pieces_of_any_size_are_answered_in_their_order(server, size):
    bodies = [BODY, b"{}", LARGE, BODY, LARGE, b"x"] if size > 100 else [BODY, b"{}", BODY]
    wire = b"".join(chunked(body) if turn % 3 == 2 else request(body) for turn, body in enumerate(bodies))
    with server.connect() as link:
        for start in range(0, len(wire), size):
            link.sendall(wire[start : start + size])
        told = [status for status, _, _ in answers(link, len(bodies))]
    assert told == [400 if body in {b"{}", b"x"} else 200 for body in bodies]


@pytest.mark.fault(9)
def test_a_body_over_the_cap_or_of_no_length_is_no_plain_one(server):
    over = b" " * (3 * 1024 * 1024 + 1)
    assert server.post("/mutate", over).json() == {"error": "body too large"}
    assert server.send(request(b"", JSON, "Content-Length: 0", "Connection: close")).startswith(b"HTTP/1.1 400 ")
    assert server.send(request(b"", JSON, "Connection: close")).startswith(b"HTTP/1.1 400 ")


@pytest.mark.fault(6)
def test_a_connection_that_was_answered_may_rest_and_is_held_to_its_deadline_once_it_begins_again(tmp_path):
    deadlines = {"header_seconds": 0.5, "body_seconds": 0.5, "keepalive_seconds": 2}
    with running_server(tmp_path, idle_shop_snapshot(), **deadlines) as server:
        resting, slow, silent = (server.connect() for _ in range(3))
        for link in (resting, slow, silent):
            link.sendall(request(BODY))
            assert answers(link, 1)[0][0] == 200
        time.sleep(1.0)
        resting.sendall(request(BODY))
        assert answers(resting, 1)[0][0] == 200
        slow.sendall(request(BODY)[:-20])
        assert read_all(slow) == b""
        assert read_all(silent) == b""
        assert server.metric('spot_balancer_dropped_connections_total{cause="body"}') == 1
        assert server.metric('spot_balancer_dropped_connections_total{cause="headers"}') == 0
        for link in (resting, slow, silent):
            link.close()


@pytest.mark.fault(6)
def test_a_request_that_began_with_the_end_of_another_is_no_idle_connection(tmp_path):
    with running_server(tmp_path, idle_shop_snapshot(), keepalive_seconds=1) as server, server.connect() as link:
        link.sendall(chunked(BODY) + request(BODY)[:-10])
        time.sleep(1.5)
        link.sendall(request(BODY)[-10:])
        assert [status for status, _, _ in answers(link, 2)] == [200, 200]


def test_a_caller_who_reads_nothing_is_not_answered_without_end(server):
    """What it is owed waits in its own buffers, others are answered meanwhile, and nothing is lost when it reads on."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(10)
    raw.connect(("127.0.0.1", server.port))
    before, count = server.resident_bytes(), 16_000
    with server.context().wrap_socket(raw, server_hostname="127.0.0.1") as link:
        link.sendall(request(BODY))
        owed = len(received(link)) * count
        link.setblocking(False)
        left = memoryview(request(BODY) * count)
        while select.select([], [link], [], 0.5)[1]:
            left = left[sent(link, left) :]
        assert len(left)
        assert server.post("/mutate", BODY).status == 200
        assert server.resident_bytes() - before < 10 * 2**20
        while owed > 0:
            select.select([link], [link] if left else [], [], 10)
            with contextlib.suppress(ssl.SSLWantReadError):
                owed -= len(received(link))
            left = left[sent(link, left) :]
        assert (owed, len(left)) == (0, 0)


BOTH_WAYS = pytest.mark.parametrize("path", ["/extender/filter", "/extender/filter?by=flask"], ids=["direct", "flask"])


def long_question() -> bytes:
    """Whose answer is as long as itself, and longer than a kernel keeps for a socket: nodes, whole."""
    nodes = [{"metadata": {"name": f"node-{number}", "annotations": {"x": "y" * 9000}}} for number in range(800)]
    return json.dumps({"Pod": scheduled_pod(), "Nodes": {"items": nodes}}).encode()


def idle_reader(server):
    """A connection whose own kernel keeps little."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(10)
    raw.connect(("127.0.0.1", server.port))
    return server.context().wrap_socket(raw, server_hostname="127.0.0.1")


@pytest.mark.fault(9)
@BOTH_WAYS
def test_answers_that_nobody_reads_share_the_bound_of_bodies_and_have_a_deadline(tmp_path, path):
    asked, dropped = request(long_question(), path=path), 'spot_balancer_dropped_connections_total{cause="%s"}'
    bounds = {"max_bodies_bytes": 16 * 2**20, "answer_seconds": 2.0}
    with running_server(tmp_path, idle_shop_snapshot(), extender=True, **bounds) as server:
        links = [idle_reader(server) for _ in range(5)]
        for link in links:
            with contextlib.suppress(OSError):
                link.sendall(asked)
        wait_until(lambda: server.metric(dropped % "answer") >= 1, "an answer to be given up")
        wait_until(
            lambda: server.metric(dropped % "answer") + server.metric(dropped % "memory") == 5, "all to be let go"
        )
        assert server.metric(dropped % "memory") >= 2
        for link in links:
            link.close()
        with server.connect() as link:
            for _ in range(2):
                link.sendall(asked)
                assert answers(link, 1)[0][0] == 200


@BOTH_WAYS
def test_an_answer_that_is_read_slowly_outlives_the_end_of_the_server(tmp_path, path):
    with running_server(tmp_path, idle_shop_snapshot(), extender=True) as server, idle_reader(server) as link:
        link.sendall(request(long_question(), path=path))
        assert server.get("/healthz").status == 200
        ending = threading.Thread(target=server.stop)
        ending.start()
        time.sleep(1.5)
        status, _, body = answers(link, 1)[0]
        assert (status, len(json.loads(body)["Nodes"]["items"])) == (200, 800)
        ending.join(30)
        assert not ending.is_alive()


def sent(link, data) -> int:
    """How much of it the socket takes now."""
    try:
        return link.send(data[:65536]) if data else 0
    except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
        return 0


def test_a_server_that_ends_answers_what_has_begun_and_closes_what_rests(tmp_path):
    with running_server(tmp_path, idle_shop_snapshot()) as server:
        half, resting = server.connect(), server.session()
        assert ask(resting, "POST", "/mutate", BODY, {"Content-Type": "application/json"}).status == 200
        whole = request(BODY)
        half.sendall(whole[:-10])
        time.sleep(0.2)
        ending = threading.Thread(target=server.stop)
        ending.start()
        time.sleep(0.5)
        half.sendall(whole[-10:])
        status, headers, _ = answers(half, 1)[0]
        assert (status, headers["connection"]) == (200, "close")
        assert read_all(half) == b""
        ending.join(30)
        assert not ending.is_alive()
        half.close()
        resting.close()


@pytest.mark.fault(9)
def test_a_body_in_the_smallest_chunks_does_not_keep_the_loop(server):
    """A turn takes little of it, so others are answered between any two."""
    count, told = 0, []
    wire = request(b"2\r\nxx\r\n" * 250_000 + b"0\r\n\r\n", JSON, "Transfer-Encoding: chunked")
    with server.connect() as link, contextlib.closing(server.session()) as other:

        def send():
            link.sendall(wire)
            told.extend(answers(link, 1))

        sending = threading.Thread(target=send)
        sending.start()
        while sending.is_alive():
            assert ask(other, "GET", "/healthz").status == 200
            count += 1
        sending.join()
    assert told[0][0] == 400
    assert count > 8


def test_a_caller_that_leaves_in_the_middle_of_a_body_leaves_nothing_behind(server):
    for _ in range(20):
        link = server.connect()
        link.sendall(request(BODY)[:-20])
        link.close()
    assert server.post("/mutate", BODY).status == 200
    log = server.log.read_text()
    assert "event loop" not in log
    assert "Error" not in log


@pytest.mark.fault(9)
def test_bodies_that_come_in_at_the_same_time_share_one_bound(tmp_path):
    """Whoever goes beyond it loses the connection; who asks in full, and whoever comes when it is over, is served."""
    mib = 2**20
    announced = [
        request(b" " * (3 * mib))[:-mib],
        request(b"200000\r\n" + b" " * (2 * mib), JSON, "Transfer-Encoding: chunked"),
    ]
    with running_server(tmp_path, idle_shop_snapshot(), max_bodies_bytes=9 * mib, body_seconds=4.0) as server:
        before = server.resident_bytes()
        links = []
        for turn in range(12):
            links.append(server.connect())
            with contextlib.suppress(OSError):
                links[-1].sendall(announced[turn % 2])
        wait_until(
            lambda: server.metric('spot_balancer_dropped_connections_total{cause="memory"}') >= 7, "the bound to be met"
        )
        assert server.post("/mutate", BODY).status == 200
        assert server.resident_bytes() - before < 40 * mib
        for link in links:
            assert b"HTTP/1.1 200" not in read_all(link)
            link.close()
        assert server.post("/mutate", LARGE).status == 200
        assert server.metric('spot_balancer_dropped_connections_total{cause="memory"}') <= 8
        assert server.post("/mutate", b" " * (3 * mib)).status == 400
        for _ in range(5):
            assert server.send(chunked(LARGE.replace(b"xx", b"yy")) + request(b"{}", JSON, "Connection: close"))
        assert server.metric('spot_balancer_dropped_connections_total{cause="memory"}') <= 8
