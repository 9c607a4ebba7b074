"""One process' way to a simulated cluster: the ports that a run of the mover acts through, and what may go wrong there.

Each process has a client of its own, because a swap of the control object holds to the version that this very process
read last. Trouble is a function of the call and of its number in this process' life; it says whether the call is struck,
and how.
"""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

from webhook.core.book import Control
from webhook.core.model import WorkloadKey
from webhook.core.moves import Answer, Happening, Live, Result
from webhook.errors import ClusterConflict, ClusterUnavailable
from webhook.jobs.mover import MoverDeps
from webhook.simulation.cluster import Cluster
from webhook.simulation.objects import DeploymentState, PodState

READS = frozenset({"live", "control"})
CALL_SECONDS = 0.02
"""What a call takes."""


class Crash(Exception):  # noqa: N818 - no mistake of anybody's: the process was killed
    """The process ended in the middle. Nothing above may catch it but who starts the next one."""


class Strike(StrEnum):
    """How a call goes wrong."""

    REFUSED = "refused"  # it was not done, and the answer says 500
    LOST = "lost"  # it was done, and no answer came
    CRASH_BEFORE = "crash-before"  # the process was killed right before it
    CRASH_AFTER = "crash-after"  # and right after it was done


Trouble = Callable[[str, int], Strike | None]
"""By the name of the call (``live``, ``scale``, ``evict``, ``restart``, ``control``, ``swap``) and its number, from 1."""


def calm(call: str, number: int) -> Strike | None:  # noqa: ARG001
    """No trouble at all."""
    return None


class Api:
    """The ports ``Workloads``, ``ControlBook`` and ``Recorder`` of one process; ``calls`` counts what it asked, ``struck`` what went wrong."""

    def __init__(self, cluster: Cluster, *, trouble: Trouble = calm) -> None:
        self.calls = self.struck = 0
        self._cluster, self._trouble = cluster, trouble
        self._version: int | None = None

    def deps(self, holder: str = "monitor", *, may_write: Callable[[], bool] = lambda: True) -> MoverDeps:
        """All that a run of the mover needs; its `sleep` lets the cluster's time pass."""
        return MoverDeps(
            workloads=self,
            book=self,
            recorder=self,
            clock=self._cluster.now,
            sleep=self._cluster.advance,
            holder=holder,
            may_write=may_write,
        )

    # --- Workloads

    def live(self, key: WorkloadKey, selector: str) -> Live:  # noqa: ARG002 - a Deployment's pods are known by it
        """The workload and all its pods now. Raises ClusterUnavailable where it is struck."""
        self._read("live")
        found = self._cluster.deployments.get(key)
        if found is None:
            return Live(fact=None)
        pods = tuple(pod.fact for pod in found.pods.values())
        return Live(fact=found.facts[0], resource_version=str(found.version), pods=pods)

    def scale(self, key: WorkloadKey, replicas: int, *, resource_version: str, dry_run: bool = False) -> Result:
        """The scale subresource, with its precondition."""

        def act() -> Result:
            found = self._cluster.deployments.get(key)
            if found is None:
                return Result(answer=Answer.GONE, note=f"{key} not found")
            if str(found.version) != resource_version:
                return Result(answer=Answer.CONFLICT, note="the object has been modified")
            if not dry_run:
                self._cluster.scale_by_mover(found, replicas)
            return Result(answer=Answer.DONE)

        return self._write("scale", act)

    def evict(self, namespace: str, name: str, *, uid: str, dry_run: bool = False) -> Result:
        """The eviction API: the UID must be the pod's, and its disruption budget must allow it."""

        def act() -> Result:
            pod = self._pod(namespace, name)
            if pod is None:
                return Result(answer=Answer.GONE, note=f"pods {name!r} not found")
            if pod.uid != uid:
                return Result(answer=Answer.CONFLICT, note="the UID in the precondition does not match")
            if not _may_evict(pod):
                return Result(
                    answer=Answer.BLOCKED, note="Cannot evict pod as it would violate the pod's disruption budget."
                )
            if not dry_run and pod.fact.is_active:
                self._cluster.evict_by_mover(pod)
            return Result(answer=Answer.DONE)

        return self._write("evict", act)

    def restart(self, key: WorkloadKey, *, at: datetime, resource_version: str, dry_run: bool = False) -> Result:  # noqa: ARG002
        """Refused: rollouts are not simulated."""
        return self._write("restart", lambda: Result(answer=Answer.FORBIDDEN, note="rollouts are not simulated"))

    # --- ControlBook

    def control(self) -> Control:
        """The control object now. Raises ClusterUnavailable where it is struck."""
        self._read("control")
        self._version = self._cluster.book_version
        return self._cluster.book.control

    def swap(self, new: Control) -> None:
        """Write it over the version read last. Raises ClusterConflict, ClusterUnavailable."""
        strike = self._next("swap")
        if strike is Strike.REFUSED:
            raise ClusterUnavailable("swap: 500", status=500)
        if self._version != self._cluster.book_version:
            raise ClusterConflict("somebody else wrote the control object", status=409)
        self._cluster.write_control(new)
        self._version = self._cluster.book_version
        if strike is Strike.CRASH_AFTER:
            raise Crash("swap")
        if strike is Strike.LOST:
            self._version = None
            raise ClusterUnavailable("swap: no answer")

    # --- Recorder

    def record(self, happening: Happening) -> None:
        """Keep the Event."""
        told = (happening.at, happening.workload, happening.reason, happening.note)
        self._cluster.record.events.append(told)

    def _pod(self, namespace: str, name: str) -> PodState | None:
        owners = (found for key, found in self._cluster.deployments.items() if key.namespace == namespace)
        return next((pod for owner in owners for pod in owner.pods.values() if pod.fact.name == name), None)

    def _next(self, call: str) -> Strike | None:
        self.calls += 1
        self._cluster.record.writes[call] += call not in READS
        strike = self._trouble(call, self.calls)
        self.struck += strike is not None
        if strike is Strike.CRASH_BEFORE:
            raise Crash(call)
        self._cluster.advance(CALL_SECONDS)
        return strike

    def _read(self, call: str) -> None:
        strike = self._next(call)
        if strike is Strike.CRASH_AFTER:
            raise Crash(call)
        if strike is not None:
            raise ClusterUnavailable(f"{call}: no answer")

    def _write(self, call: str, act: Callable[[], Result]) -> Result:
        strike = self._next(call)
        if strike is Strike.REFUSED:
            return Result(answer=Answer.FAILED, note=f"{call}: 500")
        result = act()
        if strike is Strike.CRASH_AFTER:
            raise Crash(call)
        return Result(answer=Answer.FAILED, note=f"{call}: no answer") if strike is Strike.LOST else result


def _may_evict(pod: PodState) -> bool:
    """A pod that never ran, or is on its way out, is evicted whatever its budget says; one that is not Ready, where enough are."""
    owner: DeploymentState = pod.owner
    if not owner.has_budget or pod.fact.phase == "Pending" or not pod.fact.is_active:
        return True
    told = owner.budget
    if not pod.fact.ready:
        return told.desired_healthy > 0 and told.current_healthy >= told.desired_healthy
    return told.disruptions_allowed > 0
