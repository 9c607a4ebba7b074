"""When evidence is idle, active or unknown. It is long because each way to doubt is a test of its own."""

import math
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.usage_builders import (
    AT,
    DAY,
    IDLE_CORES,
    KEY,
    POLICY,
    idle_workload,
    make_running,
    make_usage,
    make_workload_usage,
)
from webhook.core import readings
from webhook.core.idleness import Code, judge
from webhook.core.model import Evidence, Side
from webhook.core.policy import SidePolicy
from webhook.core.sides import advance
from webhook.core.usage import PodLife

MINUTE = timedelta(minutes=1)


def verdict(usage, policy=POLICY, now=AT):
    found = judge(usage, policy, now=now)
    assert found.reason
    return found


def code(usage, **how):
    return verdict(usage, **how).code


def test_a_workload_whose_every_signal_is_low_over_the_whole_window_is_idle():
    found = verdict(idle_workload())
    assert (found.evidence, found.measured) == (Evidence.IDLE, True)
    assert "CPU at most 2m of 10m" in found.reason
    assert "received network at most 120 B/s of 1 kB/s" in found.reason
    assert [(s.name, s.coverage) for s in found.signals] == [("cpu", 1.0), ("received", 1.0)]


@pytest.mark.parametrize(
    "high", [{"cpu_recent_cores": 0.02}, {"received_recent_bytes_per_second": 2000.0}], ids=["cpu", "received"]
)
def test_one_high_signal_of_one_pod_is_enough_to_be_active(high):
    rest = make_running("nginx-demo-7d9c5b8f6d-other")
    found = verdict(make_workload_usage(rest, make_running(usage=make_usage(**high))))
    assert found.evidence is Evidence.ACTIVE
    assert "nginx-demo-7d9c5b8f6d-abcde" in found.reason


def test_one_good_value_is_enough_to_be_active_whatever_else_is_missing():
    lonely = make_usage(cpu_recent_cores=3.0, cpu_peak_cores=None, cpu_points=0, received_points=0, last_sample_at=None)
    found = verdict(make_workload_usage(make_running(usage=lonely), make_running("b", usage=None), created_at=None))
    assert found.evidence is Evidence.ACTIVE


@pytest.mark.parametrize(
    "middling",
    [{"cpu_peak_cores": 0.012}, {"cpu_recent_cores": 0.015}, {"cpu_peak_cores": 7.0}],
    ids=["peak between", "recent between", "busy earlier in the window"],
)
def test_between_the_thresholds_is_neither_and_says_so_but_counts_as_measured(middling):
    found = verdict(idle_workload(**middling))
    assert (found.evidence, found.code, found.measured) == (Evidence.UNKNOWN, Code.BETWEEN, True)
    assert found.reason.startswith("neither idle nor active")


def test_the_threshold_is_a_share_of_the_requests_but_never_below_the_floor():
    assert readings.cpu_threshold(4.0, POLICY) == pytest.approx(0.2)
    assert readings.cpu_threshold(0.0, POLICY) == POLICY.cpu_floor_cores
    busy = make_usage(cpu_peak_cores=0.15, cpu_recent_cores=0.15)
    assert verdict(make_workload_usage(make_running(usage=busy, cpu_request=4.0))).evidence is Evidence.IDLE
    assert verdict(make_workload_usage(make_running(usage=busy, cpu_request=0.0))).evidence is Evidence.ACTIVE


def test_the_network_of_a_pod_in_its_nodes_namespace_does_not_count():
    usage = make_usage(received_peak_bytes_per_second=9e9, received_recent_bytes_per_second=9e9)
    assert verdict(make_workload_usage(make_running(usage=usage, host_network=True))).evidence is Evidence.IDLE
    silent = make_usage(received_peak_bytes_per_second=None, received_points=0)
    assert verdict(make_workload_usage(make_running(usage=silent, host_network=True))).evidence is Evidence.IDLE


def test_a_running_pod_without_series_makes_the_workload_unknown():
    found = verdict(make_workload_usage(make_running("a"), make_running("b", usage=None)))
    assert (found.evidence, found.code, found.measured) == (Evidence.UNKNOWN, Code.MISSING, False)
    assert "pod b has no series" in found.reason


@pytest.mark.fault(40)
@pytest.mark.parametrize("young", [False, True], ids=["grown", "starting"])
def test_figures_of_another_pod_of_that_name_prove_no_rest_but_may_show_activity(young):
    started_at = AT - MINUTE if young else AT - DAY
    elsewhere = make_usage(lives={"uid-in-another-cluster": PodLife()}, started_at=started_at)
    found = verdict(make_workload_usage(make_running("old"), make_running(usage=elsewhere, started_at=started_at)))
    assert (found.evidence, found.code, found.measured) == (Evidence.UNKNOWN, Code.STRANGER, False)
    busy = msgspec.structs.replace(elsewhere, started_at=AT - DAY, cpu_recent_cores=1.0)
    assert code(make_workload_usage(make_running(usage=busy))) is Code.ACTIVE


def test_a_predecessor_under_the_same_name_takes_nothing_away_and_old_kube_state_metrics_tell_no_uid():
    name = "nginx-demo-7d9c5b8f6d-abcde"
    for lives in ({"uid-before": PodLife(), f"uid-{name}": PodLife(expected_points=60)}, {}):
        assert code(idle_workload(lives=lives)) is Code.IDLE


@pytest.mark.parametrize("signal", ["cpu", "received"])
def test_one_step_without_a_value_makes_the_run_unknown_whatever_the_coverage(signal):
    found = verdict(idle_workload(**{f"{signal}_points": 59}))
    assert (found.evidence, found.code) == (Evidence.UNKNOWN, Code.GAP)
    assert "no value at 1 of 60 steps" in found.reason


def test_a_gap_that_kube_state_metrics_shares_is_still_a_gap():
    """The API server says since when a running pod owes values."""
    assert code(idle_workload(expected_points=40, cpu_points=40, received_points=40, running_points=40)) is Code.GAP


def test_what_a_predecessor_of_that_name_showed_does_not_fill_a_gap_that_both_exporters_share():
    """db-0 is made anew 40 minutes ago, and Prometheus is away for 10 minutes of its life: told and owed shrink alike."""
    started_at, name = AT - 40 * MINUTE, "db-0"
    lives = {
        "old": PodLife(expected_points=20, running_points=20),
        f"uid-{name}": PodLife(expected_points=20, running_points=30),
    }
    whole = make_usage(name, lives=lives, started_at=started_at, expected_points=40, running_points=50)
    gapped = msgspec.structs.replace(whole, cpu_points=40, received_points=40)
    found = verdict(make_workload_usage(make_running(name, usage=gapped, started_at=started_at)))
    assert (found.evidence, found.code) == (Evidence.UNKNOWN, Code.GAP)
    assert "at 10 of 50 steps" in found.reason
    seen = msgspec.structs.replace(whole, cpu_points=50, received_points=50)
    assert code(make_workload_usage(make_running(name, usage=seen, started_at=started_at))) is Code.IDLE


@pytest.mark.fault(35)
def test_while_kube_state_metrics_told_of_nobody_a_pod_may_have_come_and_gone():
    found = verdict(msgspec.structs.replace(idle_workload(), untold_steps=12))
    assert (found.evidence, found.code) == (Evidence.UNKNOWN, Code.GAP)
    assert "told of no pod at 12 steps in 60 min" in found.reason


@pytest.mark.fault(40)
def test_a_pod_that_starts_in_the_future_is_not_taken_for_a_young_one():
    """Its node's clock is hours ahead: nothing that it does would count until then."""
    idle = [make_running(f"w-{n}") for n in range(5)]
    unseen = {"cpu_peak_cores": None, "cpu_points": 0, "received_peak_bytes_per_second": None, "received_points": 0}
    start = AT + timedelta(hours=2)
    busy = make_usage("w-9", started_at=start, expected_points=0, cpu_recent_cores=3.9, **unseen)
    found = verdict(make_workload_usage(*idle, make_running("w-9", usage=busy, started_at=start)))
    assert (found.evidence, found.code) == (Evidence.UNKNOWN, Code.CLOCK)
    assert "pod w-9 started 120 min in the future, by its node's clock" in found.reason


def test_points_of_a_duplicate_never_fill_another_pods_gap():
    double = make_running("a", usage=make_usage("a", cpu_points=120, received_points=120))
    half = make_running("b", usage=make_usage("b", cpu_points=30))
    assert code(make_workload_usage(double, half)) is Code.GAP


def test_a_busy_predecessor_keeps_its_successor_from_being_idle():
    young = make_running("new", started_at=AT - 30 * MINUTE, usage=None)
    young = msgspec.structs.replace(
        young,
        usage=make_usage(
            "new", started_at=AT - 30 * MINUTE, cpu_points=20, received_points=20, expected_points=20, running_points=30
        ),
    )
    idle_before = make_usage("old", cpu_points=30, received_points=30, expected_points=30, running_points=30)
    busy_before = msgspec.structs.replace(idle_before, cpu_peak_cores=2.0)
    assert code(make_workload_usage(young, gone=[idle_before])) is Code.IDLE
    assert code(make_workload_usage(young, gone=[busy_before])) is Code.BETWEEN


def test_a_predecessors_gap_counts_as_one_of_the_workload():
    gone = make_usage("old", cpu_points=29, received_points=30, expected_points=30, running_points=30)
    assert code(make_workload_usage(gone=[gone])) is Code.GAP


def test_a_workload_younger_than_the_window_is_unknown_and_its_youngest_pod_does_not_matter():
    assert code(make_workload_usage(created_at=AT - 59 * MINUTE)) is Code.YOUNG
    assert code(make_workload_usage(created_at=None)) is Code.YOUNG
    newborn = make_running("new", started_at=AT - MINUTE, usage=None)
    assert code(make_workload_usage(make_running("old"), newborn)) is Code.IDLE


def test_a_pod_that_was_starting_for_much_of_its_time_has_not_been_seen():
    start = AT - 48 * MINUTE
    usage = make_usage("p", started_at=start, cpu_points=38, received_points=38, expected_points=38, running_points=48)
    found = verdict(make_workload_usage(make_running("p", started_at=start, usage=usage)))
    assert (found.evidence, found.code) == (Evidence.UNKNOWN, Code.COVERAGE)
    assert "79% of the pods' time" in found.reason


def ended(minutes_ago, *, up=60):
    """A pod that was at rest for the last ``up`` minutes before it went, and how it is told of since."""
    steps = max(0, up - minutes_ago)
    told = {"cpu_points": steps, "received_points": steps, "expected_points": steps, "running_points": steps}
    recent = {} if minutes_ago < 4 else {"cpu_recent_cores": None, "received_recent_bytes_per_second": None}
    return make_usage("gone", **told, **recent)


def test_who_was_scaled_to_zero_after_a_busy_day_never_turns_to_spot():
    """The last quiet minutes of its last pod become all that the window holds, and are no hour of rest."""
    book = None
    for minute in range(70):
        # It cooled down for its last ten minutes: the busy ones leave the window after fifty.
        peak = {} if minute >= 50 else {"cpu_peak_cores": 8.0}
        gone = [msgspec.structs.replace(ended(minute), **peak)] if minute < 60 else []
        usage = msgspec.structs.replace(make_workload_usage(gone=gone), running=())
        found = judge(usage, POLICY, now=AT)
        assert (found.evidence, found.measured) == (Evidence.UNKNOWN, False)
        now = AT + minute * MINUTE
        book = advance(book, found, key=KEY, uid="u", policy=SidePolicy(), now=now)
        assert (book.side, book.idle_runs) == (Side.REGULAR, 0)


@pytest.mark.parametrize(
    ("age", "gone", "expected"),
    [
        (2, ended(50), Code.NO_PODS),
        (2, ended(2, up=60), Code.IDLE),
        (2, ended(10, up=48), Code.NO_PODS),
        (20, None, Code.NO_PODS),
        (50, None, Code.IDLE),
    ],
    ids=["up-again-after-an-hour", "replaced", "replaced-after-a-pause", "up-for-twenty-minutes", "up-for-fifty"],
)
def test_time_without_any_pod_is_no_rest(age, gone, expected):
    start, seen = AT - age * MINUTE, max(0, age - 10)
    usage = make_usage(
        "new", started_at=start, cpu_points=seen, received_points=seen, expected_points=seen, running_points=age
    )
    running = make_running("new", started_at=start, usage=usage)
    assert code(make_workload_usage(running, gone=[gone] if gone else [])) is expected


def test_who_ran_beside_one_that_is_gone_covers_no_more_time_than_alone():
    """Two hours to look back, up from nothing for 52 minutes: once with two pods, now with one."""
    policy = msgspec.structs.replace(POLICY, window=timedelta(minutes=120))
    start = AT - 52 * MINUTE

    def told(up, name):
        seen = up - 10
        return make_usage(
            name,
            started_at=start,
            cpu_points=seen,
            received_points=seen,
            expected_points=seen,
            running_points=up,
        )

    running = make_running("a", started_at=start, usage=told(52, "a"))
    usage = make_workload_usage(running, gone=[told(50, "b")])
    assert readings.up_steps(usage, policy) == 52
    assert verdict(usage, policy).code is Code.NO_PODS


def test_replacements_one_after_the_other_cover_their_time_together():
    gone = [
        make_usage(f"gone-{n}", started_at=AT - ago * MINUTE, running_points=15) for n, ago in enumerate((60, 45, 30))
    ]
    alive = make_running("new", started_at=AT - 15 * MINUTE)
    assert readings.up_steps(make_workload_usage(alive, gone=gone), POLICY) == 60
    assert readings.up_steps(make_workload_usage(alive, gone=gone[1:]), POLICY) == 45


def test_pods_side_by_side_do_not_add_up_to_time_that_none_of_them_covers():
    gone = [msgspec.structs.replace(ended(50), name=f"gone-{n}") for n in range(6)]
    start = AT - MINUTE
    usage = make_usage("new", started_at=start, cpu_points=0, received_points=0, expected_points=0, running_points=1)
    found = verdict(make_workload_usage(make_running("new", started_at=start, usage=usage), gone=gone))
    assert found.reason == "no pod of it is known to have run for 49 of 60 steps in 60 min; 80% are needed"


@pytest.mark.fault(38)
@pytest.mark.parametrize("runs", [True, False])
def test_a_container_that_restarted_leaves_unknown_what_it_did_before(runs):
    restarted = make_usage(restarts=1)
    rested = make_workload_usage(make_running(usage=restarted)) if runs else make_workload_usage(gone=[restarted])
    found = verdict(rested)
    assert (found.evidence, found.code) == (Evidence.UNKNOWN, Code.RESET)


def test_a_pod_made_anew_under_its_name_is_taken_for_one_that_restarted():
    """Another UID must explain nothing: in one store it may be another cluster's."""
    before = {"uid-before": PodLife(expected_points=20, running_points=20)}
    again = make_usage(restarts=1, cpu_points=80, received_points=80)
    again = msgspec.structs.replace(again, lives=again.lives | before)
    assert code(make_workload_usage(make_running(usage=again))) is Code.RESET


def test_a_recent_rate_from_a_pods_start_up_does_not_make_it_active():
    start = AT - 6 * MINUTE
    burst = make_usage("new", started_at=start, cpu_recent_cores=2.0, cpu_points=0, expected_points=0, running_points=6)
    usage = make_workload_usage(make_running("old"), make_running("new", started_at=start, usage=burst))
    assert code(usage) is Code.IDLE


@pytest.mark.parametrize(
    ("sample_age", "expected"),
    [(timedelta(seconds=119), Code.IDLE), (timedelta(seconds=121), Code.STALE), (timedelta(seconds=-31), Code.STALE)],
)
def test_samples_must_be_at_most_two_scrapes_old_and_not_from_the_future(sample_age, expected):
    assert code(idle_workload(last_sample_at=AT - sample_age)) is expected


@pytest.mark.fault(37)
@pytest.mark.parametrize("skew", [timedelta(hours=1), timedelta(hours=-1), timedelta(seconds=31)], ids=str)
@pytest.mark.parametrize("which", ["evaluated_at", "answered_at"])
def test_a_clock_that_disagrees_with_ours_makes_everything_unknown(skew, which):
    usage = msgspec.structs.replace(idle_workload(cpu_recent_cores=5.0), **{which: AT + skew})
    assert code(usage) is Code.CLOCK


def test_a_workload_without_any_pod_is_unknown():
    usage = msgspec.structs.replace(make_workload_usage(), running=())
    assert code(usage) is Code.NO_PODS


@pytest.mark.parametrize("field", ["cpu_peak_cores", "received_peak_bytes_per_second"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.001], ids=str)
def test_a_value_that_is_no_measurement_is_neither_idle_nor_hot(field, value):
    found = verdict(idle_workload(**{field: value}))
    assert (found.evidence, found.code) == (Evidence.UNKNOWN, Code.MISSING)


def test_steps_are_counted_where_prometheus_evaluates():
    assert readings.expected_steps(AT - DAY, AT, POLICY) == 60
    # The last step is 12:00:00; ten minutes of start-up end at 11:50:00, a step that counts.
    assert readings.expected_steps(AT.replace(hour=11, minute=40, second=0, microsecond=0), AT, POLICY) == 11
    assert readings.expected_steps(AT - 5 * MINUTE, AT, POLICY) == 0


# --- laws

cores = st.one_of(st.none(), st.floats(0, 0.5))
rates = st.one_of(st.none(), st.floats(0, 50_000))
points = st.integers(0, 60)


@st.composite
def pod_usages(draw, name="pod"):
    return make_usage(
        name,
        cpu_peak_cores=draw(cores),
        cpu_recent_cores=draw(cores),
        cpu_points=draw(st.one_of(st.just(60), points)),
        received_peak_bytes_per_second=draw(rates),
        received_recent_bytes_per_second=draw(rates),
        received_points=draw(st.one_of(st.just(60), points)),
    )


@st.composite
def workload_usages(draw):
    names = [f"pod-{i}" for i in range(draw(st.integers(1, 4)))]
    pods = [make_running(name, usage=draw(st.one_of(st.none(), pod_usages(name)))) for name in names]
    gone = draw(st.lists(pod_usages("gone"), max_size=2))
    return make_workload_usage(*pods, gone=gone)


ABSENT = {
    "cpu_peak_cores": None,
    "cpu_recent_cores": None,
    "cpu_points": 0,
    "received_peak_bytes_per_second": None,
    "received_recent_bytes_per_second": None,
    "received_points": 0,
    "last_sample_at": None,
}


@st.composite
def thinned(draw, usage):
    """The same world with some of its data lost: values, points, or all that was known of a pod."""

    def lose(pod):
        lost = draw(st.sets(st.sampled_from(sorted(ABSENT))))
        return msgspec.structs.replace(pod, **{field: ABSENT[field] for field in lost})

    running = [
        msgspec.structs.replace(r, usage=None if draw(st.booleans()) else r.usage and lose(r.usage))
        for r in usage.running
    ]
    return msgspec.structs.replace(usage, running=tuple(running), gone=tuple(lose(pod) for pod in usage.gone))


def never_wakes_by_loss(judge_with, usage, poorer):
    if judge_with(usage, POLICY, now=AT).evidence is Evidence.ACTIVE:
        return judge_with(poorer, POLICY, now=AT).evidence is not Evidence.IDLE
    return True


@given(st.data())
def test_losing_data_never_turns_active_into_idle(data):
    """V1. Where the recent rate is lost, the peak still shows the activity: both were high."""
    usage = data.draw(workload_usages())
    assert never_wakes_by_loss(judge, usage, data.draw(thinned(usage)))


@given(st.data())
def test_losing_data_never_makes_anything_idle(data):
    """Stronger than V1: idle after the loss means that it was idle before."""
    usage = data.draw(workload_usages())
    if judge(data.draw(thinned(usage)), POLICY, now=AT).evidence is Evidence.IDLE:
        assert judge(usage, POLICY, now=AT).evidence is Evidence.IDLE


def absence_as_zero(usage, policy, *, now):
    """The mistake that sent fleets to their minimum: no value means no use."""

    def filled(pod):
        return make_usage(
            pod.name,
            cpu_peak_cores=pod.cpu_peak_cores or 0.0,
            cpu_recent_cores=pod.cpu_recent_cores or 0.0,
            received_peak_bytes_per_second=pod.received_peak_bytes_per_second or 0.0,
            received_recent_bytes_per_second=pod.received_recent_bytes_per_second or 0.0,
        )

    running = [
        msgspec.structs.replace(r, usage=filled(r.usage or make_usage(r.pod.name, **ABSENT))) for r in usage.running
    ]
    gone = [filled(pod) for pod in usage.gone]
    return judge(msgspec.structs.replace(usage, running=tuple(running), gone=tuple(gone)), policy, now=now)


def test_the_law_catches_a_reading_of_absence_as_zero():
    busy = idle_workload(cpu_recent_cores=2.0, cpu_peak_cores=2.0)
    blind = make_workload_usage(make_running(usage=None))
    assert never_wakes_by_loss(judge, busy, blind)
    assert not never_wakes_by_loss(absence_as_zero, busy, blind)


@given(st.data(), st.floats(0, 100))
def test_adding_activity_never_turns_active_into_idle(data, more):
    """V2, and it never makes anything idle that was not."""
    usage = data.draw(workload_usages())

    def busier(pod):
        raised = {
            f: v + more for f in ABSENT if "_at" not in f and "points" not in f and (v := getattr(pod, f)) is not None
        }
        return msgspec.structs.replace(pod, **raised)

    running = [msgspec.structs.replace(r, usage=r.usage and busier(r.usage)) for r in usage.running]
    raised = msgspec.structs.replace(usage, running=tuple(running), gone=tuple(busier(pod) for pod in usage.gone))
    if judge(raised, POLICY, now=AT).evidence is Evidence.IDLE:
        assert judge(usage, POLICY, now=AT).evidence is Evidence.IDLE


@given(workload_usages(), st.timedeltas(timedelta(minutes=2, seconds=1), DAY))
def test_late_data_is_unknown(usage, delay):
    """V3: what is recent is then gone, and what is left is old."""

    def delayed(pod):
        return msgspec.structs.replace(
            pod, cpu_recent_cores=None, received_recent_bytes_per_second=None, last_sample_at=AT - delay
        )

    running = [msgspec.structs.replace(r, usage=r.usage and delayed(r.usage)) for r in usage.running]
    late = msgspec.structs.replace(usage, running=tuple(running), gone=tuple(delayed(pod) for pod in usage.gone))
    assert judge(late, POLICY, now=AT).evidence is Evidence.UNKNOWN


@given(workload_usages(), st.integers(2, 12))
def test_another_unit_of_time_keeps_the_verdict(usage, slower):
    """V4: every duration of policy and world longer by one factor, points as many."""
    durations = {f: v * slower for f in POLICY.__struct_fields__ if isinstance(v := getattr(POLICY, f), timedelta)}
    policy = msgspec.structs.replace(POLICY, **durations)

    def later(moment):
        return moment and AT - (AT - moment) * slower

    def slow_pod(pod):
        return msgspec.structs.replace(pod, started_at=later(pod.started_at), last_sample_at=later(pod.last_sample_at))

    running = tuple(
        msgspec.structs.replace(
            r,
            pod=msgspec.structs.replace(r.pod, started_at=later(r.pod.started_at)),
            usage=r.usage and slow_pod(r.usage),
        )
        for r in usage.running
    )
    slow = msgspec.structs.replace(
        usage, running=running, gone=tuple(map(slow_pod, usage.gone)), created_at=later(usage.created_at)
    )
    assert judge(slow, policy, now=AT).evidence is judge(usage, POLICY, now=AT).evidence


@given(workload_usages())
def test_idle_leaves_no_pod_unproven(usage):
    """What idle means, said the other way round."""
    if judge(usage, POLICY, now=AT).evidence is Evidence.IDLE:
        for pod in [r.usage for r in usage.running] + list(usage.gone):
            assert pod is not None
            assert pod.cpu_points >= 60
            assert pod.received_points >= 60
            assert pod.cpu_peak_cores is not None
            assert max(pod.cpu_peak_cores, pod.cpu_recent_cores or 0) < POLICY.cpu_floor_cores


def test_idle_needs_no_more_than_the_builders_say():
    """Guards the laws above against being true of nothing."""
    assert POLICY.cpu_floor_cores > IDLE_CORES
    assert code(make_workload_usage(make_running("a"), make_running("b"), gone=[make_usage("c")])) is Code.IDLE


def test_a_pod_on_a_node_that_stands_still_is_not_at_rest():
    running = msgspec.structs.replace(make_running(), on_still_node=True)
    assert verdict(make_workload_usage(running)).code is Code.STALE


@pytest.mark.fault(37)
def test_samples_dated_in_the_future_prove_no_rest_of_a_pod_that_runs_or_of_one_that_is_gone():
    assert verdict(idle_workload(is_ahead=True)).code is Code.CLOCK
    gone = make_usage("web-old", is_ahead=True)
    assert verdict(make_workload_usage(make_running(), gone=[gone])).code is Code.CLOCK
    assert verdict(idle_workload(is_ahead=True, cpu_recent_cores=2.0)).code is Code.ACTIVE
