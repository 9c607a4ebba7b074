"""`spot-balancer simulate balance`: hours of new pods on simulated nodes, and how even the load becomes by whose rule."""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from statistics import fmean

import click
import msgspec

from webhook.cli.common import (
    STRUCTURED,
    Progress,
    config_option,
    output_option,
    print_structured,
    read_configuration,
    rows,
)
from webhook.cli.json_file import json_option, write_json
from webhook.simulation.balance import POLICIES, Cell, Result, Summary, simulate, summed_up
from webhook.simulation.balance_world import Setting

_USUAL = Setting()


def _number(ctx: click.Context, param: click.Parameter, value: float) -> float:
    """A range alone lets nan pass, which is neither below nor above anything."""
    if math.isnan(value):
        raise click.BadParameter("nan is no number from 0 to 1", ctx=ctx, param=param)
    return value


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
    callback=_number,
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
@json_option
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

    The load, its metrics and the scheduler are synthetic; `balance` of the configuration holds, except that its
    maxAge is raised to five minutes more than --staleness where it is less, which the output then says. The same options and seed give the same answer.
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
        simulate(Cell(setting, staleness, number), balance, progress=_progress(number))
        for number in range(seed, seed + seeds)
    ]
    document = {"schemaVersion": 1, "results": [msgspec.to_builtins(result) for result in results]}
    if output in STRUCTURED:
        print_structured(document, output)
    else:
        click.echo("\n".join(_page(results, pods, balance.max_age)))
    # Last: who cannot write it, for a disk that is full by now, has seen the result all the same.
    if json_file is not None:
        write_json(json_file, document)
    return 0


def _progress(seed: int) -> Callable[[str], None]:
    line, done = Progress(seed), count(1)

    def tell(policy: str) -> None:
        number = next(done)
        line.show(f"{number} of {len(POLICIES)} policies, {policy:<20}", ended=number == len(POLICIES))

    return tell


def _page(results: Sequence[Result], at_once: int, max_age: timedelta) -> Iterable[str]:
    """``at_once`` is how many pods run at one time, about; ``max_age`` what the configuration says."""
    one = results[0]
    seeds = f"seed {one.seed}" if len(results) == 1 else f"{len(results)} seeds from {one.seed} on, means"
    whole = f"{fmean(result.pods for result in results):.0f} pods over the whole run, about {at_once} at once"
    yield f"{one.nodes} nodes, {whole}, in rollouts of {one.burst}, correlation {one.correlation:g}, {seeds}"
    off = "off by x 0.1 to x 10" if one.requests_off else "what is used"
    said = max_age.total_seconds() / 60
    raised = f"{said:g} min" if one.max_age_minutes == said else f"raised from {said:g} to {one.max_age_minutes:g} min"
    yield f"metrics {one.staleness_minutes} min old, maxAge {raised}; requests {off}"
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
