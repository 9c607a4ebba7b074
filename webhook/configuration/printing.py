"""A configuration written out again: every key with its value, and where the value came from.

What is printed can be read back: ``load(document_of(c))`` is ``c``.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from webhook.configuration import Configuration, keys
from webhook.configuration.readers import written
from webhook.core.model import Requirement, Taint
from webhook.core.policy import (
    BalancePolicy,
    BatchPolicy,
    CustomSignal,
    IdlePolicy,
    Limits,
    Match,
    MovePolicy,
    Rule,
    SidePolicy,
    SpotPool,
)
from webhook.wire.promql import ClusterLabel

DEFAULT = "default"

Document = dict[str, Any]


class Setting(NamedTuple):
    """One value in force; ``line`` is where the file says it, None where nobody did."""

    path: str
    value: Any
    line: int | None

    @property
    def text(self) -> str:
        """The value on one line."""
        return self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False)


def document_of(configuration: Configuration) -> Document:
    """The whole of it as the file would say it, defaults too."""
    policy, prometheus = configuration.policy, configuration.prometheus
    document: Document = {
        key: plain(getattr(policy, name))
        for key, (name, _) in keys.TOP.items()
        if key not in {"prometheus", "rules", "idle"}
    }
    document["idle"] = plain(policy.idle)
    document["rules"] = [_rule(rule, policy.idle) for rule in policy.rules]
    if prometheus is not None:
        said = {key: plain(getattr(prometheus, name)) for key, (name, _) in keys.PROMETHEUS.items()}
        document["prometheus"] = {key: value for key, value in said.items() if value not in (None, "", {})}
    return document


def settings_of(configuration: Configuration, text: str) -> Iterator[Setting]:
    """Every value in force, in the order of the documentation; ``text`` is the file's, empty where there is none."""
    lines = lines_of(text)
    for path, value in _flat(document_of(configuration), ""):
        yield Setting(path, value, _line(path, lines))


def lines_of(text: str) -> dict[str, int]:
    """The line of each value of a YAML text that can be read, by its path."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return dict(_lines(node, "")) if node is not None else {}


def plain(value: Any) -> Any:  # noqa: PLR0911 - one line a kind of value
    """A value of the policy as YAML would hold it."""
    match value:
        case timedelta():
            return written(value)
        case StrEnum() | Path():
            return str(value)
        case Taint():
            return f"{value.key}={value.value}:{value.effect}" if value.value else f"{value.key}:{value.effect}"
        case ClusterLabel():
            return {"name": value.name, "value": value.value}
        case SpotPool():
            return {"name": value.name, "labels": _marker(value.marker), "taints": plain(value.taints)}
        case _ if type(value) in _SECTIONS:
            return _section(value)
        case Mapping():
            return {key: plain(one) for key, one in value.items()}
        case tuple() if value and all(isinstance(one, tuple) for one in value):
            return [_marker(one) for one in value]
        case tuple():
            return [plain(one) for one in value]
    return value


_SECTIONS: dict[type, dict[str, tuple[str, Any]]] = {
    IdlePolicy: keys.IDLE,
    SidePolicy: keys.SIDES,
    BatchPolicy: keys.BATCH,
    MovePolicy: keys.MOVES,
    BalancePolicy: keys.BALANCE,
    Limits: keys.LIMITS,
    CustomSignal: keys.SIGNAL,
    Match: keys.MATCH,
}
_SPARSE = (CustomSignal, Match, BalancePolicy)
"""Whose empty parts say nothing, and are not accepted as an answer either."""


def _section(value: Any) -> Document:
    found = {key: plain(getattr(value, name)) for key, (name, _) in _SECTIONS[type(value)].items()}
    if isinstance(value, _SPARSE):
        return {key: one for key, one in found.items() if one not in (None, "", [], {})}
    return found


def _rule(rule: Rule, idle: IdlePolicy) -> Document:
    said = {key: plain(getattr(rule, name)) for key, (name, _) in keys.RULE.items() if key != "idle"}
    document = {key: value for key, value in said.items() if value is not None}
    if rule.idle is not None:
        own, base = _section(rule.idle), _section(idle)
        # A rule that says what holds anyway still has an idle section of its own.
        document["idle"] = {key: value for key, value in own.items() if value != base[key]} or own
    return document


def _marker(marker: tuple[Requirement, ...]) -> str:
    return ",".join(f"{r.key}={r.values[0]}" if r.operator == "In" else r.key for r in marker)


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Down to what has no keys of its own; a list of plain values is one value."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _flat(one, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        for index, one in enumerate(value):
            yield from _flat(one, f"{path}[{index}]")
    else:
        yield path, value


def _lines(node: yaml.Node, path: str) -> Iterator[tuple[str, int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _lines(value, f"{path}.{key.value}" if path else str(key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, f"{path}[{index}]")


def _line(path: str, lines: Mapping[str, int]) -> int | None:
    """Of the value itself, or of what stands for it as a whole: never of a section around it."""
    return lines.get(path)
