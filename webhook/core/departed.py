"""What pods that are no more still add to the means of the nodes they ran on.

A node's window holds their use until it has moved on, and nothing of it will be there in the next hours. Prometheus tells
what they used for as long as its own window holds them, but not where that was; who kept or watched the pods knows.
CPU is told as the part of the window that they ran for; memory is the mean of what they had while they ran::

    part = the time that they ran within the window / window

A node that has just come has a mean of memory over a shorter time, which holds so much more of them and loses nothing
while it grows.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

import msgspec

from webhook.core.census import FINISHED, Census, Departed, PodFact
from webhook.core.model import Resources
from webhook.core.quantity import is_use
from webhook.core.usage import NodeSample, PodsUse, memory_span

_NAMING_ANEW = frozenset({"DaemonSet", "Job", "ReplicaSet", "ReplicationController"})
"""Kinds that give each pod a name that none had before."""
_OURS = frozenset({"", "apps", "batch"})
"""Kubernetes' own groups, or none where that is not told: another maker's Job may name its pods as it likes."""


def has_its_own_name(pod: PodFact) -> bool:
    """Whether no other pod had its name within the window: what is told of a StatefulSet's may be the predecessor's, elsewhere."""
    owner = pod.controller
    return owner is not None and owner.kind in _NAMING_ANEW and owner.api_version.rpartition("/")[0] in _OURS


def departed(pod: PodFact, seen_at: datetime) -> Departed | None:
    """A pod that was seen to be no more, or to have ended; None where its use could not be told from another's, or it never ran."""
    if not pod.node_name or pod.began_at is None or not has_its_own_name(pod):
        return None
    # Its Ready condition turns when it ends, and nothing else of it tells when that was.
    ended_at = pod.ready_at if pod.phase in FINISHED and pod.ready_at is not None else seen_at
    return Departed(
        namespace=pod.namespace,
        name=pod.name,
        node_name=pod.node_name,
        began_at=pod.began_at,
        ended_at=max(pod.began_at, ended_at),
    )


def left_behind(
    census: Census, use: PodsUse, window: timedelta, spans: Mapping[str, float] = {}
) -> dict[str, list[Resources]]:
    """By node, what each of them adds to its means over ``window``, as of when ``use`` was told.

    ``spans`` by node: the last seconds of it, before which its memory was not sampled.
    """
    found: dict[str, list[Resources]] = {}
    for one in _all(census):
        used = use.pods.get((one.namespace, one.name))
        if used is None or not is_use(*used):
            continue
        span = min(window, timedelta(seconds=spans.get(one.node_name, window.total_seconds())))
        began, ended = max(one.began_at, use.evaluated_at - span), min(one.ended_at, use.evaluated_at)
        # Whose CPU is told ran within the window, whatever is known of when it ended.
        parts = Resources(cpu_cores=used[0], memory_bytes=used[1] * max(0.0, (ended - began) / window))
        found.setdefault(one.node_name, []).append(parts)
    return found


def _all(census: Census) -> Iterable[Departed]:
    by_name = {(one.namespace, one.name): one for one in (*_ended(census), *census.departed)}
    for pod in census.pods if by_name else ():
        # Its deletion was told after the census was taken, or by a list that was older than the watch.
        if pod.phase not in FINISHED:
            by_name.pop((pod.namespace, pod.name), None)
    return by_name.values()


def _ended(census: Census) -> Iterator[Departed]:
    for pod in census.pods:
        if pod.phase in FINISHED and (found := departed(pod, census.taken_at)):
            yield found


def without(
    sample: NodeSample,
    left: Mapping[str, Resources],
    *,
    told_at: datetime | None,
    window: timedelta,
    running_cores: float = 0.0,
) -> NodeSample:
    """A node's sample less what was left behind there. As the window moves on since ``told_at``, it holds less of that.

    ``running_cores`` is what those were measured to use that run there: a node is taken for no less, whatever is told of
    those that are gone. Memory is not held to that, because pods' working sets have caches that their node does not count.
    """
    gone = left.get(sample.node)
    if gone is None or told_at is None:
        return sample
    whole, passed = window.total_seconds(), (sample.sampled_at - told_at).total_seconds()
    span = memory_span(sample.memory_span_seconds, window)
    # A node's means begin with the node: until a window after that, nothing has moved out of them.
    still = min(1.0, max(0.0, 1.0 - (passed - (whole - span)) / whole))
    # Where all of its samples are younger, the node has come anew since.
    held = whole / span if span > max(passed, 0.0) else 0.0
    most = max(0.0, sample.cpu_cores - running_cores)
    return msgspec.structs.replace(
        sample,
        cpu_cores=max(0.0, sample.cpu_cores - min(most, still * gone.cpu_cores)),
        memory_bytes=max(0.0, sample.memory_bytes - still * held * gone.memory_bytes),
    )
