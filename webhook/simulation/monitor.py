"""The monitor's half of a run: evidence, sides, and the run held against the one before; it looks only where something may change.

Most workloads say the same for hours. Whoever's evidence cannot change before a known minute, and whose verdict would not
be written, is left out until then. ``every`` judges all of them each minute instead; a test shows that both come to
the same.
"""

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from math import ceil

import msgspec

from webhook.core import learning, sanity, sides
from webhook.core.idleness import Code
from webhook.core.model import Evidence, Side, Verdict, WorkloadKey
from webhook.core.moves import Finished
from webhook.core.policy import IdlePolicy, Policy
from webhook.core.sanity import Sanity, Tally
from webhook.simulation.cluster import Cluster
from webhook.simulation.evidence import JUDGEMENTS, MINUTE, Ranges, Track, View, changes, code_at, next_change
from webhook.simulation.objects import Life

_A_MINUTE = timedelta(minutes=1)
_NEVER = 1 << 40
_NOT_DUE = (Code.YOUNG, Code.NO_PODS)
_MEASURED = tuple(code for code, judgement in JUDGEMENTS.items() if judgement.measured)


class Watched:
    """One workload as the monitor sees it: its track, where the next change of it is, and what was said last."""

    __slots__ = ("changes", "code", "key", "looks_at", "name", "policy", "ranges", "track", "turns_at", "verdict")

    def __init__(self, track: Track, policy: IdlePolicy, verdict: Verdict) -> None:
        self.track, self.key, self.name = track, track.key, str(track.key)
        self.policy, self.ranges, self.verdict = policy, Ranges.of(policy), verdict
        self.changes = changes(track, self.ranges)
        self.code, self.looks_at, self.turns_at = Code.YOUNG, 0, 0

    def next_change(self, at: int) -> int:
        """The next run at which its track alone may change what is said."""
        place = bisect_right(self.changes, at)
        return self.changes[place] if place < len(self.changes) else _NEVER


class Monitor:
    """What was judged so far. ``turned`` counts changes by which a plan may differ: of sides, and of what is misplaced.

    ``turns_to_spot`` counts those of sides to spot.
    """

    def __init__(self, cluster: Cluster, watched: Sequence[Watched], policy: Policy, outages: bytes) -> None:
        self.verdicts = {one.name: one.verdict for one in watched}
        self.sanity, self.turned, self.turns_to_spot = Sanity(), 0, 0
        self._cluster, self._watched, self._policy, self._outages = cluster, watched, policy, outages
        self._numbers = {one.key: number for number, one in enumerate(watched)}
        self._start, self._began = cluster.now(), cluster.seconds
        self._codes = Counter({Code.YOUNG: len(watched)})
        self._due: list[tuple[int, int]] = [(0, number) for number in range(len(watched))]
        self._blind = self._frozen = False
        self._taught: set[int] = set()
        self._learnt: tuple[Finished, ...] = ()
        self._told = len(cluster.stirred)
        self._on_spot = sum(one.verdict.side is Side.SPOT for one in watched)

    def code_of(self, key: WorkloadKey) -> Code:
        """What the last run said of it."""
        return self._watched[self._numbers[key]].code

    @property
    def unknown(self) -> dict[str, int]:
        """Of how many workloads the last run could say nothing, by why."""
        return {code.value: n for code, n in self._codes.items() if n and code not in _MEASURED}

    @property
    def wants_spot(self) -> bool:
        """Whether any workload belongs on spot."""
        return self._on_spot > 0

    def run(self, at: int, *, every: bool = False) -> None:
        """Judge and turn sides as the run of minute ``at`` does. Past the end of the load, what was said last holds on."""
        blind = at < len(self._outages) and self._outages[at] == 1
        due_now, everyone = self._due_at(at), range(len(self._watched))
        every = every or blind != self._blind
        numbers = list(everyone) if every else sorted(due_now)
        self._blind = blind
        due = [self._watched[number] for number in numbers]
        news = [(every or at >= one.looks_at) and self._judge(one, at) for one in due]
        self.sanity = sanity.examine(
            self.sanity, self._tally(), now=self._cluster.now(), patience=self._policy.idle.window
        )
        frozen = self.sanity.alarm is not None
        thawed, self._frozen = frozen != self._frozen, frozen
        for number, one, is_news in zip(numbers, due, news, strict=True):
            if every or is_news or at >= one.turns_at:
                self._turn(one)
                one.turns_at = self._next_turn(one, at)
            heapq.heappush(self._due, (max(at + 1, min(one.looks_at, one.turns_at)), number))
        if thawed:
            self._wake_all(at + 1)

    def _wake_all(self, at: int) -> None:
        for one in self._watched:
            one.turns_at = min(one.turns_at, at)
        self._due = [(at, number) for number in range(len(self._watched))]

    def learn(self, finished: tuple[Finished, ...]) -> None:
        """What moves that ended teach; each teaches once."""
        if finished is self._learnt:
            return
        self._learnt = finished
        # The last ones are the newest, and all before one that was taught were taught with it or earlier.
        fresh = list(takewhile(lambda move: move.number not in self._taught, reversed(finished)))
        for move in reversed(fresh):
            self._taught.add(move.number)
            number = self._numbers.get(move.workload)
            if number is None:
                continue
            one = self._watched[number]
            memory = learning.learn(one.verdict.memory, [move], self._policy.moves)
            self._say(one, msgspec.structs.replace(one.verdict, memory=memory))

    def _due_at(self, at: int) -> set[int]:
        """Those whose time has come, and those that stirred since the last run."""
        found = {self._numbers[key] for key in self._cluster.stirred[self._told :]}
        self._told = len(self._cluster.stirred)
        for number in found:
            self._watched[number].looks_at = at
        while self._due and self._due[0][0] <= at:
            found.add(heapq.heappop(self._due)[1])
        return found

    def _judge(self, one: Watched, at: int) -> bool:
        """Whether it says something else than before."""
        code, one.looks_at = one.code, _NEVER
        if at <= one.track.minutes:
            view = self._view(one)
            code = code_at(one.track, at, one.ranges, view)
            by_pods = next_change(view.lives, at, one.ranges) if view.lives else None
            one.looks_at = min(one.next_change(at), by_pods or _NEVER)
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

    def _turn(self, one: Watched) -> None:
        """Write its verdict anew, if that is due."""
        after = sides.advance(
            one.verdict,
            JUDGEMENTS[one.code],
            key=one.key,
            uid=one.verdict.uid,
            policy=self._policy.sides,
            now=self._cluster.now(),
            frozen=self._frozen,
        )
        if after is not one.verdict:
            self._say(one, after)

    def _say(self, one: Watched, verdict: Verdict) -> None:
        if _telling(one.verdict) != _telling(verdict):
            self.turns_to_spot += verdict.side is Side.SPOT and one.verdict.side is not Side.SPOT
            self.turned += verdict.side is not one.verdict.side or self._is_misplaced(verdict)
        self._on_spot += (verdict.side is Side.SPOT) - (one.verdict.side is Side.SPOT)
        one.verdict = verdict
        self.verdicts[one.name] = verdict

    def _is_misplaced(self, verdict: Verdict) -> bool:
        """Whether a pod of it is elsewhere; where none is, what the evidence says changes no plan."""
        sides_of = (self._cluster.side(pod.fact.node_name) for pod in self._cluster.deployments[verdict.key].active)
        return any(side not in (None, verdict.side) for side in sides_of)

    def _next_turn(self, one: Watched, at: int) -> int:
        """The next run that writes another verdict, or the same again, for as long as the evidence says what it says now."""
        verdict, policy = one.verdict, self._policy.sides
        again = sides.next_turn(verdict, policy)
        if again is None or (one.code is Code.IDLE and verdict.idle_runs < policy.idle_runs_to_spot):
            return at + 1
        if verdict.idle_runs and verdict.good_at is not None and not JUDGEMENTS[one.code].measured:
            again = min(again, verdict.good_at + policy.evidence_ttl)
        return max(at + 1, self._minute(again))

    def _minute(self, moment: datetime) -> int:
        return ceil((moment - self._start) / _A_MINUTE)


def _telling(verdict: Verdict) -> tuple[Side, Evidence, bool, object]:
    return verdict.side, verdict.evidence, sides.is_measured(verdict), verdict.memory
