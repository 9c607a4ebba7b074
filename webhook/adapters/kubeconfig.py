"""Where the cluster is and who we are: the official client's knowledge of kubeconfig files, plugins and pods."""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from webhook.errors import InputError

log = logging.getLogger(__name__)

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where the API server is and how to speak to it. ``authorization`` gives the header, fresh at each call."""

    url: str
    namespace: str = "default"
    authorization: Callable[[], str | None] = lambda: None
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    proxy: str | None = None


def load_access(kubeconfig: str | None, context: str | None) -> Access:
    """Read where the cluster is and who we are. Raises InputError."""
    # Here and not above: it takes a third of a second, and who only reads a file needs none of it.
    from kubernetes.client import Configuration  # noqa: PLC0415

    found = Configuration()
    try:
        namespace = _load_into(found, kubeconfig, context)
        return _access(found, namespace)
    except Exception as exc:  # the client takes the file for right, and a wrong one breaks it anywhere
        tried, is_there = _tried(kubeconfig)
        # Of a pod's token that nobody has, the client's words tell nothing more.
        why = f": {' '.join(str(exc).split())[:300].rstrip('.') or type(exc).__name__}" if is_there else ""
        raise InputError(f"no way to a cluster by {tried}{why}") from exc


def _tried(kubeconfig: str | None) -> tuple[str, bool]:
    """What was read, or looked for, and whether there was anything to read."""
    if kubeconfig:
        return kubeconfig, True
    from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION  # noqa: PLC0415

    files = str(KUBE_CONFIG_DEFAULT_LOCATION)
    if any(Path(file).expanduser().exists() for file in files.split(":")):
        return files, True
    return f"{files}, which is not there (name another with --kubeconfig), nor by the token of a pod", False


def pod_namespace() -> str:
    """The namespace of the pod we run in, as its service account tells; empty outside of a cluster."""
    return _POD_NAMESPACE.read_text().strip() if _POD_NAMESPACE.exists() else ""


def _load_into(found: Any, kubeconfig: str | None, context: str | None) -> str:
    from kubernetes import config  # noqa: PLC0415
    from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION  # noqa: PLC0415

    files = str(kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION)
    if kubeconfig is None and not any(Path(file).expanduser().exists() for file in files.split(":")):
        config.load_incluster_config(client_configuration=found)
        return pod_namespace() or "default"
    config.load_kube_config(config_file=files, context=context, client_configuration=found, persist_config=False)
    contexts, active = config.list_kube_config_contexts(config_file=files)
    chosen = next((c for c in contexts if c["name"] == context), active) if context else active
    return str(chosen["context"].get("namespace") or "default")


def _access(found: Any, namespace: str) -> Access:
    url = str(found.host).rstrip("/")
    return Access(
        url=url,
        namespace=namespace,
        authorization=lambda: found.get_api_key_with_prefix("BearerToken", alias="authorization"),
        tls=_tls(found) if url.startswith("https") else None,
        server_name=found.tls_server_name,
        proxy=_proxy(found),
    )


def _proxy(found: Any) -> str | None:
    """A proxy of the kubeconfig or, as for kubectl, of the environment; $NO_PROXY takes it back."""
    from kubernetes.client.rest import should_bypass_proxies  # noqa: PLC0415

    if found.proxy is None or should_bypass_proxies(found.host, found.no_proxy or ""):
        return None
    return str(found.proxy)


def _tls(found: Any) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=found.ssl_ca_cert)
    if found.cert_file:
        made.load_cert_chain(found.cert_file, found.key_file)
    if not found.verify_ssl:
        # As `insecure-skip-tls-verify` says in the kubeconfig of the person who runs this.
        log.warning("the API server's certificate is not verified")
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made
