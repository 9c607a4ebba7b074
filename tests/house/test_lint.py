import subprocess

import pytest

from tests.house.linters import BIN, LINTERS, ROOT, run


@pytest.mark.parametrize("name", LINTERS)
def test_linter_has_nothing_to_say(name):
    status, said = run(name)
    assert status == 0, said


@pytest.mark.slow
def test_types_are_strict_and_right():
    done = subprocess.run([BIN / "mypy"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
