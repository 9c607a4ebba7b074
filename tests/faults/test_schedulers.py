"""What schedulers may ask of the real server process: any number of nodes, known or not, in bursts, on loads of any age."""

import contextlib
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from zlib import crc32

import pytest

from tests.loads import arguments, loaded_node, loaded_snapshot, scheduled_pod
from tests.serverproc import ask, running_server
from webhook.adapters.snapshots import DirectoryWriter
from webhook.core.nodetable import TOP
from webhook.core.policy import BalancePolicy, Mode, Policy
from webhook.core.scoring import LEAD

PRIORITIZE, FILTER = "/extender/prioritize", "/extender/filter"
HEADERS = {"Content-Type": "application/json"}
MANY = [f"node-{number:05}" for number in range(15_000)]
FILTERING = Policy(mode=Mode.INJECT, balance=BalancePolicy(filter_above=0.9))


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Run a server on these nodes: ``with serve(nodes) as (server, connection)``."""

    @contextlib.contextmanager
    def start(nodes, **fields):
        folder = tmp_path_factory.mktemp("schedulers")
        DirectoryWriter(folder / "snapshot").write(loaded_snapshot(*nodes, captured_at=datetime.now(UTC), **fields))
        server = running_server(folder, folder / "snapshot", extender=True)
        with server as running, contextlib.closing(running.session()) as connection:
            yield running, connection

    return start


def aged(names, cpu, seconds=30):
    """Nodes whose load was sampled so long ago."""
    return [loaded_node(n, cpu(n), 0.1, sampled_at=datetime.now(UTC) - timedelta(seconds=seconds)) for n in names]


def scores(connection, names, pod=None, **form):
    answer = ask(connection, "POST", PRIORITIZE, arguments(names, pod, **form), HEADERS)
    assert answer.status == 200
    found = {entry["Host"]: entry["Score"] for entry in answer.json()}
    assert found.keys() <= set(names)
    return found


def best(found):
    return {name for name, score in found.items() if score == max(found.values())}


def burst(connection, names, count):
    """Where a scheduler that trusts us alone puts so many pods: each on the first of the best by its own order."""
    went = Counter()
    for number in range(count):
        request = {"resources": {"requests": {"cpu": "500m", "memory": "64Mi"}}}
        pod = scheduled_pod(f"burst-{number}", owner=None, containers=[{"name": "c", **request}])
        top = best(scores(connection, names, pod))
        went[min(top, key=lambda name: crc32(f"{name} {number}".encode()))] += 1
    return went


@pytest.mark.fault(59)
@pytest.mark.parametrize("cpu", [0.95, 0.2])
def test_where_all_nodes_are_alike_none_is_rejected_and_each_pod_is_led_to_another(serve, cpu):
    with serve(aged(MANY, lambda _: cpu), policy=FILTERING) as (server, connection):
        answers = [scores(connection, MANY, scheduled_pod(f"web-{number}")) for number in range(3)]
        assert all(Counter(found.values()) == {10: 1, TOP - LEAD: len(MANY) - 1} for found in answers)
        assert len(set().union(*(best(found) for found in answers))) == 3
        assert server.post(FILTER, arguments(MANY)).json()["NodeNames"] == MANY


@pytest.mark.fault(59)
def test_one_cold_node_of_15000_does_not_draw_a_whole_burst(serve):
    cold = MANY[77]
    with serve(aged(MANY, lambda name: 0.05 if name == cold else 0.6)) as (_, connection):
        assert best(scores(connection, MANY)) == {cold}
        went = burst(connection, MANY[:200], 40)
    # Eight pods of half a core fill the gap of 0.55 of eight cores.
    assert 1 <= went.pop(cold) <= 12
    assert max(went.values()) <= 3


@pytest.fixture(scope="module")
def three_hot(serve):
    with serve(aged(MANY[:3], lambda _: 0.95), policy=FILTERING) as (server, _):
        yield server


WHOLE = {"items": [{"metadata": {"name": MANY[1]}}, {}, None]}


@pytest.mark.fault(60)
@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ([], {"NodeNames": []}),
        ([], {"NodeNames": None, "Nodes": None}),
        ([MANY[0]], {"NodeNames": [MANY[0]], "Pod": None}),
        ([MANY[0], "new"], {"NodeNames": [MANY[0], MANY[0], "new", "new"]}),
        ([MANY[0], "new"], {"nodenames": [MANY[0], "new"]}),
        ([MANY[0]], {"NodeNames": [MANY[0]], "Nodes": {"items": [{"metadata": {"name": "other"}}]}}),
        ([MANY[1], ""], {"Nodes": WHOLE}),
        ([MANY[0], "\u00e9"], {"NodeNames": [MANY[0], "\u00e9"], "Pod": {"metadata": {"namespace": 5}}}),
    ],
)
def test_names_in_any_form_are_answered_once_each_and_none_is_invented(three_hot, asked, keys):
    answer = three_hot.post(PRIORITIZE, {"Pod": scheduled_pod()} | keys)
    named = [entry["Host"] for entry in answer.json()]
    assert (answer.status, len(set(named))) == (200, len(named))
    assert set(named) <= set(asked)
    told = three_hot.post(FILTER, {"Pod": scheduled_pod()} | keys).json()
    kept = told["NodeNames"] if told["Nodes"] is None else list(map(name_of, told["Nodes"]["items"]))
    failed = set(told["FailedAndUnresolvableNodes"])
    assert set(kept) | failed == set(asked)
    assert bool(kept) is bool(asked)
    assert not set(kept) & failed


def name_of(node):
    return ((node or {}).get("metadata") or {}).get("name", "")


@pytest.mark.fault(61)
def test_thousands_of_names_are_answered_and_the_worker_lives(serve):
    with serve(aged(MANY, lambda name: int(name[-2:]) / 100)) as (server, connection):
        before = server.worker_pid()
        for count in (5_000, 15_000):
            found = scores(connection, MANY[:count])
            assert (len(found), set(found.values())) == (count, {*range(1, TOP - LEAD + 1), TOP})
        assert server.worker_pid() == before


@pytest.mark.fault(61)
def test_whole_nodes_are_answered_up_to_the_cap_and_413_above(serve):
    # As large as real ones, most of which is the names of images.
    images = [{"names": [f"registry.example/{'x' * 120}:{n}"], "sizeBytes": 123456789} for n in range(60)]
    items = [{"metadata": {"name": name}, "status": {"images": images}} for name in MANY[:500]]
    body = {"Pod": scheduled_pod(), "Nodes": {"metadata": {}, "items": items}, "NodeNames": None}
    assert len(json.dumps(body)) > 5_000_000
    with serve(aged(MANY[:500], lambda name: int(name[-2:]) / 100), policy=FILTERING) as (server, _):
        assert len(server.post(PRIORITIZE, body).json()) == 500
        told = server.post(FILTER, body).json()
        assert told["Nodes"]["items"] == [item for item in items if int(name_of(item)[-2:]) <= 90]
        assert len(told["FailedAndUnresolvableNodes"]) == 45
        assert server.post(PRIORITIZE, b" " * (8 * 2**20 + 1)).status == 413
        assert server.post("/mutate", b"{}").status == 400


@pytest.mark.fault(62)
@pytest.mark.parametrize("seconds", [30, 240])
def test_a_hundred_pods_in_a_second_on_one_old_sample_do_not_end_up_as_a_herd(serve, seconds):
    names = MANY[:20]
    with serve(aged(names, lambda name: 0.2 + int(name[-2:]) / 2000, seconds)) as (server, connection):
        went = burst(connection, names, 100)
        assert max(went.values()) <= 2 * 100 / len(names)
        assert server.metric("spot_balancer_ledger_pods") == 100


@pytest.mark.fault(62)
def test_on_loads_that_are_stale_all_nodes_of_a_class_are_equal(serve):
    with serve(aged(MANY[:20], lambda name: int(name[-2:]) / 20, seconds=900)) as (server, connection):
        assert scores(connection, MANY[:20]) == dict.fromkeys(MANY[:20], 10)
        assert server.metric("spot_balancer_stale_node_share") == 1
