"""Which of the operator's rules is for which workload. The first that matches counts, and it alone.

Matched where labels are known, in the monitor and where a snapshot is built; the snapshot then
carries the rule's name, so that the admission of a pod matches nothing.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from webhook.core.model import WorkloadKey
from webhook.core.policy import IdlePolicy, Match, Mode, Policy, Rule

Labels = Mapping[str, str]
_OF_WORKLOADS = tuple(name for name in Rule.__struct_fields__ if name not in {"name", "match", "weight"})


def first(policy: Policy, key: WorkloadKey, *, labels: Labels, namespace_labels: Labels) -> Rule | None:
    """The rule for a workload, or None. ``labels`` are those of its own object; empty where that is not read."""
    return next(
        (
            rule
            for rule in policy.rules
            if is_for_workloads(rule) and matches(rule.match, key, labels=labels, namespace_labels=namespace_labels)
        ),
        None,
    )


def is_for_workloads(rule: Rule) -> bool:
    """Whether it says more than a weight: a rule that only weighs namespaces takes no workload from the rules below."""
    return rule.weight is None or any(getattr(rule, name) is not None for name in _OF_WORKLOADS)


def first_weighing(policy: Policy, namespace: str, *, labels: Labels) -> Rule | None:
    """The first rule that gives a weight to the namespace of these labels."""
    return next(
        (rule for rule in policy.rules if rule.weight is not None and _is_for(rule.match, namespace, labels)), None
    )


def is_of_namespaces(match: Match) -> bool:
    """Whether it tells namespaces from each other, and nothing within one."""
    return not (match.kinds or match.names or match.labels)


def _is_for(match: Match, namespace: str, labels: Labels) -> bool:
    return _one_of(match.namespaces, namespace) and _carries(match.namespace_labels, labels)


def named(policy: Policy, name: str) -> Rule | None:
    """The rule of this name; None also for a name that an older snapshot still carries."""
    return next((rule for rule in policy.rules if rule.name == name), None) if name else None


def idle_policy(policy: Policy, rule: Rule | None) -> IdlePolicy:
    """What counts as idle for the workloads of a rule."""
    return rule.idle if rule and rule.idle else policy.idle


def may_move(policy: Policy) -> bool:
    """Whether the configuration lets any running pod be moved: only then is it worth reading what bounds moves."""
    return Mode.MOVE in {policy.mode, *(rule.mode for rule in policy.rules)}


def every_signal(policy: Policy) -> IdlePolicy:
    """The policy's own idle section with the signals of all rules beside its own: what a self-test must ask."""
    several = (policy.idle, *(rule.idle for rule in policy.rules if rule.idle))
    named = {signal.name: signal for idle in reversed(several) for signal in idle.signals}
    return msgspec.structs.replace(policy.idle, signals=tuple(named[name] for name in sorted(named)))


def matches(match: Match, key: WorkloadKey, *, labels: Labels, namespace_labels: Labels) -> bool:
    """Whether every part that is given holds. An empty match is for every workload."""
    return (
        _one_of(match.namespaces, key.namespace)
        and _one_of(match.kinds, key.kind)
        and _one_of(match.names, key.name)
        and _carries(match.labels, labels)
        and _carries(match.namespace_labels, namespace_labels)
    )


def asks_for_kind(rule: Rule | None, kind: str) -> bool:
    """Whether a rule names the kind itself: then it is handled, though it be none of the default ones."""
    return rule is not None and bool(rule.match.kinds) and _one_of(rule.match.kinds, kind)


def is_word(word: str, text: str) -> bool:
    """Exact, or the whole of it by a regular expression between slashes."""
    pattern = expression(word)
    return word == text if pattern is None else _compiled(pattern).fullmatch(text) is not None


def expression(word: str) -> str | None:
    """The regular expression between slashes; None for a word that is meant exactly."""
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] == "/" else None


def _one_of(words: Iterable[str], text: str) -> bool:
    words = tuple(words)
    return not words or any(is_word(word, text) for word in words)


def _carries(wanted: Labels, labels: Labels) -> bool:
    return all(key in labels and is_word(word, labels[key]) for key, word in wanted.items())


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
