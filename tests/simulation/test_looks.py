"""A look that was made of what was kept is the look that would have been made anew."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulation.test_cluster import Hand
from webhook.core import planning
from webhook.core.model import Side
from webhook.simulation.looks import Looks


def same(kept, whole):
    mine, theirs = kept.scene, whole.scene
    assert mine.snapshot.meta == theirs.snapshot.meta
    for index in ("nodes", "namespaces", "workloads", "controllers"):
        assert dict(getattr(mine.snapshot, index)) == dict(getattr(theirs.snapshot, index)), index
    assert {key: theirs.facts[key] for key in mine.facts} == dict(mine.facts)
    assert {key: pods for key, pods in mine.pods.items() if pods} == dict(theirs.pods)
    assert {name: n for name, n in mine.on_node.items() if n} == {n: c for n, c in theirs.on_node.items() if n and c}
    assert dict(mine.consents) == dict(theirs.consents)
    assert planning.plan(kept) == planning.plan(whole)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_a_kept_look_is_the_whole_look(seed):
    hand = Hand(seed)
    looks = Looks(hand.cluster, hand.cluster.policy)
    for _ in range(12):
        hand.act()
        wants = any(verdict.side is Side.SPOT for verdict in hand.cluster.book.verdicts.values())
        same(looks.world(wants_spot=wants), hand.cluster.world())
