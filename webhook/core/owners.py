"""From a pod's controller to the workload that people know: ``web-5d9c7b-x2x9p`` is of Deployment ``web``.

Only ReplicaSets and Jobs stand between a workload and its pods, so only they are followed, by
their ``controller`` reference and whatever its kind is (Deployment, Rollout, CronJob, ...).
Deployments, StatefulSets, DaemonSets and CronJobs are workloads of their own, also where an
operator's custom resource owns them: sides, scales and PDBs are theirs.
"""

from collections.abc import Mapping

from webhook.core.census import Census, ControllerFact, PodFact
from webhook.core.model import ControllerRef, WorkloadKey

_BETWEEN = frozenset({"ReplicaSet", "Job"})
_MAX_DEPTH = 3
"""Pod, ReplicaSet, Deployment; one more than any real chain of ReplicaSets and Jobs, and the end of any cycle."""

Name = tuple[str, str, str]


def resolve(census: Census) -> Mapping[Name, WorkloadKey]:
    """The workload of every controller, by (namespace, kind, name); workloads lead to themselves.

    Also kinds that are not read have an entry, when something names them as its controller. A ReplicaSet or Job that a
    pod names and that was not read has none: nobody knows what stands above it.
    """
    parents: dict[Name, ControllerRef | None] = {
        (c.namespace, c.kind, c.name): c.controller for c in census.controllers
    }
    children: list[PodFact | ControllerFact] = [*census.pods, *census.controllers]
    named = {(c.namespace, c.controller.kind, c.controller.name) for c in children if c.controller is not None}
    known = {name for name in named if name in parents or name[1] not in _BETWEEN}
    tops = {name: _top(name, parents) for name in parents.keys() | known}
    return {name: top for name, top in sorted(tops.items()) if top is not None}


def _top(name: Name, parents: Mapping[Name, ControllerRef | None]) -> WorkloadKey | None:
    """The end of the chain; None for a cycle, which has no end."""
    namespace, kind, own = name
    for _ in range(_MAX_DEPTH):
        parent = parents.get((namespace, kind, own)) if kind in _BETWEEN else None
        if parent is None:
            return WorkloadKey(namespace=namespace, kind=kind, name=own)
        kind, own = parent.kind, parent.name
    return None if kind in _BETWEEN else WorkloadKey(namespace=namespace, kind=kind, name=own)


def deployment_of(replicaset_name: str, pod_template_hash: str) -> str | None:
    """The Deployment's name by its ReplicaSet's, which is ``<deployment>-<hash>``; None where that does not hold.

    For a ReplicaSet so young that no watch has told of it. Argo Rollouts labels its pods by another key, so it is
    never taken for a Deployment.
    """
    suffix = f"-{pod_template_hash}"
    if not pod_template_hash or not replicaset_name.endswith(suffix):
        return None
    return replicaset_name.removesuffix(suffix) or None


def cron_job_of(job_name: str) -> str | None:
    """``nightly`` of ``nightly-29384756``, as the CronJob controller names its Jobs: by the minutes since 1970.

    For a Job so young that no watch has told of it, which its pod's creation always meets.
    """
    name, dash, minutes = job_name.rpartition("-")
    return name if name and dash and len(minutes) == 8 and minutes.isascii() and minutes.isdigit() else None
