"""The chart's rights on a real API server: with all of them a pod moves; without one, what the documentation says."""

import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.chart.render import NAMESPACE, RELEASE, render
from tests.e2e import moving
from tests.e2e.town import HOME, SHOP, Town
from tests.parts.kube_api import MERGE_PATCH, path_of
from tests.parts.processes import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# That of resource -> the API group it is asked for in.
GROUPS = {
    "poddisruptionbudgets": "policy",
    "horizontalpodautoscalers": "autoscaling",
    "storageclasses": "storage.k8s.io",
    "deployments/scale": "apps",
    "events": "events.k8s.io",
}
CLAIMS = ("persistentvolumeclaims", "persistentvolumes", "storageclasses")


class Account:
    """The monitor of a release that may move, by its ServiceAccount's token."""

    def __init__(self, town: Town):
        self.town = town
        rendered = json.dumps(render({"moves": {"enabled": True}})).replace(f'"{NAMESPACE}"', f'"{HOME}"')
        kinds = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
        objects = [one for one in json.loads(rendered) if one["kind"] in kinds]
        for one in objects:
            town.plane.apply(one)
        self.roles = [one for one in objects if one["kind"] in ("ClusterRole", "Role")]
        self.token = town.plane.service_account_token(HOME, f"{RELEASE}-monitor")
        self._kubeconfig = str(town.plane.kubeconfig_for(self.token))

    def run(self, *, exit_code: int = 0) -> dict[str, Any]:
        """One run; what it says of moves, with the log in `stderr`."""
        access = ["--kubeconfig", self._kubeconfig, "-n", HOME, "-o", "json"]
        line = [sys.executable, "-m", "webhook", "monitor", "--config", str(self.town.config_file), *access]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        report = json.loads(done.stdout) if done.stdout else {"moves": {}}
        # The first pods of a town may be younger than the first scrape; nothing here needs what Prometheus says.
        expected = 3 if report.get("usageProblem") else exit_code
        assert done.returncode == expected, done.stdout + done.stderr
        moves = report["moves"]
        return moves | {"stderr": done.stderr}

    @contextmanager
    def without(self, resource: str, verb: str) -> Iterator[None]:
        """As if the chart had not given this right."""
        self._write_roles(resource, verb)
        wait_for(lambda: not self._may(resource, verb), 20, f"the right to {verb} {resource} to be gone")
        try:
            yield
        finally:
            self._write_roles("", "")
            wait_for(lambda: self._may(resource, verb), 20, f"the right to {verb} {resource} to be back")

    def _write_roles(self, resource: str, verb: str) -> None:
        for role in self.roles:
            rules = [piece for rule in role["rules"] for piece in _split(rule, resource, verb)]
            path = path_of(role["kind"], namespace=role["metadata"].get("namespace"), name=role["metadata"]["name"])
            self.town.plane.api("PATCH", path, {"rules": rules}, content_type=MERGE_PATCH)

    def _may(self, resource: str, verb: str) -> bool:
        plural, _, subresource = resource.partition("/")
        where = {
            "namespace": HOME if resource == "configmaps" else SHOP,
            "verb": verb,
            "group": GROUPS.get(resource, ""),
        }
        attributes = where | {"resource": plural, "subresource": subresource}
        group = "authorization.k8s.io/v1"
        body = {"apiVersion": group, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
        path = f"/apis/{group}/selfsubjectaccessreviews"
        allowed: bool = self.town.plane.api("POST", path, body, token=self.token)["status"]["allowed"]
        return allowed


def _split(rule: dict[str, Any], resource: str, verb: str) -> list[dict[str, Any]]:
    """The rule without that one right."""
    if resource not in rule["resources"]:
        return [rule]
    others = [one for one in rule["resources"] if one != resource]
    verbs = [one for one in rule["verbs"] if one != verb]
    pieces = [rule | {"resources": others}, rule | {"resources": [resource], "verbs": verbs}]
    return [piece for piece in pieces if piece["resources"] and piece["verbs"]]


@pytest.fixture(scope="module")
def town(make_town) -> Town:
    town = moving.settle_town(make_town(**moving.moving(settle="2s")))
    moving.add_spot(town)
    town.start()
    town.register_webhook()
    return town


@pytest.fixture(scope="module")
def account(town: Town) -> Account:
    return Account(town)


@pytest.fixture
def name(town: Town, request: pytest.FixtureRequest) -> Iterator[str]:
    """Of this test's Deployment, made by the test itself."""
    name = f"web-{zlib.crc32(request.node.name.encode()):x}"
    yield name
    town.plane.delete("Deployment", name, namespace=SHOP)


def asking_for_spot(town: Town, name: str, replicas: int = 1, **facts: Any) -> None:
    moving.deploy(town, name, replicas, **facts)
    moving.wants(town, name, "always")


def test_with_the_charts_rights_a_pod_moves_and_it_is_told(town: Town, account: Account, name: str):
    asking_for_spot(town, name)
    moves = account.run()
    assert [move["outcome"] for move in moves["finished"]] == ["moved"]
    assert (moves["refused"], moves["problem"]) == ([], "")
    assert moving.is_at_rest(town, name, "spot")
    assert "MovedToSpot" in moving.events(town, name)


# By what may not be listed, the code and what the sentence says.
BOUNDS = {
    "poddisruptionbudgets": ("budgets-unknown", "disruption budgets could not be read"),
    "horizontalpodautoscalers": ("autoscalers-unknown", "autoscalers could not be read"),
    "resourcequotas": ("no-headroom", "no surge: quotas could not be read"),
}


@pytest.mark.fault(43)
@pytest.mark.parametrize("resource", BOUNDS)
def test_who_may_not_list_what_bounds_a_move_begins_none(town: Town, account: Account, name: str, resource: str):
    code, why = BOUNDS[resource]
    asking_for_spot(town, name)
    with account.without(resource, "list"):
        moves = account.run()
        assert (moves["started"], moves["considered"][code]) == ([], 1)
        assert why in planned(account, name)["reason"]


def planned(account: Account, name: str) -> dict[str, Any]:
    """What `plan` says to somebody who has no more rights than the account."""
    access = ["--kubeconfig", account._kubeconfig, "-n", HOME, "-o", "json"]
    done = account.town.command("plan", "--config", str(account.town.config_file), *access)
    return next(one for one in json.loads(done.stdout)["workloads"] if one["workload"]["name"] == name)


@pytest.mark.fault(43)
def test_without_quotas_pods_are_evicted_where_there_is_headroom(town: Town, account: Account, name: str):
    asking_for_spot(town, name, 4)
    with account.without("resourcequotas", "list"):
        moves = account.run()
    assert [(move["way"], move["outcome"]) for move in moves["finished"]] == [("evict", "moved")]


@pytest.fixture
def claim(town: Town, name: str) -> Iterator[str]:
    """A claim that several nodes can hold, bound to a volume of the same name."""
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {"capacity": {"storage": "1Gi"}, "nfs": {"server": "files.example", "path": "/"}}
    reference = {"claimRef": {"namespace": SHOP, "name": name}}
    body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}}
    town.plane.apply(body | {"spec": spec | volume | reference})
    claimed = {"volumeName": name, "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "namespace": SHOP}
    town.plane.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec | claimed}
    )
    yield name
    town.plane.delete("PersistentVolumeClaim", name, namespace=SHOP)
    town.plane.delete("PersistentVolume", name)


def test_who_may_not_list_what_stands_behind_a_claim_leaves_its_pods(
    town: Town, account: Account, name: str, claim: str
):
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    asking_for_spot(town, name, volumes=[volume])
    for resource in CLAIMS:
        with account.without(resource, "list"):
            moves = account.run()
            assert (moves["started"], moves["considered"]["claims-unknown"]) == ([], 1), resource
    assert planned(account, name)["code"] == "starts"


@pytest.mark.fault(43)
def test_without_the_right_to_scale_a_surge_ends_as_refused_before_anything_changed(
    town: Town, account: Account, name: str
):
    asking_for_spot(town, name)
    with moving.watched(town.plane) as seen, account.without("deployments/scale", "update"):
        moves = account.run()
    (move,) = moves["finished"]
    assert move["outcome"] == "refused"
    assert 'cannot update resource "deployments/scale"' in move["note"]
    assert (seen.most_wanted(name), seen.lowest(name), moves["inFlight"]) == (1, 1, [])


@pytest.mark.fault(53)
def test_without_the_right_to_evict_an_eviction_ends_as_refused(town: Town, account: Account, name: str):
    asking_for_spot(town, name, 4, annotations={"spot-balancer.io/move": "evict"})
    with account.without("pods/eviction", "create"):
        moves = account.run()
    (move,) = moves["finished"]
    assert move["outcome"] == "refused"
    assert 'cannot create resource "pods/eviction"' in move["note"]
    assert moving.sides(town, name) == ["regular"] * 4


def test_without_the_right_to_create_events_moves_go_on_and_the_log_says_so_once(
    town: Town, account: Account, name: str
):
    asking_for_spot(town, name)
    with account.without("events", "create"):
        moves = account.run()
    assert [move["outcome"] for move in moves["finished"]] == ["moved"]
    assert moves["stderr"].count("Events cannot be written") == 1
    assert moving.events(town, name) == {}


@pytest.mark.fault(43)
def test_without_the_right_to_write_the_book_nothing_is_done_and_the_run_fails_with_the_reason(
    town: Town, account: Account, name: str
):
    asking_for_spot(town, name)
    with account.without("configmaps", "update"):
        moves = account.run(exit_code=3)
    assert 'cannot update resource "configmaps"' in moves["stderr"]
    assert moving.sides(town, name) == ["regular"]
