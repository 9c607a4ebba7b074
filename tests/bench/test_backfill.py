"""What benchmarks give a Prometheus to remember, and how they measure a program."""

import json
import random
import subprocess
import sys
from itertools import pairwise

import pytest

from bench import backfill, measured


def test_a_family_is_a_type_and_then_the_lines_of_each_series():
    text = "".join(backfill.family("requests_total", [('pod="a"', [" 1 60\n", " 2 120\n"]), ('pod="b"', [" 5 60\n"])]))
    assert text == (
        "# TYPE requests counter\n"
        'requests_total{pod="a"} 1 60\nrequests_total{pod="a"} 2 120\nrequests_total{pod="b"} 5 60\n'
    )


def test_what_is_no_total_is_a_gauge():
    assert next(iter(backfill.family("kube_pod_owner", []))) == "# TYPE kube_pod_owner gauge\n"


def test_a_counter_rises_by_half_to_half_as_much_again_of_its_rate():
    samples = backfill.counter(random.Random(1), range(0, 6000, 60), lowest=2.0, highest=2.0)
    values = [float(sample.split()[0]) for sample in samples]
    assert [int(sample.split()[1]) for sample in samples] == list(range(0, 6000, 60))
    assert all(60 <= later - earlier <= 180 for earlier, later in pairwise(values))


def _measured(tmp_path, *command):
    told, output = tmp_path / "told.json", tmp_path / "output"
    line = [sys.executable, "-I", "-S", measured.__file__, str(told), str(output), *command]
    subprocess.run(line, check=True, timeout=60)
    return json.loads(told.read_text()), output.read_text()


@pytest.mark.parametrize("status", [0, 3])
def test_a_measured_program_keeps_its_output_and_its_status(tmp_path, status):
    told, output = _measured(tmp_path, sys.executable, "-c", f"print('said'); raise SystemExit({status})")
    assert output == "said\n"
    assert told["status"] == status
    assert min(told["seconds"], told["cpuSeconds"]) > 0


def test_a_program_is_measured_by_its_own_memory_and_not_by_its_starters(tmp_path):
    ours = bytearray(b"x" * 200 * 2**20)
    told, _ = _measured(tmp_path, sys.executable, "-c", "bytearray(b'x' * 64 * 2**20)")
    assert 64 < told["peakMebibytes"] < 160
    del ours
