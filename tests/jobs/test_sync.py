"""The snapshot is kept through any trouble, written when something changed, and never emptied."""

import logging
import threading
from datetime import timedelta

import msgspec
import pytest

from tests.builders import NOW, make_verdict
from tests.core.test_inventory import WEB, shop
from tests.parts.processes import wait_for
from webhook import errors
from webhook.adapters import snapshots
from webhook.core.book import Book, Control
from webhook.core.load import Recent
from webhook.core.model import Resources, UseRatio
from webhook.core.policy import Mode, Policy
from webhook.core.usage import NodeSample, NodeUsage, PodHabits, PodsUse
from webhook.jobs.sync import Sync, SyncDeps, SyncSettings, SyncStatus, capture, run


class FakeWatched:
    """A cluster and a book in one: the world a test describes."""

    def __init__(self):
        self.census_now, self.book_now = shop(), Book(control=Control(heartbeat=NOW))
        self.generation, self.synced, self.started, self.stopped = 0, True, 0, 0
        self.error: Exception | None = None

    def start(self):
        self.started += 1

    def stop(self):
        self.stopped += 1

    def census(self):
        if self.error:
            raise self.error
        return self.census_now

    def read(self):
        return self.book_now

    def change(self, **changes):
        self.census_now = msgspec.structs.replace(self.census_now, **changes)
        self.generation += 1


class FakeUsage:
    def __init__(self):
        self.cpu_cores, self.asked, self.error = 1.0, 0, None
        self.pod_cores, self.asked_pods = 0.25, 0
        self.pod_habit, self.asked_habits, self.habits_error = None, 0, None

    def node_usage(self, policy):
        self.asked += 1
        if self.error:
            raise self.error
        sample = NodeSample(node="s1", cpu_cores=self.cpu_cores, memory_bytes=1e9, sampled_at=NOW, source="test")
        return NodeUsage(nodes=(sample,), match_rate=0.95)

    def pod_use(self, policy):
        self.asked_pods += 1
        if self.error:
            raise self.error
        return PodsUse(NOW, {("shop", "p1"): (self.pod_cores, 1e8)})

    def pod_habits(self, policy):
        self.asked_habits += 1
        if self.habits_error:
            raise self.habits_error
        return PodHabits(NOW, {("shop", "p1"): (self.pod_habit, 1e8)} if self.pod_habit else {})


class Scene:
    def __init__(self, folder, **more):
        self.world, self.usage, self.time, self.policy = FakeWatched(), FakeUsage(), NOW, Policy()
        self.folder, self.status, self.policy_error = folder, SyncStatus(), None
        self.deps = SyncDeps(
            cluster=self.world,
            book=self.world,
            snapshots=snapshots.DirectoryWriter(folder),
            load_policy=self.load_policy,
            clock=lambda: self.time,
            usage=self.usage,
            **more,
        )
        self.sync = Sync(self.deps, SyncSettings(), self.status)

    def load_policy(self):
        if self.policy_error:
            raise self.policy_error
        return self.policy

    def look(self, *, after: float = 1.0) -> bool:
        self.time += timedelta(seconds=after)
        return self.sync.look()

    def written(self):
        return snapshots.load(self.folder)


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path / "snapshot")


def test_the_first_look_writes_a_whole_snapshot(scene):
    assert scene.look()
    found = scene.written()
    assert set(found.nodes) == {"s1", "r1"}
    assert WEB in found.workloads
    assert found.meta.book_heartbeat == NOW
    assert found.meta.versions["kubernetes"] == "v1.37.2"
    assert scene.status.snapshot is not None


def test_before_everything_was_read_nothing_is_written(scene):
    scene.world.synced = False
    assert not scene.look()
    assert scene.status.snapshot is None


def test_nothing_is_written_while_nothing_changes_but_meta_shows_that_we_live(scene):
    assert scene.look()
    parts = {file.name for file in scene.folder.iterdir()}
    assert not scene.look()
    assert not scene.look(after=10)
    assert scene.look(after=5)
    assert {file.name for file in scene.folder.iterdir()} == parts
    scene.world.change(namespaces=())
    assert scene.look()
    assert scene.written().namespaces == {}


@pytest.mark.fault(41)
def test_with_the_api_server_away_the_last_snapshot_stays(scene, caplog):
    caplog.set_level(logging.WARNING)
    scene.look()
    before = scene.written()
    scene.world.error = errors.ClusterUnavailable("connection refused")
    for _ in range(5):
        assert not scene.look(after=60)
    assert scene.written().meta == before.meta
    assert set(scene.written().workloads) == set(before.workloads)
    assert [r.message for r in caplog.records] == ["trouble"]
    assert scene.status.problems == {"cluster": "connection refused"}
    scene.world.error = None
    assert scene.look()
    assert scene.status.problems == {}


@pytest.mark.fault(29)
def test_without_prometheus_the_last_node_load_stays_with_its_own_time(scene):
    scene.sync.poll_load()
    scene.look()
    scene.usage.error = errors.UsageUnavailable("down")
    scene.sync.poll_load()
    scene.look(after=60)
    load = scene.written().nodes["s1"].load
    assert (load.cpu_cores, load.sampled_at) == (1.0, NOW)
    assert scene.status.problems == {"usage": "down"}
    scene.usage.error, scene.usage.cpu_cores = None, 2.0
    scene.sync.poll_load()
    assert scene.look()
    assert scene.written().nodes["s1"].load.cpu_cores == 2.0
    assert scene.status.problems == {}


def grown():
    """The shop's pods, an hour old."""
    old = NOW - timedelta(hours=1)
    facts = {"started_at": old, "ready_at": old, "requests": Resources(cpu_cores=0.5, memory_bytes=1e8)}
    return tuple(msgspec.structs.replace(pod, **facts) for pod in shop().pods)


def part(scene, name):
    return next(scene.folder.glob(f"{name}-*.ndjson")).read_bytes()


def test_what_pods_use_reaches_workload_namespace_and_node(scene):
    scene.world.change(pods=grown())
    # The first habits are joined soon.
    assert scene.sync.poll_pods() == SyncSettings().load_seconds
    assert scene.sync.poll_pods() == SyncSettings().pods_seconds
    scene.sync.poll_load()
    scene.look()
    found = scene.written()
    assert (found.workloads[WEB].use.cpu_cores, found.workloads[WEB].use.pods) == (0.25, 1)
    assert found.namespaces["shop"].use_ratio == UseRatio(cpu=0.5, memory=1.0)
    assert found.nodes["s1"].load.namespaces["shop"] == Resources(cpu_cores=0.25, memory_bytes=1e8)
    assert found.meta.load_match_rate == 0.95
    assert found.bound == {}


@pytest.mark.fault(29)
def test_without_prometheus_the_last_use_and_match_rate_stay(scene):
    scene.world.change(pods=grown())
    scene.sync.poll_pods()
    scene.sync.poll_load()
    scene.look()
    scene.usage.error = errors.UsageUnavailable("down")
    assert scene.sync.poll_pods() == SyncSettings().load_seconds
    scene.sync.poll_load()
    scene.look(after=60)
    assert scene.written().workloads[WEB].use.cpu_cores == 0.25
    assert scene.written().meta.load_match_rate == 0.95
    assert scene.status.problems == {"usage": "down", "podUse": "down"}
    scene.usage.error = None
    scene.sync.poll_pods()
    assert scene.status.problems == {"usage": "down"}


@pytest.mark.fault(29)
def test_a_sync_that_starts_again_without_prometheus_has_the_last_load(scene, tmp_path):
    scene.world.change(pods=grown())
    scene.sync.poll_pods()
    scene.sync.poll_load()
    scene.look()
    before = scene.written()
    again = Scene(tmp_path / "again", previous=before)
    again.world.census_now = scene.world.census_now
    again.usage.error = errors.UsageUnavailable("down")
    again.sync.poll_load()
    again.sync.poll_pods()
    assert again.look()
    found = again.written()
    assert (found.nodes, found.namespaces, found.workloads) == (before.nodes, before.namespaces, before.workloads)
    assert found.meta.load_match_rate == 0.95


def test_nodes_are_written_anew_by_a_load_alone_and_who_was_bound_each_second(scene):
    scene.world.change(pods=grown())
    scene.sync.poll_pods()
    scene.sync.poll_load()
    scene.look()
    nodes = part(scene, "nodes")
    came = msgspec.structs.replace(grown()[0], name="p9", uid="uid-p9", started_at=None, ready=False, phase="Pending")
    scene.world.change(pods=(*grown(), came))
    scene.usage.pod_cores = 0.5
    scene.sync.poll_pods()
    assert scene.look()
    assert set(scene.written().bound) == {"uid-p9"}
    assert scene.written().bound["uid-p9"].expected.cpu_cores == 0.25
    assert (part(scene, "nodes"), scene.written().workloads[WEB].use.cpu_cores) == (nodes, 0.25)
    scene.sync.poll_load()
    scene.usage.cpu_cores = 2.0
    scene.sync.poll_load()
    scene.look()
    assert scene.written().nodes["s1"].load.namespaces["shop"].cpu_cores == 0.5
    assert scene.written().workloads[WEB].use.cpu_cores == 0.5


def test_more_new_pods_than_are_counted_one_by_one_are_told_once(scene, caplog, monkeypatch):
    monkeypatch.setattr("webhook.core.load.recent", lambda *_: Recent((), 3))
    caplog.set_level(logging.WARNING)
    scene.sync.poll_load()
    scene.look()
    scene.look(after=20)
    assert [record.pods for record in caplog.records] == [3]
    assert scene.written().meta.bound_left_out == 3


def test_a_changed_policy_takes_effect_and_a_bad_file_leaves_the_last_good_one(scene, caplog):
    scene.look()
    scene.policy = Policy(mode=Mode.INJECT, pause=("injection",))
    assert not scene.look(after=1)
    assert scene.look(after=5)
    assert scene.written().meta.policy == scene.policy
    caplog.set_level(logging.WARNING)
    scene.policy_error = errors.ConfigurationError(["mode: 'jump'; expected observe", "pause: 3; expected a list"])
    for _ in range(3):
        scene.look(after=6)
    assert scene.written().meta.policy.mode is Mode.INJECT
    assert len(caplog.records) == 1
    assert "pause: 3" in scene.status.problems["policy"]
    scene.policy_error = None
    scene.look(after=6)
    assert scene.status.problems == {}


def test_a_first_policy_that_is_bad_is_the_operators_to_mend(tmp_path):
    scene = Scene(tmp_path)
    scene.policy_error = errors.ConfigurationError(["mode: 'jump'; expected observe"])
    with pytest.raises(errors.ConfigurationError):
        Sync(scene.deps, SyncSettings(), SyncStatus())


@pytest.mark.fault(46)
def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    scene = Scene(blocked)
    assert not scene.look()
    assert "snapshot" in scene.status.problems
    blocked.unlink()
    assert scene.look()
    assert scene.status.problems == {}


def test_a_clock_that_is_set_back_stops_nothing(scene):
    scene.look()
    scene.policy = Policy(mode=Mode.INJECT)
    assert scene.look(after=-3600)
    assert scene.written().meta.policy.mode is Mode.INJECT


def test_a_rise_is_seen_from_one_look_to_the_next_and_over_a_restart(scene, tmp_path):
    scene.look()
    taller = tuple(
        msgspec.structs.replace(c, replicas=5) if c.kind == "Deployment" else c
        for c in scene.world.census_now.controllers
    )
    scene.world.change(controllers=taller, taken_at=NOW + timedelta(minutes=1))
    scene.look()
    assert scene.written().workloads[WEB].risen_at == NOW + timedelta(minutes=1)
    again = Scene(tmp_path / "again", previous=scene.written())
    again.world.census_now = scene.world.census_now
    again.look()
    assert again.written().workloads[WEB].risen_at == NOW + timedelta(minutes=1)


def test_the_loop_starts_its_watches_polls_load_beside_and_stops_them(scene):
    stop = threading.Event()
    settings = SyncSettings(refresh_seconds=0.01, load_seconds=0.01)
    loop = threading.Thread(target=run, args=(scene.deps, settings, stop, scene.status), daemon=True)
    loop.start()
    wait_for(lambda: scene.usage.asked > 2 and scene.status.snapshot is not None, 10, "a snapshot and a few polls")
    assert scene.world.started == 2
    stop.set()
    loop.join(10)
    assert not loop.is_alive()
    assert scene.world.stopped == 2


def test_a_slow_prometheus_holds_up_no_snapshot(scene):
    stop, answer = threading.Event(), threading.Event()
    scene.usage.node_usage = lambda policy: answer.wait(30)
    settings = SyncSettings(refresh_seconds=0.01)
    loop = threading.Thread(target=run, args=(scene.deps, settings, stop, scene.status), daemon=True)
    loop.start()
    try:
        wait_for(lambda: scene.status.snapshot is not None, 10, "a snapshot")
    finally:
        stop.set()
        answer.set()
        loop.join(10)


def test_one_capture_holds_all_and_its_now_is_its_own(scene):
    uid = next(c.uid for c in scene.world.census_now.controllers if c.kind == "Deployment")
    verdict = msgspec.structs.replace(make_verdict(WEB), uid=uid)
    scene.world.book_now = Book(control=Control(heartbeat=NOW), verdicts={str(WEB): verdict})
    later = NOW + timedelta(hours=1)
    found = capture(scene.world, scene.world, Policy(), now=later, versions={"prometheus": "3.9"}, usage=scene.usage)
    assert found.meta.captured_at == later
    assert found.meta.versions.items() >= {("prometheus", "3.9"), ("kubernetes", "v1.37.2")}
    assert found.workloads[WEB].verdict == verdict
    assert found.nodes["s1"].load.cpu_cores == 1.0
    scene.usage.error = errors.UsageUnavailable("down")
    assert capture(scene.world, scene.world, Policy(), now=later, usage=scene.usage).nodes["s1"].load is None


def test_a_capture_keeps_its_census_where_it_is_asked_to_without_what_annotations_may_hold(scene):
    secret = {"kubectl.kubernetes.io/last-applied-configuration": "password", "spot-balancer.io/move": "never"}
    owners = tuple(msgspec.structs.replace(c, annotations=secret) for c in scene.world.census_now.controllers)
    scene.world.change(controllers=owners)
    plain = capture(scene.world, scene.world, Policy(), now=NOW)
    found = capture(scene.world, scene.world, Policy(), now=NOW, keeps_census=True)
    assert plain.census is None
    assert (found.census.taken_at, found.census.pods) == (NOW, scene.world.census_now.pods)
    assert {key for fact in found.census.controllers for key in fact.annotations} == {"spot-balancer.io/move"}
