"""Opening databases: empty, shared with other software, too old, too new; their schema."""

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from perdure_history.execution_cache import fold_stored
from perdure_host.errors import SchemaTooNew, SchemaTooOld
from perdure_host.ports import Change, FunctionRow
from perdure_host.sql import migrate_store, migration, open_store
from perdure_host.sql.engine import Database
from perdure_host.sql.schema import metadata
from tests.store.scenes import Place, go_on, key, payload, start

# An ExecutionStarted with the input [1], as it was written then.
RECORD_OF_0001 = "9207919a01a764656661756c74a56f72646572a16ed920" + "30" * 32 + "3c01a35b315dc0c0"

NEXT = '''"""A revision of the future."""

from alembic import op

revision = "9999"
down_revision = "0006"


def upgrade() -> None:
    op.execute("CREATE TABLE future (number INTEGER)")
'''


@pytest.fixture
def future(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this Perdure know one revision more than existing databases have."""
    scripts = tmp_path / "migrations"
    shutil.copytree(migration.SCRIPTS, scripts)
    (scripts / "versions" / "revision_9999.py").write_text(NEXT)
    monkeypatch.setattr(migration, "SCRIPTS", scripts)


async def run_sql(place: Place, *statements: str, at: str | None = None) -> None:
    """Run statements, in an empty database of an earlier schema if `at` names one."""

    def run(connection: Connection) -> None:
        if at is not None:
            command.upgrade(migration._config(connection), at)  # pyright: ignore[reportPrivateUsage]
        for statement in statements:
            connection.exec_driver_sql(statement)

    database = Database(place.url)
    await database.write(run)
    await database.close()


async def test_the_migrations_build_what_the_schema_describes(sql_place: Place) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"version_table": migration.VERSION_TABLE, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))

    async with sql_place.opened():
        pass
    database = Database(sql_place.url)
    assert await database.read(differences) == []
    await database.close()


async def test_the_migrations_build_the_indexes_that_the_schema_describes(
    sql_place: Place, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Compare the databases' own words, since Alembic overlooks predicates and collations."""
    async with sql_place.opened():
        pass
    if sql_place.url.startswith("sqlite"):
        straight = Place(f"sqlite:///{tmp_path}/straight.db")
    else:
        straight = Place(request.getfixturevalue("postgres").create_database())
    database = Database(straight.url)
    await database.write(metadata.create_all)
    await database.close()
    assert await definitions(straight) == await definitions(sql_place)


async def definitions(place: Place) -> list[tuple[object, ...]]:
    sqlite = (
        "SELECT name, replace(replace(replace(sql, char(10), ''), char(9), ''), ' ', '')"
        " FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
    )
    postgresql = (
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        " UNION ALL SELECT relname::text, reloptions::text FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        " UNION ALL SELECT table_name || '.' || column_name, data_type || collation_name"
        " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1"
    )

    def read(connection: Connection) -> list[tuple[object, ...]]:
        statement = sqlite if connection.dialect.name == "sqlite" else postgresql
        rows = [tuple(row) for row in connection.execute(sqlalchemy.text(statement))]
        return [row for row in rows if not str(row[0]).startswith(migration.VERSION_TABLE)]

    database = Database(place.url)
    try:
        return await database.read(read)
    finally:
        await database.close()


async def test_other_programs_tables_are_left_alone(sql_place: Place) -> None:
    await run_sql(
        sql_place,
        "CREATE TABLE alembic_version (version_num VARCHAR(32))",
        "INSERT INTO alembic_version VALUES ('theirs')",
    )
    async with sql_place.joined() as (store, me):
        await store.commit(me, [start(1)])
    await run_sql(sql_place, "DELETE FROM alembic_version WHERE version_num = 'theirs'")


async def test_servers_that_open_an_empty_database_at_once_all_succeed(sql_place: Place) -> None:
    async def look() -> None:
        async with sql_place.opened() as store:
            assert await store.get(key(1)) is None

    await asyncio.gather(*(look() for _ in range(5)))


async def test_a_database_of_a_newer_perdure_is_refused(sql_place: Place) -> None:
    async with sql_place.opened():
        pass
    await run_sql(sql_place, f"UPDATE {migration.VERSION_TABLE} SET version_num = '4711'")
    with pytest.raises(SchemaTooNew, match=r"4711.*0006"):
        await open_store(sql_place.url).open(migrate=True)


async def test_a_shared_database_that_is_too_old_waits_for_its_operator(
    postgres_place: Place, request: pytest.FixtureRequest
) -> None:
    async with postgres_place.joined() as (store, me):
        await store.commit(me, [start(1)])
    request.getfixturevalue("future")
    with pytest.raises(SchemaTooOld, match="perdure migrate --db"):
        await open_store(postgres_place.url).open()
    assert await migrate_store(postgres_place.url) == ("0006", "9999")
    async with postgres_place.opened() as store:
        assert await store.get(key(1)) is not None


async def test_an_embedded_database_that_is_too_old_is_brought_up_to_date(
    sqlite_place: Place, request: pytest.FixtureRequest
) -> None:
    async with sqlite_place.joined() as (store, me):
        await store.commit(me, [start(1)])
    request.getfixturevalue("future")
    async with sqlite_place.opened() as store:
        assert await store.get(key(1)) is not None
    await run_sql(sqlite_place, "INSERT INTO future VALUES (1)")


async def test_migrating_says_what_it_did(sql_place: Place) -> None:
    assert await migrate_store(sql_place.url) == (None, "0006")
    assert await migrate_store(sql_place.url) == ("0006", "0006")


async def test_functions_of_an_older_database_have_no_tenants(sql_place: Place) -> None:
    order = FunctionRow(
        namespace="default", name="order", execution_timeout_s=60, retention_days=1, durable=True
    )
    await run_sql(
        sql_place, "INSERT INTO functions VALUES ('default', 'order', 60, 1, true)", at="0001"
    )
    assert await migrate_store(sql_place.url) == ("0001", "0006")
    async with sql_place.joined() as (store, me):
        assert await store.functions() == [order]
        await store.put_functions(me, [msgspec.structs.replace(order, tenant_isolation=True)])
        assert [row.tenant_isolation for row in await store.functions()] == [True]


async def test_what_an_older_perdure_has_recorded_is_read_after_the_upgrade(
    sql_place: Place,
) -> None:
    """The schema before payloads stood beside the events, with a history written under it."""

    def build(connection: Connection) -> None:
        command.upgrade(migration._config(connection), "0001")  # pyright: ignore[reportPrivateUsage]
        row = "1, 7, 'RUNNING', 'task', NULL, NULL"
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO executions (bucket, execution_id, namespace, function, name,"
                " input_digest, sequence, event_count, started_ms, status, waiting_for, ended_ms,"
                f" expires_ms) VALUES (7, :id, 'default', 'order', 'n', :body, 1, {row})"
            ),
            {"id": key(0).execution_id, "body": b""},
        )
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO events (bucket, execution_id, sequence, first_event_id, event_count,"
                " body) VALUES (7, :id, 1, 1, 1, :body)"
            ),
            {"id": key(0).execution_id, "body": bytes.fromhex(RECORD_OF_0001)},
        )

    database = Database(sql_place.url)
    await database.write(build)
    await database.close()
    assert await migrate_store(sql_place.url) == ("0001", "0006")
    async with sql_place.joined() as (store, me):
        stored = await store.load(key(0))
        assert stored is not None
        assert (await fold_stored(stored)).state.input == "[1]"
        large = payload(b"large")
        before = Change(row=stored.row, new=False, records=())
        await store.commit(me, [go_on(before, large)])
        assert await store.load_payloads(key(0), [large.digest]) == {large.digest: b"large"}
