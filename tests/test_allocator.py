"""Buffers of one request are there for the next one, where the C library can be told so."""

import platform
import subprocess
import sys

from webhook.allocator import keep_buffers

CALLS = """
import resource, sys
from webhook.allocator import keep_buffers

def call():
    body = bytes(250_000)
    answer = bytearray(body) + bytes(130_000)
    return len(answer)

def faults():
    call()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        call()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
kept = keep_buffers()
call()
print(before, faults(), kept)
"""


def test_the_kernel_is_not_asked_again_for_what_the_last_call_gave_back():
    told = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=True, timeout=60)
    before, after, kept = told.stdout.split()
    if kept == "True":
        assert int(before) > 50
        assert int(after) < int(before) / 10


def test_it_is_told_whether_the_c_library_listens():
    assert keep_buffers() is (platform.libc_ver()[0] == "glibc")
