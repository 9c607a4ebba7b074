"""What a move reads and writes, on the API server: one workload with its pods, its scale, evictions, restarts.

Every write names the version or the UID that was seen. What the API server says to it is a result
with a branch of its own; where nobody knows whether it was done, that is a result too, and the
mover looks again.
"""

from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote, urlencode

from webhook.adapters.kubeapi import JSON, STRATEGIC_PATCH, KubeApi
from webhook.adapters.reflector import read_all
from webhook.core.census import ControllerFact, PodFact
from webhook.core.model import WorkloadKey
from webhook.core.moves import MANAGER, Answer, Live, Result
from webhook.errors import ClusterError, ClusterNotFound, ClusterUnavailable
from webhook.wire.kubernetes import RESOURCES, Resource, decode_object, resource_in
from webhook.wire.writes import encode_eviction, encode_restart, encode_scale

_SECONDS = 10.0
"""A write that takes longer is looked at by the next run: this one has twenty seconds in all."""
_SCALABLE = {r.kind: r for r in RESOURCES if r.kind in ("Deployment", "StatefulSet", "ReplicaSet")}
_PODS = next(r for r in RESOURCES if r.kind == "Pod")
_ANSWERS = {429: Answer.BLOCKED, 409: Answer.CONFLICT, 404: Answer.GONE, 410: Answer.GONE, 403: Answer.FORBIDDEN}
_TWO_BUDGETS = "more than one PodDisruptionBudget"
"""The API server has no code for it but 500, which may as well be trouble of its own."""


class KubeWorkloads:
    """Implements ``ports.Workloads``: ``KubeWorkloads(connect(kubeconfig, context))``."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    def live(self, key: WorkloadKey, selector: str) -> Live:
        """Read a workload and its pods now. Raises ClusterError.

        ``selector`` selects its pods; where it is empty, that of the object itself does.
        """
        resource = _resource(key)
        try:
            body = self._api.request("GET", _path(key), timeout=_SECONDS)
        except ClusterNotFound:
            return Live(fact=None)
        entry = decode_object(body, resource)
        if entry is None or not isinstance(entry.fact, ControllerFact):
            raise ClusterUnavailable(f"{key}: the API server answered with no {key.kind}")
        fact = entry.fact
        chosen = selector or (fact.rollout.selector if fact.rollout else "")
        pods = self._pods(fact, chosen) if chosen else ()
        return Live(fact=fact, resource_version=entry.resource_version, pods=pods)

    def _pods(self, fact: ControllerFact, selector: str) -> tuple[PodFact, ...]:
        found = [entry.fact for entry in read_all(self._api, resource_in(_PODS, fact.namespace), selector=selector)]
        return tuple(pod for pod in found if isinstance(pod, PodFact) and is_of(pod, fact))

    def scale(self, key: WorkloadKey, replicas: int, *, resource_version: str, dry_run: bool = False) -> Result:
        """Ask for so many replicas, through the scale subresource, if it is still of that version."""
        body = encode_scale(key, replicas, resource_version=resource_version)
        # By name, lest a proxy's User-Agent owns the field and our own replica is taken for somebody else's.
        path = f"/scale?{urlencode({'fieldManager': MANAGER})}"
        return self._write("PUT", lambda: _path(key) + path, body, dry_run=dry_run)

    def evict(self, namespace: str, name: str, *, uid: str, dry_run: bool = False) -> Result:
        """Evict the pod of that UID, within its disruption budget."""
        path = f"{resource_in(_PODS, namespace).path}/{quote(name)}/eviction"
        return self._write("POST", lambda: path, encode_eviction(namespace, name, uid=uid), dry_run=dry_run)

    def restart(self, key: WorkloadKey, *, at: datetime, resource_version: str, dry_run: bool = False) -> Result:
        """Stamp the template as `kubectl rollout restart` does, if it is still of that version."""
        body = encode_restart(at, resource_version=resource_version)
        return self._write("PATCH", lambda: _path(key), body, dry_run=dry_run, content_type=STRATEGIC_PATCH)

    def _write(
        self, method: str, path: Callable[[], str], body: bytes, *, dry_run: bool, content_type: str = JSON
    ) -> Result:
        try:
            self._api.request(
                method, _asked(path(), dry_run=dry_run), body, timeout=_SECONDS, content_type=content_type
            )
        except ClusterError as exc:
            note = exc.said or str(exc)
            return Result(answer=_answer(exc.status, note), note=note, retry_after_seconds=exc.retry_after_seconds)
        return Result(answer=Answer.DONE)


def _asked(path: str, *, dry_run: bool) -> str:
    return f"{path}{'&' if '?' in path else '?'}dryRun=All" if dry_run else path


def _answer(status: int, note: str) -> Answer:
    if status == 500 and _TWO_BUDGETS in note:
        return Answer.TWO_BUDGETS
    return _ANSWERS.get(status, Answer.FAILED)


def is_of(pod: PodFact, fact: ControllerFact) -> bool:
    """Whether a pod that the workload's selector selects is its own: of its UID, or of a ReplicaSet called after it.

    A Deployment's ReplicaSets are called after it, a dash and a hash without one; that another's selector overlaps and
    its name begins alike does not make its pods ours.
    """
    owner = pod.controller
    if owner is None:
        return False
    if fact.kind != "Deployment":
        return owner.uid == fact.uid
    after = owner.name.removeprefix(f"{fact.name}-")
    return owner.kind == "ReplicaSet" and after != owner.name and "-" not in after


def _resource(key: WorkloadKey) -> Resource:
    if key.kind not in _SCALABLE:
        raise ClusterError(f"{key}: a {key.kind} has no scale that is known here")
    return _SCALABLE[key.kind]


def _path(key: WorkloadKey) -> str:
    """Raises ClusterError."""
    return f"{resource_in(_resource(key), key.namespace).path}/{quote(key.name)}"
