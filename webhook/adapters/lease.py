"""One of several monitors acts: the holder of a Lease, for as long as it can say so.

The holder stops trusting itself before others may take over: it counts from the moment it sent the
last renewal that was answered, and only for two thirds of the Lease's duration; the others wait for
the whole of it, from the moment they first saw that renewal. No clock is compared with another's;
one that jumps ahead may take over too early, and then the versions that every write names decide.
"""

import logging
from contextlib import suppress
from datetime import datetime, timedelta

from webhook.adapters.kubeapi import KubeApi
from webhook.errors import ClusterConflict, ClusterError, ClusterForbidden, ClusterNotFound, ClusterUnavailable
from webhook.ports import Clock
from webhook.wire.lease import API, LeaseObject, decode_lease, encode_lease

log = logging.getLogger(__name__)

DURATION = timedelta(seconds=15)
_TRUSTED = 2 / 3
"""Of the duration: what is under way when it ends has the last third to arrive."""
_SECONDS = 3.0


class Lease:
    """``Lease(api, namespace, name, holder, clock)``; ask ``holds`` before every write, from any thread; all else is for one."""

    def __init__(  # noqa: PLR0913 - where it is, whose it is, and until when
        self, api: KubeApi, namespace: str, name: str, holder: str, clock: Clock, *, duration: timedelta = DURATION
    ) -> None:
        self._api = api
        self._collection = f"/apis/{API}/namespaces/{namespace}/leases"
        self._name = name
        self._holder = holder
        self._clock = clock
        self._duration = duration
        self._held: LeaseObject | None = None
        self._renewed_at: datetime | None = None
        self._seen = ""
        self._seen_at: datetime | None = None

    def holds(self) -> bool:
        """Whether it is surely still ours; not any more once the clock was set back."""
        # Read once: the thread that renews may lose it between two looks.
        renewed_at = self._renewed_at
        return renewed_at is not None and _is_within(self._clock() - renewed_at, self._duration * _TRUSTED)

    def acquire_or_renew(self) -> bool:
        """Try once, every few seconds; whether it is ours now. Raises ClusterForbidden where the right is missing.

        No answer changes nothing: it stays ours until the trust in the last renewal has run out.
        """
        try:
            self._try()
        except ClusterConflict:
            self._lose()  # somebody was quicker
        except ClusterForbidden:
            self._lose()
            raise
        except ClusterError as exc:
            log.warning("the lease cannot be renewed", extra={"lease": self._name, "why": str(exc)})
        return self.holds()

    def release(self) -> None:
        """Give it back, so that nobody has to wait; without an answer it runs out by itself."""
        held, self._held = self._held, None
        self._lose()
        if held is not None:
            with suppress(ClusterError):
                self._write("", self._clock(), held)

    def _try(self) -> None:
        now = self._clock()
        found = self._get()
        if found is not None and not self._is_free(found, now):
            self._lose()
            return
        had = self.holds()
        self._held = self._write(self._holder, now, found)
        self._renewed_at = now
        if not had:
            log.info("the lease is ours", extra={"lease": self._name, "holder": self._holder})

    def _lose(self) -> None:
        if self._renewed_at is not None:
            log.info("the lease is no longer ours", extra={"lease": self._name, "holder": self._holder})
        self._renewed_at = None

    def _is_free(self, found: LeaseObject, now: datetime) -> bool:
        """Whether it is ours, was given back, or was not renewed for all of its duration before our eyes."""
        if found.holder in ("", self._holder):
            return True
        version = found.metadata.resource_version
        if self._seen_at is None or version != self._seen or now < self._seen_at:
            self._seen, self._seen_at = version, now
        seconds = found.spec.lease_duration_seconds
        return not _is_within(now - self._seen_at, timedelta(seconds=seconds) if seconds else self._duration)

    def _get(self) -> LeaseObject | None:
        try:
            return self._decoded(self._api.request("GET", f"{self._collection}/{self._name}", timeout=_SECONDS))
        except ClusterNotFound:
            return None

    def _write(self, holder: str, now: datetime, before: LeaseObject | None) -> LeaseObject:
        body = encode_lease(self._name, holder, now=now, duration=self._duration, before=before)
        path = self._collection if before is None else f"{self._collection}/{self._name}"
        return self._decoded(self._api.request("POST" if before is None else "PUT", path, body, timeout=_SECONDS))

    def _decoded(self, body: bytes) -> LeaseObject:
        try:
            return decode_lease(body)
        except ValueError as exc:
            raise ClusterUnavailable(f"{self._name}: the API server answered with no Lease") from exc


def _is_within(passed: timedelta, limit: timedelta) -> bool:
    return timedelta(0) <= passed < limit
