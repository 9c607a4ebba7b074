"""JSON logs, one object a line, with fields and never a body.

Names come from clusters and from whoever can reach the port: everything is encoded by
json, so that a line break or an escape sequence in a name cannot forge a line.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from math import isfinite

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_LONGEST_FIELD = 512
_LONGEST_NAME = 64


class JsonFormatter(logging.Formatter):
    """Fields of ``extra`` become keys; strings are cut at 512 characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of ASCII JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:_LONGEST_FIELD],
        }
        line |= {key[:_LONGEST_NAME]: _plain(value) for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["trace"] = self.formatException(record.exc_info)[-4000:]
        return json.dumps(line)


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and isfinite(value):
        return value
    return str(value)[:_LONGEST_FIELD]


def configure(level: str = "info") -> None:
    """Send all logs of this process to stderr as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
