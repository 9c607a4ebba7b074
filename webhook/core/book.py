"""The verdict book's contents: verdicts, and the control object beside them."""

from datetime import datetime

from webhook.core.model import Value, Verdict, WorkloadKey


class Control(Value, frozen=True):
    """``heartbeat`` is the end of the monitor's last run; ``surging`` the workloads that a move holds one replica above."""

    heartbeat: datetime | None = None
    surging: tuple[WorkloadKey, ...] = ()


class Book(Value, frozen=True):
    control: Control = Control()
    verdicts: dict[str, Verdict] = {}
    """By ``str(WorkloadKey)``."""
