"""AdmissionReview in and out: what is answered, what is refused, and the exact bytes."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import make_pod, make_review
from webhook.errors import ReviewError
from webhook.wire import admission


def review(**changes):
    return json.dumps(make_review(make_pod(), **changes)).encode()


def test_a_review_of_a_pod_creation_is_recognised():
    request = admission.decode(review())
    assert request.is_pod_creation
    assert request.namespace == "shop"
    assert admission.decode_pod(request).controller.name == "nginx-demo-7f9c5d"


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    "changes",
    [
        {"object": None},
        {"operation": "DELETE", "object": None},
        {"operation": "UPDATE"},
        {"operation": "CONNECT"},
        {"subResource": "binding"},
        {"subResource": "ephemeralcontainers"},
        {"kind": None},
        {"kind": {"group": "", "version": "v1", "kind": "PodExecOptions"}},
        {"kind": {"group": "apps", "version": "v1", "kind": "Pod"}},
        {"operation": 5},
        {"kind": "Pod"},
        {"namespace": ["shop"]},
    ],
)
def test_what_is_no_pod_creation_keeps_its_uid_and_nothing_is_asked_of_it(changes):
    request = admission.decode(review(**changes))
    assert not request.is_pod_creation
    assert request.uid == "705ab4f5-6393-11e8-b7cc-42010a800002"


@pytest.mark.fault(15)
@pytest.mark.parametrize("body", [b"null", b"[]", b'"x"', b"0", b"true", b"", b"{}", b" ", b"\n"])
def test_a_body_that_is_no_review_is_refused(body):
    with pytest.raises(ReviewError) as caught:
        admission.decode(body)
    assert caught.value.status == 400


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("admission.k8s.io/v1beta1", "AdmissionReview"),
        ("admission.k8s.io/v2", "AdmissionReview"),
        ("v1", "AdmissionReview"),
        ("admission.k8s.io/v1", "ConversionReview"),
        ("", ""),
        (None, None),
        (1, 2),
    ],
)
def test_other_versions_are_told_which_one_is_spoken(api_version, kind):
    body = make_review(make_pod()) | {"apiVersion": api_version, "kind": kind}
    with pytest.raises(ReviewError, match=r"admission\.k8s\.io/v1"):
        admission.decode(json.dumps(body).encode())


@pytest.mark.fault(19)
@pytest.mark.parametrize("uid", ["", None, 7, [], "x" * 257, "x" * 1_000_000])
def test_a_review_without_a_usable_uid_is_refused(uid):
    with pytest.raises(ReviewError, match="uid"):
        admission.decode(review(uid=uid))


@pytest.mark.parametrize("request_", [None, [], "x", 5, {}])
def test_a_review_without_a_request_is_refused(request_):
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request_}
    with pytest.raises(ReviewError, match="uid"):
        admission.decode(json.dumps(body).encode())


@pytest.mark.fault(11)
@pytest.mark.parametrize(
    "body",
    [
        b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b"{'a':1}", b'{"a":1,}', b'{"a":01}', b'{"a":1}x',
        b'{"a":.5}', b'{"a":"\\x"}', b'{"a":"\n"}', b"{a:1}", b'{"a"', b'{"a":tru}', b"{", b"/**/{}",
    ],
)  # fmt: skip
def test_what_json_forbids_is_refused_though_python_takes_some_of_it(body):
    good = review()
    for hostile in (body, good.replace(b'"dryRun": false', b'"dryRun": ' + body)):
        with pytest.raises(ReviewError):
            admission.decode(hostile)


@pytest.mark.fault(12)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"\\ud800"}}',
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":' + b"9" * 5000 + b"}}",
    ],
)
def test_depth_long_numbers_and_lone_surrogates_are_refused(body):
    with pytest.raises(ReviewError):
        admission.decode(body)


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: b"\xef\xbb\xbf" + body,
        lambda body: body.decode().encode("utf-16"),
        lambda body: body.decode().encode("utf-16-le"),
        lambda body: body.decode().encode("utf-32"),
        lambda body: body.replace(b"shop", b"sh\xffop"),
        lambda body: body.replace(b"default-scheduler", b"\xc0\xaf"),
    ],
)
def test_only_clean_utf_8_is_read(spoil):
    with pytest.raises(ReviewError):
        admission.decode(spoil(review()))


@pytest.mark.fault(13)
def test_of_a_key_that_comes_twice_the_last_counts():
    body = review().replace(b'"uid": "705ab4f5', b'"uid": "first", "uid": "705ab4f5')
    assert admission.decode(body).uid == "705ab4f5-6393-11e8-b7cc-42010a800002"


def test_an_answer_without_a_change_has_neither_patch_nor_its_type():
    request = admission.decode(review())
    assert admission.encode(request) == (
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview",'
        b'"response":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","allowed":true}}'
    )


@given(uid=st.text(st.characters(codec="utf-8"), min_size=1, max_size=256), value=st.text(st.characters(codec="utf-8")))
def test_an_answer_is_json_with_the_uid_and_the_patch_that_went_in(uid, value):
    operations = [{"op": "add", "path": "/metadata/annotations", "value": {"a": value}}]
    answer = json.loads(admission.encode(admission.Request(uid=uid), admission.encode_patch(operations)))["response"]
    assert answer["uid"] == uid
    assert answer["allowed"] is True
    assert answer["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(answer["patch"], validate=True)) == operations


@given(st.binary())
def test_any_bytes_at_all_are_a_review_or_a_refusal(body):
    with pytest.raises(ReviewError):
        admission.decode(body)


@given(st.data())
def test_a_good_review_with_one_byte_changed_is_a_review_or_a_refusal(data):
    body = bytearray(review())
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        request = admission.decode(bytes(body))
        if request.is_pod_creation:
            admission.decode_pod(request)
    except ReviewError:
        return
    assert json.loads(admission.encode(request))["response"]["uid"] == request.uid
