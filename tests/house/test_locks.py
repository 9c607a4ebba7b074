"""The locked requirements fit what they were made from."""

import configparser
import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.linters import ROOT

FOLDER = ROOT / "requirements"


def pins(name):
    """{canonical name: version} of a lock; fails on a pin without a hash."""
    found = {}
    for block in re.split(r"\n(?=\S)", (FOLDER / name).read_text()):
        pin = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", block)
        if pin:
            assert "--hash=sha256:" in block, f"{name}: {pin[1]} has no hash"
            found[canonicalize_name(pin[1])] = pin[2]
    return found


def wishes(name):
    for line in (FOLDER / name).read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            yield from wishes(text[3:].strip())
        elif text:
            yield Requirement(text)


def floors():
    config = configparser.ConfigParser(inline_comment_prefixes=None)
    config.read(ROOT / "setup.cfg")
    for section, key in (("options", "install_requires"), ("options.extras_require", "cli")):
        lines = config[section][key].splitlines()
        yield from (Requirement(line) for line in lines if line.strip() and not line.strip().startswith("#"))


@pytest.mark.parametrize("lock", ["base", "dev", "build"])
def test_every_wish_is_locked_at_a_version_that_fits(lock):
    locked = pins(f"{lock}.txt")
    for wish in wishes(f"{lock}.in"):
        assert wish.specifier.contains(locked[canonicalize_name(wish.name)], prereleases=True), wish


def test_locked_versions_are_above_the_floors_of_the_package():
    locked = pins("dev.txt")
    for floor in floors():
        assert floor.specifier.contains(locked[canonicalize_name(floor.name)]), floor


def test_every_dependency_of_the_package_is_in_the_image():
    config = {canonicalize_name(f.name) for f in floors()} - {"rich"}
    assert config <= set(pins("base.txt"))
    assert config == {canonicalize_name(w.name) for w in wishes("base.in")}


def test_the_image_has_what_was_tested():
    tested = pins("dev.txt")
    assert not {n: v for lock in ("base.txt", "build.txt") for n, v in pins(lock).items() if tested.get(n) != v}


def test_locks_are_closed():
    """`--no-deps` installs only what is listed, so whatever a listed package needs must be listed too."""
    locked = pins("dev.txt")
    for name in locked:
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another platform
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in locked, f"{name} needs {need}"
