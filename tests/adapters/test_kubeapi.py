"""One exchange with the API server: bounded, translated, and with the credentials that hold now."""

import json

import pytest

from tests.adapters.fake_apiserver import NODES, FakeApiServer, Fault
from webhook import errors
from webhook.adapters.kubeapi import Access, KubeApi, connect


def api_of(server: FakeApiServer, **changes) -> KubeApi:
    return KubeApi(lambda: Access(url=server.url, **changes))


@pytest.mark.fault(43)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, errors.ClusterForbidden),
        (404, errors.ClusterNotFound),
        (409, errors.ClusterConflict),
        (410, errors.ClusterNotFound),
        (429, errors.ClusterUnavailable),
        (500, errors.ClusterUnavailable),
        (504, errors.ClusterUnavailable),
        (422, errors.ClusterError),
    ],
)
def test_every_refusal_becomes_one_of_our_errors(server, status, kind):
    server.fail("GET", NODES, Fault(status, {"Retry-After": "9"}))
    with pytest.raises(kind) as caught:
        api_of(server).request("GET", NODES)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert caught.value.retry_after_seconds == 9.0
    assert "fault" in str(caught.value)


def test_a_redirect_is_not_followed_because_the_token_is_for_this_server_alone(server):
    server.fail("GET", NODES, Fault(307, {"Location": f"{server.url}/elsewhere"}))
    with pytest.raises(errors.ClusterError):
        api_of(server, authorization=lambda: "Bearer secret").request("GET", NODES)
    assert [r.path for r in server.requests] == [NODES]


@pytest.mark.fault(43)
def test_a_rotated_token_is_loaded_again_once(server):
    tokens = ["Bearer old", "Bearer new"]
    server.good_tokens = {"Bearer new"}
    loaded = []

    def load() -> Access:
        token = tokens[min(len(loaded), 1)]
        loaded.append(token)
        return Access(url=server.url, authorization=lambda: token)

    api = KubeApi(load)
    api.request("GET", NODES)
    api.request("GET", NODES)
    assert loaded == tokens
    assert [r.token for r in server.requests] == ["Bearer old", "Bearer new", "Bearer new"]


@pytest.mark.fault(43)
def test_a_token_that_stays_refused_is_no_missing_right_and_no_endless_loop(server):
    server.good_tokens = set()
    with pytest.raises(errors.ClusterForbidden) as caught:
        api_of(server).request("GET", NODES)
    assert caught.value.status == 401
    assert len(server.requests) == 2


@pytest.mark.fault(41)
def test_nobody_there_is_unavailable_and_names_no_memory_address(server):
    api = api_of(server)
    server.stop()
    with pytest.raises(errors.ClusterUnavailable) as caught:
        api.request("GET", NODES)
    assert "0x" not in str(caught.value)


def test_an_answer_that_says_nothing_ends_by_its_timeout(server):
    server.silent = True
    with (
        api_of(server).stream(f"{NODES}?watch=1&resourceVersion=0", 0.2) as stream,
        pytest.raises(errors.ClusterSilent),
    ):
        list(stream)


def test_a_kubeconfig_says_where_who_and_which_namespace(tmp_path):
    file = tmp_path / "config"
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1/"}}
    user = {"name": "u", "user": {"token": "abc"}}
    contexts = [
        {"name": "first", "context": {"cluster": "c", "user": "u"}},
        {"name": "second", "context": {"cluster": "c", "user": "u", "namespace": "spot"}},
    ]
    whole = {"clusters": [cluster], "users": [user], "contexts": contexts, "current-context": "first"}
    file.write_text(json.dumps(whole | {"apiVersion": "v1", "kind": "Config"}))
    assert connect(str(file)).namespace == "default"
    api = connect(str(file), "second")
    assert api.namespace == "spot"
    assert api._access.url == "http://127.0.0.1:1"
    assert api._access.authorization() == "Bearer abc"
    with pytest.raises(errors.InputError):
        connect(str(file), "third")


@pytest.mark.parametrize(
    ("no_proxy", "proxy"), [("", "http://127.0.0.1:9"), ("10.0.0.0/8,.svc", None), ("elsewhere", "http://127.0.0.1:9")]
)
def test_a_proxy_of_the_environment_is_used_unless_it_is_taken_back(tmp_path, monkeypatch, no_proxy, proxy):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    file = tmp_path / "config"
    cluster = {"name": "c", "cluster": {"server": "https://10.9.8.7:6443"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    whole = {"clusters": [cluster], "users": [{"name": "u", "user": {}}], "contexts": [context], "current-context": "x"}
    file.write_text(json.dumps(whole | {"apiVersion": "v1", "kind": "Config"}))
    assert connect(str(file))._access.proxy == proxy


def test_in_a_pod_its_own_token_namespace_and_ca_are_used_and_the_token_is_read_again(tmp_path, monkeypatch):
    """As the projected volume of the chart lays them out; the kubelet writes a new token long before the old one ends."""
    import trustme
    from kubernetes.config import incluster_config

    (tmp_path / "token").write_text("first")
    (tmp_path / "namespace").write_text("spot\n")
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.crt")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setattr("webhook.adapters.kubeconfig._POD_NAMESPACE", tmp_path / "namespace")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    api = connect()
    assert (api.namespace, api._access.url) == ("spot", "https://10.96.0.1:443")
    assert api._access.authorization() == "bearer first"
    (tmp_path / "token").write_text("second")
    api._reload(api._access)
    assert api._access.authorization() == "bearer second"


def test_without_any_kubeconfig_or_pod_it_says_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(errors.InputError, match="no way to a cluster"):
        connect(str(tmp_path / "nowhere"))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises(errors.InputError, match="no way to a cluster"):
        connect()
