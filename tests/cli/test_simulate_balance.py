"""`spot-balancer simulate balance`, as a person calls it."""

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.core.policy import BalancePolicy
from webhook.errors import InputError
from webhook.simulation.balance import POLICIES, Cell, simulate
from webhook.simulation.balance_world import Setting

SMALL = ("balance", "--nodes", "6", "--pods", "20", "--hours", "2", "--burst", "5")


def test_it_prints_every_policy_beside_the_oracle(cli):
    told = cli("simulate", *SMALL, "--staleness", "15", "--requests-off")
    assert told.code == 0, told.err
    for words in (
        "6 nodes",
        "maxAge raised from 5 to 20 min",
        "off by x 0.1 to x 10",
        "spot-balancer",
        "two choices",
        "crane",
        "+0 %",
    ):
        assert words in told.out


def test_two_runs_are_equal_to_the_byte_and_json_goes_to_a_file_too(cli, tmp_path):
    files = [tmp_path / name for name in ("one.json", "other.json")]
    printed = [cli("simulate", *SMALL, "--seeds", "2", "--json", str(file), "-o", "json").out for file in files]
    assert printed[0] == printed[1]
    document = json.loads(printed[0])
    assert document == json.loads(files[0].read_text())
    assert document["schemaVersion"] == 1
    assert [result["seed"] for result in document["results"]] == [1, 2]


def test_a_configuration_holds(cli, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("mode: nowhere\n")
    told = cli("simulate", *SMALL, "--config", str(config))
    assert told.code == 2
    assert "mode" in told.err


def test_the_header_tells_the_whole_run_from_what_runs_at_once(cli):
    told = cli("simulate", *SMALL, "--staleness", "0").out
    assert re.search(r"6 nodes, \d+ pods over the whole run, about 20 at once, in rollouts of 5,", told)


def test_a_run_that_no_rollout_falls_into_is_told_with_what_would_do(cli):
    few = ("balance", "--nodes", "4", "--pods", "10", "--hours", "2", "--seed", "2")
    told = cli("simulate", *few)
    assert (told.code, told.out) == (3, "")
    assert "with seed 2 no rollout of 40 pods begins within 2 hours" in told.err
    assert "give --burst 10 or less" in told.err
    assert cli("simulate", *few, "--burst", "10").code == 0


def test_a_run_that_no_machine_holds_is_refused_before_it_is_drawn(cli):
    told = cli("simulate", "balance", "--pods", "10000", "--hours", "24")
    assert told.code == 3
    assert "give fewer --pods or --hours" in told.err


def test_a_correlation_that_is_no_number_is_refused(cli):
    told = cli("simulate", *SMALL, "--correlation", "nan")
    assert told.code == 2
    assert "nan is no number from 0 to 1" in told.err


@settings(max_examples=10, deadline=None)
@given(
    setting=st.builds(
        Setting,
        burst=st.integers(1, 60) | st.just(1_000),
        requests_off=st.booleans(),
        correlation=st.floats(0, 1),
        nodes=st.integers(2, 6),
        pods=st.integers(1, 40),
        minutes=st.just(120),
        load=st.just(0.35),
        memory_load=st.just(0.2),
        namespaces=st.just(4),
    ),
    staleness=st.integers(0, 60),
    seed=st.integers(0, 2**40),
)
def test_all_options_within_their_ranges_give_a_result_or_say_what_to_do(setting, staleness, seed):
    try:
        found = simulate(Cell(setting, staleness, seed), BalancePolicy())
    except InputError as error:
        assert setting.burst > setting.pods
        assert f"give --burst {setting.pods} or less" in str(error)
        return
    assert [one.policy for one in found.figures] == list(POLICIES)
    assert all(0 <= one.deviation_percent < 1_000 for one in found.figures)


def test_a_max_age_is_raised_to_five_minutes_more_than_the_metrics_age_where_it_is_less(cli):
    for staleness, told in (("0", "maxAge 5 min;"), ("1", "maxAge raised from 5 to 6 min;")):
        assert told in cli("simulate", *SMALL, "--staleness", staleness).out
