"""`spot-balancer simulate balance`, as a person calls it."""

import json

SMALL = ("balance", "--nodes", "6", "--pods", "20", "--hours", "2", "--burst", "5")


def test_it_prints_every_policy_beside_the_oracle(cli):
    told = cli("simulate", *SMALL, "--staleness", "15", "--requests-off")
    assert told.code == 0, told.err
    for words in ("6 nodes", "maxAge 20 min", "off by x 0.1 to x 10", "spot-balancer", "two choices", "crane", "+0 %"):
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
