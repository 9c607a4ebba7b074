"""Days of a cluster in seconds: every minute the monitor's run, on a load and in a weather that are given by a seed.

The verdicts, the plan, the steps of each move, the book and the webhook's answers are those of the program. A run of the
mover in which nothing can have changed since the last one is left out; ``every`` leaves out nothing, and a test shows
that both come to the same.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from webhook.core import planning, rules
from webhook.core.book import Book
from webhook.core.idleness import Code
from webhook.core.model import Side, Value, Verdict
from webhook.core.moves import Finished, InFlight, Step
from webhook.core.policy import Mode, Policy
from webhook.core.scene import World
from webhook.errors import ClusterError
from webhook.jobs import mover
from webhook.jobs.mover import MoveReport
from webhook.simulation.api import Api, Crash, calm
from webhook.simulation.cluster import START, Cluster
from webhook.simulation.evidence import MINUTE, Track, blinded
from webhook.simulation.looks import Looks
from webhook.simulation.monitor import Monitor, Watched
from webhook.simulation.objects import DeploymentSpec, NodeSpec
from webhook.simulation.sleep import CONTENT, Level, Sleep
from webhook.simulation.weather import CALM, Forecast, Troubles, Weather

WARM_UP_SECONDS = 7_200.0
"""Before the load begins, so that no pod is young."""
_NODE_CORES = 16.0
_MOST_REST_MINUTES = 3 * 1_440
"""How long a run may go on after its load ended, until nothing is left to move."""
Progress = Callable[[float], None]
"""Told the share that is done, 0..1, now and then."""


class Scenario(Value, frozen=True):
    """The load, and the weather that it meets."""

    tracks: tuple[Track, ...]
    weather: Weather = CALM


@dataclass(slots=True)
class Story:
    """What came of it: the cluster with its record, and what the runs said.

    ``held`` counts workload-minutes by the code of what held the workload, ``unknown`` those in which nothing could be
    said of it, by the code of why. ``on_unknown`` are moves to spot that began
    while the evidence was not idle, or not whole. ``at_rest_after`` is in minutes since the load ended, None where it
    never came to rest.
    """

    cluster: Cluster
    tracks: Sequence[Track]
    start: datetime
    minutes: int
    finished: list[Finished] = field(default_factory=list)
    started: list[InFlight] = field(default_factory=list)
    on_unknown: list[InFlight] = field(default_factory=list)
    held: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    weather: Counter[str] = field(default_factory=Counter)
    runs: Counter[int] = field(default_factory=Counter)
    at_rest_after: int | None = None
    turns_to_spot: int = 0


def tell(
    scenario: Scenario, policy: Policy, seed: int, *, every: bool = False, progress: Progress | None = None
) -> Story:
    """Play the scenario to its end, and on until nothing moves any more; the mode counts as `move`.

    The same scenario, policy and seed tell the same story to the last pod.
    """
    return _Play(scenario, policy, seed, every=every).through(progress)


class _Play:
    def __init__(self, scenario: Scenario, policy: Policy, seed: int, *, every: bool) -> None:
        self._policy = policy = msgspec.structs.replace(policy, mode=Mode.MOVE)
        self._cluster = cluster = _settled(scenario.tracks, policy, seed)
        minutes = max((track.minutes for track in scenario.tracks), default=0)
        forecast = Forecast(scenario.weather, cluster, minutes=minutes, seed=str(seed))
        tracks = [blinded(track, forecast.outages[: track.minutes]) for track in scenario.tracks]
        self._story = Story(cluster, tracks, start=cluster.now(), minutes=minutes)
        self._story.weather += Counter(what for _, what in forecast.happened)
        self._troubles = Troubles(scenario.weather, str(seed))
        self._monitor = Monitor(
            cluster, [_watched(track, cluster, policy) for track in tracks], policy, forecast.outages
        )
        self._every, self._began = every, cluster.seconds
        self._sleep, self._looks = Sleep(cluster, self._monitor), Looks(cluster, policy)
        self._held: dict[str, int] = {}

    def through(self, progress: Progress | None) -> Story:
        """The whole of it."""
        story = self._story
        for at in range(story.minutes):
            self._minute(at)
            if progress is not None and at % 60 == 0:
                progress(at / story.minutes)
        story.turns_to_spot = self._monitor.turns_to_spot
        for at in range(story.minutes, story.minutes + _MOST_REST_MINUTES):
            if self._is_at_rest():
                story.at_rest_after = at - story.minutes
                break
            self._minute(at)
        if progress is not None:
            progress(1.0)
        return story

    def _minute(self, at: int) -> None:
        cluster, monitor = self._cluster, self._monitor
        cluster.advance(self._began + at * MINUTE - cluster.seconds)
        monitor.run(at, every=self._every)
        monitor.learn(cluster.book.control.finished)
        self._beat()
        level = Level.PLAN if self._every else self._sleep.level()
        if level is not Level.NONE:
            self._move(at, level)
        if at < self._story.minutes:
            self._story.held.update(self._held)
            self._story.unknown.update(monitor.unknown)

    def _beat(self) -> None:
        """The book as this run leaves it, before anything moves."""
        cluster, monitor, now = self._cluster, self._monitor, self._cluster.now()
        world = self._looks.nobody(wants_spot=monitor.wants_spot)
        control = msgspec.structs.replace(planning.refreshed(world), heartbeat=now, sanity=monitor.sanity)
        cluster.write_book(Book(control=control, verdicts=dict(monitor.verdicts)))

    def _move(self, at: int, level: Level) -> None:
        story, cluster = self._story, self._cluster
        story.runs[level] += 1
        api = Api(cluster, trouble=self._troubles.of_run(at) if at < story.minutes else calm)
        cluster.begin_run()
        world = self._world(level)
        if level is Level.PLAN:
            self._sleep.before()
        try:
            report = mover.run(api.deps(), world)
        except Crash:
            story.weather["crash"] += 1
            self._sleep.wake()
        except ClusterError:
            story.weather["failed run"] += 1
            self._sleep.wake()
        else:
            self._note(report, level)
            self._sleep.after(report, world.at(cluster.book.control, cluster.now()), level)
        cluster.end_run()
        story.weather["failed call"] += api.struck

    def _world(self, level: Level) -> World:
        if self._every:
            return self._cluster.world()
        wants_spot = self._monitor.wants_spot
        if level is Level.PLAN:
            return self._looks.world(wants_spot=wants_spot)
        return self._looks.following(
            [move.workload for move in self._cluster.book.control.moves], wants_spot=wants_spot
        )

    def _note(self, report: MoveReport, level: Level) -> None:
        story = self._story
        story.started += report.started
        story.finished += report.finished
        story.on_unknown += [one for one in report.started if self._is_unproven(one)]
        if level is Level.PLAN:
            self._held = {code: number for code, number in report.considered.items() if code not in CONTENT}

    def _is_unproven(self, move: InFlight) -> bool:
        """Whether a move to spot began on less than idleness; to free what waits for an old demand is none."""
        return (
            move.to is Side.SPOT
            and move.step is Step.ANNOUNCED
            and self._monitor.code_of(move.workload) is not Code.IDLE
        )

    def _is_at_rest(self) -> bool:
        cluster = self._cluster
        return (
            not cluster.book.control.moves
            and cluster.next_event_in is None
            and self._sleep.is_for_good
            and all(found.available == found.replicas == found.spec.replicas for found in cluster.deployments.values())
        )


def _settled(tracks: Sequence[Track], policy: Policy, seed: int) -> Cluster:
    """A cluster with room for everybody on regular nodes and for nearly as much on spot, and all pods long Ready.

    Spot nodes carry a taint, so that what is there was sent there.
    """
    cluster = Cluster(policy, seed=seed, start=START - timedelta(seconds=WARM_UP_SECONDS))
    cores = sum(track.replicas * track.requests.cpu_cores for track in tracks)
    memory = max((track.requests.memory_bytes for track in tracks), default=0.0)
    regular, spot = (max(3, round(cores * share / _NODE_CORES) + 1) for share in (1.6, 1.2))
    size = {"cpu_cores": _NODE_CORES, "memory_bytes": 160 * max(memory, 2.0**30)}
    for number in range(regular):
        cluster.add_node(NodeSpec(f"regular-{number:02}", **size))  # type: ignore[arg-type]
    for number, track in enumerate(tracks):
        cluster.add_deployment(_deployment(track, number))
    cluster.advance(WARM_UP_SECONDS / 2)
    for number in range(spot):
        cluster.add_node(NodeSpec(f"spot-{number:02}", spot=True, tainted=True, **size))  # type: ignore[arg-type]
    cluster.advance(WARM_UP_SECONDS / 2)
    return cluster


def _deployment(track: Track, number: int) -> DeploymentSpec:
    """Every fourth workload with several replicas has a disruption budget of one pod."""
    return DeploymentSpec(
        namespace=track.key.namespace,
        name=track.key.name,
        replicas=track.replicas,
        requests=track.requests,
        max_unavailable_pods="1" if number % 4 == 3 and track.replicas > 1 else "",
    )


def _watched(track: Track, cluster: Cluster, policy: Policy) -> Watched:
    rule = rules.first(policy, track.key, labels={}, namespace_labels={})
    verdict = Verdict(key=track.key, uid=cluster.deployments[track.key].uid)
    return Watched(track, rules.idle_policy(policy, rule), verdict)
