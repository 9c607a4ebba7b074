"""Evictions and restarts, step by step."""

import pytest

from tests.builders import NOW
from tests.core.steps_builders import LANDED, MINUTE, OLD, SECOND, changed, pod, view, without
from webhook.core import evicting
from webhook.core.model import Side
from webhook.core.moves import Outcome, Step
from webhook.core.policy import Move
from webhook.core.steps import Evict, Restart

EVICTION = Evict(pods=(("old-1", "old-1"),))
STAMP = Restart(resource_version="7")


def eviction(step, pods=OLD, **fields):
    return view(step, pods, way=Move.EVICT, **({"now_generation": 1} | fields))


def restart(step, pods=OLD, **fields):
    return view(step, pods, way=Move.RESTART, **({"now_generation": 1} | fields))


GOES_ON = {
    "an eviction is announced until the book was read": (
        eviction(Step.ANNOUNCED, waited=4 * SECOND),
        (Step.ANNOUNCED, None),
    ),
    "then the pod is evicted": (eviction(Step.ANNOUNCED), (Step.EVICTING, EVICTION)),
    "what was not evicted before a crash is evicted": (eviction(Step.EVICTING), (Step.EVICTING, EVICTION)),
    "what was evicted before a crash is seen": (
        eviction(Step.EVICTING, without(OLD, "old-1")),
        (Step.REPLACING, None),
    ),
    "a pod that stays Terminating is evicted, and its replacement waited for": (
        eviction(Step.EVICTING, (changed(OLD[0], deleting=True), OLD[1])),
        (Step.REPLACING, None),
    ),
    "the replacement is waited for": (
        eviction(Step.REPLACING, (OLD[1], changed(LANDED, ready=False))),
        (Step.REPLACING, None),
    ),
    "and on the wrong side too, until it is Ready": (
        eviction(Step.REPLACING, (OLD[1], pod("new", "r", ready=False))),
        (Step.REPLACING, None),
    ),
    "a restart stamps the template": (restart(Step.ANNOUNCED), (Step.RESTARTING, STAMP)),
    "what was not stamped before a crash is stamped": (restart(Step.RESTARTING), (Step.RESTARTING, STAMP)),
    "also where a pod died meanwhile": (restart(Step.RESTARTING, OLD[:1]), (Step.RESTARTING, STAMP)),
    "the rollout is waited for": (
        restart(Step.RESTARTING, (OLD[1], LANDED), now_generation=2, updated=1),
        (Step.RESTARTING, None),
    ),
    "and seen by its controller": (
        restart(Step.RESTARTING, now_generation=2, observed_generation=1),
        (Step.RESTARTING, None),
    ),
    "and until a new pod is Ready": (
        restart(Step.RESTARTING, (changed(LANDED, ready=False),), now_generation=2),
        (Step.RESTARTING, None),
    ),
}


@pytest.mark.parametrize(("seen", "expected"), GOES_ON.values(), ids=GOES_ON)
def test_it_goes_on(seen, expected):
    found = evicting.step(seen)
    assert (found.move.step, found.action) == expected
    if expected[0] is not seen.move.step:
        assert found.move.step_at == NOW


REFUSED = "more than one disruption budget"

ENDS = {
    "the workload was deleted": (eviction(Step.EVICTING, fact=None), Outcome.GONE, ""),
    "moves were paused before it began": (eviction(Step.ANNOUNCED, stopped=True), Outcome.STOPPED, ""),
    "its side turned before it began": (eviction(Step.ANNOUNCED, wanted=Side.REGULAR), Outcome.FLIPPED, ""),
    "it was scaled before it began": (eviction(Step.ANNOUNCED, replicas=1), Outcome.CHANGED, ""),
    "a second look speaks against it": (eviction(Step.ANNOUNCED, refusal="no headroom"), Outcome.CHANGED, ""),
    "the pod went by itself before it began": (
        eviction(Step.ANNOUNCED, without(OLD, "old-1")),
        Outcome.GONE,
        "",
    ),
    "a budget refused": (eviction(Step.EVICTING, outcome=Outcome.BLOCKED), Outcome.BLOCKED, ""),
    "the right to evict is missing": (eviction(Step.EVICTING, outcome=Outcome.REFUSED), Outcome.REFUSED, ""),
    "moves were paused before it was done for sure": (eviction(Step.EVICTING, stopped=True), Outcome.STOPPED, ""),
    "its side turned before it was done for sure": (eviction(Step.EVICTING, wanted=None), Outcome.FLIPPED, ""),
    "there is no headroom any more after a crash": (
        eviction(Step.EVICTING, refusal="no headroom"),
        Outcome.CHANGED,
        "",
    ),
    "nobody ever hears of it": (eviction(Step.EVICTING, waited=11 * MINUTE), Outcome.REFUSED, ""),
    "the replacement landed": (eviction(Step.REPLACING, (OLD[1], LANDED)), Outcome.MOVED, "s"),
    "the replacement landed, and its side turned meanwhile": (
        eviction(Step.REPLACING, (OLD[1], LANDED), wanted=Side.REGULAR),
        Outcome.MOVED,
        "s",
    ),
    "the replacement came back to the same side": (
        eviction(Step.REPLACING, (OLD[1], pod("new", "r"))),
        Outcome.STRAYED,
        "r",
    ),
    "somebody scaled down meanwhile": (eviction(Step.REPLACING, OLD[1:], replicas=1), Outcome.CHANGED, ""),
    "the replacement never came up": (
        eviction(Step.REPLACING, (OLD[1], pod("new", "")), waited=11 * MINUTE),
        Outcome.NO_CAPACITY,
        "",
    ),
    "the right to restart is missing": (restart(Step.RESTARTING, outcome=Outcome.REFUSED), Outcome.REFUSED, ""),
    "moves were paused before it was stamped for sure": (restart(Step.RESTARTING, stopped=True), Outcome.STOPPED, ""),
    "nobody ever hears of the stamp": (restart(Step.RESTARTING, waited=11 * MINUTE), Outcome.REFUSED, ""),
    "all its new pods landed": (restart(Step.RESTARTING, (LANDED,), now_generation=2), Outcome.MOVED, "s"),
    "some of its new pods did not": (
        restart(Step.RESTARTING, (LANDED, pod("newer", "r")), now_generation=2),
        Outcome.STRAYED,
        "",
    ),
    "its rollout does not end": (
        restart(Step.RESTARTING, now_generation=2, updated=1, waited=11 * MINUTE),
        Outcome.NO_CAPACITY,
        "",
    ),
}


@pytest.mark.parametrize(("seen", "outcome", "landed_on"), ENDS.values(), ids=ENDS)
def test_it_ends(seen, outcome, landed_on):
    found = evicting.step(seen)
    assert (found.move, found.outcome, found.landed_on, found.action) == (None, outcome, landed_on, None)
