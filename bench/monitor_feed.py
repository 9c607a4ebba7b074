"""Tells a running Prometheus, every few seconds, the samples whose time has come: as scrapes would, for as long as it runs."""

import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Self

import urllib3

from bench import backfill, monitor_data, remote_write

EVERY_S = 10.0
_BATCH = 10_000
_LABEL = re.compile(r'([a-z_]+)="([^"]*)"')


class Feed:
    """Series of ``monitor_data.metrics``, their samples after ``since``: all that are due when it is entered, then on.

    Prometheus has the earlier ones in blocks. ``check`` raises what ended it.
    """

    def __init__(self, url: str, metrics: monitor_data.Metrics, *, since: datetime) -> None:
        self._url, self._sent_until = url, since.timestamp()
        self._samples: dict[int, backfill.Samples] = {}
        self._labels: defaultdict[int, list[bytes]] = defaultdict(list)
        for name, series in metrics:
            for labels, samples in series:
                self._samples[id(samples)] = samples
                self._labels[id(samples)].append(remote_write.labels(name, dict(_LABEL.findall(labels))))
        self._last = max(monitor_data.at(samples[-1])[0] for samples in self._samples.values())
        self._timed = {which: [monitor_data.at(one) for one in samples] for which, samples in self._samples.items()}
        self._ended = threading.Event()
        self._trouble: Exception | None = None
        self._thread = threading.Thread(target=self._go_on, name="feed", daemon=True)

    def __enter__(self) -> Self:
        self.send(datetime.now(UTC))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def check(self) -> None:
        """Raises RuntimeError where Prometheus is told nothing more."""
        if self._trouble or not self._thread.is_alive():
            raise RuntimeError("Prometheus is told nothing more") from self._trouble

    def send(self, now: datetime) -> None:
        """What came due since the last time. Raises RuntimeError."""
        until = now.timestamp()
        if until > self._last:
            raise RuntimeError("there are no more samples")
        due = self._due(self._sent_until, until)
        with urllib3.PoolManager() as http:
            while batch := list(islice(due, _BATCH)):
                remote_write.send(http, self._url, batch)
        self._sent_until = until

    def _due(self, after: float, until: float) -> Iterator[bytes]:
        for which, timed in self._timed.items():
            if found := remote_write.samples((time, value) for time, value in timed if after < time <= until):
                yield from (remote_write.series(labels, found) for labels in self._labels[which])

    def _go_on(self) -> None:
        try:
            while not self._ended.wait(EVERY_S):
                self.send(datetime.now(UTC))
        except Exception as exc:
            self._trouble = exc
