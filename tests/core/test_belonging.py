"""Where running pods belong, and on what evidence a move to there may begin."""

from datetime import timedelta

import pytest

from tests.builders import NOW, make_verdict, make_workload
from webhook.core.belonging import Belonging, belongs, room_on_spot
from webhook.core.consent import Consent
from webhook.core.model import Evidence, Side
from webhook.core.policy import Mode, PlacementMode, SidePolicy, SpotWish

KEY = make_workload("web").key
JUDGED = {"good_at": NOW - timedelta(minutes=1), "judged_at": NOW - timedelta(minutes=1)}
EXPIRED = {"good_at": NOW - timedelta(hours=2), "judged_at": NOW - timedelta(hours=2)}
BLIND = {"good_at": NOW - timedelta(minutes=5), "judged_at": NOW - timedelta(minutes=1)}


def judged(side=Side.SPOT, **fields):
    return make_verdict(KEY, side, **(JUDGED | fields))


def where(verdict, *, spot=SpotWish.AUTO, max_spot="100%", on_spot=0, replicas=4):
    workload = make_workload("web", verdict=verdict, replicas=replicas, pods=4, pods_on_spot=on_spot)
    return belongs(workload, consent(spot, max_spot), SidePolicy(), now=NOW)


def consent(spot=SpotWish.AUTO, max_spot="100%"):
    return Consent(mode=Mode.MOVE, spot=spot, placement=PlacementMode.PREFERRED, max_spot=max_spot)


AWAKE = judged(Side.REGULAR, transitions=2)


@pytest.mark.parametrize(
    ("found", "side", "doubt"),
    [
        (where(judged()), Side.SPOT, None),
        (where(AWAKE), Side.REGULAR, None),
        (where(None), None, "no-verdict"),
        (where(judged(Side.REGULAR)), None, "never-moved"),
        (where(judged(**EXPIRED)), Side.SPOT, "expired-evidence"),
        (where(judged(**BLIND)), Side.SPOT, "unknown"),
        (where(judged(good_at=None)), Side.SPOT, "expired-evidence"),
        (where(judged(evidence=Evidence.UNKNOWN)), Side.SPOT, "not-idle"),
        (where(judged(Side.REGULAR, transitions=2, **BLIND)), Side.REGULAR, "unknown"),
        (where(judged(Side.REGULAR, transitions=2, evidence=Evidence.UNKNOWN)), Side.REGULAR, None),
        (where(None, spot=SpotWish.NEVER), Side.REGULAR, None),
        (where(None, spot=SpotWish.ALWAYS), Side.SPOT, None),
        (where(judged(**BLIND), spot=SpotWish.ALWAYS), Side.SPOT, None),
        (where(judged(), spot=SpotWish.NEVER), Side.REGULAR, None),
    ],
)
def test_a_side_follows_word_and_verdict_and_a_new_move_whole_evidence(found, side, doubt):
    assert (found.side, found.doubt and found.doubt[0], found.trim) == (side, doubt, False)


@pytest.mark.parametrize(
    ("found", "doubt"),
    [
        (where(judged(), max_spot="50%", on_spot=3), None),
        (where(judged(evidence=Evidence.UNKNOWN), max_spot="50%", on_spot=3), None),
        (where(judged(**BLIND), max_spot="50%", on_spot=3), "unknown"),
        (where(judged(**EXPIRED), max_spot="50%", on_spot=3), "expired-evidence"),
        (where(judged(**EXPIRED), max_spot="50%", on_spot=3, spot=SpotWish.ALWAYS), None),
        (where(None, max_spot="0", on_spot=1, spot=SpotWish.ALWAYS), None),
    ],
)
def test_what_is_beyond_its_share_is_trimmed_on_whole_evidence(found, doubt):
    assert (found.side, found.trim, found.doubt and found.doubt[0]) == (Side.REGULAR, True, doubt)


def test_who_is_within_the_share_is_not_trimmed():
    assert where(judged(), max_spot="50%", on_spot=2) == Belonging(Side.SPOT)
    assert where(AWAKE, max_spot="50%", on_spot=3) == Belonging(Side.REGULAR)


@pytest.mark.parametrize(
    ("max_spot", "on_spot", "replicas", "room"),
    [
        ("100%", 0, 4, 4),
        ("50%", 2, 4, 0),
        ("50%", 1, 4, 1),
        ("3", 1, 4, 2),
        ("50%", 0, 1, 0),
        ("50%", 0, None, 2),
        ("50%", 4, 4, -2),
    ],
)
def test_room_on_spot_is_what_the_share_leaves(max_spot, on_spot, replicas, room):
    workload = make_workload("web", replicas=replicas, pods=4, pods_on_spot=on_spot)
    assert room_on_spot(workload, consent(max_spot=max_spot)) == room
