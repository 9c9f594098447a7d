"""Execution engine: load, decide, fold, commit, and the effects of a commit.

Between loading and handing over to the committer there is no await, so decisions on one execution
never interleave. A decision is folded in at once and answered once durable; if its commit fails,
everything in memory is dropped and read again, because the memory is ahead of the database. After a
commit of unknown outcome the node takes a new incarnation first: then the old commit is either
visible or can never land.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from perdure_core.commands import AlarmDue, Command
from perdure_core.decision import Decision
from perdure_core.events import (
    Record,
    encode_record,
)
from perdure_core.execution import decide
from perdure_core.fold import apply
from perdure_core.large_payloads import ExternalPayloads, externalize, externalize_decision
from perdure_core.refusals import Quarantined, Refused, Unknown
from perdure_core.room import check_room
from perdure_core.state import is_open, wants_task
from perdure_history import event_metrics
from perdure_history.change_notifier import ChangeNotifier
from perdure_history.claim_window import ClaimWindow
from perdure_history.committer import Committer, Submission
from perdure_history.execution_cache import CachedExecution, ExecutionCache, task_of, to_row
from perdure_history.execution_loader import Loader
from perdure_history.outbox import outbox_rows
from perdure_history.payloads import Payloads
from perdure_history.registry import FunctionRegistry
from perdure_history.running_invocations import RunningInvocation, RunningInvocations
from perdure_history.settings import HistorySettings
from perdure_history.status_events import status_events
from perdure_history.timers import Timers
from perdure_host.attention import Attention
from perdure_host.errors import CommitUnknown, DatabaseAway, Fenced, NodeTaken, StoreError
from perdure_host.lease_guard import LeaseGuard
from perdure_host.metrics import ServerMetrics
from perdure_host.outage_log import OutageLog
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
from perdure_host.quarantine import Quarantine
from perdure_host.services import Matching
from perdure_host.telemetry import open_log

_RETRY_MS: Final = 500
# What is read ahead fills at most this part of the cache.
_PREFETCH_SHARE: Final = 4

_log = open_log("perdure.history")


class Executions:
    """Loads, changes and commits executions for clients, workers, timers and the outbox."""

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
        self.running = RunningInvocations()
        self.quarantine = Quarantine(clock, metrics, self._forget)
        self.changes = ChangeNotifier()
        # The same for callers that only wait for the end.
        self.ends = ChangeNotifier()
        self.functions = FunctionRegistry(store)
        self.payloads = Payloads(store, settings.cache_payload_bytes_max, self.quarantine.set_aside)
        on_refused = self.quarantine.on_refused
        self.committer = Committer(store, metrics, self._stop, self._recover, on_refused)
        self.timers = Timers(
            store, clock, settings, self._load_and_fire, fire_loaded=self._fire_loaded
        )
        self.fatal: asyncio.Future[StoreError] = asyncio.get_running_loop().create_future()
        # Receives outbox rows once they are durable.
        self.on_outbox: Callable[[tuple[OutboxRow, ...]], None] = lambda _: None
        # Receives status events once they are durable; while it is None, none are written.
        self.on_status_events: Callable[[tuple[StatusEventRow, ...]], None] | None = None
        # Called with a worker and its invocation when the execution has ended without it.
        self.on_lost: Callable[[str, str], None] = lambda _worker, _invocation: None
        # Called after each reload, when the memory was dropped.
        self.on_reload: list[Callable[[], None]] = [self.timers.reset]
        # Called after a pause of this process, when workers may claim again.
        self.on_pause: list[Callable[[], None]] = []
        # Measures the silence of workers, and the time that they have to come back.
        self.attention = Attention(clock, on_pause=self._paused)
        self.claims = ClaimWindow(self.attention, settings.claim_wait_ms)
        self._cache = ExecutionCache(settings, metrics)
        self._loader = Loader(store, self._cache, self.quarantine.set_aside)
        self._node_name, self._address = node_name, address
        self._unavailable_reason: str | None = "the node is starting"
        self._is_over = False
        # Called when the node stops to serve, with the reason, and with None when it serves again.
        self.on_availability: Callable[[str | None], None] = lambda _reason: None
        self.lease = LeaseGuard(settings.lease_ms)
        self.lease_problem: str | None = None
        # Held by the one that recovers: the committer, or `recover_from` on behalf of others.
        self._recovery = asyncio.Lock()
        self._must_join = False
        self._outage = OutageLog(
            _log,
            begin="the database is unavailable; serving nothing until it is back",
            end="the database is back; serving again",
        )

    # Loading.

    async def get(self, key: ExecutionKey) -> CachedExecution:
        """Return the execution, loaded if need be. Raises Unknown, Quarantined, StoreUnavailable.

        Decide before the next await.
        """
        while True:
            self.require_ready()
            execution = self._cache.get(key)
            if execution is not None:
                return execution
            self.quarantine.check(key)
            await self._loader.load(key)

    async def prefetch(self, keys: Sequence[ExecutionKey]) -> None:
        """Read executions together that `get` would read one by one. Raises StoreUnavailable."""
        self.require_ready()
        keys_max = max(1, self.settings.cache_executions_max // _PREFETCH_SHARE)
        await self._loader.prefetch(self.quarantine.without(keys[:keys_max]))

    async def committed(self, key: ExecutionKey) -> CachedExecution:
        """Return the execution once everything in its state is durable."""
        while True:
            execution = await self.get(key)
            if execution.is_committed:
                return execution
            assert execution.batch is not None
            await execution.batch.wait()

    async def wait_committed(self, execution: CachedExecution) -> None:
        """Wait until the execution's state, as it is now, is durable.

        Raises StoreError when it never will be.
        """
        if execution.batch is not None:
            await execution.batch.wait()

    # Deciding.

    async def command(
        self, key: ExecutionKey, command: Command, outbox_done: Sequence[OutboxRow] = ()
    ) -> CachedExecution:
        """Decide a command; return once it is durable. Raises refusals and StoreError."""
        execution = await self.get(key)
        await self.execute(execution, command, outbox_done)
        return execution

    async def execute(
        self, execution: CachedExecution, command: Command, outbox_done: Sequence[OutboxRow] = ()
    ) -> None:
        """Decide a command on an execution that was just loaded; return once it is durable."""
        decision = await self.decide(execution, command)
        if decision.record is None and not outbox_done:
            await self.wait_committed(execution)
        else:
            await self.commit(execution, decision, outbox_done).wait()

    async def decide(self, execution: CachedExecution, command: Command) -> Decision:
        """Decide at once. A refusal is raised only when the state that it rests on is durable."""
        try:
            decision = decide(execution.state, command, self.clock.now_ms())
            check_room(command, decision, execution.state.sequence, execution.history_bytes)
            return decision
        except Refused:
            await self.wait_committed(execution)
            raise

    def commit(
        self,
        execution: CachedExecution,
        decision: Decision,
        outbox_done: Sequence[OutboxRow] = (),
        external: ExternalPayloads | None = None,
    ) -> Submission:
        """Fold a decision in and put it into the next commit. Its effects follow the commit.

        `external` may have large texts of the decision prepared already.
        """
        record = decision.record
        if record is None:
            return self.committer.submit(None, outbox_done=outbox_done)
        external = external or ExternalPayloads()
        decision = externalize_decision(decision, external)
        record = decision.record
        assert record is not None
        first_event_id = execution.state.event_count + 1
        with self.quarantine.setting_aside(execution.key, "a change cannot be folded in"):
            apply(execution.state, record)
        sent = outbox_rows(execution.key, execution.state.sequence, decision.deliveries)
        return self._submit(
            execution, record, first_event_id, sent, outbox_done, external, new=False
        )

    def delete_outbox(self, row: OutboxRow) -> Submission:
        """Delete an outbox row whose delivery has no effect left. Raises StoreUnavailable."""
        self.require_ready()
        return self.committer.submit(None, outbox_done=(row,))

    def delete_status_events(self, rows: Sequence[StatusEventRow]) -> Submission:
        """Delete status events that the sink has accepted. Raises StoreUnavailable."""
        self.require_ready()
        return self.committer.submit(None, status_events_done=rows)

    def create(
        self,
        key: ExecutionKey,
        record: Record,
        input_digest: bytes,
        outbox_done: Sequence[OutboxRow] = (),
        replaces: ExecutionKey | None = None,
    ) -> Submission:
        """Create an execution from its first record; the same commit deletes what it replaces."""
        self.require_ready()
        external = ExternalPayloads()
        record = externalize(record, external)
        execution = CachedExecution(key, apply(None, record), input_digest)
        batch = self._submit(
            execution, record, 1, (), outbox_done, external, new=True, replaces=replaces
        )
        self._cache.add(execution)
        return batch

    def _submit(
        self,
        execution: CachedExecution,
        record: Record,
        first_event_id: int,
        outbox: tuple[OutboxRow, ...],
        outbox_done: Sequence[OutboxRow],
        external: ExternalPayloads,
        *,
        new: bool,
        replaces: ExecutionKey | None = None,
    ) -> Submission:
        state = execution.state
        body, event_count = encode_record(record), state.event_count + 1 - first_event_id
        self._cache.grow(execution, len(body))
        alarm_ms = state.alarms.next_due_ms()
        payloads = tuple([PayloadRow(digest, text) for digest, text in external.bodies.items()])
        if payloads:
            self.payloads.remember(execution.key, payloads)
        status_rows: tuple[StatusEventRow, ...] = ()
        if self.on_status_events is not None:
            status_rows = status_events(execution.key, state, record, first_event_id)
        change = Change(
            row=to_row(execution),
            new=new,
            records=(RecordRow(state.sequence, first_event_id, event_count, body),),
            payloads=payloads,
            alarm_moved=alarm_ms != execution.alarm_ms,
            alarm_ms=alarm_ms,
            outbox=outbox,
            outbox_done=tuple(outbox_done),
            status_events=status_rows,
            replaces=replaces,
        )
        execution.alarm_ms = alarm_ms
        removed, is_end = None, self.running.are_ended_by(record)
        if is_end or not is_open(state):
            removed = self.running.remove(execution.key)
        undo = None if removed is None else partial(self.running.restore, removed)
        effect = partial(self._on_committed, execution, record, change, None if is_end else removed)
        execution.batch = self.committer.submit(change, effect=effect, undo=undo)
        return execution.batch

    def _on_committed(
        self,
        execution: CachedExecution,
        record: Record,
        change: Change,
        lost: RunningInvocation | None,
    ) -> None:
        """Apply the effects of a durable change: metrics, timers, outbox, offers, notifications."""
        event_metrics.count(self.metrics, execution.state.function, record)
        self._cache.discard(change.replaces)
        if change.alarm_moved:
            self.timers.moved(execution.key, change.alarm_ms)
        if change.outbox:
            self.on_outbox(change.outbox)
        if change.status_events and self.on_status_events is not None:
            self.on_status_events(change.status_events)
        self.offer(execution)
        self.changes.notify(execution.key)
        if not is_open(execution.state):
            self.ends.notify(execution.key)
        if lost is not None and lost.worker_id is not None:
            self.on_lost(lost.worker_id, lost.invocation_id)
        self._cache.shrink()

    def offer(self, execution: CachedExecution) -> None:
        """Offer a task if the execution wants a worker and, as far as is known, none runs it."""
        state = execution.state
        if not wants_task(state) or execution.key in self.running:
            return
        if execution.is_uncertain and self.claims.may_be_claimed(execution.key):
            return
        self.matching.offer(task_of(execution, self.clock.now_ms()))

    async def _load_and_fire(self, key: ExecutionKey) -> None:
        """Fire what is due and wait until it is durable. A deleted execution has nothing due."""
        try:
            execution = await self.get(key)
            self._fire(execution)
        except (Unknown, Quarantined):
            return
        await self.wait_committed(execution)

    def _fire_loaded(self, key: ExecutionKey) -> bool:
        """Fire what is due if the execution is in memory; return whether it is."""
        execution = self._cache.get(key) if self.unavailable_reason is None else None
        if execution is None:
            return False
        self._fire(execution)
        return True

    def _fire(self, execution: CachedExecution) -> None:
        now_ms = self.clock.now_ms()
        due_ms = execution.state.alarms.next_due_ms()
        if due_ms is None or due_ms > now_ms:
            # It has moved since it was read.
            self.timers.moved(execution.key, due_ms)
            return
        with self.quarantine.setting_aside(execution.key, "its alarm cannot be handled"):
            decision = decide(execution.state, AlarmDue(), now_ms)
        self.metrics.timer_lateness_seconds.observe((now_ms - due_ms) / 1_000)
        self.commit(execution, decision)

    # Starting, failing, recovering.

    @property
    def unavailable_reason(self) -> str | None:
        """Return why no call is served at the moment, or None."""
        if self._unavailable_reason is None and self.lease.is_over:
            return f"the lease was not renewed in time: {self.lease_problem or 'nothing answered'}"
        return self._unavailable_reason

    @property
    def epoch(self) -> int:
        """Return how often the memory was dropped; what an earlier epoch read is void."""
        return self._cache.epoch

    def require_ready(self) -> None:
        """Raise StoreUnavailable while no call is served."""
        reason = self.unavailable_reason
        if reason is not None:
            raise DatabaseAway(reason)

    async def join(self, *, spare_expired: bool = False) -> None:
        """Become the live node; see the store. Raises NodeTaken, StoreUnavailable."""
        asked_s = self.lease.asking()
        self.committer.incarnation = await self.store.join(
            self._node_name,
            self._address,
            now_ms=await self.store.now_ms(self.clock.now_ms()),
            lease_ms=self.settings.lease_ms,
            spare_expired=spare_expired,
        )
        self.lease.renewed(asked_s)

    async def renew(self) -> None:
        """Extend the lease. Raises Fenced, StoreUnavailable."""
        asked_s = self.lease.asking()
        await self.store.renew(
            self.committer.incarnation,
            now_ms=await self.store.now_ms(self.clock.now_ms()),
            lease_ms=self.settings.lease_ms,
        )
        self.lease.renewed(asked_s)
        self.lease_problem = None

    async def reload(self) -> None:
        """Drop what is in memory, read what must be there, and serve. Raises StoreError."""
        self._cache.clear()
        await self.functions.load()
        self.metrics.set_executions_running(await self.store.count_open())
        if self._is_over:
            return
        self.claims.open()
        self._unavailable_reason = None
        for notify in self.on_reload:
            notify()
        self.changes.notify_all()
        self.ends.notify_all()

    def end(self, reason: str) -> None:
        """Refuse every call from now on."""
        self._is_over = True
        self._unavailable_reason = reason
        self.changes.notify_all()
        self.ends.notify_all()

    def drop_expired(self) -> None:
        """Drop from memory what retention has deleted."""
        self._cache.drop_expired(self.clock.now_ms())

    def _paused(self, gap_ms: int) -> None:
        """Open the window for claims: after a pause of this process workers connect again."""
        if self._unavailable_reason is not None:
            return
        _log.warning("this process did not run for a while", paused_ms=gap_ms)
        self.claims.open(after_pause=True)
        for notify in self.on_pause:
            notify()

    async def recover_from(self, error: StoreError) -> None:
        """Stop serving, cut what hangs, and serve again once the database answers."""
        if self._is_over or self._unavailable_reason is not None:
            return
        self._stop(error)
        self.store.reconnect()
        # What was decided before ends first: it is not in the state that is read again otherwise.
        async with self._recovery:
            await self.committer.settle()
            await self._reload_when_back()

    def _stop(self, error: StoreError) -> None:
        """Serve nothing; the caller sees to the recovery."""
        if self._is_over:
            return
        self._must_join |= isinstance(error, CommitUnknown)
        self._unavailable_reason = str(error)
        if isinstance(error, Fenced):
            return
        self._outage.began(error)
        self.on_availability(self._unavailable_reason)

    async def _recover(self, error: StoreError) -> None:
        """Recover after a commit that failed; the committer waits for it."""
        if isinstance(error, Fenced):
            self.on_fenced(error)
            return
        async with self._recovery:
            await self._reload_when_back()

    async def _reload_when_back(self) -> None:
        """Return once the node serves again, with what the database holds, or is over."""
        while not self._is_over and self._outage.is_on:
            try:
                # It is quickly known whether this one hangs.
                await self.store.ping()
                if self._must_join:
                    await self.join()
                    self._must_join = False
                else:
                    await self.renew()
                await self.reload()
            except (Fenced, NodeTaken) as lost:
                self.on_fenced(lost)
            except StoreError as again:
                self._unavailable_reason = str(again)
                self.on_availability(self._unavailable_reason)
                await self.clock.wait_until(self.clock.now_ms() + _RETRY_MS)
            else:
                if self._outage.ended(incarnation=self.committer.incarnation):
                    self.on_availability(self._unavailable_reason)

    def _forget(self, key: ExecutionKey) -> None:
        """Forget the state of an execution that is set aside, or not that of the database."""
        self._cache.drop(key)
        lost = self.running.remove(key)
        self.changes.notify(key)
        self.ends.notify(key)
        if lost is not None and lost.worker_id is not None:
            self.on_lost(lost.worker_id, lost.invocation_id)

    def on_fenced(self, lost: StoreError) -> None:
        """Stop serving, because another node has taken over."""
        self.end(f"this node was replaced: {lost}")
        if not self.fatal.done():
            self.fatal.set_result(lost)
