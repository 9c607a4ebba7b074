"""What the tests of moves share: a town whose monitor moves, and a log of what was available at every moment."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.town import REGULAR, SHOP, SPOT, Town
from tests.parts.plane import ControlPlane

QUICK_MOVES = {
    "toSpot": {"window": "1s", "perRun": "10", "perCluster": "100%", "perNamespace": "100%", "perNode": "100%"},
    "toRegular": {"window": "1s"},
    "dwell": "0s",
    "canary": "0s",
    "patience": "30s",
    "settle": "3s",
    "backoff": "1s",
    "healthyFor": "5s",
    "runSeconds": 20,
}
MOVING = {"mode": "move", "moves": QUICK_MOVES}


@dataclass
class Availability:
    """Every state that a watch told of the Deployments of the shop, in order."""

    seen: list[tuple[str, int, int]] = field(default_factory=list)
    """Name, spec.replicas, status.availableReplicas."""

    def lowest(self, name: str) -> int:
        return min(available for seen, _, available in self.seen if seen == name)

    def most_wanted(self, name: str) -> int:
        return max(wanted for seen, wanted, _ in self.seen if seen == name)


@contextmanager
def watched(plane: ControlPlane, namespace: str = SHOP) -> Iterator[Availability]:
    """Logs what is available from the moment it is entered, by one watch of the real API server."""
    log, stop = Availability(), threading.Event()
    version = plane.api("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments")["metadata"]["resourceVersion"]
    for found in plane.list_all("Deployment", namespace=namespace):
        log.seen.append(_state(found))
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments?watch=1&resourceVersion={version}"
    request = urllib.request.Request(plane.url + path, headers={"Authorization": f"Bearer {plane.admin_token}"})
    import ssl

    answer = urllib.request.urlopen(request, context=ssl.create_default_context(cafile=str(plane.ca_file)), timeout=900)

    def follow() -> None:
        try:
            for line in answer:
                if stop.is_set():
                    return
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    log.seen.append(_state(event["object"]))
        except (OSError, ValueError, AttributeError):
            return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield log
    finally:
        # Closing it would wait for the thread that reads it; the API server ends the watch with the plane.
        stop.set()


def _state(found: dict[str, Any]) -> tuple[str, int, int]:
    return found["metadata"]["name"], found["spec"]["replicas"], found["status"].get("availableReplicas", 0)


def spot_town(town: Town, *, spot: int = 2, regular: int = 2, taints: list[dict[str, str]] | None = None) -> None:
    """Regular nodes first, so that whatever runs before `add_spot` sits on them."""
    for number in range(regular):
        town.plane.node(f"regular-{number + 1}", labels=REGULAR)
    town.plane.namespace(SHOP)


def add_spot(town: Town, count: int = 2, taints: list[dict[str, str]] | None = None) -> None:
    for number in range(count):
        town.plane.node(f"spot-{number + 1}", labels=SPOT, taints=taints or [])


def sides(town: Town, app: str) -> list[str]:
    """Where the running pods of an app are, sorted."""
    return sorted(town.side_of(pod) for pod in town.app_pods(app))


def move_until(town: Town, app: str, expected: list[str], runs: int) -> int:
    """Runs the monitor until the pods are where they are expected and no move is in flight; how many runs it took."""
    for number in range(1, runs + 1):
        report = town.monitor(check=False)
        town.reports.append(report)
        if sides(town, app) == expected and not (report["moves"] or {}).get("inFlight"):
            return number
    raise AssertionError(f"{app} is on {sides(town, app)} after {runs} runs; {json.dumps(town.reports[-3:], indent=1)}")


def book_control(town: Town) -> dict[str, Any]:
    found = town.plane.get("ConfigMap", "spot-balancer-book-control", namespace="spot-balancer")
    return json.loads(found["data"]["control.json"])["control"]
