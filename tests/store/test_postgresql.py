"""PostgreSQL only: its settings, connections that break, a server that is down."""

import asyncio

import psycopg
import pytest

from perdure_host.errors import CommitUnknown, StoreUnavailable
from perdure_host.sql import engine, open_store
from perdure_host.sql.engine import Database
from tests.postgres import postgres_server
from tests.store.scenes import LEASE_MS, Place, go_on, key, start
from tests.store.wire import Break, Wire

WAITS_FOR_LOCK = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


async def test_every_session_asks_for_durability_and_deadlines(postgres_place: Place) -> None:
    expected = {
        "synchronous_commit": "on",
        "statement_timeout": "10s",
        "idle_in_transaction_session_timeout": "5s",
        "transaction_isolation": "read committed",
    }
    database = Database(postgres_place.url)
    for setting, value in expected.items():
        for ask in (database.write, database.read):
            got = await ask(lambda c, s=setting: c.exec_driver_sql(f"SHOW {s}").scalar())  # type: ignore[misc]
            assert got == value
    await database.close()


async def test_an_unreachable_server_is_named_without_the_password() -> None:
    store = open_store("postgresql://me:hunter2@127.0.0.1:1/orders")
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/orders") as caught:
        await store.open()
    assert "hunter2" not in str(caught.value)
    await store.close()


async def test_a_store_comes_back_with_its_server() -> None:
    with postgres_server() as server:
        async with Place(server.create_database()).joined() as (store, me):
            await store.commit(me, [start(1)])
            server.kill()
            for call in (store.commit(me, [start(2)]), store.get(key(1)), store.open()):
                with pytest.raises(StoreUnavailable, match=str(server.port)):
                    await call
            server.start()
            await store.commit(me, [start(2)])
            assert await store.get(key(1)) is not None


@pytest.mark.parametrize(("breaks", "written"), [("after", True), ("before", False)])
async def test_a_commit_without_an_answer_is_unknown(
    postgres_place: Place, breaks: Break, written: bool
) -> None:
    async with Wire(postgres_place.url).laid() as wire, Place(wire.url).joined() as (store, me):
        wire.breaks = breaks
        with pytest.raises(CommitUnknown):
            await store.commit(me, [start(1)])
        again = await store.join("alpha", "a:1", now_ms=0, lease_ms=LEASE_MS)
        assert (await store.load(key(1)) is not None) == written
        await store.commit(again, [start(2)])


async def test_a_commit_that_silence_follows_is_unknown_after_a_while(
    postgres_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Wire(postgres_place.url).laid() as wire, Place(wire.url).joined() as (store, me):
        await store.commit(me, [start(1)])
        monkeypatch.setattr(engine, "DEADLINE_S", 0.2)
        wire.breaks = "silence"
        with pytest.raises(CommitUnknown):
            await store.commit(me, [go_on(start(1))])
        monkeypatch.undo()
        await store.join("alpha", "a:1", now_ms=0, lease_ms=LEASE_MS)
        found = await store.load(key(1))
        assert found is not None
        assert len(found.records) == 2


async def test_a_full_disk_refuses_the_commit_with_the_servers_words(
    postgres_place: Place,
) -> None:
    async with postgres_place.joined() as (store, me):
        fail_with(postgres_place.url, "53100", "could not extend file: No space left on device")
        with pytest.raises(StoreUnavailable, match="No space left on device"):
            await store.commit(me, [start(1, alarm_ms=1)])
        assert await store.get(key(1)) is None
        fail_with(postgres_place.url, None, "")
        await store.commit(me, [start(1)])


@pytest.mark.parametrize("timing", ["IMMEDIATE", "DEFERRED"])
@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_a_transaction_that_lost_to_another_is_tried_again(
    postgres_place: Place, code: str, timing: str
) -> None:
    async with postgres_place.joined() as (store, me):
        fail_with(postgres_place.url, code, "try again", timing=timing, times=2)
        await store.commit(me, [start(1)])
        assert await store.get(key(1)) is not None
        fail_with(postgres_place.url, code, "try again", timing=timing)
        with pytest.raises(StoreUnavailable, match="try again"):
            await store.commit(me, [start(2)])
        assert await store.get(key(2)) is None


async def test_a_takeover_waits_for_the_commit_in_flight(postgres_place: Place) -> None:
    """It finds all of it, although it was committed after the takeover began."""
    async with postgres_place.joined("alpha") as (store, me):
        await store.commit(me, [start(1)])
        with psycopg.connect(postgres_place.url) as flight:
            flight.execute(
                "SELECT 1 FROM nodes WHERE incarnation = %s AND live FOR SHARE", (me,)
            ).fetchone()
            flight.execute("UPDATE executions SET status = 'LATE'")
            joining = asyncio.create_task(
                store.join("beta", "b:1", now_ms=LEASE_MS, lease_ms=LEASE_MS)
            )
            await asyncio.to_thread(wait_until_somebody_waits_for_a_lock, postgres_place.url)
            assert not joining.done()
            flight.commit()
            await joining
        row = await store.get(key(1))
        assert row is not None
        assert row.status == "LATE"


def wait_until_somebody_waits_for_a_lock(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(WAITS_FOR_LOCK).fetchone() != (1,):
            pass


def fail_with(
    url: str, code: str | None, message: str, *, timing: str = "IMMEDIATE", times: int = 99
) -> None:
    """Make the server fail so many writes to executions with this error; None: no longer."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TRIGGER IF EXISTS fail ON executions")
        connection.execute("DROP SEQUENCE IF EXISTS failures")
        if code is None:
            return
        connection.execute("CREATE SEQUENCE failures")
        connection.execute(
            f"""CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('failures') <= {times} THEN
                    RAISE EXCEPTION '{message}' USING ERRCODE = '{code}';
                END IF;
                RETURN NEW;
            END $$""".encode()
        )
        connection.execute(
            f"""CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON executions
                DEFERRABLE INITIALLY {timing} FOR EACH ROW EXECUTE FUNCTION fail()""".encode()
        )
