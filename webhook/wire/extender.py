"""A scheduler's question to its extender, and the answers, by the rules of k8s.io/kube-scheduler/extender/v1.

Go writes the keys of the arguments in PascalCase and reads any spelling of them; older schedulers wrote lower case. The
usual spelling is read at once, any other by a slower way; of a key that comes twice the last one counts. Keys within pod
and nodes are Kubernetes' own and are read as such.

A caller sends names (``nodeCacheCapable: true``) or whole nodes, of which only the name is read: the rest is skipped,
and goes back as the bytes it came in. Where both are there, the names count. Absent and null are the same.
Answers are compact and end where their last bracket closes: a byte left over costs the scheduler its connection.
"""

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from webhook.core import nodetable
from webhook.core.ledger import draws
from webhook.core.model import Resources
from webhook.core.nodetable import Rows, Table
from webhook.core.pod import Pod, PodSpec
from webhook.core.scoring import Scores
from webhook.errors import ArgumentsError
from webhook.wire import pod_needs

NOBODY = b"[]"
"""A list of priorities that says nothing of any node: to the scheduler all are equal."""

MOST_NAMES = 50_000
"""Several times the nodes of the largest cluster; a body has room for a million, and would hold up everybody else."""

_NULL = b"null"


class _Arguments(msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True):
    pod: msgspec.Raw = msgspec.Raw(_NULL)
    nodes: msgspec.Raw = msgspec.Raw(_NULL)
    node_names: list[str] | None = None


class _Name(msgspec.Struct, frozen=True, gc=False):
    name: str | None = None


class _Node(msgspec.Struct, frozen=True, gc=False):
    metadata: _Name | None = None


class _NodeList(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    items: list[_Node | None] | None = None
    kind: str | None = None
    api_version: str | None = None
    metadata: msgspec.Raw = msgspec.Raw(_NULL)


class _AskingSpec(PodSpec, frozen=True):
    """With the part that tells what the pod requests."""

    containers: tuple[pod_needs.Container, ...] | None = None
    init_containers: tuple[pod_needs.Container, ...] | None = None
    overhead: dict[str, str] | None = None
    resources: pod_needs.Requirements | None = None


class _Asking(Pod, frozen=True):
    spec: _AskingSpec = _AskingSpec()


class _FilterResult(msgspec.Struct, frozen=True, rename="pascal"):
    nodes: dict[str, object] | None
    node_names: list[str] | None
    failed_nodes: dict[str, str]
    failed_and_unresolvable_nodes: Mapping[str, str]
    error: str = ""


_ARGUMENTS = msgspec.json.Decoder(_Arguments)
_NODE_LISTS = msgspec.json.Decoder(_NodeList)
_OBJECTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAMES = msgspec.json.Decoder(list[str] | None)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw] | None)
_NAMED = msgspec.json.Decoder(list[_Node | None] | None)
_ASKING = msgspec.json.Decoder(_Asking)
_ENCODER = msgspec.json.Encoder()
_BROKEN = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError)


class Question(msgspec.Struct, frozen=True):
    """One call: ``names`` of the candidates in their order, the pod's JSON, and the node list where it came whole."""

    names: list[str]
    pod: msgspec.Raw
    nodes: msgspec.Raw | None = None


def decode(body: bytes) -> Question:
    """Read a call's arguments. Raises ArgumentsError. What is odd within the pod is found by ``decode_pod``."""
    try:
        if not body.isascii():
            body.decode()
        try:
            found = _ARGUMENTS.decode(body)
        except msgspec.ValidationError:
            found = _respelt(body)
        question = _question(found)
    except _BROKEN as error:
        raise ArgumentsError("expected the arguments of a scheduler extender") from error
    if len(question.names) > MOST_NAMES:
        raise ArgumentsError(f"{len(question.names)} nodes; expected {MOST_NAMES} at most")
    return question


def _question(found: _Arguments) -> Question:
    if found.node_names is not None:
        return Question(found.node_names, found.pod)
    if bytes(found.nodes) == _NULL:
        return Question([], found.pod)
    return Question(_names_of(found.nodes), found.pod, found.nodes)


def decode_pod(question: Question) -> tuple[Pod, Resources]:
    """The pod, and what it requests. Raises ArgumentsError where it is no pod that a scheduler would send."""
    try:
        pod = _ASKING.decode(question.pod)
        return pod, pod_needs.requests(pod.spec)
    except _BROKEN as error:
        raise ArgumentsError("the pod is no pod") from error


def _respelt(body: bytes) -> _Arguments:
    """By keys in any case, as Go reads them. What the slow way does not find is not there."""
    found = _folded(body)
    return _Arguments(
        pod=found.get("pod", msgspec.Raw(_NULL)),
        nodes=found.get("nodes", msgspec.Raw(_NULL)),
        node_names=_NAMES.decode(found.get("nodenames", _NULL)),
    )


def _folded(content: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    return {key.casefold(): value for key, value in _OBJECTS.decode(content).items()}


def _names_of(nodes: msgspec.Raw) -> list[str]:
    try:
        items = _NODE_LISTS.decode(nodes).items
    except msgspec.ValidationError:
        items = _NAMED.decode(_folded(nodes).get("items", _NULL))
    return [(node and node.metadata and node.metadata.name) or "" for node in items or ()]


def priorities(table: Table, names: list[str], scores: Scores, *, uid: str, best: int | None = None) -> bytes:
    """The HostPriorityList, in no promised order. A node that scores 0 is left out, which to the scheduler is the same.

    ``best`` leaves out all but so many of the best; who is in among equals is drawn by pod and node.
    """
    rows, values = scores.rows, scores.scores
    if best is not None and len(chosen := np.flatnonzero(values)) > best:
        chosen = _best_of(table, chosen, scores, uid, best)
        rows, values, names = rows[chosen], values[chosen], [names[place] for place in chosen.tolist()]
    is_told = values > 0
    is_lined = is_told & ~table.lines.is_missing.take(rows)
    pieces: list[bytes] = []
    if not is_lined.all():
        others = np.flatnonzero(is_told & ~is_lined).tolist()
        pieces = [nodetable.line(names[place], values.item(place)) for place in others]
        rows, values = rows[is_lined], values[is_lined]
    made = table.lines.of(rows, values)
    made[0] = ord("[")
    if pieces:
        return b"".join((made.tobytes(), *pieces))[:-1] + b"]"
    if len(made) == 1:
        return NOBODY
    made[-1] = ord("]")
    return made.tobytes()


def _best_of(table: Table, chosen: Rows, scores: Scores, uid: str, best: int) -> Rows:
    rows, values = scores.rows[chosen], scores.scores[chosen]
    drawn = draws(table, uid, rows) if len(table.names) else np.zeros(len(rows), dtype=np.uint64)
    kept: Rows = chosen[np.sort(np.lexsort((drawn, values))[-best:])]
    return kept


def whole(question: Question) -> bytes:
    """The ExtenderFilterResult that keeps every node."""
    return _result(question, range(len(question.names)), {})


def filtered(question: Question, kept: Iterable[int], failed: Mapping[str, str]) -> bytes:
    """The ExtenderFilterResult; ``kept`` are places in the question, ``failed`` says why by name.

    The failed go where preemption finds them not: no victim would make a node's measured load fall at once.
    """
    return _result(question, kept, failed)


def _result(question: Question, kept: Iterable[int], failed: Mapping[str, str]) -> bytes:
    nodes: dict[str, object] | None = None
    names: list[str] | None = None
    if question.nodes is None:
        names = [question.names[place] for place in kept]
    else:
        items = _ITEMS.decode(_folded(question.nodes).get("items", _NULL)) or []
        nodes = {"metadata": {}, "items": [items[place] for place in kept]}
    return _ENCODER.encode(_FilterResult(nodes, names, {}, failed))
