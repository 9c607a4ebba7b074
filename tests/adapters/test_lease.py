"""A Lease: never two holders at once, and an end to it that comes by itself."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.adapters.fake_apiserver import FakeApiServer, Fault
from tests.builders import NOW
from webhook import errors
from webhook.adapters.kubeapi import Access, KubeApi
from webhook.adapters.lease import Lease

LEASES = "/apis/coordination.k8s.io/v1/namespaces/spot/leases"
OURS = f"{LEASES}/release-monitor"
DURATION = timedelta(seconds=15)


class Contender:
    """One replica, with its own token, so that it alone can be cut off."""

    def __init__(self, server: FakeApiServer, name: str, clock):
        self.token = f"Bearer {name}"
        api = KubeApi(lambda: Access(url=server.url, authorization=lambda: self.token))
        self.lease = Lease(api, "spot", "release-monitor", name, clock, duration=DURATION)
        self.server = server

    def cut_off(self, *, yes: bool = True) -> None:
        (self.server.cut_off.add if yes else self.server.cut_off.discard)(self.token)


class Scene:
    def __init__(self, server: FakeApiServer, count: int = 2):
        self.now = NOW
        self.all = [Contender(server, f"monitor-{number}", lambda: self.now) for number in range(count)]

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def holders(self) -> list[int]:
        return [number for number, one in enumerate(self.all) if one.lease.holds()]


@pytest.fixture
def scene(server):
    return Scene(server)


def test_the_first_to_ask_holds_it_and_renews_it_and_the_other_waits(server, scene):
    first, second = (contender.lease for contender in scene.all)
    assert not first.holds()
    assert first.acquire_or_renew()
    for _ in range(10):
        assert not second.acquire_or_renew()
        scene.wait(5)
        assert first.acquire_or_renew()
    (spec,) = (found["spec"] for found in server.objects[LEASES].values())
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["leaseDurationSeconds"]) == ("monitor-0", 0, 15)
    assert spec["acquireTime"] == "2026-03-14T15:09:26.000000Z"
    assert spec["renewTime"] == "2026-03-14T15:10:16.000000Z"


@pytest.mark.fault(49)
def test_a_leader_that_is_cut_off_stops_before_another_begins(scene):
    leader, other = scene.all
    assert leader.lease.acquire_or_renew()
    leader.cut_off()
    assert not other.lease.acquire_or_renew()
    scene.wait(9)
    assert leader.lease.acquire_or_renew(), "trusted until the renew deadline, answer or not"
    scene.wait(1)
    assert not leader.lease.holds(), "ten seconds after the last renewal that was answered"
    assert not leader.lease.acquire_or_renew()
    assert not other.lease.acquire_or_renew()
    scene.wait(5)
    assert other.lease.acquire_or_renew()
    leader.cut_off(yes=False)
    assert not leader.lease.acquire_or_renew()
    assert scene.holders() == [1]


@pytest.mark.fault(49)
@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from(["ask", "ask", "ask", "cut", "mend", "release"]), st.integers(0, 6)
        ),
        max_size=40,
    )
)
def test_whatever_is_cut_off_and_when_there_are_never_two(steps):
    server = FakeApiServer()
    try:
        scene = Scene(server, count=3)
        for number, what, seconds in steps:
            contender = scene.all[number]
            match what:
                case "ask":
                    contender.lease.acquire_or_renew()
                case "release":
                    contender.lease.release()
                case _:
                    contender.cut_off(yes=what == "cut")
            assert len(scene.holders()) <= 1
            scene.wait(seconds)
            assert len(scene.holders()) <= 1
    finally:
        server.stop()


@pytest.mark.fault(43)
def test_a_renewal_whose_answer_was_lost_is_none_but_the_next_one_is(server, scene):
    lease = scene.all[0].lease
    lease.acquire_or_renew()
    scene.wait(8)
    server.fail("PUT", OURS, Fault(504, after_commit=True))
    assert lease.acquire_or_renew()
    scene.wait(3)
    assert not lease.holds()
    assert lease.acquire_or_renew()


def test_who_was_overtaken_between_reading_and_writing_holds_nothing(server, scene):
    lease = scene.all[0].lease
    lease.acquire_or_renew()
    server.fail("PUT", OURS, Fault(409))
    assert not lease.acquire_or_renew()


def test_one_that_was_given_back_is_free_at_once(scene):
    first, second = (contender.lease for contender in scene.all)
    first.acquire_or_renew()
    first.release()
    assert not first.holds()
    assert second.acquire_or_renew()


def test_giving_back_what_another_has_by_now_changes_nothing(scene):
    leader, other = scene.all
    leader.lease.acquire_or_renew()
    leader.cut_off()
    other.lease.acquire_or_renew()
    scene.wait(16)
    other.lease.acquire_or_renew()
    leader.cut_off(yes=False)
    leader.lease.release()
    assert other.lease.acquire_or_renew()


def test_a_clock_that_was_set_back_ends_the_trust_until_the_next_renewal(scene):
    lease = scene.all[0].lease
    lease.acquire_or_renew()
    scene.wait(-3600)
    assert not lease.holds()
    assert lease.acquire_or_renew()


def test_a_missing_right_is_raised_for_no_waiting_mends_it(server, scene):
    server.fail("GET", OURS, Fault(403))
    with pytest.raises(errors.ClusterForbidden):
        scene.all[0].lease.acquire_or_renew()


def test_what_is_no_lease_is_no_reason_to_act(server, scene):
    server.fail("GET", OURS, Fault(200, body=b"[]"))
    assert not scene.all[0].lease.acquire_or_renew()


def test_one_that_is_lost_while_it_is_asked_for_is_no_accident(server, scene):
    api = KubeApi(lambda: Access(url=server.url))
    lost = []
    lease = Lease(api, "spot", "release-monitor", "monitor-9", lambda: (lost and lost.pop()(), NOW)[1])
    assert lease.acquire_or_renew()
    lost.append(lease.release)
    lease.holds()
    assert not lease.holds()
