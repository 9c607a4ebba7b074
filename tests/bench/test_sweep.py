"""What the table of the sweep says of its figures, and that the kept run is of the queries that are asked today."""

import json

import pytest

from bench import __main__ as front
from bench import sweep
from bench import sweep_data as data
from webhook.core.policy import IdlePolicy
from webhook.wire.promql import sweep_queries


def cost(seconds, *, queries=2, scale=1.0, pods=data.OWNERS * data.PODS_PER_OWNER):
    return sweep.Cost(["up"] * queries, scale, seconds=[seconds], samples=1, megabytes=1.0, pods=pods)


def table(*, together=1.0, peaks=2.0, of_few=16, **pods):
    ways = {
        "pattern": cost(12.0, queries=200, scale=30.0, **pods),
        "exact": cost(2.5, queries=200, scale=30.0),
        "peaks": cost(peaks),
        "together": cost(together),
        "sweep": cost(4.0, queries=16),
    }
    return sweep._table(ways, sweep.Asked(of_all=16, of_few=of_few), rounds=1)


def of(rows, figure):
    return [row for row in rows if row["figure"].startswith(figure)]


def test_the_goals_are_on_the_product_s_own_way_and_say_how_many_queries_it_asks_at_a_time():
    product = of(table(), "peaks of CPU and network, as the product asks, 2 queries at a time")
    assert [(row["ratio"], row["goal"], row["met"]) for row in product] == [
        (12.0, "at least 10 x, with 2 queries at a time", True),
        (2.5, "at least 2 x, with 2 queries at a time", True),
    ]
    serial = of(table(), "peaks of CPU and network, one query after the other")
    assert [(row["ratio"], row["goal"], row["met"]) for row in serial] == [(6.0, None, None), (1.25, None, None)]
    assert all("one after the other" in row["peerName"] for row in (*product, *serial))
    slower = of(table(together=1.5), "peaks of CPU and network, as the product asks")
    assert [row["met"] for row in slower] == [False, False]


@pytest.mark.parametrize(("of_few", "met"), [(16, True), (15, False), (17, False)])
def test_a_number_of_queries_that_follows_the_number_of_pods_misses_its_goal(of_few, met):
    first, *others = of(table(of_few=of_few), sweep.QUERIES)
    assert (first["ours"], first["goal"], first["met"]) == (16, "the same", met)
    assert [(row["ours"], row["peer"], row["met"]) for row in others] == [(16, 6000, None)] * 2


def test_answers_of_another_number_of_pods_are_no_figures():
    with pytest.raises(RuntimeError, match="answers differ"):
        table(pods=17)


def test_the_kept_run_is_of_the_queries_that_are_asked_today():
    """Else the documents tell of a sweep that nobody makes any more: measure anew by `python -m bench --only sweep --keep sweep`."""
    newest = max(front.RESULTS.glob("*-sweep.json"))
    told = {row["ours"] for row in of(json.loads(newest.read_text())["rows"], sweep.QUERIES)}
    assert told == {1 + len(sweep_queries(IdlePolicy()))}, newest.name
