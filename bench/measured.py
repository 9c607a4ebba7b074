"""Runs a command to its end and writes what it took: ``python -I -S measured.py TOLD OUTPUT PROGRAM ARGUMENT...``.

TOLD gets one line of JSON: ``seconds`` by the monotonic clock, ``cpuSeconds`` of user and system, ``peakMebibytes``
resident, ``status`` its exit code, negative for a signal. OUTPUT gets what the command prints; its errors go where ours go.

A program of its own, and small: the kernel counts the size of whoever started a program as the program's own, so a
benchmark that has built a whole cluster in memory would measure itself.
"""

import json
import os
import sys
import time
from pathlib import Path

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def main(told: str, output: str, *command: str) -> None:
    began = time.monotonic()
    to_file = [(os.POSIX_SPAWN_OPEN, 1, output, _WRITE, 0o600)]
    child = os.posix_spawn(command[0], command, os.environ, file_actions=to_file)
    _, status, usage = os.wait4(child, 0)
    seconds = time.monotonic() - began
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    found = {"seconds": seconds, "cpuSeconds": usage.ru_utime + usage.ru_stime, "peakMebibytes": peak}
    found["status"] = os.waitstatus_to_exitcode(status)
    Path(told).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
