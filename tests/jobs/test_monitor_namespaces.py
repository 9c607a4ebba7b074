"""A run where namespaces are not known: no workload is judged by a rule that may not be its own."""

import msgspec

from tests.jobs.test_monitor import DEMO, World
from webhook.core.model import Namespace
from webhook.core.policy import IdlePolicy, Match, Policy, Rule

STRICT = Rule(name="strict", match=Match(namespace_labels={"env": "prod"}), idle=IdlePolicy(cpu_floor_cores=0))
POLICY = Policy(rules=(STRICT,))


class Named(World):
    """A world whose namespaces a test may name; the plain one knows none."""

    namespaces: tuple[Namespace, ...] = ()

    def census(self):
        return msgspec.structs.replace(super().census(), namespaces=self.namespaces)


def test_while_its_namespace_is_not_known_a_workload_is_not_judged_and_keeps_its_verdict():
    world = Named()
    world.deploy("nginx-demo")
    world.run(times=9, policy=POLICY)
    assert world.book.verdicts == {}
    world.namespaces = (Namespace("shop"),)
    world.run(times=9, policy=POLICY)
    before = world.book.verdicts[DEMO]
    world.namespaces = ()
    world.run(times=9, policy=POLICY)
    assert world.book.verdicts[DEMO] == before


def test_where_no_rule_asks_for_labels_of_the_namespace_it_need_not_be_known():
    world = Named()
    world.deploy("nginx-demo")
    world.run(policy=Policy(rules=(Rule(name="all", match=Match(namespaces=("shop",))),)))
    assert DEMO in world.book.verdicts
