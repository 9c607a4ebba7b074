"""The cluster in memory behaves as the real one does wherever a move depends on it."""

from datetime import timedelta
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulation.towns import make_cluster, make_deployment, pass_minutes, run, sides, turn
from webhook.core.model import Side, WorkloadKey
from webhook.core.moves import Answer, Disruption, Outcome
from webhook.errors import ClusterConflict, ClusterUnavailable
from webhook.simulation.api import Api, Crash, Strike
from webhook.simulation.cluster import Cluster
from webhook.simulation.objects import NodeSpec

WEB = WorkloadKey("shop", "Deployment", "web")


def history(cluster):
    return {key: [(a.at, a.available) for a in told] for key, told in cluster.record.availability.items()}


def first_pod(cluster, key=WEB):
    return next(iter(cluster.deployments[key].pods.values())).fact


def test_pods_of_a_new_deployment_are_ready_after_a_while():
    cluster = make_cluster(make_deployment(replicas=3))
    assert cluster.deployments[WEB].available == 3
    fact = cluster.deployments[WEB].facts[0]
    assert (fact.rollout.available, fact.rollout.observed_generation) == (3, fact.rollout.generation)


def test_the_same_seed_gives_the_same_history_and_another_one_does_not():
    def told(seed):
        cluster = make_cluster(make_deployment(replicas=3), seed=seed)
        turn(cluster, WEB, Side.SPOT)
        pass_minutes(cluster, 20)
        return history(cluster), [taken.pod for taken in cluster.record.taken]

    assert told(1) == told(1)
    assert told(1) != told(2)


@pytest.mark.parametrize("tainted", [False, True])
def test_an_idle_workload_goes_to_spot_and_comes_back_when_it_wakes(tainted):
    cluster = make_cluster(make_deployment(replicas=3), tainted=tainted)
    turn(cluster, WEB, Side.SPOT)
    pass_minutes(cluster, 60)
    assert sides(cluster, WEB) == [Side.SPOT] * 3
    turn(cluster, WEB, Side.REGULAR)
    pass_minutes(cluster, 15)
    assert sides(cluster, WEB) == [Side.REGULAR] * 3
    assert not cluster.record.below_floor
    assert min(told.available for told in cluster.record.availability[WEB][3:]) == 3


def test_an_interruption_takes_the_pods_and_their_controller_makes_others_elsewhere():
    cluster = make_cluster(make_deployment(replicas=2), regular=1, spot=1)
    turn(cluster, WEB, Side.SPOT)
    pass_minutes(cluster, 40)
    cluster.remove_node("spot-0")
    assert cluster.deployments[WEB].available == 0
    cluster.advance(60)
    assert sides(cluster, WEB) == [Side.REGULAR] * 2
    assert cluster.deployments[WEB].available == 2


def test_a_silent_node_takes_readiness_at_once_and_its_pods_after_five_minutes():
    cluster = make_cluster(make_deployment(replicas=1), regular=2, spot=0)
    before = first_pod(cluster)
    cluster.set_node(before.node_name, ready=False)
    assert cluster.deployments[WEB].available == 0
    cluster.advance(299)
    assert first_pod(cluster).uid == before.uid
    cluster.advance(60)
    assert first_pod(cluster).uid != before.uid
    assert cluster.deployments[WEB].available == 1


def test_a_silent_node_that_is_back_in_time_keeps_its_pods():
    cluster = make_cluster(make_deployment(replicas=1), regular=2, spot=0)
    before = first_pod(cluster)
    cluster.set_node(before.node_name, ready=False)
    cluster.advance(200)
    cluster.set_node(before.node_name, ready=True)
    cluster.advance(200)
    assert first_pod(cluster).uid == before.uid
    assert cluster.deployments[WEB].available == 1


def test_a_pod_without_room_waits_until_there_is_some():
    cluster = make_cluster(make_deployment(replicas=2), regular=0, spot=0)
    assert [pod.fact.node_name for pod in cluster.deployments[WEB].active] == ["", ""]
    cluster.add_node(NodeSpec("late"))
    cluster.advance(60)
    assert cluster.deployments[WEB].available == 2


def test_a_deployment_that_is_deleted_leaves_no_pod():
    cluster = make_cluster(make_deployment(replicas=2), regular=1, spot=0)
    cluster.delete_deployment(WEB)
    cluster.advance(60)
    assert Api(cluster).live(WEB, "").fact is None
    assert not cluster.nodes["regular-0"].pods


def test_a_pod_whose_probe_fails_does_not_serve_until_it_is_answered():
    cluster = make_cluster(make_deployment(replicas=2))
    pod = first_pod(cluster)
    cluster.set_pod_ready(WEB, pod.name, ready=False)
    cluster.advance(5)
    assert cluster.deployments[WEB].facts[0].rollout.available == 1
    cluster.set_pod_ready(WEB, pod.name, ready=True)
    cluster.advance(5)
    assert cluster.deployments[WEB].facts[0].rollout.available == 2


def test_a_cordoned_node_takes_no_new_pod():
    cluster = make_cluster(make_deployment(replicas=1), regular=1, spot=0)
    cluster.set_node("regular-0", unschedulable=True)
    cluster.set_replicas(WEB, 2)
    cluster.advance(60)
    assert cluster.deployments[WEB].available == 1
    cluster.set_node("regular-0", unschedulable=False)
    cluster.advance(60)
    assert cluster.deployments[WEB].available == 2


def test_an_eviction_of_another_uid_does_nothing():
    cluster = make_cluster(make_deployment())
    pod = first_pod(cluster)
    assert Api(cluster).evict("shop", pod.name, uid="another").answer is Answer.CONFLICT
    assert Api(cluster).evict("shop", "no-such", uid=pod.uid).answer is Answer.GONE
    assert not first_pod(cluster).deleting


def test_an_eviction_is_refused_where_the_disruption_budget_is_spent():
    cluster = make_cluster(make_deployment(replicas=2, min_available="1"))
    api, pods = Api(cluster), [pod.fact for pod in cluster.deployments[WEB].active]
    assert [api.evict("shop", pod.name, uid=pod.uid).answer for pod in pods] == [Answer.DONE, Answer.BLOCKED]


def test_a_pending_pod_is_evicted_whatever_its_disruption_budget_says():
    cluster = make_cluster(make_deployment(replicas=2, max_unavailable_pods="0"), regular=0, spot=0)
    pod = first_pod(cluster)
    assert Api(cluster).evict("shop", pod.name, uid=pod.uid).answer is Answer.DONE


def test_a_dry_run_changes_nothing():
    cluster = make_cluster(make_deployment())
    pod, live = first_pod(cluster), Api(cluster).live(WEB, "")
    assert Api(cluster).evict("shop", pod.name, uid=pod.uid, dry_run=True).answer is Answer.DONE
    assert Api(cluster).scale(WEB, 9, resource_version=live.resource_version, dry_run=True).answer is Answer.DONE
    assert first_pod(cluster) == pod
    assert cluster.deployments[WEB].replicas == 1


def test_a_scale_of_an_old_version_is_a_conflict():
    cluster = make_cluster(make_deployment())
    old = Api(cluster).live(WEB, "").resource_version
    cluster.set_paused(WEB, paused=True)
    assert Api(cluster).scale(WEB, 2, resource_version=old).answer is Answer.CONFLICT
    assert cluster.deployments[WEB].replicas == 1


def test_a_swap_over_what_somebody_wrote_meanwhile_is_a_conflict():
    cluster = make_cluster()
    one, other = Api(cluster), Api(cluster)
    control = one.control()
    other.control()
    one.swap(control)
    with pytest.raises(ClusterConflict):
        other.swap(control)


def test_each_kind_of_trouble_does_what_it_says():
    cluster = make_cluster(make_deployment(replicas=4))
    pods = iter([pod.fact for pod in cluster.deployments[WEB].active])

    def struck(strike):
        pod = next(pods)
        api = Api(cluster, trouble=lambda *_: strike)
        try:
            answer = api.evict("shop", pod.name, uid=pod.uid).answer
        except Crash:
            answer = None
        return answer, cluster.deployments[WEB].pods[pod.uid].fact.deleting

    assert struck(Strike.REFUSED) == (Answer.FAILED, False)
    assert struck(Strike.LOST) == (Answer.FAILED, True)
    assert struck(Strike.CRASH_BEFORE) == (None, False)
    assert struck(Strike.CRASH_AFTER) == (None, True)
    with pytest.raises(ClusterUnavailable):
        Api(cluster, trouble=lambda *_: Strike.REFUSED).live(WEB, "")


def test_the_webhook_hears_of_a_move_only_after_a_while():
    cluster = make_cluster(make_deployment())
    turn(cluster, WEB, Side.SPOT)
    cluster.set_replicas(WEB, 2)
    cluster.advance(0.4)
    cluster.advance(60)
    decisions = [pod.fact.decision for pod in cluster.deployments[WEB].active]
    assert decisions == ["", ""]


def test_time_passes_where_nothing_happens_and_costs_nothing():
    cluster = make_cluster(make_deployment(replicas=2))
    cluster.advance(3600)
    assert cluster.next_event_in is None
    before = cluster.deployments[WEB].stirs
    cluster.advance(365 * 86_400)
    assert cluster.deployments[WEB].stirs == before


def test_a_second_mover_can_run_while_the_first_one_sleeps():
    cluster = make_cluster(make_deployment(), make_deployment("api"))
    for key in cluster.deployments:
        turn(cluster, key, Side.SPOT)
    reports = []
    cluster.later(3, lambda: reports.append(run(cluster)))
    reports.append(run(cluster))
    assert len(reports) == 2
    pass_minutes(cluster, 30)
    assert {side for key in cluster.deployments for side in sides(cluster, key)} == {Side.SPOT}


@pytest.mark.fault(51)
@pytest.mark.parametrize("strike", [Strike.CRASH_BEFORE, Strike.CRASH_AFTER])
def test_a_crash_at_any_call_of_a_move_ends_where_no_crash_ends(strike):
    number = 0
    while True:
        number += 1
        cluster = make_cluster(make_deployment(replicas=2), seed=number)
        turn(cluster, WEB, Side.SPOT)
        crashed = crash_once(cluster, strike, number)
        pass_minutes(cluster, 45)
        assert sides(cluster, WEB) == [Side.SPOT] * 2, number
        assert cluster.deployments[WEB].replicas == 2
        assert not cluster.book.control.moves
        assert not cluster.record.below_floor
        if not crashed:
            break
    assert number > 20


def crash_once(cluster, strike, number):
    """Run until the process was killed at its ``number``-th call; False where a run is over before."""
    calls = [0]

    def trouble(*_):
        calls[0] += 1
        return strike if calls[0] == number else None

    try:
        for _ in range(3):
            pass_minutes(cluster, 1, trouble)
    except Crash:
        return True
    return False


class Hand:
    """Draws what happens to a cluster, and holds at each moment what must always hold."""

    def __init__(self, seed, *, moves=True):
        self.rng, self.moves = Random(seed), moves
        specs = [make_deployment(f"web-{number}", replicas=number + 1) for number in range(3)]
        self.cluster = make_cluster(*specs, seed=seed)

    def act(self):
        cluster, rng = self.cluster, self.rng
        key, node = rng.choice(list(cluster.deployments)), rng.choice(list(cluster.nodes) or [""])
        pods = list(cluster.deployments[key].pods.values())
        acts = [
            lambda: cluster.set_replicas(key, rng.randrange(5)),
            lambda: cluster.add_node(NodeSpec(f"n-{rng.random()}", spot=rng.random() < 0.5, cpu_cores=0.3)),
            lambda: node and cluster.remove_node(node),
            lambda: node and cluster.set_node(node, ready=rng.random() < 0.5),
            lambda: pods and cluster.fail_pod(key, pods[0].fact.name),
        ]
        if self.moves:
            acts += [lambda: turn(cluster, key, rng.choice(list(Side))), lambda: run(cluster)]
        rng.choice(acts)()
        cluster.advance(rng.choice([0.1, 3, 60]))

    def check(self):
        cluster = self.cluster
        bound = {uid: node for node in cluster.nodes.values() for uid in node.pods}
        for node in cluster.nodes.values():
            assert node.cpu_cores <= node.fact.allocatable.cpu_cores + 1e-6
            assert len(node.pods) <= node.fact.allocatable_pods
        for found in cluster.deployments.values():
            assert 0 <= found.available <= len(found.active)
            for pod in found.pods.values():
                assert (pod.uid in bound) == bool(pod.fact.node_name)


@given(seed=st.integers(0, 2**32))
def test_pods_never_pass_the_room_and_are_where_they_are_said_to_be(seed):
    hand = Hand(seed)
    for _ in range(25):
        hand.act()
        hand.check()


@given(seed=st.integers(0, 2**32))
def test_left_alone_every_workload_has_what_it_asks_for(seed):
    hand = Hand(seed, moves=False)
    for _ in range(15):
        hand.act()
    cluster = hand.cluster
    cluster.add_node(NodeSpec("roomy", cpu_cores=64))
    cluster.advance(1200)
    assert cluster.next_event_in is None
    for found in cluster.deployments.values():
        assert found.available == len(found.active) == len(found.pods) == found.replicas


def test_nothing_of_a_cluster_is_shared_with_another():
    one, other = Cluster(), Cluster()
    one.add_node(NodeSpec("a"))
    assert not other.nodes
    assert one.now() - other.now() == timedelta()


def test_a_move_that_finds_no_room_is_undone_and_the_workload_keeps_its_pods():
    cluster = make_cluster(make_deployment(replicas=2), spot=1)
    turn(cluster, WEB, Side.SPOT)
    cluster.later(2, lambda: cluster.set_node("spot-0", unschedulable=True))
    reports = pass_minutes(cluster, 20)
    assert [move.outcome for report in reports for move in report.finished] == [Outcome.NO_CAPACITY]
    assert sides(cluster, WEB) == [Side.REGULAR] * 2
    assert (cluster.deployments[WEB].replicas, cluster.deployments[WEB].available) == (2, 2)


def test_what_a_run_books_is_held_against_what_was_there_when_it_looked():
    """The whole pool may be reclaimed before it writes; a percent of nothing is no budget that it broke."""
    cluster = make_cluster(make_deployment(replicas=3))
    turn(cluster, WEB, Side.SPOT)
    pass_minutes(cluster, 60)
    gone = Disruption(cluster.now(), Side.REGULAR, str(WEB), first_pod(cluster).node_name)
    cluster.begin_run()
    for name in [name for name, node in cluster.nodes.items() if node.spot]:
        cluster.remove_node(name)
    book = cluster.book
    control = msgspec.structs.replace(book.control, disruptions=(*book.control.disruptions, gone))
    cluster.write_book(msgspec.structs.replace(book, control=control))
    cluster.end_run()
    assert cluster.record.booked[-1].wholes.cluster == 3
