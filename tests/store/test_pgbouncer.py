"""PostgreSQL behind Debian's PgBouncer in transaction mode: each transaction in any session."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest

from perdure_host.sql.engine import Database
from tests.ports import HOST, HeldPort
from tests.postgres import PostgresServer
from tests.store.scenes import Place, go_on, key, start
from tests.system.processes import wait_until

PGBOUNCER: Final = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
SESSIONS: Final = 3

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None, reason="needs pgbouncer: apt-get install -y pgbouncer"
)


@pytest.fixture
def pooled_url(postgres: PostgresServer) -> Iterator[str]:
    """A fresh database, by way of a pooler with a few sessions that it uses in turn."""
    database = postgres.create_database().rpartition("/")[2]
    with tempfile.TemporaryDirectory(prefix="perdure-pgbouncer-") as name, HeldPort() as port:
        folder = Path(name)
        folder.chmod(0o755)
        users = folder / "users"
        users.write_text('"postgres" ""\n')
        settings = folder / "ini"
        settings.write_text(
            f"[databases]\n{database} = host={HOST} port={postgres.port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {port.number}\nauth_type = trust\n"
            f"auth_file = {users}\npool_mode = transaction\ndefault_pool_size = {SESSIONS}\n"
            "server_round_robin = 1\nunix_socket_dir =\n"
        )
        url = f"postgresql://postgres@{HOST}:{port.number}/{database}"
        with _Bouncer(settings):
            wait_until(lambda: _answers(url), "pgbouncer serves")
            yield url


class _Bouncer:
    def __init__(self, settings: Path) -> None:
        assert PGBOUNCER is not None
        # It refuses to run as root.
        user = "nobody" if os.geteuid() == 0 else None
        self._process = subprocess.Popen(
            [PGBOUNCER, "--quiet", str(settings)], user=user, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


async def test_commits_and_reads_work_in_whichever_session(pooled_url: str) -> None:
    async with Place(pooled_url).joined() as (store, me):
        for number in range(1, 3 * SESSIONS):
            await store.commit(me, [start(number)])
            await store.commit(me, [go_on(start(number))])
            await store.renew(me, now_ms=0, lease_ms=10_000)
        found = await asyncio.gather(*(store.load(key(n)) for n in range(1, 3 * SESSIONS)))
        assert [len(each.records) for each in found if each is not None] == [2] * len(found)


async def test_every_transaction_that_writes_is_durable_and_has_deadlines(pooled_url: str) -> None:
    database = Database(pooled_url)
    for setting, value in {
        "synchronous_commit": "on",
        "statement_timeout": "10s",
        "idle_in_transaction_session_timeout": "5s",
    }.items():
        for _ in range(SESSIONS):
            await database.write(lambda c: c.exec_driver_sql("SET synchronous_commit = off"))
            value_there = await database.write(
                lambda c, s=setting: c.exec_driver_sql(f"SHOW {s}").scalar()  # type: ignore[misc]
            )
            assert value_there == value
    await database.close()


async def test_every_read_has_a_deadline_and_leaves_no_transaction_open(pooled_url: str) -> None:
    database = Database(pooled_url)
    for read in (database.read, database.look_up):
        for _ in range(2 * SESSIONS):
            assert await read(lambda c: c.exec_driver_sql("SHOW statement_timeout").scalar()) == (
                "10s"
            )
    open_ones = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
    assert await database.read(lambda c: c.exec_driver_sql(open_ones).scalar()) == 0
    await database.close()
