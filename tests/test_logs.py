"""One line of JSON for each event, whatever a name holds."""

import json
import logging

from webhook.logs import JsonFormatter


def line(message="m", **extra):
    record = logging.getLogger("t").makeRecord("t", logging.INFO, "f", 1, message, (), None, extra=extra)
    return JsonFormatter().format(record)


def test_a_name_cannot_forge_a_line():
    text = line(pod='a\n{"level":"fatal"}\x1b[31m')
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    assert json.loads(text)["pod"].startswith("a\n")


def test_fields_and_their_names_are_cut():
    fields = json.loads(line("m" * 10_000, pod="p" * 10_000, **{"k" * 10_000: 1}))
    assert len(fields["pod"]) == len(fields["message"]) == 512
    assert fields["k" * 64] == 1
