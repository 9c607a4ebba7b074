"""What requests are worth: all where they prove right, nothing where they are off, and never what one workload makes of it."""

from math import exp, isfinite, log

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from webhook.core.trust import LEAST, Believed, Seen, everywhere, trust

AMOUNT = st.floats(1e-6, 1e6)
SEEN = st.builds(
    Seen, mean=AMOUNT, deviation=st.floats(0, 1e6), pods=st.integers(1, 200), recent=AMOUNT, request=AMOUNT
)
ANY = st.one_of(st.floats(), st.just(0.0))
WILD = st.builds(Seen, mean=ANY, deviation=ANY, pods=st.integers(-1, 10**6), recent=ANY, request=ANY)


def noisy(*factors, pods=4, deviation=0.3, recent=1.3):
    """Workloads whose use is a factor of what they request, 100m to 1500m."""
    requests = [0.1 * (1 + number % 15) for number in range(len(factors))]
    return [Seen(r * f, deviation * r * f, pods, recent * r * f, r) for r, f in zip(requests, factors, strict=True)]


AROUND = (0.8, 1.25, 0.9, 1.1, 1.2, 0.85, 1.15, 0.87, 1.0, 1.0)
OFF = (0.1, 10.0, 0.2, 5.0, 3.0, 0.3, 7.0, 0.15, 1.0, 2.0)


def test_right_requests_say_what_chance_made_of_a_measurement():
    seen = noisy(*AROUND)
    found = trust(seen)
    assert found.spread == 0
    for one in seen:
        assert found.of(one).mean == pytest.approx(one.request, rel=0.02)
        assert found.of(one).part == 1


def test_requests_that_are_off_say_next_to_nothing():
    seen = noisy(*OFF, deviation=0.1, recent=1.05)
    found = trust(seen)
    for one in seen:
        assert found.of(one).mean == pytest.approx(one.mean, rel=0.02)


def test_what_is_used_of_requests_alike_is_as_good_as_right():
    seen = noisy(*(0.3 * factor for factor in AROUND))
    assert trust(seen).of(seen[0]).mean == pytest.approx(0.3 * seen[0].request, rel=0.02)


def test_who_has_many_pods_is_led_less():
    seen = noisy(*OFF, deviation=0.9)
    few, many = seen[0]._replace(pods=1), seen[0]._replace(pods=100)
    assert trust(seen).of(few).part > trust(seen).of(many).part


def test_a_use_that_neither_pods_nor_time_make_differ_is_known():
    seen = noisy(*AROUND, deviation=0, recent=1)
    assert [trust(seen).of(one) for one in seen] == [Believed(one.mean) for one in seen]


def test_too_few_are_no_evidence():
    seen = noisy(*AROUND)
    assert trust(seen[: LEAST - 1]) is None
    assert trust([one._replace(request=0.0) for one in seen]) is None


def test_who_requests_nothing_is_taken_as_measured():
    seen = noisy(*AROUND)
    assert trust(seen).of(seen[0]._replace(request=0.0)) == Believed(seen[0].mean)


@given(st.lists(SEEN, min_size=LEAST, max_size=30))
def test_the_result_lies_between_measured_and_request_by_ratio(seen):
    found = trust(seen)
    for one in seen:
        believed = found.of(one)
        low, high = sorted((one.mean, one.request * exp(found.level)))
        assert low * (1 - 1e-9) <= believed.mean <= high * (1 + 1e-9)
        assert 0 <= believed.part <= 1


@given(st.lists(SEEN, min_size=LEAST, max_size=20), st.floats(1e-2, 1e2))
def test_exact_agreement_changes_nothing(seen, ratio):
    agreeing = [one._replace(request=one.mean / ratio) for one in seen]
    found = trust(agreeing)
    for one in agreeing:
        assert found.of(one).mean == pytest.approx(one.mean, rel=1e-9)


@given(st.lists(SEEN, min_size=LEAST, max_size=20), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_the_unit_does_not_show(seen, unit, asked):
    """Nor does what all requests are too large by."""
    assume(all(one.mean * unit > 1e-9 and one.request * unit * asked > 1e-9 for one in seen))
    other = [
        one._replace(
            mean=one.mean * unit,
            deviation=one.deviation * unit,
            recent=one.recent * unit,
            request=one.request * unit * asked,
        )
        for one in seen
    ]
    before, after = trust(seen), trust(other)
    for one, two in zip(seen, other, strict=True):
        assert after.of(two).mean == pytest.approx(before.of(one).mean * unit, rel=1e-6)


@given(st.lists(SEEN, min_size=LEAST, max_size=20), st.randoms())
def test_the_order_does_not_show_in_a_single_bit(seen, random):
    other = list(seen)
    random.shuffle(other)
    assert trust(seen) == trust(other)


@given(st.lists(st.lists(SEEN, max_size=LEAST), max_size=5))
def test_groups_of_few_are_judged_as_all_of_theirs_together(groups):
    assert everywhere(groups) == trust(one for group in groups for one in group)


@given(st.lists(SEEN, min_size=LEAST, max_size=40))
def test_a_group_alone_is_judged_as_it_is_by_itself(seen):
    alone, found = trust(seen), everywhere([seen])
    assert tuple(found) == pytest.approx(tuple(alone), rel=1e-6, abs=1e-9)


@given(st.floats(0.05, 20), st.integers(1, 50), st.floats(0, 1), st.floats(1, 3))
def test_a_group_says_no_more_of_requests_elsewhere_for_being_of_many(ratio, times, deviation, recent):
    others = [noisy(*AROUND[:5], pods=2) for _ in range(6)]
    theirs = noisy(*[ratio] * LEAST, deviation=deviation, recent=recent)
    few, many = everywhere([*others, theirs]), everywhere([*others, theirs * times])
    assert (few.between, few.over_time) == pytest.approx((many.between, many.over_time))
    assert (few.level, few.spread) == pytest.approx((many.level, many.spread), abs=0.02 + 0.02 * log(ratio) ** 2)


def test_a_thousand_workloads_of_one_group_do_not_make_another_use_ten_times_its_request():
    """However swinging they are; told as one heap they would speak for all: four times, the most that there is."""
    others = [noisy(*AROUND[:4], pods=1) for _ in range(6)]
    theirs = noisy(*[10.0] * 1000, deviation=1.4, pods=2, recent=6)
    one = others[0][0]
    assert trust([one for group in (*others, theirs) for one in group]).of(one).mean > 3.9 * one.mean
    assert everywhere([*others, theirs]).of(one).mean < 3 * one.mean


@given(st.lists(WILD, max_size=20))
def test_nothing_that_is_told_makes_a_result_that_is_no_amount(seen):
    found = trust([*seen, *noisy(*AROUND)])
    assert all(isfinite(value) for value in found)
    for one in seen:
        believed = found.of(one)
        if one.tells:
            assert isfinite(believed.mean)
            assert believed.mean >= 0
        else:
            assert believed.part == 0


@given(st.floats(1e-6, 1e6), st.floats(0, 100), st.floats(1e-6, 1e6))
def test_one_wild_workload_becomes_no_trust(ratio, variation, recent):
    """Whatever one of many says, requests that are off stay worth little, and it is never led far itself."""
    seen = noisy(*OFF * 3, deviation=0.1, recent=1.05)
    wild = Seen(ratio, variation * ratio, 2, recent * ratio, 1.0)
    found = trust([*seen, wild])
    assert max(found.of(one).part for one in seen) < 0.15
    noise = found.between / 2 + found.over_time
    assert abs(log(found.of(wild).mean / wild.mean)) <= 2 * noise**0.5 + 1e-9


@given(st.floats(1e-3, 1e3), st.floats(0, 3), st.floats(1, 100))
def test_nobody_is_led_beyond_a_quarter_or_four_times_of_what_was_measured(ratio, variation, recent):
    """A namespace that makes its workloads as noisy as can be, and its requests as it likes, gets no more out of it."""
    found = trust(noisy(*[ratio] * 100, deviation=variation, pods=2, recent=recent))
    one = Seen(1.0, 0.0, 1, 1.0, 1.0)
    assert 1 / 4 - 1e-9 <= found.of(one).mean <= 4 + 1e-9
