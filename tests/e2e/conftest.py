"""Towns for tests; each test module runs in one worker, so what it starts is started once for it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.parts.plane import COMPONENTS


@pytest.fixture(scope="module")
def make_town(
    tmp_path_factory: pytest.TempPathFactory, build_shown: Callable[..., None]
) -> Iterator[Callable[..., object]]:
    """A function that raises a town with our processes configured but not started; all end with the module."""
    build_shown(*COMPONENTS.values(), "prometheus", "promtool")
    from tests.e2e.town import raise_town

    with ExitStack() as stack:
        yield lambda **config: raise_town(stack, tmp_path_factory.mktemp("town"), **config)
