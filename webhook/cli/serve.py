"""`spot-balancer serve`: the webhook."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from webhook.cli.common import check_free, clock, parse_bind, read_snapshot
from webhook.errors import InputError
from webhook.settings import ServerSettings


@click.command(
    "serve",
    epilog="Example: spot-balancer serve --snapshot examples/demo.snapshot.json --bind 127.0.0.1:8443",
)
@click.option(
    "--snapshot",
    type=click.Path(path_type=Path),
    required=True,
    help="A captured file, whose capturedAt is its now, or the directory that sync keeps; waits for what sync writes there.",
)
@click.option(
    "--bind", default="127.0.0.1:8443", show_default=True, metavar="HOST:PORT", help="Port 0 lets the kernel choose."
)
@click.option(
    "--tls-dir",
    type=click.Path(path_type=Path),
    help="Folder with tls.crt and tls.key; only read. The server waits until they are there. "
    "[default: a throw-away pair in a private temporary folder]",
)
@click.option(
    "--extender/--no-extender", default=False, show_default=True, help="Also answer schedulers, at /extender/*."
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def command(snapshot: Path, bind: str, tls_dir: Path | None, log_level: str, *, extender: bool) -> int:
    """Answer admission reviews, and schedulers, over TLS, from memory."""
    from webhook.worker import serve  # noqa: PLC0415

    host, port = parse_bind(bind)
    _check(snapshot, tls_dir)
    check_free(host, port)
    with ExitStack() as stack:
        folder = tls_dir or _throw_away_pair(host, stack)
        return serve(
            ServerSettings(
                snapshot=snapshot, tls_dir=folder, host=host, port=port, log_level=log_level, extender=extender
            )
        )


def _check(snapshot: Path, tls_dir: Path | None) -> None:
    """What no waiting mends. A file is whole from the start; a directory that is there may still be filled."""
    if not snapshot.exists():
        raise InputError(
            f"{snapshot} is not there; capture a file with `spot-balancer snapshot --output-file {snapshot}`, "
            f"or let `spot-balancer sync --snapshot-dir {snapshot}` make the directory first"
        )
    if snapshot.is_file():
        read_snapshot(snapshot)
    if tls_dir is not None and tls_dir.exists() and not tls_dir.is_dir():
        raise InputError(f"{tls_dir} is no folder; --tls-dir wants the one that holds tls.crt and tls.key")


def _throw_away_pair(host: str, stack: ExitStack) -> Path:
    from webhook.adapters.certificates import make_pair  # noqa: PLC0415

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spot-balancer-tls-")))
    named = [] if host in ("0.0.0.0", "::") else [host]  # noqa: S104 - compared, not bound
    files = make_pair(folder, dict.fromkeys([*named, "127.0.0.1", "localhost"]), now=clock())
    click.echo(f"throw-away certificate; trust its CA with --cacert {files.ca_file}", err=True)
    return folder
