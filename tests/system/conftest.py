"""Machines for tests; the logs of their processes are printed when a test fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import PostgresServer
from tests.system.processes import Machine


@pytest.fixture(params=["sqlite", "postgresql"])
def db_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'perdure.db'}"
    postgres: PostgresServer = request.getfixturevalue("postgres")
    return postgres.create_database()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine with an empty SQLite database; nothing runs yet."""
    with Machine(tmp_path) as fresh:
        yield fresh
        print(fresh.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure
