"""The main job: idle in Prometheus, spot in the book, and the next pod on a spot node, by real parts only."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e.town import REGULAR, SHOP, SPOT, Town, as_its_owner_wrote_it, create_dry
from tests.parts import manifests
from tests.parts.plane import ApiError
from tests.parts.processes import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DEMO, BUSY = f"{SHOP}/Deployment/nginx-demo", f"{SHOP}/Deployment/checkout"
# Medians are of the same creations minutes apart, on machines that do more than this: what Prometheus could cost them is
# a deadline of seconds, a hundred times as much.
SLOWER = 5


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


@pytest.mark.fault(29)
def test_an_idle_owner_goes_to_spot_and_comes_back_when_it_wakes_while_its_busy_neighbour_is_left_alone(town: Town):
    """Points (a), (b), (d), (f) and then (c), in the order in which a day brings them."""
    demo_before = as_its_owner_wrote_it(town.app_pods("nginx-demo")[0])
    checkout_before = as_its_owner_wrote_it(town.app_pods("checkout")[0])
    assert {town.side_of(pod) for pod in town.app_pods("nginx-demo")} == {"regular"}
    town.register_webhook()

    _idle_pods_go_to_spot_one_after_the_other(town)
    _the_busy_neighbour_is_untouched_byte_for_byte(town, checkout_before)
    _a_dead_server_stops_no_pod(town)
    _waking_turns_the_side_on_the_next_run(town)
    _without_prometheus_sides_stay_until_the_evidence_expires(town, demo_before)


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
    after, decisions = town.decided(lambda: town.replace_pod(town.app_pods("checkout")[0]))
    assert decisions == {"never-moved": 1}, "the server was asked, and knows whose pod it is"
    assert as_its_owner_wrote_it(after) == before


def _a_dead_server_stops_no_pod(town: Town) -> None:
    town.serve.kill()
    successor = town.replace_pod(town.app_pods("nginx-demo")[0])
    assert "affinity" not in successor["spec"]
    town.start_server()
    town.replace_pod(successor)


def _waking_turns_the_side_on_the_next_run(town: Town) -> None:
    """The next run, that is the first that can see it: a rate needs two scrapes, whoever reads them."""
    town.exporter.set_usage(SHOP, "nginx-demo", cpu_cores=0.5, rx_bytes_per_s=500_000)
    runs = []

    def turned() -> bool:
        town.monitor()
        verdict = town.book()[DEMO]
        runs.append((verdict.evidence.value, verdict.side.value, verdict.transitions))
        return verdict.side.value == "regular"

    wait_for(turned, 90, "the side to turn", every_s=0.2)
    assert runs[-1] == ("active", "regular", 2)
    assert ("active", "spot") not in {(evidence, side) for evidence, side, _ in runs}, runs
    wait_for(lambda: town.verdict(DEMO)["transitions"] == 2, 30, "sync to follow the book")
    town.await_server()
    successor = town.replace_pod(town.app_pods("nginx-demo")[0])
    preferred = successor["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred[0]["preference"]["matchExpressions"] == [
        {"key": "karpenter.sh/capacity-type", "operator": "NotIn", "values": ["spot"]}
    ]
    assert successor["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"] == "2"
    assert town.side_of(successor) == "regular"


def _without_prometheus_sides_stay_until_the_evidence_expires(town: Town, before: dict) -> None:
    town.exporter.set_usage(SHOP, "nginx-demo", cpu_cores=0.001, rx_bytes_per_s=50)
    town.monitor_until(DEMO, side="spot", evidence="idle", timeout_s=120)
    probe = _of_the_idle_owner(town, "probe")
    usual_s, decisions = town.decided(lambda: town.admission_seconds(probe))
    assert set(decisions) == {"spot-preferred"}

    town.prometheus.stop()
    report = town.monitor(check=False)
    assert (report["unknown"], report["usageCode"]) == (report["workloads"], "unreachable")
    assert town.verdict(DEMO)["side"] == "spot"
    blind_s, decisions = town.decided(lambda: town.admission_seconds(probe))
    assert set(decisions) == {"spot-preferred"}
    assert town.side_of(town.replace_pod(town.app_pods("nginx-demo")[0])) == "spot"

    seen = []

    def expired() -> bool:
        town.monitor(check=False)
        seen.append(town.decided(lambda: town.replace_pod(town.app_pods("nginx-demo")[0])))
        return "affinity" not in seen[-1][0]["spec"]

    wait_for(expired, 120, "evidence to expire and pods to be left alone", every_s=2.0)
    *steered, (left_alone, decisions) = seen
    assert decisions == {"expired-evidence": 1}
    assert as_its_owner_wrote_it(left_alone) == before
    assert all(earlier == {"spot-preferred": 1} for _, earlier in steered)
    assert town.verdict(DEMO)["side"] == "spot"
    late_s, decisions = town.decided(lambda: town.admission_seconds(probe))
    assert set(decisions) == {"expired-evidence"}
    with_us = f"{usual_s * 1000:.1f} ms, {blind_s * 1000:.1f} ms without Prometheus, {late_s * 1000:.1f} ms long after"
    print(f"a pod is admitted in {with_us}")
    assert max(blind_s, late_s) <= SLOWER * usual_s, with_us
    town.unregister_webhook()
    town.prometheus.start()


def _of_the_idle_owner(town: Town, name: str, *, owner: dict[str, Any] | None = None, **facts: Any) -> dict[str, Any]:
    """A pod as the ReplicaSet of nginx-demo would make it, but for the facts."""
    (found,) = town.app_pods("nginx-demo")[0]["metadata"]["ownerReferences"]
    pod = manifests.pod(name, namespace=SHOP, **facts)
    owners = [found | {"blockOwnerDeletion": False} | (owner or {})]
    return pod | {"metadata": pod["metadata"] | {"ownerReferences": owners}}


ALWAYS = {"spot-balancer.io/spot": "always"}
MIRROR = {"kubernetes.io/config.mirror": "abc"}
# Each differs from a pod that is steered by what it says here, and has another reason to be left alone than the others.
ODD = {
    "bound": {"nodeName": "regular-1"},
    # The API server takes a mirror pod only with its node's name: that it is a mirror is looked at first.
    "static": {"annotations": ALWAYS | MIRROR, "nodeName": "regular-1"},
    "opted-out": {"labels": {"spot-balancer.io/skip": "true"}},
    "contradiction": {"nodeSelector": REGULAR},
    "daemonset": {"owner": {"kind": "DaemonSet", "name": "agent"}},
    "no-controller": {"owner": {"controller": False}},
}


def test_pods_that_are_nobodys_to_steer_stay_as_they_are(town: Town):
    """Of a server that is asked about each, which the chart's registration leaves out mostly (`test_registration`)."""
    odd = {reason: _of_the_idle_owner(town, reason, **{"annotations": ALWAYS} | facts) for reason, facts in ODD.items()}
    odd["static, by its node"] = _of_the_idle_owner(
        town, "of-node", annotations=ALWAYS, owner={"apiVersion": "v1", "kind": "Node", "name": "regular-1"}
    )
    plain = _of_the_idle_owner(town, "plain", annotations=ALWAYS)
    wait_for(lambda: town.decided(lambda: create_dry(town.plane, plain))[1] == {}, 20, "the last registration to end")
    without_us = {name: create_dry(town.plane, pod) for name, pod in odd.items()}
    agents = _daemon_pods(town)
    assert agents.keys() == {"regular-1", "regular-2", "spot-1"}

    town.register_webhook("odd-pods")
    try:
        wait_for(lambda: "affinity" in create_dry(town.plane, plain)["spec"], 20, "pods to be steered")
        for name, pod in odd.items():
            made, decisions = town.decided(lambda pod=pod: create_dry(town.plane, pod))
            assert decisions == {name.partition(",")[0]: 1}
            assert as_its_owner_wrote_it(made) == as_its_owner_wrote_it(without_us[name]), name
        again, decisions = town.decided(lambda: _daemon_pods(town, instead_of=agents))
        assert decisions == {"daemonset": len(agents)}
        assert {node: as_its_owner_wrote_it(pod) for node, pod in again.items()} == {
            node: as_its_owner_wrote_it(pod) for node, pod in agents.items()
        }
    finally:
        town.unregister_webhook("odd-pods")
        town.plane.delete("DaemonSet", "agent", namespace=SHOP)


def test_a_mirror_pod_without_a_node_never_reaches_anybody(town: Town):
    pod = _of_the_idle_owner(town, "static", annotations=ALWAYS | MIRROR)
    with pytest.raises(ApiError, match=r"must set spec\.nodeName"):
        create_dry(town.plane, pod)


def _daemon_pods(town: Town, instead_of: Mapping[str, dict[str, Any]] | None = None) -> dict[str, dict[str, Any]]:
    """The pods of a DaemonSet that asks for spot, by node: made for the first time, or instead of those given."""
    if instead_of is None:
        template = {"metadata": {"labels": {"app": "agent"}, "annotations": ALWAYS}, "spec": manifests.pod_spec()}
        spec = {"selector": {"matchLabels": {"app": "agent"}}, "template": template}
        metadata = {"name": "agent", "namespace": SHOP}
        town.plane.apply({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": spec})
    gone = {pod["metadata"]["name"] for pod in (instead_of or {}).values()}
    for name in gone:
        town.plane.delete_pod(name, namespace=SHOP)

    def all_there() -> list[dict[str, Any]] | None:
        found = [pod for pod in town.app_pods("agent") if pod["metadata"]["name"] not in gone]
        return found if len(found) == 3 else None

    return {pod["spec"]["nodeName"]: pod for pod in wait_for(all_there, 30, "an agent on each node")}
