"""The nodes of a snapshot as columns, laid out once so that a pod's score is a few passes over arrays.

Rows are nodes in the order of the snapshot; row -1 stands for a node that it does not know. Loads are shares of
allocatable, CPU in row 0 and memory in row 1 of each pair. What was bound since a node was measured, and is not yet
wholly in its window, is added by the part that is missing::

    part = 1 - (sampled_at - started_at) / window, from 0 to 1

where of memory the window is only as long as its samples reach back: a mean over a minute holds a minute-old pod whole.

Where it is known what a node's pods use by habit, its load is the mean of what was measured and of that: a few minutes
are chance, habits are no more than that, and the mean of both foretells the next hours better than either.
It is long because a table and all that may be added to it must agree on every column.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple
from weakref import WeakKeyDictionary
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from webhook.core import habits
from webhook.core.model import Bound, CapacityType, Estimate, Node
from webhook.core.nodejoin import LEAST_MATCHED
from webhook.core.policy import BalancePolicy
from webhook.core.quantity import is_amount
from webhook.core.riskmemory import RiskMemory
from webhook.core.snapshot import Snapshot
from webhook.core.usage import memory_span

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]
CPU, MEMORY = 0, 1
TOP = 10
"""The largest score that a scheduler takes from an extender (MaxExtenderPriority)."""


_SMALLEST = 1e-9
"""Of what a node can give: below, its shares would be infinite."""
_AT_ONCE = 128
"""Pods or pieces laid in one step: about a tenth of a millisecond."""


class Index(dict[str, int]):
    """A node's row by its name; -1 for any other."""

    def __missing__(self, name: str) -> int:
        return -1


@dataclass(slots=True)
class Share:
    """One namespace's use: the rows it has use on, and how much of allocatable there, as ``shares`` of shape (2, rows).

    Where a share is zero in both, the namespace has none there, and its weight is not among the row's.
    """

    rows: Rows
    shares: Floats
    _places: Rows | None = None

    def places(self, count: int) -> Rows:
        """Where each of ``count`` rows stands in ``shares``, -1 where it does not; laid out at first use."""
        if self._places is None:
            self._places = np.full(count, -1, dtype=np.intp)
            self._places[self.rows] = np.arange(len(self.rows), dtype=np.intp)
        return self._places

    def at(self, row: int, count: int) -> tuple[float, float]:
        """(CPU, memory) on one row of ``count``."""
        place = self.places(count).item(row)
        return (self.shares.item(CPU, place), self.shares.item(MEMORY, place)) if place >= 0 else (0.0, 0.0)

    def place_of(self, row: int, count: int) -> int:
        """The row's place, made with zero shares where it has none yet."""
        places = self.places(count)
        if places[row] < 0:
            places[row] = len(self.rows)
            self.rows = np.append(self.rows, np.intp(row))
            self.shares = np.append(self.shares, np.zeros((2, 1)), axis=1)
        return int(places[row])


_SCORE = b',"Score":  },'
_DIGITS = np.frombuffer(b"".join(b"%2d" % score for score in range(TOP + 1)), np.uint8).reshape(TOP + 1, 2)
_LINED = 0.9
"""Of the names, how many have a line at least."""


class Lines(NamedTuple):
    """What an answer says of each node, as bytes of one length, so that one copy makes an answer of thousands.

    ``whole`` has shape (n, width) and ends with a comma; spaces before a score mean nothing to JSON. ``is_missing``, of
    shape (n + 1,), holds of a node whose name is longer than nearly all others, and of row -1.
    """

    whole: NDArray[np.uint8]
    is_missing: Flags

    def of(self, rows: Rows, scores: Rows) -> NDArray[np.uint8]:
        """The lines of these rows, none of which is missing, one after the other behind a byte that is left free."""
        made = np.empty(1 + len(rows) * self.whole.shape[1], dtype=np.uint8)
        lines = made[1:].reshape(len(rows), self.whole.shape[1])
        # Rows are known to be there; to look again would cost a buffer.
        self.whole.take(rows, axis=0, out=lines, mode="clip")
        lines[:, -4:-2] = _DIGITS.take(scores, axis=0)
        return made


@dataclass(slots=True, eq=False)
class Table:
    """``mean`` and ``variance`` have shape (2, n), in shares of allocatable; so has ``inverse``, 1 / allocatable.

    ``fullest`` is the larger of a node's two shares by measurement alone, without habit or what is bound, (n,).
    ``spans`` are the seconds that a node's means are over, (2, n): of CPU the window, of memory what of it was sampled.
    ``until`` is when a node's load grows stale, in Unix seconds; -inf where there is none. ``weights`` are the sum of the
    weights of namespaces with use on a node; ``salts`` are drawn from its name, to choose among equals. ``lines`` are what
    an answer says of each.
    ``is_blind``: too little is known of loads, and only the class counts.
    """

    names: list[str]
    index: Index
    is_spot: Flags
    inverse: Floats
    mean: Floats
    variance: Floats
    fullest: Floats
    until: Floats
    sampled: Floats
    spans: Floats
    weights: Floats
    namespaces: dict[str, Share]
    weight: dict[str, float]
    reference: Floats
    lines: "Lines"
    is_blind: bool
    policy: BalancePolicy
    salts: NDArray[np.uint64]
    bound: Mapping[str, Bound] = field(default_factory=dict)
    bare: "Table | None" = None
    """The same without what is bound: the next snapshot of the same nodes begins with it."""
    memory: RiskMemory = field(default_factory=RiskMemory)
    """Of this table's rows as they stand: whoever writes to one takes its risks back."""

    def copied(self) -> "Table":
        """One whose loads may be added to."""
        return replace(
            self,
            mean=self.mean.copy(),
            variance=self.variance.copy(),
            weights=self.weights.copy(),
            namespaces=dict(self.namespaces),
            memory=RiskMemory(),
        )

    def rows_of(self, names: Iterable[str], count: int) -> Rows:
        """The row of each name, -1 for those unknown."""
        return np.fromiter(map(self.index.__getitem__, names), np.intp, count)


_tables: "WeakKeyDictionary[Snapshot, Table]" = WeakKeyDictionary()


def table(snapshot: Snapshot) -> Table:
    """The table of a snapshot; laid out at first use and kept with it."""
    if snapshot not in _tables:
        for _ in table_steps(snapshot):
            pass
    return _tables[snapshot]


def table_steps(snapshot: Snapshot, before: Snapshot | None = None) -> Iterator[None]:
    """Lay it out ahead, a little at each step; what only hangs on the nodes is taken over where they are the same."""
    if snapshot in _tables:
        return
    base = _tables.get(before) if before is not None else None
    bare = base.bare if base and before and _has_same_loads(before, snapshot) else None
    if bare is None:
        bare = yield from _bare(snapshot, base)
    made = bare.copied()
    made.bare, made.bound = bare, snapshot.bound
    yield
    yield from _add_bound(made, list(snapshot.bound.values()))
    _sum_up(made)
    _tables[snapshot] = made


def _has_same_loads(before: Snapshot, snapshot: Snapshot) -> bool:
    """Whether the nodes are the very same, as they are while only pods come and go, and are judged by the same rules."""
    return (
        before.nodes is snapshot.nodes
        and before.meta.policy.balance == snapshot.meta.policy.balance
        and before.meta.load_match_rate == snapshot.meta.load_match_rate
        and _weights(before) == _weights(snapshot)
    )


def _weights(snapshot: Snapshot) -> dict[str, float]:
    """Namespaces that are not ours to steer weigh nothing: a DaemonSet on each node would take part of everybody's."""
    told = {name: found.weight for name, found in snapshot.namespaces.items()}
    kept = {name: weight for name, weight in told.items() if weight and is_amount(weight)}
    return kept | dict.fromkeys(snapshot.meta.policy.excluded_namespaces, 0.0)


def _bare(snapshot: Snapshot, base: Table | None) -> Generator[None, None, Table]:
    nodes = list(snapshot.nodes.values())
    names = [node.name for node in nodes]
    # The same names may stand in another order: a directory's and a file's differ.
    if base is None or base.names != names:
        # Copies that lie side by side, as a scheduler asks for them: else each is a miss of the processor's cache.
        names = yield from _side_by_side(names)
        index = Index(zip(names, range(len(names)), strict=True))
        lines = yield from _lines(names)
    else:
        index, lines = base.index, base.lines
    made = yield from _columns(nodes, names, index, lines, snapshot)
    yield
    skew = snapshot.meta.policy.idle.max_clock_skew
    yield from _loads(made, nodes, latest=snapshot.meta.captured_at + skew)
    return made


def _columns(
    nodes: list[Node], names: list[str], index: Index, lines: Lines, snapshot: Snapshot
) -> Generator[None, None, Table]:
    count, rate = len(nodes), snapshot.meta.load_match_rate
    inverse, salts = np.zeros((2, count)), np.zeros(count, dtype=np.uint64)
    for row, node in enumerate(nodes):
        yield
        salts[row] = crc32(node.name.encode("utf-8", "surrogatepass"))
        inverse[CPU, row] = _inverse(node.allocatable.cpu_cores)
        inverse[MEMORY, row] = _inverse(node.allocatable.memory_bytes)
    return Table(
        names=names,
        index=index,
        is_spot=np.array([node.capacity_type is CapacityType.SPOT for node in nodes], dtype=bool),
        inverse=inverse,
        mean=np.zeros((2, count)),
        variance=np.zeros((2, count)),
        fullest=np.zeros(count),
        until=np.full(count, -np.inf),
        sampled=np.full(count, -np.inf),
        spans=np.full((2, count), snapshot.meta.policy.balance.window.total_seconds()),
        weights=np.zeros(count),
        namespaces={},
        weight=_weights(snapshot),
        reference=np.zeros(2),
        lines=lines,
        is_blind=rate is None or rate < LEAST_MATCHED,
        policy=snapshot.meta.policy.balance,
        salts=salts,
    )


def _inverse(amount: float) -> float:
    return 1 / amount if amount > _SMALLEST and is_amount(amount) else 0.0


def _lines(names: list[str]) -> Generator[None, None, Lines]:
    told, sizes = list[bytes](), list[int]()
    for name in names:
        told.append(_host(name))
        sizes.append(len(told[-1]))
        yield
    lengths = np.array(sizes, dtype=np.intp)
    # A few very long names would make every line as long.
    widest = int(np.sort(lengths)[int(_LINED * (len(lengths) - 1))]) if told else 0
    whole = np.full((len(told), widest + len(_SCORE)), ord(" "), dtype=np.uint8)
    whole[:, widest:] = np.frombuffer(_SCORE, np.uint8)
    for first in range(0, len(told), _AT_ONCE):
        for row in range(first, min(first + _AT_ONCE, len(told))):
            if lengths[row] <= widest:
                whole[row, : lengths[row]] = np.frombuffer(told[row], np.uint8)
        yield
    return Lines(whole, np.append(lengths > widest, True))


def _side_by_side(names: list[str]) -> Generator[None, None, list[str]]:
    made = []
    for name in names:
        made.append(_again(name))
        yield
    return made


def _again(name: str) -> str:
    return name.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")


def line(name: str, score: int) -> bytes:
    """One entry of a HostPriorityList, with the comma behind it."""
    return b'%b,"Score":%d},' % (_host(name), score)


def _host(name: str) -> bytes:
    return b'{"Host":%b' % msgspec.json.encode(name)


def _loads(made: Table, nodes: list[Node], *, latest: datetime) -> Iterator[None]:
    """A load from beyond ``latest`` is told by a clock that is wrong, and would stay fresh for as long."""
    max_age = made.policy.max_age.total_seconds()
    used: dict[str, list[tuple[int, float, float]]] = {}
    has_room: list[bool] = (made.inverse > 0).min(axis=0).tolist() if nodes else []
    for row, node in enumerate(nodes):
        yield
        load = node.load
        if load is None or not has_room[row] or not is_amount(load.cpu_cores, load.memory_bytes):
            continue
        if load.sampled_at > latest:
            continue
        made.sampled[row] = load.sampled_at.timestamp()
        made.spans[MEMORY, row] = memory_span(load.memory_span_seconds, made.policy.window)
        measured = np.array((load.cpu_cores, load.memory_bytes)) * made.inverse[:, row]
        made.fullest[row] = measured.max()
        made.mean[:, row] = habits.foretold(load, node.allocatable)
        if is_amount(load.cpu_deviation_cores, load.memory_deviation_bytes):
            made.variance[:, row] = (load.cpu_deviation_cores, load.memory_deviation_bytes)
        for name, use in load.namespaces.items():
            if is_amount(use.cpu_cores, use.memory_bytes) and (use.cpu_cores or use.memory_bytes):
                used.setdefault(name, []).append((row, use.cpu_cores, use.memory_bytes))
    made.until = made.sampled + max_age
    made.mean *= made.inverse
    made.variance = (made.variance * made.inverse) ** 2
    yield
    for name, parts in used.items():
        rows = np.array([row for row, _, _ in parts], dtype=np.intp)
        amounts = np.array([[cpu for _, cpu, _ in parts], [memory for _, _, memory in parts]])
        found = amounts * made.inverse[:, rows]
        found[found <= NOTHING] = 0.0
        made.namespaces[name] = Share(rows, found)
        made.weights[rows[found.any(axis=0)]] += made.weight.get(name, 1.0)
        yield


NOTHING = 1e-12
"""A share up to here is none: what subtraction leaves of nothing must not keep a namespace's weight."""


def _add_bound(made: Table, bound: Sequence[Bound]) -> Iterator[None]:
    if not made.names:
        return
    by_namespace: dict[str, list[int]] = {}
    at: Rows = np.full(len(bound), -1, dtype=np.intp)
    added = np.zeros((2, len(bound)))
    for first in range(0, len(bound), _AT_ONCE):
        yield
        own = [(place, bound[place]) for place in range(first, min(first + _AT_ONCE, len(bound)))]
        own = [(place, pod) for place, pod in own if _is_estimate(pod.expected)]
        if not own:
            continue
        pods = [pod for _, pod in own]
        rows = made.rows_of([pod.node for pod in pods], len(pods))
        missing = missing_parts([pod.started_at for pod in pods], made.sampled[rows], made.spans[:, rows])
        known = (rows >= 0) & (made.until[rows] > -np.inf) & missing.any(axis=0)
        means, variances = shares_of([pod.expected for pod in pods], made.inverse[:, rows] * (missing * known))
        lay(made, rows, means, variances)
        places = [place for place, _ in own]
        at[places], added[:, places] = rows, means
        for index in np.flatnonzero(known).tolist():
            by_namespace.setdefault(pods[index].namespace, []).append(places[index])
    for name, places in by_namespace.items():
        yield
        add_shares(made, name, at[places], added[:, places])


def missing_parts(started_at: Iterable[datetime | None], sampled: Floats, spans: Floats) -> Floats:
    """How much of each pod the means over ``spans`` seconds before ``sampled`` (Unix seconds) do not hold, 0..1; of none that did not start.

    In the shape of ``spans``, whose last axis is pods.
    """
    started = np.array([np.inf if moment is None else moment.timestamp() for moment in started_at])
    missing: Floats = np.clip(1 - (sampled - started) / np.maximum(spans, _SMALLEST), 0, 1)
    return missing


def _is_estimate(own: Estimate) -> bool:
    return is_amount(own.cpu_cores, own.cpu_deviation_cores, own.memory_bytes, own.memory_deviation_bytes)


def lay(made: Table, rows: Rows, means: Floats, variances: Floats) -> None:
    """Add to rows, of which one may come several times; means and variances are (2, rows)."""
    for resource in (CPU, MEMORY):
        np.add.at(made.mean[resource], rows, means[resource])
        np.add.at(made.variance[resource], rows, variances[resource])


def add_shares(made: Table, namespace: str, rows: Rows, means: Floats) -> None:
    """A namespace's use that is not measured yet, by row; where it had none before, its weight begins to count.

    A row may come several times; ``means`` is (2, rows). Thousands of pods of one namespace are a few passes too.
    """
    some = means.any(axis=0)
    rows, means = rows[some], means[:, some]
    if not len(rows):
        return
    known = made.namespaces.get(namespace) or Share(np.zeros(0, dtype=np.intp), np.zeros((2, 0)))
    is_new = np.zeros(len(made.names), dtype=bool)
    is_new[rows] = True
    is_new[known.rows] = False
    whole_rows: Rows = np.concatenate((known.rows, np.flatnonzero(is_new)))
    at = np.zeros(len(made.names), dtype=np.intp)
    at[whole_rows] = np.arange(len(whole_rows), dtype=np.intp)
    whole = np.zeros((2, len(whole_rows)))
    whole[:, : len(known.rows)] = known.shares
    had = whole.any(axis=0)
    for resource in (CPU, MEMORY):
        np.add.at(whole[resource], at[rows], means[resource])
    whole[whole <= NOTHING] = 0.0
    made.weights[whole_rows[~had & whole.any(axis=0)]] += made.weight.get(namespace, 1.0)
    made.namespaces[namespace] = Share(whole_rows, whole)


def shares_of(expected: Iterable[Estimate], inverse: Floats) -> tuple[Floats, Floats]:
    """(means, variances) of pods, each (2, pods); ``inverse`` is of their nodes, less whatever part does not count."""
    told = np.array(
        [(e.cpu_cores, e.memory_bytes, e.cpu_deviation_cores, e.memory_deviation_bytes) for e in expected]
    ).T
    return told[:2] * inverse, (told[2:] * inverse) ** 2


def shares(expected: Estimate, inverse: Floats) -> tuple[Floats, Floats]:
    """(mean, variance) of a pod in shares of a node, each (2,)."""
    means, variances = shares_of((expected,), inverse[:, None])
    return means[:, 0], variances[:, 0]


def _sum_up(made: Table) -> None:
    """The regular nodes' mean load, which a namespace's excess is held against; of all nodes where none is regular."""
    told = made.until > -np.inf
    regular = told & ~made.is_spot
    chosen = regular if regular.any() else told
    if chosen.any():
        made.reference = made.mean[:, chosen].mean(axis=1)
