"""On which side the running pods of a workload belong, and whether a move to it may begin now.

The two differ on purpose. A move that is under way goes on with what the book says, though the last
run could tell nothing; a new one begins only on evidence of that very run: idle for spot, whole data
for the way back. What the operator or the owner said in so many words needs no evidence.
"""

from datetime import datetime

from webhook.core import consent
from webhook.core.consent import Consent
from webhook.core.model import Evidence, Side, Value, Verdict, Workload
from webhook.core.policy import SidePolicy, SpotWish
from webhook.core.sides import has_expired, is_measured


class Belonging(Value, frozen=True):
    """``side`` is None where nobody says; ``doubt`` why no move to it may begin now, as (code, sentence)."""

    side: Side | None
    doubt: tuple[str, str] | None = None
    trim: bool = False


def belongs(workload: Workload, settled: Consent, policy: SidePolicy, *, now: datetime) -> Belonging:
    """Where its pods belong. ``trim``: some of them go to regular because of max-spot, though its side is spot."""
    found = _belongs(workload, settled, policy, now)
    if found.side is Side.SPOT and _excess(workload, settled) > 0:
        return Belonging(Side.REGULAR, _blind(workload, settled, policy, now), trim=True)
    return found


def room_on_spot(workload: Workload, settled: Consent) -> int:
    """How many more of its pods max-spot lets go."""
    return -_excess(workload, settled)


def _excess(workload: Workload, settled: Consent) -> int:
    wanted = workload.pods if workload.replicas is None else workload.replicas
    return workload.pods_on_spot - consent.allowed_on_spot(settled.max_spot, max(wanted, 1))


def _belongs(workload: Workload, settled: Consent, policy: SidePolicy, now: datetime) -> Belonging:
    if settled.spot is SpotWish.NEVER:
        return Belonging(Side.REGULAR)
    if settled.spot is SpotWish.ALWAYS:
        return Belonging(Side.SPOT)
    verdict = workload.verdict
    if verdict is None:
        return Belonging(None, ("no-verdict", "the monitor has not judged it yet"))
    if verdict.side is Side.REGULAR and verdict.transitions == 0:
        return Belonging(None, ("never-moved", "it never left the regular side, so nothing of it is touched"))
    return Belonging(verdict.side, _blind(workload, settled, policy, now) or _restless(verdict))


def _blind(workload: Workload, settled: Consent, policy: SidePolicy, now: datetime) -> tuple[str, str] | None:
    """Nothing moves on evidence that is old or not whole, where it is the evidence that moves it."""
    verdict = workload.verdict
    if settled.spot is not SpotWish.AUTO or verdict is None:
        return None
    if has_expired(verdict, policy=policy, now=now):
        return "expired-evidence", "the last good evidence is too old to act on; look at Prometheus"
    if not is_measured(verdict):
        return "unknown", f"nothing moves on doubtful data: {verdict.reason}"
    return None


def _restless(verdict: Verdict) -> tuple[str, str] | None:
    if verdict.side is Side.SPOT and verdict.evidence is not Evidence.IDLE:
        return "not-idle", f"it is not idle at this moment: {verdict.reason}"
    return None
