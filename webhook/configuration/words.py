"""Readers of what a rule matches: names, kinds and labels, exact or by a regular expression."""

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


def kind(value: Any) -> str:
    """A kind as the API spells it, or a regular expression between slashes."""
    text_of_it = word(value)
    if rules.expression(text_of_it) is None and not text_of_it[0].isupper():
        near = [known for known in KINDS if known.lower() == text_of_it.lower().rstrip("s")]
        raise FaultError(f"a kind such as Deployment{f' (did you mean {near[0]}?)' if near else ''}")
    return text_of_it


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
