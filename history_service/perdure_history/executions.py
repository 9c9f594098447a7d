"""Executions in play: load, decide, fold, commit, and what follows a commit.

Between loading and handing over to the committer there is no await, so decisions on one execution
never interleave. A decision is folded in at once and answered once durable; if its commit fails,
everything in memory is thrown away and read again, because the memory is ahead of the truth. After
a commit of unknown outcome the node takes a new incarnation first: then the old commit is either
visible or can never land.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from perdure_core.commands import AlarmDue, Command
from perdure_core.decision import Decision
from perdure_core.events import (
    InvocationCompleted,
    InvocationReturned,
    Record,
    encode_record,
)
from perdure_core.execution import decide
from perdure_core.fold import apply
from perdure_core.large_payloads import ExternalPayloads, externalize, externalize_decision
from perdure_core.refusals import Refused, Unknown
from perdure_core.state import is_open, wants_task
from perdure_history import event_metrics
from perdure_history.change_notifier import Notices
from perdure_history.committer import Batch, Committer
from perdure_history.execution_cache import Slot, SlotCache, row_of
from perdure_history.execution_loader import Loader
from perdure_history.outbox import encode_delivery
from perdure_history.payloads import Payloads
from perdure_history.registry import FunctionRegistry
from perdure_history.running_invocations import Running, RunningTable
from perdure_history.settings import HistorySettings
from perdure_history.status_events import status_events
from perdure_history.timers import Timers
from perdure_host.errors import CommitUnknown, Fenced, NodeTaken, StoreError, StoreUnavailable
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import (
    Change,
    Clock,
    ExecutionKey,
    OutboxRow,
    PayloadRow,
    RecordRow,
    StatusEventRow,
    Store,
)
from perdure_host.services import Matching, Task
from perdure_host.telemetry import open_log

_RETRY_MS: Final = 500
_INVOCATION_ENDS: Final = frozenset({InvocationCompleted, InvocationReturned})

_log = open_log("perdure.history")


class Executions:
    """The engine room that the calls of clients, workers, timers and the outbox share."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        metrics: ServerMetrics,
        matching: Matching,
        settings: HistorySettings,
        node_name: str,
        address: str,
    ) -> None:
        self.store = store
        self.clock = clock
        self.metrics = metrics
        self.matching = matching
        self.settings = settings
        self.running = RunningTable()
        self.notices = Notices()
        # The same for those whom nothing but the end concerns.
        self.ends = Notices()
        self.functions = FunctionRegistry(store)
        self.payloads = Payloads(store, settings.cache_payload_bytes_max)
        self.committer = Committer(store, metrics, stop=self._stop, recover=self._recover)
        self.timers = Timers(
            store, clock, settings, self._load_and_fire, fire_loaded=self._fire_loaded
        )
        self.fatal: asyncio.Future[StoreError] = asyncio.get_running_loop().create_future()
        # Rows of the outbox that have become durable go here.
        self.send: Callable[[tuple[OutboxRow, ...]], None] = lambda _: None
        # Whoever sets it is told of status events that have become durable; without one, none is
        # written.
        self.tell_status: Callable[[tuple[StatusEventRow, ...]], None] | None = None
        # Called with a worker and an invocation of its whose execution has ended without it.
        self.tell_lost: Callable[[str, str], None] = lambda _worker, _invocation: None
        # Called at each reload, when the memory was thrown away.
        self.on_reload: list[Callable[[], None]] = [self.timers.reset]
        # Until then nothing is offered that a worker may be running already.
        self.claims_until_ms = 0
        self._cache = SlotCache(settings, metrics)
        self._loader = Loader(store, self._cache)
        self._node_name = node_name
        self._address = address
        self._trouble: str | None = "the node is starting"
        self._is_over = False

    # Loading.

    async def slot(self, key: ExecutionKey) -> Slot:
        """Return the execution, loaded. Raises Unknown, StoreUnavailable.

        Decide before the next await.
        """
        while True:
            self.require_ready()
            slot = self._cache.get(key)
            if slot is not None:
                return slot
            await self._loader.load(key)

    async def settled(self, key: ExecutionKey) -> Slot:
        """Return the execution with everything in its state durable."""
        while True:
            slot = await self.slot(key)
            if slot.is_settled:
                return slot
            assert slot.batch is not None
            await slot.batch.wait()

    async def settle(self, slot: Slot) -> None:
        """Return when the slot's state as it is now is durable.

        Raises StoreError when it never will be.
        """
        if slot.batch is not None:
            await slot.batch.wait()

    # Deciding.

    async def command(
        self, key: ExecutionKey, command: Command, outbox_done: Sequence[OutboxRow] = ()
    ) -> Slot:
        """Decide and return once it is durable. Raises refusals and StoreError."""
        slot = await self.slot(key)
        await self.carry_out(slot, command, outbox_done)
        return slot

    async def carry_out(
        self, slot: Slot, command: Command, outbox_done: Sequence[OutboxRow] = ()
    ) -> None:
        """Decide at once, on a slot that was just loaded, and return once it is durable."""
        decision = await self.decide(slot, command)
        if decision.record is None and not outbox_done:
            await self.settle(slot)
        else:
            await self.commit(slot, decision, outbox_done).wait()

    async def decide(self, slot: Slot, command: Command) -> Decision:
        """Decide at once. A refusal, too, is only told when what it rests on is durable."""
        try:
            return decide(slot.state, command, self.clock.now_ms())
        except Refused:
            await self.settle(slot)
            raise

    def commit(
        self,
        slot: Slot,
        decision: Decision,
        outbox_done: Sequence[OutboxRow] = (),
        kept: ExternalPayloads | None = None,
    ) -> Batch:
        """Fold a decision in and put it into the next commit. What follows happens by itself.

        `kept` may know large texts of the decision already.
        """
        record = decision.record
        if record is None:
            return self.committer.submit(None, outbox_done=outbox_done)
        kept = kept or ExternalPayloads()
        decision = externalize_decision(decision, kept)
        record = decision.record
        assert record is not None
        first_event_id = slot.state.event_count + 1
        apply(slot.state, record)
        outbox: tuple[OutboxRow, ...] = ()
        if decision.deliveries:
            outbox = tuple(
                OutboxRow(
                    slot.key.bucket,
                    f"{slot.key.execution_id}-{slot.state.sequence}-{index}",
                    encode_delivery(delivery),
                )
                for index, delivery in enumerate(decision.deliveries)
            )
        return self._submit(slot, record, first_event_id, outbox, outbox_done, kept, new=False)

    def forget_sent(self, row: OutboxRow) -> Batch:
        """Delete a row of the outbox that has nothing left to do."""
        self.require_ready()
        return self.committer.submit(None, outbox_done=(row,))

    def forget_told(self, rows: Sequence[StatusEventRow]) -> Batch:
        """Delete status events that their sink has taken. Raises StoreUnavailable."""
        self.require_ready()
        return self.committer.submit(None, status_events_done=rows)

    def create(
        self,
        key: ExecutionKey,
        record: Record,
        input_digest: bytes,
        outbox_done: Sequence[OutboxRow] = (),
    ) -> Batch:
        """Begin an execution with its first record."""
        self.require_ready()
        kept = ExternalPayloads()
        record = externalize(record, kept)
        slot = Slot(key, apply(None, record), input_digest)
        batch = self._submit(slot, record, 1, (), outbox_done, kept, new=True)
        self._cache.add(slot)
        return batch

    def _submit(
        self,
        slot: Slot,
        record: Record,
        first_event_id: int,
        outbox: tuple[OutboxRow, ...],
        outbox_done: Sequence[OutboxRow],
        kept: ExternalPayloads,
        *,
        new: bool,
    ) -> Batch:
        state = slot.state
        body = encode_record(record)
        self._cache.grow(slot, len(body))
        event_count = state.event_count + 1 - first_event_id
        alarm_ms = state.alarms.next_due_ms()
        payloads: tuple[PayloadRow, ...] = ()
        if kept.bodies:
            payloads = tuple([PayloadRow(digest, text) for digest, text in kept.bodies.items()])
            self.payloads.remember(slot.key, payloads)
        told: tuple[StatusEventRow, ...] = ()
        if self.tell_status is not None:
            told = status_events(slot.key, state, record, first_event_id)
        change = Change(
            row=row_of(slot),
            new=new,
            records=(RecordRow(state.sequence, first_event_id, event_count, body),),
            payloads=payloads,
            alarm_moved=alarm_ms != slot.alarm_ms,
            alarm_ms=alarm_ms,
            outbox=outbox,
            status_events=told,
        )
        slot.alarm_ms = alarm_ms
        undo = gone = None
        ends_invocation = _ends_invocation(record)
        if ends_invocation or not is_open(state):
            gone = self.running.remove(slot.key)
            undo = None if gone is None else partial(self.running.restore, gone)
        lost = None if ends_invocation else gone
        slot.batch = self.committer.submit(
            change,
            outbox_done=outbox_done,
            effect=partial(self._committed, slot, record, change, lost),
            undo=undo,
        )
        return slot.batch

    def _committed(self, slot: Slot, record: Record, change: Change, lost: Running | None) -> None:
        """Do what follows a durable change."""
        event_metrics.count(self.metrics, slot.state.function, record)
        if change.alarm_moved:
            self.timers.moved(slot.key, change.alarm_ms)
        if change.outbox:
            self.send(change.outbox)
        if change.status_events and self.tell_status is not None:
            self.tell_status(change.status_events)
        self.offer(slot)
        self.notices.moved(slot.key)
        if not is_open(slot.state):
            self.ends.moved(slot.key)
        if lost is not None and lost.worker_id is not None:
            self.tell_lost(lost.worker_id, lost.invocation_id)
        self._cache.shrink()

    def offer(self, slot: Slot) -> None:
        """Offer a task if the execution wants one that does not run yet, for all that is known."""
        state = slot.state
        if not wants_task(state) or slot.key in self.running:
            return
        now_ms = self.clock.now_ms()
        if slot.unsure_turn == state.turn and now_ms < self.claims_until_ms:
            return
        self.matching.offer(Task(slot.key, state.namespace, state.function, now_ms))

    async def _load_and_fire(self, key: ExecutionKey) -> None:
        """Do what time has made due, once it is durable. A deleted execution has nothing due."""
        try:
            slot = await self.slot(key)
        except Unknown:
            return
        self._fire(slot)
        await self.settle(slot)

    def _fire_loaded(self, key: ExecutionKey) -> bool:
        """Do what time has made due if the execution is in memory; tell whether it is."""
        slot = self._cache.get(key) if self._trouble is None else None
        if slot is None:
            return False
        self._fire(slot)
        return True

    def _fire(self, slot: Slot) -> None:
        now_ms = self.clock.now_ms()
        due_ms = slot.state.alarms.next_due_ms()
        if due_ms is None or due_ms > now_ms:
            # It was moved; what is true is noted instead of what was read.
            self.timers.moved(slot.key, due_ms)
            return
        decision = decide(slot.state, AlarmDue(), now_ms)
        self.metrics.timer_lateness_seconds.observe((now_ms - due_ms) / 1_000)
        self.commit(slot, decision)

    # Starting, failing, recovering.

    @property
    def trouble(self) -> str | None:
        """Say why nothing is served at the moment."""
        return self._trouble

    @property
    def epoch(self) -> int:
        """Return how often the memory was thrown away; what was read in an earlier one is void."""
        return self._cache.epoch

    def require_ready(self) -> None:
        """Raise StoreUnavailable while the memory is not to be trusted."""
        if self._trouble is not None:
            raise StoreUnavailable(self._trouble)

    async def join(self) -> None:
        """Become the live node. Raises NodeTaken, StoreUnavailable."""
        self.committer.incarnation = await self.store.join(
            self._node_name,
            self._address,
            now_ms=self.clock.now_ms(),
            lease_ms=self.settings.lease_ms,
        )

    async def reload(self) -> None:
        """Throw away what is in memory, read what has to be there, and serve. Raises StoreError."""
        self._cache.clear()
        await self.functions.load()
        self.metrics.set_executions_running(await self.store.count_open())
        if self._is_over:
            return
        self.claims_until_ms = self.clock.now_ms() + self.settings.claim_wait_ms
        self._trouble = None
        for notify in self.on_reload:
            notify()
        self.notices.all_moved()
        self.ends.all_moved()

    def end(self, why: str) -> None:
        """Refuse everything from now on, for ever."""
        self._is_over = True
        self._trouble = why
        self.notices.all_moved()
        self.ends.all_moved()

    def drop_expired(self) -> None:
        """Forget what retention has deleted."""
        self._cache.drop_expired(self.clock.now_ms())

    def _stop(self, error: StoreError) -> None:
        if not self._is_over:
            self._trouble = f"the node reloads after a failed commit: {error}"

    async def _recover(self, error: StoreError) -> None:
        _log.warning("a commit failed; reloading", error=str(error), kind=type(error).__name__)
        is_unknown = isinstance(error, CommitUnknown)
        while not self._is_over:
            try:
                if isinstance(error, Fenced):
                    raise error
                if is_unknown:
                    await self.join()
                    is_unknown = False
                await self.reload()
            except (Fenced, NodeTaken) as lost:
                self.be_replaced(lost)
            except StoreError as again:
                self._trouble = str(again)
                await self.clock.wait_until(self.clock.now_ms() + _RETRY_MS)
            else:
                _log.info("reloaded", incarnation=self.committer.incarnation)
                return

    def be_replaced(self, lost: StoreError) -> None:
        """Serve no more: another node has taken over."""
        self.end(f"this node was replaced: {lost}")
        if not self.fatal.done():
            self.fatal.set_result(lost)


def _ends_invocation(record: Record) -> bool:
    return not _INVOCATION_ENDS.isdisjoint(map(type, record.events))
