"""What a pod will use, before it runs: by its siblings, else by its namespace's habits, else by its requests.

Requests are what people wrote down once; siblings show what a pod of that kind does. Only pods that ran before tell
anything here, so nothing of a pod's own future can leak into its placement.
"""

from collections.abc import Iterable
from enum import StrEnum
from math import sqrt

from webhook.core.model import Estimate, Namespace, PodUse, Resources, UseRatio, Value, Workload
from webhook.core.quantity import is_amount

UNSURE = 0.5
"""Deviation over mean where no sibling tells: a guess by requests is easily half or twice of the truth."""

_WORTH_SAYING = 0.1
"""What requests have less of in what siblings tell is not worth a word."""


class Source(StrEnum):
    """Where an expectation came from, best first."""

    OWNER = "owner"
    OWNER_AND_REQUEST = "owner-and-request"
    NAMESPACE = "namespace-ratio"
    REQUEST = "request"
    NONE = "none"


class Expectation(Value, frozen=True):
    """``cpu_from`` and ``memory_from`` say who told; NONE is an expectation of nothing, for want of any word."""

    estimate: Estimate = Estimate()
    cpu_from: Source = Source.NONE
    memory_from: Source = Source.NONE


def expect(workload: Workload | None, namespace: Namespace | None, requests: Resources) -> Expectation:
    """For the next pod of a workload. Any of the three may know nothing."""
    use = workload.use if workload else None
    if use is not None and use.pods and _is_known(use):
        estimate = Estimate(
            cpu_cores=use.cpu_cores,
            cpu_deviation_cores=use.cpu_deviation_cores,
            memory_bytes=use.memory_bytes,
            memory_deviation_bytes=use.memory_deviation_bytes,
        )
        return Expectation(
            estimate=estimate, cpu_from=_by_owner(use.cpu_by_request), memory_from=_by_owner(use.memory_by_request)
        )
    ratio = (namespace.use_ratio if namespace else None) or UseRatio()
    cpu, cpu_from = _by_request(requests.cpu_cores, ratio.cpu)
    memory, memory_from = _by_request(requests.memory_bytes, ratio.memory)
    estimate = Estimate(
        cpu_cores=cpu,
        cpu_deviation_cores=cpu * UNSURE,
        memory_bytes=memory,
        memory_deviation_bytes=memory * UNSURE,
    )
    return Expectation(estimate=estimate, cpu_from=cpu_from, memory_from=memory_from)


def _by_owner(part: float) -> Source:
    return Source.OWNER_AND_REQUEST if part >= _WORTH_SAYING else Source.OWNER


def _is_known(use: PodUse) -> bool:
    return is_amount(use.cpu_cores, use.cpu_deviation_cores, use.memory_bytes, use.memory_deviation_bytes)


def _by_request(request: float, ratio: float | None) -> tuple[float, Source]:
    if not request or not is_amount(request):
        return 0.0, Source.NONE
    if ratio is None or not is_amount(request * ratio):
        return request, Source.REQUEST
    return request * ratio, Source.NAMESPACE


def pod_use(measured: Iterable[Resources]) -> PodUse | None:
    """Mean and deviation over the measured pods of one workload; None without any. One pod alone is unsure of itself."""
    pods = list(measured)
    if not pods:
        return None
    cpu, cpu_deviation = _moments([pod.cpu_cores for pod in pods])
    memory, memory_deviation = _moments([pod.memory_bytes for pod in pods])
    return PodUse(
        cpu_cores=cpu,
        cpu_deviation_cores=cpu_deviation,
        memory_bytes=memory,
        memory_deviation_bytes=memory_deviation,
        pods=len(pods),
    )


def _moments(values: list[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, mean * UNSURE
    return mean, sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
