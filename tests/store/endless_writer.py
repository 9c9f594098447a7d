"""A program that commits until it is killed, and prints what was acknowledged.

Each commit moves three executions, so that a torn one shows.
"""

import asyncio
import sys

import msgspec

from perdure_host.ports import Change
from perdure_host.sql import open_store
from tests.store.scenes import LEASE_MS, go_on, key, letter, start, status_event

NUMBERS = (1, 2, 3)


async def main(url: str) -> None:
    store = open_store(url)
    await store.open()
    me = await store.join("alpha", "a:1", now_ms=0, lease_ms=LEASE_MS)
    first = await store.get(key(1))
    if first is None:
        await store.commit(me, [start(number) for number in NUMBERS])
    sequence = 1 if first is None else first.sequence
    while True:
        sequence += 1
        await store.commit(me, [change(number, sequence) for number in NUMBERS])
        sys.stdout.write(f"{sequence}\n")
        sys.stdout.flush()


def change(number: int, sequence: int) -> Change:
    before = start(number, sequence=sequence - 1, event_count=sequence - 1)
    return msgspec.structs.replace(
        go_on(before),
        alarm_moved=True,
        alarm_ms=sequence,
        outbox=(letter(10 * sequence + number),),
        status_events=(status_event(number, sequence),),
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
