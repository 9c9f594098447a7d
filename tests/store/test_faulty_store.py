"""The faulty store fails exactly as it is scripted to."""

import random

import pytest

from perdure_host.errors import CommitUnknown, StoreUnavailable
from perdure_host.memory_store import MemoryStore
from perdure_host.ports import Store
from tests.store.faulty_store import Fate, FaultyStore
from tests.store.scenes import LEASE_MS, key, start


async def joined(store: Store) -> int:
    return await store.join("alpha", "a:1", now_ms=0, lease_ms=LEASE_MS)


@pytest.mark.parametrize(
    ("fate", "error", "written", "written_after_joining"),
    [
        ("refused", StoreUnavailable, False, False),
        ("unknown_written", CommitUnknown, True, True),
        ("unknown_lost", CommitUnknown, False, False),
        ("unknown_late", CommitUnknown, False, True),
    ],
)
async def test_a_commit_meets_the_fate_that_was_scripted(
    fate: Fate, error: type[Exception], written: bool, written_after_joining: bool
) -> None:
    store = FaultyStore(MemoryStore(), ["written", fate])
    me = await joined(store)
    await store.commit(me, [start(1)])
    with pytest.raises(error):
        await store.commit(me, [start(2)])
    assert (await store.load(key(2)) is not None) == written
    await store.commit(await joined(store), [start(3)])
    assert (await store.load(key(2)) is not None) == written_after_joining


async def test_a_store_that_is_away_refuses_everything_until_it_is_back() -> None:
    store = FaultyStore(MemoryStore())
    me = await joined(store)
    store.away = True
    for call in (store.load(key(1)), store.commit(me, [start(1)]), joined(store)):
        with pytest.raises(StoreUnavailable):
            await call
    store.away = False
    await store.commit(me, [start(1)])


async def test_whatever_does_not_fail_is_handed_on() -> None:
    store: Store = FaultyStore(MemoryStore())
    await store.commit(await joined(store), [start(1)])
    assert await store.load(key(1)) is not None


async def test_the_same_seed_brings_the_same_faults() -> None:
    async def outcomes(seed: int) -> list[str]:
        store = FaultyStore(MemoryStore())
        store.roll(random.Random(seed), share=0.5)
        seen: list[str] = []
        for number in range(40):
            try:
                await store.commit(await joined(store), [start(number)])
                seen.append("written")
            except (StoreUnavailable, CommitUnknown) as error:
                seen.append(type(error).__name__)
        return seen

    assert await outcomes(1) == await outcomes(1) != await outcomes(2)
    assert set(await outcomes(1)) == {"written", "StoreUnavailable", "CommitUnknown"}
