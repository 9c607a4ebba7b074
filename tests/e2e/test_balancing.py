"""New pods land where the load really is low, by the real scheduler asking our real extender; and without it, they land."""

from statistics import correlation

import pytest

from tests.e2e import balancing
from tests.e2e.town import Town

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# Cores of eight that each node uses. By requests all are empty, and would be alike.
LOADS = {"regular-1": 5.2, "regular-2": 0.4, "regular-3": 2.8, "regular-4": 4.0, "regular-5": 1.6}
BUSIEST = "regular-1"


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    return balancing.balanced_town(make_town, LOADS)


def test_a_burst_goes_where_the_load_is_low_and_not_where_requests_are(town: Town, capsys):
    stock = balancing.burst(town, "without-us", 40, scheduler=balancing.STOCK)
    balancing.remove(town, "without-us")
    ours, answers = balancing.asked(town, lambda: balancing.burst(town, "with-us", 40))
    with capsys.disabled():
        print(f"\n40 pods on nodes that use {LOADS}\n  with us {ours}\n  without {stock}")
    assert answers.keys() == {"scored"}
    assert answers["scored"] >= 40
    # Not by rank: of two nodes that end equally full either may get a pod more.
    assert correlation([LOADS[node] for node in LOADS], [ours[node] for node in LOADS]) <= -0.9
    assert ours[BUSIEST] == min(ours.values())
    assert stock[BUSIEST] > 2 * ours[BUSIEST], "without us it gets as many as the others"
    balancing.remove(town, "with-us")


def test_pods_are_scheduled_while_the_extender_is_dead_and_scored_again_once_it_is_back(town: Town):
    town.serve.kill()
    assert sum(balancing.burst(town, "meanwhile", 10).values()) == 10
    town.start_server()
    town.await_server()
    ours, answers = balancing.asked(town, lambda: balancing.burst(town, "afterwards", 10))
    assert answers.keys() == {"scored"}
    assert answers["scored"] >= 10
    assert ours[BUSIEST] == 0
    balancing.remove(town, "meanwhile", "afterwards")
