"""Prometheus' answers to instant queries, read strictly: what is odd is refused, never guessed.

Thanos and Mimir say ``warnings`` when a part of them did not answer, VictoriaMetrics says
``isPartial``; either makes the whole answer one that nothing may rest on. ``infos`` are remarks on the
query itself and harmless. Further keys, such as ``stats``, are passed over.

A value that is NaN, infinite, negative or no number is dropped and counted: the pod it
belongs to then has no value, which is neither idle nor hot.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import copysign, isfinite
from sys import intern
from typing import NamedTuple, TypeVar

import msgspec

from webhook.errors import UsageUnavailable

_LONGEST_MESSAGE = 300
_LIMITS = ("too many samples", "the maximum number of", "exceeded the aggregated", "-search.max", "limit violated")
"""As Prometheus, Mimir (``err-mimir-max-...``), VictoriaMetrics and Thanos say that a query reads too much."""
T = TypeVar("T")

Labels = Mapping[str, str]


class Row(NamedTuple):
    """One series of a vector: its labels and its value, finite and not negative."""

    labels: Labels
    value: float


class Vector(NamedTuple):
    """``dropped`` counts the rows whose value could not be believed; ``infos`` are remarks on the query."""

    rows: tuple[Row, ...]
    dropped: int
    infos: tuple[str, ...] = ()


class _Data(msgspec.Struct, rename="camel"):
    result_type: str = ""
    result: msgspec.Raw = msgspec.Raw(b"null")


class _Answer(msgspec.Struct, rename="camel"):
    status: str = ""
    data: _Data | None = None
    error_type: str = ""
    error: str = ""
    warnings: list[str] | None = None
    infos: list[str] | None = None
    is_partial: bool = False


class _Series(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str] | None = None  # a native histogram has another key in its place


class PodLabels(msgspec.Struct, gc=False):
    """What is read of a series about a pod; empty where it does not carry that label."""

    namespace: str = ""
    pod: str = ""
    container: str = ""
    uid: str = ""
    owner_kind: str = ""
    owner_name: str = ""


class PodVector(NamedTuple):
    """A vector about pods, as ``Vector`` is one about anything."""

    rows: list[tuple[PodLabels, float]]
    dropped: int


class _PodSeries(msgspec.Struct, gc=False):
    metric: PodLabels
    value: tuple[float, str] | None = None


class _BuildInfo(msgspec.Struct):
    version: str = ""


class _BuildAnswer(msgspec.Struct):
    data: _BuildInfo = msgspec.field(default_factory=_BuildInfo)


_answers = msgspec.json.Decoder(_Answer)
_vectors = msgspec.json.Decoder(list[_Series])
_pods = msgspec.json.Decoder(list[_PodSeries])
_scalars = msgspec.json.Decoder(tuple[float, str])


def decode_vector(body: bytes, known: dict[int, Labels] | None = None) -> Vector:
    """Read a vector. Raises UsageUnavailable with a code for anything else than a whole, successful one.

    Answers that are given the same ``known`` share their labels: of many that speak of the same pods, labels are nearly
    all that is held.
    """
    shared = {} if known is None else known
    answer = _answered(body)
    series = _decoded(_vectors.decode, _result(answer, "vector"))
    if any(one.value is None for one in series):
        raise UsageUnavailable("a histogram where a number was asked for", code="type")
    rows = tuple(
        Row(_shared(one.metric, shared), value)
        for one in series
        if one.value is not None and (value := _number(one.value[1])) is not None
    )
    return Vector(rows, len(series) - len(rows), tuple(info[:_LONGEST_MESSAGE] for info in answer.infos or ()))


def decode_pod_vector(body: bytes) -> PodVector:
    """Read a vector about pods; labels that ``PodLabels`` does not name are passed over.

    Raises UsageUnavailable as ``decode_vector`` does, at a fraction of its memory: this is asked of all pods every minute.
    """
    rows, dropped = list[tuple[PodLabels, float]](), 0
    series = _decoded(_pods.decode, _result(_answered(body), "vector"))
    series.reverse()
    while series:
        # Each is let go as it is read: of a million series both together would be half as much again.
        one = series.pop()
        if one.value is None:
            raise UsageUnavailable("a histogram where a number was asked for", code="type")
        value = _number(one.value[1])
        if value is None:
            dropped += 1
        else:
            rows.append((one.metric, value))
    return PodVector(rows, dropped)


def decode_pods(body: bytes) -> dict[tuple[str, str], float]:
    """Read a vector by (namespace, pod), the largest of several values for one. Raises as ``decode_pod_vector`` does."""
    found: dict[tuple[str, str], float] = {}
    for labels, value in decode_pod_vector(body).rows:
        if labels.namespace and labels.pod:
            pod = (intern(labels.namespace), labels.pod)
            found[pod] = max(value, found.get(pod, value))
    return found


def _shared(labels: Labels, known: dict[int, Labels]) -> Labels:
    """The same labels as an earlier row's where there is one; else with texts that later rows can share.

    By their hash, because keys of their own would cost as much as they do.
    """
    key = hash(tuple(labels.items()))
    if (found := known.get(key)) != labels:
        found = known[key] = {name: intern(text) for name, text in labels.items()}
    return found


def decode_time(body: bytes) -> datetime:
    """Read the answer to ``time()``: Prometheus' own clock. Raises UsageUnavailable."""
    seconds = _number(_decoded(_scalars.decode, _result(_answered(body), "scalar"))[1])
    try:
        return datetime.fromtimestamp(seconds if seconds is not None else float("nan"), tz=UTC)
    except (ValueError, OverflowError, OSError) as exc:
        raise UsageUnavailable("its clock tells no time", code="malformed") from exc


def decode_error(body: bytes) -> str:
    """The message of an error answer, for people; empty where the body is none."""
    try:
        answer = _answers.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return f"{answer.error_type}: {answer.error}"[:_LONGEST_MESSAGE] if answer.error else ""


def decode_version(body: bytes) -> str:
    """The version of ``/api/v1/status/buildinfo``; empty where it does not tell."""
    try:
        return msgspec.json.decode(body, type=_BuildAnswer).data.version[:64]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _answered(body: bytes) -> _Answer:
    """A whole answer with data. Raises UsageUnavailable."""
    answer = _decoded(_answers.decode, body)
    if answer.status != "success" or answer.data is None:
        said = decode_error(body)
        raise UsageUnavailable(f"status {answer.status!r}: {said}"[:_LONGEST_MESSAGE], code=code_of(said) or "error")
    if answer.warnings or answer.is_partial:
        # A store that spans several says so when one of them did not answer: its pods would look gone.
        why = answer.warnings[0] if answer.warnings else "isPartial"
        raise UsageUnavailable(f"a partial answer: {why}"[:_LONGEST_MESSAGE], code="partial")
    return answer


def code_of(said: str) -> str:
    """``limit`` where an error message tells of too much data for one query, else empty."""
    return "limit" if any(word in said.lower() for word in _LIMITS) else ""


def _result(answer: _Answer, wanted: str) -> msgspec.Raw:
    data = answer.data or _Data()
    if data.result_type != wanted:
        raise UsageUnavailable(f"a {data.result_type or 'nameless type'}, not a {wanted}"[:80], code="type")
    return data.result


def _decoded(decode: Callable[[bytes | msgspec.Raw], T], body: bytes | msgspec.Raw) -> T:
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise UsageUnavailable(f"no answer of the query API: {exc}"[:_LONGEST_MESSAGE], code="malformed") from exc


def _number(text: str) -> float | None:
    """The value, or None for what is no measurement: also -0, which no sum of counters gives."""
    try:
        value = float(text)
    except ValueError:
        return None
    # Python's float() takes digit groups; JSON and Prometheus know none.
    return value if isfinite(value) and copysign(1.0, value) > 0 and "_" not in text else None
