"""Names come from whoever can create objects: they forge no log line, and make no series."""

import contextlib
import io
import json
import logging
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import make_pod, make_review
from tests.serverproc import ask
from webhook import logs
from webhook.core import inventory
from webhook.core.book import Book
from webhook.core.census import Census, ControllerFact, PodFact
from webhook.core.model import ControllerRef, Namespace
from webhook.core.policy import Policy

HOSTILE = ['a\r\n{"level":"error"}', "\x1b[31mred", "%n%s%d", "\u2028x", '"}', "\x00", "é" * 300, "a" * 100_000]

pytestmark = pytest.mark.fault(70)


def reviews(count):
    for number in range(count):
        name = f"{HOSTILE[number % len(HOSTILE)]}-{number}"
        owner = {"apiVersion": "apps/v1", "kind": f"Kind{number}", "name": name, "uid": "u", "controller": True}
        pod = make_pod()
        pod["metadata"] |= {"name": name, "namespace": name, "ownerReferences": [owner], "labels": {name: "x"}}
        yield json.dumps(make_review(pod, uid=f"u-{number}", namespace=name)).encode()


def series(server):
    lines = server.get("/metrics").body.decode().splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def test_ten_thousand_namespaces_make_no_series_and_no_broken_line(server):
    with contextlib.closing(server.session()) as connection:
        _are_answered(server, connection)
    for line in server.log.read_bytes().splitlines():
        assert isinstance(json.loads(line), dict)


def _are_answered(server, connection):
    headers = {"Content-Type": "application/json"}
    for body in reviews(50):
        assert ask(connection, "POST", "/mutate", body, headers).status == 200
    before = series(server)
    for body in reviews(10_000):
        if len(body) < 10_000:
            assert ask(connection, "POST", "/mutate", body, headers).status == 200
    after = series(server)
    assert after == before
    assert len(after) < 400
    assert not any(word in line for line in after for word in ("Kind", "\x1b", "red"))


@given(st.text(max_size=50), st.dictionaries(st.text(min_size=1, max_size=10), st.text(max_size=700), max_size=3))
def test_whatever_a_name_is_a_log_line_is_one_line_of_ascii_json(message, fields):
    taken = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime"}
    record = logging.LogRecord("x", logging.INFO, "f", 1, message.replace("%", "%%"), (), None)
    record.__dict__.update({k: v for k, v in fields.items() if k not in taken})
    line = logs.JsonFormatter().format(record)
    assert "\n" not in line
    assert "\r" not in line
    assert line.isascii()
    told = json.loads(line)
    assert all(len(v) <= 4000 for v in told.values() if isinstance(v, str))


def test_the_metrics_of_sync_do_not_grow_with_the_names_of_the_cluster():
    from webhook.jobs.ops import snapshot_metrics

    def samples(count):
        names = [f"{HOSTILE[n % 6]}-{n}" for n in range(count)]
        up = [ControllerRef("Deployment", name, f"u-{name}") for name in names]
        census = Census(
            builders.NOW,
            namespaces=tuple(Namespace(name) for name in names),
            controllers=tuple(ControllerFact("apps/v1", "Deployment", n, n, f"u-{n}", replicas=1) for n in names),
            pods=tuple(PodFact(n, n, n, controller=ref) for n, ref in zip(names, up, strict=True)),
        )
        built = inventory.build(census, Book(), Policy())
        return sum(len(metric.samples) for metric in snapshot_metrics(built, builders.NOW))

    assert samples(1) == samples(2000)


def test_a_trace_of_ours_is_cut_and_stays_one_line():
    sink = io.StringIO()
    handler = logging.StreamHandler(sink)
    handler.setFormatter(logs.JsonFormatter())
    log = logging.Logger("t")  # noqa: LOG001 - not the process' own
    log.addHandler(handler)
    try:
        msgspec.json.decode(b"\x00" * 10_000, type=int)
    except msgspec.DecodeError:
        log.exception("bad %s", "a\nb" * 10_000)
    (line,) = sink.getvalue().splitlines()
    assert len(re.findall(r"\\n", line)) < 5000
    assert len(line) < 10_000
