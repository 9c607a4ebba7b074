"""`plan` over a captured file: who starts, who waits until when, and why the others stay."""

import json
import os
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from tests import builders, fakes
from webhook.core import inventory
from webhook.core.book import Book
from webhook.core.model import Memory, Side
from webhook.core.policy import Mode
from webhook.wire.snapshot import encode_document

FORMATS = ("table", "wide", "json", "yaml")


@pytest.fixture
def captured(tmp_path):
    """One that goes, one that came back not long ago, one whose moves came to nothing, one where it belongs."""
    shop = fakes.TinyCluster()
    shop.deploy("web", 2)
    early, gave_up = shop.deploy("early"), shop.deploy("gave-up")
    shop.deploy("resting", on=Side.SPOT)
    remember(early, returned_at=builders.NOW - timedelta(minutes=20))
    remember(gave_up, misses=3, not_before=builders.NOW + timedelta(hours=20), last_outcome="no-capacity")
    file = tmp_path / "shop.json"
    file.write_bytes(encode_document(snapshot_of(shop)))
    return file


def remember(made, **memory):
    made.verdict = msgspec.structs.replace(made.verdict, memory=Memory(**memory))


def snapshot_of(shop):
    book = Book(control=shop.book, verdicts={str(made.key): made.verdict for made in shop.deployed.values()})
    return inventory.build(shop.census(), book, shop.policy, keeps_census=True)


@pytest.mark.parametrize("output", FORMATS)
def test_a_plan_prints_as_it_was_agreed(cli, captured, output):
    """Set RENEW_GOLDEN=1 to write the files anew, then read the difference."""
    text = cli("plan", "--snapshot", str(captured), "-o", output).out
    golden = Path(__file__).parent / "golden" / f"plan.{output}.txt"
    if os.environ.get("RENEW_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_who_is_not_listed_is_counted_and_it_is_said_what_lists_them(cli, tmp_path):
    shop = fakes.TinyCluster()
    shop.policy = msgspec.structs.replace(shop.policy, mode=Mode.OBSERVE)
    shop.deploy("web", 2)
    shop.deploy("api")
    file = tmp_path / "shop.json"
    file.write_bytes(encode_document(snapshot_of(shop)))
    page = cli("plan", "--snapshot", str(file)).out
    assert "total: 2 mode\n2 of them not listed; -o wide lists all, and why they stay\n" in page
    assert "not listed" not in cli("plan", "--snapshot", str(file), "-o", "wide").out


def test_a_file_without_pods_is_refused_with_what_to_do(cli, tmp_path):
    file = tmp_path / "shop.json"
    file.write_bytes(encode_document(builders.idle_shop_snapshot()))
    told = cli("plan", "--snapshot", str(file))
    assert told.code == 3
    assert "was captured without pods" in told.err
    assert "capture it anew" in told.err


def test_explain_tells_what_the_next_run_would_think_of_a_move_and_when_it_looks_again(cli, captured):
    page = cli("explain", "shop/deploy/early", "--snapshot", str(captured)).out
    assert "moves      dwell: it came back not long ago" in page
    assert "next check in 40m" in page
    page = cli("explain", "shop/deploy/gave-up", "--snapshot", str(captured)).out
    assert "last move  no-capacity; 3 in a row came to nothing" in page
    answer = json.loads(cli("explain", "shop/deploy/web", "--snapshot", str(captured), "-o", "json").out)
    assert answer["move"]["code"] == "starts"
    assert answer["move"]["node"].startswith("regular-")
