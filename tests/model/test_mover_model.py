"""The mover's laws over any history: evidence that turns, pods and nodes that go, refusals, crashes, two movers, persons.

The monitor's part is done by core itself: sides turn as they do, memory is learnt, the book is refreshed. Time only goes
forwards; clocks that are set back have laws of their own where time is looked at. It is long because each thing that can
happen is a rule of its own.
"""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.fakes import HOLDER, CallCounter, Crash, TinyCluster, minutes, refuse
from webhook.core import planning, sides
from webhook.core.bounds import part_of
from webhook.core.budget import amount
from webhook.core.idleness import Code, Judgement
from webhook.core.learning import LONGEST, learn
from webhook.core.model import Evidence, Side
from webhook.core.moves import MISSES, Answer, Outcome, Pause, Step
from webhook.core.policy import Limits, Mode, Move, MovePolicy, Policy, SidePolicy
from webhook.core.sanity import Alarm, Sanity
from webhook.jobs import mover
from webhook.jobs.mover import MoverDeps

pytestmark = pytest.mark.slow

LIMITS = Limits(window=minutes(5), per_run="2", per_cluster="3", per_namespace="9", per_workload="1", per_node="9")
RETURNS = Limits(window=minutes(1), per_run="9", per_cluster="2", per_namespace="9", per_workload="1", per_node="9")
MOVES = MovePolicy(
    to_spot=LIMITS,
    to_regular=RETURNS,
    dwell=minutes(20),
    canary=minutes(2),
    patience=minutes(4),
    backoff=minutes(5),
    healthy_for=minutes(5),
)
POLICY = Policy(mode=Mode.MOVE, sides=SidePolicy(idle_runs_to_spot=2), moves=MOVES)
NAMES = ("a", "b", "c")
JUDGED = {
    "idle": Judgement(evidence=Evidence.IDLE, reason="rests", code=Code.IDLE, measured=True),
    "active": Judgement(evidence=Evidence.ACTIVE, reason="works", code=Code.ACTIVE, measured=True),
    "unknown": Judgement(evidence=Evidence.UNKNOWN, reason="no data", code=Code.NO_USAGE),
}
HANDS_AT = sorted(set(Step) - {Step.EVICTING, Step.RESTARTING})
"""Not while one is being evicted: who takes a replica back at that moment has two pods go, by two hands."""
STEPS_OF = {
    "scale": {Step.RAISING, Step.LOWERING, Step.UNDOING},
    "evict": {Step.EVICTING, Step.CLEARING},
}


class Town(TinyCluster):
    """It remembers what each write of the mover did to the pods that were available."""

    def __init__(self):
        super().__init__(policy=POLICY, regular=2, spot=2)
        self.taken = []

    def clock(self):
        """No tick: windows end on the millisecond, and a dry run is to see the very same."""
        return self.now

    def _call(self, name, do, key, *arguments, dry_run):
        def watched():
            made = self.deployed.get(key)
            before = made.available if made else 0
            result = do()
            self.settle()
            if made and made.available < before:
                self.taken.append((key, name, made.available, before))
            return result

        return super()._call(name, do if dry_run else watched, key, *arguments, dry_run=dry_run)


class MoverModel(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.town = Town()
        self.evidence = {}
        self.wanted = {}
        self.blind = False
        self.seen_calls = 0
        self.starts = {}
        self.unwell_at = None

    @initialize(replicas=st.lists(st.integers(1, 3), min_size=3, max_size=3), evict_only=st.booleans())
    def deploy(self, replicas, evict_only):
        for name, count in zip(NAMES, replicas, strict=True):
            annotations = {"spot-balancer.io/move": "evict"} if evict_only and name in "ab" else {}
            self.town.deploy(
                name, count, verdict=None, namespace="shop", spread=True, annotations=annotations,
                max_unavailable="1" if name == "a" else "25%",
            )  # fmt: skip
            self.evidence[name], self.wanted[name] = "idle", count
        for _ in range(12):
            self.minute()

    # --- what happens to it

    @rule(name=st.sampled_from(NAMES), evidence=st.sampled_from(["idle", "idle", "active", "unknown"]))
    def turn(self, name, evidence):
        self.evidence[name] = evidence

    @rule(name=st.sampled_from(NAMES), awake=st.integers(1, 4), resting=st.integers(3, 9))
    def wake_and_rest(self, name, awake, resting):
        for evidence, count in (("active", awake), ("idle", resting)):
            self.evidence[name] = evidence
            for _ in range(count):
                self.minute()

    @rule(blind=st.booleans())
    def lose_prometheus(self, blind):
        self.blind = blind

    @rule(name=st.sampled_from(NAMES))
    def go_blind_on_the_way_back(self, name):
        self.evidence[name] = "active"
        self.minute()
        self.blind = True
        self.minute()
        self.minute()

    @rule(count=st.integers(1, 4))
    def pass_minutes(self, count):
        for _ in range(count):
            self.minute()

    @rule()
    def pass_half_an_hour(self):
        for _ in range(30):
            self.minute()

    @rule(at=st.integers(1, 25), when=st.sampled_from(["before_call", "after_call"]))
    def be_killed(self, at, when):
        setattr(self.town, when, CallCounter(at))
        self.minute(disturbed=True)

    @rule(at=st.integers(1, 25))
    def be_two(self, at):
        calls = []

        def other(name):
            calls.append(name)
            if len(calls) == at:
                self.move(holder="monitor-2")

        self.town.before_call = other
        self.minute(disturbed=True)

    @rule(name=st.sampled_from(NAMES), at=st.integers(3, 8))
    def lose_room_on_the_way_back(self, name, at):
        """Once its move is under way no pod fits on regular nodes any more, and one of its own dies."""
        calls = []

        def cordon(call):
            calls.append(call)
            if len(calls) == at:
                self.cordon(Side.REGULAR, True)
                self.kill_a_pod(name)

        self.evidence[name] = "active"
        self.town.before_call = cordon
        self.minute(disturbed=True)

    @rule(side=st.sampled_from(Side))
    def make_room(self, side):
        self.cordon(side, False)

    def cordon(self, side, closed):
        for name, fact in self.town.nodes.items():
            if self.town.side_of(name) is side:
                self.town.nodes[name] = msgspec.structs.replace(fact, unschedulable=closed)

    @rule(
        name=st.sampled_from(["scale", "evict"]),
        answer=st.sampled_from([Answer.BLOCKED, Answer.FORBIDDEN, Answer.CONFLICT, Answer.GONE]),
        times=st.integers(1, 3),
    )
    def refuse_writes(self, name, answer, times):
        refuse(self.town, name, answer, times=times)

    @rule(name=st.sampled_from(NAMES), step=st.sampled_from(HANDS_AT), evidence=st.sampled_from(["idle", "active"]))
    def ask_for_one_more_in_the_middle(self, name, step, evidence):
        """Right after its move was written down at that step; where ours stands by then, it is taken back first."""
        made = self.made(name)

        def ask(_):
            if any(move.workload == made.key and move.step is step for move in self.town.book.moves):
                self.town.after_call = lambda _: None
                self.scale(name, self.wanted[name])
                self.scale(name, min(self.wanted[name] + 1, 4))

        self.evidence[name] = evidence
        self.town.after_call = ask
        self.minute(disturbed=True)

    @rule(name=st.sampled_from(["scale", "evict"]), done=st.booleans())
    def lose_answers(self, name, done):
        refuse(self.town, name, Answer.FAILED, done=done)

    @rule(name=st.sampled_from(NAMES))
    def kill_a_pod(self, name):
        made = self.made(name)
        if made.active:
            self.town.lose(made, min(made.pods))
            self.town.settle()

    @rule(name=st.sampled_from(NAMES), replicas=st.integers(0, 4))
    def scale(self, name, replicas):
        """Whoever asks for the very number that stands asks for nothing: a surge's N + 1 is then taken back to N."""
        made = self.made(name)
        if made.replicas != replicas:
            made.write(replicas=replicas)
            self.wanted[name] = replicas
        self.town.settle()

    @rule()
    def interrupt_spot(self):
        self.town.lose_nodes(Side.SPOT)
        self.town.settle()

    @precondition(lambda self: not any(name.startswith("spot") for name in self.town.nodes))
    @rule()
    def bring_spot_back(self):
        for number in range(2):
            self.town.add_node(f"spot-{number}", Side.SPOT)

    @rule(paused=st.booleans())
    def pause(self, paused):
        self.town.write_book(paused=Pause(at=self.town.now) if paused else None)

    @rule(alarm=st.booleans())
    def doubt_the_run(self, alarm):
        self.town.write_book(sanity=Sanity(alarm=Alarm.IDLE_JUMP, reason="a jump") if alarm else Sanity())

    # --- what is done each minute

    def made(self, name):
        return next(made for made in self.town.deployed.values() if made.key.name == name)

    def judge(self):
        for name in NAMES:
            made, judgement = self.made(name), JUDGED["unknown" if self.blind else self.evidence[name]]
            before = made.verdict
            after = sides.advance(
                before, judgement, key=made.key, uid=made.uid, policy=POLICY.sides, now=self.town.now,
                frozen=self.town.book.sanity.alarm is not None,
            )  # fmt: skip
            mine = [one for one in self.town.book.finished if one.workload == made.key]
            made.verdict = msgspec.structs.replace(after, memory=learn(after.memory, mine, MOVES))

    def look_at_spot(self):
        ready = any(self.town.side_of(name) is Side.SPOT for name in self.town.nodes)
        if not ready and any(made.verdict.side is Side.SPOT for made in self.town.deployed.values()):
            self.unwell_at = self.town.now

    def minute(self, *, disturbed=False):
        self.judge()
        self.look_at_spot()
        world = self.town.world()
        kept = planning.refreshed(world.at(self.town.book, self.town.now))
        self.town.write_book(**{name: getattr(kept, name) for name in ("disruptions", "spot", "finished")})
        self.town.write_book(heartbeat=self.town.now)
        ends = self.town.now + minutes(1)
        if not disturbed:
            self.rehearse_and_move()
        else:
            with suppress(Crash):
                self.move()
        self.town.before_call = self.town.after_call = lambda name: None
        self.follow()
        self.town.advance(max(0.0, (ends - self.town.now).total_seconds()))

    def rehearse_and_move(self):
        calls = len(self.town.calls)
        dry = self.move(dry_run=True)
        assert len(self.town.calls) == calls, "a dry run wrote"
        real = self.move()
        if not real.held_by:
            assert (dry.considered, dry.frozen) == (real.considered, real.frozen), "a dry run considers something else"
            living = [made for made in self.town.deployed.values() if made.active]
            assert sum(real.considered.values()) >= len(living) - len(real.finished), "somebody is never considered"

    def move(self, *, holder=HOLDER, dry_run=False):
        town = self.town
        deps = MoverDeps(
            workloads=town, book=town.connect(), recorder=town, clock=town.clock, sleep=town.sleep, holder=holder
        )
        return mover.run(deps, town.world(), dry_run=dry_run)

    def follow(self):
        """Look at all that was written since the last look."""
        for call in self.town.calls[self.seen_calls :]:
            book = call[-1]
            if call[0] == "swap":
                for move in book.moves:
                    self.begin(move)
            else:
                self.check_write(*call)
        self.seen_calls = len(self.town.calls)

    def check_write(self, name, key, what, book):
        """Every write of a move stands in the book before it is made, as the step that makes it."""
        steps = [move.step for move in book.moves if move.workload == key]
        assert key is None or (len(steps) == 1 and steps[0] in STEPS_OF[name]), f"{name} of {key} by {steps}"

    def begin(self, move):
        if move.number in self.starts:
            return
        self.starts[move.number] = move
        mine = [one for one in self.town.book.finished if one.workload == move.workload and one.number < move.number]
        assert not self.blind, "a move began on unknown evidence"
        assert self.town.book.paused is None, "a move began though moves are paused"
        self.check_backoff(move, mine)
        if move.to is Side.SPOT:
            assert self.town.book.sanity.alarm is None, "a move to spot began while the run as a whole is doubted"
            self.check_dwell(move, mine)
            assert self.unwell_at is None or move.began_at - self.unwell_at >= MOVES.healthy_for, (
                "spot was not well yet"
            )

    def check_dwell(self, move, mine):
        came_back = [one for one in mine if one.to is Side.REGULAR and one.outcome is Outcome.MOVED and not one.trim]
        assert all(move.began_at - one.began_at >= MOVES.dwell for one in came_back), "it came back not long ago"

    def check_backoff(self, move, mine):
        misses = 0
        for one in sorted(mine, key=lambda one: one.number):
            misses = misses + 1 if one.outcome in MISSES else 0 if one.outcome is Outcome.MOVED else misses
            if one.outcome in MISSES:
                last, wait = one.ended_at, LONGEST if misses >= 3 else minutes(5 * 2 ** (misses - 1))
        assert not misses or move.began_at - last >= wait, f"it came to nothing {misses} times, the last not long ago"

    # --- the laws that hold at any moment

    @invariant()
    def laws(self):
        self.no_budget_is_ever_overdrawn()
        self.no_workload_has_two_moves()
        self.our_own_hand_leaves_as_many_available_as_must_be()

    def no_budget_is_ever_overdrawn(self):
        for side, limits in ((Side.SPOT, LIMITS), (Side.REGULAR, RETURNS)):
            begun = [move for move in self.starts.values() if move.to is side]
            for first in begun[-8:]:
                within = [m for m in begun if first.began_at <= m.began_at < first.began_at + limits.window]
                assert len(within) <= amount(limits.per_cluster, 0)
                assert len({m.workload for m in within}) == len(within)

    def no_workload_has_two_moves(self):
        moving = [move.workload for move in self.town.book.moves]
        assert len(moving) == len(set(moving))
        assert [move.number for move in self.town.book.moves] == sorted({move.number for move in self.town.book.moves})

    def our_own_hand_leaves_as_many_available_as_must_be(self):
        while self.town.taken:
            key, name, left, before = self.town.taken.pop()
            made = self.town.deployed[key]
            moves = [move for move in self.starts.values() if move.workload == key]
            wanted = moves[-1].replicas if moves else made.replicas
            may_miss = part_of(made.max_unavailable, wanted) if moves and moves[-1].way is Move.EVICT else 0
            assert left >= min(wanted - may_miss, before), f"{name} of {key} left {left} of {wanted}"

    # --- and the one that holds at the end

    def teardown(self):
        """When nothing happens any more, moves end, none is left over, and then all stays as it is."""
        town = self.town
        if not self.evidence:
            return
        town.answers.clear()
        town.write_book(paused=None, sanity=Sanity())
        self.blind = False
        still = 0
        for _ in range(120):
            begun = len(self.starts)
            self.minute()
            still = 0 if town.book.moves or len(self.starts) > begun else still + 1
            if still > MOVES.dwell / minutes(1) + 5:
                break
        else:
            assert self.waits(), "moves go on though nothing happens any more"
        for made in town.deployed.values():
            assert made.replicas == self.wanted[made.key.name], f"{made.key} is left with {made.replicas}"
            assert not [pod for pod in made.active if not pod.node_name and "/required/" in pod.decision]
        self.no_budget_is_ever_overdrawn()
        self.our_own_hand_leaves_as_many_available_as_must_be()

    def waits(self):
        """Whether a move came to nothing and is tried again now and then: that goes on for a day."""
        return any(made.verdict.memory.misses for made in self.town.deployed.values())


MoverModel.TestCase.settings = settings(
    max_examples=100, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestMoverModel = MoverModel.TestCase
