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
        ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false", SpotWish.NEVER),
        ("cluster-autoscaler.kubernetes.io/safe-to-evict", "true", SpotWish.AUTO),
        ("karpenter.sh/do-not-disrupt", "true", SpotWish.NEVER),
        ("karpenter.sh/do-not-disrupt", "30m", SpotWish.NEVER),
        ("karpenter.sh/do-not-disrupt", "+1h5.5m.3s", SpotWish.NEVER),
        *(("karpenter.sh/do-not-disrupt", junk, SpotWish.AUTO) for junk in ("false", "", "0s", "-5m", "5", "m", "5m ")),
        ("descheduler.alpha.kubernetes.io/prefer-no-eviction", "true", SpotWish.AUTO),
    ],
)
def test_other_tools_words_are_honoured_where_ours_are_silent(key, value, wish):
    foreign = make_workload(annotations={key: value})
    assert consent.resolve(None, foreign, None, MOVE).spot is wish
    both = make_workload(annotations={key: value, "spot-balancer.io/spot": "auto"})
    assert consent.resolve(None, both, None, MOVE).spot is SpotWish.AUTO


NEVER_MOVE = [
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
    ("karpenter.sh/do-not-disrupt", "true"),
    ("karpenter.sh/do-not-disrupt", "30m"),
    # The descheduler itself looks at no value.
    ("descheduler.alpha.kubernetes.io/prefer-no-eviction", "true"),
    ("descheduler.alpha.kubernetes.io/prefer-no-eviction", ""),
]


@pytest.mark.parametrize(("key", "value"), NEVER_MOVE)
def test_what_other_tools_must_not_disturb_is_not_moved_whatever_may_be_asked_for(key, value):
    deaf = Policy(mode=Mode.MOVE, allowed_annotations=())
    found = consent.resolve({key: value}, make_workload(), Namespace("shop"), deaf)
    assert (found.moves, found.moves_from) == ((), Level.POD)
    assert f"pod annotation {key} read as move: never" in found.notes
    mine = consent.resolve({key: value, "spot-balancer.io/move": "auto"}, make_workload(), Namespace("shop"), deaf)
    assert mine.moves == deaf.allowed_moves


def test_of_several_words_of_other_tools_the_one_that_asks_for_less_counts():
    both = {"scheduling.cast.ai/lifecycle": "spot", "spotinst.io/node-lifecycle": "od"}
    assert consent.resolve(both, make_workload(), Namespace("shop"), MOVE).spot is SpotWish.NEVER


def test_a_word_of_another_tool_that_may_not_be_asked_for_is_passed_over_with_a_note():
    asks = {"scheduling.cast.ai/lifecycle": "spot"}
    found = consent.resolve(asks, make_workload(), Namespace("shop"), Policy(allowed_annotations=()))
    assert (found.spot, found.spot_from) == (SpotWish.AUTO, Level.DEFAULT)
    assert found.notes[0].startswith("pod annotation scheduling.cast.ai/lifecycle='spot' ignored")


_OWN = {"auto": "auto", "always": "always", "never": "never"}
_CAST = {"spot": "always", "on-demand": "never"}
_LEVEL = st.tuples(st.sampled_from([None, "junk", *_OWN]), st.sampled_from([None, "junk", *_CAST]))


@given(st.tuples(_LEVEL, _LEVEL, _LEVEL), st.booleans())
def test_the_nearest_level_that_says_anything_is_heard_and_its_own_word_first(levels, may_ask):
    policy = Policy(mode=Mode.MOVE, allowed_annotations=("spot",) if may_ask else ())
    keys = ("spot-balancer.io/spot", "scheduling.cast.ai/lifecycle")
    pod, workload, namespace = (
        {key: word for key, word in zip(keys, words, strict=True) if word is not None} for words in levels
    )
    found = consent.resolve(pod, make_workload(annotations=workload), Namespace("shop", namespace), policy)
    told = [wish for own, cast in levels for wish in (_OWN.get(own), _CAST.get(cast))]
    heard = [n for n, wish in enumerate(told) if wish == "never" or (wish and may_ask)]
    expected = (told[heard[0]], list(Level)[heard[0] // 2]) if heard else ("auto", Level.DEFAULT)
    assert (found.spot.value, found.spot_from) == expected


def test_a_quarter_of_a_megabyte_of_digits_is_no_duration_and_takes_no_time():
    subject = {"karpenter.sh/do-not-disrupt": "1" * 250_000}
    assert consent.resolve(subject, make_workload(), Namespace("shop"), MOVE).spot is SpotWish.AUTO


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


@pytest.mark.parametrize("key", ["cluster-autoscaler.kubernetes.io/safe-to-evict", "karpenter.sh/do-not-disrupt"])
def test_what_must_not_be_disturbed_is_no_wish_for_its_kind_to_be_handled(key):
    """Many a StatefulSet says so, and never asked where its pods should be."""
    value = {"karpenter.sh/do-not-disrupt": "true"}.get(key, "false")
    subject = make_workload(kind="StatefulSet", annotations={key: value})
    found = consent.resolve(None, subject, Namespace("shop"), MOVE)
    assert (found.handled, found.spot) == (False, SpotWish.NEVER)
    lifecycle = make_workload(kind="StatefulSet", annotations={"scheduling.cast.ai/lifecycle": "on-demand"})
    assert consent.resolve(None, lifecycle, Namespace("shop"), MOVE).handled
