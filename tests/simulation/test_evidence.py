"""The short way to a minute's evidence says what the real judgement says of the same usage."""

from datetime import UTC, datetime, timedelta
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.core.census import PodFact
from webhook.core.idleness import Code, judge
from webhook.core.model import Resources, WorkloadKey
from webhook.core.policy import IdlePolicy
from webhook.core.readings import expected_steps, running_steps
from webhook.core.usage import PodLife, PodUsage, RunningPod, WorkloadUsage
from webhook.simulation.evidence import JUDGEMENTS, Ranges, Track, View, changes, code_at, masks, next_change

POLICY = IdlePolicy()
RANGES = Ranges.of(POLICY)
START = datetime(2026, 3, 2, tzinfo=UTC)
KEY = WorkloadKey("shop", "Deployment", "web")
BELOW = 0.01


def make_track(levels, gap=b""):
    return Track(
        key=KEY,
        replicas=1,
        requests=Resources(),
        busy=bytes(len(levels)),
        gap=gap or bytes(len(levels)),
        **masks(levels, POLICY),
    )


def usage_of(name, begin, end, levels, at):
    """What Prometheus would tell at minute ``at`` of a pod of these minutes, worked out the long way."""
    now, born = START + timedelta(minutes=at), START + timedelta(seconds=begin)
    last = at if end is None else int(end // 60)
    dead_for = at - last

    def rate(step, width):
        return BELOW * sum(levels[max(0, step - width) : step]) / width

    whole = expected_steps(born, now, POLICY), running_steps(born, now, POLICY)
    owed, ran = (max(0, n - dead_for) for n in whole)
    steps = range(last - owed + 1, last + 1)
    peak = max((rate(step, 5) for step in steps), default=None)
    return PodUsage(
        namespace="shop",
        name=name,
        lives={f"uid-{name}": PodLife(expected_points=owed, running_points=ran)},
        cpu_peak_cores=peak,
        cpu_recent_cores=rate(at, 4) if end is None else None,
        cpu_points=owed,
        received_peak_bytes_per_second=0.0 if owed else None,
        received_recent_bytes_per_second=0.0,
        received_points=owed,
        expected_points=owed,
        running_points=ran,
        started_at=born,
        last_sample_at=now,
    )


def really(levels, lives, at):
    now = START + timedelta(minutes=at)
    running, gone = [], []
    for number, (begin, end) in enumerate(lives):
        name = f"web-{number}"
        usage = usage_of(name, begin, end, levels, at)
        born = START + timedelta(seconds=begin)
        pod = PodFact(namespace="shop", name=name, uid=f"uid-{name}", phase="Running", started_at=born)
        (running if end is None else gone).append(RunningPod(pod=pod, usage=usage) if end is None else usage)
    told = WorkloadUsage(
        key=KEY,
        evaluated_at=now,
        answered_at=now,
        created_at=START - timedelta(days=9),
        running=tuple(running),
        gone=tuple(one for one in gone if one.running_points),
    )
    return judge(told, POLICY, now=now)


def levels_of(rng, minutes):
    levels = [rng.uniform(0, 0.5) for _ in range(minutes)]
    for _ in range(rng.randrange(4)):
        begin, height = rng.randrange(minutes), rng.choice([1.2, 1.8, 3.0, 20.0])
        for minute in range(begin, min(minutes, begin + rng.choice([1, 3, 10, 40]))):
            levels[minute] = height
    return levels


def lives_of(rng, at):
    """Pods that follow each other, each alone or side by side with the next for a while."""
    found, begin = [], -90_000.0
    for _ in range(rng.randrange(4)):
        end = rng.uniform(max(begin, 0), at * 60)
        found.append((begin, end))
        begin = end - rng.choice([0, 30, 90])
    return (*found, (begin, None))


@given(seed=st.integers(0, 2**32))
def test_it_says_what_the_real_judgement_says(seed):
    rng = Random(seed)
    levels, at = levels_of(rng, 260), rng.randrange(61, 260)
    lives = lives_of(rng, at)
    ours, theirs = code_at(make_track(levels), at, RANGES, View(lives=lives)), really(levels, lives, at)
    assert JUDGEMENTS[ours].evidence is theirs.evidence, (ours, theirs)
    assert JUDGEMENTS[ours].measured is theirs.measured, (ours, theirs)


@given(seed=st.integers(0, 2**32))
def test_pods_that_are_all_old_need_no_look(seed):
    rng = Random(seed)
    track, at = make_track(levels_of(rng, 260)), rng.randrange(61, 260)
    assert code_at(track, at, RANGES, View()) is code_at(track, at, RANGES, View(lives=((-90_000.0, None),)))


@given(seed=st.integers(0, 2**32))
def test_between_two_changes_it_says_the_same(seed):
    rng = Random(seed)
    levels = levels_of(rng, 400)
    gap = bytearray(400)
    for _ in range(rng.randrange(3)):
        begin = rng.randrange(400)
        gap[begin : begin + 5] = b"\x01" * min(5, 400 - begin)
    track = make_track(levels, bytes(gap))
    at_change = set(changes(track, RANGES))
    codes = [code_at(track, at, RANGES, View()) for at in range(401)]
    assert {at for at in range(1, 401) if codes[at] is not codes[at - 1]} <= at_change


def crowd_of(rng, at):
    """Pods of any number and age, some of them gone; none came or went after ``at``."""
    found = []
    for _ in range(rng.randrange(6)):
        begin = rng.choice([-90_000.0, rng.uniform(at * 60 - 5_400, at * 60)])
        found.append((begin, rng.choice([None, rng.uniform(max(begin, at * 60 - 5_400), at * 60)])))
    return tuple(found)


@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.5, 0.8, 0.9, 0.95, 1.0]))
def test_before_the_next_change_of_track_or_pods_it_says_the_same(seed, share):
    rng = Random(seed)
    ranges = msgspec.structs.replace(RANGES, min_coverage=share)
    track, at = make_track(levels_of(rng, 400)), rng.randrange(61, 300)
    lives = crowd_of(rng, at)
    code, of_track = code_at(track, at, ranges, View(lives=lives)), [c for c in changes(track, ranges) if c > at]
    until = min([*of_track, next_change(lives, at, ranges) or 400, 400])
    assert until > at
    for later in range(at, until):
        assert code_at(track, later, ranges, View(lives=lives)) is code, later


@pytest.mark.parametrize(
    ("lives", "code"),
    [
        (((-90_000.0, None),), Code.IDLE),
        (((-90_000.0, 9_000.0),), Code.NO_PODS),
        (((-90_000.0, 6_000.0), (8_000.0, None)), Code.NO_PODS),
        (((-90_000.0, None), (9_900.0, None), (9_900.0, None), (9_900.0, None)), Code.COVERAGE),
    ],
)
def test_what_the_pods_lives_leave_unseen_is_unknown(lives, code):
    assert code_at(make_track([0.1] * 200), 180, RANGES, View(lives=lives)) is code


def test_a_prometheus_that_is_away_tells_nothing_and_its_gap_is_seen_for_a_window():
    outage = bytes(100) + b"\x01" * 5 + bytes(200)
    track = make_track([0.1] * 305, gap=outage)
    assert code_at(track, 102, RANGES, View(is_blind=True)) is Code.NO_USAGE
    assert code_at(track, 110, RANGES, View()) is Code.GAP
    assert code_at(track, 164, RANGES, View()) is Code.GAP
    assert code_at(track, 165, RANGES, View()) is Code.IDLE
