"""`spot-balancer snapshot`: one capture to a file, with or without names."""

import secrets
from pathlib import Path

import click

from webhook.cli.common import (
    Access,
    capture_cluster,
    cluster_options,
    config_option,
    read_configuration,
    read_snapshot,
)
from webhook.errors import InputError


@click.command(
    "snapshot", epilog="Example: spot-balancer snapshot --context prod -n spot-balancer -o prod.snapshot.json"
)
@click.option(
    "-o",
    "-f",
    "--output-file",
    type=click.Path(path_type=Path, allow_dash=True),
    required=True,
    help="File to write, always JSON; - for standard output. Not a format, unlike -o elsewhere.",
)
@click.option(
    "--redact", is_flag=True, help="Replace names by hashes under a key that is thrown away; decisions stay the same."
)
@click.option(
    "--snapshot",
    "snapshot_file",
    type=click.Path(path_type=Path),
    help="A captured file or sync's directory, instead of a cluster.",
)
@config_option
@cluster_options
def command(
    output_file: Path, snapshot_file: Path | None, config_file: Path | None, access: Access, *, redact: bool
) -> None:
    """Capture nodes, workloads and the verdict book once, to explain, plan or replay them elsewhere.

    The file names namespaces, workloads, pods and nodes, unless --redact is given, which leaves out all that moves are
    planned from; it holds no environment, no secret and no image.
    """
    from webhook.wire.snapshot import encode_document  # noqa: PLC0415

    if snapshot_file is not None:
        snapshot = read_snapshot(snapshot_file, config_file=config_file)
    else:
        snapshot = capture_cluster(access, read_configuration(config_file), with_census=not redact)
    if redact:
        from webhook.core import redaction  # noqa: PLC0415

        # Nobody keeps the key, so that nobody can be asked for it.
        snapshot = redaction.redact(snapshot, secrets.token_bytes(32))
    if snapshot.census is None:
        click.echo("note: without each pod and what bounds its move; `spot-balancer plan` cannot read it", err=True)
    document = encode_document(snapshot)
    if str(output_file) == "-":
        click.echo(document.decode(), nl=False)
        return
    try:
        output_file.write_bytes(document)
    except OSError as exc:
        raise InputError(f"{output_file}: cannot be written ({exc.strerror})") from exc
    spot = sum(bool(node.marker) for node in snapshot.nodes.values())
    click.echo(
        f"{output_file}: {len(snapshot.nodes)} nodes ({spot} spot), {len(snapshot.workloads)} workloads, "
        f"as of {snapshot.meta.captured_at:%Y-%m-%dT%H:%M:%SZ}",
        err=True,
    )
