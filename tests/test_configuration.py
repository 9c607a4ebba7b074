"""The configuration file: every fault at once, each with its path, what stands there and what was expected."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from webhook.configuration import document, keys, load, readers
from webhook.core.model import Requirement, Taint
from webhook.core.policy import BalancePolicy, Limits, Mode, MovePolicy, PlacementMode, Policy
from webhook.errors import ConfigurationError

pytestmark = pytest.mark.fault(67)

WHOLE = """
mode: move
placement: required
preferredWeight: 50
maxSpot: 75%
kinds: [Deployment]
excludedNamespaces: [kube-system, monitoring]
spotLabels: ["pool=cheap,team", burst]
spotTaints: ["pool=cheap:NoSchedule", "burst:NoExecute"]
spotPools:
- {name: burst, labels: burst=yes, taints: ["burst:NoSchedule"]}
pause: [injection]
idle:
  window: 1h30m
  rateWindow: 4m
  step: 30s
  cpuShareOfRequest: 0.1
  cpuFloor: 20m
  receivedBytesPerSecond: 2k
  leaveFactor: 3
  leaveWindow: 90s
  scrapeInterval: 30s
  startupGrace: 0
  minCoverage: 0.9
  maxClockSkew: 500ms
sides: {idleRunsToSpot: 3, evidenceTtl: 2h, heartbeatTtl: 5m}
moves:
  toSpot: {window: 30m, perRun: 3, perCluster: 2%, perNamespace: 10%, perWorkload: 1, perNode: 0}
  toRegular: {perCluster: 50%}
  dwell: 0
  canary: 0s
  patience: 15m
  settle: 10s
  attempts: 5
  backoff: 20m
  healthyFor: 30m
  maxUnready: 0.5
  runSeconds: 30
balance: {window: 10m, habit: 2h, maxAge: 3m, riskFactor: 2, fairness: 0, noise: 0.05, filterAbove: 90%, best: 100}
prometheus: {url: https://prometheus.example/prefix, bearerTokenFile: /run/token, deadlineSeconds: 5}
"""


def faults_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(text, source="config.yaml")
    return caught.value.faults


def test_a_whole_file_is_read_into_values():
    found = load(WHOLE, source="config.yaml")
    policy = found.policy
    assert (policy.mode, policy.placement, policy.max_spot) == (Mode.MOVE, PlacementMode.REQUIRED, "75%")
    idle = policy.idle
    assert (idle.window, idle.cpu_floor_cores, idle.received_bytes_per_second) == (timedelta(minutes=90), 0.02, 2000)
    assert policy.idle.startup_grace == timedelta(0)
    assert policy.idle.max_clock_skew == timedelta(milliseconds=500)
    assert policy.spot_labels == (
        (Requirement("pool", "In", ("cheap",)), Requirement("team", "Exists")),
        (Requirement("burst", "Exists"),),
    )
    assert policy.spot_taints == (Taint("pool", "cheap", "NoSchedule"), Taint("burst", "", "NoExecute"))
    assert policy.spot_pools[0].taints == (Taint("burst", "", "NoSchedule"),)
    assert policy.moves == MovePolicy(
        to_spot=Limits(timedelta(minutes=30), "3", "2%", "10%", "1", "0"),
        to_regular=msgspec.structs.replace(MovePolicy().to_regular, per_cluster="50%"),
        dwell=timedelta(0),
        canary=timedelta(0),
        patience=timedelta(minutes=15),
        settle=timedelta(seconds=10),
        attempts=5,
        backoff=timedelta(minutes=20),
        healthy_for=timedelta(minutes=30),
        max_unready=0.5,
        run_seconds=30,
    )
    minutes = [timedelta(minutes=each) for each in (10, 120, 3)]
    assert policy.balance == BalancePolicy(*minutes, 2, 0, 0.05, 0.9, 100)
    assert found.prometheus is not None
    assert found.prometheus.bearer_token_file == Path("/run/token")


@pytest.mark.parametrize("text", ["", "{}", "# nothing\n"])
def test_an_empty_file_is_all_defaults_and_only_observes(text):
    assert load(text, source="x").policy == Policy()
    assert load(text, source="x").policy.mode is Mode.OBSERVE


def test_all_faults_are_told_together_with_their_paths():
    faults = faults_of(
        "mode: injekt\nwindw: 3\nidle: {window: 5x, stp: 1m}\nspotPools: [{name: a}, 7]\n"
        "prometheus: {url: 'http://p', bearerTokenFile: /x}\npause: [everything]\nmaxSpot: 120%\n"
    )
    paths = [fault.split(":")[0] for fault in faults]
    assert paths == [
        "mode",
        "windw",
        "idle.window",
        "idle.stp",
        "spotPools[0].labels",
        "spotPools[1]",
        "pause",
        "maxSpot",
        "prometheus.url",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("mode: injekt", "did you mean inject"),
        ("moed: inject", "did you mean mode"),
        ("idle: {windw: 1m}", "did you mean window"),
        ("idle: {window: 5x}", "expected a duration such as 60m"),
        ("idle: {window: -5m}", "expected a duration"),
        ("idle: {window: 0s}", "above 0"),
        ("idle: {window: 90d}", "up to 60d"),
        ("idle: {window: 60}", "expected a duration"),
        ("idle: {minCoverage: 1.4}", "from 0.5 to 1"),
        ("idle: {minCoverage: true}", "from 0.5 to 1"),
        ("idle: {cpuFloor: lots}", "expected CPU such as 10m"),
        ("idle: 5", "expected keys such as"),
        ("preferredWeight: 0", "from 1 to 100"),
        ("preferredWeight: 101", "from 1 to 100"),
        ("spotTaints: [a=b]", "expected a taint such as"),
        ("spotLabels: ['a b']", "expected a label such as"),
        ("kinds: Deployment", "expected a list"),
        ("pause: injection", "a list of names"),
        ("mode: inject\nmode: observe", "stands twice"),
        ("mode: [", "no YAML"),
        ("- a", "expected keys such as"),
        ("just words", "expected keys such as"),
        ("prometheus: {deadlineSeconds: 5}", "url: missing"),
        ("prometheus: {url: 'ftp://x'}", "expected http(s)://"),
        ("prometheus: {url: 'http://x', bearerTokenFile: /t}", "expected https"),
        ("idle: {rateWindow: 2m}", "four scrapeIntervals"),
        ("idle: {window: 3m}", "at least one rate"),
        ("idle: {step: 10m}", "idle.step: 10m; expected 3m at most"),
        ("idle: {step: 181s}", "expected 3m at most"),
        ("idle: {step: 90s, rateWindow: 2m, scrapeInterval: 29900ms}", "expected 1m200ms at most"),
        ("idle: {step: 5m, rateWindow: 2m}", "expected 2m at most"),
        ("idle: {leaveWindow: 2h}", "longer than window"),
        ("sides: {idleRunsToSpot: 0}", "from 1 to 1440"),
        (
            "moves: {toSpot: {perCluster: 101%}}",
            "moves.toSpot.perCluster: '101%'; expected a percent such as 5% or a count",
        ),
        ("moves: {toSpot: {perRun: 1000000}}", "expected a percent such as 5% or a count such as 10"),
        ("moves: {toSpot: {perRun: 0.5}}", "expected a percent such as 5% or a count such as 10"),
        ("moves: {toSpot: {perRun: true}}", "expected a percent such as 5% or a count such as 10"),
        ("moves: {toSpot: {perRun: -1}}", "expected a percent such as 5% or a count such as 10"),
        ("moves: {toSpot: {window: 0}}", "moves.toSpot.window: 0; expected a duration"),
        ("moves: {toSpot: {perCLuster: 5%}}", "moves.toSpot.perCLuster: unknown key; did you mean perCluster?"),
        ("moves: {tospot: {}}", "moves.tospot: unknown key; did you mean toSpot?"),
        ("moves: {toRegular: {perRun: 0}}", "moves.toRegular.perRun: '0'; expected more, or what wakes on spot never"),
        ("moves: {toRegular: {perNode: 00%}}", "moves.toRegular.perNode: '00%'; expected more"),
        ("moves: {settle: 500ms}", "moves.settle: '500ms'; expected a duration from 1s to 1m"),
        ("moves: {settle: 61s}", "expected a duration from 1s to 1m"),
        ("moves: {settle: 0}", "moves.settle: 0; expected a duration"),
        ("moves: {patience: 5s}", "moves.patience: 5s; expected longer than settle (5s)"),
        ("moves: {patience: 30s, settle: 1m}", "moves.patience: 30s; expected longer than settle (1m)"),
        ("moves: {attempts: 0}", "from 1 to 20"),
        ("moves: {attempts: 21}", "from 1 to 20"),
        ("moves: {backoff: 0s}", "above 0"),
        ("moves: {healthyFor: 0s}", "above 0"),
        ("moves: {runSeconds: 51}", "expected seconds from 1 to 50"),
        ("moves: {dwell: -1h}", "moves.dwell: '-1h'; expected a duration"),
        ("moves: 5", "moves: a number; expected keys such as toSpot"),
        ("moves: {toSpot: 5}", "moves.toSpot: a number; expected keys such as window"),
        ("balance: {window: 2h}", "balance.window: '2h'; expected a duration from 1s to 1h"),
        ("balance: {window: 3m}", "balance.window: shorter than four idle.scrapeIntervals"),
        ("balance: {maxAge: 90s}", "balance.maxAge: 1m30s; expected two idle.scrapeIntervals or more"),
        ("balance: {riskFactor: -1}", "expected a factor from 0 to 10"),
        ("balance: {fairness: 1.1}", "expected a share from 0 to 1"),
        ("balance: {noise: 0}", "expected a share from 0.001 to 0.5"),
        ("balance: {best: 0}", "from 1 to 10000"),
        ("balance: {max_age: 5m}", "balance.max_age: unknown key; did you mean maxAge?"),
        ("x: &a [*a]", "no YAML"),
    ],
)
def test_a_fault_says_what_was_expected(text, fault):
    assert fault in "\n".join(faults_of(text))


@given(st.integers(1, 60), st.integers(4, 40), st.data())
def test_with_one_scrape_lost_every_increase_lies_in_some_rate_of_every_step_that_is_accepted(scrape, scrapes, data):
    """In seconds: rates look back ``window`` from every ``step``, and see what lies between two of their samples."""
    window = scrape * scrapes + data.draw(st.integers(0, scrape - 1))
    step = data.draw(st.integers(1, window))
    text = f"idle: {{scrapeInterval: {scrape}s, rateWindow: {window}s, step: {step}s, window: 1d, leaveWindow: 1h}}"
    try:
        load(text, source="x")
    except ConfigurationError as error:
        assert step > window - 2 * scrape
        assert "idle.step" in error.faults[0]
        return
    # The samples on both sides of a lost scrape, at any moment between two evaluations.
    first = data.draw(st.integers(0, step - 1))
    last = first + 2 * scrape
    assert any(at - window < first and last <= at for at in range(0, last + window + step, step))


def test_a_file_with_any_fault_is_refused_whole_and_names_its_source():
    with pytest.raises(ConfigurationError, match=r"config.yaml: 1 fault"):
        load("mode: inject\nplacement: maybe", source="config.yaml")


def test_what_contradicts_itself_is_told_beside_the_other_faults():
    faults = faults_of("mode: injekt\nidle: {rateWindow: 2m, leaveWindow: 2h}\nsides: {evidenceTtl: never}")
    assert [fault.split(":")[0] for fault in faults] == [
        "mode",
        "sides.evidenceTtl",
        "idle.rateWindow",
        "idle.leaveWindow",
    ]


def test_the_example_is_a_configuration_without_a_fault_that_only_observes():
    found = load((Path(__file__).parents[1] / "examples" / "config.yaml").read_text(), source="examples/config.yaml")
    assert found.policy.mode is Mode.OBSERVE
    assert found.prometheus is not None
    assert set(Policy().excluded_namespaces) < set(found.policy.excluded_namespaces)


def test_a_huge_file_is_refused_before_it_is_parsed():
    assert "larger" in faults_of("a" * (document.MAX_BYTES + 1))[0]


@given(st.text(max_size=200))
def test_no_text_raises_anything_else(text):
    try:
        load(text, source="x")
    except ConfigurationError as error:
        assert error.faults


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("5m"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_KEYS = sorted(keys.TOP)


@given(st.dictionaries(st.sampled_from(_KEYS), _JUNK, max_size=5))
def test_no_value_under_any_key_raises_anything_else(values):
    try:
        load(yaml.safe_dump(values), source="x")
    except ConfigurationError as error:
        assert all(any(fault.startswith(key) for key in _KEYS) for fault in error.faults)


@given(st.integers(1, 50 * 86_400_000))
def test_a_duration_comes_back_to_the_millisecond(milliseconds):
    seconds, rest = divmod(milliseconds, 1000)
    text = f"{seconds // 3600}h{seconds % 3600 // 60}m{seconds % 60}s{rest}ms"
    assert readers.duration(text) == timedelta(milliseconds=milliseconds)


AMOUNTS = st.builds("{}{}".format, st.integers(0, 1_100_000), st.sampled_from(["", "%"]))


@given(
    st.sampled_from(["toSpot", "toRegular"]), st.sampled_from([key for key in keys.LIMITS if key != "window"]), AMOUNTS
)
def test_an_amount_is_kept_as_written_or_refused_and_none_of_the_other_limits_is_touched(way, key, amount):
    number, percent = int(amount.rstrip("%")), amount.endswith("%")
    sound = number <= (100 if percent else 999_999) and (number > 0 or way == "toSpot")
    try:
        moves = load(yaml.safe_dump({"moves": {way: {key: amount}}}), source="x").policy.moves
    except ConfigurationError:
        assert not sound
        return
    assert sound
    field, limits = keys.MOVES[way][0], {keys.LIMITS[key][0]: amount}
    before = MovePolicy()
    assert moves == msgspec.structs.replace(
        before, **{field: msgspec.structs.replace(getattr(before, field), **limits)}
    )


def test_every_key_of_the_file_is_documented():
    text = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text()
    sections = {"": keys.TOP, "idle.": keys.IDLE, "sides.": keys.SIDES}
    sections |= {"prometheus.": keys.PROMETHEUS, "idle.signals[].": keys.SIGNAL, "idle.batch.": keys.BATCH}
    sections |= {"balance.": keys.BALANCE}
    sections |= {"rules[].": keys.RULE, "rules[].match.": keys.MATCH}
    sections |= {"moves.": keys.MOVES, "moves.toSpot.": keys.LIMITS, "moves.toRegular.": keys.LIMITS}
    missing = [f"{path}{key}" for path, keys in sections.items() for key in keys if f"`{path}{key}`" not in text]
    assert not missing


RULES = """
idle: {window: 2h}
rules:
- name: web
  match: {namespaces: [shop, "/team-.*/"], labels: {app.kubernetes.io/component: "/web|api/"}}
  mode: inject
  idle:
    cpuFloor: 20m
    signals:
    - {name: requests, query: "sum by (namespace, pod) (rate(http_requests_total[$rateWindow]))", idleBelow: 0.1}
- {name: rest, match: {}, spot: never, allowedMoves: [], allowedAnnotations: [spot]}
"""


def test_what_a_rule_says_of_idleness_is_laid_over_the_rest_of_the_file():
    first, second = load(RULES, source="config.yaml").policy.rules
    assert first.idle.window == timedelta(hours=2)
    assert (first.idle.cpu_floor_cores, first.idle.signals[0].name) == (0.02, "requests")
    assert (second.idle, second.allowed_moves, second.allowed_annotations) == (None, (), ("spot",))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rules: [{name: a}]", "rules[0].match: missing; expected what it is for, or {} for every workload"),
        ("rules: [{match: {}}]", "rules[0].name: missing"),
        ("rules: [{name: A b, match: {}}]", "rules[0].name: 'A b'; expected a name of lower-case letters"),
        ("rules: [{name: a, match: {names: [web-*]}}]", "rules[0].match.names[0]: 'web-*'; expected a name; a pattern"),
        (
            "rules: [{name: a, match: {names: ['/(/']}}]",
            "rules[0].match.names[0]: '/(/'; expected a regular expression",
        ),
        ("rules: [{name: a, match: {kinds: [deployments]}}]", "did you mean Deployment?"),
        ("rules: [{name: a, match: {kindes: [Job]}}]", "rules[0].match.kindes: unknown key; did you mean kinds?"),
        ("rules: [{name: a, match: {labels: [x]}}]", "rules[0].match.labels: ['x']; expected labels such as"),
        ("rules: [{name: a, match: {labels: {'a b': x}}}]", "rules[0].match.labels.a b: expected a label's key"),
        ("rules: [{name: a, match: {labels: {a/b/c: x}}}]", "rules[0].match.labels.a/b/c: expected a label's key"),
        ("rules: [{name: a, match: {labels: {a: 3}}}]", "rules[0].match.labels.a: 3; expected a name"),
        ("rules: [{name: a, match: {}, mode: injekt}]", "rules[0].mode: 'injekt'; expected observe, inject, move"),
        ("rules: [{name: a, match: {}, allowedMoves: [jump]}]", "rules[0].allowedMoves[0]: 'jump'; expected surge"),
        ("rules: [{name: a, match: {}, allowedAnnotations: [all]}]", "rules[0].allowedAnnotations: ['all']; expected"),
        ("rules: [{name: a, match: {}}, {name: b, match: {names: [x]}}]", "rules[1]: never reached; rules[0] is for"),
        ("rules: [{name: a, match: {names: [y]}}, {name: a, match: {}}]", "rules[0].name: 'a' stands twice"),
        ("rules: [{name: a, match: {}, idle: {window: 1m}}]", "rules[0].idle.window: shorter than rateWindow"),
        ("rules: [{name: a, match: {}, weight: 0}]", "rules[0].weight: 0; expected a number from 0.001 to 1000"),
        (
            "rules: [{name: a, match: {namespaces: [x], names: [y]}, weight: 2}]",
            "rules[0].weight: a weight is of namespaces",
        ),
        ("rules: [{name: a, match: {labels: {b: c}}, weight: 2}]", "rules[0].weight: a weight is of namespaces"),
        (
            "rules: [{name: a, match: {}, weight: 2}, {name: b, match: {namespaces: [x]}, weight: 3}]",
            "rules[1]: never reached; rules[0] weighs every namespace",
        ),
        ("rules: [{name: a, match: {}, schedulerName: A_b}]", "rules[0].schedulerName: 'A_b'; expected the name of a"),
        ("rules: [{name: a, match: {}, schedulerName: a..b}]", "rules[0].schedulerName: 'a..b'; expected the name"),
        (
            "rules: [{name: a, match: {}, schedulerName: default-scheduler}]",
            "default-scheduler anyway, so leave it out",
        ),
        ("idle: {signals: [{name: q}]}", "idle.signals[0].query: missing"),
        (
            "idle: {signals: [{name: cpu, query: up, idleBelow: 1}]}",
            "idle.signals[0].name: 'cpu' is a signal of our own",
        ),
        (
            "idle: {signals: [{name: q, query: up, idleBelow: 0}]}",
            "idle.signals[0].idleBelow: 0; expected a number above",
        ),
        (
            "idle: {signals: [{name: q, query: up, idleBelow: 2, activeAbove: 1}]}",
            "idle.signals[0].activeAbove: not above",
        ),
        ("idle: {signals: [{name: q, query: up or vector(0), idleBelow: 1}]}", "idle.signals[0].query: "),
        ("idle: {signals: [{name: q, query: 'up[$windov]', idleBelow: 1}]}", "did you mean $window?"),
    ],
)
def test_each_fault_of_a_rule_or_signal_is_told_with_its_place(text, fault):
    assert any(fault in told for told in faults_of(text)), faults_of(text)


def test_so_many_sets_of_windows_are_refused_because_each_asks_prometheus_anew():
    listed = [f"{{name: r{i}, match: {{names: [n{i}]}}, idle: {{window: {i + 20}m}}}}" for i in range(8)]
    assert "9 different sets of windows" in faults_of(f"rules: [{', '.join(listed)}]")[0]
    thresholds = [f"{{name: r{i}, match: {{names: [n{i}]}}, idle: {{cpuFloor: {i}m}}}}" for i in range(8)]
    assert len(load(f"rules: [{', '.join(thresholds)}]", source="c").policy.rules) == 8
