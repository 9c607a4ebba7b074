"""The queries of users' own signals: three for each, wrapped around the operator's text.

They read like our own: the largest value of the window, the steps that have one, and the value
now. Of a pod's start-up nothing counts. The text is the operator's, from the configuration file;
no name of an object is ever part of it.
"""

from webhook.core.policy import CustomSignal, IdlePolicy, SignalOf
from webhook.wire import promql_text
from webhook.wire.promql import Dialect, macros, scoped

PEAK, POINTS, RECENT = "peak", "points", "recent"
LABELS = {SignalOf.POD: ("namespace", "pod"), SignalOf.WORKLOAD: ("namespace", "workload")}
"""What a signal's own text must give."""
OPTIONAL_LABELS: dict[SignalOf, tuple[str, ...]] = {SignalOf.POD: (), SignalOf.WORKLOAD: ("kind",)}
"""What it may give besides: the kind tells a Deployment from a CronJob of the same name."""


def query_name(signal: CustomSignal, part: str) -> str:
    """How a query of a signal is called in answers and in messages."""
    return f"signals.{signal.name}.{part}"


def signal_queries(policy: IdlePolicy, dialect: Dialect = Dialect()) -> dict[str, str]:  # noqa: B008 - frozen
    """The queries of all signals of a policy by name; as many as the configuration says, whatever the cluster."""
    return {
        query_name(signal, part): scoped(promql_text.expand(text, macros(policy, dialect)), dialect)
        for signal in policy.signals
        for part, text in _parts(signal).items()
    }


def _parts(signal: CustomSignal) -> dict[str, str]:
    # A comment at the end of the operator's text must not swallow the bracket.
    largest = f"max by ({', '.join(LABELS[signal.of] + OPTIONAL_LABELS[signal.of])}) ({signal.query}\n)"
    if signal.of is SignalOf.POD:
        grown = f"({largest} unless on (namespace, pod) (kube_pod_start_time > time() - $startup))"
        settled = f"({largest} >= 0 and on (namespace, pod) (kube_pod_start_time <= time() - $startup))"
    else:
        grown, settled = f"({largest})", f"({largest} >= 0)"
    return {
        PEAK: f"max_over_time({grown}[$window:$step])",
        POINTS: f"count_over_time({settled}[$window:$step])",
        RECENT: largest,
    }
