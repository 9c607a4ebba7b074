"""The image's install steps, run without a container engine: same files, same script, a clean environment."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch

import pytest

from tests.house.linters import ROOT, tracked

DOCKERFILE = (ROOT / "Dockerfile").read_text()
BUILD_STAGE = DOCKERFILE.split("\nFROM ")[1]


def copied():
    """(source, destination) of each COPY of the build stage."""
    for words in (shlex.split(line)[1:] for line in BUILD_STAGE.splitlines() if line.startswith("COPY ")):
        *sources, destination = words
        yield from ((source, destination) for source in sources)


def test_the_ignore_file_lets_every_copied_file_in():
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert not [source for source, _ in copied() if not any(fnmatch(source, rule) for rule in allowed)]


def test_the_image_runs_as_a_number_and_execs_the_program():
    assert re.search(r"^USER 65532:65532$", DOCKERFILE, re.MULTILINE)
    assert DOCKERFILE.rstrip().endswith('ENTRYPOINT ["spot-balancer"]')
    assert "HEALTHCHECK " not in DOCKERFILE.replace("no HEALTHCHECK", "")


def test_both_stages_have_the_same_python():
    assert len(re.findall(r"^FROM \$\{PYTHON_IMAGE\}", DOCKERFILE, re.MULTILINE)) == 2


@pytest.mark.slow
def test_install_steps_give_a_program_that_runs(tmp_path):
    source, target = tmp_path / "src", tmp_path / "venv"
    for name, destination in copied():
        _copy(name, source / destination)
    (command,) = re.findall(r"^RUN (.*)$", BUILD_STAGE, re.MULTILINE)
    script, _ = shlex.split(command)
    path = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    inherited = {k: v for k, v in os.environ.items() if k == "HOME" or k.startswith("PIP_")}
    _run([source / script, target], cwd=source, env={"PATH": path, **inherited})
    said = _run([target / "bin" / "spot-balancer", "version"], cwd=tmp_path, env={"PATH": "/nowhere"})
    assert re.search(r"\d+\.\d+\.\d+", said)
    assert list((target / "lib").rglob("webhook/__pycache__/*.pyc"))
    assert not list((target / "lib").rglob("site-packages/pip"))


def _copy(name, destination):
    """As COPY does: a file into a folder or onto a path, a folder's tracked content onto a folder."""
    if (ROOT / name).is_file():
        into_folder = str(destination).endswith("/") or destination.is_dir() or not destination.suffix
        path = (
            destination / (ROOT / name).name if into_folder and destination.name != (ROOT / name).name else destination
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, path)
        return
    for inner in tracked(name):
        path = destination / inner.removeprefix(name + "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / inner, path)


def _run(line, **where):
    done = subprocess.run(line, capture_output=True, text=True, timeout=600, check=False, **where)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
