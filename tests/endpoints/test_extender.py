"""POST /extender/*, through Flask and around it: always an answer that a scheduler can use, never a node that it did not name."""

import json
import logging
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import KARPENTER_SPOT, NOW, make_node, make_snapshot, make_workload
from tests.endpoints.conftest import House, Shown
from tests.loads import arguments, loaded_node, loaded_snapshot, scheduled_pod
from webhook.core import affinity, scoring
from webhook.core.model import Bound, Estimate, PodUse
from webhook.core.policy import BalancePolicy, Mode, Policy
from webhook.endpoints.extender import Filter, Prioritize, Scorer
from webhook.metrics import Metrics

PRIORITIZE, FILTER = "/extender/prioritize", "/extender/filter"
SHOP = (
    loaded_node("cold", 0.1),
    loaded_node("warm", 0.5),
    loaded_node("hot", 0.95),
    loaded_node("spot", 0.2, marker=KARPENTER_SPOT),
)
NAMES = [node.name for node in SHOP]


class Called:
    """Both endpoints over one scorer, with a clock that the test moves."""

    def __init__(self, snapshot):
        self.seconds = 0.0
        self.metrics = Metrics()
        self.shown = Shown(snapshot)
        self.scorer = Scorer(self.shown, seconds=lambda: self.seconds)
        self._prioritize = Prioritize(self.scorer, self.metrics, seconds=lambda: self.seconds)
        self._filter = Filter(self.scorer, self.metrics, seconds=lambda: self.seconds)

    def scores(self, names, pod=None, **form):
        reply = self._prioritize(arguments(names, pod, **form))
        assert reply.status == 200
        answer = json.loads(reply.body)
        found = {entry["Host"]: entry["Score"] for entry in answer}
        assert len(found) == len(answer)
        return found

    def kept(self, names, pod=None, **form):
        reply = self._filter(arguments(names, pod, **form))
        assert reply.status == 200
        return json.loads(reply.body)

    def raw(self, body):
        return self._prioritize(body), self._filter(body)

    def calls(self, verb, reason):
        labels = {"verb": verb, "reason": reason}
        return self.metrics.registry.get_sample_value("spot_balancer_extender_calls_total", labels) or 0.0


@pytest.fixture
def shop():
    return Called(loaded_snapshot(*SHOP))


def filtering(above=0.9, **fields):
    return Policy(mode=Mode.INJECT, balance=BalancePolicy(filter_above=above), **fields)


def test_the_coldest_node_of_its_class_scores_highest_and_the_other_class_nothing(shop):
    scores = shop.scores(NAMES)
    assert scores == {"cold": 10, "warm": scores["warm"], "hot": 1}
    assert 1 < scores["warm"] < 10
    assert shop.calls("prioritize", "scored") == 1


def test_a_pod_that_was_steered_to_spot_scores_spot_alone(shop):
    pod = scheduled_pod(annotations={"spot-balancer.io/decision": "v1/spot/preferred/3"})
    assert shop.scores(NAMES, pod) == {"spot": 10}


@pytest.mark.parametrize("stamp", ["v1/regular/max-spot/3", "v2/spot/preferred/3", "v1/spot", "spot", ""])
def test_any_other_stamp_is_no_wish_for_spot(shop, stamp):
    pod = scheduled_pod(annotations={"spot-balancer.io/decision": stamp})
    assert "spot" not in shop.scores(NAMES, pod)


def required(*terms):
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


WANTS_SPOT = {"matchExpressions": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]}]}
ELSEWHERE = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}


@pytest.mark.parametrize(
    ("spec", "is_spot"),
    [
        ({"nodeSelector": {"karpenter.sh/capacity-type": "spot"}}, True),
        ({"affinity": required(WANTS_SPOT)}, True),
        ({"affinity": required(WANTS_SPOT, ELSEWHERE)}, False),
        ({"affinity": required({})}, False),
        ({"affinity": required(*[WANTS_SPOT] * 40)}, False),
        ({"nodeSelector": {"zone": "a"}}, False),
    ],
)
def test_its_own_demand_for_spot_counts_as_well(shop, spec, is_spot):
    assert ("spot" in shop.scores(NAMES, scheduled_pod(**spec))) is is_spot


def test_of_its_demands_only_those_in_words_of_a_marker_are_looked_at(shop, monkeypatch):
    looked_at = []
    monkeypatch.setattr(
        affinity, "as_requirement", lambda e, real=affinity.as_requirement: looked_at.append(e) or real(e)
    )
    others = [{"key": f"k{number}", "operator": "In", "values": ["a"]} for number in range(1000)]
    spec = {"affinity": required({"matchExpressions": [*others, *WANTS_SPOT["matchExpressions"]]})}
    assert "spot" in shop.scores(NAMES, scheduled_pod(**spec))
    assert len(looked_at) == 1


def test_whole_nodes_score_as_their_names_do(shop):
    by_name = shop.scores(NAMES)
    assert Called(loaded_snapshot(*SHOP)).scores(NAMES, whole=True) == by_name


@pytest.mark.fault(60)
def test_a_node_that_nobody_knows_is_the_middle_of_the_others_and_each_is_named_once(shop):
    scores = shop.scores(["cold", "new", "hot", "cold", "new", "gone", "warm"])
    assert set(scores) == {"cold", "new", "hot", "gone", "warm"}
    assert scores["new"] == scores["gone"] == scores["warm"]
    assert set(Called(loaded_snapshot()).scores(["a", "b"]).values()) == {5}


def test_stale_and_missing_loads_are_the_middle_and_without_any_only_the_class_counts():
    nodes = [loaded_node("a", 0.1), loaded_node("b", 0.9), loaded_node("c", None)]
    nodes += [loaded_node("d", 0.0, age=timedelta(minutes=6)), loaded_node("s", 0.0, marker=KARPENTER_SPOT)]
    names = [node.name for node in nodes]
    scores = Called(loaded_snapshot(*nodes)).scores(names)
    assert 1 < scores["c"] == scores["d"] < 10
    blind = Called(loaded_snapshot(*nodes, match_rate=0.5))
    assert blind.scores(names) == dict.fromkeys("abcd", 10)
    assert blind.calls("prioritize", "class-only") == 1
    assert len(blind.scorer.ledger) == 0
    assert blind.scorer.stale_share() == pytest.approx(2 / 5)


def test_pods_of_a_burst_are_counted_where_they_likely_went(shop):
    equal = Called(loaded_snapshot(*(loaded_node(f"n{i}", 0.2) for i in range(4))))
    pods = [
        scheduled_pod(
            f"p{i}", containers=[{"name": "c", "resources": {"requests": {"cpu": "2", "memory": "1Gi"}}}], owner=None
        )
        for i in range(4)
    ]
    led = []
    for pod in pods:
        scores = equal.scores([f"n{i}" for i in range(4)], pod)
        led += [name for name, score in scores.items() if score == 10]
    assert sorted(led) == ["n0", "n1", "n2", "n3"]
    assert len(equal.scorer.ledger) == 4


def test_a_second_call_for_the_same_pod_gets_the_same_answer_and_counts_once(shop):
    assert shop.scores(NAMES) == shop.scores(NAMES) == shop.scores(NAMES, whole=True)
    assert len(shop.scorer.ledger) == 1


def test_who_is_seen_bound_or_waits_too_long_is_held_no_more(shop):
    shop.scores(NAMES)
    bound = Bound(uid="uid-web-1", node="cold", namespace="shop", expected=Estimate(cpu_cores=1))
    shown = shop.shown.snapshot
    shop.shown.snapshot = type(shown)(shown.meta, nodes=SHOP, namespaces=shown.namespaces.values(), bound=[bound])
    shop.scores(NAMES, scheduled_pod("web-2"))
    assert len(shop.scorer.ledger) == 1
    shop.scores(NAMES)
    assert len(shop.scorer.ledger) == 1, "a pod that is seen bound is not counted a second time"
    shop.seconds += 61
    assert shop.scorer.held() == 0, "before any further call"
    shop.scores(NAMES, scheduled_pod("web-3"))
    assert len(shop.scorer.ledger) == 1


def test_a_clock_on_the_wall_that_steps_does_not_touch_the_ledger(shop):
    shop.scores(NAMES)
    shop.shown.now = lambda: NOW - timedelta(hours=1)
    shop.scores(NAMES, scheduled_pod("web-2"))
    assert len(shop.scorer.ledger) == 2


def test_what_siblings_use_counts_and_not_what_the_pod_requests():
    workload = make_workload(use=PodUse(cpu_cores=4, memory_bytes=1e9, pods=2))
    called = Called(loaded_snapshot(*(loaded_node(f"n{i}", 0.2) for i in range(3)), workloads=[workload]))
    names = ["n0", "n1", "n2"]
    called.scores(names)
    assert called.scorer.ledger.table.mean[0].max() == pytest.approx(0.2 + 4 / 8)


@pytest.mark.parametrize("request_", ["1e300", "9E", "999999999999999999", "-5", "x", "1e9999"])
def test_a_request_beyond_all_nodes_leaves_no_trace_when_it_is_gone(shop, request_):
    before = shop.scorer.snapshot() and shop.scorer.ledger.table.mean.copy()
    containers = [{"name": "c", "resources": {"requests": {"cpu": request_, "memory": request_}}}]
    assert shop.scores(NAMES, scheduled_pod(owner=None, containers=containers))
    shop.scorer.ledger.forget("uid-web-1")
    assert shop.scorer.ledger.table.mean == pytest.approx(before, abs=1e-4)


def test_namespaces_that_a_caller_invents_take_no_room(shop):
    for number in range(20):
        pod = scheduled_pod(f"p{number}")
        pod["metadata"]["namespace"] = f"invented-{number}"
        shop.scores(NAMES, pod)
    assert set(shop.scorer.ledger.table.namespaces) == {""}


NEUTRAL = [
    ("daemonset", scheduled_pod(kind="DaemonSet")),
    ("static", scheduled_pod(kind="Node")),
    ("static", scheduled_pod(annotations={"kubernetes.io/config.mirror": "x"})),
    ("opted-out", scheduled_pod(labels={"spot-balancer.io/skip": "true"})),
    ("excluded-namespace", scheduled_pod() | {"metadata": {"name": "p", "namespace": "kube-system"}}),
]


@pytest.mark.parametrize(("reason", "pod"), NEUTRAL)
def test_pods_that_are_not_ours_are_left_to_the_scheduler(reason, pod):
    called = Called(loaded_snapshot(*SHOP, policy=filtering()))
    assert called.scores(NAMES, pod) == {}
    assert called.kept(NAMES, pod)["NodeNames"] == NAMES
    assert (called.calls("prioritize", reason), called.calls("filter", reason)) == (1, 1)
    assert len(called.scorer.ledger) == 0


def test_scoring_that_is_paused_leaves_all_to_the_scheduler():
    called = Called(loaded_snapshot(*SHOP, policy=filtering(pause=("scoring",))))
    assert (called.scores(NAMES), called.kept(NAMES)["NodeNames"]) == ({}, NAMES)
    assert called.calls("filter", "paused") == 1


def test_before_the_first_snapshot_every_node_is_as_good_as_any(shop):
    called = Called(None)
    assert (called.scores(NAMES), called.kept(NAMES)["NodeNames"]) == ({}, NAMES)
    assert called.calls("prioritize", "no-snapshot") == 1
    assert called.scorer.stale_share() == -1


@pytest.mark.parametrize("whole", [False, True])
def test_the_filter_keeps_pods_from_a_node_above_the_limit_in_the_form_asked_for(whole):
    called = Called(loaded_snapshot(*SHOP, policy=filtering()))
    answer = called.kept([*NAMES, "new"], whole=whole)
    kept = [node["metadata"]["name"] for node in answer["Nodes"]["items"]] if whole else answer["NodeNames"]
    assert kept == ["cold", "warm", "spot", "new"]
    assert (answer["NodeNames"] if whole else answer["Nodes"]) is None
    assert answer["FailedAndUnresolvableNodes"] == {"hot": "spot-balancer: measured load is above 90% of allocatable"}
    assert (answer["FailedNodes"], answer["Error"]) == ({}, "")
    assert called.calls("filter", "filtered") == 1


@pytest.mark.parametrize("names", [["hot"], ["hot", "hot"], []])
def test_the_filter_never_leaves_nothing_of_something(names):
    called = Called(loaded_snapshot(*SHOP, policy=filtering()))
    assert called.kept(names)["NodeNames"] == names


def test_a_filter_that_is_not_configured_keeps_everything_and_counts_nobody(shop):
    assert shop.kept(NAMES)["NodeNames"] == NAMES
    assert len(shop.scorer.ledger) == 0


@pytest.mark.parametrize(("body", "reason"), [(b"{}", "no-nodes"), (b'{"Pod":5,"NodeNames":["cold"]}', "bad-pod")])
def test_odd_arguments_are_answered_neutrally(shop, body, reason):
    scored, kept = shop.raw(body)
    assert (scored.status, scored.body, kept.status) == (200, b"[]", 200)
    assert json.loads(kept.body)["NodeNames"] == json.loads(body).get("NodeNames", [])
    assert shop.calls("prioritize", reason) == shop.calls("filter", reason) == 1


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"NodeNames":5}', b"[" * 100_000])
def test_a_body_that_no_scheduler_sends_is_refused(shop, body):
    assert [reply.status for reply in shop.raw(body)] == [400, 400]
    assert shop.calls("filter", "bad-arguments") == 1


def test_a_fault_of_ours_is_neutral_counted_and_told_once(shop, monkeypatch, caplog):
    monkeypatch.setattr(scoring, "score", lambda *_, **__: 1 / 0)
    for _ in range(3):
        assert shop.scores(NAMES) == {}
    assert shop.calls("prioritize", "internal-error") == 3
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.error for record in told] == ["ZeroDivisionError"]


def test_one_decision_a_second_is_explained_and_only_for_those_who_debug(shop, caplog):
    with caplog.at_level(logging.INFO, "webhook.endpoints.extender"):
        shop.scores(NAMES)
    assert not caplog.records
    with caplog.at_level(logging.DEBUG, "webhook.endpoints.extender"):
        for _ in range(3):
            shop.scores(NAMES)
    assert [(r.message, r.node, r.wants, r.cpuFrom) for r in caplog.records] == [
        ("scored", "cold", "regular", "request")
    ]
    assert caplog.records[0].meanCpu == pytest.approx(0.1)


def test_only_the_best_are_named_where_the_configuration_says_so():
    policy = Policy(mode=Mode.INJECT, balance=BalancePolicy(best=2))
    called = Called(loaded_snapshot(*SHOP, policy=policy))
    assert list(called.scores(NAMES)) == ["cold", "warm"]


def test_routes_are_there_only_where_they_are_switched_on(own_house, tmp_path):
    for client in (own_house.flask, own_house.hot):
        assert client.post(PRIORITIZE, data=b"{}", content_type="application/json").status_code == 404
    on = House(tmp_path, extender=True)
    on.snapshots.snapshot = loaded_snapshot(*SHOP)
    for client in (on.flask, on.hot):
        reply = client.post(PRIORITIZE, data=arguments(NAMES), content_type="application/json")
        assert reply.json[0] == {"Host": "cold", "Score": 10}
        assert not reply.data.endswith(b"\n")
        assert client.post(FILTER, data=arguments(NAMES), content_type="application/json").json["NodeNames"] == NAMES
        assert client.get(FILTER).status_code == 405
        large = client.post(PRIORITIZE, data=b"x" * (8 * 2**20 + 1), content_type="application/json")
        assert large.status_code == 413
    assert on.sample("spot_balancer_ledger_pods") == 1
    assert on.sample("spot_balancer_stale_node_share") == 0


names = st.sampled_from([*NAMES, "new", "", "\u00e9\u2028", 'a"b'])
odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(names, max_size=3)
shares = st.floats(0, 1.5) | st.sampled_from([float("nan"), float("inf"), -1.0, 1e300]) | st.none()


@settings(deadline=None)
@given(
    st.lists(names, max_size=12), st.lists(shares, min_size=4, max_size=4), st.booleans(), st.none() | st.floats(0, 1)
)
def test_s1_s6_at_most_one_entry_an_input_node_and_the_filter_parts_the_input(asked, loads, whole, above):
    nodes = [loaded_node(name, load) for name, load in zip(NAMES, loads, strict=True)]
    called = Called(loaded_snapshot(*nodes, policy=filtering(above)))
    scores = called.scores(asked, whole=whole)
    assert scores.keys() <= set(asked)
    assert all(type(score) is int and 0 < score <= 10 for score in scores.values())
    answer = called.kept(asked, whole=whole)
    kept = [n["metadata"]["name"] for n in answer["Nodes"]["items"]] if whole else answer["NodeNames"]
    failed = answer["FailedAndUnresolvableNodes"]
    assert bool(kept) is bool(asked)
    assert not set(kept) & set(failed)
    assert set(kept) | set(failed) == set(asked)


@settings(deadline=None)
@given(
    st.fixed_dictionaries({}, optional={"Pod": odd, "Nodes": odd, "NodeNames": odd, "nodenames": odd, "x": odd}),
    st.integers(0, 400),
)
def test_hostile_arguments_get_an_answer_of_200_or_400(keys, cut):
    body = json.dumps(keys).encode()
    called = Called(loaded_snapshot(*SHOP, policy=filtering()))
    for content in (body, body[:cut], body + b"\x00", arguments(NAMES)[:cut]):
        for reply in called.raw(content):
            assert reply.status in {200, 400}
            msgspec.json.decode(reply.body)
    assert called.calls("prioritize", "internal-error") == called.calls("filter", "internal-error") == 0


def test_many_nodes_and_none_of_them_known_are_answered(shop):
    many = [f"unknown-{number}" for number in range(15_000)]
    assert set(shop.scores(many).values()) == {5}
    assert len(Called(make_snapshot(nodes=[make_node(name) for name in many])).scores(many)) == 15_000
