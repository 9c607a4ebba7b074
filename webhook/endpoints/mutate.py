"""POST /mutate: an AdmissionReview in, an answer that always admits the pod out.

decode → decide → build the patch → try it → encode. Once the uid is known, whatever goes wrong admits the pod as it
came; the reason is counted, and logged without a word of the body. Nothing here blocks, so the webhook's own timeout
cannot pass while a review is answered; a dry run is answered like any other, because answering has no side effects.
"""

import logging
from collections.abc import Callable
from time import monotonic, perf_counter

from webhook.core import patch, placement
from webhook.core.placement import Reason
from webhook.endpoints import Reply, error_body
from webhook.endpoints.faults import FaultLog
from webhook.errors import PatchError, ReviewError
from webhook.metrics import Metrics
from webhook.ports import SnapshotView
from webhook.wire import admission

_log = logging.getLogger(__name__)


class Mutate:
    """The endpoint; callable with a body's bytes. ``seconds`` is a clock that only counts; tests pass their own."""

    def __init__(self, snapshots: SnapshotView, metrics: Metrics, *, seconds: Callable[[], float] = monotonic) -> None:
        self._snapshots = snapshots
        self._metrics = metrics
        self._faults = FaultLog(_log, seconds)

    def __call__(self, body: bytes) -> Reply:
        """Answer one review. Raises nothing."""
        began = perf_counter()
        try:
            request = admission.decode(body)
        except ReviewError as error:
            return Reply(error.status, error_body(str(error)))
        reason, encoded = self._decide(request)
        self._metrics.decisions.labels(reason.value).inc()
        reply = Reply(200, admission.encode(request, encoded))
        self._metrics.mutate_seconds.observe(perf_counter() - began)
        return reply

    def _decide(self, request: admission.Request) -> tuple[Reason, bytes]:
        """A reason from a bounded set, and the patch as the answer carries it; empty for none."""
        try:
            return self._place(request)
        except ReviewError:
            return Reason.BAD_OBJECT, b""
        except PatchError as error:
            self._faults.tell("a patch failed its own check", error, request.uid)
            return Reason.BAD_PATCH, b""
        except Exception as error:  # noqa: BLE001 - the one place where everything fails open
            self._faults.tell("a review failed", error, request.uid)
            return Reason.INTERNAL_ERROR, b""

    def _place(self, request: admission.Request) -> tuple[Reason, bytes]:
        if not request.is_pod_creation:
            return Reason.NOT_A_POD_CREATION, b""
        snapshot = self._snapshots.current()
        if snapshot is None:
            return Reason.NO_SNAPSHOT, b""
        pod = admission.decode_pod(request)
        wish = placement.PlacementRequest(uid=request.uid, namespace=request.namespace or "", pod=pod)
        decision = placement.decide(wish, snapshot, now=self._snapshots.now())
        if decision.changes is None:
            return decision.reason, b""
        raw = admission.decode_raw(request)
        operations = patch.build(raw, decision.changes)
        if not operations:
            return decision.reason, b""
        patch.check(raw, operations)
        encoded = admission.encode_patch(operations)
        # A pod's own terms come back in the patch, and anybody may send long ones: a limit, and no fault.
        if not admission.has_room_for(request, encoded):
            return Reason.TOO_LARGE, b""
        self._metrics.patch_bytes.observe(len(encoded))
        return decision.reason, encoded
