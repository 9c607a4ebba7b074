"""`spot-balancer config`: is a configuration file right, and what holds with it?"""

from pathlib import Path

import click
import yaml

from webhook.cli.common import STRUCTURED, USAGE, output_option, print_structured, read_configuration, rows
from webhook.configuration.printing import Setting, document_of, settings_of
from webhook.core.model import Value
from webhook.errors import ConfigurationError, InputError

_FILE = click.Path(path_type=Path)


class Check(Value, frozen=True, omit_defaults=False):
    """What `config check -o json` prints; each fault says where, what stands there and what was expected."""

    schema_version: int
    file: str
    valid: bool
    faults: tuple[str, ...]


@click.group("config", epilog="Example: spot-balancer config check examples/config.yaml")
def command() -> None:
    """Check a configuration file, or print what holds with it."""


@command.command("check", epilog="Example: spot-balancer config check examples/config.yaml")
@click.argument("file", type=_FILE)
@output_option()
def check(file: Path, output: str) -> int:
    """Tell all faults of FILE at once. Exit code 2 if there are any."""
    faults: tuple[str, ...] = ()
    try:
        read_configuration(file)
    except ConfigurationError as exc:
        faults = tuple(exc.faults)
    if output in STRUCTURED:
        print_structured(Check(schema_version=1, file=str(file), valid=not faults, faults=faults), output)
    elif faults:
        click.echo(f"{file}: {len(faults)} fault(s)", err=True)
        for fault in faults:
            click.echo(f"  - {fault}", err=True)
    else:
        click.echo(f"{file}: no fault")
    return USAGE if faults else 0


@command.command("print", epilog="Example: spot-balancer config print examples/config.yaml")
@click.argument("file", type=_FILE, required=False)
@output_option()
def print_(file: Path | None, output: str) -> None:
    """Print every value in force, and whether FILE says it or it is the default; without FILE all defaults.

    `-o yaml` prints a file that says the same, with nothing left to defaults.
    """
    configuration = read_configuration(file)
    if output == "yaml":
        click.echo(yaml.safe_dump(document_of(configuration), sort_keys=False, allow_unicode=True).rstrip())
        return
    found = list(settings_of(configuration, _text(file)))
    if output == "json":
        origins = [{"path": s.path, "value": s.value, "line": s.line} for s in found]
        print_structured({"schemaVersion": 1, "file": str(file) if file else "", "settings": origins}, "json")
        return
    click.echo(rows(("KEY", "VALUE", "FROM"), [(s.path, s.text, _from(s, file)) for s in found]))


def _from(setting: Setting, file: Path | None) -> str:
    return "default" if setting.line is None or file is None else f"{file.name}:{setting.line}"


def _text(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{file}: cannot be read any more") from exc
