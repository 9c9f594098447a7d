"""Machines to test on; what their processes logged is shown when a test fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.processes import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine with an empty SQLite database; nothing runs yet."""
    with Machine(tmp_path) as fresh:
        yield fresh
        print(fresh.told())  # noqa: T201 - pytest keeps it for the report of a failure
