"""Runs a program so that it dies with whoever started it: `python leash.py PARENT_PID PROGRAM ARGUMENT...`.

A test worker that is killed runs no exit handler; on Linux the kernel then ends its children.
The signal is tied to the thread that started the program, so parts are started from main threads.
A program of its own instead of `preexec_fn`, which may hang or warn where the parent has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(sys.argv[1]):  # it died before we were on the leash
            sys.exit(1)
    os.execv(sys.argv[2], sys.argv[2:])
