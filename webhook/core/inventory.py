"""From a census, the verdict book and the policy to the snapshot that decisions look at.

Pure, and the same for `sync`, `snapshot`, `explain` and replay. What decisions do not read is
left out here: a cluster's labels and annotations would make a snapshot ten times as large.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from webhook.core import consent, departed, fairness, habits, load, owners, rules, spotpool
from webhook.core.book import Book
from webhook.core.census import Census, ControllerFact, NodeFact, PodFact
from webhook.core.model import (
    CapacityType,
    ControllerRef,
    Namespace,
    Node,
    NodeLoad,
    Platform,
    Value,
    Verdict,
    Workload,
    WorkloadKey,
)
from webhook.core.policy import BalancePolicy, Policy
from webhook.core.snapshot import Meta, Snapshot
from webhook.core.usage import NodeSample, NodeUsage

TOLERATIONS_WHITELIST = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
_NO_WORKLOAD = frozenset({"DaemonSet", "Node"})
"""One pod per node, or the node's own: their place is nobody's to choose."""

_MANAGERS = ("argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/", "meta.helm.sh/")
"""Prefixes of what says who else writes a workload's object."""

Name = tuple[str, str, str]


class Seen(Value, frozen=True):
    """What was last seen of a workload's replicas. ``surged``: a move's own replica is among them."""

    uid: str
    replicas: int
    risen_at: datetime | None = None
    surged: bool = False


class History(Value, frozen=True):
    """Replicas over successive censuses, by ``str(WorkloadKey)``; holds no more than the cluster does."""

    seen: dict[str, Seen] = {}


def observe(history: History, census: Census, book: Book) -> History:
    """Take one more census into account: note where replicas rose by someone else's hand.

    A move of ours raises a workload by one, once, while the book says ``surging``; any other rise means that the
    workload is wanted more than before. A workload seen for the first time has not risen.
    """
    surging = frozenset(book.control.surging)
    # What is hidden by a missing right has not gone, and must not seem new when it is seen again.
    seen = {name: before for name, before in history.seen.items() if WorkloadKey.parse(name).kind in census.missing}
    for fact in census.controllers:
        key = WorkloadKey(namespace=fact.namespace, kind=fact.kind, name=fact.name)
        if fact.replicas is not None and fact.kind != "ReplicaSet":
            before = history.seen.get(str(key))
            seen[str(key)] = _next(before, fact, fact.replicas, surging=key in surging, now=census.taken_at)
    return History(seen=seen)


def _next(before: Seen | None, fact: ControllerFact, replicas: int, *, surging: bool, now: datetime) -> Seen:
    if before is None or before.uid != fact.uid:
        return Seen(uid=fact.uid, replicas=replicas)
    rise = replicas - before.replicas
    ours = surging and not before.surged and rise >= 1
    risen = rise > (1 if ours else 0)
    return Seen(
        uid=fact.uid,
        replicas=replicas,
        risen_at=now if risen else before.risen_at,
        surged=surging and (ours or before.surged),
    )


def recall(snapshot: Snapshot) -> History:
    """The history that a snapshot remembers, for a `sync` that starts again."""
    return History(
        seen={
            str(key): Seen(uid=w.uid, replicas=w.replicas, risen_at=w.risen_at, surged=w.surging)
            for key, w in snapshot.workloads.items()
            if w.replicas is not None
        }
    )


def build(  # noqa: PLR0913 - all that a snapshot is made of, by name
    census: Census,
    book: Book,
    policy: Policy,
    *,
    history: History | None = None,
    node_usage: NodeUsage | None = None,
    measured: load.Measured = load.NOTHING,
    generation: int = 0,
    source: str = "",
    versions: Mapping[str, str] | None = None,
    keeps_census: bool = False,
    nodes: Mapping[str, Node] | None = None,
) -> Snapshot:
    """The snapshot of one moment. Everything is ordered by name, so that an unchanged world gives unchanged bytes.

    ``measured`` may be of an earlier census. ``keeps_census``: moves are to be planned from it. ``nodes`` are taken as
    they are where they were built before, and the snapshot has the very same; those of the census and of the usage are
    then not looked at.
    """
    samples = {sample.node: sample for sample in (node_usage.nodes if node_usage else ())}
    known = _nodes(census, policy, samples, measured) if nodes is None else nodes
    resolved = owners.resolve(census)
    # Without any load nothing is scored by it, and whom it misses is of no use.
    recent = load.recent(census, samples, measured, resolved, policy.balance) if samples else load.NOBODY
    meta = Meta(
        captured_at=census.taken_at,
        generation=generation,
        book_heartbeat=book.control.heartbeat,
        alarm=book.control.sanity.alarm,
        load_match_rate=node_usage.match_rate if node_usage else None,
        bound_left_out=recent.left_out,
        policy=policy,
        source=source,
        versions=dict(versions or {}),
    )
    found = _workloads(
        census,
        book,
        policy,
        history=history or History(),
        nodes=known,
        resolved=resolved,
    )
    workloads = (msgspec.structs.replace(made, use=measured.workloads.get(made.key)) for made in found)
    namespaces = [
        msgspec.structs.replace(_namespace(one, policy), use_ratio=measured.ratios.get(one.name))
        for one in sorted(census.namespaces, key=lambda n: n.name)
    ]
    whole, control = (kept(census), book.control) if keeps_census else (None, None)
    built = Snapshot(
        meta,
        nodes=() if nodes else known.values(),
        namespaces=namespaces,
        workloads=workloads,
        bound=recent.pods,
        census=whole,
        control=control,
    )
    if nodes is not None:
        built.nodes = nodes
    return built


def _nodes(
    census: Census, policy: Policy, samples: Mapping[str, NodeSample], measured: load.Measured
) -> dict[str, Node]:
    return {
        fact.name: node_of(fact, policy, node_load(samples.get(fact.name), measured, policy.balance))
        for fact in sorted(census.nodes, key=lambda n: n.name)
    }


def node_of(fact: NodeFact, policy: Policy, found_load: NodeLoad | None = None) -> Node:
    """A node as decisions see it."""
    found = spotpool.classify(fact.labels, policy=policy)
    # A problem is for people to see, in the one place where the class is explained.
    told = found.problem or found.recognised_by
    return Node(
        name=fact.name,
        capacity_type=found.capacity_type,
        recognised_by=told,
        marker=found.marker,
        labels=spotpool.kept_labels(fact.labels, policy=policy),
        taints=fact.taints,
        platform=platform_of(fact.labels),
        ready=fact.ready,
        schedulable=not fact.unschedulable,
        allocatable=fact.allocatable,
        load=found_load,
    )


def platform_of(labels: Mapping[str, str]) -> Platform:
    """Of a node; one that says nothing is taken to be what most are."""
    return Platform(os=labels.get("kubernetes.io/os", "linux"), architecture=labels.get("kubernetes.io/arch", "amd64"))


def node_load(sample: NodeSample | None, measured: load.Measured, policy: BalancePolicy) -> NodeLoad | None:
    """What a node is told to use, less what pods did that are no more, with what habit says of its pods.

    Both only while its pods can still be those that were measured.
    """
    if sample is None:
        return None
    if not measured.speaks_of(sample, policy):
        measured = load.NOTHING
    namespaces = measured.on_nodes.get(sample.node, {})
    sample = departed.without(
        sample,
        measured.left,
        told_at=measured.evaluated_at,
        window=policy.window,
        running_cores=sum(use.cpu_cores for use in namespaces.values()),
    )
    habit = measured.habits.get(sample.node)
    return NodeLoad(
        cpu_cores=sample.cpu_cores,
        memory_bytes=sample.memory_bytes,
        sampled_at=sample.sampled_at,
        source=sample.source,
        cpu_deviation_cores=sample.cpu_deviation_cores,
        memory_deviation_bytes=sample.memory_deviation_bytes,
        namespaces=namespaces,
        expected=None if habit is None else habits.expected(sample, habit),
        memory_span_seconds=sample.memory_span_seconds,
    )


def _namespace(found: Namespace, policy: Policy) -> Namespace:
    rule = rules.first_weighing(policy, found.name, labels=found.labels)
    return Namespace(
        name=found.name,
        annotations=_annotations(found),
        labels=_kept(found.labels),
        weight=fairness.settled(policy, rule, found.annotations).value,
        weight_rule=rule.name if rule else "",
    )


def _annotations(found: Namespace) -> dict[str, str]:
    extra = {k: v for k, v in found.annotations.items() if k == TOLERATIONS_WHITELIST}
    return _kept(found.annotations) | extra


def _kept(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: metadata[key] for key in sorted(metadata) if is_read(key)}


def is_read(key: str) -> bool:
    """Whether decisions read an annotation or label of this name, on a workload or a namespace."""
    return key.startswith(consent.PREFIX) or key in consent.FOREIGN_KEYS


def kept(census: Census) -> Census:
    """What a capture keeps of it: all but annotations that nobody reads, which may hold a whole object with its secrets."""
    return msgspec.structs.replace(
        census,
        namespaces=tuple(map(_namespace_kept, census.namespaces)),
        controllers=tuple(map(_controller_kept, census.controllers)),
    )


def _namespace_kept(found: Namespace) -> Namespace:
    return msgspec.structs.replace(found, annotations=_annotations(found))


def _controller_kept(fact: ControllerFact) -> ControllerFact:
    told = {key: text for key, text in fact.annotations.items() if key.startswith(_MANAGERS)}
    return msgspec.structs.replace(fact, annotations=told | _kept(fact.annotations))


def _workloads(  # noqa: PLR0913 - all that workloads are made of, by name
    census: Census,
    book: Book,
    policy: Policy,
    *,
    history: History,
    nodes: Mapping[str, Node],
    resolved: Mapping[Name, WorkloadKey],
) -> Iterable[Workload]:
    namespaces = {found.name: found.labels for found in census.namespaces}
    facts = {(c.namespace, c.kind, c.name): c for c in census.controllers}
    named = _named(census)
    pods: defaultdict[WorkloadKey, list[PodFact]] = defaultdict(list)
    for pod in census.pods:
        if (key := _workload_of(pod, resolved)) and pod.is_active:
            pods[key].append(pod)
    surging = book.control.surging
    between: defaultdict[WorkloadKey, list[ControllerRef]] = defaultdict(list)
    for name, key in resolved.items():
        if _leads_to_pods(name, key, facts.get(name)):
            between[key].append(_reference(name, facts, named))
    for key in sorted(set(resolved.values())):
        if key.kind in _NO_WORKLOAD:
            continue
        name = (key.namespace, key.kind, key.name)
        made = _workload(key, facts.get(name), _reference(name, facts, named), pods=pods[key], nodes=nodes)
        yield msgspec.structs.replace(
            made,
            controllers=tuple(between[key]),
            risen_at=_risen_at(history, key, made.uid),
            surge_to=surging.get(key),
            rule=_rule(policy, key, facts.get(name), namespaces),
            verdict=_verdict(book, key, made.uid),
        )


def _workload(
    key: WorkloadKey,
    fact: ControllerFact | None,
    reference: ControllerRef,
    *,
    pods: list[PodFact],
    nodes: Mapping[str, Node],
) -> Workload:
    placed = [(pod, nodes[pod.node_name]) for pod in pods if pod.node_name in nodes]
    return Workload(
        key=key,
        uid=reference.uid,
        api_version=reference.api_version,
        annotations=_kept(fact.annotations) if fact else {},
        labels=_kept(fact.labels) if fact else {},
        replicas=fact.replicas if fact else None,
        pods=len(pods),
        pods_on_spot=sum(node.capacity_type is CapacityType.SPOT for _, node in placed),
        pods_bound_for_spot=sum(not pod.node_name and pod.decision.startswith("v1/spot/") for pod in pods),
        ready_platforms=tuple(sorted({node.platform for pod, node in placed if pod.ready})),
        created_at=fact.created_at if fact else None,
    )


def _rule(
    policy: Policy, key: WorkloadKey, fact: ControllerFact | None, namespaces: Mapping[str, Mapping[str, str]]
) -> str:
    labels, around = fact.labels if fact else {}, namespaces.get(key.namespace)
    if around is None and is_undecided(policy, key, labels=labels):
        return ""
    rule = rules.first(policy, key, labels=labels, namespace_labels=around or {})
    return rule.name if rule else ""


def is_undecided(policy: Policy, key: WorkloadKey, *, labels: Mapping[str, str]) -> bool:
    """Whether it hangs on the labels of its namespace, which is not known, which rule is for a workload.

    The rules below may be laxer than the one that would have matched, so none of them is taken instead.
    """
    for rule in filter(rules.is_for_workloads, policy.rules):
        rest = msgspec.structs.replace(rule.match, namespace_labels={})
        if rules.matches(rest, key, labels=labels, namespace_labels={}):
            return bool(rule.match.namespace_labels)
    return False


def _workload_of(pod: PodFact, resolved: Mapping[Name, WorkloadKey]) -> WorkloadKey | None:
    owner = pod.controller
    return resolved.get((pod.namespace, owner.kind, owner.name)) if owner else None


def _leads_to_pods(name: Name, key: WorkloadKey, fact: ControllerFact | None) -> bool:
    """Deployments and CronJobs never own pods. Their ReplicaSets at zero are history, ten of them by default.

    Should an old one come back, its pods are led to the Deployment by their hash until the next refresh.
    """
    _, kind, own = name
    if (kind, own) == (key.kind, key.name):
        return kind not in ("Deployment", "CronJob")
    return not (kind == "ReplicaSet" and key.kind == "Deployment" and fact is not None and fact.replicas == 0)


def _named(census: Census) -> dict[Name, ControllerRef]:
    """What is known of owners whose own kind is not read: what their children say."""
    children: list[PodFact | ControllerFact] = [*census.pods, *census.controllers]
    return {
        (child.namespace, child.controller.kind, child.controller.name): child.controller
        for child in children
        if child.controller is not None
    }


def _reference(name: Name, facts: Mapping[Name, ControllerFact], named: Mapping[Name, ControllerRef]) -> ControllerRef:
    _, kind, own = name
    if fact := facts.get(name):
        return ControllerRef(kind=kind, name=own, uid=fact.uid, api_version=fact.api_version)
    return named.get(name) or ControllerRef(kind=kind, name=own)


def _risen_at(history: History, key: WorkloadKey, uid: str) -> datetime | None:
    seen = history.seen.get(str(key))
    return seen.risen_at if seen and seen.uid == uid else None


def _verdict(book: Book, key: WorkloadKey, uid: str) -> Verdict | None:
    """A verdict holds for the object it was made for, not for the next one of that name."""
    found = book.verdicts.get(str(key))
    return found if found and found.uid == uid else None
