"""The rights of each ServiceAccount, whole: one verb more than the table and this fails."""

import pytest

from tests.chart.render import NAMESPACE, RELEASE, render

READ = ("get", "list", "watch")
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
# One more for either is a right that nothing uses: it comes with the feature that does.
CLUSTER_RIGHTS = {"sync": READ_BY_BOTH, "monitor": READ_BY_BOTH}
OWN_NAMESPACE_RIGHTS = {
    "sync": {("", "configmaps"): READ},
    "monitor": {("", "configmaps"): ("create", "get", "list", "update", "watch")},
}


def rights(role):
    """{(group, resource): sorted verbs} of a Role or ClusterRole; fails on rules of another shape."""
    found = {}
    for rule in role["rules"]:
        assert set(rule) == {"apiGroups", "resources", "verbs"}, rule
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found[group, resource] = tuple(sorted({*found.get((group, resource), ()), *rule["verbs"]}))
    return found


def bound_roles(objects, account):
    """The Roles and ClusterRoles bound to one ServiceAccount of the release."""
    subject = {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}
    for binding in objects:
        if binding["kind"] in {"RoleBinding", "ClusterRoleBinding"} and subject in binding["subjects"]:
            reference = binding["roleRef"]
            kind, name = reference["kind"], reference["name"]
            yield next(o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name)


@pytest.mark.parametrize("process", ["sync", "monitor"])
def test_each_process_has_exactly_the_rights_of_the_table(process):
    roles = list(bound_roles(render(), f"{RELEASE}-{process}"))
    cluster, own = ([r for r in roles if r["kind"] == kind] for kind in ("ClusterRole", "Role"))
    assert [rights(r) for r in cluster] == [CLUSTER_RIGHTS[process]]
    assert [rights(r) for r in own] == [OWN_NAMESPACE_RIGHTS[process]]


def test_no_right_is_a_star():
    for made in render():
        if made["kind"] in {"Role", "ClusterRole"}:
            assert "*" not in str(made["rules"])


def test_every_binding_names_an_account_and_a_role_of_this_release():
    objects = render()
    there = {(o["kind"], o["metadata"]["name"]) for o in objects}
    bindings = [o for o in objects if o["kind"] in {"RoleBinding", "ClusterRoleBinding"}]
    assert len(bindings) == 4
    for binding in bindings:
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in there
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["name"]) in there
            assert subject["namespace"] == NAMESPACE


def test_no_role_stands_without_a_binding():
    objects = render()
    bound = {(o["roleRef"]["kind"], o["roleRef"]["name"]) for o in objects if "roleRef" in o}
    assert {(o["kind"], o["metadata"]["name"]) for o in objects if o["kind"] in {"Role", "ClusterRole"}} == bound
