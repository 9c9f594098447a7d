"""Conformance of every store: deletion, sweeps, and names that become free again."""

import msgspec
import pytest

from perdure_host.errors import Fenced
from perdure_host.ports import (
    Alarm,
)
from tests.store.scenes import (
    Place,
    find,
    first_row,
    key,
    letter,
    loaded,
    payload,
    record,
    remaining,
    start,
)


async def test_a_sweep_deletes_what_has_expired_with_all_it_owns(place: Place) -> None:
    expired = start(1, ended_ms=1, expires_ms=10, alarm_ms=3, outbox=(letter(1),))
    async with place.joined() as (store, me):
        await store.commit(me, [expired, start(2, ended_ms=1, expires_ms=11), start(3)])
        assert await store.sweep(me, now_ms=10, limit=9) == 1
        assert await store.load(key(1)) is None
        assert await store.get(key(1)) is None
        assert await find(store, "order-1") is None
        assert await store.delete_remains(me, limit=9)
        assert await store.read_records(key(1), from_event_id=1, limit=9) == []
        assert await store.alarms(until_ms=99, after=None, limit=9) == []
        assert await remaining(store) == [key(3), key(2)]
        # What others have sent is on its way all the same.
        assert await store.outbox(after=None, limit=9) == [letter(1)]


async def test_a_deletion_takes_everything_of_one_execution(place: Place) -> None:
    stored = payload(b"kept")
    async with place.joined() as (store, me):
        own = start(1, alarm_ms=5, outbox=(letter(1, sender=1),), payloads=(stored,))
        other = start(2, alarm_ms=6, outbox=(letter(1, sender=2),), payloads=(stored,))
        await store.commit(me, [own, other])
        last = letter(0, sender=1)
        await store.delete(me, key(1), (last,))
        assert await store.load(key(1)) is None
        # What it sends now waits for its payloads, and they for it.
        assert await store.outbox(after=None, limit=9) == [last, letter(1, sender=2)]
        await store.commit(me, [], [last])
        while await store.delete_remains(me, limit=9):
            pass
        assert await store.load_payloads(key(1), [stored.digest]) == {}
        assert await store.alarms(until_ms=9, after=None, limit=9) == [Alarm(6, key(2))]
        assert await store.outbox(after=None, limit=9) == [letter(1, sender=2)]
        assert await store.load_payloads(key(2), [stored.digest]) != {}
        assert await store.commit(me, [own]) == ()
        await store.delete(me, key(3))
        with pytest.raises(Fenced):
            await store.delete(me - 1, key(2))


async def test_a_sweep_takes_the_payloads_of_what_it_deletes_and_no_others(place: Place) -> None:
    stored = payload(b"kept")
    async with place.joined() as (store, me):
        swept = start(1, ended_ms=1, expires_ms=1, payloads=(stored,))
        await store.commit(me, [swept, start(2, payloads=(stored,))])
        assert await store.sweep(me, now_ms=9, limit=9) == 1
        assert await store.delete_remains(me, limit=9)
        assert await store.load_payloads(key(1), [stored.digest]) == {}
        assert await store.load_payloads(key(2), [stored.digest]) == {stored.digest: stored.body}


async def test_payloads_of_a_deleted_execution_stay_until_what_it_sends_has_arrived(
    place: Place,
) -> None:
    """What is delivered may refer to a payload of the sender's."""
    sent, stored = letter(1, sender=1), payload(b"kept")
    held = {stored.digest: stored.body}
    async with place.joined() as (store, me):
        sending = start(1, ended_ms=1, expires_ms=1, outbox=(sent,), payloads=(stored,))
        await store.commit(me, [sending, start(2, ended_ms=1, expires_ms=2, payloads=(stored,))])
        assert sent.sender == key(1)
        assert await store.sweep(me, now_ms=9, limit=9) == 2
        # It does not stand in the way of the others either.
        assert await store.delete_remains(me, limit=9)
        assert await store.load_payloads(key(2), [stored.digest]) == {}
        assert not await store.delete_remains(me, limit=9)
        assert await store.load_payloads(key(1), [stored.digest]) == held
        await store.commit(me, [], [sent])
        assert await store.delete_remains(me, limit=9)
        assert await store.load_payloads(key(1), [stored.digest]) == {}


async def test_what_a_deleted_execution_leaves_is_deleted_in_slices(place: Place) -> None:
    records = tuple(record(number) for number in range(1, 8))
    texts = tuple(payload(b"%d" % number) for number in range(3))
    digests = [each.digest for each in texts]
    long = start(1, records=records, sequence=7, payloads=texts, ended_ms=1, expires_ms=1)
    async with place.joined() as (store, me):
        await store.commit(me, [long, start(2, ended_ms=1, expires_ms=1), start(3)])
        await store.sweep(me, now_ms=9, limit=9)
        left: list[int] = []
        while await store.delete_remains(me, limit=4):
            found = [await store.read_records(key(n), from_event_id=1, limit=9) for n in (1, 2)]
            payloads = await store.load_payloads(key(1), digests)
            left.append(len(payloads) + sum(map(len, found)))
        assert left == [7, 3, 0]
        assert (await loaded(store, 3)).records == (record(1),)


async def test_a_new_execution_takes_over_a_name_and_deletes_who_had_it(place: Place) -> None:
    old = start(1, ended_ms=1, expires_ms=99, alarm_ms=3, outbox=(letter(1),))
    async with place.joined() as (store, me):
        await store.commit(me, [old, start(3)])
        takes_over = msgspec.structs.replace(start(2, name="order-1"), replaces=key(1))
        await store.commit(me, [takes_over])
        assert await find(store, "order-1") == first_row(2, name="order-1")
        assert await store.load(key(1)) is None
        assert await store.alarms(until_ms=99, after=None, limit=9) == []
        assert await store.delete_remains(me, limit=9)
        assert await store.read_records(key(1), from_event_id=1, limit=9) == []
        assert await remaining(store) == [key(3), key(2)]


async def test_a_name_whose_holder_was_swept_meanwhile_is_taken_over_all_the_same(
    place: Place,
) -> None:
    async with place.joined() as (store, me):
        await store.commit(me, [start(1, ended_ms=1, expires_ms=1)])
        await store.sweep(me, now_ms=9, limit=9)
        assert await store.delete_remains(me, limit=9)
        takes_over = msgspec.structs.replace(start(2, name="order-1"), replaces=key(1))
        await store.commit(me, [takes_over])
        assert await remaining(store) == [key(2)]
        while await store.delete_remains(me, limit=9):
            pass


async def test_a_name_is_not_taken_over_from_another_than_was_named(place: Place) -> None:
    async with place.joined() as (store, me):
        await store.commit(me, [start(1), start(3, ended_ms=1, expires_ms=1)])
        takes_over = msgspec.structs.replace(start(2, name="order-1"), replaces=key(3))
        assert [each.key for each in await store.commit(me, [takes_over])] == [key(2)]
        assert await remaining(store) == [key(3), key(1)]


async def test_a_sweep_takes_small_batches(place: Place) -> None:
    async with place.joined() as (store, me):
        await store.commit(me, [start(n, ended_ms=1, expires_ms=1) for n in range(5)])
        swept = [await store.sweep(me, now_ms=9, limit=2) for _ in range(4)]
        assert swept == [2, 2, 1, 0]


async def test_a_swept_name_can_be_taken_again(place: Place) -> None:
    async with place.joined() as (store, me):
        await store.commit(me, [start(1, ended_ms=1, expires_ms=1)])
        await store.sweep(me, now_ms=9, limit=9)
        await store.commit(me, [start(2, name="order-1")])
        assert await find(store, "order-1") == first_row(2, name="order-1")
