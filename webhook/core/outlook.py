"""What a workload lacks to be idle, and what would make it active: a verdict read forwards."""

from collections.abc import Iterator
from datetime import timedelta

from webhook.core.model import Evidence, Side, Signal, Verdict
from webhook.core.policy import IdlePolicy, SidePolicy
from webhook.core.words import amount


def to_spot(verdict: Verdict, idle: IdlePolicy, sides: SidePolicy) -> tuple[str, ...]:
    """Everything between a workload and the spot side, a sentence each; empty once it rests there."""
    if verdict.side is Side.SPOT and verdict.evidence is Evidence.IDLE:
        return ()
    lacks = [lack for signal in verdict.signals for lack in _of_signal(signal, idle)]
    if not lacks and verdict.evidence is not Evidence.IDLE:
        lacks = [verdict.reason]
    if verdict.side is Side.REGULAR:
        lacks.append(f"{sides.idle_runs_to_spot} idle runs in a row; {verdict.idle_runs} so far")
    return tuple(lacks)


def to_active(verdict: Verdict) -> tuple[str, ...]:
    """What would turn it to regular at once, any one of them; empty where it is active already."""
    if verdict.evidence is Evidence.ACTIVE:
        return ()
    return tuple(
        f"{signal.name} of {amount(signal.active_above, signal.unit)} or more in one pod; "
        + ("there is no recent value" if signal.recent is None else f"now {amount(signal.recent, signal.unit)}")
        for signal in verdict.signals
    )


def _of_signal(signal: Signal, idle: IdlePolicy) -> Iterator[str]:
    name = signal.name
    if signal.value is None:
        yield f"{name}: a value; the window has none"
    elif signal.value >= signal.idle_below:
        below, window = amount(signal.idle_below, signal.unit), _minutes(signal.window_seconds)
        yield f"{name}: below {below} for {window}; it reached {amount(signal.value, signal.unit)}"
    if signal.samples < signal.samples_expected:
        yield f"{name}: {signal.samples_expected} samples in the window; {signal.samples} were there"
    if signal.coverage is not None and signal.coverage < idle.min_coverage:
        yield f"{name}: {idle.min_coverage:.0%} of the pods' time seen; {signal.coverage:.0%} was"


def _minutes(seconds: float) -> str:
    return f"{timedelta(seconds=seconds) / timedelta(minutes=1):g} min" if seconds >= 120 else f"{seconds:g} s"
