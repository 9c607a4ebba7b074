"""What is printed can be read back, and each value says whether the file or the default put it there."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.test_configuration import RULES, WHOLE
from webhook.cli.root import run
from webhook.configuration import Configuration, load
from webhook.configuration.printing import document_of, plain, settings_of
from webhook.configuration.readers import duration

ROOT = Path(__file__).parents[1]
RICH = """
rules:
- {name: batch, match: {kinds: [CronJob]}, idle: {batch: {minRuns: 5}}, allowedAnnotations: []}
- {name: same, match: {names: [x]}, idle: {window: 60m}}
prometheus:
  url: https://mimir.example/prometheus
  headers: {X-Scope-OrgID: team-a}
  headerFiles: {X-Api-Key: /etc/key}
  parameters: {partial_response: false}
  clusterLabel: {name: cluster, value: eu-1}
  jobs: {cadvisor: kubelet, nodeExporter: [node-exporter, agent]}
  certFile: /etc/tls.crt
  keyFile: /etc/tls.key
  queries: {cpuRecent: "sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{$cluster}[$leaveWindow]))"}
"""
POLICY_PAGE = (ROOT / "docs" / "policy.md").read_text().split("```yaml")[1].split("```")[0]
TEXTS = {
    "empty": "",
    "whole": WHOLE,
    "rules": RULES,
    "rich": RICH,
    "page": POLICY_PAGE,
    "example": (ROOT / "examples" / "config.yaml").read_text(),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_is_printed_reads_back_as_the_same_configuration(text):
    found = load(text, source="a")
    printed = yaml.safe_dump(document_of(found), sort_keys=False)
    assert load(printed, source="b") == found


@given(st.integers(1, 60 * 86_400_000))
def test_every_length_is_printed_as_it_is_read(milliseconds):
    length = timedelta(milliseconds=milliseconds)
    assert duration(plain(length)) == length


def test_every_value_tells_its_line_or_that_it_is_the_default():
    text = "mode: inject\nidle:\n  window: 2h\nrules:\n- name: a\n  match: {kinds: [Job]}\n"
    found = {s.path: (s.text, s.line) for s in settings_of(load(text, source="a"), text)}
    assert found["mode"] == ("inject", 1)
    assert found["idle.window"] == ("2h", 3)
    assert found["idle.step"] == ("1m", None)
    assert found["rules[0].match.kinds"] == ('["Job"]', 6)
    assert found["maxSpot"] == ("100%", None)
    assert found["moves.toRegular.perCluster"] == ("10%", None)
    assert {line for _, line in found.values()} == {None, 1, 3, 5, 6}


def test_without_a_file_all_is_default_and_every_key_is_there(capsys):
    assert run(["config", "print"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["KEY", "VALUE", "FROM"]
    assert {line.split()[-1] for line in out.splitlines()[1:]} == {"default"}
    assert len(out.splitlines()) > len(list(settings_of(Configuration(), ""))) - 1


def test_the_yaml_form_is_a_file_that_says_the_same(tmp_path, capsys):
    file = tmp_path / "config.yaml"
    file.write_text(RICH)
    assert run(["config", "print", str(file), "-o", "yaml"]) == 0
    assert load(capsys.readouterr().out, source="printed") == load(RICH, source="a")


def test_check_tells_every_fault_at_once_and_says_so_in_its_code(tmp_path, capsys):
    file = tmp_path / "config.yaml"
    file.write_text("mode: injekt\nidle: {windw: 1h}\nrules: [{name: A, match: {}}]\n")
    assert run(["config", "check", str(file)]) == 2
    told = capsys.readouterr()
    assert "3 fault(s)" in told.err
    assert told.err.count("\n  - ") == 3
    for words in ("mode: 'injekt'; expected", "idle.windw: unknown key; did you mean window?", "rules[0].name"):
        assert words in told.err
    assert run(["config", "check", str(file), "-o", "json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert (answer["schemaVersion"], answer["valid"], len(answer["faults"])) == (1, False, 3)


def test_a_file_without_a_fault_is_said_to_have_none(capsys):
    assert run(["config", "check", str(ROOT / "examples" / "config.yaml")]) == 0
    assert "no fault" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_told_as_such(capsys):
    assert run(["config", "check", "nowhere.yaml"]) == 3
    assert "nowhere.yaml: cannot be read" in capsys.readouterr().err
