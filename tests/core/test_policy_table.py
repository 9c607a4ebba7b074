"""The table of docs/policy.md, executed: a reader may believe every line of it."""

import re
from pathlib import Path

import pytest
import yaml

from tests.builders import make_workload
from webhook import configuration
from webhook.core import consent, rules
from webhook.core.model import Namespace

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
BLOCK = PAGE.split("<!-- cases -->")[1].split("<!-- end of cases -->")[0]
CASES = [[cell.strip() for cell in line.strip("|").split("|")] for line in BLOCK.splitlines() if line.startswith("|")]


def annotations(cell):
    """Other tools' annotations stand with their whole name."""
    return {key if "/" in key else f"spot-balancer.io/{key}": str(value) for key, value in settings(cell).items()}


def settings(cell):
    """``a: b; c: d`` as YAML reads it."""
    return {} if cell == "-" else yaml.safe_load(cell.replace("; ", "\n"))


def said(settled, expected):
    """The same setting in the words of the last column."""
    name = expected.partition(":")[0]
    value = {
        "mode": settled.mode.value,
        "spot": settled.spot.value,
        "placement": settled.placement.value,
        "max-spot": settled.max_spot,
        "moves": ", ".join(settled.moves) or "none",
    }[name]
    level = getattr(settled, f"{name.replace('-', '_')}_from")
    return f"{name}: {value} by {level}"


@pytest.mark.parametrize("case", CASES[2:], ids=" | ".join)
def test_each_line_of_the_documented_table_holds(case):
    pod, workload, namespace, rule, top, expected = case
    whole = settings(top) | ({"rules": [{"name": "r", "match": {}, **settings(rule)}]} if rule != "-" else {})
    policy = configuration.load(yaml.safe_dump(whole), source="docs/policy.md").policy
    subject = make_workload(annotations=annotations(workload), rule="r" if rule != "-" else "")
    settled = consent.resolve(annotations(pod), subject, Namespace("shop", annotations(namespace)), policy)
    assert said(settled, expected) == expected


def test_the_table_covers_every_setting_and_every_voice():
    told = [case[5] for case in CASES[2:]]
    assert {text.partition(":")[0] for text in told} == {"mode", "spot", "placement", "max-spot", "moves"}
    assert {text.rpartition(" ")[2] for text in told} == set(consent.Level)


def test_every_word_of_another_tool_that_is_read_is_told_of():
    told = PAGE.split("## Other tools' annotations")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([^`]+/[^`]+)`", told, re.MULTILINE)) == consent.FOREIGN_KEYS


def test_the_example_of_the_page_is_a_configuration_that_does_what_it_says():
    text = PAGE.split("```yaml")[1].split("```")[0]
    policy = configuration.load(text, source="docs/policy.md").policy
    from webhook.core.model import WorkloadKey

    def rule_of(namespace, kind, name="any", labels=None, namespace_labels=None):
        found = rules.first(
            policy, WorkloadKey(namespace, kind, name), labels=labels or {}, namespace_labels=namespace_labels or {}
        )
        return found.name if found else ""

    assert rule_of("payments", "Deployment") == rule_of("pci-eu", "CronJob") == "payments"
    assert rule_of("lab", "StatefulSet", namespace_labels={"env": "dev"}) == "batch"
    assert rule_of("lab", "StatefulSet", namespace_labels={"env": "prod"}) == ""
    assert rule_of("shop", "Deployment", labels={"app.kubernetes.io/component": "web"}) == "web"
    assert policy.rules[2].idle.signals[0].name == "requests"
    assert policy.rules[2].idle.cpu_floor_cores == policy.idle.cpu_floor_cores
