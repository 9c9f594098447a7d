"""Group committer of a node: what is decided during one commit goes into the next.

No artificial delay: a change that comes alone is committed at once, under load hundreds share a
transaction. The order of decisions is the order of commits. When a commit fails, everything decided
after it fails too, because it was decided over a state that never became true: `stop` is called
before any caller learns of the failure, and `recover` must reload before anything else is decided.

A change that contradicts what is stored fails alone, with what was decided after it on the same
execution: `refuse` must forget the state of that execution before any caller learns of it.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from perdure_host.errors import ChangeRefused, CommitUnknown, DatabaseAway, Fenced, StoreError
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import (
    Change,
    ExecutionKey,
    OutboxRow,
    RefusedChange,
    StatusEventRow,
    Store,
)
from perdure_host.telemetry import open_log

_log = open_log("perdure.history")

# Bounds of one transaction; a batch that has reached either is closed.
BATCH_CHANGES_MAX: Final = 1_000
BATCH_BYTES_MAX: Final = 16 * 1_024 * 1_024

# An undo reverts what was changed in memory, outside states, ahead of a commit that wrote nothing.
Effect = Callable[[], None]


class Batch:
    """The changes of one commit, and the effects of its end."""

    __slots__ = (
        "_error",
        "_refused",
        "_waiters",
        "changes",
        "effects",
        "ends",
        "is_done",
        "opened_s",
        "outbox_done",
        "size_bytes",
        "status_events_done",
        "undos",
    )

    def __init__(self) -> None:
        # The loop's clock, not the wall clock: it is compared for durations only.
        self.opened_s = asyncio.get_running_loop().time()
        self.changes: dict[ExecutionKey, Change] = {}
        self.outbox_done: list[OutboxRow] = []
        self.status_events_done: list[StatusEventRow] = []
        # Each with the execution whose change it belongs to.
        self.effects: list[tuple[ExecutionKey | None, Effect]] = []
        self.undos: list[tuple[ExecutionKey | None, Effect]] = []
        # Called however the commit ends, before the waiting callers go on.
        self.ends: list[tuple[ExecutionKey | None, Effect]] = []
        self.size_bytes = 0
        # True once the commit has succeeded or failed.
        self.is_done = False
        self._error: StoreError | None = None
        self._refused: dict[ExecutionKey, ChangeRefused] = {}
        self._waiters: list[tuple[ExecutionKey | None, asyncio.Future[None]]] = []

    @property
    def is_full(self) -> bool:
        """Return whether further changes belong into the next commit."""
        return (
            len(self.changes) + len(self.outbox_done) + len(self.status_events_done)
            >= BATCH_CHANGES_MAX
            or self.size_bytes >= BATCH_BYTES_MAX
        )

    def has_ended(self, key: ExecutionKey | None) -> bool:
        """Return whether the change of this execution is durable or has failed."""
        return self.is_done or (bool(self._refused) and key in self._refused)

    async def wait(self, key: ExecutionKey | None) -> None:
        """Return when the change of this execution is durable. Raises StoreError if it failed."""
        if self._refused and key is not None and key in self._refused:
            raise self._refused[key]
        if not self.is_done:
            # One future each: a caller that is cancelled must not cancel the wait of others.
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((key, waiter))
            await waiter
        elif self._error is not None:
            raise self._error

    def succeed(self) -> None:
        """Apply the effects, then let the waiting callers go on."""
        self.is_done = True
        for _, effect in self.effects:
            effect()
        for _, end in self.ends:
            end()
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._release()

    def fail(self, error: StoreError) -> None:
        """Undo what is known not to be written, then raise the error in the waiting callers."""
        self.is_done = True
        self._error = error
        if not isinstance(error, CommitUnknown):
            for _, undo in self.undos:
                undo()
        for _, end in self.ends:
            end()
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self._release()

    def refuse(self, key: ExecutionKey, error: ChangeRefused) -> None:
        """Remove the change of one execution, and raise the error in those who wait for it."""
        if self.changes.pop(key, None) is None:
            return
        self._refused[key] = error
        self.effects = [each for each in self.effects if each[0] != key]
        # The invocation that a change had ended runs no more: nothing is undone.
        self.undos = [each for each in self.undos if each[0] != key]
        ends = [end for of, end in self.ends if of == key]
        self.ends = [each for each in self.ends if each[0] != key]
        for end in ends:
            end()
        waiters = [waiter for of, waiter in self._waiters if of == key]
        self._waiters = [each for each in self._waiters if each[0] != key]
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)

    def _release(self) -> None:
        # Executions still refer to their last batch; it must not keep its contents in memory.
        self.changes.clear()
        self.outbox_done.clear()
        self.status_events_done.clear()
        self.effects.clear()
        self.undos.clear()
        self.ends.clear()
        self._waiters.clear()


class Submission:
    """A change that was put into a batch, or what is done without one."""

    __slots__ = ("_key", "batch")

    def __init__(self, batch: Batch, key: ExecutionKey | None) -> None:
        self.batch = batch
        self._key = key

    @property
    def is_done(self) -> bool:
        """Return whether it is durable or has failed."""
        return self.batch.has_ended(self._key)

    async def wait(self) -> None:
        """Return when it is durable. Raises StoreError when it failed."""
        await self.batch.wait(self._key)

    def at_end(self, end: Effect) -> None:
        """Call this however the commit ends, before the waiting callers go on."""
        self.batch.ends.append((self._key, end))


class Committer:
    """Commits batches, one at a time, under the node's incarnation."""

    def __init__(
        self,
        store: Store,
        metrics: ServerMetrics,
        stop: Callable[[StoreError], None],
        recover: Callable[[StoreError], Awaitable[None]],
        refuse: Callable[[ExecutionKey, ChangeRefused], None],
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._stop = stop
        self._recover = recover
        self._refuse = refuse
        self._wake = asyncio.Event()
        self._waiting: deque[Batch] = deque()
        self._in_flight: Batch | None = None
        self.incarnation = 0

    @property
    def delay_s(self) -> float:
        """Return for how long the oldest change has waited for its commit; 0.0 if none waits."""
        oldest = self._in_flight or (self._waiting[0] if self._waiting else None)
        return 0.0 if oldest is None else asyncio.get_running_loop().time() - oldest.opened_s

    def submit(
        self,
        change: Change | None,
        *,
        outbox_done: Sequence[OutboxRow] = (),
        status_events_done: Sequence[StatusEventRow] = (),
        effect: Effect | None = None,
        undo: Effect | None = None,
    ) -> Submission:
        """Put a change, or what is done without one, into the next commit."""
        batch = self._waiting[-1] if self._waiting else None
        if batch is None or batch.is_full:
            batch = Batch()
            self._waiting.append(batch)
        key = None
        if change is not None:
            key = change.row.key
            before = batch.changes.get(key)
            batch.changes[key] = change if before is None else _merged(before, change)
            for record in change.records:
                batch.size_bytes += len(record.body)
            for payload in change.payloads:
                batch.size_bytes += len(payload.body)
        if outbox_done:
            batch.outbox_done.extend(outbox_done)
        if status_events_done:
            batch.status_events_done.extend(status_events_done)
        if effect is not None:
            batch.effects.append((key, effect))
        if undo is not None:
            batch.undos.append((key, undo))
        self._wake.set()
        return Submission(batch, key)

    async def run(self) -> None:
        """Commit until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._commit(self._waiting.popleft())
        finally:
            # Whatever ended it, no caller may be left waiting.
            self._fail_all(CommitUnknown("the node stops; this may have been written or not"))

    async def settle(self) -> None:
        """Return when what has been submitted is durable or has failed."""
        last = self._waiting[-1] if self._waiting else self._in_flight
        if last is not None:
            with contextlib.suppress(StoreError):
                await last.wait(None)

    async def flush(self) -> None:
        """Wait until everything submitted so far is durable or has failed."""
        while last := self._waiting[-1] if self._waiting else self._in_flight:
            with contextlib.suppress(StoreError):
                await last.wait(None)

    async def _commit(self, batch: Batch) -> None:
        self._in_flight = batch
        # The loop's clock, not the wall clock: this is a duration.
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            refused = await self._store.commit(
                self.incarnation,
                tuple(batch.changes.values()),
                batch.outbox_done,
                batch.status_events_done,
            )
        except StoreError as error:
            await self._fail(error)
        else:
            for each in refused:
                self._fail_change(batch, each)
            self._in_flight = None
            metrics = self._metrics
            metrics.commits.inc()
            metrics.commit_seconds.observe(loop.time() - started)
            metrics.commit_changes.observe(len(batch.changes))
            batch.succeed()

    def _fail_change(self, batch: Batch, refused: RefusedChange) -> None:
        """Fail one change, and those decided after it on the same execution."""
        self._metrics.commit_failures["refused"].inc()
        key = refused.key
        error = ChangeRefused(
            f"the database refused a change of execution {key.execution_id}, and nothing of it was"
            f" written: {refused.statement}: {refused.reason}"
        )
        _log.error(
            "the database refused a change of an execution",
            execution_id=key.execution_id,
            bucket=key.bucket,
            statement=refused.statement,
            error=refused.reason,
        )
        self._refuse(key, error)
        for each in (batch, *self._waiting):
            each.refuse(key, error)

    async def _fail(self, error: StoreError) -> None:
        if isinstance(error, Fenced):
            self._metrics.commit_failures["fenced"].inc()
            self._metrics.fenced_commits.inc()
        elif isinstance(error, CommitUnknown):
            self._metrics.commit_failures["unknown"].inc()
        else:
            self._metrics.commit_failures["unavailable"].inc()
        # First, so that nothing is decided after a caller has learnt of the failure.
        self._stop(error)
        self._fail_all(error)
        await self._recover(error)

    def _fail_all(self, error: StoreError) -> None:
        in_flight, self._in_flight = self._in_flight, None
        later, self._waiting = self._waiting, deque()
        if in_flight is not None:
            in_flight.fail(error)
        for batch in later:
            batch.fail(DatabaseAway(f"an earlier commit failed: {error}"))


def _merged(before: Change, after: Change) -> Change:
    """Return one change with the effect of both, in this order."""
    return msgspec.structs.replace(
        after,
        new=before.new,
        replaces=before.replaces,
        records=before.records + after.records,
        payloads=before.payloads + after.payloads,
        alarm_moved=before.alarm_moved or after.alarm_moved,
        alarm_ms=after.alarm_ms if after.alarm_moved else before.alarm_ms,
        outbox=before.outbox + after.outbox,
        outbox_done=before.outbox_done + after.outbox_done,
        status_events=before.status_events + after.status_events,
    )
