"""Snapshots keep what they hold, in one document and in parts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW, idle_shop_snapshot
from tests.strategies import snapshots
from webhook.core.census import Census, ControllerFact, NodeFact, PodFact, PodNeeds, Rollout
from webhook.core.constraints import Constraints, DisruptionBudget, Quota
from webhook.core.model import Requirement
from webhook.core.snapshot import Snapshot
from webhook.errors import SnapshotError
from webhook.wire import snapshot as wire


def contents(snapshot: Snapshot):
    return (
        snapshot.meta,
        dict(snapshot.nodes),
        dict(snapshot.namespaces),
        dict(snapshot.workloads),
        dict(snapshot.controllers),
    )


def through_parts(snapshot: Snapshot) -> Snapshot:
    bodies = wire.encode_parts(snapshot)
    parts = {name: wire.describe_part(name, body) for name, body in bodies.items()}
    manifest = wire.decode_manifest(wire.encode_manifest(snapshot.meta, parts))
    assembly = wire.Assembly()
    for name in wire.PARTS:
        for line in bodies[name].splitlines():
            assembly.add(name, line)
    return assembly.snapshot(manifest)


@given(snapshots())
def test_a_document_holds_the_whole_snapshot(snapshot):
    assert contents(wire.decode_document(wire.encode_document(snapshot))) == contents(snapshot)


def with_census(census: Census) -> Snapshot:
    found = idle_shop_snapshot()
    return Snapshot(
        found.meta,
        nodes=found.nodes.values(),
        namespaces=found.namespaces.values(),
        workloads=found.workloads.values(),
        census=census,
    )


NEEDS = PodNeeds(
    labels=(("app", "web"),),
    terms=((Requirement("zone", "In", ("a",)),), ()),
    extended=(("gpu", 1.0),),
    claims=("data",),
)
CENSUS = Census(
    taken_at=NOW,
    nodes=(NodeFact("n1", labels={"zone": "a"}, extended={"gpu": 1.0}),),
    pods=(PodFact("shop", "web-1", "u", created_at=NOW, ready_at=NOW, needs=NEEDS),),
    controllers=(
        ControllerFact("apps/v1", "Deployment", "shop", "web", "u", created_at=NOW, rollout=Rollout(updated=1)),
    ),
    constraints=Constraints(
        budgets=(DisruptionBudget("shop", "web", min_available="1"),),
        quotas=(Quota("shop", "q", hard={"pods": 3.0}),),
        missing=("StorageClass",),
    ),
)


def test_a_document_keeps_the_census_it_was_given_and_parts_and_other_documents_have_none():
    snapshot = with_census(CENSUS)
    again = wire.decode_document(wire.encode_document(snapshot))
    assert again.census == CENSUS
    assert wire.encode_document(wire.decode_document(wire.encode_document(again))) == wire.encode_document(again)
    assert through_parts(snapshot).census is None
    plain = wire.encode_document(idle_shop_snapshot())
    assert b"census" not in plain
    assert wire.decode_document(plain).census is None


@given(snapshots())
def test_parts_hold_the_whole_snapshot(snapshot):
    assert contents(through_parts(snapshot)) == contents(snapshot)


@given(snapshots())
def test_equal_snapshots_have_equal_bytes(snapshot):
    again = wire.decode_document(wire.encode_document(snapshot))
    assert wire.encode_document(again) == wire.encode_document(snapshot)
    assert wire.encode_parts(again) == wire.encode_parts(snapshot)


def test_a_document_is_readable_json_that_says_what_it_is():
    text = wire.encode_document(idle_shop_snapshot()).decode()
    document = json.loads(text)
    assert (document["kind"], document["schemaVersion"]) == ("Snapshot", 1)
    assert document["capturedAt"] == "2026-03-14T15:09:26Z"
    assert text.startswith('{\n  "kind": "Snapshot",\n')
    assert text.endswith("}\n")


TAKEN = {"takenAt": "2026-03-14T15:09:26Z"}
POD = {"namespace": "shop", "name": "p", "uid": "u"}
UNZONED = {"createdAt": "2026-03-14T15:09:26"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d | {"kind": "Pod"}, "kind: 'Pod'; expected Snapshot"),
        (lambda d: d | {"schemaVersion": 2}, "this release reads 1"),
        (lambda d: d | {"capturedAt": "yesterday"}, "capturedAt"),
        (lambda d: d | {"capturedAt": "2026-03-14T15:09:26"}, "zone"),
        (lambda d: d | {"nodes": [{"name": "n"}]}, r"\$\.nodes\[0\]"),
        (lambda d: {"kind": "Snapshot"}, "schemaVersion"),
        (lambda d: d | {"census": {}}, r"takenAt.*\$\.census"),
        (lambda d: d | {"census": None}, r"\$\.census"),
        (lambda d: d | {"census": TAKEN | {"pods": [{"name": "p"}]}}, r"\$\.census\.pods\[0\]"),
        (lambda d: d | {"census": {"takenAt": "2026-03-14T15:09:26"}}, r"\$\.census\.takenAt: .*zone"),
        (lambda d: d | {"census": TAKEN | {"pods": [POD, POD | UNZONED]}}, r"pods\[1\]\.createdAt: .*zone"),
        (lambda _: [], "array"),
    ],
)
def test_what_is_no_snapshot_is_told_what_and_where(spoil, message):
    document = json.loads(wire.encode_document(idle_shop_snapshot()))
    with pytest.raises(SnapshotError, match=message):
        wire.decode_document(json.dumps(spoil(document)).encode())


@given(st.data())
def test_a_document_cut_off_or_spoilt_is_a_snapshot_or_a_refusal(data):
    text = wire.encode_document(idle_shop_snapshot())
    cut = text[: data.draw(st.integers(0, len(text) - 2))]
    with pytest.raises(SnapshotError):
        wire.decode_document(cut)


@pytest.mark.parametrize("name", ["../../etc/passwd.ndjson", "/etc/x.ndjson", ".hidden.ndjson", "x.json", ""])
def test_a_part_lies_in_its_directory_and_nowhere_else(name):
    parts = {part: wire.Part(file=name, digest="", size_bytes=0) for part in wire.PARTS}
    with pytest.raises(SnapshotError, match="no name of a part"):
        wire.decode_manifest(wire.encode_manifest(idle_shop_snapshot().meta, parts))


def test_a_manifest_names_every_part():
    with pytest.raises(SnapshotError, match="bound is missing"):
        wire.decode_manifest(wire.encode_manifest(idle_shop_snapshot().meta, {}))
