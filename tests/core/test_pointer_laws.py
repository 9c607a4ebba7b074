"""A key of any shape becomes one token of a JSON Pointer: evaluated by another library, it leads to its own value alone."""

import json

import jsonpatch
import jsonpointer
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from webhook.core import patch
from webhook.core.placement import Changes

PIECES = [
    "~",
    "/",
    "~0",
    "~1",
    "~01",
    "~10",
    "-",
    "0",
    "01",
    "",
    " ",
    "%2F",
    "#",
    '"',
    "\\",
    "\x00",
    "\n",
    "é",
    "k" * 10_000,
]
KEYS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.lists(st.sampled_from(PIECES), max_size=4).map("".join),
)
ANNOTATIONS = "/metadata/annotations"


@given(KEYS)
def test_an_escaped_key_is_one_token_that_reads_back_as_the_key(key):
    pointer = jsonpointer.JsonPointer(f"{ANNOTATIONS}/{patch.escape(key)}")
    assert pointer.parts == ["metadata", "annotations", key]
    assert patch.escape(key) == jsonpointer.escape(key)


@given(KEYS, KEYS)
def test_two_keys_never_become_one_token(one, other):
    assert (patch.escape(one) == patch.escape(other)) == (one == other)


@given(
    st.dictionaries(KEYS, st.text(max_size=5), min_size=1, max_size=4),
    st.dictionaries(KEYS, KEYS, min_size=1, max_size=4),
)
def test_annotations_of_any_shape_come_to_stand_under_their_own_keys_and_touch_no_other(theirs, wanted):
    raw = builders.make_pod()
    raw["metadata"]["annotations"] = theirs
    operations = patch.build(raw, Changes(annotations=wanted))
    sent = json.loads(json.dumps(operations))
    after = jsonpatch.JsonPatch(sent).apply(raw)
    assert after["metadata"]["annotations"] == theirs | wanted
    assert after == patch.apply(raw, operations)
    for operation in sent:
        assert jsonpointer.resolve_pointer(after, operation["path"]) == operation["value"]
    assert {**after, "metadata": {**after["metadata"], "annotations": theirs}} == raw
