"""Plugin for pytest: a fixture, an option, and timelines in the report of a failing test.

pytest loads it wherever perdure is installed; nothing else imports it.
"""

from collections.abc import Generator, Iterator
from typing import Final, Protocol

import pytest

from perdure.testing.failures import CrashAt
from perdure.testing.hosting import Handler
from perdure.testing.runner import DurableFunctionTestRunner

OPTION: Final = "--perdure-always-replay"
MARKER: Final = "perdure_always_replay"

_RUNNERS: Final = pytest.StashKey[list[DurableFunctionTestRunner]]()


class DurableRunner(Protocol):
    """Type of the fixture: creates a runner that is closed when the test ends."""

    def __call__(
        self,
        handler: Handler,
        *,
        execution_timeout: int | None = None,
        skip_time: bool = True,
        always_replay: bool | None = None,
        crash_at: CrashAt = (),
    ) -> DurableFunctionTestRunner: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the option."""
    parser.getgroup("perdure").addoption(
        OPTION,
        action="store_true",
        help="replay handlers of `durable_runner` from their start after every checkpoint",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", f"{MARKER}: replay handlers of `durable_runner` after every checkpoint"
    )


@pytest.fixture
def durable_runner(request: pytest.FixtureRequest) -> Iterator[DurableRunner]:
    """Create runners for durable functions: `durable_runner(handler, **options)`."""
    runners: list[DurableFunctionTestRunner] = []
    node: pytest.Item = request.node
    node.stash[_RUNNERS] = runners
    replay_requested = (
        request.config.getoption(OPTION) or node.get_closest_marker(MARKER) is not None
    )

    def create(
        handler: Handler,
        *,
        execution_timeout: int | None = None,
        skip_time: bool = True,
        always_replay: bool | None = None,
        crash_at: CrashAt = (),
    ) -> DurableFunctionTestRunner:
        runner = DurableFunctionTestRunner(
            handler,
            execution_timeout=execution_timeout,
            skip_time=skip_time,
            always_replay=bool(replay_requested) if always_replay is None else always_replay,
            crash_at=crash_at,
        )
        runners.append(runner)
        return runner

    yield create
    for runner in runners:
        runner.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Append the timelines of a failing test's executions to its report."""
    report = yield
    if report.when == "call" and report.failed:
        for runner in item.stash.get(_RUNNERS, None) or ():
            report.sections.append(("durable executions", runner.timeline()))
    return report
