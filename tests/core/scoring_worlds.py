"""Small worlds of nodes of every odd kind, their loads, namespaces and pods, as strategies and by hand."""

from datetime import UTC, datetime, timedelta
from math import inf, nan

from hypothesis import strategies as st

from webhook.core.expectation import Expectation
from webhook.core.model import Bound, CapacityType, Estimate, Namespace, Node, NodeLoad, Resources
from webhook.core.nodetable import table
from webhook.core.policy import BalancePolicy, Policy
from webhook.core.scoring import Candidate
from webhook.core.snapshot import Meta, Snapshot

GIB = 1024.0**3
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
TIME = NOW.timestamp()
NAMES = [f"n-{number}" for number in range(7)]
NAMESPACES = ["shop", "batch", "quiet"]
SIZES = [Resources(4.0, 16 * GIB), Resources(2.0, 16 * GIB), Resources(64.0, 256 * GIB)]
ODD_SIZES = [
    Resources(0.0, 16 * GIB),
    Resources(4.0, 0.0),
    Resources(-1.0, GIB),
    Resources(nan, GIB),
    Resources(1e-320, GIB),
]
ODD = [nan, inf, -inf, -1.0, 1e300]


def at(seconds):
    """So many seconds ago."""
    return NOW - timedelta(seconds=seconds)


def node(name="n-0", cpu=0.0, memory=0.0, *, spot=False, size=SIZES[0], age=0, sigma=0.0, told=True, use=None):
    """``cpu``, ``memory``, ``sigma`` and ``use`` (by namespace, of CPU) as shares of allocatable."""
    load = NodeLoad(
        cpu_cores=cpu * size.cpu_cores,
        memory_bytes=memory * size.memory_bytes,
        cpu_deviation_cores=sigma * size.cpu_cores,
        sampled_at=at(age),
        source="node-exporter",
        namespaces={who: Resources(part * size.cpu_cores, 0.0) for who, part in (use or {}).items()},
    )
    kind = CapacityType.SPOT if spot else CapacityType.REGULAR
    return Node(name=name, capacity_type=kind, allocatable=size, load=load if told else None)


def world(*nodes, weights=None, bound=(), rate=1.0, **balance):
    """A snapshot of these nodes, measured now."""
    return Snapshot(
        Meta(
            captured_at=NOW,
            load_match_rate=rate,
            policy=Policy(balance=BalancePolicy(**balance)),
        ),
        nodes=nodes,
        namespaces=[Namespace(name=name, weight=weight) for name, weight in (weights or {}).items()],
        bound=bound,
    )


def pod(cpu=0.0, memory=0.0, *, uid="uid-1", namespace="shop", spot=False, sigma=0.0):
    """A candidate that is expected to use so many cores and bytes."""
    return Candidate(
        uid,
        namespace,
        CapacityType.SPOT if spot else CapacityType.REGULAR,
        Expectation(estimate=Estimate(cpu, sigma * cpu, memory, sigma * memory)),
    )


def rows_of(snapshot, names):
    return table(snapshot).rows_of(names, len(names))


PARTS = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.2]), st.floats(1e-9, 1.5))
"""Of allocatable. What is below ``nodetable.NOTHING`` is none, and the reference knows no such line."""
AMOUNTS = st.one_of(st.just(0.0), st.floats(0.001, 4))


@st.composite
def estimates(draw):
    cpu, memory = draw(AMOUNTS), draw(AMOUNTS) * GIB
    return Estimate(cpu, cpu * draw(PARTS), memory, memory * draw(PARTS))


@st.composite
def loads(draw, size):
    def amount(whole):
        return draw(st.sampled_from(ODD)) if draw(st.integers(0, 19)) == 0 else draw(PARTS) * whole

    cpu, memory = amount(size.cpu_cores), amount(size.memory_bytes)
    used = draw(st.lists(st.sampled_from([*NAMESPACES, "unheard-of"]), unique=True, max_size=3))
    return NodeLoad(
        cpu_cores=cpu,
        memory_bytes=memory,
        cpu_deviation_cores=amount(size.cpu_cores) / 4,
        memory_deviation_bytes=amount(size.memory_bytes) / 4,
        sampled_at=at(draw(st.sampled_from([0, 0, 0, 30, 299, 300, 301, 4000, -20]))),
        source="cadvisor",
        namespaces={name: Resources(amount(size.cpu_cores), amount(size.memory_bytes)) for name in used},
        memory_span_seconds=draw(st.sampled_from([None, None, 0.0, 20.0, 90.0, 4000.0, *ODD])),
    )


@st.composite
def nodes(draw, name, *, odd=True):
    size = draw(st.sampled_from(SIZES * 4 + ODD_SIZES if odd else SIZES))
    return Node(
        name=name,
        capacity_type=draw(st.sampled_from(CapacityType)),
        allocatable=size,
        load=draw(st.one_of(loads(size), loads(size), loads(size), st.none()) if odd else loads(size)),
    )


@st.composite
def bounds(draw, uid):
    odd = draw(st.integers(0, 9)) == 0
    return Bound(
        uid=uid,
        node=draw(st.sampled_from([*NAMES, "elsewhere"])),
        namespace=draw(st.sampled_from(NAMESPACES)),
        expected=Estimate(draw(st.sampled_from(ODD))) if odd else draw(estimates()),
        started_at=draw(st.one_of(st.none(), st.integers(-60, 700).map(at))),
    )


POLICIES = st.builds(
    BalancePolicy,
    window=st.sampled_from([timedelta(minutes=1), timedelta(minutes=5)]),
    risk_factor=st.sampled_from([0.0, 1.0, 2.5]),
    fairness=st.sampled_from([0.0, 0.5, 1.0]),
    noise=st.sampled_from([0.0, 0.02, 0.2]),
    filter_above=st.sampled_from([None, 0.3, 0.8]),
)


@st.composite
def snapshots(draw):
    """Up to six nodes, often heterogeneous, some stale, some untold, some with loads that are no numbers."""
    names = draw(st.one_of(st.just(NAMES[:5]), st.lists(st.sampled_from(NAMES), unique=True, max_size=6)))
    weights = draw(st.dictionaries(st.sampled_from(NAMESPACES), st.sampled_from([0.001, 1.0, 3.0, 1000.0, nan, 0.0])))
    return Snapshot(
        Meta(
            captured_at=NOW,
            load_match_rate=draw(st.sampled_from([1.0] * 8 + [0.9, 0.89, None])),
            policy=Policy(balance=draw(POLICIES)),
        ),
        nodes=[draw(nodes(name)) for name in names],
        namespaces=[Namespace(name=name, weight=weight) for name, weight in weights.items()],
        bound=[draw(bounds(f"b-{number}")) for number in range(draw(st.integers(0, 3)))],
    )


@st.composite
def candidates(draw, uid="uid-1"):
    namespace = draw(st.sampled_from([*NAMESPACES, "new"]))
    return Candidate(uid, namespace, draw(st.sampled_from(CapacityType)), Expectation(estimate=draw(estimates())))


ASKED = st.lists(st.sampled_from([*NAMES, "unknown-1", "unknown-2"]), unique=True, min_size=1)
