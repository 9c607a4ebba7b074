"""What a run costs grows with the moves that it may make, not with the cluster."""

import pytest

from tests.fakes import HOLDER, TinyCluster
from webhook.core.model import Side
from webhook.jobs import mover
from webhook.jobs.mover import MoverDeps
from webhook.wire.book import encode_control


def town(workloads):
    """So many resting workloads of one pod, all on regular nodes, and spot nodes with room for all of them."""
    made = TinyCluster(regular=workloads // 8 + 1, spot=workloads // 8 + 1)
    for number in range(workloads):
        made.deploy(f"web-{number}", namespace=f"team-{number % 20}")
    return made


def run(cluster):
    """One run; how many calls of the API server it made, and how many moves it began."""
    calls = []
    cluster.before_call = calls.append
    deps = MoverDeps(
        workloads=cluster,
        book=cluster.connect(),
        recorder=cluster,
        clock=cluster.clock,
        sleep=cluster.sleep,
        holder=HOLDER,
    )
    report = mover.run(deps, cluster.world())
    return len(calls), len(report.started)


@pytest.mark.fault(63)
def test_ten_times_the_workloads_cost_no_more_calls():
    few, many = run(town(60)), run(town(600))
    assert few[1] >= 3
    assert many[1] == 10, "as many as a run may begin"
    assert many[0] / many[1] <= few[0] / few[1]
    assert many[0] <= 8 * many[1] + 10


@pytest.mark.fault(63)
def test_the_control_object_stays_far_below_what_a_config_map_holds():
    """Whole workloads of many replicas are named in it pod by pod, for as long as their moves are under way."""
    cluster = TinyCluster(regular=80, spot=80, start_seconds=600.0)
    for number in range(12):
        cluster.deploy(f"web-{number}", 60, namespace=f"team-{number}")
    _, begun = run(cluster)
    assert begun >= 1
    assert all(move.to is Side.SPOT for move in cluster.book.moves)
    assert len(encode_control(cluster.book).encode()) < 300_000
