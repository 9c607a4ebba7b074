"""AdmissionReview v1 in and out, by the API server's own rules for webhook answers.

Only ``application/json`` of one strict kind is read: UTF-8 without a mark, no NaN, no Infinity; of a key that comes
twice the last one counts, as in Go. What cannot be answered with its own uid is a ReviewError and becomes HTTP 4xx;
whatever is odd beyond the uid is the pod's business and leads to an answer that admits it as it came.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from webhook.core.model import Value
from webhook.core.pod import Pod
from webhook.errors import ReviewError

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"
LONGEST_UID = 256
MAX_ANSWER_BYTES = 64 * 1024
"""Of an answer with a patch, as it is sent. A pod's own terms, which a patch may have to repeat, can be megabytes."""

_NULL = b"null"


class GroupKind(Value, frozen=True):
    group: str = ""
    version: str = ""
    kind: str = ""


class Request(Value, frozen=True):
    """The part of a review that decisions read; ``object`` is the pod's JSON, untouched."""

    uid: str
    kind: GroupKind | None = None
    sub_resource: str | None = None
    namespace: str | None = None
    operation: str | None = None
    object: msgspec.Raw = msgspec.Raw(_NULL)

    @property
    def is_pod_creation(self) -> bool:
        """Whether this is what the webhook is registered for: a pod, whole, about to be made."""
        return (
            self.operation == "CREATE"
            and not self.sub_resource
            and self.kind is not None
            and (self.kind.group, self.kind.kind) == ("", "Pod")
            and bytes(self.object) != _NULL
        )


class _Review(Value, frozen=True):
    api_version: str
    kind: str
    request: Request


class _Outline(Value, frozen=True):
    api_version: str
    kind: str
    request: msgspec.Raw = msgspec.Raw(_NULL)


class _Identity(Value, frozen=True):
    uid: str


_REVIEWS = msgspec.json.Decoder(_Review)
_OUTLINES = msgspec.json.Decoder(_Outline)
_IDENTITIES = msgspec.json.Decoder(_Identity)
_PODS = msgspec.json.Decoder(Pod)
_ENCODER = msgspec.json.Encoder()
_BROKEN = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError)

_HEAD = b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":'
_ALLOWED = b',"allowed":true}}'
_PATCHED = b',"allowed":true,"patchType":"JSONPatch","patch":"'
_TAIL = b'"}}'


def decode(body: bytes) -> Request:
    """Read a review's request. Raises ReviewError where there is no v1 review with a uid to answer to.

    A request whose other fields have wrong types keeps nothing but its uid, and so is no pod creation.
    """
    try:
        body.decode()
        review = _REVIEWS.decode(body)
    except _BROKEN:
        return _salvage(body)
    _check_version(review.api_version, review.kind)
    _check_uid(review.request.uid)
    return review.request


def decode_pod(request: Request) -> Pod:
    """The pod to be made. Raises ReviewError where it is no pod that the API server would send."""
    try:
        return _PODS.decode(request.object)
    except _BROKEN as error:
        raise ReviewError("the object is no pod") from error


def decode_raw(request: Request) -> dict[str, Any]:
    """The pod as plain JSON values, for a patch to be tried on. Raises ReviewError."""
    try:
        raw = msgspec.json.decode(request.object)
    except _BROKEN as error:
        raise ReviewError("the object is no JSON") from error
    if not isinstance(raw, dict):
        raise ReviewError("the object is no JSON object")
    return raw


def encode(request: Request, patch: bytes = b"") -> bytes:
    """The answer: always allowed; without a patch it has neither patch nor patchType."""
    uid = _ENCODER.encode(request.uid)
    if not patch:
        return b"".join((_HEAD, uid, _ALLOWED))
    return b"".join((_HEAD, uid, _PATCHED, patch, _TAIL))


def encode_patch(operations: Sequence[Mapping[str, Any]]) -> bytes:
    """A JSON Patch in base64, as the answer carries it."""
    return base64.b64encode(_ENCODER.encode(operations))


def has_room_for(request: Request, patch: bytes) -> bool:
    """Whether the answer with this patch stays within what we send."""
    return len(encode(request, patch)) <= MAX_ANSWER_BYTES


def _salvage(body: bytes) -> Request:
    """Find the uid of a review that does not fit; say what is wrong with one that has none."""
    try:
        body.decode()
        outline = _OUTLINES.decode(body)
    except UnicodeError as error:
        raise ReviewError("the body is not UTF-8") from error
    except msgspec.ValidationError as error:
        raise ReviewError(f"expected an AdmissionReview of {API_VERSION}") from error
    except _BROKEN as error:
        raise ReviewError("the body is not JSON") from error
    _check_version(outline.api_version, outline.kind)
    try:
        identity = _IDENTITIES.decode(outline.request)
    except _BROKEN as error:
        raise ReviewError("request.uid: expected a string") from error
    _check_uid(identity.uid)
    return Request(uid=identity.uid)


def _check_version(api_version: str, kind: str) -> None:
    if api_version != API_VERSION or kind != KIND:
        raise ReviewError(f"expected an AdmissionReview of {API_VERSION}")


def _check_uid(uid: str) -> None:
    if not 0 < len(uid) <= LONGEST_UID:
        raise ReviewError(f"request.uid: expected 1 to {LONGEST_UID} characters")
