"""Faults of ours in the log, so that no caller can fill it."""

import logging
import traceback
from collections.abc import Callable

_QUIET_SECONDS = 60.0


class FaultLog:
    """Tells where an error happened and of what type, never its text: it may quote the pod.

    The same fault is told once a minute, with how often it was passed over since: whoever finds a request that makes
    us fail may send it again and again. ``seconds`` is a clock that only counts.
    """

    def __init__(self, log: logging.Logger, seconds: Callable[[], float]) -> None:
        self._log = log
        self._seconds = seconds
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        """By type and place, of which the code has only so many: when it was told, and how often passed over since."""

    def tell(self, message: str, error: BaseException, uid: str) -> None:
        """One error line, or none."""
        frames = traceback.extract_tb(error.__traceback__)[-3:]
        where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
        kind, now = (type(error).__name__, where), self._seconds()
        told_at, repeated = self._told.get(kind, (now - _QUIET_SECONDS, 0))
        if now - told_at < _QUIET_SECONDS:
            self._told[kind] = (told_at, repeated + 1)
            return
        self._told[kind] = (now, 0)
        extra = {"uid": uid, "error": type(error).__name__, "where": where, "repeated": repeated}
        self._log.error(message, extra=extra)
