"""A pod bound for spot goes there although its siblings crowd the only spot node, which is what spreading speaks against."""

import pytest

from tests.e2e import balancing, moving
from tests.e2e.town import SPOT, Town
from webhook.core.placement import DECISION

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LOADS = {"regular-1": 0.5, "regular-2": 0.5, "regular-3": 0.5}
PODS = 40


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    town = balancing.balanced_town(make_town, LOADS, residents=add_spot, mode="inject")
    balancing.register(town)
    return town


def add_spot(town: Town) -> None:
    town.plane.node("spot-1", labels=SPOT)
    balancing.use(town, {"spot-1": 3.0})


def test_a_spot_bound_pod_prefers_spot_although_spreading_speaks_against_it(town: Town, capsys):
    found = {}
    for name, scheduler in (("without-us", balancing.STOCK), ("with-us", "default-scheduler")):
        annotations = {moving.WISH: "always"}
        found[name] = balancing.burst_of_known(town, name, PODS, scheduler=scheduler, annotations=annotations)
        stamps = {pod["metadata"].get("annotations", {}).get(DECISION) for pod in town.app_pods(name)}
        assert stamps == {"v1/spot/preferred/0"}
        balancing.remove(town, name)
    with capsys.disabled():
        print(f"\n{PODS} pods bound for spot\n  with us {found['with-us']}\n  without {found['without-us']}")
    assert found["without-us"]["spot-1"] < PODS, "their wish alone does not outweigh it"
    assert found["with-us"]["spot-1"] == PODS


def test_all_others_stay_away_from_spot(town: Town):
    assert balancing.burst(town, "ordinary", 12)["spot-1"] == 0
    balancing.remove(town, "ordinary")
