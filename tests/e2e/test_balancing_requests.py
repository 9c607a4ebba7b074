"""Requests that are ten times off, either way: pods go by what is used, on the nodes and by their own siblings."""

from typing import Any

import pytest

from tests.e2e import balancing
from tests.e2e.town import SHOP, Town

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LOADS = {f"regular-{number}": 0.2 for number in range(1, 7)}
# Full by requests and at rest; empty by requests and at work.
ROOMY, BUSY = sorted(LOADS)[:3], sorted(LOADS)[3:]
MEEK, GREEDY = {"cpu": "1"}, {"cpu": "100m"}
USES = {"meek": 0.1, "greedy": 1.0}
# One that counts no pod: with one of its own, a pod is not spread by the default ones.
UNSPREAD: list[dict[str, Any]] = [
    {
        "topologyKey": "kubernetes.io/hostname",
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": "nobody"}},
    }
]


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    """Five pods of `meek` on each roomy node, which request five cores and use half a one; with `greedy` the reverse."""
    town = balancing.balanced_town(make_town, LOADS, residents=settle, balance=balancing.NO_HABITS)
    balancing.await_loads(town, dict.fromkeys(ROOMY, 0.7) | dict.fromkeys(BUSY, 5.2), near=0.5)
    for name, cores in USES.items():
        balancing.await_use(town, name, cores)
    return town


def settle(town: Town) -> None:
    for name, cores in USES.items():
        town.exporter.set_usage(SHOP, name, cpu_cores=cores, memory_bytes=2**26)
    for name, requests, others in (("meek", MEEK, BUSY), ("greedy", GREEDY, ROOMY)):
        balancing.cordon(town, others, on=True)
        found = balancing.burst(town, name, 15, **requests)
        balancing.cordon(town, others, on=False)
        assert all(found[node] == 0 for node in others)


def test_a_newcomer_goes_where_there_is_room_and_not_where_little_was_requested(town: Town, capsys):
    spec: dict[str, Any] = {"topologySpreadConstraints": UNSPREAD, "cpu": "100m"}
    stock = balancing.burst(town, "newcomer", 9, scheduler=balancing.STOCK, **spec)
    balancing.remove(town, "newcomer")
    ours = balancing.burst(town, "newcomer", 9, **spec)
    with capsys.disabled():
        print(f"\n9 newcomers, {ROOMY} are full by requests and at rest\n  with us {ours}\n  without {stock}")
    assert share(stock, ROOMY) == 0
    assert share(ours, ROOMY) == 1
    balancing.remove(town, "newcomer")


@pytest.mark.parametrize("name", USES)
def test_more_of_the_same_count_as_their_siblings_do(town: Town, capsys, name: str):
    before = balancing.spread(town, name)
    town.plane.scale(name, 21, namespace=SHOP)
    after = balancing.await_running(town, name, 21)
    came = {node: after[node] - before[node] for node in after}
    with capsys.disabled():
        print(f"\n6 more of {name}: {came}")
    assert share(came, ROOMY) >= 5 / 6


def share(found: balancing.Spread, nodes: list[str]) -> float:
    return sum(found[node] for node in nodes) / sum(found.values())
