"""What is seen of a CronJob's runs, and laws: information that is lost never makes a CronJob idle."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import combinations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import KARPENTER_SPOT
from tests.core.usage_builders import AT, make_usage
from webhook.core import batch, batch_runs
from webhook.core.census import Census, ControllerFact, CronStatus, JobRun, NodeFact, PodFact
from webhook.core.model import ControllerRef, Evidence, WorkloadKey
from webhook.core.policy import BatchPolicy, IdlePolicy, Policy
from webhook.core.usage import UsageSweep

MINUTE = timedelta(minutes=1)
NIGHTLY = WorkloadKey("shop", "CronJob", "nightly")
UP = ControllerRef("CronJob", "nightly", "uid-nightly")
SPOT = {r.key: r.values[0] for r in KARPENTER_SPOT}


def make_cron_job(**status):
    return ControllerFact("batch/v1", "CronJob", "shop", "nightly", "uid-nightly", schedule=CronStatus(**status))


def seen(controllers, *, pods=(), usages=(), nodes=(), missing=(), sweep=True, idle=None, now=AT, untold_steps=0):
    census = Census(now, controllers=tuple(controllers), pods=tuple(pods), nodes=tuple(nodes), missing=tuple(missing))
    told = UsageSweep(evaluated_at=now, pods=tuple(usages), untold_steps=untold_steps) if sweep else None
    return batch_runs.looks(census, told, {NIGHTLY: idle or IdlePolicy()}, policy=Policy(), now=now)[NIGHTLY]


@dataclass
class Cluster:
    """A CronJob with one Job of some pods on a node."""

    pods: list = field(default_factory=list)
    usages: list = field(default_factory=list)
    ended: bool = True
    spot: bool = True
    counted: int | None = None
    began: timedelta = 3 * MINUTE

    def look(self, **facts):
        pods = len(self.pods) if self.counted is None else self.counted
        run = JobRun(AT - self.began, AT - 2 * MINUTE, succeeded=True, pods=pods) if self.ended else None
        job = ControllerFact(
            "batch/v1", "Job", "shop", "nightly-1", "u", controller=UP, run=run, created_at=AT - self.began
        )
        nodes = [NodeFact("n", SPOT if self.spot else {})]
        return seen([make_cron_job(), job], pods=self.pods, usages=self.usages, nodes=nodes, **facts)

    def run(self, **facts):
        return self.look(**facts).ended[0].run

    def pod(self, name, cpu_seconds="absent", node="n", *, counted=True, **told):
        owner = ControllerRef("Job", "nightly-1")
        lasted = (self.began - 2 * MINUTE) // MINUTE
        if counted:
            self.pods.append(PodFact("shop", name, "u", controller=owner, node_name=node, phase="Succeeded"))
        if cpu_seconds != "absent":
            told = {"running_points": lasted, "cpu_seen_points": lasted} | told
            self.usages.append(make_usage(name, controller=owner, cpu_seconds=cpu_seconds, **told))


def test_a_run_is_read_from_its_job_its_pods_and_their_counters():
    cluster = Cluster()
    cluster.pod("a", 4.0)
    cluster.pod("b", 2.5)
    run = cluster.run()
    assert (run.seconds, run.succeeded, run.cpu_seconds, run.on_spot) == (60.0, True, 6.5, True)


@pytest.mark.parametrize("second", ["absent", None, float("nan"), -1.0])
def test_one_pod_without_a_value_leaves_the_whole_run_unseen(second):
    cluster = Cluster()
    cluster.pod("a", 4.0)
    cluster.pod("b", second)
    assert cluster.run().cpu_seconds is None


@pytest.mark.parametrize(("counted", "cpu_seconds"), [(0, None), (1, 4.0), (2, None)])
def test_a_pod_that_only_the_job_counts_leaves_the_whole_run_unseen(counted, cpu_seconds):
    cluster = Cluster(counted=counted)
    cluster.pod("a", 4.0)
    assert cluster.run().cpu_seconds == cpu_seconds


@pytest.mark.parametrize(("minutes", "cpu_seconds"), [(59, 4.0), (61, None)])
def test_a_run_that_began_before_the_look_back_is_not_given_the_cpu_of_its_end(minutes, cpu_seconds):
    cluster = Cluster(began=minutes * MINUTE)
    cluster.pod("a", 4.0)
    assert cluster.run().cpu_seconds == cpu_seconds


@pytest.mark.parametrize(
    ("steps", "running", "cpu_seconds"),
    [(10, 10, 4.5), (9, 10, 5.0), (11, 10, 4.5), (8, 10, None), (1, 3, None), (1, 0, 4.5), (0, 0, None)],
)
def test_a_run_whose_samples_ended_early_is_not_given_their_last_value(steps, running, cpu_seconds):
    """Held to the steps that the pod ran for, and not to the Job's time: it may have waited for a node."""
    cluster = Cluster(began=12 * MINUTE)
    cluster.pod("a", 4.5, cpu_seen_points=steps, running_points=running)
    assert cluster.run().cpu_seconds == cpu_seconds


def test_a_pod_beside_others_is_held_to_the_steps_that_itself_ran_for():
    cluster = Cluster(began=12 * MINUTE)
    cluster.pod("failed", 1.0, cpu_seen_points=2, running_points=2)
    cluster.pod("second", 4.0, cpu_seen_points=7, running_points=7)
    assert cluster.run().cpu_seconds == 5.0
    cluster.pod("third", 4.0, cpu_seen_points=2, running_points=7)
    assert cluster.run().cpu_seconds is None


def test_while_kube_state_metrics_was_away_no_run_is_seen_whole():
    """What it did not tell of is missing on both sides: a pod that ran for minutes looks like one that ran for one."""
    cluster = Cluster(began=12 * MINUTE)
    cluster.pod("a", 4.0, cpu_seen_points=2, running_points=2)
    assert cluster.run().cpu_seconds == 4.0
    assert cluster.run(untold_steps=8).cpu_seconds is None


def test_a_run_with_a_container_that_began_anew_is_not_seen_whole():
    cluster = Cluster()
    cluster.pod("a", 4.0, restarts=1)
    assert cluster.run().cpu_seconds is None


def test_without_a_sweep_no_run_has_cpu():
    cluster = Cluster()
    cluster.pod("a", 4.0)
    assert cluster.run(sweep=False).cpu_seconds is None


def test_where_a_run_was_is_only_said_when_every_pod_of_it_is_known_or_one_was_on_spot():
    for nodes, spot, expected in (
        (["n"], False, False), ([], True, None), (["gone"], True, None), (["gone", "n"], True, True),
        (["gone", "n"], False, None),
    ):  # fmt: skip
        cluster = Cluster(spot=spot)
        for index, node in enumerate(nodes):
            cluster.pod(f"p{index}", 1.0, node)
        assert cluster.run().on_spot is expected


def test_a_job_that_has_not_ended_is_under_way_with_what_is_seen_so_far():
    cluster = Cluster(ended=False)
    cluster.pod("a", 4.0)
    cluster.pod("b")
    found = cluster.look()
    assert found.ended == ()
    (run,) = found.under_way
    assert (run.started_at, run.seconds, run.cpu_seconds) == (AT - 3 * MINUTE, 180.0, 4.0)
    assert (run.ended, run.succeeded, run.on_spot) == (False, False, True)


def test_a_job_of_a_predecessor_under_this_name_is_not_its_run():
    job = ControllerFact(
        "batch/v1", "Job", "shop", "nightly-1", "u", controller=ControllerRef("CronJob", "nightly", "uid-before"),
        run=JobRun(AT - MINUTE, AT, succeeded=True), created_at=AT - MINUTE,
    )  # fmt: skip
    assert seen([make_cron_job(), job]).ended == ()
    assert len(seen([job]).ended) == 1


def stamped(moment):
    return f"nightly-{int(moment.timestamp()) // 60}"


def test_a_run_that_was_due_and_left_no_job_is_remembered_until_its_job_is_seen():
    due = AT.replace(second=0, microsecond=0) - 5 * MINUTE
    (lost,) = batch_runs.remembered((), seen([make_cron_job(last_schedule_at=due)]))
    assert (lost.job, lost.started_at, lost.ended, lost.seconds) == (stamped(due), due, False, 0.0)
    by_hand, own = [
        ControllerFact(
            "batch/v1", "Job", "shop", name, "u", controller=UP, created_at=due + MINUTE / 60,
            run=JobRun(due + MINUTE / 30, due + MINUTE, succeeded=True, pods=1),
        )
        for name in ("nightly-by-hand", stamped(due))
    ]  # fmt: skip
    cron_job = make_cron_job(last_schedule_at=due)
    assert {run.ended for run in batch_runs.remembered((lost,), seen([cron_job, by_hand]))} == {True, False}
    (run,) = batch_runs.remembered((lost,), seen([cron_job, own]))
    assert (run.job, run.ended) == (stamped(due), True)
    assert batch_runs.remembered((run,), seen([cron_job])) == (run,)


def test_a_job_that_the_cron_job_calls_active_and_nobody_can_read_is_told():
    due = AT.replace(second=0, microsecond=0) - 5 * MINUTE
    found = seen([make_cron_job(last_schedule_at=due, active=(stamped(due), "by-hand"))])
    assert found.hidden == (stamped(due), "by-hand")
    verdict = batch.judge((), found, IdlePolicy(), now=AT)
    assert verdict.reason == f"run {stamped(due)} is under way and cannot be read"


# --- laws, on a CronJob of ten minutes' rhythm


SHORT = IdlePolicy(batch=BatchPolicy(max_duration=2 * MINUTE))
EVERY = 10 * MINUTE
BEGAN = AT.replace(second=0, microsecond=0)


@dataclass(frozen=True)
class Planned:
    """What one run really does, and what of it is there to be seen."""

    minutes: float
    succeeded: bool
    cpu: float
    spot: bool
    pods: int
    kept: bool
    """Whether its Job outlives its end."""

    @property
    def is_small(self):
        return self.succeeded and self.kept_small

    @property
    def kept_small(self):
        return self.minutes <= 2 and self.cpu * self.pods <= 600


SMALL = Planned(minutes=1.0, succeeded=True, cpu=5.0, spot=True, pods=1, kept=True)
NEARLY_SMALL = [
    replace(SMALL, cpu=599.0, pods=2),
    replace(SMALL, minutes=2.0, cpu=700.0),
    replace(SMALL, kept=False),
    replace(SMALL, succeeded=False),
    replace(SMALL, succeeded=False, kept=False),
]
"""Each is taken for small as soon as one thing is not known of it."""
PLANS = st.one_of(
    st.just(SMALL),
    st.just(SMALL),
    st.just(SMALL),
    st.sampled_from(NEARLY_SMALL),
    st.builds(
        Planned,
        minutes=st.sampled_from([0.2, 1.0, 2.0, 3.0, 5.0, 9.0]),
        succeeded=st.booleans(),
        cpu=st.sampled_from([1.0, 290.0, 599.0, 700.0, 2000.0]),
        spot=st.booleans(),
        pods=st.integers(1, 2),
        kept=st.booleans(),
    ),
)


def world(plans, now):
    """All that a perfect observer sees at that moment: controllers, pods, usages."""
    controllers, pods, usages, active = [], [], [], []
    success = due = None
    for number, plan in enumerate(plans):
        begin = BEGAN + number * EVERY
        if begin > now:
            break
        due, end, name = begin, begin + plan.minutes * MINUTE, stamped(begin)
        if end <= now and plan.succeeded:
            success = end
        if end <= now and not plan.kept:
            continue
        run = JobRun(begin, end, succeeded=plan.succeeded, pods=plan.pods) if end <= now else None
        if run is None:
            active.append(name)
        controllers.append(
            ControllerFact("batch/v1", "Job", "shop", name, "u", controller=UP, created_at=begin, run=run)
        )
        owner = ControllerRef("Job", name)
        done = min(1.0, (now - begin) / (plan.minutes * MINUTE))
        for index in range(plan.pods):
            pod = f"{name}-{index}"
            pods.append(PodFact("shop", pod, "u", controller=owner, node_name="spot" if plan.spot else "regular"))
            steps = int(plan.minutes * done)
            told = {"running_points": steps, "cpu_seen_points": max(1, steps)}
            usages.append(make_usage(pod, controller=owner, cpu_seconds=plan.cpu * done, **told))
    cron_job = make_cron_job(last_schedule_at=due, last_success_at=success, active=tuple(active))
    return cron_job, controllers, pods, usages


NODES = (NodeFact("spot", SPOT), NodeFact("regular"))


def lessened(data, controllers, pods, usages):
    """The same without a few Jobs, and without a few pods or what is known of them."""

    def few(names):
        return data.draw(st.sets(st.sampled_from(sorted(names)), max_size=2)) if names else set()

    jobs, gone = few({job.name for job in controllers}), few({pod.name for pod in pods})
    known = data.draw(st.sampled_from(["pod", "usage", "neither"]))
    early, share = few({usage.name for usage in usages}), data.draw(st.floats(0, 0.6))
    return (
        [job for job in controllers if job.name not in jobs],
        [pod for pod in pods if known == "pod" or pod.name not in gone],
        [_until(u, share) if u.name in early else u for u in usages if known == "usage" or u.name not in gone],
    )


def _until(usage, share):
    """As its last samples tell it, where scrapes failed for the rest of its life."""
    steps, used = int(usage.cpu_seen_points * share), usage.cpu_seconds * share
    return msgspec.structs.replace(usage, cpu_seen_points=steps, cpu_seconds=used)


def lossy(data, plans, now):
    """What a monitor sees on a bad day."""
    cron_job, controllers, pods, usages = world(plans, now)
    missing = data.draw(st.sampled_from([()] * 6 + [("Job",), ("CronJob",)]))
    if data.draw(st.integers(0, 5)) == 0:
        cron_job = msgspec.structs.replace(cron_job, schedule=CronStatus())
    controllers, pods, usages = lessened(data, controllers, pods, usages)
    shown = [] if "Job" in missing else controllers
    shown += [] if "CronJob" in missing else [cron_job]
    return seen(shown, pods=pods, usages=usages, nodes=NODES, missing=missing, idle=SHORT, now=now)


@given(st.lists(PLANS, min_size=3, max_size=7), st.lists(st.integers(1, 9), min_size=7, max_size=7), st.data())
@settings(max_examples=300, deadline=None)
def test_idle_rests_only_on_runs_that_truly_were_the_last_and_small_whatever_is_lost(plans, minutes, data):
    """One look for each run, at any time before the next; the word of the CronJob itself is heard each time."""
    runs = ()
    for number, minute in enumerate(minutes[: len(plans)]):
        now = BEGAN + number * EVERY + minute * MINUTE
        cron_job, controllers, pods, usages = world(plans, now)
        controllers, pods, usages = lessened(data, controllers, pods, usages)
        look = seen([cron_job, *controllers], pods=pods, usages=usages, nodes=NODES, idle=SHORT, now=now)
        runs = batch_runs.remembered(runs, look)
        ended = [plan for n, plan in enumerate(plans) if BEGAN + n * EVERY + plan.minutes * MINUTE <= now]
        if batch.judge(runs, look, SHORT, now=now).evidence is Evidence.IDLE:
            assert [plan.is_small and plan.kept for plan in ended[-3:]] == [True] * 3


@given(st.lists(PLANS, min_size=3, max_size=6), st.integers(1, 9), st.integers(1, 9), st.integers(0, 1), st.data())
@settings(max_examples=300, deadline=None)
def test_a_look_at_less_never_turns_what_is_not_idle_into_idle(plans, first, second, runs_between, data):
    begin = BEGAN + (len(plans) - 1) * EVERY
    past = begin - runs_between * EVERY + first * MINUTE
    full = world(plans, past)
    before = batch_runs.remembered(
        (), seen([full[0], *full[1]], pods=full[2], usages=full[3], nodes=NODES, idle=SHORT, now=past)
    )
    now = max(past, begin + second * MINUTE)
    cron_job, controllers, pods, usages = world(plans, now)
    whole = seen([cron_job, *controllers], pods=pods, usages=usages, nodes=NODES, idle=SHORT, now=now)
    less = lossy(data, plans, now)
    of_whole, of_less = (
        batch.judge(batch_runs.remembered(before, look), look, SHORT, now=now).evidence for look in (whole, less)
    )
    assert of_less is not Evidence.IDLE or of_whole is Evidence.IDLE
    assert not less.unread or of_less is Evidence.UNKNOWN


def test_in_a_whole_world_small_runs_are_idle():
    now = BEGAN + 2 * EVERY + 5 * MINUTE
    cron_job, controllers, pods, usages = world([SMALL] * 3, now)
    look = seen([cron_job, *controllers], pods=pods, usages=usages, nodes=NODES, idle=SHORT, now=now)
    assert batch.judge(batch_runs.remembered((), look), look, SHORT, now=now).evidence is Evidence.IDLE


@pytest.mark.parametrize("newest", NEARLY_SMALL)
@pytest.mark.parametrize("early", [False, True])
def test_no_loss_whatever_of_the_newest_run_makes_it_small(newest, early):
    """Every part of what is there of it, seen for the first time, or after a look while it was under way."""
    plans, begin = [SMALL, SMALL, newest], BEGAN + 2 * EVERY
    past, now = begin + (MINUTE if early else -MINUTE), begin + 5 * MINUTE
    cron_job, jobs, pods, usages = world(plans, past)
    known = seen([cron_job, *jobs], pods=pods, usages=usages, nodes=NODES, idle=SHORT, now=past)
    before = batch_runs.remembered((), known)
    cron_job, *kinds = world(plans, now)
    job = stamped(begin)
    parts = [(kind, thing.name) for kind, things in enumerate(kinds) for thing in things if job in thing.name]
    for size in range(len(parts) + 1):
        for lost in combinations(parts, size):
            jobs, pods, usages = (
                [t for t in things if (kind, t.name) not in lost] for kind, things in enumerate(kinds)
            )
            look = seen([cron_job, *jobs], pods=pods, usages=usages, nodes=NODES, idle=SHORT, now=now)
            verdict = batch.judge(batch_runs.remembered(before, look), look, SHORT, now=now)
            assert verdict.evidence is not Evidence.IDLE, lost
