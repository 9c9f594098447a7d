"""The connection of a worker that polls: invocations wait in an inbox for its next Poll.

Must stay true: credit lives as long as a Poll. An invocation that arrived before a Poll ended but
did not fit into its response stays in the inbox, and leaves with the next response.
"""

import asyncio
from collections import deque

from perdure_gateway.errors import NotServing
from perdure_gateway.workers.dispatcher import Dispatcher
from perdure_gateway.workers.registry import WorkerRegistry
from perdure_gateway.workers.stream_session import BATCH_BYTES_MAX
from perdure_host.errors import HostError
from perdure_proto.v1 import worker_pb2

_MS_PER_S = 1_000


class PollingWorker:
    """The connection of a worker without a stream."""

    def __init__(self, registry: WorkerRegistry, request: worker_pb2.RegisterRequest) -> None:
        self.worker_id = request.worker_id
        self.slots = request.slots
        self.free = 0
        self._registry = registry
        self._seen_ms = registry.attention.now_ms()
        self.dispatcher = Dispatcher(
            self.worker_id,
            registry.invocations,
            registry.matching,
            registry.clock,
            on_invocation=self._on_invocation,
            on_unused_slot=self._on_unused_slot,
        )
        self._inbox: deque[worker_pb2.Invocation] = deque()
        self._filled = asyncio.Event()
        self._poll_lock = asyncio.Lock()
        self._polling = False
        self._reason: HostError | None = None

    @property
    def seen_ms(self) -> int:
        """Return when the worker last called: now, while it polls."""
        return self._registry.attention.now_ms() if self._polling else self._seen_ms

    def record_call(self) -> None:
        """Record that the worker has just called."""
        self._seen_ms = self._registry.attention.now_ms()

    def notify_lost(self, invocation_id: str) -> None:
        """Do nothing: the response to the worker's next Heartbeat lists the invocation."""

    def close(self, reason: HostError) -> None:
        if self._reason is None:
            self._reason = reason
            self._filled.set()
            self.dispatcher.close()
            self._registry.disconnect(self)

    def drain(self) -> None:
        self.close(NotServing("this node is stopping; register at another"))

    async def wait_closed(self) -> None:
        await self.dispatcher.wait_idle()
        unsent = [invocation.checkpoint_token for invocation in self._inbox]
        self._inbox.clear()
        await self.dispatcher.hand_back(unsent)

    async def poll(self, slots: int, wait_ms: int) -> worker_pb2.PollResponse:
        """Return at most `slots` invocations, as soon as there are any."""
        # An earlier poll whose caller has gone may not have ended yet.
        async with self._poll_lock:
            try:
                self._polling = True
                self.free = slots
                await self._wait_filled(slots, wait_ms)
            finally:
                self._polling = False
                self._registry.revoke_credit(self)
                self.record_call()
            # Tasks that matching has already delivered are on their way into the inbox.
            await self.dispatcher.wait_idle()
            if self._reason is not None:
                raise self._reason
            return self._take_from_inbox(slots)

    async def _wait_filled(self, slots: int, wait_ms: int) -> None:
        missing = slots - len(self._inbox)
        if missing > 0:
            self._registry.credit(self, missing)
        if not self._inbox and self._reason is None:
            self._filled.clear()
            try:
                async with asyncio.timeout(wait_ms / _MS_PER_S):
                    await self._filled.wait()
            except TimeoutError:
                pass

    def _take_from_inbox(self, slots: int) -> worker_pb2.PollResponse:
        response = worker_pb2.PollResponse()
        size = 0
        while self._inbox and len(response.invocations) < slots and size < BATCH_BYTES_MAX:
            invocation = self._inbox.popleft()
            size += invocation.ByteSize()
            response.invocations.append(invocation)
        self.free = slots - len(response.invocations)
        return response

    def _on_invocation(self, invocation: worker_pb2.Invocation) -> None:
        self._inbox.append(invocation)
        self._filled.set()

    def _on_unused_slot(self) -> None:
        if self._polling:
            self._registry.credit(self, 1)
