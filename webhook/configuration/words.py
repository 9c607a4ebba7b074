"""Readers of what a rule matches: names, kinds and labels, exact or by a regular expression."""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from webhook.configuration.readers import FaultError, item
from webhook.core import labels, rules
from webhook.core.pod import DEFAULT_SCHEDULER
from webhook.errors import ConfigurationError

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
KINDS = ("Deployment", "StatefulSet", "CronJob", "Job", "ReplicaSet", "DaemonSet", "Rollout")
LONGEST_WORD = 300
SHORT = {"deploy": "Deployment", "sts": "StatefulSet", "cj": "CronJob", "rs": "ReplicaSet", "ds": "DaemonSet"}
_SPELT = re.compile(r"[A-Z][A-Za-z0-9]{0,62}", re.ASCII)
_OF_THEIR_NODE = ("DaemonSet", "Node")
_NAMESPACE = "the name of a namespace: up to 63 lower-case letters, digits and dashes"
_KIND = "a kind such as Deployment"


def word(value: Any) -> str:
    """A name meant exactly, or a regular expression between slashes."""
    if not isinstance(value, str) or not value or len(value) > LONGEST_WORD:
        raise FaultError(f"a name, or a regular expression between slashes, of {LONGEST_WORD} characters at most")
    pattern = rules.expression(value)
    if pattern is None and re.search(r"[*?\\^$()|\[\]]|^/|/$", value):
        raise FaultError(f"a name; a pattern stands between slashes, as /{value.strip('/').replace('*', '.*')}/")
    if pattern is not None:
        try:
            re.compile(pattern)
        except re.error as exc:
            raise FaultError(f"a regular expression between the slashes ({exc})") from exc
    return value


def namespace(value: Any) -> str:
    """The name of a namespace, meant exactly: what can be the name of none would match nobody, and protect nobody."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise FaultError(f"{_NAMESPACE}; no regular expressions are taken here{_near_name(value)}")
    return value


def namespace_word(value: Any) -> str:
    """The name of a namespace, or a regular expression between slashes."""
    found = word(value)
    if rules.expression(found) is None and not NAME.fullmatch(found):
        raise FaultError(f"{_NAMESPACE}, or a regular expression between slashes{_near_name(found)}")
    return found


def _near_name(value: Any) -> str:
    near = value.strip().lower() if isinstance(value, str) else ""
    return f" (did you mean {near}?)" if NAME.fullmatch(near) else ""


def kind(value: Any) -> str:
    """A kind as the API spells it, or a regular expression between slashes."""
    found = word(value)
    if rules.expression(found) is None:
        _check_kind(found)
    return found


def handled_kind(value: Any) -> str:
    """A kind as the API spells it, of which pods are steered."""
    if isinstance(value, str) and rules.expression(value) is not None:
        raise FaultError(f"{_KIND}; no regular expressions are taken here, but in rules[].match.kinds")
    _check_kind(value)
    if value in _OF_THEIR_NODE:
        raise FaultError(f"a kind whose pods may go elsewhere; those of a {value} belong to their nodes")
    return str(value)


def _check_kind(value: Any) -> None:
    """Kinds of others are taken too, but not what is a slip of the pen away from one that all have. Raises FaultError."""
    near = _near_kind(value) if isinstance(value, str) else ""
    if not isinstance(value, str) or not _SPELT.fullmatch(value) or near not in {"", value}:
        raise FaultError(_KIND + (f" (did you mean {near}?)" if near else ""))


def _near_kind(text: str) -> str:
    if text in KINDS:
        return text
    lower = {known.lower(): known for known in KINDS} | SHORT
    own = text.strip().lower()
    near = difflib.get_close_matches(own, lower, n=1, cutoff=0.85)
    # AdvancedCronJob and the like are kinds of their own.
    return lower[near[0]] if near and abs(len(near[0]) - len(own)) <= 1 else ""


def label_words(value: Any) -> dict[str, str]:
    """Labels by key, each with the word that its value must match."""
    if not isinstance(value, Mapping) or not value:
        raise FaultError("labels such as {team: shop, tier: /batch|cron/}")
    faults: list[str] = []
    for key, one in value.items():
        if not (isinstance(key, str) and labels.is_key(key)):
            faults.append(f".{key}: expected a label's key such as app.kubernetes.io/part-of")
        elif one != "":
            item(word, one, f".{key}", faults)
    if faults:
        raise ConfigurationError(faults)
    return dict(value)


def name(value: Any) -> str:
    """What a rule, a pool or a signal is called."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise FaultError("a name of lower-case letters, digits and dashes, such as batch-jobs")
    return value


def scheduler_name(value: Any) -> str:
    """A scheduler beside the default one, whose pods need no word of ours."""
    expected = "the name of a second scheduler, such as spot-balancer"
    if not isinstance(value, str) or not labels.is_subdomain(value):
        raise FaultError(f"{expected}: lower-case letters, digits, dashes and dots")
    if value == DEFAULT_SCHEDULER:
        raise FaultError(f"{expected}; pods have {DEFAULT_SCHEDULER} anyway, so leave it out")
    return value
