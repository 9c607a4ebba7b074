"""`spot-balancer certs`: throw-away key pairs."""

from pathlib import Path

import click

from webhook.cli.common import clock


@click.group("certs", epilog="Example: spot-balancer certs dev --dir build/tls --host 127.0.0.1 --host localhost")
def command() -> None:
    """Make throw-away certificates; see certs/README.md for who trusts whom."""


@command.command("dev", epilog="Example: spot-balancer certs dev --dir build/tls --host 127.0.0.1 --host localhost")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), required=True, help="Folder; made if it is not there."
)
@click.option(
    "--host", "hosts", multiple=True, default=("127.0.0.1", "localhost"), show_default=True, help="DNS name or IP."
)
def dev(directory: Path, hosts: tuple[str, ...]) -> None:
    """Write ca.crt, tls.crt and tls.key for a laptop: a pair for 30 days, the key of its CA forgotten."""
    from webhook.adapters.certificates import inspect, make_pair  # noqa: PLC0415

    files = make_pair(directory, hosts, now=clock())
    facts = inspect(files.certificate)
    click.echo(f"certificate  {files.certificate}\nkey          {files.key}\nCA to trust  {files.ca_file}")
    click.echo(f"for          {', '.join(facts.hosts)}\nuntil        {facts.not_after:%Y-%m-%d %H:%M:%S}Z")
