"""One real server for a module, with the standard snapshot of an idle, an active and an unknown owner."""

import pytest

from tests.builders import idle_shop_snapshot
from tests.serverproc import running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("server"), idle_shop_snapshot()) as running:
        yield running
