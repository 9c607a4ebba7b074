"""`spot-balancer simulate`: what would happen to a load over days, before anything is installed."""

import gc
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from webhook import logs
from webhook.cli.common import (
    STRUCTURED,
    TROUBLE,
    Progress,
    config_option,
    output_option,
    print_structured,
    read_configuration,
    rows,
)
from webhook.cli.json_file import json_option, write_json
from webhook.core import rules
from webhook.core.policy import Policy
from webhook.errors import InputError, WrongInputError
from webhook.simulation import load, traces
from webhook.simulation.engine import Scenario
from webhook.simulation.evidence import Track
from webhook.simulation.result import Result, simulate
from webhook.simulation.weather import CALM, ROUGH

_DAY = 1_440
_QUIET_COLLECTIONS = 50_000
"""Little of what a simulation makes is a cycle, and looking for them takes a tenth of its time."""


class _Simulate(click.Command):
    """With `balance` as its first word, another command; a trace of that name is ./balance."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Hand over to the other command where it is meant."""
        if args[:1] != ["balance"]:
            return super().make_context(info_name, args, parent, **extra)
        from webhook.cli import simulate_balance  # noqa: PLC0415 - only when it is called

        return simulate_balance.command.make_context(f"{info_name} balance", args[1:], parent, **extra)


@click.command(
    "simulate", cls=_Simulate, epilog="Example: spot-balancer simulate usage.csv --config config.yaml --seeds 3"
)
@click.argument("trace", required=False, type=click.Path(path_type=Path))
@click.option("--workloads", type=click.IntRange(1, 5_000), default=200, show_default=True, help="Without a trace.")
@click.option("--days", type=click.IntRange(1, 90), default=7, show_default=True, help="Without a trace.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the load, the weather and chance."
)
@click.option("--seeds", type=click.IntRange(1, 1_000), default=1, show_default=True, help="How many, from --seed on.")
@click.option(
    "--storms/--no-storms",
    default=True,
    show_default=True,
    help="Whether spot is interrupted, nodes flap, Prometheus is away, calls fail and runs are killed.",
)
@config_option
@json_option
@output_option()
def command(  # noqa: PLR0913 - click hands over every option by its name
    trace: Path | None,
    *,
    workloads: int,
    days: int,
    seed: int,
    seeds: int,
    storms: bool,
    config_file: Path | None,
    json_file: Path | None,
    output: str,
) -> int:
    """Play days of a cluster in memory, with the program's own decisions, and tell what they came to.

    The load is synthetic, or TRACE: CSV with the columns time, pod, owner, cpuCores, memoryBytes,
    receivedBytesPerSecond and cpuRequestCores, sorted by time; owner is namespace/Deployment/name. The mode of the
    configuration counts as `move`. The same input and seed give the same answer.

    `simulate balance` plays placements on nodes instead; see `simulate balance --help`.

    Exit code 3 where a promise was broken, 2 where the trace or the configuration is wrong.
    """
    # What fails in a simulated cluster is counted, and no news.
    logs.configure("error")
    _refuse_a_size(trace)
    policy = _policy(config_file)
    _warn(policy)
    gc.set_threshold(_QUIET_COLLECTIONS)
    numbers = range(seed, seed + seeds)
    traced = _traced(trace, policy) if trace else None
    results = []
    for number in numbers:
        tracks = traced or tuple(load.tracks(number, workloads=workloads, days=days, policy=policy))
        if number == seed:
            _warn_of_a_short(tracks, policy)
        scenario = Scenario(tracks=tracks, weather=ROUGH if storms else CALM)
        results.append(simulate(scenario, policy, number, progress=_progress(number)))
    document = {"schemaVersion": 1, "results": [msgspec.to_builtins(result) for result in results]}
    if output in STRUCTURED:
        print_structured(document, output)
    else:
        click.echo("\n\n".join(_page(result, wide=output == "wide") for result in results))
    # Last: who cannot write it, for a disk that is full by now, has seen the result all the same.
    if json_file is not None:
        write_json(json_file, document)
    return 0 if all(result.promises.are_kept for result in results) else TROUBLE


def _refuse_a_size(trace: Path | None) -> None:
    """A trace is as large as it is; to pass over what was asked for would mislead."""
    context = click.get_current_context()
    given = [
        name for name in ("workloads", "days") if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if trace is not None and given:
        told = " and ".join(f"--{name}" for name in given)
        raise click.UsageError(f"{told} beside a trace: a trace has its own workloads and days")


def _policy(config_file: Path | None) -> Policy:
    try:
        return read_configuration(config_file).policy
    except InputError as exc:
        # Never the code of a promise that was broken.
        raise WrongInputError(str(exc)) from exc


def _warn(policy: Policy) -> None:
    if signals := rules.every_signal(policy).signals:
        told = ", ".join(signal.name for signal in signals)
        click.echo(f"signals of your own are in no trace and are left out: {told}", err=True)


def _traced(trace: Path, policy: Policy) -> tuple[Track, ...]:
    try:
        with trace.open("rb") as stream:
            found = traces.read(stream, policy, source=str(trace))
    except OSError as exc:
        raise WrongInputError(f"{trace}: cannot be read ({exc.strerror})") from exc
    except InputError as exc:
        raise WrongInputError(str(exc)) from exc
    gaps = f"; {found.gap_minutes} of {found.pod_minutes} minutes of pods have no value and count as unknown"
    counted = f"{_many(found.lines, 'line')}, {_many(len(found.tracks), 'workload')}"
    click.echo(f"{trace}: {counted}{gaps if found.gap_minutes else ''}", err=True)
    if found.usual_step > traces.STEP_MINUTES:
        click.echo(
            f"warning: {trace}: a pod's samples lie {found.usual_step} minutes apart, and each holds for "
            f"{traces.STEP_MINUTES} at most, so hardly any window is whole and hardly anybody is judged; "
            f"export one every {traces.STEP_MINUTES} minutes or more often",
            err=True,
        )
    return found.tracks


def _warn_of_a_short(tracks: Sequence[Track], policy: Policy) -> None:
    """A load that is over before a window is says nothing of how anybody would be judged."""
    minute = timedelta(minutes=1)
    windows = [_window(track, policy) for track in tracks if track.minutes * minute <= _window(track, policy)]
    if not windows:
        return
    lasts, longest = _lasting(max(track.minutes for track in tracks)), _lasting(max(windows) // minute)
    click.echo(
        f"warning: the load lasts {lasts}, no longer than idle.window ({longest}) of {len(windows)} of "
        f"{_many(len(tracks), 'workload')}: nobody can judge these, so none of them moves; "
        "give a longer load or a shorter window",
        err=True,
    )


def _window(track: Track, policy: Policy) -> timedelta:
    rule = rules.first(policy, track.key, labels={}, namespace_labels={})
    return rules.idle_policy(policy, rule).window


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _lasting(minutes: float) -> str:
    for unit, length in (("day", _DAY), ("hour", 60)):
        if minutes >= length:
            return f"{minutes / length:.4g} {unit}{'' if minutes == length else 's'}"
    return _many(round(minutes), "minute")


def _progress(seed: int) -> Callable[[float], None]:
    line = Progress(seed)
    return lambda share: line.show(f"{share:4.0%}", ended=share >= 1)


def _page(result: Result, *, wide: bool) -> str:
    size = f"{_many(result.workloads, 'workload')}, {_many(result.pods, 'pod')}, {_lasting(result.days * _DAY)}"
    facts = (
        ("seed", f"{result.seed}: {size}"),
        ("weather", _counts(result.weather) or "calm"),
        ("pods moved", f"{result.pods_moved_to_spot} to spot, {result.pods_moved_to_regular} to regular"),
        ("failed moves", _counts(result.failed_moves) or "none"),
        ("pods lost", f"{result.pods_lost} to interruptions and failures"),
        ("held, in hours", _counts(result.held_workload_hours) or "nobody"),
        ("unknown, in hours", _unknown(result)),
        ("promises", _promises(result)),
    )
    rest = result.rest_minutes
    more = (
        ("turns to spot", f"{result.turns_to_spot} of a workload's side"),
        ("at rest", "never" if rest is None else f"{_many(rest, 'minute')} after the load's end"),
    )
    lines = [f"{name:<17} {text}" for name, text in (*facts, *(more if wide else ()))]
    short = (
        ["The load is shorter than a day: moves a workload-day are extrapolated from it."] if result.days < 1 else []
    )
    return "\n".join([*lines, "", *_scores(result), *short])


def _unknown(result: Result) -> str:
    told = _counts(result.unknown_workload_hours)
    return f"{told}, of {result.workload_hours:g} of all workloads" if told else "nobody"


def _promises(result: Result) -> str:
    kept = result.promises
    rest = "at rest at the end" if kept.ended_at_rest else "NOT at rest at the end"
    return (
        f"{kept.pods_beyond_budget} pods beyond a budget, {kept.moves_to_spot_on_unknown} to spot on unknown, "
        f"{kept.moments_below_floor} moments below the floor, {rest}"
    )


def _counts(counts: dict[str, int] | dict[str, float]) -> str:
    return ", ".join(f"{number:g} {what}" for what, number in counts.items())


def _scores(result: Result) -> Iterable[str]:
    header: Sequence[str] = ("RULE", "MOVES A WORKLOAD-DAY", "HOURS ON SPOT", "BUSY MINUTES ON SPOT")
    table = [
        (
            one.rule,
            f"{one.moves_per_workload_day:.2f}",
            f"{one.hours_on_spot:.0f} of {result.workload_hours:.0f}",
            f"{one.busy_minutes_on_spot:.0f}",
        )
        for one in result.scores
    ]
    yield rows(header, table)
    yield "The other rules have no budgets to keep, no weather to bear, and change sides at once."
