"""Whatever is logged, by whatever name, is one line of strict JSON that no terminal and no collector stumbles over."""

import io
import json
import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.logs import JsonFormatter

PIECES = [
    *(
        "\n",
        "\r",
        "\x0b",
        "\x0c",
        "\x1c",
        "\x85",
        "\u2028",
        "\u2029",
        "\x00",
        "\x1b[31m",
        "\x9b31m",
        "\u202e",
        "\ud800",
    ),
    *('"', "\\", '\\"', '{"level":"error"}', '"}\n{"', "%s", "%(name)s", "{}", "é", "🙂", "x" * 10_000),
]
HOSTILE = st.one_of(
    st.text(max_size=30),
    st.lists(st.sampled_from(PIECES), max_size=5).map("".join),
)
OURS = ("time", "level", "logger", "message", "error", "trace")
TAKEN = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName", *OURS}
KEYS = HOSTILE.filter(lambda key: key[:64] not in TAKEN and key not in TAKEN)
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), HOSTILE)
VALUES = st.one_of(PLAIN, st.binary(max_size=20), st.lists(HOSTILE, max_size=2), st.dictionaries(HOSTILE, HOSTILE))


def logged(message, *args, fields=None, failure=None):
    """All that one event writes, through a real handler."""
    sink = io.StringIO()
    handler = logging.StreamHandler(sink)
    handler.setFormatter(JsonFormatter())
    info = (type(failure), failure, None) if failure else None
    record = logging.LogRecord("webhook.test", logging.WARNING, "f", 1, message, args, info)
    record.__dict__.update(fields or {})
    handler.handle(record)
    return sink.getvalue()


def strict(line):
    """As a collector in another language reads it: JSON knows neither NaN nor two keys of one name."""

    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    def once(pairs):
        assert len(pairs) == len(dict(pairs)), "a key stands twice"
        return dict(pairs)

    return json.loads(line, parse_constant=refuse, object_pairs_hook=once)


def control(text):
    return {letter for letter in text if unicodedata.category(letter) in {"Cc", "Cf", "Zl", "Zp", "Cs"}}


@given(HOSTILE, st.dictionaries(KEYS, VALUES, max_size=4), st.one_of(st.none(), st.builds(ValueError, HOSTILE)))
def test_any_event_is_one_line_of_strict_json_without_control_characters(name, fields, failure):
    text = logged("pod %s is left alone", name, fields=fields, failure=failure)
    assert text.endswith("\n")
    assert control(text[:-1]) == set()
    told = strict(text)
    assert (told["level"], told["logger"]) == ("warning", "webhook.test")
    assert told["message"] == f"pod {name} is left alone"[:512]
    assert all(isinstance(value, str | int | float | None) for value in told.values())
    assert len(text) < 12 * (len(told) * 600 + 4000)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_does_not_know_does_not_spoil_its_line(number):
    assert strict(logged("slow", fields={"seconds": number}))["message"] == "slow"
