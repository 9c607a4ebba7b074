"""What a node's load would be by its pods' habits, and what it is taken for.

``beyond`` is how much more a node's pods would use if each used what its owner's pods do; a sample and that make up what
is ``expected``, which stands beside the load. A few minutes are chance, habits are no more than that: ``foretold`` is between.
"""

from webhook.core.model import NodeLoad, Resources
from webhook.core.quantity import is_amount
from webhook.core.usage import NodeSample

SHARE = 0.5
"""How much of a node's load is taken from its pods' habits, where these are known."""


def expected(sample: NodeSample, beyond: Resources) -> Resources:
    """What would have been measured by habit; never less than nothing."""
    return Resources(
        cpu_cores=max(0.0, sample.cpu_cores + beyond.cpu_cores),
        memory_bytes=max(0.0, sample.memory_bytes + beyond.memory_bytes),
    )


def beyond(load: NodeLoad) -> Resources | None:
    """What a load that was kept says of its pods' habits; None where it says nothing."""
    if load.expected is None:
        return None
    return Resources(
        cpu_cores=load.expected.cpu_cores - load.cpu_cores, memory_bytes=load.expected.memory_bytes - load.memory_bytes
    )


def foretold(load: NodeLoad, allocatable: Resources) -> tuple[float, float]:
    """(CPU in cores, memory in bytes) that a node's load is taken for: measured, and by habit where that is known.

    By habit no node bears more than it has: one owner's pods would else keep all others from where theirs run, by what
    they tell of themselves.
    """
    usual = load.expected
    if usual is None or not is_amount(usual.cpu_cores, usual.memory_bytes):
        return load.cpu_cores, load.memory_bytes
    return (
        _between(load.cpu_cores, usual.cpu_cores, allocatable.cpu_cores),
        _between(load.memory_bytes, usual.memory_bytes, allocatable.memory_bytes),
    )


def _between(measured: float, usual: float, most: float) -> float:
    return measured + SHARE * (min(usual, max(most, measured)) - measured)
