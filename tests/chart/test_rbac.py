"""The rights of each ServiceAccount, whole: one verb more than the table and this fails."""

import pytest

from tests.chart.render import NAMESPACE, RELEASE, render

READ = ("get", "list", "watch")
WRITE_BOOK = ("create", "get", "list", "update", "watch")
READ_BY_BOTH = {
    ("", "nodes"): READ,
    ("", "pods"): READ,
    ("", "namespaces"): READ,
    ("apps", "deployments"): READ,
    ("apps", "replicasets"): READ,
    ("apps", "statefulsets"): READ,
    ("batch", "cronjobs"): READ,
    ("batch", "jobs"): READ,
}
FOR_MOVES = {
    ("", "persistentvolumeclaims"): READ,
    ("", "persistentvolumes"): READ,
    ("", "resourcequotas"): READ,
    ("policy", "poddisruptionbudgets"): READ,
    ("autoscaling", "horizontalpodautoscalers"): READ,
    ("storage.k8s.io", "storageclasses"): READ,
    ("", "events"): ("create", "patch"),
    ("events.k8s.io", "events"): ("create", "patch"),
}
MOVE = {("", "pods/eviction"): ("create",), ("apps", "deployments/scale"): ("get", "update")}
RESTART = {("apps", "deployments"): ("patch",)}
SYNC = {"cluster": READ_BY_BOTH, NAMESPACE: {("", "configmaps"): READ}}
MONITOR = {"cluster": READ_BY_BOTH, NAMESPACE: {("", "configmaps"): WRITE_BOOK}}
# Where each right holds. One more for either is a right that nothing uses: it comes with the feature that does.
SETTINGS = {
    "as-it-comes": ({}, MONITOR),
    "named-before-it-is-on": ({"namespaces": ["shop"], "restartNamespaces": ["shop"]}, MONITOR),
    "moving": ({"enabled": True}, {**MONITOR, "cluster": READ_BY_BOTH | FOR_MOVES | MOVE}),
    "moving-in-two-namespaces": (
        {"enabled": True, "namespaces": ["shop", "batch"]},
        {**MONITOR, "cluster": READ_BY_BOTH | FOR_MOVES, "shop": MOVE, "batch": MOVE},
    ),
    "restarting-in-one": (
        {"enabled": True, "restartNamespaces": ["batch"]},
        {**MONITOR, "cluster": READ_BY_BOTH | FOR_MOVES | MOVE, "batch": RESTART},
    ),
    "restarting-in-one-of-two": (
        {"enabled": True, "namespaces": ["shop", "batch"], "restartNamespaces": ["batch"]},
        {**MONITOR, "cluster": READ_BY_BOTH | FOR_MOVES, "shop": MOVE, "batch": MOVE | RESTART},
    ),
}
every_setting = pytest.mark.parametrize(("moves", "monitor"), SETTINGS.values(), ids=SETTINGS)


def rights(role):
    """{(group, resource): sorted verbs} of a Role or ClusterRole; fails on rules of another shape."""
    found = {}
    for rule in role["rules"]:
        assert set(rule) == {"apiGroups", "resources", "verbs"}, rule
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found[group, resource] = tuple(sorted({*found.get((group, resource), ()), *rule["verbs"]}))
    return found


def rights_of(objects, account):
    """{where: rights} of one ServiceAccount of the release, by namespace; where is `cluster` for a ClusterRoleBinding."""
    subject, found = {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}, {}
    roles = {(o["kind"], o["metadata"]["name"]): o for o in objects if o["kind"] in {"Role", "ClusterRole"}}
    for binding in objects:
        if binding["kind"] in {"RoleBinding", "ClusterRoleBinding"} and subject in binding["subjects"]:
            role = roles[binding["roleRef"]["kind"], binding["roleRef"]["name"]]
            where = binding["metadata"]["namespace"] if binding["kind"] == "RoleBinding" else "cluster"
            assert role["metadata"].get("namespace", where) == where
            for what, verbs in rights(role).items():
                held = found.setdefault(where, {})
                held[what] = tuple(sorted({*held.get(what, ()), *verbs}))
    return found


@every_setting
def test_each_process_has_exactly_the_rights_of_the_table(moves, monitor):
    objects = render({"moves": moves})
    assert rights_of(objects, f"{RELEASE}-monitor") == monitor
    assert rights_of(objects, f"{RELEASE}-sync") == SYNC


def test_only_a_monitor_that_loops_may_hold_a_lease():
    objects = render({"monitor": {"loop": {"enabled": True}}})
    lease = {("coordination.k8s.io", "leases"): WRITE_BOOK}
    assert rights_of(objects, f"{RELEASE}-monitor") == {**MONITOR, NAMESPACE: MONITOR[NAMESPACE] | lease}
    assert rights_of(objects, f"{RELEASE}-sync") == SYNC


def test_without_rbac_no_right_is_given():
    objects = render({"moves": {"enabled": True, "restartNamespaces": ["batch"]}, "rbac": {"create": False}})
    assert not [o for o in objects if o["kind"].endswith(("Role", "RoleBinding"))]


@every_setting
def test_no_right_is_a_star_and_none_reaches_further_than_the_mover_may(moves, monitor):
    never = {"secrets", "pods/exec", "pods/attach", "serviceaccounts/token", "roles", "clusterroles"}
    for made in render({"moves": moves}):
        if made["kind"] in {"Role", "ClusterRole"}:
            assert "*" not in str(made["rules"])
            for (_, resource), verbs in rights(made).items():
                assert resource not in never
                assert not {"delete", "deletecollection", "escalate", "bind", "impersonate"} & set(verbs)
                assert resource not in {"pods", "nodes"} or verbs == READ


@every_setting
def test_every_binding_names_an_account_and_a_role_of_this_release(moves, monitor):
    objects = render({"moves": moves})
    there = {(o["kind"], o["metadata"]["name"]) for o in objects}
    bindings = [o for o in objects if o["kind"] in {"RoleBinding", "ClusterRoleBinding"}]
    assert len({(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in bindings}) == len(bindings)
    for binding in bindings:
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in there
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["name"]) in there
            assert subject["namespace"] == NAMESPACE


@every_setting
def test_no_role_stands_without_a_binding(moves, monitor):
    objects = render({"moves": moves})
    bound = {(o["roleRef"]["kind"], o["roleRef"]["name"]) for o in objects if "roleRef" in o}
    assert {(o["kind"], o["metadata"]["name"]) for o in objects if o["kind"] in {"Role", "ClusterRole"}} == bound
