"""A look that was made of what was kept is the look that would have been made anew, but for those that rest."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulation.test_cluster import Hand
from tests.simulation.towns import turn
from webhook.core import planning
from webhook.core.model import Side
from webhook.simulation.looks import Looks
from webhook.simulation.sleep import CONTENT


def same(kept, whole):
    mine, theirs = kept.scene, whole.scene
    assert mine.snapshot.meta == theirs.snapshot.meta
    for index in ("nodes", "namespaces"):
        assert dict(getattr(mine.snapshot, index)) == dict(getattr(theirs.snapshot, index)), index
    for index in ("workloads", "controllers"):
        known = getattr(theirs.snapshot, index)
        assert {name: known[name] for name in getattr(mine.snapshot, index)} == dict(getattr(mine.snapshot, index))
    keys = mine.snapshot.workloads.keys()
    assert {key: theirs.facts[key] for key in keys} == dict(mine.facts)
    assert {key: pods for key, pods in mine.pods.items() if pods} == {k: p for k, p in theirs.pods.items() if k in keys}
    assert {name: n for name, n in mine.on_node.items() if n} == {n: c for n, c in theirs.on_node.items() if n and c}
    assert dict(mine.consents) == dict(theirs.consents)
    for side in Side:
        assert mine.wholes[side].cluster == theirs.wholes[side].cluster
        assert mine.wholes[side].namespaces == theirs.wholes[side].namespaces
        assert mine.wholes[side].workloads == theirs.wholes[side].workloads
    for part in ("rooms", "order", "restricted"):
        assert getattr(mine.ground, part) == getattr(theirs.ground, part), part
    assert {key: there for key, there in mine.ground.tenants.items() if there} == theirs.ground.tenants


def same_plan(kept, whole):
    mine, theirs = planning.plan(kept), planning.plan(whole)
    assert mine.starts == theirs.starts
    assert mine.disruptions == theirs.disruptions
    assert mine.freezes == theirs.freezes
    known = {one.workload: one for one in mine.considered}
    for one in theirs.considered:
        assert known.get(one.workload, one) == one
        assert one.workload in known or one.code in CONTENT


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_a_kept_look_is_the_whole_look_without_those_that_rest(seed):
    hand = Hand(seed)
    looks = Looks(hand.cluster, hand.cluster.policy)
    for _ in range(12):
        hand.act()
        wants = any(verdict.side is Side.SPOT for verdict in hand.cluster.book.verdicts.values())
        kept, whole = looks.world(wants_spot=wants), hand.cluster.world()
        same(kept, whole)
        same_plan(kept, whole)


def test_a_look_in_between_at_one_of_them_hides_nothing_from_the_next():
    hand = Hand(1)
    looks, cluster = Looks(hand.cluster, hand.cluster.policy), hand.cluster
    key = next(iter(cluster.deployments))
    assert not looks.world(wants_spot=False).scene.snapshot.workloads
    turn(cluster, key, Side.SPOT)
    looks.following([key], wants_spot=True)
    assert set(looks.world(wants_spot=True).scene.snapshot.workloads) == {key}


def test_who_follows_moves_of_some_knows_what_budgets_of_all_are_of():
    hand = Hand(2)
    looks, cluster = Looks(hand.cluster, hand.cluster.policy), hand.cluster
    for _ in range(8):
        hand.act()
        key = next(iter(cluster.deployments))
        some = looks.following([key], wants_spot=True)
        assert set(some.scene.snapshot.workloads) == {key}
        same(some, cluster.world())
