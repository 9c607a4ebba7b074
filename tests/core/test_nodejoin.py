"""How far the join of series and nodes is to be trusted."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.core.nodejoin import LEAST_MATCHED, Join, counted, match_rate, why_blind

JOINS = st.dictionaries(st.sampled_from(Join), st.integers(1, 50)).map(Counter)
NOWHERE = {Join.NONE, Join.STRAY}


@pytest.mark.parametrize(
    ("sources", "rate"),
    [
        ([], None),
        ([(0, 0), (0, 0)], None),
        ([(4, 0)], 0.0),
        ([(4, 3), (0, 0)], 0.75),
        ([(4, 0), (10, 10)], 1.0),
        ([(10, 9), (10, 10)], 0.95),
    ],
    ids=["none", "no series", "nowhere", "some", "a source that leads nowhere is not used", "two that are"],
)
def test_the_rate_is_of_the_sources_that_loads_come_from(sources, rate):
    assert match_rate(sources) == rate


@given(st.none() | st.floats(0, 1))
def test_whoever_is_scored_by_type_alone_is_told_so_and_nobody_else(rate):
    blind = rate is None or rate < LEAST_MATCHED
    assert ("only the capacity type is scored" in why_blind(rate)) == blind
    assert bool(why_blind(rate)) == blind


def test_a_share_that_does_not_suffice_is_never_told_as_one_that_does():
    told = why_blind(0.8999)
    assert told == "89 % of load series lead to a node, fewer than 90 %, so only the capacity type is scored"


@given(JOINS, JOINS)
def test_no_more_series_count_than_there_are_and_no_fewer_than_lead_to_a_node(series, newest):
    total, joined = counted(series, newest)
    assert joined == sum(count for how, count in series.items() if how not in NOWHERE)
    assert joined <= total <= series.total()


@given(JOINS, st.sampled_from(sorted(NOWHERE)), st.integers(1, 50))
def test_series_that_outlive_their_nodes_change_no_rate(newest, how, gone):
    later = newest + Counter({how: gone})
    total, joined = counted(newest, newest)
    assert counted(later, newest) == ((total, joined) if joined else (later.total(), 0))


@given(JOINS, JOINS)
def test_a_series_that_leads_nowhere_at_this_moment_never_raises_the_rate(series, newest):
    one = Counter({Join.NONE: 1})
    before, after = match_rate([counted(series, newest)]), match_rate([counted(series + one, newest + one)])
    assert after is not None
    assert before is None or after <= before
