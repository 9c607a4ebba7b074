"""A person's change to the book, beside a monitor that may write it at the same moment."""

from collections.abc import Callable

import msgspec

from webhook.core import pausing
from webhook.core.book import Control
from webhook.core.model import Verdict
from webhook.errors import ClusterConflict, ClusterUnavailable
from webhook.ports import ControlBook, VerdictBook

TRIES = 8
"""A run that moves writes a few times a second; one of so many attempts falls between two of its writes."""
POLL_SECONDS = 5.0


def change(book: ControlBook, edit: Callable[[Control], Control], *, tries: int = TRIES) -> tuple[Control, Control]:
    """The control object before and after ``edit``; what changes nothing is not written.

    Whoever wrote first is not undone: it is read anew and edited again. Raises ClusterConflict after ``tries``, and
    ClusterError; what ``edit`` raises goes through.
    """
    before = book.control()
    after = edit(before)
    try:
        if after != before:
            book.swap(after)
    except ClusterConflict as exc:
        if tries <= 1:
            raise ClusterConflict("somebody else wrote the book at each attempt; try again", status=exc.status) from exc
        return change(book, edit, tries=tries - 1)
    return before, after


def wait_until_still(
    book: ControlBook,
    *,
    seconds: float,
    sleep: Callable[[float], None],
    elapsed: Callable[[], float],
    tell: Callable[[Control | None], None] = lambda _: None,
) -> Control:
    """Look until nothing is in flight, or somebody resumed, or ``seconds`` of ``elapsed`` are over; the last control.

    An API server that is away meanwhile is asked again; at the end of the time it raises ClusterUnavailable. Before each
    wait ``tell`` is given what is waited for, None for an API server that did not answer.
    """
    end = elapsed() + seconds
    while True:
        control = None
        try:
            control = book.control()
        except ClusterUnavailable:
            if elapsed() >= end:
                raise
        if control is not None and (elapsed() >= end or not control.moves or control.paused is None):
            return control
        tell(control)
        # What a slow answer took is no time to sleep any more.
        sleep(min(POLL_SECONDS, max(end - elapsed(), 0)))


def try_again(book: VerdictBook, name: str, *, tries: int = TRIES) -> Verdict | None:
    """Forget the misses of the workload of that name in the book; its verdict before, None where it has none.

    Raises ClusterConflict after ``tries``, and ClusterError.
    """
    old = book.read()
    verdict = old.verdicts.get(name)
    if verdict is None:
        return None
    new = msgspec.structs.replace(old, verdicts=old.verdicts | {name: pausing.try_again(verdict, old.control.finished)})
    try:
        book.write(old, new)
    except ClusterConflict as exc:
        if tries <= 1:
            raise ClusterConflict("somebody else wrote the book at each attempt; try again", status=exc.status) from exc
        return try_again(book, name, tries=tries - 1)
    return verdict
