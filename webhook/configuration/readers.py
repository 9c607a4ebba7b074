"""One reader a kind of value: from what YAML gave to what the policy holds, or a fault that says what was expected."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import Any

from webhook.core import labels, quantity
from webhook.core.consent import MAX_SPOT
from webhook.core.model import Requirement, Taint
from webhook.errors import ConfigurationError, QuantityError

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?", re.ASCII)
_LONGEST = timedelta(days=60)
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
LABEL = re.compile(r"([A-Za-z0-9][\w./-]{0,315})(?:=([\w.-]{0,63}))?", re.ASCII)
_EFFECTS = ("NoSchedule", "NoExecute", "PreferNoSchedule")


class FaultError(Exception):
    """What was expected instead of what stands there."""


class PartlyReadError(ConfigurationError):
    """Faults beside what could be read all the same, as ``kept``, so that what contradicts that is told too."""

    def __init__(self, faults: Iterable[str], kept: Any) -> None:
        super().__init__(faults)
        self.kept = kept


class Unread:
    """Stands where a value could not be read. Like NaN it spreads, and holds against nothing: so it contradicts nothing.

    The default in its place would, and the operator would be told of a fault that nobody made.
    """

    def _itself(self, _other: object) -> "Unread":
        return self

    def _never(self, _other: object) -> bool:
        return False

    __mul__ = __rmul__ = __sub__ = __rsub__ = _itself
    __lt__ = __le__ = __gt__ = __ge__ = _never


UNREAD: Any = Unread()
Reader = Callable[[Any], Any]
Fields = Mapping[str, tuple[str, Reader]]


def section(
    values: Any, path: str, fields: Fields, faults: list[str], required: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Read each key by its reader into ``{python_name: value}``; faults are added, not raised.

    What cannot be read is UNREAD, and so is the key that an unknown one seems to mean, and what is ``required`` and not
    there: by key, what to tell then.
    """
    if not isinstance(values, Mapping):
        faults.append(f"{path}: {kind_of(values)}; expected keys such as {', '.join(list(fields)[:3])}")
        return {name: _unread(reader) for name, reader in fields.values()}
    result: dict[str, Any] = {}
    for key, value in values.items():
        said = key if isinstance(key, str) else shown(key)
        where = f"{path}.{said}" if path else said
        if key not in fields:
            near = difflib.get_close_matches(said, fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(sorted(fields))}"
            faults.append(f"{where}: unknown key; {hint}")
            if near:
                name, reader = fields[near[0]]
                result.setdefault(name, _unread(reader))
            continue
        name, reader = fields[key]
        result[name] = item(reader, value, where, faults)
    for key, hint in (required or {}).items():
        if fields[key][0] not in result:
            faults.append(f"{path}.{key}: missing{hint}")
            result[fields[key][0]] = UNREAD
    return result


def _unread(reader: Reader) -> Any:
    """UNREAD, or a whole section of it: what is left of nothing."""
    return item(reader, None, "", [])


def nested(fields: Fields, build: Callable[..., Any], required: Mapping[str, str] | None = None) -> Reader:
    def read(value: Any) -> Any:
        faults: list[str] = []
        found = build(**section(value, "", fields, faults, required))
        if faults:
            raise PartlyReadError([f if f.startswith((":", "[", ".")) else f".{f}" for f in faults], found)
        return found

    return read


def item(read_one: Reader, value: Any, where: str, faults: list[str]) -> Any:
    """One value, or what could be read of it; its faults carry where it stands."""
    try:
        return read_one(value)
    except PartlyReadError as partly:
        faults += [f"{where}{fault}" for fault in partly.faults]
        return partly.kept
    except ConfigurationError as several:
        faults += [f"{where}{fault}" for fault in several.faults]
    except (FaultError, QuantityError, ValueError) as fault:
        faults.append(f"{where}: {shown(value)}; expected {fault}")
    return UNREAD


def shown(value: Any) -> str:
    """A value in YAML's words, cut where it is long: what a file calls off is false, and None is a word of ours."""
    return _in_words(value)[:80]


def _in_words(value: Any) -> str:
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case float() if value != value or value in (inf, -inf):  # noqa: PLR0124 - NaN
            return {inf: ".inf", -inf: "-.inf"}.get(value, ".nan")
        case date():
            return value.isoformat()
        case list():
            return f"[{', '.join(map(_in_words, value))}]"
        case dict():
            return f"{{{', '.join(f'{_in_words(key)}: {_in_words(one)}' for key, one in value.items())}}}"
    return repr(value)


def _meant(value: object, words: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(value), words, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def kind_of(value: Any) -> str:
    kinds = {"str": "a text", "list": "a list", "int": "a number", "float": "a number"}
    return kinds.get(type(value).__name__) or shown(value)


def duration(value: Any) -> timedelta:
    """``60m``, ``90s``, ``1h30m``, ``500ms``."""
    length = _length(value)
    if length is None:
        raise FaultError("a duration such as 60m, 90s or 1h30m")
    if not timedelta() < length <= _LONGEST:
        raise FaultError("a duration above 0 and up to 60d")
    return length


def _length(value: Any) -> timedelta | None:
    """None for what is no duration; one beyond all bounds is a little longer than any may be."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None or len(value) > 32:
        return None
    d, h, m, s, ms = (float(part or 0) for part in match.groups())
    try:
        return timedelta(days=d, hours=h, minutes=m, seconds=s, milliseconds=ms)
    except OverflowError:
        return 2 * _LONGEST


def written(length: timedelta) -> str:
    """A duration as the file would say it."""
    left, text = length // timedelta(milliseconds=1), ""
    for unit, size in _UNITS:
        amount, left = divmod(left, size)
        text += f"{amount}{unit}" if amount else ""
    return text or "0s"


def duration_or_zero(value: Any) -> timedelta:
    return timedelta() if value in (0, "0", "0s") else duration(value)


def duration_within(low: timedelta, high: timedelta) -> Reader:
    def read(value: Any) -> timedelta:
        length = _length(value)
        if length is None or not low <= length <= high:
            raise FaultError(f"a duration from {written(low)} to {written(high)}")
        return length

    return read


def number(low: float, high: float, what: str) -> Reader:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise FaultError(what)
        try:
            number = quantity.to_float(value) if isinstance(value, str) else float(value)
        except QuantityError as exc:
            raise FaultError(what) from exc
        if not low <= number <= high:
            raise FaultError(what)
        return number

    return read


def cores(high: float) -> Reader:
    """CPU of a pod, of which whole cores are a slip of the pen: 10 is meant as 10m."""
    what = f"CPU such as 10m or 0.01, up to {high:g}"
    plain, slip = number(0, high, what), number(high, 1000, what)

    def read(value: Any) -> float:
        try:
            return float(plain(value))
        except FaultError as fault:
            try:
                meant = slip(value)
            except FaultError:
                raise fault from None
            raise FaultError(f"{what} (did you mean {meant:g}m?)") from fault

    return read


def share(low: float, high: float, *, without: str = "") -> Reader:
    """A number, or a percent: ``0.8`` and ``80%`` are the same. ``without`` is what holds where the key is left out."""
    what = f"a share from {low:g} to {high:g}, or a percent from {low * 100:g}% to {high * 100:g}%"
    plain, percent = number(low, high, what), number(low * 100, high * 100, what)

    def read(value: Any) -> float:
        try:
            if isinstance(value, str) and value.endswith("%"):
                return float(percent(value.removesuffix("%"))) / 100
            return float(plain(value))
        except FaultError as fault:
            is_bare = isinstance(value, int | float) and not isinstance(value, bool) and high < value
            if is_bare and low * 100 <= value <= high * 100:
                raise FaultError(f"{what} (did you mean {value:g}%?)") from fault
            raise FaultError(what + _left_out(without)) from fault

    return read


def whole_number(low: int, high: int, *, without: str = "") -> Reader:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise FaultError(f"a whole number from {low} to {high}{_left_out(without)}")
        return value

    return read


def _left_out(without: str) -> str:
    """Off and null are no values: a key that is there says something."""
    return f"; without the key {without}" if without else ""


def choice(allowed: type[StrEnum]) -> Reader:
    words = [member.value for member in allowed]

    def read(value: Any) -> Any:
        if value not in words:
            raise FaultError(f"{', '.join(words)}{_meant(value, words)}")
        return allowed(value)

    return read


def texts(*, of: tuple[str, ...]) -> Reader:
    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise FaultError("a list of names")
        if wrong := [one for one in value if one not in of]:
            told = ", ".join(f"{one!r}{_meant(one, of)}" for one in wrong)
            raise FaultError(f"only {', '.join(of)}, not {told}")
        return tuple(value)

    return read


def list_of(read_one: Reader) -> Reader:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise PartlyReadError([f": {shown(value)}; expected a list"], ())
        faults: list[str] = []
        found = tuple(item(read_one, one, f"[{index}]", faults) for index, one in enumerate(value))
        if faults:
            raise PartlyReadError(faults, found)
        return found

    return read


def label(value: Any) -> Requirement:
    """A key alone, or a key and the value it must have, both as Kubernetes accepts them."""
    if not isinstance(value, str) or not value:
        raise FaultError("a label such as node-type=spot, or a key alone")
    key, equals, wanted = value.partition("=")
    _check_key(key, "a label such as node-type=spot, or a key alone")
    _check_value(wanted, "a label such as node-type=spot, or a key alone")
    return Requirement(key, "In", (wanted,)) if equals else Requirement(key, "Exists")


def _check_key(key: str, expected: str) -> None:
    """A pod with a key that Kubernetes does not accept is refused, whoever wrote the key. Raises FaultError."""
    if labels.is_key(key):
        return
    prefix, slash, name = key.rpartition("/")
    if slash and not labels.is_key(f"{prefix}/x"):
        why = f"before its slash a DNS name of up to {labels.MAX_PREFIX} lower-case characters"
    elif len(name) > labels.MAX_NAME:
        why = f"a name of up to {labels.MAX_NAME} characters, not {len(name)}"
    else:
        why = "letters, digits, '-', '_' and '.', the first and last a letter or digit"
    raise FaultError(f"{expected}; a key has {why}{_nearest(key)}")


def _check_value(value: str, expected: str) -> None:
    if labels.is_value(value):
        return
    if len(value) > labels.MAX_NAME:
        why = f"up to {labels.MAX_NAME} characters, not {len(value)}"
    else:
        why = "letters, digits, '-', '_' and '.', the first and last a letter or digit"
    raise FaultError(f"{expected}; a value has {why}{_nearest(value)}")


def _nearest(text: str) -> str:
    """The same word without what may not be at its ends, where that is all that is wrong."""
    near = text.strip("-_./ ")
    return f" (did you mean {near}?)" if near != text and near and labels.is_key(near) else ""


def marker(value: Any) -> tuple[Requirement, ...]:
    """One label, or several joined by commas that must all be there."""
    if not isinstance(value, str) or not value:
        raise FaultError("labels such as node-type=spot or pool=cheap,node-type=spot")
    found = tuple(label(part.strip()) for part in value.split(","))
    if twice := next((one.key for n, one in enumerate(found) if one.key in {o.key for o in found[:n]}), None):
        raise FaultError(f"each key once; {twice} stands twice, and no node has two values of it")
    return found


def taint(value: Any) -> Taint:
    """``key=value:effect`` or ``key:effect``, as Kubernetes accepts them; without a value any is meant."""
    expected = "a taint such as node-type=spot:NoSchedule"
    if not isinstance(value, str) or ":" not in value:
        raise FaultError(expected)
    name, _, effect = value.rpartition(":")
    if effect not in _EFFECTS:
        raise FaultError(f"{expected}; an effect is one of {', '.join(_EFFECTS)}{_meant(effect, _EFFECTS)}")
    key, _, own = name.partition("=")
    _check_key(key, expected)
    _check_value(own, expected)
    return Taint(key, own, effect)


def share_or_count(what: str) -> Reader:
    """A percent up to 100, or a count of up to six digits, kept as it is written."""

    def read(value: Any) -> str:
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        match = MAX_SPOT.fullmatch(text)
        if match is None or (match[2] and int(match[1]) > 100):
            raise FaultError(what)
        return text

    return read


max_spot = share_or_count("a share such as 50% or a count such as 3")
amount = share_or_count("a percent such as 5% or a count such as 10")


def text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise FaultError("a text")
    return value


def path(value: Any) -> Path:
    return Path(text(value))


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise FaultError("true or false")
    return value
