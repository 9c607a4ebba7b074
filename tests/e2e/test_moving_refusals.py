"""What keeps a workload from being moved, or ends its move: budgets, autoscalers, quotas, other hands, and no room.

Each is refused by the real API server or its controllers, and told by one word that an operator finds in `plan`.
"""

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e import moving
from tests.e2e.town import SHOP, Town
from tests.parts.kube_api import APPLY_PATCH, MERGE_PATCH, path_of
from tests.parts.processes import wait_for
from webhook.core.moves import Finished

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SPOT_NODES = ("spot-1", "spot-2", "spot-3")
MOVE = "spot-balancer.io/move"
# By how many replicas the autoscaler wants at the least.
AUTOSCALED = {"hpa-of-3": 3, "hpa-of-4": 4}
QUICK = moving.moving(settle="2s", attempts=2, patience="5s")


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    town = moving.settle_town(make_town(**QUICK), regular=3)
    moving.add_spot(town, *SPOT_NODES)
    for name, least in AUTOSCALED.items():
        autoscaled(town, name, least)
    town.start()
    town.register_webhook()
    return town


def autoscaled(town: Town, name: str, least: int) -> None:
    """One replica less than its autoscaler wants at the least: so it acts although it has no metrics here."""
    town.plane.deployment(name, namespace=SHOP, replicas=least - 1)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    spec = {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": 10}
    metadata = {"name": name, "namespace": SHOP}
    kind, group = "HorizontalPodAutoscaler", "autoscaling/v2"
    town.plane.apply({"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec})


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Of this test's Deployment."""
    return f"web-{zlib.crc32(request.node.name.encode()):x}"


@contextmanager
def asking_for_spot(
    town: Town, name: str, replicas: int, *, floor: int | None = None, annotations: dict[str, str] | None = None
) -> Iterator[moving.Availability]:
    """A Deployment on regular nodes that asks for spot; it never has fewer than the floor, which is all of it mostly."""
    if name not in {d["metadata"]["name"] for d in town.plane.list_all("Deployment", namespace=SHOP)}:
        moving.deploy(town, name, replicas, annotations=annotations)
    moving.wants(town, name, "always")
    with moving.watched(town.plane) as seen:
        yield seen
    assert seen.lowest(name) >= (replicas if floor is None else floor)
    town.plane.delete("Deployment", name, namespace=SHOP)


def budget(town: Town, name: str, **spec: Any) -> None:
    """A disruption budget of the app, once the real controller has counted its pods."""
    spec |= {"selector": {"matchLabels": {"app": name}}}
    metadata = {"name": name, "namespace": SHOP}
    town.plane.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec})

    def is_counted() -> bool:
        status = town.plane.get("PodDisruptionBudget", name, namespace=SHOP).get("status", {})
        return bool(status.get("currentHealthy")) and status["observedGeneration"] == 1

    wait_for(is_counted, 20, f"the budget of {name} to be counted")


def run_until_given_up(town: Town, name: str, *, runs: int) -> str:
    """What was told as an Event when it was."""
    for _ in range(runs):
        moving.run(town)
        if "MovesStopped" in moving.events(town, name):
            assert moving.considered(town, name)["code"] == "gave-up"
            assert f"{SHOP}/Deployment/{name}" in moving.told(town, "status")["givenUp"]
            return moving.events(town, name)["MovesStopped"]
    raise AssertionError(f"{name} was not given up: {moving.outcomes(town, name)}, {moving.considered(town, name)}")


@pytest.mark.fault(52)
def test_a_budget_that_refuses_the_eviction_of_a_surge_costs_a_move_and_no_replica(town: Town, name: str):
    """Of four pods a minimum of 80 % is four. Which one the controller takes is open where all are alike, so one must
    be evicted; refused, the surge is lowered all the same, by whichever goes."""
    with asking_for_spot(town, name, 3):
        budget(town, name, minAvailable="80%")
        report = moving.run(town)
        assert moving.outcomes(town, name) in (["blocked"], ["moved"])
        assert "blocked" in {one.partition(": ")[2].partition(":")[0] for one in report["refused"]}
        assert moving.available(town, name) == 3
    town.plane.delete("PodDisruptionBudget", name, namespace=SHOP)


@pytest.mark.fault(54)
def test_a_budget_without_a_disruption_to_spare_bars_an_eviction(town: Town, name: str):
    with asking_for_spot(town, name, 4, annotations={MOVE: "evict"}):
        budget(town, name, minAvailable=4)
        assert moving.run(town)["started"] == []
        found = moving.considered(town, name)
        assert found["code"] == "no-headroom"
        assert "4 replicas are available, and 4 must be" in found["reason"]
    town.plane.delete("PodDisruptionBudget", name, namespace=SHOP)


@pytest.mark.fault(52)
def test_a_budget_that_comes_between_a_plan_and_its_eviction_is_heard(town: Town, name: str):
    """It is made while the move is announced, so nobody but the API server can refuse."""
    with asking_for_spot(town, name, 4, annotations={MOVE: "evict"}):
        with moving.in_the_middle(town, name, "announced"):
            budget(town, name, minAvailable=4)
        assert moving.outcomes(town, name) == ["blocked"]
        (past,) = moving.told(town, "history", "--workload", f"{SHOP}/Deployment/{name}")["moves"]
        assert "disruption budget" in past["note"]
        assert moving.sides(town, name) == ["regular"] * 4
    town.plane.delete("PodDisruptionBudget", name, namespace=SHOP)


def has_scaled(town: Town, name: str, replicas: int) -> bool:
    status = town.plane.get("HorizontalPodAutoscaler", name, namespace=SHOP)["status"]
    counts = status.get("currentReplicas"), status.get("desiredReplicas"), moving.available(town, name)
    return counts == (replicas, replicas, replicas)


def finished(town: Town, name: str) -> list[Finished]:
    return [move for move in moving.control(town).finished if move.workload.name == name]


def test_a_quota_without_room_for_one_pod_more_bars_a_surge_by_its_name(town: Town, name: str):
    with asking_for_spot(town, name, 2):
        used = len(town.plane.pods(SHOP))
        metadata, hard = {"name": "team", "namespace": SHOP}, {"pods": str(used)}
        town.plane.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
        try:
            counted = path_of("ResourceQuota", namespace=SHOP, name="team")
            wait_for(
                lambda: town.plane.api("GET", counted).get("status", {}).get("used"), 20, "the quota to be counted"
            )
            assert moving.run(town)["started"] == []
            found = moving.considered(town, name)
        finally:
            town.plane.delete("ResourceQuota", "team", namespace=SHOP)
        assert found["code"] == "no-headroom"
        assert "quota team leaves 0 of pods, and one pod more takes 1" in found["reason"]


def applied(town: Town, name: str, replicas: int) -> None:
    """As `helm upgrade` and `kubectl apply --server-side` do, without force: a conflict is an error."""
    selector = {"matchLabels": {"app": name}}
    container = {"name": "app", "image": "registry.example/app:1", "resources": {"requests": {"cpu": "100m"}}}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": selector, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": SHOP}, "spec": spec}
    path = path_of("Deployment", namespace=SHOP, name=name)
    town.plane.api("PATCH", f"{path}?fieldManager=helm", body, content_type=APPLY_PATCH)
    wait_for(lambda: moving.available(town, name) == replicas, 30, f"{replicas} pods of {name}")


@pytest.mark.fault(65)
@pytest.mark.fault(66)
def test_whose_replicas_somebody_else_keeps_is_evicted_one_pod_at_a_time_and_never_scaled(town: Town):
    """An autoscaler, or who applies them. With 25 % maxUnavailable there is headroom from four replicas on."""
    applied(town, "by-helm", 4)
    for name, least in AUTOSCALED.items():
        wait_for(
            lambda name=name, least=least: has_scaled(town, name, least), 60, f"the autoscaler of {name} to be done"
        )
    with asking_for_spot(town, "hpa-of-3", 3) as seen, asking_for_spot(town, "hpa-of-4", 4, floor=3):
        with asking_for_spot(town, "by-helm", 4, floor=3):
            assert moving.run_until_at_rest(town, "hpa-of-4", "spot", 4, runs=6) >= 4, "one pod a run"
            assert moving.is_at_rest(town, "by-helm", "spot", 4)
            done = [move for move in moving.control(town).finished if move.workload.name in ("hpa-of-4", "by-helm")]
            assert {(move.way.value, move.outcome.value) for move in done} == {("evict", "moved")}
            applied(town, "by-helm", 5)
            assert seen.most_wanted("by-helm") == 5
            assert moving.sides(town, "by-helm") == ["spot"] * 5
        found = moving.considered(town, "hpa-of-3")
        assert found["code"] == "hpa-no-headroom"
        assert "autoscaler hpa-of-3 keeps its replicas" in found["reason"]
        assert (seen.most_wanted("hpa-of-3"), seen.most_wanted("hpa-of-4")) == (3, 4)
    for name in AUTOSCALED:
        town.plane.delete("HorizontalPodAutoscaler", name, namespace=SHOP)


@contextmanager
def somebody_keeps_replicas(town: Town, name: str, replicas: int) -> Iterator[None]:
    """A GitOps controller that sets them back as soon as it sees another number."""
    stop = threading.Event()
    path = path_of("Deployment", namespace=SHOP, name=name)

    def keep() -> None:
        while not stop.wait(0.2):
            if town.plane.api("GET", path)["spec"]["replicas"] != replicas:
                town.plane.api("PATCH", path, {"spec": {"replicas": replicas}}, content_type=MERGE_PATCH)

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.fault(66)
def test_who_sets_the_replicas_back_is_tried_once_more_and_then_left_alone(town: Town, name: str):
    with asking_for_spot(town, name, 1), somebody_keeps_replicas(town, name, 1):
        told = run_until_given_up(town, name, runs=4)
        assert moving.outcomes(town, name) == ["reverted", "reverted"]
        assert "spot-balancer resume --workload" in told
        town.command("resume", "--workload", f"{SHOP}/Deployment/{name}", *town.cluster_flags[2:])
        assert moving.considered(town, name)["code"] == "starts"


@pytest.mark.fault(57)
def test_a_spot_pool_that_vanishes_in_the_middle_undoes_the_move_and_returns_go_on(town: Town, name: str):
    home = f"{name}-home"
    with asking_for_spot(town, home, 1), asking_for_spot(town, name, 1, annotations={MOVE: "never"}):
        moving.run_until_at_rest(town, home, "spot", runs=3)
        (stays,) = (pod["spec"]["nodeName"] for pod in town.app_pods(home))
        town.configure(QUICK | {"moves": QUICK["moves"] | {"healthyFor": "60s", "patience": "10s", "runSeconds": 7}})
        with spot_vanishes(town, name, stays):
            moving.wants(town, home, "never")
            report = moving.run(town)
            assert "Ready spot nodes fell from 3 to 1" in report["frozen"][0]
            assert moving.sides(town, home) == ["regular"]
            assert moving.is_at_rest(town, name, "regular") or moving.run_until_at_rest(town, name, "regular", runs=2)
            assert moving.considered(town, name)["code"] in ("frozen", "backoff")


@contextmanager
def spot_vanishes(town: Town, name: str, but: str) -> Iterator[None]:
    """All spot nodes but one, and that one full, while the move is announced; entered when its surge pod has no place."""
    gone = [node for node in SPOT_NODES if node != but]
    moving.annotate(town, name, **{MOVE: None})
    try:
        with moving.no_room_on(town, but):
            with moving.in_the_middle(town, name, "announced"):
                for node in gone:
                    town.plane.delete("Node", node)
            assert moving.in_flight(town, name), moving.outcomes(town, name)
            yield
    finally:
        town.configure(QUICK)
        moving.add_spot(town, *gone)


@pytest.mark.fault(56)
def test_where_spot_is_full_nothing_is_tried(town: Town, name: str):
    with asking_for_spot(town, name, 1) as seen, moving.no_room_on(town, *SPOT_NODES):
        assert moving.run(town)["started"] == []
        assert moving.considered(town, name)["code"] == "no-room"
        assert seen.most_wanted(name) == 1


@pytest.mark.fault(55)
def test_a_surge_whose_place_was_taken_meanwhile_is_undone_after_its_patience(town: Town, name: str):
    with asking_for_spot(town, name, 1) as seen:
        with moving.in_the_middle(town, name, "announced"), moving.no_room_on(town, *SPOT_NODES):
            wait_for(lambda: moving.outcomes(town, name) or moving.in_flight(town, name) is None, 60, "the move to end")
        assert moving.outcomes(town, name) == ["no-capacity"]
        assert seen.most_wanted(name) == 2
        assert moving.is_at_rest(town, name, "regular")
        assert moving.demanding(town, name) == []
