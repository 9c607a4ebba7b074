"""Docs promise nothing that is not there: links, commands, tables."""

import re
import shlex

import pytest

from bench import tables
from tests.house.linters import ROOT, tracked

PAGES = tracked("*.md")


def page(name):
    return (ROOT / name).read_text()


def anchors(text):
    """The anchors that a page's headings get."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page(name)):
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), f"{name} links to {target}"
        assert not anchor or anchor in anchors(file.read_text()), f"{name} links to {target}"


def shell_lines(name):
    """Commands in shell blocks, comments and prompts off."""
    for block in re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", page(name), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words:
                yield words


@pytest.mark.parametrize("name", PAGES)
def test_every_make_target_named_is_there(name):
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {w[1] for w in shell_lines(name) if w[0] == "make"} | set(re.findall(r"`make ([a-z-]+)", page(name)))
    assert named <= targets


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_ours_is_there_with_its_options(name):
    import click

    group = tables.cli()
    for words in shell_lines(name):
        if not words[0].endswith("spot-balancer"):
            continue
        command, rest = group, words[1:]
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            found = command.get_command(click.Context(command), rest[0])
            assert found is not None, f"{name}: {' '.join(words)}"
            command, rest = found, rest[1:]
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        assert {w.partition("=")[0] for w in rest if w.startswith("-")} <= options, f"{name}: {' '.join(words)}"


def test_every_metric_and_reason_that_the_schedulers_page_tells_of_is_there():
    from webhook.core.candidates import Neutral
    from webhook.endpoints.extender import Outcome

    text = page("docs/scheduler.md")
    told = "".join((ROOT / name).read_text() for name in ("webhook/metrics.py", "webhook/jobs/ops.py"))
    names = {name.removesuffix("_total") for name in re.findall(r"spot_balancer_\w+", text)}
    assert names <= set(re.findall(r"spot_balancer_\w+", told))
    reasons = set(re.findall(r'reason="([\w-]+)"', text))
    assert reasons
    assert reasons <= {*Outcome, *Neutral}


@pytest.mark.parametrize("path", tables.documents(), ids=lambda path: path.name)
def test_generated_tables_are_up_to_date(path):
    assert tables.rewritten(path) == path.read_text(), "run `make docs`"


def test_every_kept_run_tells_machine_versions_and_rounds():
    import json

    for name in tracked("bench/results/*.json"):
        run = json.loads((ROOT / name).read_text())
        assert {"schemaVersion", "what", "measuredAt", "machine", "versions", "rows"} <= set(run), name
        assert name.endswith(f"/{run['measuredAt'][:10]}-{run['what']}.json")
        assert all(row["rounds"] for row in run["rows"]), name
