"""Every error that spot-balancer raises across a floor of the house.

::

    SpotBalancerError
    ├── ConfigurationError      the operator's input is wrong; carries all faults at once
    ├── InputError              a file or argument is wrong; says what, where and what to do
    │   └── WrongInputError     wrong in itself, whatever else is there; nothing was begun
    ├── QuantityError           a Kubernetes quantity that does not parse
    ├── ReviewError             a request is no AdmissionReview we can answer (becomes HTTP 4xx)
    ├── ArgumentsError          a body that is no scheduler extender's arguments (becomes HTTP 400)
    ├── PatchError              our own patch failed its own check (the pod is admitted as it was)
    ├── UsageUnavailable        Prometheus gave nothing that may be believed
    ├── ClusterError            the API server refused or could not be reached
    │   ├── ClusterUnavailable  no answer, or one that says "later"
    │   │   └── ClusterSilent   a watch that was opened, and told nothing for as long as it may
    │   ├── ClusterForbidden    a right is missing: the feature is off until it is granted
    │   ├── ClusterNotFound     the object is gone
    │   └── ClusterConflict     somebody else wrote first
    └── SnapshotError           a snapshot that cannot be read; the last good one stays

Adapters translate foreign errors into these once and keep the cause; nothing above them
knows the client libraries' own exceptions.
"""

from collections.abc import Iterable


class SpotBalancerError(Exception):
    """The root; catching it catches whatever spot-balancer itself raises."""


class ConfigurationError(SpotBalancerError):
    """All faults of a configuration, told together.

    ``faults`` are sentences of the form ``path: what was found; what was expected``.
    """

    def __init__(self, faults: Iterable[str], *, source: str = "configuration") -> None:
        self.faults = tuple(faults)
        self.source = source
        super().__init__("\n".join([f"{source}: {len(self.faults)} fault(s)", *(f"  - {f}" for f in self.faults)]))


class InputError(SpotBalancerError):
    """A file, address or argument that a person gave and can mend."""


class WrongInputError(InputError):
    """What the command line says, or a file that is the whole input of a command: as the faults of a configuration."""


class QuantityError(SpotBalancerError, ValueError):
    """A string that is no Kubernetes quantity."""


class ReviewError(SpotBalancerError):
    """A body that is no AdmissionReview this server can answer; ``status`` is the HTTP status to send."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


class ArgumentsError(SpotBalancerError):
    """A body that a scheduler would never send to its extender."""


class PatchError(SpotBalancerError):
    """A patch that does not apply, or that would change more than it may."""


class UsageUnavailable(SpotBalancerError):  # noqa: N818 - a state of the world, not a mistake
    """Prometheus is down, slow, lying or empty: every verdict of this run is unknown.

    ``code`` is one of a bounded set, fit for a metric label.
    """

    def __init__(self, message: str, *, code: str = "unavailable") -> None:
        self.code = code
        super().__init__(message)


class ClusterError(SpotBalancerError):
    """The API server refused; ``status`` is its HTTP status, 0 when there was none, ``said`` its own sentence."""

    def __init__(
        self, message: str, *, status: int = 0, retry_after_seconds: float | None = None, said: str = ""
    ) -> None:
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        self.said = said
        super().__init__(message)


class ClusterUnavailable(ClusterError):  # noqa: N818
    """No answer, a timeout, 429 or 5xx: try again after a pause."""


class ClusterSilent(ClusterUnavailable):
    """Nothing came on an open watch: its other end is gone, or nothing ever happens to what it is of."""


class ClusterForbidden(ClusterError):  # noqa: N818
    """401 or 403: a right is missing."""


class ClusterNotFound(ClusterError):  # noqa: N818
    """404 or 410: the object, or the version asked for, is gone."""


class ClusterConflict(ClusterError):  # noqa: N818
    """409: the object changed since it was read."""


class SnapshotError(SpotBalancerError):
    """A snapshot that is missing, cut off, of another schema, or no snapshot at all."""
