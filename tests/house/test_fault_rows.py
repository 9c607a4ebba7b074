"""Each row that docs/faults.md calls covered has a test, and each mark names a row that is there."""

import ast
import re

from tests.house.linters import ROOT, tracked

COVERED = {7, 9, 10, *range(12, 44), *range(49, 68), 70}
LAST_ROW = 70


def documented():
    """(rows of the covered table, rows of the other one)."""
    covered, later = (ROOT / "docs" / "faults.md").read_text().split("## Not covered yet")
    spans = re.findall(r"^\| (\d[\d, -]*) \|", later, re.MULTILINE)
    return {int(row) for row in re.findall(r"^\| (\d+) \|", covered, re.MULTILINE)}, set(_spread(", ".join(spans)))


def _spread(text):
    for part in text.split(", "):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def marked():
    """{row: [files]} of every `fault` mark in the suite, whichever tests this run selects."""
    found = {}
    for name in tracked("tests/*.py"):
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "fault":
                for argument in node.args:
                    row = argument.value if isinstance(argument, ast.Constant) else None
                    found.setdefault(row, []).append(name)
    return found


def test_the_rows_of_this_release_are_documented_as_covered():
    assert documented()[0] == COVERED


def test_every_row_is_either_covered_or_announced():
    covered, later = documented()
    assert not covered & later
    assert covered | later == set(range(1, LAST_ROW + 1))


def test_every_covered_row_has_a_test():
    assert not COVERED - set(marked())


def test_every_mark_is_the_plain_number_of_a_row():
    assert not {row: files for row, files in marked().items() if row not in range(1, LAST_ROW + 1)}
