"""What tests of every folder may ask for."""

from collections.abc import Iterator

import pytest

from tests.postgres import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for each session, or for each worker of a parallel one."""
    with postgres_server() as server:
        yield server
