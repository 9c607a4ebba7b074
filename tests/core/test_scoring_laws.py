"""The laws of scores, over odd worlds: equal to a slow reference, whole numbers, of no order, monotone, and calm.

What is exact about raising a node's load: the candidate's own risk there never falls, so its score never rises, and no
other's falls, while three things stand still: the regular nodes' mean, which decides where a namespace's excess counts;
the median, by which stale and unknown nodes are scored; and what namespaces use. Raising moves the first two, so the
laws hold them fixed: by nodes that are all fresh, and by a reference that is set back. Use that grows with the load, be it the candidate's
own or another's, never makes a node better either. It is long because one reference and one kind of world serve them all.
"""

from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from tests.core import scoring_oracle as oracle
from tests.core.scoring_worlds import (
    ASKED,
    GIB,
    NAMES,
    NAMESPACES,
    NOW,
    POLICIES,
    SIZES,
    TIME,
    at,
    candidates,
    estimates,
    node,
    nodes,
    pod,
    rows_of,
    snapshots,
    world,
)
from webhook.core.ledger import Ledger, likely
from webhook.core.model import Bound, CapacityType, Estimate, Namespace, Resources
from webhook.core.nodetable import missing_parts, table, table_steps
from webhook.core.policy import Policy
from webhook.core.scoring import NEUTRAL, Scores, parts, risks, score, too_full
from webhook.core.snapshot import Meta, Snapshot

FLYING = st.lists(st.tuples(st.sampled_from([*NAMES, "gone"]), st.sampled_from(NAMESPACES), estimates()), max_size=3)


def scored(snapshot, candidate, names, *, now=TIME):
    found = score(table(snapshot), candidate, rows_of(snapshot, names), now=now)
    return dict(zip(names, found.scores.tolist(), strict=True))


def with_flying(snapshot, flying):
    """A ledger's table over the snapshot in which these pods are on their way, each by name of its node."""
    ledger, ground = Ledger(), table(snapshot)
    ledger.follow(ground, now=TIME)
    for number, (name, namespace, estimate) in enumerate(flying):
        row = ground.index[name]
        best = np.array([0] if row >= 0 else [], dtype=np.intp)
        seen = Scores(np.array([row], dtype=np.intp), np.array([10], dtype=np.intp), np.zeros(1), best)
        flier = pod(uid=f"f-{number}", namespace=namespace)
        ledger.place(
            replace(flier, expected=msgspec.structs.replace(flier.expected, estimate=estimate)), seen, now=TIME
        )
    return ledger.table


@given(snapshots(), candidates(), ASKED, FLYING)
def test_the_score_equals_the_slow_reference(snapshot, candidate, names, flying):
    names = list(dict.fromkeys([*snapshot.nodes, *names]))
    found = score(with_flying(snapshot, flying), candidate, rows_of(snapshot, names), now=TIME)
    wanted = oracle.scores(snapshot, candidate, names, now=TIME, flying=flying)
    assert dict(zip(names, found.scores.tolist(), strict=True)) == wanted
    event(f"{len(set(wanted.values()))} different scores")


@given(snapshots(), candidates(), ASKED)
def test_scores_are_whole_numbers_from_0_to_10_one_for_each_node_asked_for(snapshot, candidate, names):
    rows = rows_of(snapshot, names)
    found = score(table(snapshot), candidate, rows, now=TIME)
    assert len(found.scores) == len(names)
    assert found.scores.dtype.kind == "i"
    assert found.scores.min() >= 0
    assert found.scores.max() <= 10
    assert found.rows is rows
    assert all(found.scores[place] == 10 and np.isfinite(found.risk[place]) for place in found.best)


@given(snapshots(), candidates(), ASKED)
def test_a_node_of_the_other_class_scores_0_wherever_one_of_the_own_class_is_asked_for(snapshot, candidate, names):
    found = scored(snapshot, candidate, names)
    own = {n for n in names if n in snapshot.nodes and snapshot.nodes[n].capacity_type is candidate.wants}
    for name in names:
        if name in own or name not in snapshot.nodes or not own:
            assert found[name] >= 1
        else:
            assert found[name] == 0


@given(snapshots(), candidates(), ASKED, st.randoms(use_true_random=False))
def test_neither_the_order_asked_in_nor_that_of_the_snapshot_counts(snapshot, candidate, names, random):
    there, asked, bound = list(snapshot.nodes.values()), list(names), list(snapshot.bound.values())
    for order in (there, asked, bound):
        random.shuffle(order)
    other = Snapshot(snapshot.meta, nodes=there, namespaces=snapshot.namespaces.values(), bound=bound)
    assert scored(other, candidate, asked) == scored(snapshot, candidate, names)


@st.composite
def fresh_worlds(draw, least=1):
    """Nodes of one class whose loads are all known and fresh."""
    names = NAMES[: draw(st.integers(least, len(NAMES)))]
    plain = [
        msgspec.structs.replace(
            found, capacity_type=CapacityType.REGULAR, load=msgspec.structs.replace(_numbers(found), sampled_at=NOW)
        )
        for found in (draw(nodes(name, odd=False)) for name in names)
    ]
    meta = Meta(captured_at=NOW, load_match_rate=1.0, policy=Policy(balance=draw(POLICIES)))
    weights = draw(st.dictionaries(st.sampled_from(NAMESPACES), st.sampled_from([0.001, 1.0, 3.0, 1000.0])))
    named = [Namespace(name=name, weight=weight) for name, weight in weights.items()]
    return Snapshot(meta, nodes=plain, namespaces=named)


def _numbers(found):
    load = found.load

    def number(value):
        return value if 0 <= value < 1e18 else 0.0

    return msgspec.structs.replace(
        load,
        cpu_cores=number(load.cpu_cores),
        memory_bytes=number(load.memory_bytes),
        cpu_deviation_cores=number(load.cpu_deviation_cores),
        memory_deviation_bytes=number(load.memory_deviation_bytes),
        namespaces={
            name: Resources(number(use.cpu_cores), number(use.memory_bytes)) for name, use in load.namespaces.items()
        },
    )


RAISED = st.sampled_from(["cpu_cores", "memory_bytes", "cpu_deviation_cores", "memory_deviation_bytes"])


@given(fresh_worlds(), candidates(), RAISED, st.floats(0.01, 1), st.sampled_from([None, *NAMESPACES]), st.data())
def test_a_node_whose_load_is_raised_never_scores_higher_and_no_other_lower(  # noqa: PLR0917 - what is drawn
    snapshot, candidate, field, share, who, data
):
    name = data.draw(st.sampled_from(sorted(snapshot.nodes)))
    before, after = table(snapshot), table(raised(snapshot, name, field, share, who))
    after.reference = before.reference
    rows = rows_of(snapshot, list(snapshot.nodes))
    was, now = (score(one, candidate, rows, now=TIME).scores for one in (before, after))
    for row in rows.tolist():
        if row == before.index[name]:
            assert now[row] <= was[row]
        else:
            assert now[row] >= was[row]
    event("changed" if (was != now).any() else "equal")


def raised(snapshot, name, field, share, who=None):
    """The same, but this node bears more by so great a share of allocatable, used by namespace ``who`` or by none."""
    old = snapshot.nodes[name]
    size = old.allocatable.cpu_cores if field.startswith("cpu") else old.allocatable.memory_bytes
    namespaces = dict(old.load.namespaces)
    if who and not field.endswith(("deviation_cores", "deviation_bytes")):
        use = namespaces.get(who, Resources())
        namespaces[who] = msgspec.structs.replace(use, **{field: getattr(use, field) + share * size})
    more = {field: getattr(old.load, field) + share * size, "namespaces": namespaces}
    new = msgspec.structs.replace(old, load=msgspec.structs.replace(old.load, **more))
    return Snapshot(
        snapshot.meta, nodes=(snapshot.nodes | {name: new}).values(), namespaces=snapshot.namespaces.values()
    )


@given(fresh_worlds(), candidates(), st.floats(0.01, 1), st.data())
def test_a_swinging_or_busier_node_is_no_less_at_risk(snapshot, candidate, share, data):
    name = data.draw(st.sampled_from(sorted(snapshot.nodes)))
    for field in ("cpu_cores", "cpu_deviation_cores"):
        before, after = table(snapshot), table(raised(snapshot, name, field, share))
        after.reference = before.reference
        rows = np.array([before.index[name]], dtype=np.intp)
        assert risks(after, candidate, rows)[0] >= risks(before, candidate, rows)[0] - 1e-9


@given(fresh_worlds(least=3), candidates(), st.data())
def test_another_candidate_never_swaps_two(snapshot, candidate, data):
    names = list(snapshot.nodes)
    added = data.draw(st.sampled_from(names))
    rest = [name for name in names if name != added]
    fewer, more = scored(snapshot, candidate, rest), scored(snapshot, candidate, names)
    for one in rest:
        for other in rest:
            assert not (fewer[one] > fewer[other] and more[one] < more[other])


@given(snapshots(), candidates(), ASKED)
def test_who_is_not_told_of_is_in_the_middle_of_those_who_are(snapshot, candidate, names):
    found = score(table(snapshot), candidate, rows_of(snapshot, names), now=TIME)
    told = found.scores[~np.isnan(found.risk)]
    for place, name in enumerate(names):
        if name in snapshot.nodes:
            continue
        if len(told):
            assert told.min() <= found.scores[place] <= told.max()
            assert found.scores[place] == int(np.median(told))
        else:
            assert found.scores[place] == NEUTRAL


@given(fresh_worlds(), candidates())
def test_long_after_the_last_measurement_only_the_class_counts(snapshot, candidate):
    late = TIME + snapshot.meta.policy.balance.max_age.total_seconds() + 1
    rows = rows_of(snapshot, list(snapshot.nodes))
    found = score(table(snapshot), candidate, rows, now=late)
    assert set(found.scores.tolist()) == {10}
    assert not len(found.best)
    assert np.isnan(found.risk).all()


@given(candidates(), POLICIES, st.floats(0, 1.5), st.integers(1, 40), st.floats(-0.45, 0.45))
def test_equal_nodes_are_equal_and_so_are_those_within_noise(candidate, policy, load, count, part):
    candidate = replace(candidate, wants=CapacityType.REGULAR)
    balance = msgspec.structs.asdict(policy) | {"fairness": 0.0}
    wobble = [part * policy.noise if number % 2 else 0.0 for number in range(count)]
    same = world(*(node(f"n-{i}", max(0.0, load + by), load) for i, by in enumerate(wobble)), **balance)
    assert set(scored(same, candidate, list(same.nodes)).values()) == {10}


@given(snapshots(), ASKED)
def test_the_filter_never_empties_and_keeps_away_from_none_it_knows_too_little_of(snapshot, names):
    rows = rows_of(snapshot, names)
    ground = table(snapshot)
    full = too_full(ground, rows, now=TIME)
    assert full.dtype == bool
    assert len(full) == len(names)
    assert not full.all()
    limit = snapshot.meta.policy.balance.filter_above
    bearing = oracle.World(snapshot)
    for name, is_full in zip(names, full, strict=True):
        if is_full:
            load, size = snapshot.nodes[name].load, snapshot.nodes[name].allocatable
            assert bearing.is_fresh(name, TIME)
            assert max(load.cpu_cores / size.cpu_cores, load.memory_bytes / size.memory_bytes) > limit * (1 - 1e-9)


def test_the_filter_takes_the_full_ones_and_only_while_another_is_left():
    half = world(node("a", 0.95), node("b", 0.1, 0.95), node("c", 0.5), filter_above=0.9)
    assert too_full(table(half), rows_of(half, ["a", "b", "c", "?"]), now=TIME).tolist() == [True, True, False, False]
    assert too_full(table(half), rows_of(half, ["a", "b"]), now=TIME).tolist() == [False, False]
    assert too_full(table(half), rows_of(half, []), now=TIME).tolist() == []
    assert not too_full(table(half), rows_of(half, ["a", "c"]), now=TIME + 301).any()


def test_the_filter_goes_by_what_was_measured_and_by_no_guess():
    hot, cool = node("hot", 0.95), node("cool", 0.5)
    cores = hot.allocatable.cpu_cores
    calm, busy = Resources(0.2 * cores, 0.0), Resources(2 * cores, 0.0)
    guessed = [
        msgspec.structs.replace(one, load=msgspec.structs.replace(one.load, expected=habit))
        for one, habit in ((hot, calm), (cool, busy))
    ]
    new = Bound(uid="u", node="cool", namespace="shop", expected=Estimate(cpu_cores=cores))
    snapshot = world(*guessed, bound=[new], filter_above=0.9)
    assert too_full(table(snapshot), rows_of(snapshot, ["hot", "cool"]), now=TIME).tolist() == [True, False]


@pytest.mark.parametrize("count", [2, 3, 10])
def test_each_of_the_best_is_drawn_as_often_as_the_others(count):
    even = world(*(node(f"ip-10-0-{i // 7}-{i}.example", 0.3) for i in range(count)))
    rows = rows_of(even, list(even.nodes))
    best = Scores(rows, np.full(count, 10, dtype=np.intp), np.zeros(count), np.arange(count, dtype=np.intp))
    tries = 3000
    drawn = Counter(likely(table(even), f"0b7a{i:04x}-5c1d-4f6e-9a0b-{i * 7919:012x}", best) for i in range(tries))
    chi_square = sum((drawn[row] - tries / count) ** 2 / (tries / count) for row in range(count))
    # The 99.9th percentile at 1, 2 and 9 degrees of freedom; UIDs are fixed, so this is no matter of luck.
    assert chi_square < {2: 10.8, 3: 13.8, 10: 27.9}[count]


def test_the_draw_is_of_the_pod_and_of_no_order():
    even = world(*(node(f"n-{i}", 0.3) for i in range(5)))
    names = list(even.nodes)
    drawn = set()
    for order in (names, names[::-1], names[2:] + names[:2]):
        rows = rows_of(even, order)
        drawn.add(likely(table(even), "uid-1", score(table(even), pod(1.0), rows, now=TIME)))
    assert len(drawn) == 1


def test_what_counts_is_the_worse_of_two_resources_after_the_pod_has_landed():
    small, large = SIZES[1], SIZES[2]
    apart = world(node("small", 0.2, size=small), node("large", 0.3, size=large))
    assert scored(apart, pod(0.1), ["small", "large"]) == {"small": 10, "large": 8}
    # A core is half of the small node and a sixty-fourth of the large one.
    assert scored(apart, pod(1.0), ["small", "large"]) == {"small": 1, "large": 10}
    full = world(node("cpu", 0.5, 0.1), node("memory", 0.1, 0.8))
    assert scored(full, pod(), ["cpu", "memory"]) == {"cpu": 10, "memory": 1}
    swings = world(node("calm", 0.4), node("swings", 0.4, sigma=0.3))
    assert scored(swings, pod(), ["calm", "swings"]) == {"calm": 10, "swings": 1}


def test_a_namespace_goes_where_it_uses_less_beside_others_of_more_weight():
    shared = {"noisy": 0.5, "quiet": 0.1}
    both = [
        node("crowded", 0.6, use=shared),
        node("own", 0.6, use={"noisy": 0.6}),
        node("new", 0.6, use={"quiet": 0.6}),
        node("rest", 0.0),
    ]
    beside = world(*both, weights={"noisy": 1.0, "quiet": 3.0})
    found = scored(beside, pod(0.04, namespace="noisy"), ["crowded", "own", "new"])
    assert found == {"crowded": 2, "own": 10, "new": 10}
    assert scored(world(*both, fairness=0.0), pod(0.04, namespace="noisy"), ["crowded", "own", "new"]) == {
        "crowded": 10,
        "own": 10,
        "new": 10,
    }


def test_beyond_its_part_counts_on_busy_nodes_only():
    """The mean of the regular nodes is 0.5: neither spot nodes nor what the fresh ones add move it."""
    use = {"noisy": 0.2, "quiet": 0.1}
    nodes = [node("calm", 0.3, use=use), node("full", 0.7), node("s-1", 1.0, spot=True)]
    calm = table(world(*nodes, weights={"noisy": 1.0, "quiet": 3.0}))
    assert calm.reference.tolist() == [0.5, 0.0]
    # It would land at 0.4, then at 0.52, which is within noise of the mean, then above.
    for cpu, is_busy in ((0.4, False), (0.88, False), (0.9, True)):
        made = parts(calm, pod(cpu, namespace="noisy"), 0, now=TIME)
        assert bool(made.excess[0]) is is_busy
        assert (made.risk > 0.3 + cpu / 4 + 1e-9) is is_busy
    only_spot = table(world(node("s-1", 0.2, spot=True), node("s-2", 0.4, spot=True), node("r", told=False)))
    assert only_spot.reference.tolist() == pytest.approx([0.3, 0.0])


def test_a_namespace_that_uses_nothing_here_has_no_part_here():
    """Measured with nothing, or bound with an expectation of nothing: its weight is not among the node's."""
    idle = world(
        node("a", 0.6, use={"noisy": 0.6, "idle": 0.0}),
        bound=[Bound("b-1", "a", "waits", Estimate())],
        weights={"idle": 1000.0, "waits": 1000.0},
    )
    assert table(idle).weights.tolist() == [1.0]


def test_parts_say_what_a_risk_is_made_of():
    shared = {"noisy": 0.5, "quiet": 0.1}
    crowded = world(
        node("crowded", 0.6, sigma=0.3, use=shared), node("rest"), weights={"noisy": 1.0, "quiet": 3.0}, fairness=0.5
    )
    found = parts(table(crowded), pod(0.4, namespace="noisy", sigma=1.0), 0, now=TIME)
    assert found.mean.tolist() == pytest.approx([0.6, 0.0])
    assert found.expected.tolist() == pytest.approx([0.1, 0.0])
    assert found.deviation.tolist() == pytest.approx([(0.3**2 + 0.1**2) ** 0.5, 0.0])
    assert found.excess.tolist() == pytest.approx([0.6 - 0.7 / 4, 0.0])
    assert found.risk == pytest.approx(0.7 + (0.3**2 + 0.1**2) ** 0.5 + 0.5 * (0.6 - 0.7 / 4))


@given(snapshots(), candidates(), ASKED)
def test_parts_are_told_of_exactly_the_nodes_whose_load_counts(snapshot, candidate, names):
    ground, rows = table(snapshot), rows_of(snapshot, names)
    found = score(ground, candidate, rows, now=TIME)
    for row, risk in zip(rows.tolist(), found.risk.tolist(), strict=True):
        if not np.isnan(risk):
            assert parts(ground, candidate, row, now=TIME).risk == pytest.approx(risk)


@given(snapshots(), snapshots())
def test_a_table_laid_on_another_s_ground_is_the_same(before, after):
    table(before)
    again = Snapshot(
        after.meta, nodes=after.nodes.values(), namespaces=after.namespaces.values(), bound=after.bound.values()
    )
    for _ in table_steps(again, before):
        pass
    one, other = table(after), table(again)
    assert one.names == other.names
    assert one.index == other.index
    assert np.array_equal(one.lines.whole, other.lines.whole)
    assert np.array_equal(one.lines.is_missing, other.lines.is_missing)
    for field in ("is_spot", "inverse", "mean", "variance", "until", "weights", "reference", "salts"):
        assert np.array_equal(getattr(one, field), getattr(other, field)), field


@pytest.mark.parametrize(
    ("started", "part"), [(None, 1.0), (-30, 1.0), (0, 1.0), (75, 0.75), (150, 0.5), (300, 0.0), (9000, 0.0)]
)
def test_the_part_that_a_window_misses_of_a_pod_shrinks_with_its_age(started, part):
    window = Policy().balance.window
    began = None if started is None else at(started)
    assert missing_parts([began], np.array([TIME]), np.array([window.total_seconds()])) == pytest.approx([part])


def test_half_of_a_pod_that_started_in_the_middle_of_the_window_is_added():
    half = Bound("b-1", "a", "shop", Estimate(2.0, 1.0, 4 * GIB, 0.0), started_at=at(150))
    ground = table(world(node("a", 0.25), node("b", 0.25), bound=[half]))
    assert ground.mean[:, 0].tolist() == pytest.approx([0.25 + 0.25, 0.125])
    assert ground.variance[:, 0].tolist() == pytest.approx([0.125**2, 0.0])
    assert ground.namespaces["shop"].shares[:, 0].tolist() == pytest.approx([0.25, 0.125])


@pytest.mark.parametrize("rate", [None, 0.0, 0.89])
def test_where_too_few_series_lead_to_a_node_only_the_class_counts(rate):
    apart = world(node("a", 0.1), node("b", 0.9), node("s", 0.0, spot=True), rate=rate)
    assert scored(apart, pod(1.0), ["a", "b", "s"]) == {"a": 10, "b": 10, "s": 0}
    assert parts(table(apart), pod(1.0), 0, now=TIME) is None
    assert not too_full(
        table(world(node("a", 0.95), node("b"), rate=rate, filter_above=0.5)), rows_of(apart, ["a"]), now=TIME
    ).any()


def test_a_crowd_that_is_told_apart_by_the_last_bit_only_is_even():
    """No noise is asked for: sums of the same in another order still are the same."""
    bits = world(node("a", 0.1 + 0.2), node("b", 0.3), noise=0.0)
    assert scored(bits, pod(), ["a", "b"]) == {"a": 10, "b": 10}
