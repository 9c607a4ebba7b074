"""Kubernetes quantities, exactly: ``250m``, ``1Gi``, ``1e3``, ``12E``, ``123456789n``.

The grammar is Kubernetes' own (a signed decimal number and a suffix: binary ``Ki``..``Ei``,
decimal ``n``..``E``, or an exponent ``e``/``E`` with digits). ``E`` alone is exa; ``E``
followed by digits is an exponent. Values are exact fractions; no float is involved until asked for.
"""

import re
from fractions import Fraction
from functools import lru_cache

from webhook.errors import QuantityError

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_FORM = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,4}))?", re.ASCII)
_LONGEST = 64
_BEYOND_FLOATS = 400
"""With an exponent beyond, no number of at most ``_LONGEST`` digits is a float but nought."""


def _parts(text: str) -> tuple[str, str, str | None, str | None]:
    """(sign, digits, suffix, exponent). Raises QuantityError."""
    match = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise QuantityError(f"{text[:_LONGEST]!r} is no Kubernetes quantity, such as 250m, 1Gi or 1e3")
    sign, digits, suffix, exponent = match.groups()
    return sign, digits, suffix, exponent


@lru_cache(maxsize=4096)
def parse(text: str) -> Fraction:
    """The exact value of a quantity. Raises QuantityError."""
    sign, digits, suffix, exponent = _parts(text)
    number = Fraction(digits.rstrip(".") if digits != "." else "0")
    if suffix in _BINARY:
        number *= 2 ** _BINARY[suffix]
    else:
        number *= Fraction(10) ** (int(exponent) if exponent else _DECIMAL[suffix or ""])
    return -number if sign == "-" else number


def to_float(text: str) -> float:
    """The nearest float: cores of a CPU quantity, bytes of a memory quantity. Raises QuantityError."""
    _, digits, _, exponent = _parts(text)
    if exponent and abs(int(exponent)) > _BEYOND_FLOATS:
        # Exactly, it would be a number of thousands of digits, and a body may hold tens of thousands of such.
        if int(exponent) < 0 or not digits.strip("0."):
            return 0.0
        raise QuantityError(f"{text!r} is larger than any number of cores or bytes")
    value = parse(text)
    try:
        return float(value)
    except OverflowError as exc:
        raise QuantityError(f"{text!r} is larger than any number of cores or bytes") from exc


def render(value: Fraction, *, binary: bool = False) -> str:
    """The shortest quantity that parses back to ``value`` (rounded to a nano away from nought, as Kubernetes does).

    ``binary`` prefers ``Ki``..``Ei`` where they divide the value, as memory is written.
    """
    exact = Fraction(_nanos(value), 10**9)
    if binary and exact.denominator == 1 and exact:
        for suffix, power in reversed(_BINARY.items()):
            if exact % 2**power == 0:
                return f"{exact / 2**power}{suffix}"
    for suffix, power in sorted(_DECIMAL.items(), key=lambda item: -item[1]):
        scaled = exact / Fraction(10) ** power
        if scaled.denominator == 1 and (scaled or suffix == ""):
            return f"{scaled.numerator}{suffix}"
    raise AssertionError("a whole number of nanos always has the suffix n")


def _nanos(value: Fraction) -> int:
    away = -((-abs(value) * 10**9) // 1)
    return int(away if value >= 0 else -away)


def canonical(text: str) -> str:
    """The quantity as the API server writes it back: in the form it was given, without a fraction. Raises QuantityError.

    One difference: the API server caps values that it cannot hold in 64 bits, and this is exact.
    """
    _, _, suffix, exponent = _parts(text)
    value = parse(text)
    if exponent is not None:
        return _with_exponent(value)
    whole = value.denominator == 1
    if suffix not in _BINARY or not whole or abs(value) < 1024:
        # A small or broken number of bytes would lose digits as Ki.
        return render(value)
    binary = render(value, binary=True)
    return binary if binary.endswith("i") else str(value)


def _with_exponent(value: Fraction) -> str:
    """Mantissa whole, exponent a multiple of three, none for nought."""
    nanos, exponent = _nanos(value), -9
    while nanos and nanos % 1000 == 0:
        nanos, exponent = nanos // 1000, exponent + 3
    return f"{nanos}e{exponent}" if nanos and exponent else str(nanos)


def is_amount(*values: float) -> bool:
    """Whether each can be reckoned with: a number from 0 to below 1e18, so that sums and squares stay finite."""
    return all(0 <= value < 1e18 for value in values)


MOST_CORES, MOST_BYTES = 1e6, 1e15
"""No node has as much: what a pod is told to use or to request beyond is nothing to expect, and sums with it would lose
what they are made of."""


def is_use(cores: float, size: float) -> bool:
    """Whether a pod can have used as many cores and bytes."""
    return 0 <= cores <= MOST_CORES and 0 <= size <= MOST_BYTES


def rounded(value: float, digits: int) -> float:
    """To so many significant digits."""
    return float(f"{value:.{digits}g}")
