"""What a fault says stands there, in YAML's words, and which forms of a share are taken instead."""

import pytest

from webhook.configuration import load
from webhook.errors import ConfigurationError

pytestmark = pytest.mark.fault(67)


def faults_of(text):
    with pytest.raises(ConfigurationError) as caught:
        load(text, source="config.yaml")
    return "\n".join(caught.value.faults)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "moves: {maxUnready: 1.1}",
            "moves.maxUnready: 1.1; expected a share from 0 to 1, or a percent from 0% to 100%",
        ),
        ("moves: {maxUnready: 101%}", "moves.maxUnready: '101%'; expected a share from 0 to 1, or a percent"),
        (
            "balance: {filterAbove: 90}",
            "90; expected a share from 0.1 to 1, or a percent from 10% to 100% (did you mean 90%?)",
        ),
        (
            "balance: {filterAbove: 5}",
            "5; expected a share from 0.1 to 1, or a percent from 10% to 100%; without the key",
        ),
        (
            "balance: {filterAbove: off}",
            "filterAbove: false; expected a share from 0.1 to 1, or a percent from 10% to 100%",
        ),
        ("balance: {filterAbove: null}", "filterAbove: null; expected a share"),
        ("balance: {filterAbove: null}", "100%; without the key nothing is filtered"),
        ("balance: {best: off}", "balance.best: false; expected a whole number from 1 to 10000; without the key all"),
        ("mode: on", "mode: true; expected observe, inject, move"),
        (
            "mode: [observe, yes, 'no', ~, .inf, {a: off}]",
            "mode: ['observe', true, 'no', null, .inf, {'a': false}]; expected",
        ),
        ("sides: {evidenceTtl: 2026-01-31}", "sides.evidenceTtl: 2026-01-31; expected a duration"),
        ("balance: yes", "balance: true; expected keys such as window"),
        ("balance: 2026-01-31", "balance: 2026-01-31; expected keys such as window"),
        ("balance: {on: 1}", "balance.true: unknown key"),
        ("~: 1", "null: unknown key"),
        ("rules: off", "rules: false; expected a list"),
        ("excludedNamespaces: null", "excludedNamespaces: null; expected a list"),
        ("idle: {cpuFloor: 10}", "idle.cpuFloor: 10; expected CPU such as 10m or 0.01, up to 1 (did you mean 10m?)"),
        ("idle: {cpuFloor: '5'}", "idle.cpuFloor: '5'; expected CPU such as 10m or 0.01, up to 1 (did you mean 5m?)"),
        ("idle: {cpuFloor: -1}", "idle.cpuFloor: -1; expected CPU such as 10m or 0.01, up to 1"),
        ("moves: {settle: 0s}", "moves.settle: '0s'; expected a duration from 1s to 1m"),
        ("moves: {settle: 2m}", "moves.settle: '2m'; expected a duration from 1s to 1m"),
        ("moves: {settle: 90d}", "moves.settle: '90d'; expected a duration from 1s to 1m"),
        ("moves: {settle: soon}", "moves.settle: 'soon'; expected a duration from 1s to 1m"),
        ("idle: {window: 99999999999999999999d}", "expected a duration above 0 and up to 60d"),
        ("balance: {filterAbove: 9%}", "expected a share from 0.1 to 1, or a percent from 10% to 100%"),
        ("balance: {filterAbove: m%}", "expected a share from 0.1 to 1, or a percent from 10% to 100%"),
    ],
)
def test_a_fault_says_what_stands_there_as_the_file_would(text, fault):
    assert fault in faults_of(text)


@pytest.mark.parametrize("said", ["0.9", "90%", "'90%'", "900m"])
def test_a_share_may_be_a_percent(said):
    assert load(f"balance: {{filterAbove: {said}}}", source="x").policy.balance.filter_above == pytest.approx(0.9)


@pytest.mark.parametrize(
    "key", ["balance: {fairness: ", "balance: {noise: ", "moves: {maxUnready: ", "idle: {cpuShareOfRequest: "]
)
def test_every_share_may_be_a_percent(key):
    assert load(f"{key}25%}}", source="x") == load(f"{key}0.25}}", source="x")


def test_of_coverage_a_percent_is_meant_as_well():
    assert load("idle: {minCoverage: 90%}", source="x") == load("idle: {minCoverage: 0.9}", source="x")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("excludedNamespaces: [/sh.*/]", "excludedNamespaces[0]: '/sh.*/'; expected the name of a namespace:"),
        ("excludedNamespaces: [/sh.*/]", "no regular expressions are taken here"),
        ("excludedNamespaces: [kube-system, 'Shop ']", "excludedNamespaces[1]: 'Shop '; expected the name of a"),
        ("excludedNamespaces: ['Shop ']", "(did you mean shop?)"),
        ("excludedNamespaces: [A B]", "excludedNamespaces[0]: 'A B'; expected the name of a namespace:"),
        ("excludedNamespaces: [a.b]", "expected the name of a namespace"),
        ("excludedNamespaces: [-a]", "expected the name of a namespace"),
        ("excludedNamespaces: [5]", "excludedNamespaces[0]: 5; expected the name of a namespace"),
        (f"excludedNamespaces: [{'a' * 64}]", "up to 63"),
        ("rules: [{name: a, match: {namespaces: [Shop]}}]", "rules[0].match.namespaces[0]: 'Shop'; expected the name"),
        (
            "rules: [{name: a, match: {namespaces: [Shop]}}]",
            "or a regular expression between slashes (did you mean shop",
        ),
        ("rules: [{name: a, match: {namespaces: [a b]}}]", "rules[0].match.namespaces[0]: 'a b'; expected the name"),
        ("rules: [{name: a, match: {namespaces: [sh*]}}]", "a pattern stands between slashes, as /sh.*/"),
        (
            "kinds: [deployment]",
            "kinds[0]: 'deployment'; expected a kind such as Deployment (did you mean Deployment?)",
        ),
        ("kinds: [deploy]", "(did you mean Deployment?)"),
        ("kinds: [Deployments]", "(did you mean Deployment?)"),
        ("kinds: [StatfulSet]", "(did you mean StatefulSet?)"),
        ("kinds: [Foo bar]", "kinds[0]: 'Foo bar'; expected a kind such as Deployment"),
        (
            "kinds: [/.*/]",
            "kinds[0]: '/.*/'; expected a kind such as Deployment; no regular expressions are taken here",
        ),
        ("kinds: [Job, DaemonSet]", "kinds[1]: 'DaemonSet'; expected a kind whose pods may go elsewhere"),
        ("rules: [{name: a, match: {kinds: [Foo bar]}}]", "rules[0].match.kinds[0]: 'Foo bar'; expected a kind"),
        ("rules: [{name: a, match: {kinds: [CronJobs]}}]", "(did you mean CronJob?)"),
    ],
)
def test_a_word_that_can_match_nothing_is_a_fault_and_protects_nobody_in_silence(text, fault):
    assert fault in faults_of(text)


def test_names_and_kinds_that_can_be_are_taken():
    text = "excludedNamespaces: [kube-system, 0a]\nkinds: [Rollout, CloneSet, DeploymentConfig, AdvancedStatefulSet]\n"
    policy = load(
        f"{text}rules: [{{name: a, match: {{namespaces: [shop, /t-.*/], kinds: [/.*Set/]}}}}]", source="x"
    ).policy
    assert policy.excluded_namespaces == ("kube-system", "0a")
    assert policy.kinds == ("Rollout", "CloneSet", "DeploymentConfig", "AdvancedStatefulSet")
    assert load("excludedNamespaces: []\nkinds: []", source="x").policy.kinds == ()
