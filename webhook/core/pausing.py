"""What a person may change in the book: pause moves, resume them, and have a workload tried again.

None of it takes back a fact. A resume does not end spot's bad days, forgets no disruption that a
budget counts, and shortens no dwell: these say what happened, and a person's word does not undo it.
"""

from collections.abc import Iterable

import msgspec

from webhook.core import sanity
from webhook.core.book import Control
from webhook.core.model import Verdict
from webhook.core.moves import Finished, Pause


def pause(control: Control, word: Pause) -> Control:
    """No new move begins; those in flight are finished or undone by the next runs.

    Paused again it stays paused since the first time, and for the first reason where no other is given.
    """
    before = control.paused
    if before is None:
        return msgspec.structs.replace(control, paused=word)
    if not word.reason:
        return control
    return msgspec.structs.replace(control, paused=msgspec.structs.replace(before, by=word.by, reason=word.reason))


def resume(control: Control) -> Control:
    """Moves go on, and an alarm is acknowledged, see ``sanity.acknowledge``."""
    return msgspec.structs.replace(control, paused=None, sanity=sanity.acknowledge(control.sanity))


def try_again(verdict: Verdict, finished: Iterable[Finished]) -> Verdict:
    """The verdict without the misses that keep its workload from being moved; dwell and canary stay.

    Misses among ``finished``, the control object's, that no run has learnt from yet would be counted by the next one:
    they are passed over too.
    """
    mine = (one.number for one in finished if one.workload == verdict.key and one.uid == verdict.uid)
    learnt = max(mine, default=0)
    memory = msgspec.structs.replace(
        verdict.memory, misses=0, not_before=None, learnt=max(verdict.memory.learnt, learnt)
    )
    return msgspec.structs.replace(verdict, memory=memory)
