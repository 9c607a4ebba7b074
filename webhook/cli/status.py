"""`spot-balancer status`: who is on which side, what is moving, and what holds moves up."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import click
import msgspec

from webhook.cli import render
from webhook.cli.common import (
    STRUCTURED,
    Access,
    capture_cluster,
    cluster_options,
    config_option,
    known,
    note_defaults,
    open_book,
    output_option,
    print_structured,
    printable,
    read_configuration,
    rows,
    told_if_slow,
)
from webhook.cli.pause import moves_table
from webhook.configuration import Configuration
from webhook.core.standing import BudgetLeft, Freeze, SideCount, SpotShare, Standing, stand

MOST_NAMESPACES = 10
"""In the table; `-o wide` has all."""


@click.command("status", epilog="Example: spot-balancer status --config config.yaml -n spot-balancer")
@config_option
@cluster_options
@output_option()
def command(config_file: Path | None, output: str, access: Access) -> None:
    """Tell how many workloads are on which side, the moves in flight, the budget left, and what holds moves up.

    Give the release's configuration by --config: modes and budgets are counted by it. It needs a cluster: a snapshot
    file holds no moves.
    """
    configuration = read_configuration(config_file)
    note_defaults(config_file)
    with told_if_slow():
        control = known(open_book(access).read().control, access)
    # Nothing here is about load, so Prometheus is left alone.
    snapshot = capture_cluster(access, Configuration(policy=configuration.policy))
    show(stand(control, snapshot, now=snapshot.meta.captured_at), output)


def show(standing: Standing, output: str) -> None:
    """Print it in one of the formats."""
    if output in STRUCTURED:
        print_structured({"schemaVersion": 1, **msgspec.to_builtins(standing)}, output)
    else:
        click.echo("\n".join(as_text(standing, wide=output == "wide")))


def as_text(standing: Standing, *, wide: bool) -> list[str]:
    """The page that people read: when, what holds moves up, sides, shares, moves, budgets."""
    now = standing.at
    nodes = f"{standing.spot_nodes_ready} of {standing.spot_nodes} spot nodes Ready"
    lines = [
        f"as of {now:%Y-%m-%d %H:%M:%S}Z; the monitor ran {render.ago(standing.heartbeat, now)}; {nodes}",
        *(_freeze(one, now) for one in standing.freezes),
        *([] if standing.freezes else ["nothing holds moves up"]),
        "",
        _sides(standing.sides),
        *_shares(standing.namespaces, wide=wide),
        "",
        moves_table(standing.moves, wide=wide, now=now) if standing.moves else "no move is in flight",
        "",
        rows(("TO", "BUDGET LEFT", "LIMIT", "USED", "WITHIN"), [_budget(one) for one in standing.budgets]),
    ]
    return [*lines, *_given_up(standing.given_up, wide=wide)]


def _freeze(freeze: Freeze, now: datetime) -> str:
    what = f"nothing moves to {freeze.to}" if freeze.to else "nothing moves"
    since = f", since {render.span(now - freeze.since)}" if freeze.since else ""
    return printable(f"{what} ({freeze.code}{since}): {freeze.reason}")


def _sides(sides: tuple[SideCount, ...]) -> str:
    if not sides:
        return "no workload is there"
    cells = [(one.mode.value, str(one.regular), str(one.spot), str(one.left_alone)) for one in sides]
    return rows(("MODE", "REGULAR", "SPOT", "LEFT ALONE"), cells)


def _shares(namespaces: tuple[SpotShare, ...], *, wide: bool) -> Iterator[str]:
    if not namespaces:
        return
    most = sorted(namespaces, key=lambda one: (-one.pods_on_spot, -one.pods, one.namespace))
    shown = namespaces if wide else most[:MOST_NAMESPACES]
    cells = [(o.namespace, str(o.workloads), str(o.pods), str(o.pods_on_spot), f"{o.share:.0%}") for o in shown]
    yield ""
    yield rows(("NAMESPACE", "WORKLOADS", "PODS", "ON SPOT", "SHARE"), cells)
    if len(shown) < len(namespaces):
        yield f"and {len(namespaces) - len(shown)} more; -o wide has all"


def _budget(one: BudgetLeft) -> tuple[str, ...]:
    of = "workloads that may move" if one.to == "spot" else "pods on spot"
    window = render.span(timedelta(seconds=one.window_seconds))
    return (one.to.value, str(one.left), f"{one.limit} of {one.whole} {of}", str(one.used), window)


def _given_up(names: tuple[str, ...], *, wide: bool) -> Iterator[str]:
    if not names:
        return
    shown = names if wide else names[:MOST_NAMESPACES]
    yield ""
    yield f"given up for a day: {len(names)}; `spot-balancer resume --workload` tries one again"
    yield from (printable(f"  {name}") for name in shown)
    if len(shown) < len(names):
        yield f"  and {len(names) - len(shown)} more; -o wide has all"
