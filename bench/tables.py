"""Writes generated tables into README.md and docs/, between `<!-- table: NAME -->` and `<!-- end of table -->`.

A figure in the docs is thereby one that was measured and kept; a default is the one in the code.
`python -m bench.tables` writes them, `--check` only tells which are out of date.
"""

import ast
import json
import re
import sys
from pathlib import Path

from bench.balance_tables import balance
from bench.idle_tables import idleness
from bench.rows import table

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- table: (?P<name>[^>]+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def bench(what):
    """The newest kept run of that name."""
    runs = sorted((ROOT / "bench" / "results").glob(f"*-{what}.json"))
    if not runs:
        raise SystemExit(f"no run of {what!r} is kept: python -m bench --keep {what}")
    run = json.loads(runs[-1].read_text(encoding="utf-8"))
    where = run["machine"]
    told = f"{where['processor']}, {where['cores']} cores, {where['memoryGibibytes']} GiB, {where['system']}"
    source = f"Measured {run['measuredAt'][:10]} on {told}, Python {run['versions']['python']}"
    return f"{table(run['rows'])}\n\n{source}: [{runs[-1].name}]({{up}}bench/results/{runs[-1].name})."


def commands(_):
    """The commands of the program with their one-line help, as `--help` lists them."""
    from webhook.cli.root import COMMANDS

    return "\n".join(
        ["| command | does |", "| --- | --- |", *(f"| `{n}` | {t} |" for n, t in sorted(COMMANDS.items()))]
    )


def codes(_):
    """What a plan may tell of a workload, by name: whoever looks one up has it from a table."""
    from webhook.core.plancodes import MEANING

    return "\n".join(["| code | means |", "| --- | --- |", *(f"| `{n}` | {t} |" for n, t in sorted(MEANING.items()))])


def cli():
    """The click group of the program."""
    from webhook.cli.root import cli as group

    return group


def defaults(class_name):
    """Fields of a policy by their keys in the configuration file, with default and reason as the code has them."""
    keys = keys_of(class_name)
    tree = ast.parse((ROOT / "webhook" / "core" / "policy.py").read_text(encoding="utf-8"))
    body = next(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == class_name)
    lines = ["| setting | default | why |", "| --- | --- | --- |"]
    for field, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and field.value is not None and isinstance(field.target, ast.Name):
            why = re.sub(r"``(\w+)``", lambda found: f"`{keys.get(found[1], found[1])}`", _docstring(after))
            lines.append(f"| `{keys[field.target.id]}` | {_value(field.value)} | {why} |")
    return "\n".join(lines)


def _docstring(node):
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value
    return " ".join(text.split()) if isinstance(text, str) else ""


def _value(node):
    name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
    if name == "timedelta":
        parts = [(ast.unparse(k.value), k.arg or "") for k in node.keywords]
        return " ".join(f"{amount} {unit.removesuffix('s') if amount == '1' else unit}" for amount, unit in parts)
    if name in KEYS_OF and node.keywords:
        keys = keys_of(name)
        said = ", ".join(f"`{keys[k.arg]}` {_value(k.value)}" for k in node.keywords)
        return f"`{name}()` with {said}"
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return f"`{node.value}`"
    return f"`{ast.unparse(node)}`"


def keys_of(class_name):
    """The keys of the configuration file by the fields of a policy."""
    from webhook.configuration import keys

    return {name: key for key, (name, _) in getattr(keys, KEYS_OF[class_name]).items()}


KEYS_OF = {
    "IdlePolicy": "IDLE",
    "BatchPolicy": "BATCH",
    "SidePolicy": "SIDES",
    "MovePolicy": "MOVES",
    "Limits": "LIMITS",
    "BalancePolicy": "BALANCE",
}
GENERATORS = {
    "balance": balance,
    "bench": bench,
    "codes": codes,
    "commands": commands,
    "defaults": defaults,
    "idleness": idleness,
}


def documents():
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rewritten(path):
    """The document's text with every table made anew."""
    up = "../" * (len(path.relative_to(ROOT).parts) - 1)

    def fill(found):
        kind, _, argument = found["name"].partition(" ")
        return f"{found[1]}\n{GENERATORS[kind](argument).replace('{up}', up)}\n\n{found[3]}"

    return BLOCK.sub(fill, path.read_text(encoding="utf-8"))


def main(arguments=None):
    check = "--check" in (sys.argv[1:] if arguments is None else arguments)
    stale = [path for path in documents() if rewritten(path) != path.read_text(encoding="utf-8")]
    for path in stale:
        print(f"{'out of date' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_text(rewritten(path), encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
