"""POST /mutate, through Flask and around it: the same bytes, always an answer, never a refusal of a pod."""

import base64
import json
import logging

import jsonpatch
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import AKS_SPOT, AKS_TAINT, idle_shop_snapshot, make_node, make_pod, make_review
from tests.endpoints.conftest import Shown
from tests.strategies import pods
from webhook.core import placement
from webhook.core.model import Platform
from webhook.endpoints import mutate
from webhook.errors import PatchError
from webhook.metrics import Metrics
from webhook.wire import admission


def post(client, body, content_type="application/json", path="/mutate"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, data=data, content_type=content_type)


def response_to(house, pod, **request):
    return post(house.flask, make_review(pod, **request)).json["response"]


def patched(pod, response):
    return jsonpatch.apply_patch(pod, json.loads(base64.b64decode(response["patch"])))


def test_the_next_pod_of_an_idle_owner_is_steered_to_spot(house):
    pod = make_pod("nginx-demo")
    result = patched(pod, response_to(house, pod))
    wish = result["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0]
    assert wish["preference"]["matchExpressions"][0]["key"] == "karpenter.sh/capacity-type"


@pytest.mark.parametrize("owner", ["checkout", "reports", "stranger", None])
def test_pods_of_other_owners_are_left_byte_for_byte(house, owner):
    assert response_to(house, make_pod(owner)) == {"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": True}


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    "request_",
    [
        {"object": None},
        {"operation": "DELETE", "object": None, "oldObject": make_pod()},
        {"operation": "CONNECT", "object": {"kind": "PodExecOptions"}},
        {"operation": "UPDATE"},
        {"subResource": "binding"},
        {"subResource": "resize"},
        {"object": []},
        {"object": "pod"},
        {"object": {"spec": 5}},
        {"object": {"metadata": {"ownerReferences": {}}}},
        {"namespace": None},
    ],
)
def test_what_is_no_pod_creation_is_allowed_as_it_came(house, request_):
    pod = make_pod("stranger")
    assert response_to(house, pod, **request_) == {"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": True}


@pytest.mark.fault(21)
def test_a_dry_run_gets_the_same_bytes(house):
    real, dry = (post(house.flask, make_review(make_pod(), dryRun=flag)).data for flag in (False, True))
    assert real == dry


@pytest.mark.fault(22)
def test_the_same_review_gets_the_same_bytes_each_time(house):
    body = json.dumps(make_review(make_pod())).encode()
    assert len({post(house.hot, body).data for _ in range(1000)}) == 1


@pytest.mark.fault(23)
def test_a_second_call_for_a_patched_pod_changes_nothing(house):
    pod = make_pod()
    again = patched(pod, response_to(house, pod))
    assert "patch" not in response_to(house, again, uid="another-uid")


def test_without_a_snapshot_pods_are_admitted_as_they_came(own_house):
    own_house.snapshots.snapshot = None
    assert response_to(own_house, make_pod()) == {"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": True}
    assert own_house.sample("spot_balancer_decisions_total", reason="no-snapshot") == 1


@pytest.mark.parametrize(
    ("error", "reason"), [(PatchError("canary-7f3a"), "bad-patch"), (KeyError("canary-7f3a"), "internal-error")]
)
def test_whatever_fails_after_the_uid_is_known_admits_the_pod(own_house, monkeypatch, caplog, error, reason):
    """Counted by reason, and logged without the error's words, which may quote the pod."""

    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(mutate.patch, "check", fail)
    with caplog.at_level(logging.DEBUG):
        response = response_to(own_house, make_pod())
    assert response == {"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": True}
    assert own_house.sample("spot_balancer_decisions_total", reason=reason) == 1
    assert "canary" not in str([record.__dict__ for record in caplog.records])


def with_values(total, length):
    """A pod whose one required term has so many bytes of values, each of this length."""
    values = [f"{n:0{length}}" for n in range(total // (length + len('"",')) or 1)]
    terms = [{"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "NotIn", "values": values}]}]
    return make_pod(
        affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    )


def large_pods():
    """On either side of what fits into an answer, in base64 or not."""
    return st.builds(with_values, st.integers(20_000, 35_000), st.integers(5, 63))


@pytest.fixture
def guarding_house(own_house):
    """Spot nodes of two architectures behind their marker's taint: a patch repeats the pod's terms, each of them twice."""
    platforms = (Platform("linux", "amd64"), Platform("linux", "arm64"))
    nodes = [make_node(p.architecture, AKS_SPOT, taints=(AKS_TAINT,), platform=p) for p in platforms]
    own_house.snapshots.snapshot = idle_shop_snapshot(nodes=nodes)
    return own_house


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pods() | large_pods(), st.text(min_size=1, max_size=admission.LONGEST_UID))
def test_m13_an_answer_stays_within_64_kilobytes_as_it_is_sent(guarding_house, pod, uid):
    reply = post(guarding_house.hot, make_review(pod, uid=uid))
    assert reply.status_code == 200
    assert len(reply.data) <= 64 * 1024


def test_an_answer_that_would_be_too_large_leaves_the_pod_as_it_came_and_is_no_error(guarding_house, caplog):
    """Whoever reaches the port can ask for it, as often as they like."""
    with caplog.at_level(logging.DEBUG):
        assert response_to(guarding_house, with_values(30_000, 60)).keys() == {"uid", "allowed"}
    assert guarding_house.sample("spot_balancer_decisions_total", reason="too-large") == 1
    assert caplog.records == []


def test_the_same_fault_is_told_once_a_minute_with_how_often_it_happened(caplog, monkeypatch):
    """Whoever finds a pod that makes us fail may send it a thousand times a second."""
    now = [0.0]
    asked = mutate.Mutate(Shown(idle_shop_snapshot()), Metrics(), seconds=lambda: now[0])

    def fail(*_args, **_kwargs):
        raise KeyError

    def post_many(count):
        caplog.clear()
        for _ in range(count):
            asked(json.dumps(make_review(make_pod())).encode())
        return [record.repeated for record in caplog.records]

    monkeypatch.setattr(mutate.patch, "check", fail)
    assert post_many(100) == [0]
    now[0] = 59.9
    assert post_many(1) == []
    now[0] = 60.0
    assert post_many(2) == [100]
    monkeypatch.setattr(mutate.patch, "build", fail)
    assert post_many(2) == [0], "another fault is told at once"


def test_answers_carry_only_what_the_protocol_asks_for(house):
    reply = post(house.flask, make_review(make_pod()))
    assert reply.json.keys() == {"apiVersion", "kind", "response"}
    assert reply.json["response"].keys() == {"uid", "allowed", "patchType", "patch"}
    assert reply.headers["Content-Length"] == str(len(reply.data))
    assert reply.headers["Content-Type"] == "application/json"
    assert "Retry-After" not in reply.headers
    assert not reply.data.endswith(b"\n")


@pytest.mark.fault(16)
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json5",
    ],
)
def test_only_json_is_read(house, content_type):
    for client in (house.flask, house.hot):
        reply = post(client, make_review(make_pod()), content_type)
        assert (reply.status_code, reply.data) == (415, b'{"error":"expected application/json"}')


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;"])
def test_json_may_be_spelt_with_parameters(house, content_type):
    assert post(house.hot, make_review(make_pod()), content_type).status_code == 200


@pytest.mark.fault(17)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_only_post_mutates(house, method):
    for client in (house.flask, house.hot):
        reply = client.open("/mutate", method=method)
        assert reply.status_code == 405
        assert reply.data in (b'{"error":"method not allowed"}', b"")


@pytest.mark.fault(9)
def test_a_body_over_the_cap_is_refused(house):
    for client in (house.flask, house.hot):
        assert post(client, b" " * (3 * 1024 * 1024)).status_code == 400
        assert post(client, b" " * (3 * 1024 * 1024 + 1)).status_code == 413


def hostile_bodies():
    good = json.dumps(make_review(make_pod())).encode()
    spliced = st.builds(
        lambda cut, noise, keep: good[:cut] + noise + good[keep:],
        st.integers(0, len(good)),
        st.binary(max_size=20),
        st.integers(0, len(good)),
    )
    reviews = st.builds(lambda pod: json.dumps(make_review(pod)).encode(), pods())
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
    odd = st.builds(
        lambda key, value: json.dumps(make_review(make_pod(), **{key: value})).encode(),
        st.sampled_from(["object", "uid", "kind", "operation", "namespace", "subResource", "dryRun"]),
        values,
    )
    return st.binary() | spliced | reviews | odd


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=hostile_bodies(), content_type=st.sampled_from(["application/json", "text/plain", "application/json;x"]))
def test_flask_and_the_short_way_around_it_give_the_same_bytes(house, body, content_type):
    """And neither ever gives a 5xx, nor anything but JSON."""
    slow, quick = post(house.flask, body, content_type), post(house.hot, body, content_type)
    assert (slow.status_code, slow.data) == (quick.status_code, quick.data)
    assert sorted(slow.headers) == sorted(quick.headers)
    assert slow.status_code in {200, 400, 415}
    answer = json.loads(slow.data)
    assert answer["response"]["allowed"] is True if slow.status_code == 200 else answer.keys() == {"error"}


def test_every_reason_is_of_the_bounded_set(house):
    for body in (make_review(make_pod()), make_review(make_pod("checkout")), make_review(None)):
        post(house.flask, body)
    reasons = {
        sample.labels["reason"]
        for metric in house.metrics.registry.collect()
        if metric.name == "spot_balancer_decisions"
        for sample in metric.samples
    }
    assert reasons <= {reason.value for reason in placement.Reason}
