"""The summary of a cluster's nodes is made beside the requests: no step may hold one up, however many nodes there are."""

from types import MappingProxyType

from hypothesis import given

from tests import strategies
from tests.builders import AKS_SPOT, AKS_TAINT, KARPENTER_SPOT, make_node, make_snapshot, make_workload
from webhook.core import spotpool
from webhook.core.model import Taint
from webhook.core.policy import Policy
from webhook.core.snapshot import Snapshot

NODES = 600


class Counted(dict):
    """Nodes that count each time one of them is looked up or handed out."""

    looks = 0

    def values(self):
        for node in super().values():
            self.looks += 1
            yield node


def counted_snapshot() -> tuple[Snapshot, Counted]:
    """Every node of another kind, behind another foreign taint, or neither."""
    shapes = [
        {"marker": KARPENTER_SPOT},
        {"marker": AKS_SPOT, "taints": (AKS_TAINT,)},
        {"marker": KARPENTER_SPOT, "ready": False},
        {"taints": (AKS_TAINT,)},
    ]
    nodes = [
        make_node(f"n-{n}", labels={"kubernetes.io/hostname": f"n-{n}", "zone": f"z-{n}"}, **shapes[n % len(shapes)])
        for n in range(NODES)
    ]
    mapping = Counted({node.name: node for node in nodes})
    indexes = {"namespaces": {}, "workloads": {}, "controllers": {}}
    return Snapshot.from_indexes(make_snapshot().meta, nodes=MappingProxyType(mapping), **indexes), mapping


def test_no_step_looks_at_more_than_one_node(monkeypatch):
    snapshot, nodes = counted_snapshot()
    calls = {"blocking": 0, "_kind": 0, "repr": 0}

    def count(name, function):
        def counting(*arguments):
            calls[name] += 1
            return function(*arguments)

        return counting

    monkeypatch.setattr(spotpool, "blocking", count("blocking", spotpool.blocking))
    monkeypatch.setattr(spotpool, "_kind", count("_kind", spotpool._kind))
    monkeypatch.setattr(spotpool, "repr", count("repr", repr), raising=False)
    worst, before = 0, {**calls, "looks": 0}
    for _ in spotpool.fleet_steps(snapshot):
        now = {**calls, "looks": nodes.looks}
        worst = max(worst, *(now[name] - before[name] for name in now))
        before = now
    assert calls["repr"] == NODES // 2, "each kind of destination was weighed"
    # Once for itself, and twice to see whether its taints are a marker's.
    assert worst <= 3
    assert nodes.looks == NODES
    assert len(spotpool.fleet(snapshot).landings) == spotpool.MAX_LANDINGS
    assert nodes.looks == NODES, "then it is known"


@given(strategies.fleets())
def test_in_steps_or_at_once_it_is_the_same_sum(nodes):
    stepwise, at_once = make_snapshot(nodes=nodes), make_snapshot(nodes=nodes)
    for _ in spotpool.fleet_steps(stepwise):
        pass
    assert spotpool.fleet(stepwise) == spotpool.fleet(at_once)


def test_the_most_common_kinds_of_destinations_are_kept_and_names_decide_between_equals():
    kinds = range(spotpool.MAX_LANDINGS + 10)
    nodes = [make_node(f"once-{kind:02}", KARPENTER_SPOT, labels={"zone": f"{kind:02}"}) for kind in kinds]
    nodes += [make_node(f"again-{kind:02}", KARPENTER_SPOT, labels={"zone": f"{kind:02}"}) for kind in kinds[-5:]]
    for order in (nodes, nodes[::-1]):
        zones = [landing.labels["zone"] for landing in spotpool.fleet(make_snapshot(nodes=order)).landings]
        assert zones == [f"{kind:02}" for kind in (*kinds[-5:], *kinds[: spotpool.MAX_LANDINGS - 5])]


def test_the_same_nodes_under_the_same_policy_are_not_summed_up_again():
    before = make_snapshot()
    known = spotpool.fleet(before)
    indexes = {"namespaces": {}, "workloads": {make_workload().key: make_workload()}, "controllers": {}}
    after = Snapshot.from_indexes(before.meta, nodes=before.nodes, **indexes)
    assert list(spotpool.fleet_steps(after, before)) == []
    assert spotpool.fleet(after) is known


def test_equal_nodes_that_are_not_the_same_or_another_policy_are_summed_up_anew():
    before = make_snapshot()
    spotpool.fleet(before)
    meta = make_snapshot(policy=Policy(spot_taints=(Taint("own"),))).meta
    indexes = {"namespaces": {}, "workloads": {}, "controllers": {}}
    for after in (make_snapshot(), Snapshot.from_indexes(meta, nodes=before.nodes, **indexes)):
        assert len(list(spotpool.fleet_steps(after, before))) >= len(before.nodes)
