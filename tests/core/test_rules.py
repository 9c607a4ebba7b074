"""Rules: the first that matches counts, every given part must hold, and a pattern matches the whole or nothing."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from webhook.core import consent, inventory, rules
from webhook.core.book import Book
from webhook.core.census import Census, ControllerFact
from webhook.core.model import Namespace, WorkloadKey
from webhook.core.placement import Reason, decide
from webhook.core.policy import Match, Mode, Policy, Rule, SpotWish

KEY = WorkloadKey("shop", "Deployment", "nginx-demo")
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)


def matches(match, key=KEY, labels=None, namespace_labels=None):
    return rules.matches(match, key, labels=labels or {}, namespace_labels=namespace_labels or {})


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        (Match(), True),
        (Match(namespaces=("shop",)), True),
        (Match(namespaces=("sho",)), False),
        (Match(namespaces=("/sho/",)), False),
        (Match(namespaces=("/sho./",)), True),
        (Match(namespaces=("lab", "/s.*/")), True),
        (Match(kinds=("CronJob",)), False),
        (Match(kinds=("Deployment",), names=("checkout",)), False),
        (Match(names=("nginx-demo",), labels={"team": "a"}), False),
    ],
)
def test_every_part_that_is_given_must_hold(match, holds):
    assert matches(match) is holds


def test_a_label_must_be_there_even_for_a_pattern_that_matches_nothing():
    assert not matches(Match(labels={"team": "/.*/"}))
    assert matches(Match(labels={"team": "/.*/"}), labels={"team": ""})
    assert matches(Match(labels={"team": ""}), labels={"team": ""})
    assert matches(Match(namespace_labels={"env": "/dev|test/"}), namespace_labels={"env": "test"})
    assert not matches(Match(namespace_labels={"env": "/dev|test/"}), namespace_labels={"env": "testing"})


@given(NAMES, NAMES)
def test_a_name_matches_itself_alone(word, text):
    assert rules.is_word(word, text) is (word == text)
    assert rules.is_word(f"/{re.escape(word)}/", text) is (word == text)


@given(st.lists(st.sampled_from(["shop", "lab", "/s.*/", "/.*/", "other"]), min_size=1, max_size=5))
def test_the_first_that_matches_counts(namespaces):
    listed = tuple(Rule(name=f"r{i}", match=Match(namespaces=(word,))) for i, word in enumerate(namespaces))
    found = rules.first(Policy(rules=listed), KEY, labels={}, namespace_labels={})
    expected = next((f"r{i}" for i, w in enumerate(namespaces) if w in {"shop", "/s.*/", "/.*/"}), None)
    assert (found.name if found else None) == expected


def test_a_kind_that_a_rule_names_is_handled_and_one_it_only_happens_to_match_is_not():
    named = Policy(mode=Mode.INJECT, rules=(Rule(name="r", match=Match(kinds=("StatefulSet",))),))
    matched = Policy(mode=Mode.INJECT, rules=(Rule(name="r", match=Match(names=("db",))),))
    wanted = Policy(mode=Mode.INJECT, rules=(Rule(name="r", match=Match(names=("db",)), spot=SpotWish.ALWAYS),))
    subject = builders.make_workload("db", kind="StatefulSet", rule="r")
    handled = [consent.resolve(None, subject, None, policy).handled for policy in (named, matched, wanted)]
    assert handled == [True, False, True]


def test_a_rule_that_a_newer_policy_has_no_more_says_nothing():
    workload = builders.make_workload(rule="gone")
    settled = consent.resolve(None, workload, Namespace("shop"), Policy(mode=Mode.INJECT))
    assert (settled.rule, settled.mode) == ("", Mode.INJECT)


def controller(namespace, name, **labels):
    return ControllerFact("apps/v1", "Deployment", namespace, name, f"uid-{name}", labels=labels, replicas=1)


def test_a_snapshot_carries_each_workloads_rule_and_none_of_its_labels():
    policy = Policy(
        rules=(
            Rule(name="by-label", match=Match(labels={"tier": "/web|api/"})),
            Rule(name="by-namespace-label", match=Match(namespace_labels={"env": "dev"})),
        )
    )
    census = Census(
        builders.NOW,
        namespaces=(Namespace("lab", labels={"env": "dev"}), Namespace("shop", labels={"env": "prod"})),
        controllers=(
            controller("lab", "one", tier="web"),
            controller("lab", "two"),
            controller("shop", "three", tier="db"),
        ),
    )
    built = inventory.build(census, Book(), policy)
    found = {str(key): (w.rule, w.labels) for key, w in built.workloads.items()}
    assert found == {
        "lab/Deployment/one": ("by-label", {}),
        "lab/Deployment/two": ("by-namespace-label", {}),
        "shop/Deployment/three": ("", {}),
    }


def test_a_rule_turns_injection_on_for_its_workloads_and_off_for_others():
    policy = Policy(rules=(Rule(name="on", match=Match(names=("nginx-demo",)), mode=Mode.INJECT),))
    for rule, reason in (("on", Reason.SPOT_PREFERRED), ("", Reason.OBSERVE)):
        snapshot = builders.make_snapshot(builders.make_workload(rule=rule), policy=policy)
        assert decide(builders.make_request(), snapshot, now=builders.NOW).reason is reason


def test_a_rule_that_only_weighs_takes_no_workload_from_the_rules_below():
    weighing = Rule(name="gold", match=Match(namespaces=("shop",)), weight=3)
    policy = Policy(rules=(weighing, Rule(name="all", mode=Mode.INJECT)))
    found = rules.first(policy, KEY, labels={}, namespace_labels={})
    assert found is not None
    assert found.name == "all"
    both = Policy(rules=(msgspec.structs.replace(weighing, mode=Mode.MOVE), *policy.rules))
    found = rules.first(both, KEY, labels={}, namespace_labels={})
    assert found is not None
    assert (found.name, found.mode) == ("gold", Mode.MOVE)
