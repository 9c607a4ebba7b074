"""What the tests of moves share: a town whose monitor moves, and a log of what was available at every moment.

Where evidence is not the subject, annotations say where a workload belongs: that needs no window to pass. Spot nodes
then carry a taint, so that a pod which nobody has steered yet cannot land on one.
"""

import http.client
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.town import HOME, REGULAR, SHOP, SPOT, Town
from tests.parts import manifests
from tests.parts.kube_api import MERGE_PATCH, ApiError, path_of
from tests.parts.plane import ControlPlane
from tests.parts.processes import wait_for
from webhook.core.book import Control
from webhook.core.moves import InFlight
from webhook.core.placement import DECISION
from webhook.wire.book import decode_control

QUICK_MOVES: dict[str, Any] = {
    "toSpot": {"window": "1s", "perRun": "10", "perCluster": "100%", "perNamespace": "100%", "perNode": "100%"},
    "toRegular": {"window": "1s", "perCluster": "100%"},
    "dwell": "0s",
    "canary": "0s",
    "patience": "30s",
    "settle": "3s",
    "backoff": "1s",
    "healthyFor": "1s",
    "runSeconds": 20,
}
AKS = "kubernetes.azure.com/scalesetpriority"
TAINT = {"key": AKS, "value": "spot", "effect": "NoSchedule"}
WISH = "spot-balancer.io/spot"


def moving(**moves: Any) -> dict[str, Any]:
    """A configuration that moves quickly, with these keys of `moves` changed."""
    return {"mode": "move", "moves": QUICK_MOVES | moves}


@dataclass
class Availability:
    """What two watches told, in order: Deployments of their replicas, and pods of who was Ready and not on its way out."""

    asked: dict[str, list[int]] = field(default_factory=dict)
    counted: dict[str, list[int]] = field(default_factory=dict)
    pods: dict[str, dict[str, bool]] = field(default_factory=dict)
    """By app, and by UID whether it counts at this moment."""
    is_whole: bool = False
    """Only a count of all pods that are there means anything."""

    def lowest(self, name: str) -> int:
        """How few were available at any moment, by the Deployment's status or by its pods."""
        return min(self.counted[name])

    def most_wanted(self, name: str) -> int:
        """The highest spec.replicas."""
        return max(self.asked[name])

    def saw_deployment(self, found: dict[str, Any], *, gone: bool = False) -> None:
        if not gone:
            name = found["metadata"]["name"]
            self.asked.setdefault(name, []).append(found["spec"]["replicas"])
            self.counted.setdefault(name, []).append(found["status"].get("availableReplicas", 0))

    def saw_pod(self, found: dict[str, Any], *, gone: bool = False) -> None:
        app = found["metadata"].get("labels", {}).get("app")
        conditions = {c["type"]: c["status"] for c in found["status"].get("conditions", [])}
        counts = not gone and "deletionTimestamp" not in found["metadata"] and conditions.get("Ready") == "True"
        ready = self.pods.setdefault(app, {})
        ready[found["metadata"]["uid"]] = counts
        if self.is_whole:
            self.counted.setdefault(app, []).append(sum(ready.values()))

    def begin(self) -> None:
        """All pods that were there were told of."""
        self.is_whole = True
        for app, ready in self.pods.items():
            self.counted.setdefault(app, []).append(sum(ready.values()))


@contextmanager
def watched(plane: ControlPlane, namespace: str = SHOP) -> Iterator[Availability]:
    """Logs what is available from the moment it is entered until it is left, by watches of the real API server."""
    log = Availability()
    watches = _Watch(plane, "Deployment", namespace, log.saw_deployment), _Watch(plane, "Pod", namespace, log.saw_pod)
    log.begin()
    for watch in watches:
        watch.start()
    try:
        yield log
    finally:
        for watch in watches:
            watch.close()


class _Watch:
    """Tells of all that is there, and after `start` of every change since, each in turn, on a thread of its own."""

    def __init__(self, plane: ControlPlane, kind: str, namespace: str, tell: Callable[..., None]) -> None:
        self._plane, self._kind, self._namespace, self._tell = plane, kind, namespace, tell
        self._seen: set[str] = set()
        path = path_of(kind, namespace=namespace)
        found = plane.api("GET", path)
        for one in found["items"]:
            self._saw(one)
        context = ssl.create_default_context(cafile=str(plane.ca_file))
        self._connection = http.client.HTTPSConnection(urlsplit(plane.url).netloc, context=context, timeout=300)
        since = found["metadata"]["resourceVersion"]
        headers = {"Authorization": f"Bearer {plane.admin_token}"}
        self._connection.request("GET", f"{path}?watch=1&resourceVersion={since}", headers=headers)
        self._lines = self._connection.getresponse()
        self._thread = threading.Thread(target=self._follow, name=f"watch of {kind}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """After the last change was told."""
        wait_for(self._is_up_to_date, 10, f"the watch of {self._kind} to be told of all there is")
        # A read that waits for the next change ends by this and by nothing else.
        self._connection.sock.shutdown(2)
        self._thread.join(10)
        self._lines.close()
        self._connection.close()

    def _is_up_to_date(self) -> bool:
        now = self._plane.list_all(self._kind, namespace=self._namespace)
        return self._seen.issuperset(one["metadata"]["resourceVersion"] for one in now)

    def _follow(self) -> None:
        try:
            for line in self._lines:
                event = json.loads(line)
                self._saw(event["object"], gone=event["type"] == "DELETED")
        except (OSError, ValueError, http.client.HTTPException):
            return

    def _saw(self, found: dict[str, Any], *, gone: bool = False) -> None:
        self._tell(found, gone=gone)
        self._seen.add(found["metadata"]["resourceVersion"])


def settle_town(town: Town, *, regular: int = 2) -> Town:
    """Regular nodes and the shop, whose pods work unless told otherwise; spot nodes come by `add_spot`, so that what runs
    before sits on regular ones."""
    town.exporter.set_usage(SHOP, "", cpu_cores=0.4, rx_bytes_per_s=200_000)
    for number in range(1, regular + 1):
        town.plane.node(f"regular-{number}", labels=REGULAR)
    town.plane.namespace(SHOP)
    return town


def add_spot(town: Town, *names: str, tainted: bool = True, **facts: Any) -> None:
    """Spot nodes by Karpenter's label; tainted ones carry the label and the taint of AKS too."""
    labels, taints = (SPOT | {AKS: "spot"}, [TAINT]) if tainted else (SPOT, [])
    for name in names or ("spot-1", "spot-2"):
        town.plane.node(name, labels=labels, taints=taints, **facts)


def deploy(town: Town, name: str, replicas: int = 1, *, min_ready_seconds: int = 0, **facts: Any) -> None:
    """A Deployment of the shop whose pods run, on regular nodes because spot's are tainted."""
    body = manifests.deployment(name, namespace=SHOP, replicas=replicas, **facts)
    body["spec"]["minReadySeconds"] = min_ready_seconds
    town.plane.apply(body)
    wait_for(lambda: available(town, name) == replicas, 30, f"{replicas} pods of {name}")


def available(town: Town, name: str) -> int:
    """By the Deployment's status."""
    return int(town.plane.get("Deployment", name, namespace=SHOP)["status"].get("availableReplicas", 0))


def wants(town: Town, name: str, wish: str) -> None:
    """Says by annotation where it belongs: `always` or `never` on spot."""
    annotate(town, name, **{WISH: wish})


def annotate(town: Town, name: str, **annotations: str | None) -> None:
    """Sets annotations of the Deployment's own object; None takes one away."""
    change = {"metadata": {"annotations": annotations}}
    town.plane.api("PATCH", path_of("Deployment", namespace=SHOP, name=name), change, content_type=MERGE_PATCH)


def sides(town: Town, app: str) -> list[str]:
    """Where the running pods of an app are, sorted."""
    return sorted(town.side_of(pod) for pod in town.app_pods(app))


def is_at_rest(town: Town, name: str, side: str, replicas: int = 1, *, book: str = HOME) -> bool:
    """The one final state of a move: so many pods, all running on their side, none more, and nothing in flight."""
    deployment = town.plane.get("Deployment", name, namespace=SHOP)
    pods = town.plane.pods(SHOP, f"app={name}")
    return (
        deployment["spec"]["replicas"] == replicas == len(pods) == deployment["status"].get("availableReplicas", 0)
        and sides(town, name) == [side] * replicas
        and in_flight(town, name, book) is None
    )


def run(town: Town) -> dict[str, Any]:
    """One run of the monitor; what it says of moves."""
    report = town.monitor(check=False)
    moves: dict[str, Any] = report["moves"]
    return moves


def run_until_at_rest(town: Town, name: str, side: str, replicas: int = 1, *, runs: int) -> int:
    """How many runs of the monitor it took until its pods are where they belong."""
    reports = []
    for number in range(1, runs + 1):
        reports.append(run(town))
        if is_at_rest(town, name, side, replicas):
            return number
    raise AssertionError(f"{name} is on {sides(town, name)} after {runs} runs: {json.dumps(reports, indent=1)}")


def control(town: Town, book: str = HOME) -> Control:
    """The book's control object; an empty one where none was written yet."""
    try:
        found = town.plane.get("ConfigMap", f"{book}-book-control", namespace=HOME)
    except ApiError as refusal:
        if refusal.status == 404:
            return Control()
        raise
    return decode_control(found["data"]["control.json"])


def in_flight(town: Town, name: str, book: str = HOME) -> InFlight | None:
    """Its move, if one is under way."""
    return next((move for move in control(town, book).moves if move.workload.name == name), None)


def outcomes(town: Town, name: str) -> list[str]:
    """What came of its moves, in their order."""
    return [move.outcome.value for move in control(town).finished if move.workload.name == name]


def told(town: Town, command: str, *words: str) -> dict[str, Any]:
    """What one of our commands says, as JSON."""
    flags = town.cluster_flags if command != "history" else town.cluster_flags[2:]
    answer: dict[str, Any] = json.loads(town.command(command, *words, *flags, "-o", "json").stdout)
    return answer


def considered(town: Town, name: str) -> dict[str, Any]:
    """What `plan` says of it."""
    found: list[dict[str, Any]] = told(town, "plan")["workloads"]
    return next(one for one in found if one["workload"]["name"] == name)


def events(town: Town, name: str) -> dict[str, str]:
    """The last note of each reason that was told of its own object."""
    found = town.plane.list_all("Event", namespace=SHOP)
    mine = [e for e in found if e["regarding"].get("name") == name and e["regarding"]["kind"] == "Deployment"]
    ours = [e for e in mine if e.get("reportingController") == "spot-balancer.io/mover"]
    return {e["reason"]: e["note"] for e in sorted(ours, key=lambda e: e["eventTime"])}


@contextmanager
def no_room_on(town: Town, *nodes: str) -> Iterator[None]:
    """Somebody else's pods take the whole of these nodes, at once and past the scheduler, for as long as it lasts."""
    names = [f"filler-of-{node}" for node in nodes]
    for name, node in zip(names, nodes, strict=True):
        town.plane.apply(manifests.pod(name, namespace=SHOP, labels={"app": "filler"}, cpu="8", nodeName=node))
    try:
        yield
    finally:
        for name in names:
            town.plane.delete_pod(name, namespace=SHOP)
        wait_for(lambda: not town.plane.pods(SHOP, "app=filler"), 20, "the fillers to be gone")


@contextmanager
def surging_without_room(town: Town, name: str, *nodes: str) -> Iterator[None]:
    """Entered when a run has ended while a surge pod is Pending: the room on these nodes was taken once it was proven."""
    with ExitStack() as stack:
        with in_the_middle(town, name, "announced"):
            stack.enter_context(no_room_on(town, *nodes))
        move = in_flight(town, name)
        assert move, outcomes(town, name)
        assert move.step == "raised"
        (waiting,) = demanding(town, name)
        assert "nodeName" not in waiting["spec"]
        yield


def demanding(town: Town, name: str) -> list[dict[str, Any]]:
    """Its pods that were admitted with the demand of a surge."""
    pods = town.plane.pods(SHOP, f"app={name}")
    return [pod for pod in pods if "/required/" in pod["metadata"].get("annotations", {}).get(DECISION, "")]


@contextmanager
def in_the_middle(town: Town, name: str, *steps: str) -> Iterator[InFlight]:
    """Entered while a run of the monitor has its move at one of these steps; left when that run is over."""
    line = [sys.executable, "-m", "webhook", "monitor", *town.cluster_flags]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as monitor:
        yield wait_for(lambda: (m := in_flight(town, name)) and m.step in steps and m, 30, f"{name} to be {steps}")
        assert monitor.wait(60) in (0, 3)
