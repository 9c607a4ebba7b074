"""The life of the server process: key pairs, deadlines, signals, and snapshots that change under load."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import trustme

from tests.builders import NOW, idle_shop_snapshot, make_pod, make_review, make_snapshot, make_workload
from tests.serverproc import answers, ask, read_all, running_server, start_server, wait_until, write_pair
from webhook.adapters.snapshots import DirectoryWriter

BODY = json.dumps(make_review(make_pod())).encode()
HEADERS = {"Content-Type": "application/json"}


def listens(server) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) == 0


def serial(server) -> int:
    with server.connect() as link:
        return int(link.getpeercert()["serialNumber"], 16)


def logged(server, text: str) -> bool:
    return text in server.log.read_text()


def test_without_a_key_pair_nothing_listens_until_both_halves_are_there_and_match(tmp_path):
    server = start_server(tmp_path, idle_shop_snapshot(), pair=False)
    try:
        wait_until(lambda: logged(server, f"is not in {server.tls_dir}"), "the server to say what it waits for")
        assert not listens(server)
        other = tmp_path / "other"
        write_pair(other, server.ca)
        write_pair(server.tls_dir, server.ca)
        matching = (server.tls_dir / "tls.key").read_bytes()
        (server.tls_dir / "tls.key").write_bytes((other / "tls.key").read_bytes())
        wait_until(lambda: answers_or_waits(server, "KEY_VALUES_MISMATCH"), "the mismatch to be told")
        (server.tls_dir / "tls.key").write_bytes(matching)
        wait_until(lambda: answers(server), "the server to answer")
        assert server.get("/readyz").json() == {"status": "ready"}
    finally:
        assert server.stop() == 0


def answers_or_waits(server, reason: str) -> bool:
    """A moment of a matching pair between two writes may have been enough for it to start."""
    return logged(server, reason) or listens(server)


def test_a_server_that_waits_ends_by_sigterm(tmp_path):
    server = start_server(tmp_path, idle_shop_snapshot(), pair=False)
    wait_until(lambda: logged(server, "waiting for the key pair"), "the server to say that it waits")
    assert server.stop() == 0


def test_a_worker_that_cannot_build_tls_ends_the_server_and_never_serves_plain_text(tmp_path):
    with running_server(tmp_path, idle_shop_snapshot()) as server:
        (server.tls_dir / "tls.key").write_bytes(b"")
        os.kill(server.worker_pid(), signal.SIGKILL)
        assert server.process.wait(20) == 3
        assert not listens(server)
        assert logged(server, "no TLS, no server")


def test_a_renewed_pair_is_served_and_a_broken_one_is_not(tmp_path):
    with running_server(tmp_path, idle_shop_snapshot(), tls_poll_seconds=0.05) as server:
        first = serial(server)
        (server.tls_dir / "tls.crt").write_bytes(b"garbage")
        wait_until(lambda: server.metric("spot_balancer_certificate_faults_total") >= 1, "the fault to be counted")
        assert serial(server) == first
        session = server.session()
        ask(session, "GET", "/healthz")
        write_pair(server.tls_dir, server.ca)
        wait_until(lambda: serial(server) != first, "the new pair to be served")
        assert ask(session, "GET", "/healthz").status == 200
        session.close()


def test_a_certificate_that_changes_while_it_is_taken_up_breaks_no_handshake(tmp_path):
    """Now it fits the key, and a moment later no more: what was served before the change goes on being served."""
    with running_server(tmp_path, idle_shop_snapshot(), tls_poll_seconds=0.001) as server:
        good, certificate = serial(server), server.tls_dir / "tls.crt"
        write_pair(tmp_path / "other", server.ca)
        contents = [(folder / "tls.crt").read_bytes() for folder in (server.tls_dir, tmp_path / "other")]
        stop = threading.Event()
        flicker = threading.Thread(target=alternate, args=(certificate, contents, stop))
        flicker.start()
        try:
            assert {serial(server) for _ in range(300)} == {good}
        finally:
            stop.set()
            flicker.join()


def alternate(file, contents, stop):
    """One content after the other, each by a rename, until told to stop."""
    fresh = file.with_name(".flicker")
    while not stop.is_set():
        for content in contents:
            fresh.write_bytes(content)
            fresh.replace(file)
            time.sleep(0.0005)


def test_a_renewed_pair_with_another_kind_of_key_is_served_instead_of_the_old_one_not_beside_it(tmp_path):
    """A caller that likes the old kind better would go on getting a certificate that ends."""
    with running_server(tmp_path, idle_shop_snapshot(), tls_poll_seconds=0.05) as server:
        first = serial(server)
        write_pair(server.tls_dir, server.ca, key_type=trustme.KeyType.RSA)
        wait_until(lambda: logged(server, "key pair renewed"), "the new pair to be taken up")
        assert serial(server) != first


@pytest.mark.fault(1)
def test_a_killed_worker_is_replaced(tmp_path):
    with running_server(tmp_path, idle_shop_snapshot()) as server:
        killed = server.worker_pid()
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: server.worker_pid() not in {0, killed} and answers(server), "a new worker to answer")
        assert server.post("/mutate", BODY).json()["response"]["patchType"] == "JSONPatch"


def test_sigterm_ends_it_cleanly_with_an_idle_connection_open(tmp_path):
    with running_server(tmp_path, idle_shop_snapshot()) as server:
        session = server.session()
        ask(session, "POST", "/mutate", BODY, HEADERS)
        assert server.stop() == 0
        session.close()


def test_a_snapshot_that_changes_under_load_costs_no_request(tmp_path):
    """Every answer is whole and belongs to one of the two snapshots."""
    directory = tmp_path / "snapshot"
    writer = DirectoryWriter(directory)
    crowd = [make_workload(f"w-{n}") for n in range(2000)]
    writer.write(fresh(idle_shop_snapshot()))
    with running_server(tmp_path, directory) as server:
        stop, seen, errors = threading.Event(), set(), []
        threads = [threading.Thread(target=hammer, args=(server, stop, seen, errors)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(6):
                before = server.metric("spot_balancer_snapshot_swaps")
                writer.write(fresh(make_snapshot(*crowd) if number % 2 == 0 else idle_shop_snapshot()))
                wait_until(lambda: server.metric("spot_balancer_snapshot_swaps") > before, "the swap")  # noqa: B023
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not errors
        assert seen == {True, False}, "both snapshots answered"


def fresh(snapshot):
    """As of now, because the server judges a live directory's evidence by its own clock."""
    from datetime import UTC, datetime

    import msgspec

    age = datetime.now(UTC) - NOW
    moved = [
        msgspec.structs.replace(
            w,
            verdict=w.verdict
            and msgspec.structs.replace(
                w.verdict, good_at=None if w.verdict.good_at is None else w.verdict.good_at + age
            ),
        )
        for w in snapshot.workloads.values()
    ]
    beat = snapshot.meta.book_heartbeat
    return make_snapshot(*moved, captured_at=NOW + age, book_heartbeat=beat + age)


def hammer(server, stop, seen, errors):
    session = server.session()
    try:
        while not stop.is_set():
            answer = ask(session, "POST", "/mutate", BODY, HEADERS)
            if answer.status != 200:
                errors.append(answer)
            seen.add("patch" in answer.json()["response"])
    except Exception as error:
        errors.append(error)
    finally:
        session.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: (d / "meta.json").unlink(),
        lambda d: (d / "meta.json").write_bytes(b'{"kind":'),
        lambda d: [file.unlink() for file in d.iterdir()],
    ],
)
def test_a_spoilt_directory_leaves_the_server_answering_from_the_last_good_one(tmp_path, spoil):
    directory = tmp_path / "snapshot"
    DirectoryWriter(directory).write(fresh(idle_shop_snapshot()))
    with running_server(tmp_path, directory) as server:
        spoil(directory)
        wait_until(lambda: server.metric("spot_balancer_snapshot_faults") >= 1, "the fault to be counted")
        assert server.get("/readyz").json() == {"status": "ready"}
        assert "patch" in server.post("/mutate", BODY).json()["response"]


def test_without_a_snapshot_it_waits_and_then_turns_openly_degraded(tmp_path):
    with running_server(tmp_path, tmp_path / "nowhere", ready_grace_seconds=1.5) as server:
        assert server.get("/healthz").status == 200
        assert server.post("/mutate", BODY).json()["response"].keys() == {"uid", "allowed"}
        wait_until(lambda: server.get("/readyz").json()["status"] == "degraded", "the grace period to end")
        assert server.get("/readyz").status == 200
        DirectoryWriter(tmp_path / "nowhere").write(fresh(idle_shop_snapshot()))
        wait_until(lambda: server.get("/readyz").json()["status"] == "ready", "the snapshot to be found")


@pytest.mark.fault(6)
def test_silent_and_trickling_connections_are_closed_and_delay_nobody(tmp_path):
    """Silent before the handshake, half a header, half a body: each has its deadline, and the trickle does not extend it."""
    deadlines = {"handshake_seconds": 0.5, "header_seconds": 0.5, "body_seconds": 0.5}
    with running_server(tmp_path, idle_shop_snapshot(), **deadlines) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(50)]
        quiet, header, body = server.connect(), server.connect(), server.connect()
        header.sendall(b"POST /mutate HT")
        body.sendall(
            b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        trickle = threading.Thread(target=drip, args=(header,))
        trickle.start()
        assert server.post("/mutate", BODY).status == 200
        for link in (*silent, quiet, header, body):
            assert b"HTTP/1.1 200" not in read_all(link)
            link.close()
        trickle.join()
        assert server.metric('spot_balancer_dropped_connections_total{cause="headers"}') >= 2
        assert server.metric('spot_balancer_dropped_connections_total{cause="body"}') == 1


def drip(link):
    """A byte now and then, until the server has had enough."""
    try:
        for _ in range(400):
            link.sendall(b"T")
            time.sleep(0.05)
    except OSError:
        return


@pytest.mark.fault(5)
def test_at_the_connection_cap_the_eldest_that_asked_nothing_goes(tmp_path):
    with running_server(tmp_path, idle_shop_snapshot(), max_connections=10) as server:
        session = server.session()
        assert ask(session, "POST", "/mutate", BODY, HEADERS).status == 200
        idle = [server.connect() for _ in range(30)]
        assert ask(session, "POST", "/mutate", BODY, HEADERS).status == 200
        assert server.post("/mutate", BODY).status == 200
        assert server.metric('spot_balancer_dropped_connections_total{cause="cap"}') >= 20
        for link in idle:
            link.close()
        session.close()


@pytest.mark.fault(5)
def test_connections_that_asked_once_and_rest_make_room_for_a_caller(tmp_path):
    with running_server(tmp_path, idle_shop_snapshot(), max_connections=10) as server:
        resting = [server.session() for _ in range(10)]
        for session in resting:
            assert ask(session, "POST", "/mutate", BODY, HEADERS).status == 200
        assert server.post("/mutate", BODY).status == 200
        assert ask(resting[-1], "POST", "/mutate", BODY, HEADERS).status == 200, "it was the youngest"
        for session in resting:
            session.close()


def test_the_server_process_loads_neither_the_kubernetes_client_nor_cryptography():
    program = "import sys, webhook.asgi, webhook.worker; print([m for m in sys.modules if m.split('.')[0] in {'kubernetes', 'cryptography', 'urllib3', 'numpy'}])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
