"""`spot-balancer monitor`: one run, or one a minute for whoever holds the Lease."""

import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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
from webhook.configuration import Configuration
from webhook.core.rules import may_move
from webhook.errors import ClusterError, InputError
from webhook.jobs.monitor import UNREACHED, MonitorReport, run_once
from webhook.jobs.mover import MoverDeps, MoveReport
from webhook.jobs.selftest import probe_and_warn

if TYPE_CHECKING:
    from webhook.adapters.kubeapi import KubeApi
    from webhook.adapters.lease import Lease
    from webhook.adapters.usage import Prometheus

_EVERY_SECONDS = 60.0
_RENEW_SECONDS = 3.0


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
@click.option("--dry-run", is_flag=True, help="Judge, plan and ask the API server by dry run; write nothing.")
@click.option("--loop", is_flag=True, help="A run a minute until stopped, while the Lease <book>-monitor is ours.")
@output_option()
def command(config_file: Path | None, dry_run: bool, loop: bool, output: str, access: Access) -> int:  # noqa: FBT001
    """Ask Prometheus once, judge every workload, turn sides, write the verdict book, and move running pods.

    Pods are moved where `mode: move` says so. Exit code 3 when Prometheus told nothing, or moves broke off.
    """
    logs.configure("info")
    if loop and dry_run:
        raise click.UsageError("--loop beside --dry-run: a dry run is one run")
    configuration = read_configuration(config_file)
    usage = usage_of(configuration)
    if usage is None:
        raise InputError("no Prometheus: name it in the configuration file, as in `prometheus: {url: http://...}`")
    from webhook.adapters.kubeapi import connect  # noqa: PLC0415

    api = connect(access.kubeconfig, access.context)
    # A run that is stopped gives its hold on moves back; what was begun is in the book.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if loop:
        return _loop(api, usage, config_file, output, access)
    report = _run(api, usage, configuration, access, dry_run=dry_run)
    _print(report, output, dry_run=dry_run)
    return 0 if report.did_its_work else TROUBLE


def _run(  # noqa: PLR0913 - what a run is made of
    api: "KubeApi",
    usage: "Prometheus",
    configuration: Configuration,
    access: Access,
    *,
    dry_run: bool = False,
    may_write: Callable[[], bool] = lambda: True,
) -> MonitorReport:
    from webhook.adapters.cluster import Cluster  # noqa: PLC0415
    from webhook.adapters.events import KubeRecorder  # noqa: PLC0415
    from webhook.adapters.moves import KubeWorkloads  # noqa: PLC0415
    from webhook.adapters.verdict_book import ConfigMapBook  # noqa: PLC0415

    book = ConfigMapBook(api, access.namespace or api.namespace, access.book)
    mover = MoverDeps(
        workloads=KubeWorkloads(api),
        book=book,
        recorder=KubeRecorder(api),
        clock=clock,
        sleep=time.sleep,
        holder=_holder(),
        may_write=may_write,
    )
    cluster = Cluster(api, clock, constraints=may_move(configuration.policy))
    with _uncollected():
        report = run_once(cluster, usage, book, configuration.policy, clock, mover=mover, dry_run=dry_run)
    # After the book is written: a slow answer to it must not cost a run.
    if report.usage_code not in UNREACHED:
        probe_and_warn(usage, configuration.policy, clock)
    return report


def _holder() -> str:
    """Names this run among others: a pod's host name is its own."""
    return f"{socket.gethostname()}-{os.getpid()}"


def _loop(api: "KubeApi", usage: "Prometheus", config_file: Path | None, output: str, access: Access) -> int:
    """A run a minute while the Lease is ours; the configuration is read anew for each. SIGTERM ends it after the run."""
    from webhook.adapters.lease import Lease  # noqa: PLC0415

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    lease = Lease(api, access.namespace or api.namespace, f"{access.book}-monitor", _holder(), clock)
    due = 0.0
    with _renewing(lease, stop):
        while not stop.is_set():
            if lease.holds() and time.monotonic() >= due:
                due = time.monotonic() + _EVERY_SECONDS
                _one_of_many(
                    api, usage, config_file, output, access, may_write=lambda: lease.holds() and not stop.is_set()
                )
            stop.wait(1.0)
    return 0


def _one_of_many(  # noqa: PLR0913
    api: "KubeApi",
    usage: "Prometheus",
    config_file: Path | None,
    output: str,
    access: Access,
    *,
    may_write: Callable[[], bool],
) -> None:
    """One run whose trouble is told and does not end the loop: the next minute is the retry."""
    try:
        report = _run(api, usage, read_configuration(config_file), access, may_write=may_write)
    except (ClusterError, InputError) as exc:
        click.echo(f"error: {exc}", err=True)
    else:
        _print(report, output, dry_run=False)


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
        click.echo(f"over max-spot: {count} pod(s) of {name}; {_excess_goes(report)}")
    for kind in report.missing_kinds:
        click.echo(f"not readable: {kind}; its workloads keep what the book says")
    if report.moves:
        _print_moves(report.moves, dry_run=dry_run)
    if report.alarm:
        click.echo(f"warning: {report.alarm}: {report.alarm_reason}; nobody turns to spot until that is over", err=True)
    if report.usage_problem:
        click.echo(f"error: no usage: {report.usage_problem}; sides stay as they are", err=True)
    if dry_run:
        click.echo("dry run: nothing was written")


def _excess_goes(report: MonitorReport) -> str:
    return "moves bring them back" if report.moves else "new ones draw against what is left"


def _print_moves(moves: MoveReport, *, dry_run: bool) -> None:
    """Moves as people read them."""
    if moves.held_by:
        click.echo(f"moves: left to {moves.held_by}, which moves at this moment")
        return
    lines = [(str(m.workload), m.way.value, f"to {m.to}", m.pod, m.node, m.destination or "-") for m in moves.started]
    if lines:
        click.echo()
        heading = "WOULD START" if dry_run else "STARTED"
        click.echo(rows((heading, "WAY", "SIDE", "POD", "FROM", "PROVEN NODE"), lines))
    ended = [(str(m.workload), m.outcome.value, m.landed_on or "-", m.note) for m in moves.finished]
    if ended:
        click.echo()
        click.echo(rows(("ENDED", "OUTCOME", "LANDED ON", "NOTE"), ended))
    for code, count in moves.considered.items():
        if code not in ("starts", "settled"):
            click.echo(f"not moved: {count} {code}")
    click.echo(f"moves in flight: {len(moves.in_flight)}")
    if moves.missed_admissions:
        click.echo(f"created unstamped: {moves.missed_admissions} pod(s), while the webhook could not be asked")
    for why in moves.frozen:
        click.echo(f"frozen: nothing moves to spot: {why}", err=True)
    for refused in moves.refused:
        click.echo(f"refused: {refused}", err=True)
    if moves.problem:
        click.echo(f"error: moves: {moves.problem}; the next run goes on with what is under way", err=True)


@contextmanager
def _renewing(lease: "Lease", stop: threading.Event) -> Iterator[None]:
    """Renew on a thread of its own: a run takes longer than the Lease lasts."""

    def renew() -> None:
        try:
            while not stop.is_set():
                try:
                    lease.acquire_or_renew()
                except ClusterError as exc:
                    click.echo(f"error: no Lease: {exc}", err=True)
                stop.wait(_RENEW_SECONDS)
        finally:
            # A loop that nobody renews for would idle for ever; one that ends is started anew.
            stop.set()

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(2 * _RENEW_SECONDS)
        lease.release()
