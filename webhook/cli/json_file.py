"""The option --json: a result that is also written to a file."""

import os
from pathlib import Path

import click
import msgspec

from webhook.errors import InputError


def _writable(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """What takes minutes to reckon must have somewhere to go; whatever the file holds stays until then."""
    if value is None:
        return None
    if str(value) == "-":
        raise click.BadParameter("takes a file; `-o json` prints the same", ctx=ctx, param=param)
    there = value if value.exists() else value.parent
    if there is not value and not there.is_dir():
        raise InputError(f"{value}: cannot be written ({there} is no directory)")
    if not os.access(there, os.W_OK):
        raise InputError(f"{value}: cannot be written (Permission denied)")
    return value


json_option = click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_writable,
    help="Also write JSON to a file.",
)


def write_json(path: Path, document: object) -> None:
    """Indented, as a file of its own. Raises InputError with the path in it."""
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    except OSError as exc:
        raise InputError(f"{path}: cannot be written ({exc.strerror})") from exc
