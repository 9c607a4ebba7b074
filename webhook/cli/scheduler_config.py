"""`spot-balancer scheduler-config`: what makes a kube-scheduler ask our extender."""

import base64
import binascii
import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from webhook.cli.common import BOOK, read_configuration, read_label
from webhook.configuration import load, words
from webhook.configuration.readers import FaultError, duration
from webhook.core import labels
from webhook.errors import InputError, SpotBalancerError
from webhook.wire import scheduler_config
from webhook.wire.scheduler_config import Extender, Second

if TYPE_CHECKING:
    from webhook.adapters.release import Release

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)\s+-----END CERTIFICATE-----")
_SHORTEST, _LONGEST = timedelta(milliseconds=10), timedelta(seconds=5)
"""Shorter calls fail by the network's own delays; 5 s is kube-scheduler's own default."""
_NAMELESS = (
    "the certificate of the chart is for names and not for the address in --url: give -n, the release's namespace, "
    "from which <service>.<namespace>.svc follows, or --server-name with what the certificate holds"
)
_OFFLINE = (
    "Without a cluster, give --url with the extender's address, and --ca-file with its CA or --ca-path where the "
    "scheduler finds it; -n or --server-name say whom its certificate is for"
)


def _scheduler_name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return words.scheduler_name(value)
    except FaultError as fault:
        raise click.BadParameter(f"{value!r}; expected {fault}") from fault


def _url(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """``https://host:port``; our own path is left off, so that what a printed file says can be given again."""
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", 443 if parts.port is None else parts.port
        sound = parts.scheme == "https" and port != 0 and "@" not in parts.netloc and _is_host(host)
    except ValueError:
        sound = False
    # urlsplit drops line breaks, and blanks at the ends: what was never meant as one address is not mended here.
    sound = sound and not re.search(r"\s", value)
    if not sound or parts.path.rstrip("/") not in {"", scheduler_config.PATH} or parts.query or parts.fragment:
        raise click.BadParameter(
            f"{value!r}; expected https://HOST:PORT, as in https://10.96.0.77:443; without a port it is 443"
        )
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _server_name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _is_host(value):
        raise click.BadParameter(f"{value!r}; expected a name or an IP address that the certificate holds")
    return value


def _absolute(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A path on the scheduler's machine: nobody knows there what it would be relative to."""
    if value is not None and not value.startswith("/"):
        raise click.BadParameter(f"{value!r}; expected an absolute path, where the scheduler runs")
    return value


def _timeout(_ctx: click.Context, _param: click.Parameter, value: str) -> timedelta:
    try:
        length = duration(value)
    except FaultError:
        length = timedelta()
    if not _SHORTEST <= length <= _LONGEST:
        raise click.BadParameter(f"{value!r}; expected 10ms to 5s: every pod may wait so long for us")
    return length


def _is_address(host: str) -> bool:
    """Whether it is an IP address, without the zone of one machine."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def _is_host(host: str) -> bool:
    """An IP address or a DNS name; no top-level domain is a number, so 10.0.0 is neither."""
    return _is_address(host) or (labels.is_subdomain(host) and not host.rpartition(".")[2].isdigit())


@click.command(
    "scheduler-config",
    epilog="Example: spot-balancer scheduler-config -n spot-balancer > scheduler.yaml",
)
@click.option("--stanza", is_flag=True, help="Only the list of extenders, for a file that is there.")
@click.option("--second", callback=_scheduler_name, metavar="NAME", help="For a second scheduler of this name.")
@click.option("--url", callback=_url, metavar="URL", help="https://HOST:PORT. [default: the Service's own address]")
@click.option(
    "--server-name",
    callback=_server_name,
    metavar="NAME",
    help="Whom the certificate is for. [default: <service>.<namespace>.svc; without -n the host of --url]",
)
@click.option(
    "--ca-file", type=click.Path(path_type=Path), help="CA in PEM to print. [default: ConfigMap <service>-ca]"
)
@click.option(
    "--ca-path", callback=_absolute, metavar="PATH", help="Where the scheduler finds the CA, instead of the CA itself."
)
@click.option(
    "--weight",
    type=click.IntRange(1, scheduler_config.MOST_WEIGHT),
    default=3,
    show_default=True,
    help="Of our scores.",
)
@click.option(
    "--timeout",
    callback=_timeout,
    metavar="DURATION",
    default="300ms",
    show_default=True,
    help="Of one call; 10ms to 5s.",
)
@click.option(
    "--filter", "filters", is_flag=True, help="Ask the filter too. [default: where balance.filterAbove is set]"
)
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="Configuration file. [default: the release's]"
)
@click.option(
    "--scheduler-kubeconfig",
    callback=_absolute,
    metavar="PATH",
    help="The scheduler's own. [default: /etc/kubernetes/scheduler.conf; none for a second one]",
)
@click.option("--service", callback=read_label, help=f"Name of the Service: the release's full name. [default: {BOOK}]")
@click.option("-n", "--namespace", callback=read_label, help="Namespace of the release. [default: the context's]")
@click.option("--context", help="Context of the kubeconfig.")
@click.option("--kubeconfig", help="Path of a kubeconfig. [default: KUBECONFIG, else ~/.kube/config, else in-cluster]")
def command(  # noqa: PLR0913 - one argument an option
    *,
    stanza: bool,
    second: str | None,
    url: str | None,
    server_name: str | None,
    ca_file: Path | None,
    ca_path: str | None,
    weight: int,
    timeout: timedelta,
    filters: bool,
    config_file: Path | None,
    scheduler_kubeconfig: str | None,
    service: str | None,
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
) -> None:
    """Print a KubeSchedulerConfiguration with our extender: its address, its CA, and why each value is what it is.

    What is not given is read from the cluster: the Service, the CA and the configuration of the release.
    """
    if ca_file and ca_path:
        raise click.UsageError("--ca-file beside --ca-path: the CA is printed, or found by the scheduler")
    if second and stanza:
        raise click.UsageError(
            "--stanza beside --second: a second scheduler has a file of its own, with name and Lease"
        )
    if second and not namespace and url:
        raise click.UsageError("--second needs -n: the namespace of its Lease, which is the release's")
    name = service or BOOK
    release: Release | None = None
    if (not url and not (second and namespace)) or not (ca_file or ca_path):
        release, namespace = _release(kubeconfig, context, namespace, name)
    host = f"{name}.{namespace}.svc" if namespace else ""
    if url and release is None and service and (server_name or not host):
        raise click.UsageError(
            "--service says nothing here: beside --url it names the certificate's host, with -n alone"
        )
    if url and not (server_name or host) and _is_address(urlsplit(url).hostname or ""):
        raise click.UsageError(_NAMELESS)
    # A second scheduler is a pod and knows the cluster's names; the first one mostly does not.
    own = f"https://{host}:443" if second and host else ""
    extender = Extender(
        url=url or own or (release.url() if release else ""),
        server_name=server_name or host,
        ca_data=b"" if ca_path else _ca(ca_file, release),
        ca_path=ca_path or "",
        weight=weight,
        timeout=timeout,
        filters=_filters(config_file, release, asked=filters),
    )
    if stanza:
        click.echo(scheduler_config.stanza(extender), nl=False)
        return
    lease = Second(second, namespace or "") if second else None
    default = "" if second else "/etc/kubernetes/scheduler.conf"
    own_kubeconfig = default if scheduler_kubeconfig is None else scheduler_kubeconfig
    click.echo(scheduler_config.whole(extender, kubeconfig=own_kubeconfig, second=lease), nl=False)


def _release(kubeconfig: str | None, context: str | None, namespace: str | None, service: str) -> "tuple[Release, str]":
    from webhook.adapters.kubeapi import connect  # noqa: PLC0415
    from webhook.adapters.release import Release  # noqa: PLC0415

    try:
        api = connect(kubeconfig, context)
    except SpotBalancerError as exc:
        raise InputError(f"{str(exc).rstrip('.')}. {_OFFLINE}") from exc
    where = namespace or api.namespace
    return Release(api, where, service), where


def _ca(file: Path | None, release: "Release | None") -> bytes:
    """Certificates alone: a key that stands beside them is not for a scheduler's file. Raises InputError."""
    if file is not None:
        try:
            found = file.read_bytes()
        except OSError as exc:
            raise InputError(f"{file}: cannot be read ({exc.strerror})") from exc
    else:
        found = release.ca() if release else b""
    certificates = [match[0] for match in _PEM.finditer(found) if _is_base64(match[1])]
    if not certificates:
        raise InputError(f"{file or 'the CA of the release'} holds no certificate in PEM")
    return b"\n".join(certificates) + b"\n"


def _is_base64(text: bytes) -> bool:
    try:
        return bool(base64.b64decode(b"".join(text.split()), validate=True))
    except binascii.Error:
        return False


def _filters(file: Path | None, release: "Release | None", *, asked: bool) -> bool:
    """Whether the filter is to be asked: by --filter, or because it has something to keep pods off by."""
    if not asked:
        return _has_filter(file, release)
    try:
        has = _has_filter(file, release)
    except SpotBalancerError:
        if file is not None:
            raise
        # It was asked for, whatever the release says of itself.
        return True
    if not has:
        where = file or (
            "the release's configuration" if release else "a configuration that nobody named here (--config)"
        )
        click.echo(f"note: balance.filterAbove is not set in {where}; without it the filter keeps no pod off", err=True)
    return True


def _has_filter(file: Path | None, release: "Release | None") -> bool:
    if file is not None or release is None:
        return read_configuration(file).policy.balance.filter_above is not None
    text = release.configuration()
    return bool(text) and load(text, source="the release's configuration").policy.balance.filter_above is not None
