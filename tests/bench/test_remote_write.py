import time

import pytest
import urllib3

from bench import remote_write


def test_labels_are_sorted_with_the_name_among_them():
    written = remote_write.labels("up", {"pod": "a", "Zone": "b"})
    assert written.index(b"Zone") < written.index(b"__name__") < written.index(b"pod")


def test_a_series_is_labels_and_samples_as_the_protocol_has_them():
    written = remote_write.series(remote_write.labels("up", {}), remote_write.samples([(1, 2.0)]))
    label, sample = b"\x0a\x08__name__\x12\x02up", b"\x09" + b"\0\0\0\0\0\0\0\x40" + b"\x10\xe8\x07"
    inner = b"\x0a" + bytes([len(label)]) + label + b"\x12" + bytes([len(sample)]) + sample
    assert written == b"\x0a" + bytes([len(inner)]) + inner


@pytest.mark.e2e
def test_a_real_prometheus_takes_what_is_written_and_refuses_to_take_it_back(tmp_path):
    from tests.parts.prometheus import PrometheusServer

    now = int(time.time())
    with PrometheusServer(tmp_path, arguments=[remote_write.ARGUMENT]) as server, urllib3.PoolManager() as http:
        labelled = remote_write.labels("steady", {"pod": "a" * 300})
        remote_write.send(
            http, server.url, [remote_write.series(labelled, remote_write.samples([(now - 60, 1), (now, 2)]))]
        )
        assert server.value("steady") == 2
        assert server.value("sum_over_time(steady[5m])") == 3
        with pytest.raises(RuntimeError, match="400"):
            remote_write.send(http, server.url, [remote_write.series(labelled, remote_write.samples([(now - 30, 9)]))])
