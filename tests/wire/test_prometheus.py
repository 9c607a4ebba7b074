import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.core.policy import IdlePolicy
from webhook.errors import UsageUnavailable
from webhook.wire.prometheus import (
    code_of,
    decode_error,
    decode_pod_vector,
    decode_pods,
    decode_time,
    decode_vector,
    decode_version,
)
from webhook.wire.promql import LOADS, TEMPLATES, duration, load_queries, seconds, sweep_queries


def vector(*values, **top):
    series = [{"metric": {"pod": f"p{i}"}, "value": [1.5, value]} for i, value in enumerate(values)]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": series}, **top}).encode()


def refusal(body, decode=decode_vector):
    with pytest.raises(UsageUnavailable) as caught:
        decode(body)
    return caught.value.code


def test_a_vector_is_read_with_labels_and_values():
    rows, dropped, _ = decode_vector(vector("0", "1.25", "2e3"))
    assert [(row.labels["pod"], row.value) for row in rows] == [("p0", 0.0), ("p1", 1.25), ("p2", 2000.0)]
    assert dropped == 0


@pytest.mark.fault(33)
@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-0", "1e309", "abc", "-1", "", "1_0", "0x10"])
def test_a_value_that_is_no_measurement_is_dropped_and_counted(value):
    rows, dropped, _ = decode_vector(vector("1", value))
    assert [row.value for row in rows] == [1.0]
    assert dropped == 1


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"status":"error","errorType":"timeout","error":"expanding series"}', "error"),
        (vector("1", warnings=["store b did not answer"]), "partial"),
        (b'{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}', "type"),
        (b'{"status":"success","data":{"resultType":"string","result":[1,"x"]}}', "type"),
        (b'{"status":"success","data":{"resultType":"matrix","result":[]}}', "type"),
        (b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}', "type"),
        (b'{"status":"success"}', "error"),
        (
            b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":1},"value":[1,"1"]}]}}',
            "malformed",
        ),
        (b'{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"1"]}]}}', "malformed"),
        (b'{"status":"success","data":{"resultType":"vector","result":null}}', "malformed"),
        (b"null", "malformed"),
        (b"[]", "malformed"),
        (b"", "malformed"),
        (b"<html>", "malformed"),
        (b'{"status":"\xff"}', "malformed"),
        (vector("1")[:-5], "malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:50].decode(errors="replace"),
)
def test_whatever_is_no_whole_successful_vector_is_refused(body, code):
    assert refusal(body) == code


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    "body",
    [
        vector("1", warnings=["store b did not answer"]),
        b'{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":1},"value":[1,"1"]}]}}',
        vector("1")[:-5],
        b"<html>",
    ],
)
def test_what_is_refused_as_a_vector_is_refused_as_one_of_pods(body):
    assert refusal(body, decode_pods) == refusal(body)


pods = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(["", "a", "b"]) for name in ("namespace", "pod", "container")}
)
values = st.sampled_from(["0", "1.5", "2", "NaN", "-1", "+Inf", "x"])


@given(st.lists(st.tuples(pods, values)))
def test_a_vector_of_pods_says_what_the_vector_says(series):
    result = [{"metric": labels, "value": [1.5, value]} for labels, value in series]
    body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
    slowly, whole, quick = {}, decode_vector(body), decode_pod_vector(body)
    assert [value for _, value in quick.rows] == [value for _, value in whole.rows]
    assert quick.dropped == whole.dropped
    for labels, value in whole.rows:
        pod = (labels.get("namespace"), labels.get("pod"))
        if all(pod):
            slowly[pod] = max(value, slowly.get(pod, 0.0))
    assert decode_pods(body) == slowly


def test_infos_are_harmless_and_handed_on():
    told = decode_vector(vector("1", infos=["PromQL info: metric might not be a counter"], warnings=[]))
    assert [row.value for row in told.rows] == [1.0]
    assert told.infos == ("PromQL info: metric might not be a counter",)


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    "said",
    [
        {"warnings": ["No StoreAPIs matched for this query"]},  # Thanos
        {"isPartial": True},  # VictoriaMetrics' cluster
        {"isPartial": True, "warnings": None},
    ],
    ids=["thanos", "victoriametrics", "both"],
)
def test_an_answer_that_says_it_is_partial_is_none(said):
    assert refusal(vector("1", **said)) == "partial"


VICTORIA_METRICS = b"""{"status":"success","isPartial":false,"data":{"resultType":"vector","result":[
{"metric":{"pod":"a"},"value":[1772712007,"1e-05"]},{"metric":{"pod":"b"},"value":[1772712007.123,"1.5e+06"]},
{"metric":{"pod":"c"},"value":[1772712007,"12345678901234567890"]}]},
"stats":{"seriesFetched":"3","executionTimeMsec":2}}"""
MIMIR = b"""{"status":"success","data":{"resultType":"vector","stats":{"samples":{"totalQueryableSamples":9}},
"result":[{"metric":{"pod":"a"},"value":[1772712007.123,"0.00001"]}]}}"""


def test_numbers_and_further_keys_are_read_as_other_stores_write_them():
    values = [row.value for row in decode_vector(VICTORIA_METRICS).rows]
    assert values == [1e-05, 1.5e06, 12345678901234567890.0]
    assert [row.value for row in decode_vector(MIMIR).rows] == [1e-05]


@pytest.mark.parametrize(
    "said",
    [
        "query processing would load too many samples into memory in query execution",
        "the query exceeded the maximum number of chunks (limit: 11 chunks) (err-mimir-max-chunks-per-query)",
        "the number of matching timeseries exceeds 300000; increase -search.maxUniqueTimeseries",
        "exceeded series limit: limit 10 violated (got 11): limit violated",
    ],
    ids=["prometheus", "mimir", "victoriametrics", "thanos"],
)
def test_a_limit_of_the_store_has_a_code_of_its_own(said):
    assert code_of(f"execution: {said}") == "limit"
    assert code_of("execution: multiple matches for labels") == ""


@given(st.binary())
def test_no_bytes_lead_to_another_exception(body):
    for decode in (decode_vector, decode_time):
        assert refusal(body, decode)
    assert isinstance(decode_error(body), str)
    assert isinstance(decode_version(body), str)


@pytest.mark.parametrize("clock", ["NaN", "-1", "1e300", "x"])
def test_a_clock_that_tells_no_time_is_refused(clock):
    body = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [1, clock]}}).encode()
    assert refusal(body, decode_time) == "malformed"


def test_prometheus_own_clock_is_read():
    body = b'{"status":"success","data":{"resultType":"scalar","result":[1772712007.123,"1772712007.123"]}}'
    assert decode_time(body) == datetime(2026, 3, 5, 12, 0, 7, 123000, tzinfo=UTC)


def test_an_error_message_is_cut_short():
    body = json.dumps({"status": "error", "errorType": "bad_data", "error": "x" * 5000}).encode()
    assert len(decode_error(body)) == 300


# --- queries

durations = st.timedeltas(timedelta(milliseconds=1), timedelta(days=30))


@given(durations)
def test_durations_are_written_to_the_millisecond(length):
    text = duration(length)
    unit = timedelta(milliseconds=1) if text.endswith("ms") else timedelta(seconds=1)
    assert int(text.rstrip("ms")) * unit == length - length % timedelta(milliseconds=1)
    assert abs(float(seconds(length)) - length.total_seconds()) < 0.001


@given(window=durations, rate=durations, step=durations)
def test_no_query_knows_a_default_for_what_is_missing(window, rate, step):
    """`or vector(0)` turns an outage into rest; the number of queries is constant."""
    policy = IdlePolicy(window=window, rate_window=rate, step=step)
    queries = sweep_queries(policy) | load_queries(LOADS, policy)
    assert queries.keys() == TEMPLATES.keys()
    for query in queries.values():
        assert "vector(" not in query
        assert "absent" not in query
        assert query.count("(") == query.count(")")
