from datetime import timedelta

import msgspec
import pytest

from tests.builders import make_move
from tests.core.usage_builders import AT, DAY, make_usage
from webhook.core.book import Book, Control
from webhook.core.census import Census, ControllerFact, CronStatus, JobRun, NodeFact, PodFact
from webhook.core.model import ControllerRef, Evidence, Side, Verdict, WorkloadKey
from webhook.core.policy import Match, Policy, Rule
from webhook.core.usage import UsageSweep
from webhook.errors import ClusterConflict, ClusterUnavailable, UsageUnavailable
from webhook.jobs import monitor

MINUTE = timedelta(minutes=1)
POLICY = Policy()
DEMO = "shop/Deployment/nginx-demo"


class World:
    """The three ports and the clock of a run, over a census, a sweep and a book that tests may change."""

    def __init__(self):
        self.now = AT
        self.controllers = []
        self.pods = []
        self.usages = []
        self.missing = ()
        self.trouble = None
        self.book = Book()
        self.writes = []
        self.held = None
        self.meanwhile = []

    def deploy(self, name, *, kind="Deployment", usage="idle", **changes):
        """A workload of one pod of that age a day, with its ReplicaSet."""
        begun = AT - 30 * DAY
        own = {"namespace": "shop", "api_version": "apps/v1", "created_at": begun}
        self.controllers.append(ControllerFact(kind=kind, name=name, uid=f"uid-{name}", **own))
        up = ControllerRef(kind=kind, name=name, uid=f"uid-{name}")
        if kind == "Deployment":
            self.controllers.append(
                ControllerFact(kind="ReplicaSet", name=f"{name}-1", uid=f"uid-{name}-1", controller=up, **own)
            )
            up = ControllerRef(kind="ReplicaSet", name=f"{name}-1", uid=f"uid-{name}-1")
        if usage is None:
            return
        pod = PodFact(
            namespace="shop", name=f"{name}-1-a", uid=f"uid-{name}-1-a", controller=up, phase="Running", created_at=AT - DAY,
            started_at=AT - DAY,
        )  # fmt: skip
        self.pods.append(pod)
        if usage != "absent":
            self.usages.append(make_usage(pod.name, controller=up, **changes))

    def census(self):
        return Census(
            taken_at=self.now, pods=tuple(self.pods), controllers=tuple(self.controllers), missing=self.missing
        )

    def sweep(self, policy):
        if self.trouble:
            raise self.trouble
        fresh = [msgspec.structs.replace(u, last_sample_at=self.now) for u in self.usages]
        return UsageSweep(evaluated_at=self.now, answered_at=self.now, pods=tuple(fresh), queries=13)

    def read(self):
        return self.book

    def write(self, old, new):
        assert old == self.book
        changed = sum(new.verdicts.get(k) != old.verdicts.get(k) for k in new.verdicts.keys() | old.verdicts.keys())
        self.writes.append(changed)
        self.book = new
        return changed

    def control(self):
        self.held = self.book.control
        return self.held

    def swap(self, new):
        if self.meanwhile:
            self.book = msgspec.structs.replace(self.book, control=self.meanwhile.pop())
        if self.book.control != self.held:
            raise ClusterConflict("somebody wrote first")
        self.book = msgspec.structs.replace(self.book, control=new)

    def run(self, times=1, policy=POLICY):
        for _ in range(times):
            report = monitor.run_once(self, self, self, policy, lambda: self.now)
            self.now += MINUTE
        return report


@pytest.fixture
def world():
    return World()


def test_an_idle_workload_turns_to_spot_and_a_busy_or_unseen_neighbour_does_not(world):
    world.deploy("nginx-demo")
    world.deploy("checkout", cpu_recent_cores=1.0, cpu_peak_cores=1.0)
    world.deploy("reports", usage="absent")
    report = world.run(5)
    assert (report.workloads, report.idle, report.active, report.unknown) == (3, 1, 1, 1)
    assert [(c.workload, c.before, c.after) for c in report.changes] == [(DEMO, Side.REGULAR, Side.SPOT)]
    assert report.changes[0].reason.startswith("CPU at most")
    assert report.unknown_reasons == {"missing-series": 1}
    assert {name: v.side for name, v in world.book.verdicts.items() if v.side is Side.SPOT} == {DEMO: Side.SPOT}
    assert world.book.verdicts[DEMO].uid == "uid-nginx-demo"
    assert report.did_its_work


def test_load_that_returns_turns_it_back_in_the_next_run(world):
    world.deploy("nginx-demo")
    world.run(5)
    world.usages = [msgspec.structs.replace(u, cpu_recent_cores=2.0) for u in world.usages]
    report = world.run()
    assert report.changes[0].after is Side.REGULAR
    assert world.book.verdicts[DEMO].transitions == 2


@pytest.mark.fault(29)
def test_without_prometheus_all_are_unknown_sides_stay_and_the_heartbeat_is_written(world):
    world.deploy("nginx-demo")
    world.run(5)
    good_at = world.book.verdicts[DEMO].good_at
    world.trouble = UsageUnavailable("cannot be reached: connection refused", code="unreachable")
    report = world.run(30)
    assert (report.unknown, report.usage_code, report.did_its_work) == (1, "unreachable", False)
    assert report.unknown_reasons == {"prometheus-unavailable": 1}
    verdict = world.book.verdicts[DEMO]
    assert (verdict.side, verdict.evidence, verdict.good_at) == (Side.SPOT, Evidence.UNKNOWN, good_at)
    assert "connection refused" in verdict.reason
    assert world.book.control.heartbeat == world.now - MINUTE


def test_a_resting_book_is_not_rewritten_every_minute(world):
    world.deploy("nginx-demo")
    world.run(6)
    world.writes.clear()
    world.run(60)
    assert sum(world.writes) == 6
    assert world.book.control.heartbeat == world.now - MINUTE


def test_what_moves_keep_in_the_book_is_left_alone(world):
    world.deploy("nginx-demo")
    moves = (make_move(WorkloadKey.parse(DEMO)),)
    world.book = Book(control=Control(moves=moves))
    world.run()
    assert world.book.control.moves == moves


def test_the_verdict_of_a_gone_workload_is_kept_for_a_while_and_then_forgotten(world):
    world.deploy("nginx-demo")
    world.deploy("checkout")
    world.run()
    world.controllers = [c for c in world.controllers if "nginx" not in c.name]
    world.pods = [p for p in world.pods if "nginx" not in p.name]
    assert world.run().forgotten == ()
    world.now += POLICY.sides.evidence_ttl
    assert world.run().forgotten == (DEMO,)
    assert DEMO not in world.book.verdicts


def test_a_gone_workload_that_was_judged_in_the_future_is_forgotten_too(world):
    """Or a clock that was once ahead keeps it for as long as it was."""
    key = WorkloadKey(namespace="shop", kind="Deployment", name="gone")
    world.book = Book(verdicts={str(key): Verdict(key=key, uid="1", judged_at=AT + 9 * DAY)})
    assert world.run().forgotten == (str(key),)


def test_a_right_that_is_missing_forgets_nobody(world):
    key = WorkloadKey(namespace="shop", kind="StatefulSet", name="db")
    world.book = Book(verdicts={str(key): Verdict(key=key, uid="1", judged_at=AT - 9 * DAY)})
    world.missing = ("statefulsets",)
    assert world.run().forgotten == ()


def test_a_workload_made_anew_under_its_name_starts_over(world):
    world.deploy("nginx-demo")
    world.run(5)
    world.controllers[0] = msgspec.structs.replace(world.controllers[0], uid="another")
    world.run()
    verdict = world.book.verdicts[DEMO]
    assert (verdict.side, verdict.idle_runs, verdict.uid) == (Side.REGULAR, 1, "another")


def test_daemon_sets_are_not_judged(world):
    world.deploy("agent", kind="DaemonSet")
    assert world.run().workloads == 0


def test_a_cron_job_between_its_runs_is_unknown_and_says_why(world):
    world.deploy("nightly", kind="CronJob", usage=None)
    world.run()
    assert world.book.verdicts["shop/CronJob/nightly"].reason == "0 runs ended in 7 days; 3 are needed"


def test_a_series_counts_only_for_a_pod_that_the_api_server_knows(world):
    world.deploy("nginx-demo", usage="absent")
    stranger = make_usage("somebody-else", controller=ControllerRef(kind="ReplicaSet", name="elsewhere-1"))
    world.usages.append(stranger)
    assert world.run().unknown_reasons == {"missing-series": 1}


def test_an_api_server_that_cannot_be_read_fails_the_run_and_nothing_is_written(world):
    def refuses():
        raise ClusterUnavailable("the API server does not answer", status=503)

    world.census = refuses
    with pytest.raises(ClusterUnavailable):
        world.run()
    assert world.writes == []


@pytest.mark.fault(34)
@pytest.mark.fault(35)
def test_half_of_the_pods_missing_leaves_the_other_workloads_as_they_are(world):
    for number in range(10):
        world.deploy(f"web-{number}")
    world.run(5)
    world.usages = world.usages[:5]
    report = world.run()
    assert (report.idle, report.unknown, report.changes) == (5, 5, ())
    world.usages = []
    report = world.run()
    assert (report.unknown, report.changes) == (10, ())


def cron_runs(world, name, *, count=3, **changes):
    """A CronJob whose last Jobs ended within the hour, each with one pod that Prometheus still knows."""
    began = [AT.replace(second=0, microsecond=0) - (index + 1) * 15 * MINUTE for index in range(count)]
    up = ControllerRef(kind="CronJob", name=name, uid=f"uid-{name}")
    status = CronStatus(last_schedule_at=began[0])
    world.controllers.append(
        ControllerFact("batch/v1", "CronJob", "shop", name, f"uid-{name}", created_at=AT - DAY, schedule=status)
    )
    for moment in began:
        facts = {"ended_at": moment + MINUTE, "succeeded": True, "pods": 1} | changes
        job = f"{name}-{int(moment.timestamp()) // 60}"
        run = JobRun(started_at=moment, **facts)
        world.controllers.append(
            ControllerFact("batch/v1", "Job", "shop", job, f"uid-{job}", controller=up, created_at=moment, run=run)
        )
        owner = ControllerRef(kind="Job", name=job)
        world.usages.append(
            make_usage(f"{job}-x", controller=owner, cpu_seconds=3.0, cpu_seen_points=60, running_points=0)
        )


def test_a_cron_job_with_small_runs_turns_to_spot_and_one_that_fails_on_the_way_does_not(world):
    cron_runs(world, "nightly")
    cron_runs(world, "broken", succeeded=False)
    world.run(5)
    verdict = world.book.verdicts["shop/CronJob/nightly"]
    assert (verdict.side, len(verdict.runs)) == (Side.SPOT, 3)
    assert world.book.verdicts["shop/CronJob/broken"].side is Side.REGULAR


def test_the_book_remembers_runs_whose_jobs_and_series_are_gone(world):
    cron_runs(world, "nightly")
    world.run(5)
    world.controllers = [c for c in world.controllers if c.kind != "Job"]
    world.usages = []
    world.run(3)
    verdict = world.book.verdicts["shop/CronJob/nightly"]
    assert (verdict.side, verdict.evidence, len(verdict.runs)) == (Side.SPOT, Evidence.IDLE, 3)
    world.trouble = UsageUnavailable("gone", code="unreachable")
    world.run()
    assert world.book.verdicts["shop/CronJob/nightly"].runs == verdict.runs


def test_a_cron_job_made_anew_under_its_name_has_no_runs_yet(world):
    cron_runs(world, "nightly")
    world.run(5)
    world.controllers = [
        ControllerFact("batch/v1", "CronJob", "shop", "nightly", "another", created_at=AT - DAY)
    ]  # fmt: skip
    world.run()
    verdict = world.book.verdicts["shop/CronJob/nightly"]
    assert (verdict.side, verdict.runs, verdict.uid) == (Side.REGULAR, (), "another")


QUICK = msgspec.structs.replace(POLICY.idle, window=timedelta(minutes=30))
STRICT = msgspec.structs.replace(POLICY.idle, cpu_floor_cores=0.001, cpu_share_of_request=0.0)


def rule(name, workload, idle):
    return Rule(name=name, match=Match(names=(workload,)), idle=idle)


def test_each_workload_is_judged_by_its_rule_and_each_set_of_windows_is_one_sweep(world):
    asked = []
    sweep = world.sweep
    world.sweep = lambda policy: asked.append(policy) or sweep(policy)
    for name in ("nginx-demo", "quick", "strict"):
        world.deploy(name)
    policy = Policy(rules=(rule("quick", "quick", QUICK), rule("strict", "strict", STRICT)))
    report = world.run(5, policy)
    assert len(asked) == 5 * 2
    assert {a.window for a in asked} == {timedelta(minutes=60), timedelta(minutes=30)}
    assert report.queries == 26
    sides = {name: v.side for name, v in world.book.verdicts.items()}
    assert sides == {DEMO: Side.SPOT, "shop/Deployment/quick": Side.SPOT, "shop/Deployment/strict": Side.REGULAR}


def test_a_sweep_that_fails_leaves_only_its_own_workloads_unknown(world):
    sweep = world.sweep

    def fails_for_short_windows(policy):
        if policy.window < timedelta(hours=1):
            raise UsageUnavailable("too slow", code="timeout")
        return sweep(policy)

    world.sweep = fails_for_short_windows
    world.deploy("nginx-demo")
    world.deploy("quick")
    report = world.run(5, Policy(rules=(rule("quick", "quick", QUICK),)))
    assert (report.idle, report.unknown, report.usage_code, report.did_its_work) == (1, 1, "timeout", False)
    assert world.book.verdicts[DEMO].side is Side.SPOT


def test_the_clock_is_held_against_each_sweep_at_its_own_beginning(world):
    sweep = world.sweep

    def takes_half_a_minute(policy):
        found = sweep(policy)
        world.now += timedelta(seconds=25)
        return found

    world.sweep = takes_half_a_minute
    world.deploy("quick")
    slow = msgspec.structs.replace(POLICY.idle, window=timedelta(minutes=40))
    listed = (rule("a", "a", msgspec.structs.replace(QUICK, step=timedelta(seconds=30))), rule("b", "b", slow))
    report = world.run(1, Policy(rules=(*listed, rule("quick", "quick", QUICK))))
    assert report.unknown_reasons == {}


def test_pods_on_spot_beyond_the_share_are_counted(world):
    world.deploy("nginx-demo")
    up = world.pods[0].controller
    world.pods += [msgspec.structs.replace(world.pods[0], name=f"more-{i}", controller=up) for i in range(3)]
    world.pods = [msgspec.structs.replace(pod, node_name="spot-1") for pod in world.pods]
    world.controllers[0] = msgspec.structs.replace(world.controllers[0], replicas=4)
    spot = NodeFact("spot-1", {"karpenter.sh/capacity-type": "spot"})
    census = world.census
    world.census = lambda: msgspec.structs.replace(census(), nodes=(spot,))
    assert world.run(1, Policy(max_spot="50%")).over_max_spot == {DEMO: 2}
    assert world.run(1, Policy(max_spot="100%")).over_max_spot == {}


@pytest.mark.fault(37)
@pytest.mark.parametrize("hours", [-1, 1, -24 * 365])
def test_a_clock_that_steps_in_the_middle_of_a_run_turns_nobody(world, hours):
    world.deploy("nginx-demo")
    world.deploy("checkout", cpu_recent_cores=1.0, cpu_peak_cores=1.0)
    world.run(4)
    told = iter([world.now, *[world.now + timedelta(hours=hours)] * 9])
    report = monitor.run_once(world, world, world, POLICY, lambda: next(told))
    assert (report.unknown_reasons, report.changes) == ({"clock-skew": 2}, ())
    world.now += MINUTE
    assert world.run().idle == 1
