"""Opening a store by its URL, also without the libraries of the server."""

import subprocess
import sys

import pytest

from perdure_host.errors import SettingsError
from perdure_host.memory_store import MemoryStore
from perdure_host.sql import migrate_store, open_store

WITHOUT_SQLALCHEMY = """
import sys
sys.modules["sqlalchemy"] = None
from perdure_host.errors import SettingsError
from perdure_host.sql import open_store
open_store("memory://")
try:
    open_store("sqlite:///perdure.db")
except SettingsError as error:
    print(error)
"""


@pytest.mark.parametrize("url", ["mysql://host/db", "perdure.db", ""])
def test_an_unknown_kind_of_store_is_named(url: str) -> None:
    with pytest.raises(SettingsError, match=repr(url.partition(":")[0])):
        open_store(url)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_sqlite_store_needs_a_file(url: str) -> None:
    with pytest.raises(SettingsError, match="sqlite:///PATH"):
        open_store(url)


def test_what_is_no_url_is_refused_without_its_password() -> None:
    with pytest.raises(SettingsError, match="not the URL of a database") as caught:
        open_store("postgresql://me:hunter2@host:port/db")
    assert "hunter2" not in str(caught.value)


def test_memory_is_a_store() -> None:
    assert isinstance(open_store("memory://"), MemoryStore)


async def test_memory_has_no_schema_to_migrate() -> None:
    with pytest.raises(SettingsError, match="memory://"):
        await migrate_store("memory://")


def test_without_the_server_extra_only_memory_opens() -> None:
    command = [sys.executable, "-c", WITHOUT_SQLALCHEMY]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == (
        "the server's packages are not installed. Run pip install 'perdure[server]'.\n"
    )
