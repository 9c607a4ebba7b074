"""The scheduler's configuration: valid by kube-scheduler's own rules, readable by people, and to the letter."""

import base64
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from webhook.core import scoring
from webhook.wire import scheduler_config
from webhook.wire.scheduler_config import Extender, Second, service_url, stanza, whole

PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
FIRST = Extender(url="https://10.96.0.77:443", server_name="spot-balancer.steering.svc", ca_data=PEM)
SECOND = Extender(
    url="https://spot-balancer.steering.svc:443",
    server_name="spot-balancer.steering.svc",
    ca_path="/etc/spot-balancer/ca/ca.crt",
    filters=True,
)
GOLDEN = Path(__file__).parent / "golden"
PAGES = {
    "scheduler-first.yaml": whole(FIRST, kubeconfig="/etc/kubernetes/scheduler.conf"),
    "scheduler-second.yaml": whole(SECOND, second=Second("balanced", "steering")),
}


@pytest.mark.parametrize("name", PAGES)
def test_it_is_written_as_it_was_agreed(name):
    assert PAGES[name] == (GOLDEN / name).read_text()


def test_the_first_scheduler_calls_by_address_and_trusts_the_ca_alone():
    (found,) = yaml.safe_load(PAGES["scheduler-first.yaml"])["extenders"]
    assert found == {
        "urlPrefix": "https://10.96.0.77:443/extender",
        "prioritizeVerb": "prioritize",
        "weight": 3,
        "enableHTTPS": True,
        "tlsConfig": {"serverName": "spot-balancer.steering.svc", "caData": base64.b64encode(PEM).decode()},
        "httpTimeout": "300ms",
        "nodeCacheCapable": True,
        "ignorable": True,
    }


def test_the_second_one_has_a_name_and_a_lease_of_its_own():
    found = yaml.safe_load(PAGES["scheduler-second.yaml"])
    assert found["profiles"] == [{"schedulerName": "balanced"}]
    assert found["leaderElection"] == {
        "leaderElect": True,
        "resourceName": "balanced",
        "resourceNamespace": "steering",
    }
    assert "clientConnection" not in found
    assert found["extenders"][0]["filterVerb"] == "filter"


def test_the_list_alone_is_the_same_list():
    assert yaml.safe_load(stanza(FIRST)) == {"extenders": yaml.safe_load(whole(FIRST))["extenders"]}


@pytest.mark.parametrize(("weight", "in_all", "lead"), [(1, 100, 30), (3, 300, 90), (12, 1200, 360)])
def test_what_a_weight_is_worth_is_told_in_points(weight, in_all, lead):
    assert scheduler_config.LEAD == scoring.LEAD
    told = stanza(Extender(url="https://h:443", ca_path="/ca.crt", weight=weight))
    assert f"{in_all} points in all, at least {lead} of them between the node that leads" in told


NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True) | st.sampled_from(["on", "null", "1e3"])


@given(
    st.builds(
        Extender,
        url=st.builds("https://{}:{}".format, NAMES, st.integers(1, 65535)),
        server_name=NAMES | st.just(""),
        ca_data=st.just(PEM),
        ca_path=st.sampled_from(["", "/a/b.crt", "/with space/#x: y.crt", "relative"]),
        weight=st.integers(1, 12),
        timeout=st.timedeltas(timedelta(milliseconds=1), timedelta(seconds=5)),
        filters=st.booleans(),
    ),
    st.none() | st.builds(Second, NAMES, NAMES),
    st.sampled_from(["", "/etc/kubernetes/scheduler.conf", "/a: b"]),
)
def test_kube_schedulers_own_rules_hold_for_every_one(extender, second, kubeconfig):
    found = yaml.safe_load(whole(extender, second=second, kubeconfig=kubeconfig))
    (one,) = found["extenders"]
    assert one["urlPrefix"] == extender.url + "/extender"
    assert isinstance(one["weight"], int)
    assert one["weight"] > 0
    # Without a CA the scheduler would trust anybody, and with two one of them says nothing.
    assert len({"caData", "caFile"} & set(one["tlsConfig"])) == 1
    assert one["tlsConfig"].get("caFile", "") == extender.ca_path
    assert one["tlsConfig"].get("serverName", "") == extender.server_name
    assert 0 < int(one["httpTimeout"].removesuffix("ms")) <= 5000
    names = [profile["schedulerName"] for profile in found.get("profiles", ())]
    assert names == ([second.name] if second else [])
    assert found.get("clientConnection", {}).get("kubeconfig", "") == kubeconfig


@pytest.mark.parametrize(
    ("spec", "url"),
    [
        ('{"clusterIP": "10.96.0.77", "ports": [{"name": "https", "port": 443}]}', "https://10.96.0.77:443"),
        ('{"clusterIP": "fd00::7", "ports": [{"port": 8443}]}', "https://[fd00::7]:8443"),
        (
            '{"clusterIP": "10.0.0.1", "ports": [{"name": "ops", "port": 9090}, {"name": "https", "port": 443}]}',
            "https://10.0.0.1:443",
        ),
        ('{"clusterIP": "None", "ports": [{"port": 443}]}', ""),
        ('{"clusterIP": "", "ports": [{"port": 443}]}', ""),
        ('{"clusterIP": "10.0.0.1"}', ""),
        ('{"type": "ExternalName", "externalName": "x"}', ""),
    ],
)
def test_a_services_address_is_its_own_and_not_one_of_its_pods(spec, url):
    assert service_url(b'{"kind": "Service", "spec": %s}' % spec.encode()) == url


@pytest.mark.parametrize("body", [b"", b"[]", b'{"spec": 5}', b'{"spec": {"ports": [{"port": "x"}]}}'])
def test_what_is_no_service_is_an_error_of_one_kind(body):
    with pytest.raises(ValueError):
        service_url(body)
