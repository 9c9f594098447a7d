"""A simulation of a node: one database, a clock, hosts that crash and start again.

Whatever a scenario did, in the end its histories must be dense, its rows must agree with them, and
the scanner must find nothing.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

import msgspec

from perdure_core.events import InvocationCompleted, Record, decode_record, is_public
from perdure_core.fold import fold
from perdure_core.state import State, waiting_for
from perdure_history.service import HistoryService
from perdure_history.settings import HistorySettings
from perdure_host.clock import SteadyClock
from perdure_host.errors import HostError, StoreError, StoreUnavailable
from perdure_host.lease_guard import LeaseGuard
from perdure_host.memory_store import MemoryStore
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import (
    Alarm,
    Change,
    ExecutionKey,
    ExecutionName,
    ExecutionRow,
    FunctionRow,
    OutboxRow,
    RefusedChange,
    StatusEventRow,
    StatusSink,
    StoredExecution,
)
from perdure_host.services import StartRequest
from perdure_host.tokens import Signer
from perdure_matching.service import MatchingService
from tests.history.manual_clock import ManualClock, ManualMachine, settle
from tests.store.faulty_store import Fate, FaultyStore

SECRET = b"s" * 32
Answer = TypeVar("Answer")


def inside(thing: object) -> Any:
    """Return the object untyped, for access to its private parts."""
    return thing


class HostGone(HostError):
    """The connection to the node broke; what was asked may have been done."""


class Link(FaultyStore):
    """A host's connection to the database.

    It takes a turn of the loop for each call, and it can be cut: before or after its nth commit, or
    at any time.
    """

    def __init__(
        self,
        inner: MemoryStore,
        fates: Iterable[Fate] = (),
        *,
        cut_at: tuple[int, Literal["before", "after"]] | None = None,
    ) -> None:
        super().__init__(inner, fates)
        self.commits = 0
        self.changes = 0
        self.loads = 0
        self.batches = 0
        self.finds = 0
        self.is_cut = False
        # Called when it is cut: nothing outlives that.
        self.on_cut: Callable[[], None] = lambda: None
        self._cut_at = cut_at
        # While it is not set, commits wait.
        self.gate = asyncio.Event()
        self.gate.set()
        # While it is not set, reads of several executions wait.
        self.read_gate = asyncio.Event()
        self.read_gate.set()

    async def commit(
        self,
        incarnation: int,
        changes: Iterable[Change],
        outbox_done: Iterable[OutboxRow] = (),
        status_events_done: Iterable[StatusEventRow] = (),
    ) -> tuple[RefusedChange, ...]:
        changes, outbox_done = tuple(changes), tuple(outbox_done)
        await asyncio.sleep(0)
        await self.gate.wait()
        self.commits += 1
        self.changes += len(changes)
        if self._cut_at == (self.commits, "before"):
            await self.cut()
        refused = await super().commit(incarnation, changes, outbox_done, tuple(status_events_done))
        if self._cut_at == (self.commits, "after"):
            await self.cut()
        return refused

    async def load(self, key: ExecutionKey) -> StoredExecution | None:
        self.loads += 1
        await asyncio.sleep(0)
        return await super().load(key)

    async def load_many(
        self, keys: Sequence[ExecutionKey], *, records_max: int
    ) -> list[StoredExecution]:
        self.batches += 1
        found = await super().load_many(keys, records_max=records_max)
        await asyncio.sleep(0)
        await self.read_gate.wait()
        return found

    async def find_many(self, names: Sequence[ExecutionName]) -> dict[ExecutionName, ExecutionRow]:
        self.finds += 1
        await asyncio.sleep(0)
        return await super().find_many(names)

    async def alarms(self, *, until_ms: int, after: Alarm | None, limit: int) -> list[Alarm]:
        found = await super().alarms(until_ms=until_ms, after=after, limit=limit)
        await asyncio.sleep(0)
        return found

    async def status_events(self, *, limit: int) -> list[StatusEventRow]:
        found = await super().status_events(limit=limit)
        await asyncio.sleep(0)
        return found

    async def cut(self) -> None:
        """Break the connection; a caller that waits for an answer waits for ever."""
        self.is_cut = True
        self.on_cut()
        await asyncio.get_running_loop().create_future()

    def _require_present(self) -> None:
        if self.is_cut:
            raise StoreUnavailable("the connection is cut")
        super()._require_present()


class Chore(msgspec.Struct):
    """A periodic job."""

    due_ms: int
    period_ms: int
    work: Callable[[], Awaitable[None]]


class Host:
    """One node. It ends by `close`, or without it."""

    def __init__(
        self,
        link: Link,
        machine: ManualMachine,
        metrics: ServerMetrics,
        settings: HistorySettings,
    ) -> None:
        self.link = link
        self.clock = machine.clock
        clock = SteadyClock(machine)
        self.matching = MatchingService(clock, metrics)
        self.history = HistoryService(
            store=link,
            clock=clock,
            metrics=metrics,
            signer=Signer(SECRET),
            matching=self.matching,
            node_name="alpha",
            address="alpha:1",
            settings=settings,
        )
        # It counts in real time, of which a simulation may take more than a lease.
        inside(self.history)._executions.lease = LeaseGuard(settings.lease_ms, lambda: 0.0)
        self.is_down = False
        link.on_cut = self.crash
        self._calls: set[asyncio.Task[Any]] = set()
        self._periodic = [
            Chore(self.clock.now_ms() + int(period_s * 1_000), int(period_s * 1_000), work)
            for _, period_s, work in self.history.periodic_work()
        ]

    async def call(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Ask the node as over a network: it goes on whatever becomes of the caller."""
        if self.is_down:
            work.close()
            raise HostGone
        task = asyncio.get_running_loop().create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        await asyncio.wait({task})
        if task.cancelled() or self._has_gone():
            raise HostGone
        return task.result()

    def _has_gone(self) -> bool:
        return self.is_down

    def crash(self) -> None:
        """End at once, without a shutdown."""
        self.link.is_cut = True
        self.is_down = True
        for task in [*self._calls, *inside(self.history)._tasks]:
            task.cancel()

    def next_period_ms(self) -> int:
        """Return when periodic work is due."""
        return min(chore.due_ms for chore in self._periodic)

    async def work_periodically(self) -> None:
        """Do the periodic work that is due."""
        for chore in self._periodic:
            if chore.due_ms <= self.clock.now_ms():
                chore.due_ms = self.clock.now_ms() + chore.period_ms
                with contextlib.suppress(StoreError):
                    await chore.work()


class Worker(Protocol):
    """A worker that takes tasks."""

    async def tick(self) -> None:
        """Do what a worker does every few seconds."""
        ...

    async def finish(self) -> None:
        """Accept no more tasks, and hand back what was delivered."""
        ...


class Simulation:
    """Everything around the node."""

    def __init__(
        self, settings: HistorySettings | None = None, *, sink: StatusSink | None = None
    ) -> None:
        self.sink = sink
        self.settings = settings or HistorySettings()
        self.clock = ManualClock()
        self.machine = ManualMachine(self.clock)
        self.memory = MemoryStore(secret=SECRET)
        self.metrics = ServerMetrics()
        self.workers: list[Worker] = []
        self._host: Host | None = None

    def is_serving(self) -> bool:
        """Return whether the present node serves."""
        return not self.host.is_down and self.history.unavailable_reason is None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self.check()
        if not self.host.is_down:
            closing = asyncio.ensure_future(self.host.history.close())
            await settle()
            assert closing.done()
            await closing

    @property
    def host(self) -> Host:
        """Return the present node."""
        assert self._host is not None
        return self._host

    @property
    def history(self) -> HistoryService:
        """Return the present node's history."""
        return self.host.history

    async def open(
        self,
        fates: Iterable[Fate] = (),
        *,
        cut_at: tuple[int, Literal["before", "after"]] | None = None,
    ) -> Host:
        """Start a node, and register the functions."""
        link = Link(self.memory, cut_at=cut_at)
        self._host = Host(link, self.machine, self.metrics, self.settings)
        if self.sink is not None:
            self.host.history.deliver_status_events(self.sink)
        await self.host.history.open()
        await self.history.invocations.register_functions([function("order"), function("child")])
        link.script(*fates)
        await settle()
        return self.host

    async def restart(self) -> Host:
        """Crash the node, and start another."""
        self.host.crash()
        await settle()
        return await self.open()

    async def pass_ms(self, ms: int) -> None:
        """Advance the clock, from each due time to the next."""
        until_ms = self.clock.now_ms() + ms
        await settle()
        while self.clock.now_ms() < until_ms:
            dues = [until_ms]
            if not self.host.is_down:
                dues.append(self.host.next_period_ms())
            due_ms = self.clock.next_due_ms()
            if due_ms is not None:
                dues.append(due_ms)
            now_ms = self.clock.now_ms()
            self.clock.advance(max(0, min(dues) - now_ms))
            await settle()
            if self.host.next_period_ms() <= self.clock.now_ms() and not self.host.is_down:
                await self.host.work_periodically()
                for worker in self.workers:
                    await worker.tick()
                await settle()

    async def start(self, name: str | None = None, **fields: Any) -> str:
        """Start an execution; return its ARN."""
        fields.setdefault("function", "order")
        answer = await self.history.commands.start(
            StartRequest(namespace="default", name=name, **fields)
        )
        return answer.arn

    # Checks.

    async def check(self) -> None:
        """Check everything that must be true whatever happened."""
        await settle()
        self.check_histories()
        if self.host.is_down or self.history.unavailable_reason is not None:
            return
        for worker in self.workers:
            await worker.finish()
        await self.pass_ms(70_000)
        assert self.violations() == 0
        executions = inside(self.history)._executions
        assert len(executions._loader) == 0
        assert len(executions.changes) == 0
        assert len(executions.ends) == 0

    def violations(self) -> float:
        """Return the number of findings of the scanner."""
        return sum(
            sample.value
            for metric in self.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == "perdure_invariant_violations_total"
        )

    def check_histories(self) -> None:
        """Compare rows, alarms and histories."""
        for key, row in inside(self.memory)._rows.items():
            state = check_history(row, inside(self.memory)._records[key])
            assert inside(self.memory)._alarms.get(key) == state.alarms.next_due_ms()

    def records(self, key: ExecutionKey) -> list[Record]:
        """Return the history of an execution as it is in the database."""
        return [decode_record(record.body) for record in inside(self.memory)._records[key]]

    def rows(self) -> list[ExecutionRow]:
        """Return every execution of the database."""
        return list(inside(self.memory)._rows.values())

    def events(self, key: ExecutionKey) -> list[str]:
        """Return the names of the public events of an execution."""
        return [
            type(event).__name__
            for record in self.records(key)
            for event in record.events
            if is_public(event)
        ]


def check_history(row: ExecutionRow, stored: list[Any]) -> State:
    """Fold a history, check that it is dense, and compare its row with it."""
    assert [record.sequence for record in stored] == list(range(1, len(stored) + 1))
    next_event_id = 1
    for record in stored:
        assert record.first_event_id == next_event_id
        next_event_id += record.event_count
    records = [decode_record(record.body) for record in stored]
    # Folding refuses every event that its machine has no edge for.
    state = fold(records)
    moments = [record.at_ms for record in records]
    assert moments == sorted(moments)
    assert (row.sequence, row.event_count) == (state.sequence, state.event_count)
    assert (row.status, row.ended_ms) == (state.status, state.ended_ms)
    assert row.waiting_for == waiting_for(state)
    ended = [
        event.invocation_id
        for record in records
        for event in record.events
        if isinstance(event, InvocationCompleted)
    ]
    assert len(ended) == len(set(ended))
    return state


def function(name: str) -> FunctionRow:
    return FunctionRow(
        namespace="default",
        name=name,
        execution_timeout_s=100_000,
        retention_days=14,
        durable=True,
    )
