"""`spot-balancer simulate balance`: hours of new pods on simulated nodes, and how even the load becomes by whose rule."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import msgspec

from webhook.cli.common import STRUCTURED, config_option, output_option, print_structured, read_configuration, rows
from webhook.errors import InputError
from webhook.simulation.balance import POLICIES, Cell, Result, Summary, simulate, summed_up
from webhook.simulation.balance_world import Setting

_USUAL = Setting()


@click.command(
    "balance", epilog="Example: spot-balancer simulate balance --burst 40 --staleness 5 --requests-off --seeds 3"
)
@click.option("--burst", type=click.IntRange(1, 1_000), default=40, show_default=True, help="Pods of a rollout.")
@click.option(
    "--staleness", type=click.IntRange(0, 60), default=5, show_default=True, help="Age of metrics, in minutes."
)
@click.option(
    "--requests-off/--requests-right", default=False, show_default=True, help="Off by x 0.1 to x 10, or what is used."
)
@click.option(
    "--correlation",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="How alike the pods of an owner are.",
)
@click.option("--nodes", type=click.IntRange(2, 1_000), default=_USUAL.nodes, show_default=True)
@click.option("--pods", type=click.IntRange(1, 10_000), default=_USUAL.pods, show_default=True, help="At once, about.")
@click.option(
    "--hours",
    type=click.IntRange(2, 24),
    default=_USUAL.minutes // 60,
    show_default=True,
    help="After the first, in which the cluster fills.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of nodes, pods and chance.")
@click.option("--seeds", type=click.IntRange(1, 1_000), default=1, show_default=True, help="How many, from --seed on.")
@config_option
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Also write JSON to a file.")
@output_option()
def command(  # noqa: PLR0913 - click hands over every option by its name
    *,
    burst: int,
    staleness: int,
    requests_off: bool,
    correlation: float,
    nodes: int,
    pods: int,
    hours: int,
    seed: int,
    seeds: int,
    config_file: Path | None,
    json_file: Path | None,
    output: str,
) -> int:
    """Place the pods of some hours by the scores that serve, and by other policies, on the same nodes.

    The load, its metrics and the scheduler are synthetic; `balance` of the configuration holds, except that metrics older
    than its maxAge are let count, which the output then says. The same options and seed give the same answer.
    """
    balance = read_configuration(config_file).policy.balance
    setting = Setting(
        burst=burst,
        requests_off=requests_off,
        correlation=correlation,
        nodes=nodes,
        pods=pods,
        minutes=60 * hours,
    )
    results = [
        simulate(Cell(setting, staleness, number), balance, progress=_Progress(number))
        for number in range(seed, seed + seeds)
    ]
    document = {"schemaVersion": 1, "results": [msgspec.to_builtins(result) for result in results]}
    if json_file is not None:
        _write(json_file, document)
    if output in STRUCTURED:
        print_structured(document, output)
    else:
        click.echo("\n".join(_page(results)))
    return 0


def _write(path: Path, document: object) -> None:
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    except OSError as exc:
        raise InputError(f"{path}: cannot be written ({exc.strerror})") from exc


class _Progress:
    """A line on stderr that is written over, where somebody can see it."""

    def __init__(self, seed: int) -> None:
        self._seed, self._is_shown, self._done = seed, sys.stderr.isatty(), 0

    def __call__(self, policy: str) -> None:
        self._done += 1
        if self._is_shown:
            end = "\n" if self._done == len(POLICIES) else ""
            click.echo(
                f"\rseed {self._seed}: {self._done} of {len(POLICIES)} policies, {policy:<20}{end}", nl=False, err=True
            )


def _page(results: Sequence[Result]) -> Iterable[str]:
    one = results[0]
    seeds = f"seed {one.seed}" if len(results) == 1 else f"{len(results)} seeds from {one.seed} on, means"
    yield f"{one.nodes} nodes, {one.pods} pods in rollouts of {one.burst}, correlation {one.correlation:g}, {seeds}"
    off = "off by x 0.1 to x 10" if one.requests_off else "what is used"
    yield f"metrics {one.staleness_minutes} min old, maxAge {one.max_age_minutes:g} min; requests {off}"
    yield ""
    header = ("POLICY", "DEVIATION", "TO THE ORACLE", "NODE-MINUTES ABOVE 65 %", "P95", "HERD", "LEFT OUT")
    yield rows(header, [_line(summary) for summary in summed_up(results)])
    yield "Deviation is the standard deviation of the nodes' CPU share at one time, its mean over time."


def _line(one: Summary) -> tuple[str, ...]:
    return (
        one.policy,
        f"{one.deviation_percent:.2f} %",
        f"{one.to_oracle_percent:+.0f} %",
        f"{one.hot_node_minutes:.0f}",
        f"{one.p95_percent:.1f} %",
        f"{one.herd_index:.2f}",
        f"{one.left_out:.0f}",
    )
