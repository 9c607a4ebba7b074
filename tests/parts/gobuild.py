"""Builds a part from its Go module into the cache, once, whoever else wants it at the same time."""

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from tests.parts.pins import MINIMUM_GO, Part

PROGRESS_EVERY_SECONDS = 10.0


class BuildFailedError(Exception):
    """`go build` ended with an error; the message holds the end of what it said."""


def cache_root(environ: Mapping[str, str]) -> Path:
    """Where built parts are kept, always outside the source tree."""
    if chosen := environ.get("SPOT_BALANCER_PARTS_DIR"):
        return Path(chosen).expanduser()
    base = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "spot-balancer" / "parts"


def cached_folder(part: Part, root: Path) -> Path:
    """The folder of exactly these sources and flags; another pin or flag is another folder."""
    digest = hashlib.sha256()
    for file in sorted(part.module.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    digest.update(repr((part.flags, part.packages, part.links, platform.system(), platform.machine())).encode())
    return root / f"{part.name}-{digest.hexdigest()[:16]}"


def find_go(environ: Mapping[str, str]) -> tuple[Path | None, str]:
    """Go itself and, where it is missing or too old, what is wrong."""
    wanted = ".".join(map(str, MINIMUM_GO))
    found = environ.get("SPOT_BALANCER_GO") or shutil.which("go", path=environ.get("PATH", ""))
    if not found:
        return None, f"there is no `go` on PATH (wanted: Go {wanted} or newer)"
    try:
        said = subprocess.run(
            [found, "env", "GOVERSION"], capture_output=True, text=True, check=True, timeout=30, cwd="/"
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError) as problem:
        return None, f"{found} does not run: {problem}"
    version = re.match(r"go(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < MINIMUM_GO:
        return None, f"{found} is {said or 'of unknown version'} (wanted: Go {wanted} or newer)"
    return Path(found), ""


def build(part: Part, *, go: Path, root: Path) -> Path:
    """The cached folder of the part, built now if it is not there. Raises BuildFailedError."""
    folder = cached_folder(part, root)
    root.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock"), part.name):
        if not folder.exists():
            _build_into(folder, part, go)
    return folder


@contextlib.contextmanager
def _locked(file: Path, name: str) -> Iterator[None]:
    """Holds the lock of one part: two workers, or two checkouts, never build it twice."""
    with file.open("w") as handle:
        started = time.monotonic()
        told = started - PROGRESS_EVERY_SECONDS
        while not _try_lock(handle):
            if time.monotonic() - told >= PROGRESS_EVERY_SECONDS:
                told = time.monotonic()
                _say(f"{name}: another process builds it, waited {_elapsed(started)}")
            time.sleep(0.2)
        yield


def _try_lock(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _build_into(folder: Path, part: Part, go: Path) -> None:
    # Built beside its place and renamed: nobody ever sees half a part.
    with tempfile.TemporaryDirectory(prefix=f".{part.name}-", dir=folder.parent) as scratch:
        draft = Path(scratch) / "bin"
        draft.mkdir()
        for package, binary in part.packages:
            _go_build(part, package, draft / binary, go)
        for link in part.links:
            (draft / link).symlink_to(part.packages[0][1])
        draft.rename(folder)


def _go_build(part: Part, package: str, target: Path, go: Path) -> None:
    command = [str(go), "build", "-v", *part.flags, "-o", str(target), package]
    environ = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
    log = target.with_suffix(".build.log")
    started = time.monotonic()
    _say(f"{target.name}: building from {part.name}/go.mod (once; kept in {target.parent.parent.parent})")
    with log.open("wb") as out:
        child = subprocess.Popen(command, cwd=part.module, env=environ, stdout=out, stderr=subprocess.STDOUT)
        try:
            _watch(child, log, target.name, started)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    if child.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise BuildFailedError(f"go build {package} ended with status {child.returncode}:\n{tail}")
    log.unlink()
    _say(f"{target.name}: built in {_elapsed(started)}")


def _watch(child: subprocess.Popen[bytes], log: Path, name: str, started: float) -> None:
    while True:
        try:
            child.wait(timeout=PROGRESS_EVERY_SECONDS)
            return
        except subprocess.TimeoutExpired:
            lines = log.read_bytes().splitlines()
            fetched = sum(line.startswith(b"go: downloading") for line in lines)
            _say(f"{name}: {_elapsed(started)}, {fetched} modules fetched, {len(lines) - fetched} packages compiled")


def _elapsed(started: float) -> str:
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def _say(line: str) -> None:
    print(f"[parts] {line}", file=sys.stderr, flush=True)
