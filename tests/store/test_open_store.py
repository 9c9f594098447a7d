"""Opening a store by its URL, also without the libraries of the server."""

import subprocess
import sys

import pytest

from perdure_host.errors import SettingsError
from perdure_host.memory_store import MemoryStore
from perdure_host.sql import migrate_store, open_store
from perdure_host.sql.address import parse_address

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


def test_an_unknown_kind_of_store_is_named() -> None:
    with pytest.raises(SettingsError, match="'mysql'"):
        open_store("mysql://host/db")


@pytest.mark.parametrize("url", ["perdure.db", "", "host=h user=u password=hunter2"])
def test_what_is_no_url_at_all_is_refused_with_what_would_be_one(url: str) -> None:
    with pytest.raises(SettingsError, match="Use sqlite:///PATH, postgresql://USER") as caught:
        open_store(url)
    assert not url or url not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_sqlite_store_needs_a_file(url: str) -> None:
    with pytest.raises(SettingsError, match="sqlite:///PATH"):
        open_store(url)


# The password is hunter2, or 4711 where a number could be taken for something else.
UNREADABLE = [
    "postgresql://me:hunter2@host:port/db",
    "postgresql://me:hunter2",
    "postgresql://me:4711",
    "postgresql://me:x@hunter2@host/db",
    "postgresql://me:x/hunter2@host/db",
    "postgresql://me:5/hunter2@host/db",
    "postgresql://me:x#hunter2@host/db",
    "postgresql://me:5#hunter2",
    "postgresql://me:5?hunter2@host/db",
    "postgresql://host/db?x@hunter2",
    "postgresql:/me:hunter2@host/db",
    "postgresql:me:hunter2@host/db",
    "postgresql://me:hunter2@[host/db",
]


@pytest.mark.parametrize("url", UNREADABLE)
def test_a_url_that_cannot_be_read_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="not the URL of a database") as caught:
        open_store(url)
    assert not any(secret in str(caught.value) for secret in ("hunter2", "4711"))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://me:hunter2@host/db", "postgresql://me@host/db"),
        ("postgres://me:hun:ter[2@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql://me:p%40ss@[::1]:5432/db", "postgresql://me@[::1]:5432/db"),
        ("postgresql://me@host/db?password=hunter2", "postgresql://me@host/db"),
        ("postgresql+psycopg:///db?host=/run", "postgresql:///db"),
        ("sqlite:////srv/perdure.db?timeout=1", "sqlite:////srv/perdure.db"),
    ],
)
def test_a_place_is_shown_without_what_is_secret(url: str, place: str) -> None:
    assert parse_address(url).place == place


def test_a_percent_encoded_password_reaches_the_driver_decoded() -> None:
    assert parse_address("postgresql://me:p%40s%2Fs@host/db").url.password == "p@s/s"


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
