"""Fixtures over the real parts; a root conftest loads them with `pytest_plugins = ["tests.parts.fixtures"]`.

Where a part is missing, tests that need it are skipped with what to do about it, or fail if
SPOT_BALANCER_REQUIRE_PARTS=1. Modules that use `control_plane` say
`pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-<module>")]`, so that one worker starts one plane.
A module changes the plane by a global `CONTROL_PLANE = {"without": ("scheduler",)}` (arguments of ControlPlane).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.parts import fetch
from tests.parts.plane import COMPONENTS, ControlPlane
from tests.parts.prometheus import PrometheusServer, kube_state_metrics_target, kubelet_target
from tests.parts.usage_exporter import UsageExporter


def need(*tools: str) -> None:
    """Has all these tools, built if need be; without one the test is skipped, or fails where parts are required."""
    for tool in tools:
        if fault := _trouble_with(tool):
            if os.environ.get("SPOT_BALANCER_REQUIRE_PARTS", "") not in {"", "0"}:
                pytest.fail(fault, pytrace=False)
            pytest.skip(fault)


def _trouble_with(tool: str) -> str | None:
    try:
        fetch.require(tool)
    except fetch.PartMissingError as missing:
        return str(missing)
    return None


@pytest.fixture(scope="session")
def build_shown(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`need`, with the progress of a build going to the terminal and not into a captured log."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def need_shown(*tools: str) -> None:
        with capture.global_and_fixture_disabled():
            need(*tools)

    return need_shown


@pytest.fixture(scope="session")
def part(build_shown: Callable[..., None]) -> Callable[[str], Path]:
    """The path of one tool: `part("helm")`."""

    def path_of(tool: str) -> Path:
        build_shown(tool)
        return fetch.require(tool).path

    return path_of


@pytest.fixture(scope="module")
def control_plane(
    request: pytest.FixtureRequest, build_shown: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """A plane of the module's own, nodes and pods none."""
    options = getattr(request.module, "CONTROL_PLANE", {})
    build_shown(*(program for name, program in COMPONENTS.items() if name not in options.get("without", ())))
    with ControlPlane(tmp_path_factory.mktemp("plane"), **options) as plane:
        yield plane


@pytest.fixture(scope="module")
def usage_exporter(control_plane: ControlPlane) -> Iterator[UsageExporter]:
    with UsageExporter(control_plane) as exporter:
        yield exporter


@pytest.fixture(scope="module")
def prometheus(
    control_plane: ControlPlane,
    usage_exporter: UsageExporter,
    build_shown: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PrometheusServer]:
    """Scrapes the exporter and kube-state-metrics every second."""
    build_shown("prometheus", "promtool")
    targets = [
        kubelet_target(usage_exporter.target),
        kube_state_metrics_target(control_plane.port("kube-state-metrics")),
    ]
    with PrometheusServer(tmp_path_factory.mktemp("prometheus"), targets) as server:
        yield server
