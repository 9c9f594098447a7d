"""The registry of connected workers, by stream or by polling: one connection for each worker id.

Must stay true: the newest connection of a worker id replaces the one before it at once, before
anything is claimed through it. History is notified that a worker is lost when its last connection
has ended, unless the node itself is stopping: then workers go on, and claim their invocations at
another node.
"""

import asyncio
from typing import Final, Protocol

import msgspec

from perdure_gateway.admission.memory_budget import MemoryBudget
from perdure_gateway.admission.readiness import NodeStatus, Readiness
from perdure_gateway.errors import (
    HeartbeatTimeout,
    NotServing,
    ResourceExhausted,
    SessionReplaced,
)
from perdure_gateway.status_codes import status_of
from perdure_gateway.workers.dispatcher import Dispatcher
from perdure_gateway.workers.requests import WorkerRequests, function_rows
from perdure_host.attention import Attention
from perdure_host.errors import HostError, is_outage
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import Clock
from perdure_host.services import HistoryQueries, InvocationCommands, Matching
from perdure_host.telemetry import open_log
from perdure_proto.v1 import worker_pb2

WORKERS_MAX: Final = 10_000
# How often silent workers are looked for: this, or more often where a timeout is short.
CHECK_MS_MAX: Final = 1_000
CHECKS_PER_TIMEOUT: Final = 5
# The delay before history is notified again of a lost worker, after that failed.
REPORT_AGAIN_MS: Final = 1_000
# How long workers have after an outage of the database before they count as lost: more than the
# longest wait between their attempts to connect.
RETURN_MS: Final = 5_000

_log = open_log("perdure.gateway")


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Heartbeats of workers. Shorter times: losses are noticed sooner, at the price of messages."""

    heartbeat_interval_ms: int = 5_000
    heartbeat_timeout_ms: int = 15_000


class WorkerConnection(Protocol):
    """A connected worker, by stream or by polling."""

    worker_id: str
    slots: int
    # Slots that the worker has granted and that hold no invocation.
    free: int
    # It receives the tasks of this worker from matching.
    dispatcher: Dispatcher

    @property
    def seen_ms(self) -> int:
        """Return when the worker last sent something, in attended time of this process."""
        ...

    def record_call(self) -> None:
        """Note that the worker, or its keeper, has just sent something."""
        ...

    def notify_lost(self, invocation_id: str) -> None:
        """Notify the worker that it has lost an invocation, if it can be notified at once."""
        ...

    def close(self, reason: HostError) -> None:
        """Close the connection, with the reason for the worker."""
        ...

    def drain(self) -> None:
        """Notify the worker that the node stops, and close once its calls are answered."""
        ...

    async def wait_closed(self) -> None:
        """Wait until no task is running, and every undelivered invocation is handed back."""
        ...


class WorkerRegistry:
    """The connected workers. Their queues are held by matching."""

    def __init__(
        self,
        invocations: InvocationCommands,
        queries: HistoryQueries,
        matching: Matching,
        clock: Clock,
        readiness: Readiness,
        *,
        metrics: ServerMetrics,
        settings: WorkerSettings,
        budget: MemoryBudget | None = None,
    ) -> None:
        self.budget = budget or MemoryBudget()
        self.invocations = invocations
        self.requests = WorkerRequests(invocations, queries)
        self.matching = matching
        self.clock = clock
        self.readiness = readiness
        self.settings = settings
        check_ms = min(CHECK_MS_MAX, settings.heartbeat_timeout_ms // CHECKS_PER_TIMEOUT)
        self.check_period_s = check_ms / 1_000
        # Of a pause of this process, in which it heard nothing, hardly anything counts as silence.
        self.attention = Attention(clock, gap_ms_max=check_ms + check_ms // 2)
        self._connections: dict[str, WorkerConnection] = {}
        self._departures: set[asyncio.Task[None]] = set()
        invocations.watch_lost(self._notify_lost)
        metrics.workers_connected.set_function(lambda: len(self._connections))
        metrics.slots.set_function(self._slots)
        metrics.slots_in_use.set_function(self._slots_in_use)

    def find(self, worker_id: str) -> WorkerConnection | None:
        """Return the connection of a worker, if it has one."""
        return self._connections.get(worker_id)

    async def register(
        self, request: worker_pb2.RegisterRequest, connection: WorkerConnection
    ) -> worker_pb2.RegisterResponse:
        """Register a worker: store its functions, claim its invocations, attach its queues."""
        self._add(connection)
        rows = function_rows(request.functions)
        if rows:
            await self.invocations.register_functions(rows)
        refused: tuple[str, ...] = ()
        if request.claims:
            refused = await self.invocations.claim(request.claims, request.worker_id)
        if self._connections.get(connection.worker_id) is connection:
            functions = [(row.namespace, row.name) for row in rows]
            self.matching.attach(connection.worker_id, functions, connection.dispatcher.deliver)
        _log.info(
            "worker registered",
            worker_id=request.worker_id,
            functions=len(rows),
            slots=request.slots,
            claims=len(request.claims),
            sdk=request.sdk[:100],
        )
        return worker_pb2.RegisterResponse(
            heartbeat_interval_ms=self.settings.heartbeat_interval_ms,
            heartbeat_timeout_ms=self.settings.heartbeat_timeout_ms,
            refused_claims=refused,
        )

    def disconnect(self, connection: WorkerConnection) -> None:
        """Remove a connection that has ended, and report the worker as lost if it was its last."""
        worker_left = self._connections.get(connection.worker_id) is connection
        if worker_left:
            del self._connections[connection.worker_id]
            self.matching.detach(connection.worker_id)
        departure = asyncio.get_running_loop().create_task(
            self._report_lost(connection, worker_left=worker_left)
        )
        self._departures.add(departure)
        departure.add_done_callback(self._departures.discard)

    def credit(self, connection: WorkerConnection, slots: int) -> None:
        """Add free slots at matching, unless a newer connection has replaced this one."""
        if self._connections.get(connection.worker_id) is connection:
            self.matching.credit(connection.worker_id, slots)

    def revoke_credit(self, connection: WorkerConnection) -> None:
        """Revoke the free slots at matching, unless a newer connection has replaced this one."""
        if self._connections.get(connection.worker_id) is connection:
            self.matching.revoke_credit(connection.worker_id)

    async def close_expired(self) -> None:
        """Close the connections of workers that sent no heartbeat in time.

        Call this every `check_period_s`: less of a longer period counts.
        """
        timeout_ms = self.settings.heartbeat_timeout_ms
        since_ms = self.attention.now_ms() - timeout_ms
        for connection in [*self._connections.values()]:
            if connection.seen_ms < since_ms:
                worker_id = connection.worker_id
                _log.warning("worker sent no heartbeat", worker_id=worker_id, timeout_ms=timeout_ms)
                connection.close(
                    HeartbeatTimeout(f"worker {worker_id} sent no heartbeat for {timeout_ms:,} ms")
                )

    def suspend(self, reason: str) -> None:
        """Close every connection, because the node cannot serve; workers come back, or go on."""
        for connection in [*self._connections.values()]:
            connection.close(NotServing(reason))

    async def drain(self) -> None:
        """Notify every worker that the node stops; return when the last connection is closed."""
        connections = [*self._connections.values()]
        for connection in connections:
            self.matching.detach(connection.worker_id)
            connection.drain()
        for connection in connections:
            await connection.wait_closed()
        # No worker is reported as lost any more: workers go on, and claim what they run at another
        # node.
        for departure in self._departures:
            departure.cancel()
        await asyncio.gather(*self._departures, return_exceptions=True)

    def _notify_lost(self, worker_id: str, invocation_id: str) -> None:
        connection = self._connections.get(worker_id)
        if connection is not None:
            connection.notify_lost(invocation_id)

    def _add(self, connection: WorkerConnection) -> None:
        former = self._connections.get(connection.worker_id)
        if former is None and len(self._connections) >= WORKERS_MAX:
            raise ResourceExhausted(
                f"connected workers must be at most {WORKERS_MAX:,}; connect to another node"
            )
        self._connections[connection.worker_id] = connection
        if former is not None:
            self.matching.detach(connection.worker_id)
            former.close(
                SessionReplaced(f"a newer session of worker {connection.worker_id} took its place")
            )

    async def _report_lost(self, connection: WorkerConnection, *, worker_left: bool) -> None:
        await connection.wait_closed()
        # This repeats while the database is down, but not after the node has stopped.
        while worker_left and connection.worker_id not in self._connections and self._goes_on():
            if self.readiness.status is NodeStatus.CUT_OFF:
                # When the database is back, all workers have the time to come back first.
                await self.clock.wait_until(self.clock.now_ms() + RETURN_MS)
                continue
            try:
                await self.invocations.worker_lost(connection.worker_id)
            except Exception as error:  # noqa: BLE001 - no error may lose the work
                if not is_outage(error):
                    reason, worker_id = status_of(error).message, connection.worker_id
                    _log.warning(
                        "a lost worker is not recorded yet", worker_id=worker_id, error=reason
                    )
                await self.clock.wait_until(self.clock.now_ms() + REPORT_AGAIN_MS)
            else:
                return

    def _goes_on(self) -> bool:
        return self.readiness.status in (NodeStatus.SERVING, NodeStatus.CUT_OFF)

    def _slots(self) -> float:
        return sum(connection.slots for connection in self._connections.values())

    def _slots_in_use(self) -> float:
        return sum(connection.slots - connection.free for connection in self._connections.values())
