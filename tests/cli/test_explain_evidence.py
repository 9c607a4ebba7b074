"""`explain` on evidence that a run really gave: each signal's samples and age, and what is missing, word for word."""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from tests import builders
from tests.core.usage_builders import AT, KEY, POLICY, idle_workload
from webhook.core.idleness import judge
from webhook.core.policy import SidePolicy
from webhook.core.sides import advance
from webhook.wire.snapshot import encode_document

USAGES = {
    "gap": idle_workload(cpu_points=41, last_sample_at=AT - timedelta(seconds=44)),
    "between": idle_workload(cpu_peak_cores=0.015),
    "restarted": idle_workload(restarts=1),
}


@pytest.fixture
def snapshot(tmp_path):
    def written(name):
        found = judge(USAGES[name], POLICY, now=AT)
        verdict = advance(None, found, key=KEY, uid="uid-nginx-demo", policy=SidePolicy(), now=AT)
        file = tmp_path / f"{name}.json"
        workload = builders.make_workload("nginx-demo", verdict=verdict)
        file.write_bytes(encode_document(builders.make_snapshot(workload, captured_at=AT, book_heartbeat=AT)))
        return str(file)

    return written


@pytest.mark.parametrize("name", USAGES)
def test_explain_tells_what_was_seen_and_what_is_missing(cli, snapshot, name):
    text = cli("explain", "shop/deploy/nginx-demo", "--snapshot", snapshot(name)).out
    told = text.partition("SETTING")[0]
    golden = Path(__file__).parent / "golden" / f"evidence.{name}.txt"
    if os.environ.get("RENEW_GOLDEN"):
        golden.write_text(told)
    assert told == golden.read_text()


def test_json_has_the_same_as_numbers(cli, snapshot):
    told = json.loads(cli("explain", "shop/deploy/nginx-demo", "--snapshot", snapshot("gap"), "-o", "json").out)
    cpu, received = told["signals"]
    assert (cpu["samples"], cpu["samplesExpected"], cpu["sampledAt"]) == (41, 60, "2026-03-05T11:59:23.123000Z")
    assert received["samples"] == received["samplesExpected"] == 60
    assert told["missingForSpot"][0] == "cpu: 60 samples in the window; 41 were there"
