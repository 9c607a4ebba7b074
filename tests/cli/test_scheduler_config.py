"""`scheduler-config`: what is not given is read from the release, and what can be had nowhere is told with the flag for it."""

import base64
import json

import pytest
import yaml

from webhook.errors import ClusterNotFound

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nBBBB\n-----END PRIVATE KEY-----\n"
IN = ("-n", "steering")
SERVICE = {"spec": {"clusterIP": "10.96.0.77", "ports": [{"name": "https", "port": 443}]}}


class Api:
    """The API server of a release in `steering`, which is the context's namespace; `objects` by their path's end."""

    namespace = "steering"

    def __init__(self, objects):
        self.objects = objects
        self.asked = []

    def request(self, method, path):
        self.asked.append((method, path))
        where, name = path.removeprefix("/api/v1/namespaces/").rsplit("/", 1)
        if where.split("/")[0] != self.namespace or name not in self.objects:
            raise ClusterNotFound(f"{path}: not found", status=404)
        return json.dumps(self.objects[name]).encode()


@pytest.fixture
def cluster(monkeypatch):
    found = Api(
        {
            "spot-balancer": SERVICE,
            "spot-balancer-ca": {"data": {"ca.crt": PEM}},
            "spot-balancer-config": {"data": {"config.yaml": "balance: {filterAbove: 90%}"}},
        }
    )
    monkeypatch.setattr("webhook.adapters.kubeapi.connect", lambda *_: found)
    return found


@pytest.fixture
def no_cluster(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.fixture
def ca(tmp_path):
    file = tmp_path / "ca.crt"
    file.write_text(KEY + "a comment\n" + PEM)
    return str(file)


def extender(printed):
    return yaml.safe_load(printed)["extenders"][0]


def test_address_ca_and_filter_are_those_of_the_release(cli, cluster):
    found = cli("scheduler-config")
    assert found.code == 0
    one = extender(found.out)
    assert one["urlPrefix"] == "https://10.96.0.77:443/extender"
    assert one["tlsConfig"]["serverName"] == "spot-balancer.steering.svc"
    assert base64.b64decode(one["tlsConfig"]["caData"]).decode() == PEM
    assert one["filterVerb"] == "filter"
    assert {method for method, _ in cluster.asked} == {"GET"}


def test_without_a_filter_in_the_configuration_none_is_asked(cli, cluster):
    cluster.objects["spot-balancer-config"] = {"data": {"config.yaml": "mode: inject"}}
    assert "filterVerb" not in extender(cli("scheduler-config").out)
    del cluster.objects["spot-balancer-config"]
    assert "filterVerb" not in extender(cli("scheduler-config").out)
    asked = cli("scheduler-config", "--filter")
    assert "filterVerb" in extender(asked.out)
    assert asked.err == (
        "note: balance.filterAbove is not set in the release's configuration; without it the filter keeps no pod off\n"
    )


@pytest.mark.parametrize("text", ["balance: {filterAbove: 90%}", "mode: injekt"])
def test_a_filter_that_is_asked_for_is_printed_without_a_word_where_it_may_keep_pods_off(cli, cluster, text):
    cluster.objects["spot-balancer-config"] = {"data": {"config.yaml": text}}
    asked = cli("scheduler-config", "--filter")
    assert (asked.code, asked.err) == (0, "")
    assert "filterVerb" in extender(asked.out)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"spot-balancer": None},
            "no Service spot-balancer in namespace steering; -n and --service name the release's",
        ),
        ({"spot-balancer": {"spec": {"clusterIP": "None", "ports": [{"port": 443}]}}}, "has no cluster IP or no port"),
        (
            {"spot-balancer-ca": None},
            "no ConfigMap spot-balancer-ca in namespace steering with a key ca.crt; --ca-file",
        ),
        ({"spot-balancer-ca": {"data": {"ca.crt": "nothing"}}}, "holds no certificate in PEM"),
        ({"spot-balancer-config": {"data": {"config.yaml": "mode: injekt"}}}, "mode: 'injekt'; expected observe"),
    ],
)
def test_what_the_release_does_not_have_is_told_with_what_to_give(cli, cluster, change, told):
    cluster.objects |= change
    cluster.objects = {name: found for name, found in cluster.objects.items() if found is not None}
    found = cli("scheduler-config")
    assert found.code != 0
    assert found.out == ""
    assert told in found.err


@pytest.mark.usefixtures("no_cluster")
def test_without_a_cluster_the_flags_are_named(cli):
    found = cli("scheduler-config")
    assert found.code == 3
    assert all(flag in found.err for flag in ("--url", "--ca-file", "--ca-path", "--kubeconfig"))


@pytest.mark.usefixtures("no_cluster")
def test_with_an_address_and_a_ca_no_cluster_is_needed_and_no_key_is_printed(cli, ca):
    found = cli("scheduler-config", "--url", "https://127.0.0.1:8443/extender/", "--ca-file", ca, "--stanza", *IN)
    assert found.code == 0
    assert list(yaml.safe_load(found.out)) == ["extenders"]
    one = extender(found.out)
    assert one["urlPrefix"] == "https://127.0.0.1:8443/extender"
    assert one["tlsConfig"] == {
        "serverName": "spot-balancer.steering.svc",
        "caData": base64.b64encode(PEM.encode()).decode(),
    }


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize("url", ["https://10.0.0.7:443", "https://[fd00::7]:443"])
def test_an_address_needs_the_name_that_the_certificate_is_for(cli, ca, url):
    given = ("scheduler-config", "--url", url, "--ca-file", ca)
    found = cli(*given)
    assert (found.code, found.out) == (2, "")
    told = " ".join(found.err.split())
    assert "for names and not for the address in --url" in told
    assert "give -n" in told
    assert "--server-name" in told
    for more, name in (
        (("-n", "steering"), "spot-balancer.steering.svc"),
        (("-n", "steering", "--service", "other"), "other.steering.svc"),
        (("--server-name", "10.0.0.7"), "10.0.0.7"),
        (("-n", "steering", "--server-name", "balancer.example.com"), "balancer.example.com"),
    ):
        one = extender(cli(*given, *more).out)
        assert one["tlsConfig"]["serverName"] == name
        assert one["urlPrefix"] == url + "/extender"


def test_an_address_beside_a_release_takes_the_name_of_its_service(cli, cluster):
    one = extender(cli("scheduler-config", "--url", "https://10.0.0.7").out)
    assert one["tlsConfig"]["serverName"] == "spot-balancer.steering.svc"
    assert one["urlPrefix"] == "https://10.0.0.7:443/extender"


@pytest.mark.usefixtures("no_cluster")
def test_a_name_in_the_address_is_the_name_that_is_checked(cli, ca):
    one = extender(cli("scheduler-config", "--url", "https://balancer.example.com:8443", "--ca-file", ca).out)
    assert "serverName" not in one["tlsConfig"]


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize("more", [(), ("--server-name", "x"), ("--server-name", "x", "-n", "steering")])
def test_a_service_that_would_say_nothing_is_refused(cli, ca, more):
    found = cli("scheduler-config", "--url", "https://b.example.com", "--ca-file", ca, "--service", "other", *more)
    assert (found.code, found.out) == (2, "")
    assert "--service says nothing here" in found.err


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize(
    ("given", "printed"),
    [
        ("https://b.example.com", "https://b.example.com:443"),
        ("https://b.example.com/extender", "https://b.example.com:443"),
        ("https://B.example.com:8443/", "https://b.example.com:8443"),
        ("https://[fd00::7]", "https://[fd00::7]:443"),
    ],
)
def test_an_address_is_printed_with_its_port(cli, ca, given, printed):
    found = cli("scheduler-config", "--url", given, "--ca-file", ca, *IN)
    assert extender(found.out)["urlPrefix"] == printed + "/extender"


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize("length", ["10ms", "1s", "5s"])
def test_a_timeout_may_be_short_and_long(cli, ca, length):
    given = ("scheduler-config", "--url", "https://b.example.com", "--ca-file", ca, "--timeout", length)
    assert cli(*given).code == 0


@pytest.mark.usefixtures("no_cluster")
def test_a_second_scheduler_knows_names_and_needs_no_cluster_either(cli):
    found = cli("scheduler-config", "--second", "balanced", "-n", "steering", "--ca-path", "/etc/ca.crt")
    assert found.code == 0
    assert extender(found.out)["urlPrefix"] == "https://spot-balancer.steering.svc:443/extender"


@pytest.mark.usefixtures("no_cluster")
def test_the_configuration_file_says_whether_to_filter(cli, ca, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("balance: {filterAbove: 0.8}")
    given = ("scheduler-config", "--url", "https://10.0.0.1:443", "--ca-file", ca, *IN)
    assert "filterVerb" in extender(cli(*given, "--config", str(file)).out)
    assert "filterVerb" not in extender(cli(*given).out)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--url", "http://10.0.0.1"), "expected https://HOST:PORT"),
        (("--url", "https://10.0.0.1:443/other"), "expected https://HOST:PORT"),
        (("--url", "https://me:secret@10.0.0.1"), "expected https://HOST:PORT"),
        (("--url", "https://10.0.0.1:99999999"), "expected https://HOST:PORT"),
        (("--second", "default-scheduler"), "leave it out"),
        (("--second", "A b"), "the name of a second scheduler"),
        (("--second", "x", "--url", "https://h:1", "--ca-path", "/x"), "--second needs -n"),
        (("--ca-file", "x", "--ca-path", "/y"), "--ca-file beside --ca-path"),
        (("--weight", "0"), "1<=x<=12"),
        (("--weight", "13"), "1<=x<=12"),
        (("--timeout", "6s"), "expected 10ms to 5s"),
        (("--timeout", "9ms"), "expected 10ms to 5s"),
        (("--timeout", "0s"), "expected 10ms to 5s"),
        (("--timeout", "90d"), "expected 10ms to 5s"),
        (("--timeout", "soon"), "expected 10ms to 5s"),
        (("--url", "https://10.0.0.1 :443"), "expected https://HOST:PORT"),
        (("--url", "https://a b:443"), "expected https://HOST:PORT"),
        (("--url", " https://10.0.0.1:443"), "expected https://HOST:PORT"),
        (("--url", "https://10.0.0.1\n:443"), "expected https://HOST:PORT"),
        (("--url", "https://10.0.0:443"), "expected https://HOST:PORT"),
        (("--url", "https://10.0.0.256"), "expected https://HOST:PORT"),
        (("--url", "https://a_b"), "expected https://HOST:PORT"),
        (("--url", "https://:443"), "expected https://HOST:PORT"),
        (("--url", "https://a:0"), "without a port it is 443"),
        (("--url", "https://[fe80::1%eth0]:443"), "expected https://HOST:PORT"),
        (("--server-name", "a b"), "expected a name or an IP address"),
        (("--server-name", ""), "expected a name or an IP address"),
        (("--ca-path", "ca.crt"), "expected an absolute path"),
        (("--ca-path", ""), "expected an absolute path"),
        (("--scheduler-kubeconfig", "scheduler.conf"), "expected an absolute path"),
        (("-n", "Steering"), "expected the name of a namespace"),
        (("-n", "a.b"), "expected the name of a namespace"),
        (("-n", "a" * 64), "expected the name of a namespace"),
        (("-n", ""), "expected the name of a namespace"),
        (("--service", "a/b"), "expected the name of a service"),
        (("--second", "x", "--stanza"), "--stanza beside --second"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(cli, words, told):
    found = cli("scheduler-config", *words)
    assert found.code == 2
    assert told in " ".join(found.err.split())
