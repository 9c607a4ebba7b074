"""Liveness, readiness, metrics, and paths that do not exist."""

import json

import pytest

from tests.builders import idle_shop_snapshot
from tests.endpoints.conftest import Shown
from webhook.endpoints.mutate import Mutate
from webhook.endpoints.probes import Probes, is_loopback
from webhook.metrics import Metrics


@pytest.fixture
def time():
    return [100.0]


@pytest.fixture
def probes(time):
    return Probes(Shown(None), Metrics(), grace_seconds=30, seconds=lambda: time[0])


def test_liveness_asks_for_nothing(probes):
    assert probes.healthz().status == 200


def test_without_a_snapshot_the_server_waits(probes):
    assert (probes.readyz().status, json.loads(probes.readyz().body)["status"]) == (503, "waiting")


def test_after_the_grace_period_it_is_ready_and_says_that_it_is_degraded(probes, time):
    time[0] += 30
    assert (probes.readyz().status, json.loads(probes.readyz().body)["status"]) == (200, "degraded")


def test_with_a_snapshot_it_is_ready():
    assert Probes(Shown(idle_shop_snapshot()), Metrics(), grace_seconds=30).readyz().body == b'{"status":"ready"}'


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_metrics_are_for_this_machine(house, peer):
    reply = house.flask.get("/metrics", environ_base={"REMOTE_ADDR": peer})
    assert reply.status_code == 200
    assert b"spot_balancer_mutate_seconds_bucket" in reply.data


@pytest.mark.parametrize("peer", ["10.0.0.7", "::2", "::ffff:10.0.0.7", "", "localhost"])
def test_to_any_other_peer_the_metrics_do_not_exist(house, peer):
    reply = house.flask.get("/metrics", environ_base={"REMOTE_ADDR": peer}, headers={"X-Forwarded-For": "127.0.0.1"})
    assert (reply.status_code, reply.data) == (404, b'{"error":"not found"}')
    assert not is_loopback(peer)


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    "path",
    ["/", "/mutate/", "//mutate", "/..%2fmutate", "/Mutate", "/console", "/static/x", "/healthz/x", "/%00", "/\u00e9"],
)
def test_an_unknown_path_is_refused_in_the_same_words(house, path):
    for client in (house.flask, house.hot):
        reply = client.post(path, data=b"{}", content_type="application/json")
        assert (reply.status_code, reply.data) == (404, b'{"error":"not found"}')


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_are_only_read(house, path):
    reply = house.flask.post(path)
    assert (reply.status_code, reply.headers["Allow"]) == (405, "GET, HEAD")


def test_a_failure_inside_is_told_by_its_status_alone(own_house, monkeypatch):
    monkeypatch.setattr(Metrics, "render", lambda _: 1 / 0)
    reply = own_house.flask.get("/metrics", environ_base={"REMOTE_ADDR": "127.0.0.1"})
    assert (reply.status_code, reply.data) == (500, b'{"error":"internal error"}')


@pytest.mark.parametrize("way", ["flask", "hot"])
def test_a_failure_inside_is_told_once_however_often_and_whichever_way_it_is_caused(
    own_house, monkeypatch, caplog, way
):
    monkeypatch.setattr(Mutate, "__call__", lambda *_: int("a secret"))
    for _ in range(3):
        reply = getattr(own_house, way).post("/mutate", json={})
        assert (reply.status_code, reply.data) == (500, b'{"error":"internal error"}')
    told = [(record.message, record.error) for record in caplog.records if record.name.startswith("webhook")]
    assert told == [("a request failed", "ValueError")]
    assert "secret" not in caplog.text
    assert own_house.sample("spot_balancer_refused_requests_total", code="500") == 3


def test_refusals_are_counted_by_status(own_house):
    own_house.flask.get("/nothing")
    own_house.hot.get("/mutate")
    assert own_house.sample("spot_balancer_refused_requests_total", code="404") == 1
    assert own_house.sample("spot_balancer_refused_requests_total", code="405") == 1
