"""Placements on simulated nodes: nothing of the future is known, the scheduler's habits are its own, and figures are true."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.core.policy import BalancePolicy
from webhook.simulation.balance import POLICIES, Cell, compare, figures, fitting, play, simulate, summed_up
from webhook.simulation.balance_cluster import Ground, nodes_to_find
from webhook.simulation.balance_ours import OURS, Ours
from webhook.simulation.balance_peers import (
    CLAIRVOYANT,
    ORACLE,
    PEERS,
    Question,
    load_variation_risk,
    target_load_packing,
)
from webhook.simulation.balance_world import CPU, Setting, world

SMALL = Setting(burst=8, requests_off=True, nodes=6, pods=24, minutes=40)
BALANCE = BalancePolicy()


def rule(name, staleness):
    return Ours(fitting(BALANCE, staleness)) if name == OURS else PEERS[name]()


def placed(place, name, cell):
    return play(place, rule(name, cell.staleness), cell, BALANCE).node


@given(
    name=st.sampled_from([name for name in POLICIES if name not in CLAIRVOYANT]),
    staleness=st.sampled_from([0, 1, 5, 15]),
    seed=st.integers(0, 3),
    where=st.floats(0, 1, exclude_max=True),
    noise=st.integers(0, 2**32 - 1),
)
def test_what_comes_after_a_decision_changes_nothing_up_to_it(name, staleness, seed, where, noise):
    place, cell = world(SMALL, seed), Cell(SMALL, staleness, seed)
    decision = int(where * len(place.at))
    minute = int(place.at[decision] // 60)
    use = place.use.copy()
    rng = np.random.default_rng(noise)
    use[:, :, minute:] *= np.exp(rng.normal(0, 3, use[:, :, minute:].shape))
    other = place._replace(use=use)
    before, after = placed(place, name, cell), placed(other, name, cell)
    assert before[: decision + 1].tolist() == after[: decision + 1].tolist()


def test_only_an_oracle_knows_the_future():
    place, cell = world(SMALL, 1), Cell(SMALL, 5, 1)
    use = place.use[:, :, ::-1]
    assert placed(place, ORACLE, cell).tolist() != placed(place._replace(use=use), ORACLE, cell).tolist()


def test_every_pod_is_placed_where_it_fits_and_its_use_is_counted_once():
    place, cell = world(SMALL, 2), Cell(SMALL, 5, 2)
    ground = play(place, rule(OURS, 5), cell, BALANCE)
    on = ground.node >= 0
    assert ground.left_out == np.count_nonzero(~on)
    alive = (np.arange(place.minutes) >= place.begins[:, None]) & (np.arange(place.minutes) < place.ends[:, None])
    np.testing.assert_allclose(ground.use.sum(axis=1), (place.use * alive)[:, on].sum(axis=1), rtol=1e-4)
    assert (ground.requested >= -1e-6).all()
    assert (ground.requested[CPU] <= place.capacity[CPU] + 1e-6).all()


def test_the_same_seed_tells_the_same_and_others_do_not():
    cell = Cell(SMALL, 5, 3)
    assert simulate(cell, BALANCE) == simulate(cell, BALANCE)
    assert simulate(cell, BALANCE).figures != simulate(cell._replace(seed=4), BALANCE).figures


def test_who_knows_the_future_spreads_best_and_chance_worst():
    setting = Setting(burst=5, nodes=16, pods=128, minutes=120)
    told = summed_up([simulate(Cell(setting, 5, seed), BALANCE) for seed in (1,)])
    by_name = {one.policy: one for one in told}
    assert list(by_name) == list(POLICIES)
    assert min(told, key=lambda one: one.deviation_percent).policy == ORACLE
    assert by_name[OURS].deviation_percent < by_name["random"].deviation_percent
    assert by_name[ORACLE].to_oracle_percent == 0


def answers(balance):
    """What ours says to each pod, the scheduler's own scores left out, and where the pods went."""
    place, cell, told = world(SMALL, 1), Cell(SMALL, 1, 1), []
    ours = Ours(balance, with_defaults=False)

    def rule(question):
        told.append(ours(question))
        return told[-1]

    return told, play(place, rule, cell, balance)


def test_what_the_filter_takes_away_is_no_candidate_and_never_all_are():
    told, ground = answers(BalancePolicy(filter_above=0.2))
    assert any(np.isneginf(scores).any() for scores in told)
    assert all(scores.max() > 0 for scores in told)
    assert ground.node.tolist() != answers(BALANCE)[1].node.tolist()


def test_no_more_than_the_best_are_answered():
    few, all_of_them = answers(BalancePolicy(best=2))[0], answers(BALANCE)[0]
    assert max(np.count_nonzero(scores) for scores in few) == 2
    assert max(np.count_nonzero(scores) for scores in all_of_them) == SMALL.nodes


def test_ours_goes_by_what_was_measured():
    place, cell = world(SMALL._replace(burst=1, pods=40), 1), Cell(SMALL, 1, 1)
    loads = place.use * np.array([50.0, 1.0])[:, None, None]
    before, after = placed(place, OURS, cell), placed(place._replace(use=loads), OURS, cell)
    assert before.tolist() != after.tolist()


def test_a_rollout_on_one_node_is_a_herd():
    place = world(SMALL._replace(minutes=150, pods=80), 1)
    ground = play(place, lambda question: -question.rows.astype(float), Cell(SMALL, 5, 1), BALANCE)
    spread = play(place, PEERS["random"](), Cell(SMALL, 5, 1), BALANCE)
    assert figures("one", ground).herd_index > figures("other", spread).herd_index >= 1


@pytest.mark.parametrize(("nodes", "found"), [(50, 50), (100, 100), (200, 100), (1000, 420), (5000, 500), (15000, 750)])
def test_the_scheduler_looks_at_so_many_nodes(nodes, found):
    assert nodes_to_find(nodes) == found


def test_it_goes_on_looking_where_it_stopped():
    place = world(Setting(burst=1, nodes=150, pods=10, minutes=10), 1)
    place = place._replace(requests=np.zeros_like(place.requests))
    shown = []
    for _, _, rows in Ground(place, staleness=1, window=5).arrivals():
        shown.append(rows)
    assert shown[0].tolist() == list(range(100))
    assert shown[1].tolist() == [*range(100, 150), *range(50)]


def asked(*, cores, requested, used=0.0):
    """The first pod of a world whose nodes and requests are as told, with no metrics or some."""
    place = world(Setting(burst=1, nodes=2, pods=4, minutes=30), 1)
    place = place._replace(
        capacity=np.array([[cores, cores], [1e12, 1e12]]), requests=np.full_like(place.requests, requested)
    )
    ground = Ground(place, staleness=0, window=5)
    ground.use[CPU, 0] = used
    return Question(ground, 0, 600.0, np.array([0, 1]), np.random.default_rng(1))


def test_target_load_packing_packs_up_to_its_target_and_spreads_beyond():
    # 1.5 x 1 core is expected: 15 % of the empty node, 40 % and 70 % of the other.
    assert target_load_packing(asked(cores=10.0, requested=1.0, used=2.5)).tolist() == [100, 62]
    assert target_load_packing(asked(cores=10.0, requested=1.0, used=5.5)).tolist() == [20, 62]
    assert target_load_packing(asked(cores=10.0, requested=1.0, used=9.0))[0] == 0


def test_load_variation_risk_is_half_of_mean_and_deviation():
    assert load_variation_risk(asked(cores=10.0, requested=1.0, used=2.5)).tolist() == [80, 92]


def test_metrics_older_than_the_policy_allows_are_let_count():
    assert fitting(BALANCE, 0) == BALANCE
    assert fitting(BALANCE, 15).max_age == timedelta(minutes=20)
    assert fitting(BALANCE, 15).window == BALANCE.window


def test_each_policy_is_told_when_it_is_done():
    told = []
    cell = Cell(SMALL, 1, 1)
    list(compare(world(SMALL, 1), cell, BALANCE, policies=("random", ORACLE), progress=told.append))
    assert told == ["random", ORACLE]
