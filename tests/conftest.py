"""Fixtures and reports for the tests of every folder."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.postgres import PostgresServer, postgres_server

# gRPC reads this when it is loaded. Its own handlers of fork crash the child while calls are under
# way, and tests start processes.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# A shell starts what it puts into the background with SIGINT ignored, and every process that we
# start would inherit that: then tests of an interruption could not interrupt anything.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Start one server for each session, or for each worker of a parallel one."""
    with postgres_server() as server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests have recorded as a property, at the end of every run."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    figures = [
        f"{report.nodeid.rpartition('::')[2]}:\n  {value}"
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "figures"
    ]
    if figures:
        terminalreporter.section("figures")
        terminalreporter.write_line("\n".join(figures))
