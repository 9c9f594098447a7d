"""Conformance of every store: what the port promises about which node may write."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from perdure_host.errors import Fenced, NodeTaken
from perdure_host.ports import FunctionRow, Store
from tests.store.scenes import LEASE_MS, Place, first_row, go_on, key, letter, start

FUNCTION = FunctionRow(
    namespace="default", name="order", execution_timeout_s=1, retention_days=1, durable=True
)

WRITES: dict[str, Callable[[Store, int], Awaitable[object]]] = {
    "commit": lambda store, me: store.commit(me, [start(2, alarm_ms=1, outbox=(letter(2),))]),
    "renew": lambda store, me: store.renew(me, now_ms=0, lease_ms=10 * LEASE_MS),
    "sweep": lambda store, me: store.sweep(me, now_ms=99, limit=9),
    "delete_remains": lambda store, me: store.delete_remains(me, limit=9),
    "put_functions": lambda store, me: store.put_functions(me, [FUNCTION]),
}


async def test_incarnations_rise_whoever_joins(place: Place) -> None:
    async with place.joined("alpha") as (store, first):
        second = await store.join("alpha", "a:1", now_ms=0, lease_ms=1)
        third = await store.join("beta", "b:1", now_ms=1, lease_ms=1)
        await store.leave(third)
        fourth = await store.join("gamma", "c:1", now_ms=1, lease_ms=1)
        assert 0 < first < second < third < fourth


@pytest.mark.parametrize("write", list(WRITES))
async def test_a_deposed_incarnation_writes_nothing_whatever_its_clock_says(
    place: Place, write: str
) -> None:
    async with place.joined("alpha") as (late, old), place.opened() as store:
        await late.commit(old, [start(1, ended_ms=1, expires_ms=1)])
        new = await store.join("beta", "b:1", now_ms=LEASE_MS, lease_ms=LEASE_MS)
        with pytest.raises(Fenced):
            await WRITES[write](late, old)
        assert await store.get(key(1)) is not None
        assert await store.load(key(2)) is None
        assert await store.alarms(until_ms=99, after=None, limit=9) == []
        assert await store.outbox(after=None, limit=9) == []
        assert await store.functions() == []
        await store.commit(new, [start(2)])


@pytest.mark.parametrize("write", list(WRITES))
async def test_an_incarnation_that_left_writes_nothing(place: Place, write: str) -> None:
    async with place.joined() as (store, me):
        await store.leave(me)
        with pytest.raises(Fenced):
            await WRITES[write](store, me)
        assert await store.get(key(2)) is None


@pytest.mark.parametrize("write", list(WRITES))
async def test_a_lapsed_lease_alone_fences_no_owner(place: Place, write: str) -> None:
    async with place.opened() as store:
        me = await store.join("alpha", "a:1", now_ms=0, lease_ms=0)
        await WRITES[write](store, me)


async def test_a_live_node_keeps_others_out_until_its_lease_lapses(place: Place) -> None:
    async with place.joined("alpha") as (store, me):
        with pytest.raises(NodeTaken, match="'alpha' at alpha:1"):
            await store.join("beta", "b:1", now_ms=LEASE_MS - 1, lease_ms=LEASE_MS)
        await store.commit(me, [start(1)])
        await store.join("beta", "b:1", now_ms=LEASE_MS, lease_ms=LEASE_MS)


async def test_a_lease_from_before_the_clock_was_set_back_lasts_one_lease_more(
    place: Place,
) -> None:
    day_ms = 86_400_000
    async with place.opened() as store:
        await store.join("alpha", "a:1", now_ms=day_ms, lease_ms=LEASE_MS)
        for now_ms in (0, LEASE_MS - 1):
            with pytest.raises(NodeTaken):
                await store.join("beta", "b:1", now_ms=now_ms, lease_ms=LEASE_MS)
        await store.join("beta", "b:1", now_ms=LEASE_MS, lease_ms=LEASE_MS)


async def test_nodes_of_one_server_share_its_clock(place: Place) -> None:
    async with place.opened() as store:
        times_ms = [await store.now_ms(own_ms) for own_ms in (5, 5)]
    if place.url.startswith("postgresql"):
        assert 1_700_000_000_000 < times_ms[0] <= times_ms[1]
    else:
        assert times_ms == [5, 5]


async def test_a_renewed_lease_keeps_others_out_for_longer(place: Place) -> None:
    async with place.joined("alpha") as (store, me):
        await store.renew(me, now_ms=LEASE_MS, lease_ms=LEASE_MS)
        with pytest.raises(NodeTaken):
            await store.join("beta", "b:1", now_ms=2 * LEASE_MS - 1, lease_ms=LEASE_MS)
        await store.join("beta", "b:1", now_ms=2 * LEASE_MS, lease_ms=LEASE_MS)


async def test_a_node_of_the_same_name_is_replaced_at_once(place: Place) -> None:
    async with place.joined("alpha") as (late, old), place.joined("alpha") as (store, new):
        with pytest.raises(Fenced):
            await late.commit(old, [start(1)])
        await store.commit(new, [start(1)])


async def test_a_seat_that_was_left_is_free_at_once(place: Place) -> None:
    async with place.joined("alpha") as (store, me):
        await store.leave(me)
        other = await store.join("beta", "b:1", now_ms=0, lease_ms=LEASE_MS)
        await store.commit(other, [start(1)])


async def test_leaving_is_harmless_after_being_fenced(place: Place) -> None:
    async with place.joined("alpha") as (store, old):
        new = await store.join("alpha", "a:2", now_ms=0, lease_ms=LEASE_MS)
        await store.leave(old)
        await store.leave(new + 99)
        await store.commit(new, [start(1)])


async def test_of_many_that_join_at_once_only_one_may_write(place: Place) -> None:
    async def join(name: str) -> int | None:
        async with place.opened() as store:
            try:
                return await store.join(name, "a:1", now_ms=0, lease_ms=LEASE_MS)
            except NodeTaken:
                return None

    seats = [seat for seat in await asyncio.gather(*(join(f"n{n}") for n in range(6))) if seat]
    assert len(seats) == 1


async def test_of_namesakes_that_join_at_once_the_last_may_write(place: Place) -> None:
    async def join() -> int:
        async with place.opened() as store:
            return await store.join("alpha", "a:1", now_ms=0, lease_ms=LEASE_MS)

    seats = await asyncio.gather(*(join() for _ in range(6)))
    assert len(set(seats)) == 6
    async with place.opened() as store:
        for seat in seats:
            if seat != max(seats):
                with pytest.raises(Fenced):
                    await store.commit(seat, [start(1)])
        await store.commit(max(seats), [start(1)])


async def test_commits_that_race_with_a_takeover_are_whole_or_fenced(place: Place) -> None:
    """The new owner finds exactly what was acknowledged to the old one: no less, no more."""
    acknowledged = 0
    under_way = asyncio.Event()

    async def write_until_fenced(store: Store, me: int) -> None:
        nonlocal acknowledged
        change = start()
        while True:
            await store.commit(me, [change])
            acknowledged = change.row.sequence
            change = go_on(change)
            if acknowledged == 20:
                under_way.set()
            await asyncio.sleep(0)

    async with place.joined("alpha") as (late, old), place.opened() as store:
        writing = asyncio.create_task(write_until_fenced(late, old))
        await under_way.wait()
        await store.join("beta", "b:1", now_ms=LEASE_MS, lease_ms=LEASE_MS)
        found = await store.load(key(1))
        with pytest.raises(Fenced):
            await writing
        assert found is not None
        assert found.row.sequence == len(found.records) == acknowledged
        assert await store.load(key(1)) == found
        assert found.row != first_row()
