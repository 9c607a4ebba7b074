"""The verdict book as text in ConfigMaps: shards of verdicts, and the control object.

A shard's JSON is indented and ordered by key, so that people can read it with kubectl and an
unchanged shard is unchanged bytes. A shard that cannot be read gives no verdicts: for lack of
one, nothing is patched and nothing moves.
"""

from collections import defaultdict
from hashlib import sha256

import msgspec

from webhook.core.book import Book, Control
from webhook.core.model import Value, Verdict

SCHEMA_VERSION = 1
SHARDS = 16


class _Shard(Value, frozen=True, omit_defaults=False):
    schema_version: int
    verdicts: dict[str, msgspec.Raw] = {}


class _Control(Value, frozen=True, omit_defaults=False):
    schema_version: int
    control: Control = Control()


class Reading(Value, frozen=True):
    """What a shard's text says; ``lost`` are sentences on what it does not say any more."""

    verdicts: dict[str, Verdict] = {}
    lost: tuple[str, ...] = ()


def shard_of(workload: str) -> int:
    """0..15, the same in every process and release."""
    return sha256(workload.encode()).digest()[0] % SHARDS


def encode_shards(book: Book) -> dict[int, str]:
    """The text of all sixteen."""
    shards: defaultdict[int, dict[str, Verdict]] = defaultdict(dict)
    for name in sorted(book.verdicts):
        shards[shard_of(name)][name] = book.verdicts[name]
    return {number: _text({"schemaVersion": SCHEMA_VERSION, "verdicts": shards[number]}) for number in range(SHARDS)}


def decode_shard(text: str) -> Reading:
    """Every verdict that can be read; none is guessed."""
    try:
        found = msgspec.json.decode(text.encode(), type=_Shard)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        return Reading(lost=(f"no shard of the book: {exc}",))
    if found.schema_version != SCHEMA_VERSION:
        return Reading(lost=(f"schema version {found.schema_version}; this release reads {SCHEMA_VERSION}",))
    verdicts, lost = {}, []
    for name, raw in found.verdicts.items():
        try:
            verdict = msgspec.json.decode(raw, type=Verdict)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
            lost.append(f"{name}: {exc}")
            continue
        if str(verdict.key) == name:
            verdicts[name] = verdict
        else:
            lost.append(f"{name}: holds a verdict of {verdict.key}")
    return Reading(verdicts=verdicts, lost=tuple(lost))


def encode_control(control: Control) -> str:
    """The control object's text."""
    return _text(_Control(schema_version=SCHEMA_VERSION, control=control))


def decode_control(text: str) -> Control:
    """Read it back. Raises ValueError; without a heartbeat nothing is patched, so a guess would be worse."""
    found = msgspec.json.decode(text.encode(), type=_Control)
    if found.schema_version != SCHEMA_VERSION:
        raise ValueError(f"schema version {found.schema_version}; this release reads {SCHEMA_VERSION}")
    return found.control


def _text(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1).decode() + "\n"
