"""Child processes of tests: started on ports nobody else takes, waited for by condition, surely ended."""

import atexit
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import SystemRandom
from typing import TypeVar

T = TypeVar("T")
_LEASH = str(Path(__file__).with_name("leash.py"))
_reserved: dict[int, int] = {}
_PATIENCE = 2.0
"""On a machine that others share, everything may take twice as long; who waits for what comes waits no longer for it."""


class NotReadyError(Exception):
    """A condition did not come true in time, or a process ended before it did."""


def wait_for(condition: Callable[[], T | None], timeout_s: float, what: str, *, every_s: float = 0.05) -> T:
    """The first truthy answer of the condition. Its exceptions count as "not yet"; the last one is told.

    ``timeout_s`` is what a machine of one's own needs at most; twice that is waited.
    """
    deadline = time.monotonic() + _PATIENCE * timeout_s
    while True:
        trouble: object = None
        try:
            if answer := condition():
                return answer
        except NotReadyError:
            raise
        except Exception as exc:
            trouble = exc
        if time.monotonic() > deadline:
            detail = f": {type(trouble).__name__}: {trouble}" if trouble else ""
            raise NotReadyError(f"waited {_PATIENCE * timeout_s:g} s in vain for {what}{detail}")
        time.sleep(every_s)


def reserve_port() -> int:
    """A free loopback port that no other test process here is given until `release_port` or the end of this one.

    Taken from below the range of outgoing connections: there, a stopped server's port may be taken
    before it starts again, and a client that connects to a closed one may meet itself.
    """
    folder = Path(tempfile.gettempdir()) / f"spot-balancer-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for port in SystemRandom().sample(range(20000, 30000), 500):
        lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _lock(lock) and _is_free(port):
            _reserved[port] = lock
            return port
        os.close(lock)
    raise NotReadyError("no free loopback port between 20000 and 30000")


def release_port(port: int) -> None:
    os.close(_reserved.pop(port))


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class ManagedProcess:
    """One program with a log file, in a process group of its own, that can be stopped and started again."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, environ: Mapping[str, str] | None = None):
        self.name = name
        self.command = list(command)
        self.log = log
        self._environ = dict(environ) if environ is not None else None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        if self.running:
            return
        leashed = [sys.executable, "-I", "-S", _LEASH, str(os.getpid()), *self.command]
        with self.log.open("ab") as out:
            self._child = subprocess.Popen(
                leashed,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environ,
                start_new_session=True,
            )
        atexit.register(self.kill)

    def stop(self, *, grace_s: float = 15.0) -> None:
        """SIGTERM, and SIGKILL after the grace."""
        self._signal(signal.SIGTERM)
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(grace_s)
        self.kill()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()
            self._child = None
        atexit.unregister(self.kill)

    def wait_until(self, ready: Callable[[], object], *, timeout_s: float = 60.0) -> None:
        """Raises NotReadyError with the log's tail if the process ends first or the time is up."""
        try:
            wait_for(lambda: self._alive() and ready(), timeout_s, f"{self.name} to be ready")
        except NotReadyError as failure:
            raise NotReadyError(f"{failure}\n--- end of {self.log}\n{self.tail()}") from failure

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def rss_bytes(self) -> int:
        """Resident memory, 0 where the kernel does not tell."""
        status = Path(f"/proc/{self.pid}/status")
        rows = status.read_text().splitlines() if status.exists() else []
        return next((int(row.split()[1]) * 1024 for row in rows if row.startswith("VmRSS:")), 0)

    def _alive(self) -> bool:
        if self._child is not None and self._child.poll() is not None:
            raise NotReadyError(f"{self.name} ended with status {self._child.returncode}")
        return True

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)
