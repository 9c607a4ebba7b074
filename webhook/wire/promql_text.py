"""PromQL as text: quoting, macros, a matcher for every selector, and what no query of evidence may contain.

This is a scanner and no parser: it finds the selectors of a query and nothing else. A text that is
no PromQL passes through it, and Prometheus then refuses the query, which makes evidence unknown.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

LONGEST_QUERY = 16 * 1024
LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
      | (?P<macro>\$[A-Za-z][A-Za-z0-9]*)
      | (?P<number>(?:0[xX][0-9A-Fa-f]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[A-Za-z0-9]*)
      | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_LABEL_LISTS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = _LABEL_LISTS | {
    *("and", "or", "unless", "atan2", "bool", "offset", "inf", "nan", "anchored", "smoothed"),
    # MetricsQL's own, of VictoriaMetrics.
    *("default", "if", "ifnot", "limit", "keep_metric_names"),
}
_AGGREGATIONS = frozenset(
    [
        "sum",
        "min",
        "max",
        "avg",
        "group",
        "stddev",
        "stdvar",
        "count",
        "count_values",
        "bottomk",
        "topk",
        "limitk",
        "limit_ratio",
        "quantile",
        "any",
    ]
)
_OPENING = {"(": ")", "{": "}", "[": "]"}

_BANNED_CALLS = {
    "absent": "turns a missing series into a number",
    "absent_over_time": "turns a missing series into a number",
    "vector": "gives what is missing a value",
    "fill": "gives what is missing a value",
    "fill_left": "gives what is missing a value",
    "fill_right": "gives what is missing a value",
    "interpolate": "fills gaps, which hide what happened in them",
    "keep_last_value": "fills gaps, which hide what happened in them",
    "keep_next_value": "fills gaps, which hide what happened in them",
    "union": "puts unlike series side by side",
}
_BANNED_WORDS = {
    "default": "gives what is missing a value",
    "offset": "reads another time than the sweep's",
}
_ZERO = re.compile(r"(?:0[xX]0+|[0.]+)(?:[eE][+-]?[0-9]+)?(?:ms|[smhdwy])?")
_RE2_MARKS = frozenset(r"\.+*?()|[]{}^$-")
_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


class Token(NamedTuple):
    """``kind`` is space, string, macro, number, name or mark; ``at`` is where it begins."""

    kind: str
    text: str
    at: int

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.at + len(self.text)


class Selector(NamedTuple):
    """One selector: its metric's name, empty where there is none, and its matchers as they are written.

    ``matchers_at`` is where a further matcher goes; ``has_braces`` whether there is a ``{`` before it.
    """

    name: str
    matchers: str
    matchers_at: int
    has_braces: bool


def tokens(text: str) -> Iterator[Token]:
    """The text in pieces that make it up whole, whatever it is."""
    for match in _TOKEN.finditer(text):
        yield Token(match.lastgroup or "mark", match[0], match.start())


def quoted(text: str) -> str:
    """As a PromQL string that says exactly this. Raises ValueError for what is no Unicode, as half a surrogate pair."""
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        raise ValueError("text with half a surrogate pair")
    return '"' + "".join(_ESCAPES.get(letter) or _letter(letter) for letter in text) + '"'


def _letter(letter: str) -> str:
    # Prometheus' lexer takes a replacement character in the text for broken UTF-8.
    if letter.isprintable() and letter != "\ufffd":
        return letter
    number = ord(letter)
    return f"\\x{number:02x}" if number < 0x80 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def matcher(name: str, value: str) -> str:
    """``name="value"``. Raises ValueError where the name is no label's or the value no Unicode."""
    if not LABEL_NAME.fullmatch(name):
        raise ValueError("a label name such as cluster")
    return f"{name}={quoted(value)}"


def one_of(name: str, values: Sequence[str]) -> str:
    """``name="value"``, or a regular expression of exactly these values. Raises ValueError as ``matcher`` does."""
    if len(values) == 1:
        return matcher(name, values[0])
    return f"{name}=~{quoted('|'.join(map(_literal, values)))}"


def _literal(value: str) -> str:
    """As RE2 takes it for itself and nothing else."""
    return "".join(f"\\{letter}" if letter in _RE2_MARKS else letter for letter in value)


def expand(text: str, macros: Mapping[str, str]) -> str:
    """Put macros in their values' places, outside of strings and comments; unknown ones stay, see ``faults``."""
    return "".join(
        macros.get(token.text[1:], token.text) if token.kind == "macro" else token.text for token in tokens(text)
    )


def selectors(text: str) -> tuple[Selector, ...]:
    """Every selector of a query, in the order they stand."""
    found: list[Selector] = []
    read = [token for token in tokens(text) if token.kind != "space"]
    index = 0
    while index < len(read):
        token, after = read[index], read[index + 1].text if index + 1 < len(read) else ""
        word = token.text.lower()
        if token.text == "[" or (word in _LABEL_LISTS and after == "("):
            index = _closing(read, index + (token.text != "["))
        elif token.text == "{" or (token.kind == "name" and after == "{"):
            opening = index + (token.text != "{")
            index = _closing(read, opening)
            inside = text[read[opening].end : read[index].at]
            name = token.text if token.kind == "name" else ""
            found.append(Selector(name, inside, read[opening].end, has_braces=True))
        elif token.kind == "name" and after != "(" and not _is_word(word, after):
            found.append(Selector(token.text, "", token.end, has_braces=False))
        index += 1
    return tuple(found)


def _is_word(word: str, after: str) -> bool:
    return word in _WORDS or (word in _AGGREGATIONS and after.lower() in {"by", "without"})


def _closing(read: list[Token], index: int) -> int:
    """The index of what closes the mark at ``index``, or of the last token."""
    opening, depth = read[index].text, 0
    for here in range(index, len(read)):
        depth += (read[here].text == opening) - (read[here].text == _OPENING[opening])
        if not depth:
            return here
    return len(read) - 1


def within(text: str, condition: str) -> str:
    """The query with ``condition``, a matcher, in every selector; one that has it already has it twice, at no cost."""
    return within_each(text, lambda _: condition)


def within_each(text: str, condition_of: Callable[[str], str]) -> str:
    """The query with a matcher in each selector, by its metric's name; an empty one leaves the selector as it is."""
    pieces, done = [], 0
    for selector in selectors(text):
        pieces.append(text[done : selector.matchers_at])
        done = selector.matchers_at
        if not (condition := condition_of(selector.name)):
            continue
        if not selector.has_braces:
            pieces.append("{" + condition + "}")
        else:
            pieces.append(condition + ("," if selector.matchers.strip() else ""))
    return "".join(pieces) + text[done:]


def metrics(text: str) -> tuple[str, ...]:
    """The names of the metrics that a query reads, each once, in order; those of bare selectors are not known."""
    return tuple(dict.fromkeys(selector.name for selector in selectors(text) if selector.name))


def faults(text: str, macros: Mapping[str, str]) -> list[str]:
    """What an operator's own query may not be, each as ``found; expected``. ``macros`` are those it may use."""
    if all(token.kind == "space" for token in tokens(text[: LONGEST_QUERY + 1])):
        return ["empty; expected PromQL"]
    if len(text) > LONGEST_QUERY:
        return [f"{len(text)} characters; expected {LONGEST_QUERY} at most"]
    unknown = sorted({t.text for t in tokens(text) if t.kind == "macro" and t.text[1:] not in macros})
    found = [f"{name}: unknown macro; {_nearest(name, macros)}" for name in unknown]
    return found + list(_tricks(expand(text, macros)))


def _nearest(name: str, macros: Mapping[str, str]) -> str:
    if name == "$cluster":
        return "expected prometheus.clusterLabel beside it"
    near = difflib.get_close_matches(name[1:], macros, n=1)
    return f"did you mean ${near[0]}?" if near else f"expected one of {', '.join(f'${m}' for m in sorted(macros))}"


def _tricks(text: str) -> Iterator[str]:
    read = [token for token in tokens(text) if token.kind != "space"]
    factors = {token.at: factor for token, factor in _factors(read)}
    for token, after in zip(read, [*read[1:], Token("mark", "", 0)], strict=True):
        word = token.text.lower()
        if token.kind == "name" and after.text == "(" and word in _BANNED_CALLS:
            yield f"{word}(): {_BANNED_CALLS[word]}; expected absence to stay absence"
        elif token.kind == "name" and word in _BANNED_WORDS and after.text not in {"(", "{", "=", "!"}:
            yield f"{word}: {_BANNED_WORDS[word]}; expected a query without it"
        elif token.text == "@":
            yield "@: reads another time than the sweep's; expected a query without it"
        elif token.text == "*" and _is_zero(factors.get(token.at, after)):
            yield "* 0: makes a zero of whatever is there; expected the value itself"
        elif _is_zero(token) and after.text == "*":
            yield "0 *: makes a zero of whatever is there; expected the value itself"
        elif token.kind == "mark" and token.text in "\"'`":
            yield f"{token.text}: a string that does not end; expected its closing quote"
    yield from _alternatives(text)


def _factors(read: list[Token]) -> Iterator[tuple[Token, Token]]:
    """Each ``*`` with the first thing that follows it, brackets and signs left out."""
    for index, token in enumerate(read):
        if token.text == "*":
            following = (later for later in read[index + 1 :] if later.text not in {"(", "+", "-"})
            yield token, next(following, token)


def _alternatives(text: str) -> Iterator[str]:
    """VictoriaMetrics' ``{a="b" or c="d"}``: a matcher put in front would bind to the first alternative alone."""
    for selector in selectors(text):
        if any(token.kind == "name" and token.text.lower() == "or" for token in tokens(selector.matchers)):
            yield "or between matchers: a cluster's matcher would not hold for all; expected two selectors"


def _is_zero(token: Token) -> bool:
    return token.kind == "number" and "0" in token.text and _ZERO.fullmatch(token.text) is not None
