"""The fixtures that prodkit gives to everybody, for our own tests; and a rule for CI: no area is skipped as a whole."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

# Examples are counted, not timed: a machine that is busy must not fail a test.
settings.register_profile("prodkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("prodkit")

# Where prodkit is installed, its entry point has loaded the plugin already; a second registration would be
# refused.
pytest_plugins = [] if "prodkit.testing.plugin" in sys.modules else ["prodkit.testing.plugin"]


@pytest.fixture
def running_time() -> Iterator[Callable[[], float]]:
    """Seconds like those of `time.monotonic`, without those in which this process or its machine stood still."""
    from tests.stalls import Stopwatch  # here: a test takes this file elsewhere

    with Stopwatch() as watch:
        yield lambda: watch.seconds


_passed: Counter[str] = Counter()
_skipped: Counter[str] = Counter()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what sets up Sentry last: it patches asyncpg, Starlette and others for the life of the process."""
    items.sort(key=lambda item: "test_sentry" in item.nodeid or "test_blocks[telemetry]" in item.nodeid)


def area(nodeid: str) -> str:
    """The file of a test: what is skipped as a whole when a server or a browser is missing."""
    return nodeid.partition("::")[0]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        _passed[area(report.nodeid)] += 1
    elif report.skipped and "live" not in report.keywords:
        # A live test needs a key that CI does not have, and no program that CI could install.
        _skipped[area(report.nodeid)] += 1


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test file of which nothing ran is a failure: a missing program must not look like success."""
    if not os.environ.get("CI") or session.config.option.collectonly:
        return
    whole = sorted(name for name, count in _skipped.items() if count > 1 and not _passed[name])
    if whole and session.exitstatus == pytest.ExitCode.OK:
        print(f"\nskipped as a whole, which CI does not accept: {', '.join(whole)}")  # noqa: T201
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
