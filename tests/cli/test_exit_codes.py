"""The exit codes that docs/commands.md tells of are those that commands leave with."""

import click
import pytest

from tests.cli.conftest import ROOT
from tests.cli.test_commands import DEMO, every_command
from webhook.cli import root

NO_CLUSTER = ("--kubeconfig", "nowhere")
SEEN = {
    ("certs dev", 2): ("certs", "dev", "--dir", "{tmp}/pair", "--host", "not a host"),
    ("certs dev", 3): ("certs", "dev", "--dir", "README.md"),
    ("config check", 0): ("config", "check", "examples/config.yaml"),
    ("config check", 2): ("config", "check", "{broken}"),
    ("config check", 3): ("config", "check", "{tmp}/nowhere.yaml"),
    ("config print", 0): ("config", "print"),
    ("config print", 2): ("config", "print", "{broken}"),
    ("config print", 3): ("config", "print", "{tmp}/nowhere.yaml"),
    ("demo", 3): ("demo", "--snapshot", "{tmp}/nowhere.json"),
    ("explain", 0): ("explain", "shop/deploy/nginx-demo", "--snapshot", DEMO),
    ("explain", 2): ("explain", "shop/deploy/nginx-demo", "--snapshot", DEMO, "--config", "examples/config.yaml"),
    ("explain", 3): ("explain", "shop/deploy/gone", "--snapshot", DEMO),
    ("history", 2): ("history", "--workload", "foo"),
    ("history", 3): ("history", *NO_CLUSTER),
    ("monitor", 2): ("monitor", "--config", "{broken}"),
    ("monitor", 3): ("monitor",),
    ("nodes", 0): ("nodes", "--snapshot", DEMO),
    ("nodes", 2): ("nodes", "--config", "{broken}"),
    ("nodes", 3): ("nodes", *NO_CLUSTER),
    ("pause", 2): ("pause", "--timeout", "5s"),
    ("pause", 3): ("pause", *NO_CLUSTER),
    ("plan", 0): ("plan", "--snapshot", DEMO),
    ("plan", 2): ("plan", "--config", "{broken}"),
    ("plan", 3): ("plan", "--snapshot", "{tmp}/nowhere.json"),
    ("resume", 2): ("resume", "--workload", "foo"),
    ("resume", 3): ("resume", *NO_CLUSTER),
    ("scheduler-config", 2): ("scheduler-config", "--stanza", "--second", "mine"),
    ("scheduler-config", 3): ("scheduler-config", *NO_CLUSTER),
    ("score", 0): ("score", "shop/deploy/nginx-demo", "--snapshot", DEMO),
    ("score", 2): ("score", "shop/deploy/nginx-demo", "--snapshot", DEMO, "--config", "{broken}"),
    ("score", 3): ("score", "shop/deploy/gone", "--snapshot", DEMO),
    ("serve", 2): ("serve", "--snapshot", DEMO, "--bind", "8443"),
    ("serve", 3): ("serve", "--snapshot", "{tmp}/nowhere"),
    ("simulate", 2): ("simulate", "--config", "{broken}"),
    ("simulate", 3): ("simulate", "--workloads", "1", "--days", "1", "--no-storms", "--json", "{tmp}/no/x.json"),
    ("simulate balance", 2): ("simulate", "balance", "--config", "{broken}"),
    ("simulate balance", 3): ("simulate", "balance", "--config", "{tmp}/nowhere.yaml"),
    ("snapshot", 2): ("snapshot", "-f", "{tmp}/x.json", "--config", "{broken}"),
    ("snapshot", 3): ("snapshot", "-f", "{tmp}/x.json", *NO_CLUSTER),
    ("status", 2): ("status", "--config", "{broken}"),
    ("status", 3): ("status", *NO_CLUSTER),
    ("sync", 2): ("sync", "--snapshot-dir", "{tmp}/kept", "--config", "{broken}"),
    ("sync", 3): ("sync", "--snapshot-dir", "README.md", "--ops-bind", "127.0.0.1:0"),
    ("version", 0): ("version",),
}
"""What needs no cluster and does not stay; that the others end with 0 is held where they have one."""


def table(first):
    """The rows of the page's table whose header begins so, as cells."""
    lines = (ROOT / "docs" / "commands.md").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |")) + 2
    end = next(number for number in range(start, len(lines) + 1) if number == len(lines) or not lines[number])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:end]]


def told():
    """(command, code) of each cell that says something."""
    codes = (0, 2, 3)
    for name, *cells in table("command"):
        yield from ((name.strip("`"), code) for code, cell in zip(codes, cells, strict=True) if cell)


def leaves():
    """The words of each command that does something; `balance` is told from a trace by `simulate` alone."""
    yield ("simulate", "balance")
    for words in every_command():
        command = root.cli
        for word in words:
            command = command.get_command(click.Context(command), word)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield words


def test_every_command_has_its_row():
    assert [name.strip("`") for name, *_ in table("command")] == sorted(" ".join(words) for words in leaves())
    assert {code for _, code in told()} <= {int(cells[0]) for cells in table("code") if cells[0].isdigit()}


def test_every_code_that_can_be_had_without_a_cluster_is_tried():
    assert SEEN.keys() <= set(told())
    assert {(name, code) for name, code in told() if code} == {(name, code) for name, code in SEEN if code}


@pytest.mark.parametrize("seen", SEEN, ids=lambda seen: f"{seen[0]}: {seen[1]}")
def test_a_command_leaves_with_the_code_that_is_told(cli, tmp_path, seen):
    broken = tmp_path / "broken.yaml"
    broken.write_text("mode: injekt\n")
    words = [word.format(tmp=tmp_path, broken=broken) for word in SEEN[seen]]
    assert cli(*words).code == seen[1]


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "nginx-demo"),
        ("explain", "a/b/c/d"),
        ("score", "docs"),
        ("score", "-"),
        ("score", "pod noext"),
        ("score", "/web"),
        ("history", "--workload", "foo"),
        ("resume", "--workload", "foo"),
        ("certs", "dev", "--dir", "{tmp}/pair", "--host", "a b"),
        ("pause", "-n", "A B"),
        ("pause", "--book", "A B"),
        ("status", "-n", "Shop"),
        ("pause", "--timeout", "5s"),
    ],
    ids=" ".join,
)
def test_an_argument_that_is_none_is_a_fault_of_the_line_before_any_cluster_is_asked(cli, tmp_path, words):
    told = cli(*(word.format(tmp=tmp_path) for word in words), *(() if words[0] == "certs" else NO_CLUSTER))
    assert (told.code, told.out) == (2, "")
    assert "nowhere" not in told.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [("explain", "a/b/c"), ("nodes",), ("plan",), ("score", "a/b/c"), ("serve",), ("demo",)]
)
@pytest.mark.parametrize("name", ["nowhere.json", "empty.json"])
def test_a_snapshot_that_is_not_there_or_is_none_ends_alike_everywhere(cli, tmp_path, words, name):
    (tmp_path / "empty.json").write_bytes(b"")
    told = cli(*words, "--snapshot", str(tmp_path / name))
    assert (told.code, told.out) == (3, "")
    assert name in told.err


TRACE = "time,pod,owner,cpuCores,memoryBytes,receivedBytesPerSecond,cpuRequestCores\n"


@pytest.mark.parametrize("text", [None, "", "time,pod\n", TRACE, f"{TRACE}now,web-1\n", f"{TRACE}\xff\n", "\0"])
def test_a_trace_that_is_wrong_is_never_taken_for_a_promise_that_was_broken(cli, tmp_path, text):
    assert cli("simulate", "--config", str(tmp_path / "nowhere.yaml")).code == 2
    trace = tmp_path / "usage.csv"
    if text is not None:
        trace.write_bytes(text.encode("latin-1"))
    told = cli("simulate", str(trace))
    assert (told.code, told.out) == (2, "")
    assert str(trace) in told.err


@pytest.mark.parametrize("words", list(leaves()), ids=" ".join)
def test_an_option_that_is_none_is_a_fault_of_the_line(cli, words):
    assert cli(*words, "--no-such-option").code == 2
