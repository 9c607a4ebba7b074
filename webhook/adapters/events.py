"""What moves did, told as Events on the workloads: `kubectl describe` shows them to whoever owns one."""

import logging

from webhook.adapters.kubeapi import KubeApi
from webhook.core.moves import Happening
from webhook.errors import ClusterError
from webhook.wire.writes import encode_event

log = logging.getLogger(__name__)

_SECONDS = 3.0
"""Telling of a move must not take the time of the next one."""


class KubeRecorder:
    """Implements ``ports.Recorder``: ``KubeRecorder(connect(kubeconfig, context))``."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._told: set[type[ClusterError]] = set()

    def record(self, happening: Happening) -> None:
        """Tell it; where that fails, the log says so, once for each reason."""
        path = f"/apis/events.k8s.io/v1/namespaces/{happening.workload.namespace}/events"
        try:
            self._api.request("POST", path, encode_event(happening), timeout=_SECONDS)
        except ClusterError as exc:
            if type(exc) not in self._told:
                self._told.add(type(exc))
                log.warning("Events cannot be written", extra={"workload": str(happening.workload), "why": str(exc)})
