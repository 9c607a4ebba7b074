"""Throw-away pairs: trusted by their own CA alone, private on disk, and never over somebody's files."""

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest

from webhook.adapters import certificates
from webhook.errors import InputError

NOW = datetime.now(UTC)


def handshake(files, *, ask_for: str, trust) -> str:
    """The TLS version agreed on. Raises ssl.SSLError as a client would."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)
    client = ssl.create_default_context(cafile=str(trust))
    near, far = socket.socketpair()

    def serve():
        try:
            server.wrap_socket(far, server_side=True).close()
        except (OSError, ssl.SSLError):
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(near, server_hostname=ask_for) as tls:
            return str(tls.version())
    finally:
        near.close()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "spot-balancer.home.svc", "x.apps.example"])
def test_a_client_that_trusts_the_ca_agrees_for_every_host(tmp_path, host):
    hosts = ["127.0.0.1", "::1", "localhost", "spot-balancer.home.svc", "*.apps.example"]
    files = certificates.make_pair(tmp_path / "tls", hosts, now=NOW)
    assert handshake(files, ask_for=host, trust=files.ca_file) == "TLSv1.3"


def test_another_name_and_another_ca_are_refused(tmp_path):
    files = certificates.make_pair(tmp_path / "one", ["127.0.0.1"], now=NOW)
    other = certificates.make_pair(tmp_path / "other", ["127.0.0.1"], now=NOW)
    with pytest.raises(ssl.SSLError):
        handshake(files, ask_for="127.0.0.2", trust=files.ca_file)
    with pytest.raises(ssl.SSLError):
        handshake(files, ask_for="127.0.0.1", trust=other.ca_file)


@pytest.mark.parametrize("moment", [NOW - certificates.LEAF_LIFE - timedelta(minutes=1), NOW + timedelta(hours=1)])
def test_out_of_its_time_it_is_refused(tmp_path, moment):
    files = certificates.make_pair(tmp_path / "tls", ["127.0.0.1"], now=moment)
    with pytest.raises(ssl.SSLError):
        handshake(files, ask_for="127.0.0.1", trust=files.ca_file)


def test_the_key_and_its_folder_are_private(tmp_path):
    files = certificates.make_pair(tmp_path / "tls", ["127.0.0.1"], now=NOW)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.key.parent.stat().st_mode) == 0o700


def test_a_leaf_tells_its_names_its_times_and_a_serial_of_128_bits(tmp_path):
    one = certificates.inspect(certificates.make_pair(tmp_path / "a", ["::1", "x.example"], now=NOW).certificate)
    other = certificates.inspect(certificates.make_pair(tmp_path / "b", ["::1"], now=NOW).certificate)
    assert one.hosts == ("::1", "x.example")
    whole = NOW.replace(microsecond=0)
    assert (one.not_before, one.not_after) == (whole - timedelta(minutes=5), whole + certificates.LEAF_LIFE)
    assert int(one.serial, 16).bit_length() == 128
    assert one.serial != other.serial


def test_a_strict_verifier_accepts_the_chain_for_a_server_and_for_nothing_else(tmp_path):
    """By the library's own path validation, which follows the rules of the web's certificates."""
    from cryptography import x509
    from cryptography.x509 import verification

    files = certificates.make_pair(tmp_path / "tls", ["shop.example"], now=NOW)
    ca, leaf = (x509.load_pem_x509_certificate(file.read_bytes()) for file in (files.ca_file, files.certificate))
    builder = verification.PolicyBuilder().store(verification.Store([ca])).time(NOW)
    chain = builder.build_server_verifier(x509.DNSName("shop.example")).verify(leaf, [])
    assert chain == [leaf, ca]
    with pytest.raises(verification.VerificationError):
        builder.build_server_verifier(x509.DNSName("else.example")).verify(leaf, [])
    with pytest.raises(verification.VerificationError):
        builder.build_client_verifier().verify(leaf, [])


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_what_holds_no_certificate_is_told(tmp_path, content):
    file = tmp_path / "tls.crt"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=r"tls\.crt"):
        certificates.inspect(file)


def test_a_pair_that_is_there_is_never_written_over(tmp_path):
    files = certificates.make_pair(tmp_path, ["127.0.0.1"], now=NOW)
    before = [file.read_bytes() for file in (files.ca_file, files.certificate, files.key)]
    with pytest.raises(InputError, match="there already"):
        certificates.make_pair(tmp_path, ["127.0.0.1"], now=NOW)
    assert before == [file.read_bytes() for file in (files.ca_file, files.certificate, files.key)]


@pytest.mark.parametrize("hosts", [[], ["not a host"], [""], ["a" * 300], ["127.0.0.1", "\u0661.example"]])
def test_what_is_no_host_is_refused(tmp_path, hosts):
    with pytest.raises(InputError):
        certificates.make_pair(tmp_path / "tls", hosts, now=NOW)
    assert not (tmp_path / "tls").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        certificates.make_pair(tmp_path / "file" / "tls", ["127.0.0.1"], now=NOW)
