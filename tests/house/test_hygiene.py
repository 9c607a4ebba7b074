"""What must never be committed. The forbidden words are put together here, or this file would find itself."""

import re

import pytest

from tests.house.linters import ROOT, tracked

TEXT_LIMIT_BYTES = 2_000_000


def contents():
    for name in tracked():
        data = (ROOT / name).read_bytes()
        assert len(data) <= TEXT_LIMIT_BYTES, f"{name} is too large to be source"
        yield name, data.decode("utf-8", errors="surrogateescape")


def _hosts(*pieces):
    return re.compile("|".join(re.escape(".".join(p.split())) for p in pieces), re.IGNORECASE)


PACKAGE_HOSTS = _hosts(
    "pypi org",
    "files pythonhosted org",
    "proxy golang org",
    "sum golang org",
    "goproxy io",
    "goproxy cn",
    "registry npmjs org",
    "registry yarnpkg com",
    "static crates io",
    "index crates io",
    "repo1 maven org",
    "repo maven apache org",
    "rubygems org",
    "deb debian org",
    "security debian org",
    "archive ubuntu com",
    "conda anaconda org",
)
# Words of this machine or of a developer's: homes, scratch folders, mounted workplaces.
MACHINE_PATHS = re.compile(
    r"(?<![\w.$}])/(?:" + "|".join(["root", "wo" + "rk", "home/[a-z]", "Users/[A-Za-z]", "tmp/br" + "ief"]) + r")/"
)
PEM = re.compile("-----" + r"BEGIN [A-Z0-9 ]*(?:KEY|CERTIFICATE)" + "-----\\s+[A-Za-z0-9+/]{16}")
TOKEN = re.compile("|".join(["eyJ" + "hbGciOi", "AK" + "IA[0-9A-Z]{16}", "gh" + "p_[A-Za-z0-9]{30}"]))


@pytest.mark.parametrize(
    "forbidden",
    [PACKAGE_HOSTS, MACHINE_PATHS, PEM, TOKEN],
    ids=["host of a package registry", "path of a machine", "key or certificate", "token"],
)
def test_tree_is_free_of(forbidden):
    hits = [f"{name}: {hit[0]!r}" for name, text in contents() for hit in forbidden.finditer(text)]
    assert not hits


def test_locks_name_no_index_and_no_address():
    for name in tracked("requirements/*"):
        assert not re.search(r"index-url|find-links|trusted-host|://|@ file", (ROOT / name).read_text()), name


def test_no_program_is_committed():
    magic = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"PK\x03\x04", b"\x1f\x8b")
    assert not [name for name in tracked() if (ROOT / name).read_bytes().startswith(magic)]


def test_modules_keep_to_their_size():
    """Above 400 lines a module says why in its docstring, with the word `long`."""
    for name in tracked("webhook/*.py", "tests/*.py", "bench/*.py"):
        text = (ROOT / name).read_text()
        if text.count("\n") > 400:
            opening = re.match(r'\s*(?:r?"""(.*?)""")', text, re.DOTALL)
            assert opening, f"{name} has more than 400 lines"
            assert re.search(r"\blong\b", opening[1]), f"{name} has more than 400 lines and does not say why"
