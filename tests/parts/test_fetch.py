"""Where programs come from, and what is said when they cannot be had."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.parts import fetch, gobuild
from tests.parts.pins import CONTROL_PLANE, HELM, PARTS, TOOLS


def script(file: Path, says: str) -> Path:
    """A program that prints this."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


@pytest.fixture
def empty(tmp_path: Path) -> dict[str, str]:
    """An environment with nothing on PATH and an empty cache."""
    return {"PATH": str(tmp_path / "bin"), "SPOT_BALANCER_PARTS_DIR": str(tmp_path / "cache")}


def test_a_program_on_path_counts_only_in_the_pinned_version(empty, tmp_path):
    helm = script(tmp_path / "bin" / "helm", "v3.21.9+gabc")
    assert fetch.find("helm", empty) is None
    script(helm, "v3.22.0+gabc")
    found = fetch.find("helm", empty)
    assert (found.path, found.origin) == (helm, fetch.Origin.PATH)


@pytest.mark.parametrize(
    ("text", "version", "same"),
    [
        ("Kubernetes v1.37.2", "1.37.2", True),
        ("Kubernetes v1.37.20", "1.37.2", False),
        ("Kubernetes v1.37.2-rc.1", "1.37.2", False),
        ("Client Version: v1.37.2\nKustomize Version: v5.8.1", "1.37.2", True),
        ("Client Version: v1.36.0\nServer Version: v1.37.2", "1.37.2", False),
        ("kwok version v0.7.0 go1.26.8 (linux/amd64)", "0.7.0", True),
        ("", "1.37.2", False),
    ],
)
def test_only_the_first_version_told_counts(text, version, same):
    assert fetch.tells_version(text, version) is same


def test_the_variable_wins_whatever_its_version(empty, tmp_path):
    script(tmp_path / "bin" / "helm", "v3.22.0")
    mine = script(tmp_path / "mine" / "helm", "v3.1.4")
    found = fetch.find("helm", empty | {"SPOT_BALANCER_HELM": str(mine)})
    assert (found.path, found.version, found.origin) == (mine, "3.1.4", fetch.Origin.VARIABLE)


def test_a_variable_that_names_no_program_is_an_error_and_no_reason_to_look_further(empty, tmp_path):
    script(tmp_path / "bin" / "helm", "v3.22.0")
    wrong = empty | {"SPOT_BALANCER_HELM": str(tmp_path / "nowhere")}
    with pytest.raises(fetch.PartMissingError, match=r"SPOT_BALANCER_HELM=.*nowhere: there is no program"):
        fetch.require("helm", wrong)
    assert "SPOT_BALANCER_HELM" in fetch.why_missing("helm", wrong)


def test_without_go_the_message_tells_both_ways_out(empty):
    with pytest.raises(fetch.PartMissingError) as missing:
        fetch.require("kube-apiserver", empty)
    told = str(missing.value)
    assert "there is no `go` on PATH" in told
    assert "Install Go 1.26 or newer" in told
    assert "SPOT_BALANCER_KUBE_APISERVER" in told
    assert fetch.why_missing("kube-apiserver", empty) == told


def test_an_old_go_is_named_and_not_used(empty, tmp_path):
    script(tmp_path / "bin" / "go", "go1.25.8")
    assert "is go1.25.8 (wanted: Go 1.26 or newer)" in fetch.why_missing("kwok", empty)


def test_where_go_could_build_it_nothing_is_missing(empty, tmp_path):
    script(tmp_path / "bin" / "go", "go1.26.0")
    assert fetch.why_missing("kwok", empty) is None


def test_a_failed_build_tells_what_go_said_and_leaves_nothing_behind(empty, tmp_path):
    go = script(tmp_path / "bin" / "go", "go1.27.1")
    go.write_text("#!/bin/sh\n[ $1 = env ] && echo go1.27.1 && exit 0\necho no route to the module proxy >&2\nexit 1\n")
    with pytest.raises(fetch.PartMissingError, match="no route to the module proxy"):
        fetch.require("kwok", empty)
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_build_is_found_in_the_cache_afterwards(empty, tmp_path):
    go = script(tmp_path / "bin" / "go", "go1.26.0")
    go.write_text(
        '#!/bin/sh\n[ $1 = env ] && echo go1.26.0 && exit 0\nwhile [ "$1" != -o ]; do shift; done\n: > "$2"\n'
    )
    built = fetch.require("kubectl", empty)
    assert built.origin is fetch.Origin.BUILT
    assert built.path.resolve().name == "controlplane"
    go.unlink()
    assert fetch.require("etcd", empty).origin is fetch.Origin.CACHE


def test_two_who_want_the_same_part_build_it_once(empty, tmp_path):
    go = script(tmp_path / "bin" / "go", "go1.26.0")
    go.write_text(
        "#!/bin/sh\n[ $1 = env ] && echo go1.26.0 && exit 0\n"
        f'echo built >> {tmp_path}/count\nwhile [ "$1" != -o ]; do shift; done\n: > "$2"\n'
    )
    with ThreadPoolExecutor(4) as pool:
        paths = {found.path for found in pool.map(lambda _: fetch.require("kwok", empty), range(4))}
    assert len(paths) == 1
    assert (tmp_path / "count").read_text() == "built\n"


def test_another_flag_is_another_place_in_the_cache(tmp_path):
    helm = gobuild.cached_folder(HELM, tmp_path)
    stamped = type(HELM)(name=HELM.name, tools=HELM.tools, packages=HELM.packages, stamps=(("a.b", "c"),))
    assert gobuild.cached_folder(stamped, tmp_path) != helm
    assert gobuild.cached_folder(HELM, tmp_path) == helm


def test_every_tool_has_a_variable_of_its_own():
    assert len({tool.variable for tool in TOOLS.values()}) == len(TOOLS)
    assert TOOLS["kube-apiserver"].variable == "SPOT_BALANCER_KUBE_APISERVER"


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_module_is_pinned_with_sums(part):
    """A version in `pins` that differs from go.mod would refuse the right program on PATH."""
    required = (part.module / "go.mod").read_text()
    assert (part.module / "go.sum").stat().st_size > 0
    versions = [tool.version for tool in part.tools]
    minor_of_prometheus = "v0.3" + versions[0].removeprefix("3.")  # 3.14.0 is published as v0.314.0
    assert f"v{versions[-1]}" in required or minor_of_prometheus in required


def test_the_control_plane_replaces_every_staging_module_by_one_version():
    text = (CONTROL_PLANE.module / "go.mod").read_text()
    replaced = [line.split(" => ")[1].split()[1] for line in text.splitlines() if " => k8s.io/" in line]
    assert len(replaced) == 33
    assert set(replaced) == {"v0.37.2"}
