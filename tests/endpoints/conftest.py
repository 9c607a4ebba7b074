import pytest
from flask import Response
from werkzeug.test import Client

from tests.builders import NOW, idle_shop_snapshot
from webhook.app import HotRoutes, create_app
from webhook.metrics import Metrics
from webhook.settings import ServerSettings


class Shown:
    """A SnapshotView that shows what it is given."""

    def __init__(self, snapshot):
        self.snapshot = snapshot

    def current(self):
        return self.snapshot

    def now(self):
        return NOW


class House:
    """The app with all that it looks at; ``flask`` and ``hot`` are clients of the two ways in."""

    def __init__(self, tmp_path, **switches):
        self.snapshots = Shown(idle_shop_snapshot())
        self.metrics = Metrics()
        self.settings = ServerSettings(snapshot=tmp_path, tls_dir=tmp_path, **switches)
        self.app = create_app(self.settings, self.snapshots, self.metrics)
        self.flask = self.app.test_client()
        self.hot = Client(beside(self.app, HotRoutes(self.app, self.metrics)))

    def sample(self, name, **labels):
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def beside(app, hot):
    """WSGI that does as a connection does: what was posted to a hot route is answered without Flask."""

    def answer(environ, start_response):
        route = hot.find(environ["PATH_INFO"].encode("latin-1")) if environ["REQUEST_METHOD"] == "POST" else None
        if route is None:
            return app(environ, start_response)
        reply = hot.answer(route, environ.get("CONTENT_TYPE", ""), environ["wsgi.input"].read())
        return Response(reply.body, reply.status, reply.headers)(environ, start_response)

    return answer


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return House(tmp_path_factory.mktemp("house"))


@pytest.fixture
def own_house(tmp_path):
    """One that a test may change."""
    return House(tmp_path)
