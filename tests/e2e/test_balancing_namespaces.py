"""A noisy namespace beside a quiet one that weighs three times as much: it is spread where it disturbs nobody."""

import pytest

from tests.e2e import balancing
from tests.e2e.town import Town

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LOADS = {f"regular-{number}": 0.2 for number in range(1, 7)}
QUIET_NODES, OTHERS = sorted(LOADS)[:3], sorted(LOADS)[3:]
CORES, PODS = 0.5, 24
# Of both, a small part of what they use: by requests, no node is fuller than another.
QUIET, NOISY = "10m", "50m"


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    town = balancing.balanced_town(make_town, LOADS, residents=settle, balance=balancing.NO_HABITS)
    balancing.await_loads(town, dict.fromkeys(QUIET_NODES, 3.2), near=0.3)
    balancing.await_ratio(town, "noisy", 10)
    return town


def settle(town: Town) -> None:
    """On three nodes the quiet use three cores each; of the noisy, as much is known as two pods tell."""
    town.plane.namespace("quiet", annotations={"spot-balancer.io/weight": "3"})
    town.plane.namespace("noisy")
    for namespace in ("quiet", "noisy"):
        town.exporter.set_usage(namespace, "", cpu_cores=CORES, memory_bytes=2**26)
    balancing.cordon(town, OTHERS, on=True)
    balancing.burst(town, "web", 18, namespace="quiet", cpu=QUIET)
    balancing.cordon(town, OTHERS, on=False)
    balancing.cordon(town, QUIET_NODES, on=True)
    balancing.start_job(town, "first", 2, namespace="noisy", cpu=NOISY)
    balancing.await_running(town, "first", 2, namespace="noisy")
    balancing.cordon(town, QUIET_NODES, on=False)


def test_noisy_use_beside_the_quiet_is_at_most_half_of_stocks(town: Town, capsys):
    found = {}
    for name, scheduler in (("with-us", "default-scheduler"), ("without-us", balancing.STOCK)):
        balancing.start_job(town, name, PODS, namespace="noisy", cpu=NOISY, scheduler=scheduler)
        found[name] = balancing.await_running(town, name, PODS, namespace="noisy")
        balancing.end_job(town, name, namespace="noisy")
    ours, stock = (CORES * sum(each[node] for node in QUIET_NODES) for each in found.values())
    with capsys.disabled():
        print(f"\n{PODS} noisy pods; cores beside the quiet with us {ours:g}, without {stock:g}: {found}")
    assert stock >= CORES * PODS / 3, "without us they are not kept apart"
    assert ours <= stock / 2
