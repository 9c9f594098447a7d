"""Stores in SQL databases, and the one door to every store: `open_store`.

Importing this package imports no database library, so that programs which never open a database
run on the light dependencies.
"""

import importlib
from typing import Any

from perdure_host.errors import SettingsError
from perdure_host.memory_store import MemoryStore
from perdure_host.ports import Store

_SCHEMES = "sqlite:///PATH, postgresql://USER@HOST/DATABASE or memory://"


def open_store(url: str) -> Store:
    """Return the store that the URL names. Nothing is connected to before its `open`."""
    if url == "memory://":
        return MemoryStore()
    store: Store = _sql(url).SqlStore(url)
    return store


async def migrate_store(url: str) -> tuple[str | None, str]:
    """Bring the database's schema up to date; return the revisions before and after."""
    if url == "memory://":
        raise SettingsError("memory:// has no schema to migrate")
    revisions: tuple[str | None, str] = await _sql(url).migrate_store(url)
    return revisions


def _sql(url: str) -> Any:
    """Return the module that needs the server's libraries."""
    scheme = url.partition(":")[0].partition("+")[0]
    if scheme not in ("sqlite", "postgresql", "postgres"):
        raise SettingsError(f"no store is known by {scheme!r}: use {_SCHEMES}")
    try:
        return importlib.import_module("perdure_host.sql.store")
    except ModuleNotFoundError as error:
        raise SettingsError("the server needs: pip install 'perdure[server]'") from error
