"""The budget of disruptions: its amounts, and the laws that it holds in every window, whoever asks, crashes or sets clocks."""

import random
from datetime import timedelta

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.builders import NOW
from webhook.core.budget import Ledger, Limit, Refusal, Wholes, amount, expire, limits_of
from webhook.core.model import Side
from webhook.core.moves import Disruption
from webhook.core.policy import Limits, MovePolicy

MINUTE = timedelta(minutes=1)
AMPLE = dict.fromkeys(("per_run", "per_cluster", "per_namespace", "per_workload", "per_node"), "1000")
WORKLOADS = ("shop/Deployment/web", "shop/Deployment/api", "back/Deployment/web")
NODES = ("n1", "n2", "")
NOTHING = Wholes()


def disruption(
    minutes_ago: float = 0, workload: str = WORKLOADS[0], node: str = "n1", to: Side = Side.SPOT
) -> Disruption:
    return Disruption(at=NOW - minutes_ago * MINUTE, to=to, workload=workload, node=node)


def policy(**limits: str) -> MovePolicy:
    """Both ways alike, in windows of ten minutes; what is not named is ample."""
    both = Limits(**(AMPLE | limits))
    return MovePolicy(to_spot=both, to_regular=both)


def refusal(
    *spent: Disruption, wanted: Disruption | None = None, wholes: Wholes = NOTHING, **limits: str
) -> Refusal | None:
    """The answer to one more, where all of ``spent`` is in the book."""
    return Ledger.of(spent).refuses(wanted or disruption(), policy(**limits), wholes)


@pytest.mark.parametrize(
    ("text", "whole", "allowed"),
    [
        *(("0", 100, 0), ("7", 0, 7), ("7", 3, 7), ("999999", 1, 999_999)),
        *(("0%", 100, 0), ("5%", 0, 0), ("5%", 1, 1), ("5%", 20, 1), ("5%", 21, 2), ("100%", 7, 7), ("150%", 10, 15)),
        *(("", 10, 0), ("-1", 10, 0), ("5 %", 10, 0), ("5.5%", 10, 0), ("many", 10, 0), ("٣", 10, 0), ("3\n", 10, 0)),
    ],
)
def test_a_number_is_itself_a_percent_is_rounded_up_and_what_cannot_be_read_is_nothing(text, whole, allowed):
    assert amount(text, whole) == allowed


@given(st.integers(1, 200), st.integers(1, 10_000))
def test_some_percent_of_something_is_at_least_one_and_never_one_more_than_it_must_be(percent, whole):
    allowed = amount(f"{percent}%", whole)
    assert allowed >= 1
    assert (allowed - 1) * 100 < percent * whole <= allowed * 100


ELSEWHERE = {
    Limit.CLUSTER: {"workload": "back/Deployment/web", "node": "n2"},
    Limit.NAMESPACE: {"workload": "shop/Deployment/api", "node": "n2"},
    Limit.WORKLOAD: {"node": "n2"},
    Limit.NODE: {"workload": "back/Deployment/web"},
}
NOT_ALIKE = {
    Limit.CLUSTER: [],
    Limit.NAMESPACE: [{"workload": "back/Deployment/web"}],
    Limit.WORKLOAD: [{"workload": "shop/Deployment/api"}, {"workload": "back/Deployment/web"}],
    Limit.NODE: [{"node": "n2"}, {"node": ""}],
}


@pytest.mark.parametrize("limit", ELSEWHERE)
def test_a_limit_counts_what_is_of_its_own_scope_until_the_window_has_passed(limit):
    alike, bound = ELSEWHERE[limit], {f"per_{limit}": "1"}
    assert refusal(disruption(9, **alike), **bound) == Refusal(limit=limit, allowed=1, spent=1, free_at=NOW + MINUTE)
    assert refusal(disruption(10, **alike), **bound) is None
    assert refusal(disruption(9, to=Side.REGULAR, **alike), **bound) is None
    assert refusal(*(disruption(1, **facts) for facts in NOT_ALIKE[limit]), **bound) is None


def test_a_pod_without_a_node_leaves_none():
    assert refusal(disruption(node=""), wanted=disruption(node=""), per_node="1") is None


def test_percents_are_of_what_is_told_and_of_nothing_where_nothing_is_told():
    whole = Wholes(cluster=40, namespaces={"shop": 8}, workloads={WORKLOADS[0]: 4}, nodes={"n1": 50})
    spent = [disruption(1), disruption(2)]
    for limit, percent in (("cluster", "5%"), ("namespace", "25%"), ("workload", "50%"), ("node", "4%")):
        refused = refusal(*spent, wholes=whole, **{f"per_{limit}": percent})
        assert refused is not None
        assert (refused.limit, refused.allowed, refused.spent) == (limit, 2, 2)
        assert refusal(*spent[1:], wholes=whole, **{f"per_{limit}": percent}) is None
        unknown = refusal(**{f"per_{limit}": percent})
        assert unknown is not None
        assert (unknown.limit, unknown.free_at) == (limit, None)


def test_of_several_limits_the_first_is_told_and_the_moment_when_all_are_free():
    refused = refusal(disruption(8), disruption(3, node="n2"), per_cluster="2", per_workload="1")
    assert refused == Refusal(limit=Limit.CLUSTER, allowed=2, spent=2, free_at=NOW + 7 * MINUTE)
    never = refusal(disruption(8), per_cluster="1", per_node="0")
    assert never == Refusal(limit=Limit.CLUSTER, allowed=1, spent=1, free_at=None)


def test_a_run_has_a_limit_of_its_own_which_the_next_run_does_not_inherit():
    ledger, bound = Ledger.of([disruption(1)]), policy(per_run="2")
    for _ in range(2):
        assert ledger.refuses(disruption(), bound, Wholes()) is None
        ledger = ledger.spend(disruption())
    assert ledger.refuses(disruption(), bound, Wholes()) == Refusal(limit=Limit.RUN, allowed=2, spent=2, free_at=NOW)
    assert ledger.refuses(disruption(to=Side.REGULAR), bound, Wholes()) is None
    assert Ledger.of(ledger.disruptions).refuses(disruption(), bound, Wholes()) is None


def test_what_is_stamped_ahead_counts_and_for_one_window_only_once_it_was_looked_at():
    """A day ahead, by a clock that was set right again: the budget is not shut for a day."""
    ahead, bound = disruption(-24 * 60), policy(per_cluster="1")
    assert refusal(ahead, per_cluster="1") is not None
    (settled,) = expire([ahead], bound, now=NOW)
    assert settled.at == NOW
    refused = refusal(settled, per_cluster="1")
    assert refused is not None
    assert refused.free_at == NOW + 10 * MINUTE


def test_each_way_has_its_own_window_to_expire_by():
    both = [disruption(2), disruption(2, to=Side.REGULAR)]
    assert expire(both, MovePolicy(), now=NOW) == (both[0],)


def test_a_long_freeze_leaves_no_backlog():
    """B13. Hours in which nothing was begun count for one window's worth, not for theirs."""
    bound, ledger, granted = policy(per_cluster="3"), Ledger.of([disruption(300)]), []
    for second in range(0, 1800, 10):
        wanted = disruption(-second / 60)
        if ledger.refuses(wanted, bound, Wholes()) is None:
            ledger, granted = ledger.spend(wanted), [*granted, second]
    assert granted == [0, 10, 20, 600, 610, 620, 1200, 1210, 1220]


# --- laws

MINUTES = st.sampled_from([-30, -5, 0, 0, 1, 2, 5, 9, 9.99, 10, 10.01, 12, 30])
DISRUPTIONS = st.builds(
    disruption,
    MINUTES,
    st.sampled_from(WORKLOADS),
    st.sampled_from(NODES),
    st.sampled_from([Side.SPOT] * 4 + [Side.REGULAR]),
)
AMOUNTS = st.sampled_from(["0", "1", "1", "2", "3", "10%", "25%", "50%", "100%", "1000"])
LIMITS = st.builds(
    Limits,
    window=st.sampled_from([MINUTE, 10 * MINUTE, 10 * MINUTE]),
    **dict.fromkeys(("per_run", "per_cluster", "per_namespace", "per_workload", "per_node"), AMOUNTS),
)
POLICIES = st.builds(MovePolicy, to_spot=LIMITS, to_regular=LIMITS)
SIZES = st.integers(0, 9)
WHOLES = st.builds(
    Wholes,
    cluster=SIZES,
    namespaces=st.fixed_dictionaries({"shop": SIZES, "back": SIZES}),
    workloads=st.fixed_dictionaries(dict.fromkeys(WORKLOADS, SIZES)),
    nodes=st.fixed_dictionaries({"n1": SIZES, "n2": SIZES}),
)
BOOKS = st.lists(DISRUPTIONS, max_size=8)


@given(BOOKS, DISRUPTIONS, POLICIES, WHOLES)
def test_whatever_more_was_spent_never_allows_more(book, wanted, bound, wholes):
    ledger, refused = Ledger.of([]), False
    for spent in [*book, disruption()]:
        refused_now = ledger.refuses(wanted, bound, wholes) is not None
        assert refused_now >= refused
        ledger, refused = ledger.spend(spent), refused_now


@given(BOOKS, DISRUPTIONS, POLICIES, WHOLES, st.integers(0, 2**32))
def test_the_order_of_what_was_spent_does_not_matter_nor_whether_it_was_read_or_spent(
    book, wanted, bound, wholes, seed
):
    shuffled = random.Random(seed).sample(book, len(book))
    ledger = Ledger.of(book[:3])
    for spent in book[3:]:
        ledger = ledger.spend(spent)
    answers = [one.refuses(wanted, bound, wholes) for one in (Ledger.of(book), Ledger.of(shuffled))]
    assert answers[0] == answers[1]
    assert ledger.stamps == Ledger.of(shuffled).stamps


@given(BOOKS, DISRUPTIONS, POLICIES, WHOLES, st.sampled_from([0, 0, 1, 9, 30]))
def test_what_expires_changes_no_answer_but_for_stamps_that_were_ahead(book, wanted, bound, wholes, later):
    now = NOW if later else max(wanted.at, NOW)
    asked = msgspec.structs.replace(wanted, at=now + later * MINUTE)
    known = [spent for spent in book if spent.at <= now] if later else book
    before = Ledger.of(known).refuses(asked, bound, wholes)
    after = Ledger.of(expire(known, bound, now=now)).refuses(asked, bound, wholes)
    if all(spent.at <= now for spent in known):
        assert before == after
    else:
        assert (before is None) == (after is None)


@given(BOOKS, POLICIES)
def test_what_expired_once_is_as_it_would_be_had_it_expired_twice(book, bound):
    once = expire(book, bound, now=NOW)
    assert expire(once, bound, now=NOW) == once


@given(BOOKS, DISRUPTIONS, POLICIES, WHOLES)
def test_it_is_free_at_the_moment_that_is_told_and_not_before(book, wanted, bound, wholes):
    ledger = Ledger.of(book)
    refused = ledger.refuses(wanted, bound, wholes)
    event(f"refused by {refused.limit if refused else None}")
    if refused is None:
        return
    free_at = refused.free_at or NOW + timedelta(days=9)
    again = ledger.refuses(msgspec.structs.replace(wanted, at=free_at), bound, wholes)
    assert (again is None) == (refused.free_at is not None)
    just_before = msgspec.structs.replace(wanted, at=free_at - timedelta(microseconds=1))
    assert ledger.refuses(just_before, bound, wholes) is not None


class Movers(RuleBasedStateMachine):
    """B1. Runs that ask, crash and begin anew on one book, pods that vanish by themselves, and a clock that is set back.

    ``passed`` is the time that really passed; windows are counted in it.
    """

    def __init__(self) -> None:
        super().__init__()
        ways = {"per_run": "4", "per_cluster": "30%", "per_namespace": "3", "per_workload": "50%", "per_node": "2"}
        self.policy = MovePolicy(
            to_spot=Limits(**ways), to_regular=Limits(**(ways | {"per_run": "100%"}), window=MINUTE)
        )
        self.wholes = Wholes(cluster=14, workloads=dict.fromkeys(WORKLOADS, 3))
        self.passed, self.clock = timedelta(0), NOW
        self.ledger = Ledger.of([])
        self.history: list[tuple[timedelta, Disruption]] = []
        self.run: list[Disruption] = []
        self.broken = ""

    @rule(minutes=st.sampled_from([0.1, 0.5, 1, 3, 5, 9.9, 10]))
    def time_passes(self, minutes):
        self.passed += minutes * MINUTE
        self.clock += minutes * MINUTE

    @rule(minutes=st.sampled_from([0.5, 5, 15, 600]))
    def somebody_sets_the_clock_back(self, minutes):
        self.clock -= minutes * MINUTE

    @rule(
        workload=st.sampled_from(WORKLOADS),
        node=st.sampled_from(NODES),
        to=st.sampled_from(Side),
        tries=st.integers(1, 5),
    )
    def a_run_asks(self, workload, node, to, tries):
        for _ in range(tries):
            wanted = Disruption(at=self.clock, to=to, workload=workload, node=node)
            if self.ledger.refuses(wanted, self.policy, self.wholes) is None:
                self._spent(wanted)
                self._check(wanted)

    @precondition(lambda self: len(self.history) < 50)
    @rule(workload=st.sampled_from(WORKLOADS), to=st.sampled_from(Side))
    def a_pod_vanishes_by_itself(self, workload, to):
        self._spent(Disruption(at=self.clock, to=to, workload=workload, node="n1"))

    @rule()
    def the_next_run_begins(self):
        self.ledger, self.run = Ledger.of(expire(self.ledger.disruptions, self.policy, now=self.clock)), []

    @rule()
    def it_crashes_and_another_goes_on_from_the_book(self):
        self.ledger, self.run = Ledger.of(self.ledger.disruptions), []

    def _spent(self, disruption):
        self.ledger = self.ledger.spend(disruption)
        self.history.append((self.passed, disruption))
        self.run.append(disruption)

    def _check(self, new):
        """What was just granted is within each limit, counted anew from all that ever happened."""
        limits = limits_of(self.policy, new.to)
        counted = [d for at, d in self.history if d.to is new.to and self.passed - at < limits.window]
        bounds = {
            "run": (sum(d.to is new.to for d in self.run), limits.per_run, 14),
            "cluster": (len(counted), limits.per_cluster, 14),
            "namespace": (sum(d.namespace == new.namespace for d in counted), limits.per_namespace, 0),
            "workload": (sum(d.workload == new.workload for d in counted), limits.per_workload, 3),
            "node": (sum(bool(new.node) and d.node == new.node for d in counted), limits.per_node, 0),
        }
        self.broken = ", ".join(name for name, (spent, text, whole) in bounds.items() if spent > amount(text, whole))

    @invariant()
    def no_grant_broke_a_limit(self):
        assert not self.broken


TestMovers = Movers.TestCase
