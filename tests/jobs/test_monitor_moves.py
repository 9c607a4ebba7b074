"""The monitor's run with a mover behind it: what a configuration that lets nothing move any more does to moves under way."""

import msgspec
import pytest

from tests.fakes import TinyCluster, minutes
from tests.jobs.test_mover import deps_of, run
from webhook.core.book import Book
from webhook.core.model import Side
from webhook.core.moves import Outcome, Step
from webhook.core.policy import Mode
from webhook.core.sanity import Alarm, Sanity
from webhook.errors import UsageUnavailable
from webhook.jobs import monitor


class Whole:
    """The book of a small cluster as the monitor reads and writes it, and Prometheus, which is away."""

    def __init__(self, cluster):
        self.cluster, self.connection = cluster, cluster.connect()
        self.control, self.swap = self.connection.control, self.connection.swap

    def read(self):
        made = self.cluster.deployed.values()
        return Book(control=self.cluster.book, verdicts={str(one.key): one.verdict for one in made if one.verdict})

    def write(self, old, new):
        for one in self.cluster.deployed.values():
            one.verdict = new.verdicts[str(one.key)]
        return 0

    def sweep(self, _):
        raise UsageUnavailable("refused", code="unreachable")


def run_monitor(cluster, *, dry_run=False):
    whole = Whole(cluster)
    mover = deps_of(cluster)
    return monitor.run_once(cluster, whole, whole, cluster.policy, cluster.clock, mover=mover, dry_run=dry_run)


@pytest.mark.parametrize("mode", [Mode.INJECT, Mode.OBSERVE])
def test_a_surge_is_undone_after_the_configuration_lets_nothing_move_any_more(mode):
    cluster = TinyCluster(start_seconds=90.0)
    web = cluster.deploy()
    run(cluster)
    assert (web.replicas, [move.step for move in cluster.book.moves]) == (2, [Step.RAISED])
    cluster.policy = msgspec.structs.replace(cluster.policy, mode=mode)
    for _ in range(3):
        report = run_monitor(cluster)
        cluster.advance(60)
    assert (web.replicas, cluster.book.moves, cluster.book.surging) == (1, (), {})
    assert [one.outcome for one in cluster.book.finished] in ([Outcome.STOPPED], [Outcome.MOVED])
    assert sum(cluster.sides(web).values()) == 1
    assert report.moves is None


def test_where_nothing_may_move_and_nothing_is_under_way_the_mover_is_left_alone():
    cluster = TinyCluster()
    cluster.policy = msgspec.structs.replace(cluster.policy, mode=Mode.INJECT)
    cluster.deploy()
    cluster.advance(minutes(1).total_seconds())
    assert run_monitor(cluster).moves is None
    assert cluster.happenings == []


def test_a_dry_run_plans_on_the_doubt_that_it_found_itself(monkeypatch):
    cluster = TinyCluster()
    cluster.deploy(annotations={"spot-balancer.io/spot": "always"})
    assert len(run_monitor(cluster, dry_run=True).moves.started) == 1
    doubt = Sanity(alarm=Alarm.IDLE_JUMP, reason="a jump")
    monkeypatch.setattr(monitor.sanity, "examine", lambda *_, **__: doubt)
    dry, real = run_monitor(cluster, dry_run=True), run_monitor(cluster)
    assert dry.moves.considered == real.moves.considered == {"frozen": 1}
    assert dry.moves.frozen == real.moves.frozen != ()


def test_who_would_move_is_told_once_that_spot_is_frozen_and_once_that_it_is_not():
    cluster = TinyCluster(spot=2)
    cluster.deploy(annotations={"spot-balancer.io/spot": "always"})
    spot = [name for name in cluster.nodes if cluster.side_of(name) is Side.SPOT]
    set_ready(cluster, spot, ready=False)
    for _ in range(3):
        run_monitor(cluster)
        cluster.advance(60)
    assert [one.reason for one in cluster.happenings] == ["MovesFrozen"]
    assert cluster.happenings[0].note == "nothing moves to spot: spot-bad-day: none of 2 spot nodes is Ready"

    set_ready(cluster, spot, ready=True)
    for _ in range(15):
        run_monitor(cluster)
        cluster.advance(60)
    told = [one.reason for one in cluster.happenings]
    assert (told.count("MovesFrozen"), told.count("MovesUnfrozen")) == (1, 1)


def set_ready(cluster, names, *, ready):
    cluster.nodes |= {name: msgspec.structs.replace(cluster.nodes[name], ready=ready) for name in names}
