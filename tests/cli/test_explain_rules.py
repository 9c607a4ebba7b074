"""`explain` on who schedules the next pod and what its namespace weighs."""

from tests import builders
from webhook.core.model import Namespace, Side
from webhook.core.policy import Mode, Policy, Rule
from webhook.wire.snapshot import encode_document

RULES = (Rule(name="gold", weight=3), Rule(name="web", scheduler_name="balanced"))


def explained(cli, tmp_path, mode, annotations):
    namespace = Namespace("shop", annotations, weight=3, weight_rule="gold")
    policy = Policy(mode=mode, rules=RULES, allowed_annotations=())
    workload = builders.make_workload(side=Side.REGULAR, rule="web")
    file = tmp_path / "shop.json"
    file.write_bytes(encode_document(builders.make_snapshot(workload, policy=policy, namespaces=[namespace])))
    return cli("explain", "shop/deploy/nginx-demo", "--snapshot", str(file)).out


def test_it_shows_the_scheduler_and_the_weight_with_who_decided(cli, tmp_path):
    out = explained(cli, tmp_path, Mode.INJECT, {"spot-balancer.io/weight": "9"})
    table = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith(("weight", "scheduler"))}
    assert table == {"weight": ["3", "rule", "gold"], "scheduler": ["balanced", "rule", "web"]}
    assert "It goes to the scheduler balanced, by rule web." in out
    assert "note: namespace annotation spot-balancer.io/weight: more than rule gold allows" in out


def test_while_only_observing_it_shows_what_would_be(cli, tmp_path):
    out = explained(cli, tmp_path, Mode.OBSERVE, {})
    assert "With mode: inject" in out
    assert "It goes to the scheduler" not in out
    assert "It would go to the scheduler balanced, by rule web." in out
