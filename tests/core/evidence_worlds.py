"""Worlds as Prometheus tells of them, answer by answer, for laws of evidence: mostly whole and idle, with few flaws.

An answer is kept as rows of labels and the text of a value, and goes through the real decoder, the real
join and the real judgement. So a law may take away, add, raise or reorder rows as a store would.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
from hypothesis import strategies as st

from tests.core.usage_builders import AT, DAY, KEY, POLICY
from webhook.adapters.usage_pods import ABOUT_PODS, Answered, untold_steps
from webhook.adapters.usage_signals import of_workloads, with_signals
from webhook.core.census import Census, ControllerFact, PodFact
from webhook.core.idleness import Judgement, judge
from webhook.core.model import ControllerRef, Resources
from webhook.core.policy import CustomSignal, IdlePolicy, SignalOf
from webhook.core.readings import expected_steps, running_steps
from webhook.core.usage import UsageSweep, by_workload
from webhook.wire.prometheus import decode_pod_vector, decode_vector
from webhook.wire.promql import SWEEP
from webhook.wire.promql_signals import signal_queries

MINUTE = timedelta(minutes=1)
OWNER = ControllerRef(kind="ReplicaSet", name="nginx-demo-7d9c5b8f6d")
OTHER_OWNER = ControllerRef(kind="ReplicaSet", name="somebody-else-5c7f")
BY_POD = CustomSignal(name="requests", query="requests", idle_below=1.0)
BY_WORKLOAD = CustomSignal(name="queue", query="queue", idle_below=5.0, active_above=7.0, of=SignalOf.WORKLOAD)

LIMITS = {"cpu": POLICY.cpu_floor_cores, "received": POLICY.received_bytes_per_second, "requests": 1.0, "queue": 5.0}
"""Idle below, by signal; every pod requests so little CPU that the floor holds."""

PEAKS = {
    "cpu": "cpuPeak",
    "received": "receivedPeak",
    "requests": "signals.requests.peak",
    "queue": "signals.queue.peak",
}
RECENTS = {
    "cpu": "cpuRecent",
    "received": "receivedRecent",
    "requests": "signals.requests.recent",
    "queue": "signals.queue.recent",
}
USE = {query: signal for table in (PEAKS, RECENTS) for signal, query in table.items()}
"""Queries whose values are use: the larger, the busier."""
POINTS = ("cpuPoints", "receivedPoints", "signals.requests.points", "signals.queue.points")
MEASURED = (*USE, *POINTS, "sampleTime")
"""What cAdvisor and the users' signals say. The rest is kube-state-metrics' roll of who was there at all."""


class Row(NamedTuple):
    labels: Mapping[str, str]
    value: str


class World(NamedTuple):
    """Answers by query's name, what the API server says, and the policy that all of it is judged by."""

    answers: Mapping[str, tuple[Row, ...]]
    census: Census
    policy: IdlePolicy

    def pods(self) -> tuple[str, ...]:
        """Every pod that either of them names."""
        told = {row.labels["pod"] for rows in self.answers.values() for row in rows if "pod" in row.labels}
        return tuple(sorted(told | {pod.name for pod in self.census.pods}))

    def rows(self, queries: Iterable[str]) -> list[tuple[str, Row]]:
        """The rows of these queries, each with its query's name."""
        return [(query, row) for query in queries for row in self.answers.get(query, ())]

    def each_row(self, change: Callable[[str, Row], Row | None]) -> "World":
        """The same world with every row changed, or left out where the change is None."""
        answers = {q: tuple(r for row in rows if (r := change(q, row)) is not None) for q, rows in self.answers.items()}
        return self._replace(answers=answers)

    def without(self, lost: Iterable[tuple[str, Row]]) -> "World":
        """The same world without some of its rows."""
        gone = [(query, row) for query, row in lost]
        return self.each_row(lambda query, row: None if (query, row) in gone else row)

    def with_row(self, query: str, row: Row) -> "World":
        """The same world with one row more, the last of its answer."""
        return self._replace(answers={**self.answers, query: (*self.answers[query], row)})

    def each_pod(self, change: Callable[[PodFact], PodFact | None]) -> "World":
        """The same world with other words of the API server; None for a pod that it does not know."""
        pods = tuple(p for pod in self.census.pods if (p := change(pod)) is not None)
        return self._replace(census=msgspec.structs.replace(self.census, pods=pods))


def proof(world: World, *, now: datetime = AT, evaluated_at: datetime = AT, answered_at: datetime = AT) -> Judgement:
    """What one run makes of a world, on the way that the monitor goes."""
    bodies = {query: _body(rows) for query, rows in world.answers.items()}
    answers = {query: decode_vector(body) for query, body in bodies.items() if query not in ABOUT_PODS}
    told = Answered()
    for query in bodies.keys() & ABOUT_PODS:
        told.take(query, decode_pod_vector(bodies[query]))
    policy = world.policy
    sweep = UsageSweep(
        evaluated_at=evaluated_at,
        answered_at=answered_at,
        pods=with_signals(told.pods(), answers, policy.signals),
        workloads=of_workloads(answers, policy.signals),
        untold_steps=untold_steps(answers["toldPoints"], evaluated_at, policy),
    )
    owners = {(KEY.namespace, OWNER.kind, OWNER.name): KEY, (KEY.namespace, KEY.kind, KEY.name): KEY}
    return judge(by_workload(world.census, sweep, owners=owners)[KEY], policy, now=now)


def _body(rows: Iterable[Row]) -> bytes:
    result = [{"metric": dict(row.labels), "value": [AT.timestamp(), row.value]} for row in rows]
    return msgspec.json.encode({"status": "success", "data": {"resultType": "vector", "result": result}})


# --- drawing them


@st.composite
def worlds(draw: st.DrawFn, *, flaws: tuple[int, int] = (0, 2)) -> World:
    """One workload with running pods, perhaps with others that are gone, and at least and at most so many flaws."""
    signals = draw(st.sampled_from([(), (BY_POD,), (BY_WORKLOAD,), (BY_POD, BY_WORKLOAD)]))
    policy = msgspec.structs.replace(POLICY, signals=signals)
    by_pod = ("cpu", "received", "requests")[: 3 if BY_POD in signals else 2]
    answers: dict[str, list[Row]] = {name: [] for name in (*SWEEP, *signal_queries(policy))}
    answers["toldPoints"].append(Row({}, "60"))
    low = draw(_low)
    if BY_WORKLOAD in signals:
        _tell(answers, "queue", {"namespace": "shop", "workload": KEY.name}, low, 60)
    pods = []
    for number in range(draw(st.integers(1, 3))):
        age = draw(st.sampled_from([DAY, DAY, DAY, 50 * MINUTE, 8 * MINUTE]))
        pods.append(_running(f"pod-{number}", started_at=AT - age))
        _tell_pod(draw, answers, pods[-1].name, (AT - age, AT), by_pod)
    for number in range(draw(st.integers(0, 2))):
        started_at = AT - draw(st.sampled_from([DAY, 45 * MINUTE]))
        ended_at = AT - draw(st.sampled_from([3, 30])) * MINUTE
        _tell_pod(draw, answers, f"gone-{number}", (started_at, ended_at), by_pod)
    owner = ControllerFact(
        namespace=KEY.namespace, api_version="apps/v1", kind=KEY.kind, name=KEY.name, uid="w", created_at=AT - 30 * DAY
    )
    census = Census(taken_at=AT, pods=tuple(pods), controllers=(owner,))
    world = World({query: tuple(rows) for query, rows in answers.items()}, census, policy)
    for _ in range(draw(st.integers(*flaws))):
        world = draw(st.sampled_from(FLAWS))(draw, world)
    return world


_low = st.sampled_from([0.0, 0.2, 0.97])
"""Use, as a share of what is idle below."""
_high = st.sampled_from([1.0, 1.5, 2.0, 40.0])


def _running(name: str, *, started_at: datetime) -> PodFact:
    return PodFact(
        namespace="shop",
        name=name,
        uid=f"uid-{name}",
        controller=OWNER,
        phase="Running",
        created_at=started_at,
        started_at=started_at,
        requests=Resources(cpu_cores=0.1),
    )


def _tell(answers: dict[str, list[Row]], signal: str, labels: Mapping[str, str], share: float, points: int) -> None:
    """One signal of one pod or workload: peak and recent alike, points as given; none where there are no points."""
    value = str(share * LIMITS[signal])
    answers[RECENTS[signal]].append(Row(labels, value))
    if points:
        answers[PEAKS[signal]].append(Row(labels, value))
        if signal != "cpu":
            answers[dict(zip(LIMITS, POINTS, strict=True))[signal]].append(Row(labels, str(points)))


def _tell_pod(
    draw: st.DrawFn, answers: dict[str, list[Row]], name: str, life: tuple[datetime, datetime], signals: tuple[str, ...]
) -> None:
    """A whole and idle pod, from its start to its end; who ends at ``AT`` runs on."""
    started_at, ended_at = life
    pod = {"namespace": "shop", "pod": name}
    told = pod | {"uid": f"uid-{name}"}
    low = draw(_low)
    lost_since = running_steps(ended_at, AT, POLICY) if ended_at < AT else 0
    expected = max(0, expected_steps(started_at, AT, POLICY) - lost_since)
    answers["startTime"].append(Row(told, repr(started_at.timestamp())))
    answers["runningPoints"].append(Row(told, str(running_steps(started_at, AT, POLICY) - lost_since)))
    answers["owner"].append(Row(told | {"owner_kind": OWNER.kind, "owner_name": OWNER.name}, "1"))
    if ended_at == AT:
        answers["sampleTime"].append(Row(pod, repr(AT.timestamp() - draw(st.sampled_from([5, 100])))))
    if expected:
        answers["expectedPoints"].append(Row(told, str(expected)))
    for container in draw(st.sampled_from([("app",), ("app", "sidecar")])):
        answers["containers"].append(Row(pod | {"container": container}, "1"))
        if expected:
            answers["cpuPoints"].append(Row(pod | {"container": container}, str(expected)))
    for signal in signals:
        _tell(answers, signal, pod, low, expected)


# --- flaws: what keeps a workload from being idle, or only seems to


def _one_of(rows: list[tuple[str, Row]]) -> st.SearchStrategy[tuple[str, Row] | None]:
    return st.sampled_from(rows) if rows else st.none()


def _running_one(world: World) -> st.SearchStrategy[str]:
    """The name of a pod that runs; empty where none does."""
    return st.sampled_from([pod.name for pod in world.census.pods] or [""])


def busy(draw: st.DrawFn, world: World) -> World:
    """A peak is at or above the border of idle: it was busy in the window."""
    return _raised(draw, world, PEAKS)


def awake(draw: st.DrawFn, world: World) -> World:
    """A recent value is at or above that border, and no peak shows it yet: it woke after the last step."""
    return _raised(draw, world, RECENTS)


def _raised(draw: st.DrawFn, world: World, table: Mapping[str, str]) -> World:
    chosen = draw(_one_of(world.rows(table.values())))
    if chosen is None:
        return world
    query, row = chosen
    high = Row(row.labels, str(draw(_high) * LIMITS[USE[query]]))
    return world.each_row(lambda q, r: high if (q, r) == (query, row) else r)


def gap(draw: st.DrawFn, world: World) -> World:
    """Some steps of a signal have no value."""
    chosen = draw(_one_of(world.rows(POINTS)))
    if chosen is None:
        return world
    query, row = chosen
    fewer = Row(row.labels, str(max(0, int(float(row.value)) - draw(st.integers(1, 30)))))
    return world.each_row(lambda q, r: fewer if (q, r) == (query, row) else r)


def away(draw: st.DrawFn, world: World) -> World:
    """Neither exporter told of a running pod for some steps: what is seen and what is owed shrink alike."""
    name, steps = draw(_running_one(world)), draw(st.integers(1, 30))

    def fewer(query: str, row: Row) -> Row:
        mine = row.labels.get("pod") == name and query in {*POINTS, "expectedPoints", "runningPoints"}
        return Row(row.labels, str(max(0, int(row.value) - steps))) if mine else row

    return world.each_row(fewer)


def lost(draw: st.DrawFn, world: World) -> World:
    """A row is not there."""
    chosen = draw(_one_of(world.rows(MEASURED)))
    return world.without([chosen] if chosen else [])


def untold(draw: st.DrawFn, world: World) -> World:
    """kube-state-metrics was away for some steps."""
    told = Row({}, str(draw(st.integers(0, 59))))
    return world._replace(answers={**world.answers, "toldPoints": (told,)})


def stranger(draw: st.DrawFn, world: World) -> World:
    """The figures of a running pod are of another UID."""
    name = draw(_running_one(world))

    def renamed(_: str, row: Row) -> Row:
        mine = row.labels.get("pod") == name and "uid" in row.labels
        return Row({**row.labels, "uid": "uid-elsewhere"}, row.value) if mine else row

    return world.each_row(renamed)


def stale(draw: st.DrawFn, world: World) -> World:
    """The last samples of all are old, or from the future."""
    when = repr(AT.timestamp() - draw(st.sampled_from([121, 900, -31])))
    return world.each_row(lambda query, row: Row(row.labels, when) if query == "sampleTime" else row)


def newborn(draw: st.DrawFn, world: World) -> World:
    """The workload is younger than the window."""
    age = draw(st.sampled_from([MINUTE, 59 * MINUTE]))
    young = tuple(msgspec.structs.replace(c, created_at=AT - age) for c in world.census.controllers)
    return world._replace(census=msgspec.structs.replace(world.census, controllers=young))


def unscraped(draw: st.DrawFn, world: World) -> World:
    """Prometheus knows nothing of a running pod."""
    name = draw(_running_one(world))
    return world.each_row(lambda _, row: None if name and row.labels.get("pod") == name else row)


def restarted(draw: st.DrawFn, world: World) -> World:
    """A container of a pod began anew."""
    chosen = draw(_one_of(world.rows(["startTime"])))
    pod = {key: chosen[1].labels[key] for key in ("namespace", "pod")} if chosen else {}
    return world.with_row("restarts", Row(pod, "1")) if pod else world


def asleep(_: st.DrawFn, world: World) -> World:
    """Scaled to zero: who ran has just gone."""
    return world.each_pod(lambda _: None)


FLAWS = (busy, awake, awake, gap, away, lost, untold, stranger, stale, newborn, unscraped, restarted, asleep)
