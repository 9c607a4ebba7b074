"""Precedence as a table that is executed, and nobody's bad input in anybody's way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import make_workload
from webhook.core import consent
from webhook.core.consent import Level
from webhook.core.model import Namespace
from webhook.core.policy import Mode, PlacementMode, Policy, SpotWish

MOVE = Policy(mode=Mode.MOVE)


def resolve(pod=None, workload=None, namespace=None, policy=MOVE, kind="Deployment"):
    def own(values):
        return {f"spot-balancer.io/{key}": value for key, value in (values or {}).items()}

    subject = make_workload(kind=kind, annotations=own(workload))
    return consent.resolve(own(pod), subject, Namespace("shop", own(namespace)), policy)


@pytest.mark.parametrize(
    ("pod", "workload", "namespace", "spot", "level"),
    [
        ({"spot": "never"}, {"spot": "always"}, {"spot": "auto"}, SpotWish.NEVER, Level.POD),
        ({}, {"spot": "always"}, {"spot": "never"}, SpotWish.ALWAYS, Level.WORKLOAD),
        ({}, {}, {"spot": "never"}, SpotWish.NEVER, Level.NAMESPACE),
        ({}, {}, {}, SpotWish.AUTO, Level.DEFAULT),
        ({"spot": "sometimes"}, {"spot": "never"}, {}, SpotWish.NEVER, Level.WORKLOAD),
    ],
)
def test_the_nearest_word_wins(pod, workload, namespace, spot, level):
    found = resolve(pod, workload, namespace)
    assert (found.spot, found.spot_from) == (spot, level)


@pytest.mark.parametrize("ceiling", list(Mode))
@pytest.mark.parametrize("wanted", list(Mode))
def test_an_annotation_only_lowers_the_mode(ceiling, wanted):
    found = resolve(workload={"mode": wanted.value}, policy=Policy(mode=ceiling))
    order = list(Mode)
    assert order.index(found.mode) == min(order.index(ceiling), order.index(wanted))
    assert bool(found.notes) == (order.index(wanted) > order.index(ceiling))


@pytest.mark.parametrize(
    ("key", "value", "wish"),
    [
        ("scheduling.cast.ai/lifecycle", "on-demand", SpotWish.NEVER),
        ("scheduling.cast.ai/lifecycle", "spot", SpotWish.ALWAYS),
        ("spotinst.io/node-lifecycle", "od", SpotWish.NEVER),
        ("zalando.org/runtime-policy", "require-on-demand", SpotWish.NEVER),
        ("spot.kubecost.com/spot-ready", "false", SpotWish.NEVER),
        ("spot.kubecost.com/spot-ready", "true", SpotWish.AUTO),
    ],
)
def test_other_tools_words_are_honoured_where_ours_are_silent(key, value, wish):
    foreign = make_workload(annotations={key: value})
    assert consent.resolve(None, foreign, None, MOVE).spot is wish
    both = make_workload(annotations={key: value, "spot-balancer.io/spot": "auto"})
    assert consent.resolve(None, both, None, MOVE).spot is SpotWish.AUTO


@pytest.mark.parametrize("mode", list(Mode))
def test_a_workload_whose_namespace_is_not_known_is_observed_only(mode):
    found = consent.resolve(None, make_workload(), None, Policy(mode=mode))
    assert found.mode is Mode.OBSERVE
    assert bool(found.notes) == (mode is not Mode.OBSERVE)


@pytest.mark.parametrize("value", ["", "150%", "-1", "half", "50 %", "1e3"])
def test_a_share_nobody_can_read_is_ignored_and_noted(value):
    found = resolve(workload={"max-spot": value})
    assert found.max_spot == MOVE.max_spot
    assert "max-spot" in found.notes[0]


def test_placement_and_share_are_taken_from_where_they_stand():
    found = resolve(workload={"placement": "required"}, namespace={"max-spot": "30%"})
    assert (found.placement, found.placement_from) == (PlacementMode.REQUIRED, Level.WORKLOAD)
    assert (found.max_spot, found.max_spot_from) == ("30%", Level.NAMESPACE)


def test_kinds_beyond_the_default_are_handled_where_somebody_asked():
    assert not resolve(kind="StatefulSet").handled
    assert resolve(kind="StatefulSet", namespace={"spot": "auto"}).handled
    assert resolve(kind="CronJob").handled


@given(st.dictionaries(st.sampled_from(["spot", "placement", "max-spot", "mode"]), st.text(max_size=20)))
def test_no_tenants_input_is_ever_an_error(values):
    assert resolve(pod=values, workload=values, namespace=values).mode in Mode


@pytest.mark.parametrize(
    ("share", "replicas", "allowed"),
    [("100%", 7, 7), ("50%", 1, 0), ("50%", 3, 1), ("0%", 9, 0), ("3", 10, 3), ("3", 2, 2), ("junk", 5, 0)],
)
def test_a_share_is_rounded_down(share, replicas, allowed):
    assert consent.allowed_on_spot(share, replicas) == allowed
