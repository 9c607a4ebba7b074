"""The demonstration's snapshot is what the real parts say today, in schema and in every side."""

import json
from pathlib import Path

import pytest

from tests.e2e import capture

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KEPT = Path("examples/demo.snapshot.json")


def schema_of(value: object) -> object:
    """The shape of a JSON value: keys and kinds of leaves; lists by the union of their elements."""
    if isinstance(value, dict):
        return {key: schema_of(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return sorted({json.dumps(schema_of(inner), sort_keys=True) for inner in value})
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def test_a_fresh_capture_agrees_with_the_file_that_is_kept(make_town, tmp_path):
    from webhook.adapters import snapshots

    town = make_town()
    capture.build_shop(town)
    town.start()
    fresh_file = tmp_path / "fresh.json"
    capture.capture(town, fresh_file)

    kept, fresh = snapshots.load(KEPT), snapshots.load(fresh_file)
    assert set(kept.workloads) == set(fresh.workloads)
    for key, workload in kept.workloads.items():
        again = fresh.workloads[key].verdict
        assert workload.verdict is not None
        assert again is not None
        assert (workload.verdict.side, workload.verdict.evidence) == (again.side, again.evidence), str(key)
    assert set(kept.meta.versions) == set(fresh.meta.versions) != set()
    old, new = (json.loads(file.read_text()) for file in (KEPT, fresh_file))
    assert set(old) == set(new)
    assert schema_of(old["policy"]) == schema_of(new["policy"])
    assert schema_of(old["nodes"]) == schema_of(new["nodes"])
