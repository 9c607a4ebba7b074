"""CronJobs are judged by their past runs: small and successful ones only, and never by what nobody saw."""

from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import KARPENTER_SPOT
from tests.core.usage_builders import AT, DAY, make_usage
from webhook.core import batch
from webhook.core.census import Census, ControllerFact, JobRun, NodeFact, PodFact
from webhook.core.idleness import Code
from webhook.core.model import BatchRun, ControllerRef, Evidence, WorkloadKey
from webhook.core.policy import IdlePolicy, Policy
from webhook.core.usage import UsageSweep

POLICY = IdlePolicy()
NIGHTLY = WorkloadKey("shop", "CronJob", "nightly")


def make_run(days_ago=1.0, **changes):
    facts = {"seconds": 60.0, "succeeded": True, "cpu_seconds": 5.0, "on_spot": False}
    return BatchRun(job=f"nightly-{days_ago}", started_at=AT - days_ago * DAY, **(facts | changes))


def judged(*runs, **changes):
    ordered = batch.remembered((), runs)
    return batch.judge(ordered, POLICY, now=AT, **changes)


SMALL = [make_run(d) for d in (1, 2, 3)]
RUNS = st.lists(
    st.builds(
        make_run,
        st.floats(0.1, 20),
        seconds=st.sampled_from([1.0, 899.0, 900.0, 901.0, 1801.0, 9000.0]),
        succeeded=st.booleans(),
        cpu_seconds=st.sampled_from([None, 0.0, 600.0, 601.0, 1201.0]),
        on_spot=st.sampled_from([None, True, False]),
    ),
    max_size=8,
    unique_by=lambda run: run.job,
)


def test_three_small_successful_runs_are_idle_and_their_figures_are_told():
    found = judged(*SMALL)
    assert (found.evidence, found.code, found.measured) == (Evidence.IDLE, Code.IDLE, True)
    assert "3 runs were small and succeeded: at most 60 s and 5 CPU-seconds" in found.reason
    assert found.runs == tuple(SMALL)


@pytest.mark.parametrize(
    ("runs", "evidence", "words"),
    [
        (SMALL[:2], Evidence.UNKNOWN, "2 runs ended in 7 days; 3 are needed"),
        ([*SMALL[:2], make_run(8)], Evidence.UNKNOWN, "2 runs ended"),
        ([make_run(0.5, cpu_seconds=None), *SMALL], Evidence.UNKNOWN, "nobody saw the CPU"),
        ([make_run(0.5, succeeded=False), *SMALL], Evidence.UNKNOWN, "neither small nor large: run nightly-0.5 failed"),
        ([make_run(0.5, seconds=1000.0), *SMALL], Evidence.UNKNOWN, "took 1000 s and 5 CPU-seconds; small up to 900 s"),
        ([make_run(0.5, succeeded=False, on_spot=True), *SMALL], Evidence.ACTIVE, "failed on spot"),
        ([make_run(0.5, seconds=2000.0), *SMALL], Evidence.ACTIVE, "large from 1800 s"),
        ([make_run(0.5, cpu_seconds=1201.0), *SMALL], Evidence.ACTIVE, "large from 1800 s or 1200 CPU-seconds"),
        ([make_run(0.5, seconds=2000.0, cpu_seconds=None)], Evidence.ACTIVE, "took 2000 s"),
        ([*SMALL, make_run(4, succeeded=False, on_spot=True)], Evidence.IDLE, "small and succeeded"),
    ],
)
def test_each_other_row_of_runs_says_why_it_is_not(runs, evidence, words):
    found = judged(*runs)
    assert found.evidence is evidence, found.reason
    assert words in found.reason


def test_a_run_that_works_for_long_is_active_before_it_ends():
    assert judged(*SMALL, running_since=AT - timedelta(minutes=29)).evidence is Evidence.IDLE
    assert judged(*SMALL, running_since=AT - timedelta(minutes=31)).evidence is Evidence.ACTIVE


@given(RUNS)
def test_idle_is_proven_by_every_one_of_the_last_runs(runs):
    found = judged(*runs)
    last = [r for r in batch.remembered((), runs) if AT - r.started_at <= POLICY.batch.window][:3]
    small = [r.succeeded and r.seconds <= 900 and r.cpu_seconds is not None and r.cpu_seconds <= 600 for r in last]
    assert (found.evidence is Evidence.IDLE) == (len(small) == 3 and all(small))


@given(RUNS, st.data())
def test_losing_what_was_seen_of_a_run_never_makes_idle(runs, data):
    before = judged(*runs)
    lost = [msgspec.structs.replace(r, cpu_seconds=None) if data.draw(st.booleans()) else r for r in runs]
    after = judged(*lost)
    assert after.evidence is not Evidence.IDLE or before.evidence is Evidence.IDLE


@given(RUNS, RUNS)
def test_the_order_in_which_runs_are_learnt_does_not_matter_and_ten_are_kept(first, second):
    def keys(runs):
        return [(run.job, run.started_at) for run in runs]

    both = batch.remembered(batch.remembered((), first), second)
    other = batch.remembered(batch.remembered((), second), first)
    assert keys(both) == keys(other)
    assert len(both) <= batch.KEPT
    assert batch.remembered(both, ()) == both


def test_what_was_once_seen_of_a_run_stays_known_when_its_pods_are_gone():
    seen = make_run(1, cpu_seconds=7.0, on_spot=True)
    gone = msgspec.structs.replace(seen, cpu_seconds=None, on_spot=None)
    assert batch.remembered((seen,), (gone,)) == (seen,)


@dataclass
class Cluster:
    """A CronJob with one ended Job of one pod on a node."""

    pods: list = field(default_factory=list)
    usages: list = field(default_factory=list)
    ended: bool = True
    spot: bool = True

    def run(self):
        up = ControllerRef("CronJob", "nightly", "uid-nightly")
        run = JobRun(AT - timedelta(minutes=3), AT - timedelta(minutes=2), succeeded=True) if self.ended else None
        job = ControllerFact(
            "batch/v1", "Job", "shop", "nightly-1", "u", controller=up, run=run, created_at=AT - timedelta(minutes=3)
        )
        labels = {r.key: r.values[0] for r in KARPENTER_SPOT} if self.spot else {}
        census = Census(AT, nodes=(NodeFact("n", labels),), pods=tuple(self.pods), controllers=(job,))
        sweep = UsageSweep(evaluated_at=AT, pods=tuple(self.usages))
        return census, batch.ended_runs(census, sweep, Policy()).get(NIGHTLY, ())

    def pod(self, name, cpu_seconds="absent", node="n"):
        owner = ControllerRef("Job", "nightly-1")
        self.pods.append(PodFact("shop", name, "u", controller=owner, node_name=node, phase="Succeeded"))
        if cpu_seconds != "absent":
            self.usages.append(make_usage(name, controller=owner, cpu_seconds=cpu_seconds))


def test_a_run_is_read_from_its_job_its_pods_and_their_counters():
    cluster = Cluster()
    cluster.pod("a", 4.0)
    cluster.pod("b", 2.5)
    run = cluster.run()[1][0]
    assert (run.seconds, run.succeeded, run.cpu_seconds, run.on_spot) == (60.0, True, 6.5, True)


@pytest.mark.parametrize("second", ["absent", None, float("nan"), -1.0])
def test_one_pod_without_a_value_leaves_the_whole_run_unseen(second):
    cluster = Cluster()
    cluster.pod("a", 4.0)
    cluster.pod("b", second)
    assert cluster.run()[1][0].cpu_seconds is None


def test_where_a_run_was_is_only_said_when_every_pod_of_it_is_known_or_one_was_on_spot():
    for nodes, spot, expected in (
        (["n"], False, False), ([], True, None), (["gone"], True, None), (["gone", "n"], True, True),
        (["gone", "n"], False, None),
    ):  # fmt: skip
        cluster = Cluster(spot=spot)
        for index, node in enumerate(nodes):
            cluster.pod(f"p{index}", 1.0, node)
        assert cluster.run()[1][0].on_spot is expected


def test_a_job_that_has_not_ended_is_no_run_yet_but_under_way():
    census, runs = Cluster(ended=False).run()
    assert runs == ()
    assert batch.under_way(census) == {NIGHTLY: AT - timedelta(minutes=3)}
