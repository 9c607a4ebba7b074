"""The verdict book's contents: verdicts, and the control object beside them."""

from datetime import datetime

from webhook.core.model import Value, Verdict, WorkloadKey
from webhook.core.sanity import Sanity


class Control(Value, frozen=True):
    """``heartbeat`` is the end of the monitor's last run; ``surging`` the workloads that a move holds one replica above.

    ``sanity`` is what the next run is held against.
    """

    heartbeat: datetime | None = None
    surging: tuple[WorkloadKey, ...] = ()
    sanity: Sanity = Sanity()


class Book(Value, frozen=True):
    control: Control = Control()
    verdicts: dict[str, Verdict] = {}
    """By ``str(WorkloadKey)``."""
