"""`spot-balancer version`."""

import platform

import click

from webhook import __version__
from webhook.cli.common import STRUCTURED, output_option, print_structured


@click.command("version", epilog="Example: spot-balancer version -o json")
@output_option()
def command(output: str) -> None:
    """Print versions."""
    found = {"schemaVersion": 1, "spotBalancer": __version__, "python": platform.python_version()}
    if output in STRUCTURED:
        print_structured(found, output)
    else:
        click.echo(f"spot-balancer {__version__} (Python {platform.python_version()})")
