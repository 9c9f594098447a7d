"""A copy of the database, taken while servers run, and restored while the workers go on."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psycopg
import pytest
import sqlalchemy

from perdure.client.errors import NotFoundError
from tests.postgres import PostgresServer
from tests.system.processes import Machine, wait_until

PROGRAM: Final = """
from perdure import durable_execution, durable_step

@durable_step
def add_one(_step, number):
    return number + 1

@durable_execution
def asks(event, context):
    number = context.step(add_one(event))
    return [number, context.create_callback(name="answer").result()]
"""

# Puts the database back as it was copied; returns its URL.
Restore = Callable[[], str]


def copy(url: str, folder: Path, postgres: PostgresServer | None) -> Restore:
    """Copy the database as docs/operating.md says; return what restores the copy."""
    if postgres is not None:
        dump = postgres.dump(url.rpartition("/")[2])

        def restore_dump() -> str:
            fresh = postgres.create_database()
            with psycopg.connect(fresh) as connection:
                connection.execute(dump.encode())
            return fresh

        return restore_dump

    database = Path(str(sqlalchemy.make_url(url).database))
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute(f"VACUUM INTO '{folder / 'copy.db'}'")

    def restore_file() -> str:
        for side in ("-wal", "-shm"):
            database.with_name(database.name + side).unlink(missing_ok=True)
        (folder / "copy.db").replace(database)
        return url

    return restore_file


def test_executions_go_on_from_a_restored_copy(
    db_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    postgres = None if db_url.startswith("sqlite") else request.getfixturevalue("postgres")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with Machine(tmp_path, db_url) as machine, machine.client() as client:
        machine.start_server()
        machine.start_worker(program)
        machine.wait_for_worker("asks")
        before = client.start("asks", 1, name="before").execution_arn
        wait_until(lambda: bool(client.get(before).open_callbacks), "it asks")
        callback = client.get(before).open_callbacks[0].callback_id
        restore = copy(db_url, tmp_path, postgres)
        # All of this is in no copy.
        client.succeed_callback(callback, "first")
        assert client.result(before, timeout_s=60) == [2, '"first"']
        after = client.start("asks", 2, name="after").execution_arn
        wait_until(lambda: bool(client.get(after).open_callbacks), "it asks too")
        assert machine.stop("server") == 0
        machine.db_url = restore()
        machine.start_server()
        machine.wait_for_worker("asks")
        assert client.get(before).status == "RUNNING"
        client.succeed_callback(callback, "second")
        assert client.result(before, timeout_s=60) == [2, '"second"']
        with pytest.raises(NotFoundError):
            client.get(after)
        again = client.start("asks", 3, name="after").execution_arn
        wait_until(lambda: bool(client.get(again).open_callbacks), "it asks again")
        machine.check()
