"""A thousand nodes: the scheduler asks us for each pod, and all are placed."""

import pytest

from tests.e2e import balancing
from tests.e2e.town import Town

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PODS = 300
LOADS = {f"regular-{number}": 0.4 * (number % 10) for number in range(1000)}


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    return balancing.balanced_town(make_town, LOADS)


def test_each_of_many_pods_is_asked_for_and_placed_on_a_node_with_little_load(town: Town, capsys):
    found, answers = balancing.asked(town, lambda: balancing.burst(town, "many", PODS))
    mean = sum(LOADS[node] * pods for node, pods in found.items()) / PODS
    overall = sum(LOADS.values()) / len(LOADS)
    with capsys.disabled():
        most = max(found.values())
        print(f"\n{PODS} pods on {len(LOADS)} nodes: answered {answers}, at most {most} pods a node")
        print(f"their nodes used {mean:.2f} cores, all nodes {overall:.2f}")
    assert sum(found.values()) == PODS
    assert answers.keys() == {"scored"}
    assert answers["scored"] >= PODS
    assert mean <= overall / 2
