"""What an operator may add to a request: headers, and parameters of stores that speak Prometheus' API.

A header that decides how the request is sent or who is let in is refused, and so is a parameter
that would make an answer look whole, or a use look smaller, than it is.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", re.ASCII)
_LONGEST_VALUE = 4096
_SECRETS = {
    "authorization": "bearerTokenFile, or username and passwordFile",
    "proxy-authorization": "no proxy: none is ever used",
    "cookie": "headerFiles: a cookie is a secret",
}
_OURS = frozenset(
    [
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ]
)

_BOOLEAN = re.compile(r"true|false|0|1")
_NO = re.compile(r"false|0")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,1000}")
_DURATION = re.compile(r"[0-9]{1,6}(?:ms|s|m|h|d)?", re.ASCII)
PARAMETERS: dict[str, tuple[re.Pattern[str], str]] = {
    # Thanos
    "dedup": (_BOOLEAN, "true or false"),
    "partial_response": (_NO, "false: with true, a store that is away looks like pods at rest"),
    "max_source_resolution": (re.compile(r"0s|auto"), "0s or auto: downsampled series have gaps"),
    "replicaLabels[]": (_TEXT, "a label's name"),
    "storeMatch[]": (_TEXT, "a matcher"),
    # VictoriaMetrics
    "extra_label": (_TEXT, "name=value"),
    "extra_filters[]": (_TEXT, "a matcher"),
    "latency_offset": (_DURATION, "a duration such as 1s"),
    "nocache": (_BOOLEAN, "1 or 0"),
}
"""By name: what it must look like. Left out on purpose are those that round, widen or cut what is told (``step``,
``round_digits``, ``lookback_delta``, ``limit``)."""


def header_faults(plain: Mapping[str, str], from_files: Iterable[str]) -> list[str]:
    """What is wrong with headers, each as ``key: found; expected`` with the key it stands under."""
    files = list(from_files)
    found = [f"headers.{name}: {fault}" for name in plain for fault in _name_faults(name)]
    found += [f"headerFiles.{name}: {fault}" for name in files for fault in _name_faults(name, secret=True)]
    found += [f"headers.{name}: {fault}" for name, value in plain.items() for fault in value_faults(value)]
    names = [name.lower() for name in (*plain, *files)]
    twice = sorted({name for name in names if names.count(name) > 1})
    return found + [f"headers: {name} stands twice; expected once, in headers or in headerFiles" for name in twice]


def _name_faults(name: str, *, secret: bool = False) -> Iterator[str]:
    if not _HEADER.fullmatch(name):
        yield f"{name[:80]!r}; expected a header's name such as X-Scope-OrgID"
    elif name.lower() in _SECRETS and not (secret and name.lower() == "cookie"):
        yield f"not a header to set; expected {_SECRETS[name.lower()]}"
    elif name.lower() in _OURS:
        yield "belongs to the request itself; expected another header"


def value_faults(value: str) -> list[str]:
    """What is wrong with a header's value, never with the value in it."""
    if not value.strip() or len(value) > _LONGEST_VALUE:
        return [f"{len(value)} characters; expected 1 to {_LONGEST_VALUE}"]
    if not value.isascii() or not value.isprintable():
        # A line break would end the header and begin another.
        return ["control characters or others beyond ASCII; expected printable ASCII"]
    return []


def parameter_faults(parameters: Mapping[str, tuple[str, ...]]) -> list[str]:
    """What is wrong with further form parameters, each as ``key: found; expected``."""
    found = []
    for name, values in parameters.items():
        if name not in PARAMETERS:
            near = difflib.get_close_matches(name, PARAMETERS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(sorted(PARAMETERS))}"
            found.append(f"parameters.{name}: not a parameter that may be set; {hint}")
            continue
        shape, expected = PARAMETERS[name]
        found += [f"parameters.{name}: {v[:80]!r}; expected {expected}" for v in values if not shape.fullmatch(v)]
    return found
