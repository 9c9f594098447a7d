"""History service of a node: its ports, start and stop, background and periodic work."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from perdure_core.commands import ChildEnded
from perdure_core.decision import Delivery, ReportEnd
from perdure_core.large_payloads import inline, references_of
from perdure_core.model import ErrorObject
from perdure_core.payload import text_of
from perdure_core.refusals import Invalid, Quarantined, Refused, Unknown
from perdure_history.client_calls import ClientCalls
from perdure_history.executions import Executions
from perdure_history.history_reader import HistoryReader
from perdure_history.outbox import OutboxDeliverer
from perdure_history.scanner import Scanner
from perdure_history.settings import HistorySettings
from perdure_history.status_event_delivery import StatusEventDelivery
from perdure_history.task_recovery import TaskRecovery
from perdure_history.worker_calls import WorkerCalls
from perdure_host.errors import DatabaseAway, Fenced, HostError, StoreError
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import (
    Clock,
    ExecutionKey,
    OutboxRow,
    StatusSink,
    Store,
)
from perdure_host.services import (
    Matching,
)
from perdure_host.telemetry import open_log
from perdure_host.tokens import Signer

# Concurrent deliveries with a payload that is stored outside the record.
LARGE_DELIVERIES_MAX: Final = 2
# How often the lease is looked at: a small part of the margin before it lapses.
LEASE_CHECK_S: Final = 0.1
# How often the database is asked whether it is there.
PING_S: Final = 0.5

_log = open_log("perdure.history")


class HistoryService:
    """Owns the executions of a node. Create it inside a running loop, `open` it, and `close` it.

    `commands`, `queries` and `invocations` implement the ports of `perdure_host.services`. `fatal`
    resolves when this node must stop serving.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        metrics: ServerMetrics,
        signer: Signer,
        matching: Matching,
        node_name: str,
        address: str,
        settings: HistorySettings | None = None,
    ) -> None:
        settings = settings or HistorySettings()
        self._executions = Executions(
            store=store,
            clock=clock,
            metrics=metrics,
            matching=matching,
            settings=settings,
            node_name=node_name,
            address=address,
        )
        self._settings = settings
        self.commands = ClientCalls(self._executions, signer)
        self.invocations = WorkerCalls(self._executions, signer)
        self.queries = HistoryReader(self._executions)
        self._scanner = Scanner(self._executions, self.invocations.reoffer)
        self._outbox = OutboxDeliverer(store, clock, self._deliver, self._executions.quarantine)
        self._task_recovery = TaskRecovery(
            store, clock, self._executions.claims, self.invocations.reoffer
        )
        self._executions.on_outbox = self._outbox.push
        quarantine = self._executions.quarantine
        quarantine.on_retried = self._outbox.reset
        store.watch_unreadable(quarantine.set_row_aside)
        self._executions.functions.on_registered = quarantine.release_function
        self._executions.on_reload += [self._outbox.reset, self._task_recovery.request]
        self._executions.on_pause.append(self._task_recovery.request)
        self._status_delivery: StatusEventDelivery | None = None
        self._large_deliveries = asyncio.Semaphore(LARGE_DELIVERIES_MAX)
        self._tasks: list[asyncio.Task[None]] = []
        self.fatal: asyncio.Future[HostError] = asyncio.get_running_loop().create_future()
        self._executions.fatal.add_done_callback(lambda done: self._die(done.result()))

    # Start and stop.

    def deliver_status_events(self, sink: StatusSink) -> None:
        """Record status events and deliver them to the sink. Call before `open`, at most once."""
        executions = self._executions
        assert not self._tasks
        assert self._status_delivery is None
        self._status_delivery = StatusEventDelivery(
            executions.store,
            executions.clock,
            executions.metrics,
            sink,
            is_serving=lambda: executions.unavailable_reason is None,
            delete=executions.delete_status_events,
            quarantine=executions.quarantine,
        )
        executions.on_status_events = self._status_delivery.add
        executions.on_reload.append(self._status_delivery.reset)

    async def open(self, *, spare_expired: bool = False) -> None:
        """Become the live node and serve. Raises NodeTaken, StoreError.

        With `spare_expired` not even a node whose lease has expired is replaced.
        """
        await self._executions.join(spare_expired=spare_expired)
        await self._executions.reload()
        self._executions.matching.refill = self._task_recovery.request
        jobs = [
            ("attention", self._executions.attention.run()),
            ("committer", self._executions.committer.run()),
            ("timers", self._executions.timers.run()),
            ("outbox", self._outbox.run()),
            ("offers", self._task_recovery.run()),
        ]
        if self._status_delivery is not None:
            jobs.append(("status events", self._status_delivery.run()))
        self._tasks += [self._supervise(name, job) for name, job in jobs]

    async def close(self) -> None:
        """Refuse new calls, finish those in progress, and let another node take over at once."""
        executions = self._executions
        if self._status_delivery is not None:
            await self._status_delivery.stop()
        executions.end("the node is stopping")
        await executions.committer.flush()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await executions.store.leave(executions.committer.incarnation)
        except StoreError as error:
            _log.warning("the lease could not be released; it will expire", error=str(error))

    def periodic_work(self) -> list[tuple[str, float, Callable[[], Awaitable[None]]]]:
        """Return the periodic jobs: name, period in seconds, function."""
        return [
            ("renew the lease", self._settings.lease_ms / 3_000, self._renew),
            ("sweep executions past their retention", 5.0, self._sweep),
            ("scan for stuck executions", 15.0, self._scan),
            ("record silent invocations as lost", 10.0, self.invocations.record_silent_lost),
        ]

    @property
    def incarnation(self) -> int:
        """Return the incarnation that this node writes under."""
        return self._executions.committer.incarnation

    @property
    def commit_delay_s(self) -> float:
        """Return for how long the oldest change has waited for its commit; 0.0 if none waits."""
        return self._executions.committer.delay_s

    @property
    def unavailable_reason(self) -> str | None:
        """Return why no call is served at the moment, or None."""
        return self._executions.unavailable_reason

    def watch_availability(self, notify: Callable[[str | None], None]) -> None:
        """Call `notify` when the node stops to serve, with the reason; when it serves, with None.

        While it does not serve, `notify` is called again where the reason changes.
        """
        self._executions.on_availability = notify

    def watch_database(self) -> None:
        """Notice an outage also while no call comes in; call this once, after `open`.

        The lease is looked at by a task of its own, which never waits for the database: whatever
        hangs, the node stops serving before its lease lapses.
        """
        for name, job in (("lease", self._watch_lease()), ("database", self._ping())):
            self._tasks.append(self._supervise(name, job))

    # Deliveries and periodic jobs.

    async def _deliver(self, delivery: Delivery, row: OutboxRow) -> None:
        """Deliver one outbox row; the commit of its effect deletes it."""
        references = references_of(delivery)
        if not references:
            await self._deliver_whole(delivery, row)
            return
        # Few at a time: each is in memory as a whole until its effect is durable.
        async with self._large_deliveries:
            texts = await self._executions.payloads.texts(row.sender, references)
            await self._deliver_whole(inline(delivery, texts), row)

    async def _deliver_whole(self, delivery: Delivery, row: OutboxRow) -> None:
        if isinstance(delivery, ReportEnd):
            await self._report_end(delivery, row)
            return
        try:
            await self.commands.start_child(delivery, row)
        except Quarantined:
            raise
        except Refused as refused:
            error = ErrorObject(str(refused), _lambda_error_type(refused))
            report = ReportEnd(parent=delivery.parent, status="FAILED", error=error)
            await self._report_end(report, row)

    async def _report_end(self, report: ReportEnd, row: OutboxRow) -> None:
        executions = self._executions
        parent = ExecutionKey(report.parent.bucket, report.parent.execution_id)
        ended = ChildEnded(
            operation_id=report.parent.operation_id,
            status=report.status,
            result=text_of(report.result),
            error=report.error,
        )
        try:
            await executions.command(parent, ended, outbox_done=(row,))
        except Quarantined:
            raise
        except Refused as refused:
            # The parent is gone, or never asked for this: there is nothing to report to.
            if not isinstance(refused, Unknown):
                _log.error("the end of a child was refused", error=str(refused))
            await executions.delete_outbox(row).wait()

    async def _renew(self) -> None:
        executions = self._executions
        if executions.unavailable_reason is not None:
            return
        incarnation = self.incarnation
        try:
            await executions.renew()
        except Fenced as fenced:
            # Not if this node itself has taken a new incarnation meanwhile, or is about to.
            if incarnation == self.incarnation and self.unavailable_reason is None:
                executions.on_fenced(fenced)
        except DatabaseAway as error:
            await executions.recover_from(error)
        except StoreError as error:
            # Tried again in time; if that does not help, the node stops before the lease lapses.
            executions.lease_problem = str(error)

    async def _watch_lease(self) -> None:
        executions = self._executions
        while True:
            await asyncio.sleep(LEASE_CHECK_S)
            if executions.lease.is_over:
                reason = executions.unavailable_reason
                await executions.recover_from(DatabaseAway(reason or "the lease has lapsed"))

    async def _ping(self) -> None:
        executions = self._executions
        while True:
            await asyncio.sleep(PING_S)
            if executions.unavailable_reason is not None:
                continue
            try:
                await executions.store.ping()
            except DatabaseAway as error:
                await executions.recover_from(error)
            except StoreError:
                # It answers, with an error: what fails in earnest is noticed where it fails.
                continue

    async def _sweep(self) -> None:
        executions = self._executions
        # In slices, so that commits go in between: a history may have millions of records.
        while executions.unavailable_reason is None:
            swept = await executions.store.sweep(
                self.incarnation,
                now_ms=executions.clock.now_ms(),
                limit=self._settings.sweep_executions_max,
            )
            if swept:
                executions.drop_expired()
            remained = await executions.store.delete_remains(
                self.incarnation, limit=self._settings.sweep_rows_max
            )
            # A slow database deletes fewer at a time than it was asked to.
            if not swept and not remained:
                return

    async def _scan(self) -> None:
        await self._scanner.scan()

    def _supervise(self, name: str, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a background job; if it ends for any reason but cancellation, the node must stop."""
        task = asyncio.ensure_future(job)

        def ended(done: asyncio.Task[None]) -> None:
            if not done.cancelled():
                error = done.exception()
                _log.critical("a background task died", task=name, exc_info=error)
                self._executions.end(f"internal error in the {name}")
                self._die(HostError(f"internal error in the {name}: {error!r}"))

        task.add_done_callback(ended)
        return task

    def _die(self, error: HostError) -> None:
        if not self.fatal.done():
            self.fatal.set_result(error)


def _lambda_error_type(refused: Refused) -> str:
    """Return the error type that Lambda has for a child that could not be started."""
    match refused:
        case Unknown():
            return "ResourceNotFoundException"
        case Invalid():
            return "InvalidParameterValueException"
        case _:
            return type(refused).__name__
