"""Time that moves only when it is told to, and what was at an earlier moment."""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")
Range = tuple[float, float]
"""Two bounds, in seconds."""


@dataclass(order=True, slots=True)
class _Event:
    at: float
    number: int
    act: Callable[[], None] = field(compare=False)


class Timeline:
    """A clock and what is to happen, in order; what happens by chance is drawn from one seed."""

    def __init__(self, start: datetime, seed: int) -> None:
        self._start, self._seconds = start, 0.0
        self._rng = Random(seed)  # noqa: S311 - a history that can be told again
        self._numbers, self._heap = count(1), list[_Event]()
        self._now = 0.0, start
        """What the clock told last, and at which second."""

    @property
    def seconds(self) -> float:
        """Since time began."""
        return self._seconds

    @property
    def next_event_in(self) -> float | None:
        """Seconds to what happens next by itself; None where nothing will."""
        return self._heap[0].at - self._seconds if self._heap else None

    def now(self) -> datetime:
        """The clock; it never tells microseconds that nobody asked for."""
        seconds, moment = self._now
        if seconds != self._seconds:
            moment = self._start + timedelta(milliseconds=round(self._seconds * 1000))
            self._now = self._seconds, moment
        return moment

    def advance(self, seconds: float) -> None:
        """Let time pass. Also a `sleep`: what happens meanwhile happens, a second mover's run for instance."""
        end = self._seconds + max(0.0, seconds)
        while self._heap and self._heap[0].at <= end:
            event = heapq.heappop(self._heap)
            self._seconds = max(self._seconds, event.at)
            event.act()
        self._seconds = max(self._seconds, end)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do ``act`` when so much time has passed."""
        heapq.heappush(self._heap, _Event(self._seconds + seconds, next(self._numbers), act))

    def _after(self, lag: Range, act: Callable[[], None]) -> None:
        self.later(self._rng.uniform(*lag), act)

    def _second(self) -> datetime:
        """Now, as Kubernetes writes times."""
        return self.now().replace(microsecond=0)


class Past(Generic[T]):
    """A value as it was a little while ago; what nobody looks back to any more is let go."""

    def __init__(self, value: T, *, reach_seconds: float) -> None:
        self._reach = reach_seconds
        self._kept = deque([(0.0, value)])

    @property
    def last(self) -> T:
        """As it is now."""
        return self._kept[-1][1]

    def note(self, at: float, value: T) -> None:
        """From ``at`` on it is this one."""
        self._kept.append((at, value))
        while len(self._kept) > 1 and self._kept[1][0] <= at - self._reach:
            self._kept.popleft()

    def as_of(self, at: float) -> T:
        """As it was then, or at the first moment that is kept."""
        return next((value for since, value in reversed(self._kept) if since <= at), self._kept[0][1])
