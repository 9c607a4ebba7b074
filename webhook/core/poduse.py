"""What a pod of each workload uses: the mean of those measured, led towards their requests by what requests are worth there.

What that is shows in the workloads of a namespace, or of the whole cluster where a namespace has few; see ``trust``.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import fsum
from typing import NamedTuple

from webhook.core.expectation import pod_use
from webhook.core.model import PodUse, Resources, WorkloadKey
from webhook.core.quantity import rounded
from webhook.core.trust import Believed, Seen, everywhere, trust

_LEARNT_DIGITS = 2
"""What a pod uses is never known better, and an unchanged world shall give unchanged bytes."""
_PART_DIGITS = 1


class Told(NamedTuple):
    """One pod's means: ``used`` over the hour of habits, or what is known of it, ``recent`` over the window."""

    used: Resources
    recent: Resources
    requests: Resources


def learn(told: Mapping[WorkloadKey, Sequence[Told]]) -> dict[WorkloadKey, PodUse]:
    """By workload, which must have a pod each. The order of pods and workloads does not show in a single bit."""
    measured = {key: found for key, pods in told.items() if (found := pod_use(_in_order([pod.used for pod in pods])))}
    cpu, memory = {}, {}
    for key, found in measured.items():
        recent, asked = _mean([pod.recent for pod in told[key]]), _requested([pod.requests for pod in told[key]])
        cpu[key] = Seen(found.cpu_cores, found.cpu_deviation_cores, found.pods, recent.cpu_cores, asked.cpu_cores)
        memory[key] = Seen(
            found.memory_bytes, found.memory_deviation_bytes, found.pods, recent.memory_bytes, asked.memory_bytes
        )
    cpu_use, memory_use = _believed(cpu), _believed(memory)
    return {
        key: _use(found.pods, cpu[key], cpu_use[key], memory[key], memory_use[key]) for key, found in measured.items()
    }


def _believed(seen: Mapping[WorkloadKey, Seen]) -> dict[WorkloadKey, Believed]:
    by_namespace: defaultdict[str, list[Seen]] = defaultdict(list)
    for key, one in seen.items():
        by_namespace[key.namespace].append(one)
    all_told = everywhere(by_namespace.values())
    known = {namespace: trust(mine) or all_told for namespace, mine in by_namespace.items()}
    return {key: found.of(one) if (found := known[key.namespace]) else Believed(one.mean) for key, one in seen.items()}


def _use(pods: int, cpu: Seen, cpu_use: Believed, memory: Seen, memory_use: Believed) -> PodUse:
    return PodUse(
        cpu_cores=rounded(cpu_use.mean, _LEARNT_DIGITS),
        cpu_deviation_cores=rounded(_deviation(cpu, cpu_use), _LEARNT_DIGITS),
        memory_bytes=rounded(memory_use.mean, _LEARNT_DIGITS),
        memory_deviation_bytes=rounded(_deviation(memory, memory_use), _LEARNT_DIGITS),
        pods=pods,
        cpu_by_request=rounded(cpu_use.part, _PART_DIGITS),
        memory_by_request=rounded(memory_use.part, _PART_DIGITS),
    )


def _deviation(seen: Seen, believed: Believed) -> float:
    """Pods of twice the mean deviate twice as far."""
    return seen.deviation * (believed.mean / seen.mean) if seen.mean > 0 else seen.deviation


def _in_order(measured: list[Resources]) -> list[Resources]:
    """Sums of floats hang on their order by the last bit, and that of pods is the API server's."""
    return sorted(measured, key=lambda one: (one.cpu_cores, one.memory_bytes))


def _mean(amounts: Sequence[Resources]) -> Resources:
    return Resources(
        cpu_cores=fsum(one.cpu_cores for one in amounts) / len(amounts),
        memory_bytes=fsum(one.memory_bytes for one in amounts) / len(amounts),
    )


def _requested(requests: Sequence[Resources]) -> Resources:
    """Of one pod, in the mean; nothing where one of them requests nothing, as then nobody said what they use."""
    mean = _mean(requests)
    return Resources(
        cpu_cores=mean.cpu_cores if all(one.cpu_cores > 0 for one in requests) else 0.0,
        memory_bytes=mean.memory_bytes if all(one.memory_bytes > 0 for one in requests) else 0.0,
    )
