"""A snapshot without its names: fit to be mailed, and replayed with the same verdicts and decisions.

Names become keyed hashes: equal names stay equal within one key, and nobody without the key can try names out. What
stays is what decisions weigh and what everybody's cluster has: numbers, times, reason codes, the provider table's keys
and values, platforms, well-known kinds and API groups. Text is closed by default: a field of text that this module does
not know is refused unless it holds its default, so that a later release cannot leak by forgetting.

A controller that is called after its workload stays called after it (``nginx-demo-7f9c5d`` becomes
``<name>-<suffix>``), because a pod's owner may have to be found by that.
"""

import base64
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeVar

import msgspec

from webhook.core import budget, consent, rules, spotpool
from webhook.core.model import (
    Bound,
    ControllerRef,
    Memory,
    Namespace,
    Node,
    NodeLoad,
    Platform,
    Requirement,
    Signal,
    Taint,
    Toleration,
    Value,
    Verdict,
    Workload,
    WorkloadKey,
)
from webhook.core.moves import Outcome
from webhook.core.policy import ANNOTATIONS as TENANTS_WORDS
from webhook.core.policy import CustomSignal, Limits, Match, Policy, Rule, SpotPool
from webhook.core.snapshot import Meta, Snapshot
from webhook.core.vocabulary import (
    ANNOTATION_WORDS,
    ANNOTATIONS,
    API_VERSIONS,
    KINDS,
    LABEL_WORDS,
    NAMESPACES,
    NODE_KEYS,
    OPERATORS,
    SENTENCE,
    TAINT_KEYS,
)
from webhook.errors import InputError

V = TypeVar("V", bound=Value)

_NUMBER = re.compile(r"-?\d{1,9}", re.ASCII)
_SHARE = re.compile(r"\d{1,6}%?|\d{1,3}\.\d{1,3}", re.ASCII)
_DURATION = re.compile(consent.DURATION, re.ASCII)
_AMOUNT = re.compile(r"[+-]?\d{1,9}(\.\d{1,9})?(e[+-]?\d{1,3})?(%|m|s|h|d|B/s|kB/s|MB/s|GB/s)?", re.ASCII)
_VERSION = re.compile(r"v?\d{1,4}(\.\d{1,4}){0,3}", re.ASCII)
_TOPOLOGY = frozenset(
    {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "node.kubernetes.io/instance-type",
    }
)
_PROGRAMS = frozenset({"kubernetes", "prometheus", "spot-balancer"})
_SOURCES = frozenset({"capture", "sync"})
_NAMED_AFTER = frozenset({"pod", "run"})
"""The word that follows these in a reason is a name, though no snapshot holds it."""


def redact(snapshot: Snapshot, secret: bytes) -> Snapshot:
    """The same world under other names. Deterministic for one ``secret``; without it nothing can be turned back.

    Raises InputError that names a field which cannot be proven harmless.
    """
    redactor = Redactor(secret, snapshot)
    return Snapshot(
        redactor.value_of(snapshot.meta),
        nodes=[redactor.node(node) for node in snapshot.nodes.values()],
        namespaces=[redactor.value_of(namespace) for namespace in snapshot.namespaces.values()],
        workloads=[redactor.workload(workload) for workload in snapshot.workloads.values()],
        bound=[redactor.value_of(pod) for pod in snapshot.bound.values()],
    )


class Redactor:
    """Renames everything of one snapshot, by one key."""

    def __init__(self, secret: bytes, snapshot: Snapshot) -> None:
        self._secret = secret
        self._policy = snapshot.meta.policy
        keys = snapshot.workloads.keys()
        self._known: dict[str, frozenset[str]] = {
            "namespaces": frozenset({k.namespace for k in keys} | snapshot.namespaces.keys()),
            "kinds": frozenset(k.kind for k in keys) | KINDS,
            "names": frozenset(k.name for k in keys),
        }
        signals = {s.name for w in snapshot.workloads.values() if w.verdict for s in w.verdict.signals}
        self._names = frozenset().union(*self._known.values(), snapshot.nodes.keys(), signals) - KINDS
        self._redacted_policy = self.value_of(self._policy)

    # --- words

    def name(self, text: str) -> str:
        """Sixteen letters and digits for a name, valid wherever Kubernetes takes one; nothing for nothing."""
        if not text:
            return ""
        digest = hmac.digest(self._secret, text.encode("utf-8", "surrogatepass"), "sha256")
        return "r" + base64.b32encode(digest).decode().lower()[:15]

    def namespace(self, text: str) -> str:
        """A namespace; those that every cluster has stay."""
        return text if text in NAMESPACES else self.name(text)

    def kind(self, text: str) -> str:
        """A kind; those that everybody knows stay."""
        return text if text in KINDS else self.name(text)

    def api_version(self, text: str) -> str:
        """A group and version; those that everybody knows stay."""
        return text if text in API_VERSIONS else self.name(text)

    def key(self, text: str) -> str:
        """The key of a node's label or taint; those of the provider table and of Kubernetes itself stay."""
        return text if text in NODE_KEYS or text in TAINT_KEYS else self.name(text)

    def labelled(self, key: str, value: str) -> str:
        """A node label's value; words of the provider table, platforms and numbers stay, places and hosts do not."""
        return self.name(value) if key in _TOPOLOGY else self.word(value)

    def word(self, text: str) -> str:
        """A value that stays if it is one of the words everybody uses, or a short number."""
        return text if text.lower() in LABEL_WORDS or _NUMBER.fullmatch(text) else self.name(text)

    def owned(self, text: str, owners: Iterable[str]) -> str:
        """A name that may be made of its owner's and a suffix: both parts are renamed, and it stays so made."""
        for owner in owners:
            if owner and len(text) > len(owner) + 1 and text.startswith(f"{owner}-"):
                return f"{self.name(owner)}-{self.name(text[len(owner) + 1 :])}"
        return self.name(text)

    def annotations(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """Annotations or labels of a workload, namespace or pod: known keys, and known words as values, stay."""
        return {
            key if key in ANNOTATIONS else self.name(key): self._annotation(value) for key, value in metadata.items()
        }

    def _annotation(self, value: str) -> str:
        known = value.lower() in ANNOTATION_WORDS or _SHARE.fullmatch(value) or _DURATION.fullmatch(value)
        return value if known else self.name(value)

    # --- values

    def value_of(self, value: V, **own: object) -> V:
        """A value with its text renamed; ``own`` are fields already done. Raises InputError for text it does not know."""
        kind = type(value)
        done: dict[str, object] = dict(own)
        for field in msgspec.structs.fields(kind):
            if field.name in done:
                continue
            found = getattr(value, field.name)
            treatment = _TEXT.get((kind, field.name))
            if treatment is not None and found is not None:
                done[field.name] = treatment(self, found)
            else:
                done[field.name] = self._plain(found, f"{kind.__name__}.{field.name}", field.default)
        return kind(**done)

    def _plain(self, found: Any, where: str, default: object) -> object:
        if found is None or isinstance(found, bool | int | float | datetime | timedelta | Enum) or found == default:
            return found
        if isinstance(found, Value):
            return self.value_of(found)
        if isinstance(found, tuple):
            return tuple(self._plain(one, where, None) for one in found)
        if not found:
            return found
        raise InputError(f"{where} holds text that this release cannot redact, so nothing was written")

    def requirement(self, asked: Requirement) -> Requirement:
        """A node selector requirement. Raises InputError where a number is compared that cannot stay."""
        values = tuple(self.labelled(asked.key, value) for value in asked.values)
        if asked.operator in ("Gt", "Lt") and values != asked.values:
            raise InputError(f"a requirement compares {len(asked.values)} value(s) that cannot be redacted as numbers")
        operator = asked.operator if asked.operator in OPERATORS else self.name(asked.operator)
        return Requirement(self.key(asked.key), operator, values)

    def node(self, node: Node) -> Node:
        """A node; how it was recognised is told anew, from what is left."""
        labels = {self.key(key): self.labelled(key, value) for key, value in node.labels.items()}
        is_ours = node.recognised_by == _told(node.labels, self._policy)
        said = _told(labels, self._redacted_policy) if is_ours else self.name(node.recognised_by)
        return self.value_of(node, labels=labels, recognised_by=said)

    def workload(self, workload: Workload) -> Workload:
        """A workload with its controllers and its verdict."""
        owners = (workload.key.name,)
        controllers = tuple(self.value_of(c, name=self._controller(c, owners)) for c in workload.controllers)
        return self.value_of(
            workload,
            controllers=controllers,
            verdict=self._verdict(workload.verdict, workload) if workload.verdict else None,
        )

    def _controller(self, controller: ControllerRef, owners: Iterable[str]) -> str:
        return self.owned(controller.name, owners)

    def _verdict(self, verdict: Verdict, workload: Workload) -> Verdict:
        runs = tuple(self.value_of(run, job=self.owned(run.job, (workload.key.name,))) for run in verdict.runs)
        return self.value_of(verdict, reason=self.sentence(verdict.reason, workload), runs=runs)

    def sentence(self, text: str, workload: Workload) -> str:
        """A reason: names are replaced; with one word that is neither a name nor ours, the whole of it is."""
        words = text.split(" ")
        told = [self._token(word, before, workload) for before, word in zip(["", *words], words, strict=False)]
        return " ".join(one for one in told if one is not None) if None not in told else f"redacted {self.name(text)}"

    def _token(self, token: str, before: str, workload: Workload) -> str | None:
        bare = token.strip("(),:;")
        head, _, tail = token.partition(bare) if bare else (token, "", "")
        if bare in SENTENCE or not bare:
            return token
        if before in _NAMED_AFTER:
            return f"{head}{self._pod(bare, workload)}{tail}"
        if bare in self._names:
            return f"{head}{self.name(bare)}{tail}"
        return token if _AMOUNT.fullmatch(bare) else None

    def _pod(self, name: str, workload: Workload) -> str:
        for controller in workload.controllers:
            if name.startswith(f"{controller.name}-") and controller.name != workload.key.name:
                suffix = name[len(controller.name) + 1 :]
                return f"{self._controller(controller, (workload.key.name,))}-{self.name(suffix)}"
        return self.owned(name, (workload.key.name,))

    # --- rules

    def match(self, match: Match) -> Match:
        """A rule's matcher. An expression becomes the list of what it matches here: it would match no new name."""
        return self.value_of(
            match,
            namespaces=self._matchers(match.namespaces, "namespaces", self.namespace),
            kinds=self._matchers(match.kinds, "kinds", self.kind),
            names=self._matchers(match.names, "names", self.name),
            labels={self.name(key): self.name(word) for key, word in match.labels.items()},
            namespace_labels={self.name(key): self.name(word) for key, word in match.namespace_labels.items()},
        )

    def _matchers(self, words: Iterable[str], part: str, rename: Callable[[str], str]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for word in words:
            if rules.expression(word) is None:
                found[rename(word)] = None
                continue
            matched = sorted(rename(text) for text in self._known[part] if rules.is_word(word, text))
            # An expression that meets nothing must not become an empty list, which meets everything.
            found |= dict.fromkeys(matched or [self.name(word)])
        return tuple(found)


def _told(labels: Mapping[str, str], policy: Policy) -> str:
    found = spotpool.classify(labels, policy=policy)
    return found.problem or found.recognised_by


def _each(rename: Callable[[Redactor, str], str]) -> Callable[[Redactor, Any], object]:
    return lambda redactor, texts: tuple(rename(redactor, text) for text in texts)


def _one_of(known: Iterable[str]) -> Callable[[Redactor, Any], object]:
    words = frozenset(known)
    return lambda redactor, text: text if text in words else redactor.name(text)


def _versions(redactor: Redactor, versions: Mapping[str, str]) -> dict[str, str]:
    """Numbers alone: what a vendor appends may name a customer."""
    return {
        program if program in _PROGRAMS else redactor.name(program): found[0] if (found := _VERSION.match(told)) else ""
        for program, told in versions.items()
    }


def _share(redactor: Redactor, text: str) -> str:
    return text if consent.MAX_SPOT.fullmatch(text) else redactor.name(text)


def _limit(redactor: Redactor, text: str) -> str:
    return text if budget.AMOUNT.fullmatch(text) else redactor.name(text)


_EFFECTS = _one_of(("NoSchedule", "PreferNoSchedule", "NoExecute"))
_UNITS = _one_of(("cores", "bytes/s", "s", "1"))
_SIGNALS = _one_of(("cpu", "received"))

# Every field of text, by the value that holds it. A field that is missing here is refused.
_TEXT: dict[tuple[type, str], Callable[[Redactor, Any], object]] = {
    (Meta, "source"): _one_of(_SOURCES),
    (Meta, "versions"): _versions,
    (Policy, "max_spot"): _share,
    (Policy, "kinds"): _each(Redactor.kind),
    (Policy, "excluded_namespaces"): _each(Redactor.namespace),
    (Policy, "allowed_annotations"): _each(_one_of(TENANTS_WORDS)),  # type: ignore[arg-type]
    (Policy, "pause"): _each(_one_of(("injection", "moves", "scoring"))),  # type: ignore[arg-type]
    (Policy, "spot_labels"): lambda r, markers: tuple(tuple(map(r.requirement, marker)) for marker in markers),
    (SpotPool, "name"): Redactor.name,
    (SpotPool, "marker"): lambda r, marker: tuple(map(r.requirement, marker)),
    (Rule, "name"): Redactor.name,
    (Rule, "match"): Redactor.match,
    (Rule, "max_spot"): _share,
    (Rule, "scheduler_name"): Redactor.name,
    (Rule, "allowed_annotations"): _each(_one_of(TENANTS_WORDS)),  # type: ignore[arg-type]
    (CustomSignal, "name"): _SIGNALS,
    (CustomSignal, "query"): Redactor.name,
    (CustomSignal, "unit"): _UNITS,
    (Node, "name"): Redactor.name,
    (Node, "marker"): lambda r, marker: tuple(map(r.requirement, marker)),
    (Taint, "key"): Redactor.key,
    (Taint, "value"): Redactor.word,
    (Taint, "effect"): _EFFECTS,
    (Toleration, "key"): Redactor.key,
    (Toleration, "operator"): _one_of(("Exists", "Equal")),
    (Toleration, "value"): Redactor.word,
    (Toleration, "effect"): _EFFECTS,
    (Platform, "os"): Redactor.word,
    (Platform, "architecture"): Redactor.word,
    (NodeLoad, "source"): _one_of(("node-exporter", "cadvisor", "cadvisor-containers")),
    (NodeLoad, "namespaces"): lambda r, used: {r.namespace(name): use for name, use in used.items()},
    (Bound, "uid"): Redactor.name,
    (Bound, "node"): Redactor.name,
    (Bound, "namespace"): Redactor.namespace,
    (Namespace, "name"): Redactor.namespace,
    (Namespace, "annotations"): Redactor.annotations,
    (Namespace, "labels"): Redactor.annotations,
    (Namespace, "weight_rule"): Redactor.name,
    (WorkloadKey, "namespace"): Redactor.namespace,
    (WorkloadKey, "kind"): Redactor.kind,
    (WorkloadKey, "name"): Redactor.name,
    (ControllerRef, "kind"): Redactor.kind,
    (ControllerRef, "uid"): Redactor.name,
    (ControllerRef, "api_version"): Redactor.api_version,
    (Workload, "uid"): Redactor.name,
    (Workload, "api_version"): Redactor.api_version,
    (Workload, "annotations"): Redactor.annotations,
    (Workload, "labels"): Redactor.annotations,
    (Workload, "rule"): Redactor.name,
    (Verdict, "uid"): Redactor.name,
    (Memory, "last_outcome"): _one_of(Outcome),
    **{(Limits, name): _limit for name in ("per_run", "per_cluster", "per_namespace", "per_workload", "per_node")},
    (Signal, "name"): _SIGNALS,
    (Signal, "unit"): _UNITS,
}
