"""Why the running pods of a workload are not moved, as codes for metrics and as sentences for people."""

from collections.abc import Iterable
from enum import StrEnum

from webhook.core.model import Value


class Refusal(StrEnum):
    """Why nothing may be moved: bounded, fit for a metric label. Of several reasons of its pods the first here is told."""

    # Whose pods are nobody's to move.
    EXCLUDED_NAMESPACE = "excluded-namespace"
    BARE = "bare"
    DAEMONSET = "daemonset"
    STATIC = "static"
    NEXT_PODS_ONLY = "next-pods-only"
    KIND_NOT_MOVABLE = "kind-not-movable"
    # What was asked for.
    MODE = "mode"
    KIND_NOT_HANDLED = "kind-not-handled"
    OPTED_OUT = "opted-out"
    SAFE_TO_EVICT = "safe-to-evict"
    DO_NOT_DISRUPT = "do-not-disrupt"
    PREFER_NO_EVICTION = "prefer-no-eviction"
    NOT_ALLOWED = "not-allowed"
    # What would be lost.
    CRITICAL = "critical"
    LOCAL_STORAGE = "local-storage"
    CLAIMS = "claims"
    CLAIMS_UNKNOWN = "claims-unknown"
    # Not now.
    UNREAD = "unread"
    SCALED_TO_ZERO = "scaled-to-zero"
    RECREATE = "recreate"
    PAUSED = "paused"
    PROGRESSING = "progressing"
    UNREADY = "unready"
    # Bounded by others.
    BUDGETS_UNKNOWN = "budgets-unknown"
    AUTOSCALERS_UNKNOWN = "autoscalers-unknown"
    BUDGET_FORBIDS = "budget-forbids"
    BUDGET_STALE = "budget-stale"
    AUTOSCALING = "autoscaling"
    # No way left.
    TWO_BUDGETS = "two-budgets"
    HPA_NO_HEADROOM = "hpa-no-headroom"
    NO_HEADROOM = "no-headroom"
    BUDGET_SPENT = "budget-spent"
    RESTART_UNSAFE = "restart-unsafe"
    SURGE_UNSAFE = "surge-unsafe"


REMEDY: dict[Refusal, str] = {
    Refusal.EXCLUDED_NAMESPACE: "its namespace is excluded; take it out of excludedNamespaces to have it handled",
    Refusal.BARE: "no controller would bring its pod back; give it a Deployment",
    Refusal.DAEMONSET: "a DaemonSet's pods belong to their nodes",
    Refusal.STATIC: "a static pod belongs to its node",
    Refusal.NEXT_PODS_ONLY: "a running Job is never touched, for its work would be lost; its next pods are steered as they are created",
    Refusal.KIND_NOT_MOVABLE: "only pods of Deployments, StatefulSets and ReplicaSets can be moved; pods of others follow as they are replaced",
    Refusal.MODE: "its mode is below move; set mode: move in the configuration or in a rule, and take away annotations that lower it",
    Refusal.KIND_NOT_HANDLED: "this kind is handled only where a rule names it, or where annotated spot-balancer.io/spot",
    Refusal.OPTED_OUT: "it carries the label spot-balancer.io/skip",
    Refusal.SAFE_TO_EVICT: "cluster-autoscaler.kubernetes.io/safe-to-evict: false forbids it; take that away, or set spot-balancer.io/move beside it",
    Refusal.DO_NOT_DISRUPT: "karpenter.sh/do-not-disrupt forbids it; take that away, or wait until its duration is over",
    Refusal.PREFER_NO_EVICTION: "descheduler.alpha.kubernetes.io/prefer-no-eviction forbids it; take that away, or set spot-balancer.io/move beside it",
    Refusal.NOT_ALLOWED: "no way is both allowed and asked for; look at allowedMoves and at spot-balancer.io/move",
    Refusal.CRITICAL: "its priority is system critical",
    Refusal.LOCAL_STORAGE: "data on its node would be lost; name volumes that may go in cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes",
    Refusal.CLAIMS: "it uses volumes, and such pods are moved only where asked; annotate it spot-balancer.io/spot, or name its kind in a rule",
    Refusal.CLAIMS_UNKNOWN: "nobody knows where its volumes can go; may the monitor list claims, volumes and storage classes?",
    Refusal.UNREAD: "the API server told nothing of its replicas; may the monitor list its kind?",
    Refusal.SCALED_TO_ZERO: "it is scaled to nought, so there is nothing to move",
    Refusal.RECREATE: "its strategy is Recreate, so its pods cannot run side by side; use RollingUpdate if they can",
    Refusal.PAUSED: "its rollout is paused; resume it",
    Refusal.PROGRESSING: "a rollout or a scaling is in progress; it is looked at again when that is over",
    Refusal.UNREADY: "not all of its pods are available; it is looked at again when they are",
    Refusal.BUDGETS_UNKNOWN: "disruption budgets could not be read, so nothing is moved; give the monitor the right to list them",
    Refusal.AUTOSCALERS_UNKNOWN: "autoscalers could not be read, so nothing is moved; give the monitor the right to list them",
    Refusal.BUDGET_FORBIDS: "its disruption budget allows no disruption at all; a budget of at least one pod would let it be moved",
    Refusal.BUDGET_STALE: "the status of its disruption budget is older than the budget; it is looked at again when that is settled",
    Refusal.AUTOSCALING: "an autoscaler is scaling it just now; it is looked at again when that is over",
    Refusal.TWO_BUDGETS: "more than one disruption budget selects its pods, and the API server then refuses every eviction; leave one of them",
    Refusal.HPA_NO_HEADROOM: "its strategy allows no pod less, and under an autoscaler none is added: with the default of 25 % that is so"
    " below 4 replicas; raise minReplicas of the autoscaler, or maxUnavailable of the strategy",
    Refusal.NO_HEADROOM: "no pod less is allowed by its strategy and its disruption budget; allow surge, or raise replicas or maxUnavailable",
    Refusal.BUDGET_SPENT: "its disruption budget allows no disruption just now; it is looked at again later",
    Refusal.RESTART_UNSAFE: "a restart would write a template that others keep, or take pods that must stay; allow surge or evict",
    Refusal.SURGE_UNSAFE: "it cannot have one replica more for a while; allow evict, or take away what speaks against surge",
}
"""Each completes the sentence "it is not moved: ...", and says what an operator may do."""


class Refused(Value, frozen=True):
    """A reason with what was seen of this very workload or pod, in words."""

    refusal: Refusal
    detail: str = ""


def first(several: Iterable[Refused]) -> Refused | None:
    """The one whose reason stands first among all reasons."""
    order = list(Refusal)
    return min(several, key=lambda one: order.index(one.refusal), default=None)
