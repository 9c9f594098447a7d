"""CPU time of the core: decisions and folds, in small executions and in large ones.

Deciding and folding must cost the same however many operations an execution has, because a long
execution would otherwise slow down with every step. The two sizes are measured alternately, and the
minimum of all rounds counts: disturbances only add to a measurement.
"""

import gc
import time
from collections.abc import Callable
from typing import Any

import msgspec

from perdure_core.commands import (
    AlarmDue,
    Checkpoint,
    CheckpointToken,
    Command,
    CompleteCallback,
    Start,
)
from perdure_core.events import Record, decode_record, encode_record
from perdure_core.execution import begin, current_token, decide
from perdure_core.fold import apply, fold
from perdure_core.model import OperationAction, OperationType, OperationUpdate
from perdure_core.state import State

SMALL = 10
LARGE = 10_000
STEPS = 50_000
ROUNDS = 60
CALLS = 50
RESULT = '{"payment": "pay_5f1c0b", "amount": 1299, "currency": "EUR"}'
HOUR_MS = 3_600_000

START = Start(
    namespace="default",
    function="order",
    name="order-7",
    execution_id="0123456789abcdef0123456789abcdef",
    timeout_s=31_622_400,
    retention_days=14,
)
# A realistic time: milliseconds since 1970 take nine bytes in a record today.
NOW_MS = 1_750_000_000_000


class Worker:
    """An execution with a worker that has its checkpoint token."""

    def __init__(self) -> None:
        self.records = [begin(START, NOW_MS)]
        self.state: State = apply(None, self.records[0])
        self.token: CheckpointToken = current_token(self.state, "f" * 32, NOW_MS)
        self.calls = 0

    def checkpoint(self, *updates: OperationUpdate) -> Checkpoint:
        """Return the next checkpoint."""
        self.calls += 1
        ids = {u.id: f"id-{u.id}" for u in updates if u.type is OperationType.CALLBACK}
        return Checkpoint(
            token=self.token,
            client_token=f"{self.calls:032x}",
            updates=updates,
            callback_ids=ids,
        )

    def do(self, command: Command, now_ms: int = NOW_MS) -> Record:
        """Decide a command and fold its record."""
        record = decide(self.state, command, now_ms).record
        assert record is not None
        apply(self.state, record)
        return record

    def accept(self, command: Checkpoint, now_ms: int = NOW_MS) -> None:
        """Decide and fold a checkpoint, and store the next token."""
        self.records.append(self.do(command, now_ms))
        self.token = current_token(self.state, self.token.invocation_id, NOW_MS)


def step(number: int) -> tuple[OperationUpdate, OperationUpdate]:
    """Return the updates of one step, as the SDK sends them."""
    labels: dict[str, Any] = {"type": OperationType.STEP, "name": "charge", "sub_type": "Step"}
    step_id = f"{number:032x}"
    return (
        OperationUpdate(id=step_id, action=OperationAction.START, **labels),
        OperationUpdate(id=step_id, action=OperationAction.SUCCEED, payload=RESULT, **labels),
    )


def with_steps(count: int) -> Worker:
    """Return a worker whose execution has so many finished steps."""
    worker = Worker()
    for number in range(count):
        worker.accept(worker.checkpoint(*step(number)))
    return worker


def with_callbacks(count: int) -> Worker:
    """Return a worker whose execution has so many open callbacks."""
    labels: dict[str, Any] = {"type": OperationType.CALLBACK, "timeout_s": 86_400}
    return with_open(OperationUpdate(id="", action=OperationAction.START, **labels), count)


def with_waits(count: int) -> Worker:
    """Return a worker whose execution has so many open waits."""
    labels: dict[str, Any] = {"type": OperationType.WAIT, "wait_ms": HOUR_MS}
    return with_open(OperationUpdate(id="", action=OperationAction.START, **labels), count)


def with_open(update: OperationUpdate, count: int) -> Worker:
    """Return a worker that has started so many operations, each a millisecond after the other."""
    worker = Worker()
    for number in range(count):
        command = worker.checkpoint(msgspec.structs.replace(update, id=f"{number:032x}"))
        worker.accept(command, NOW_MS + number)
    return worker


def steps_of(worker: Worker) -> float:
    """Return the nanoseconds of one checkpoint of a step, decided and folded."""
    first = len(worker.state.operations)
    elapsed_ns = 0
    for number in range(first, first + CALLS):
        command = worker.checkpoint(*step(number))
        begun_ns = time.perf_counter_ns()
        worker.do(command)
        elapsed_ns += time.perf_counter_ns() - begun_ns
        worker.token = current_token(worker.state, worker.token.invocation_id, NOW_MS)
    return elapsed_ns / CALLS


def callbacks_of(worker: Worker) -> float:
    """Return the nanoseconds of one completion of a callback, decided and folded."""
    ids = [id_ for id_, each in worker.state.operations.items() if each.ended_ms is None]
    commands = [
        CompleteCallback(operation_id=id_, succeeded=True, result=RESULT) for id_ in ids[:SMALL]
    ]
    return timed(worker, commands, lambda _: NOW_MS)


def timers_of(worker: Worker) -> float:
    """Return the nanoseconds of one alarm that ends one wait, decided and folded."""
    due_ms = worker.state.alarms.next_due_ms()
    assert due_ms is not None
    return timed(worker, [AlarmDue()] * SMALL, lambda number: due_ms + number)


def timed(worker: Worker, commands: list[Any], now_of: Callable[[int], int]) -> float:
    """Return the nanoseconds of one command."""
    begun_ns = time.perf_counter_ns()
    for number, command in enumerate(commands):
        worker.do(command, now_of(number))
    return (time.perf_counter_ns() - begun_ns) / len(commands)


def compare(what: str, make: Callable[[int], Worker], measure: Callable[[Worker], float]) -> None:
    """Print the cost in a small and in a large execution."""
    large = make(LARGE)
    figures: dict[int, list[float]] = {SMALL: [], LARGE: []}
    for _ in range(ROUNDS):
        figures[SMALL].append(measure(make(SMALL)))
        figures[LARGE].append(measure(large))
    small_ns, large_ns = (min(figures[size]) for size in (SMALL, LARGE))
    print(f"{what:<42} {small_ns:>9,.0f} ns {large_ns:>9,.0f} ns   × {large_ns / small_ns:.2f}")


def load() -> None:
    """Print the time to read a long history back."""
    bodies = [encode_record(record) for record in with_steps(STEPS).records]
    gc.collect()
    begun_ns = time.perf_counter_ns()
    state = fold(map(decode_record, bodies))
    elapsed_s = (time.perf_counter_ns() - begun_ns) / 1e9
    assert len(state.operations) == STEPS
    size = sum(map(len, bodies)) / len(bodies)
    print(f"\n{STEPS:,} steps read back: {elapsed_s * 1_000:,.0f} ms,", end=" ")
    print(f"{len(bodies) / elapsed_s:,.0f} records/s of {size:.0f} bytes")
    print(f"of which {len(RESULT)} are the step's result")


def main() -> None:
    """Print the figures."""
    print(f"{'decide and apply, operations before':<42} {SMALL:>12,} {LARGE:>12,}   ratio")
    compare("checkpoint of one step [START, SUCCEED]", with_steps, steps_of)
    compare(
        "completion of one of the open callbacks",
        with_callbacks,
        callbacks_of,
    )
    compare(
        "alarm of one of the open waits",
        with_waits,
        timers_of,
    )
    load()


if __name__ == "__main__":
    main()
