"""Decisions and amounts in words, for people; the codes stay in metrics and logs."""

from webhook.core.placement import Reason
from webhook.core.sanity import Alarm

MEANING: dict[Reason, str] = {
    Reason.SPOT_PREFERRED: "prefers spot nodes: its owner's side is spot",
    Reason.SPOT_REQUIRED: "must go to a spot node: its owner's side is spot and the policy demands it",
    Reason.REGULAR_PREFERRED: "prefers regular nodes: its owner came back from spot, or says spot: never",
    Reason.REGULAR_REQUIRED: "must go to a regular node: its owner is on its way home",
    Reason.SPOT_TROUBLE: "prefers regular nodes though its owner's side is spot: too few spot nodes are Ready",
    Reason.MAX_SPOT: "is only stamped: the owner's share on spot is used up",
    Reason.NEVER_MOVED: "is left exactly as it is: its owner is on the regular side and never left it",
    Reason.ALREADY_DECIDED: "is left as it is: an earlier call decided",
    Reason.PAUSED: "is left as it is: injection is paused; take it out of pause in the configuration",
    Reason.OBSERVE: "is left as it is: the mode is observe; set mode: inject to steer it",
    Reason.KIND_NOT_HANDLED: "is left as it is: this kind is handled only where a rule names it, or where annotated spot-balancer.io/spot",
    Reason.EXCLUDED_NAMESPACE: "is left as it is: its namespace is excluded",
    Reason.OPTED_OUT: "is left as it is: it carries the label spot-balancer.io/skip",
    Reason.NO_CONTROLLER: "is left as it is: no controller would bring it back",
    Reason.DAEMONSET: "is left as it is: a DaemonSet's pod belongs to its node",
    Reason.STATIC: "is left as it is: a static pod belongs to its node",
    Reason.BOUND: "is left as it is: it is bound to a node already",
    Reason.PINNED: "is left as it is: it names its node",
    Reason.GATED: "is left as it is: somebody else's scheduling gate is deciding about it",
    Reason.HOST_PATH: "is left as it is: it uses files of its node",
    Reason.CRITICAL: "is left as it is: its priority is system critical",
    Reason.CONTRADICTION: "is left as it is: it says itself where it must run",
    Reason.ANNOTATIONS_FULL: "is left as it is: with ours its annotations would pass Kubernetes' limit of 256 KiB",
    Reason.UNKNOWN_OWNER: "is left as it is: nobody knows its owner yet",
    Reason.UNKNOWN_NAMESPACE: "is left as it is: nobody knows its namespace yet, nor what that says of spot",
    Reason.NO_VERDICT: "is left as it is: the monitor has not judged its owner yet",
    Reason.EXPIRED_EVIDENCE: "is left as it is: the last good evidence is too old; look at Prometheus",
    Reason.OLD_BOOK: "is left as it is: the monitor has not run for too long; look at its CronJob",
    Reason.WAKING: "is left as it is: its owner's replicas just rose, so it may be waking",
    Reason.NO_SPOT_NODES: "is left as it is: the cluster shows no spot node",
    Reason.NO_SPOT_CAPACITY: "is left as it is: the spot nodes are behind taints of others, or of another architecture than it runs on",
    Reason.NO_READY_POD: "is left as it is: without a Ready pod nobody knows its architecture, and the spot nodes are tainted",
    Reason.TOLERATIONS_RESTRICTED: "is left as it is: its namespace restricts tolerations, and the spot nodes are tainted",
    Reason.TOO_MANY_TERMS: "is left as it is: its affinity would grow too large",
    Reason.TOO_LARGE: "is left as it is: with its own long affinity in it the answer would pass 64 KiB",
    Reason.NO_SNAPSHOT: "is left as it is: the server has no snapshot yet",
    Reason.NOT_A_POD_CREATION: "is left as it is: nothing but the creation of a pod is decided",
    Reason.BAD_OBJECT: "is left as it is: it is not shaped like a pod",
    Reason.BAD_PATCH: "is left as it is: the patch failed its own check, which is a fault of ours",
    Reason.INTERNAL_ERROR: "is left as it is: an error of ours, counted and logged",
}
"""Each completes the sentence "the next pod …"."""


def amount(value: float | None, unit: str) -> str:
    """``0.4 cores`` as people read it; a dash where there was no value."""
    if value is None:
        return "-"
    if unit == "cores":
        return f"{value * 1000:.4g}m" if value < 1 else f"{value:.3g}"
    if "bytes" in unit:
        for prefix in ("", "k", "M", "G"):
            if abs(value) < 1000 or prefix == "G":
                return f"{value:.3g} {prefix}B/s"
            value /= 1000
    return f"{value:.4g} {unit}".strip()


ALARMS: dict[Alarm, str] = {
    Alarm.IDLE_JUMP: "far more workloads than a moment before seem to be idle",
    Alarm.EVIDENCE_DROP: "far fewer workloads than a moment before could be measured",
}
"""What is wrong with the monitor's runs as a whole, continuing "alarm: ..."."""
