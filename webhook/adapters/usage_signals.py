"""Users' own signals, from the answers of their queries to samples of pods and workloads."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import msgspec

from webhook.core.policy import CustomSignal, SignalOf
from webhook.core.usage import PodUsage, SignalSample, WorkloadSignals
from webhook.wire.prometheus import Vector
from webhook.wire.promql_signals import LABELS, OPTIONAL_LABELS, PEAK, POINTS, RECENT, query_name

Answers = Mapping[str, Vector]
Named = tuple[str, ...]
"""(namespace, pod) or (namespace, workload, kind), the kind empty where it is not told."""


def with_signals(pods: Iterable[PodUsage], answers: Answers, signals: Iterable[CustomSignal]) -> tuple[PodUsage, ...]:
    """The same pods, with what their own signals say. A series of a pod that nothing else knows counts for none."""
    found = _samples(answers, [signal for signal in signals if signal.of is SignalOf.POD])
    if not found:
        return tuple(pods)
    return tuple(msgspec.structs.replace(pod, signals=found.get((pod.namespace, pod.name), {})) for pod in pods)


def of_workloads(answers: Answers, signals: Iterable[CustomSignal]) -> tuple[WorkloadSignals, ...]:
    """What the signals say that speak of workloads as a whole."""
    found = _samples(answers, [signal for signal in signals if signal.of is SignalOf.WORKLOAD])
    return tuple(
        WorkloadSignals(namespace=namespace, workload=workload, kind=kind, signals=samples)
        for (namespace, workload, kind), samples in sorted(found.items())
    )


def _samples(answers: Answers, signals: Iterable[CustomSignal]) -> dict[Named, dict[str, SignalSample]]:
    found: defaultdict[Named, dict[str, SignalSample]] = defaultdict(dict)
    for signal in signals:
        peaks = _read(answers[query_name(signal, PEAK)], signal.of, max)
        recents = _read(answers[query_name(signal, RECENT)], signal.of, max)
        points = _read(answers[query_name(signal, POINTS)], signal.of, min)
        for named in peaks.keys() | recents.keys() | points.keys():
            found[named][signal.name] = SignalSample(
                peak=peaks.get(named), recent=recents.get(named), points=int(points.get(named, 0))
            )
    return dict(found)


def _read(answer: Vector, of: SignalOf, choose: Callable[[float, float], float]) -> dict[Named, float]:
    found: dict[Named, float] = {}
    for row, value in answer.rows:
        needed = tuple(row.get(label, "") for label in LABELS[of])
        if all(needed):
            named = (*needed, *(row.get(label, "") for label in OPTIONAL_LABELS[of]))
            found[named] = choose(found[named], value) if named in found else value
    return found
