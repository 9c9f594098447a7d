"""Cost of large values, and the size from which it pays to store them outside the records.

    python -m benchmarks large

First one value through history and SQLite: recording it in a checkpoint, and reading it back. All
calls share the event loop, so what matters is not how long the value takes, but how long it blocks
the loop at a time. Then values of several sizes in the database, inline in the records and in their
own table: recording steps one by one, reading an execution without its values, and reading all.
"""

import asyncio
import contextlib
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.history import FUNCTION
from benchmarks.store import LEASE_MS, begin
from perdure_core.model import OperationAction, OperationType, OperationUpdate, StepDetails
from perdure_core.payload import DIGEST_BYTES, StoredPayload
from perdure_history.service import HistoryService
from perdure_host.clock import SteadyClock
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import Change, PayloadRow, RecordRow, Store
from perdure_host.services import StartRequest, Task
from perdure_host.sql import open_store
from perdure_host.tokens import Signer
from perdure_matching.service import MatchingService

KIB: Final = 1_024
MIB: Final = 1_024 * KIB
VALUES_MIB: Final = (1, 64)
SIZES_KIB: Final = (1, 4, 8, 16, 32, 64, 256)
STEPS: Final = 10
ROUNDS: Final = 25
# The size of a record without the value.
RECORD_BYTES: Final = 300
TICK_S: Final = 0.001


async def main() -> None:
    """Print both tables."""
    print(f"  {'value':>8} {'':10} {'time':>10} {'CPU':>10} {'blocked':>10}")
    for size_mib in VALUES_MIB:
        await measure_value(size_mib)
    print(f"\n{STEPS} steps of one execution on SQLite, medians of CPU: inline / beside")
    print(f"  {'value':>8} {'a commit':>20} {'read without':>20} {'read whole':>20} {'space':>16}")
    for size_kib in SIZES_KIB:
        await measure_places(size_kib * KIB)


# One value through history.


async def measure_value(size_mib: int) -> None:
    """Print the cost of recording one value, and of reading it."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/perdure.db")
        await store.open()
        tasks: asyncio.Queue[Task] = asyncio.Queue()
        async with opened(store, tasks) as history:
            await history.commands.start(
                StartRequest(namespace="default", function="order", input="{}")
            )
            offer = await history.invocations.begin((await tasks.get()).key, "bench")
            assert offer is not None
            value = "x" * (size_mib * MIB)
            answer = None
            async with printed(f"{size_mib} MiB", "record"):
                answer = await history.invocations.checkpoint(offer.token, "call", updates(value))
            (operation,) = answer.operations
            assert isinstance(operation.details, StepDetails)
            assert isinstance(operation.details.result, StoredPayload)
            if size_mib > 1:  # one of 1 MiB is still in the cache
                async with printed(f"{size_mib} MiB", "read"):
                    await history.queries.texts(answer.key, [operation.details.result])
        await store.close()


@contextlib.asynccontextmanager
async def opened(store: Store, tasks: "asyncio.Queue[Task]") -> AsyncGenerator[HistoryService]:
    """Yield a history service whose tasks go into the queue."""
    clock, metrics = SteadyClock(), ServerMetrics()
    matching = MatchingService(clock, metrics)
    history = HistoryService(
        store=store,
        clock=clock,
        metrics=metrics,
        signer=Signer(secrets.token_bytes(32)),
        matching=matching,
        node_name="bench",
        address="bench:1",
    )
    await history.open()
    await history.invocations.register_functions([FUNCTION])
    matching.attach("bench", [("default", "order")], tasks.put_nowait)
    matching.credit("bench", 1)
    try:
        yield history
    finally:
        await history.close()


def updates(value: str) -> tuple[OperationUpdate, ...]:
    """Return a step that has this result."""
    step = OperationUpdate(id="a", type=OperationType.STEP, action=OperationAction.START)
    end = msgspec.structs.replace(step, action=OperationAction.SUCCEED, payload=value)
    return step, end


@contextlib.asynccontextmanager
async def printed(value: str, what: str) -> AsyncGenerator[None]:
    """Print time and CPU of the body, and the longest time that it blocked the event loop."""
    blocked_s = 0.0

    async def tick() -> None:
        nonlocal blocked_s
        while True:
            due = time.perf_counter() + TICK_S
            await asyncio.sleep(TICK_S)
            blocked_s = max(blocked_s, time.perf_counter() - due)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(TICK_S)
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    yield
    took_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
    await asyncio.sleep(TICK_S * 2)
    ticking.cancel()
    print(f"  {value:>8} {what:10} {took_s * 1e3:>7.0f} ms {cpu_s * 1e3:>7.0f} ms", end="")
    print(f" {blocked_s * 1e3:>7.0f} ms")


# Inline in the records, or in a table of their own.


async def measure_places(size: int) -> None:
    """Print one line: values of this size, inline and in a table of their own."""
    inline, beside = [await place(size, inside=inside) for inside in (True, False)]
    pairs = [f"{a:>9.2f} /{b:>6.2f} ms" for a, b in zip(inline[:3], beside[:3], strict=True)]
    print(f"  {size // KIB:>4} KiB {' '.join(pairs)} {inline[3]:>6.0f} /{beside[3]:>4.0f} KiB")


async def place(size: int, *, inside: bool) -> tuple[float, float, float, float]:
    """Return the milliseconds of a commit and of both readings, and the KiB of an execution."""
    commits: list[float] = []
    without: list[float] = []
    whole: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/perdure.db")
        await store.open()
        me = await store.join("bench", "bench:1", now_ms=0, lease_ms=LEASE_MS)
        for number in range(ROUNDS):
            started = begin(number)
            await store.commit(me, [started])
            # No two alike: equal texts are stored once in an execution.
            changes = [step(started, index, size, inside=inside) for index in range(STEPS)]
            commits += [await spent_ms(store.commit(me, [change])) for change in changes]
            key, digests = (
                started.row.key,
                [row.digest for each in changes for row in each.payloads],
            )
            without.append(await spent_ms(store.load(key)))
            whole.append(without[-1] + await spent_ms(store.load_payloads(key, digests)))
        await store.close()
        space = await asyncio.to_thread(lambda: Path(folder, "perdure.db").stat().st_size)
    medians = [statistics.median(each) for each in (commits, without, whole)]
    return medians[0], medians[1], medians[2], space / ROUNDS / KIB


def step(started: Change, index: int, size: int, *, inside: bool) -> Change:
    """Return the change that records a step with a value of so many bytes."""
    value = secrets.token_bytes(size // 2).hex().encode()
    sequence = index + 2
    row = msgspec.structs.replace(started.row, sequence=sequence, event_count=sequence)
    body = bytes(RECORD_BYTES) + (value if inside else b"")
    digest = blake2b(value, digest_size=DIGEST_BYTES).digest()
    payloads: Sequence[PayloadRow] = () if inside else (PayloadRow(digest, value),)
    record = RecordRow(sequence, sequence, 1, body)
    return Change(row=row, new=False, records=(record,), payloads=tuple(payloads))


async def spent_ms(work: Awaitable[object]) -> float:
    """Return the milliseconds of CPU that it took: on a busy machine, time says less."""
    begun_s = time.process_time()
    await work
    return (time.process_time() - begun_s) * 1e3


if __name__ == "__main__":
    asyncio.run(main())
