"""Every doubt about a trace is a refusal that names line and fault; what is read counts as it must."""

import io
from datetime import UTC, datetime, timedelta

import pytest

from webhook.core.idleness import Code
from webhook.core.policy import IdlePolicy, Policy
from webhook.errors import ConfigurationError, InputError
from webhook.simulation import traces
from webhook.simulation.evidence import Ranges, View, code_at

HEADER = ",".join(traces.COLUMNS)
START = datetime(2026, 3, 2, tzinfo=UTC)
BUSY, IDLE = "0.5,1e8,20000,0.1", "0.001,1e8,50,0.1"
RANGES = Ranges.of(IdlePolicy())


def at(minute, seconds=0):
    return (START + timedelta(minutes=minute, seconds=seconds)).isoformat()


def line(minute, use=IDLE, pod="web-1", owner="shop/Deployment/web"):
    return f"{at(minute)},{pod},{owner},{use}"


def read(*lines, header=HEADER):
    text = "\n".join([header, *lines]) + "\n"
    return traces.read(io.BytesIO(text.encode()), Policy(), source="trace.csv")


def refused(*lines, header=HEADER):
    with pytest.raises(InputError) as caught:
        read(*lines, header=header)
    return str(caught.value)


def refused_header(header):
    with pytest.raises(ConfigurationError) as caught:
        read(header=header)
    return str(caught.value)


def code(track, minute):
    return code_at(track, minute, RANGES, View())


def test_a_quiet_trace_is_idle_after_its_window_and_a_busy_one_active():
    quiet = read(*(line(minute) for minute in range(90))).tracks[0]
    assert code(quiet, 59) is Code.YOUNG
    assert code(quiet, 60) is Code.IDLE
    busy = read(*(line(minute, BUSY) for minute in range(90))).tracks[0]
    assert code(busy, 90) is Code.ACTIVE
    assert sum(busy.busy) == 90


def test_replicas_are_what_the_owner_had_most_of_the_time_and_requests_the_largest():
    rows = [line(m, IDLE, f"web-{n}") for m in range(10) for n in range(3)] + [line(10, IDLE)]
    track = read(*rows).tracks[0]
    assert track.replicas == 3
    assert track.requests.cpu_cores == 0.1


def test_any_busy_pod_makes_its_owner_busy():
    rows = [line(m, use, pod) for m in range(70) for use, pod in ((IDLE, "web-1"), (BUSY, "web-2"))]
    assert code(read(*rows).tracks[0], 70) is Code.ACTIVE


def test_columns_may_stand_in_any_order_and_the_file_may_begin_with_a_byte_order_mark():
    header = "\ufeff" + ",".join(reversed(traces.COLUMNS))
    row = ",".join(reversed(line(0).split(",")))
    assert read(row, header=header).lines == 1


def test_unix_seconds_are_times_too():
    assert read(f"1772000000,web-1,shop/Deployment/web,{IDLE}").lines == 1


def test_a_sample_holds_for_five_minutes_and_then_its_minutes_are_unknown_and_counted():
    rows = [line(minute) for minute in (*range(0, 100, 5), 107, *range(108, 130))]
    found = read(*rows)
    # 95 holds to 100; 107 comes next.
    assert found.gap_minutes == 7
    assert code(found.tracks[0], 100) is Code.IDLE
    assert code(found.tracks[0], 130) is Code.GAP


def test_minutes_without_any_pod_are_unknown():
    rows = [line(m) for m in range(70)] + [line(m, pod="web-2") for m in range(75, 80)]
    assert code(read(*rows).tracks[0], 80) is Code.GAP


def test_of_two_samples_in_a_minute_the_larger_counts():
    rows = [line(0), f"{at(0, 20)},web-1,shop/Deployment/web,{BUSY}", f"{at(0, 40)},web-1,shop/Deployment/web,{IDLE}"]
    assert read(*rows, line(1)).tracks[0].busy == b"\x01\x00"


def test_a_pod_that_is_starting_up_shows_no_work():
    rows = [line(m) for m in range(60)] + [line(m, BUSY, "web-2") for m in range(60, 66)]
    assert not any(read(*rows).tracks[0].active)


def test_a_name_that_comes_back_after_a_day_is_another_pods():
    rows = [line(0), line(0, pod="web-0"), *(line(m, pod="web-0") for m in range(1, 3000))]
    assert read(*rows, f"{at(3000)},web-1,other/Deployment/web,{IDLE}").lines == 3002


def test_all_faults_of_a_header_are_told_together():
    told = refused_header("time,pod,pod,owner,cpuCores,memoryBytes,cpu")
    for fault in (
        "'receivedBytesPerSecond' is missing",
        "'cpuRequestCores' is missing",
        "'pod' is there 2 times",
        "'cpu' is not known",
    ):
        assert fault in told


def test_an_empty_file_is_refused():
    with pytest.raises(InputError, match="empty"):
        traces.read(io.BytesIO(b""), Policy(), source="trace.csv")
    assert "no line below" in refused()


def test_times_that_go_back_are_refused_by_line():
    assert refused(line(5), line(4)).startswith("trace.csv:3: time: ")


def test_a_time_without_zone_is_refused():
    assert "no time zone" in refused(f"2026-03-02T00:00:00,web-1,shop/Deployment/web,{IDLE}")


def test_mixed_time_zones_are_refused():
    other = f"2026-03-02T02:00:00+01:00,web-1,shop/Deployment/web,{IDLE}"
    assert "time zone +0100, the lines before are of time zone +0000" in refused(line(0), other)


def test_unix_seconds_among_dates_are_refused():
    assert "Unix seconds" in refused(line(0), f"1999999999,web-1,shop/Deployment/web,{IDLE}")


@pytest.mark.parametrize("time", ["yesterday", "", "-5", "1e9"])
def test_a_time_that_is_none_is_refused(time):
    assert "neither RFC 3339 nor Unix seconds" in refused(f"{time},web-1,shop/Deployment/web,{IDLE}")


def test_a_file_of_more_days_than_can_be_meant_is_refused():
    assert "more than 400 days" in refused(line(0), line(401 * 1440))


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("-0.1", "not negative"),
        ("nan", "finite"),
        ("inf", "finite"),
        ("much", "is no number"),
        ("", "is no number"),
        ("10001", "more than 10000"),
    ],
)
@pytest.mark.parametrize("column", ["cpuCores", "cpuRequestCores"])
def test_cores_that_cannot_be_are_refused(column, value, fault):
    fields = dict(zip(traces.COLUMNS, line(0).split(","), strict=True)) | {column: value}
    told = refused(",".join(fields.values()))
    assert told.startswith(f"trace.csv:2: {column}: ")
    assert fault in told


@pytest.mark.parametrize("column", ["memoryBytes", "receivedBytesPerSecond"])
def test_bytes_that_cannot_be_are_refused(column):
    fields = dict(zip(traces.COLUMNS, line(0).split(","), strict=True)) | {column: "1.1e15"}
    assert "expected bytes" in refused(",".join(fields.values()))


def test_a_pod_that_changes_its_owner_is_refused():
    assert "was of shop/Deployment/web before" in refused(line(0), line(1, owner="shop/Deployment/api"))


@pytest.mark.parametrize("owner", ["web", "shop/web", "shop/StatefulSet/db", "/Deployment/web", "a b/Deployment/web"])
def test_an_owner_that_is_no_deployment_is_refused(owner):
    assert "owner: " in refused(line(0, owner=owner))


@pytest.mark.parametrize("pod", ["../etc", "web..1", "web.-1", "web-.1", "Web", "web-", "", "w" * 254])
def test_a_pod_without_a_proper_name_is_refused(pod):
    assert "is no name of a pod" in refused(line(0, pod=pod))


def test_too_few_or_too_many_fields_are_refused():
    assert "6 fields; the header has 7" in refused(line(0).rpartition(",")[0])
    assert "8 fields; the header has 7" in refused(line(0) + ",1")


def test_a_quote_that_is_not_closed_is_refused():
    assert "no CSV" in refused(f'{at(0)},"web-1,shop/Deployment/web,{IDLE}')


def test_bytes_that_are_not_utf_8_are_refused_by_line():
    with pytest.raises(InputError, match=r"trace\.csv:2: not UTF-8"):
        traces.read(io.BytesIO(HEADER.encode() + b"\n\xff\xfe\n"), Policy(), source="trace.csv")


def test_a_line_without_end_is_refused_before_it_is_read_whole():
    stream = io.BytesIO(HEADER.encode() + b"\n" + b"x" * 10_000_000)
    with pytest.raises(InputError, match="longer than 16384 bytes"):
        traces.read(stream, Policy(), source="trace.csv")
    assert stream.tell() < 100_000


def test_two_lines_of_one_pod_and_time_are_refused_unless_they_are_the_same():
    told = refused(line(0), line(1), line(1, BUSY))
    assert told.startswith("trace.csv:4: time: pod web-1 has another line of the same time")
    assert read(line(0), line(1), line(1), line(2)) == read(line(0), line(1), line(1), line(2))
    assert read(line(0), line(1), line(1)).tracks == read(line(0), line(1)).tracks


@pytest.mark.parametrize("kind", ["deploy", "deployment", "deployments", "Deployment"])
def test_a_deployment_may_be_called_as_kubectl_does(kind):
    (track,) = read(line(0), line(1, owner=f"shop/{kind}/web")).tracks
    assert str(track.key) == "shop/Deployment/web"


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_columns_that_are_parted_by_something_else_are_told_in_one_sentence(mark, name):
    told = refused(header=HEADER.replace(",", mark))
    assert told == f"trace.csv:1: columns are parted by {name}; part them by commas"


def test_milliseconds_are_told_for_what_they_are():
    told = refused(f"1772000000000,web-1,shop/Deployment/web,{IDLE}")
    assert "'1772000000000' is too large for Unix seconds; milliseconds are divided by 1000" in told


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("cpuCores", "100m", "'100m' is no number; expected cores, such as 0.25"),
        ("memoryBytes", "50Mi", "'50Mi' is no number; expected bytes, such as 52428800"),
        ("receivedBytesPerSecond", "1k", "'1k' is no number; expected bytes a second, such as 1500"),
    ],
)
def test_an_amount_with_a_unit_is_told_which_one_is_meant(column, value, expected):
    fields = dict(zip(traces.COLUMNS, line(0).split(","), strict=True)) | {column: value}
    assert expected in refused(",".join(fields.values()))


def test_names_are_those_of_kubernetes():
    assert "owner: 'A_b/Deployment/web' is not" in refused(line(0, owner="A_b/Deployment/web"))
    assert "owner: 'shop/Deployment/We_b' is not" in refused(line(0, owner="shop/Deployment/We_b"))
    assert "pod: 'We_b' is no name" in refused(line(0, pod="We_b"))


@pytest.mark.parametrize("column", traces.COLUMNS)
def test_what_is_endless_is_not_told_whole(column):
    fields = dict(zip(traces.COLUMNS, line(0).split(","), strict=True)) | {column: "9" * 400}
    assert len(refused(",".join(fields.values()))) < 200
    assert len(refused_header(HEADER.replace(column, column * 50))) < 300
