"""Joining what Prometheus told with whom it speaks of."""

import pytest

from tests.core.usage_builders import AT, make_running, make_usage
from webhook.core.census import Census
from webhook.core.model import WorkloadKey
from webhook.core.usage import SignalSample, UsageSweep, WorkloadSignals, by_workload, still_nodes

WEB = WorkloadKey(namespace="shop", kind="Deployment", name="report")
NIGHTLY = WorkloadKey(namespace="shop", kind="StatefulSet", name="report")
LOW, HIGH = SignalSample(peak=0.0, recent=0.0, points=60), SignalSample(peak=9.0, recent=9.0, points=50)


def signals_of(*told, keys=(WEB, NIGHTLY), everyone=()):
    sweep = UsageSweep(evaluated_at=AT, workloads=told)
    owners = {(key.namespace, key.kind, key.name): key for key in keys}
    return {
        key: found.signals
        for key, found in by_workload(Census(taken_at=AT), sweep, owners=owners, everyone=everyone).items()
    }


def told(sample, *, kind="", name="report"):
    return WorkloadSignals(namespace="shop", workload=name, kind=kind, signals={"queue": sample})


def test_a_signal_that_names_no_kind_is_the_only_workload_s_of_that_name():
    assert signals_of(told(LOW), keys=(WEB,)) == {WEB: {"queue": LOW}}


def test_a_signal_that_names_no_kind_is_nobody_s_where_two_kinds_share_the_name():
    assert signals_of(told(LOW)) == {WEB: {}, NIGHTLY: {}}


def test_the_other_kind_counts_even_where_another_rule_judges_it():
    """Each rule's sweep asks for its own workloads alone; the name is taken all the same."""
    assert signals_of(told(LOW), keys=(WEB,), everyone=(WEB, NIGHTLY)) == {WEB: {}}


@pytest.mark.parametrize("kind", ["Deployment", "deployment"])
def test_a_signal_that_names_the_kind_is_that_workload_s_alone(kind):
    assert signals_of(told(LOW, kind=kind)) == {WEB: {"queue": LOW}, NIGHTLY: {}}


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_answers_for_one_workload_the_stricter_one_counts(order):
    answers = (told(LOW, kind="Deployment"), told(HIGH, kind="deployment"))[::order]
    assert signals_of(*answers)[WEB] == {"queue": SignalSample(peak=9.0, recent=9.0, points=50)}


def test_two_answers_one_with_the_kind_and_one_without_are_of_one_workload():
    assert signals_of(told(HIGH), told(LOW, kind="Deployment"), keys=(WEB,))[WEB]["queue"].peak == 9.0


def still(*rates, phase="Running", node="n1"):
    pods = [make_running(f"p{n}", node_name=node, phase=phase).pod for n, _ in enumerate(rates)]
    known = {("shop", f"p{n}"): make_usage(f"p{n}", cpu_recent_cores=rate) for n, rate in enumerate(rates)}
    return still_nodes(Census(taken_at=AT, pods=tuple(pods)), known)


def test_a_node_none_of_whose_pods_uses_any_cpu_is_told_by_a_frozen_exporter():
    assert still(0.0, 0.0, 0.0, None) == {"n1"}


@pytest.mark.parametrize("rates", [(), (0.0, 0.0), (0.0, 0.0, 0.0, 0.0001), (None, None, None)])
def test_a_node_with_few_pods_or_one_that_does_something_is_told_of_as_it_is(rates):
    assert still(*rates) == frozenset()


def test_pods_that_wait_or_have_ended_say_nothing_of_their_node():
    assert still(0.0, 0.0, 0.0, node="") == still(0.0, 0.0, 0.0, phase="Failed") == frozenset()
