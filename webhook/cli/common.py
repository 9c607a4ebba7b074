"""What several commands share: kubectl's flags, reading the world, output formats."""

import contextlib
import difflib
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
import msgspec
import yaml
from click.core import ParameterSource

from webhook.configuration import Configuration, load
from webhook.configuration.readers import FaultError, duration
from webhook.configuration.words import NAME, SHORT
from webhook.core import labels
from webhook.core.book import Control
from webhook.core.model import WorkloadKey
from webhook.core.snapshot import Snapshot
from webhook.errors import ClusterUnavailable, InputError
from webhook.ports import ControlBook, VerdictBook

if TYPE_CHECKING:
    from webhook.adapters.usage import Prometheus

Command = TypeVar("Command", bound=Callable[..., Any])
FORMATS = ("table", "wide", "json", "yaml")
STRUCTURED = ("json", "yaml")
BOOK = "spot-balancer"
USAGE, TROUBLE = 2, 3
CALL_SECONDS = 30.0
"""What a call to the API server may take; a list of 30,000 pods takes a few."""
SLOW_SECONDS = 3.0


def clock() -> datetime:
    """Now; this and the server's front door are the only places that ask."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a cluster, in kubectl's words."""

    kubeconfig: str | None
    context: str | None
    namespace: str | None
    book: str


def _refuse_beside_snapshot(names: Iterable[str]) -> None:
    """As --config: what leads to a cluster would be passed over without a word."""
    context = click.get_current_context()
    given = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        told = ", ".join(f"--{name}" for name in given)
        raise click.UsageError(f"{told} beside --snapshot: a captured file is read instead of a cluster")


def read_label(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A DNS label, as namespaces have for a name; the callback of an option."""
    if value is not None and not NAME.fullmatch(value):
        told = f"{value!r}; expected the name of a {param.name}: up to 63 lower-case letters, digits and dashes"
        raise click.BadParameter(told, ctx=ctx, param=param)
    return value


def _read_book(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """What may begin the name of a ConfigMap."""
    if not labels.is_subdomain(value):
        told = f"{value!r}; expected the full name of a release: lower-case letters, digits, dashes and dots"
        raise click.BadParameter(told, ctx=ctx, param=param)
    return value


def read_workload(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """``namespace/kind/name``, whether or not it is there; the callback of an option or argument."""
    try:
        if value is not None:
            WorkloadKey.parse(value)
    except ValueError as exc:
        raise click.BadParameter(printable(str(exc)), ctx=ctx, param=param) from exc
    return value


def cluster_options(command: Command) -> Command:
    """``--kubeconfig``, ``--context``, ``-n`` and ``--book``, handed over as ``access``."""
    names = ("kubeconfig", "context", "namespace", "book")

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("snapshot_file") is not None:
            _refuse_beside_snapshot(names)
        return command(*args, access=Access(**{name: kwargs.pop(name) for name in names}), **kwargs)

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in (
        click.option(
            "--book",
            default=BOOK,
            callback=_read_book,
            show_default=True,
            help="Name of the verdict book: the release's full name.",
        ),
        click.option(
            "-n",
            "--namespace",
            callback=read_label,
            help="Namespace of the verdict book; where the release is. [default: the context's]",
        ),
        click.option("--context", help="Context of the kubeconfig."),
        click.option(
            "--kubeconfig", help="Path of a kubeconfig. [default: KUBECONFIG, else ~/.kube/config, else in-cluster]"
        ),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


config_option = click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="Configuration file, YAML. [default: all defaults]"
)

snapshot_option = click.option(
    "--snapshot",
    "snapshot_file",
    type=click.Path(path_type=Path),
    help="A captured file or sync's directory, instead of a cluster.",
)


def output_option() -> Callable[[Command], Command]:
    """``-o``, with the same formats everywhere; ``wide`` is ``table`` where there is nothing more to tell."""
    return click.option("-o", "--output", type=click.Choice(FORMATS), default="table", show_default=True)


def read_configuration(file: Path | None) -> Configuration:
    """The file's content, or all defaults. Raises InputError, ConfigurationError."""
    if file is None:
        return Configuration()
    try:
        return load(file.read_text(encoding="utf-8"), source=str(file))
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{file}: cannot be read ({getattr(exc, 'strerror', None) or 'not UTF-8'})") from exc


def note_defaults(config_file: Path | None) -> None:
    """Say on stderr that modes and budgets are those of no release; a page that counts by them would mislead."""
    if config_file is None:
        click.echo("note: no --config, so modes and budgets are the defaults (mode: observe)", err=True)


def read_snapshot(path: Path, *, config_file: Path | None = None) -> Snapshot:
    """A captured file, or the directory that sync keeps. Raises InputError, SnapshotError.

    It has the policy that it was captured with: a file given beside it would be passed over without a word.
    """
    from webhook.adapters.snapshots import META, load  # noqa: PLC0415

    if config_file is not None:
        raise click.UsageError(
            "--config beside --snapshot: a snapshot is read with the configuration it was captured with"
        )
    if path.is_dir() and not (path / META).exists():
        raise InputError(f"{path} holds no snapshot; `spot-balancer sync --snapshot-dir {path}` keeps one there")
    return load(path)


def parse_bind(bind: str, *, option: str = "--bind") -> tuple[str, int]:
    """``HOST:PORT``; an IPv6 address stands in brackets."""
    host, colon, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    # Five digits hold every port; more may be more than int() takes.
    if not colon or not host or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise click.BadParameter(f"{bind!r} is not HOST:PORT, as in 127.0.0.1:8443", param_hint=option)
    return host, int(port)


def check_free(host: str, port: int, *, option: str = "--bind") -> None:
    """Told now, in a sentence, rather than by the server's fifth attempt. Raises InputError."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.closing(socket.socket(family, kind)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as exc:
        why = getattr(exc, "strerror", None) or str(exc)
        raise InputError(f"cannot listen on {host}:{port} ({why}); choose another {option}") from exc


def capture_cluster(access: Access, configuration: Configuration, *, with_census: bool = False) -> Snapshot:
    """Read a cluster and its book once; ``with_census`` what moves are planned from too. Raises ClusterError."""
    from webhook.adapters.cluster import Cluster  # noqa: PLC0415
    from webhook.adapters.kubeapi import connect  # noqa: PLC0415
    from webhook.adapters.verdict_book import ConfigMapBook  # noqa: PLC0415
    from webhook.jobs.sync import capture  # noqa: PLC0415

    api = connect(access.kubeconfig, access.context)
    cluster = Cluster(api, clock, constraints=with_census)
    book = ConfigMapBook(api, access.namespace or api.namespace, access.book)
    usage = usage_of(configuration)
    told = usage.version() if usage else ""
    versions = {"prometheus": told} if told else {}
    with told_if_slow():
        return capture(
            cluster,
            book,
            configuration.policy,
            now=clock(),
            versions=versions,
            usage=usage,
            keeps_census=with_census,
        )


def given_snapshot(
    file: Path | None, access: Access, config_file: Path | None, *, with_census: bool = False
) -> Snapshot:
    """Of ``--snapshot``, or of the cluster. Raises InputError, SnapshotError, ClusterError."""
    if file is not None:
        return read_snapshot(file, config_file=config_file)
    configuration = read_configuration(config_file)
    try:
        return capture_cluster(access, configuration, with_census=with_census)
    except (InputError, ClusterUnavailable) as exc:
        if isinstance(exc, ClusterUnavailable) and exc.status:
            # There is a cluster, and it answered.
            raise
        hint = "--snapshot reads a captured file instead of a cluster, such as examples/demo.snapshot.json"
        raise type(exc)(f"{exc}; {hint}") from exc


@contextlib.contextmanager
def told_if_slow(call_seconds: float = CALL_SECONDS) -> Iterator[None]:
    """Say on stderr that it is waited for, where the API server keeps silent: else nothing tells it from a hang of ours."""
    text = f"the API server has not answered yet; each call waits for up to {call_seconds:g}s"
    timer = threading.Timer(SLOW_SECONDS, lambda: click.echo(text, err=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def open_book(access: Access, seconds: Callable[[], float] = lambda: CALL_SECONDS) -> VerdictBook:
    """The verdict book of a cluster; nothing is read yet. ``seconds`` bounds each call. Raises InputError."""
    from webhook.adapters.kubeapi import connect  # noqa: PLC0415
    from webhook.adapters.verdict_book import ConfigMapBook  # noqa: PLC0415

    api = connect(access.kubeconfig, access.context)
    return ConfigMapBook(api, access.namespace or api.namespace, access.book, seconds=seconds)


def open_control(access: Access, seconds: Callable[[], float] = lambda: CALL_SECONDS) -> ControlBook:
    """The same book, to change its control object."""
    return cast("ControlBook", open_book(access, seconds))


def known(control: Control, access: Access) -> Control:
    """The control object itself. Raises InputError for one without content: what is paused there would go on elsewhere."""
    if control == Control() and control.paused is None:
        raise InputError(
            f"no monitor has written to a book {access.book} in {_namespace_of(access)}; "
            "-n and --book name the release's, and `kubectl get configmaps -A -l "
            "app.kubernetes.io/component=verdict-book` lists all"
        )
    return control


def _namespace_of(access: Access) -> str:
    if access.namespace:
        return f"namespace {access.namespace}"
    from webhook.adapters.kubeapi import connect  # noqa: PLC0415

    try:
        return f"namespace {connect(access.kubeconfig, access.context).namespace}, which is the context's"
    except InputError:
        # It was reached a moment ago by the same words.
        return "the context's namespace"


def matching(text: str, keys: Iterable[WorkloadKey]) -> WorkloadKey | None:
    """The workload meant, kind in any case or kubectl's short form; None where it is not there. Raises InputError."""
    try:
        key = WorkloadKey.parse(text)
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    kind = SHORT.get(key.kind.lower(), key.kind).lower().rstrip("s")
    meant = (known for known in keys if (known.namespace, known.name) == (key.namespace, key.name))
    return next((known for known in meant if known.kind.lower().rstrip("s") == kind), None)


def find_key(text: str, keys: Iterable[WorkloadKey], *, where: str) -> WorkloadKey:
    """As ``matching``. Raises InputError that names the nearest ones."""
    there = tuple(keys)
    found = matching(text, there)
    if found is not None:
        return found
    names = [str(one) for one in there]
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.4) or names[:3]
    hint = f"; the nearest: {', '.join(near)}" if near else "; it holds no workloads"
    raise InputError(printable(f"no workload {text} in {where}{hint}"))


def read_duration(ctx: click.Context, param: click.Parameter, value: str) -> timedelta:
    """``90s``, ``15m``, ``1h30m``, as in the configuration file; the callback of an option."""
    try:
        return duration(value)
    except FaultError as fault:
        raise click.BadParameter(f"{value!r}; expected {fault}", ctx=ctx, param=param) from fault


def usage_of(configuration: Configuration) -> "Prometheus | None":
    """The Prometheus that the configuration names, or None."""
    if configuration.prometheus is None:
        return None
    from webhook.adapters.usage import Prometheus  # noqa: PLC0415

    return Prometheus(configuration.prometheus)


def print_structured(value: Any, output: str) -> None:
    """As JSON or YAML, camelCase, times in RFC 3339."""
    plain = msgspec.to_builtins(value, str_keys=True)
    if output == "json":
        click.echo(json.dumps(plain, indent=2))
    else:
        click.echo(yaml.safe_dump(plain, sort_keys=False).rstrip())


def printable(text: str) -> str:
    """Without what a terminal would obey: a snapshot may come from anybody."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def rows(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Columns as kubectl prints them."""
    table = [list(header), *(list(map(printable, line)) for line in lines)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


class Progress:
    """A line on stderr that is written over, where somebody can see it."""

    def __init__(self, seed: int) -> None:
        self._seed, self._is_shown = seed, sys.stderr.isatty()

    def show(self, text: str, *, ended: bool) -> None:
        """How far it is; once it ended, the line stays."""
        if self._is_shown:
            click.echo(f"\rseed {self._seed}: {text}{chr(10) if ended else ' '}", nl=False, err=True)


def is_colourful(choice: str) -> bool:
    """Whether to use colour: ``always``, ``never``, or by terminal and NO_COLOR."""
    if choice != "auto":
        return choice == "always"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
