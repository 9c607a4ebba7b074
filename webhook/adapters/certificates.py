"""Throw-away certificates: a CA of its own and one leaf, for trying out, for tests and for a laptop.

P-256, because a handshake costs half of RSA's. Nothing here is meant to outlive its folder; in a
cluster the chart or cert-manager makes the pair.
"""

import ipaddress
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from webhook.errors import InputError, WrongInputError

LEAF_LIFE = timedelta(days=30)
CA_LIFE = timedelta(days=365)
_SKEW = timedelta(minutes=5)
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Where the three PEM files are: the CA to trust, the leaf's chain, and its key (mode 0600)."""

    ca_file: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class PairFacts:
    """What a chain's leaf says: names in the certificate's order, both times aware UTC, the serial as hex."""

    hosts: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    serial: str


def inspect(certificate: Path) -> PairFacts:
    """Read the leaf of a PEM chain. Raises InputError where there is none."""
    try:
        leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = tuple(str(name.value) for name in names)
    except OSError as exc:
        raise InputError(f"{certificate}: cannot be read ({exc.strerror})") from exc
    except (ValueError, x509.ExtensionNotFound) as exc:
        raise InputError(f"{certificate}: no certificate with names of its own") from exc
    return PairFacts(hosts, leaf.not_valid_before_utc, leaf.not_valid_after_utc, f"{leaf.serial_number:032x}")


def make_pair(directory: Path, hosts: Iterable[str], *, now: datetime) -> PairFiles:
    """Write ``ca.crt``, ``tls.crt`` and ``tls.key`` for these DNS names and IP addresses; the CA's key is forgotten.

    The folder is made with mode 0700 if it is not there. Raises InputError where it cannot be
    written or holds a pair already, WrongInputError where no host is given or one is none.
    """
    names = [_general_name(host) for host in hosts]
    if not names:
        raise WrongInputError(
            "a certificate needs at least one --host, such as 127.0.0.1 or my-service.my-namespace.svc"
        )
    files = PairFiles(directory / "ca.crt", directory / "tls.crt", directory / "tls.key")
    ca_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "spot-balancer throw-away CA")])
    ca = _ca(ca_name, ca_key, now)
    leaf = _leaf(ca_name, ca_key, leaf_key, names, now)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The key first: whoever waits for the certificate finds both.
        _write(files.key, _private(leaf_key), mode=0o600)
        _write(files.ca_file, ca.public_bytes(serialization.Encoding.PEM), mode=0o644)
        _write(files.certificate, leaf.public_bytes(serialization.Encoding.PEM), mode=0o644)
    except FileExistsError as exc:
        raise InputError(f"{exc.filename} is there already; choose an empty folder or remove the old pair") from exc
    except OSError as exc:
        raise InputError(f"{directory}: cannot write a key pair there ({exc.strerror})") from exc
    return files


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not _HOST.fullmatch(host):
        raise WrongInputError(f"{host!r} is no DNS name or IP address")
    return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(secrets.randbits(127) | 1 << 127)
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _ca(name: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    builder = _builder(name, name, key, now, CA_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(_usage(signs_certificates=True), critical=True).sign(key, hashes.SHA256())


def _leaf(
    issuer: x509.Name,
    ca_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    names: list[x509.GeneralName],
    now: datetime,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "spot-balancer")])
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = (
        _builder(subject, issuer, key, now, LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(authority, critical=False)
    )
    return builder.sign(ca_key, hashes.SHA256())


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(file: Path, content: bytes, *, mode: int) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as out:
        out.write(content)
