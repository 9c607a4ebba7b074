"""`pause`, `resume`, `status` and `history`: what they print, what they change, and what they say when they cannot. A long table of each."""

import json
import os
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.adapters.fake_apiserver import NODES, PODS, FakeApiServer, Fault
from tests.builders import (
    KARPENTER_SPOT,
    NOW,
    make_move,
    make_node,
    make_snapshot,
    make_verdict,
    make_workload,
)
from tests.cli.conftest import kubeconfig
from tests.fake_book import FakeBook
from tests.parts.processes import reserve_port
from webhook.adapters.kubeapi import Access, KubeApi
from webhook.adapters.verdict_book import ConfigMapBook
from webhook.cli.common import FORMATS, STRUCTURED
from webhook.core.book import Book, Control
from webhook.core.model import Memory, Side, Workload, WorkloadKey
from webhook.core.moves import Disruption, Finished, Outcome, Pause, SpotHealth, Step
from webhook.core.policy import Mode, Move, Policy
from webhook.core.sanity import Alarm, Sanity, Tally

WEB, API = (WorkloadKey("shop", "Deployment", name) for name in ("web", "api"))
NOTE = "note: no --config, so modes and budgets are the defaults (mode: observe)\n"
MINUTE = timedelta(minutes=1)
MOVES = (
    make_move(WEB, number=7, pod="web-1", node="regular-1", destination="spot-1"),
    make_move(
        API,
        Side.REGULAR,
        Step.UNDOING,
        number=8,
        pod="api-1",
        node="spot-1",
        outcome=Outcome.NO_CAPACITY,
        note="Pending for 10m\x1b[2J",
    ),
)
PAST = (
    Finished(
        5, WEB, "uid-web", Move.SURGE, Side.SPOT, NOW - 60 * MINUTE, NOW - 50 * MINUTE, Outcome.NO_CAPACITY, "web-1"
    ),
    Finished(
        6,
        API,
        "uid-api",
        Move.EVICT,
        Side.REGULAR,
        NOW - 5 * MINUTE,
        NOW - 4 * MINUTE,
        Outcome.MOVED,
        pod="api-0",
        node="spot-1",
        landed_on="regular-1",
        trim=True,
        note="beyond max-spot",
    ),
)
ALARM = Sanity(
    accepted=Tally(due=100, measured=100, idle=30),
    alarm=Alarm.IDLE_JUMP,
    since=NOW - 3 * MINUTE,
    reason="80 of 100 (80%) workloads are idle, 30 of 100 (30%) before",
    seen=Tally(due=100, measured=100, idle=80),
)
CONTROL = Control(
    heartbeat=NOW - MINUTE,
    sanity=ALARM,
    numbered=8,
    moves=MOVES,
    disruptions=(Disruption(at=NOW - MINUTE, to=Side.REGULAR, workload=str(API)),),
    finished=PAST,
    spot=SpotHealth(
        ready=1, total=2, looked_at=NOW - MINUTE, unwell_at=NOW - 2 * MINUTE, unwell_why="1 of 2 not Ready"
    ),
    paused=Pause(at=NOW - 90 * MINUTE, by="ann", reason="sale"),
)
GIVEN_UP = make_verdict(
    WEB, Side.REGULAR, memory=Memory(learnt=5, misses=3, not_before=NOW, last_outcome="no-capacity")
)
SNAPSHOT = make_snapshot(
    make_workload("web", verdict=GIVEN_UP),
    make_workload("api", pods=4, pods_on_spot=3),
    nodes=[
        make_node("regular-1"),
        make_node("spot-1", KARPENTER_SPOT),
        make_node("spot-2", KARPENTER_SPOT, ready=False),
    ],
    policy=Policy(mode=Mode.MOVE),
)


@pytest.fixture
def book(monkeypatch):
    """The book that the commands open; their clock stands at NOW."""
    found = FakeBook(CONTROL)
    found.content = Book(control=CONTROL, verdicts={str(WEB): GIVEN_UP})
    for command in ("pause", "resume", "history", "status"):
        for name in ("open_book", "open_control"):
            monkeypatch.setattr(f"webhook.cli.{command}.{name}", lambda *_, **__: found, raising=False)
        monkeypatch.setattr(f"webhook.cli.{command}.clock", lambda: NOW, raising=False)
    monkeypatch.setattr("webhook.cli.pause.getpass.getuser", lambda: "bob")
    monkeypatch.setattr("webhook.cli.status.capture_cluster", lambda *_: SNAPSHOT)
    return found


WORDS = {
    "pause": ["pause", "--reason", "until Monday"],
    "resume": ["resume"],
    "retry": ["resume", "--workload", "shop/deploy/web"],
    "status": ["status"],
    "history": ["history"],
}


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("name", WORDS)
def test_each_prints_as_it_was_agreed(cli, book, name, output):
    """Set RENEW_GOLDEN=1 to write the files anew, then read the difference."""
    outcome = cli(*WORDS[name], "-o", output)
    assert (outcome.code, outcome.err) == (0, NOTE if name == "status" else "")
    golden = Path(__file__).parent / "golden" / f"{name}.{output}.txt"
    if os.environ.get("RENEW_GOLDEN"):
        golden.write_text(outcome.out)
    assert outcome.out == golden.read_text()
    assert "\x1b" not in outcome.out
    if output in STRUCTURED:
        assert yaml.safe_load(outcome.out)["schemaVersion"] == 1


@pytest.mark.parametrize("name", WORDS)
def test_json_and_yaml_tell_the_same(cli, name, request):
    told = []
    for output in STRUCTURED:
        request.getfixturevalue("book").put(CONTROL)
        request.getfixturevalue("book").content = Book(control=CONTROL, verdicts={str(WEB): GIVEN_UP})
        text = cli(*WORDS[name], "-o", output).out
        told.append(json.loads(text) if output == "json" else yaml.safe_load(text))
    assert told[0] == told[1]


# --- pause and resume


def test_pause_stops_moves_and_touches_nothing_else(cli, book):
    book.put(msgspec.structs.replace(CONTROL, paused=None))
    assert cli("pause", "--reason", "sale").code == 0
    expected = Pause(at=NOW, by="bob", reason="sale")
    assert book.content.control == msgspec.structs.replace(CONTROL, paused=expected)


def test_pause_says_that_nothing_undoes_moves_while_the_monitor_does_not_run(cli, book):
    book.put(msgspec.structs.replace(CONTROL, heartbeat=NOW - 60 * MINUTE))
    assert "warning: the monitor ran 60m ago; without it nothing of that is done" in cli("pause").out


@pytest.fixture
def hurried(monkeypatch):
    """Seconds pass only while a command sleeps."""
    seconds = [0.0]
    monkeypatch.setattr("webhook.cli.pause.time.monotonic", lambda: seconds[0])
    monkeypatch.setattr("webhook.cli.pause.time.sleep", lambda more: seconds.append(seconds.pop() + more))
    return seconds


def test_pause_waits_and_says_that_all_is_still(cli, book, monkeypatch, hurried):
    monkeypatch.setattr(
        "webhook.cli.pause.time.sleep", lambda _: book.put(Control(heartbeat=NOW, paused=CONTROL.paused))
    )
    outcome = cli("pause", "--wait")
    assert (outcome.code, outcome.out.splitlines()[-1]) == (0, "all is still")


@pytest.mark.parametrize("output", ["table", "json"])
def test_pause_that_waited_in_vain_fails_and_says_what_is_left(cli, book, hurried, output):
    outcome = cli("pause", "--wait", "--timeout", "2m", "-o", output)
    assert outcome.code == 3
    assert "2 still in flight after 2m" in outcome.err
    assert hurried == [120.0]
    if output == "json":
        assert json.loads(outcome.out)["still"] is False


def test_pause_tells_on_stderr_what_it_waits_for(cli, book, monkeypatch, hurried):
    def pass_by(seconds):
        hurried[0] += seconds
        {5.0: book.fall_silent, 15.0: lambda: book.put(Control(heartbeat=NOW, paused=CONTROL.paused))}.get(
            hurried[0], lambda: None
        )()

    monkeypatch.setattr("webhook.cli.pause.time.sleep", pass_by)
    outcome = cli("pause", "--wait", "--timeout", "2m", "-o", "json")
    assert outcome.code == 0
    assert outcome.err.splitlines() == [
        "waiting for 2 in flight, for up to 2m: shop/Deployment/web is raised, shop/Deployment/api is undoing",
        "the API server does not answer; it is asked again until the time is over",
    ]


def test_no_call_of_the_brake_outlasts_what_is_left_of_its_time(cli, book, monkeypatch, hurried):
    given = []

    def open_control(_access, seconds):
        given.append(seconds)
        return book

    monkeypatch.setattr("webhook.cli.pause.open_control", open_control)
    cli("pause", "--wait", "--timeout", "2m")
    for spent, left in ((0, 10), (115, 5), (119.5, 1), (500, 1)):
        hurried[0] = spent
        assert given[0]() == left


def test_pause_that_somebody_ended_meanwhile_fails(cli, book, monkeypatch, hurried):
    monkeypatch.setattr("webhook.cli.pause.time.sleep", lambda _: book.put(Control(heartbeat=NOW, moves=MOVES)))
    outcome = cli("pause", "--wait")
    assert (outcome.code, "somebody resumed meanwhile" in outcome.err) == (3, True)


def test_a_timeout_that_is_no_duration_is_refused_before_anything_is_written(cli, book):
    outcome = cli("pause", "--wait", "--timeout", "soon")
    assert outcome.code == 2
    assert "expected a duration such as 60m" in outcome.err
    assert book.writes == 0


def test_pause_without_a_name_of_the_person_is_a_pause_all_the_same(cli, book, monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 65532")

    monkeypatch.setattr("webhook.cli.pause.getpass.getuser", nobody)
    book.put(Control(heartbeat=NOW))
    assert "moves are paused since 2026-03-14 15:09:26Z\n" in cli("pause").out


def test_resume_ends_the_pause_accepts_what_was_seen_and_leaves_spots_bad_day(cli, book):
    assert cli("resume").code == 0
    after = book.content.control
    assert (after.paused, after.sanity, after.spot) == (None, Sanity(accepted=ALARM.seen), CONTROL.spot)


def test_resume_says_where_an_alarm_stays(cli, book):
    blind = msgspec.structs.replace(ALARM, alarm=Alarm.EVIDENCE_DROP, seen=Tally(due=100))
    book.put(Control(heartbeat=NOW, sanity=blind))
    out = cli("resume").out
    assert out.startswith("moves were not paused\nthe alarm stays: far fewer workloads")
    assert book.content.control.sanity == blind


def test_resume_of_a_workload_leaves_the_pause_and_the_alarm(cli, book):
    cli("resume", "--workload", "shop/deploy/web")
    assert book.content.control == CONTROL
    assert book.content.verdicts[str(WEB)].memory == Memory(learnt=5, last_outcome="no-capacity")
    assert "no misses; nothing keeps it from being tried" in cli("resume", "--workload", "shop/deploy/web").out


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("shop/deploy/wbe", 3, "no workload shop/deploy/wbe in the book; the nearest: shop/Deployment/web"),
        ("web", 2, "is not <"),
    ],
)
def test_resume_of_a_workload_that_is_not_there_names_the_nearest(cli, book, name, code, says):
    outcome = cli("resume", "--workload", name)
    assert outcome.code == code
    assert says in outcome.err
    assert book.writes == 0


# --- history


def numbers(outcome):
    return [one["number"] for one in json.loads(outcome.out)["moves"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [6, 5]),
        (["--misses"], [5]),
        (["--workload", "shop/deployments/api"], [6]),
        (["--workload", "shop/deploy/api", "--misses"], []),
        (["--workload", "shop/deploy/other"], []),
    ],
)
def test_history_is_of_one_workload_or_of_misses(cli, book, words, expected):
    assert numbers(cli("history", *words, "-o", "json")) == expected


def test_history_that_has_nothing_to_tell_says_so(cli, book):
    assert cli("history", "--workload", "shop/deploy/other").out == "no such move is remembered\n"
    assert "is not <namespace>/<kind>/<name>" in cli("history", "--workload", "other").err


# --- status


def test_status_shows_the_namespaces_with_most_on_spot_and_says_how_many_are_left(cli, book, monkeypatch):
    keys = [WorkloadKey(f"ns-{n:02}", "Deployment", "web") for n in range(13)]
    many = [Workload(key=key, pods=n, pods_on_spot=n) for n, key in enumerate(keys)]
    monkeypatch.setattr("webhook.cli.status.capture_cluster", lambda *_: make_snapshot(*many))
    out = cli("status").out
    assert "and 3 more; -o wide has all" in out
    assert "ns-12" in out
    assert "ns-02" not in out
    assert "ns-02" in cli("status", "-o", "wide").out


def test_status_says_that_nothing_holds_moves_up(cli, book):
    book.put(Control(heartbeat=NOW - MINUTE))
    out = cli("status").out
    assert "\nnothing holds moves up\n" in out
    assert "no move is in flight" in out


def test_status_of_a_cluster_without_workloads_is_told_too(cli, cluster):
    _, flags = cluster
    assert "\nno workload is there\n" in cli("status", *flags).out


def test_status_says_why_it_takes_no_snapshot(cli):
    assert "a snapshot file holds no moves" in " ".join(cli("status", "--help").out.split())
    assert cli("status", "--snapshot", "examples/demo.snapshot.json").code == 2


# --- faults


@pytest.mark.parametrize("name", WORDS)
def test_without_a_book_nothing_is_made_up_and_nothing_is_written(cli, book, name):
    """Paused in the wrong namespace, moves would go on in the right one."""
    book.content = Book()
    outcome = cli(*WORDS[name], "--book", "other", "-n", "nowhere")
    assert outcome.code == 3
    assert "no monitor has written to a book other in namespace nowhere" in outcome.err
    assert book.writes == 0


@pytest.mark.fault(43)
@pytest.mark.parametrize("name", ["pause", "resume", "retry"])
def test_a_conflict_is_tried_again_and_one_without_end_is_told(cli, book, name):
    book.meanwhile = [lambda control: control]
    assert cli(*WORDS[name]).code == 0
    book.put(CONTROL)
    book.content = Book(control=CONTROL, verdicts={str(WEB): GIVEN_UP})
    book.meanwhile = [lambda control: control] * 99
    outcome = cli(*WORDS[name])
    assert outcome.code == 3
    assert outcome.err == "error: somebody else wrote the book at each attempt; try again\n"


@pytest.fixture
def cluster(tmp_path):
    """A cluster with a book, and the flags that lead to it."""
    server = FakeApiServer()
    ConfigMapBook(KubeApi(lambda: Access(url=server.url)), "steering", "spot-balancer").write(
        Book(), Book(control=CONTROL, verdicts={str(WEB): GIVEN_UP})
    )
    file = tmp_path / "kubeconfig"
    file.write_text(kubeconfig(server.url))
    yield server, ["--kubeconfig", str(file)]
    server.stop()


def test_status_and_history_read_the_book_of_a_cluster(cli, cluster):
    _, flags = cluster
    assert numbers(cli("history", *flags, "-o", "json")) == [6, 5]
    told = json.loads(cli("status", *flags, "-o", "json").out)
    assert [one["number"] for one in told["moves"]] == [7, 8]
    assert [one["code"] for one in told["freezes"]][:2] == ["mode", "paused"]


def test_misses_are_forgotten_in_the_book_of_a_cluster(cli, cluster):
    server, flags = cluster
    outcome = cli("resume", *flags, "--workload", "shop/deploy/web")
    assert (
        outcome.out
        == "shop/Deployment/web: 3 misses forgotten (the last: no-capacity); the next run may try it again\n"
    )
    found = ConfigMapBook(KubeApi(lambda: Access(url=server.url)), "steering", "spot-balancer").read()
    assert found.verdicts[str(WEB)].memory == Memory(learnt=5, last_outcome="no-capacity")
    assert found.control == CONTROL


@pytest.mark.fault(43)
@pytest.mark.parametrize("name", ["status", "history", "retry"])
def test_a_right_that_is_missing_is_told_with_what_to_do(cli, cluster, name):
    server, flags = cluster
    server.fail("GET", "/api/v1/namespaces/steering/configmaps", Fault(403), times=None)
    outcome = cli(*WORDS[name], *flags)
    assert outcome.code == 3
    assert "Ask for the right, or use another --context." in outcome.err


@pytest.mark.fault(43)
@pytest.mark.parametrize("collection", [PODS, NODES])
def test_status_of_a_cluster_that_it_may_not_read_is_told(cli, cluster, collection):
    server, flags = cluster
    server.fail("GET", collection, Fault(403), times=None)
    assert cli("status", *flags).code == 3


@pytest.mark.parametrize("name", ["status", "history", "retry"])
def test_a_cluster_that_does_not_answer_is_told_in_a_sentence(cli, tmp_path, name):
    file = tmp_path / "kubeconfig"
    file.write_text(kubeconfig(f"http://127.0.0.1:{reserve_port()}"))
    outcome = cli(*WORDS[name], "--kubeconfig", str(file))
    assert outcome.code == 3
    assert outcome.err.removeprefix(NOTE).startswith("error: ")
