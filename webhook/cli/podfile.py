"""The amounts of a Pod that a person wrote: numbers are taken as kubectl takes them, and what is no amount is told."""

from collections.abc import Iterator
from typing import Any

from webhook.cli.common import printable
from webhook.core.quantity import to_float
from webhook.errors import InputError, QuantityError


def read_amounts(raw: dict[str, Any], source: str) -> None:
    """Turn numbers into quantities, in place. Raises InputError that names the container and the value.

    What is not shaped like a Pod's spec is left for who decodes it.
    """
    for where, amounts in _lists(raw.get("spec")):
        for name, value in list(amounts.items()):
            if value is None:
                # To the API server a null is nought.
                del amounts[name]
                continue
            amounts[name] = _quantity(value, f"{printable(source)}: {printable(where)}: {printable(str(name))}")


def _quantity(value: Any, where: str) -> str:
    is_scalar = isinstance(value, int | float | str) and not isinstance(value, bool)
    text, shown = str(value), printable(str(value)[:40])
    try:
        amount = to_float(text if is_scalar else "")
    except QuantityError as exc:
        raise InputError(f"{where} is {shown}, which is no quantity such as 250m, 0.5 or 1Gi") from exc
    if amount < 0:
        raise InputError(f"{where} is {shown}; an amount cannot be negative")
    return text


def _lists(spec: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(spec, dict):
        return
    for kind, word in (("containers", "container"), ("initContainers", "init container")):
        held = spec.get(kind)
        for number, one in enumerate(held if isinstance(held, list) else (), 1):
            if isinstance(one, dict):
                yield from _asked(one.get("resources"), f"{word} {one.get('name') or number}")
    yield from _asked(spec.get("resources"), "the pod")
    if isinstance(spec.get("overhead"), dict):
        yield "overhead", spec["overhead"]


def _asked(resources: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in ("requests", "limits"):
        if isinstance(resources, dict) and isinstance(resources.get(kind), dict):
            yield f"{where}, {kind}", resources[kind]
