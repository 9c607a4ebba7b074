"""Finds the programs that the tests run, and builds those that are not there.

A tool is looked for in this order:

1. the environment variable `SPOT_BALANCER_<TOOL>` (upper case, `_` for `-`, so for instance
   `SPOT_BALANCER_KUBE_APISERVER=/opt/bin/kube-apiserver`), used whatever its version is;
2. PATH, only if it tells exactly the pinned version;
3. the cache, `$SPOT_BALANCER_PARTS_DIR` or `~/.cache/spot-balancer/parts`;
4. a build with Go 1.26 or newer (`$SPOT_BALANCER_GO` or `go` on PATH), which fills the cache.

Run `python -m tests.parts.fetch`: it needs the standard library only.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.parts.gobuild import BuildFailedError, build, cache_root, cached_folder, find_go
from tests.parts.pins import PART_OF, PARTS, TOOLS, Tool


class Origin(StrEnum):
    VARIABLE = "variable"
    PATH = "PATH"
    CACHE = "cache"
    BUILT = "built now"


@dataclass(frozen=True, slots=True)
class Found:
    tool: Tool
    path: Path
    version: str
    origin: Origin


class PartMissingError(Exception):
    """The tool is not there and cannot be built; the message tells what to do."""


def find(name: str, environ: Mapping[str, str] = os.environ) -> Found | None:
    """The tool as it stands now, never built. Raises PartMissingError if its variable names no program."""
    tool = TOOLS[name]
    return _from_variable(tool, environ) or _from_path(tool, environ) or _from_cache(tool, environ)


def require(name: str, environ: Mapping[str, str] = os.environ) -> Found:
    """The tool, built if need be. Raises PartMissingError with what to do about it."""
    if found := find(name, environ):
        return found
    tool = TOOLS[name]
    go, fault = find_go(environ)
    if go is None:
        raise PartMissingError(_advice(tool, fault))
    try:
        folder = build(PART_OF[name], go=go, root=cache_root(environ))
    except BuildFailedError as failure:
        raise PartMissingError(_advice(tool, str(failure))) from failure
    return Found(tool, folder / name, tool.version, Origin.BUILT)


def why_missing(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """None if the tool is there or can be built here, else what is missing and what to do."""
    try:
        if find(name, environ):
            return None
    except PartMissingError as missing:
        return str(missing)
    go, fault = find_go(environ)
    return None if go else _advice(TOOLS[name], fault)


def tells_version(text: str, version: str) -> bool:
    """Whether the first version in the text is this one: `v1.37.2` yes, `1.37.20` and `1.37.2-rc.1` no."""
    first = re.search(r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?", text)
    return first is not None and first[0] == version


def _advice(tool: Tool, fault: str) -> str:
    return (
        f"{tool.name} {tool.version} is not here: {fault}. "
        f"Install Go 1.26 or newer and run `python -m tests.parts.fetch`, or set {tool.variable} to the program."
    )


def _from_variable(tool: Tool, environ: Mapping[str, str]) -> Found | None:
    given = environ.get(tool.variable)
    if not given:
        return None
    path = Path(given).expanduser()
    if not os.access(path, os.X_OK) or path.is_dir():
        raise PartMissingError(f"{tool.variable}={given}: there is no program")
    said = re.search(r"\d+\.\d+\.\d+\S*", _said(path, tool))
    return Found(tool, path, said[0] if said else "unknown", Origin.VARIABLE)


def _from_path(tool: Tool, environ: Mapping[str, str]) -> Found | None:
    where = shutil.which(tool.name, path=environ.get("PATH", ""))
    if where is None or not tells_version(_said(Path(where), tool), tool.version):
        return None
    return Found(tool, Path(where), tool.version, Origin.PATH)


def _from_cache(tool: Tool, environ: Mapping[str, str]) -> Found | None:
    path = cached_folder(PART_OF[tool.name], cache_root(environ)) / tool.name
    return Found(tool, path, tool.version, Origin.CACHE) if path.exists() else None


def _said(path: Path, tool: Tool) -> str:
    if not tool.version_args:
        return ""
    try:
        ran = subprocess.run(
            [path, *tool.version_args],
            capture_output=True,
            text=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ran.stdout + ran.stderr


def _row(name: str, *, check: bool) -> tuple[str, str, str, bool]:
    try:
        found = find(name) if check else require(name)
    except PartMissingError as missing:
        return name, "missing", str(missing), False
    if found is None:
        return name, "missing", why_missing(name) or "not built yet: leave out --check to build it", False
    return name, found.version, f"{found.origin:9} {found.path}", True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parts.fetch", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="tools or parts: " + " ".join([*TOOLS, "controlplane"])
    )
    parser.add_argument("--check", action="store_true", help="build nothing; exit 1 if something is missing")
    options = parser.parse_args(arguments)
    unknown = set(options.only or ()) - set(TOOLS) - {part.name for part in PARTS}
    if unknown:
        parser.error("no such tool or part: " + ", ".join(sorted(unknown)))
    wanted = options.only or list(TOOLS)
    rows = [_row(n, check=options.check) for n in TOOLS if n in wanted or PART_OF[n].name in wanted]
    for name, version, where, _ in rows:
        print(f"{name:24} {version:10} {where}")
    return 0 if all(there for *_, there in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
