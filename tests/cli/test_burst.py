"""The demonstration's burst: what is imitated, and that the extender's points lead it elsewhere."""

import msgspec
import pytest

from tests.builders import NOW
from webhook.cli import burst
from webhook.core import candidates, scoring
from webhook.core.ledger import Ledger
from webhook.core.model import CapacityType
from webhook.core.nodetable import table
from webhook.core.pod import Pod

NAMES = [f"node-{letter}" for letter in "abcdef"]


def in_process(snapshot):
    """What the server does, in this process."""
    ledger = Ledger()
    ledger.follow(table(snapshot), now=0)

    def ask(pod, names):
        candidate = candidates.candidate(msgspec.convert(pod, Pod), burst.REQUEST, snapshot)
        rows = ledger.table.rows_of(names, len(names))
        found = scoring.score(ledger.table, candidate, rows, now=NOW.timestamp())
        found = ledger.answer(candidate, found, now=0)
        return dict(zip(names, found.scores.tolist(), strict=True))

    return ask


def fullest(placed):
    return max(one.before + one.added for one in placed)


def test_free_requests_alone_lead_to_those_who_requested_least():
    placed = burst.place(None)
    assert sum(one.pods for one in placed) == burst.PODS
    assert placed[0].pods == max(one.pods for one in placed)
    assert fullest(placed) > 1


def test_with_the_extender_s_points_no_node_is_too_full():
    placed = burst.place(in_process(burst.snapshot(NOW)))
    assert sum(one.pods for one in placed) == burst.PODS
    assert placed[0].pods == 0
    assert fullest(placed) <= 0.85


def test_an_extender_that_says_nothing_changes_nothing():
    assert burst.place(lambda pod, names: {}) == burst.place(None)
    assert burst.place(lambda pod, names: dict.fromkeys(names, 10)) == burst.place(None)


def test_each_pod_is_expected_to_use_what_its_siblings_do():
    snapshot = burst.snapshot(NOW)
    found = candidates.candidate(msgspec.convert(burst.pod(3), Pod), burst.REQUEST, snapshot)
    assert found.wants is CapacityType.REGULAR
    assert found.expected.estimate.cpu_cores == burst.USE.cpu_cores
    assert burst.pod(1)["metadata"]["uid"] != burst.pod(2)["metadata"]["uid"]
    assert list(snapshot.nodes) == NAMES


def test_a_bar_tells_what_was_there_what_came_and_what_is_too_much():
    lines = burst.chart([burst.Placed("node-a", 0.5, 0.25, 5), burst.Placed("node-b", 0.9, 0.2, 4)])
    assert lines[0] == "node-a  " + "█" * 25 + "▒" * 13 + "·" * 12 + "   75%  +5 pods"
    assert lines[1] == "node-b  " + "█" * 45 + "▒" * 5 + "  110%  +4 pods  too much"


def test_the_summary_is_of_all_nodes():
    told = burst.summary([burst.Placed("a", 0.5, 0.1, 2), burst.Placed("b", 0.4, 0.0, 0)])
    assert told == "fullest 60%, standard deviation between nodes 10.0%"


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_the_nodes_are_as_full_as_the_chart_begins(number):
    node = list(burst.snapshot(NOW).nodes.values())[number]
    assert node.load.cpu_cores / node.allocatable.cpu_cores == pytest.approx(burst.place(None)[number].before)
