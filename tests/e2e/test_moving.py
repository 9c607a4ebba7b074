"""The ancestor's job, whole: what already runs goes to spot when it rests, and is back as soon as it wakes."""

import pytest

from tests.e2e import moving
from tests.e2e.town import SHOP, Town
from tests.parts.processes import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REST = {"cpu_cores": 0.001, "rx_bytes_per_s": 50}
WORK = {"cpu_cores": 0.5, "rx_bytes_per_s": 500_000}


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    town = make_town(**moving.MOVING)
    moving.spot_town(town)
    town.exporter.set_usage(SHOP, "nginx-demo", **REST)
    town.exporter.set_usage(SHOP, "nginx-three", **REST)
    town.exporter.set_usage(SHOP, "checkout", cpu_cores=0.4, rx_bytes_per_s=200_000)
    town.plane.deployment("nginx-demo", namespace=SHOP, replicas=1)
    town.plane.deployment("nginx-three", namespace=SHOP, replicas=3)
    town.plane.deployment("checkout", namespace=SHOP, replicas=2)
    wait_for(lambda: len(town.plane.running(SHOP)) == 6, 30, "six running pods")
    moving.add_spot(town)
    town.start()
    town.register_webhook()
    return town


def test_idle_pods_move_to_spot_and_back_again_while_the_busy_stay(town: Town):
    busy = {pod["metadata"]["uid"] for pod in town.app_pods("checkout")}
    templates = {
        d["metadata"]["name"]: d["spec"]["template"] for d in town.plane.list_all("Deployment", namespace=SHOP)
    }
    with moving.watched(town.plane) as available:
        moving.move_until(town, "nginx-demo", ["spot"], runs=40)
        moving.move_until(town, "nginx-three", ["spot"] * 3, runs=20)

        for app in ("nginx-demo", "nginx-three"):
            town.exporter.set_usage(SHOP, app, **WORK)
        woken(town, "nginx-demo", "nginx-three")
        assert moving.move_until(town, "nginx-demo", ["regular"], runs=3) <= 2
        moving.move_until(town, "nginx-three", ["regular"] * 3, runs=4)
    assert available.lowest("nginx-demo") == 1
    assert available.lowest("nginx-three") == 3
    assert available.most_wanted("nginx-three") == 4
    assert {pod["metadata"]["uid"] for pod in town.app_pods("checkout")} == busy
    assert templates == {
        d["metadata"]["name"]: d["spec"]["template"] for d in town.plane.list_all("Deployment", namespace=SHOP)
    }


def woken(town: Town, *apps: str) -> None:
    """Until Prometheus has rates that show it: two scrapes, whoever reads them."""
    import time

    time.sleep(5)
