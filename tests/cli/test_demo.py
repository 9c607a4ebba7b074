"""The demonstration, and the three commands it ends with, pasted."""

import contextlib
import os
import pty
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import termios
import urllib.request
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT
from tests.parts.processes import ManagedProcess, release_port, reserve_port, wait_for

PROGRAM = str(Path(sys.executable).with_name("spot-balancer"))


@pytest.mark.parametrize("colour", ["never", "always"])
def test_the_demonstration_shows_the_three_owners(process, colour):
    outcome = process("demo", "--color", colour)
    assert outcome.code == 0, outcome.err
    plain = re.sub(r"\x1b\[[0-9;]*m", "", outcome.out)
    assert ("\x1b[" in outcome.out) == (colour == "always")
    assert re.search(r"nginx-demo \(idle\): the next pod prefers spot nodes", plain)
    assert re.search(r"checkout \(active\): the next pod is left exactly as it is", plain)
    assert re.search(r"reports \(unknown\): .*\n  unknown is never idle", plain)
    assert plain.count("without a patch: byte for byte") == 2
    assert "+    nodeAffinity:" in plain
    assert "capturedAt" not in plain
    assert plain.count("node-a  ███") == 2
    without, beside = map(int, re.findall(r"fullest (\d+)%", plain))
    assert beside < without
    assert "now" in plain


@pytest.mark.parametrize(
    ("environ", "is_coloured"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
    ids=["terminal", "NO_COLOR", "dumb"],
)
def test_on_a_terminal_it_is_coloured_unless_that_is_not_wanted(environ, is_coloured):
    code, shown = on_a_terminal([PROGRAM, "demo"], environ)
    assert code == 0, shown
    assert "nginx-demo (idle): the next pod prefers spot nodes" in shown
    assert ("\x1b[" in shown) == is_coloured
    # Owners by rich, additions and headings by click.
    assert ("\x1b[32midle" in shown) == is_coloured
    assert ("\x1b[32m+" in shown) == is_coloured


def test_where_blocks_cannot_be_written_the_bars_are_plain(process):
    told = process("demo", environ={"PYTHONIOENCODING": "ascii"})
    assert told.code == 0, told.err
    assert "node-a  ###" in told.out


def test_into_a_pipe_it_is_plain(process):
    assert "\x1b" not in process("demo", environ={"TERM": "xterm-256color"}).out


def on_a_terminal(line: list[str], environ: dict[str, str]) -> tuple[int, str]:
    """Exit code and all that a terminal of 120 columns would have shown."""
    near, far = pty.openpty()
    termios.tcsetwinsize(far, (40, 120))
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")
    }
    with subprocess.Popen(line, cwd=ROOT, env=inherited | environ, stdin=far, stdout=far, stderr=far) as child:
        os.close(far)
        shown = b""
        # Linux tells the end of a terminal by EIO.
        with contextlib.suppress(OSError):
            while piece := os.read(near, 65536):
                shown += piece
        code = child.wait(60)
    os.close(near)
    return code, shown.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_whatever_ends_it_ends_its_server_and_leaves_no_key(tmp_path, number):
    line, environ = [PROGRAM, "demo"], {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        line,
        cwd=ROOT,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A shell starts what it runs in the background deaf to SIGINT, and so are all its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - touches no lock
    ) as demo:
        port = wait_for(lambda: _port_in(tmp_path), 30, "the server to listen", every_s=0.005)
        demo.send_signal(number)
        assert demo.wait(20) == 128 + number
    assert not list(tmp_path.glob("spot-balancer-*"))
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=2):
        pass


def _port_in(folder: Path) -> int:
    try:
        texts = [log.read_text() for log in folder.glob("spot-balancer-demo-*/server.log")]
    except FileNotFoundError:
        return 0
    found = re.search(r'"message": "listening".*?"port": (\d+)', "".join(texts))
    return int(found[1]) if found else 0


def test_its_five_commands_work_when_pasted(process, tmp_path):
    text = process("demo").out.split("Try next:\n")[1]
    explain, wide, plan, score, serve = (shlex.split(line.strip()) for line in text.strip().splitlines())
    assert {words[0] for words in (explain, wide, plan, score, serve)} == {".venv/bin/spot-balancer"}
    done = subprocess.run([PROGRAM, *plan[1:]], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert (done.returncode, "WOULD START" in done.stdout) == (0, True), "the idle owner's pods are on regular nodes"
    for words in (explain, wide):
        done = subprocess.run([PROGRAM, *words[1:]], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert "The next pod" in done.stdout
    done = subprocess.run([PROGRAM, *score[1:]], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert (done.returncode, " wins: " in done.stdout) == (0, True), "the capture measured its nodes"
    port = reserve_port()
    words = [word.replace("127.0.0.1:8443", f"127.0.0.1:{port}") for word in serve[1:]]
    assert f"127.0.0.1:{port}" in words
    server = ManagedProcess("serve", [PROGRAM, *words], log=tmp_path / "serve.log", environ=dict(os.environ))
    try:
        server.start()
        server.wait_until(lambda: _ready(server.tail(), port), timeout_s=30)
    finally:
        server.stop()
        release_port(port)


def _ready(log: str, port: int) -> bool:
    """Asked as the log says: with the throw-away CA it prints."""
    ca = re.search(r"--cacert (\S+)", log)
    context = ssl.create_default_context(cafile=ca[1]) if ca else None
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/readyz", context=context, timeout=2) as answer:
        return answer.status == 200


def test_the_throw_away_pair_is_private_and_goes_with_the_server(tmp_path):
    port = reserve_port()
    words = ["serve", "--snapshot", "examples/demo.snapshot.json", "--bind", f"127.0.0.1:{port}"]
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    server = ManagedProcess("serve", [PROGRAM, *words], log=tmp_path / "serve.log", environ=environ)
    try:
        server.start()
        server.wait_until(lambda: _ready(server.tail(), port), timeout_s=30)
        (folder,) = tmp_path.glob("spot-balancer-tls-*")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "tls.key").stat().st_mode & 0o777 == 0o600
    finally:
        server.stop()
        release_port(port)
    wait_for(lambda: not list(tmp_path.glob("spot-balancer-tls-*")), 10, "the folder to be gone")


def test_with_a_tls_dir_it_writes_nothing_and_waits_for_the_pair(tmp_path):
    from datetime import UTC, datetime

    from webhook.adapters.certificates import make_pair

    port, folder = reserve_port(), tmp_path / "tls"
    folder.mkdir()
    words = [
        "serve",
        "--snapshot",
        "examples/demo.snapshot.json",
        "--bind",
        f"127.0.0.1:{port}",
        "--tls-dir",
        str(folder),
    ]
    server = ManagedProcess("serve", [PROGRAM, *words], log=tmp_path / "serve.log", environ=dict(os.environ))
    try:
        server.start()
        server.wait_until(lambda: "waiting for the key pair" in server.tail(), timeout_s=30)
        assert list(folder.iterdir()) == []
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"https://127.0.0.1:{port}/readyz", timeout=2)
        files = make_pair(folder, ["127.0.0.1"], now=datetime.now(UTC))
        context = ssl.create_default_context(cafile=str(files.ca_file))

        def ready() -> bool:
            with urllib.request.urlopen(f"https://127.0.0.1:{port}/readyz", context=context, timeout=2) as answer:
                return answer.status == 200

        server.wait_until(ready, timeout_s=30)
        assert {file.name for file in folder.iterdir()} == {"ca.crt", "tls.crt", "tls.key"}
    finally:
        server.stop()
        release_port(port)
