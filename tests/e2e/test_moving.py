"""The ancestor's job, whole: what already runs goes to spot when it rests, and is back as soon as it wakes.

By real parts only: evidence is what a real Prometheus scraped, and pods go where a real scheduler binds them.
"""

from typing import Any

import pytest

from tests.e2e import moving
from tests.e2e.town import SHOP, Town
from tests.parts.processes import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REST = {"cpu_cores": 0.001, "rx_bytes_per_s": 50}
WORK = {"cpu_cores": 0.5, "rx_bytes_per_s": 500_000}
DEMO, THREE = f"{SHOP}/Deployment/nginx-demo", f"{SHOP}/Deployment/nginx-three"
REPLICAS = {"nginx-demo": 1, "nginx-three": 3}
# What a run of ours may write, or have written.
WRITABLE = ("Deployment", "ReplicaSet", "Pod", "ConfigMap", "Event", "Namespace", "PodDisruptionBudget", "Lease")
NO_PROMETHEUS = {"prometheus": {"url": "http://127.0.0.1:9"}}


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    """Two idle workloads and a busy one on regular nodes, judged and not yet moved; spot nodes are there."""
    town = moving.settle_town(make_town(mode="inject"))
    for app, replicas in REPLICAS.items():
        town.exporter.set_usage(SHOP, app, **REST)
        town.plane.deployment(app, namespace=SHOP, replicas=replicas)
    town.exporter.set_usage(SHOP, "checkout", cpu_cores=0.4, rx_bytes_per_s=200_000)
    town.plane.deployment("checkout", namespace=SHOP, replicas=2)
    wait_for(lambda: len(town.plane.running(SHOP)) == 6, 30, "six running pods")
    moving.add_spot(town, tainted=False)
    town.start()
    town.register_webhook()
    town.monitor_until(DEMO, side="spot", evidence="idle")
    town.monitor_until(THREE, side="spot", evidence="idle")
    assert {side for app in REPLICAS for side in moving.sides(town, app)} == {"regular"}, "mode inject moves nobody"
    return town


def test_idle_pods_move_to_spot_and_back_again_while_the_busy_stay(town: Town):
    busy, before = {pod["metadata"]["uid"] for pod in town.app_pods("checkout")}, templates(town)
    with moving.watched(town.plane) as seen:
        _a_dry_run_tells_what_the_next_run_begins_and_writes_nothing(town)
        _without_prometheus_nothing_begins_and_what_is_in_flight_goes_on(town)
        _the_rest_follows_one_pod_a_run(town)
        _our_commands_tell_of_it(town)
        _who_wakes_is_back_within_a_run_a_replica_and_one(town)
    for app, replicas in REPLICAS.items():
        assert seen.lowest(app) == replicas
        assert seen.most_wanted(app) == replicas + 1
    assert {pod["metadata"]["uid"] for pod in town.app_pods("checkout")} == busy
    assert seen.most_wanted("checkout") == 2
    assert templates(town) == before


def templates(town: Town) -> dict[str, Any]:
    return {d["metadata"]["name"]: d["spec"]["template"] for d in town.plane.list_all("Deployment", namespace=SHOP)}


def versions(town: Town) -> set[tuple[str, str, str]]:
    """Every object that we might write, with its version."""
    return {
        (kind, one["metadata"]["uid"], one["metadata"]["resourceVersion"])
        for kind in WRITABLE
        for one in town.plane.list_all(kind)
        if one["metadata"].get("namespace") not in ("kube-system", "kube-node-lease")
    }


def decisions(moves: dict[str, Any]) -> tuple[Any, ...]:
    """Who moves how and where, and how many stay for which reason."""
    fields = ("workload", "way", "to", "pod", "node", "destination", "replicas", "transition")
    return [{key: one.get(key) for key in fields} for one in moves["started"]], moves["considered"]


def _a_dry_run_tells_what_the_next_run_begins_and_writes_nothing(town: Town) -> None:
    # So short that moves are announced, and in flight when it ends.
    town.configure(moving.moving(runSeconds=2) | NO_PROMETHEUS)
    blind = moving.run(town)
    assert (blind["started"], blind["inFlight"]) == ([], [])
    assert blind["considered"]["unknown"] == 2

    town.configure(moving.moving(runSeconds=2))
    before = versions(town)
    rehearsed = moving.told(town, "monitor", "--dry-run")["moves"]
    assert versions(town) == before
    done = moving.run(town)
    assert decisions(rehearsed) == decisions(done)
    assert {move["workload"]["name"] for move in done["started"]} == set(REPLICAS)
    assert {(move["way"], move["to"], move["transition"]) for move in done["started"]} == {("surge", "spot", 1)}
    assert {move["step"] for move in done["inFlight"]} == {"announced"}


def _without_prometheus_nothing_begins_and_what_is_in_flight_goes_on(town: Town) -> None:
    town.configure(moving.moving() | NO_PROMETHEUS)
    blind = moving.run(town)
    assert blind["started"] == []
    assert [move["outcome"] for move in blind["finished"]] == ["moved", "moved"]
    assert moving.sides(town, "nginx-demo") == ["spot"]
    assert moving.sides(town, "nginx-three") == ["regular", "regular", "spot"]
    assert moving.run(town)["started"] == []
    town.configure(moving.moving())


def _the_rest_follows_one_pod_a_run(town: Town) -> None:
    # More than the two where a pod that has just come makes a run unknown.
    assert moving.run_until_at_rest(town, "nginx-three", "spot", 3, runs=6) >= 2
    assert moving.considered(town, "nginx-three")["code"] == "settled"
    assert moving.considered(town, "checkout")["code"] == "never-moved"
    assert {pod["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"] for pod in on_spot(town)} == {
        "1"
    }


def on_spot(town: Town) -> list[dict[str, Any]]:
    return [pod for app in REPLICAS for pod in town.app_pods(app) if town.side_of(pod) == "spot"]


def _our_commands_tell_of_it(town: Town) -> None:
    (past,) = moving.told(town, "history", "--workload", DEMO)["moves"]
    assert (past["outcome"], past["to"], past["way"]) == ("moved", "spot", "surge")
    assert past["landedOn"] == town.app_pods("nginx-demo")[0]["spec"]["nodeName"]
    status = moving.told(town, "status")
    (share,) = [one for one in status["namespaces"] if one["namespace"] == SHOP]
    assert (share["pods"], share["podsOnSpot"], status["moves"]) == (6, 4, [])
    told = moving.events(town, "nginx-demo")
    assert told.keys() == {"MovedToSpot"}, "it turned while nothing might be moved, and nobody was told"
    assert told["MovedToSpot"].startswith(f"one of its pods was replaced by a pod on {past['landedOn']}, by surge in")
    explained = town.explain(DEMO)
    assert (explained["side"], explained["podsOnSpot"], explained["pods"]) == ("spot", 1, 1)


def _who_wakes_is_back_within_a_run_a_replica_and_one(town: Town) -> None:
    """Counted from the first run that can see it: a rate needs two scrapes, whoever reads them."""
    for app in REPLICAS:
        town.exporter.set_usage(SHOP, app, **WORK)
    runs: dict[str, int] = dict.fromkeys(REPLICAS, 0)
    left = dict(REPLICAS)
    for _ in range(10):
        moving.run(town)
        book = town.book()
        for app in left:
            runs[app] += book[f"{SHOP}/Deployment/{app}"].side.value == "regular"
        left = {app: n for app, n in left.items() if not moving.is_at_rest(town, app, "regular", n)}
        if not left:
            break
    assert not left, f"{left} are not back after {runs}"
    assert all(runs[app] <= replicas + 1 for app, replicas in REPLICAS.items()), runs
    told = moving.events(town, "nginx-three")
    assert told.keys() == {"SideTurned", "MovedToSpot", "MovedToRegular"}
    assert "from spot to regular" in told["SideTurned"]
