"""The real Prometheus of the tests: backfilled, asked, stopped and started."""

import pytest

from tests.parts.prometheus import PrometheusServer, QueryError, backfill

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-prometheus")]

START_S = 1_700_000_000
HISTORY = "\n".join(
    [
        "# TYPE work_seconds counter",
        *[f'work_seconds_total{{pod="a"}} {step * 30} {START_S + step * 60}' for step in range(61)],
        "# EOF\n",
    ]
)


@pytest.fixture
def server(part, tmp_path):
    part("promtool")
    backfill(HISTORY, tmp_path / "data")
    part("prometheus")
    with PrometheusServer(tmp_path) as running:
        yield running


def test_backfilled_history_answers_as_if_it_had_been_scraped(server):
    hour_later = START_S + 3600
    assert server.value("rate(work_seconds_total[30m])", at_s=hour_later) == pytest.approx(0.5)
    assert server.query("work_seconds_total") == []


def test_stopped_it_refuses_connections_and_started_again_it_has_its_data(server):
    server.stop()
    with pytest.raises(OSError, match="refused"):
        server.query("up")
    server.start()
    assert server.value("work_seconds_total", at_s=START_S + 60) == 30


def test_a_query_it_cannot_parse_is_told_in_its_own_words(server):
    with pytest.raises(QueryError, match="parse error"):
        server.query("rate(")
