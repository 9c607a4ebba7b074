"""A share holds under a burst that two servers answer, neither of which knows of the other."""

import contextlib
import itertools
import math
import socket
import threading

import pytest

from tests import serverproc
from tests.e2e import steering
from tests.e2e.steering import decision

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
CONTROL_PLANE = {"without": ("kube-state-metrics",)}
BURST = 200
SHARE = 0.5
# Each pod is a draw of its own, so the count is binomial; beyond four sigma lies one run in 16,000.
BOUND = 4 * math.sqrt(BURST * SHARE * (1 - SHARE))


def relay(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def alternating(ports):
    """One address whose connections go to the ports in turn, as a Service's would."""
    turns, links = itertools.cycle(ports), []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                caller, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", next(turns)))
                links.extend((caller, server))
                for pair in ((caller, server), (server, caller)):
                    threading.Thread(target=relay, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for link in links:
                link.close()


def test_a_burst_through_two_servers_stays_within_the_share_and_its_spread(control_plane, tmp_path, capsys):
    plane, name = control_plane, "burst"
    annotations = {"spot-balancer.io/max-spot": "50%"}
    new = steering.workload(name, "web", annotations=annotations, replicas=BURST, pods=0)
    world = steering.snapshot(name, new)
    plane.namespace(name)
    with contextlib.ExitStack() as stack:
        servers = []
        for number in (1, 2):
            (tmp_path / str(number)).mkdir()
            servers.append(stack.enter_context(serverproc.running_server(tmp_path / str(number), world)))
        port = stack.enter_context(alternating([server.port for server in servers]))
        authorities = b"".join(server.ca.cert_pem.bytes() for server in servers)
        steering.called(plane, name, servers, port, authorities)
        plane.deployment("web", namespace=name, replicas=BURST)
        pods = plane.wait_for(lambda: found if len(found := plane.pods(name)) == BURST else None, 60, "200 pods")
        answered = [server.metric("spot_balancer_mutate_seconds_count") for server in servers]
    decided = [decision(pod) for pod in pods]
    going = decided.count("v1/spot/preferred/1")
    with capsys.disabled():
        print(f"\nmax-spot 50%: {going} of {BURST} to spot; the servers answered {answered}")
    assert going + decided.count("v1/regular/max-spot/1") == BURST, "each pod is drawn, none is passed by"
    assert abs(going - BURST * SHARE) <= BOUND
    assert all(answered), "both servers took part"
