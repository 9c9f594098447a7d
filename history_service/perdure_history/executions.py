"""Executions in play: load, decide, fold, commit, and what follows a commit.

Between loading and handing over to the committer there is no await, so decisions on one execution never interleave.
A decision is folded in at once and answered once durable; if its commit fails, everything in memory is thrown away and
read again (`_recover`), because the memory is ahead of the truth. After a commit of unknown outcome the node takes
a new incarnation first: then the old commit is either visible or can never land.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from perdure_core.commands import AlarmDue, Command
from perdure_core.decision import Decision
from perdure_core.events import Record, encode_record, public_count
from perdure_core.execution import decide
from perdure_core.fold import apply
from perdure_core.refusals import Unknown
from perdure_core.state import is_open, wants_task
from perdure_host.errors import CommitUnknown, Fenced, NodeTaken, StoreError, StoreUnavailable
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import Change, Clock, ExecutionKey, OutboxRow, RecordRow, Store
from perdure_host.services import Matching, Task

from perdure_history import tally
from perdure_history.committer import Batch, Committer
from perdure_history.notices import Notices
from perdure_history.outbox import OutboxDeliverer, encode_delivery
from perdure_history.registry import FunctionRegistry
from perdure_history.running import RunningTable
from perdure_history.settings import HistorySettings
from perdure_history.slot import Slot, SlotCache, load_slot, row_of
from perdure_history.timers import Timers

_PAGE: Final = 1_000
_RETRY_MS: Final = 500

_log = structlog.get_logger(__name__)


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
        self.functions = FunctionRegistry(store)
        self.committer = Committer(store, clock, metrics, self._on_failure)
        self.timers = Timers(store, clock, settings, self.fire)
        self.fatal: asyncio.Future[StoreError] = asyncio.get_running_loop().create_future()
        self.outbox: OutboxDeliverer | None = None
        # Until then nothing is offered that a worker may be running already.
        self.claims_until_ms = 0
        self._cache = SlotCache(settings, metrics)
        self._loading: dict[ExecutionKey, asyncio.Future[Slot]] = {}
        self._node_name = node_name
        self._address = address
        self._epoch = 0
        self._trouble: str | None = "the node is starting"
        self._recovering: asyncio.Task[None] | None = None

    # Loading.

    async def slot(self, key: ExecutionKey) -> Slot:
        """Return the execution, loaded. Raises Unknown, StoreUnavailable. Decide before the next await."""
        while True:
            self.require_ready()
            slot = self._cache.get(key)
            if slot is not None:
                return slot
            epoch = self._epoch
            slot = await self._load(key)
            if epoch == self._epoch and self._cache.get(key) is slot:
                return slot

    async def settled(self, key: ExecutionKey) -> Slot:
        """Return the execution with everything in its state durable."""
        while True:
            slot = await self.slot(key)
            if slot.is_settled:
                return slot
            assert slot.batch is not None
            await slot.batch.wait()

    async def settle(self, slot: Slot) -> None:
        """Return when the slot's state as it is now is durable. Raises StoreError when it never will be."""
        if not slot.is_settled:
            assert slot.batch is not None
            await slot.batch.wait()

    async def _load(self, key: ExecutionKey) -> Slot:
        """Load once, however many ask."""
        loading = self._loading.get(key)
        if loading is None:
            loading = asyncio.ensure_future(self._load_now(key, self._epoch))
            self._loading[key] = loading
            loading.add_done_callback(lambda _: self._loading.pop(key, None))
        return await asyncio.shield(loading)

    async def _load_now(self, key: ExecutionKey, epoch: int) -> Slot:
        stored = await self.store.load(key)
        if stored is None:
            raise Unknown(
                f"no execution {key.execution_id}: it never was, or is past its retention"
            )
        slot = load_slot(stored)
        if epoch == self._epoch:
            self._cache.add(slot)
        return slot

    # Deciding.

    async def command(
        self, key: ExecutionKey, command: Command, outbox_done: Sequence[OutboxRow] = ()
    ) -> Slot:
        """Decide and return once it is durable. Raises refusals and StoreError."""
        slot = await self.slot(key)
        decision = decide(slot.state, command, self.clock.now_ms())
        if decision.record is None and not outbox_done:
            await self.settle(slot)
        else:
            await self.commit(slot, decision, outbox_done).wait()
        return slot

    def commit(
        self, slot: Slot, decision: Decision, outbox_done: Sequence[OutboxRow] = ()
    ) -> Batch:
        """Fold a decision in and put it into the next commit. What follows it happens by itself."""
        record = decision.record
        if record is None:
            return self.committer.submit(None, outbox_done=outbox_done)
        first_event_id = slot.state.event_count + 1
        apply(slot.state, record)
        outbox = tuple(
            OutboxRow(
                slot.key.bucket,
                f"{slot.key.execution_id}-{slot.state.sequence}-{index}",
                encode_delivery(delivery),
            )
            for index, delivery in enumerate(decision.deliveries)
        )
        return self._submit(slot, record, first_event_id, outbox, outbox_done, new=False)

    def create(
        self,
        key: ExecutionKey,
        record: Record,
        input_digest: bytes,
        outbox_done: Sequence[OutboxRow] = (),
    ) -> Batch:
        """Begin an execution with its first record."""
        self.require_ready()
        slot = Slot(key, apply(None, record), input_digest)
        self._cache.add(slot)
        return self._submit(slot, record, 1, (), outbox_done, new=True)

    def _submit(
        self,
        slot: Slot,
        record: Record,
        first_event_id: int,
        outbox: tuple[OutboxRow, ...],
        outbox_done: Sequence[OutboxRow],
        *,
        new: bool,
    ) -> Batch:
        self.require_ready()
        state = slot.state
        body = encode_record(record)
        before = slot.size_bytes
        slot.grow(len(body))
        self._cache.resized(slot, slot.size_bytes - before)
        if not is_open(state):
            self.running.remove(slot.key)
        alarm_ms = state.alarms.next_due_ms()
        change = Change(
            row=row_of(slot),
            new=new,
            records=(RecordRow(state.sequence, first_event_id, public_count(record), body),),
            alarm_moved=alarm_ms != slot.alarm_ms,
            alarm_ms=alarm_ms,
            outbox=outbox,
        )
        slot.alarm_ms = alarm_ms
        slot.batch = self.committer.submit(
            change, lambda: self._committed(slot, record, change), outbox_done
        )
        return slot.batch

    def _committed(self, slot: Slot, record: Record, change: Change) -> None:
        """Do what follows a durable change."""
        tally.count(self.metrics, slot.state.function, record)
        if change.alarm_moved:
            self.timers.moved(slot.key, change.alarm_ms)
        if change.outbox and self.outbox is not None:
            self.outbox.push(change.outbox)
        self.offer(slot)
        self.notices.moved(slot.key)

    def offer(self, slot: Slot) -> None:
        """Offer a task if the execution wants one that does not run yet."""
        state = slot.state
        if wants_task(state) and slot.key not in self.running:
            self.matching.offer(
                Task(slot.key, state.namespace, state.function, self.clock.now_ms())
            )

    async def fire(self, key: ExecutionKey) -> None:
        """Do what time has made due. A deleted execution has nothing due."""
        try:
            slot = await self.slot(key)
        except Unknown:
            return
        now_ms = self.clock.now_ms()
        due_ms = slot.state.alarms.next_due_ms()
        if due_ms is None or due_ms > now_ms:
            # The alarm was moved; if the heap forgot the new one, here it is again.
            self.timers.moved(key, due_ms)
            return
        decision = decide(slot.state, AlarmDue(), now_ms)
        self.metrics.timer_lateness_seconds.observe((now_ms - due_ms) / 1_000)
        await self.commit(slot, decision).wait()

    # Starting, failing, recovering.

    def require_ready(self) -> None:
        """Raise StoreUnavailable while the memory is not to be trusted."""
        if self._trouble is not None:
            raise StoreUnavailable(self._trouble)

    @property
    def trouble(self) -> str | None:
        """Say why nothing is served at the moment."""
        return self._trouble

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
        self._epoch += 1
        self._cache.clear()
        await self.functions.load()
        self.metrics.set_executions_running(await self.store.count_open())
        self.timers.reset()
        if self.outbox is not None:
            self.outbox.reset()
        self.claims_until_ms = self.clock.now_ms() + self.settings.claim_wait_ms
        self._trouble = None
        self.notices.all_moved()
        self._recovering = asyncio.ensure_future(self._offer_unclaimed())

    def stop_serving(self, why: str) -> None:
        """Refuse everything from now on."""
        self._trouble = why
        if self._recovering is not None:
            self._recovering.cancel()

    def refill(self) -> None:
        """Offer again what did not fit into a queue."""
        if self._trouble is None and (self._recovering is None or self._recovering.done()):
            self._recovering = asyncio.ensure_future(self._offer_unclaimed())

    def drop_expired(self) -> None:
        """Forget what retention has deleted."""
        self._cache.drop_expired(self.clock.now_ms())

    async def _offer_unclaimed(self) -> None:
        """Once workers have had time to claim what they run, offer everything else that wants a worker."""
        await self.clock.wait_until(self.claims_until_ms)
        after: ExecutionKey | None = None
        while True:
            try:
                rows = await self.store.waiting_for("task", after=after, limit=_PAGE)
            except StoreError as error:
                _log.warning("cannot read waiting executions; trying again", error=str(error))
                await self.clock.wait_until(self.clock.now_ms() + _RETRY_MS)
                continue
            now_ms = self.clock.now_ms()
            for row in rows:
                if row.key not in self.running and row.status in ("RUNNING", "PAUSING"):
                    self.matching.offer(Task(row.key, row.namespace, row.function, now_ms))
            if len(rows) < _PAGE:
                return
            after = rows[-1].key

    async def _on_failure(self, error: StoreError) -> None:
        self.stop_serving(f"the node reloads after a failed commit: {error}")
        _log.warning("a commit failed; reloading", error=str(error), kind=type(error).__name__)
        unknown = isinstance(error, CommitUnknown)
        while True:
            try:
                if isinstance(error, Fenced):
                    raise error
                if unknown:
                    await self.join()
                    unknown = False
                await self.reload()
            except (Fenced, NodeTaken) as lost:
                self.stop_serving(f"this node was replaced: {lost}")
                if not self.fatal.done():
                    self.fatal.set_result(lost)
                return
            except StoreError as again:
                self.stop_serving(f"the database does not answer: {again}")
                await self.clock.wait_until(self.clock.now_ms() + _RETRY_MS)
            else:
                _log.info("reloaded", incarnation=self.committer.incarnation)
                return
