"""The self-test as jobs run it: told when it changes, never in the way."""

import json
import logging
import threading
from datetime import datetime, timedelta

import pytest

from tests.builders import NOW
from tests.jobs.test_ops import metrics
from tests.jobs.test_sync import Scene
from tests.parts.processes import wait_for
from webhook.core.policy import Policy
from webhook.core.selftest import Code, Finding, SelfTest, Severity
from webhook.jobs.ops import Ops
from webhook.jobs.selftest import probe_and_tell, probe_and_warn
from webhook.jobs.sync import SyncSettings, SyncStatus, run


class FakeProbe:
    """A Prometheus with the findings it is given."""

    def __init__(self, *codes):
        self.codes, self.reached, self.tested, self.failure = codes, True, 0, None
        self.held = threading.Event()
        self.held.set()

    def self_test(self, policy, *, now):
        self.tested += 1
        self.held.wait(30)
        if self.failure:
            raise self.failure
        findings = tuple(
            Finding(code=code, severity=severity, sentence=f"{self.tested} pods", remedy="do it")
            for code, severity in self.codes
        )
        return SelfTest(tested_at=now, reached=self.reached, findings=findings)


ERROR, INFO = (Code.NO_CADVISOR, Severity.ERROR), (Code.DUPLICATES, Severity.INFO)


def told(caplog):
    return [
        (record.levelname, record.getMessage(), record.code) for record in caplog.records if hasattr(record, "code")
    ]


def test_a_finding_is_one_line_when_it_comes_and_one_when_it_goes(caplog):
    caplog.set_level(logging.INFO)
    probe = FakeProbe(ERROR, INFO)
    first = probe_and_tell(probe, Policy(), lambda: NOW)
    assert told(caplog) == [
        ("ERROR", "prometheus finding", "no-cadvisor"),
        ("INFO", "prometheus finding", "duplicates"),
    ]
    caplog.clear()
    second = probe_and_tell(probe, Policy(), lambda: NOW, last=first)
    assert told(caplog) == []
    probe.codes = (INFO,)
    probe_and_tell(probe, Policy(), lambda: NOW, last=second)
    assert told(caplog) == [("INFO", "prometheus finding gone", "no-cadvisor")]


def test_a_run_of_the_monitor_tells_only_what_is_wrong(caplog):
    caplog.set_level(logging.INFO)
    probe_and_warn(FakeProbe(INFO), Policy(), lambda: NOW)
    assert told(caplog) == []
    probe_and_warn(FakeProbe(INFO, ERROR), Policy(), lambda: NOW)
    assert told(caplog) == [("ERROR", "prometheus finding", "no-cadvisor")]


def test_the_ops_port_shows_findings_queries_and_one_metric_for_each_code():
    status = SyncStatus()
    ops = Ops(status, lambda: NOW + timedelta(seconds=90))
    before = json.loads(ops.answer("/api/v1/prometheus").body)
    assert before == {"schemaVersion": 1, "testedAt": None, "findings": []}
    assert not [name for name in metrics(ops) if name[0].startswith("spot_balancer_prometheus")]
    status.self_test = FakeProbe(ERROR).self_test(Policy(), now=NOW)
    page = json.loads(ops.answer("/api/v1/prometheus").body)
    assert (page["schemaVersion"], page["findings"][0]["code"]) == (1, "no-cadvisor")
    assert datetime.fromisoformat(page["testedAt"]) == NOW
    found = {name[1]: value for name, value in metrics(ops).items() if name[0] == "spot_balancer_prometheus_finding"}
    assert found.keys() == {code.value for code in Code}
    assert {code for code, value in found.items() if value} == {"no-cadvisor"}
    assert metrics(ops)["spot_balancer_prometheus_self_test_age_seconds",] == 90


def test_what_was_not_reached_is_tested_again_soon(tmp_path):
    probe = FakeProbe()
    sync = Scene(tmp_path / "snapshot", probe=probe).sync
    assert sync.test_usage() == 600
    probe.reached = False
    assert sync.test_usage() == 60


@pytest.mark.parametrize("trouble", ["hangs", "breaks"])
def test_a_self_test_that_hangs_or_breaks_holds_up_nothing(tmp_path, trouble):
    probe, stop = FakeProbe(ERROR), threading.Event()
    scene = Scene(tmp_path / "snapshot", probe=probe)
    if trouble == "hangs":
        probe.held.clear()
    else:
        probe.failure = RuntimeError("out of tune")
    quick = SyncSettings(refresh_seconds=0.01, load_seconds=0.01, self_test_again_seconds=0.01)
    loop = threading.Thread(target=run, args=(scene.deps, quick, stop, scene.status))
    loop.start()
    try:
        wait_for(lambda: scene.status.snapshot and scene.usage.asked and probe.tested, 20, "a snapshot and a node load")
        assert scene.status.self_test is None
        probe.failure = None
        probe.held.set()
        wait_for(lambda: scene.status.self_test, 20, "the self-test")
    finally:
        stop.set()
        loop.join(20)
