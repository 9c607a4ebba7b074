"""Every linter as one command, for `make lint` and for the tests alike."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def tracked(*patterns):
    """Files that git knows or would add, so that a build folder is never linted."""
    line = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *patterns]
    told = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in told.split("\0") if name and (ROOT / name).is_file())


def shell_scripts():
    return [name for name in tracked() if (ROOT / name).read_bytes().startswith((b"#!/bin/sh", b"#!/usr/bin/env bash"))]


def _yaml_files():
    return [name for name in tracked("*.yaml", "*.yml") if not name.startswith("charts/spot-balancer/templates/")]


LINTERS = {
    "ruff check": lambda: ["ruff", "check", "--quiet", "."],
    "ruff format": lambda: ["ruff", "format", "--check", "--quiet", "."],
    "import-linter": lambda: ["lint-imports", "--no-cache"],
    "yamllint": lambda: ["yamllint", "--strict", *_yaml_files()],
    "shellcheck": lambda: ["shellcheck", *shell_scripts()],
    "hadolint": lambda: ["hadolint", "Dockerfile"],
}


def run(name):
    """(exit status, everything it said)."""
    program, *arguments = LINTERS[name]()
    done = subprocess.run([BIN / program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def main():
    failed = 0
    for name in LINTERS:
        status, said = run(name)
        print(f"{'ok  ' if status == 0 else 'FAIL'} {name}")
        if status:
            print(said)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
