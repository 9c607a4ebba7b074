"""The monitor's half of a run: evidence, sides, and the run held against the one before; it looks only where something may change.

Most workloads say the same for hours. Whoever's evidence cannot change before a known minute, and whose verdict would not
be written, is left out until then. ``every`` judges all of them each minute instead; a test shows that both come to
the same.
"""

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil

import msgspec

from webhook.core import learning, sanity, sides
from webhook.core.idleness import Code
from webhook.core.model import Evidence, Side, Verdict, WorkloadKey
from webhook.core.moves import Finished
from webhook.core.policy import IdlePolicy, Policy
from webhook.core.sanity import Sanity, Tally
from webhook.simulation.cluster import Cluster
from webhook.simulation.evidence import JUDGEMENTS, MINUTE, Ranges, Track, View, changes, code_at
from webhook.simulation.objects import Life

_NOT_DUE = (Code.YOUNG, Code.NO_PODS)
_MEASURED = tuple(code for code, judgement in JUDGEMENTS.items() if judgement.measured)


class Watched:
    """One workload as the monitor sees it: its track, where the next change of it is, and what was said last."""

    __slots__ = ("changes", "code", "key", "name", "policy", "ranges", "track", "turns_at", "verdict")

    def __init__(self, track: Track, policy: IdlePolicy, verdict: Verdict) -> None:
        self.track, self.key, self.name = track, track.key, str(track.key)
        self.policy, self.ranges, self.verdict = policy, Ranges.of(policy), verdict
        self.changes = changes(track, self.ranges)
        self.code, self.turns_at = Code.YOUNG, 0

    def next_change(self, at: int) -> int | None:
        """The next run at which its track alone may change what is said."""
        place = bisect_right(self.changes, at)
        return self.changes[place] if place < len(self.changes) else None


class Monitor:
    """What was judged so far. ``turned`` counts changes by which a plan may differ: of sides, and of what is misplaced.

    ``turns_to_spot`` counts those of sides to spot.
    """

    def __init__(self, cluster: Cluster, watched: Sequence[Watched], policy: Policy, outages: bytes) -> None:
        self.verdicts: Mapping[str, Verdict] = {one.name: one.verdict for one in watched}
        self.sanity, self.turned, self.turns_to_spot = Sanity(), 0, 0
        self._cluster, self._watched, self._policy, self._outages = cluster, watched, policy, outages
        self._by_key = {one.key: one for one in watched}
        self._start, self._began = cluster.now(), cluster.seconds
        self._codes = Counter({Code.YOUNG: len(watched)})
        self._due: list[tuple[int, int]] = [(0, number) for number in range(len(watched))]
        self._blind = self._frozen = False
        self._taught: set[int] = set()

    def code_of(self, key: WorkloadKey) -> Code:
        """What the last run said of it."""
        return self._by_key[key].code

    @property
    def wants_spot(self) -> bool:
        """Whether any workload belongs on spot."""
        return any(verdict.side is Side.SPOT for verdict in self.verdicts.values())

    def run(self, at: int, *, every: bool = False) -> None:
        """Judge and turn sides as the run of minute ``at`` does. Past the end of the load, what was said last holds on."""
        blind = at < len(self._outages) and self._outages[at] == 1
        numbers = list(range(len(self._watched))) if every or blind != self._blind else self._numbers(at)
        self._blind = blind
        due = [self._watched[number] for number in numbers]
        news = [self._judge(one, at) for one in due]
        self.sanity = sanity.examine(
            self.sanity, self._tally(), now=self._cluster.now(), patience=self._policy.idle.window
        )
        frozen = self.sanity.alarm is not None
        thawed, self._frozen = frozen != self._frozen, frozen
        for number, one, is_news in zip(numbers, due, news, strict=True):
            if every or is_news or at >= one.turns_at:
                one.turns_at = at + 1 if self._turn(one) or thawed else self._next_look(one, at)
            heapq.heappush(self._due, (max(at + 1, one.turns_at), number))
        if thawed:
            self._wake_all(at + 1)

    def _wake_all(self, at: int) -> None:
        for one in self._watched:
            one.turns_at = min(one.turns_at, at)
        self._due = [(at, number) for number in range(len(self._watched))]

    def learn(self, finished: Iterable[Finished]) -> None:
        """What moves that ended teach; each teaches once."""
        for move in finished:
            one = self._by_key.get(move.workload)
            if move.number in self._taught or one is None:
                continue
            self._taught.add(move.number)
            memory = learning.learn(one.verdict.memory, [move], self._policy.moves)
            self._say(one, msgspec.structs.replace(one.verdict, memory=memory))

    def _numbers(self, at: int) -> list[int]:
        """Those whose time has come, and those of whom a pod came or went not long ago."""
        found = set[int]()
        while self._due and self._due[0][0] <= at:
            found.add(heapq.heappop(self._due)[1])
        deployments = self._cluster.deployments
        for number, one in enumerate(self._watched):
            if deployments[one.key].stirred_at > self._cluster.seconds - one.ranges.reach * MINUTE:
                found.add(number)
        return sorted(found)

    def _judge(self, one: Watched, at: int) -> bool:
        """Whether it says something else than before."""
        code = code_at(one.track, at, one.ranges, self._view(one)) if at <= one.track.minutes else one.code
        if code is one.code:
            return False
        self._codes[one.code] -= 1
        self._codes[code] += 1
        one.code = code
        return True

    def _view(self, one: Watched) -> View:
        found = self._cluster.deployments[one.key]
        lives: tuple[Life, ...] | None = None
        if found.stirred_at > self._cluster.seconds - one.ranges.reach * MINUTE or not found.available:
            since = self._cluster.seconds - one.ranges.window * MINUTE
            ours = [life for life in found.lives if life[1] is None or life[1] > since]
            lives = tuple((begin - self._began, None if end is None else end - self._began) for begin, end in ours)
        return View(lives=lives, is_blind=self._blind)

    def _tally(self) -> Tally:
        codes = self._codes
        return Tally(
            due=len(self._watched) - sum(codes[code] for code in _NOT_DUE),
            measured=sum(codes[code] for code in _MEASURED),
            idle=codes[Code.IDLE],
        )

    def _turn(self, one: Watched) -> bool:
        """Whether its verdict was written anew."""
        after = sides.advance(
            one.verdict,
            JUDGEMENTS[one.code],
            key=one.key,
            uid=one.verdict.uid,
            policy=self._policy.sides,
            now=self._cluster.now(),
            frozen=self._frozen,
        )
        if after is one.verdict:
            return False
        self._say(one, after)
        return True

    def _say(self, one: Watched, verdict: Verdict) -> None:
        if _telling(one.verdict) != _telling(verdict):
            self.turns_to_spot += verdict.side is Side.SPOT and one.verdict.side is not Side.SPOT
            self.turned += verdict.side is not one.verdict.side or self._is_misplaced(verdict)
        one.verdict = verdict
        self.verdicts = {**self.verdicts, one.name: verdict}

    def _is_misplaced(self, verdict: Verdict) -> bool:
        """Whether a pod of it is elsewhere; where none is, what the evidence says changes no plan."""
        sides_of = (self._cluster.side(pod.fact.node_name) for pod in self._cluster.deployments[verdict.key].active)
        return any(side not in (None, verdict.side) for side in sides_of)

    def _next_look(self, one: Watched, at: int) -> int:
        """The next run that may say anything else, or write the same again; nothing but pods can make it an earlier one."""
        verdict, policy = one.verdict, self._policy.sides
        looks = [one.next_change(at), self._minute(sides.next_turn(verdict, policy))]
        if verdict.idle_runs and verdict.good_at is not None and not JUDGEMENTS[one.code].measured:
            looks.append(self._minute(verdict.good_at + policy.evidence_ttl))
        return max(at + 1, min((look for look in looks if look is not None), default=at + 1))

    def _minute(self, moment: datetime | None) -> int | None:
        return None if moment is None else ceil((moment - self._start) / timedelta(minutes=1))


def _telling(verdict: Verdict) -> tuple[Side, Evidence, bool, object]:
    return verdict.side, verdict.evidence, sides.is_measured(verdict), verdict.memory
