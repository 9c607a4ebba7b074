"""Nothing that a test starts outlives it, and a failed start tells why."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts.processes import ManagedProcess, NotReadyError, release_port, reserve_port, wait_for

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


def python(code: str, folder: Path) -> ManagedProcess:
    return ManagedProcess("child", [sys.executable, "-c", code], log=folder / "child.log")


def test_a_program_that_ends_early_is_told_with_its_last_words(tmp_path):
    child = python("import sys; sys.exit('no such flag: --wings')", tmp_path)
    child.start()
    with pytest.raises(NotReadyError, match=r"(?s)child ended with status 1.*no such flag: --wings"):
        child.wait_until(lambda: False)
    child.kill()


def test_a_program_that_ignores_the_request_to_stop_is_killed(tmp_path):
    child = python(STUBBORN, tmp_path)
    child.start()
    child.wait_until(lambda: "up" in child.tail())
    pid = child.pid
    child.stop(grace_s=0.1)
    assert not child.running
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_killed_test_process_takes_its_programs_along(tmp_path):
    starter = (
        "import sys; from pathlib import Path; from tests.parts.processes import ManagedProcess\n"
        f"child = ManagedProcess('child', [sys.executable, '-c', {STUBBORN!r}], log=Path({str(tmp_path / 'log')!r}))\n"
        "child.start(); child.wait_until(lambda: 'up' in child.tail()); print(child.pid, flush=True); sys.stdin.read()"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", starter], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root
    ) as worker:
        pid = int(worker.stdout.readline())
        worker.send_signal(signal.SIGKILL)
    wait_for(lambda: not _lives(pid), 10, "the program to end with its starter")


def _lives(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_a_reserved_port_is_given_once_and_free_again_later():
    ports = {reserve_port() for _ in range(20)}
    assert len(ports) == 20
    with socket.socket() as server:
        server.bind(("127.0.0.1", next(iter(ports))))
    for port in ports:
        release_port(port)


def test_waiting_in_vain_tells_the_last_error():
    def condition() -> bool:
        raise ConnectionRefusedError("nobody there")

    with pytest.raises(NotReadyError, match=r"waited 0 s in vain for a sign: ConnectionRefusedError: nobody there"):
        wait_for(condition, 0, "a sign")
