"""While nobody measures: no herd runs to the node that was emptiest last, and in the end the scheduler decides as ever."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e import balancing
from tests.e2e.town import SHOP, SPOT, Town
from tests.parts import manifests
from tests.parts.processes import wait_for
from webhook.adapters import snapshots

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NODES = [f"regular-{number}" for number in range(1, 11)]
EMPTIEST = NODES[0]
CORES = 32.0
LOADS = dict.fromkeys(NODES, 3.2) | {EMPTIEST: 0.5}
CROWD = 200


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    """Prometheus is gone before anything is placed: what the nodes use is known, and known no better ever after."""
    town = balancing.balanced_town(make_town, LOADS, cpu=f"{CORES:g}")
    town.prometheus.kill()
    return town


def crowd(town: Town, name: str, pods: int, *, scheduler: str = "default-scheduler") -> balancing.Spread:
    """All pods of a Job wait for the scheduler before it may place the first: no burst is quicker."""
    component = "scheduler" if scheduler == "default-scheduler" else scheduler
    town.plane.stop(component)
    balancing.start_job(town, name, pods, scheduler=scheduler, cpu="200m")
    wait_for(lambda: len(town.plane.pods(SHOP, f"app={name}")) == pods, 60, f"{pods} pods of {name}", every_s=0.3)
    town.plane.start(component)
    return balancing.await_running(town, name, pods)


def known_for(town: Town, age: timedelta) -> None:
    """Loads count as fresh for so long."""
    town.configure({"balance": balancing.BALANCE | {"maxAge": f"{age.total_seconds():.0f}s"}})
    balancing.await_policy(town, max_age=age)


def youngest(town: Town) -> timedelta:
    """The age of the load that was measured last."""
    nodes = snapshots.load(town.snapshots).nodes.values()
    return datetime.now(UTC) - max(node.load.sampled_at for node in nodes if node.load)


def test_two_hundred_at_once_do_not_herd_to_the_node_that_was_emptiest(town: Town, capsys):
    known_for(town, timedelta(hours=1))
    ours, answers = balancing.asked(town, lambda: crowd(town, "crowd", CROWD))
    with capsys.disabled():
        print(f"\n{CROWD} pods at once on loads that do not move: {ours}")
    assert answers.keys() == {"scored"}
    assert answers["scored"] >= CROWD
    assert max(ours.values()) <= 2 * CROWD / len(NODES)
    balancing.end_job(town, "crowd")


def test_once_loads_are_stale_nodes_of_one_class_are_chosen_as_without_us(town: Town, capsys):
    """By requests half of the nodes are full."""
    town.plane.node("spot-1", labels=SPOT, cpu=f"{CORES:g}")
    full = NODES[:5]
    for number, node in enumerate(full):
        town.plane.apply(manifests.pod(f"filler-{number}", namespace=SHOP, cpu="10", memory="10Gi", nodeName=node))
    known_for(town, timedelta(seconds=10))
    wait_for(lambda: youngest(town) > timedelta(seconds=11), 60, "loads to grow stale")
    ours, answers = balancing.asked(town, lambda: crowd(town, "ours", 100))
    balancing.end_job(town, "ours")
    town.plane.delete("Node", "spot-1")
    stock = crowd(town, "stocks", 100, scheduler=balancing.STOCK)
    with capsys.disabled():
        print(f"\n100 pods on stale loads\n  with us {ours}\n  without {stock}")
    assert answers.keys() == {"class-only"}
    assert ours.pop("spot-1") == 0, "the class still counts"
    assert sum(ours.values()) == sum(stock.values()) == 100
    assert all(abs(ours[node] - stock[node]) <= 2 for node in NODES), "the two break ties by chance"
    balancing.end_job(town, "stocks")
    for number in range(len(full)):
        town.plane.delete_pod(f"filler-{number}", namespace=SHOP)
