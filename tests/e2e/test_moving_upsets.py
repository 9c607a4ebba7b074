"""What comes in between: a side that turns, a person's `pause`, a place that is taken, while a surge is under way.

Whatever it was, one final state follows: all replicas on the right side, no pod more, and none that waits for our demand.
Spot nodes are tainted, so every pod that gets there was given its toleration by the real webhook.
"""

import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e import moving
from tests.e2e.town import SHOP, Town
from tests.parts.processes import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# Runs so short that a surge which has to wait outlives them.
SHORT = {"runSeconds": 9, "settle": "2s"}
SPOT_NODES = ("spot-1", "spot-2")


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    town = moving.settle_town(make_town(**moving.moving(**SHORT)))
    moving.add_spot(town, *SPOT_NODES)
    town.start()
    town.register_webhook()
    return town


@contextmanager
def asking_for_spot(town: Town, name: str, **spec: int) -> Iterator[str]:
    """A Deployment of one replica on a regular node that asks for spot from now on; it is never without one."""
    moving.deploy(town, name, **spec)
    moving.wants(town, name, "always")
    with moving.watched(town.plane) as seen:
        yield name
    assert seen.lowest(name) == 1
    town.plane.delete("Deployment", name, namespace=SHOP)


@pytest.fixture
def web(town: Town, request: pytest.FixtureRequest) -> Iterator[str]:
    with asking_for_spot(town, f"web-{zlib.crc32(request.node.name.encode()):x}") as name:
        yield name


def test_behind_a_taint_pods_go_to_spot_and_back_too(town: Town, web: str):
    assert moving.run_until_at_rest(town, web, "spot", runs=2)
    (pod,) = town.app_pods(web)
    assert moving.TAINT["key"] in {toleration["key"] for toleration in pod["spec"]["tolerations"]}
    assert moving.demanding(town, web) == [pod]
    moving.wants(town, web, "never")
    assert moving.run_until_at_rest(town, web, "regular", runs=2)
    assert moving.outcomes(town, web) == ["moved", "moved"]


def test_a_side_that_turns_while_the_surge_pod_is_pending_undoes_the_surge(town: Town, web: str):
    with moving.surging_without_room(town, web, *SPOT_NODES):
        moving.wants(town, web, "never")
        assert moving.run_until_at_rest(town, web, "regular", runs=2)
    assert moving.outcomes(town, web) == ["flipped"]


@contextmanager
def nobody_gets_ready(town: Town) -> Iterator[None]:
    """Pods are bound and none of them starts: as on nodes whose kubelets hang."""
    town.plane.kill("kwok")
    try:
        yield
    finally:
        town.plane.start("kwok")


def test_a_side_that_turns_while_the_surge_pod_is_not_ready_undoes_the_surge(town: Town, web: str):
    with nobody_gets_ready(town):
        moving.run(town)
        (starting,) = moving.demanding(town, web)
        assert starting["spec"]["nodeName"] in SPOT_NODES
        moving.wants(town, web, "never")
        moving.run(town)
    assert moving.is_at_rest(town, web, "regular") or moving.run_until_at_rest(town, web, "regular", runs=2)
    assert moving.outcomes(town, web) == ["flipped"]


def test_a_side_that_turns_while_the_surge_pod_is_ready_ends_on_the_right_side(town: Town):
    """Ready, but not available yet: its Deployment wants it to have been Ready for a while."""
    with asking_for_spot(town, "ready", min_ready_seconds=7) as web:
        moving.run(town)
        assert moving.sides(town, web) == ["regular", "spot"]
        assert moving.in_flight(town, web).step == "raised"
        moving.wants(town, web, "never")
        assert moving.run_until_at_rest(town, web, "regular", runs=3)
        assert moving.outcomes(town, web)[0] == "flipped"


def test_a_pause_in_the_middle_undoes_the_surge_and_resume_goes_on(town: Town, web: str):
    access = town.cluster_flags[2:]
    with moving.surging_without_room(town, web, *SPOT_NODES):
        line = [sys.executable, "-m", "webhook", "pause", *access, "--wait", "--timeout", "60s", "--reason", "sale"]
        with subprocess.Popen([*line, "-o", "json"], stdout=subprocess.PIPE) as waiting:
            wait_for(lambda: moving.control(town).paused, 20, "the pause to be in the book")
            assert moving.run_until_at_rest(town, web, "regular", runs=2)
            answer = json.loads(waiting.communicate(timeout=30)[0])
        assert (waiting.returncode, answer["still"], answer["paused"]["reason"]) == (0, True, "sale")
    assert moving.outcomes(town, web) == ["stopped"]
    assert moving.run(town)["started"] == []
    assert moving.considered(town, web)["code"] == "paused"
    town.command("resume", *access)
    assert moving.run_until_at_rest(town, web, "spot", runs=2)
