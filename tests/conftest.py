"""What every test run shares: a clean environment, Hypothesis profiles, and no silent skips.

`SPOT_BALANCER_REQUIRE_PARTS=1` (set by `.ci/run`) turns every skip into a failure: a release is not
tested if its end-to-end tests did not run. `SPOT_BALANCER_HYPOTHESIS` picks the profile: dev, ci or soak.
"""

import importlib.util
import logging
import os
import re

import pytest
from hypothesis import HealthCheck, settings

# A developer's proxy or cluster must never be talked to by a test.
for _name in list(os.environ):
    if re.fullmatch(r"(?i)(https?|all|no|ftp)_proxy|KUBECONFIG|KUBERNETES_SERVICE_(HOST|PORT)|PROMETHEUS_URL", _name):
        del os.environ[_name]

REQUIRE_PARTS = os.environ.get("SPOT_BALANCER_REQUIRE_PARTS", "") not in {"", "0"}

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}
settings.register_profile("dev", max_examples=100, **_COMMON)
settings.register_profile("ci", max_examples=500, **_COMMON)
settings.register_profile("soak", max_examples=10_000, **_COMMON)
settings.load_profile(os.environ.get("SPOT_BALANCER_HYPOTHESIS", "ci" if REQUIRE_PARTS else "dev"))

if importlib.util.find_spec("tests.parts.fixtures"):
    pytest_plugins = ["tests.parts.fixtures"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    return _forbid_skip(report) if REQUIRE_PARTS else report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    return _forbid_skip(report) if REQUIRE_PARTS else report


def _forbid_skip(report):
    if report.outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: nothing may be skipped in this run, yet: {reason}"
    return report


@pytest.fixture(autouse=True)
def _own_logging():
    """A command that sets up its process's logs must not do so for the tests that come after it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
