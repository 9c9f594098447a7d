"""Deletion in slices: a slow database deletes fewer rows in one commit, and never stops."""

from typing import Any

from sqlalchemy import Connection, func, select

from perdure_host.sql.maintenance import SLICE_ROWS_MIN, SLICE_S, Pace
from perdure_host.sql.schema import deleted_executions, events, executions, payloads, timers
from perdure_host.sql.store import SqlStore
from tests.store.scenes import Place, key, payload, record, start


class Watch:
    """A clock on which each measurement takes as long as the test says."""

    def __init__(self, took_s: float) -> None:
        self.took_s = took_s
        self._now_s = 0.0
        self._is_running = False

    def __call__(self) -> float:
        if self._is_running:
            self._now_s += self.took_s
        self._is_running = not self._is_running
        return self._now_s


def slices(pace: Pace, number: int) -> list[int]:
    """Return the sizes of so many slices."""
    sizes: list[int] = []
    for _ in range(number):
        sizes.append(pace.rows(200))
        with pace.measured():
            pass
    return sizes


def test_a_slow_slice_makes_the_next_ones_smaller_but_never_nothing() -> None:
    assert slices(Pace(Watch(4 * SLICE_S)), 5) == [200, 50, 12, SLICE_ROWS_MIN, SLICE_ROWS_MIN]


def test_slices_grow_again_up_to_their_limit_when_the_database_is_quick() -> None:
    watch = Watch(8 * SLICE_S)
    pace = Pace(watch)
    slices(pace, 1)
    watch.took_s = SLICE_S / 100
    assert slices(pace, 5) == [25, 50, 100, 200, 200]


def test_a_limit_below_the_smallest_slice_is_kept() -> None:
    assert Pace().rows(4) == 4


async def test_no_commit_deletes_more_rows_than_its_slice(sqlite_place: Place) -> None:
    """Every commit of a sweep is counted, over all tables, on a database that is slow."""
    tables = (executions, events, payloads, timers, deleted_executions)

    async with sqlite_place.joined() as (store, me):
        assert isinstance(store, SqlStore)
        slow: Any = store
        slow._sweep_pace, slow._remains_pace = Pace(Watch(0.02)), Pace(Watch(0.02))

        def count(connection: Connection) -> int:
            counts = [select(func.count()).select_from(table) for table in tables]
            return sum(connection.execute(each).scalar_one() for each in counts)

        long = start(
            0,
            records=tuple(record(n) for n in range(1, 151)),
            sequence=150,
            payloads=tuple(payload(b"%d" % n) for n in range(3)),
            ended_ms=1,
            expires_ms=1,
        )
        others = [start(n, key=key(n), ended_ms=1, expires_ms=1) for n in range(1, 60)]
        await store.commit(me, [long, *others])
        deleted: list[int] = []
        before = await store.database.read(count)
        while True:
            swept = await store.sweep(me, now_ms=9, limit=40)
            after_sweep = await store.database.read(count)
            remained = await store.delete_remains(me, limit=60)
            left = await store.database.read(count)
            deleted.append(after_sweep - left)
            if not swept and not remained:
                break
        assert before > 60 * 3
        assert left == 0
        # The rows of one slice, and the marks of the executions that it has finished.
        assert max(deleted) <= 60 + 40
        assert len(deleted) > 6
