"""The demonstration's snapshot is what the real parts say today, in schema and in every side."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import capture

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KEPT = Path("examples/demo.snapshot.json")
# Their keys are names from the world; all other keys are ours.
MAPS = (".labels", ".annotations")


def shape_of(value: object, path: str = "") -> Iterator[str]:
    """Each path that there is with the kind of what stands there; elements of a list, and of a map, share one path."""
    if isinstance(value, dict):
        yield f"{path}: object"
        for key, inner in value.items():
            yield from shape_of(inner, path + ("{}" if path.endswith(MAPS) else f".{key}"))
    elif isinstance(value, list):
        yield f"{path}: list"
        for inner in value:
            yield from shape_of(inner, f"{path}[]")
    else:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        yield f"{path}: {'number' if is_number else type(value).__name__}"


def shapes(document: dict) -> dict[str, set[str]]:
    """Of the document as a whole, and of each workload, since one may have what another must lack.

    The census is left out: nothing of the demonstration is planned from it.
    """
    document = {key: value for key, value in document.items() if key != "census"}
    named = {f"{w['key']['kind']}/{w['key']['name']}": set(shape_of(w)) for w in document["workloads"]}
    return {"document": set(shape_of(document))} | named


def test_the_shape_of_a_document_is_its_keys_and_kinds_and_no_name():
    node = {"name": "a", "labels": {"zone": "b"}, "ready": True, "load": None}
    told = set(shape_of({"nodes": [node, {"name": "c", "load": 1}]}))
    assert told == {
        ": object",
        ".nodes: list",
        ".nodes[]: object",
        ".nodes[].name: str",
        ".nodes[].labels: object",
        ".nodes[].labels{}: str",
        ".nodes[].ready: bool",
        ".nodes[].load: NoneType",
        ".nodes[].load: number",
    }


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
    assert set(kept.namespaces) == set(fresh.namespaces)
    old, new = (shapes(json.loads(file.read_text())) for file in (KEPT, fresh_file))
    assert {name: sorted(old[name] ^ new[name]) for name in old if old[name] != new[name]} == {}
