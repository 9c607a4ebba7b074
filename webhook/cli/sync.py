"""`spot-balancer sync`: keeps the server's snapshot."""

import random
import signal
import ssl
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from webhook import logs
from webhook.cli.common import (
    Access,
    check_free,
    clock,
    cluster_options,
    config_option,
    parse_bind,
    read_configuration,
    usage_of,
)
from webhook.core.policy import Policy
from webhook.core.snapshot import Snapshot
from webhook.errors import InputError


@click.command(
    "sync",
    epilog="Example: spot-balancer sync --snapshot-dir build/snapshot --config config.yaml -n spot-balancer",
)
@click.option(
    "--snapshot-dir",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory to keep; `serve --snapshot` reads it.",
)
@click.option(
    "--ops-bind",
    default="127.0.0.1:9090",
    show_default=True,
    metavar="HOST:PORT",
    help="Plain HTTP for metrics and status.",
)
@click.option("--server-url", help="The server whose /metrics are shown too, as https://127.0.0.1:8443.")
@config_option
@cluster_options
def command(
    snapshot_dir: Path, ops_bind: str, server_url: str | None, config_file: Path | None, access: Access
) -> None:
    """Watch nodes, pods, owners and the verdict book, ask for node load, keep the snapshot.

    The configuration file is read again when it changes; `pause` takes effect without a restart.
    """
    logs.configure("info")
    configuration = read_configuration(config_file)
    host, port = parse_bind(ops_bind, option="--ops-bind")
    check_free(host, port, option="--ops-bind")
    _make(snapshot_dir)
    from webhook.adapters.cluster import WatchedCluster  # noqa: PLC0415
    from webhook.adapters.kubeapi import connect  # noqa: PLC0415
    from webhook.adapters.reflector import Pace  # noqa: PLC0415
    from webhook.adapters.snapshots import DirectoryWriter  # noqa: PLC0415
    from webhook.adapters.verdict_book import WatchedBook  # noqa: PLC0415
    from webhook.jobs import ops  # noqa: PLC0415
    from webhook.jobs.sync import SyncDeps, SyncSettings, SyncStatus, run  # noqa: PLC0415

    pace = Pace(jitter=random.random)
    api = connect(access.kubeconfig, access.context)
    prometheus = usage_of(configuration)
    deps = SyncDeps(
        cluster=WatchedCluster(api, clock, pace=pace),
        book=WatchedBook(api, access.namespace or api.namespace, access.book, pace=pace),
        usage=prometheus,
        probe=prometheus,
        snapshots=DirectoryWriter(snapshot_dir),
        load_policy=lambda: _policy(config_file),
        clock=clock,
        previous=_left_behind(snapshot_dir),
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    status = SyncStatus()
    with ops.OpsServer(ops.Ops(status, clock, _metrics_of(server_url)), host, port):
        run(deps, SyncSettings(), stop, status)


def _policy(file: Path | None) -> Policy:
    """The file's. In a pod its own namespace is excluded too: the registration's word on that may have been edited."""
    from webhook.adapters.kubeconfig import pod_namespace  # noqa: PLC0415

    policy, home = read_configuration(file).policy, pod_namespace()
    if not home or home in policy.excluded_namespaces:
        return policy
    return msgspec.structs.replace(policy, excluded_namespaces=(*policy.excluded_namespaces, home))


def _make(directory: Path) -> None:
    """The directory to keep; found out now, not when the first snapshot is to be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise InputError(f"{directory}: cannot keep a snapshot there ({exc.strerror})") from exc


def _left_behind(directory: Path) -> Snapshot | None:
    from webhook.adapters.snapshots import load  # noqa: PLC0415
    from webhook.errors import SnapshotError  # noqa: PLC0415

    try:
        return load(directory)
    except SnapshotError:
        return None


def _metrics_of(url: str | None) -> Callable[[], bytes] | None:
    """Fetches the server's metrics over loopback, where its certificate names a Service and not us."""
    if url is None:
        return None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def fetch() -> bytes:
        with urllib.request.urlopen(f"{url}/metrics", context=context, timeout=2) as answer:  # noqa: S310
            body: bytes = answer.read(4 * 1024 * 1024)
        return body

    return fetch
