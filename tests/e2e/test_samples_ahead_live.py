"""Samples from the future in a real Prometheus, backfilled by promtool: what is told for now was so a while ago.

Two pods are at rest by every figure there is, but one metric of each goes on for minutes that have not come yet, as
from a node whose clock is ahead. A third is whole.
"""

from datetime import UTC, datetime, timedelta

import pytest

from tests.parts.prometheus import PrometheusServer, backfill
from webhook.adapters.usage import Prometheus, PrometheusSettings
from webhook.core.census import Census, ControllerFact, PodFact
from webhook.core.idleness import Code, judge
from webhook.core.model import ControllerRef, WorkloadKey
from webhook.core.policy import IdlePolicy
from webhook.core.usage import by_workload

pytestmark = [pytest.mark.e2e]

CPU, RECEIVED = "container_cpu_usage_seconds_total", "container_network_receive_bytes_total"
AHEAD = {"whole": {}, "cpu-ahead": {CPU: 6}, "received-ahead": {RECEIVED: 6}}
"""Minutes beyond now, by namespace and metric."""
POLICY = IdlePolicy()


def exposition(now):
    """OpenMetrics text of the last 75 minutes and the next few; each sample a minute, the newest half a minute ahead."""
    families = {CPU: 'container="app"', RECEIVED: 'interface="eth0"', "kube_pod_start_time": ""}
    families |= {"kube_pod_status_phase": 'phase="Running"', "kube_pod_container_info": 'container="app"'}
    families["kube_pod_owner"] = 'owner_kind="ReplicaSet",owner_name="web-1",owner_is_controller="true"'
    for name, labels in families.items():
        for namespace, ahead in AHEAD.items():
            inside = ",".join(filter(None, (f'namespace="{namespace}",pod="web-1-a"', labels)))
            inside += "" if name in {CPU, RECEIVED} else ',uid="uid-web-1-a"'
            for minute in range(-75, ahead.get(name, 0) + 1):
                values = {CPU: 1000 + 0.01 * minute, RECEIVED: 1e6 + 50 * minute}
                value = values.get(name, (now - timedelta(days=1)).timestamp() if name == "kube_pod_start_time" else 1)
                yield f"{name}{{{inside}}} {value:.3f} {now.timestamp() + 60 * minute + 30:.3f}\n"
    yield "# EOF\n"


def census(now):
    born = now - timedelta(days=1)
    owner = ControllerRef(kind="ReplicaSet", name="web-1")
    pods = tuple(
        PodFact(
            namespace=name,
            name="web-1-a",
            uid="uid-web-1-a",
            controller=owner,
            phase="Running",
            created_at=born,
            started_at=born,
        )
        for name in AHEAD
    )
    controllers = tuple(
        ControllerFact(api_version="apps/v1", kind="Deployment", namespace=name, name="web", uid="w", created_at=born)
        for name in AHEAD
    )
    return Census(taken_at=now, pods=pods, controllers=controllers)


@pytest.mark.fault(37)
def test_a_pod_with_samples_of_the_future_is_not_at_rest_whichever_metric_tells_of_it(build_shown, tmp_path):
    build_shown("prometheus", "promtool")
    now = datetime.now(UTC)
    backfill("".join(exposition(now)), tmp_path / "data")
    owners = {(name, "ReplicaSet", "web-1"): WorkloadKey(name, "Deployment", "web") for name in AHEAD}
    with PrometheusServer(tmp_path) as server:
        source = Prometheus(PrometheusSettings(url=server.url))
        sweep = source.sweep(POLICY)
        source.close()
    usages = by_workload(census(now), sweep, owners=owners)
    codes = {key.namespace: judge(usage, POLICY, now=datetime.now(UTC)).code for key, usage in usages.items()}
    assert codes == {"whole": Code.IDLE, "cpu-ahead": Code.CLOCK, "received-ahead": Code.CLOCK}
