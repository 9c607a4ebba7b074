"""Whose node it is: weights by annotation, rule and default, and the excess beyond a part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.core.fairness import LEAST, MOST, WEIGHT, Weight, weight_of
from webhook.core.policy import Match, Policy, Rule

TEAM = Rule(name="team", match=Match(namespaces=("/team-.*/",)), weight=2.0)
FREE = Rule(name="free", match=Match(namespaces=("free",)), weight=2.0, allowed_annotations=("weight",))
POLICY = Policy(rules=(TEAM, FREE), allowed_annotations=("spot",))


def weight(name, text=None, policy=POLICY):
    return weight_of(policy, name, labels={}, annotations={} if text is None else {WEIGHT: text})


def test_without_a_word_every_namespace_weighs_one():
    assert weight("elsewhere") == Weight(value=1.0, said_by="default")


def test_the_first_rule_that_names_the_namespace_says_its_weight():
    assert weight("team-a") == Weight(value=2.0, said_by="rule team")


@pytest.mark.parametrize("text", ["0.5", "1.999999", "0.001", "2"])
def test_a_namespace_may_always_weigh_less(text):
    found = weight("team-a", text)
    assert (found.value, found.said_by, found.note) == (float(text), "namespace", "")


def test_more_is_heard_only_where_the_operator_allows_it():
    held = weight("team-a", "3")
    assert (held.value, held.said_by) == (2.0, "rule team")
    assert held.note == "spot-balancer.io/weight: more than rule team allows"
    assert weight("free", "3").value == 3.0
    assert weight("elsewhere", "3").value == 1.0
    # Unless configured, all that can be asked for may be: namespaces are the operator's own objects.
    assert weight("elsewhere", "3", Policy()).value == 3.0
    # A rule's own list is whole: it need not allow what the policy allows.
    strict = Rule(name="strict", match=Match(namespaces=("team-a",)), weight=2.0, allowed_annotations=())
    assert weight("team-a", "3", Policy(allowed_annotations=("weight",), rules=(strict,))).value == 2.0


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1e3", "nan", "inf", "-1", "+1", "0", "0.0", "0.0001", "1001", "10000", "1.0000001", "\u0661", "1\n"],
)
def test_a_weight_that_is_none_is_passed_over_and_told(text):
    found = weight("team-a", text)
    assert (found.value, found.said_by) == (2.0, "rule team")
    assert "expected a number from 0.001 to 1000" in found.note


@given(st.text(max_size=60))
def test_whatever_is_written_the_weight_is_within_its_bounds_and_the_note_short(text):
    found = weight("free", text)
    assert LEAST <= found.value <= MOST
    assert len(found.note) < 300
