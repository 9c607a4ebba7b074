"""The laws V1 to V5 of evidence, from a store's answers to what they prove; half of all drawn worlds are idle."""

from collections import Counter
from datetime import timedelta

import msgspec
import pytest
from hypothesis import Phase, assume, event, given, settings
from hypothesis import strategies as st

from tests.core.evidence_worlds import (
    FLAWS,
    LIMITS,
    MEASURED,
    MINUTE,
    OTHER_OWNER,
    PEAKS,
    POINTS,
    RECENTS,
    USE,
    Row,
    lost,
    proof,
    worlds,
)
from tests.core.usage_builders import AT, DAY, POLICY, make_running, make_usage, make_workload_usage
from webhook.core.idleness import Code, judge
from webhook.core.model import Evidence
from webhook.core.readings import expected_steps

DRAWN = {
    Code.IDLE,
    Code.ACTIVE,
    Code.BETWEEN,
    Code.YOUNG,
    Code.MISSING,
    Code.STRANGER,
    Code.STALE,
    Code.GAP,
    Code.COVERAGE,
    Code.RESET,
    Code.NO_PODS,
}
EXHAUSTIVE = settings(max_examples=100, derandomize=True, database=None, phases=[Phase.generate])
NOT_IDLE = worlds(flaws=(1, 2))
"""Nearly idle worlds: a law that says never idle must not be tried on what is idle anyway."""
NO_MEASUREMENT = ["NaN", "+Inf", "-Inf", "-1", "-0", "1_0", "none", ""]
SKEWS = st.one_of(
    st.timedeltas(POLICY.max_clock_skew + timedelta(milliseconds=1), DAY),
    st.timedeltas(-DAY, -POLICY.max_clock_skew - timedelta(milliseconds=1)),
)


def never_idle_by_it(before, after):
    """What was not idle is not idle with what was done to it."""
    was, found = proof(before), proof(after)
    event(f"{was.code} -> {found.code}")
    if found.evidence is Evidence.IDLE:
        assert was.evidence is Evidence.IDLE, was.reason


def some(data, rows, **size):
    """Some of these rows; none where there are none."""
    return data.draw(st.lists(st.sampled_from(rows), unique_by=lambda r: (r[0], str(r[1])), **size)) if rows else []


def one_of(world, *queries):
    """One row of these queries. A world of whose pods nothing is told is no example."""
    rows = world.rows(queries)
    assume(rows)
    return st.sampled_from(rows)


# --- V1: less data


@given(NOT_IDLE)
def test_losing_any_one_measurement_never_makes_idle(world):
    for row in world.rows([*PEAKS.values(), *POINTS, "sampleTime"]):
        never_idle_by_it(world, world.without([row]))


@EXHAUSTIVE
@given(NOT_IDLE)
def test_losing_a_recent_value_never_makes_idle(world):
    """Nothing else shows who woke after the last step. A pod that is gone has none as a rule."""
    alive = {pod.name for pod in world.census.pods}
    for query, row in world.rows(RECENTS.values()):
        if row.labels.get("pod", "") in alive | {""}:
            never_idle_by_it(world, world.without([(query, row)]))


@given(NOT_IDLE, st.data())
def test_losing_several_measurements_never_makes_idle(world, data):
    rows = world.rows([*PEAKS.values(), *POINTS, "sampleTime"])
    never_idle_by_it(world, world.without(some(data, rows, max_size=4)))


@given(NOT_IDLE, st.data())
def test_losing_all_that_was_measured_of_a_pod_or_of_a_query_never_makes_idle(world, data):
    pod = data.draw(st.sampled_from([None, *world.pods()]))
    queries = data.draw(st.sets(st.sampled_from([q for q in MEASURED if q not in RECENTS.values()]), min_size=1))

    def is_lost(query, row):
        return query in queries if pod is None else query in MEASURED and row.labels.get("pod") == pod

    never_idle_by_it(world, world.each_row(lambda query, row: None if is_lost(query, row) else row))


@given(NOT_IDLE, st.data())
def test_a_step_less_never_makes_idle(world, data):
    for query, row in some(data, world.rows([*POINTS, "toldPoints"]), min_size=1):
        fewer = Row(row.labels, str(data.draw(st.integers(0, int(float(row.value))))))
        never_idle_by_it(world, world.without([(query, row)]).with_row(query, fewer))


@given(worlds(), st.sampled_from(NO_MEASUREMENT), st.data())
def test_what_is_no_measurement_is_as_good_as_nothing_at_all(world, text, data):
    lost = some(data, world.rows(MEASURED), min_size=1, max_size=3)
    spoiled = world.each_row(lambda query, row: Row(row.labels, text) if (query, row) in lost else row)
    assert proof(spoiled) == proof(world.without(lost))


@given(worlds(), st.data())
def test_of_a_grown_pod_every_peak_and_every_step_is_needed(world, data):
    """Absence is never zero: a zero in the same place would be idle."""
    assume(proof(world).evidence is Evidence.IDLE)
    grown = {row.labels["pod"] for _, row in world.rows(["expectedPoints"])}
    needed = world.rows([*PEAKS.values(), *POINTS, "containers"])
    chosen = data.draw(st.sampled_from([r for r in needed if r[1].labels.get("pod") in {None, *grown}]))
    without, row = world.without([chosen]), chosen[1]
    if chosen[0] == "containers":
        # One of two that kube-state-metrics is silent about cannot be missed; with none known, nothing is whole.
        without = world.each_row(
            lambda query, r: None if query == "containers" and r.labels["pod"] == row.labels["pod"] else r
        )
    assert proof(without).evidence is Evidence.UNKNOWN
    if chosen[0] in USE:
        assert proof(without.with_row(chosen[0], Row(row.labels, "0"))).evidence is Evidence.IDLE


@given(worlds())
def test_without_any_word_of_kube_state_metrics_nothing_is_idle(world):
    assert proof(world.each_row(lambda q, row: None if q == "toldPoints" else row)).evidence is not Evidence.IDLE


@given(NOT_IDLE)
def test_losing_what_a_running_pod_owes_never_makes_idle(world):
    """The API server's word on its start stands in."""
    running = {pod.name for pod in world.census.pods}
    for row in world.rows(["expectedPoints", "runningPoints"]):
        if row[1].labels["pod"] in running:
            never_idle_by_it(world, world.without([row]))


@EXHAUSTIVE
@given(NOT_IDLE)
def test_losing_the_start_of_a_running_pod_never_makes_idle(world):
    running = {pod.name for pod in world.census.pods}
    for row in world.rows(["startTime"]):
        if row[1].labels["pod"] in running:
            never_idle_by_it(world, world.without([row]))


@pytest.mark.parametrize("query", ["startTime", "runningPoints"])
@EXHAUSTIVE
@given(world=NOT_IDLE)
def test_losing_a_part_of_the_life_of_a_pod_that_is_gone_never_makes_idle(world, query):
    running = {pod.name for pod in world.census.pods}
    for row in world.rows([query]):
        if row[1].labels["pod"] not in running:
            never_idle_by_it(world, world.without([row]))


def test_a_pod_that_is_gone_and_outlived_its_start_up_owes_values_by_its_running_steps_alone():
    """Five that are whole make up for its share of the time, which must not make up for what it did."""
    nothing = {"cpu_peak_cores": None, "cpu_points": 0, "received_peak_bytes_per_second": None, "received_points": 0}
    gone = make_usage("gone", lives={}, expected_points=0, running_points=15, **nothing)
    usage = make_workload_usage(*[make_running(f"pod-{number}") for number in range(5)], gone=[gone])
    assert judge(usage, POLICY, now=AT).evidence is Evidence.UNKNOWN


# --- V2: more use


@given(NOT_IDLE, st.floats(1, 1000), st.data())
def test_more_use_never_makes_idle_and_leaves_what_is_active_active(world, factor, data):
    raised = some(data, world.rows(USE), min_size=1)

    def more(query, row):
        least = LIMITS[USE[query]] / 100 if query in USE else 0.0
        return Row(row.labels, str(max(float(row.value), least) * factor)) if (query, row) in raised else row

    busier = world.each_row(more)
    never_idle_by_it(world, busier)
    if proof(world).evidence is Evidence.ACTIVE:
        assert proof(busier).evidence is Evidence.ACTIVE


@given(worlds(flaws=(0, 0)), st.sampled_from([1.0, 1.5, 2.0, 40.0]), st.booleans(), st.data())
def test_one_busy_pod_keeps_its_workload_from_idle_whatever_is_lost_of_the_others(world, high, ends, data):
    """Running, or gone within the window: its own peak is enough, and nobody else can make up for it."""
    query, row = data.draw(one_of(world, *PEAKS.values()))
    at = Row(row.labels, str(high * LIMITS[USE[query]]))
    world = world.each_row(lambda q, r: at if (q, r) == (query, row) else r)
    others = [(q, r) for q, r in world.rows(MEASURED) if r.labels.get("pod") != row.labels.get("pod")]
    world = world.without(some(data, others))
    if ends:
        world = world.each_pod(lambda pod: None if pod.name == row.labels.get("pod") else pod)
    found = proof(world)
    event(found.code)
    assert found.evidence is not Evidence.IDLE


@given(worlds(flaws=(0, 1)), st.data())
def test_a_high_recent_rate_of_a_grown_pod_is_active_whatever_else_is_lost(world, data):
    grown = {pod.name for pod in world.census.pods if AT - pod.started_at >= 10 * MINUTE}
    chosen = [r for r in world.rows(RECENTS.values()) if r[1].labels.get("pod") in grown]
    assume(chosen)
    query, row = data.draw(st.sampled_from(chosen))
    high = Row(row.labels, str(2 * LIMITS[USE[query]]))
    rest = [r for r in world.rows(MEASURED) if r != (query, row)]
    left = world.without(some(data, rest)).each_row(lambda q, r: high if (q, r) == (query, row) else r)
    assert proof(left).evidence is Evidence.ACTIVE


# --- V3: late data, and clocks


@given(worlds(), st.timedeltas(2 * POLICY.scrape_interval + timedelta(seconds=1), DAY))
def test_samples_that_are_old_are_never_idle(world, age):
    grown = [pod for pod in world.census.pods if AT - pod.started_at >= 10 * MINUTE]
    assume(grown)
    old = repr((AT - age).timestamp())
    late = world.each_row(lambda query, row: Row(row.labels, old) if query == "sampleTime" else row)
    assert proof(late).evidence is not Evidence.IDLE


@given(worlds(), SKEWS, st.sampled_from(["evaluated_at", "answered_at", "both"]))
def test_with_a_clock_off_by_more_than_is_allowed_everything_is_unknown(world, skew, which):
    moved = {name: AT + skew for name in ("evaluated_at", "answered_at") if which in (name, "both")}
    found = proof(world, **moved)
    assert (found.evidence, found.code, found.measured) == (Evidence.UNKNOWN, Code.CLOCK, False)


@given(worlds(), st.timedeltas(POLICY.max_clock_skew + timedelta(milliseconds=1), DAY), st.data())
def test_a_pod_that_starts_in_the_future_keeps_its_workload_from_idle(world, ahead, data):
    assume(world.census.pods)
    name = data.draw(st.sampled_from([pod.name for pod in world.census.pods]))
    start = AT + ahead
    world = world.each_pod(lambda pod: msgspec.structs.replace(pod, started_at=start) if pod.name == name else pod)
    assert proof(world).evidence is not Evidence.IDLE


# --- V5: more than one row for one thing


@given(NOT_IDLE, st.floats(0, 1), st.data())
def test_a_second_and_lower_value_never_makes_idle_and_hides_no_use(world, share, data):
    query, row = data.draw(one_of(world, *MEASURED, "expectedPoints", "runningPoints", "startTime"))
    twice = world.with_row(query, Row({**row.labels, "replica": "b"}, repr(float(row.value) * share)))
    never_idle_by_it(world, twice)
    if query in USE:
        assert proof(twice) == proof(world)


@given(NOT_IDLE)
def test_a_second_value_however_small_or_large_never_makes_idle(world):
    for query, row in world.rows([*MEASURED, "expectedPoints"]):
        for value in ("0", "1e9"):
            never_idle_by_it(world, world.with_row(query, Row({**row.labels, "replica": "b"}, value)))


@given(NOT_IDLE, st.integers(1, 60))
def test_another_pod_of_the_same_name_owes_steps_and_lends_none(world, steps):
    """A predecessor, or another cluster's in one store: what was seen of it is in the same sums as its successor's."""
    # Time of it that was seen whole is coverage, and rightly so.
    assume(proof(world).code is not Code.COVERAGE)
    for _, life in world.rows(["startTime"]):
        name = life.labels["pod"]

        def more(query, row, name=name):
            mine = query in POINTS and row.labels.get("pod") == name
            return Row(row.labels, str(int(row.value) + steps)) if mine else row

        other = Row({**life.labels, "uid": "uid-of-another"}, str(steps))
        never_idle_by_it(world, world.each_row(more).with_row("expectedPoints", other))


@EXHAUSTIVE
@given(NOT_IDLE, st.timedeltas(timedelta(0), DAY))
def test_another_pod_of_the_same_name_that_has_just_started_hides_no_use(world, age):
    start = repr((AT - age).timestamp())
    for _, row in world.rows(["startTime"]):
        never_idle_by_it(world, world.with_row("startTime", Row({**row.labels, "uid": "uid-of-another"}, start)))


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_of_pods_does_not_matter(world, random):
    def shuffled(things):
        return tuple(random.sample(things, len(things)))

    census = msgspec.structs.replace(world.census, pods=shuffled(world.census.pods))
    other_way = world._replace(answers={q: shuffled(rows) for q, rows in world.answers.items()}, census=census)
    was, found = proof(world), proof(other_way)
    assert (was.evidence, was.measured) == (found.evidence, found.measured)


@EXHAUSTIVE
@given(worlds())
def test_the_order_of_two_owners_of_one_name_does_not_matter(world):
    """A name that was given twice: the busy one that is gone may have been of either."""
    other = {"owner_kind": OTHER_OWNER.kind, "owner_name": OTHER_OWNER.name, "uid": "uid-before"}
    for query, row in world.rows(["owner"]):
        both = world.with_row(query, Row({**row.labels, **other}, "1"))
        other_way = both._replace(answers={**both.answers, query: both.answers[query][::-1]})
        assert proof(both).evidence is proof(other_way).evidence


# --- what idle says, row by row


@pytest.mark.parametrize(
    "flaw", [flaw for flaw in dict.fromkeys(FLAWS) if flaw is not lost], ids=lambda flaw: flaw.__name__
)
@given(world=worlds(flaws=(0, 0)), data=st.data())
def test_one_flaw_of_a_grown_pod_is_enough_not_to_be_idle(world, flaw, data):
    assume(all(AT - pod.started_at >= 10 * MINUTE for pod in world.census.pods))
    assume(proof(world).evidence is Evidence.IDLE)
    assert proof(flaw(data.draw, world)).evidence is not Evidence.IDLE


@given(worlds())
def test_idle_is_told_by_every_row_there_is(world):
    """Not by the joined figures: each container, each interface and each signal for itself."""
    if proof(world).evidence is not Evidence.IDLE:
        return
    owed = {row.labels["pod"]: int(row.value) for _, row in world.rows(["expectedPoints"])}
    for query, row in world.rows(USE):
        if query in PEAKS.values() or row.labels.get("pod") in {None, *owed}:
            assert float(row.value) < LIMITS[USE[query]]
    for _, row in world.rows(POINTS):
        assert int(row.value) >= owed.get(row.labels.get("pod"), 60)
    for _, row in world.rows(["containers"]):
        seen = [points.labels for _, points in world.rows(["cpuPoints"])]
        assert row.labels["pod"] not in owed or row.labels in seen
    for _, row in world.rows(["sampleTime"]):
        assert row.labels["pod"] not in owed or 0 <= AT.timestamp() - float(row.value) <= 120
    assert [row.value for _, row in world.rows(["toldPoints"])] == ["60"]
    for pod in world.census.pods:
        assert AT - pod.started_at < 10 * MINUTE or owed[pod.name] == expected_steps(pod.started_at, AT, POLICY)


# --- that these laws are about something


@settings(max_examples=600, derandomize=True, database=None)
@given(st.data())
def _tally(counts, data):
    found = proof(data.draw(worlds()))
    counts.update([found.evidence, found.code])


def test_idle_active_and_unknown_are_drawn_often_and_for_every_reason():
    counts = Counter()
    _tally(counts)
    assert min(counts[Evidence.IDLE], counts[Evidence.UNKNOWN]) > 100, counts
    assert counts[Evidence.ACTIVE] > 20, counts
    assert counts.keys() >= DRAWN, counts
