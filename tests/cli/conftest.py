"""The command line as tests call it: in this process, or as a person does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from webhook.cli.root import run

ROOT = Path(__file__).parents[2]


KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
clusters: [{{name: here, cluster: {{server: "{url}"}}}}]
contexts: [{{name: here, context: {{cluster: here, user: me, namespace: {namespace}}}}}]
users: [{{name: me, user: {{token: made-up}}}}]
"""


def kubeconfig(url: str, *, namespace: str = "steering") -> str:
    """One that leads to ``url``; the context's namespace is as named."""
    return KUBECONFIG.format(url=url, namespace=namespace)


class Outcome:
    """Exit code and what was printed where."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def cli(capsys, monkeypatch):
    """Calls one command in this process, from the root of the checkout."""
    monkeypatch.chdir(ROOT)

    def call(*words: str) -> Outcome:
        code = run(list(words))
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return call


@pytest.fixture
def process():
    """Runs one command as a process of its own."""

    def call(*words: str, program: str = "", environ: dict[str, str] | None = None) -> Outcome:
        line = [program] if program else [sys.executable, "-m", "webhook"]
        environment = {**os.environ, **(environ or {})}
        done = subprocess.run(
            [*line, *words], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env=environment
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call
