"""What bounds a move, by what it is asked for: the budgets of a pod, the autoscaler of a workload, the room of a quota.

Built once for all workloads of a run. A kind that could not be read bounds nothing here, so whoever
asks must first ask whether it is known.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Self, TypeVar

from webhook.core import spotpool
from webhook.core.census import PodFact
from webhook.core.constraints import Autoscaler, Claim, Constraints, DisruptionBudget, Quota, StorageClass, Volume
from webhook.core.model import Requirement, Value, WorkloadKey

BUDGETS = "PodDisruptionBudget"
AUTOSCALERS = "HorizontalPodAutoscaler"
QUOTAS = "ResourceQuota"
CLAIMS = ("PersistentVolumeClaim", "PersistentVolume", "StorageClass")

_EVERY = (BUDGETS, AUTOSCALERS, QUOTAS, *CLAIMS)
_AMOUNT = re.compile(r"(\d{1,10})(%?)", re.ASCII)
_SINGLE = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})
_NOISE = 1e-12
"""Of a whole; so little is a float's own doing."""

_Label = tuple[str, str, str]
"""Namespace, key and value; no key for budgets that are not told by one."""

Terms = tuple[tuple[Requirement, ...], ...]
T = TypeVar("T")
K = TypeVar("K")


class Bounds(Value, frozen=True):
    """Constraints, indexed. ``missing`` are the kinds that nobody knows."""

    missing: frozenset[str] = frozenset(_EVERY)
    budgets: Mapping[_Label, list[DisruptionBudget]] = {}
    autoscalers: Mapping[WorkloadKey, list[Autoscaler]] = {}
    quotas: Mapping[str, list[Quota]] = {}
    claims: Mapping[tuple[str, str], Claim] = {}
    volumes: Mapping[str, Volume] = {}
    storage_classes: Mapping[str, StorageClass] = {}

    @classmethod
    def of(cls, constraints: Constraints | None) -> Self:
        """Index them; None is a reading without constraints, in which no kind is known."""
        if constraints is None:
            return cls()
        return cls(
            missing=frozenset(constraints.missing),
            budgets=_grouped(constraints.budgets, _label),
            autoscalers=_grouped(constraints.autoscalers, _target),
            quotas=_grouped(constraints.quotas, lambda quota: quota.namespace),
            claims={(claim.namespace, claim.name): claim for claim in constraints.claims},
            volumes={volume.name: volume for volume in constraints.volumes},
            storage_classes={found.name: found for found in constraints.storage_classes},
        )

    def knows(self, *kinds: str) -> bool:
        """Whether all of these kinds were read."""
        return self.missing.isdisjoint(kinds)

    def budgets_of(self, pod: PodFact) -> tuple[DisruptionBudget, ...]:
        """The disruption budgets that select it, by name."""
        labels = dict(pod.needs.labels)
        shelves = [("", ""), *labels.items()]
        near = (budget for key, value in shelves for budget in self.budgets.get((pod.namespace, key, value), ()))
        return tuple(sorted((b for b in near if _selects(b, labels)), key=lambda budget: budget.name))

    def autoscalers_of(self, key: WorkloadKey) -> list[Autoscaler]:
        """Those that scale the workload; more than one is a mistake that happens."""
        return self.autoscalers.get(key, [])

    def exhausted(self, pod: PodFact) -> str:
        """Which quota has, or may have, no room for one more pod like this one, in words; empty where all have.

        A pod's limits are not known. They are at least its requests, so a quota of limits is held to those: it may still
        refuse the pod, which costs a move, and no pod.
        """
        for quota in sorted(self.quotas.get(pod.namespace, ()), key=lambda quota: quota.name):
            if quota.scoped:
                return f"quota {quota.name} counts only some pods, and whether this one is among them is not known"
            for key, hard in sorted(quota.hard.items()):
                used, more = quota.used.get(key, 0.0), _counted(key, pod)
                if more and used + more > hard + _NOISE * max(hard, 1.0):
                    return (
                        f"quota {quota.name} leaves {max(hard - used, 0.0):g} of {key}, and one pod more takes {more:g}"
                    )
        return ""

    def unread_claim(self, pod: PodFact) -> str:
        """A claim of the pod that nobody knows; empty where all are known."""
        if pod.needs.claims and not self.knows(*CLAIMS):
            return pod.needs.claims[0]
        return next((name for name in pod.needs.claims if (pod.namespace, name) not in self.claims), "")

    def single_claim(self, pod: PodFact) -> str:
        """A known claim of the pod that only one node, or one pod, can hold at a time; empty where there is none."""
        return next((name for name in pod.needs.claims if self._is_single(pod.namespace, name)), "")

    def _is_single(self, namespace: str, name: str) -> bool:
        claim = self.claims.get((namespace, name))
        return claim is not None and not _SINGLE.isdisjoint(claim.access_modes)

    def places(self, claim: Claim) -> Terms | None:
        """The node terms that the claim's volume meets, or will meet; None where any node will do.

        Raises LookupError where that is not known: an unbound claim of a class that does not wait for its pod.
        """
        if claim.volume:
            return self.volumes[claim.volume].terms
        found = self.storage_classes[claim.storage_class]
        if not found.waits:
            raise LookupError(claim.name)
        return found.terms


def _grouped(values: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: defaultdict[K, list[T]] = defaultdict(list)
    for value in values:
        groups[key(value)].append(value)
    return dict(groups)


def _label(budget: DisruptionBudget) -> _Label:
    """A label that every pod it selects must carry: with a budget for each workload, few are then looked at for a pod."""
    told = (r for r in budget.selector if r.operator == "In" and len(r.values) == 1)
    first = next(told, None)
    return (budget.namespace, first.key, first.values[0]) if first else (budget.namespace, "", "")


def _target(autoscaler: Autoscaler) -> WorkloadKey:
    return WorkloadKey(autoscaler.namespace, autoscaler.target_kind, autoscaler.target_name)


def _selects(budget: DisruptionBudget, labels: Mapping[str, str]) -> bool:
    if budget.selects_nothing:
        return False
    return all(spotpool.matches(requirement, labels) for requirement in budget.selector)


def _counted(key: str, pod: PodFact) -> float:
    """What one pod more takes of a quota's key; none of what does not count pods."""
    if key in ("pods", "count/pods"):
        return 1.0
    name = key.removeprefix("requests.").removeprefix("limits.")
    if name == "cpu":
        return pod.requests.cpu_cores
    if name == "memory":
        return pod.requests.memory_bytes
    return dict(pod.needs.extended).get(name, 0.0)


def part_of(text: str, whole: int) -> int:
    """A number, or a percent of ``whole`` rounded down, as ``25%``; nought where it is neither. Never above ``whole``."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        return 0
    number = int(match[1])
    return min(whole, whole * number // 100 if match[2] else number)


def is_nought(text: str) -> bool:
    """Whether it is 0, 0 %, or nothing that can be read."""
    match = _AMOUNT.fullmatch(text)
    return match is None or int(match[1]) == 0


def forbids_all(budget: DisruptionBudget) -> bool:
    """Whether its owner says that no pod may ever be disrupted: maxUnavailable 0, or minAvailable 100 %."""
    if budget.max_unavailable:
        return is_nought(budget.max_unavailable)
    match = _AMOUNT.fullmatch(budget.min_available)
    return match is not None and match[2] == "%" and int(match[1]) >= 100


def kept_by(budget: DisruptionBudget, replicas: int) -> int:
    """How many of a workload's pods it wants healthy, 0..``replicas``.

    Its numbers are of all pods that it selects, and those may be of several workloads: what it lets go in all is what
    it may let go of this one.
    """
    spare = budget.expected_pods - budget.desired_healthy
    return max(0, min(replicas, replicas - spare))
