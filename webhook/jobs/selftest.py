"""Runs the self-test of a usage source and tells what changed: a line per finding, when it comes and when it goes."""

import logging
from collections.abc import Mapping

from webhook.core.policy import Policy
from webhook.core.selftest import Finding, SelfTest, Severity, changes
from webhook.ports import Clock, UsageProbe

log = logging.getLogger(__name__)

_LEVELS: Mapping[Severity, int] = {
    Severity.ERROR: logging.ERROR,
    Severity.WARNING: logging.WARNING,
    Severity.INFO: logging.INFO,
}


def probe_and_tell(probe: UsageProbe, policy: Policy, clock: Clock, *, last: SelfTest | None = None) -> SelfTest:
    """Test once, and log what is not as it was at the ``last`` time."""
    found = probe.self_test(policy, now=clock())
    new, gone = changes(last, found)
    for finding in new:
        _tell(finding)
    for finding in gone:
        log.info("prometheus finding gone", extra={"code": finding.code.value, "subject": finding.subject})
    return found


def probe_and_warn(probe: UsageProbe, policy: Policy, clock: Clock) -> SelfTest:
    """Test once, and log only what is wrong: for a process that starts every minute."""
    found = probe.self_test(policy, now=clock())
    for finding in found.findings:
        if finding.severity is not Severity.INFO:
            _tell(finding)
    return found


def _tell(finding: Finding) -> None:
    fields = {"code": finding.code.value, "severity": finding.severity.value, "subject": finding.subject}
    told = fields | {"why": finding.sentence, "remedy": finding.remedy}
    log.log(_LEVELS[finding.severity], "prometheus finding", extra=told)
