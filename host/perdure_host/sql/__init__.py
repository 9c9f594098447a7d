"""Stores in SQL databases, and `open_store`, which opens every kind of store.

Importing this package imports no database library, so that programs which never open a database
need only the light dependencies.
"""

import importlib
from typing import Any

from perdure_host.errors import SettingsError
from perdure_host.memory_store import MemoryStore
from perdure_host.ports import Store

_SCHEMES = "sqlite:///PATH, postgresql://USER@HOST/DATABASE or memory://"


def open_store(url: str) -> Store:
    """Return the store that the URL names. It connects when its `open` is called."""
    if url == "memory://":
        return MemoryStore()
    store: Store = _sql(url).SqlStore(url)
    return store


async def migrate_store(url: str) -> tuple[str | None, str]:
    """Migrate the database's schema; return the revisions before and after."""
    if url == "memory://":
        raise SettingsError("memory:// has no schema to migrate")
    revisions: tuple[str | None, str] = await _sql(url).migrate_store(url)
    return revisions


def _sql(url: str) -> Any:
    """Return the module that needs the server's libraries."""
    scheme = url.partition(":")[0].partition("+")[0]
    if scheme not in ("sqlite", "postgresql", "postgres"):
        # Shown only where it is one: connection strings of other forms hold passwords.
        problem = f"unknown database scheme {scheme!r}" if "://" in url else "not a database's URL"
        raise SettingsError(f"{problem}. Use {_SCHEMES}.")
    try:
        return importlib.import_module("perdure_host.sql.store")
    except ModuleNotFoundError as error:
        raise SettingsError(
            "the server's packages are not installed. Run pip install 'perdure[server]'."
        ) from error
