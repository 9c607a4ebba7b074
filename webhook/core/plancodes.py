"""Every code that a plan may tell of a workload, with its meaning: a glossary for people, and a bound for metrics."""

from webhook.core import fitting
from webhook.core.budget import Limit
from webhook.core.refusals import REMEDY, Refusal

OWN: dict[str, str] = {
    "starts": "a move of it begins in this run",
    "in-flight": "a move of it is under way",
    "settled": "all its pods are on the side where it belongs",
    "mode": REMEDY[Refusal.MODE],
    "no-verdict": "the monitor has not judged it yet",
    "never-moved": "it never left the regular side, so nothing of it is touched",
    "paused": "moves are paused, by `pause` or by the configuration; or its own rollout is",
    "old-book": "the monitor has not kept the book; look at its runs",
    "expired-evidence": "the last good evidence is older than `sides.evidenceTtl`; look at Prometheus",
    "unknown": "the last run could not tell what it does, and nothing moves on doubtful data",
    "not-idle": "its side is spot, and at this moment it is not idle, be it that it works or that it is between both",
    "frozen": "nothing moves to spot: the run as a whole is doubtful, or spot has a bad day, or had one not long ago",
    "max-spot": "its share on spot is used up",
    "canary": "its first pod on spot is watched before the others follow",
    "dwell": "it came back not long ago, and stays on regular nodes for `moves.dwell` at least",
    "backoff": "its last move came to nothing; the next waits for `moves.backoff`, doubled by each miss",
    "gave-up": "`moves.attempts` moves in a row came to nothing; it is left alone for a day, or until `resume --workload`",
    "held": "each of its pods on the wrong side says that it must not be touched",
    "in-turn": "as many moves are under way as a run can follow, or as the book can hold; it comes next",
}
"""Of the plan itself, in the order in which they are looked for."""
BUDGETS: dict[str, str] = {
    f"budget-{limit}": f"the budget of moves `{key}` is spent, or allows none"
    for limit, key in (
        (Limit.RUN, "perRun"),
        (Limit.CLUSTER, "perCluster"),
        (Limit.NAMESPACE, "perNamespace"),
        (Limit.WORKLOAD, "perWorkload"),
        (Limit.NODE, "perNode"),
    )
}
MEANING: dict[str, str] = {
    **{refusal.value: remedy for refusal, remedy in REMEDY.items()},
    **{obstacle.value: f"it would fit nowhere: {meaning}" for obstacle, meaning in fitting.MEANING.items()},
    **BUDGETS,
    # Last, because `mode` and `paused` are of a pod too, and mean more here.
    **OWN,
}
"""All of them."""
