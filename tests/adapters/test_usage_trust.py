"""How the adapter is let in: mutual TLS, headers, parameters, and files that rotate under it."""

import shutil
import ssl
import threading

import pytest
import trustme

from tests.adapters.test_usage import NOW, POLICY, serving, sweep, trouble, vector, whole
from webhook.adapters.usage import Prometheus, PrometheusSettings
from webhook.core.policy import Policy
from webhook.errors import ConfigurationError
from webhook.wire.promql import SWEEP


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture
def pki(ca, tmp_path):
    """A folder with ca.crt and a client's tls.crt and tls.key, as a mounted Secret has them."""
    ca.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    renew(ca, tmp_path, "monitor-1")
    return tmp_path


def renew(ca, folder, name):
    client = ca.issue_cert(f"{name}@example.org", common_name=name)
    client.cert_chain_pems[0].write_to_path(str(folder / "tls.crt"))
    client.private_key_pem.write_to_path(str(folder / "tls.key"))


def mutual(ca):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def stub(ca):
    """Lets in only who shows a certificate."""
    with serving(mutual(ca)) as running:
        yield running


def tls(folder):
    return {"ca_file": folder / "ca.crt", "cert_file": folder / "tls.crt", "key_file": folder / "tls.key"}


def test_a_client_certificate_is_shown_where_it_is_asked_for(stub, pki):
    assert sweep(stub.url, **tls(pki)).pods
    failure = trouble(stub.url, ca_file=pki / "ca.crt")
    assert failure.code in {"tls", "truncated", "unreachable"}


def test_a_renewed_pair_is_shown_from_the_next_request_on(stub, ca, pki, monkeypatch):
    shown = []
    load = ssl.SSLContext.load_cert_chain

    def remember(self, certfile, keyfile=None, password=None):
        shown.append(certfile.read_bytes())
        load(self, certfile, keyfile, password)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", remember)
    prometheus = Prometheus(PrometheusSettings(url=stub.url, **tls(pki)))
    prometheus.sweep(POLICY)
    prometheus.sweep(POLICY)
    assert len(shown) == 1
    renew(ca, pki, "monitor-2")
    assert prometheus.sweep(POLICY).pods
    prometheus.close()
    assert len(set(shown)) == len(shown) == 2


@pytest.mark.fault(44)
def test_a_pair_caught_between_its_files_leaves_the_last_good_one(stub, ca, pki, caplog):
    prometheus = Prometheus(PrometheusSettings(url=stub.url, **tls(pki)))
    prometheus.sweep(POLICY)
    trustme.CA().issue_cert("other@example.org").private_key_pem.write_to_path(str(pki / "tls.key"))
    assert prometheus.sweep(POLICY).pods
    (pki / "tls.crt").unlink()
    assert prometheus.sweep(POLICY).pods
    assert "last good certificate" in caplog.text
    renew(ca, pki, "monitor-3")
    assert prometheus.sweep(POLICY).pods
    prometheus.close()


@pytest.mark.fault(67)
@pytest.mark.parametrize("broken", ["missing", "empty", "foreign key", "key with password"])
def test_a_pair_that_cannot_be_used_is_told_at_the_start(pki, broken):
    if broken == "missing":
        (pki / "tls.key").unlink()
    elif broken == "empty":
        (pki / "tls.crt").write_text("")
    elif broken == "foreign key":
        trustme.CA().issue_cert("other@example.org").private_key_pem.write_to_path(str(pki / "tls.key"))
    else:
        protect(pki / "tls.key")
    with pytest.raises(ConfigurationError, match="certFile, keyFile"):
        Prometheus(PrometheusSettings(url="https://p", **tls(pki)))


def protect(file):
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(file.read_bytes(), None)
    hidden = s.BestAvailableEncryption(b"word")
    file.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.TraditionalOpenSSL, hidden))


@pytest.mark.fault(31)
def test_neither_certificate_nor_token_nor_header_follows_a_redirect(stub, pki):
    (pki / "key").write_text("k3y\n")
    (pki / "token").write_text("t0ken\n")
    secrets = {"header_files": {"X-Api-Key": pki / "key"}, "bearer_token_file": pki / "token"}
    with serving() as elsewhere:
        stub.status, stub.headers = 307, {"Location": f"{elsewhere.url}/api/v1/query"}
        failure = trouble(stub.url, **tls(pki), **secrets, headers={"X-Scope-OrgID": "team-a"})
        assert (failure.code, elsewhere.asked) == ("redirect", [])
    (_, sent, _) = stub.asked[0]
    assert (sent["X-Api-Key"], sent["Authorization"], sent["X-Scope-OrgID"]) == ("k3y", "Bearer t0ken", "team-a")


def test_files_of_headers_are_read_anew_for_each_request(stub, pki):
    (pki / "key").write_text("one")
    prometheus = Prometheus(PrometheusSettings(url=stub.url, header_files={"X-Api-Key": pki / "key"}, **tls(pki)))
    prometheus.sweep(POLICY)
    (pki / "key").write_text("two")
    prometheus.sweep(POLICY)
    prometheus.close()
    sent = [headers["X-Api-Key"] for _, headers, _ in stub.asked]
    assert (sent[0], sent[-1]) == ("one", "two")


@pytest.mark.parametrize(
    ("content", "word"), [(None, "No such file"), ("", "is empty"), ("a\nb", "control characters"), ("ä", "ASCII")]
)
@pytest.mark.parametrize("key", ["bearer_token_file", "header_files"])
def test_a_secret_that_cannot_be_sent_is_a_clear_error_that_names_its_file(stub, pki, key, content, word):
    file = pki / "secret"
    if content is not None:
        file.write_text(content)
    failure = trouble(stub.url, **tls(pki), **{key: {"X-Api-Key": file} if key == "header_files" else file})
    assert failure.code == "auth"
    assert word in str(failure)
    assert str(file) in str(failure)
    assert stub.asked == []


def test_a_token_that_vanishes_fails_the_next_sweep_and_its_return_mends_it(stub, pki):
    token = pki / "token"
    token.write_text("one")
    prometheus = Prometheus(PrometheusSettings(url=stub.url, bearer_token_file=token, **tls(pki)))
    assert prometheus.sweep(POLICY).pods
    shutil.move(token, pki / "away")
    found = prometheus.self_test(Policy(idle=POLICY), now=NOW)
    assert [(f.code, f.severity) for f in found.findings] == [("unreachable", "error")]
    assert "token" in found.findings[0].remedy
    shutil.move(pki / "away", token)
    assert prometheus.sweep(POLICY).pods
    prometheus.close()


@pytest.mark.fault(67)
@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"url": "http://p", "header_files": {"X-Api-Key": "k"}}, "https"),
        ({"url": "http://p", "cert_file": "c", "key_file": "k"}, "certFile: given with http"),
        ({"cert_file": "c"}, "certFile, keyFile: one without the other"),
        ({"headers": {"authorization": "x"}}, "bearerTokenFile"),
        ({"header_files": {"Authorization": "x"}}, "bearerTokenFile"),
        ({"headers": {"Cookie": "x"}}, "headerFiles"),
        ({"headers": {"Content-length": "0"}}, "belongs to the request"),
        ({"headers": {"X Y": "z"}}, "a header's name"),
        ({"headers": {"X-Y": "a\r\nHost: b"}}, "printable ASCII"),
        ({"headers": {"X-Y": ""}}, "0 characters"),
        ({"headers": {"X-Y": "a"}, "header_files": {"x-y": "f"}}, "stands twice"),
        ({"parameters": {"partial_response": ("true",)}}, "looks like pods at rest"),
        ({"parameters": {"limit": ("10",)}}, "not a parameter that may be set"),
        ({"parameters": {"query": ("up",)}}, "not a parameter that may be set"),
        ({"queries": {"owner": "up or vector(0)"}}, "queries.owner: vector()"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_right_are_refused(settings, word):
    with pytest.raises(ConfigurationError) as caught:
        Prometheus(PrometheusSettings(**{"url": "https://p"} | settings))
    assert word in str(caught.value)


def test_parameters_go_with_every_query(stub, pki):
    parameters = {"partial_response": ("false",), "replicaLabels[]": ("replica", "prometheus_replica")}
    sweep(stub.url, **tls(pki), parameters=parameters)
    forms = [form for path, _, form in stub.asked if path == "/api/v1/query"]
    assert len(forms) == 1 + len(SWEEP)
    assert all(form["partial_response"] == ["false"] for form in forms)
    assert all(form["replicaLabels[]"] == ["replica", "prometheus_replica"] for form in forms)


@pytest.mark.fault(32)
@pytest.mark.parametrize("said", [{"warnings": ["store-1 is away"]}, {"isPartial": True}], ids=str)
def test_a_partial_answer_to_one_query_leaves_everything_unknown(stub, pki, said):
    stub.answer = lambda query: whole(query) if "kube_pod_owner" not in query else vector() | said
    assert trouble(stub.url, **tls(pki)).code == "partial"


def test_a_limit_of_the_store_says_what_to_do(stub, pki):
    stub.status = 422
    stub.raw = b'{"status":"error","errorType":"execution","error":"query processing would load too many samples"}'
    failure = trouble(stub.url, **tls(pki))
    assert failure.code == "limit"
    assert "lengthen idle.step" in str(failure)


def test_a_self_test_of_a_prometheus_that_falls_silent_waits_for_one_deadline_only(stub, pki):
    held = threading.Event()
    stub.answer = lambda query: whole(query) if query == "time()" else (held.wait(20), vector())[1]
    prometheus = Prometheus(PrometheusSettings(url=stub.url, deadline_seconds=1.0, **tls(pki)))
    found = prometheus.self_test(Policy(idle=POLICY), now=NOW)
    held.set()
    prometheus.close()
    codes = {finding.code.value for finding in found.findings}
    assert codes - {"clock-skew"} == {"probe-refused"}
    assert len(stub.queries()) <= 1 + 2  # the clock, and as many as are under way at once
