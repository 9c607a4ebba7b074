"""POST /mutate: an AdmissionReview in, an answer that always admits the pod out.

decode → decide → build the patch → try it → encode. Once the uid is known, whatever goes wrong admits the pod as it
came; the reason is counted, and logged without a word of the body. Nothing here blocks, so the webhook's own timeout
cannot pass while a review is answered; a dry run is answered like any other, because answering has no side effects.
"""

import logging
import traceback
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from webhook.core import patch, placement
from webhook.core.placement import Reason
from webhook.endpoints import Reply, error_body
from webhook.errors import PatchError, ReviewError
from webhook.metrics import Metrics
from webhook.ports import SnapshotView
from webhook.wire import admission

_log = logging.getLogger(__name__)


class Mutate:
    """The endpoint; callable with a body's bytes."""

    def __init__(self, snapshots: SnapshotView, metrics: Metrics) -> None:
        self._snapshots = snapshots
        self._metrics = metrics

    def __call__(self, body: bytes) -> Reply:
        """Answer one review. Raises nothing."""
        began = perf_counter()
        try:
            request = admission.decode(body)
        except ReviewError as error:
            return Reply(error.status, error_body(str(error)))
        reason, operations = self._decide(request)
        self._metrics.decisions.labels(reason.value).inc()
        reply = Reply(200, admission.encode(request, operations))
        self._metrics.mutate_seconds.observe(perf_counter() - began)
        return reply

    def _decide(self, request: admission.Request) -> tuple[Reason, Sequence[Mapping[str, Any]]]:
        """A reason from a bounded set, and the operations of the patch, if any."""
        try:
            return self._place(request)
        except ReviewError:
            return Reason.BAD_OBJECT, ()
        except PatchError as error:
            _tell("a patch failed its own check", error, request.uid)
            return Reason.BAD_PATCH, ()
        except Exception as error:  # noqa: BLE001 - the one place where everything fails open
            _tell("a review failed", error, request.uid)
            return Reason.INTERNAL_ERROR, ()

    def _place(self, request: admission.Request) -> tuple[Reason, Sequence[Mapping[str, Any]]]:
        if not request.is_pod_creation:
            return Reason.NOT_A_POD_CREATION, ()
        snapshot = self._snapshots.current()
        if snapshot is None:
            return Reason.NO_SNAPSHOT, ()
        pod = admission.decode_pod(request)
        wish = placement.PlacementRequest(uid=request.uid, namespace=request.namespace or "", pod=pod)
        decision = placement.decide(wish, snapshot, now=self._snapshots.now())
        if decision.changes is None:
            return decision.reason, ()
        raw = admission.decode_raw(request)
        operations = patch.build(raw, decision.changes)
        if operations:
            patch.check(raw, operations)
            self._metrics.patch_bytes.observe(len(admission.encode_patch(operations)))
        return decision.reason, operations


def _tell(message: str, error: BaseException, uid: str) -> None:
    """Log where it happened and of what type, never the error's text: it may quote the pod."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
    _log.error(message, extra={"uid": uid, "error": type(error).__name__, "where": where})
