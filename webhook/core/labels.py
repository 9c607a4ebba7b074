"""What Kubernetes accepts as a label's or taint's key and value.

One invalid word in an affinity or a toleration makes the API server refuse the whole pod, so
what we add is held to these rules twice: where the operator's file is read, and once more
before a patch is sent.
"""

import re

MAX_NAME = 63
MAX_PREFIX = 253

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")


def is_key(text: str) -> bool:
    """Whether it is a qualified name: a name of up to 63 characters, behind a DNS subdomain and a slash or alone."""
    prefix, slash, name = text.rpartition("/")
    if _NAME.fullmatch(name) is None:
        return False
    return not slash or is_subdomain(prefix)


def is_subdomain(text: str) -> bool:
    """Whether it may be the name of most objects: a DNS subdomain of up to 253 characters."""
    return len(text) <= MAX_PREFIX and _PREFIX.fullmatch(text) is not None


def is_value(text: str) -> bool:
    """Whether it may be a value: nothing, or a name of up to 63 characters."""
    return not text or _NAME.fullmatch(text) is not None
