"""The main job: idle in Prometheus, spot in the book, and the next pod on a spot node, by real parts only."""

import pytest

from tests.e2e.town import REGULAR, SHOP, SPOT, Town, as_its_owner_wrote_it, create_dry
from tests.parts import manifests
from tests.parts.processes import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DEMO, BUSY = f"{SHOP}/Deployment/nginx-demo", f"{SHOP}/Deployment/checkout"


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    """One spot node and two regular ones; nginx-demo idle, checkout busy; started before the webhook was registered."""
    town = make_town()
    town.plane.node("regular-1", labels=REGULAR)
    town.plane.node("regular-2", labels=REGULAR)
    town.plane.namespace(SHOP)
    town.exporter.set_usage(SHOP, "nginx-demo", cpu_cores=0.001, rx_bytes_per_s=50)
    town.exporter.set_usage(SHOP, "checkout", cpu_cores=0.4, rx_bytes_per_s=200_000)
    town.plane.deployment("nginx-demo", namespace=SHOP, replicas=2)
    town.plane.deployment("checkout", namespace=SHOP, replicas=2)
    wait_for(lambda: len(town.app_pods("nginx-demo")) == 2 == len(town.app_pods("checkout")), 30, "four running pods")
    # Only now: whatever runs so far sits on a regular node, as it would on the day of the installation.
    town.plane.node("spot-1", labels=SPOT)
    town.start()
    return town


def test_an_idle_owner_goes_to_spot_and_comes_back_when_it_wakes_while_its_busy_neighbour_is_left_alone(town: Town):
    """Points (a), (b), (d), (f) and then (c), in the order in which a day brings them."""
    checkout_before = as_its_owner_wrote_it(town.app_pods("checkout")[0])
    assert {town.side_of(pod) for pod in town.app_pods("nginx-demo")} == {"regular"}
    town.register_webhook()

    _idle_pods_go_to_spot_one_after_the_other(town)
    _the_busy_neighbour_is_untouched_byte_for_byte(town, checkout_before)
    _a_dead_server_stops_no_pod(town)
    _waking_turns_the_side_on_the_next_run(town)
    _without_prometheus_sides_stay_until_the_evidence_expires(town)


def _idle_pods_go_to_spot_one_after_the_other(town: Town) -> None:
    verdict = town.monitor_until(DEMO, side="spot", evidence="idle")
    assert verdict["transitions"] == 1
    for pod in town.app_pods("nginx-demo"):
        successor = town.replace_pod(pod)
        assert town.side_of(successor) == "spot", successor["spec"].get("affinity")
        assert successor["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"] == "1"
    assert {town.side_of(pod) for pod in town.app_pods("nginx-demo")} == {"spot"}
    answer = town.explain(DEMO)
    assert answer["side"] == "spot"
    assert answer["evidence"] == "idle"


def _the_busy_neighbour_is_untouched_byte_for_byte(town: Town, before: dict) -> None:
    assert town.verdict(BUSY)["side"] == "regular"
    assert town.verdict(BUSY)["evidence"] == "active"
    after = town.replace_pod(town.app_pods("checkout")[0])
    assert as_its_owner_wrote_it(after) == before
    assert town.side_of(after) == "regular" or "affinity" not in after["spec"]


def _a_dead_server_stops_no_pod(town: Town) -> None:
    town.serve.kill()
    successor = town.replace_pod(town.app_pods("nginx-demo")[0])
    assert "affinity" not in successor["spec"]
    town.start_server()
    town.replace_pod(successor)


def _waking_turns_the_side_on_the_next_run(town: Town) -> None:
    town.exporter.set_usage(SHOP, "nginx-demo", cpu_cores=0.5, rx_bytes_per_s=500_000)
    verdict = town.monitor_until(DEMO, side="regular")
    assert verdict["evidence"] == "active"
    assert verdict["transitions"] == 2
    successor = town.replace_pod(town.app_pods("nginx-demo")[0])
    preferred = successor["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred[0]["preference"]["matchExpressions"] == [
        {"key": "karpenter.sh/capacity-type", "operator": "NotIn", "values": ["spot"]}
    ]
    assert successor["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"] == "2"
    assert town.side_of(successor) == "regular"


@pytest.mark.fault(29)
def test_a_prometheus_that_is_down_changes_no_side(make_town):
    """Named here for the fault table; the walk above runs the same code on the shared town."""
    town = make_town()
    town.plane.node("regular-1", labels=REGULAR)
    town.plane.namespace(SHOP)
    town.plane.deployment("nginx-demo", namespace=SHOP)
    town.start()
    town.prometheus.stop()
    report = town.monitor(check=False)
    assert town.verdict(DEMO).get("side", "regular") == "regular"
    assert report["unknown"] >= 1


def _without_prometheus_sides_stay_until_the_evidence_expires(town: Town) -> None:
    town.exporter.set_usage(SHOP, "nginx-demo", cpu_cores=0.001, rx_bytes_per_s=50)
    town.monitor_until(DEMO, side="spot", evidence="idle", timeout_s=120)
    town.prometheus.stop()
    town.monitor(check=False)
    assert town.verdict(DEMO)["side"] == "spot"
    successor = town.replace_pod(town.app_pods("nginx-demo")[0])
    assert town.side_of(successor) == "spot"

    def expired() -> bool:
        town.monitor(check=False)
        pod = town.replace_pod(town.app_pods("nginx-demo")[0])
        return "affinity" not in pod["spec"]

    wait_for(expired, 120, "evidence to expire and pods to be left alone", every_s=2.0)
    assert town.verdict(DEMO)["side"] == "spot"
    town.unregister_webhook()
    town.prometheus.start()


def test_pods_that_are_nobodys_to_steer_stay_as_they_are(town: Town):
    """Static, bound, opted-out and contradicting pods of an idle owner, and a DaemonSet's, on their real way in."""
    plane = town.plane
    town.exporter.set_usage(SHOP, "nginx-demo", cpu_cores=0.001, rx_bytes_per_s=50)
    town.register_webhook("odd-pods")
    try:
        # The side alone may be yesterday's, with evidence that expired since: then pods are left alone.
        town.monitor_until(DEMO, side="spot", evidence="idle", timeout_s=120)
        owner = [
            o | {"blockOwnerDeletion": False} for o in town.app_pods("nginx-demo")[0]["metadata"]["ownerReferences"]
        ]

        def of_the_idle_owner(name: str, **facts: object) -> dict:
            pod = manifests.pod(name, namespace=SHOP, **facts)
            return pod | {"metadata": pod["metadata"] | {"ownerReferences": owner}}

        plain = create_dry(plane, of_the_idle_owner("plain"))
        assert "nodeAffinity" in plain["spec"]["affinity"], (
            "the owner is steered, so what follows is not for want of a verdict"
        )
        for pod in (
            of_the_idle_owner("bound", nodeName="regular-1"),
            of_the_idle_owner("static", annotations={"kubernetes.io/config.mirror": "abc"}, nodeName="regular-1"),
            of_the_idle_owner("opted-out", labels={"spot-balancer.io/skip": "true"}),
            of_the_idle_owner("contradicting", nodeSelector=REGULAR),
        ):
            made = create_dry(plane, pod)
            assert "affinity" not in made["spec"], made["metadata"]["name"]
            assert "spot-balancer.io/decision" not in made["metadata"].get("annotations", {})
        agents = _daemon_pods(town)
        assert {p["spec"]["nodeName"] for p in agents} == {"regular-1", "regular-2", "spot-1"}
        assert all("preferredDuringSchedulingIgnoredDuringExecution" not in str(p["spec"]["affinity"]) for p in agents)
    finally:
        town.unregister_webhook("odd-pods")


def _daemon_pods(town: Town) -> list[dict]:
    template = {"metadata": {"labels": {"app": "agent"}}, "spec": manifests.pod_spec()}
    spec = {"selector": {"matchLabels": {"app": "agent"}}, "template": template}
    metadata = {"name": "agent", "namespace": SHOP}
    town.plane.apply({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": spec})
    return wait_for(
        lambda: pods if len(pods := town.plane.running(SHOP, "app=agent")) == 3 else None, 30, "an agent on each node"
    )
