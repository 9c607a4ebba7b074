"""All faults of a file are told at once: none hides another, and none makes another up."""

import copy
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from webhook.configuration import load
from webhook.errors import ConfigurationError

pytestmark = pytest.mark.fault(67)


def faults_of(text: str) -> list[str]:
    try:
        load(text, source="config.yaml")
    except ConfigurationError as error:
        return list(error.faults)
    return []


def places(text: str) -> list[str]:
    return [fault.split(": ")[0] for fault in faults_of(text)]


def test_a_misspelt_key_does_not_hide_a_token_over_http():
    found = places("prometheus: {url: 'http://x', bearerTokenFile: /t, querys: {}}")
    assert found == ["prometheus.querys", "prometheus.url"]


def test_a_rules_wrong_mode_hides_neither_its_windows_nor_that_it_is_never_reached():
    found = places(
        "rules: [{name: all, match: {}}, {name: b, match: {names: [x]}, mode: injekt, idle: {rateWindow: 1m}}]"
    )
    assert found == ["rules[1].mode", "rules[1].idle.rateWindow", "rules[1]"]


def test_a_signals_wrong_threshold_does_not_hide_its_query():
    found = places("idle: {signals: [{name: q, idleBelow: low, query: up or vector(0)}]}")
    assert found == ["idle.signals[0].idleBelow", "idle.signals[0].query"]


def test_what_is_missing_does_not_hide_what_is_wrong():
    found = places("rules: [{mode: injekt}]\nprometheus: {usernam: x, passwordFile: /p, concurrency: 0}")
    assert found == [
        "rules[0].mode",
        "rules[0].name",
        "rules[0].match",
        "prometheus.usernam",
        "prometheus.concurrency",
        "prometheus.url",
    ]


def test_a_signal_that_a_rule_only_takes_over_is_told_of_where_it_is_said():
    signals = "signals: [{name: cpu, query: up, idleBelow: 1}]"
    over = f"rules: [{{name: a, match: {{}}, idle: {{cpuFloor: 5m}}}}, {{name: b, match: {{}}, idle: {{{signals}}}}}]"
    assert places(f"idle: {{{signals}}}\n{over}")[:2] == ["idle.signals[0].name", "rules[1].idle.signals[0].name"]


def test_a_header_that_is_refused_is_told_once():
    assert places("prometheus: {url: 'https://x', headers: {Host: a}}") == ["prometheus.headers.Host"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        # Beside the default in its place, each of these would contradict something.
        ("idle: {window: 5x, leaveWindow: 2h}", ["idle.window"]),
        ("idle: {windw: 3h, leaveWindow: 2h}", ["idle.windw"]),
        ("idle: {scrapeInterval: soon, rateWindow: 1m, step: 20s}", ["idle.scrapeInterval"]),
        ("idle: {rateWindow: 1, step: 10m}", ["idle.rateWindow"]),
        ("idel: {window: 3h}\nrules: [{name: a, match: {}, idle: {leaveWindow: 2h}}]", ["idel"]),
        ("idle: 3h\nrules: [{name: a, match: {}, idle: {leaveWindow: 2h}}]", ["idle"]),
        ("rules: [{name: a, match: {namespce: [x]}}, {name: b, match: {}}]", ["rules[0].match.namespce"]),
        ("rules: [{name: a, match: {team: [x]}}, {name: b, match: {}}]", ["rules[0].match.team"]),
        ("rules: [{name: a, match: {names: x}}, {name: b, match: {}}]", ["rules[0].match.names"]),
        ("rules: [{name: A, match: {names: [x]}}, {name: A, match: {}}]", ["rules[0].name", "rules[1].name"]),
        (
            "idle: {signals: [{name: A, query: up, idleBelow: 1}, {name: A, query: up, idleBelow: 1}]}",
            ["idle.signals[0].name", "idle.signals[1].name"],
        ),
        (
            "prometheus: {url: 'http://x', bearerTokenFile: /t, allowInsecureCredential: true}",
            ["prometheus.allowInsecureCredential"],
        ),
        ("prometheus: {url: 5, bearerTokenFile: /t}", ["prometheus.url"]),
        ("prometheus: {ur: 'https://x'}", ["prometheus.ur"]),
        ("prometheus: {url: 'https://x', username: 5, passwordFile: /p}", ["prometheus.username"]),
        ("prometheus: {url: 'https://x', certFile: /c, keyFil: /k}", ["prometheus.keyFil"]),
        ("prometheus: {url: 'https://x', deadlineSeconds: soon}", ["prometheus.deadlineSeconds"]),
        (
            "prometheus: {url: 'https://x', clusterLabel: eu, queries: {owner: 'up{$cluster}'}}",
            ["prometheus.clusterLabel"],
        ),
        ("prometheus: 5", ["prometheus"]),
        ("rules: 5", ["rules"]),
        ("moves: {settle: soon, patience: 1s}", ["moves.settle"]),
        ("moves: {settel: 1m, patience: 1s}", ["moves.settel"]),
        ("moves: {patience: soon, settle: 1m}", ["moves.patience"]),
        ("moves: {toRegular: {perRun: none}}", ["moves.toRegular.perRun"]),
        ("moves: {toRegular: 0}", ["moves.toRegular"]),
        ("moves: 5", ["moves"]),
        ("balance: {maxAge: soon}\nidle: {scrapeInterval: 2m, rateWindow: 10m}", ["balance.maxAge"]),
        ("balance: {windw: 1s}", ["balance.windw"]),
        ("idle: {scrapeInterval: soon}\nbalance: {window: 2s, maxAge: 1s}", ["idle.scrapeInterval"]),
        ("balance: 5", ["balance"]),
        ("rules: [{name: a, match: {kinds: [Job]}, weight: heavy}]", ["rules[0].weight"]),
        ("rules: [{name: a, match: {knds: [Job]}, weight: 2}]", ["rules[0].match.knds"]),
    ],
)
def test_a_value_nobody_can_read_contradicts_nothing(text, told):
    assert places(text) == told


def test_each_wrong_word_of_a_list_is_told_with_the_nearest_right_one():
    told = faults_of("pause: [injections, movs]\nallowedAnnotations: [maxspot]")
    assert told[0].endswith("not 'injections' (did you mean injection?), 'movs' (did you mean moves?)")
    assert told[1].endswith("not 'maxspot' (did you mean max-spot?)")


SOUND = """
mode: inject
pause: [moves]
maxSpot: 50%
idle:
  window: 2h
  rateWindow: 4m
  step: 1m
  leaveWindow: 5m
  scrapeInterval: 60s
  signals: [{name: q, query: up, idleBelow: 1, activeAbove: 2}, {name: p, query: up, idleBelow: 1}]
sides: {idleRunsToSpot: 3}
balance: {riskFactor: 2}
moves: {toSpot: {perRun: 5}, toRegular: {window: 2m}, patience: 5m, settle: 5s}
rules:
- {name: a, match: {names: [x]}, spot: auto, idle: {window: 3h}}
- {name: b, match: {kinds: [Job]}, mode: observe, allowedMoves: [surge], idle: {batch: {minRuns: 2}}}
prometheus:
  url: https://prometheus.example
  headers: {X-A: a}
  parameters: {dedup: true}
  jobs: {cadvisor: kubelet}
  queries: {cpuRecent: up, owner: up}
  concurrency: 2
"""
PARSED = yaml.safe_load(SOUND)
# Each with all that it looks at: faults that share none of it have nothing to do with one another.
FAULTS = (
    {"mode": "injekt"},
    {"mod": "inject"},
    {"pause": ["injections", "movs"]},
    {"maxSpot": "120%"},
    {"kinds": 5},
    {"spotPools": [{"name": "a"}, 7]},
    {"spotLabels": ["a b", "c d"]},
    {"idle.window": "5x", "idle.leaveWindow": "5m"},
    {"idle.leaveWindow": "3h", "idle.window": "2h", "rules.0.idle.window": "3h"},
    {"idle.rateWindow": "2m", "idle.scrapeInterval": "60s", "idle.step": "1m"},
    {"idle.step": "10m", "idle.rateWindow": "4m", "idle.scrapeInterval": "60s"},
    {"idle.cpuFloor": "lots"},
    {"idle.zzz": 1},
    {"idle.batch": 5},
    {"idle.signals.0.query": "up or vector(0)"},
    {"idle.signals.0.idleBelow": 0, "idle.signals.0.activeAbove": 2},
    {"idle.signals.1.name": "cpu"},
    {"idle.signals.1.activeAbove": 0.5, "idle.signals.1.idleBelow": 1},
    {"idle.signals.1.zzz": 0.5},
    {"sides.idleRunsToSpot": 0},
    {"sides.heartbeatTtl": "soon"},
    {"moves.toSpot.perRun": "half"},
    {"moves.toSpot.window": "0s"},
    {"moves.toSpot.zzz": 1},
    {"moves.toRegular.perNode": "0%"},
    {"moves.patience": "10s", "moves.settle": "20s"},
    {"moves.settle": "2m", "moves.patience": "5m"},
    {"moves.attempts": 0},
    {"moves.runSeconds": "long"},
    {"moves.zzz": 1},
    {"rules.0.spot": "sometimes"},
    {"rules.0.match": {}},
    {"rules.0.name": "b", "rules.1.name": "b"},
    {"rules.1.match": {"kinds": ["jobs"]}, "rules.0.match": {"names": ["x"]}},
    {"rules.1.allowedMoves": ["jump", "evikt"]},
    {"rules.1.idle.batch.minRuns": 0},
    {"rules.1.zzz": 0},
    {"balance.fairness": 2},
    {"balance.filterAbove": "5%"},
    {"balance.zzz": 1},
    {"rules.1.weight": 2, "rules.1.match": {"kinds": ["Job"]}},
    {"rules.0.schedulerName": "default-scheduler"},
    {"prometheus.url": "http://x", "prometheus.bearerTokenFile": "/t", "prometheus.allowInsecureCredentials": False},
    {"prometheus.username": "me", "prometheus.passwordFile": 5, "prometheus.url": "https://x"},
    {"prometheus.certFile": "/c", "prometheus.keyFile": "", "prometheus.url": "https://x"},
    {"prometheus.headers": {"Host": "a", "X-B": 5}},
    {"prometheus.parameters": {"dedup": "maybe", "limit": 5}},
    {"prometheus.jobs": {"cadviser": "kubelet"}},
    {"prometheus.clusterLabel": {"name": "a-b", "value": "x"}},
    {"prometheus.queries.cpuRecent": "vector(0)"},
    {"prometheus.queries.cpuPek": "up"},
    {"prometheus.concurrency": 0},
)


def spoilt(*faults: dict) -> str:
    file = copy.deepcopy(PARSED)
    for path, value in (one for fault in faults for one in fault.items()):
        *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        place = file
        for step in way:
            place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
        place[last] = value
    return json.dumps(file)


ALONE = {str(fault): frozenset(faults_of(spoilt(fault))) for fault in FAULTS}


def are_apart(one: dict, other: dict) -> bool:
    return not any(f"{a}.".startswith(f"{b}.") or f"{b}.".startswith(f"{a}.") for a in one for b in other)


def test_the_file_is_sound_and_each_fault_spoils_it():
    assert faults_of(SOUND) == []
    assert all(ALONE.values())


@given(st.lists(st.sampled_from(FAULTS), min_size=2, max_size=5, unique_by=str))
def test_faults_that_have_nothing_to_do_with_one_another_are_told_as_each_alone(drawn):
    chosen = []
    for fault in drawn:
        if all(are_apart(fault, other) for other in chosen):
            chosen.append(fault)
    assert set(faults_of(spoilt(*chosen))) == frozenset().union(*(ALONE[str(fault)] for fault in chosen))
