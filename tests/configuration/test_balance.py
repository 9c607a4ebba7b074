"""How nodes are balanced, as the file says it: weights beside the other rules, shares, and times that follow the scrapes."""

from datetime import timedelta

import pytest

from webhook.configuration import load
from webhook.errors import ConfigurationError

pytestmark = pytest.mark.fault(67)


def faults_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(text, source="config.yaml")
    return caught.value.faults


@pytest.mark.parametrize(
    "rules",
    [
        "[{name: a, match: {}, mode: inject}, {name: b, match: {namespaces: [x]}, weight: 3}]",
        "[{name: a, match: {namespaces: [x]}, weight: 3}, {name: b, match: {}}, {name: c, match: {}, weight: 2}]",
        "[{name: a, match: {}, weight: 2}, {name: b, match: {names: [x]}, mode: inject, schedulerName: our.second-one}]",
    ],
)
def test_weights_and_the_rest_of_the_rules_do_not_hide_each_other(rules):
    assert len(load(f"rules: {rules}", source="x").policy.rules) > 1


def test_habits_are_over_an_hour_or_what_is_said_and_never_shorter_than_the_window():
    assert load("mode: inject", source="x").policy.balance.habit == timedelta(hours=1)
    assert load("balance: {habit: 4h}", source="x").policy.balance.habit == timedelta(hours=4)
    same = load("balance: {window: 10m, habit: 10m}", source="x").policy.balance
    assert same.habit == same.window
    assert faults_of("balance: {window: 10m, habit: 9m}") == ("balance.habit: 9m; expected window (10m) or more",)


def test_where_scrapes_are_slow_the_times_of_balance_follow_unless_they_are_said():
    slow = "idle: {scrapeInterval: 3m, rateWindow: 12m}\n"
    found = load(slow, source="x").policy.balance
    assert (found.window, found.max_age) == (timedelta(minutes=12), timedelta(minutes=6))
    assert [fault.split(":")[0] for fault in faults_of(slow + "balance: {window: 5m, maxAge: 5m}")] == [
        "balance.window",
        "balance.maxAge",
    ]
