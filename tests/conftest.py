"""Rules for every test.

In CI a test that did not run has not passed: skips become failures. Time is measured in bench/ and never asserted, so
Hypothesis has no deadline; in CI its own profile says the same and draws the same examples every time.
"""

import os
from collections.abc import Generator
from typing import Final

import pytest
from hypothesis import settings

_SKIP_IS_FAILURE: Final = os.environ.get("CI") == "true" or os.environ.get("LICHTMAST_NO_SKIP") == "1"

if "CI" not in os.environ:
    settings.register_profile("home", deadline=None, print_blob=True)
    settings.load_profile("home")


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if _SKIP_IS_FAILURE and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}\nA skipped test is a failure here, because CI=true or LICHTMAST_NO_SKIP=1 is set."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module that skips itself."""
    report = yield
    _refuse_skip(report)
    return report
