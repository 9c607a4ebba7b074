"""How much of an answer the adapter ever holds, at the caps that everybody runs with, and what odd labels do to it.

Memory is that of a process of its own: in this one, whatever earlier tests needed would be counted too.
"""

import json
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs

import pytest

from tests.adapters.test_usage import POD, serving, sweep, vector, whole
from webhook.settings import PrometheusSettings
from webhook.wire.prometheus import decode_vector

DEFAULTS = PrometheusSettings(url="")
MEBIBYTE = 2**20
# Each thread may hold one answer up to the cap, and have begun another before it hears that the sweep has failed.
MOST_ASKED = 2 * DEFAULTS.concurrency
# A third of what the chart allows a monitor.
BOUND = (MOST_ASKED + 1) * DEFAULTS.max_body_bytes
# `spot-balancer monitor`'s own way to ask; the kernel's high-water mark is of this program alone, not of who started it.
PROGRAM = """
import json, sys
from pathlib import Path
from webhook.adapters.usage import Prometheus, PrometheusSettings
from webhook.core.policy import IdlePolicy
from webhook.errors import UsageUnavailable

def kibibytes(mark):
    return next(int(row.split()[1]) for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(mark))

# Of the defaults all but the deadline: what a busy machine reads slowly shall still be too large.
prometheus, before = Prometheus(PrometheusSettings(url=sys.argv[1], deadline_seconds=50)), kibibytes("VmRSS:")
try:
    prometheus.sweep(IdlePolicy())
    code = ""
except UsageUnavailable as exc:
    code = exc.code
print(json.dumps({"code": code, "grownBytes": 1024 * (kibibytes("VmHWM:") - before)}))
"""
SERIES = '{"metric":{"namespace":"shop","pod":"web-%s-%03d"%s},"value":[1772712007.123,"0.001"]},'
LONG = ',"note":"' + "y" * 10_000 + '"'
# name -> (series in a block, what each has besides, blocks)
ANSWERS = {"a-million-series": (1000, "", 1000), "labels-of-ten-kilobytes": (100, LONG, 100)}


def pieces(series, besides, blocks):
    """A whole and valid answer in pieces: read to its end, it would be believed."""
    block = "".join(SERIES % ("BLOCK", number, besides) for number in range(series)).encode()
    yield b'{"status":"success","data":{"resultType":"vector","result":['
    for number in range(blocks - 1):
        yield block.replace(b"BLOCK", b"%04d" % number)
    yield block.replace(b"BLOCK", b"last").rstrip(b",") + b"]}}"


@contextmanager
def streaming(answer):
    """Answers all but the clock with the pieces, in chunks and without a length; tells the bytes that were sent of each."""
    sent = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            (query,) = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["query"]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if query == "time()":
                self.chunk(json.dumps(whole(query)).encode())
            else:
                number = len(sent)
                sent.append(0)
                for piece in pieces(*answer):
                    self.chunk(piece)
                    sent[number] += len(piece)
            self.chunk(b"")

        def chunk(self, data):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

        def handle_one_request(self):
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", sent
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.fault(39)
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_beyond_the_default_cap_is_given_up_and_memory_stays_bounded(answer):
    assert sum(map(len, pieces(*answer))) > DEFAULTS.max_body_bytes + 16 * MEBIBYTE
    with streaming(answer) as (url, sent):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, url], capture_output=True, text=True, timeout=120, check=True
        )
    told = json.loads(done.stdout)
    assert told["code"] == "too-large"
    assert told["grownBytes"] < BOUND
    # The rest is not asked, and nothing is read to its end; sockets hold a few megabytes of their own.
    assert 1 <= len(sent) <= MOST_ASKED
    assert max(sent) < DEFAULTS.max_body_bytes + 15 * MEBIBYTE


@pytest.fixture
def stub():
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def usual():
    """The pods that a healthy Prometheus tells of."""
    with serving() as running:
        return sweep(running.url).pods


ODD = {
    "of-series-and-of-code": {
        "exported_pod": "other",
        "__name__": "up",
        "value": "NaN",
        "__class__": "x",
        "le": "+Inf",
    },
    "of-any-text": {
        "pod.name": "other",
        "": "x",
        "Pod": "other",
        "\N{GREEK SMALL LETTER PI}": "\x00",
        "y" * 10_000: "z",
    },
}


@pytest.mark.fault(39)
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_odd_labels_change_nothing_that_is_told_of_a_pod_and_make_no_other(stub, usual, odd):
    def answer(query):
        found = whole(query)
        if query != "time()":
            for one in found["data"]["result"]:
                one["metric"] = odd | one["metric"]
        return found

    stub.answer = answer
    assert sweep(stub.url).pods == usual


@pytest.mark.fault(39)
def test_of_series_whose_names_clash_the_larger_use_counts_and_once(stub):
    """Two that tell of one pod and differ by a label that a scrape renamed."""

    def answer(query):
        if "max_over_time" in query and "cpu_usage" in query:
            return vector((POD | {"exported_pod": "a"}, 0.25), (POD | {"exported_pod": "b"}, 0.125))
        return whole(query)

    stub.answer = answer
    (pod,) = sweep(stub.url).pods
    assert pod.cpu_peak_cores == 0.25


@pytest.mark.fault(39)
def test_a_series_that_says_twice_which_pod_it_is_of_is_of_the_last():
    """As Go's decoder, by which everybody else reads the same answer."""
    series = b'{"metric":{"namespace":"shop","pod":"first","pod":"last"},"value":[0,"1"]}'
    (row,) = decode_vector(b'{"status":"success","data":{"resultType":"vector","result":[' + series + b"]}}").rows
    assert row.labels == {"namespace": "shop", "pod": "last"}
