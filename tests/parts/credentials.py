"""Keys, tokens and kubeconfigs of one test control plane, made anew in its work folder."""

import csv
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

# user -> groups, as the API server's token file wants them
IDENTITIES = {
    "admin": "system:masters",
    "system:kube-controller-manager": "system:masters",
    "system:kube-scheduler": "",
    "kwok": "system:masters",
    "kube-state-metrics": "system:masters",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """`tokens` by user name; every other field is a file."""

    ca_file: Path
    serving_pair: Path
    service_account_key: Path
    token_file: Path
    tokens: dict[str, str]


def make_credentials(folder: Path) -> Credentials:
    """Writes the plane's CA, its serving pair, the key that signs ServiceAccount tokens, and the token file."""
    folder.mkdir(mode=0o700)
    authority = trustme.CA(organization_name="test control plane")
    pair = authority.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
    made = Credentials(
        ca_file=folder / "ca.pem",
        serving_pair=folder / "serving.pem",
        service_account_key=folder / "service-account.pem",
        token_file=folder / "tokens.csv",
        tokens={user: secrets.token_urlsafe(24) for user in IDENTITIES},
    )
    authority.cert_pem.write_to_path(made.ca_file)
    pair.private_key_and_cert_chain_pem.write_to_path(made.serving_pair)
    made.service_account_key.write_bytes(_rsa_key())
    with made.token_file.open("w", newline="") as out:
        rows = csv.writer(out, quoting=csv.QUOTE_ALL)
        rows.writerows([made.tokens[user], user, user, groups] for user, groups in IDENTITIES.items())
    return made


def _rsa_key() -> bytes:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_kubeconfig(file: Path, *, url: str, ca_file: Path, token: str) -> Path:
    """A kubeconfig of one context named `test`; JSON, which is YAML."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(ca_file)}}],
        "users": [{"name": "test", "user": {"token": token}}],
    }
    file.touch(mode=0o600)
    file.write_text(json.dumps(config, indent=1))
    return file
