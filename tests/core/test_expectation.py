"""What is expected of a pod: who tells, in which order, and that odd words are passed over."""

from inspect import signature
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.core.scoring_worlds import GIB
from webhook.core.expectation import UNSURE, Expectation, Source, expect, pod_use
from webhook.core.model import Estimate, Namespace, PodUse, Resources, UseRatio

ASKED = Resources(2.0, 4 * GIB)
MEASURED = PodUse(cpu_cores=0.3, cpu_deviation_cores=0.1, memory_bytes=GIB, memory_deviation_bytes=0.0, pods=3)


def owner(use):
    return builders.make_workload("web", use=use)


@pytest.mark.parametrize(
    ("part", "source"), [(0.0, Source.OWNER), (0.05, Source.OWNER), (0.1, Source.OWNER_AND_REQUEST)]
)
def test_it_is_told_where_requests_had_a_part_in_it(part, source):
    use = PodUse(0.3, 0.1, GIB, 0.0, pods=3, memory_by_request=part)
    found = expect(owner(use), None, ASKED)
    assert (found.cpu_from, found.memory_from) == (Source.OWNER, source)


def test_an_owner_s_running_pods_are_believed_before_any_request():
    found = expect(owner(MEASURED), Namespace(name="shop", use_ratio=UseRatio(cpu=0.1, memory=0.1)), ASKED)
    assert found == Expectation(estimate=Estimate(0.3, 0.1, GIB, 0.0), cpu_from=Source.OWNER, memory_from=Source.OWNER)


def test_the_first_pod_of_an_owner_is_measured_by_the_habits_of_its_namespace():
    found = expect(owner(None), Namespace(name="shop", use_ratio=UseRatio(cpu=0.1, memory=0.5)), ASKED)
    assert (found.estimate.cpu_cores, found.estimate.memory_bytes) == pytest.approx((0.2, 2 * GIB))
    assert (found.cpu_from, found.memory_from) == (Source.NAMESPACE, Source.NAMESPACE)


def test_each_resource_has_a_source_of_its_own():
    found = expect(None, Namespace(name="shop", use_ratio=UseRatio(cpu=0.1)), Resources(2.0, GIB))
    assert (found.cpu_from, found.memory_from) == (Source.NAMESPACE, Source.REQUEST)
    found = expect(None, None, Resources(0.0, GIB))
    assert (found.cpu_from, found.memory_from) == (Source.NONE, Source.REQUEST)
    assert found.estimate.cpu_cores == 0.0


def test_a_guess_by_requests_is_unsure_of_itself():
    found = expect(None, None, ASKED).estimate
    assert found == Estimate(2.0, 2.0 * UNSURE, 4 * GIB, 4 * GIB * UNSURE)


def test_of_nothing_nothing_is_expected():
    assert expect(None, None, Resources()) == Expectation()
    assert expect(owner(PodUse()), Namespace(name="shop"), Resources()) == Expectation()


ODD = st.sampled_from([nan, inf, -inf, -1.0, 0.0, 0.5, 1e300])
ESTIMATES = st.builds(PodUse, ODD, ODD, ODD, ODD, pods=st.integers(0, 2))
NAMESPACES = st.builds(
    lambda cpu, memory: Namespace(name="shop", use_ratio=UseRatio(cpu=cpu, memory=memory)),
    st.none() | ODD,
    st.none() | ODD,
)


@given(st.none() | ESTIMATES, st.none() | NAMESPACES, st.builds(Resources, ODD, ODD))
def test_what_is_expected_is_a_number_whatever_is_known(use, namespace, requests):
    found = expect(owner(use), namespace, requests).estimate
    amounts = (found.cpu_cores, found.cpu_deviation_cores, found.memory_bytes, found.memory_deviation_bytes)
    assert all(0 <= amount < inf for amount in amounts)


def test_only_what_ran_before_is_asked():
    """Neither the pod nor a clock goes in: nothing of the pod's own future can."""
    assert list(signature(expect).parameters) == ["workload", "namespace", "requests"]


def test_the_use_of_siblings_is_their_mean_and_the_deviation_between_them():
    found = pod_use([Resources(1.0, GIB), Resources(3.0, GIB)])
    assert found == PodUse(2.0, 2.0**0.5, GIB, 0.0, pods=2)


def test_one_sibling_alone_is_unsure_of_itself_and_none_tell_nothing():
    assert pod_use([Resources(1.0, GIB)]) == PodUse(1.0, UNSURE, GIB, GIB * UNSURE, pods=1)
    assert pod_use([]) is None


@given(st.lists(st.builds(Resources, st.floats(0, 100), st.floats(0, 1e12)), min_size=1, max_size=9))
def test_siblings_lie_around_their_mean(measured):
    found = pod_use(measured)
    assert found.pods == len(measured)
    for field in ("cpu_cores", "memory_bytes"):
        values = [getattr(one, field) for one in measured]
        assert min(values) - 1e-3 <= getattr(found, field) <= max(values) + 1e-3
