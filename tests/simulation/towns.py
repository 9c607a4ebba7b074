"""Small simulated clusters and what tests do to them, by one call each."""

import msgspec

from webhook.core import planning
from webhook.core.model import Evidence, Side, Verdict
from webhook.jobs import mover
from webhook.simulation.api import Api, calm
from webhook.simulation.cluster import MOVING, Cluster
from webhook.simulation.objects import DeploymentSpec, NodeSpec

MINUTE = 60.0


def make_cluster(*deployments, regular=3, spot=3, seed=1, policy=MOVING, tainted=False):
    """Nodes of 8 cores, and Deployments whose pods had two minutes to become Ready before spot nodes came."""
    cluster = Cluster(policy, seed=seed)
    for number in range(regular):
        cluster.add_node(NodeSpec(f"regular-{number}"))
    for spec in deployments:
        cluster.add_deployment(spec)
    cluster.advance(2 * MINUTE)
    for number in range(spot):
        cluster.add_node(NodeSpec(f"spot-{number}", spot=True, tainted=tainted))
    return cluster


def make_deployment(name="web", **fields):
    return DeploymentSpec("shop", name, **fields)


def turn(cluster, key, side):
    """The monitor turns the workload's side now."""
    found, now = cluster.deployments[key], cluster.now()
    before = cluster.book.verdicts.get(str(key)) or Verdict(key=key, uid=found.uid)
    idle = side is Side.SPOT
    after = msgspec.structs.replace(
        before,
        side=side,
        since=now,
        transitions=before.transitions + 1,
        idle_runs=5 if idle else 0,
        evidence=Evidence.IDLE if idle else Evidence.ACTIVE,
        reason="told by the test",
        good_at=now,
        judged_at=now,
    )
    cluster.write_verdict(after)


def run(cluster, trouble=calm):
    """One run of the monitor: moves that ended are learnt from, evidence says the same again, and the mover moves."""
    now, world = cluster.now(), cluster.world()
    fresh = {
        name: msgspec.structs.replace(verdict, good_at=now, judged_at=now, memory=world.memory(verdict.key))
        for name, verdict in cluster.book.verdicts.items()
    }
    cluster.write_book(msgspec.structs.replace(cluster.book, verdicts=fresh))
    world = cluster.world()
    cluster.write_control(msgspec.structs.replace(planning.refreshed(world), heartbeat=now))
    return mover.run(Api(cluster, trouble=trouble).deps(), world)


def pass_minutes(cluster, minutes, trouble=calm):
    """So many runs, one at the beginning of each minute."""
    reports = []
    for _ in range(minutes):
        begun = cluster.now()
        reports.append(run(cluster, trouble))
        cluster.advance(MINUTE - (cluster.now() - begun).total_seconds())
    return reports


def sides(cluster, key):
    """The side of each of its active pods, None of those without a node."""
    return [cluster.side(pod.fact.node_name) for pod in cluster.deployments[key].active]
