"""`snapshot --redact` on a file that is there already: explained alike, under a key nobody keeps."""

import json
from pathlib import Path

DEMO = "examples/demo.snapshot.json"


def test_a_captured_file_is_redacted_and_explained_alike(cli, tmp_path):
    file = tmp_path / "redacted.json"
    done = cli("snapshot", "--redact", "--snapshot", DEMO, "-o", str(file))
    assert done.code == 0
    assert "`spot-balancer plan` cannot read it" in done.err
    assert not [name for name in ("nginx-demo", "checkout", "reports", "regular-1") if name in file.read_text()]
    told = []
    for path in (DEMO, str(file)):
        workloads = json.loads(Path(path).read_text(encoding="utf-8"))["workloads"]
        keys = ["{namespace}/{kind}/{name}".format(**w["key"]) for w in workloads]
        answers = [json.loads(cli("explain", key, "--snapshot", path, "-o", "json").out) for key in keys]
        told.append(sorted((a["decision"], a["side"], a["evidence"], a["meaning"], a["pods"]) for a in answers))
    assert told[0] == told[1]


def test_two_redactions_share_no_name(cli):
    one, other = (cli("snapshot", "--redact", "--snapshot", DEMO, "-o", "-").out for _ in range(2))
    names = [{w["key"]["name"] for w in json.loads(text)["workloads"]} for text in (one, other)]
    assert not names[0] & names[1]
