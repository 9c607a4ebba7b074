"""The API server's JSON: what is read of it, and that no shape of it breaks the reader."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.core.census import CronStatus, JobRun, PodFact
from webhook.wire.constraints import CONSTRAINTS
from webhook.wire.kubernetes import RESOURCES, decode_event, decode_message, decode_page, decode_version

BY_KIND = {resource.kind: resource for resource in RESOURCES}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["metadata", "spec", "status", "name", "resourceVersion", "containers", "ownerReferences", "conditions", "affinity",
                         "volumes", "selector", "hard", "managedFields", "strategy", "minAvailable", "nodeAffinity", "containerStatuses", "state", "running", "startedAt"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


def page(*items, **metadata) -> bytes:
    return json.dumps({"metadata": {"resourceVersion": "7"} | metadata, "items": list(items)}).encode()


def pod_fact(**spec) -> PodFact:
    found = decode_page(page({"metadata": {"name": "p", "namespace": "n"}, "spec": spec}), BY_KIND["Pod"])
    return found.entries[0].fact


BEGAN, SLOW, SLOWER = "2026-03-05T12:00:00Z", "2026-03-05T12:04:00Z", "2026-03-05T12:05:00Z"


def runs(since, restarts=0):
    return {"name": "c", "restartCount": restarts, "state": {"running": {"startedAt": since}}}


@pytest.mark.parametrize(
    ("statuses", "since"),
    [
        ([runs(SLOWER), runs(SLOW)], SLOW),
        ([runs(SLOW), {"name": "d", "state": {"waiting": {"reason": "ErrImagePull"}}}], SLOW),
        ([runs("2026-03-05T12:00:04Z")], None),
        ([runs("2026-03-05T11:00:00Z")], None),
        ([runs(SLOW, restarts=1)], None),
        ([runs(SLOW), runs(SLOWER, restarts=1)], None),
        ([runs(SLOW), {"name": "d", "state": {"terminated": {"exitCode": 0}}}], None),
        ([{"name": "d", "state": {"terminated": {"exitCode": 0}}}], None),
        ([{"name": "d", "state": None}], None),
        ([runs(None)], None),
        ([runs("2026-03-05T12:04:00")], None),
        ([], None),
        (None, None),
    ],
)
def test_a_pod_tells_when_it_began_only_where_that_was_long_after_its_start(statuses, since):
    status = {"phase": "Running", "startTime": BEGAN, "containerStatuses": statuses}
    found = decode_page(page({"metadata": {"name": "p", "namespace": "n"}, "status": status}), BY_KIND["Pod"])
    fact = found.entries[0].fact
    assert fact.running_since == (datetime.fromisoformat(since) if since else None)
    assert fact.began_at == datetime.fromisoformat(since or BEGAN)


@given(st.lists(JSON, max_size=4), st.sampled_from((*RESOURCES, *CONSTRAINTS)))
def test_odd_objects_are_counted_and_the_good_one_is_still_there(odd, resource):
    good = {"metadata": {"name": "good"}}
    found = decode_page(page(*odd, good), resource)
    assert found.entries[-1].key == ("", "good")
    assert len(found.entries) + found.unreadable == len(odd) + 1


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_list_no_event_and_no_version_is_said_to_be_none(body):
    for read in (
        lambda: decode_page(body, BY_KIND["Pod"]),
        lambda: decode_event(body, BY_KIND["Pod"]),
        lambda: decode_version(body),
    ):
        try:
            read()
        except ValueError:
            continue
    assert isinstance(decode_message(body), str)


@given(JSON)
def test_an_event_with_any_object_is_read_or_refused(value):
    for kind in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"):
        line = json.dumps({"type": kind, "object": value}).encode()
        try:
            event = decode_event(line, BY_KIND["Node"])
        except ValueError:
            continue
        assert event.kind == kind


@pytest.mark.parametrize(
    ("spec", "cores"),
    [
        ({}, 0.0),
        ({"containers": None}, 0.0),
        ({"containers": [{"resources": {"requests": {"cpu": "250m"}}}, {"resources": {"requests": None}}]}, 0.25),
        ({"containers": [{"resources": {"requests": {"cpu": "nonsense"}}}]}, 0.0),
        ({"containers": [{"resources": {"requests": {"cpu": "1"}}}], "overhead": {"cpu": "500m"}}, 1.5),
        ({"initContainers": [{"resources": {"requests": {"cpu": "4"}}}]}, 0.0),
        ({"initContainers": [{"restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}}]}, 0.05),
        (
            {
                "containers": [{"resources": {"requests": {"cpu": "3"}}}],
                "resources": {"requests": {"cpu": "2"}},
                "overhead": {"cpu": "1"},
            },
            3.0,
        ),
    ],
)
def test_requests_are_what_a_running_pod_holds(spec, cores):
    assert pod_fact(**spec).requests.cpu_cores == pytest.approx(cores)


def test_every_kind_has_the_path_the_api_server_serves():
    assert [resource.path for resource in RESOURCES] == [
        "/api/v1/nodes",
        "/api/v1/pods",
        "/api/v1/namespaces",
        "/apis/apps/v1/replicasets",
        "/apis/apps/v1/deployments",
        "/apis/apps/v1/statefulsets",
        "/apis/batch/v1/jobs",
        "/apis/batch/v1/cronjobs",
    ]


def test_the_next_page_is_named_and_the_last_has_none():
    assert decode_page(page(**{"continue": "abc"}), BY_KIND["Node"]).next_page == "abc"
    assert decode_page(page(), BY_KIND["Node"]).next_page == ""


def controller_fact(kind, **status):
    entry = decode_page(page({"metadata": {"name": "c", "namespace": "n"}, "status": status}), BY_KIND[kind]).entries[0]
    return entry.fact


def test_a_cron_job_tells_of_its_runs_and_one_without_a_status_of_none():
    told = controller_fact(
        "CronJob",
        lastScheduleTime="2026-03-05T12:00:00Z",
        lastSuccessfulTime="2026-03-05T11:00:09Z",
        active=[{"kind": "Job", "name": "c-29545200", "uid": "u"}, {"kind": "Job"}],
    )
    noon = datetime(2026, 3, 5, 12, tzinfo=UTC)
    assert told.schedule == CronStatus(noon, noon - timedelta(minutes=59, seconds=51), ("c-29545200",))
    assert controller_fact("CronJob").schedule == CronStatus()
    assert controller_fact("CronJob", active=None).schedule == CronStatus()
    assert controller_fact("Deployment", active=3, succeeded="no").schedule is None


def test_a_job_that_ended_counts_its_pods_and_one_that_works_is_no_run():
    start, end = "2026-03-05T12:00:00Z", "2026-03-05T12:01:00Z"
    ended = {"type": "Complete", "status": "True", "lastTransitionTime": end}
    noon = datetime(2026, 3, 5, 12, tzinfo=UTC)
    run = JobRun(noon, noon + timedelta(minutes=1), succeeded=True, pods=3)
    assert controller_fact("Job", startTime=start, conditions=[ended], succeeded=2, failed=1).run == run
    assert controller_fact("Job", startTime=start, conditions=[ended]).run == JobRun(noon, run.ended_at, succeeded=True)
    assert controller_fact("Job", startTime=start, active=1).run is None
