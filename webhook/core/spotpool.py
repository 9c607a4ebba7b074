"""Which nodes are spot, how that is known, and what a pod must carry to land there.

A node is recognised by its labels, never by its taints: the provider table below, then the
operator's own markers. Tolerated is only a marker taint of the table or what the operator
lists, because a taint learnt from a live node may guard a tenant's or a draining pool. The module is
long because it has the table of providers.
"""

import re
from bisect import insort
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import lru_cache
from weakref import WeakKeyDictionary

from webhook.core.badday import SpotNodes, now_unwell
from webhook.core.model import CapacityType, Node, Platform, Requirement, Taint, Toleration, Value
from webhook.core.policy import Policy
from webhook.core.snapshot import Snapshot


class Provider(Value, frozen=True):
    """One row of the table: a node is spot if ``label`` has one of ``values`` (any case); no values means the key alone.

    ``unless`` is a label that takes it back. ``regular`` are values that say the opposite in so many words.
    ``taint`` is the marker that the provider puts on such nodes; an empty value tolerates any.
    """

    name: str
    label: str
    values: tuple[str, ...] = ()
    regular: tuple[str, ...] = ()
    unless: tuple[str, str] | None = None
    taint: Taint | None = None


_ON_DEMAND = ("normal", "OnDemand", "on-demand")
"""Nobody owns the label `lifecycle`: each sample that uses it spells the opposite in its own way."""

PROVIDERS: tuple[Provider, ...] = (
    Provider("Karpenter", "karpenter.sh/capacity-type", ("spot",), ("on-demand", "reserved")),
    Provider("EKS managed node group", "eks.amazonaws.com/capacityType", ("SPOT",), ("ON_DEMAND", "CAPACITY_BLOCK")),
    Provider(
        "GKE Spot", "cloud.google.com/gke-spot", ("true",), ("false",), taint=Taint("cloud.google.com/gke-spot", "true")
    ),
    Provider("GKE provisioning", "cloud.google.com/gke-provisioning", ("spot", "preemptible"), ("standard",)),
    Provider(
        "GKE preemptible",
        "cloud.google.com/gke-preemptible",
        ("true",),
        ("false",),
        taint=Taint("cloud.google.com/gke-preemptible", "true"),
    ),
    Provider(
        "AKS spot pool",
        "kubernetes.azure.com/scalesetpriority",
        ("spot",),
        ("regular",),
        taint=Taint("kubernetes.azure.com/scalesetpriority", "spot"),
    ),
    Provider("AKS priority", "kubernetes.azure.com/priority", ("spot",), ("regular",)),
    Provider("OpenShift machine API", "machine.openshift.io/interruptible-instance"),
    Provider(
        "Alibaba ACK", "node.alibabacloud.com/spot-strategy", ("SpotWithPriceLimit", "SpotAsPriceGo"), ("NoSpot",)
    ),
    Provider(
        "Oracle OKE",
        "oci.oraclecloud.com/oke-is-preemptible",
        ("true",),
        ("false",),
        taint=Taint("oci.oraclecloud.com/oke-is-preemptible"),
    ),
    Provider("Yandex Cloud", "yandex.cloud/preemptible", ("true",), ("false",)),
    Provider("Spot Ocean", "spotinst.io/node-lifecycle", ("spot",), ("od",)),
    Provider(
        "CAST AI",
        "scheduling.cast.ai/spot",
        ("true",),
        ("false",),
        unless=("scheduling.cast.ai/spot-fallback", "true"),
        taint=Taint("scheduling.cast.ai/spot"),
    ),
    Provider("Zalando", "aws.amazon.com/spot", ("true",), ("false",)),
    Provider("kops spot worker", "node-role.kubernetes.io/spot-worker"),
    Provider("spot worker role", "kubernetes.io/role", ("spot-worker",), ("worker",)),
    Provider("node lifecycle", "node.kubernetes.io/lifecycle", ("spot",), _ON_DEMAND),
    Provider("AWS samples", "lifecycle", ("Ec2Spot", "spot"), _ON_DEMAND),
    Provider("node lifecycle, unprefixed", "node-lifecycle", ("spot",), _ON_DEMAND),
)

_TOPOLOGY = frozenset(
    {
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "node.kubernetes.io/instance-type",
    }
)
_PROVIDER_KEYS = frozenset(
    {row.label for row in PROVIDERS} | {row.unless[0] for row in PROVIDERS if row.unless is not None}
)
_BLOCKING = ("NoSchedule", "NoExecute")
_HOSTNAME = "kubernetes.io/hostname"
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
MAX_LANDINGS = 64
"""What a single pod is matched against at most, however many kinds of spot nodes there are."""

Marker = tuple[Requirement, ...]
_Way = tuple[Marker, Platform | None, tuple[Taint, ...]]
_Kind = tuple[tuple[tuple[str, str], ...], tuple[Taint, ...]]

NEVER_ON_SPOT: Marker = tuple(Requirement(row.label, "NotIn", row.regular) for row in PROVIDERS if row.regular) + tuple(
    Requirement(row.unless[0], "NotIn", (row.unless[1],)) for row in PROVIDERS if row.unless is not None
)
"""What holds on every node that we call spot: no provider's word says the opposite. Never written into a pod."""


class Recognition(Value, frozen=True):
    """``marker`` is what an affinity says to mean this node; ``problem`` what a person should look at."""

    capacity_type: CapacityType
    marker: Marker = ()
    recognised_by: str = ""
    problem: str = ""


def classify(labels: Mapping[str, str], *, policy: Policy) -> Recognition:
    """Tell a node's capacity type. Two rows that disagree make it regular, with the problem named."""
    spot: list[tuple[Marker, str]] = [found for row in PROVIDERS if (found := _as_spot(row, labels))]
    spot += [(m, f"spotLabels: {_words(m)}") for m in policy.spot_labels if matches_all(m, labels)]
    spot += [(p.marker, f"spotPools: {p.name}") for p in policy.spot_pools if matches_all(p.marker, labels)]
    against = [said for row in PROVIDERS if (said := _as_regular(row, labels))]
    if spot and against:
        problem = f"two classes at once: {spot[0][1]}, but {against[0]}; taken as regular"
        return Recognition(CapacityType.REGULAR, recognised_by=against[0], problem=problem)
    if spot:
        return Recognition(CapacityType.SPOT, marker=spot[0][0], recognised_by=spot[0][1])
    return Recognition(CapacityType.REGULAR, recognised_by=against[0] if against else "no spot label")


def _as_spot(row: Provider, labels: Mapping[str, str]) -> tuple[Marker, str] | None:
    value = labels.get(row.label)
    if value is None or (row.values and value.lower() not in {v.lower() for v in row.values}):
        return None
    if row.unless is not None and labels.get(row.unless[0], "").lower() == row.unless[1]:
        return None
    # The spelling of the live node: affinity compares letter by letter.
    own = Requirement(row.label, "In", (value,)) if row.values else Requirement(row.label, "Exists")
    guard = (Requirement(row.unless[0], "NotIn", (row.unless[1],)),) if row.unless is not None else ()
    return (own, *guard), f"{row.name}: {row.label}={value}"


def _as_regular(row: Provider, labels: Mapping[str, str]) -> str | None:
    value = labels.get(row.label)
    if row.unless is not None and labels.get(row.unless[0], "").lower() == row.unless[1]:
        return f"{row.name} fallback: {row.unless[0]}={row.unless[1]}"
    if value is not None and value.lower() in {v.lower() for v in row.regular}:
        return f"{row.name}: {row.label}={value}"
    return None


def _words(marker: Marker) -> str:
    return " and ".join(f"{r.key} {r.operator} {','.join(r.values)}".strip() for r in marker)


def matches_all(marker: Marker, labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels shows the marker; an empty one is shown by none."""
    return bool(marker) and all(matches(requirement, labels) for requirement in marker)


def matches(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels meets a node selector requirement. Unknown operators match nothing."""
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(requirement, value)
    return False


def _compares(requirement: Requirement, value: str | None) -> bool:
    numbers = (value or "", *requirement.values)
    if len(numbers) != 2 or not all(map(_INTEGER.fullmatch, numbers)):
        return False
    left, right = map(int, numbers)
    return left > right if requirement.operator == "Gt" else left < right


def kept_keys(policy: Policy) -> frozenset[str]:
    """The keys of all labels that a snapshot keeps of a node: what it does not show under them is not there."""
    custom = {r.key for marker in (*policy.spot_labels, *(p.marker for p in policy.spot_pools)) for r in marker}
    return _TOPOLOGY | _PROVIDER_KEYS | custom


def kept_labels(labels: Mapping[str, str], *, policy: Policy) -> dict[str, str]:
    """Only the labels that decisions read; a cloud's other forty would make a snapshot ten times as large."""
    wanted = kept_keys(policy)
    return {key: value for key, value in labels.items() if key in wanted}


def tolerable(taint: Taint, *, policy: Policy) -> bool:
    """Whether our pods may tolerate it: a provider's spot marker, or what the operator lists."""
    return any(covers(known, taint) for known in _tolerable_taints(policy))


@lru_cache(maxsize=8)
def _known(extra: tuple[Taint, ...]) -> tuple[Taint, ...]:
    return tuple(row.taint for row in PROVIDERS if row.taint is not None) + extra


def _tolerable_taints(policy: Policy) -> tuple[Taint, ...]:
    return _known(policy.spot_taints + tuple(t for pool in policy.spot_pools for t in pool.taints))


def covers(known: Taint, taint: Taint) -> bool:
    """Whether ``taint`` is the marker ``known``, on whatever effect; an empty value there matches any."""
    return known.key == taint.key and known.value in ("", taint.value)


def blocking(taints: Iterable[Taint]) -> tuple[Taint, ...]:
    """The taints that keep a pod away; PreferNoSchedule only makes a node less liked."""
    return tuple(taint for taint in taints if taint.effect in _BLOCKING)


def toleration_of(taint: Taint) -> Toleration:
    """What a pod must carry to get past the taint; without a value it tolerates any."""
    if not taint.value:
        return Toleration(key=taint.key, operator="Exists", effect=taint.effect)
    return Toleration(key=taint.key, operator="Equal", value=taint.value, effect=taint.effect)


def is_tolerated(tolerations: Iterable[Toleration] | None, needed: Toleration) -> bool:
    """Whether a pod with these tolerations needs no further one to tolerate as much as ``needed``."""
    return any(_is_as_wide(mine, needed) for mine in tolerations or ())


def _is_as_wide(mine: Toleration, needed: Toleration) -> bool:
    if mine.effect and mine.effect != needed.effect:
        return False
    if mine.key and mine.key != needed.key:
        return False
    if mine.operator == "Exists":
        return True
    if mine.operator not in (None, "", "Equal"):
        return False
    return bool(mine.key) and needed.operator == "Equal" and (mine.value or "") == (needed.value or "")


class Landing(Value, frozen=True):
    """Awake spot nodes that are alike in all that a pod may ask of them, or a declared pool that nobody has seen.

    ``labels`` are on all of them; of keys in ``told``, what is not there is known to be absent. ``given`` holds
    by declaration, whatever the labels say. ``taints`` are the blocking ones.
    """

    labels: dict[str, str] = {}
    told: frozenset[str] = frozenset()
    given: Marker = ()
    taints: tuple[Taint, ...] = ()

    def surely_meets(self, requirement: Requirement) -> bool:
        """Whether each of these nodes does. What cannot be known is no."""
        if requirement in self.given:
            return True
        return (requirement.key in self.labels or requirement.key in self.told) and matches(requirement, self.labels)


class Fleet(Value, frozen=True):
    """What the cluster offers, summed up once per snapshot.

    ``markers`` are the alternatives that spot nodes and declared pools show, ordered and distinct;
    ``open_markers`` those with a destination that asks for no toleration. ``guarded`` are the
    destinations behind marker taints, distinct, as (platform, taints); the platform is None for a
    declared pool, whose nodes nobody has seen. Where there is no destination now, both tell of the nodes
    that would be one, were they Ready and not cordoned, and ``landings`` is empty: enough for a wish.
    ``landings`` are the destinations by kind, the most common MAX_LANDINGS of them, and the declared pools.
    ``behind_taints`` are the platforms of all spot nodes with blocking taints, usable or not: what a
    toleration might open. ``lookalikes`` are those of regular nodes behind a marker's taint, as fallback
    nodes are: it would open them too, and they show no marker by which it could be kept from that.
    ``platforms`` are those of all spot nodes, ``every_platform`` those of all nodes.
    ``trouble`` says what ails the spot nodes; empty where nothing does, or a declared pool may be well all the same.
    """

    markers: tuple[Marker, ...] = ()
    open_markers: tuple[Marker, ...] = ()
    guarded: tuple[tuple[Platform | None, tuple[Taint, ...]], ...] = ()
    behind_taints: frozenset[Platform] = frozenset()
    lookalikes: frozenset[Platform] = frozenset()
    platforms: frozenset[Platform] = frozenset()
    every_platform: frozenset[Platform] = frozenset()
    destinations: int = 0
    landings: tuple[Landing, ...] = ()
    trouble: str = ""


def destination(node: Node, *, policy: Policy) -> bool:
    """Whether a spot-bound pod may be sent there: spot, Ready, not cordoned, and no taint that is not a marker's."""
    return node.capacity_type is CapacityType.SPOT and node.ready and node.schedulable and _is_ours(node, policy=policy)


def _is_ours(node: Node, *, policy: Policy) -> bool:
    """Not a tenant's, and not being emptied."""
    return all(tolerable(taint, policy=policy) for taint in blocking(node.taints))


_fleets: "WeakKeyDictionary[Snapshot, Fleet]" = WeakKeyDictionary()


def fleet(snapshot: Snapshot) -> Fleet:
    """The summary of a snapshot's nodes; computed at first use and kept with the snapshot."""
    if snapshot not in _fleets:
        deque(fleet_steps(snapshot), maxlen=0)
    return _fleets[snapshot]


def fleet_steps(snapshot: Snapshot, before: Snapshot | None = None) -> Iterator[None]:
    """Compute it ahead, a node a step; what holds of ``before`` with the very same nodes and policy is taken over."""
    if snapshot in _fleets:
        return
    if before and before.nodes is snapshot.nodes and before.meta.policy == snapshot.meta.policy:
        _fleets[snapshot] = fleet(before)
    else:
        _fleets[snapshot] = yield from _survey(snapshot)


def _survey(snapshot: Snapshot) -> Generator[None, None, Fleet]:
    policy = snapshot.meta.policy
    pools: dict[_Way, None] = {(pool.marker, None, blocking(pool.taints)): None for pool in policy.spot_pools}
    markers = {marker for marker, _, _ in pools}
    every, spot, behind, lookalikes = set[Platform](), set[Platform](), set[Platform](), set[Platform]()
    now, once_awake, kinds, seen = dict[_Way, None](), dict[_Way, None](), Counter[_Kind](), SpotNodes()
    for node in snapshot.nodes.values():
        yield
        platform, taints, seen = node.platform, blocking(node.taints), seen.and_one(node)
        every.add(platform)
        if node.capacity_type is not CapacityType.SPOT:
            if any(tolerable(taint, policy=policy) for taint in taints):
                lookalikes.add(platform)
            continue
        markers.add(node.marker)
        spot.add(platform)
        if taints:
            # Cordoned and NotReady nodes too: a toleration outlives the moment.
            behind.add(platform)
        if _is_ours(node, policy=policy):
            once_awake[node.marker, platform, taints] = None
        if destination(node, policy=policy):
            now[node.marker, platform, taints] = None
            kinds[_kind(node, taints)] += 1
    ways = {**(now if kinds or pools else once_awake), **pools}
    return Fleet(
        markers=_ordered(markers),
        open_markers=_ordered({marker for marker, _, taints in ways if not taints}),
        guarded=tuple(dict.fromkeys((platform, taints) for _, platform, taints in ways if taints)),
        behind_taints=frozenset(behind),
        lookalikes=frozenset(lookalikes),
        platforms=frozenset(spot),
        every_platform=frozenset(every),
        destinations=kinds.total(),
        landings=(*(yield from _landings(kinds, policy)), *declared(policy)),
        trouble="" if pools else now_unwell(seen, policy.moves.max_unready),
    )


def _kind(node: Node, taints: tuple[Taint, ...]) -> _Kind:
    """Labels and taints, without the host's name, which would make each node a kind of its own."""
    return tuple(sorted((k, v) for k, v in node.labels.items() if k != _HOSTNAME)), taints


def _landings(kinds: Mapping[_Kind, int], policy: Policy) -> Generator[None, None, list[Landing]]:
    """The most common ones. Names decide between equals, so that the same world gives the same answer."""
    told, common = kept_keys(policy) - {_HOSTNAME}, list[tuple[int, str, _Kind]]()
    for kind, count in kinds.items():
        yield
        insort(common, (-count, repr(kind), kind))
        del common[MAX_LANDINGS:]
    return [Landing(labels=dict(labels), told=told, taints=taints) for _, _, (labels, taints) in common]


def declared(policy: Policy) -> list[Landing]:
    """The declared pools, in their order."""
    return [
        Landing(
            labels={r.key: r.values[0] for r in pool.marker if r.operator == "In" and len(r.values) == 1},
            given=pool.marker,
            taints=blocking(pool.taints),
        )
        for pool in policy.spot_pools[:MAX_LANDINGS]
    ]


def _ordered(markers: Iterable[Marker]) -> tuple[Marker, ...]:
    return tuple(sorted({m for m in markers if m}, key=lambda marker: [(r.key, r.operator, r.values) for r in marker]))
