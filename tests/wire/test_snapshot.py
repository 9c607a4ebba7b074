"""Snapshots keep what they hold, in one document and in parts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import idle_shop_snapshot
from tests.strategies import snapshots
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


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d | {"kind": "Pod"}, "kind: 'Pod'; expected Snapshot"),
        (lambda d: d | {"schemaVersion": 2}, "this release reads 1"),
        (lambda d: d | {"capturedAt": "yesterday"}, "capturedAt"),
        (lambda d: d | {"capturedAt": "2026-03-14T15:09:26"}, "zone"),
        (lambda d: d | {"nodes": [{"name": "n"}]}, r"\$\.nodes\[0\]"),
        (lambda d: {"kind": "Snapshot"}, "schemaVersion"),
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
    with pytest.raises(SnapshotError, match="namespaces is missing"):
        wire.decode_manifest(wire.encode_manifest(idle_shop_snapshot().meta, {}))
