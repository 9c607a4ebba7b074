"""SIGKILL at every write of a move, before it is done and after; and two monitors that move at the same moment.

Each lane has a Deployment, a verdict book and a monitor of its own, so that many crash at once in one town. A lane's
Deployment is sent to and fro by its annotation; sync and server follow the town's own book, so pods of the lanes are
steered by a wish and not by a surge's demand.
"""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.e2e import moving
from tests.e2e.toll import TollGate
from tests.e2e.town import HOME, QUICK, SHOP, Town
from tests.parts.processes import wait_for
from webhook.core.moves import Step

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LANES = 7
RUN_SECONDS = 8
# So long others keep off after a run that was killed.
HOLD_SECONDS = RUN_SECONDS + 5
MOST_RUNS = 6
WINDOW_SECONDS = 6


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    town = moving.settle_town(make_town(**moving.moving()))
    moving.add_spot(town)
    town.start()
    town.register_webhook()
    return town


class Crash(NamedTuple):
    """At the write of that number, from 1; `forwarded`: the API server did it, and nobody was told."""

    write: int
    forwarded: bool


class Lane:
    """One Deployment, its book and its monitor, whose writes pass a gate."""

    def __init__(self, town: Town, gate: TollGate, name: str):
        self.town, self.gate, self.name = town, gate, name
        self.side = "regular"
        config = town.folder / f"{name}.yaml"
        alone = {"name": "lane", "match": {"names": [name]}, "mode": "move"}
        moves = moving.QUICK_MOVES | {"settle": "1s", "runSeconds": RUN_SECONDS}
        prometheus = {"url": town.prometheus.url}
        config.write_text(yaml.safe_dump(QUICK | {"moves": moves, "rules": [alone], "prometheus": prometheus}))
        access = ["--kubeconfig", str(gate.kubeconfig), "-n", HOME, "--book", name]
        self._line = [sys.executable, "-m", "webhook", "monitor", "--config", str(config), *access]

    def turn(self) -> None:
        self.side = "spot" if self.side == "regular" else "regular"
        moving.wants(self.town, self.name, "always" if self.side == "spot" else "never")

    def run(self) -> int:
        """A whole run, or as much of it as the gate lets be; its exit code."""
        with subprocess.Popen(self._line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as monitor:
            self.gate.victim = monitor.pid
            return monitor.wait(60)

    def writes(self) -> list[str]:
        """Those of a whole move that nothing disturbs, after a run that makes the book."""
        assert self.run() == 0
        self.turn()
        self.gate.let_pass()
        self.go_on()
        return list(self.gate.writes)

    def crashes(self, crashes: Iterable[Crash]) -> int:
        """How many of them came; each has a move of its own."""
        return sum(self.crash(crash) for crash in crashes)

    def crash(self, crash: Crash) -> bool:
        """Whether it did, in the first run or in one that goes on with it; then others follow until all is over."""
        self.turn()
        self.gate.kill_at(crash.write, forwarded=crash.forwarded)
        crashed = self.go_on()
        self.gate.let_pass()
        self.go_on()
        return crashed

    def go_on(self) -> bool:
        """Runs of the monitor until all is over, or one was killed; whether one was."""
        for _ in range(MOST_RUNS):
            if self.is_over():
                return False
            wait_for(self._is_free, HOLD_SECONDS + 5, "the hold of a run that was killed to be over", every_s=0.5)
            if self.run() < 0:
                return True
        raise AssertionError(f"{self.name} does not come to rest: {moving.control(self.town, self.name)}")

    def _is_free(self) -> bool:
        hold = moving.control(self.town, self.name).hold
        return hold is None or hold.until < datetime.now(UTC)

    def is_over(self) -> bool:
        return moving.is_at_rest(self.town, self.name, self.side, book=self.name)


@contextmanager
def lanes(town: Town, folder: Path) -> Iterator[list[Lane]]:
    names = [f"lane-{number}" for number in range(1, LANES + 1)]
    with ExitStack() as stack:
        yield [Lane(town, stack.enter_context(TollGate(town.plane, folder / name)), name) for name in names]


def deployed(town: Town, name: str) -> dict[str, Any]:
    """What its owner wrote of it."""
    found = town.plane.get("Deployment", name, namespace=SHOP)
    annotations = {k: v for k, v in found["metadata"]["annotations"].items() if k != moving.WISH}
    return {"annotations": annotations, "labels": found["metadata"].get("labels"), "spec": found["spec"]}


@pytest.mark.fault(51)
def test_a_monitor_that_is_killed_at_any_write_of_a_move_is_followed_by_one_that_ends_it(town: Town, tmp_path, capsys):
    with lanes(town, tmp_path) as all_lanes, ThreadPoolExecutor(LANES) as pool:
        for lane in all_lanes:
            moving.deploy(town, lane.name)
        before = {lane.name: deployed(town, lane.name) for lane in all_lanes}
        nodes = {node["metadata"]["name"]: node["spec"] for node in town.plane.list_all("Node")}
        with moving.watched(town.plane) as seen:
            writes = max(pool.map(Lane.writes, all_lanes), key=len)
            # Killed before a write, it leaves what it leaves when it is killed after the one before.
            crashes = [Crash(1, forwarded=False), *(Crash(n, forwarded=True) for n in range(1, len(writes) + 1))]
            shares = [crashes[number::LANES] for number in range(LANES)]
            crashed = sum(pool.map(Lane.crashes, all_lanes, shares))
        for lane in all_lanes:
            assert seen.lowest(lane.name) == 1
            assert seen.most_wanted(lane.name) == 2
            assert deployed(town, lane.name) == before[lane.name]
            assert moving.control(town, lane.name).moves == ()
            town.plane.delete("Deployment", lane.name, namespace=SHOP)
    assert nodes == {node["metadata"]["name"]: node["spec"] for node in town.plane.list_all("Node")}
    with capsys.disabled():
        print(f"\n{crashed} of {len(crashes)} runs were killed, at each of {len(writes)} writes of a move")
    assert {write.partition(" ")[0] for write in writes} == {"PUT", "POST"}
    assert any(write.partition("?")[0].endswith("/scale") for write in writes)
    assert crashed >= 0.8 * len(crashes)


@pytest.mark.fault(50)
def test_two_monitors_at_once_hold_to_one_budget_and_move_no_pod_twice(town: Town):
    """One is started in the middle of another's run; then both at the same moment, again and again, over one book."""
    names = [f"two-{number}" for number in range(1, 5)]
    for name in names:
        moving.deploy(town, name)
    before = {pod["metadata"]["name"] for name in names for pod in town.app_pods(name)}
    limits = moving.QUICK_MOVES["toSpot"] | {"window": f"{WINDOW_SECONDS}s", "perCluster": "2"}
    town.configure(moving.moving(toSpot=limits, settle="2s", runSeconds=8))
    with moving.watched(town.plane) as seen:
        for name in names:
            moving.wants(town, name, "always")
        with moving.in_the_middle(town, names[0], *Step):
            other = moving.run(town)
        assert other["heldBy"], other
        assert other["started"] == other["finished"] == []
        for _ in range(8):
            if all(moving.is_at_rest(town, name, "spot") for name in names):
                break
            both_run(town)
        assert all(moving.is_at_rest(town, name, "spot") for name in names), moving.control(town)
    done = [move for move in moving.control(town).finished if move.workload.name in names]
    began = sorted(move.began_at for move in done)
    window = timedelta(seconds=WINDOW_SECONDS)
    assert all(later - first >= window for first, later in zip(began, began[2:], strict=False))
    assert sorted(move.outcome.value for move in done) == ["moved"] * 4
    assert {move.pod for move in done} == before
    for name in names:
        assert (seen.lowest(name), seen.most_wanted(name)) == (1, 2)
        town.plane.delete("Deployment", name, namespace=SHOP)


def both_run(town: Town) -> None:
    """One that finds the other's verdicts in its way ends with 3, and the next minute is its retry."""
    line = [sys.executable, "-m", "webhook", "monitor", *town.cluster_flags]
    two = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    told = [one.communicate(timeout=60)[0] for one in two]
    assert {one.returncode for one in two} <= {0, 3}, "".join(told)
