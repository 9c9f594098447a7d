"""Schema migration of a database to the newest revision.

Only our own version table counts; tables of other programs are ignored. Two servers may open an
empty database at the same moment: one of them creates the schema, the other fails or waits, checks
again, and finds the work done.
"""

import threading
from functools import partial
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from perdure_host.errors import ChangeRefused, SchemaTooNew, SchemaTooOld, StoreUnavailable
from perdure_host.sql.engine import Database

SCRIPTS: Final = Path(__file__).parent / "migrations"
VERSION_TABLE: Final = "perdure_schema"
_ATTEMPTS_MAX: Final = 3
# A migration may have to rewrite a large table.
_DEADLINE_S: Final = 24 * 3600.0

# Alembic passes the connection to the migrations through global variables of the process.
_ONE_AT_A_TIME: Final = threading.Lock()


async def prepare(database: Database, *, may_migrate: bool) -> None:
    """Check the schema; create it in an empty database, and migrate it if allowed."""
    for _ in range(_ATTEMPTS_MAX):
        revision = await database.read(_revision)
        if revision == head():
            return
        if revision is not None:
            _require_known(revision, database.place, may_migrate=may_migrate)
        try:
            await database.write(partial(_upgrade, expected=revision), deadline_s=_DEADLINE_S)
        except (StoreUnavailable, ChangeRefused):
            if await database.read(_revision) == revision:
                raise
    raise StoreUnavailable(f"another program keeps changing the schema of {database.place}")


async def migrate(database: Database) -> tuple[str | None, str]:
    """Migrate the schema; return the revisions before and after."""
    before = await database.read(_revision)
    await prepare(database, may_migrate=True)
    return before, head()


def head() -> str:
    """Return the newest revision of this version of Perdure."""
    newest = _scripts().get_current_head()
    assert newest is not None
    return newest


def _require_known(revision: str, place: str, *, may_migrate: bool) -> None:
    if revision not in {script.revision for script in _scripts().walk_revisions()}:
        raise SchemaTooNew(
            f"the database {place} has schema {revision}, which is newer than this Perdure's"
            f" {head()}. Use the newer Perdure."
        )
    if not may_migrate:
        raise SchemaTooOld(
            f"the database {place} has schema {revision}, this Perdure needs {head()}."
            f" Run perdure migrate --db {place}"
        )


def _upgrade(connection: Connection, expected: str | None) -> None:
    with _ONE_AT_A_TIME:
        # Another process may have migrated while this one waited for the lock.
        if _revision(connection) == expected:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            command.upgrade(_config(connection), "head")


def _revision(connection: Connection) -> str | None:
    options = {"version_table": VERSION_TABLE}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(None))


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    return config
