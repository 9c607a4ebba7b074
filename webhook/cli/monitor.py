"""`spot-balancer monitor`: one run."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from webhook import logs
from webhook.cli.common import (
    STRUCTURED,
    TROUBLE,
    Access,
    clock,
    cluster_options,
    config_option,
    output_option,
    print_structured,
    read_configuration,
    rows,
    usage_of,
)
from webhook.core.book import Book
from webhook.core.rules import every_signal
from webhook.errors import InputError
from webhook.jobs.monitor import UNREACHED, MonitorReport, run_once
from webhook.jobs.selftest import probe_and_warn
from webhook.ports import VerdictBook


class _ReadOnlyBook:
    """A book that is read and never written."""

    def __init__(self, book: VerdictBook) -> None:
        self._book = book

    def read(self) -> Book:
        return self._book.read()

    def write(self, old: Book, new: Book) -> int:  # noqa: ARG002
        return 0


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without looking for cycles: one run holds nearly all it makes to its end, and the search was a tenth of its CPU."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@click.command("monitor", epilog="Example: spot-balancer monitor --config config.yaml -n spot-balancer --dry-run")
@config_option
@cluster_options
@click.option("--dry-run", is_flag=True, help="Judge and report, write nothing.")
@output_option()
def command(config_file: Path | None, dry_run: bool, output: str, access: Access) -> int:  # noqa: FBT001
    """Ask Prometheus once, judge every workload, turn sides, write the verdict book.

    Exit code 3 when Prometheus told nothing: then nobody's side changed.
    """
    logs.configure("info")
    configuration = read_configuration(config_file)
    usage = usage_of(configuration)
    if usage is None:
        raise InputError("no Prometheus: name it in the configuration file, as in `prometheus: {url: http://...}`")
    from webhook.adapters.cluster import Cluster  # noqa: PLC0415
    from webhook.adapters.kubeapi import connect  # noqa: PLC0415
    from webhook.adapters.verdict_book import ConfigMapBook  # noqa: PLC0415

    api = connect(access.kubeconfig, access.context)
    book: VerdictBook = ConfigMapBook(api, access.namespace or api.namespace, access.book)
    with _uncollected():
        kept = _ReadOnlyBook(book) if dry_run else book
        report = run_once(Cluster(api, clock), usage, kept, configuration.policy, clock)
    # After the book is written: a slow answer to it must not cost a run.
    if report.usage_code not in UNREACHED:
        probe_and_warn(usage, every_signal(configuration.policy), clock)
    _print(report, output, dry_run=dry_run)
    return 0 if report.did_its_work else TROUBLE


def _counts(report: MonitorReport, *, wide: bool) -> tuple[tuple[str, ...], list[list[str]]]:
    header: tuple[str, ...] = ("WORKLOADS", "IDLE", "ACTIVE", "UNKNOWN", "OBJECTS WRITTEN")
    counts = [report.workloads, report.idle, report.active, report.unknown, report.objects_written]
    if not wide:
        return header, [[str(n) for n in counts]]
    counts += [len(report.forgotten), report.queries, report.dropped_values]
    took = f"{(report.finished_at - report.started_at).total_seconds():.1f}s"
    return (*header, "FORGOTTEN", "QUERIES", "DROPPED VALUES", "TOOK"), [[*(str(n) for n in counts), took]]


def _print(report: MonitorReport, output: str, *, dry_run: bool) -> None:
    if output in STRUCTURED:
        print_structured({"schemaVersion": 1, **msgspec.to_builtins(report)}, output)
        return
    click.echo(rows(*_counts(report, wide=output == "wide")))
    if report.changes:
        click.echo()
        lines = [(c.workload, f"{c.before} -> {c.after}", c.reason) for c in report.changes]
        click.echo(rows(("WORKLOAD", "SIDE", "WHY"), lines))
    for reason, count in sorted(report.unknown_reasons.items()):
        click.echo(f"unknown: {count} {reason}")
    for name, count in report.over_max_spot.items():
        click.echo(f"over max-spot: {count} pod(s) of {name}; new ones draw against what is left")
    for kind in report.missing_kinds:
        click.echo(f"not readable: {kind}; its workloads keep what the book says")
    if report.alarm:
        click.echo(f"warning: {report.alarm}: {report.alarm_reason}; nobody turns to spot until that is over", err=True)
    if report.usage_problem:
        click.echo(f"error: no usage: {report.usage_problem}; sides stay as they are", err=True)
    if dry_run:
        click.echo("dry run: nothing was written")
