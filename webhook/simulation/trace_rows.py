"""The lines of a trace: what each says, and whatever is doubtful about one, in a sentence."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from math import isfinite
from typing import BinaryIO, NamedTuple

from webhook.configuration.words import NAME as NAMESPACE
from webhook.core.model import WorkloadKey
from webhook.errors import ConfigurationError, InputError

COLUMNS = ("time", "pod", "owner", "cpuCores", "memoryBytes", "receivedBytesPerSecond", "cpuRequestCores")
MOST_CORES, MOST_BYTES = 10_000.0, 1e15
"""More than any pod has; beyond it a unit was mistaken."""
MOST_LINE_BYTES = 16_384
_SHOWN = 40
_CORES, _BYTES, _RATE = "cores, such as 0.25", "bytes, such as 52428800", "bytes a second, such as 1500"
_UNIX = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
_TOO_LARGE = re.compile(r"\d{13,}(\.\d*)?", re.ASCII)
_NAME = re.compile(r"(?!.{254})[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_DEPLOYMENT = frozenset({"deploy", "deployment", "deployments"})
_OTHER_MARKS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class Row(NamedTuple):
    seconds: float
    pod: str
    owner: str
    cpu_cores: float
    memory_bytes: float
    received: float
    request_cores: float


class Doubt(Exception):  # noqa: N818 - told with the line that it is about
    """What is wrong with a line."""


class Times:
    """Reads times, and holds the file to one kind of them that never goes back."""

    def __init__(self) -> None:
        self._kind = ""
        self._last = 0.0

    def seconds(self, said: str) -> float:
        """Since 1970."""
        kind, seconds = self._read(said)
        if self._kind and kind != self._kind:
            raise Doubt(
                f"time: {_shown(said)} is of {kind}, the lines before are of {self._kind}; use one of them throughout"
            )
        if seconds < self._last:
            raise Doubt(f"time: {_shown(said)} is before the line above; sort the lines by time")
        self._kind, self._last = kind, seconds
        return seconds

    @staticmethod
    def _read(said: str) -> tuple[str, float]:
        if _UNIX.fullmatch(said):
            return "Unix seconds", float(said)
        if _TOO_LARGE.fullmatch(said):
            raise Doubt(f"time: {_shown(said)} is too large for Unix seconds; milliseconds are divided by 1000")
        try:
            moment = datetime.fromisoformat(said)
        except ValueError:
            raise Doubt(f"time: {_shown(said)} is neither RFC 3339 nor Unix seconds") from None
        if moment.tzinfo is None:
            raise Doubt(f"time: {_shown(said)} has no time zone; write it as in 2026-03-02T08:00:00Z")
        return f"time zone {moment:%z}", moment.timestamp()


def lines(stream: BinaryIO, source: str) -> Iterator[tuple[int, str]]:
    """Numbered from 1; blank ones are passed over."""
    number = 0
    while raw := stream.readline(MOST_LINE_BYTES + 1):
        number += 1
        if len(raw) > MOST_LINE_BYTES:
            raise InputError(f"{source}:{number}: the line is longer than {MOST_LINE_BYTES} bytes")
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as exc:
            raise InputError(f"{source}:{number}: not UTF-8") from exc
        if text:
            yield number, text


def _fields(text: str, expected: int | None = None) -> list[str]:
    try:
        found = [field.strip() for field in next(csv.reader([text], strict=True))]
    except csv.Error as exc:
        raise Doubt(f"no CSV: {exc}") from exc
    if expected is not None and len(found) != expected:
        raise Doubt(f"{len(found)} fields; the header has {expected}")
    return found


def header(first: tuple[int, str], source: str) -> dict[str, int]:
    """The place of each column. Raises ConfigurationError, InputError for a file without any line."""
    number, text = first
    if not text:
        raise InputError(f"{source}: the file is empty; its first line names the columns: {', '.join(COLUMNS)}")
    try:
        found = _fields(text)
    except Doubt as exc:
        raise InputError(f"{source}:{number}: {exc}") from exc.__cause__
    if len(found) == 1 and (marks := [name for mark, name in _OTHER_MARKS.items() if mark in text]):
        raise InputError(f"{source}:{number}: columns are parted by {marks[0]}; part them by commas")
    counted = Counter(found)
    faults = [f"column {name!r} is missing" for name in COLUMNS if name not in counted]
    faults += [f"column {_shown(name)} is there {n} times" for name, n in counted.items() if n > 1]
    faults += [f"column {_shown(name)} is not known; leave it out" for name in counted if name not in COLUMNS]
    if faults:
        raise ConfigurationError(faults, source=f"{source}:{number}")
    return {name: place for place, name in enumerate(found)}


def row(text: str, columns: Mapping[str, int], times: Times) -> Row:
    """What one line says. Raises Doubt."""
    fields = _fields(text, len(columns))
    said = {name: fields[place] for name, place in columns.items()}
    if not _NAME.fullmatch(said["pod"]):
        raise Doubt(f"pod: {_shown(said['pod'])} is no name of a pod")
    return Row(
        seconds=times.seconds(said["time"]),
        pod=said["pod"],
        owner=said["owner"],
        cpu_cores=_amount("cpuCores", said, MOST_CORES, _CORES),
        memory_bytes=_amount("memoryBytes", said, MOST_BYTES, _BYTES),
        received=_amount("receivedBytesPerSecond", said, MOST_BYTES, _RATE),
        request_cores=_amount("cpuRequestCores", said, MOST_CORES, _CORES),
    )


def _amount(column: str, said: Mapping[str, str], most: float, unit: str) -> float:
    text = said[column]
    try:
        value = float(text)
    except ValueError:
        raise Doubt(f"{column}: {_shown(text)} is no number; expected {unit}") from None
    if not isfinite(value) or value < 0:
        raise Doubt(f"{column}: {_shown(text)} is no amount; it must be finite and not negative")
    if value > most:
        raise Doubt(f"{column}: {_shown(text)} is more than {most:g}; expected {unit}")
    return value


def key(said: str) -> WorkloadKey:
    """The owner meant, its kind as kubectl takes it. Raises Doubt for whatever is no Deployment."""
    namespace, kind, name, *rest = [*said.split("/"), "", ""]
    if len(rest) != 2 or not kind or not (NAMESPACE.fullmatch(namespace) and _NAME.fullmatch(name)):
        raise Doubt(f"owner: {_shown(said)} is not <namespace>/Deployment/<name>, as in shop/Deployment/web")
    if kind.lower() not in _DEPLOYMENT:
        raise Doubt(f"owner: {_shown(said)} is a {kind[:_SHOWN]}; only Deployments are simulated, leave out the others")
    return WorkloadKey(namespace, "Deployment", name)


def _shown(text: str) -> str:
    """As it stands in the file, and no longer than a message can be."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
