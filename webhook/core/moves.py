"""A move as the book keeps it: where it stands, what came of it, and what is remembered of those before.

Every step is written before what it stands for is done, so that whoever comes after a crash knows
what may have happened, and looks.
"""

from datetime import datetime
from enum import StrEnum

from webhook.core.census import ControllerFact, PodFact
from webhook.core.model import Side, Value, WorkloadKey
from webhook.core.policy import Move as Way

MANAGER = "spot-balancer"
"""The field manager of our writes: whoever owns a field by this name, its value is ours."""


class Step(StrEnum):
    """Where a move stands. A surge goes from ``announced`` to ``lowering``; the rest is how it is undone or evicted."""

    ANNOUNCED = "announced"  # new pods are admitted with a demand for the side; nothing else was done
    RAISING = "raising"  # one replica more was, or is being, asked for
    RAISED = "raised"  # the scale was seen to hold one more; its pod is waited for
    EVICTING = "evicting"  # the pod that is to go is being evicted
    REPLACING = "replacing"  # it was; its replacement is waited for
    LOWERING = "lowering"  # one replica less is being asked for
    RETRACTED = "retracted"  # given up: new pods are admitted with a wish again
    UNDOING = "undoing"  # given up: one replica less is being asked for
    CLEARING = "clearing"  # given up: pods that are Pending with our demand are being evicted
    RESTARTING = "restarting"  # the template was stamped; the rollout is waited for


HOLDS_SURGE = frozenset({Step.ANNOUNCED, Step.RAISING, Step.RAISED, Step.EVICTING, Step.REPLACING, Step.LOWERING})
"""Steps of a surge in which new pods of the workload are admitted with a demand for its side."""


class Outcome(StrEnum):
    """What came of a move. Bounded, fit for a metric label."""

    MOVED = "moved"
    STRAYED = "strayed"  # the pod that came instead is on the wrong side too
    WRONG_VICTIM = "wrong-victim"  # the controller took a pod that was right
    NO_CAPACITY = "no-capacity"  # the new pod was not Ready within the patience
    LOST_POD = "lost-pod"  # an old pod died while the new one was Pending
    BLOCKED = "blocked"  # a disruption budget refused the eviction
    REFUSED = "refused"  # the API server refused otherwise
    REVERTED = "reverted"  # somebody set the replicas back
    CHANGED = "changed"  # somebody else scaled, paused or rolled it out
    FLIPPED = "flipped"  # its side turned meanwhile
    STOPPED = "stopped"  # moves were paused, or are not allowed any more
    GONE = "gone"  # the workload, or the pod, was deleted


MISSES = frozenset(
    {
        Outcome.STRAYED,
        Outcome.WRONG_VICTIM,
        Outcome.NO_CAPACITY,
        Outcome.LOST_POD,
        Outcome.BLOCKED,
        Outcome.REFUSED,
        Outcome.REVERTED,
    }
)
"""They count towards giving up: trying again at once would end the same way."""


class InFlight(Value, frozen=True):
    """A move that is under way.

    ``number`` counts all moves of the book. ``replicas`` is N, what the workload is to have before and after;
    ``generation`` the object's when it was announced, 0 until then. ``pod`` and ``pod_uid`` name the pod that is to go; a
    surge may take another of the wrong side. ``before`` are the UIDs of the pods that were there when it began,
    ``wrong`` those of them on the side to be left, and in ``clearing`` those that are being evicted. ``transition`` is the number that its new pods carry. ``outcome`` is what a move that is being undone will have come to. ``destination``
    is the node that was proven, empty for a pool that can grow. ``trim``: to regular because of max-spot. ``owed``: it waits for a budget
    that lets it evict, which nobody who begins later may take before it.
    """

    number: int
    workload: WorkloadKey
    uid: str
    way: Way
    to: Side
    step: Step
    began_at: datetime
    step_at: datetime
    replicas: int = 0
    generation: int = 0
    pod: str = ""
    pod_uid: str = ""
    node: str = ""
    destination: str = ""
    before: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    transition: int = 0
    trim: bool = False
    owed: bool = False
    outcome: Outcome | None = None
    note: str = ""


class Disruption(Value, frozen=True):
    """One pod that was, or may have been, disrupted: what budgets count, whatever came of it."""

    at: datetime
    to: Side
    workload: str
    node: str = ""

    @property
    def namespace(self) -> str:
        """Of the workload."""
        return self.workload.partition("/")[0]


class Finished(Value, frozen=True):
    """A move that ended: what `history` shows, and what the memory of its workload learns from."""

    number: int
    workload: WorkloadKey
    uid: str
    way: Way
    to: Side
    began_at: datetime
    ended_at: datetime
    outcome: Outcome
    pod: str = ""
    node: str = ""
    landed_on: str = ""
    transition: int = 0
    trim: bool = False
    note: str = ""


class Peak(Value, frozen=True):
    """So many spot nodes were Ready then, and never so many since."""

    at: datetime
    ready: int


class SpotHealth(Value, frozen=True):
    """How the spot nodes have been when they were last looked at, and within the time that counts before.

    ``peaks`` fall: the most that were Ready, the most since then, and so on to the last look. ``unwell_at`` is when they
    were last seen unwell, and ``unwell_why`` why.
    """

    ready: int = 0
    total: int = 0
    looked_at: datetime | None = None
    peaks: tuple[Peak, ...] = ()
    unwell_at: datetime | None = None
    unwell_why: str = ""


class Pause(Value, frozen=True):
    """Moves were paused by a person's `pause`."""

    at: datetime
    by: str = ""
    reason: str = ""


class Hold(Value, frozen=True):
    """The run that is moving now; others leave moves alone until it ends or ``until`` passes."""

    holder: str
    until: datetime


class Live(Value, frozen=True):
    """One workload as it is now, read for the sake of its move; ``fact`` is None where it is gone.

    ``pods`` are all that its selector selects and its own controllers own, those on their way out included.
    """

    fact: ControllerFact | None
    resource_version: str = ""
    pods: tuple[PodFact, ...] = ()


class Answer(StrEnum):
    """What the API server said to a write of a move; each has a branch of its own."""

    DONE = "done"
    BLOCKED = "blocked"  # 429: a disruption budget, or try later
    TWO_BUDGETS = "two-budgets"  # 500: more than one disruption budget selects the pod
    CONFLICT = "conflict"  # 409: another object of that name, or somebody wrote first
    GONE = "gone"  # 404
    FORBIDDEN = "forbidden"  # 403: a right or a quota
    FAILED = "failed"  # anything else: whether it was done is not known


class Result(Value, frozen=True):
    """``note`` is the API server's sentence."""

    answer: Answer
    note: str = ""
    retry_after_seconds: float | None = None


class Happening(Value, frozen=True):
    """What is told as an Event on the workload's own object; ``reason`` is CamelCase, as Events have it."""

    workload: WorkloadKey
    uid: str
    api_version: str
    reason: str
    note: str
    at: datetime
    warning: bool = False
