"""The operator's configuration file: YAML in, a policy and a Prometheus out, or all its faults at once.

A file with any fault is refused whole: half a default is a policy nobody wrote.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import yaml

from webhook.core import quantity
from webhook.core.consent import MAX_SPOT
from webhook.core.model import Requirement, Taint
from webhook.core.policy import IdlePolicy, Mode, PlacementMode, Policy, SidePolicy, SpotPool
from webhook.errors import ConfigurationError, QuantityError
from webhook.settings import PrometheusSettings, prometheus_faults

T = TypeVar("T")
MAX_BYTES = 1024 * 1024
PAUSABLE = ("injection", "moves", "scoring")

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?", re.ASCII)
_LABEL = re.compile(r"([A-Za-z0-9][\w./-]{0,315})(?:=([\w.-]{0,63}))?", re.ASCII)
_TAINT = re.compile(
    r"([A-Za-z0-9][\w./-]{0,315})(?:=([\w.-]{0,63}))?:(NoSchedule|NoExecute|PreferNoSchedule)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """``prometheus`` is None where the file names none; only commands that ask it mind."""

    policy: Policy = field(default_factory=Policy)
    prometheus: PrometheusSettings | None = None


class _FaultError(Exception):
    """What was expected instead of what stands there."""


Reader = Callable[[Any], Any]


def load(text: str, *, source: str) -> Configuration:
    """Read a configuration file's text. Raises ConfigurationError with every fault, each with its path."""
    faults: list[str] = []
    whole = _parse(text, source)
    values = _section(whole, "", _TOP, faults)
    prometheus = values.pop("prometheus", None)
    policy = Policy(**values)
    # A section with a fault stands at its defaults here, which do not contradict each other.
    faults += _contradictions(policy)
    settings = PrometheusSettings(**prometheus) if prometheus and "url" in prometheus else None
    if prometheus is not None and settings is None and not any(f.startswith("prometheus") for f in faults):
        faults.append("prometheus.url: missing; expected http(s)://host[:port][/prefix]")
    faults += [f"prometheus.{fault}" for fault in (prometheus_faults(settings) if settings else ())]
    if faults:
        raise ConfigurationError(faults, source=source)
    return Configuration(policy=policy, prometheus=settings)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: YAML would keep the last in silence."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} stands twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _parse(text: str, source: str) -> Mapping[str, Any]:
    if len(text) > MAX_BYTES:
        raise ConfigurationError([f"larger than {MAX_BYTES} bytes; expected a configuration file"], source=source)
    try:
        whole = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as exc:
        raise ConfigurationError([f"no YAML: {' '.join(str(exc).split())[:300]}"], source=source) from exc
    if whole is None:
        return {}
    if not isinstance(whole, dict):
        raise ConfigurationError([f"{_kind(whole)}; expected keys such as mode and prometheus"], source=source)
    return whole


def _section(values: Any, path: str, fields: Mapping[str, tuple[str, Reader]], faults: list[str]) -> dict[str, Any]:
    """Read each key by its reader into ``{python_name: value}``; faults are added, not raised."""
    if not isinstance(values, Mapping):
        faults.append(f"{path}: {_kind(values)}; expected keys such as {', '.join(list(fields)[:3])}")
        return {}
    result: dict[str, Any] = {}
    for key, value in values.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(sorted(fields))}"
            faults.append(f"{where}: unknown key; {hint}")
            continue
        name, reader = fields[key]
        inner: list[str] = []
        try:
            result[name] = reader(value)
        except ConfigurationError as nested:
            inner = [f"{where}{fault}" for fault in nested.faults]
        except (_FaultError, QuantityError, ValueError) as fault:
            inner = [f"{where}: {_shown(value)}; expected {fault}"]
        faults += inner
    return result


def _nested(fields: Mapping[str, tuple[str, Reader]], build: Callable[..., Any]) -> Reader:
    def read(value: Any) -> Any:
        faults: list[str] = []
        inner = _section(value, "", fields, faults)
        if faults:
            raise ConfigurationError(f if f.startswith((":", "[")) else f".{f}" for f in faults)
        return build(**inner)

    return read


def _shown(value: Any) -> str:
    return repr(value)[:80]


def _kind(value: Any) -> str:
    return {"str": "a text", "list": "a list", "int": "a number", "float": "a number", "NoneType": "nothing"}.get(
        type(value).__name__, type(value).__name__
    )


def duration(value: Any) -> timedelta:
    """``60m``, ``90s``, ``1h30m``, ``500ms``."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None or len(value) > 32:
        raise _FaultError("a duration such as 60m, 90s or 1h30m")
    d, h, m, s, ms = (float(part or 0) for part in match.groups())
    length = timedelta(days=d, hours=h, minutes=m, seconds=s, milliseconds=ms)
    if not timedelta() < length <= timedelta(days=60):
        raise _FaultError("a duration above 0 and up to 60d")
    return length


def _duration_or_zero(value: Any) -> timedelta:
    return timedelta() if value in (0, "0", "0s") else duration(value)


def _number(low: float, high: float, what: str) -> Reader:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise _FaultError(what)
        number = quantity.to_float(value) if isinstance(value, str) else float(value)
        if not low <= number <= high:
            raise _FaultError(what)
        return number

    return read


def _whole(low: int, high: int) -> Reader:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _FaultError(f"a whole number from {low} to {high}")
        return value

    return read


def _choice(allowed: type[Mode] | type[PlacementMode]) -> Reader:
    words = [member.value for member in allowed]

    def read(value: Any) -> Any:
        if value not in words:
            near = difflib.get_close_matches(str(value), words, n=1)
            raise _FaultError(f"{', '.join(words)}{f' (did you mean {near[0]}?)' if near else ''}")
        return allowed(value)

    return read


def _texts(*, of: tuple[str, ...] = ()) -> Reader:
    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise _FaultError("a list of names")
        if wrong := [one for one in value if of and one not in of]:
            raise _FaultError(f"only {', '.join(of)}, not {wrong[0]!r}")
        return tuple(value)

    return read


def _list_of(read_one: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    def read(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise _FaultError("a list")
        faults: list[str] = []
        result = [_item(read_one, one, index, faults) for index, one in enumerate(value)]
        if faults:
            raise ConfigurationError(faults)
        return tuple(one for one in result if one is not None)

    return read


def _item(read_one: Callable[[Any], T], value: Any, index: int, faults: list[str]) -> T | None:
    """One item of a list; its faults carry its index."""
    try:
        return read_one(value)
    except ConfigurationError as nested:
        faults += [f"[{index}]{fault}" for fault in nested.faults]
    except (_FaultError, QuantityError, ValueError) as fault:
        faults.append(f"[{index}]: {_shown(value)}; expected {fault}")
    return None


def _label(value: Any) -> Requirement:
    match = _LABEL.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _FaultError("a label such as node-type=spot, or a key alone")
    return Requirement(match[1], "Exists") if match[2] is None else Requirement(match[1], "In", (match[2],))


def _marker(value: Any) -> tuple[Requirement, ...]:
    """One label, or several joined by commas that must all be there."""
    if not isinstance(value, str) or not value:
        raise _FaultError("labels such as node-type=spot or pool=cheap,node-type=spot")
    return tuple(_label(part.strip()) for part in value.split(","))


def _taint(value: Any) -> Taint:
    match = _TAINT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _FaultError("a taint such as node-type=spot:NoSchedule")
    return Taint(match[1], match[2] or "", match[3])


def _max_spot(value: Any) -> str:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    match = MAX_SPOT.fullmatch(text)
    if match is None or (match[2] and int(match[1]) > 100):
        raise _FaultError("a share such as 50% or a count such as 3")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _FaultError("a text")
    return value


def _path(value: Any) -> Path:
    return Path(_text(value))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _FaultError("true or false")
    return value


_IDLE: dict[str, tuple[str, Reader]] = {
    "window": ("window", duration),
    "rateWindow": ("rate_window", duration),
    "step": ("step", duration),
    "cpuShareOfRequest": ("cpu_share_of_request", _number(0, 1, "a share from 0 to 1")),
    "cpuFloor": ("cpu_floor_cores", _number(0, 1000, "CPU such as 10m or 0.01")),
    "receivedBytesPerSecond": ("received_bytes_per_second", _number(0, 1e12, "bytes a second, 0 or more")),
    "leaveFactor": ("leave_factor", _number(1.01, 100, "a factor above 1")),
    "leaveWindow": ("leave_window", duration),
    "scrapeInterval": ("scrape_interval", duration),
    "startupGrace": ("startup_grace", _duration_or_zero),
    "minCoverage": ("min_coverage", _number(0.5, 1, "a share from 0.5 to 1")),
    "maxClockSkew": ("max_clock_skew", duration),
}
_SIDES: dict[str, tuple[str, Reader]] = {
    "idleRunsToSpot": ("idle_runs_to_spot", _whole(1, 1440)),
    "evidenceTtl": ("evidence_ttl", duration),
    "heartbeatTtl": ("heartbeat_ttl", duration),
}
_POOL: dict[str, tuple[str, Reader]] = {
    "name": ("name", _text),
    "labels": ("marker", _marker),
    "taints": ("taints", _list_of(_taint)),
}
_PROMETHEUS: dict[str, tuple[str, Reader]] = {
    "url": ("url", _text),
    "bearerTokenFile": ("bearer_token_file", _path),
    "username": ("username", _text),
    "passwordFile": ("password_file", _path),
    "caFile": ("ca_file", _path),
    "deadlineSeconds": ("deadline_seconds", _number(0.1, 600, "seconds from 0.1 to 600")),
    "maxBodyBytes": ("max_body_bytes", _whole(1024, 1 << 31)),
    "concurrency": ("concurrency", _whole(1, 16)),
    "allowInsecureCredentials": ("allow_insecure_credentials", _flag),
}


def _pool(**values: Any) -> SpotPool:
    if missing := {"name", "marker"} - values.keys():
        raise ConfigurationError(f".{'labels' if one == 'marker' else one}: missing" for one in sorted(missing))
    return SpotPool(**values)


_TOP: dict[str, tuple[str, Reader]] = {
    "mode": ("mode", _choice(Mode)),
    "placement": ("placement", _choice(PlacementMode)),
    "preferredWeight": ("preferred_weight", _whole(1, 100)),
    "maxSpot": ("max_spot", _max_spot),
    "kinds": ("kinds", _texts()),
    "excludedNamespaces": ("excluded_namespaces", _texts()),
    "spotLabels": ("spot_labels", _list_of(_marker)),
    "spotTaints": ("spot_taints", _list_of(_taint)),
    "spotPools": ("spot_pools", _list_of(_nested(_POOL, _pool))),
    "pause": ("pause", _texts(of=PAUSABLE)),
    "idle": ("idle", _nested(_IDLE, IdlePolicy)),
    "sides": ("sides", _nested(_SIDES, SidePolicy)),
    "prometheus": ("prometheus", _nested(_PROMETHEUS, dict)),
}


def _contradictions(policy: Policy) -> Iterator[str]:
    """Values that are right alone and wrong together."""
    idle = policy.idle
    if idle.rate_window < 4 * idle.scrape_interval:
        yield "idle.rateWindow: shorter than four scrapeIntervals; expected more, or one lost scrape hides a value"
    if idle.window < idle.rate_window:
        yield "idle.window: shorter than rateWindow; expected the look-back to hold at least one rate"
    if idle.step > idle.rate_window:
        yield "idle.step: longer than rateWindow; expected less, or what happens between two rates is never seen"
    if idle.leave_window > idle.window:
        yield "idle.leaveWindow: longer than window; expected waking to be quicker than falling asleep"
