"""What the benchmark of even load makes of figures."""

from bench import balance, balance_tables
from webhook.simulation.balance import ORACLE, OURS, POLICIES, Figures


def figures(name, deviation, hot=10):
    return Figures(policy=name, deviation_percent=deviation, hot_node_minutes=hot, p95_percent=50.0, herd_index=1.0)


def cell(**deviations):
    told = {name: [figures(name, 12.0 + seed) for seed in (0, 1, 2)] for name in (*POLICIES, balance.FEWER)}
    for name, values in deviations.items():
        told[name] = [figures(name, value) for value in values]
    return balance.cell_row((40, 5, True, 0.5), told)


def test_a_peer_that_is_better_seed_by_seed_is_named():
    row = cell(**{OURS: (12.0, 13.0, 14.0), "crane": (11.5, 12.6, 13.4)})
    assert row["worseThan"] == ["crane"]
    assert row["met"] is False
    assert row["peerName"] == "the best: crane"


def test_a_peer_that_is_better_by_chance_is_not():
    row = cell(**{OURS: (12.0, 13.0, 14.0), "crane": (9.0, 13.5, 14.2)})
    assert row["worseThan"] == []
    assert row["met"] is True


def test_goals_come_from_all_cells_and_missed_ones_are_counted():
    rows = [cell(**{OURS: (12.0, 13.0, 14.0), ORACLE: (10.0, 10.0, 10.0), "crane": (11.5, 12.6, 13.4)})]
    told = [*rows, *balance.goals(rows)]
    distance = next(row for row in told if row["figure"].endswith(f"%: {OURS}"))
    assert (distance["ours"], distance["met"]) == (30.0, False)
    page = balance_tables.goals(told)
    assert "crane" in page.splitlines()[2]
    assert "**12.5 ± 0.6**" in balance_tables.deviation(told)


def test_what_an_answer_of_the_best_alone_loses_is_told_beside_the_whole_one():
    rows = [cell(**{OURS: (12.0, 13.0, 14.0), balance.FEWER: (12.5, 13.5, 14.5)})]
    found = [row for row in balance.goals(rows) if row["peerName"] == balance.FEWER]
    assert [(row["ours"], row["peer"], row["goal"]) for row in found] == [(13.0, 13.5, None), (10.0, 10.0, None)]
