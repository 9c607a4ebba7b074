"""The ops port: what it shows before, during and after trouble."""

import json
import socket
import threading
import urllib.error
import urllib.request
from datetime import timedelta

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.builders import NOW, idle_shop_snapshot, make_move, make_verdict
from tests.parts.processes import wait_for
from webhook.core.book import Book, Control
from webhook.core.model import Side, WorkloadKey
from webhook.core.moves import Outcome, Pause
from webhook.jobs.ops import Ops, OpsServer
from webhook.jobs.sync import SyncStatus

SERVER = b"# TYPE spot_balancer_ready gauge\nspot_balancer_ready 1.0\n"


@pytest.fixture
def status():
    found = SyncStatus()
    verdicts = [
        make_verdict(WorkloadKey("shop", "Deployment", n), s) for n, s in (("a", Side.SPOT), ("b", Side.REGULAR))
    ]
    found.book = Book(
        control=Control(heartbeat=NOW - timedelta(seconds=40)), verdicts={str(v.key): v for v in verdicts}
    )
    found.snapshot, found.looked_at, found.written_at, found.writes = idle_shop_snapshot(), NOW, NOW, 3
    return found


def metrics(ops: Ops) -> dict[tuple[str, ...], float]:
    text = ops.answer("/metrics").body.decode()
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a family that comes twice makes Prometheus drop the scrape"
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_ready_means_that_a_snapshot_was_written():
    empty = Ops(SyncStatus(), lambda: NOW)
    assert [empty.answer(path).status for path in ("/healthz", "/readyz", "/metrics", "/api/v1/status")] == [
        200,
        503,
        200,
        200,
    ]


def test_healthy_means_that_the_loop_still_turns(status):
    assert Ops(status, lambda: NOW + timedelta(seconds=59)).answer("/healthz").status == 200
    assert Ops(status, lambda: NOW + timedelta(seconds=61)).answer("/healthz").status == 503
    assert Ops(status, lambda: NOW).answer("/readyz").status == 200


def test_metrics_tell_of_sync_of_the_monitor_and_of_the_server(status):
    status.trouble("usage", "down")
    found = metrics(Ops(status, lambda: NOW, lambda: SERVER))
    assert found["spot_balancer_sync_snapshots_written_total",] == 3
    assert found["spot_balancer_sync_problem", "usage"] == 1
    assert found["spot_balancer_sync_problem", "cluster"] == 0
    assert found["spot_balancer_monitor_heartbeat_age_seconds",] == 40
    assert sum(v for k, v in found.items() if k[0] == "spot_balancer_monitor_verdicts") == 2
    assert found["spot_balancer_server_up",] == 1
    assert found["spot_balancer_ready",] == 1


def test_moves_are_counted_by_side_and_outcome_and_nobody_by_name(status):
    control = msgspec.structs.replace(
        status.book.control,
        ended={"spot/moved": 7, "regular/no-capacity": 2},
        moves=(make_move(WorkloadKey("shop", "Deployment", "web")),),
        paused=Pause(at=NOW),
        missed_admissions=3,
    )
    status.book = msgspec.structs.replace(status.book, control=control)
    found = metrics(Ops(status, lambda: NOW))
    assert found["spot_balancer_moves_total", "moved", "spot"] == 7
    assert found["spot_balancer_moves_total", "no-capacity", "regular"] == 2
    assert sum(key[0] == "spot_balancer_moves_total" for key in found) == 2 * len(Outcome)
    assert found["spot_balancer_moves_in_flight",] == 1
    assert found["spot_balancer_moves_paused",] == 1
    assert found["spot_balancer_pods_created_unstamped",] == 3
    assert found["spot_balancer_workloads_given_up",] == 0
    assert not any("web" in key for key in found)


def test_a_server_that_does_not_answer_costs_only_its_own_metrics(status):
    def refused() -> bytes:
        raise ConnectionRefusedError

    found = metrics(Ops(status, lambda: NOW, refused))
    assert found["spot_balancer_server_up",] == 0
    assert found["spot_balancer_sync_snapshots_written_total",] == 3


def test_the_status_page_says_what_is_wrong(status):
    status.trouble("policy", "mode: 'jump'")
    status.missing = ("CronJob",)
    page = json.loads(Ops(status, lambda: NOW).answer("/api/v1/status?pretty").body)
    assert page["schemaVersion"] == 1
    assert page["problems"] == {"policy": "mode: 'jump'"}
    assert page["missingKinds"] == ["CronJob"]
    assert page["nodes"]["spot"] >= 1
    assert sum(row["workloads"] for row in page["verdicts"]) == 2


def test_the_share_of_series_that_lead_to_a_node_is_told_and_what_too_few_mean(status):
    good, poor = (idle_shop_snapshot(load_match_rate=rate) for rate in (0.95, 0.62))
    page = json.loads(Ops(status, lambda: NOW).answer("/api/v1/status").body)
    assert page["loadMatchRate"] is None
    assert "spot_balancer_load_match_rate" not in {name for name, *_ in metrics(Ops(status, lambda: NOW))}
    for snapshot, word in ((good, ""), (poor, "62 % of load series lead to a node")):
        status.snapshot = snapshot
        page = json.loads(Ops(status, lambda: NOW).answer("/api/v1/status").body)
        assert page["loadMatchRate"] == snapshot.meta.load_match_rate
        assert page["scoredByTypeAlone"].startswith(word)
        assert bool(page["scoredByTypeAlone"]) == bool(word)
        found = metrics(Ops(status, lambda: NOW))
        assert found["spot_balancer_load_match_rate",] == snapshot.meta.load_match_rate
        assert found["spot_balancer_pods_not_measured_yet",] == 0


def get(server: OpsServer, path: str) -> tuple[int, str, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.headers["Content-Type"], refusal.read()


def test_it_answers_over_http_and_only_what_it_knows(status):
    with OpsServer(Ops(status, lambda: NOW), "127.0.0.1", 0) as server:
        assert get(server, "/healthz") == (200, "text/plain; charset=utf-8", b"ok\n")
        assert get(server, "/api/v1/status")[:2] == (200, "application/json")
        assert get(server, "/../etc/passwd")[0] == 404
        with socket.create_connection(("127.0.0.1", server.port), 5) as raw:
            raw.sendall(b"POST /metrics HTTP/1.0\r\n\r\n")
            assert b" 501 " in raw.recv(4096)


def test_silent_sockets_take_no_more_threads_than_there_are_places(status):
    with OpsServer(Ops(status, lambda: NOW), "127.0.0.1", 0) as server:
        before = threading.active_count()
        silent = [socket.create_connection(("127.0.0.1", server.port), 5) for _ in range(40)]
        try:
            refused = silent[-1]
            refused.settimeout(5)
            assert refused.recv(1) == b""
            assert threading.active_count() <= before + 16
        finally:
            for one in silent:
                one.close()
        wait_for(lambda: _answers(server), 10, "a free place")


def _answers(server: OpsServer) -> bool:
    try:
        return get(server, "/healthz")[0] == 200
    except OSError:
        return False
