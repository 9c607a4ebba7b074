"""Samples with time stamps as OpenMetrics text, and the blocks of a Prometheus that promtool makes of it.

A load of full size is gigabytes of text, so that lines are made one by one and nothing holds them all.
"""

import random
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tests.parts import fetch

Progress = Callable[[str], None]
Samples = list[str]
"""What follows the labels in each line of one series, its line break included; in the order of time."""


def steady(value: float, times: Sequence[int]) -> Samples:
    """A gauge that stays as it is. ``times`` are Unix seconds, here and below."""
    return [f" {value} {time}\n" for time in times]


def counter(rng: random.Random, times: Sequence[int], *, lowest: float, highest: float) -> Samples:
    """A counter whose mean rate a second is drawn between the two; from one sample to the next, from half of it to 1.5 times."""
    rate, total, before, lines = rng.uniform(lowest, highest), 0.0, None, []
    for time in times:
        seconds = (times[1] - times[0]) if before is None else time - before
        total += rate * seconds * rng.uniform(0.5, 1.5)
        lines.append(f" {total:.3f} {time}\n")
        before = time
    return lines


def family(name: str, series: Iterable[tuple[str, Samples]]) -> Iterator[str]:
    """The text of one metric, which OpenMetrics wants in one piece: (labels, samples) of each series."""
    kind = "counter" if name.endswith("_total") else "gauge"
    yield f"# TYPE {name.removesuffix('_total')} {kind}\n"
    for labels, samples in series:
        prefix = f"{name}{{{labels}}}"
        yield "".join([prefix + sample for sample in samples])


def blocks(families: Iterable[str], data: Path, progress: Progress, *, longest: str = "2h") -> None:
    """Writes the families as blocks into the folder of a server's data, each at most as ``longest`` says.

    Raises subprocess.CalledProcessError.
    """
    text = data.parent / "samples.om"
    with text.open("w", encoding="utf-8") as out:
        out.writelines(families)
        out.write("# EOF\n")
    progress(f"promtool backfills {text.stat().st_size / 1e9:.1f} GB")
    command = [str(fetch.require("promtool").path), "tsdb", "create-blocks-from"]
    command += [f"--max-block-duration={longest}", "openmetrics", "--quiet", str(text), str(data)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    text.unlink()
