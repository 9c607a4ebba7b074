"""The verdict book's contents: verdicts, and the control object beside them."""

from datetime import datetime

from webhook.core.model import Side, Value, Verdict, WorkloadKey
from webhook.core.moves import HOLDS_SURGE, Disruption, Finished, Hold, InFlight, Pause, SpotHealth
from webhook.core.policy import Move
from webhook.core.sanity import Sanity


class Control(Value, frozen=True):
    """What one write must change as a whole, compared and swapped before each write of a move.

    ``heartbeat`` is the end of the monitor's last run, ``sanity`` what the next run is held against. ``moves`` are under
    way, ``disruptions`` those that a budget's window may still count, ``finished`` the last moves that ended, the newest
    last. ``numbered`` is how many moves there ever were, ``ended`` of them by ``<side>/<outcome>``. ``missed_admissions``
    counts the pods that the last run found created while nobody stamped them, ``frozen`` has the codes of what kept
    everything from moving to spot then. ``paused`` stops new ones, ``hold`` is the run that moves now.
    """

    heartbeat: datetime | None = None
    sanity: Sanity = Sanity()
    numbered: int = 0
    moves: tuple[InFlight, ...] = ()
    disruptions: tuple[Disruption, ...] = ()
    finished: tuple[Finished, ...] = ()
    ended: dict[str, int] = {}
    missed_admissions: int = 0
    frozen: tuple[str, ...] = ()
    spot: SpotHealth = SpotHealth()
    paused: Pause | None = None
    hold: Hold | None = None

    @property
    def surging(self) -> dict[WorkloadKey, Side]:
        """The workloads that a move holds, or may hold, one replica above; new pods of them must go to that side."""
        held = (move for move in self.moves if move.way is Move.SURGE and move.step in HOLDS_SURGE)
        return {move.workload: move.to for move in held}


class Book(Value, frozen=True):
    control: Control = Control()
    verdicts: dict[str, Verdict] = {}
    """By ``str(WorkloadKey)``."""
