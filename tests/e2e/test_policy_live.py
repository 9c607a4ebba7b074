"""Rules, signals of one's own, batch and pause, through a real Prometheus and a real API server."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e.town import REGULAR, SHOP, SPOT, Town
from tests.parts import manifests
from tests.parts.kube_api import MERGE_PATCH, path_of
from tests.parts.processes import wait_for
from webhook.adapters import snapshots
from webhook.adapters.cluster import Cluster
from webhook.adapters.kubeapi import connect
from webhook.core import batch_runs
from webhook.core.census import CronStatus
from webhook.core.model import WorkloadKey
from webhook.core.owners import cron_job_of
from webhook.core.policy import Policy

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DEMO, CACHE, OTHER, NIGHTLY = (
    f"{SHOP}/{name}" for name in ("Deployment/nginx-demo", "Deployment/cache", "Deployment/other", "CronJob/nightly")
)
MEMORY = {
    "name": "memory",
    "query": 'sum by (namespace, pod) (container_memory_working_set_bytes{container!=""})',
    "idleBelow": 500_000_000,
    "unit": "bytes",
}
WANTED = {
    "name": "wanted",
    "query": (
        "label_replace(max by (namespace, replicaset) (kube_replicaset_spec_replicas), "
        '"workload", "$1", "replicaset", "(.*)-[^-]+")'
    ),
    "idleBelow": 2,
    "of": "workload",
}
CONFIG: dict[str, Any] = {
    "mode": "observe",
    "rules": [
        {
            "name": "caches",
            "match": {"names": ["/cach.*/"], "namespaceLabels": {"env": "/dev|test/"}},
            "mode": "inject",
            "idle": {"signals": [MEMORY]},
        },
        {"name": "demos", "match": {"names": ["nginx-demo"]}, "mode": "inject", "idle": {"signals": [WANTED]}},
        {
            "name": "batch",
            "match": {"kinds": ["CronJob"]},
            "mode": "inject",
            "idle": {"batch": {"minRuns": 1, "maxDuration": "2m"}},
        },
    ],
}


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    town = make_town(**CONFIG)
    town.plane.node("regular-1", labels=REGULAR)
    town.plane.node("spot-1", labels=SPOT)
    town.plane.namespace(SHOP, labels={"env": "dev"})
    for name in ("nginx-demo", "cache", "other"):
        town.exporter.set_usage(SHOP, name, cpu_cores=0.001, rx_bytes_per_s=50, memory_bytes=1e8)
        town.plane.deployment(name, namespace=SHOP)
    wait_for(lambda: all(town.app_pods(name) for name in ("nginx-demo", "cache", "other")), 30, "three pods")
    town.start()
    town.register_webhook()
    return town


@pytest.fixture(autouse=True)
def as_configured(town: Town) -> None:
    """Whatever another test changed."""
    town.configure(CONFIG)
    wait_for(lambda: snapshots.load(town.snapshots).meta.policy.mode == "observe", 30, "the configuration")
    town.exporter.set_usage(SHOP, "cache", cpu_cores=0.001, rx_bytes_per_s=50, memory_bytes=1e8)
    town.await_server()


def signals(town: Town, workload: str) -> dict[str, dict[str, Any]]:
    return {signal["name"]: signal for signal in town.explain(workload)["signals"]}


def test_a_rule_injects_where_the_configuration_only_looks_and_its_own_signal_keeps_a_busy_cache_away(town: Town):
    town.exporter.set_usage(SHOP, "cache", cpu_cores=0.001, rx_bytes_per_s=50, memory_bytes=2e9)
    town.monitor_until(OTHER, side="spot", evidence="idle")
    town.monitor_until(DEMO, side="spot", evidence="idle")
    verdict = town.monitor_until(CACHE, evidence="active")
    assert verdict["side"] == "regular"
    assert "memory of pod cache-" in verdict["reason"]

    answer = town.explain(CACHE)
    assert (answer["consent"]["rule"], answer["consent"]["modeFrom"]) == ("caches", "rule")
    assert signals(town, CACHE)["memory"]["value"] == pytest.approx(2e9)
    assert "memory" not in signals(town, OTHER)
    assert signals(town, DEMO)["wanted"]["value"] == 1.0

    moved, stayed = town.replace_pod(town.app_pods("nginx-demo")[0]), town.replace_pod(town.app_pods("other")[0])
    assert town.side_of(moved) == "spot"
    assert "affinity" not in stayed["spec"], "the configuration's own mode is observe"

    town.exporter.set_usage(SHOP, "cache", cpu_cores=0.001, rx_bytes_per_s=50, memory_bytes=1e8)
    town.monitor_until(CACHE, side="spot", evidence="idle")
    assert town.side_of(town.replace_pod(town.app_pods("cache")[0])) == "spot"


def test_a_signal_of_the_whole_workload_wakes_it(town: Town):
    town.monitor_until(DEMO, side="spot", evidence="idle")
    town.plane.scale("nginx-demo", 4, namespace=SHOP)
    verdict = town.monitor_until(DEMO, side="regular")
    assert "wanted of the workload was 4" in verdict["reason"]
    town.plane.scale("nginx-demo", 1, namespace=SHOP)


def test_a_cron_job_goes_to_spot_by_its_past_runs(town: Town):
    uid = town.plane.apply(manifests.cron_job("nightly", namespace=SHOP))["metadata"]["uid"]
    town.exporter.set_usage(SHOP, "nightly", cpu_cores=2.0, rx_bytes_per_s=50)
    town.monitor_until(NIGHTLY, reason="0 runs ended in 7 days; 1 are needed")
    assert town.verdict(NIGHTLY)["evidence"] == "unknown"

    first = run_of(town, "nightly-29384756", uid)
    assert "affinity" not in first["spec"]
    verdict = town.monitor_until(NIGHTLY, evidence="idle", side="spot")
    assert "1 runs were small and succeeded" in verdict["reason"]
    (run,) = town.explain(NIGHTLY)["runs"]
    assert run["cpuSeconds"] > 0

    second = run_of(town, "nightly-29386196", uid)
    assert town.side_of(second) == "spot"
    assert second["metadata"]["annotations"]["spot-balancer.io/decision"].startswith("v1/spot/preferred")


def run_of(town: Town, name: str, uid: str) -> dict[str, Any]:
    """One run: a Job of the CronJob whose pod works until Prometheus has seen it, and then succeeds. Its pod.

    The CronJob says that it was due, as its controller does.
    """
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": uid, "controller": True}
    job = manifests.job(name, namespace=SHOP, completes=False)
    job["metadata"]["ownerReferences"] = [owner]
    town.plane.apply(job)
    due = datetime.fromtimestamp(int(name.rpartition("-")[2]) * 60, tz=UTC)
    status = {"status": {"lastScheduleTime": f"{due:%Y-%m-%dT%H:%M:%SZ}"}}
    path = path_of("CronJob", namespace=SHOP, name="nightly") + "/status"
    town.plane.api("PATCH", path, status, content_type=MERGE_PATCH)
    (pod,) = wait_for(lambda: town.app_pods(name), 30, f"the pod of {name}")
    named = pod["metadata"]["name"]
    query = f'container_cpu_usage_seconds_total{{pod="{named}",container!=""}} > 0'
    wait_for(lambda: town.prometheus.query(query), 30, f"{named} to be scraped")
    complete(town, named)
    town.monitor()
    wait_for(lambda: ended(town, name), 30, f"{name} to end", every_s=0.5)
    town.monitor()
    return pod


def complete(town: Town, pod: str) -> None:
    completes = {"metadata": {"annotations": {manifests.COMPLETES: "true"}}}
    town.plane.api("PATCH", path_of("Pod", namespace=SHOP, name=pod), completes, content_type=MERGE_PATCH)


def ended(town: Town, name: str) -> bool:
    conditions = town.plane.get("Job", name, namespace=SHOP)["status"].get("conditions", [])
    return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)


def test_a_run_that_the_real_controller_started_is_led_to_its_cron_job_and_counted_once(town: Town):
    """What rests on how the CronJob controller names a Job and what it says of it, of which nothing is written here."""
    plane, name = town.plane, "every-minute"
    key = WorkloadKey(SHOP, "CronJob", name)
    plane.apply(
        manifests.cron_job(name, namespace=SHOP, schedule="* * * * *", annotations={"spot-balancer.io/spot": "always"})
    )
    wait_for(lambda: key in snapshots.load(town.snapshots).workloads, 20, "sync to see the CronJob")
    town.await_server()
    suspend(town, name, False)
    (pod,), decisions = town.decided(
        lambda: wait_for(lambda: plane.running(SHOP, f"app={name}"), 90, "the first run", every_s=0.5)
    )
    suspend(town, name, True)
    assert decisions == {"spot-preferred": 1}
    assert pod["metadata"]["annotations"]["spot-balancer.io/decision"] == "v1/spot/preferred/0"
    assert town.side_of(pod) == "spot"

    (job,) = (found["name"] for found in pod["metadata"]["ownerReferences"])
    assert cron_job_of(job) == name
    due = datetime.fromtimestamp(int(job.rpartition("-")[2]) * 60, tz=UTC)
    last = wait_for(lambda: last_schedule_of(town, name), 10, "the controller to tell of it")
    assert last == due
    under_way = look_at(town, key)
    assert under_way.schedule == CronStatus(last_schedule_at=due, active=(job,))
    assert [(run.job, run.started_at) for run in under_way.due] == [(job, due)]
    assert [run.job for run in under_way.under_way] == [job]
    assert under_way.hidden == ()
    assert [run.job for run in batch_runs.remembered((), under_way)] == [job]

    complete(town, pod["metadata"]["name"])
    wait_for(lambda: ended(town, job), 30, f"{job} to end")
    wait_for(lambda: not look_at(town, key).schedule.active, 10, "the controller to tell of its end")
    after = look_at(town, key)
    known = batch_runs.remembered(batch_runs.remembered((), under_way), after)
    assert [(run.job, run.ended, run.succeeded) for run in known] == [(job, True, True)]
    town.monitor()
    assert [(run["job"], run["succeeded"]) for run in town.explain(str(key))["runs"]] == [(job, True)]
    plane.delete("CronJob", name, namespace=SHOP)


def suspend(town: Town, name: str, is_suspended: bool) -> None:
    path = path_of("CronJob", namespace=SHOP, name=name)
    town.plane.api("PATCH", path, {"spec": {"suspend": is_suspended}}, content_type=MERGE_PATCH)


def last_schedule_of(town: Town, name: str) -> datetime | None:
    told = town.plane.get("CronJob", name, namespace=SHOP).get("status", {}).get("lastScheduleTime")
    return datetime.fromisoformat(told) if told else None


def look_at(town: Town, key: WorkloadKey) -> batch_runs.Look:
    """What a census of this moment tells of the runs, as the monitor takes it."""
    api = connect(str(town.plane.admin_kubeconfig))
    try:
        census = Cluster(api, lambda: datetime.now(UTC)).census()
    finally:
        api.close()
    policies = {key: Policy().idle}
    return batch_runs.looks(census, None, policies, policy=Policy(), now=census.taken_at)[key]


def test_pause_takes_effect_without_a_restart_and_ends_as_quietly(town: Town):
    town.monitor_until(OTHER, side="spot", evidence="idle")
    pid = town.sync.pid

    def paused(expected: tuple[str, ...]) -> bool:
        return snapshots.load(town.snapshots).meta.policy.pause == expected

    town.configure({**CONFIG, "mode": "inject"})
    wait_for(lambda: "affinity" in replaced(town)["spec"], 30, "pods to be steered", every_s=0.5)
    town.configure({**CONFIG, "mode": "inject", "pause": ["injection"]})
    wait_for(lambda: paused(("injection",)), 30, "the pause to reach the snapshot")
    wait_for(lambda: "affinity" not in replaced(town)["spec"], 20, "pods to be left alone", every_s=0.5)
    assert town.decisions()["paused"] > 0
    assert town.explain(OTHER)["decision"] == "paused"
    town.configure({**CONFIG, "mode": "inject", "pause": []})
    wait_for(lambda: paused(()), 30, "the pause to end")
    wait_for(lambda: "affinity" in replaced(town)["spec"], 20, "pods to be steered again", every_s=0.5)
    assert town.sync.pid == pid
    assert WorkloadKey.parse(OTHER) in snapshots.load(town.snapshots).workloads


def replaced(town: Town) -> dict[str, Any]:
    return town.replace_pod(town.app_pods("other")[0])
