"""The one committer of a node: groups what is decided while a commit is in flight into the next one.

No artificial delay: a change that comes alone is committed at once, under load hundreds share a transaction. The order of
decisions is the order of commits. When a commit fails, everything decided after it fails too, because it was decided
over a state that never became true; `on_failure` then has to reload before anything else is decided.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from perdure_host.errors import CommitUnknown, Fenced, StoreError, StoreUnavailable
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import Change, Clock, ExecutionKey, OutboxRow, Store


class Batch:
    """The changes of one commit, and what to do once it is durable."""

    __slots__ = ("_done", "changes", "effects", "outbox_done")

    def __init__(self) -> None:
        self.changes: dict[ExecutionKey, Change] = {}
        self.outbox_done: list[OutboxRow] = []
        self.effects: list[Callable[[], None]] = []
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_done(self) -> bool:
        """Tell whether the commit has succeeded or failed."""
        return self._done.done()

    def __bool__(self) -> bool:
        """Tell whether there is anything to commit."""
        return bool(self.changes or self.outbox_done)

    async def wait(self) -> None:
        """Return when the commit is durable. Raises StoreError when it failed."""
        # Shielded: a caller that goes away must not cancel the others' wait.
        await asyncio.shield(self._done)

    def succeed(self) -> None:
        """Do what follows, then answer everybody who waits."""
        for effect in self.effects:
            effect()
        self._done.set_result(None)

    def fail(self, error: StoreError) -> None:
        """Tell everybody who waits."""
        self._done.set_exception(error)
        # Nobody may be waiting; that is no fault worth a log line.
        self._done.exception()


class Committer:
    """Commits batches, one at a time, under the node's incarnation."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        metrics: ServerMetrics,
        on_failure: Callable[[StoreError], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._on_failure = on_failure
        self._wake = asyncio.Event()
        self._open = Batch()
        self._in_flight: Batch | None = None
        self.incarnation = 0

    def submit(
        self,
        change: Change | None,
        effect: Callable[[], None] | None = None,
        outbox_done: Sequence[OutboxRow] = (),
    ) -> Batch:
        """Put a change into the next commit and return that commit."""
        batch = self._open
        if change is not None:
            before = batch.changes.get(change.row.key)
            batch.changes[change.row.key] = change if before is None else _merge(before, change)
        batch.outbox_done.extend(outbox_done)
        if effect is not None:
            batch.effects.append(effect)
        self._wake.set()
        return batch

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._wake.wait()
            await self._commit_open()

    async def flush(self) -> None:
        """Return when everything submitted so far is durable or has failed."""
        for batch in (self._in_flight, self._open):
            if batch:
                await asyncio.wait([asyncio.ensure_future(batch.wait())])

    async def _commit_open(self) -> None:
        self._wake.clear()
        batch, self._open = self._open, Batch()
        if not batch:
            return
        self._in_flight = batch
        # The loop's clock, not the wall's: this is a duration.
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            await self._store.commit(
                self.incarnation, tuple(batch.changes.values()), batch.outbox_done
            )
        except StoreError as error:
            await self._fail(batch, error)
        else:
            self._metrics.commits.inc()
            self._metrics.commit_seconds.observe(loop.time() - started)
            self._metrics.commit_changes.observe(len(batch.changes))
            batch.succeed()
        finally:
            self._in_flight = None

    async def _fail(self, batch: Batch, error: StoreError) -> None:
        if isinstance(error, Fenced):
            self._metrics.commit_failures["fenced"].inc()
            self._metrics.fenced_commits.inc()
        elif isinstance(error, CommitUnknown):
            self._metrics.commit_failures["unknown"].inc()
        else:
            self._metrics.commit_failures["unavailable"].inc()
        reload = asyncio.ensure_future(self._on_failure(error))
        # The reload has begun (nothing is decided from now on) before anybody hears of the failure.
        await asyncio.sleep(0)
        batch.fail(error)
        later, self._open = self._open, Batch()
        later.fail(StoreUnavailable(f"an earlier commit failed: {error}"))
        await reload


def _merge(before: Change, after: Change) -> Change:
    """Return one change that does what the two do in turn."""
    return msgspec.structs.replace(
        after,
        new=before.new,
        records=before.records + after.records,
        alarm_moved=before.alarm_moved or after.alarm_moved,
        alarm_ms=after.alarm_ms if after.alarm_moved else before.alarm_ms,
        outbox=before.outbox + after.outbox,
    )
