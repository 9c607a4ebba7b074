"""Where the default scheduler cannot be configured: a second one asks us, and a rule sends pods to it."""

from typing import Any

import pytest

from tests.e2e import balancing
from tests.e2e.town import SHOP, Town

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LOADS = {"regular-1": 5.2, "regular-2": 0.4, "regular-3": 2.8, "regular-4": 4.0, "regular-5": 1.6}
SECOND = "spot-balancer"
RULES = [{"name": "second", "match": {"namespaces": ["team"]}, "schedulerName": SECOND}]


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    town = balancing.balanced_town(make_town, LOADS, mode="inject", rules=RULES)
    town.plane.namespace("team")
    # The default scheduler as it is where nobody may configure it.
    town.plane.stop("scheduler")
    town.plane.set_scheduler_config({"clientConnection": balancing.client(town)})
    town.plane.start("scheduler")
    town.plane.scheduler_beside(SECOND, balancing.printed_configuration(town, second=SECOND))
    balancing.register(town)
    return town


def bound_by(town: Town, namespace: str) -> set[str]:
    """Who bound the pods of ``web``."""
    path = f"/api/v1/namespaces/{namespace}/events?fieldSelector=reason%3DScheduled"
    events = town.plane.api("GET", path)["items"]
    return {event["reportingComponent"] for event in events if event["involvedObject"]["name"].startswith("web-")}


def names(pods: list[dict[str, Any]]) -> set[str]:
    return {pod["spec"]["schedulerName"] for pod in pods}


def test_pods_of_the_rule_are_placed_by_the_second_scheduler_and_the_rest_by_the_default_one(town: Town, capsys):
    default, answers = balancing.asked(town, lambda: balancing.burst(town, "web", 20))
    assert not answers, "nobody asks for these"
    ours, answers = balancing.asked(town, lambda: balancing.burst_of_known(town, "web", 20, namespace="team"))
    with capsys.disabled():
        print(f"\n20 pods on nodes that use {LOADS}\n  second scheduler {ours}\n  default {default}")
    assert answers.keys() == {"scored"}
    assert answers["scored"] >= 20
    assert (names(town.plane.pods("team", "app=web")), names(town.plane.pods(SHOP))) == (
        {SECOND},
        {"default-scheduler"},
    )
    assert (bound_by(town, "team"), bound_by(town, SHOP)) == ({SECOND}, {"default-scheduler"})
    assert ours["regular-1"] == min(ours.values()) < default["regular-1"]


def test_a_pod_that_names_a_scheduler_of_its_own_keeps_it(town: Town):
    balancing.burst_of_known(town, "elsewhere", 2, namespace="team", scheduler=balancing.STOCK)
    assert names(town.plane.pods("team", "app=elsewhere")) == {balancing.STOCK}
    balancing.remove(town, "elsewhere", namespace="team")
