"""The worked example of docs/balancing.md is what the code computes."""

from pathlib import Path

from tests.core import scoring_oracle
from tests.core.scoring_worlds import TIME, node, pod, rows_of, world
from webhook.core.nodetable import table
from webhook.core.scoring import parts, score

PAGE = Path(__file__).parents[2] / "docs" / "balancing.md"
WEIGHTS = {"noisy": 1.0, "quiet": 3.0}
EXPECTED = 0.04
CORES = 4.0


def cells(first):
    """The rows of the table whose header begins with these words, without the header."""
    lines = PAGE.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |")) + 2
    table_lines = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table_lines.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return table_lines


def example():
    nodes = [
        node(name, float(load) / 100, use={"noisy": float(noisy) / 100, "quiet": float(quiet) / 100})
        for name, load, noisy, quiet in cells("node | load")
    ]
    return world(*nodes, weights=WEIGHTS)


def test_the_worked_example_is_what_the_code_computes():
    snapshot = example()
    ground, names = table(snapshot), list(snapshot.nodes)
    told = []
    for who, weight in WEIGHTS.items():
        next_pod = pod(EXPECTED * CORES, namespace=who)
        scores = score(ground, next_pod, rows_of(snapshot, names), now=TIME).scores.tolist()
        for name, its_score in zip(names, scores, strict=True):
            made = parts(ground, next_pod, ground.index[name], now=TIME)
            predicted = float(made.mean[0] + made.expected[0])
            use = snapshot.nodes[name].load.namespaces[who].cpu_cores / CORES + EXPECTED
            part = weight / sum(WEIGHTS.values())
            assert abs(scoring_oracle.excess(use, predicted, part) - made.excess[0]) < 1e-12
            figures = (predicted, use, predicted * part, float(made.excess[0]), made.risk)
            told.append([who, name, *(f"{100 * figure:.0f}" for figure in figures), str(its_score)])
    assert told == cells("next pod of")


def test_the_sources_told_are_those_there_are():
    from webhook.core.expectation import Source

    assert [row[0] for row in cells("source")] == [source.value for source in Source]
