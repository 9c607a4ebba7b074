"""`serve` refuses at once what no waiting mends, and waits for what sync will write."""

import pytest


@pytest.mark.fault(67)
@pytest.mark.parametrize("typo", ["nowhere", "no/where", "nowhere.json", "README.md/nowhere"])
def test_a_snapshot_of_serve_that_is_not_there_is_not_waited_for(cli, monkeypatch, tmp_path, typo):
    monkeypatch.setattr("webhook.worker.serve", lambda _settings: pytest.fail("it waits for what nobody writes"))
    outcome = cli("serve", "--snapshot", typo, "--bind", "127.0.0.1:0", "--tls-dir", str(tmp_path))
    assert outcome.code == 3
    assert f"{typo} is not there" in outcome.err
    assert "`spot-balancer sync --snapshot-dir" in outcome.err
    assert "`spot-balancer snapshot --output-file" in outcome.err


def test_serve_waits_for_what_sync_will_write_into_a_folder_that_is_there(cli, monkeypatch, tmp_path):
    monkeypatch.setattr("webhook.worker.serve", lambda settings: 0 if settings.snapshot == tmp_path else 1)
    assert cli("serve", "--snapshot", str(tmp_path), "--bind", "127.0.0.1:0", "--tls-dir", str(tmp_path)).code == 0
